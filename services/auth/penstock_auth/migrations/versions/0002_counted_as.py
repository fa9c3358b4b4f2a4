"""Keys that share the limits and the spend of another: what a declared key was before it was rotated."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Let every key so far count for itself."""
    op.add_column("api_keys", sa.Column("counted_as", sa.String(length=64), server_default="", nullable=False))
