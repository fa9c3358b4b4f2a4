"""Projects: owners of keys and credit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import select

from penstock_auth import statements
from penstock_auth.errors import Invalid, NotFound
from penstock_auth.tables import projects

if TYPE_CHECKING:
    from sqlalchemy import Connection

ACTIVE: Final = "Active"
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Project:
    """A project and its balance, micro-USD."""

    name: str
    created_at_ms: int
    balance_micro: int


_PROJECT: Final = select(projects.c.name, projects.c.created_at_ms, projects.c.balance_micro)


def check_name(name: str) -> None:
    """Raise Invalid for what cannot name a project."""
    if not _NAME.fullmatch(name):
        raise Invalid(
            "a project's name is 1 to 63 letters, digits, '-', '_' or '.', with a letter or digit at both ends"
        )


def ensure(connection: Connection, name: str, now_ms: int) -> bool:
    """Make the project if it is new; says whether it was. Raises Invalid."""
    check_name(name)
    made = connection.execute(
        statements.insert_new(connection, projects)
        .values(name=name, state=ACTIVE, created_at_ms=now_ms)
        .returning(projects.c.name)
    ).scalar()
    return made is not None


def get(connection: Connection, name: str) -> Project | None:
    """Find a project."""
    row = connection.execute(_PROJECT.where(projects.c.name == name)).first()
    return Project(*row) if row is not None else None


def expect(connection: Connection, name: str) -> None:
    """Raise NotFound unless there is such a project; `""` stands for all of them."""
    if name and get(connection, name) is None:
        raise NotFound(unknown(name))


def unknown(name: str) -> str:
    """Say that a project does not exist, and what to do."""
    return f"there is no project {name!r}; list the projects to see their names"


def list_projects(connection: Connection) -> list[Project]:
    """Return all projects by name."""
    return [Project(*row) for row in connection.execute(_PROJECT.order_by(projects.c.name))]
