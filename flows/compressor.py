"""The verbs about compressors themselves: train one, evaluate one, show what one is.

They need no installation and no settings file. Imports what a verb needs inside the verb, so that ``--help`` comes at
once.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter
from cyclopts.validators import Number

from flows.app import app, terminal
from fwd2bot_core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from fwd2bot_core.compressor.protocol import CompressorSpec

compressor_app = App(name="compressor", help="The compressors: train one, evaluate one, show what one is.")
app.command(compressor_app)

TOLD = ("fingerprint", "accuracy", "recall_at_1", "recall_among")  # of all figures, after a training
Json = Annotated[bool, Parameter(help="Print JSON for machines.", negative="")]


@compressor_app.command
def train(config: Path, *, json: Json = False) -> int:
    """Train a compressor, or fine-tune one on your own images and answers. Run it again to go on after a stop.

    Example: fwd2bot compressor train train.toml

    Parameters
    ----------
    config
        A TOML file; docs/compressor.md lists its settings.
    """
    from flows.training_screen import screen
    from fwd2bot_core.compressor.training import config as settings
    from fwd2bot_core.compressor.training.train import train as run

    follows = (
        os.environ.get("RANK", "0") != "0"
    )  # a launcher's other processes, of which the first one speaks
    with screen(terminal(), silent=json or follows) as shown:
        made = run(settings.read(config), shown)
    if made is not None:  # else another process of the team says it
        told = made.figures if json else {name: made.figures[name] for name in TOLD if name in made.figures}
        _show_figures(str(made.bundle), told, json)
    return ExitCode.OK


@compressor_app.command
def evaluate(
    bundle: str,
    *,
    data: Annotated[
        Path | None, Parameter(help="Your images with questions and answers, JSONL or Parquet.")
    ] = None,
    view: Annotated[
        Path | None, Parameter(help="A TOML file whose [view] says how photos are looked at: a training's.")
    ] = None,
    ignore: Annotated[list[str] | None, Parameter(help="Columns of the data to skip.", negative="")] = None,
    limit: Annotated[int, Parameter(help="Questions to ask, at most.", validator=Number(gte=1))] = 10_000,
    device: Annotated[str, Parameter(help="Where to compute: cpu, cuda.")] = "cpu",
    json: Json = False,
) -> int:
    """How often a compressor is right from tokens and from the image: its own figures, or on your data.

    Example: fwd2bot compressor evaluate nano --data labelled.jsonl

    Parameters
    ----------
    bundle
        A bundle's name or folder.
    """
    if data is not None:
        figures = _measured(bundle, data, view, ignore or [], limit, device, json)
    elif view is not None:
        raise UsageError("--view is for a measurement: say --data, too")
    else:
        figures = _own_figures(bundle)
    _show_figures(bundle, figures, json)
    return ExitCode.OK


@compressor_app.command
def show(bundle: str, *, json: Json = False) -> int:
    """What a compressor is, and whether it still says what it said when it was made. Exit code 5 if not.

    Example: fwd2bot compressor show nano

    Parameters
    ----------
    bundle
        A bundle's name or folder.
    """
    from fwd2bot_core.compressor import loading

    spec = loading.read_spec(bundle)
    findings = loading.self_check(bundle)
    facts = {**_facts(spec), "probes": findings or "all as when it was made"}
    if json:
        _print_json(facts | {"probes": {"whole": not findings, "findings": findings}})
    else:
        from flows.figures import show_facts

        show_facts(terminal(), facts)
    return ExitCode.INTEGRITY if findings else ExitCode.OK


def _facts(spec: CompressorSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "fingerprint": spec.fingerprint,
        "k": spec.k,
        "d": spec.d,
        "dtype": spec.dtype,
        "bytes_an_image": spec.token_bytes,
        "prompt": spec.prompt,
        "preprocessing": dict(spec.preprocessing),
        "demonstration_only": spec.demonstration_only,
    }


def _own_figures(name: str) -> dict[str, Any]:
    """The figures that lie in the bundle, once they are known to be the sealed ones."""
    from fwd2bot_core.compressor import bundle, manifest

    folder = bundle.locate(name)
    listed = manifest.read(folder)
    if "evaluation.json" not in listed.files:
        raise UsageError(f"{folder} carries no figures of its own: measure with --data")
    found: dict[str, Any] = json.loads(manifest.content(folder, listed, "evaluation.json"))
    return found


def _measured(
    name: str, data: Path, view: Path | None, ignore: list[str], limit: int, device: str, silent: bool
) -> dict[str, Any]:
    from flows.screens import counting
    from fwd2bot_core.compressor.bundle import load_bundle
    from fwd2bot_core.compressor.training import dataset
    from fwd2bot_core.compressor.training.config import read_view
    from fwd2bot_core.compressor.training.device import tried
    from fwd2bot_core.compressor.training.examination import examine, images_of
    from fwd2bot_core.compressor.view import BUNDLES_OWN

    items = dataset.read([str(data)], ignore=ignore)
    look = BUNDLES_OWN if view is None else read_view(view)
    compressor = load_bundle(name, view=look, device=tried(device))
    images = images_of(compressor, items)
    with counting(terminal(), "asking", silent) as told:
        figures = examine(compressor, items, images, limit=limit, told=told)
    unreadable = {path.name: why for path, why in images.unreadable.items()}
    return {"fingerprint": compressor.spec.fingerprint, **figures, "unreadable": unreadable}


def _show_figures(name: str, figures: dict[str, Any], as_json: bool) -> None:
    if as_json:
        _print_json({"bundle": name, **figures})
        return
    from flows.figures import show_figures

    show_figures(terminal(), name, figures)


def _print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value, sort_keys=True))
