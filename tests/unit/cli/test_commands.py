"""The administration commands against the real admin API over fakes, on a real port."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
from concurrent.futures import Future

import grpc
import httpcore
import pytest
from google.protobuf import json_format
from typer.testing import CliRunner

from penstock_catalog import api_key
from penstock_chassis.http import HttpServer, listen
from penstock_cli import output
from penstock_cli.commands import accounts, plans, usage
from penstock_cli.main import app
from tests.unit.status.fakes import TOKEN, FakeAdmin, FakeRouter, serving, usage_row


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """Serve the admin API in a thread of its own; give the fakes behind it and a data directory that names it."""
    folder = tmp_path_factory.mktemp("gateway")
    admin, router = FakeAdmin(), FakeRouter()
    begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = Future()

    async def serve():
        async with serving(folder, admin, router, deadline=0.5) as (application, _):
            server = HttpServer(application, [listen("127.0.0.1", 0)])
            await server.begin()
            stop = asyncio.Event()
            begun.set_result((asyncio.get_running_loop(), stop, server.port))
            await stop.wait()
            await server.end(0.2)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    loop, stop, port = begun.result(10)
    (folder / "admin-url").write_text(f"http://127.0.0.1:{port}\n")
    (folder / "admin-token").write_text(f"{TOKEN}\n")
    admin.folder = folder
    admin.router = router
    yield admin
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)


@pytest.fixture
def admin(gateway):
    for kept in (gateway.projects, gateway.keys, gateway.entries, gateway.rows, gateway.requests, gateway.fail):
        kept.clear()
    gateway.hang = False
    gateway.page_rows = 1000
    return gateway


@pytest.fixture
def run(admin, monkeypatch, tmp_path):
    for name in ("DATA_DIR", "SERVER", "ADMIN_TOKEN"):
        monkeypatch.delenv(f"PENSTOCK_{name}", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*arguments, code=0, data_dir=True, env=None):
        given = [*arguments, "--data-dir", str(admin.folder)] if data_dir else [*arguments]
        result = CliRunner().invoke(app, given, env=env)
        assert result.exit_code == code, result.output + repr(result.exception)
        return result

    return run


@pytest.fixture
def ask(run):
    def ask(*arguments, **options):
        return json.loads(run(*arguments, "--output", "json", **options).stdout)

    return ask


def test_projects(ask, run):
    assert ask("projects", "create", "demo")["name"] == "demo"
    assert [project["name"] for project in ask("projects", "list")] == ["demo"]
    assert "project demo exists" in run("projects", "create", "demo", code=1).stderr
    table = run("projects", "list").stdout
    assert table.split() == ["NAME", "BALANCE", "CREATED", "demo", "$0.00", "2026-09-21", "14:13:20Z"]


def test_a_key_from_its_creation_to_its_end(ask, admin):
    key = ask(
        *("keys", "create", "--project", "demo", "--plan", "team", "--name", "ci"),
        *("--expires", "2027-01-01", "--spend-limit-usd", "12.50", "--period", "Month"),
    )
    assert key["key"] == "psk_keyaaaaaaaab_secret"
    assert {"id", "key", "prefix", "project", "plan"} <= key.keys()
    assert key["spend_limit_micro"] == 12_500_000
    assert admin.requests[-1].spend_limit_period == "Month"
    assert admin.requests[-1].expires_at_ms == 1_798_761_600_000
    for named in ("keyaaaaaaaab", "psk_keyaaaaaaaab"):
        assert ask("keys", "show", named)["id"] == "keyaaaaaaaab"
    assert [k["id"] for k in ask("keys", "list", "--project", "demo")] == ["keyaaaaaaaab"]
    assert ask("keys", "rotate", "keyaaaaaaaab", "--overlap-seconds", "60")["id"] == "keyaaaaaaaac"
    assert admin.requests[-1].overlap_seconds == 60
    assert ask("keys", "disable", "keyaaaaaaaab")["state"] == "Disabled"


def test_a_key_for_people(run):
    made = run("keys", "create", "--project", "demo", "--plan", "team", "--spend-limit-usd", "5")
    assert "psk_keyaaaaaaaab_secret" in made.stdout
    assert "shown this once" in made.stderr
    shown = run("keys", "show", "keyaaaaaaaab").stdout
    assert "secret" not in shown
    assert "$0.00 of $5.00 (Total)" in shown


PASTED = api_key.generate("psk_", lambda n: bytes(range(n)))
KEY_COMMANDS = (("keys", "show"), ("keys", "disable"), ("keys", "rotate"), ("explain", "--model", "haiku", "--key"))


@pytest.fixture
def sent(monkeypatch):
    """Everything that leaves for the network, as bytes."""
    left = []
    send = httpcore._backends.sync.SyncStream.write

    def write(stream, data, timeout=None):
        left.append(data)
        send(stream, data, timeout)

    monkeypatch.setattr(httpcore._backends.sync.SyncStream, "write", write)
    return left


@pytest.mark.parametrize("command", KEY_COMMANDS, ids=" ".join)
def test_of_a_whole_key_that_was_pasted_its_id_is_sent(run, sent, command):
    result = run(*command, PASTED.text, code=3)
    assert PASTED.id.encode() in b"".join(sent)
    assert PASTED.text[20:] not in result.output
    assert PASTED.text[20:].encode() not in b"".join(sent)


@pytest.mark.parametrize("command", KEY_COMMANDS, ids=" ".join)
@pytest.mark.parametrize(
    "mistyped",
    [
        PASTED.text[:-1] + "!",
        PASTED.text + "x",
        PASTED.text[:-1],
        PASTED.text[:40],
        PASTED.text.rpartition("_")[2],
        PASTED.text.replace("_", "-"),
        PASTED.text.replace("psk_", "psk_X"),
        "sk-ant-api03-" + PASTED.text.rpartition("_")[2] * 2,
    ],
)
def test_of_a_mistyped_key_nothing_is_sent(run, sent, command, mistyped):
    result = run(*command, mistyped, code=3)
    secret = PASTED.text.rpartition("_")[2]
    told = b"".join(sent).decode() + result.output
    assert not [secret[at : at + 6] for at in range(len(secret) - 6) if secret[at : at + 6] in told]
    assert "give its id alone" in result.stderr


def test_credit(ask, run, admin):
    added = ask("credit", "add", "--project", "demo", "--usd", "25", "--note", "first", "--idempotency-key", "x")
    assert (added["amount_micro"], added["kind"]) == (25_000_000, "topup")
    assert admin.requests[-1].idempotency_key == "x"
    assert (
        ask("credit", "add", "--project", "demo", "--usd", "-1.5", "--kind", "adjustment")["balance_micro"]
        == 23_500_000
    )
    assert [entry["amount_micro"] for entry in ask("credit", "list", "--project", "demo")] == [25_000_000, -1_500_000]
    listed = run("credit", "list", "--project", "demo")
    assert "-$1.50" in listed.stdout
    assert listed.stderr == "balance $23.50\n"
    assert "a topup is positive" in run("credit", "add", "--project", "demo", "--usd", "-1", code=1).stderr


def test_plans(ask, run):
    assert ask("plans", "list")[0]["name"] == "team"
    assert "600 Requests in 1m per Key" in run("plans", "list").stdout


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "claude-haiku-4-5: Overloaded for 9 s"),
        ({"model": None}, "all models: Overloaded for 9 s"),
        ({"operation": "count_tokens"}, "claude-haiku-4-5 count_tokens: Overloaded for 9 s"),
        ({"half_open": True}, "claude-haiku-4-5: Overloaded, on trial"),
        ({"remaining_ms": 0, "ramp_percent": 25}, "claude-haiku-4-5: returning at 25 %"),
    ],
)
def test_cooldowns_in_words(changes, words):
    cooldown = {
        "model": "claude-haiku-4-5",
        "operation": None,
        "class": "Overloaded",
        "half_open": False,
        "remaining_ms": 9000,
        "ramp_percent": 100,
    }
    assert accounts._cooldown(cooldown | changes) == words


@pytest.mark.parametrize(("seconds", "words"), [(60, "1m"), (90, "90s"), (18_000, "5h"), (86_400, "1d"), (1, "1s")])
def test_windows_in_words(seconds, words):
    assert plans._window(seconds) == words


def test_accounts(ask, run):
    listed = ask("accounts", "list")
    assert {account["name"]: account["provider"] for account in listed} == {
        "a": "Anthropic", "b": "Anthropic", "c": "Gemini", "d": "OpenAICompatible", "e": "OpenAI"
    }  # fmt: skip
    assert {"name", "provider", "mode", "ready", "reason", "cooldowns", "in_flight"} <= listed[0].keys()
    assert ask("accounts", "show", "b")["cooldowns"][0]["class"] == "Overloaded"
    table = run("accounts", "list").stdout
    assert "claude-haiku-4-5: Overloaded for 9 s" in table
    rows = {line.split()[0]: line for line in table.splitlines()[1:]}
    assert rows["c"].split()[1:5] == ["Gemini", "Active", "False", "CredentialInvalid"]
    assert "all models: CredentialInvalid for 15 s" in rows["c"]
    assert rows["d"].split()[1:5] == ["OpenAICompatible", "Active", "False", "NoModels"]
    assert "write Model resources for what it has" in run("accounts", "show", "d").stdout
    assert "no account 'zzz'" in run("accounts", "show", "zzz", code=3).stderr


@pytest.mark.parametrize("command", ["credit list", "keys list", "usage list", "usage summary"])
def test_a_project_that_does_not_exist_is_not_found(run, command):
    said = run(*command.split(), "--project", "nobody", code=3).stderr
    assert "no project nobody; list the projects" in said


@pytest.mark.parametrize("columns", ["40", "80", "200"])
def test_ids_stay_whole_in_a_narrow_terminal(monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    row = json_format.MessageToDict(
        usage_row(1), preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    row |= {"admitted_at": None, "input_tokens": 1_234_567, "output_tokens": 5, "attempts": [{}, {}]}
    row |= {"cache_read_input_tokens": 3, "cache_creation_input_tokens": 3, "cost_micro": 123_456}
    output.show_list([row], usage.COLUMNS, output.Output.TABLE)
    told = capsys.readouterr().out.split()
    assert {row["request_id"], "1,234,567", "$0.123456"} <= set(told)
    assert "ATTEMPTS" in "".join(told)


def test_usage_pages_through_everything(ask, admin):
    admin.rows.extend(usage_row(i) for i in range(25))
    admin.page_rows = 10
    rows = ask("usage", "list", "--project", "demo")
    assert [row["request_id"] for row in rows] == [row.request_id for row in admin.rows]
    assert len(ask("usage", "list", "--project", "demo", "--limit", "13")) == 13
    assert admin.requests[-1].limit == 3
    assert {
        *("request_id", "account", "model", "state", "estimated", "input_tokens", "output_tokens"),
        *("cache_read_input_tokens", "cache_creation_input_tokens", "cost_micro", "attempts"),
    } <= rows[0].keys()


def test_usage_filters(ask, admin):
    admin.rows.extend([usage_row(1), usage_row(2, state="abandoned"), usage_row(3, project="x")])
    assert [row["state"] for row in ask("usage", "list", "--project", "demo", "--state", "abandoned")] == ["abandoned"]
    assert ask("usage", "list", "--since", "2026-09-21T14:13:20.003Z")[0]["project"] == "x"
    assert ask("usage", "list", "--since", "2099-01-01") == []


def test_usage_for_people(run, admin):
    admin.rows.extend(usage_row(i) for i in range(150))
    listed = run("usage", "list")
    assert len(listed.stdout.splitlines()) == 101
    assert "only the newest 100" in listed.stderr
    assert len(run("usage", "list", "--limit", "120").stdout.splitlines()) == 121
    shown = run("usage", "show", admin.rows[7].request_id).stdout
    assert "b: Overloaded 529, 0 ms" in shown
    assert "$0.000107" in shown
    assert run("usage", "show", "nope", code=3).stdout == ""


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../keys", "summary"])
def test_what_would_be_another_path_is_nobodys_id(run, name):
    assert f"{name!r} is nobody's name or id" in run("usage", "show", name, code=3).stderr


@pytest.mark.parametrize("name", ["", ".", "a/b"])
def test_what_would_be_another_path_is_no_account(run, name):
    assert f"{name!r} is nobody's name or id" in run("accounts", "show", name, code=3).stderr


def test_usage_summary(ask, run, admin):
    admin.rows.extend([usage_row(1), usage_row(2)])
    summary = ask("usage", "summary", "--project", "demo", "--since", "1h")
    assert summary["requests"] == 2
    assert {
        *("requests", "input_tokens", "output_tokens", "cache_read_input_tokens"),
        *("cache_creation_input_tokens", "cost_micro"),
    } <= summary.keys()
    assert "$0.000203" in run("usage", "summary", "--project", "demo", "--until", "2026-09-22").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("keys", "create", "--project", "demo"),
        ("keys", "create", "--project", "demo", "--plan", "team", "--expires", "tomorrow"),
        ("keys", "create", "--project", "demo", "--plan", "team", "--spend-limit-usd", "much"),
        ("keys", "create", "--project", "demo", "--plan", "team", "--spend-limit-usd", "0"),
        ("keys", "create", "--project", "demo", "--plan", "team", "--period", "Week"),
        ("keys", "show"),
        ("usage", "list", "--since", "never"),
        ("usage", "list", "--state", "lost"),
        ("usage", "list", "--limit", "0"),
        ("usage", "summary"),
        ("usage", "summary", "--project", "demo", "--since", "1h", "--until", "2h"),
        ("credit", "add", "--project", "demo"),
        ("credit", "list", "--limit", "0", "--project", "demo"),
        ("accounts", "list", "--output", "yaml"),
        ("nonsense",),
        ("plans", "nonsense"),
    ],
)
def test_wrong_usage_is_2(run, admin, arguments):
    assert run(*arguments, code=2).stdout == ""
    assert admin.requests == []


def test_what_is_refused_is_1(run):
    refused = run("keys", "create", "--project", "demo", "--plan", "nope", code=1)
    assert "there is no plan nope" in refused.stderr
    assert refused.stdout == ""
    invalid = run("projects", "create", "no spaces", code=1)
    assert "name: a name has up to 63 letters" in invalid.stderr
    nothing = run("credit", "add", "--project", "demo", "--usd", "0", code=1).stderr
    assert "body: amount_micro is zero" in nothing
    assert "Change what the detail names" in invalid.stderr


def test_what_failed_inside_is_1(run, admin):
    admin.fail["ListProjects"] = (grpc.StatusCode.INTERNAL, "secret words")
    failed = run("projects", "list", code=1)
    assert "secret words" not in failed.output


def test_who_is_not_reached_is_4(run, admin, tmp_path, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        server = f"http://127.0.0.1:{taken.getsockname()[1]}"
        assert "does not answer" in run("plans", "list", "--server", server, code=4).stderr
    assert "penstock up" in run("plans", "list", code=4, data_dir=False).stderr
    assert "http" in run("plans", "list", "--server", "ftp://127.0.0.1", code=4).stderr
    for server in ("http://127.0.0.1:abc", "http://[", "http://a..b"):
        assert server in run("plans", "list", "--server", server, code=4).stderr
    admin.hang = True
    assert "auth did not answer" in run("projects", "list", code=4).stderr


def test_a_wrong_token_is_4(run, admin):
    url = (admin.folder / "admin-url").read_text().strip()
    refused = run(
        "plans", "list", code=4, data_dir=False, env={"PENSTOCK_SERVER": url, "PENSTOCK_ADMIN_TOKEN": "not-the-token"}
    )
    assert "not-the-token" not in refused.output
    assert "admin-token" in refused.stderr


def test_the_environment_is_enough(ask, admin):
    url = (admin.folder / "admin-url").read_text().strip()
    env = {"PENSTOCK_SERVER": url, "PENSTOCK_ADMIN_TOKEN": TOKEN}
    assert ask("plans", "list", data_dir=False, env=env)[0]["name"] == "team"
    assert ask("plans", "list", data_dir=False, env={"PENSTOCK_DATA_DIR": str(admin.folder)})


def test_something_else_on_the_port_is_4(run):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()

        def answer():
            for body in (b"<html>", b"{}", b"<html>"):
                peer, _ = other.accept()
                with peer:
                    peer.recv(65536)
                    status = b"200 OK" if body != b"{}" else b"418 Teapot"
                    peer.sendall(b"HTTP/1.1 %s\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body))

        thread = threading.Thread(target=answer)
        thread.start()
        server = f"http://127.0.0.1:{other.getsockname()[1]}"
        assert "does not speak the admin API" in run("plans", "list", "--server", server, code=4).stderr
        assert "418" in run("plans", "list", "--server", server, code=4).stderr
        run("plans", "list", "--server", server, code=4)
        thread.join(5)


def test_a_proxy_of_the_environment_is_not_used_for_this_machine(ask):
    env = {"HTTP_PROXY": "http://127.0.0.1:1", "ALL_PROXY": "http://127.0.0.1:1"}
    assert ask("plans", "list", env=env)


def test_a_proxy_that_cannot_be_used_is_4(run, admin):
    env = {"ALL_PROXY": "socks5://127.0.0.1:1", "PENSTOCK_ADMIN_TOKEN": "t"}
    said = run("plans", "list", "--server", "http://gateway.example", env=env, code=4).stderr
    assert "http://gateway.example cannot be reached" in said
    port = (admin.folder / "admin-url").read_text().strip().rpartition(":")[2]
    assert "does not answer" in run("plans", "list", "--server", f"http://127.0.0.2:{port}", env=env, code=4).stderr


def test_up_says_why_it_cannot_start(run, tmp_path):
    refused = run("up", "--resources", str(tmp_path / "nowhere.yaml"), "--port", "0", "--admin-port", "0", code=1)
    assert "nowhere.yaml" in refused.stderr
    run("up", "--log-level", "loud", code=2)


@pytest.mark.parametrize(
    "arguments",
    [
        ("up", "--data-dir", ""),
        ("up", "--resources", ""),
        ("compile", "--resources", ""),
        ("compile", "--resources", "x.yaml", "--data-dir", ""),
        ("setup-client", "codex", "--undo", "--config-dir", ""),
        ("accounts", "list", "--data-dir", ""),
    ],
)
def test_an_empty_path_is_not_the_working_directory(run, tmp_path, arguments):
    said = run(*arguments, code=2, data_dir=False).stderr
    assert "is empty" in said
    assert not list(tmp_path.iterdir())


def test_version_and_help(run):
    assert run("--version", data_dir=False).stdout.strip()
    text = run("--help", data_dir=False, env={"COLUMNS": "80"}).stdout
    assert "..." not in text.partition("Commands:")[2]
    for noun in ("up", "projects", "keys", "credit", "plans", "accounts", "usage"):
        assert noun in text


class TestExplain:
    @pytest.fixture(autouse=True)
    def _one_key(self, admin, ask):
        ask("keys", "create", "--project", "demo", "--plan", "team", "--name", "ci_of_ours")
        admin.router.asked.clear()

    def test_a_table_for_people(self, run):
        said = run(
            "explain", "--model", "haiku", "--key", "keyaaaaaaaab", "--session", "s", env={"COLUMNS": "400"}
        ).stdout
        lines = [line.split() for line in said.splitlines()]
        assert ["model", "claude-haiku-4-5"] in lines
        assert ["served", "now"] in lines
        assert ["1", "a", "taken", "only", "one", "left", "0.5", "0", "-", "Anthropic", "Active", "Ready", "2"] in lines
        assert ["-", "b", "cooling", "Overloaded", "-", "0", "9", "s", "Anthropic", "Active", "Cooling", "0"] in lines

    @pytest.mark.parametrize("form", [["--json"], ["--output", "json"]])
    def test_one_document(self, run, form):
        told = json.loads(run("explain", "--model", "haiku", "--project", "demo", *form).stdout)
        assert [row["account"] for row in told["candidates"]] == ["a", "z", "b"]
        assert told["project"] == "demo"

    @pytest.mark.parametrize("key", ["keyaaaaaaaab", "psk_keyaaaaaaaab", "ci_of_ours"])
    def test_a_key_by_what_lists_show(self, ask, key):
        told = ask("explain", "--model", "haiku", "--key", key)
        assert (told["key"]["id"], told["key"]["plan"]) == ("keyaaaaaaaab", "team")

    def test_a_name_that_two_keys_bear_or_none(self, ask, run):
        ask("keys", "create", "--project", "demo", "--plan", "team", "--name", "ci_of_ours")
        assert "2 keys bear this name" in run("explain", "--model", "haiku", "--key", "ci_of_ours", code=1).stderr
        assert "no key has this name" in run("explain", "--model", "haiku", "--key", "nobody", code=3).stderr

    def test_refusals_and_dialects_are_said(self, run):
        arguments = ("--key", "keyaaaaaaaab", "--dialect", "anthropic", "--tokens", "9", "--count-tokens")
        said = run("explain", "--model", "gpt-5", *arguments, env={"COLUMNS": "400"}).stdout
        assert "NotClaude: the plan serves Claude models alone" in said
        assert "anthropic: NotClaude; openai_chat: Anthropic, Gemini, OpenAI" in said

    def test_exit_codes(self, run):
        run("explain", "--model", "nothing", code=3)
        run("explain", "--model", "haiku", "--session", "s", code=1)
        run("explain", code=2)
