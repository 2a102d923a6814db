"""Whatever happens to a site, in whatever order, no original goes that may not, and none is lost sight of."""

from __future__ import annotations

import pytest

from tests.flows.retentions import make_site
from tests.tasks import destroy_machine
from tests.tasks.destroy_machine import PHOTOS, happened, run
from tests.tasks.disposals import Template

EXAMPLES, STEPS = 20, 16  # a longer run is ``python -m tests.prove.orders``


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_ever_goes_wrong(tmp_path_factory: pytest.TempPathFactory) -> None:
    happened.clear()
    with pytest.MonkeyPatch.context() as patch:
        template = Template(tmp_path_factory.mktemp("machine"), patch, make=make_site, photos=PHOTOS)
        run(template, EXAMPLES, STEPS)
    assert happened["deleted"] >= EXAMPLES, happened
    assert {"held", "approved"} <= set(happened), happened


def test_every_kind_of_bad_answer_is_tried() -> None:
    from tests.tasks.test_destroy_crashes import ANSWERS

    assert set(destroy_machine.ANSWERS) == set(ANSWERS) - {"as it should"}
