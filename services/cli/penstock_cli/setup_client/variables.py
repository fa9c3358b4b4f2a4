"""Variables that SDKs and other programs read, as lines for a shell. Pure."""

from __future__ import annotations

import shlex

from penstock_cli.setup_client.target import Target

OTHER_CREDENTIALS = ("ANTHROPIC_AUTH_TOKEN", "GOOGLE_API_KEY")
"""They would be sent as well, or instead."""


def values(target: Target) -> dict[str, str]:
    """Return name and value of each variable."""
    return {
        "ANTHROPIC_BASE_URL": target.url,
        "ANTHROPIC_API_KEY": target.key,
        "OPENAI_BASE_URL": target.openai,
        "OPENAI_API_KEY": target.key,
        "GOOGLE_GEMINI_BASE_URL": target.url,
        "GEMINI_API_KEY": target.key,
        "PENSTOCK_API_KEY": target.key,
    }


NAMES = tuple(values(Target("", "")))
"""The names alone, for taking them back."""


def exports(target: Target) -> str:
    """Return lines for a shell that set every variable."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in values(target).items()]
    return "\n".join([*lines, f"unset {' '.join(OTHER_CREDENTIALS)}"]) + "\n"


def unsets() -> str:
    """Return the line for a shell that takes every variable back."""
    return f"unset {' '.join(NAMES)}\n"
