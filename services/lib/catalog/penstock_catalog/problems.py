"""What is wrong with a resource, and where: the words in which the compiler and local mode tell people."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """Where a resource stands. `line` counts from 1; 0 where there are no lines, as in a cluster."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    `resource` is `Kind/name` and `field` a path such as `spec.limits[0].amount`; each is "" where it is not known.
    `reason` is one CamelCase word for machines, `message` a sentence for people. Neither ever holds a secret's value.
    """

    place: Place
    reason: str
    message: str
    resource: str = ""
    field: str = ""

    def __str__(self) -> str:
        subject = " ".join(part for part in (self.resource, self.field) if part)
        return f"{self.place}: {subject}: {self.message}" if subject else f"{self.place}: {self.message}"


class InvalidResources(Exception):  # noqa: N818 - it names what was met, and holds several errors
    """Resources that cannot be taken up at all. `problems` holds at least one."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)
