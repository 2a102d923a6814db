"""The verb about stored tokens that are not needed any more.

Imports what a verb needs inside the verb, so that ``--help`` comes at once.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from flows.app import DEFAULTS, Common, app, terminal
from fwd2bot_core.errors import ExitCode

if TYPE_CHECKING:
    from tasks.drop_tokens import Droppable

tokens_app = App(name="tokens", help="Stored summary tokens.")
app.command(tokens_app)


@tokens_app.command
def drop(
    collection: str | None = None,
    *,
    compressor: Annotated[str, Parameter(help="Whose tokens: at least 6 digits of its fingerprint.")],
    yes: Annotated[str | None, Parameter(help="The word that a look without --yes gives.")] = None,
    common: Common = DEFAULTS,
) -> int:
    """Drop tokens of a compressor that is not in use any more, of images whose original is there and whose new tokens
    passed fidelity. Shows what would go unless --yes is given.

    Example: fwd2bot tokens drop line-1 --compressor 3f2a91c04b7d
    """
    from infra.installation import opened
    from tasks import drop_tokens
    from tasks.checkpoint import sign

    settings = common.settings()
    name, _ = settings.collection(collection)
    with opened(settings) as house:
        if yes is None:
            found = drop_tokens.look(house, name, compressor)
        else:
            found = drop_tokens.drop(house, name, compressor, yes)
            sign(house, reason="tokens_dropped", role="operator")
    if common.json:
        print(json.dumps(found.to_dict() | {"dropped": yes is not None}))
        return ExitCode.OK
    _show(found, dropped=yes is not None)
    return ExitCode.OK


def _show(found: Droppable, *, dropped: bool) -> None:
    from flows.figures import show_facts

    rows = {"dropped" if dropped else "may go": f"{len(found.ids):,} images"}
    rows |= {f"stays: {why}": f"{number:,}" for why, number in found.kept.items()}
    show_facts(terminal(), {"tokens of": found.fingerprint[:12], **rows})
    if not dropped and found.ids:
        terminal().print(f"to drop them, say the same with --yes {found.token}", highlight=False)
