"""Settings come from the environment, and what is wrong with it is said by the variables' names, never their values."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pytest
from msgspec import Meta

from penstock_chassis.secret import Secret
from penstock_chassis.settings import ProcessSettings, Settings, SettingsError


class Small(Settings, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "PENSTOCK_SMALL_"

    address: str
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    wait_seconds: Annotated[float, Meta(gt=0)] = 1.5
    learn_seconds: Annotated[float, Meta(ge=0)] | None = None
    open: bool = False
    way: Literal["up", "down"] = "up"
    folder: Path | None = None
    files: tuple[Path, ...] = ()
    url: Secret = Secret("redis://:first@redis")
    key_prefix: Annotated[str, Meta(pattern="^[a-z]+$", min_length=1)] = "psk"

    def __post_init__(self) -> None:
        if self.folder is not None and self.files:
            raise ValueError("folder and files are both set: take one of them away")


def read(**variables: str) -> Small:
    return Small.read({f"PENSTOCK_SMALL_{name.upper()}": text for name, text in {"address": "a", **variables}.items()})


def refusal(**variables: str) -> str:
    with pytest.raises(SettingsError) as refused:
        read(**variables)
    return str(refused.value)


def test_what_nothing_is_said_of_has_its_default():
    assert read() == Small(address="a")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("address", " host:1 ", " host:1 "),
        ("port", " 0 ", 0),
        ("wait_seconds", "1e3", 1000.0),
        ("wait_seconds", "2", 2.0),
        ("learn_seconds", "0", 0.0),
        ("open", "TRUE", True),
        ("open", "1", True),
        ("open", " yes", True),
        ("open", "off", False),
        ("way", "down", "down"),
        ("folder", "/tmp/x", Path("/tmp/x")),
        ("folder", "null", Path("null")),
        ("files", '["/a", "b"]', (Path("/a"), Path("b"))),
        ("url", "rediss://x", Secret("rediss://x")),
    ],
)
def test_values(name, text, value):
    assert getattr(read(**{name: text}), name) == value


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("port", "eighty", "PENSTOCK_SMALL_PORT will not do: give a whole number from 0 to 65535"),
        ("port", "65536", "or take it away for 8080"),
        ("port", "", "PENSTOCK_SMALL_PORT will not do"),
        ("port", "1.5", "PENSTOCK_SMALL_PORT will not do"),
        ("wait_seconds", "0", "PENSTOCK_SMALL_WAIT_SECONDS will not do: give a number above 0"),
        ("wait_seconds", "nan", "PENSTOCK_SMALL_WAIT_SECONDS will not do"),
        ("learn_seconds", "-1", "PENSTOCK_SMALL_LEARN_SECONDS will not do: give a number from 0, or take it away"),
        ("open", "perhaps", "PENSTOCK_SMALL_OPEN will not do: give true or false, or take it away for False"),
        ("way", "left", "PENSTOCK_SMALL_WAY will not do: give one of down, up, or take it away for up"),
        ("files", "/a,/b", "PENSTOCK_SMALL_FILES will not do (JSON is malformed"),
        ("files", "{}", "give a list as JSON, or take it away"),
        ("key_prefix", "P-", "PENSTOCK_SMALL_KEY_PREFIX will not do: give a text of at least 1 characters that"),
    ],
)
def test_refusals_name_the_variable_and_say_what_to_do(name, text, words):
    said = refusal(**{name: text})
    assert words in said
    assert not text or len(text) < 4 or text not in said


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(SettingsError) as refused:
        Small.read({"PENSTOCK_SMALL_PORT": "x", "PENSTOCK_SMALL_OPEN": "x"})
    said = str(refused.value)
    assert "PENSTOCK_SMALL_ADDRESS is not set: give a text" in said
    assert "PENSTOCK_SMALL_PORT" in said
    assert "PENSTOCK_SMALL_OPEN" in said


def test_what_does_not_go_together():
    said = refusal(folder="/f", files='["/a"]', url="redis://:hunter2@redis")
    assert "folder and files are both set" in said
    assert "PENSTOCK_SMALL_<NAME>" in said
    assert "hunter2" not in said


def test_other_variables_are_nobodys_business_and_names_may_be_small():
    told = {"penstock_small_address": "b", "PENSTOCK_SMALL_COLOUR": "red", "ADDRESS": "c"}
    assert Small.read(told) == Small(address="b")


def test_what_code_gives_must_exist_and_cannot_be_changed():
    with pytest.raises(TypeError):
        Small(address="a", colour="red")
    with pytest.raises(AttributeError):
        read().port = 1


def test_secrets_are_shown_to_nobody():
    settings = read(url="redis://:hunter2@redis")
    assert "hunter2" not in f"{settings} {settings!r} {settings.url} {settings.url!r}"
    assert settings.url.reveal() == "redis://:hunter2@redis"
    assert settings.url != "redis://:hunter2@redis"
    assert len({settings.url, Secret("redis://:hunter2@redis")}) == 1


def test_this_process_reads_its_own_environment(monkeypatch):
    monkeypatch.setenv("NAME", "edge-7")
    assert ProcessSettings.read().name == "edge-7"


def test_a_process_that_is_told_nonsense_says_so_and_ends():
    program = "from penstock_chassis import process, settings; process.told(settings.ProcessSettings)"
    told = {"DRAIN_SECONDS": "hunter2", "LOG_LEVEL": "debug"}
    ended = subprocess.run([sys.executable, "-c", program], env=told, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "DRAIN_SECONDS will not do: give a number from 0, or take it away for 8.0" in ended.stderr
    assert "hunter2" not in ended.stderr
    assert "Traceback" not in ended.stderr
