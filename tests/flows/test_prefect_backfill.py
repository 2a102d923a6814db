"""A backfill deployed to a Prefect server of its own, and run there as a worker would run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from infra.installation import Installation
from tests.houses import fwd2bot
from tests.servers import prefect
from tests.tasks.backfill_steps import started

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]
AUTH = "back:fill"
ask = partial(prefect.ask, auth=AUTH)
RUN = """
import sys
from flows.prefect_backfill import backfill
state = backfill(config=sys.argv[1], return_state=True)
print(state.name, state.message, sep="|")
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prefect.private(tmp_path_factory.mktemp("prefect"), every_service=True, auth=AUTH) as url:
        yield url


def test_it_is_deployed_on_demand_and_works_on_what_was_begun(
    server: str, house: BuildHouse, photos: Photos, tmp_path: Path
) -> None:
    photos(7)[3].write_bytes(b"broken")
    installation = house()
    config = tmp_path / "fwd2bot.toml"
    told = json.loads(fwd2bot("deploy", "--json", "--config", config).stdout)["changes"]
    [mine] = [change for change in told if change["name"].startswith("backfill-")]
    assert (mine["change"], mine["detail"]) == ("created", "on demand")
    again = json.loads(fwd2bot("deploy", "--json", "--config", config).stdout)["changes"]
    assert {change["change"] for change in again} <= {"unchanged", "kept"}
    [made] = [each for each in ask(f"{server}/deployments/filter", {}) if each["name"] == mine["name"]]
    assert (made["schedules"], made["entrypoint"]) == ([], "flows.prefect_backfill.backfill")
    backfill = started(installation)
    ran = subprocess.run(
        [sys.executable, "-c", RUN, str(config)], env=os.environ, capture_output=True, text=True, timeout=100
    )
    name, _, message = ran.stdout.strip().splitlines()[-1].partition("|")
    assert name == "Failed", ran.stderr  # one image cannot be compressed, and somebody is told
    assert message == (
        f"{backfill.id} done: 7 in the archive = 6 compressed + 1 rejected (not_an_image 1) + 0 left"
    )
