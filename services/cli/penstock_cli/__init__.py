"""The command line: local mode and the administration of a gateway."""
