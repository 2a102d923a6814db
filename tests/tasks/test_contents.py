"""What was read is written down once, and what is known of it only grows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from infra.installation import Installation
from infra.tables import contents, object_versions, summaries
from tasks import contents as step
from tasks import facts
from tasks.commit import commit
from tasks.plan import read_again
from tests.tasks.steps import compressed, count, planned, rows


def test_equal_contents_under_two_keys_are_one_content(
    house: Callable[..., Installation], photos: Callable[..., list[Path]]
) -> None:
    made = photos(3)
    made[1].write_bytes(made[0].read_bytes())
    installation = house()
    run, _, (batch,) = planned(installation)
    commit(installation.ledger, installation.archive, run, batch, compressed(installation, batch))
    assert count(installation, contents) == 2
    assert count(installation, summaries) == 3


def test_gaps_are_filled_and_what_was_found_stays(
    house: Callable[..., Installation], photos: Callable[..., list[Path]]
) -> None:
    """A first try could not decode the photo; a later one can, and a third says otherwise."""
    photos(1)
    installation = house()
    run, _, (batch,) = planned(installation)
    receipt = compressed(installation, batch)
    (image,) = receipt.images
    tries = (
        replace(image, width=None, height=None, format=None),
        image,
        replace(image, width=1, sha256=image.sha256),
        replace(image, sha256="0" * 64),
    )
    for known in tries:
        with installation.ledger.write() as connection:
            held = step.write(connection, replace(receipt, images=(known,)))
            facts.count(connection, read_again(installation.ledger, run, batch), held)
    found = {row.sha256: (row.width, row.height, row.format) for row in rows(installation, contents)}
    assert found[image.sha256 or ""] == (image.width, image.height, image.format)
    assert [row.content_sha256 for row in rows(installation, object_versions)] == [image.sha256]


def test_what_could_not_be_read_has_no_content(
    house: Callable[..., Installation], photos: Callable[..., list[Path]]
) -> None:
    (photo,) = photos(1)
    installation = house()
    run, _, (batch,) = planned(installation)
    photo.unlink()
    commit(installation.ledger, installation.archive, run, batch, compressed(installation, batch))
    assert rows(installation, contents) == []
