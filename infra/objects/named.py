"""Objects whose names are made from what they hold: to write one twice is to write it once.

Knows the create-only put of any store. Knows nothing of what the objects are.
"""

from __future__ import annotations

import hashlib

from fwd2bot_core.errors import IntegrityError, ObjectExists
from infra.objects.protocol import ObjectStore


def create_named(store: ObjectStore, path: str, body: bytes) -> None:
    """Create-only; the name holds the body's hash, so what lies there already must be the same bytes.

    Raises ``IntegrityError`` where it is not, and leaves it alone.
    """
    try:
        store.create(path, body)
    except ObjectExists:
        if store.sha256(path) != hashlib.sha256(body).hexdigest():
            raise IntegrityError(
                f"{path} in {store.uri} does not hold the bytes that its name promises. Move it away and run again."
            ) from None
