"""The ledger's tables. SQL sees images; a batch is one transaction.

    collections 1--* object_versions *--1 contents          what there is, and what its bytes are
    runs 1--* batches 1--* work                              who does what; one claim an object version
    batches 1--1 shards 1--* summaries                       what was committed, and where each row is
    probe_sets 1--* summaries                                what its fidelity was judged by
    failures                                                 what was not, and why
    label_checks                                             answers from tokens against a person's labels
    leases                                                   which run may commit
    audit_head, audit_events, audit_segments, audit_values   what happened, to be proven
    audit_nodes                                              the upper part of the log's Merkle tree
    audit_checkpoints 1--* audit_anchors; audit_keys         what was signed, where that is kept outside, by which key
    audit_states                                             nightly lists of every object version and its facts
    installation                                             which archive belongs to this ledger
    backfill_tables                                          backfills, their slices, who worked on them
    discovery_tables                                         how far each look for new photos came
    erasure_tables                                           what is erased from everywhere, and shards written again
    retention_tables                                         policies, holds, people, disposition lists, certificates
    service_tables                                           tokens that people sign in with, sessions, alerts

``UNIQUE(object_version, compressor)`` in ``work`` and ``summaries`` picks the winner when two runs meet.
Knows nothing about queries; those stand beside the steps that need them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import sqlalchemy as sa

import infra.backfill_tables
import infra.discovery_tables
import infra.erasure_tables
import infra.retention_tables
import infra.service_tables  # noqa: F401
from fwd2bot_core.work import STAGES
from infra.table_types import ID as _ID
from infra.table_types import UtcDateTime, metadata
from infra.table_types import ref as _ref

__all__ = ["UtcDateTime", "metadata"]


class RunState(StrEnum):
    RUNNING = "running"
    COMPLETED = "completed"
    PARTLY_FAILED = "partly_failed"
    FAILED = "failed"
    ABANDONED = "abandoned"  # its process died; another run took over


class BatchState(StrEnum):
    PLANNED = "planned"  # claimed, and not yet committed
    COMMITTED = "committed"
    SPLIT = "split"  # it killed its worker; its halves are batches of their own
    RELEASED = "released"  # given back unfinished, for instance after a change of compressor


class WorkState(StrEnum):
    CLAIMED = "claimed"
    COMPRESSED = "compressed"
    FAILED = "failed"


def _only(condition: str) -> dict[str, Any]:
    """An index over the few rows for which ``condition`` holds."""
    return {f"{database}_where": sa.text(condition) for database in ("sqlite", "postgresql")}


collections = sa.Table(
    "collections",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("name", sa.String(200), nullable=False, unique=True),
    sa.Column("originals", sa.Text, nullable=False),
    sa.Column("prefix", sa.Text, nullable=False),
    sa.Column("registered_at", UtcDateTime, nullable=False),
)

contents = sa.Table(
    "contents",
    metadata,
    sa.Column("sha256", sa.String(64), primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False, index=True),  # what a photo may be a copy of
    sa.Column("width", sa.Integer),
    sa.Column("height", sa.Integer),
    sa.Column("format", sa.String(20)),
)

object_versions = sa.Table(
    "object_versions",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    _ref("collections.id"),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("identity", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("modified", UtcDateTime, nullable=False),
    sa.Column("salt", sa.LargeBinary(16), nullable=False),  # of its commitments in the audit trail; erasable
    sa.Column("content_sha256", sa.ForeignKey("contents.sha256")),  # known once a worker has read it
    sa.Column("first_seen_at", UtcDateTime, nullable=False),
    sa.Column("superseded_at", UtcDateTime),  # when a listing showed another version under this key
    sa.Column("facts", sa.Integer, nullable=False, server_default="0"),  # in the audit trail, numbered
    sa.Column("destroyed_seq", sa.BigInteger),  # the event that confirmed that it is gone; null: it is not
    sa.UniqueConstraint("collection_id", "key", "identity"),
    sa.Index(None, "collection_id", "id"),  # the plan walks a collection in the order of discovery
    sa.Index(None, "content_sha256"),
    sa.Index(None, "key"),
)

compressors = sa.Table(
    "compressors",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("fingerprint", sa.String(64), nullable=False, unique=True),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("k", sa.Integer, nullable=False),
    sa.Column("d", sa.Integer, nullable=False),
    sa.Column("dtype", sa.String(20), nullable=False),
    sa.Column("token_bytes", sa.Integer, nullable=False),
    sa.Column("registered_at", UtcDateTime, nullable=False),
)

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", sa.String(60), primary_key=True),
    sa.Column("kind", sa.String(20), nullable=False),
    _ref("collections.id"),
    _ref("compressors.id"),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("fencing", sa.BigInteger, nullable=False),
    sa.Column("night", sa.Date, nullable=False),
    sa.Column("started_at", UtcDateTime, nullable=False),
    sa.Column("ended_at", UtcDateTime),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("software", sa.String(60), nullable=False),
    sa.Column("summary", sa.Text),  # JSON, the same object that the screen and the report show
    sa.Column("message", sa.Text),
    sa.Index(None, "collection_id", "started_at"),
)

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("slot", sa.String(250), primary_key=True),
    sa.Column("run_id", sa.String(60)),  # null: free
    sa.Column("fencing", sa.BigInteger, nullable=False),  # only grows; a commit must carry the newest
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column(
        "process", sa.String(200), nullable=False
    ),  # tells a reused pid from the holder; empty: unknown
    sa.Column("renewed_at", UtcDateTime, nullable=False),  # by the database's clock
    sa.Column("seconds", sa.Integer, nullable=False),
)

batches = sa.Table(
    "batches",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    _ref("collections.id"),
    _ref("compressors.id"),
    _ref("runs.id"),
    sa.Column("night", sa.Date, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("units", sa.Integer, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("parent_id", sa.String(32)),
    sa.Column("planned_at", UtcDateTime, nullable=False),
    sa.Column("finished_at", UtcDateTime),
    sa.Column("error", sa.Text),
    sa.Column("worker", sa.String(200)),
    sa.Column("bytes_in", sa.BigInteger),
    sa.Column("bytes_out", sa.BigInteger),
    *(sa.Column(f"{stage}_seconds", sa.Float) for stage in STAGES),
    sa.Index("ix_batches_next", "run_id", "state", "planned_at", "id"),  # however many of a run wait
    sa.Index(None, "collection_id", "compressor_id", "state"),
    sa.Index("ix_batches_planned", "collection_id", **_only("state = 'planned'")),
)

work = sa.Table(
    "work",
    metadata,
    sa.Column(
        "object_version_id", sa.ForeignKey("object_versions.id"), primary_key=True, autoincrement=False
    ),
    sa.Column("compressor_id", sa.ForeignKey("compressors.id"), primary_key=True, autoincrement=False),
    sa.Column("batch_id", sa.ForeignKey("batches.id"), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),  # tries that ended in a failure row
    sa.Column("reason", sa.String(30)),  # of the last failure
    sa.Index(None, "batch_id", "state"),
    sa.Index(None, "compressor_id", "state"),
    sa.Index("ix_work_failed", "compressor_id", "object_version_id", **_only("state = 'failed'")),
)

shards = sa.Table(
    "shards",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("path", sa.Text, nullable=False, unique=True),
    sa.Column("batch_id", sa.ForeignKey("batches.id"), nullable=False, unique=True),
    _ref("collections.id"),
    _ref("compressors.id"),
    _ref("runs.id"),
    sa.Column("night", sa.Date, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("codec", sa.String(60), nullable=False, server_default="exact"),
    sa.Column("committed_at", UtcDateTime, nullable=False),
    sa.Index(None, "collection_id", "compressor_id"),
    sa.Index(None, "run_id"),
)

summaries = sa.Table(
    "summaries",
    metadata,
    sa.Column(
        "object_version_id", sa.ForeignKey("object_versions.id"), primary_key=True, autoincrement=False
    ),
    sa.Column("compressor_id", sa.ForeignKey("compressors.id"), primary_key=True, autoincrement=False),
    sa.Column("shard_id", sa.ForeignKey("shards.id"), nullable=False, index=True),
    sa.Column("row", sa.Integer, nullable=False),
    sa.Column("source_bytes", sa.BigInteger, nullable=False),
    sa.Column("token_bytes", sa.Integer, nullable=False),
    sa.Column("fidelity", sa.Float),  # null: not known, which is no reason to let an original go
    sa.Column("worst_probe", sa.Integer),  # its place among the questions of the set
    # without a fidelity: the image was to be judged by these probes, and could not be
    sa.Column("probe_set_id", sa.ForeignKey("probe_sets.id")),
)

probe_sets = sa.Table(
    "probe_sets",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("sha256", sa.String(64), nullable=False, unique=True),  # ``tokens.fidelity.probes_sha256``
    sa.Column("questions", sa.Text, nullable=False),  # JSON
)

label_checks = sa.Table(
    "label_checks",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    _ref("collections.id"),
    _ref("compressors.id"),
    sa.Column("codec", sa.String(60), nullable=False),  # of the tokens that answered
    sa.Column("labels_sha256", sa.String(64), nullable=False),  # of the file
    sa.Column("questions", sa.Integer, nullable=False),
    sa.Column("right_answers", sa.Integer, nullable=False),
    sa.Column("kinds", sa.Text, nullable=False),  # JSON: kind -> [right, questions]
    sa.Column("at_least", sa.Float),  # the accuracy that was asked for; null: none was
    sa.Column("passed", sa.Boolean),
    sa.Column("checked_at", UtcDateTime, nullable=False),
    sa.Index(None, "collection_id", "compressor_id"),
)

failures = sa.Table(
    "failures",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("object_version_id", sa.ForeignKey("object_versions.id"), nullable=False, index=True),
    _ref("compressors.id"),
    _ref("runs.id", index=True),
    sa.Column("batch_id", sa.ForeignKey("batches.id"), nullable=False),
    sa.Column("reason", sa.String(30), nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("failed_at", UtcDateTime, nullable=False),
    sa.Column("resolved_at", UtcDateTime),  # when a later run compressed it after all
)

installation = sa.Table(
    "installation",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column(
        "uuid", sa.String(36), nullable=False
    ),  # also in the archive, so that the two are never mixed up
    sa.CheckConstraint("id = 1", name="single_row"),
)

audit_head = sa.Table(
    "audit_head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    # ``merkle.Frontier``: 32 bytes a perfect subtree
    sa.Column("frontier", sa.LargeBinary, nullable=False, server_default=sa.text("''")),
    sa.CheckConstraint("id = 1", name="single_row"),
)

audit_events = sa.Table(
    "audit_events",
    metadata,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),  # 0, 1, 2, ... without gaps
    sa.Column("event_id", sa.String(36), nullable=False, unique=True),
    sa.Column("type", sa.String(40), nullable=False),
    sa.Column("occurred_at", UtcDateTime, nullable=False),
    sa.Column("run_id", sa.String(60), index=True),
    sa.Column("body", sa.LargeBinary, nullable=False),  # the exact canonical bytes that were hashed
    sa.Column("leaf", sa.LargeBinary(32), nullable=False),
)

audit_segments = sa.Table(
    "audit_segments",
    metadata,
    sa.Column("seq", sa.ForeignKey("audit_events.seq"), primary_key=True, autoincrement=False),
    sa.Column("batch_id", sa.ForeignKey("batches.id"), nullable=False, index=True),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("subroot", sa.String(64), nullable=False),
    sa.Index(None, "path"),  # of each object that lies there, a sweep asks whether it is one of these
)

audit_values = sa.Table(
    "audit_values",
    metadata,
    sa.Column("ref", sa.String(64), primary_key=True),  # the commitment that stands in the log
    sa.Column("kind", sa.String(30), nullable=False),
    sa.Column("salt", sa.LargeBinary(16), nullable=False),
    sa.Column("value", sa.Text, nullable=False),  # erasing salt and value erases the person from the log
    sa.UniqueConstraint("kind", "value"),
)

audit_nodes = sa.Table(
    "audit_nodes",
    metadata,
    sa.Column(
        "level", sa.SmallInteger, primary_key=True, autoincrement=False
    ),  # over 256 ** level leaves, from 1
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),  # from the left, from 0
    sa.Column("hash", sa.LargeBinary(32), nullable=False),
)

audit_keys = sa.Table(
    "audit_keys",
    metadata,
    sa.Column("id", sa.String(8), primary_key=True),  # the key's id in signed notes, hex
    sa.Column(
        "vkey", sa.Text, nullable=False, unique=True
    ),  # name+id+public key, as C2SP signed notes write it
    sa.Column("since", sa.BigInteger, nullable=False),  # the number of the event that introduced it
    sa.Column("until", sa.BigInteger),  # the number of the event that retired it
)

audit_checkpoints = sa.Table(
    "audit_checkpoints",
    metadata,
    sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),  # events that it covers
    sa.Column("root", sa.LargeBinary(32), nullable=False),
    sa.Column("note", sa.Text, nullable=False),  # the signed note, witnesses' lines included
    sa.Column("signed_at", UtcDateTime, nullable=False),
)

audit_anchors = sa.Table(
    "audit_anchors",
    metadata,
    sa.Column("size", sa.ForeignKey("audit_checkpoints.size"), primary_key=True, autoincrement=False),
    sa.Column("anchor", sa.String(100), primary_key=True),  # its name in the settings
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column(
        "place", sa.Text, nullable=False
    ),  # where exactly: URI, path, the authority's or witness's name
    sa.Column("evidence", sa.Text),  # a time stamp in base64, a cosignature line, a version id
    sa.Column("retain_until", UtcDateTime),  # where the store keeps it locked
    sa.Column("anchored_at", UtcDateTime, nullable=False),
)

audit_states = sa.Table(
    "audit_states",
    metadata,
    sa.Column("seq", sa.ForeignKey("audit_events.seq"), primary_key=True, autoincrement=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("root", sa.String(64), nullable=False),
    sa.Column("secret", sa.LargeBinary(32), nullable=False),  # of its object references; erasable
)

# Few rows among very many, which an index of their own finds; a database knows that it may use it only where the state
# stands in the text of the statement.
PLANNED = batches.c.state == sa.literal(BatchState.PLANNED.value, literal_execute=True)
FAILED = work.c.state == sa.literal(WorkState.FAILED.value, literal_execute=True)
