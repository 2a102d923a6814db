"""Sessions, tokens and alerts of the console and the service; indexes for search."""

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass
