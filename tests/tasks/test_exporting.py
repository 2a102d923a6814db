"""Where people are registered, one of them reads in bulk, by name and role, and the log says so; each refusal, too."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fwd2bot_core.errors import AccessDenied
from fwd2bot_core.retention.roles import Act, Role
from infra.installation import Installation
from tasks import people
from tasks.exporting import allowed
from tests.tasks.signers import Signer
from tests.tasks.steps import events


@pytest.fixture
def site(house: Callable[..., Installation]) -> Installation:
    made = house()
    people.register(made.ledger, "Dana", Signer().public, [Role.DATA_TEAM])
    people.register(made.ledger, "Opal", Signer().public, [Role.OPERATOR])
    return made


def test_where_nobody_is_registered_there_is_nobody_to_ask(house: Callable[..., Installation]) -> None:
    made = house()
    assert allowed(made, None, Act.EXPORT, "answers", images=3) is None
    assert events(made, "archive.read") == []


def test_the_data_team_may_and_the_log_says_so(site: Installation) -> None:
    person = allowed(site, "Dana", Act.EXPORT, "answers", images=3)
    assert person is not None
    (event,) = events(site, "archive.read")
    assert (event["after"], event["subject"]["act"]) == ({"images": 3}, "tokens.export")
    assert event["actor"]["ref"] == person.ref


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (None, "say who you are with --as"),
        ("Opal", "is for compliance or data_team"),
        ("Eve", "not registered"),
    ],
)
def test_others_may_not_and_the_log_says_that(site: Installation, name: str | None, says: str) -> None:
    with pytest.raises(AccessDenied, match=says):
        allowed(site, name, Act.EXPORT, "answers", images=3)
    assert len(events(site, "access.denied")) == 1
    assert events(site, "archive.read") == []


def test_when_the_last_one_was_revoked_nobody_may(site: Installation) -> None:
    for name in ("Dana", "Opal"):
        people.revoke(site.ledger, name, "left")
    with pytest.raises(AccessDenied):
        allowed(site, None, Act.EXPORT, "answers", images=1)
