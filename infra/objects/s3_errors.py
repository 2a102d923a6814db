"""What botocore's errors mean for us. Knows S3's error codes; knows nothing of a request's purpose."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore import exceptions as boto
from botocore.exceptions import BotoCoreError, ClientError

from fwd2bot_core.errors import (
    KeyRefused,
    ObjectChanged,
    ObjectForbidden,
    ObjectMissing,
    StoreError,
    StoreUnreachable,
)

CONFLICT = {"ConditionalRequestConflict", "OperationAborted", "409"}
PRECONDITION = {"PreconditionFailed", "412"}
_MISSING = {
    "NoSuchKey",
    "NoSuchVersion",
    "NotFound",
    "404",
    "MethodNotAllowed",
    "405",
}  # 405: a delete marker
_FORBIDDEN = {"AccessDenied", "AllAccessDisabled", "Forbidden", "403"}
_BAD_CREDENTIALS = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "TokenRefreshRequired",
    "Unauthorized",
    "401",
}
_WRONG_REGION = {
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "301",
}
_BAD_KEY = {"KeyTooLongError", "InvalidURI", "InvalidObjectName"}
_NO_CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.ProfileNotFound,
    boto.TokenRetrievalError,
    boto.SSOError,
    boto.LoginError,
)


@contextmanager
def translated(uri: str, key: str = "") -> Iterator[None]:
    """Turn botocore's errors into ours; ``key`` is empty when the whole store was asked."""
    try:
        yield
    except ClientError as error:
        raise from_client_error(error, uri, key) from error
    except BotoCoreError as error:
        raise _from_botocore(error, uri, key) from error


def code_of(error: ClientError) -> str:
    """S3's error code, or the HTTP status as text where the answer had no body (HEAD)."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: ClientError) -> int:
    """The HTTP status; 0 if there was none."""
    metadata: dict[str, Any] = error.response.get("ResponseMetadata", {})
    return int(metadata.get("HTTPStatusCode", 0))


def from_client_error(error: ClientError, uri: str, key: str) -> StoreError:
    """The server answered, and this is what its answer means."""
    code, said = code_of(error), str(error.response.get("Error", {}).get("Message", ""))
    what = f"{key!r} in {uri}" if key else uri
    if code == "NoSuchBucket":
        return StoreUnreachable(f"There is no bucket for {uri}: create it, or correct the setting.")
    if code in _BAD_CREDENTIALS:
        return StoreUnreachable(f"{uri} refuses the credentials ({code}): give it valid and unexpired ones.")
    if code == "RequestTimeTooSkewed":
        return StoreUnreachable(
            f"{uri} refuses us because its clock and ours differ by many minutes ({code}): set this machine's clock by "
            "a time server (chronyc tracking, timedatectl)."
        )
    if code in _WRONG_REGION:
        return StoreUnreachable(f"{uri} is in another region ({code}: {said}): set its region.")
    if code in _FORBIDDEN:
        return ObjectForbidden(f"{what} is refused ({code}): grant these credentials access to it.")
    if code == "InvalidObjectState":
        return ObjectForbidden(f"{what} is in an archive tier: restore it there before it can be read.")
    if code in _MISSING:
        return ObjectMissing(f"{uri} holds no object {key!r}, or not that version of it ({code}).")
    if code in PRECONDITION:
        return ObjectChanged(f"{uri} now holds another object {key!r} than was listed; list it again.")
    if code in _BAD_KEY:
        return KeyRefused(f"{uri} cannot hold the key {key!r} ({code}: {said}).")
    if status_of(error) >= 500:
        return StoreUnreachable(
            f"{what}: the server kept failing ({code}: {said}); see to it, then run again."
        )
    return StoreError(f"{what}: the server answered {code}: {said}")


def _from_botocore(error: BotoCoreError, uri: str, key: str) -> StoreError:
    """The server did not answer, or we could not ask."""
    said = " ".join(str(error).split())
    if isinstance(error, boto.FlexibleChecksumError):
        return StoreError(f"{key!r} in {uri} arrived damaged ({said}); read it again.")
    if isinstance(error, _NO_CREDENTIALS):
        return StoreUnreachable(
            f"No usable credentials for {uri} ({said}): "
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile."
        )
    if isinstance(error, boto.NoRegionError):
        return StoreUnreachable(f"No region is known for {uri}: set one.")
    if isinstance(error, boto.ParamValidationError):
        return StoreError(f"{uri} is not a request that can be made: {said}")
    return StoreUnreachable(f"{uri} does not answer ({said}): check its endpoint and the network.")
