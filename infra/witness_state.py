"""What a witness has seen, in one file that survives a crash at any moment and belongs to one process.

Each note lies there with the witness's own line, so that a damaged file is noticed. The lock lies beside it, because a
file that is replaced takes its lock away; once the lock says that there was a state, a missing one is no new beginning.
Knows nothing about how checkpoints are judged.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any, Self

from fwd2bot_core.audit.checkpoints import Checkpoint, read
from fwd2bot_core.audit.notes import Verifier
from fwd2bot_core.errors import IntegrityError, UsageError
from infra.signing_keys import sync_folder

_FORMAT = "fwd2bot witness state 1"
_BEGUN = b"in use\n"


class WitnessState:
    """The last cosigned note of each log. Use it in a ``with`` block, which holds the lock."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.notes: dict[str, tuple[str, str]] = {}  # origin -> (the witness's vkey, the note)
        self.seen: dict[str, Checkpoint] = {}

    def __enter__(self) -> Self:
        """Raises ``UsageError`` when another process has it, ``IntegrityError`` when it is damaged or gone."""
        lock = self.file.with_name(f"{self.file.name}.lock")
        try:
            self._lock = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UsageError(f"cannot keep a witness's state in {self.file}: {error.strerror}") from None
        try:
            self._hold(lock)
            self._begin_or_load(lock)
        except BaseException:
            os.close(self._lock)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)

    def keep(self, checkpoint: Checkpoint, vkey: str, note: str) -> None:
        """On the disk when this returns; raises ``OSError``, after which nothing may be answered."""
        notes = {**self.notes, checkpoint.origin: (vkey, note)}
        self._write(notes)
        self.notes = notes
        self.seen = {**self.seen, checkpoint.origin: checkpoint}

    def _hold(self, lock: Path) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"another witness works with {self.file} (lock {lock}); two would sign different histories"
            ) from None

    def _begin_or_load(self, lock: Path) -> None:
        if self.file.exists():
            self._load()
        elif os.pread(self._lock, len(_BEGUN), 0) == _BEGUN:
            raise IntegrityError(
                f"{self.file} is gone, and with it what this witness saw: put it back. Only if it is lost for good, "
                f"remove {lock} and begin anew, and tell those who rely on the witness"
            )
        else:
            self._write({})
        os.pwrite(self._lock, _BEGUN, 0)
        os.fsync(self._lock)

    def _load(self) -> None:
        try:
            said = json.loads(self.file.read_bytes())
            if said["format"] != _FORMAT:
                raise ValueError(f"it is of format {said['format']!r}")
            for entry in said["logs"]:
                self._take(entry)
        except (OSError, ValueError, KeyError, TypeError, IntegrityError) as error:
            raise IntegrityError(
                f"{self.file} is not as a witness left it ({error}); restore it from where it was copied to"
            ) from None

    def _take(self, entry: dict[str, Any]) -> None:
        vkey, note = str(entry["key"]), str(entry["note"])
        checkpoint = read(note, [Verifier.parse(vkey)])
        self.notes[checkpoint.origin] = (vkey, note)
        self.seen[checkpoint.origin] = checkpoint

    def _write(self, notes: dict[str, tuple[str, str]]) -> None:
        """The old bytes or the new ones, whatever happens. One writer at a time: the lock's holder sees to that."""
        logs = [{"key": vkey, "note": note} for _, (vkey, note) in sorted(notes.items())]
        new = self.file.with_name(f"{self.file.name}.new")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as sink:
            sink.write(json.dumps({"format": _FORMAT, "logs": logs}, indent=1).encode() + b"\n")
            sink.flush()
            os.fsync(sink.fileno())
        new.replace(self.file)
        sync_folder(self.file.parent)
