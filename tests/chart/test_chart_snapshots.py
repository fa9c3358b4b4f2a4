"""What the chart makes of its defaults, component by component, as it was last looked at.

`PENSTOCK_UPDATE_SNAPSHOTS=1` writes the files anew; look at the difference before you commit it.
"""

import os
from pathlib import Path

import pytest
import yaml

from tests.chart.rendering import component, rendered

pytestmark = pytest.mark.xdist_group("chart")  # one process renders everything, once

FOLDER = Path(__file__).parent / "snapshots"
# Whose objects are looked at, and in which case. Definitions and what Prometheus is told have tests of their own.
SHOWN = {
    "edge": "default",
    "auth": "default",
    "router": "default",
    "status": "default",
    "operator": "default",
    "simulator": "simulator",
    "test": "simulator",
    "all": "default",
}


class Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they are, and nothing by reference."""

    def ignore_aliases(self, data):
        return True


Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def shown(name):
    mine = [one for one in rendered(SHOWN[name]) if one["metadata"].get("labels") and component(one) == name]
    mine.sort(key=lambda one: (one["kind"], one["metadata"]["name"]))
    return yaml.dump_all(mine, Dumper=Dumper, width=120)


@pytest.mark.parametrize("name", SHOWN)
def test_the_defaults_are_what_was_last_looked_at(name):
    path = FOLDER / f"{name}.yaml"
    if os.environ.get("PENSTOCK_UPDATE_SNAPSHOTS"):
        FOLDER.mkdir(exist_ok=True)
        path.write_text(shown(name))
    assert path.exists(), "set PENSTOCK_UPDATE_SNAPSHOTS=1 to make it"
    assert shown(name).splitlines() == path.read_text().splitlines()


def test_there_is_no_snapshot_of_nothing():
    assert {path.stem for path in FOLDER.iterdir()} == set(SHOWN)
    labels = {component(one) for case in ("default", "simulator") for one in rendered(case)}
    assert labels - set(SHOWN) == {"crds"}
