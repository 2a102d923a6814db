"""Giving the audit log another key: both sign for it, and a crash at any moment loses neither.

Knows the order of the steps. Knows nothing about checkpoints, which the new key signs from then on.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from fwd2bot_core.audit.notes import Signer
from fwd2bot_core.errors import Fwd2BotError, UsageError
from infra import audit_keys, audit_log, pairing
from infra.audit_settings import AuditSettings
from infra.installation import Installation
from infra.signing_keys import open_source


@dataclass(frozen=True, slots=True)
class Rotated:
    """What the log says now."""

    key: audit_keys.Key  # that signs from now on
    retired: (
        str | None
    )  # the id of the one before; None: it had been retired already, and only the file was moved


def rotate_key(house: Installation, *, to: str | None = None, lost: str | None = None) -> Rotated:
    """Make the key in ``to``, or a new file in the place of the old one, the log's key.

    ``lost``: why the old key cannot sign any more; the log then says that nobody vouches for the new one. Raises
    ``UsageError`` when the log has no key yet, or the old one is there after all.
    """
    audit = house.settings.audit
    with house.ledger.write() as connection:
        pairing.check(connection, house.archive)
        name = audit_keys.origin(connection, audit)
        new, finish = audit_keys.successor(audit, name, to)
        retired = None
        if not audit_keys.is_current(connection, new):  # else a rotation was interrupted before its last step
            old = _old(connection, audit, name, lost)
            actor = audit_log.actor(connection, "operator")
            retired = audit_keys.rotate(connection, old, new, actor, lost).id
        now = audit_keys.keys(connection)[-1]
    finish()
    with house.ledger.write() as connection:
        pairing.record(connection, house.archive)  # a ledger put back to before this is then noticed
    return Rotated(now, retired)


def _old(connection: sa.Connection, audit: AuditSettings, name: str, lost: str | None) -> Signer | None:
    if lost is None:
        return open_source(audit.key, name)
    if _is_there(connection, audit, name):
        raise UsageError("the log's key is there and can sign, so it is not lost; leave --lost out")
    return None


def _is_there(connection: sa.Connection, audit: AuditSettings, name: str) -> bool:
    try:
        return audit_keys.is_current(connection, open_source(audit.key, name))
    except Fwd2BotError:
        return False
