"""One verification of the audit trail at a time, in the background, whose verdict all visitors then see.

Knows when it runs and what it found last. Knows nothing about how a log is verified.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from threading import Lock, Thread

from fastapi import Request

from fwd2bot_core.errors import Fwd2BotError
from infra import audit_log
from infra.installation import Installation
from tasks.audit_verify import LogVerdict, last_checkpoint, verify_log


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """How it stands."""

    busy: bool = False
    done: int = 0
    total: int = 0  # events
    verdict: LogVerdict | None = None
    problem: str | None = None
    at: datetime | None = None


class Verifier:
    """Starts one, unless one runs."""

    def __init__(self, house: Installation) -> None:
        self._house, self._lock = house, Lock()
        self.check = Check()

    def start(self, *, everything: bool) -> None:
        """From the newest anchored checkpoint on, or everything; nothing is begun where one runs."""
        with self._lock:
            if self.check.busy:
                return
            self.check = Check(busy=True)
        Thread(target=self._run, args=(everything,), name="audit verify", daemon=True).start()

    def _run(self, everything: bool) -> None:
        try:
            since = 0 if everything else last_checkpoint(self._house)
            verdict = verify_log(self._house, since=since, progress=self._heard)
            self.check = Check(verdict=verdict, at=audit_log.now())
        except Fwd2BotError as error:
            self.check = Check(problem=str(error), at=audit_log.now())
        except Exception as error:
            self.check = Check(
                problem=f"unexpected, and our fault: {type(error).__name__}", at=audit_log.now()
            )
            raise

    def _heard(self, done: int, total: int) -> None:
        self.check = replace(self.check, done=done, total=total)


def verifier_of(request: Request) -> Verifier:
    verifier: Verifier = request.app.state.verifier
    return verifier
