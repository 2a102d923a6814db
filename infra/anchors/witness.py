"""A witness (C2SP ``tlog-witness``) that somebody else runs: it remembers the largest tree it saw, and cosigns only
what extends it.

The receipt's evidence is its signature line, which belongs below the note. A witness gives nothing back; what it
says of sizes is believed only as far as being a reason not to sign. Knows nothing about keys of the log.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator

from fwd2bot_core.audit.checkpoints import Checkpoint, parse_size
from fwd2bot_core.audit.merkle import consistency_proof
from fwd2bot_core.audit.notes import Verifier, add_lines, open_note, split_note
from fwd2bot_core.errors import IntegrityError, NoteInvalid, ObjectMissing, StoreError
from infra.anchors.posting import get, post, said
from infra.anchors.protocol import Held, Receipt, Tree
from infra.settings import AnchorSettings


class WitnessAnchor:
    """One witness, by its address and the key that it printed."""

    kind = "witness"
    keeps = False

    def __init__(self, name: str, given: AnchorSettings) -> None:
        self.name, self.place, self._vkey = name, given.place.rstrip("/"), given.vkey or ""

    def at(self, size: int) -> str:
        return self.place

    def publish(self, note: str, checkpoint: Checkpoint, tree: Tree) -> Receipt:
        """Asks first as if it had seen nothing; it answers with the size from which it wants a proof."""
        size, answer = self._ask(0, [], note)
        if size is not None:
            self._refuse_larger(size, checkpoint)
            proof = consistency_proof(size, checkpoint.size, tree.subtree)
            size, answer = self._ask(size, proof, note)
        if size is not None:
            raise self._forked(size)
        return Receipt(self.place, self._own_line(note, answer))

    def held(self) -> Iterator[Held]:
        return iter(())

    def newest(self, last: str | None = None) -> list[Held]:
        """The note that it shows; of a witness that shows none only the size, which it says when it is asked to
        cosign the newest note of the ledger again."""
        if last is None:
            return []
        checkpoint = Checkpoint.parse(split_note(last)[0])
        if (shown := self._shown(checkpoint.origin)) is not None:
            return [shown]
        size, _ = self._ask(checkpoint.size, [], last)
        if size == checkpoint.size:
            raise self._forked(size)
        return [] if size is None else [Held(size, None, self.place)]

    def _shown(self, origin: str) -> Held | None:
        """What our witness, and some others, give back of a log."""
        place = f"{self.place}/{hashlib.sha256(origin.encode()).hexdigest()}/checkpoint"
        status, answer = get(place, who=f"the witness {self.name}")
        if status != 200:
            return None
        try:
            note = answer.decode()
            return Held(Checkpoint.parse(split_note(note)[0]).size, note, place)
        except (NoteInvalid, UnicodeDecodeError) as error:
            raise StoreError(f"the witness {self.name} shows no checkpoint at {place}: {error}") from None

    def read(self, path: str) -> bytes:
        raise ObjectMissing(f"the witness {self.name} keeps no tiles, so it has no {path}")

    def examine(self) -> str:
        """A request that is none, so that nothing is changed; who takes no checkpoints there answers otherwise."""
        status, answer = self._post(0, [], "fwd2bot doctor\n")
        if status != 400:
            raise StoreError(
                f"{self.place} answers like no witness (HTTP {status}: {said(answer)}); is this its address?"
            )
        return f"{self.place} answers as a witness; its key is {self._verifier().name} {self._verifier().key_id.hex()}"

    def _ask(self, old: int, proof: list[bytes], note: str) -> tuple[int | None, bytes]:
        """Its signature lines, or the size that it has seen instead of ``old``."""
        status, answer = self._post(old, proof, note)
        who = f"the witness {self.name} at {self.place}"
        if status == 200:
            return None, answer
        if status == 409:
            return self._size(answer), b""
        if status == 422:
            raise IntegrityError(
                f"{who} cannot follow from its tree of {old} events to this checkpoint: the log was forked. "
                "Run `fwd2bot audit verify`"
            )
        reasons = {
            403: "it knows none of the keys that signed; give it the key of `fwd2bot audit keys`",
            404: "it does not know this log; give it the log's name and key, of `fwd2bot audit keys`",
        }
        raise StoreError(f"{who} refused ({status}): {reasons.get(status, said(answer))}")

    def _post(self, old: int, proof: list[bytes], note: str) -> tuple[int, bytes]:
        lines = [f"old {old}", *(base64.b64encode(digest).decode() for digest in proof), "", note]
        url, who = f"{self.place}/add-checkpoint", f"the witness {self.name}"
        return post(url, "\n".join(lines).encode(), "text/plain; charset=utf-8", who=who)

    def _size(self, answer: bytes) -> int:
        try:
            return parse_size(answer.decode().removesuffix("\n"))
        except (NoteInvalid, UnicodeDecodeError):
            raise StoreError(
                f"the witness {self.name} at {self.place} names no size: {said(answer)}; see to it"
            ) from None

    def _forked(self, size: int) -> IntegrityError:
        return IntegrityError(
            f"the witness {self.name} at {self.place} saw other {size} events of this log than the ledger's first "
            f"{size} now are: the log was forked. Run `fwd2bot audit verify`"
        )

    def _refuse_larger(self, size: int, checkpoint: Checkpoint) -> None:
        if size > checkpoint.size:
            raise IntegrityError(
                f"the witness {self.name} at {self.place} has seen {size} events of this log, which now has "
                f"{checkpoint.size}: the ledger was put back to an older state. Restore the newest one"
            )

    def _verifier(self) -> Verifier:
        return Verifier.parse(self._vkey)

    def _own_line(self, note: str, answer: bytes) -> str:
        """Its line, once it is right; other lines of the answer are nobody's that we know."""
        verifier = self._verifier()
        text, _ = split_note(note)
        try:
            opened = open_note(add_lines(note, answer.decode()), [verifier])
        except (NoteInvalid, UnicodeDecodeError) as error:
            raise StoreError(
                f"the witness {self.name} at {self.place} answered no signature: {error}"
            ) from None
        if verifier not in opened.signatures:
            raise StoreError(
                f"the witness {self.name} at {self.place} signs with another key than audit.anchors.{self.name}.vkey"
            )
        mine = (line for line in opened.lines if (line.name, line.key_id) == (verifier.name, verifier.key_id))
        return "".join(line.line() for line in mine if verifier.verify(text, line.payload))
