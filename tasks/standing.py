"""What is known of a collection beside its photos, for a decision: its store, its compressor, its label checks.

Of several label checks of the same tokens the last one counts. Knows the settings and the ledger. Knows nothing of
policies.
"""

from __future__ import annotations

import sqlalchemy as sa

from fwd2bot_core.retention.facts import LabelResult, Standing
from infra.installation import Installation
from infra.tables import collections, compressors, label_checks
from tasks.sample_archive import is_sample


def standing(house: Installation, connection: sa.Connection, collection: str) -> Standing:
    """Of one collection of the settings. Whether labels are the sample archive's matters, and is looked up, only for a
    compressor that is for demonstrations."""
    _, source = house.settings.collection(collection)
    spec = house.spec(collection)
    rows = connection.execute(
        sa.select(label_checks, compressors.c.fingerprint)
        .join(collections, collections.c.id == label_checks.c.collection_id)
        .join(compressors, compressors.c.id == label_checks.c.compressor_id)
        .where(collections.c.name == collection)
        .order_by(label_checks.c.id)
    )
    labels = {
        (row.fingerprint, row.codec): LabelResult(
            questions=row.questions,
            right=row.right_answers,
            at_least=row.at_least,
            passed=row.passed,
            of_sample=spec.demonstration_only and is_sample(connection, collection, row.labels_sha256),
        )
        for row in rows
    }
    return Standing(
        collection=collection,
        originals=source.originals,
        labels=labels,
        demonstration={spec.fingerprint: spec.demonstration_only},
    )
