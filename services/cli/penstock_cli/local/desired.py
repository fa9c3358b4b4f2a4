"""The desired state of a local gateway: where it comes from, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock_catalog.local import LocalCatalog, LocalState
from penstock_catalog.local_resources import environment_account, simulator_resources
from penstock_catalog.sources import ResourceFiles
from penstock_cli.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from penstock_catalog.problems import Problem
    from penstock_cli.local.voice import Voice


@dataclass(frozen=True, slots=True)
class Origin:
    """Where accounts come from. `simulated`: nobody gave any."""

    words: str
    catalog: LocalCatalog
    simulated: bool = False


def origin(
    resources: Sequence[Path],
    environment: Mapping[str, str],
    data_dir: Path,
    simulator_url: str,
    simulator_keys: Sequence[str],
) -> Origin:
    """Choose: resource files, else a provider's key in the environment, else the simulator."""
    if resources:
        names = ", ".join(str(path) for path in resources)
        return Origin(f"resources: {names}", LocalCatalog(ResourceFiles(resources), data_dir))
    given = environment_account(environment)
    if given:
        return Origin("ANTHROPIC_API_KEY in the environment", LocalCatalog(given, data_dir))
    made = simulator_resources(simulator_url, simulator_keys)
    words = "simulator: no account or ANTHROPIC_API_KEY given, so answers are made up"
    return Origin(words, LocalCatalog(made, data_dir), simulated=True)


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
