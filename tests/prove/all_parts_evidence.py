"""What was proven about a night on all parts, as JSON for machines and as two tables for people.

Knows files and words. Knows nothing about how a night is run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.prove.evidence import Cases


@dataclass
class Kill:
    """One SIGKILL, and where the night was then."""

    victim: str
    process: str  # which of its processes
    at_images: int  # committed when it died
    away_seconds: float  # until something began to start it again


@dataclass
class Night:
    """One night, which may have taken several runs."""

    case: str
    begun_by: str
    images: int
    seconds: float = 0.0
    runs: list[str] = field(default_factory=list)  # how each run ended, as Prefect says it
    kills: list[Kill] = field(default_factory=list)
    orphans: int = 0  # objects that no commit names, left for the sweep
    token_difference: float | None = None  # the largest, to the tokens of the undisturbed night
    notes: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    commit: str = ""

    @property
    def proven(self) -> bool:
        return not self.problems


class Evidence(Cases[Night]):
    """``all_parts.json`` and ``all_parts.md`` in one folder."""

    def __init__(self, folder: Path, parameters: dict[str, Any], *, fresh: bool) -> None:
        super().__init__(folder, "all_parts", "nights", parameters, fresh=fresh, read=_night)

    def _markdown(self, machine: dict[str, Any]) -> str:
        nights = list(self._cases.values())
        kills = [(night, kill) for night in nights for kill in night.kills]
        proven = sum(one.proven for one in nights)
        lines = [
            "# A night on all parts at once, and each of them killed in the middle of it",
            "",
            f"Made by `python -m tests.prove.all_parts`. {proven} of {len(nights)} nights hold; {len(kills)} kills.",
            "",
            f"- Night: {', '.join(f'{key} {value}' for key, value in self._parameters.items())}",
            "- Parts, each a process of its own on this machine: SeaweedFS (fsync, versions for originals), "
            "PostgreSQL (ledger and Prefect's records), a Dask scheduler and its workers over TLS, a Prefect server "
            "with a worker.",
            "- A victim gets SIGKILL at a seeded random point of the night and is started again some seconds later, as "
            "a service manager would; a run that ended before its time is followed by another one.",
            f"- Machine: {machine['processor']}, {machine['cores']} cores, Python {machine['python']}, "
            f"{machine['system']}; commit {', '.join(sorted({one.commit for one in nights}))}",
            "- Checked at the end of each night with psycopg, boto3 and pyarrow alone: one summary row an object "
            "version; each key in exactly one committed shard, where the ledger says; every shard that was committed "
            "before a kill has the same bytes and was not written again; the tokens are the undisturbed night's; "
            "manifest equals ledger; no run left running, no batch left planned; each image's facts are numbered "
            "without gap; `fwd2bot verify` ends with 0.",
            "",
            "| night | begun by | images | seconds | runs | orphans | verdict |",
            "|---|---|--:|--:|---|--:|---|",
            *map(_line, nights),
            "",
            "| night | victim | process | images committed | away, s |",
            "|---|---|---|--:|--:|",
        ]
        lines += [
            f"| {night.case} | {kill.victim} | {kill.process} | {kill.at_images:,} | {kill.away_seconds:.1f} |"
            for night, kill in kills
        ]
        return "\n".join(lines) + "\n"


def _night(said: dict[str, Any]) -> Night:
    return Night(**{**said, "kills": [Kill(**one) for one in said["kills"]]})


def _line(one: Night) -> str:
    cells = [
        one.case,
        one.begun_by,
        f"{one.images:,}",
        f"{one.seconds:.0f}",
        ", ".join(one.runs),
        str(one.orphans),
        "holds" if one.proven else "; ".join(one.problems).replace("|", "/"),
    ]
    return "| " + " | ".join(cells) + " |"
