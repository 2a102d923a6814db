"""The audit verbs that show and rotate keys, and that run a witness, which needs no installation.

Imports what a verb needs inside the verb, so that ``--help`` comes at once.
"""

from __future__ import annotations

import json as as_json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from flows.app import DEFAULTS, Common, terminal
from flows.audit_app import audit_app
from fwd2bot_core.errors import ExitCode, NoteInvalid, UsageError

if TYPE_CHECKING:
    from fwd2bot_core.audit.key_history import Span
    from fwd2bot_core.audit.notes import Verifier
    from infra.installation import Installation

PORT = 8710


@audit_app.command
def keys(*, common: Common = DEFAULTS) -> int:
    """The keys that signed the audit log, and since when: give the first line of each to whoever is to verify.

    Example: fwd2bot audit keys
    """
    from infra import audit_keys
    from infra.installation import opened

    with opened(common.settings()) as house, house.ledger.read() as connection:
        spans = audit_keys.told(connection)
    rows = [_row(span, house) for span in spans]
    if common.json:
        print(as_json.dumps(rows))
        return ExitCode.OK
    for row in rows:
        _say(row["vkey"], f"  id {row['id']}, {row['signs']}", f"  where: {row['where']}")
    if not rows:
        _say(
            "no key yet: the audit log gets one when its first checkpoint is signed (`fwd2bot audit checkpoint`)"
        )
    return ExitCode.OK


@audit_app.command(name="rotate-key")
def rotate_key(
    *,
    to: Annotated[str | None, Parameter(help="The next key: a file, env:NAME, or command:PROGRAM.")] = None,
    lost: Annotated[str | None, Parameter(help="Why the old key cannot sign for the new one.")] = None,
    common: Common = DEFAULTS,
) -> int:
    """Give the audit log a new key. Old and new key both sign for it; it becomes an event of the log.

    Without --to a new file takes the old one's place, and the old private key is gone, as it should be. Run it again
    to finish a rotation that was interrupted. A lost key is replaced with --lost; the log says for ever that nobody
    vouches for the new one, so tell everyone who verifies.

    Example: fwd2bot audit rotate-key
    """
    from infra.installation import opened
    from tasks.rotate_key import rotate_key as rotate

    with opened(common.settings()) as house:
        done = rotate(house, to=_from_here(to), lost=lost)
    said = {"id": done.key.id, "vkey": done.key.vkey, "since": done.key.since, "retired": done.retired}
    if common.json:
        print(as_json.dumps(said))
        return ExitCode.OK
    _say(done.key.vkey, f"  signs from event {done.key.since} on; retired: {done.retired or 'before'}")
    _say("Give the line above to whoever verifies, and to each witness (--log).")
    if to is not None:
        _say(f"Now set audit.key = {as_json.dumps(_from_here(to))} and remove the old key.")
    return ExitCode.OK


@audit_app.command(name="witness-key")
def witness_key(
    file: Path,
    *,
    name: Annotated[str, Parameter(help="The witness's name, such as compliance.example/witness.")],
    json: Annotated[bool, Parameter(help="Print JSON for machines.", negative="")] = False,
) -> int:
    """Make a witness's key, on the witness's own machine, and print what the log's operator is to be told.

    Example: fwd2bot audit witness-key witness-key --name compliance.example/witness

    Parameters
    ----------
    file
        A new file, for you alone.
    """
    from fwd2bot_core.audit.notes import COSIGNATURE, Ed25519Signer
    from infra.signing_keys import write_key

    try:
        signer = Ed25519Signer.generate(name, COSIGNATURE)
        write_key(file, signer)
    except NoteInvalid as error:
        raise UsageError(f"--name: {error}") from None
    except FileExistsError:
        raise UsageError(
            f"{file} is there already, and a key is never overwritten; name a new file"
        ) from None
    vkey = signer.verifier.vkey()
    if json:
        print(as_json.dumps({"file": str(file), "vkey": vkey}))
    else:
        _say(
            vkey,
            "  is the witness's key; in the log's settings it is the vkey of an anchor of kind 'witness'",
        )
    return ExitCode.OK


@audit_app.command
def witness(
    *,
    key: Annotated[Path, Parameter(help="The witness's key, of `fwd2bot audit witness-key`.")],
    state: Annotated[Path, Parameter(help="Where it remembers what it saw; keep it as safe as the key.")],
    log: Annotated[
        tuple[str, ...],
        Parameter(help="A key of a log to watch, of `fwd2bot audit keys`; again for each.", negative=""),
    ],
    host: Annotated[str, Parameter(help="Address to listen at; a proxy in front adds TLS.")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="Port to listen at.", validator=Number(gte=0, lte=65535))] = PORT,
) -> int:
    """Run a witness: somebody else than the log's operator, who cosigns each checkpoint that extends the last one.

    It speaks C2SP's tlog-witness and needs no installation. Ctrl-C ends it.

    Example: fwd2bot audit witness --key witness-key --state witness-state --log VKEY
    """
    from infra.signing_keys import read_key
    from infra.witness import Witness, WitnessServer
    from infra.witness_state import WitnessState

    signer = read_key(key)
    with WitnessState(state) as remembered:
        watched = Witness(signer, _verifiers(log), remembered, _tell)
        with WitnessServer(watched, host, port) as server:
            _say(
                f"{signer.verifier.vkey()}",
                f"  watches {', '.join(watched.logs)} at {host}:{server.server_port}",
            )
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                _tell("ended")
    return ExitCode.OK


def _row(span: Span, house: Installation) -> dict[str, Any]:
    signs = "signs now" if span.until is None else f"retired by event {span.until}"
    since = f"since event {span.since}"
    if not span.vouched:
        since += ", in the place of a lost key, which did not vouch for it"
    return {
        "id": span.verifier.key_id.hex(),
        "vkey": span.verifier.vkey(),
        "since": span.since,
        "until": span.until,
        "vouched": span.vouched,
        "signs": f"{signs}, {since}",
        "where": _where(span, house) if span.until is None else "not needed any more",
    }


def _where(span: Span, house: Installation) -> str:
    """Where the private key is, if it can be used from here."""
    from fwd2bot_core.errors import Fwd2BotError
    from infra.signing_keys import described, open_source

    source = house.settings.audit.key
    try:
        here = open_source(source, span.verifier.name).verifier == span.verifier
    except Fwd2BotError as error:
        return f"not to be used from here: {error}"
    return described(source) if here else f"NOT in {described(source)}, which holds another key"


def _from_here(source: str | None) -> str | None:
    """A path counts from the current folder, as in every command; the settings count from their own file."""
    if source is None or source.startswith(("env:", "command:")):
        return source
    return str(Path(source).resolve())


def _verifiers(vkeys: Sequence[str]) -> list[Verifier]:
    from fwd2bot_core.audit.notes import Verifier

    try:
        return [Verifier.parse(vkey.strip()) for vkey in vkeys]
    except NoteInvalid as error:
        raise UsageError(f"--log: {error}; copy it from `fwd2bot audit keys`") from None


def _say(*lines: str) -> None:
    for line in lines:
        terminal().print(line, markup=False, highlight=False, soft_wrap=True)


def _tell(line: str) -> None:
    from tasks.units import visible

    print(f"witness: {visible(line)}", file=sys.stderr, flush=True)  # it may hold a stranger's words
