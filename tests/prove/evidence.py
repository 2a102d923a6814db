"""What was proven, kept as JSON for machines and as a table for people; a finished case stays finished.

Knows files and words. Knows nothing about how a case is run.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar


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


COLUMNS: dict[str, Callable[[Record], object]] = {  # a heading that ends with : is of numbers
    "case": lambda one: one.case,
    "killed": lambda one: one.killed,
    "exits": lambda one: " ".join(map(str, one.exits)),
    "committed at death:": lambda one: one.committed_before,
    "resumed:": lambda one: one.resumed_batches,
    "orphans:": lambda one: one.orphans,
    "unfinished files:": lambda one: one.temporary,
    "seconds:": lambda one: f"{sum(one.seconds):.0f}",
    "verdict": lambda one: "holds" if one.proven else "; ".join(one.problems).replace("|", "/"),
}


@dataclass(frozen=True)
class Page:
    """The words around a table."""

    name: str  # of both files
    title: str
    how: str  # it was made, and what a line is
    about: str  # what the parameters are of
    checked: str
    codes: str  # what the exit codes are of
    columns: tuple[str, ...] = tuple(COLUMNS)


KILLS = Page(
    name="kills",
    title="What a killed process leaves, and what the next night makes of it",
    how="`python -m tests.prove.kills`; each line is a night of its own",
    about="Night",
    checked="Checked each time with sqlite3 and pyarrow alone: one summary row an object version and compressor; "
    "each key in exactly one committed shard, where the ledger says; every shard that was committed at the "
    "death has the same bytes, mtime and inode afterwards; the tokens are those of an undisturbed night; "
    "manifest equals ledger; no run left running, no batch left planned; `fwd2bot verify` ends with 0.",
    codes="Exit codes in order: the killed night (-9), the next night, `fwd2bot verify`. A killed worker's night "
    "ends by itself.",
)


class Proven(Protocol):
    """A case by its name."""

    @property
    def case(self) -> str: ...
    @property
    def proven(self) -> bool: ...


T = TypeVar("T", bound=Proven)


class Cases(ABC, Generic[T]):
    """A page's two files in one folder: cases by name, as JSON under ``called`` and as a table; kept at once."""

    def __init__(
        self,
        folder: Path,
        name: str,
        called: str,
        parameters: dict[str, Any],
        *,
        fresh: bool,
        read: Callable[[dict[str, Any]], T],
    ) -> None:
        self._json, self._table = folder / f"{name}.json", folder / f"{name}.md"
        self._parameters, self._called = parameters, called
        self._cases: dict[str, T] = {}
        folder.mkdir(parents=True, exist_ok=True)
        if not fresh and self._json.exists():
            said = json.loads(self._json.read_text())
            if said["parameters"] == parameters:  # else those cases are about something else
                self._cases = {one["case"]: read(one) for one in said[called]}

    def __contains__(self, case: str) -> bool:
        """Is this case proven already? A failed one is to be run again."""
        return case in self._cases and self._cases[case].proven

    def __getitem__(self, case: str) -> T:
        return self._cases[case]

    def forget(self, case: str) -> None:
        """It must be run again."""
        self._cases.pop(case, None)

    def add(self, one: T, machine: dict[str, Any]) -> None:
        """Keep it, on disk, at once."""
        self._cases[one.case] = one
        cases = [asdict(one) for one in self._cases.values()]  # type: ignore[call-overload]
        said = {"machine": machine, "parameters": self._parameters, self._called: cases}
        self._json.write_text(json.dumps(said, indent=1, sort_keys=True) + "\n")
        self._table.write_text(self._markdown(machine))

    @abstractmethod
    def _markdown(self, machine: dict[str, Any]) -> str: ...


class Evidence(Cases[Record]):
    """Of processes that were killed."""

    def __init__(self, folder: Path, parameters: dict[str, Any], *, fresh: bool, page: Page = KILLS) -> None:
        self._page = page
        super().__init__(folder, page.name, "cases", parameters, fresh=fresh, read=lambda one: Record(**one))

    def _markdown(self, machine: dict[str, Any]) -> str:
        records = list(self._cases.values())
        proven = sum(one.proven for one in records)
        commits = ", ".join(sorted({one.commit for one in records}))
        page = self._page
        lines = [
            f"# {page.title}",
            "",
            f"Made by {page.how}. {proven} of {len(records)} cases hold.",
            "",
            f"- {page.about}: {', '.join(f'{key} {value}' for key, value in self._parameters.items())}",
            f"- Machine: {machine['processor']}, {machine['cores']} cores, Python {machine['python']}, "
            f"{machine['system']}; commit {commits}",
            f"- {page.checked}",
            f"- {page.codes}",
            "",
            _row(name.removesuffix(":") for name in page.columns),
            f"|{'|'.join('--:' if name.endswith(':') else '---' for name in page.columns)}|",
        ]
        rows = [_row(COLUMNS[name](one) for name in page.columns) for one in records]
        return "\n".join([*lines, *rows]) + "\n"


def _row(cells: Iterable[object]) -> str:
    return f"| {' | '.join('' if value is None else str(value) for value in cells)} |"
