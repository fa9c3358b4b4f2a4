"""What is wrong with a message that could be read: gathered, and told all at once as Google does."""

from __future__ import annotations

from penstock_simulator.gemini.errors import invalid


class Complaints:
    """Complaints about one message, whose name is `root`."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._told: list[str] = []

    def add(self, path: str, words: str) -> None:
        """Complain about a field."""
        self._told.append(f"* {self._root}.{path}: {words}\n")

    def settle(self) -> None:
        """Raise RefusalError if there are any."""
        if self._told:
            raise invalid("".join(self._told))
