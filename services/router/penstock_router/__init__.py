"""The router: the health and capacity of every account."""
