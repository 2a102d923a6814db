"""Who may take what an archive says out of it: where people were registered, one of them, and the log says so.

Without registered people there is nobody to ask, as in a demonstration; whoever can read the ledger and the store by
other means is not stopped here. Knows roles and the log; knows nothing about what is read.
"""

from __future__ import annotations

from fwd2bot_core.audit.events import Event
from fwd2bot_core.errors import AccessDenied
from fwd2bot_core.retention.roles import Act, needed
from infra import audit_log
from infra.installation import Installation
from tasks import people
from tasks.people import Person

NOBODY = "nobody"  # how an attempt without a name is written down


def allowed(house: Installation, name: str | None, act: Act, what: str, *, images: int) -> Person | None:
    """The person that ``name`` is, who may do ``act``; the log then holds that ``what`` was read, of how many images.

    None where nobody ever was registered. Raises ``AccessDenied``, after the log says so, also for no name where
    somebody was.
    """
    with house.ledger.read() as connection:
        anybody = people.everybody(
            connection
        )  # whoever was revoked counts, too: else the last revocation opens all
    if not anybody:
        return None
    if name is None:
        error = AccessDenied(
            f"say who you are with --as: people are registered here, and this is for {needed(act)}"
        )
        people.denied(house.ledger, NOBODY, act, what, error)
        raise error
    person = people.permitted(house.ledger, name, act, what)
    _note(house, person, act, what, images)
    return person


def _note(house: Installation, person: Person, act: Act, what: str, images: int) -> None:
    with house.ledger.write() as connection:
        audit_log.hold(connection)
        event = Event(
            type="archive.read",
            occurred_at=audit_log.now(),
            actor=person.actor(),
            subject={"act": str(act), "of": audit_log.reference(connection, "subject", what)},
            after={"images": images},
        )
        audit_log.append(connection, event)
