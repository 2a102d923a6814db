"""The verbs about people: who is registered, with which key, for what.

Imports what a verb needs inside the verb, so that ``--help`` comes at once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from flows.app import DEFAULTS, Common, app, terminal
from flows.signing import say
from fwd2bot_core.errors import ExitCode, UsageError
from fwd2bot_core.retention.roles import Role
from fwd2bot_core.retention.sshsig import LONGEST

people_app = App(name="people", help="Who may do what, by registered keys.")
app.command(people_app)


@people_app.command
def add(
    name: str,
    *,
    key: Annotated[Path, Parameter(help="Their public key, such as id_ed25519.pub.")],
    role: Annotated[list[Role], Parameter(help="What for; give it once for each role.", negative="")],
    common: Common = DEFAULTS,
) -> int:
    """Register somebody. A key belongs to one person, and a name to one key.

    Example: fwd2bot people add "Mika Sato" --key mika.pub --role approver

    Parameters
    ----------
    name: stands in the ledger, where it can be erased, and never in the audit log.
    """
    from infra.installation import opened
    from tasks.people import register

    line = _public_line(key)
    with opened(common.settings()) as house:
        made = register(house.ledger, name, line, role)
    if common.json:
        print(json.dumps({"id": made.id, "name": made.name, "roles": sorted(made.roles)}, ensure_ascii=False))
    else:
        say(f"{made.name} is registered as {', '.join(sorted(made.roles))}")
    return ExitCode.OK


@people_app.command
def revoke(name: str, *, reason: str, common: Common = DEFAULTS) -> int:
    """End what somebody may do; their signatures count for nothing new, and for no list that was not carried out.

    Example: fwd2bot people revoke "Mika Sato" --reason "left the company"
    """
    from infra.installation import opened
    from tasks.people import revoke as end

    with opened(common.settings()) as house:
        end(house.ledger, name, reason)
    if not common.json:
        say(f"{name} may do nothing any more")
    return ExitCode.OK


@people_app.command(name="list")
def show_people(*, common: Common = DEFAULTS) -> int:
    """Everybody who was ever registered.

    Example: fwd2bot people list
    """
    from flows.render import table
    from infra.installation import opened
    from tasks.people import everybody

    with opened(common.settings()) as house, house.ledger.read() as connection:
        found = everybody(connection)
    if common.json:
        said = [
            {"name": o.name, "roles": sorted(o.roles), "key": o.key, "revoked": o.revoked, "ref": o.ref}
            for o in found
        ]
        print(json.dumps(said, sort_keys=True, ensure_ascii=False))
    else:
        rows = [(o.name, ", ".join(sorted(o.roles)), "revoked" if o.revoked else "", o.key) for o in found]
        terminal().print(table("people", ("name", "roles", "", "key"), rows))
    return ExitCode.OK


@people_app.command
def token(
    name: str,
    *,
    days: Annotated[
        int | None,
        Parameter(help="How long it is good for [default: service.token_days].", validator=Number(gte=1)),
    ] = None,
    revoke: Annotated[
        bool, Parameter(help="End every token and session of theirs instead.", negative="")
    ] = False,
    common: Common = DEFAULTS,
) -> int:
    """Make a token with which somebody signs in to the console or uses the API. It is shown this once.

    Example: fwd2bot people token "Mika Sato" --days 30
    """
    from infra.installation import opened
    from tasks import tokens

    settings = common.settings()
    with opened(settings) as house:
        if revoke:
            count = tokens.revoke(house.ledger, name)
            print(json.dumps({"revoked": count})) if common.json else say(
                f"{count:,} tokens of {name} are revoked"
            )
            return ExitCode.OK
        made = tokens.issue(house.ledger, name, days or settings.service.token_days)
    if common.json:
        print(json.dumps({"token": made.secret, "expires_at": made.expires_at.isoformat()}))
    else:
        say(
            f"{name}'s token, good until {made.expires_at:%Y-%m-%d}; it is stored nowhere, so give it to nobody else:",
            made.secret,
        )
    return ExitCode.OK


def _public_line(file: Path) -> str:
    try:
        text = file.read_bytes()[: LONGEST + 1].decode("utf-8", "replace").strip()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None
    if "PRIVATE KEY" in text:
        raise UsageError(
            f"{file} is a private key, which nobody else may see: give the file that ends in .pub"
        )
    if len(text.splitlines()) != 1:
        raise UsageError(f"{file} must hold one public key in one line, as ssh-keygen writes it")
    return text
