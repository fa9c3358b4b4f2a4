"""The operator: custom resources into catalogs, what is observed into their status."""
