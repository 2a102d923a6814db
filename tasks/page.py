"""HTML pages out of the templates, and as files: whole or not at all. Knows nothing of what stands on them."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fwd2bot_core.errors import UsageError
from tasks.units import duration, size, visible

if TYPE_CHECKING:
    from jinja2 import Environment


def templates(filters: Mapping[str, Callable[..., Any]] | None = None, **options: Any) -> Environment:
    """Our templates, in which a name that is lacking is an error; ``filters`` beside ours, or in their place."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("tasks"),
        autoescape=True,  # keys are what strangers called their files
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **options,
    )
    made.filters |= {
        "number": lambda value: f"{value:,}",
        "size": size,
        "duration": duration,
        "visible": visible,
        "at": lambda moment: f"{moment:%Y-%m-%d %H:%M} UTC",
        **(filters or {}),
    }
    return made


def page(template: str, **values: Any) -> str:
    """A template of ours with ``values``."""
    return templates().get_template(template).render(values)


def write_page(text: str, path: Path) -> None:
    """``text`` as a file in place of an older one. Raises ``UsageError``."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise UsageError(f"cannot write {path}: {error.strerror}. Name another file.") from None
