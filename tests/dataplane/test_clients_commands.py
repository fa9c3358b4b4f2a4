"""The coding agents of three makers, run as people run them: set up by `penstock setup-client`, a tool in the second turn."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.client_stack import CLAUDE, CODEX, GEMINI, GPT, every_provider
from tests.stack import BIN, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.client_stack import ClientStack

pytestmark = pytest.mark.xdist_group("clients-commands")

TASK = "Please do what has to be done."
SCRIPT = "echo forty-two > made.txt; cat made.txt"
CODEX_EXEC = ("codex", "exec", "--skip-git-repo-check", "--json", "--dangerously-bypass-approvals-and-sandbox")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClientStack]:
    with every_provider(tmp_path_factory.mktemp("commands")) as stack:
        yield stack


@pytest.fixture(autouse=True)
def _clean(stack: ClientStack) -> None:
    stack.simulator.clear()
    stack.simulator.forget()


def set_up(stack: ClientStack, home: Path, client: str, *more: str) -> None:
    """Run `penstock setup-client` as on a person's machine, with the gateway of the data directory."""
    options = ("--data-dir", str(stack.gateway.data_dir), "--key", "-", *more)
    stack.run(str(BIN / "penstock"), "setup-client", client, *options, home=home, text=f"{stack.key}\n")


def made(home: Path) -> str:
    """What the tool was to write."""
    return (home / "work/made.txt").read_text()


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """The events that a client printed, one JSON document per line."""
    return [json.loads(line) for line in done.stdout.split("\n") if line.startswith("{")]


def served(stack: ClientStack, model: str, account: str) -> list[dict[str, Any]]:
    """What reached an account for a model; every one of them has a complete row in the books."""
    records = [record for record in stack.simulator.messages() if record["model"] == model]
    assert {record["account"] for record in records} == {account}
    assert {record["state"] for record in records} == {"complete"}
    wanted = {record["request_id"] for record in records}

    def booked() -> bool:
        rows = {row["request_id"]: row["state"] for row in stack.gateway.usage()}
        return all(rows.get(name) == "complete" for name in wanted)

    wait_until("every request is in the books", booked)
    return records


