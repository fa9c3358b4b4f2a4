"""`penstock up`: a whole gateway on this machine."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from penstock_cli.commands.session import exit_codes, stated_path
from penstock_cli.local.gateway import Gateway
from penstock_cli.local.options import UpOptions
from penstock_cli.local.voice import Voice
from penstock_cli.settings import DEFAULT_DATA_DIR, CliSettings, environment


def up(
    resources: Annotated[
        list[Path] | None,
        typer.Option(
            "--resources",
            parser=stated_path,
            metavar="FILE_OR_DIR",
            help="YAML as `kubectl apply` takes it; may be repeated.",
        ),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port of the gateway; 0: a free one.")] = 8080,
    admin_port: Annotated[
        int, typer.Option("--admin-port", min=0, max=65535, help="The admin API's port; 0 takes a free one.")
    ] = 8081,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir",
            parser=stated_path,
            metavar="DIR",
            help="Where everything is kept. [env: PENSTOCK_DATA_DIR] [default: .penstock]",
        ),
    ] = None,
    database_url: Annotated[
        str | None,
        typer.Option("--database-url", help="Such as postgresql://...; else SQLite."),
    ] = None,
    redis_url: Annotated[
        str | None, typer.Option("--redis-url", help="Redis for counters, such as redis://...; else memory.")
    ] = None,
    edges: Annotated[int, typer.Option("--edges", min=1, max=64, help="Edge processes that share the port.")] = 1,
    drain_seconds: Annotated[
        float, typer.Option("--drain-seconds", min=0, max=3600, help="What open streams get at the end.")
    ] = 8.0,
    log_level: Annotated[
        str | None,
        typer.Option("--log-level", help="debug, info, warning or error. [default: warning on a terminal, else info]"),
    ] = None,
) -> None:
    """Run a gateway on this machine, with a simulator where no account is given.

    Without --resources, each provider's key in the environment is an account: ANTHROPIC_API_KEY, OPENAI_API_KEY (at
    OPENAI_BASE_URL) and GOOGLE_API_KEY or GEMINI_API_KEY (at GOOGLE_GEMINI_BASE_URL). An OPENAI_BASE_URL of another
    host than OpenAI's is an OpenAI-compatible server, asked for every built-in model whose owner has no key here; for
    models of its own, write resources.
    """
    if log_level not in {None, "debug", "info", "warning", "error"}:
        raise typer.BadParameter("is debug, info, warning or error", param_hint="--log-level")
    terminal = sys.stderr.isatty()
    options = UpOptions(
        data_dir=(data_dir or CliSettings.read().data_dir or DEFAULT_DATA_DIR).absolute(),
        resources=tuple(resources or ()),
        host=host,
        port=port,
        admin_port=admin_port,
        database_url=database_url,
        redis_url=redis_url,
        edges=edges,
        drain_seconds=drain_seconds,
        log_level=log_level or ("warning" if terminal else "info"),
        log_format="console" if terminal else "json",
    )
    voice = Voice()
    with exit_codes():
        try:
            code = asyncio.run(_run(options, voice))
        finally:
            voice.close()
    raise typer.Exit(code)


async def _run(options: UpOptions, voice: Voice) -> int:
    return await Gateway(options, environment(), voice).run()
