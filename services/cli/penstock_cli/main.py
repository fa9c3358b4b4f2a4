"""Entry point of the command line."""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from penstock_chassis.settings import SettingsError
from penstock_cli import output
from penstock_cli.commands import (
    accounts,
    compile_resources,
    credit,
    explain,
    keys,
    plans,
    projects,
    setup_client,
    up,
    usage,
)

app = typer.Typer(
    name="penstock",
    help="An AI gateway: run one on this machine, and administer it.",
    no_args_is_help=True,
    add_completion=False,
    # Square brackets in help are brackets.
    rich_markup_mode=None,
    # A traceback with the values of variables could show a key.
    pretty_exceptions_enable=False,
)
app.command("up", short_help="Run a gateway on this machine.")(up.up)
app.command("compile", short_help="Compile resources into the catalogs.")(compile_resources.compile_resources)
app.command("setup-client", short_help="Point a client at a gateway, or take that back.")(setup_client.setup_client)
app.command("explain", short_help="Say which account would serve a request, and why.")(explain.explain)
for _name, _noun in (
    ("projects", projects),
    ("keys", keys),
    ("credit", credit),
    ("plans", plans),
    ("accounts", accounts),
    ("usage", usage),
):
    app.add_typer(_noun.app, name=_name)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("penstock-cli"))
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Run an AI gateway on this machine, and administer it."""
    del show_version


def main() -> None:
    """Run one command."""
    output.print_anything()
    try:
        app(prog_name="penstock")
    except SettingsError as error:
        sys.stderr.write(f"penstock: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
