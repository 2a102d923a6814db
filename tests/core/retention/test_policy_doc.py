"""What the document for compliance staff promises is what the code does."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from fwd2bot_core.retention.decision import Condition
from fwd2bot_core.retention.periods import Period, Rounding, not_before
from fwd2bot_core.retention.policy_file import read
from fwd2bot_core.retention.wording import sentences

DOC = (Path(__file__).parents[3] / "docs" / "retention-policy.md").read_text()
TOKYO = ZoneInfo("Asia/Tokyo")
EXAMPLE = DOC.partition("```yaml\n")[2].partition("```")[0]
ROWS = re.findall(
    r"^\| (\d+ \w+ \d{4})(?:, (\d\d:\d\d))?[^|]* \| (P\w+) \| (\S+) \| (\d+ \w+ \d{4})", DOC, re.MULTILINE
)


def test_the_example_is_read_as_the_sentences_say() -> None:
    document = read(EXAMPLE.encode())
    told = " ".join(DOC.split())
    for sentence in sentences(document.policy, datetime(2026, 11, 24, tzinfo=UTC)):
        assert sentence in told
    assert hashlib.sha256(EXAMPLE.encode()).hexdigest() in DOC


@pytest.mark.parametrize("row", ROWS, ids=" ".join)
def test_the_table_of_periods_is_right(row: tuple[str, str, str, str, str]) -> None:
    taken, hour, retain, rounding, first = row
    at = datetime.strptime(f"{taken} {hour or '10:00'}", "%d %B %Y %H:%M").replace(tzinfo=TOKYO)
    found = not_before(at, Period.parse(retain), Rounding.parse(rounding), TOKYO)
    assert f"{found.astimezone(TOKYO):%-d %B %Y}" == first


def test_the_table_has_rows_and_every_condition_is_explained() -> None:
    assert len(ROWS) == 7
    asked = re.findall(r"^\| (\w+) \| .*\? \|$", DOC, re.MULTILINE)
    assert asked == [str(condition) for condition in Condition]
