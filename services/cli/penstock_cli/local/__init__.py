"""Local mode: the processes of a gateway started and kept by one command."""
