"""`penstock usage`: rows of the ledger, one per request, and their sums."""

from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import Annotated

import typer

from penstock_cli import moments, money, output
from penstock_cli.admin import Document, segment
from penstock_cli.commands.session import DataDirOption, OutputOption, ProjectOption, ServerOption, admin, moment
from penstock_cli.output import Column, Output

app = typer.Typer(help="What was used, and what it cost.", no_args_is_help=True)

TABLE_ROWS = 100

SinceOption = Annotated[str | None, typer.Option("--since", metavar="TIME", help="2026-01-01, a time, or 1h (ago).")]


class State(StrEnum):
    """How a request ended."""

    COMPLETE = "complete"
    CLIENT_LEFT = "client_left"
    ERROR_BEFORE_OUTPUT = "error_before_output"
    ERROR_AFTER_OUTPUT = "error_after_output"
    ABANDONED = "abandoned"


def _attempt(attempt: Document) -> str:
    status = f" {attempt['status']}" if attempt["status"] else ""
    return f"{attempt['account']}: {attempt['class']}{status}, {attempt['duration_ms']} ms"


_TOKENS = (
    output.field("INPUT", "input_tokens", number=True),
    output.field("OUTPUT", "output_tokens", number=True),
    output.field("CACHE READ", "cache_read_input_tokens", number=True),
    output.field("CACHE WRITE", "cache_creation_input_tokens", number=True),
    Column("COST", lambda row: money.show_usd(row["cost_micro"]), number=True),
)
COLUMNS = (
    Column("ADMITTED", lambda row: moments.show(row["admitted_at"])),
    output.field("REQUEST", "request_id", whole=True),
    output.field("ACCOUNT", "account"),
    output.field("MODEL", "model"),
    Column("STATE", lambda row: row["state"] + (" (estimated)" if row["estimated"] else "")),
    *_TOKENS,
    Column("ATTEMPTS", lambda row: str(len(row["attempts"])), number=True),
)
DETAILS = (
    *COLUMNS[:-1],
    output.field("PROJECT", "project"),
    output.field("KEY", "key_id"),
    output.field("DURATION MS", "duration_ms", number=True),
    Column("ATTEMPTS", lambda row: "\n".join(map(_attempt, row["attempts"])) or "-"),
)
SUMMARY = (output.field("PROJECT", "project"), output.field("REQUESTS", "requests", number=True), *_TOKENS)


@app.command("list")
def list_rows(
    project: ProjectOption = "",
    since: SinceOption = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help=f"At most so many rows. [default: {TABLE_ROWS} in a table, all in JSON]"),
    ] = None,
    state: Annotated[State | None, typer.Option("--state", help="Only requests that ended so.")] = None,
    data_dir: DataDirOption = None,
    server: ServerOption = None,
    form: OutputOption = Output.TABLE,
) -> None:
    """List requests, newest first."""
    begin = moment(since, "--since", ahead=False)
    capped = limit is None and form is Output.TABLE
    most = TABLE_ROWS + 1 if capped else limit
    with admin(data_dir, server) as api:
        rows = list(api.usage(most, project=project, since=begin, state=state.value if state else None))
        output.show_list(list(islice(rows, TABLE_ROWS)) if capped else rows, COLUMNS, form)
        if capped and len(rows) > TABLE_ROWS:
            output.note(f"only the newest {TABLE_ROWS}; --limit shows more")


@app.command("show")
def show(
    request_id: Annotated[str, typer.Argument(help="The `request-id` header of the answer.")],
    data_dir: DataDirOption = None,
    server: ServerOption = None,
    form: OutputOption = Output.TABLE,
) -> None:
    """Show one request with its attempts."""
    with admin(data_dir, server) as api:
        output.show_one(api.get(f"usage/{segment(request_id, 'summary')}"), DETAILS, form)


@app.command("summary")
def summarise(
    project: ProjectOption,
    since: SinceOption = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="As --since; not included.")] = None,
    data_dir: DataDirOption = None,
    server: ServerOption = None,
    form: OutputOption = Output.TABLE,
) -> None:
    """Sum up a project's requests."""
    begin = moment(since, "--since", ahead=False)
    end = moment(until, "--until", ahead=False)
    if begin and end and datetime.fromisoformat(end) <= datetime.fromisoformat(begin):
        raise typer.BadParameter("is not after --since", param_hint="--until")
    with admin(data_dir, server) as api:
        output.show_one(api.get("usage/summary", project=project, since=begin, until=end), SUMMARY, form)
