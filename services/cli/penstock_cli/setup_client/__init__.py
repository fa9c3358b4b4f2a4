"""Points the clients on this machine at a gateway: which file, which entries, and how to take them back."""
