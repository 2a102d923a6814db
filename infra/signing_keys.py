"""Opening the key that signs: a file of its owner's alone, an environment secret, or a program that asks a key store.

``PROGRAM public`` prints 32 bytes in base64, ``PROGRAM sign`` reads the text on its input and prints the 64-byte
Ed25519 signature in base64; that is all that a KMS or PKCS#11 hook must do. Knows nothing about the ledger.
"""

from __future__ import annotations

import os
import secrets
import shlex
import stat
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fwd2bot_core.audit.notes import ED25519, Ed25519Signer, Signer, Verifier, strict_base64
from fwd2bot_core.errors import Fwd2BotError, NoteInvalid, SettingsError

ENVIRONMENT = "env:"
COMMAND = "command:"
_MAX_FILE_BYTES = 4096
_PROGRAM_SECONDS = 60.0


@dataclass(frozen=True)
class ProgramSigner:
    """A key that another program keeps."""

    name: str
    command: tuple[str, ...]

    @cached_property
    def verifier(self) -> Verifier:
        """Its public key, asked for once."""
        return Verifier.of(self.name, self._ask("public", ""))

    def sign(self, text: str) -> bytes:
        """64 bytes. Whether they are right, ``notes.signature`` checks."""
        return self._ask("sign", text)

    def _ask(self, what: str, text: str) -> bytes:
        said = f"`{shlex.join(self.command)} {what}` (audit.key)"
        try:
            done = subprocess.run(
                [*self.command, what], input=text.encode(), capture_output=True, timeout=_PROGRAM_SECONDS
            )
        except OSError as error:
            raise SettingsError(
                f"{said} cannot be started: {error.strerror}; name a program that can"
            ) from None
        except subprocess.TimeoutExpired:
            raise Fwd2BotError(
                f"{said} did not answer in {_PROGRAM_SECONDS:.0f} s; nothing was signed"
            ) from None
        if done.returncode:
            why = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it says nothing"]
            raise Fwd2BotError(f"{said} failed with {done.returncode}: {why[0][:200]}; nothing was signed")
        try:
            return strict_base64(done.stdout.decode("ascii", "replace").strip(), f"the answer of {said}")
        except NoteInvalid as error:
            raise SettingsError(f"{error}; it must print base64 and nothing else") from None


def open_source(source: str, name: str, *, create: bool = False) -> Signer:
    """The signer that a setting names: a path (made if ``create``), ``env:NAME`` or ``command:PROGRAM``.

    Raises ``SettingsError`` when there is none, it is no key, or it is not the key of the log ``name``.
    """
    if source.startswith(COMMAND):
        return _of_program(source.removeprefix(COMMAND), name)
    if source.startswith(ENVIRONMENT):
        variable = source.removeprefix(ENVIRONMENT)
        if not os.environ.get(variable):
            raise SettingsError(
                f"audit.key is {source}, but {variable} is not set; set it to the signing key"
            )
        signer = _loaded(os.environ[variable], f"${variable}")
    else:
        signer = _of_file(Path(source), name, create)
    if signer.name != name or signer.verifier.kind != ED25519:
        raise SettingsError(
            f"the key in {described(source)} is for {signer.name} (type {signer.verifier.kind}), and this log is "
            f"{name}; name the log's own key in audit.key, or set audit.origin if the log's name was changed"
        )
    return signer


def described(source: str) -> str:
    """Where a key is, for people."""
    if source.startswith(ENVIRONMENT):
        return f"the environment variable {source.removeprefix(ENVIRONMENT)}"
    if source.startswith(COMMAND):
        return f"the program `{source.removeprefix(COMMAND)}`"
    return f"the file {source}"


def read_key(file: Path) -> Ed25519Signer:
    """The key in a file that nobody but its owner may read. Raises ``SettingsError``, also if there is none."""
    try:
        with file.open("rb") as opened:
            state = os.fstat(opened.fileno())  # of what is read, not of what lies there a moment later
            if not stat.S_ISREG(state.st_mode) or state.st_size > _MAX_FILE_BYTES:
                raise SettingsError(f"{file} is no signing key; name another file")
            if state.st_mode & 0o077:
                raise SettingsError(
                    f"the signing key {file} can be read or changed by others than its owner (mode "
                    f"{state.st_mode & 0o777:04o}); run `chmod 600 {shlex.quote(str(file))}`, and rotate it if "
                    "somebody may have copied it"
                )
            text = opened.read(_MAX_FILE_BYTES)
    except OSError as error:
        raise SettingsError(f"cannot read the signing key {file}: {error.strerror}") from None
    return _loaded(text.decode("ascii", "replace"), str(file))


def write_key(file: Path, signer: Ed25519Signer) -> None:
    """A new file for its owner alone, there wholly or not at all. Raises ``FileExistsError`` for one that exists."""
    new = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as sink:
            sink.write(signer.skey() + "\n")
            sink.flush()
            os.fsync(sink.fileno())
        os.link(new, file)  # unlike a rename, never over a key that another process has just made
        sync_folder(file.parent)
    except FileExistsError:
        raise
    except OSError as error:
        raise SettingsError(f"cannot make the signing key {file}: {error.strerror}") from None
    finally:
        new.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """A file's name is as durable as its bytes only after this."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _of_file(file: Path, name: str, create: bool) -> Ed25519Signer:
    if create and not file.exists():
        with suppress(FileExistsError):  # another process was quicker; its key is the one
            write_key(file, Ed25519Signer.generate(name))
    return read_key(file)


def _of_program(program: str, name: str) -> ProgramSigner:
    try:
        command = tuple(shlex.split(program))
    except ValueError as error:
        raise SettingsError(f"audit.key names no program that can be read: {error}") from None
    if not command:
        raise SettingsError("audit.key is 'command:' without a program; write command:PROGRAM")
    signer = ProgramSigner(name, command)
    try:
        signer.verifier  # noqa: B018  (asks for the public key now, while the setting can be named)
    except NoteInvalid as error:
        raise SettingsError(f"audit.key: {error}") from None
    return signer


def _loaded(text: str, where: str) -> Ed25519Signer:
    try:
        return Ed25519Signer.load(text.strip())
    except NoteInvalid as error:
        raise SettingsError(f"{where} holds no signing key: {error}") from None
