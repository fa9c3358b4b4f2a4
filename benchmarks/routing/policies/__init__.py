"""Routing policies. None of them may import the models of accounts and clients, the gateway that runs them or metrics."""
