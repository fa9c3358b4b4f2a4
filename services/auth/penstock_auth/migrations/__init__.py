"""Alembic migrations of the ledger; `penstock_auth.schema` runs them."""
