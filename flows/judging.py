"""The verbs that judge: what stored tokens still say of their images, and against a person's labels.

Imports what a verb needs inside the verb, so that ``--help`` comes at once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from flows.app import DEFAULTS, Common, app, terminal
from fwd2bot_core.errors import ExitCode

if TYPE_CHECKING:
    from rich.console import Console

    from tasks.fidelity import Judged
    from tasks.labels import LabelCheck, Share

SHOWN = 20  # images or answers; --json tells all
FEW = 5  # images that are shown although none is below the threshold
BRIEF = 28  # characters of an answer


@app.command
def fidelity(
    collection: str | None = None,
    *images: str,
    sample: Annotated[
        int, Parameter(help="Images drawn at random, if none is named.", validator=Number(gte=1, lte=100_000))
    ] = 100,
    at_least: Annotated[
        float | None,
        Parameter(help="Instead of the collection's fidelity.threshold.", validator=Number(gte=0, lte=1)),
    ] = None,
    common: Common = DEFAULTS,
) -> int:
    """What stored tokens say against what the originals say, over the probe questions. Writes nothing.

    Exit code 4 if an image is below the threshold, 3 if one could not be judged.

    Example: fwd2bot fidelity line-1 --sample 200

    Parameters
    ----------
    collection
        Which collection; not needed when there is only one.
    images
        Keys, or sha256 of files.
    """
    from flows.screens import counting
    from infra.installation import opened
    from tasks.fidelity import chosen, measure

    settings = common.settings()
    name, source = settings.collection(collection)
    threshold = source.fidelity.threshold if at_least is None else at_least
    console = terminal()
    with opened(settings) as house, counting(console, "judging", common.json) as progress:
        found = list(measure(house, name, chosen(house, name, images, sample), progress=progress))
    low = sum(one.fidelity is not None and one.fidelity < threshold for one in found)
    if common.json:
        known = [one.fidelity for one in found if one.fidelity is not None]
        figures = {
            "collection": name,
            "threshold": threshold,
            "judged": len(known),
            "below": low,
            "mean": round(sum(known) / len(known), 6) if known else None,
            "lowest": round(min(known), 6) if known else None,
        }
        print(json.dumps(figures | {"images": [asdict(one) for one in found]}, sort_keys=True))
    else:
        _show_fidelity(console, found, low, threshold)
    if low:
        return ExitCode.BLOCKED_BY_POLICY
    return ExitCode.PARTLY_FAILED if any(one.problem for one in found) else ExitCode.OK


@app.command
def check_labels(
    collection: str,
    labels: Path,
    *,
    at_least: Annotated[
        float | None,
        Parameter(
            help="Accuracy that must be reached beyond doubt: by the low end of its 95 % interval.",
            validator=Number(gte=0, lte=1),
        ),
    ] = None,
    common: Common = DEFAULTS,
) -> int:
    """Answers from stored tokens against a person's labels; the result is kept in the ledger.

    Exit code 4 if accuracy is not surely at least what was asked for, or a labelled image has no tokens; without
    --at-least, 3 for the latter.

    Example: fwd2bot check-labels line-1 labels.jsonl --at-least 0.95

    Parameters
    ----------
    labels
        JSONL or Parquet; each row has key, question, answer, and kind if you like.
    """
    from flows.screens import counting
    from infra.installation import opened
    from tasks.labels import check_labels as check

    settings = common.settings()
    name, _ = settings.collection(collection)
    console = terminal()
    with opened(settings) as house, counting(console, "asking", common.json) as progress:
        found = check(house, name, labels, at_least=at_least, progress=progress)
    if common.json:
        print(json.dumps(found.as_json(), sort_keys=True))
    else:
        _show_labels(console, found)
    if found.passed is False:
        return ExitCode.BLOCKED_BY_POLICY
    return ExitCode.PARTLY_FAILED if found.missing else ExitCode.OK


def _show_fidelity(console: Console, found: Sequence[Judged], low: int, threshold: float) -> None:
    from flows.render import table

    known = sorted((one for one in found if one.fidelity is not None), key=lambda one: one.fidelity or 0.0)
    if known:
        mean = sum(one.fidelity or 0.0 for one in known) / len(known)
        said = f"{len(known):,} judged, mean {mean:.3f}, {low:,} below {threshold:g}"
        console.print(f"[{'yellow' if low else 'green'}]fidelity[/]  {said}", highlight=False)
        shown = known[: min(SHOWN, max(low, FEW))]
        rows = [
            (
                o.key,
                f"{o.fidelity:.3f}",
                f"{o.agreeing}/{o.probes}",
                f"{o.worst} ({o.crop})" if o.crop else o.worst,
                *_apart(o.from_image or "", o.from_tokens or ""),
            )
            for o in shown
        ]
        columns = ("image", "fidelity", "agree", "worst probe", "from the image", "from tokens")
        console.print(table("lowest first", columns, rows))
    if problems := [(one.key, one.problem) for one in found if one.problem]:
        console.print(table("not judged", ("image", "reason"), problems[:SHOWN]))


def _apart(first: str, second: str) -> tuple[str, str]:
    """The beginnings of two answers; of two that differ late, from the last word that they share."""
    words = first.split(), second.split()
    shared = next((n for n, (a, b) in enumerate(zip(*words, strict=False)) if a != b), 0)
    told = [f"… {' '.join(one[shared - 1 :])}" if shared > 1 else " ".join(one) for one in words]
    one, other = (text if len(text) <= BRIEF else f"{text[: BRIEF - 1]}…" for text in told)
    return one, other


def _show_labels(console: Console, found: LabelCheck) -> None:
    from flows.render import table

    rows = [(kind, *_figures(share)) for kind, share in [*found.kinds.items(), ("all", found.all)]]
    console.print(
        table("answers from tokens, right", ("kind", "right", "of", "accuracy", "95 % interval"), rows)
    )
    if found.at_least is not None:
        verdict = "[green]passed[/]" if found.passed else "[red]not passed[/]"
        low = f"accuracy is surely at least {found.all.interval[0]:.3f}; asked for was {found.at_least:g}"
        low += " for every labelled image" if found.missing else ""
        console.print(f"{verdict}  {low}", highlight=False)
    if found.wrong:
        shown = [(one.key, one.question, one.said, one.wanted) for one in found.wrong[:SHOWN]]
        console.print(table("wrong answers, first ones", ("image", "question", "said", "label"), shown))
    if found.missing:
        missing = list(found.missing.items())[:SHOWN]
        console.print(
            table(f"{len(found.missing):,} labelled images without tokens", ("image", "why"), missing)
        )


def _figures(share: Share) -> tuple[int, int, str, str]:
    low, high = share.interval
    return share.right, share.questions, f"{share.accuracy:.3f}", f"{low:.3f} to {high:.3f}"
