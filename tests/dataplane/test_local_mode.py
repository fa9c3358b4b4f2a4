"""`penstock up` as a new user meets it: real processes, the printed command pasted into a shell."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import httpx
import pytest

from penstock_catalog import api_key
from tests.stack import BIN, Gateway, Simulator, account, clean_environment, plan, wait_until

pytestmark = pytest.mark.xdist_group("local-mode")


def last_line(gateway: Gateway) -> str:
    """The last line of stdout, once the banner is whole."""
    text = wait_until("the banner is printed", lambda: (t := gateway.stdout_path.read_text()).endswith("}'\n") and t)
    return text.splitlines()[-1]


def paste(command: str) -> dict:
    """What a person sees who pastes the command into a shell."""
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=90, check=True)
    return json.loads(done.stdout)


def pids(gateway: Gateway) -> dict[str, int]:
    return {path.stem: int(path.read_text()) for path in (gateway.data_dir / "run").glob("*.pid")}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def what_is_listed_and_not_answered(gateway: Gateway, key: str) -> dict[str, str]:
    """Ask every model of the list, but for those that make pictures, sound or Google's vectors; return the failures."""
    failures = {}
    with httpx.Client(base_url=gateway.url, headers={"authorization": f"Bearer {key}"}, timeout=60) as client:
        for name in [row["id"] for row in client.get("/v1/models").json()["data"]]:
            if any(word in name for word in ("image", "audio", "gemini-embedding", "tts", "live")):
                continue
            kind = "embeddings" if "embedding" in name else "responses"
            answer = client.post(f"/v1/{kind}", json={"model": name, "input": "hello"})
            if answer.status_code != 200:
                failures[name] = answer.text
    return failures


def test_out_of_the_box(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, None, "--edges", "2")
    try:
        command = last_line(gateway)
        assert command.startswith("curl ")
        answer = paste(command)
        assert answer["type"] == "message"
        assert answer["model"].startswith("claude-")
        (row,) = wait_until("the request is settled", lambda: gateway.cli("usage", "list", "--project", "demo"))
        assert row["state"] == "complete"
        assert row["output_tokens"] == answer["usage"]["output_tokens"]
        assert gateway.cli("usage", "show", row["request_id"]) == row
        assert gateway.cli("usage", "summary", "--project", "demo")["cost_micro"] == row["cost_micro"] > 0
        accounts = gateway.cli("accounts", "list")
        assert len(accounts) == 3
        assert all(one["ready"] for one in accounts)
        assert gateway.cli("accounts", "show", row["account"])["name"] == row["account"]
        assert not what_is_listed_and_not_answered(gateway, gateway.key("demo", "default"))
        running = pids(gateway)
        assert sorted(running) == ["auth-0", "edge-0", "edge-1", "router-0", "simulator-0", "status-0"]
        assert {os.getpgid(pid) for pid in running.values()} == {os.getpgid(gateway.process.pid)}
        key = next(word for word in command.replace("'", " ").split() if word.startswith("psk_"))
        assert key not in gateway.log()
        assert gateway.end() == 0
        assert not any(alive(pid) for pid in running.values())
    finally:
        gateway.end()


def test_after_a_kill_everything_is_gone_and_the_next_start_answers_at_once(tmp_path: Path) -> None:
    first = Gateway(tmp_path, None)
    command = last_line(first)
    answers = [paste(command)["type"]]
    running = pids(first)
    first.process.kill()
    first.process.wait()
    wait_until("all processes are gone", lambda: not any(alive(pid) for pid in running.values()))
    first.stdout_path.unlink()
    second = Gateway(tmp_path, None)
    try:
        again = last_line(second)
        key = next(word for word in command.replace("'", " ").split() if word.startswith("psk_"))
        assert key in again, "the demo key is kept"
        answers.append(paste(again)["type"])
        assert answers == ["message", "message"]
        rows = wait_until("both are in the books", lambda: len(r := second.usage()) == 2 and r)
        assert {row["state"] for row in rows} == {"complete"}
        # A signal for the whole group, as from timeout(1): auth may go before the edges.
        os.killpg(second.process.pid, signal.SIGTERM)
        assert second.process.wait(90) == 0
    finally:
        second.end()


