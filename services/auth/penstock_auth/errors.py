"""What auth refuses or cannot do. `grpc_errors` maps each class to one status code.

The tree (all are `AuthError`; the message is for people: what happened, what to do)::

    AuthError
    ├── Refused
    │   ├── Invalid            an argument makes no sense
    │   ├── NotFound           no such project, key or row (or not for this caller)
    │   ├── Conflict           it exists already, or its state forbids this
    │   └── TooMany            a plan's bound is reached
    ├── DatabaseDown           SQL did not answer in time, or not at all; nothing is known about the call's effect
    │   └── KeyInDoubt         so nobody can say what became of a key that has changed
    └── DatabaseRefused        SQL will never do as it is: wrong URL, newer schema, file in use; refuse to start
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock_auth.keys import Key


class AuthError(Exception):
    """Something auth says no to."""


class Refused(AuthError):  # noqa: N818 - a family of answers rather than of faults
    """The call was understood and will not be done."""


class Invalid(Refused):
    """An argument makes no sense."""


class NotFound(Refused):
    """There is no such thing, or the caller may not know of it."""


class Conflict(Refused):
    """It exists already, or its state forbids this."""


class TooMany(Refused):
    """A bound is reached."""


class DatabaseDown(AuthError):  # noqa: N818 - a state, named like the counters' StoreDown
    """The database did not answer within the deadline, or not at all. The call may or may not have had its effect."""


class KeyInDoubt(DatabaseDown):
    """`key` has changed since it was as it is here, and SQL does not say how."""

    def __init__(self, key: Key) -> None:
        super().__init__("a key has changed, and the database does not say how")
        self.key = key


class DatabaseRefused(AuthError):  # noqa: N818 - named like DatabaseDown
    """The database cannot be used as it is."""
