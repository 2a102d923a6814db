"""An S3 bucket, or a prefix of one, as an object store: ``s3://bucket/prefix``.

Knows S3's conditions, versions and checksums. Knows nothing of what a key means, and makes no bucket.

boto3 does everything but two things. s3fs opens files, because Parquet readers want a seekable file that
fetches ranges. obstore reads whole objects, the one request made for every image: with the same conditions it
measured 2.5 times boto3's rate on eight threads for a sixth of the processor time (100 kB objects, SeaweedFS
on loopback). It does not list, although it is faster there too: one key with a newline ends its whole listing
with an error, and it cannot name a key with ``//``. What obstore cannot read, boto3 reads, or says why not.

With ``versioned`` an object's identity is its version id, and that version is read and deleted exactly, also
when the key holds a newer one by now. A version id "null" (from before versioning) names no fixed content, so
such an object keeps ETag and size as its identity.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO, cast

from botocore.exceptions import BotoCoreError, ClientError
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from fwd2bot_core.errors import (
    KeyRefused,
    ObjectChanged,
    ObjectExists,
    ObjectForbidden,
    ObjectMissing,
    SettingsError,
    StoreError,
    StoreUnreachable,
)
from infra.objects.keys import check_key, check_prefix, refuse_unsafe
from infra.objects.protocol import ObjectInfo
from infra.objects.s3_clients import Clients
from infra.objects.s3_errors import CONFLICT, code_of, status_of, translated
from infra.objects.s3_options import S3Options

_ATTEMPT = "fwd2bot-attempt"  # metadata that tells our own put, whose answer was lost, from another's
_CHUNK = 1024 * 1024
_FAST = {"IfMatch": "if_match", "VersionId": "version"}  # boto3's names of conditions as obstore's


class S3Store:
    """Objects below a prefix of a bucket. Nothing is asked of the server until the first call."""

    def __init__(self, uri: str, options: S3Options | None = None) -> None:
        self._bucket, self._prefix = _split(uri)
        self._uri = uri
        self.options = options or S3Options()
        self._clients = Clients(uri, self._bucket, self.options)

    @property
    def uri(self) -> str:
        return self._uri

    def __repr__(self) -> str:
        return f"S3Store({self._uri!r})"

    def __reduce__(self) -> tuple[Callable[[str, S3Options], S3Store], tuple[str, S3Options]]:
        return S3Store, (self._uri, self.options)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """In the order of the keys' bytes. Empty objects whose name ends in ``/`` are folders: left out."""
        check_prefix(prefix)
        operation = "list_object_versions" if self.options.versioned else "list_objects_v2"
        return self._listing(operation, self._prefix + prefix)

    def stat(self, key: str) -> ObjectInfo:
        return self._describe(key, self._head(key))

    def read(self, key: str, *, identity: str | None = None) -> bytes:
        condition = _condition(identity)
        refuse_unsafe(key)
        fast = self._clients.fetch(
            self._prefix + key, {_FAST[name]: value for name, value in condition.items()}
        )
        return fast if fast is not None else self._read(key, condition)

    def read_span(self, key: str, start: int, length: int, *, identity: str) -> bytes:
        """As ``Spans``."""
        refuse_unsafe(key)
        condition = _condition(identity)
        fast = self._clients.fetch(
            self._prefix + key,
            {_FAST[name]: value for name, value in condition.items()},
            (start, start + length),
        )
        if fast is not None:
            return fast
        return self._read(key, condition | {"Range": f"bytes={start}-{start + length - 1}"})

    def open(self, key: str) -> BinaryIO:
        """Every range is asked for on condition that the object is still the one that was opened."""
        refuse_unsafe(key)
        if "?versionId=" in key:
            raise KeyRefused(
                f"{key!r} in {self.uri} cannot be opened as a file: its name reads like a version."
            )
        try:
            return cast(BinaryIO, self._clients.files.open(f"{self._bucket}/{self._prefix}{key}", "rb"))
        except (OSError, BotoCoreError, ClientError) as error:
            self.stat(key)  # says what is wrong, if it is the object or the store
            raise StoreError(f"{key!r} in {self.uri} cannot be opened as a file: {error}") from error

    def create(self, key: str, data: bytes) -> ObjectInfo:
        check_key(self._prefix + key)
        attempt = uuid.uuid4().hex
        try:
            answer = self._put(key, data, IfNoneMatch="*", Metadata={_ATTEMPT: attempt})
        except ObjectChanged as refused:
            there = self._head(key)
            if there.get("Metadata", {}).get(_ATTEMPT) == attempt:  # put by a try whose answer never came
                return self._describe(key, there)
            message = f"{self.uri} already holds an object {key!r}; it was left alone."
            raise ObjectExists(message) from refused
        return self._describe_put(key, data, answer)

    def replace(self, key: str, data: bytes) -> ObjectInfo:
        check_key(self._prefix + key)
        return self._describe_put(key, data, self._put(key, data))

    def sha256(self, key: str) -> str:
        """From the checksum that the server verified when the object was put, unless it is one of parts."""
        head = self._head(key, ChecksumMode="ENABLED")
        stored = head.get("ChecksumSHA256")
        if stored and "-" not in stored and head.get("ChecksumType") != "COMPOSITE":
            return base64.b64decode(stored).hex()
        digest = hashlib.sha256()
        with translated(self.uri, key):
            body = self._ask("get_object", key, IfMatch=head["ETag"])["Body"]
            for chunk in body.iter_chunks(_CHUNK):
                digest.update(chunk)
        return digest.hexdigest()

    def delete_version(self, info: ObjectInfo) -> None:
        """Raises ``ObjectForbidden`` for a version under retention or a legal hold."""
        if info.version is not None:
            if not info.marker:  # which no HEAD answers for
                self._head(info.key, VersionId=info.version)  # a DELETE of what is not there answers 204 too
            self._delete(info.key, VersionId=info.version)
            return
        head = self._head(info.key)
        if (_etag(head), head["ContentLength"]) != (info.etag, info.size):
            raise ObjectChanged(f"{self.uri} now holds another object {info.key!r}; it was not deleted.")
        version = head.get("VersionId")  # without it, a versioned bucket would only hide the object
        self._delete(info.key, **({"VersionId": version} if version else {"IfMatch": head["ETag"]}))

    def set_legal_hold(self, info: ObjectInfo, on: bool) -> None:
        """As ``LegalHolds``; read back, since a server that knows no such flags may take the request all the same."""
        named = {"VersionId": info.version} if info.version is not None else {}
        wanted = "ON" if on else "OFF"
        self._head(info.key, **named)
        with translated(self.uri, info.key):
            try:
                self._ask("put_object_legal_hold", info.key, LegalHold={"Status": wanted}, **named)
                said = self._ask("get_object_legal_hold", info.key, **named)["LegalHold"]["Status"]
            except ClientError as error:
                if status_of(error) != 400:  # what AWS says of a bucket without Object Lock
                    raise
                said = "none"
        if said != wanted:
            raise ObjectForbidden(
                f"{self.uri} keeps no legal holds (asked for {wanted}, it says {said}): was its bucket made with "
                "Object Lock?"
            )

    def versions_of(self, key: str) -> Sequence[ObjectInfo]:
        """As ``Versions``; keys are listed in their order, so the first other one ends it."""
        refuse_unsafe(key)
        wanted, found = self._prefix + key, list[ObjectInfo]()
        with translated(self.uri, key):
            pages = self._clients.boto.get_paginator("list_object_versions")
            for page in pages.paginate(Bucket=self._bucket, Prefix=wanted):
                entries = page.get("Versions", []) + page.get("DeleteMarkers", [])
                found += [self._version(key, entry) for entry in entries if entry["Key"] == wanted]
                if any(entry["Key"] != wanted for entry in entries):
                    break
        return found

    def _version(self, key: str, entry: dict[str, Any]) -> ObjectInfo:
        """An entry of a listing of versions; a delete marker has neither size nor ETag."""
        named = {"ETag": "", **entry}
        info = self._info(key, entry.get("Size", 0), named, entry["LastModified"])
        return replace(info, marker="ETag" not in entry)

    def _listing(self, operation: str, prefix: str) -> Iterator[ObjectInfo]:
        with translated(self.uri):
            pages = self._clients.boto.get_paginator(operation).paginate(Bucket=self._bucket, Prefix=prefix)
            for page in pages:
                for entry in page.get("Contents", []) + page.get("Versions", []):
                    key = entry["Key"][len(self._prefix) :]
                    is_folder = entry["Size"] == 0 and (not key or key.endswith("/"))
                    if entry.get("IsLatest", True) and not is_folder:
                        yield self._info(key, entry["Size"], entry, entry["LastModified"])

    def _read(self, key: str, condition: dict[str, str]) -> bytes:
        """With boto3, which checks the stored checksum; a body that breaks off is asked for again."""
        try:
            with translated(self.uri, key):
                for attempt in _retrying(lambda error: isinstance(error, BotoCoreError), times=3):
                    with attempt:
                        return bytes(self._ask("get_object", key, **condition)["Body"].read())
        except StoreError:
            self._clients.shared_failure()
            raise
        raise AssertionError("a retry ends with a result or an error")

    def _put(self, key: str, data: bytes, **condition: Any) -> dict[str, Any]:
        checksum = base64.b64encode(hashlib.sha256(data).digest()).decode()
        if self.options.kms_key is not None:
            condition |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.options.kms_key}
        with translated(self.uri, key):
            for attempt in _retrying(_is_conflict, times=8):
                with attempt:
                    return self._ask("put_object", key, Body=data, ChecksumSHA256=checksum, **condition)
        raise AssertionError("a retry ends with a result or an error")

    def _head(self, key: str, **options: str) -> dict[str, Any]:
        refuse_unsafe(key)
        try:
            with translated(self.uri, key):
                return self._ask("head_object", key, **options)
        except ObjectMissing:
            self._require_bucket()  # a HEAD does not say whether it missed the object or the whole bucket
            raise

    def _require_bucket(self) -> None:
        with translated(self.uri):
            try:
                self._clients.boto.head_bucket(Bucket=self._bucket)
            except ClientError as error:
                if status_of(error) == 404:
                    message = f"There is no bucket for {self.uri}: create it, or correct the setting."
                    raise StoreUnreachable(message) from error

    def _delete(self, key: str, **condition: str) -> None:
        with translated(self.uri, key):
            self._ask("delete_object", key, **condition)

    def _ask(self, operation: str, key: str, **options: Any) -> dict[str, Any]:
        call = getattr(self._clients.boto, operation)
        return cast(dict[str, Any], call(Bucket=self._bucket, Key=self._prefix + key, **options))

    def _describe(self, key: str, head: dict[str, Any]) -> ObjectInfo:
        return self._info(key, head["ContentLength"], head, head["LastModified"])

    def _describe_put(self, key: str, data: bytes, answer: dict[str, Any]) -> ObjectInfo:
        """A put does not answer with the object's time; the server's clock in the same answer is as good."""
        said = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        return self._info(key, len(data), answer, parsedate_to_datetime(said) if said else datetime.now(UTC))

    def _info(self, key: str, size: int, answer: dict[str, Any], modified: datetime) -> ObjectInfo:
        version = answer.get("VersionId") if self.options.versioned else None
        return ObjectInfo(
            key=key,
            size=size,
            etag=_etag(answer),
            version=None if version == "null" else version,
            modified=modified.astimezone(UTC),
        )


