"""Policies, simulations and decisions as tables for people and plain values for machines. Decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from flows.render import table
from fwd2bot_core.audit.events import rfc3339
from fwd2bot_core.retention.decide import told
from tasks.units import size, visible

if TYPE_CHECKING:
    from rich.console import Console

    from fwd2bot_core.retention.comparison import Loosening
    from fwd2bot_core.retention.differences import Difference
    from fwd2bot_core.retention.policy_file import Document
    from tasks.explain import Explained
    from tasks.simulation import Amount, Change, Simulation


def show_policy(console: Console, document: Document, sentences: Sequence[str]) -> None:
    policy = document.policy
    console.print(
        f"[green]ok[/]  {policy.id}, version {policy.version}, sha256 {document.sha256}", highlight=False
    )
    for sentence in sentences:
        console.print(f"  - {visible(sentence)}", highlight=False, markup=False)


def show_differences(console: Console, found: Sequence[Difference], looser: Sequence[Loosening]) -> None:
    if not found:
        console.print("both say the same")
        return
    rows = [(one.where, one.before, one.after) for one in found]
    console.print(table("differences", ("field", "before", "after"), rows))
    if looser:
        lets_more_go = [(one.where, one.what) for one in looser]
        console.print(table("lets more go, or may: needs more approvals", ("where", "what"), lets_more_go))
    else:
        console.print("nothing of this lets more go", highlight=False)


def show_simulation(console: Console, found: Simulation) -> None:
    policy, against = found.policy, found.against
    console.print(
        f"policy {policy['id']} version {policy['version']} as at {told(found.as_of)}, against "
        + (f"{against['id']} version {against['version']}" if against else "none in force"),
        highlight=False,
    )
    rows = [
        ("photos", *_amount(found.photos), None, None),
        ("due: all about the photo says yes", *_change(found.due)),
        ("may go: policy and collection, too", *_change(found.may_go)),
    ]
    console.print(table("what would happen", ("", "photos", "size", "newly", "no longer"), rows))
    stopped = [
        (str(condition), one.all.objects, one.alone.objects, size(one.alone.bytes))
        for condition, one in found.stopped.items()
        if one.all.objects
    ]
    if stopped:
        console.print(
            table("what keeps photos", ("condition", "photos", "nothing else does", "size"), stopped)
        )
    if found.beyond:
        limits = ", ".join(found.beyond)
        console.print(f"[yellow]beyond its limits[/] ({limits}): a run over all would stop", highlight=False)
    if found.unknown:
        names = visible(", ".join(found.unknown))
        console.print(f"[yellow]not known here[/]: {names}; nothing goes there", highlight=False)


def simulation_as_json(found: Simulation) -> dict[str, Any]:
    """Plain values; times in RFC 3339."""
    return asdict(found) | {
        "as_of": rfc3339(found.as_of),
        "stopped": {str(condition): asdict(one) for condition, one in found.stopped.items()},
    }


def show_explained(console: Console, found: Sequence[Explained]) -> None:
    for one in found:
        name = visible(f"{one.collection}: {one.key} ({one.identity})")
        if one.decision is None or one.policy is None:
            console.print(f"{name}: no policy in force is about it; it stays", highlight=False, markup=False)
            continue
        verdict = "MAY GO" if one.decision.may_go else "STAYS"
        by = f"policy {one.policy['id']} version {one.policy['version']}"
        console.print(f"{name}: {verdict} by {by}", highlight=False, markup=False)
        rows = [
            (str(r.condition), "yes" if r.ok else "NO", r.value, r.required) for r in one.decision.reasons
        ]
        console.print(table("every condition", ("condition", "holds", "found", "required"), rows))


def explained_as_json(one: Explained) -> dict[str, Any]:
    """Plain values; ``decision`` is None where no policy is about the photo."""
    named = {name: getattr(one, name) for name in ("collection", "key", "identity", "sha256", "policy")}
    return named | {"decision": one.decision.as_json() if one.decision else None}


def _amount(amount: Amount) -> tuple[int, str]:
    return amount.objects, size(amount.bytes)


def _change(change: Change) -> tuple[int, str, int, int]:
    return *_amount(change.now), change.newly.objects, change.no_longer.objects
