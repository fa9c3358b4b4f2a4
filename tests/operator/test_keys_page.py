"""docs/keys.md says what the code does: its YAML can be applied, and its names are those of the code."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import yaml

from penstock_catalog import compiler, reader
from penstock_operator import issuing, key_secrets, verdicts

PAGE = (Path(__file__).parents[2] / "docs" / "keys.md").read_text()
CODE = "".join(inspect.getsource(each) for each in (issuing, key_secrets, compiler, verdicts))
CODE += (Path(issuing.__file__).parent / "judging.py").read_text()


def test_the_resource_can_be_applied():
    (block,) = [text for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if "kind:" in text]
    (resource,) = reader.read_text(block, "keys.md")
    assert (resource.kind, resource.spec.secret_name) == ("APIKey", "ci-key")
    assert yaml.safe_load(block)["metadata"]["name"] == "ci"


def test_every_reason_is_one_that_is_given():
    words = set(re.findall(r"`((?:Secret|Key|Plan|Not)[A-Z][A-Za-z]+)`", PAGE)) - {"NotReady"}
    assert len(words) >= 9
    assert {word for word in words if f'"{word}"' not in CODE} == set()


def test_every_reason_of_a_key_is_told():
    given = set(re.findall(r'"((?:Secret|Key)[A-Z][A-Za-z]+)"', inspect.getsource(issuing)))
    assert {word for word in given if f"`{word}`" not in PAGE} == {"KeyAdopted", "KeyIssued", "KeyMoved", "KeyRotated"}


def test_every_annotation_is_one_that_is_read():
    notes = set(re.findall(r"penstock\.dev/([a-z-]+[a-z])", PAGE.replace("\\", "")))
    notes |= set(re.findall(r"`((?:previous-)?key-[a-z-]+)`", PAGE))
    assert {note for note in notes if f'"penstock.dev/{note}"' not in CODE} == set()
    assert str(int(key_secrets.LONGEST_OVERLAP.total_seconds())) in PAGE
