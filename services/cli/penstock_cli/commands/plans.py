"""`penstock plans`: the plans in force."""

import typer

from penstock_cli import output
from penstock_cli.admin import Document
from penstock_cli.commands.session import DataDirOption, OutputOption, ServerOption, admin
from penstock_cli.output import Column, Output

app = typer.Typer(help="Limits and model access given to keys.", no_args_is_help=True)


def _limits(plan: Document) -> str:
    return "; ".join(map(_limit, plan["limits"])) or "-"


def _limit(limit: Document) -> str:
    return f"{limit['amount']:,} {limit['unit']} in {_window(limit['window_seconds'])} per {limit['scope']}"


def _window(seconds: int) -> str:
    for size, letter in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds % size == 0:
            return f"{seconds // size}{letter}"
    return f"{seconds}s"


COLUMNS = (
    output.field("NAME", "name"),
    Column("MODELS", lambda plan: ", ".join(plan["models"])),
    Column("LIMITS", _limits),
    output.field("CONCURRENT", "max_concurrent_requests", number=True),
    output.field("CREDIT", "credit"),
    output.field("OVER BUDGET", "over_budget"),
    output.field("STORE OUTAGE", "on_store_outage"),
    output.field("PRICE", "price_multiplier"),
)


@app.command("list")
def list_all(data_dir: DataDirOption = None, server: ServerOption = None, form: OutputOption = Output.TABLE) -> None:
    """List the plans in force."""
    with admin(data_dir, server) as api:
        output.show_list(api.get("plans"), COLUMNS, form)


@app.callback()
def plans() -> None:
    """Limits and model access given to keys. They come from resources."""
