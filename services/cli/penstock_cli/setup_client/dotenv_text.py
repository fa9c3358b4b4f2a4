"""Files of `NAME=value` lines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock_cli.setup_client.syntax import Path


class DotEnv:
    """Variables by name; a path is one name, a value needs no quotes."""

    def get(self, text: str, path: Path) -> Any:
        """Return the value of the last line that sets a variable; None when there is none."""
        found = _line(path).findall(text)
        return found[-1].strip().strip("\"'") if found else None

    def put(self, text: str, path: Path, value: Any) -> str:
        """Return the text with one line that sets this variable."""
        text = self.drop(text, path)
        if text and not text.endswith("\n"):
            text += "\n"
        return f"{text}{path[0]}={value}\n"

    def drop(self, text: str, path: Path) -> str:
        """Return the text without the lines that set a variable."""
        return _line(path).sub("", text)

    def empty(self, text: str) -> bool:
        """Say whether a text holds nothing at all."""
        return not text.strip()


def _line(path: Path) -> re.Pattern[str]:
    return re.compile(rf"^[ \t]*(?:export[ \t]+)?{re.escape(path[0])}[ \t]*=(.*)(?:\n|\Z)", re.MULTILINE)
