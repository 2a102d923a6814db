"""Object stores by URI. Importing this costs nothing: boto3, s3fs and obstore wait until a store needs them.

Knows the schemes. Knows nothing of what each store does behind the protocol.
"""

from __future__ import annotations

from fwd2bot_core.errors import SettingsError
from infra.objects.protocol import LegalHolds, ObjectInfo, ObjectStore, Spans, Versions
from infra.objects.s3_options import S3Options

__all__ = ["LegalHolds", "ObjectInfo", "ObjectStore", "S3Options", "Spans", "Versions", "open_store"]


def open_store(uri: str, *, s3: S3Options | None = None, create_root: bool = False) -> ObjectStore:
    """The store at ``file:///path``, ``s3://bucket/prefix`` or ``memory://name``; or none, ``edge://name``.

    ``s3`` says how an S3 store is reached; ``create_root`` makes a missing folder (never a bucket). Raises
    ``SettingsError`` for any other URI, and ``StoreUnreachable`` for a folder that is not there; whether a
    bucket answers shows at its first use.
    """
    scheme, separator, rest = uri.partition("://")
    if separator and scheme == "file":
        from infra.objects.file import FileStore

        return FileStore(uri, create_root=create_root)
    if separator and scheme == "s3":
        from infra.objects.s3 import S3Store

        return S3Store(uri, s3)
    if separator and scheme == "memory" and rest:
        from infra.objects.memory import MemoryStore

        return MemoryStore.named(rest)
    if separator and scheme == "edge" and rest:
        from infra.objects.edge import EdgeStore

        return EdgeStore(uri)
    raise SettingsError(
        f"{uri!r} names no object store: write file:///absolute/path, s3://bucket/prefix or memory://name."
    )
