"""The ledger's tables of the console and the service: tokens that people sign in with, sessions, alerts.

    people 1--* login_tokens 1--* sessions     who may come in; secrets are kept as their sha256 only
    alerts                                     what was found wrong, and whether somebody was told

Knows nothing about queries.
"""

from __future__ import annotations

import sqlalchemy as sa

from infra.table_types import ID, UtcDateTime, metadata

login_tokens = sa.Table(
    "login_tokens",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("person_id", sa.ForeignKey("people.id"), nullable=False, index=True),
    sa.Column("sha256", sa.String(64), nullable=False, unique=True),  # of the secret, which has 256 bits
    sa.Column("made_at", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime, nullable=False),
    sa.Column("revoked_at", UtcDateTime),
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("sha256", sa.String(64), primary_key=True),  # of the cookie's secret
    sa.Column("token_id", sa.ForeignKey("login_tokens.id"), nullable=False, index=True),
    sa.Column("made_at", UtcDateTime, nullable=False),
    sa.Column("ends_at", UtcDateTime, nullable=False),
)

alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("kind", sa.String(40), primary_key=True),
    sa.Column("about", sa.String(250), primary_key=True),  # a collection, an anchor, a run
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("first_at", UtcDateTime, nullable=False),
    sa.Column("told_at", UtcDateTime),  # null: nobody could be told yet
    sa.Column("over_at", UtcDateTime),  # null: it is so now
)
