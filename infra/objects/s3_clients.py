"""The three libraries that talk to S3, made from one set of options, each when it is first needed.

Knows how boto3, s3fs and obstore are configured. Knows nothing of keys or objects.
"""

from __future__ import annotations

import logging
import threading
from datetime import timedelta
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config

from infra.objects.s3_errors import translated
from infra.objects.s3_options import Credentials, S3Options

_log = logging.getLogger(__name__)
_FAILURES_BEFORE_GIVING_UP = 3


class Clients:
    """Clients of one bucket; safe to use from many threads. Not for pickling."""

    def __init__(self, uri: str, bucket: str, options: S3Options) -> None:
        self._uri, self._bucket, self._options = uri, bucket, options
        self._lock = threading.RLock()
        self._fast_failures = 0

    @property
    def boto(self) -> Any:
        """A boto3 S3 client."""
        with self._lock, translated(self._uri):
            return self._boto

    @property
    def files(self) -> Any:
        """An s3fs file system."""
        with self._lock, translated(self._uri):
            return self._files

    def fetch(self, key: str, condition: dict[str, str], span: tuple[int, int] | None = None) -> bytes | None:
        """The object's bytes, or those from ``span``'s first to before its second, by obstore; None for any failure:
        boto3 then finds out what it was.

        After three failures in a row that boto3 did not share (``shared_failure``) obstore is left alone: it
        may lack this network's proxy or certificates.
        """
        if self._fast_failures >= _FAILURES_BEFORE_GIVING_UP:
            return None
        import obstore
        from obstore.exceptions import BaseError, InvalidPathError

        try:
            with self._lock, translated(self._uri):
                store = self._fast
            options: dict[str, Any] = {**condition} if span is None else {**condition, "range": span}
            data = bytes(obstore.get(store, key, options=options).bytes())
        except (ValueError, InvalidPathError):  # a key that obstore has no name for
            return None
        except (BaseError, OSError) as error:
            _log.debug("obstore could not read from %s: %s", self._uri, type(error).__name__)
            self._count_failure()
            return None
        self._fast_failures = 0
        return data

    def shared_failure(self) -> None:
        """boto3 failed on the same object: the reason was not obstore."""
        self._fast_failures = 0

    def _count_failure(self) -> None:
        self._fast_failures += 1
        if self._fast_failures == _FAILURES_BEFORE_GIVING_UP:
            _log.info(
                "Reading %s with boto3 only from now on: obstore failed three times in a row.", self._uri
            )

    @cached_property
    def _credentials(self) -> Credentials | None:
        return self._options.credentials()

    @cached_property
    def _session(self) -> Any:
        access, secret, token = self._credentials or (None, None, None)
        return boto3.session.Session(
            aws_access_key_id=access,
            aws_secret_access_key=secret,
            aws_session_token=token,
            region_name=self._options.region,
        )

    @cached_property
    def _boto(self) -> Any:
        endpoint = self._options.endpoint
        region = self._session.region_name or "us-east-1"  # the one that S3 itself falls back to
        config = Config(**self._config(), tcp_keepalive=True)
        return self._session.client("s3", endpoint_url=endpoint, region_name=region, config=config)

    @cached_property
    def _files(self) -> Any:
        import s3fs

        access, secret, token = self._credentials or (None, None, None)
        return s3fs.S3FileSystem(
            key=access,
            secret=secret,
            token=token,
            endpoint_url=self._options.endpoint,
            client_kwargs={"region_name": self._boto.meta.region_name},
            config_kwargs=self._config(),
            default_cache_type="readahead",
            default_block_size=256
            * 1024,  # a footer in one request; a row group is asked for by its own range
            use_listings_cache=False,
            skip_instance_cache=True,
        )

    def _config(self) -> dict[str, Any]:
        options = self._options
        return {
            "retries": {"total_max_attempts": options.attempts, "mode": "standard"},
            "connect_timeout": options.connect_timeout,
            "read_timeout": options.read_timeout,
            "max_pool_connections": options.connections,
            "s3": {"addressing_style": options.addressing},
        }

    @cached_property
    def _fast(self) -> Any:
        from obstore.auth.boto3 import Boto3CredentialProvider
        from obstore.store import S3Store

        options, client = self._options, self._boto
        return S3Store(
            self._bucket,
            endpoint=options.endpoint,
            region=client.meta.region_name,
            virtual_hosted_style_request=options.addressing == "virtual" and options.endpoint is None,
            credential_provider=Boto3CredentialProvider(self._session, ttl=timedelta(minutes=5)),
            client_options={
                "allow_http": (options.endpoint or "").startswith("http://"),
                "connect_timeout": timedelta(seconds=options.connect_timeout),
                "read_timeout": timedelta(seconds=options.read_timeout),
                "timeout": timedelta(hours=1),
            },
            retry_config={"max_retries": options.attempts - 1},
        )
