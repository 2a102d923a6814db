"""The verbs that move a policy's version along: draft, approve, activate, retire.

Imports what a verb needs inside the verb, so that ``--help`` comes at once.
"""

from __future__ import annotations

import json
from pathlib import Path

from flows.app import DEFAULTS, Common
from flows.policy import policy_app
from flows.signing import As, Signature, say, signature_of
from fwd2bot_core.errors import ExitCode, UsageError
from fwd2bot_core.retention.policy_file import MOST_BYTES


@policy_app.command
def draft(file: Path, *, person: As, common: Common = DEFAULTS) -> int:
    """Store a policy file, byte for byte, as a new version; nothing goes by it before it is approved and activated.

    Example: fwd2bot policy draft line-1.yaml --as Pia
    """
    from infra.installation import opened
    from tasks import policies

    try:
        with file.open("rb") as source:
            data = source.read(MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None
    with opened(common.settings()) as house:
        document = policies.draft(house.ledger, data, person, name=str(file))
        with house.ledger.read() as connection:
            wanted = policies.needed_now(connection, document)
    if common.json:
        looser = [{"where": one.where, "what": one.what} for one in wanted.loosened]
        print(json.dumps(document.reference() | {"approvals": wanted.approvals, "loosens": looser}))
        return ExitCode.OK
    days = wanted.cooling_off.days
    say(f"{document.policy.id}, version {document.policy.version}, is drafted; sha256 {document.sha256}")
    say(f"it needs {wanted.approvals} approvals" + (f" and {days} days after them" if days else ""))
    for one in wanted.loosened:
        say(f"  it lets more go: {one.where}: {one.what}")
    return ExitCode.OK


@policy_app.command
def approve(
    policy: str,
    version: int,
    *,
    person: As,
    reason: str,
    signature: Signature = None,
    common: Common = DEFAULTS,
) -> int:
    """Approve a version by your signature. Without --signature it writes down what is to be signed.

    Example: fwd2bot policy approve line-1-originals 2 --as Ann --reason "as discussed"
    """
    from infra.installation import opened
    from tasks import policies, policy_approvals

    with opened(common.settings()) as house:
        with house.ledger.read() as connection:
            document = policies.stored(connection, policy, version)
        said = policy_approvals.statement(document, person, reason)
        signed = signature_of(said, f"approve-{policy}-{version}", signature)
        if signed is None:
            return ExitCode.OK
        state = policies.approve(house.ledger, policy, version, person, reason, signed)
    _answer(common, policy, version, str(state))
    return ExitCode.OK


@policy_app.command
def activate(policy: str, version: int, *, person: As, common: Common = DEFAULTS) -> int:
    """Put an approved version into force; the one that was is retired. Exit code 4 where approvals or days are missing.

    Example: fwd2bot policy activate line-1-originals 2 --as Pia
    """
    from infra.installation import opened
    from tasks import policies

    with opened(common.settings()) as house:
        policies.activate(house.ledger, policy, version, person)
    _answer(common, policy, version, "active")
    return ExitCode.OK


@policy_app.command
def retire(policy: str, version: int, *, person: As, reason: str, common: Common = DEFAULTS) -> int:
    """End a version: nothing more goes by it, and no list that was made by it is carried out.

    Example: fwd2bot policy retire line-1-originals 2 --as Nika --reason "recall of March"
    """
    from infra.installation import opened
    from tasks import policies

    with opened(common.settings()) as house:
        policies.retire(house.ledger, policy, version, person, reason)
    _answer(common, policy, version, "retired")
    return ExitCode.OK


def _answer(common: Common, policy: str, version: int, state: str) -> None:
    if common.json:
        print(json.dumps({"policy": policy, "version": version, "state": state}))
    else:
        say(f"{policy}, version {version}, is {state}")
