"""The parts of a bundle of evidence that are for people: a page that any browser opens, and a form to sign.

Neither proves anything; both say so. Knows what a reader needs and hands it to a template. Nothing from an event gets
to be markup, and nothing is loaded from elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fwd2bot_core.audit.verifier.verify import visible


@dataclass(frozen=True, slots=True)
class Shown:
    """What the page lists."""

    events: Sequence[Mapping[str, Any]]
    more: bool  # events than are shown
    checkpoints: Sequence[tuple[int, str]]
    anchors: Sequence[Mapping[str, Any]]
    keys: Sequence[Mapping[str, Any]]
    names: Mapping[str, str]  # of commitments, where they are told


def page(about: Mapping[str, Any], shown: Shown) -> str:
    """One HTML file that needs nothing beside itself."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("fwd2bot_core.audit", "verifier"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["plain"] = lambda value: visible("-" if value is None else str(value))
    templates.filters["facts"] = _facts
    templates.filters["named"] = lambda ref: visible(shown.names.get(ref, str(ref)[:12]))
    return templates.get_template("page.html").render(about=about, shown=shown)


def _facts(event: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What an event says beyond who, when and what."""
    names = ("reason_code", "reason_text", "subject", "before", "after", "policy", "compressor")
    return [(name, visible(_plain(event[name]))) for name in names if event.get(name) is not None]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def certificate(about: Mapping[str, Any]) -> str:
    """A form for a qualified person who answers for the export; what is not known here is left to fill in."""
    return _CERTIFICATE.format(
        origin=about["origin"],
        made_at=about["made_at"],
        made_by=about["made_by"],
        events=about["events"],
        checkpoint=about["checkpoint"],
        losses=_losses(about["losses"]),
        selection=json.dumps(about["selection"], sort_keys=True) if about["selection"] else "the whole log",
    )


def _losses(losses: Sequence[Mapping[str, Any]]) -> str:
    named = (f"events {one['first']} to {one['last']}, as event {one['event']} records" for one in losses)
    return f"\n{' ' * 17}".join(named) or "none"


_CERTIFICATE = """CERTIFICATION OF ELECTRONIC RECORDS

A form, to be completed by the person who exported the records or keeps the system. It is no legal advice: have
counsel adapt it to the rules of the forum where it is to be used.

Records          {events} events of the audit log {origin}
Selection        {selection}
Covered by       the log's signed checkpoint of {checkpoint} events
Recorded losses  {losses}
Exported at      {made_at} by {made_by}
SHA-256 of the   ________________________________________________________________
bundle's file    (the export printed it; any hashing program computes it again)

1. My name, position and employer:
   ______________________________________________________________________________
2. My training and my duties with the system that made these records:
   ______________________________________________________________________________
3. The records were made by the system at or near the time of what they describe, in the course of a regularly
   conducted activity, by a process that gives an accurate result:       yes [ ]   no [ ]
   Exceptions: __________________________________________________________________
4. The bundle's file is a true copy of these records as exported, identified by the SHA-256 above, which I computed
   with: ________________________________________________________________________
5. The key of the log was compared with the one that its owner publishes at:
   ______________________________________________________________________________
6. The checkpoint was compared with the one kept outside of the system at:
   ______________________________________________________________________________
7. What verify.py said when I ran it (copy its last line):
   ______________________________________________________________________________

I declare that the foregoing is true and correct.

Place, date  ____________________________     Signature  ____________________________
"""
