"""Whatever happens to a site, in whatever order, no original goes that may not, and none is lost sight of."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.flows.retentions import make_site
from tests.tasks import destroy_machine
from tests.tasks.destroy_machine import PHOTOS, Site, happened
from tests.tasks.disposals import Template

EXAMPLES, STEPS = 12, 14  # a longer run is ``python -m tests.prove.destruction``


@pytest.mark.slow
def test_nothing_ever_goes_wrong(tmp_path_factory: pytest.TempPathFactory) -> None:
    happened.clear()
    with pytest.MonkeyPatch.context() as patch:
        template = Template(tmp_path_factory.mktemp("machine"), patch, make=make_site, photos=PHOTOS)
        machine = type("Machine", (Site,), {"template": template})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                derandomize=True,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    assert happened["deleted"] > EXAMPLES, happened
    assert {"held", "restored", "approved"} <= set(happened), happened


def test_every_kind_of_bad_answer_is_tried() -> None:
    from tests.tasks.test_destroy_crashes import ANSWERS

    assert set(destroy_machine.ANSWERS) == set(ANSWERS) - {"as it should"}
