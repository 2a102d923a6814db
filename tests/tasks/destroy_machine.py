"""A site under everything that may happen to it, in any order: people, clocks, crashes, a store that answers badly.

Each step is done by the product's own functions, and noted in a ``Notebook`` beside it. When a deletion
takes effect the notebook is asked whether the original may go; after each step nothing may be wrong; at the end a run
under good conditions comes to an end and the audit log is what was signed. Knows how things are done to a site.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis.strategies as st
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import tasks.destroy
from fwd2bot_core.audit.verdicts import Verdict
from fwd2bot_core.errors import Fwd2BotError
from fwd2bot_core.retention.roles import Role
from infra import audit_log
from infra.checkpoints import sign_checkpoint
from infra.crashpoints import DESTROY_STEPS
from infra.database import Ledger
from infra.objects import ObjectInfo
from infra.retention_tables import disposition_items, object_facts, object_tags, policies
from tasks import disposition, holds, people, rescue, restore, review
from tasks.audit_verify import verify_log
from tasks.destroy_checks import GONE_UNANCHORED
from tests.houses import tiny_jpeg
from tests.tasks.destroy_model import Listed, Notebook
from tests.tasks.disposals import Template, World
from tests.tasks.signers import Signer
from tests.tasks.steps import rows
from tests.tasks.stormy import Crash

PHOTOS = 6
POLICY = "test-policy"
APPROVERS = ("Ann", "Ben", "Cy")
ANSWERS = ("effect-timeout", "timeout", "forbidden", "missing", "lie", "deaf", "die-before", "die-after")
NO_POLICY, NO_ANCHOR = "no policy", "no anchor"
TROUBLES = (NO_POLICY, NO_ANCHOR, *(timedelta(hours=hours) for hours in (-9000, -2, 2, 9000)))
TAKEN = datetime(2020, 5, 1, tzinfo=UTC)
_HARMLESS = {Verdict.VALID, Verdict.NOT_YET_ANCHORED, Verdict.CLOCK_SUSPECT}
photos = st.integers(0, PHOTOS - 1)
happened = Counter[str]()  # over all examples, so that a test can tell whether they were about anything


class Clocks:
    """The database's clock, which is right, and this machine's, which may be wrong."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.passed, self.off, self._real = timedelta(0), timedelta(0), audit_log.now
        patch.setattr(audit_log, "now", lambda: self.true() + self.off)
        patch.setattr(Ledger, "now", self._sql)

    def true(self) -> datetime:
        return self._real() + self.passed

    def _sql(self, connection: sa.Connection) -> sa.ColumnElement[Any]:
        return sa.literal_column(f"'{self.true():%Y-%m-%d %H:%M:%S.%f}'")


