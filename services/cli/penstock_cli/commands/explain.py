"""`penstock explain`: which account would serve a request, and why each was taken or dropped."""

from enum import StrEnum
from typing import Annotated

import typer

from penstock_cli import output
from penstock_cli.admin import Document
from penstock_cli.commands.session import DataDirOption, OutputOption, ServerOption, admin
from penstock_cli.key_names import key_id_or_name
from penstock_cli.output import Column, Output


class Dialect(StrEnum):
    """What clients speak."""

    ANTHROPIC = "anthropic"
    OPENAI_CHAT = "openai_chat"
    OPENAI_RESPONSES = "openai_responses"
    OPENAI_EMBEDDINGS = "openai_embeddings"
    GEMINI = "gemini"


def _when(milliseconds: int | None) -> str:
    if milliseconds is None:
        return "-"
    return f"{milliseconds / 1000:.0f} s" if milliseconds >= 1000 else f"{milliseconds} ms"


def _score(candidate: Document) -> str:
    score = candidate["score"]
    return "-" if score is None else f"{score:.4g}"


def _state(name: str) -> Column:
    """Return a column of the account's state as the router sees it."""

    def text(candidate: Document) -> str:
        state = candidate["state"]
        return "-" if state is None or state[name] in {"", None} else str(state[name])

    return Column(name.upper().replace("_", " "), text, number=name == "in_flight")


COLUMNS = (
    Column("RANK", lambda candidate: str(candidate["rank"] or "-"), number=True),
    output.field("ACCOUNT", "account"),
    output.field("VERDICT", "verdict"),
    output.field("WHY", "why"),
    Column("SCORE", _score, number=True),
    output.field("TIER", "tier", number=True),
    Column("AGAIN IN", lambda candidate: _when(candidate["soonest_ms"]), number=True),
    _state("provider"),
    _state("mode"),
    Column("STATE", lambda candidate: (candidate["state"] or {}).get("reason") or "-"),
    _state("in_flight"),
)


def _key(explanation: Document) -> str:
    key = explanation["key"]
    return "-" if key is None else f"{key['prefix']} ({key['state']})"


def _plan(explanation: Document) -> str:
    key = explanation["key"]
    if key is None:
        return "-"
    models = ", ".join(key["models"]) or "none"
    return f"{key['plan']} (models: {models}; translation: {key['translation'] or '-'})"


def _dialects(explanation: Document) -> str:
    return "; ".join(f"{each['dialect']}: {_reach(each)}" for each in explanation["dialects"])


def _reach(dialect: Document) -> str:
    refusal = dialect["refusal"]
    return refusal["reason"] if refusal else ", ".join(dialect["providers"]) or "nobody"


def _refusals(explanation: Document) -> str:
    return "; ".join(f"{each['reason']}: {each['detail']}" for each in explanation["refusals"]) or "-"


def _soonest(explanation: Document) -> str:
    soonest = explanation["soonest_ms"]
    return "now" if soonest == 0 else _when(soonest)


HEAD = (
    output.field("MODEL", "model"),
    Column("KEY", _key),
    output.field("PROJECT", "project"),
    Column("PLAN", _plan),
    Column("DIALECTS", _dialects),
    output.field("AFFINITY", "affinity"),
    Column("REFUSED", _refusals),
    Column("SERVED", _soonest),
)


def explain(
    model: Annotated[str, typer.Option("--model", "-m", help="Name or alias of the model.")],
    key: Annotated[
        str | None, typer.Option("--key", metavar="KEY", help="Id or name of a key, or what lists show as its prefix.")
    ] = None,
    session: Annotated[
        str | None, typer.Option("--session", help="What the client calls its conversation; needs a key or a project.")
    ] = None,
    project: Annotated[str | None, typer.Option("--project", "-p", help="Project, where no key is given.")] = None,
    dialect: Annotated[
        Dialect | None, typer.Option("--dialect", help="What the client speaks; translation is judged by it.")
    ] = None,
    count_tokens: Annotated[bool, typer.Option("--count-tokens", help="Of a request that counts tokens.")] = False,
    tokens: Annotated[int, typer.Option("--tokens", min=0, help="Input and output together, as estimated.")] = 0,
    data_dir: DataDirOption = None,
    server: ServerOption = None,
    form: OutputOption = Output.TABLE,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --output json.")] = False,
) -> None:
    """Say which account would serve a request now, and why each was taken or dropped."""
    question = {
        "model": model,
        "session": session,
        "project": project,
        "dialect": None if dialect is None else dialect.value,
        "operation": "count_tokens" if count_tokens else None,
        "tokens": tokens or None,
    }
    with admin(data_dir, server) as api:
        asker = None if key is None else key_id_or_name(api, key)
        explanation = api.post("explain", **question, key=asker)
    if as_json or form is Output.JSON:
        output.show_json(explanation)
        return
    output.show_one(explanation, HEAD, Output.TABLE)
    if explanation["candidates"]:
        output.show_line()
        output.show_list(explanation["candidates"], COLUMNS, Output.TABLE)
    else:
        output.note("No account serves this model.")
