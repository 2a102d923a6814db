"""The views for dashboards, and every query of the Grafana dashboard, on a real PostgreSQL after a real night."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from infra.checkpoints import sign_checkpoint
from infra.database import open_ledger
from infra.installation import Installation
from tests.houses import night

DEPLOY = Path(__file__).parents[2] / "infra" / "deploy"
VIEWS = DEPLOY / "dashboard-views.sql"
DASHBOARD = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
PASSWORD = "only-in-this-test"
RETENTION = b"""
    INSERT INTO policies (id, version, sha256, meaning_sha256, yaml, state, author_ref, drafted_at)
        VALUES ('P', 1, '', '', '', 'active', '', now());
    INSERT INTO disposition_lists (id, collection_id, policy_id, policy_version, policy_sha256, as_of, path, sha256,
            objects, bytes, approvals, state, author_ref, made_at, expires_at)
        SELECT 'L', id, 'P', 1, '', now(), 'p', '', 2, 2, 1, 'grace', '', now(), now() FROM collections;
    INSERT INTO disposition_items (list_id, object_version_id, number, state, reason, changed_at)
        SELECT 'L', id, id, CASE id WHEN 1 THEN 'blocked' ELSE 'destroyed' END, CASE id WHEN 1 THEN 'hold' END, now()
        FROM object_versions WHERE id IN (1, 2);
    UPDATE object_versions SET destroyed_seq = 0 WHERE id = 2;
    INSERT INTO legal_holds (id, name, reason, author_ref, confidential, placed_at, released_at)
        VALUES (1, 'case', '', '', true, now(), NULL), (2, 'old case', '', '', false, now(), now());
    INSERT INTO hold_members (hold_id, object_version_id) VALUES (1, 1), (2, 2);
"""


def apply_views(url: str) -> None:
    with psycopg.connect(_plain(url), autocommit=True) as connection:
        connection.execute(VIEWS.read_bytes())
        connection.execute(f"ALTER ROLE fwd2bot_dashboard PASSWORD '{PASSWORD}'")


def _plain(url: str, **changed: str) -> str:
    return sa.make_url(url).set(drivername="postgresql", **changed).render_as_string(hide_password=False)


@contextmanager
def as_dashboard(url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(
        _plain(url, username="fwd2bot_dashboard", password=PASSWORD), autocommit=True
    ) as connection:
        yield connection


def in_sql(query: str, collection: str = "line-1") -> str:
    """A panel's query as Grafana would send it, for the last day."""
    since, until = (
        f"'{at.isoformat()}'" for at in (datetime.now(UTC) - timedelta(days=1), datetime.now(UTC))
    )
    query = re.sub(r"\$__timeFilter\(([^)]+)\)", rf"\1 BETWEEN {since} AND {until}", query)
    return query.replace("$collection", f"'{collection}'")


def queries() -> dict[str, str]:
    panels = {panel["title"]: panel["targets"][0]["rawSql"] for panel in DASHBOARD["panels"]}
    return panels | {v["label"]: v["query"] for v in DASHBOARD["templating"]["list"] if v["type"] == "query"}


@pytest.fixture
def after_a_night(
    postgres_url: Callable[[], str], house: Callable[..., Installation], photos: Callable[..., list[Path]]
) -> str:
    """A ledger with one night of 25 images and one broken file, a signed checkpoint, and the views."""
    url = postgres_url()
    (photos(25)[0].parent / "broken.jpg").write_bytes(b"no photo")
    made = house(archive={"ledger": url})
    night(made)
    sign_checkpoint(made, reason="test")
    apply_views(url)
    return url


def test_the_views_say_what_the_night_did(after_a_night: str) -> None:
    with as_dashboard(after_a_night) as connection:

        def one(query: str) -> tuple[Any, ...]:
            found = connection.execute(query).fetchall()
            assert len(found) == 1
            return tuple(found[0])

        run = one(
            "SELECT collection, state, images, failed, images_per_second > 0, seconds > 0 FROM dashboard.nights"
        )
        assert run == ("line-1", "partly_failed", 25, 1, True, True)
        assert one("SELECT reason, open FROM dashboard.failures") == ("not_an_image", True)
        originals, size, destroyed, freed, stored, net = one(
            "SELECT originals, original_bytes, destroyed, freed_bytes, stored_bytes, net_saved_bytes"
            " FROM dashboard.bytes"
        )
        assert (originals, destroyed, freed) == (26, 0, 0)
        assert size > 0
        assert net == -stored < 0
        events, signed, unsigned, anchored = one(
            "SELECT events, signed, unsigned_events, anchored FROM dashboard.audit"
        )
        assert events == signed > 5
        assert (unsigned, anchored) == (0, 0)


def test_every_query_of_the_dashboard_runs_as_its_role(after_a_night: str) -> None:
    filled = {
        "Last night ended",
        "Open failures",
        "Images per second",
        "Images a night",
        "Nights",
        "Failures by reason",
        "Read and stored, a batch",
        "Bytes by collection",
        "Checkpoints",
        "Collection",
    }
    assert filled <= set(queries())
    with as_dashboard(after_a_night) as connection:
        for title, query in queries().items():
            rows = connection.execute(in_sql(query).encode()).fetchall()
            assert rows or title not in filled, title


def test_the_dashboards_role_reads_no_table_and_the_views_may_be_made_again(after_a_night: str) -> None:
    apply_views(after_a_night)
    with as_dashboard(after_a_night) as connection:
        for statement in (
            "SELECT * FROM public.audit_values",
            "SELECT * FROM public.runs",
            "DELETE FROM dashboard.collections",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def test_the_views_work_beside_the_roles(postgres_url: Callable[[], str]) -> None:
    url = postgres_url()
    open_ledger(url).close()
    for _ in range(2):
        with psycopg.connect(_plain(url), autocommit=True) as connection:
            connection.execute((DEPLOY / "postgres-roles.sql").read_bytes())
        apply_views(url)
    with as_dashboard(url) as connection:
        assert connection.execute("SELECT events FROM dashboard.audit").fetchone() == (0,)


def test_panels_are_told_apart_and_do_not_overlap() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for at in (panel["gridPos"] for panel in panels):
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_retention_is_counted_and_a_hold_is_never_named(after_a_night: str) -> None:
    """One list of two originals, one of them destroyed and the other under a confidential hold."""
    with psycopg.connect(_plain(after_a_night), autocommit=True) as connection:
        connection.execute(RETENTION)
    with as_dashboard(after_a_night) as connection:
        lists = connection.execute("SELECT list_id, policy, state, objects FROM dashboard.disposition_lists")
        assert lists.fetchall() == [("L", "P", "grace", 2)]
        states = connection.execute(
            "SELECT state, reason, objects FROM dashboard.disposition_states ORDER BY state"
        )
        assert states.fetchall() == [("blocked", "hold", 1), ("destroyed", None, 1)]
        holds = connection.execute("SELECT * FROM dashboard.holds")
        assert holds.fetchall() == [("line-1", 1, 1)]
        saved = connection.execute("SELECT destroyed, freed_bytes > 0 FROM dashboard.bytes")
        assert saved.fetchall() == [(1, True)]
