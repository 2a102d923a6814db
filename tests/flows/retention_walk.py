"""The walk of ``docs/disposition.md``: people, a list, approvals, a rescue, a hold; each command with what it prints.

``python -m tests.flows.retention_walk`` prints all of it, to be put into the page.
"""

from __future__ import annotations

import io
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from unittest.mock import patch

import pytest

from flows.cli import main
from infra.retention_tables import disposition_lists
from tests.flows.retentions import clock, days_pass, make_site
from tests.tasks.signers import Signer
from tests.tasks.steps import rows

WIDTH = 132  # columns
NEW = {"Mika Sato": "approver", "Nora": "compliance"}


class Walk:
    """What is typed in one site, and what is said to it."""

    def __init__(self, root: Path, patcher: pytest.MonkeyPatch) -> None:
        patcher.setenv("COLUMNS", str(WIDTH))
        self._world = make_site(root, f"sqlite:///{root}/ledger.sqlite", patcher)
        self._signers = dict(self._world.approvers) | {name: Signer() for name in NEW}
        self._root = root
        patcher.chdir(root)

    def typed(self) -> Iterator[tuple[str, str]]:
        """Each command, and what it printed."""
        yield from self._people()
        yield self._say("disposition", "make", "test-policy", "--as", "Oda")
        mine = str(rows(self._world.house, disposition_lists)[0].id)
        yield self._say("disposition", "lists")
        approve = ("disposition", "approve", mine, "--reason", "looked at the samples", "--as")
        yield from self._signed("Ann", *approve, "Ann")
        yield from self._signed("Nora", *approve, "Nora")
        yield from self._signed("Mika Sato", *approve, "Mika Sato")
        yield self._say("disposition", "show", mine)
        yield self._say("disposition", "rescue", mine, "1.jpg", "--as", "Dee")
        yield self._say(
            "hold", "place", "2.jpg", "--case", "recall-7", "--reason", "returned part", "--as", "Nora"
        )
        yield self._say("hold", "list")
        with clock(days_pass(self._world, 32)):
            yield self._say("disposition", "run", mine)
            yield self._say("disposition", "lists")
        yield from self._signed("Nora", "hold", "release", "1", "--reason", "settled", "--as", "Nora")

    def close(self) -> None:
        self._world.house.ledger.close()

    def _people(self) -> Iterator[tuple[str, str]]:
        for name, role in NEW.items():
            file = Path(f"{name.split()[0].lower()}.pub")
            file.write_text(self._signers[name].public)
            yield self._say("people", "add", name, "--key", str(file), "--role", role)
        yield self._say("people", "revoke", "Cy", "--reason", "left the company")
        yield self._say("people", "list")

    def _signed(self, name: str, *words: str) -> Iterator[tuple[str, str]]:
        """What is to be signed; then the same with the signature."""
        yield self._say(*words)
        (statement,) = Path().glob("*.statement")
        signature = statement.with_name(f"{statement.name}.sig")
        signature.write_text(self._signers[name].sign(statement.read_bytes()))
        yield self._say(*words, "--signature", signature.name)
        statement.unlink()

    def _say(self, *words: str) -> tuple[str, str]:
        said = io.StringIO()
        with redirect_stdout(said), redirect_stderr(said), suppress(SystemExit):
            main([*words, "--config", str(self._root / "fwd2bot.toml")])
        lines = [line.rstrip() for line in said.getvalue().splitlines()]
        return f"$ fwd2bot {shlex.join(words)}", "\n".join(lines).strip("\n")


if __name__ == "__main__":
    with (
        tempfile.TemporaryDirectory() as folder,
        pytest.MonkeyPatch.context() as patcher,
        patch("sys.argv", ["x"]),
    ):
        walk = Walk(Path(folder) / "site", patcher)
        for command, said in walk.typed():
            print(f"{command}\n{said}\n")
        walk.close()
