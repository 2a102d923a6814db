"""The kinds of value that a setting may be: locations, database URLs, cron lines, sizes. Each check says what is wrong
without repeating a secret.

A plain path counts from the folder of the settings file, which whoever reads that file sets in ``base``. Knows
nothing about which settings there are.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

from fwd2bot_core.errors import UsageError
from fwd2bot_core.window import Window

SHIPPED_BUNDLES = ("nano", "fake")
EXECUTORS = ("inline", "local", "local-cuda", "slurm")
_SIZE = re.compile(r"(\d+\.?\d*|\.\d+)(e[+-]?\d+)? *([kmgtp]i?b?|b)?", re.IGNORECASE)  # as dask reads it
_SECRET_OPTION = re.compile(r"pass(?!file)|pwd", re.IGNORECASE)
_PASSWORD = re.compile(r"(://[^/@:]*:).+@")

base: ContextVar[Path] = ContextVar("folder that relative locations count from")


class Section(BaseModel):
    """A group of settings; unknown names are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def masked(value: str) -> str:
    """``value`` without the password of a ``user:password@`` in it."""
    return _PASSWORD.sub(r"\1***@", value)


def _below_base(value: str) -> Path:
    return (base.get(Path.cwd()) / Path(value).expanduser()).resolve()


def _locate(value: str) -> str:
    """A plain path becomes a file:// URI below the settings file's folder; URIs stay as they are."""
    if "://" not in value:
        return _below_base(value).as_uri()
    if "@" in urlsplit(value).netloc:
        raise ValueError("credentials do not belong into a location; see the s3 settings for where they do")
    return value


def _locate_bundle(value: str) -> str:
    return value if value in SHIPPED_BUNDLES else str(_below_base(value))


def _locate_ledger(value: str) -> str:
    from sqlalchemy import URL, make_url  # takes a third of a second, which `--help` has no use for
    from sqlalchemy.exc import ArgumentError

    if "://" not in value:
        return URL.create("sqlite", database=str(_below_base(value))).render_as_string(hide_password=False)
    try:
        url = make_url(value)
    except (ArgumentError, ValueError):
        raise ValueError(
            "this is no database URL; the form is postgresql+psycopg://user@host/database"
        ) from None
    if "@" in (url.host or ""):
        raise ValueError("write an @ inside a password as %40, and a / as %2F")
    if any(_SECRET_OPTION.search(name) for name in url.query):
        raise ValueError(
            "a password among the URL's options would be printed; put it into user:password@host, the environment "
            "(PGPASSWORD) or ~/.pgpass"
        )
    return value


def _known_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"{value!r} is no IANA time zone (such as Asia/Tokyo)") from error
    return value


def _cron(value: str) -> str:
    from cronsim import CronSim, CronSimError

    try:
        if len(value.split()) != 5:
            raise CronSimError("five fields are needed")
        CronSim(value, datetime(2026, 1, 1))
    except CronSimError as error:
        said = str(error)
        raise ValueError(
            f"{value!r} is no cron line ({said[:1].lower()}{said[1:]}); 01:00 each day is '0 1 * * *'"
        ) from None
    return value


def _hours(value: str) -> str:
    try:
        return str(Window.parse(value))
    except UsageError as error:
        raise ValueError(str(error)) from None


def _memory(value: str) -> str:
    if value != "auto" and not _SIZE.fullmatch(value.strip()):
        raise ValueError(f"{value!r} is no amount of memory; write 'auto', or such as 8GiB")
    return value


def _executor(value: str) -> str:
    """A kind of workers, or a scheduler's address; unprotected Dask never leaves this machine."""
    shown = repr(masked(value))
    if value in EXECUTORS:
        return value
    parts = urlsplit(value)
    try:
        port = parts.port
    except ValueError:
        port = None
    bare = not (parts.path or parts.query or parts.fragment or parts.username or parts.password)
    if parts.scheme not in ("tls", "tcp") or not parts.hostname or not port or not bare:
        raise ValueError(
            f"{shown} is no place for batches; write {', '.join(EXECUTORS)}, or a Dask scheduler's address such as "
            "tls://scheduler.example:8786"
        )
    if parts.scheme == "tcp" and not _is_this_machine(parts.hostname):
        raise ValueError(
            f"{shown} is another machine, and over tcp:// whoever reaches it can run any code there: make "
            "certificates with `fwd2bot cluster certs DIR`, start the scheduler with them, and write tls://"
        )
    return value


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _locate_key(value: str) -> str:
    return value if value.startswith(("env:", "command:")) else str(_below_base(value))


def anchor_place(kind: str, value: str) -> str:
    """Where an anchor of that kind is: a location, a folder, or a web address."""
    if kind == "store":
        return _locate(value)
    if kind == "directory":
        return str(_below_base(value))
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{masked(value)!r} is no web address; write https://host/path")
    if "@" in parts.netloc:
        raise ValueError("credentials do not belong into an address")
    return value


CollectionName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Location = Annotated[str, AfterValidator(_locate)]
LedgerUrl = Annotated[str, AfterValidator(_locate_ledger)]
Bundle = Annotated[str, AfterValidator(_locate_bundle)]
Zone = Annotated[str, AfterValidator(_known_zone)]
Cron = Annotated[str, AfterValidator(_cron)]
Hours = Annotated[str, AfterValidator(_hours)]
Memory = Annotated[str, AfterValidator(_memory)]
Executor = Annotated[str, AfterValidator(_executor)]
Folder = Annotated[str, AfterValidator(lambda value: str(_below_base(value)))]
SigningKey = Annotated[str, AfterValidator(_locate_key)]
PoolName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Block = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+/[a-z0-9-]+$")]  # Prefect's TYPE/NAME
Probe = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)]
