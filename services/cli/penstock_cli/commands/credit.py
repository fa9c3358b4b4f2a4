"""`penstock credit`: prepaid money of projects."""

from enum import StrEnum
from typing import Annotated

import typer

from penstock_cli import moments, money, output
from penstock_cli.commands.session import (
    DataDirOption,
    OutputOption,
    ProjectOption,
    ServerOption,
    admin,
    micro_usd,
)
from penstock_cli.output import Column, Output

app = typer.Typer(help="Prepaid money of projects.", no_args_is_help=True)


class Kind(StrEnum):
    """What a person may enter; charges are made by the ledger alone."""

    TOPUP = "topup"
    REFUND = "refund"
    ADJUSTMENT = "adjustment"
    EXPIRY = "expiry"


COLUMNS = (
    output.field("ID", "id", whole=True),
    output.field("KIND", "kind"),
    Column("AMOUNT", lambda entry: money.show_usd(entry["amount_micro"]), number=True),
    Column("BALANCE", lambda entry: money.show_usd(entry["balance_micro"]), number=True),
    output.field("REQUEST", "request_id", whole=True),
    output.field("NOTE", "note"),
    Column("CREATED", lambda entry: moments.show(entry["created_at"])),
)


@app.command("add")
def add(
    project: ProjectOption,
    usd: Annotated[str, typer.Option("--usd", "--amount-usd", metavar="X", help="Such as 25.00; negative takes away.")],
    kind: Annotated[Kind, typer.Option("--kind", help="What this entry is.")] = Kind.TOPUP,
    entry_note: Annotated[str, typer.Option("--note", help="For people.")] = "",
    idempotency_key: Annotated[
        str, typer.Option("--idempotency-key", help="The same key adds the same entry once.")
    ] = "",
    data_dir: DataDirOption = None,
    server: ServerOption = None,
    form: OutputOption = Output.TABLE,
) -> None:
    """Add an entry to a project's credit."""
    amount = micro_usd(usd, "--usd")
    with admin(data_dir, server) as api:
        entry = api.post(
            "credit",
            project=project,
            amount_micro=amount,
            kind=kind.value,
            note=entry_note,
            idempotency_key=idempotency_key,
        )
        output.show_one(entry, COLUMNS, form)


@app.command("list")
def list_newest(
    project: ProjectOption,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most so many entries.")] = 1000,
    data_dir: DataDirOption = None,
    server: ServerOption = None,
    form: OutputOption = Output.TABLE,
) -> None:
    """List a project's newest entries."""
    with admin(data_dir, server) as api:
        credit = api.get("credit", project=project, limit=limit)
        output.show_list(credit["entries"], COLUMNS, form)
        if form is Output.TABLE:
            output.note(f"balance {money.show_usd(credit['balance_micro'])}")