def _split(uri: str) -> tuple[str, str]:
    """``s3://bucket/a/b`` -> ``bucket``, ``a/b/``."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or set("@:?#") & set(bucket):
        raise SettingsError("An S3 store is written s3://bucket/prefix, and never with credentials in it.")
    prefix = prefix.strip("/")
    if prefix:
        check_key(prefix)
    return bucket, f"{prefix}/" if prefix else ""


def _condition(identity: str | None) -> dict[str, str]:
    """What makes a GET answer with that object version only."""
    if identity is None:
        return {}
    kind, _, name = identity.partition(":")
    if kind == "v":
        return {"VersionId": name}
    return {"IfMatch": f'"{name.rpartition(":")[0]}"'}


def _etag(answer: dict[str, Any]) -> str:
    return str(answer["ETag"]).strip('"')


def _is_conflict(error: BaseException) -> bool:
    """Two conditional puts met: S3 answers 409 and asks for another try."""
    return isinstance(error, ClientError) and code_of(error) in CONFLICT


def _retrying(when: Callable[[BaseException], bool], *, times: int) -> Retrying:
    return Retrying(
        retry=retry_if_exception(when),
        stop=stop_after_attempt(times),
        wait=wait_random_exponential(multiplier=0.1, max=2.0),
        reraise=True,
    )
