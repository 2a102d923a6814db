"""An S3 bucket whose new objects are locked: what was put with ``create`` cannot be deleted or changed for a while.

Knows Object Lock: whether a bucket has it, how an object is put under it, until when the server says it is kept,
and which versions lie under a delete marker. Knows nothing of what is locked. A bucket without Object Lock takes
the same objects unlocked; whoever needs to know asks ``locks``. What is put with ``replace`` is never locked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Literal

from botocore.exceptions import ClientError

from infra.objects.keys import check_prefix
from infra.objects.protocol import ObjectInfo
from infra.objects.s3 import S3Store
from infra.objects.s3_errors import code_of, translated
from infra.objects.s3_options import S3Options

_NO_LOCK = {"ObjectLockConfigurationNotFoundError", "NoSuchObjectLockConfiguration"}


@dataclass(frozen=True, slots=True)
class Retention:
    """How long new objects are kept, from the moment of their put, and whether an administrator may lift it."""

    days: int
    mode: Literal["COMPLIANCE", "GOVERNANCE"] = "COMPLIANCE"


class LockedS3Store(S3Store):
    """An ``S3Store`` that puts new objects under retention wherever the bucket can."""

    def __init__(self, uri: str, options: S3Options | None, retention: Retention) -> None:
        super().__init__(uri, (options or S3Options()).model_copy(update={"versioned": True}))
        self.retention = retention

    def __reduce__(self) -> tuple[Callable[..., S3Store], tuple[Any, ...]]:
        return LockedS3Store, (self.uri, self.options, self.retention)

    @cached_property
    def locks(self) -> bool:
        """Whether the bucket has Object Lock; asked once."""
        with translated(self.uri):
            try:
                answer = self._clients.boto.get_object_lock_configuration(Bucket=self._bucket)
            except ClientError as error:
                if code_of(error) in _NO_LOCK:
                    return False
                raise
        return bool(answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled")

    def locked_until(self, info: ObjectInfo) -> datetime | None:
        """Until when the server says that it keeps this version; None: it may be deleted."""
        named = {"VersionId": info.version} if info.version else {}
        until = self._head(info.key, **named).get("ObjectLockRetainUntilDate")
        return until.astimezone(UTC) if until else None

    def versions(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every version under ``prefix``, also those that a newer one or a delete marker hides."""
        check_prefix(prefix)
        with translated(self.uri):
            pages = self._clients.boto.get_paginator("list_object_versions")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + prefix):
                for entry in page.get("Versions", []):
                    key = entry["Key"][len(self._prefix) :]
                    yield self._info(key, entry["Size"], entry, entry["LastModified"])

    def _put(self, key: str, data: bytes, **condition: Any) -> dict[str, Any]:
        if "IfNoneMatch" in condition and self.retention.days and self.locks:
            until = datetime.now(UTC) + timedelta(days=self.retention.days)
            condition |= {"ObjectLockMode": self.retention.mode, "ObjectLockRetainUntilDate": until}
        return super()._put(key, data, **condition)
