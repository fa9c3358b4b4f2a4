"""Status: the admin API, and later the status page and the customer portal."""
