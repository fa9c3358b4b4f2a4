"""`penstock keys`: what clients send."""

from enum import StrEnum
from typing import Annotated

import typer

from penstock_cli import moments, money, output
from penstock_cli.admin import Document
from penstock_cli.commands.session import (
    DataDirOption,
    OutputOption,
    ProjectOption,
    ServerOption,
    admin,
    micro_usd,
    moment,
)
from penstock_cli.key_names import key_id
from penstock_cli.output import Column, Output

app = typer.Typer(help="What clients send.", no_args_is_help=True)

KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="Id of the key, or what lists show as its prefix.")]


class Period(StrEnum):
    """Over which time a spend limit counts."""

    TOTAL = "Total"
    MONTH = "Month"


def _spend(key: Document) -> str:
    spent = money.show_usd(key["spent_micro"])
    if key["spend_limit_micro"] is None:
        return spent
    return f"{spent} of {money.show_usd(key['spend_limit_micro'])} ({key['spend_limit_period']})"


COLUMNS = (
    output.field("ID", "id", whole=True),
    output.field("PREFIX", "prefix", whole=True),
    output.field("PROJECT", "project"),
    output.field("PLAN", "plan"),
    output.field("NAME", "name"),
    output.field("STATE", "state"),
    Column("SPENT", _spend),
    Column("EXPIRES", lambda key: moments.show(key["expires_at"])),
    Column("CREATED", lambda key: moments.show(key["created_at"])),
    output.field("SOURCE", "source"),
)
ISSUED = (output.field("KEY", "key", whole=True), *COLUMNS)


def _show_issued(key: Document, form: Output) -> None:
    output.show_one(key, ISSUED, form)
    output.note("The key is shown this once; keep it now.")


@app.command("create")
def create(
    project: Annotated[str, typer.Option("--project", "-p", help="Project; made if it is new.")],
    plan: Annotated[str, typer.Option("--plan", help="Plan whose limits the key follows.")],
    name: Annotated[str, typer.Option("--name", help="For people.")] = "",
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="TIME", help="2027-01-01, a time, or 30d.")
    ] = None,
    spend_limit_usd: Annotated[
        str | None, typer.Option("--spend-limit-usd", metavar="X", help="Such as 50.00.")
    ] = None,
    period: Annotated[Period, typer.Option("--period", help="What the spend limit counts over.")] = Period.TOTAL,
    data_dir: DataDirOption = None,
    server: ServerOption = None,
    form: OutputOption = Output.TABLE,
) -> None:
    """Create a key; it is shown this once."""
    expires_at = moment(expires, "--expires", ahead=True)
    spend_limit = micro_usd(spend_limit_usd, "--spend-limit-usd")
    if spend_limit is not None and spend_limit <= 0:
        raise typer.BadParameter("a spend limit is more than nothing", param_hint="--spend-limit-usd")
    with admin(data_dir, server) as api:
        key = api.post(
            "keys",
            project=project,
            plan=plan,
            name=name,
            expires_at=expires_at,
            spend_limit_micro=spend_limit,
            spend_limit_period=period.value,
        )
        _show_issued(key, form)


@app.command("list")
def list_all(
    project: ProjectOption = "",
    data_dir: DataDirOption = None,
    server: ServerOption = None,
    form: OutputOption = Output.TABLE,
) -> None:
    """List the keys of one project, or of all."""
    with admin(data_dir, server) as api:
        output.show_list(api.get("keys", project=project), COLUMNS, form)


@app.command("show")
def show(
    key: KeyArgument, data_dir: DataDirOption = None, server: ServerOption = None, form: OutputOption = Output.TABLE
) -> None:
    """Show one key, without its secret."""
    with admin(data_dir, server) as api:
        output.show_one(api.get(f"keys/{key_id(key)}"), COLUMNS, form)


@app.command("disable")
def disable(
    key: KeyArgument, data_dir: DataDirOption = None, server: ServerOption = None, form: OutputOption = Output.TABLE
) -> None:
    """Disable a key for good."""
    with admin(data_dir, server) as api:
        output.show_one(api.post(f"keys/{key_id(key)}/disable"), COLUMNS, form)


@app.command("rotate")
def rotate(
    key: KeyArgument,
    overlap_seconds: Annotated[
        int, typer.Option("--overlap-seconds", min=0, help="How long the old key goes on beside the new one.")
    ] = 0,
    data_dir: DataDirOption = None,
    server: ServerOption = None,
    form: OutputOption = Output.TABLE,
) -> None:
    """Issue a new key with the same facts; the old one ends."""
    with admin(data_dir, server) as api:
        _show_issued(api.post(f"keys/{key_id(key)}/rotate", overlap_seconds=overlap_seconds), form)
