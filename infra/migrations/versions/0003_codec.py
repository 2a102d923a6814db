"""The codec of each shard's tokens; what was committed before there were several is exact."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("shards", sa.Column("codec", sa.String(length=60), nullable=False, server_default="exact"))
