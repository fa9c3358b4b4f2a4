"""What can go wrong in a command, each with its exit code.

CommandError        1  refused or failed
├── NotFoundError      3  what was named does not exist
└── UnreachableError   4  the server does not answer, or does not accept the token
"""

from __future__ import annotations


class CommandError(Exception):
    """The command was refused or failed; the message says what to do."""

    exit_code = 1


class NotFoundError(CommandError):
    """What was named does not exist."""

    exit_code = 3


class UnreachableError(CommandError):
    """The server does not answer, or does not accept the token."""

    exit_code = 4
