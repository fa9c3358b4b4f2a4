"""`penstock projects`: the tenants."""

from typing import Annotated

import typer

from penstock_cli import moments, money, output
from penstock_cli.commands.session import DataDirOption, OutputOption, ServerOption, admin
from penstock_cli.output import Column, Output

app = typer.Typer(help="Owners of keys and credit.", no_args_is_help=True)

COLUMNS = (
    output.field("NAME", "name"),
    Column("BALANCE", lambda project: money.show_usd(project["balance_micro"]), number=True),
    Column("CREATED", lambda project: moments.show(project["created_at"])),
)


@app.command("create")
def create(
    name: Annotated[
        str, typer.Argument(help="Up to 63 letters, digits, '.', '_' and '-'; the first a letter or digit.")
    ],
    data_dir: DataDirOption = None,
    server: ServerOption = None,
    form: OutputOption = Output.TABLE,
) -> None:
    """Create a project."""
    with admin(data_dir, server) as api:
        output.show_one(api.post("projects", name=name), COLUMNS, form)


@app.command("list")
def list_all(data_dir: DataDirOption = None, server: ServerOption = None, form: OutputOption = Output.TABLE) -> None:
    """List all projects."""
    with admin(data_dir, server) as api:
        output.show_list(api.get("projects"), COLUMNS, form)
