"""The test server keeps strangers out, and each database that it makes is a new one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa


def connect(url: sa.URL) -> None:
    engine = sa.create_engine(url)
    try:
        engine.connect().close()
    finally:
        engine.dispose()


def test_a_wrong_password_is_refused(postgres_url: Callable[[], str]) -> None:
    url = sa.make_url(postgres_url())
    connect(url)
    with pytest.raises(sa.exc.OperationalError, match="password authentication failed"):
        connect(url.set(password="wrong"))


def test_each_database_is_a_new_one(postgres_url: Callable[[], str]) -> None:
    assert len({postgres_url(), postgres_url()}) == 2
