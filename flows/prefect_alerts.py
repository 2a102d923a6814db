"""The automations that Prefect's server keeps for our nights: silent ones end as crashed, and somebody
is told of failed and late ones.

They hold for every deployment with our tag on that server. Who is told is a block that exists there
(``prefect.notify``); without one the server's event feed is where they are seen, and nothing is sent anywhere.
A server that is down tells nobody: `fwd2bot status` is what an outside monitor should ask.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import CallWebhook, ChangeFlowRunState, DoNothing, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound

from flows.prefect_deploy import Change
from flows.prefect_wanted import TAG
from fwd2bot_core.errors import SettingsError
from infra.settings import Settings
from infra.tables import RunState

# Ten heartbeats. A night whose server was away for a while must not be called dead for it; and since other
# nights wait rather than being cancelled, nothing is lost meanwhile.
SILENT_SECONDS = 300
_RUN = "prefect.flow-run."
_ENDS_BADLY = ("Failed", "Crashed", "TimedOut", str(RunState.PARTLY_FAILED).replace("_", " ").title())
_ENDS = ("Completed", "Cancelled", *_ENDS_BADLY)


def automations(settings: Settings, action: Any) -> list[AutomationCore]:
    """The three, as the settings want them."""
    late = timedelta(minutes=settings.prefect.start_minutes)
    dead = ChangeFlowRunState(
        state=StateType.CRASHED, name="Crashed", message="no heartbeat: its process is gone"
    )
    return [
        AutomationCore(
            name="fwd2bot: a night fell silent",
            description="The process of a night is gone: the run ends as Crashed, and the next one may start.",
            trigger=_trigger(
                {"heartbeat"}, {"heartbeat", *_ENDS}, Posture.Proactive, timedelta(seconds=SILENT_SECONDS)
            ),
            actions=[dead],
        ),
        AutomationCore(
            name="fwd2bot: a night failed",
            description="A night ended as failed, partly failed or crashed.",
            trigger=_trigger(set(), set(_ENDS_BADLY), Posture.Reactive, timedelta(0)),
            actions=[action],
        ),
        AutomationCore(
            name="fwd2bot: a night did not start",
            description="A night was due and no worker began it in time (prefect.start_minutes).",
            trigger=_trigger(
                {"Late"},
                {"Running", "Cancelling", "Cancelled", "Failed", "Crashed"},
                Posture.Proactive,
                late,
            ),
            actions=[action],
        ),
    ]


def register(client: SyncPrefectClient, settings: Settings, action: Any, *, dry: bool) -> Iterator[Change]:
    """Create what is missing, correct what differs; an automation that an operator disabled stays so."""
    held = {automation.name: automation for automation in client.read_automations(limit=200)}
    for wanted in automations(settings, action):
        there = held.get(wanted.name)
        same = there is not None and _plain(wanted) == _plain(there)
        if not dry and there is None:
            client.create_automation(wanted)
        elif not dry and there is not None and not same:
            client.update_automation(there.id, wanted.model_copy(update={"enabled": there.enabled}))
        change = "created" if there is None else "unchanged" if same else "updated"
        disabled = there is not None and not there.enabled
        yield Change("automation", wanted.name, change, "disabled by hand" if disabled else "")


def _trigger(after: set[str], expect: set[str], posture: Any, within: timedelta) -> EventTrigger:
    return EventTrigger(
        after={_RUN + event for event in after},
        expect={_RUN + event for event in expect},
        match=ResourceSpecification({"prefect.resource.id": f"{_RUN}*"}),
        match_related=ResourceSpecification(
            {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"}
        ),
        for_each={"prefect.resource.id"},
        posture=posture,
        threshold=1,
        within=within,
    )


def told(client: SyncPrefectClient, block: str | None) -> Any:
    """What an alert does: call the block of that name on the server, or nothing. Raises ``SettingsError``."""
    if block is None:
        return DoNothing()
    kind, _, name = block.partition("/")
    try:
        document = client.read_block_document_by_name(name, kind, include_secrets=False)
    except ObjectNotFound:
        raise SettingsError(
            f"prefect.notify names {block!r}, which the Prefect server does not have. `prefect block ls` lists "
            "TYPE/NAME of those that it has; create one on its page 'Blocks', or leave prefect.notify out."
        ) from None
    subject = "{{ automation.name }}: {{ flow_run.name }}"
    body = "{{ flow_run.name }}: {{ flow_run.state.name }}. {{ flow_run.state.message }}"
    if kind == "webhook":
        return CallWebhook(block_document_id=document.id, payload=f"{subject}\n{body}")
    return SendNotification(block_document_id=document.id, subject=subject, body=body)


def _plain(automation: AutomationCore) -> Any:
    """What makes two automations the same, in one order and without the numbers that a server gives."""
    return _ordered(automation.model_dump(mode="json", include={"name", "description", "trigger", "actions"}))


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _ordered(held) for name, held in value.items() if name != "id"}
    return sorted((_ordered(held) for held in value), key=str) if isinstance(value, list) else value
