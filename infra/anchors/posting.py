"""One request to an authority, a witness or a console: bounded in time and bytes, no redirects.

Knows HTTP. Knows nothing about what is asked.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from http.client import HTTPException, HTTPMessage
from typing import IO

from fwd2bot_core.errors import StoreError, StoreUnreachable

SECONDS = 30.0
MOST_BYTES = 1024 * 1024  # of an answer


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would arrive as a GET, at somebody whom nobody named."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> None:
        return None


def post(
    url: str, data: bytes, content_type: str, *, who: str, token: str | None = None, seconds: float = SECONDS
) -> tuple[int, bytes]:
    """The status and the answer's body, as of ``get``; with a bearer ``token`` where one is needed."""
    headers = {"Content-Type": content_type, "User-Agent": "fwd2bot"}
    headers |= {} if token is None else {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(url, data, headers, method="POST")  # noqa: S310 - http(s) by the settings
    return _ask(request, who, seconds)


def get(url: str, *, who: str) -> tuple[int, bytes]:
    """The status and the answer's body, whatever the status is.

    Raises ``StoreUnreachable`` when there is no answer, ``StoreError`` for one that is too long. ``who`` is for
    the message.
    """
    return _ask(urllib.request.Request(url, headers={"User-Agent": "fwd2bot"}), who)  # noqa: S310 - as above


def _ask(request: urllib.request.Request, who: str, seconds: float = SECONDS) -> tuple[int, bytes]:
    url = request.full_url
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=seconds) as answer:
            return answer.status, _all(answer, who, url)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, _all(error, who, url)
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise StoreUnreachable(
            f"{who} does not answer at {url} ({reason}); see to it, then run again"
        ) from None


def _all(answer: IO[bytes], who: str, url: str) -> bytes:
    data = answer.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise StoreError(f"{who} at {url} answered with more than {MOST_BYTES:,} bytes; is this its address?")
    return data


def said(data: bytes) -> str:
    """The beginning of an error's body, for a message."""
    return " ".join(data[:300].decode(errors="replace").split()) or "nothing"
