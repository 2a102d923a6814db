"""What the doctor asks of the stores: the archive keeps create-only puts, originals can be read, and where a policy in
force lets originals go they have versions that can be named one by one.

Knows nothing about what an image is, nor whether one may go.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from urllib.parse import unquote, urlsplit

import sqlalchemy as sa

from fwd2bot_core.errors import ObjectExists, ObjectForbidden, StoreError
from fwd2bot_core.retention.policy import Observe
from fwd2bot_core.retention.policy_file import read
from infra.doctor_limits import clock_problem, disk_problem
from infra.installation import Installation
from infra.objects import ObjectInfo, ObjectStore
from infra.retention_tables import policies

LOOKED_AT = 1000  # originals, for versions: one page of a listing


def archive(house: Installation) -> str:
    """Create-only puts are what the whole design stands on, so they are tried, not believed. Raises ``StoreError``."""
    store, key = house.archive, f"doctor/{secrets.token_hex(8)}"
    before = datetime.now(UTC)
    made = _put(store, key)
    after = datetime.now(UTC)
    try:
        made = store.create(key, b"second")
    except ObjectExists:
        pass
    else:
        raise StoreError(f"{store.uri} let a create-only put overwrite an object; do not use it as archive")
    finally:
        store.delete_version(made)
    for problem in (clock_problem(store.uri, made.modified, before, after), _disk(store)):
        if problem is not None:
            raise StoreError(problem)
    return f"{store.uri} takes create-only puts and keeps them"


def originals(house: Installation, name: str) -> str:
    """They can be listed and asked for; versions where something needs them. Raises ``StoreError``."""
    store = house.originals(name)
    _, source = house.settings.collection(name)
    first = list(islice(store.list(source.prefix), LOOKED_AT))
    if not first:
        return f"{store.uri} answers; there is nothing below {source.prefix!r}"
    store.stat(first[0].key)
    if not any(info.version for info in first):
        _need_none(store, name, source.s3.versioned, _letting_go(house, name))
    return f"{store.uri} lists and answers"


def _put(store: ObjectStore, key: str) -> ObjectInfo:
    try:
        return store.create(key, b"probe")
    except ObjectForbidden as error:
        raise ObjectForbidden(
            f"{store.uri} can be reached and not be written ({error}) Let these credentials put objects there "
            "(s3:PutObject; a folder: write permission), or correct archive.store."
        ) from error


def _disk(store: ObjectStore) -> str | None:
    """A folder of this machine has a disk that can be looked at."""
    parts = urlsplit(store.uri)
    return disk_problem(store.uri, Path(unquote(parts.path))) if parts.scheme == "file" else None


def _need_none(store: ObjectStore, name: str, asked_for: bool, policies: Iterable[str]) -> None:
    """Originals without version ids are right for a night; not for who asks for ids, nor for who lets originals go."""
    if store.uri.startswith("s3://"):
        cure = f"switch versioning on for its bucket, and set collections.{name}.s3.versioned = true"
    else:
        cure = "move them to a bucket with versions"
    if asked_for:
        raise StoreError(
            f"{store.uri} gives its objects no versions, though collections.{name}.s3.versioned is set: switch "
            "versioning on for its bucket, before the first night."
        )
    if named := ", ".join(policies):
        raise StoreError(
            f"{store.uri} names no single versions, so nothing of it can be destroyed for certain, though policy "
            f"{named} lets it go: {cure}; or set the policy's rollout to observe."
        )


def _letting_go(house: Installation, collection: str) -> Iterator[str]:
    """The policies in force that let originals of the collection go."""
    with house.ledger.read() as connection:
        texts = connection.execute(sa.select(policies.c.yaml).where(policies.c.state == "active")).scalars()
        for text in texts.all():
            policy = read(bytes(text)).policy
            if collection in policy.collections and not isinstance(policy.rollout, Observe):
                yield f"{policy.id} version {policy.version}"
