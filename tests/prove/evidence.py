"""What was proven, kept as JSON for machines and as a table for people; a finished case stays finished.

Knows files and words. Knows nothing about how a case is run.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Record:
    """One case's outcome. Exit codes are negative for signals; times in seconds."""

    case: str
    killed: str  # what, and when
    exits: list[int]
    seconds: list[float]  # of each command
    committed_before: int | None = None  # shards that were committed when the process died
    resumed_batches: int | None = None
    orphans: int = 0  # objects that no commit names, left for the sweep
    temporary: int = 0  # unfinished files
    workers_gone_after: float | None = (
        None  # at most so many seconds after its death did a process of the night live
    )
    token_difference: float | None = None  # the largest, to the tokens of an undisturbed night
    notes: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    commit: str = ""

    @property
    def proven(self) -> bool:
        return not self.problems


class Evidence:
    """``kills.json`` and ``kills.md`` in one folder."""

    def __init__(self, folder: Path, parameters: dict[str, Any], *, fresh: bool) -> None:
        self._json, self._table = folder / "kills.json", folder / "kills.md"
        self._parameters = parameters
        self._records: dict[str, Record] = {}
        folder.mkdir(parents=True, exist_ok=True)
        if not fresh and self._json.exists():
            said = json.loads(self._json.read_text())
            if said["parameters"] == parameters:  # else those cases are about something else
                self._records = {one["case"]: Record(**one) for one in said["cases"]}

    def __contains__(self, case: str) -> bool:
        """Is this case proven already? A failed one is to be run again."""
        return case in self._records and self._records[case].proven

    def __getitem__(self, case: str) -> Record:
        return self._records[case]

    def forget(self, case: str) -> None:
        """It must be run again."""
        self._records.pop(case, None)

    def add(self, record: Record, machine: dict[str, Any]) -> None:
        """Keep it, on disk, at once."""
        self._records[record.case] = record
        cases = [asdict(one) for one in self._records.values()]
        said = {"machine": machine, "parameters": self._parameters, "cases": cases}
        self._json.write_text(json.dumps(said, indent=1, sort_keys=True) + "\n")
        self._table.write_text(self._markdown(machine))

    def _markdown(self, machine: dict[str, Any]) -> str:
        records = list(self._records.values())
        proven = sum(one.proven for one in records)
        commits = ", ".join(sorted({one.commit for one in records}))
        lines = [
            "# What a killed process leaves, and what the next night makes of it",
            "",
            "Made by `python -m tests.prove.kills`; each line is a night of its own. "
            f"{proven} of {len(records)} cases hold.",
            "",
            f"- Night: {', '.join(f'{key} {value}' for key, value in self._parameters.items())}",
            f"- Machine: {machine['processor']}, {machine['cores']} cores, Python {machine['python']}, "
            f"{machine['system']}; commit {commits}",
            "- Checked each time with sqlite3 and pyarrow alone: one summary row an object version and compressor; "
            "each key in exactly one committed shard, where the ledger says; every shard that was committed at the "
            "death has the same bytes, mtime and inode afterwards; the tokens are those of an undisturbed night; "
            "manifest equals ledger; no run left running, no batch left planned; `fwd2bot verify` ends with 0.",
            "- Exit codes in order: the killed night (-9), the next night, `fwd2bot verify`. A killed worker's night "
            "ends by itself.",
            "",
            "| case | killed | exits | committed at death | resumed | orphans | unfinished files | seconds | verdict |",
            "|---|---|---|--:|--:|--:|--:|--:|---|",
        ]
        return "\n".join([*lines, *map(_line, records)]) + "\n"


def _line(one: Record) -> str:
    cells = [
        one.case,
        one.killed,
        " ".join(map(str, one.exits)),
        *("" if value is None else str(value) for value in (one.committed_before, one.resumed_batches)),
        str(one.orphans),
        str(one.temporary),
        f"{sum(one.seconds):.0f}",
        "holds" if one.proven else "; ".join(one.problems).replace("|", "/"),
    ]
    return "| " + " | ".join(cells) + " |"
