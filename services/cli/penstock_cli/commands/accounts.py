"""`penstock accounts`: the upstream accounts as the router sees them."""

from typing import Annotated

import typer

from penstock_cli import output
from penstock_cli.admin import Document, segment
from penstock_cli.commands.session import DataDirOption, OutputOption, ServerOption, admin
from penstock_cli.output import Column, Output

app = typer.Typer(help="The upstream accounts as the router sees them.", no_args_is_help=True)


def _cooldown(cooldown: Document) -> str:
    what = cooldown["model"] or "all models"
    if cooldown["operation"]:
        what += f" {cooldown['operation']}"
    if cooldown["half_open"]:
        return f"{what}: {cooldown['class']}, on trial"
    if not cooldown["remaining_ms"]:
        return f"{what}: returning at {cooldown['ramp_percent']} %"
    return f"{what}: {cooldown['class']} for {cooldown['remaining_ms'] / 1000:.0f} s"


COLUMNS = (
    output.field("NAME", "name"),
    output.field("PROVIDER", "provider"),
    output.field("MODE", "mode"),
    Column("READY", lambda account: str(account["ready"])),
    output.field("REASON", "reason"),
    output.field("TIER", "tier", number=True),
    output.field("WEIGHT", "weight", number=True),
    output.field("IN FLIGHT", "in_flight", number=True),
    output.field("RPM", "requests_per_minute", number=True),
    Column("COOLDOWNS", lambda account: "; ".join(map(_cooldown, account["cooldowns"])) or "-"),
)
DETAILS = (*COLUMNS, output.field("MESSAGE", "message"), output.field("CREDENTIAL", "credential_hash"))


@app.command("list")
def list_all(data_dir: DataDirOption = None, server: ServerOption = None, form: OutputOption = Output.TABLE) -> None:
    """List all accounts."""
    with admin(data_dir, server) as api:
        output.show_list(api.get("accounts"), COLUMNS, form)


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="Name of the account.")],
    data_dir: DataDirOption = None,
    server: ServerOption = None,
    form: OutputOption = Output.TABLE,
) -> None:
    """Show one account."""
    with admin(data_dir, server) as api:
        output.show_one(api.get(f"accounts/{segment(name)}"), DETAILS, form)
