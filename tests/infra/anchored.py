"""A house whose log grows at a word, with anchors in folders, for the tests of checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fwd2bot_core.audit.events import Actor, Event
from infra import audit_log
from infra.installation import Installation
from infra.settings import load_settings
from tests.houses import write_settings


def anchored_house(root: Path, url: str, *anchors: str, **sections: Any) -> Installation:
    """An installation below ``root`` with a folder as anchor for each name."""
    (root / "photos").mkdir(parents=True, exist_ok=True)
    for name in anchors:
        (root / name).mkdir(exist_ok=True)
        sections[f"audit__anchors__{name}"] = {"kind": "directory", "place": name}
    file = write_settings(root / "fwd2bot.toml", archive={"ledger": url}, **sections)
    return Installation(load_settings(file))


def grow(house: Installation, count: int = 1, type: str = "test") -> None:
    """``count`` events more."""
    with house.ledger.write() as connection:
        audit_log.append_all(
            connection,
            [
                Event(type=type, occurred_at=audit_log.now(), actor=Actor("ref", "operator"))
                for _ in range(count)
            ],
        )


def files(folder: Path) -> dict[str, bytes]:
    """What lies in a folder, by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


Build = Callable[..., Installation]
