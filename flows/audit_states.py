"""The audit verbs about completeness: take a state list, prove that a timeline is whole, that an image is absent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flows.app import DEFAULTS, Common, terminal
from flows.audit_app import audit_app
from fwd2bot_core.errors import ExitCode

if TYPE_CHECKING:
    from fwd2bot_core.audit.states import Listed
    from tasks.state_proofs import Shown, Whole
    from tasks.timeline import Fact


@audit_app.command
def state(*, role: str = "operator", common: Common = DEFAULTS) -> int:
    """Write a list of every object version and its number of facts to the archive, and its root to the log.

    Example: fwd2bot audit state

    Parameters
    ----------
    role: in which you act; the event says so.
    """
    from dataclasses import asdict

    from infra.installation import opened
    from tasks.states import take_state

    with opened(common.settings()) as house:
        taken = take_state(house, role)
    if common.json:
        print(json.dumps(asdict(taken), sort_keys=True))
    else:
        _say(
            f"event {taken.seq}: {taken.facts:,} facts about {taken.rows:,} object versions in the first "
            f"{taken.size:,} events; {taken.seconds:.1f} s"
        )
        _say(f"root {taken.root}")
        _say(f"list {taken.path}")
    return ExitCode.OK


@audit_app.command
def whole(image: str, *, collection: str | None = None, common: Common = DEFAULTS) -> int:
    """Prove that nothing was left out of what the audit trail says about an image: each fact bears the next number,
    and the newest state list says how many there are. Exit code 5 if one is missing.

    Example: fwd2bot audit whole 2026/11/24/0001.jpg --json

    Parameters
    ----------
    image: a key, or at least 12 digits of the file's sha256.
    """
    from infra.installation import opened
    from infra.lookup import find
    from tasks.state_proofs import prove_whole

    with opened(common.settings()) as house:
        with house.ledger.read() as connection:
            ids = [row.id for row in find(connection, image, collection)]
        proofs = [prove_whole(house, number) for number in ids]
    if common.json:
        print(json.dumps([_whole(proof) for proof in proofs], sort_keys=True))
        return ExitCode.OK
    for proof in proofs:
        _say(
            f"{proof.key} in {proof.collection}, version {proof.identity}: whole. Facts: {len(proof.facts)}; by "
            f"the state list of event {proof.shown.seq}: {proof.line.n}"
        )
        for fact in (*proof.unnumbered, *proof.facts):
            _say(f"  {'-' if fact.n is None else fact.n}  event {fact.seq}  {_what(fact)}")
        if proof.unnumbered:
            _say(
                "  facts without a number are from before they were numbered: nobody can say that these are all"
            )
    return ExitCode.OK


@audit_app.command
def absent(key: str, *, collection: str | None = None, common: Common = DEFAULTS) -> int:
    """Prove that no image of this key was known when the newest state list was taken. Exit code 1 if one was.

    Example: fwd2bot audit absent 2026/11/24/9999.jpg --json
    """
    from infra.installation import opened
    from tasks.state_proofs import prove_absent

    settings = common.settings()
    name, _ = settings.collection(collection)
    with opened(settings) as house:
        proof = prove_absent(house, name, key)
    if common.json:
        sides = {"before": _listed(proof.before), "after": _listed(proof.after)}
        said = {"collection": name, "key": key, "known_since": proof.known_since}
        print(json.dumps(said | {"list": _shown(proof.shown)} | sides, sort_keys=True))
    else:
        _say(
            f"{key} in {name}: absent from the {proof.shown.summit.rows:,} object versions that the ledger knew at "
            f"{proof.shown.size:,} events, by the state list of event {proof.shown.seq}"
        )
        if proof.known_since:
            _say("the ledger knows it by now: it came afterwards")
    return ExitCode.OK


def _whole(proof: Whole) -> dict[str, Any]:
    named = ("object_version_id", "collection", "key", "identity")
    told = [_fact(fact) for fact in (*proof.unnumbered, *proof.facts)]
    shown = {"list": _shown(proof.shown), "listed": _listed(proof.listed), "facts": told}
    return {name: getattr(proof, name) for name in named} | shown


def _shown(shown: Shown) -> dict[str, Any]:
    summit = {"rows": shown.summit.rows, "root": shown.summit.root.hex(), "size": shown.size}
    return summit | {"seq": shown.seq, "event": shown.event.decode(), "secret": shown.secret.hex()}


def _listed(listed: Listed | None) -> dict[str, Any] | None:
    if listed is None:
        return None
    return {
        "index": listed.index,
        "line": listed.line.decode(),
        "proof": [each.hex() for each in listed.proof],
    }


def _fact(fact: Fact) -> dict[str, Any]:
    said = {"n": fact.n, "seq": fact.seq, "body": fact.body.decode()}
    if fact.segment is None:
        return said
    proof = [each.hex() for each in fact.proof]
    return said | {"segment": fact.segment, "index": fact.index, "rows": fact.rows, "proof": proof}


def _what(fact: Fact) -> str:
    body = json.loads(fact.body)
    return str(body.get("outcome") or body.get("type"))


def _say(text: str) -> None:
    from tasks.units import visible

    terminal().print(visible(text), highlight=False, markup=False, soft_wrap=True)
