"""What a person should know beside the files: other settings that get in the way, and how to begin. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock_cli.setup_client import target as targets
from penstock_cli.setup_client.clients import ClientName

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from penstock_cli.setup_client.target import Target

_CODEX_RIVALS = ("OPENAI_BASE_URL", "CODEX_OPENAI_BASE_URL")
_FIRST_USE = {
    ClientName.CLAUDE_CODE: 'Try it: claude -p "Say hello"',
    ClientName.CODEX: 'Try it: codex exec "Say hello"',
    ClientName.OPENCODE: 'Try it: opencode run "Say hello"',
}


def first_use(client: ClientName) -> str:
    """Return one line that shows that it works."""
    return _FIRST_USE.get(client, "")


def before_use(client: ClientName, target: Target, variables: Mapping[str, str]) -> Iterator[str]:
    """Give the lines that a person should read."""
    if targets.is_exposed(target.url):
        yield f"{target.url} is not encrypted: the key and all prompts can be read on their way."
    if client is ClientName.CLAUDE_CODE and variables.get("ANTHROPIC_API_KEY"):
        yield (
            "ANTHROPIC_API_KEY is set in this shell. Claude Code would send it to the gateway beside its token, "
            "so the settings empty it for Claude Code; other programs still see it."
        )
    if client is ClientName.CODEX:
        for name in _CODEX_RIVALS:
            if variables.get(name):
                yield (
                    f"{name} is set in this shell. Codex 0.169 does not read it for a provider of one's own, "
                    f"older versions may: unset {name} if requests go elsewhere."
                )
