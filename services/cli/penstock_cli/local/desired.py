"""The desired state of a local gateway: where it comes from, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock_catalog.local import LocalCatalog, LocalState
from penstock_catalog.local_resources import from_environment, simulator_resources
from penstock_catalog.problems import InvalidResources
from penstock_catalog.sources import ResourceFiles
from penstock_cli.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from penstock_catalog.problems import Problem
    from penstock_cli.local.voice import Voice


@dataclass(frozen=True, slots=True)
class Origin:
    """Where accounts come from. `simulated`: nobody gave any; `remarks`: what was left out, and why."""

    words: str
    catalog: LocalCatalog
    simulated: bool = False
    remarks: tuple[str, ...] = ()


def origin(
    resources: Sequence[Path],
    environment: Mapping[str, str],
    data_dir: Path,
    gateway_url: str,
    simulator_url: str,
    simulator_keys: Mapping[str, str],
) -> Origin:
    """Choose: resource files, else providers' keys in the environment, else the simulator. Raises CommandError."""
    if resources:
        names = ", ".join(str(path) for path in resources)
        return Origin(f"resources: {names}", LocalCatalog(ResourceFiles(resources), data_dir))
    try:
        given = from_environment(environment, gateway_url)
    except InvalidResources as error:
        raise CommandError("the environment cannot be used:\n" + "\n".join(map(said, error.problems))) from error
    if given.resources:
        words = f"{', '.join(given.variables)} in the environment"
        return Origin(words, LocalCatalog(given.resources, data_dir), remarks=given.remarks)
    made = simulator_resources(simulator_url, simulator_keys)
    words = "simulator: no account and no provider's API key given, so answers are made up"
    return Origin(words, LocalCatalog(made, data_dir), simulated=True, remarks=given.remarks)


def publish_first(catalog: LocalCatalog, voice: Voice) -> LocalState:
    """Publish before anything starts. Raises CommandError when the resources cannot be taken up."""
    state = catalog.publish()
    if state.refused:
        raise CommandError("the resources cannot be used:\n" + "\n".join(map(said, state.problems)))
    _say_problems(state, voice)
    return state


async def follow(catalog: LocalCatalog, voice: Voice) -> None:
    """Take up every change of the files from now on; what cannot be used is told and changes nothing."""
    async for state in catalog.changes():
        if state.refused:
            voice.say("the changed resources cannot be used; the last good state stays in force:")
        else:
            voice.say("the changed resources are in force")
        _say_problems(state, voice)


def said(problem: Problem) -> str:
    """Return a problem in one line: place, resource and field, message, reason."""
    return f"{problem} ({problem.reason})"


def _say_problems(state: LocalState, voice: Voice) -> None:
    for problem in state.problems:
        voice.say(said(problem))
