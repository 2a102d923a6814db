"""A first policy for a collection, as a file to be edited: its compressor and probe questions filled in, stage observe.

Knows the settings and the bundle. Decides nothing: the periods in it are an example, and its stage lets nothing go.
"""

from __future__ import annotations

import re

from fwd2bot_core.tokens.fidelity import probes_sha256
from infra import audit_log
from infra.installation import Installation
from infra.judging import questions

TEXT = """\
id: {id}
version: 1                  # a change is a new version
zone: {zone}
effective_from: {today}  # nothing goes before this day

rules:                      # where several match a photo, the longest wins
  - name: all
    select:
      collections: [{collection}]
      keys: "*"             # the whole key: * any characters, / too; ? one character
    trigger: captured       # or first_seen, or event:NAME; a photo without that date stays
    retain: P10Y            # ten years ...
    rounding: calendar_year # ... after the end of this; or day, month, fiscal_year:04-01

exempt:
  sample: 1 %               # kept for later checks
  tags: []                  # photos tagged reject or disputed are kept anyway

verification:
  compressor: {compressor}
  fidelity: 0.95
  probes: {probes}
  read_back: true
  labels: {{questions: 500, accuracy: 0.97}}

disposition: {{mode: reviewed, approvals: 2, grace: P30D}}
limits: {{objects: 10000, percent: 1 %, bytes: 100 GB}}   # a run that would destroy more stops
rollout: {{stage: observe}}   # then pilot with a share, then enforce
"""


def template(house: Installation, collection: str) -> str:
    """The text of a policy file for one collection of the settings.

    Raises ``UsageError`` where there are no questions to judge fidelity by, ``CompressorError`` for a bad bundle.
    """
    _, source = house.settings.collection(collection)
    asked = questions(house.compressor(collection), source.fidelity.probes)
    plain = re.sub(r"[^a-z0-9._-]+", "-", collection.lower()).strip("._-") or "collection"
    return TEXT.format(
        id=f"{plain[:50]}-originals",
        zone=house.settings.night.zone,
        today=f"{audit_log.now():%Y-%m-%d}",
        collection=_quoted(collection),
        compressor=house.spec(collection).fingerprint,
        probes=probes_sha256(asked),
    )


def _quoted(name: str) -> str:
    """As YAML: in single quotes, in which only they themselves mean anything."""
    return name if re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name) else "'" + name.replace("'", "''") + "'"
