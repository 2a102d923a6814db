"""One policy that lets go of one photo, and both with anything changed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fwd2bot_core.retention.facts import Clock, LabelResult, ObjectFacts, Standing, Summary
from fwd2bot_core.retention.policy import Policy

COMPRESSOR, OTHER = "c" * 64, "d" * 64
PROBES, OTHER_PROBES = "e" * 64, "f" * 64
NOW = datetime(2035, 6, 1, tzinfo=UTC)
TAKEN = datetime(2026, 5, 14, 1, 30, tzinfo=UTC)
PASSED = LabelResult(questions=500, right=495, at_least=0.97, passed=True)
TEXT = f"""\
id: line-1-originals
version: 1
zone: Asia/Tokyo
effective_from: 2027-04-01
rules:
  - name: trays
    select: {{collections: [line-1], keys: "*.jpg"}}
    trigger: captured
    retain: P7Y
    rounding: calendar_year
exempt: {{sample: 0.5 %, tags: [customer-claim]}}
verification:
  compressor: {COMPRESSOR}
  fidelity: 0.95
  probes: {PROBES}
  read_back: true
  labels: {{questions: 500, accuracy: 0.97}}
disposition: {{mode: reviewed, approvals: 2, grace: P30D}}
limits: {{objects: 20000, percent: 2 %, bytes: 500 GB}}
rollout: {{stage: enforce}}
"""
RULE: dict[str, Any] = {
    "name": "trays",
    "select": {"collections": ["line-1"], "keys": "*.jpg"},
    "trigger": "captured",
    "retain": "P7Y",
    "rounding": "calendar_year",
}
PLAIN: dict[str, Any] = {
    "id": "line-1-originals",
    "version": 1,
    "zone": "Asia/Tokyo",
    "effective_from": "2027-04-01",
    "rules": [RULE],
    "exempt": {"sample": "0.5 %", "tags": ["customer-claim"]},
    "verification": {
        "compressor": COMPRESSOR,
        "fidelity": "0.95",
        "probes": PROBES,
        "read_back": "true",
        "labels": {"questions": 500, "accuracy": "0.97"},
    },
    "disposition": {"mode": "reviewed", "approvals": 2, "grace": "P30D"},
    "limits": {"objects": 20000, "percent": "2 %", "bytes": "500 GB"},
    "rollout": {"stage": "enforce"},
}


def policy(**changes: Any) -> Policy:
    """The plain one with other parts."""
    return Policy.model_validate(PLAIN | changes)


def rule(**changes: Any) -> dict[str, Any]:
    """The plain one with other fields; those of ``select`` may be named here, too."""
    chosen = {name: changes.pop(name) for name in ("collections", "keys", "tags") if name in changes}
    return RULE | {"select": RULE["select"] | chosen} | changes


def verification(**changes: Any) -> dict[str, Any]:
    return {**PLAIN["verification"], **changes}


def photo(**changes: Any) -> ObjectFacts:
    """One that may go."""
    plain: dict[str, Any] = {
        "id": 7,
        "collection": "line-1",
        "key": "line-1/tray-000007.jpg",
        "identity": "v:1",
        "first_seen_at": datetime(2026, 5, 14, 18, tzinfo=UTC),
        "content": "8" * 64,
        "captured_at": TAKEN,
        "summaries": {COMPRESSOR: Summary(codec="exact", fidelity=0.98, probes=PROBES)},
    }
    return ObjectFacts(**(plain | changes))


def standing(**changes: Any) -> Standing:
    """A collection on S3 whose labels are answered by a compressor made for use."""
    plain: dict[str, Any] = {
        "collection": "line-1",
        "originals": "s3://originals/line-1",
        "labels": {(COMPRESSOR, "exact"): PASSED},
        "demonstration": {COMPRESSOR: False},
    }
    return Standing(**(plain | changes))


def clock(now: datetime = NOW, doubt: str | None = None) -> Clock:
    return Clock(now, doubt)
