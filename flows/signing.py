"""How a person signs what they decide: the statement goes into a file, OpenSSH signs it, the verb is called again.

Nothing is decided before the signature is there. Knows nothing of what is decided.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.app import terminal
from fwd2bot_core.errors import UsageError
from fwd2bot_core.retention.sshsig import LONGEST, NAMESPACE
from tasks.units import visible

As = Annotated[str, Parameter("--as", help="You, as `fwd2bot people list` names you.")]
Signature = Annotated[
    Path | None,
    Parameter(help="What ssh-keygen wrote [default: write down what is to be signed, and decide nothing]."),
]


def signature_of(statement: bytes, name: str, signature: Path | None) -> str | None:
    """The signature's text; None where there is no file yet, after the statement was written to be signed.

    Raises ``UsageError`` for a file that cannot be read or written, or is no signature.
    """
    if signature is None:
        _tell(_written(statement, name))
        return None
    try:
        with signature.open("rb") as file:
            return file.read(LONGEST + 1).decode("ascii")
    except OSError as error:
        raise UsageError(f"{signature} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{signature} is no signature of ssh-keygen's") from None


def say(*lines: str) -> None:
    for line in lines:
        terminal().print(visible(line), highlight=False, markup=False, soft_wrap=True)


def statement_file(statement: bytes, name: str) -> str:
    """What a statement's file is called; the statement's hash is in it, so that another one never takes its place."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name)
    return f"{plain}-{hashlib.sha256(statement).hexdigest()[:12]}.statement"


def _written(statement: bytes, name: str) -> Path:
    """In this folder."""
    file = Path(statement_file(statement, name))
    try:
        file.write_bytes(statement)
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}; try in a folder of yours") from None
    return file


def _tell(file: Path) -> None:
    quoted = shlex.quote(str(file))
    say(
        f"nothing is decided yet: read {file}, and if you mean what it says, sign it with your registered key:",
        f"  ssh-keygen -Y sign -n {NAMESPACE} -f ~/.ssh/id_ed25519 {quoted}",
        f"then give the same command again, with --signature {quoted}.sig",
    )
