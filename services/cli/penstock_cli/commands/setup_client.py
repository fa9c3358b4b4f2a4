"""`penstock setup-client`: points a client on this machine at a gateway."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from penstock_cli import output
from penstock_cli.commands.session import DataDirOption, OutputOption, ServerOption, exit_codes, stated_path
from penstock_cli.connection import gateway_of
from penstock_cli.output import Output
from penstock_cli.settings import CliSettings, environment
from penstock_cli.setup_client import advice, clients, files, served, target, variables
from penstock_cli.setup_client.clients import ClientName, Places
from penstock_cli.setup_client.entries import put_in
from penstock_cli.setup_client.target import Target

_NOWHERE = Target("http://localhost", "none")


def setup_client(
    client: Annotated[ClientName, typer.Argument(metavar="CLIENT", help="claude-code, codex, opencode, or env.")],
    url: Annotated[
        str | None, typer.Option("--url", help="URL of the gateway. [default: that of the data directory]")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="API key; - reads it from stdin. [env: PENSTOCK_API_KEY] [else: asked]")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="Model that the client shall use.")] = None,
    show: Annotated[
        bool, typer.Option("--print", help="Show what would be written, with the key; write nothing.")
    ] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take back what a set-up wrote.")] = False,
    config_dir: Annotated[
        Path | None,
        typer.Option(
            "--config-dir",
            parser=stated_path,
            metavar="DIR",
            help="The client's configuration directory, instead of its own.",
        ),
    ] = None,
    data_dir: DataDirOption = None,
    server: ServerOption = None,
    form: OutputOption = Output.TABLE,
) -> None:
    """Point a client on this machine at a gateway, or take that back.

    claude-code, codex and opencode: their configuration files, of which a backup is kept. env: lines for a shell.
    """
    places = Places(Path.home(), environment(), config_dir)
    with exit_codes():
        if undo:
            _undo(client, places, form)
            return
        wanted = Target(_url(url, data_dir, server), _key(key), model)
        if client is ClientName.ENV:
            _show_variables(wanted, form)
        elif show:
            _show_files(client, places, wanted, form)
        else:
            _set_up(client, places, wanted, form)


def _url(url: str | None, data_dir: Path | None, server: str | None) -> str:
    try:
        return target.gateway_url(url or gateway_of(data_dir, server, CliSettings.read()))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--url") from error


def _key(given: str | None) -> str:
    stated = CliSettings.read().api_key
    if given is None and stated is not None:
        given = stated.reveal()
    if given is None and sys.stdin.isatty():
        given = typer.prompt("API key", hide_input=True, err=True)
    if given is None or given == "-":
        given = sys.stdin.readline()
    try:
        return target.api_key(given)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--key") from error


def _set_up(client: ClientName, places: Places, wanted: Target, form: Output) -> None:
    outcomes = files.set_up(clients.files(client, places, wanted, _served(wanted), files.read))
    for line in advice.before_use(client, wanted, places.variables):
        output.note(line)
    changed = any(outcome.action == "written" for outcome in outcomes)
    _report(client, outcomes, form, [advice.first_use(client)] if changed else ["There is nothing to do."])


def _served(wanted: Target) -> Sequence[str]:
    """Return what the gateway serves this key; nothing when it does not answer, which is no reason to stop."""
    try:
        names = served.models(wanted)
    except served.UnansweredError as error:
        output.note(f"Not checked: {error}.")
        return ()
    if wanted.model and wanted.model not in names:
        output.note(f"{wanted.url} does not list the model {wanted.model} for this key.")
    return names


def _undo(client: ClientName, places: Places, form: Output) -> None:
    if client is ClientName.ENV:
        _say(variables.unsets(), dict.fromkeys(variables.NAMES), form)
        return
    outcomes = files.undo(clients.files(client, places, _NOWHERE, (), files.read))
    _report(client, outcomes, form, [] if outcomes else ["There is nothing to undo."])


def _report(client: ClientName, outcomes: Sequence[files.Outcome], form: Output, words: Sequence[str]) -> None:
    if form is Output.JSON:
        rows = [
            {
                "path": str(outcome.path),
                "action": outcome.action,
                "backup": str(outcome.backup) if outcome.backup else None,
            }
            for outcome in outcomes
        ]
        output.show_json({"client": client.value, "files": rows})
        return
    for outcome in outcomes:
        kept = f" (as it was: {outcome.backup.name})" if outcome.backup else ""
        typer.echo(f"{outcome.path}: {outcome.action}{kept}")
    for line in words:
        typer.echo(line)


def _show_variables(wanted: Target, form: Output) -> None:
    _say(variables.exports(wanted), variables.values(wanted), form)


def _show_files(client: ClientName, places: Places, wanted: Target, form: Output) -> None:
    """Print the entries alone, as if the files were empty."""
    parts = clients.files(client, replace(places, variables={}), wanted, _served(wanted), lambda _: "")
    texts = {str(part.path): put_in(part.syntax, "", part.entries) for part in parts}
    if form is Output.JSON:
        output.show_json({"client": client.value, "files": [{"path": p, "text": text} for p, text in texts.items()]})
        return
    for path, text in texts.items():
        output.note(f"{path}:")
        typer.echo(text, nl=False)
        sys.stdout.flush()


def _say(text: str, document: Mapping[str, Any], form: Output) -> None:
    if form is Output.JSON:
        output.show_json(document)
    else:
        typer.echo(text, nl=False)