class Site(RuleBasedStateMachine):
    """``template`` is given by whoever runs it."""

    template: Template

    @initialize()
    def begin(self) -> None:
        self.patch = pytest.MonkeyPatch()
        self.world: World = self.template.world()
        self.clocks, self.book = Clocks(self.patch), Notebook()
        self.world.store.before = self._deleted
        self.numbers = list(self.world.numbers)
        self.meanwhile = dict[str, Callable[[], None]]()  # by the step of a destruction: what happens there
        self.patch.setattr(tasks.destroy, "reach", self._reach)
        self.signers = dict(self.world.approvers) | {"Nora": Signer(), "Opa": Signer()}
        for name, role in (("Nora", Role.COMPLIANCE), ("Opa", Role.OPERATOR)):
            people.register(self.house.ledger, name, self.signers[name].public, [role])
        self.a_list_is_due()

    @property
    def house(self) -> Any:
        return self.world.house

    # people

    def a_list_is_due(self) -> None:
        """Made, approved by two, its grace over, and the log was signed meanwhile."""
        self.somebody_makes_lists()
        for who in APPROVERS:
            self.somebody_approves(0, who)
        self.days_pass(32, audited=True)

    @rule()
    def somebody_makes_lists(self) -> None:
        with suppress(Fwd2BotError):
            for made in disposition.make(self.house, POLICY, "Opa"):
                query = sa.select(disposition_items.c.object_version_id)
                found = rows(self.house, query.where(disposition_items.c.list_id == made.id))
                self.book.lists[made.id] = Listed({row.object_version_id for row in found})
                happened["listed"] += 1

    @rule(which=st.integers(0, 2), who=st.sampled_from(APPROVERS))
    def somebody_approves(self, which: int, who: str) -> None:
        for name, mine in self._one_list(which):
            with suppress(Fwd2BotError):
                review.approve(self.house, name, who, "seen", self._sign(name, who, approved=True))
                mine.approved_by.add(who)
                if mine.approved_at is None and len(mine.approved_by - self.book.revoked) >= 2:
                    mine.approved_at = self.clocks.true()
                    happened["approved"] += 1

    @rule(which=st.integers(0, 2))
    def compliance_refuses(self, which: int) -> None:
        for name, mine in self._one_list(which):
            with suppress(Fwd2BotError):
                review.refuse(self.house, name, "Nora", "no", self._sign(name, "Nora", approved=False))
                mine.refused = True

    @rule(which=st.integers(0, 2), photo=photos)
    def somebody_rescues(self, which: int, photo: int) -> None:
        for name, mine in self._one_list(which):
            mine.rescued |= set(rescue.rescue(self.house, name, "Opa", [self.numbers[photo]]).done)

    @rule(photo=photos)
    def compliance_holds(self, photo: int) -> None:
        number, _ = holds.place(self.house, "Nora", "case", "a claim", [self.numbers[photo]])
        self.book.holds[number] = self.numbers[photo]
        happened["held"] += 1

    @precondition(lambda self: self.book.holds)
    @rule(oldest=st.booleans())
    def compliance_releases(self, oldest: bool) -> None:
        number = (min if oldest else max)(self.book.holds)
        said = holds.statement(number, "Nora", "settled")
        holds.release(self.house, number, "Nora", "settled", self.signers["Nora"].sign(said))
        del self.book.holds[number]

    @precondition(lambda self: not self.book.revoked)
    @rule(who=st.sampled_from(APPROVERS))
    def an_approver_leaves(self, who: str) -> None:
        people.revoke(self.house.ledger, who, "left")
        self.book.revoked.add(who)

    # what policies look at

    @rule(photo=photos, known=st.booleans())
    def a_capture_date_changes(self, photo: int, known: bool) -> None:
        number = self.numbers[photo]
        self.world.write(
            object_facts.update().where(object_facts.c.object_version_id == number)
            .values(captured_at=TAKEN if known else None)
        )  # fmt: skip
        (self.book.undated.discard if known else self.book.undated.add)(number)

    @rule(photo=photos)
    def a_dispute_begins_or_ends(self, photo: int) -> None:
        number, tags = self.numbers[photo], object_tags
        if number in self.book.disputed:
            self.world.write(tags.delete().where(tags.c.object_version_id == number))
        else:
            self.world.write(tags.insert().values(object_version_id=number, tag="disputed"))
        self.book.disputed ^= {number}

    # clocks and machines

    @rule(days=st.sampled_from([1, 10, 32]), audited=st.booleans())
    def days_pass(self, days: int, audited: bool) -> None:
        for _ in range(0, days, 7):
            self.clocks.passed += timedelta(days=min(days, 7))
            if audited:
                self.the_log_is_signed()

    @rule()
    def the_log_is_signed(self) -> None:
        with suppress(Fwd2BotError):
            sign_checkpoint(self.house, reason="daily")

    @rule(trouble=st.sampled_from(TROUBLES))
    def trouble_begins(self, trouble: str | timedelta) -> None:
        self._trouble(trouble)

    @rule()
    def everything_works_again(self) -> None:
        self.world.store.answers.clear()
        self._trouble(None)

    @rule()
    def a_list_is_due_again(self) -> None:
        """Nothing is in its way, and what was left of older lists is void."""
        self.everything_works_again()
        self.days_pass(32, audited=True)
        review.expire(self.house.ledger)
        self.a_list_is_due()

    def _trouble(self, what: str | timedelta | None) -> None:
        """A clock that is wrong by so much, the policy out of force, no anchor; or none of them."""
        self.clocks.off = self.book.clock_off = what if isinstance(what, timedelta) else timedelta(0)
        self.book.in_force = what != NO_POLICY
        self.world.write(policies.update().values(state="active" if self.book.in_force else "retired"))
        here, there = (
            self.world.root / name for name in ("vault", "away")[:: -1 if what == NO_ANCHOR else 1]
        )
        if there.exists():
            there.rename(here)

    @rule(which=st.integers(0, 2))
    def all_clocks_jump_ahead_during_a_run(self, which: int) -> None:
        """By more than the grace; they are set right again, and nobody signed meanwhile."""
        jump, true = timedelta(days=60), self.clocks.true
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.book, "clock_off", jump)
            patch.setattr(self.clocks, "true", lambda: true() + jump)
            self.a_run(which)

    @rule(answer=st.sampled_from(ANSWERS), nth=st.integers(0, 2))
    def the_store_will_answer_badly(self, answer: str, nth: int) -> None:
        self.world.store.answers[self.world.store.asked + nth] = answer

    # destruction, and the way back

    @rule(which=st.integers(0, 2))
    def a_run(self, which: int) -> None:
        for name, _ in self._one_list(which):
            with suppress(Crash):
                self.world.try_run(name)

    @rule(which=st.integers(0, 2), trouble=st.sampled_from(TROUBLES))
    def a_run_in_trouble(self, which: int, trouble: str | timedelta) -> None:
        self._trouble(trouble)
        self.a_run(which)
        self._trouble(None)

    @rule(which=st.integers(0, 2), step=st.sampled_from(DESTROY_STEPS))
    def a_run_that_dies(self, which: int, step: str) -> None:
        self.meanwhile[step] = self._die
        self.a_run(which)
        self.meanwhile.clear()

    @rule(which=st.integers(0, 2), step=st.sampled_from(DESTROY_STEPS), photo=photos, other=st.booleans())
    def something_comes_between(self, which: int, step: str, photo: int, other: bool) -> None:
        """A hold, or another run of the same list, at one step of a run."""
        act = (lambda: self.a_run(which)) if other else (lambda: self.compliance_holds(photo))
        self.meanwhile[step] = act
        self.a_run(which)
        self.meanwhile.clear()

    @rule(photo=photos)
    def one_comes_back(self, photo: int) -> None:
        """From an archive copy; it has no capture date, so it stays."""
        row = self.world.row(self.world.numbers[photo])
        copy = self.world.root / "copy.jpg"
        copy.write_bytes(tiny_jpeg(photo))
        with suppress(Fwd2BotError):
            restore.restore(self.house, row.key, "Nora", copy=copy, collection="line-1", reason="claim")
            happened["restored"] += 1

    # what must hold

    @invariant()
    def nothing_is_wrong(self) -> None:
        if hasattr(self, "world"):
            assert self.world.violations() == []

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            self._end_well()
        finally:
            self.house.ledger.close()
            self.patch.undo()

    def _end_well(self) -> None:
        """Everything works again: each list comes to an end, and the log is what was signed."""
        self.everything_works_again()
        self.clocks.passed += timedelta(days=800)  # whatever a clock that was ahead wrote is past
        sign_checkpoint(self.house, reason="daily")
        for _ in range(2):
            for name in self.book.lists:
                self.world.try_run(name)
        assert self.world.violations() == []
        left = [row for row in rows(self.house, disposition_items) if row.state in ("intent", "unknown")]
        assert [row.reason for row in left if row.reason != GONE_UNANCHORED] == []
        found = {one.verdict for one in verify_log(self.house).findings}
        assert found <= _HARMLESS, found

    def _deleted(self, info: ObjectInfo) -> None:
        number = next(row for row in self._versions(info.key) if row.identity == info.identity).id
        self.world.look(info)
        against = self.book.objections(number, self.clocks.true())
        self.world.wrong.extend(f"{number} was deleted: {why}" for why in against)
        self.world.may_go.add(number)
        happened["deleted"] += 1

    def _versions(self, key: str) -> Iterator[Any]:
        return (row for row in map(self.world.row, self.world.numbers) if row.key == key)

    def _reach(self, step: str) -> None:
        if act := self.meanwhile.pop(step, None):
            happened[f"at {step}"] += 1
            act()

    def _die(self) -> None:
        raise Crash

    def _one_list(self, which: int) -> Iterator[tuple[str, Listed]]:
        """The newest one, the one before, ..., and around again; nothing where there is none."""
        if count := len(self.book.lists):
            yield list(self.book.lists.items())[-1 - which % count]

    def _sign(self, list_id: str, who: str, *, approved: bool) -> str:
        with self.house.ledger.read() as connection:
            said = review.statement(
                connection, list_id, who, approved=approved, reason="seen" if approved else "no"
            )
        return self.signers[who].sign(said)


def run(template: Template, examples: int, steps: int) -> None:
    """So many sites with so many things happening to each, the same ones each time. Raises what went wrong, with the
    shortest way there."""
    machine = type("Machine", (Site,), {"template": template})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
