"""Routing policies side by side against models of accounts and clients, in virtual time."""
