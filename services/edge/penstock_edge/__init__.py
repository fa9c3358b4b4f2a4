"""The edge: terminates HTTP, relays to upstream accounts, meters every request."""
