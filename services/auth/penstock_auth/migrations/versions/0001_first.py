"""The first schema: projects, keys, prices, the ledger, credit, sessions, audit."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("actor", sa.String(length=128), server_default="", nullable=False),
        sa.Column("action", sa.String(length=64), server_default="", nullable=False),
        sa.Column("subject", sa.String(length=253), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "changes",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=16), server_default="", nullable=False),
        sa.Column("subject", sa.String(length=253), server_default="", nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "edge_sessions",
        sa.Column("session", sa.String(length=128), nullable=False),
        sa.Column("edge", sa.String(length=128), server_default="", nullable=False),
        sa.Column("started_at_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_seen_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("lost_at_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("session"),
    )
    op.create_index("ix_edge_sessions_open", "edge_sessions", ["ended_at_ms", "lost_at_ms"], unique=False)
    op.create_table(
        "prices",
        sa.Column("digest", sa.String(length=16), nullable=False),
        sa.Column("canonical", sa.Text(), nullable=False),
        sa.Column("recorded_at_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_table(
        "projects",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("state", sa.String(length=16), server_default="", nullable=False),
        sa.Column("balance_micro", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "quarantine",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("raw_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("request_id", sa.String(length=64), server_default="", nullable=False),
        sa.Column("edge_session", sa.String(length=128), server_default="", nullable=False),
        sa.Column("reason", sa.String(length=200), server_default="", nullable=False),
        sa.Column("recorded_at_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("raw_sha256"),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("prefix", sa.String(length=64), server_default="", nullable=False),
        sa.Column("project", sa.String(length=63), nullable=False),
        sa.Column("plan", sa.String(length=253), server_default="", nullable=False),
        sa.Column("name", sa.String(length=253), server_default="", nullable=False),
        sa.Column("state", sa.String(length=16), server_default="", nullable=False),
        sa.Column("source", sa.String(length=16), server_default="", nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("spend_limit_micro", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("spend_limit_period", sa.String(length=16), server_default="", nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["project"],
            ["projects.name"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
    )
    op.create_index(op.f("ix_api_keys_project"), "api_keys", ["project"], unique=False)
    op.create_table(
        "credit_entries",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("project", sa.String(length=63), nullable=False),
        sa.Column("kind", sa.String(length=16), server_default="", nullable=False),
        sa.Column("amount_micro", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("request_id", sa.String(length=64), server_default="", nullable=False),
        sa.Column("note", sa.String(length=500), server_default="", nullable=False),
        sa.Column("idempotency_key", sa.String(length=200), nullable=True),
        sa.Column("balance_micro", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["project"],
            ["projects.name"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("idempotency_key"),
    )
    op.create_index("ix_credit_entries_project", "credit_entries", ["project", "id"], unique=False)
    op.create_table(
        "key_spend",
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("period", sa.String(length=8), nullable=False),
        sa.Column("spent_micro", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("carried_micro", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["key_id"],
            ["api_keys.id"],
        ),
        sa.PrimaryKeyConstraint("key_id", "period"),
    )
    op.create_table(
        "settlements",
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("project", sa.String(length=63), nullable=False),
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=253), server_default="", nullable=False),
        sa.Column("state", sa.String(length=24), server_default="", nullable=False),
        sa.Column("estimated", sa.Boolean(), nullable=False),
        sa.Column("streamed", sa.Boolean(), nullable=False),
        sa.Column("dialect", sa.String(length=32), server_default="", nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cache_read_input_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cache_write_5m_input_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cache_write_1h_input_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cost_micro", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("price_digest", sa.String(length=16), server_default="", nullable=False),
        sa.Column("price_multiplier_ppm", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("edge_session", sa.String(length=128), server_default="", nullable=False),
        sa.Column("delivered", sa.Integer(), nullable=False),
        sa.Column("client_status", sa.Integer(), nullable=False),
        sa.Column("admitted_at_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("started_at_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("recorded_at_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["key_id"],
            ["api_keys.id"],
        ),
        sa.ForeignKeyConstraint(
            ["project"],
            ["projects.name"],
        ),
        sa.PrimaryKeyConstraint("request_id"),
    )
    op.create_index(
        "ix_settlements_project_admitted", "settlements", ["project", "admitted_at_ms", "request_id"], unique=False
    )
    op.create_table(
        "attempts",
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("account", sa.String(length=253), server_default="", nullable=False),
        sa.Column("class", sa.String(length=32), server_default="", nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cache_read_input_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cache_write_5m_input_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cache_write_1h_input_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("reported", sa.Boolean(), nullable=False),
        sa.Column("estimated", sa.Boolean(), nullable=False),
        sa.Column("cost_micro", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("upstream_request_id", sa.String(length=128), server_default="", nullable=False),
        sa.Column("upstream_model", sa.String(length=253), server_default="", nullable=False),
        sa.Column("started_at_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("first_byte_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("duration_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["request_id"],
            ["settlements.request_id"],
        ),
        sa.PrimaryKeyConstraint("request_id", "index"),
    )