def test_resources_make_the_gateway_and_changes_are_taken_up(tmp_path: Path) -> None:
    simulator = Simulator(tmp_path, ("a", "b"))
    one = account("a", simulator.url, "sim-key-a")
    two = account("b", simulator.url, "sim-key-b")
    other = account("g", simulator.url, "sim-key-g", provider="Bedrock")
    gateway = Gateway(tmp_path, [plan("team"), *one, *other])
    try:
        assert paste(last_line(gateway))["type"] == "message", "a key of its own is made where none is declared"
        assert [key["project"] for key in gateway.cli("keys", "list")] == ["local"]
        by_name = {row["name"]: row for row in gateway.cli("accounts", "list")}
        assert by_name["g"]["ready"] is False
        assert by_name["g"]["reason"] == "ProviderNotServed"
        assert {record["account"] for record in simulator.messages()} == {"a"}

        gateway.write([plan("team"), *one, *two])
        wait_until("the new account is there", lambda: "b" in {r["name"] for r in gateway.cli("accounts", "list")})
        gateway.write([plan("team", credit="Sometimes"), *one])
        wait_until("the mistake is told", lambda: "the last good state stays in force" in gateway.log())
        lines = gateway.resources.read_text().splitlines()
        line = next(number for number, text in enumerate(lines, start=1) if "Sometimes" in text)
        assert f"{gateway.resources}:{line}: Plan/team spec.credit: must be" in gateway.log()
        assert {row["name"] for row in gateway.cli("accounts", "list")} == {"a", "b"}

        key = {
            "apiVersion": "penstock.dev/v1alpha1",
            "kind": "APIKey",
            "metadata": {"name": "ci"},
            "spec": {"project": "demo", "planRef": {"name": "team"}, "secretName": "ci-key"},
        }
        gateway.write([plan("team"), *one, *two, key])
        path = gateway.data_dir / "secrets" / "ci-key" / "api-key"
        wait_until("the declared key is written", path.exists)
        assert path.stat().st_mode & 0o777 == 0o600
        text = path.read_text().strip()
        assert api_key.well_formed(text)
        own = last_line(gateway)
        mine = next(word for word in own.replace("'", " ").split() if word.startswith("psk_"))
        wait_until("the declared key works", lambda: paste(own.replace(mine, text)).get("type") == "message")
    finally:
        gateway.end()
        simulator.end()


def test_a_key_in_the_environment_takes_the_simulators_place(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, None, env={"ANTHROPIC_API_KEY": "sk-ant-not-a-real-key"})
    try:
        assert last_line(gateway).startswith("curl ")
        assert "ANTHROPIC_API_KEY" in gateway.stdout_path.read_text()
        assert [row["provider"] for row in gateway.cli("accounts", "list")] == ["Anthropic"]
        assert "simulator-0" not in pids(gateway)
        for pid in pids(gateway).values():
            assert b"sk-ant-not-a-real-key" not in Path(f"/proc/{pid}/environ").read_bytes()
    finally:
        assert gateway.end() == 0
    assert "sk-ant-not-a-real-key" not in gateway.log() + gateway.stdout_path.read_text()


def test_errors_at_the_start_are_clear(tmp_path: Path) -> None:
    def up(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(BIN / "penstock"), "up", "--data-dir", str(tmp_path / "data"), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, env=clean_environment(), timeout=120, check=False
        )

    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        for option in ("--port", "--admin-port"):
            done = up("--port", "0", "--admin-port", "0", option, str(port))
            assert done.returncode == 1
            assert f"port {port} on 127.0.0.1 is taken" in done.stderr
            assert option in done.stderr
            assert done.stdout == ""
    bad = tmp_path / "bad.yaml"
    bad.write_text("apiVersion: penstock.dev/v1alpha1\nkind: Plan\nmetadata: {name: x}\nspec:\n  nonsense: 1\n")
    done = up("--resources", str(bad), "--port", "0", "--admin-port", "0")
    assert done.returncode == 1
    assert f"{bad}:5: Plan/x spec.nonsense: is not a known field (InvalidResource)" in done.stderr
    done = up("--database-url", "nonsense://", "--port", "0", "--admin-port", "0")
    assert done.returncode == 1
    assert "auth-0 cannot start" in done.stderr
    assert "Traceback" not in done.stderr