# E: Claude Code by ~/.claude/settings.json env (ANTHROPIC_BASE_URL + ANTHROPIC_AUTH_TOKEN). A: drop-in, only base URL and key change
def test_claude_code(stack: ClientStack, tmp_path: Path) -> None:
    set_up(stack, tmp_path, "claude-code")
    stack.answer_once(CLAUDE, tool="Bash", tool_input={"command": SCRIPT})
    command = ("claude", "-p", TASK, "--model", CLAUDE, "--allowed-tools", "Bash")
    # Whatever else the shell says about Anthropic, the settings count.
    others = {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9", "ANTHROPIC_AUTH_TOKEN": "other"}
    # It would also ask for a title, at the same time.
    others["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"] = "1"
    done = stack.run(*command, "--output-format", "stream-json", "--verbose", home=tmp_path, **others)
    assert made(tmp_path) == "forty-two\n"
    *_, result = lines(done)
    assert (result["type"], result["subtype"], result["num_turns"]) == ("result", "success", 2)
    assert result["usage"]["output_tokens"] > 0
    assert result["result"]
    first, second = served(stack, CLAUDE, "anthropic")
    assert first["target"] == "/v1/messages?beta=true"
    (answer,) = [
        block
        for message in json.loads(stack.simulator.body(second))["messages"]
        if isinstance(message["content"], list)
        for block in message["content"]
        if block["type"] == "tool_result"
    ]
    assert "forty-two" in json.dumps(answer["content"])


def test_claude_code_does_not_send_another_key_that_the_shell_holds(stack: ClientStack, tmp_path: Path) -> None:
    other = {"ANTHROPIC_API_KEY": "sk-ant-other"}
    options = ("--data-dir", str(stack.gateway.data_dir), "--key", stack.key)
    stack.run(str(BIN / "penstock"), "setup-client", "claude-code", *options, home=tmp_path, **other)
    done = stack.run("claude", "-p", "[[sim: say=hello]]", "--model", CLAUDE, home=tmp_path, **other)
    assert done.stdout == "hello\n"


def test_claude_code_names_what_is_wrong_at_once(stack: ClientStack, tmp_path: Path) -> None:
    wrong = {"ANTHROPIC_BASE_URL": stack.gateway.url, "ANTHROPIC_AUTH_TOKEN": "psk_wrong"}
    done = stack.run("claude", "-p", "hi", "--model", CLAUDE, home=tmp_path, code=1, seconds=60, **wrong)
    assert "Failed to authenticate. API Error: 401" in done.stdout
    right = wrong | {"ANTHROPIC_AUTH_TOKEN": stack.key}
    done = stack.run("claude", "-p", "hi", "--model", "claude-none", home=tmp_path, code=1, seconds=60, **right)
    assert "claude-none" in done.stdout


def test_claude_code_lists_the_gateways_models(stack: ClientStack, tmp_path: Path) -> None:
    set_up(stack, tmp_path, "claude-code")
    done = stack.run("claude", "-p", "/context", "--model", CLAUDE, home=tmp_path)
    assert CLAUDE in done.stdout
    assert all(record["state"] == "complete" for record in stack.simulator.records(operation="count_tokens"))


@pytest.mark.parametrize(("model", "account"), [(CODEX, "openai"), (CLAUDE, "anthropic"), (GEMINI, "google")])
# E: Codex CLI (config.toml with model_providers and wire_api responses; codex --model)
def test_codex(stack: ClientStack, tmp_path: Path, model: str, account: str) -> None:
    set_up(stack, tmp_path, "codex")
    stack.answer_once(model, tool="exec_command", tool_input={"cmd": SCRIPT})
    others = {"OPENAI_BASE_URL": "http://127.0.0.1:9", "OPENAI_API_KEY": "other"}
    events = lines(stack.run(*CODEX_EXEC, "--model", model, TASK, home=tmp_path, **others))
    assert made(tmp_path) == "forty-two\n"
    items = [event["item"] for event in events if event["type"] == "item.completed"]
    (ran,) = [item for item in items if item["type"] == "command_execution"]
    assert (ran["aggregated_output"], ran["exit_code"]) == ("forty-two\n", 0)
    assert [item for item in items if item["type"] == "agent_message"]
    assert events[-1]["type"] == "turn.completed"
    assert events[-1]["usage"]["output_tokens"] > 0
    assert len(served(stack, model, account)) == 2


def test_codex_resumes_a_conversation(stack: ClientStack, tmp_path: Path) -> None:
    set_up(stack, tmp_path, "codex", "--model", CLAUDE)
    (begun, *_) = lines(stack.run(*CODEX_EXEC, TASK, home=tmp_path))
    resume = ("codex", "exec", "resume", "--skip-git-repo-check", "--json", begun["thread_id"], "[[sim: say=hello]]")
    events = lines(stack.run(*resume, home=tmp_path))
    assert "hello" in [event["item"].get("text") for event in events if event["type"] == "item.completed"]
    assert len(served(stack, CLAUDE, "anthropic")) == 2


def test_codex_says_which_model_is_missing(stack: ClientStack, tmp_path: Path) -> None:
    set_up(stack, tmp_path, "codex")
    events = lines(stack.run(*CODEX_EXEC, "--model", "gpt-none", TASK, home=tmp_path, code=1))
    assert "gpt-none" in json.dumps([event for event in events if event["type"] in {"error", "turn.failed"}])


@pytest.mark.parametrize(
    ("model", "account"),
    [(f"anthropic/{CLAUDE}", "anthropic"), (f"openai/{GPT}", "openai"), (f"google/{GEMINI}", "google")],
)
# E: OpenCode
def test_opencode(stack: ClientStack, tmp_path: Path, model: str, account: str) -> None:
    set_up(stack, tmp_path, "opencode")
    name = model.partition("/")[2]
    # A conversation with a title needs none, for which opencode asks a second model at the same time.
    stack.answer_once(name, tool="bash", tool_input={"command": SCRIPT, "description": "Make it"})
    command = ("opencode", "run", "--model", model, "--format", "json", "--title", "Work", TASK)
    events = lines(stack.run(*command, home=tmp_path))
    assert made(tmp_path) == "forty-two\n"
    (used,) = [event["part"] for event in events if event["type"] == "tool_use"]
    assert (used["tool"], used["state"]["status"], used["state"]["output"]) == ("bash", "completed", "forty-two\n")
    assert events[-1]["part"]["reason"] == "stop"
    assert len(served(stack, name, account)) == 2


# E: Claude Code by the automated setup script
def test_the_gateways_own_script_sets_up_and_the_command_takes_back(stack: ClientStack, tmp_path: Path) -> None:
    pipe = f"curl -fsS {stack.gateway.url}/setup.sh | sh -s -- --claude-code --codex --model {CLAUDE}"
    said = stack.run("sh", "-c", pipe, home=tmp_path, PENSTOCK_API_KEY=stack.key).stdout
    assert said.count("written") == 3
    assert stack.run("claude", "-p", "[[sim: say=hello]]", home=tmp_path).stdout == "hello\n"
    events = lines(stack.run(*CODEX_EXEC, "[[sim: say=hello]]", home=tmp_path))
    assert "hello" in [event["item"].get("text") for event in events if event["type"] == "item.completed"]
    for client, names in (("claude-code", [".claude/settings.json"]), ("codex", [".codex/config.toml", ".codex/.env"])):
        undone = stack.run(str(BIN / "penstock"), "setup-client", client, "--undo", home=tmp_path).stdout
        assert undone.count("removed") == len(names)
        assert not any((tmp_path / name).exists() for name in names)
