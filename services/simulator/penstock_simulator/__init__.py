"""A provider that misbehaves on command, for demos, tests and game days."""
