"""What all subcommands share: their options, the connection, and how an error becomes an exit code."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from penstock_chassis.streams import forget_unwritten
from penstock_cli import connection, moments, money
from penstock_cli.admin import Admin
from penstock_cli.errors import CommandError
from penstock_cli.output import Output
from penstock_cli.settings import CliSettings


def stated_path(text: str) -> Path:
    """Return the path of an option's text. No text at all, such as an unset variable of a shell, is wrong usage."""
    if not text:
        raise typer.BadParameter("is empty; the working directory is called .")
    return Path(text)


DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        parser=stated_path,
        metavar="DIR",
        help="Data directory of a local gateway. [env: PENSTOCK_DATA_DIR] [default: .penstock]",
    ),
]
ServerOption = Annotated[
    str | None,
    typer.Option("--server", help="URL of the admin API. [env: PENSTOCK_SERVER; token: PENSTOCK_ADMIN_TOKEN]"),
]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="A table for people, or one JSON document.")]
ProjectOption = Annotated[str, typer.Option("--project", "-p", help="Name of the project.")]


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn a CommandError, and what the machine refuses, into a message on stderr and an exit code."""
    try:
        yield
    except BrokenPipeError:
        # Whoever read has read enough: typer ends without a word.
        raise
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        sys.stderr.write(f"penstock: {error.strerror or error}{where}\n")
        forget_unwritten(sys.stdout)
        raise typer.Exit(1) from error
    except CommandError as error:
        sys.stderr.write(f"penstock: {error}\n")
        raise typer.Exit(error.exit_code) from error


@contextmanager
def admin(data_dir: Path | None, server: str | None) -> Iterator[Admin]:
    """Give the admin API that the options and the environment name."""
    with exit_codes(), Admin(connection.find(data_dir, server, CliSettings.read())) as api:
        yield api


def moment(text: str | None, option: str, *, ahead: bool) -> str | None:
    """Return the RFC 3339 time of an option's text. Wrong text is wrong usage."""
    if text is None:
        return None
    try:
        return moments.parse(text, datetime.now(UTC), ahead=ahead).isoformat()
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def micro_usd(text: str | None, option: str) -> int | None:
    """Return the micro-USD of an option's text. Wrong text is wrong usage."""
    if text is None:
        return None
    try:
        return money.parse_usd(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error
