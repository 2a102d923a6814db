"""The way to a signature, in three steps on one page: say why, read and sign the text, give the signature.

The key stays with its owner; the console never sees it. Knows nothing of what is decided.
"""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import Request
from fastapi.responses import Response

from flows.console.drawing import pages_of
from flows.console.visitors import Visit
from flows.signing import statement_file
from fwd2bot_core.retention.sshsig import NAMESPACE


def sheet(
    request: Request,
    visit: Visit,
    heading: str,
    address: str,
    about: Mapping[str, str],
    statement: bytes | None,
    name: str,
    *,
    grave: bool,
) -> Response:
    """The page; ``statement`` is None as long as no reason is given. ``grave``: it cannot be taken back."""
    return pages_of(request).page(
        request,
        "signing.html",
        visit,
        heading=heading,
        address=address,
        about=dict(about),
        statement=statement.decode() if statement else None,
        file=statement_file(statement, name) if statement else None,
        namespace=NAMESPACE,
        grave=grave,
    )


def download(statement: bytes, name: str) -> Response:
    """Its exact bytes, to be signed."""
    headers = {"content-disposition": f'attachment; filename="{statement_file(statement, name)}"'}
    return Response(statement, media_type="application/octet-stream", headers=headers)


def unwrapped(signature: str) -> str:
    """What a browser's text field makes of line ends, undone."""
    return signature.replace("\r\n", "\n").strip() + "\n"
