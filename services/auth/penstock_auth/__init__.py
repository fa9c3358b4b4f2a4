"""Auth: keys, plans, limits, credit and the ledger."""
