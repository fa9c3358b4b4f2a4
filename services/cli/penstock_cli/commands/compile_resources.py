"""`penstock compile`: resources into the catalogs of auth and the router, without Kubernetes and without `up`."""

import asyncio
import os
import time
from pathlib import Path
from typing import Annotated

import typer

from penstock_catalog.local import LocalCatalog
from penstock_catalog.sources import ResourceFiles
from penstock_cli.commands.session import exit_codes, stated_path
from penstock_cli.data_dir import DataDir
from penstock_cli.local import desired
from penstock_cli.local.ending import Ending
from penstock_cli.local.voice import Voice
from penstock_cli.settings import DEFAULT_DATA_DIR, CliSettings


def compile_resources(
    resources: Annotated[
        list[Path],
        typer.Option(
            "--resources",
            parser=stated_path,
            metavar="FILE_OR_DIR",
            help="YAML as `kubectl apply` takes it; may be repeated.",
        ),
    ],
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir",
            parser=stated_path,
            metavar="DIR",
            help="Where the catalogs go. [env: PENSTOCK_DATA_DIR] [default: .penstock]",
        ),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on, and take up every change of the files.")] = False,
) -> None:
    """Compile resources into the catalogs of auth and the router, and make the keys that they declare.

    Into the data directory go catalog/auth.json and catalog/router.json, which running processes take up at once,
    secrets/NAME/api-key for every APIKey, and an admin-token for status, where there is none.
    """
    folder = DataDir((data_dir or CliSettings.read().data_dir or DEFAULT_DATA_DIR).absolute())
    voice = Voice()
    try:
        with exit_codes():
            folder.prepare()
            lock = folder.lock()
            try:
                folder.token()
                catalog = LocalCatalog(ResourceFiles(resources), folder.root)
                desired.publish_first(catalog, voice)
                voice.say(f"the resources are in force: {catalog.auth_path} and {catalog.router_path}")
                if follow:
                    asyncio.run(_follow(catalog, voice))
            finally:
                os.close(lock)
    finally:
        voice.close()


async def _follow(catalog: LocalCatalog, voice: Voice) -> None:
    """Take up changes until a signal."""
    ending = Ending(time.monotonic, lambda name: voice.say(f"{name}: ending"))
    ending.listen()
    following = asyncio.create_task(desired.follow(catalog, voice), name="follow")
    asked = asyncio.create_task(ending.asked.wait(), name="asked to end")
    done, pending = await asyncio.wait({following, asked}, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for task in done:
        task.result()
