"""The SQL tables: what the migrations make and every statement is written against. A test compares the two.

Times are Unix ms, money is micro-USD, both BIGINT; 0 stands for "never" and "none". Text lengths are checked before
anything comes here.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData()

# SQLite numbers rows by itself in an INTEGER primary key only.
_Serial = BigInteger().with_variant(Integer, "sqlite")


def _number(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default="0")


def _text(name: str, length: int) -> Column[str]:
    return Column(name, String(length), nullable=False, server_default="")


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False)


def _usage() -> tuple[Column[Any], ...]:
    return (
        _number("input_tokens"),
        _number("output_tokens"),
        _number("cache_read_input_tokens"),
        _number("cache_write_5m_input_tokens"),
        _number("cache_write_1h_input_tokens"),
    )


# `balance_micro` is the sum of the project's credit entries; `version` grows with each of them.
projects = Table(
    "projects",
    metadata,
    Column("name", String(63), primary_key=True),
    _text("state", 16),
    _number("balance_micro"),
    _number("version"),
    _number("created_at_ms"),
)

# Only a digest of the key is kept. Declared keys stay here after they have left the catalog, for the ledger's sake.
# `counted_as` is the key whose limits and spend this one shares: the first of the same `APIKey`, or of those that were
# rotated into it; "" for its own.
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    _text("prefix", 64),
    Column("project", String(63), ForeignKey("projects.name"), nullable=False, index=True),
    _text("plan", 253),
    _text("name", 253),
    _text("state", 16),
    _text("source", 16),
    _number("expires_at_ms"),
    _number("spend_limit_micro"),
    _text("spend_limit_period", 16),
    _number("created_at_ms"),
    _text("counted_as", 64),
)

# What a key has been charged, by period: `Total` and each UTC month `YYYY-MM`, with what those were charged that are
# counted as it. `carried_micro` came from the key that this one replaced, before those shared one. Each charge makes
# `Total` a newer version.
key_spend = Table(
    "key_spend",
    metadata,
    Column("key_id", String(64), ForeignKey("api_keys.id"), primary_key=True),
    Column("period", String(8), primary_key=True),
    _number("spent_micro"),
    _number("carried_micro"),
    _number("version"),
)

# Never changed, never deleted: a settlement may name a price that the catalog has forgotten.
prices = Table(
    "prices",
    metadata,
    Column("digest", String(16), primary_key=True),
    Column("canonical", Text, nullable=False),
    _number("recorded_at_ms"),
)

settlements = Table(
    "settlements",
    metadata,
    Column("request_id", String(64), primary_key=True),
    Column("project", String(63), ForeignKey("projects.name"), nullable=False),
    Column("key_id", String(64), ForeignKey("api_keys.id"), nullable=False),
    _text("model", 253),
    _text("state", 24),
    _flag("estimated"),
    _flag("streamed"),
    _text("dialect", 32),
    *_usage(),
    _number("cost_micro"),
    _text("price_digest", 16),
    _number("price_multiplier_ppm"),
    _text("edge_session", 128),
    Column("delivered", Integer, nullable=False),
    Column("client_status", Integer, nullable=False),
    _number("admitted_at_ms"),
    _number("started_at_ms"),
    _number("ended_at_ms"),
    _number("recorded_at_ms"),
    Index("ix_settlements_project_admitted", "project", "admitted_at_ms", "request_id"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("request_id", String(64), ForeignKey("settlements.request_id"), primary_key=True),
    Column("index", Integer, primary_key=True, autoincrement=False),
    _text("account", 253),
    _text("class", 32),
    Column("status", Integer, nullable=False),
    *_usage(),
    _flag("reported"),
    _flag("estimated"),
    _number("cost_micro"),
    _text("upstream_request_id", 128),
    _text("upstream_model", 253),
    _number("started_at_ms"),
    _number("first_byte_ms"),
    _number("duration_ms"),
)

# Append-only. `balance_micro` is the project's balance after the entry; a charge's key is `charge:<request id>`.
credit_entries = Table(
    "credit_entries",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("project", String(63), ForeignKey("projects.name"), nullable=False),
    _text("kind", 16),
    _number("amount_micro"),
    _text("request_id", 64),
    _text("note", 500),
    Column("idempotency_key", String(200), unique=True),
    _number("balance_micro"),
    _number("created_at_ms"),
    Index("ix_credit_entries_project", "project", "id"),
)

# Settlements that can never be committed, whole (an encoded auth.v1.Settlement), each once.
quarantine = Table(
    "quarantine",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("raw_sha256", LargeBinary(32), nullable=False, unique=True),
    Column("raw", LargeBinary, nullable=False),
    _text("request_id", 64),
    _text("edge_session", 128),
    _text("reason", 200),
    _number("recorded_at_ms"),
)

edge_sessions = Table(
    "edge_sessions",
    metadata,
    Column("session", String(128), primary_key=True),
    _text("edge", 128),
    _number("started_at_ms"),
    _number("last_seen_ms"),
    _number("ended_at_ms"),
    _number("lost_at_ms"),
    Index("ix_edge_sessions_open", "ended_at_ms", "lost_at_ms"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    _number("created_at_ms"),
    _text("actor", 128),
    _text("action", 64),
    _text("subject", 253),
)

# What changed, for the other replicas of auth: written with the change itself, deleted after an hour.
changes = Table(
    "changes",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    _text("kind", 16),
    _text("subject", 253),
    _number("created_at_ms"),
)
