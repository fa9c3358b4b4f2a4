"""`penstock setup-client` on real files, before a gateway that only knows /v1/models."""

from __future__ import annotations

import json
import stat
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

from penstock_cli.main import app

KEY = "psk_abcdefgh_0123456789"
SETTINGS = '{\n  "env": {"KEEP": "1", "ANTHROPIC_BASE_URL": "http://old"},\n  "model": "opus"\n}\n'
CONFIG = '# mine\nmodel = "gpt-old"\napproval_policy = "never" # careful\n\n[profiles.x]\nmodel = "y"\n'
OPENCODE = '{\n  // mine\n  "theme": "x",\n}\n'
FILES = {
    "claude-code": {".claude/settings.json": SETTINGS},
    "codex": {".codex/config.toml": CONFIG, ".codex/.env": "A=1\n"},
    "opencode": {".config/opencode/opencode.jsonc": OPENCODE},
}


class Models(BaseHTTPRequestHandler):
    def do_GET(self):
        right = self.path == "/v1/models" and self.headers["authorization"] == f"Bearer {KEY}"
        rows = [{"id": "claude-sonnet-4-6"}, {"id": "gpt-5.2-codex"}, {"id": "gpt-5-codex"}]
        body = json.dumps({"data": rows} if right else {"error": {}}).encode()
        self.send_response(200 if right else 401)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_): ...


@pytest.fixture(scope="module")
def gateway():
    with ThreadingHTTPServer(("127.0.0.1", 0), Models) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("PENSTOCK_API_KEY", "PENSTOCK_SERVER", "PENSTOCK_DATA_DIR", "ANTHROPIC_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path)
    return home


@pytest.fixture
def run(home, gateway):
    def run(*arguments, code=0, url=gateway, key=KEY, **options):
        given = ["setup-client", *arguments]
        if "--undo" not in arguments:
            given += (["--url", url] if url else []) + (["--key", key] if key else [])
        result = CliRunner().invoke(app, given, **options)
        assert result.exit_code == code, result.output + repr(result.exception)
        assert KEY not in result.stderr
        return result

    return run


def contents(home):
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}


@pytest.mark.parametrize("client", list(FILES))
@pytest.mark.parametrize("existing", [False, True])
def test_set_up_twice_and_undo(home, run, client, existing):
    for name, text in FILES[client].items() if existing else ():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
        (home / name).chmod(0o644)
    before = contents(home)
    first = run(client)
    assert KEY not in first.output
    after = contents(home)
    for name in FILES[client] if existing else ():
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600
        assert after[f"{name}.penstock-backup"] == before[name]
    again = run(client)
    assert "nothing to do" in again.stdout
    assert contents(home) == after
    assert "nothing" not in run(client, "--undo").stdout
    assert contents(home) == before
    for name in before:
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o644
    assert "nothing to undo" in run(client, "--undo").stdout


def test_what_claude_code_gets(home, run, gateway):
    (home / ".claude").mkdir()
    (home / ".claude/settings.json").write_text(SETTINGS)
    run("claude-code", "--model", "claude-sonnet-4-6", url=f"{gateway}/v1/")
    assert json.loads((home / ".claude/settings.json").read_text()) == {
        "env": {
            "KEEP": "1",
            "ANTHROPIC_BASE_URL": gateway,
            "ANTHROPIC_AUTH_TOKEN": KEY,
            "ANTHROPIC_MODEL": "claude-sonnet-4-6",
        },
        "model": "opus",
    }


def test_another_key_in_the_shell_does_not_reach_the_gateway(home, run, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-other")
    said = run("claude-code")
    assert "ANTHROPIC_API_KEY is set" in said.stderr
    assert "sk-ant-other" not in said.output
    assert json.loads((home / ".claude/settings.json").read_text())["env"]["ANTHROPIC_API_KEY"] == ""


def test_what_codex_gets(home, run, gateway, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere")
    (home / ".codex").mkdir()
    (home / ".codex/config.toml").write_text(CONFIG)
    assert "OPENAI_BASE_URL is set" in run("codex").stderr
    text = (home / ".codex/config.toml").read_text()
    assert tomllib.loads(text) == {
        "model": "gpt-5.2-codex",
        "model_provider": "penstock",
        "approval_policy": "never",
        "profiles": {"x": {"model": "y"}},
        "model_providers": {
            "penstock": {
                "name": "Penstock",
                "base_url": f"{gateway}/v1",
                "env_key": "PENSTOCK_API_KEY",
                "wire_api": "responses",
            }
        },
    }
    assert "# mine" in text
    assert "# careful" in text
    assert (home / ".codex/.env").read_text() == f"PENSTOCK_API_KEY={KEY}\n"


def test_what_was_added_to_our_table_stays(home, run, gateway):
    run("codex")
    config = home / ".codex/config.toml"
    config.write_text(config.read_text() + "request_max_retries = 9\n")
    run("codex", url=gateway.replace("127.0.0.1", "localhost"))
    provider = tomllib.loads(config.read_text())["model_providers"]["penstock"]
    assert provider["request_max_retries"] == 9
    assert "localhost" in provider["base_url"]


def test_what_opencode_gets(home, run, gateway):
    run("opencode", "--model", "gpt-5-codex")
    document = json.loads((home / ".config/opencode/opencode.json").read_text())
    assert document == {
        "provider": {
            "anthropic": {"options": {"baseURL": f"{gateway}/v1", "apiKey": KEY}},
            "openai": {"options": {"baseURL": f"{gateway}/v1", "apiKey": KEY}, "models": {"gpt-5-codex": {}}},
            "google": {"options": {"baseURL": f"{gateway}/v1beta", "apiKey": KEY}},
        }
    } | {"model": "openai/gpt-5-codex"}


def test_after_an_edit_only_our_entries_go(home, run):
    (home / ".claude").mkdir()
    settings = home / ".claude/settings.json"
    settings.write_text(SETTINGS)
    run("claude-code")
    settings.write_text(settings.read_text().replace('"opus"', '"sonnet"'))
    assert "cleaned" in run("claude-code", "--undo").stdout
    assert settings.read_text() == SETTINGS.replace('"opus"', '"sonnet"')
    assert contents(home).keys() == {".claude/settings.json"}


def test_an_edit_between_two_set_ups_survives_the_undo(home, run, gateway):
    (home / ".codex").mkdir()
    config = home / ".codex/config.toml"
    config.write_text(CONFIG)
    run("codex")
    config.write_text(config.read_text().replace('"never"', '"on-request"'))
    run("codex", url=gateway.replace("127.0.0.1", "localhost"))
    assert "restored" in run("codex", "--undo").stdout
    assert config.read_text() == CONFIG.replace('"never"', '"on-request"')


def test_a_file_that_only_we_wrote_goes_again_after_an_edit_of_our_entries(home, run):
    run("claude-code")
    settings = home / ".claude/settings.json"
    settings.write_text(settings.read_text().replace(KEY, "psk_other"))
    assert "removed" in run("claude-code", "--undo").stdout
    assert contents(home) == {}


def test_what_somebody_else_set_up_is_not_undone(home, run):
    (home / ".claude").mkdir()
    (home / ".claude/settings.json").write_text(SETTINGS)
    assert "nothing to undo" in run("claude-code", "--undo").stdout
    assert contents(home) == {".claude/settings.json": SETTINGS.encode()}


@pytest.mark.parametrize(
    ("client", "name", "text", "said"),
    [
        ("claude-code", ".claude/settings.json", b'{"env": {', "line 1"),
        ("claude-code", ".claude/settings.json", b'{"env": "no"}', "env is not an object"),
        ("claude-code", ".claude/settings.json", b"\xff\xfe", "UTF-8"),
        ("codex", ".codex/config.toml", b"\n[a\nb = 1", "line 2"),
        ("opencode", ".config/opencode/opencode.json", b"[]", "not a JSON object"),
    ],
)
def test_a_broken_file_stays_as_it_is(home, run, client, name, text, said):
    (home / name).parent.mkdir(parents=True)
    (home / name).write_bytes(text)
    refused = run(client, code=1)
    assert said in refused.stderr
    assert "nothing was written" in refused.stderr
    assert contents(home) == {name: text}


def test_a_link_stays_a_link(home, run):
    (home / "dotfiles").mkdir()
    (home / "dotfiles/settings.json").write_text(SETTINGS)
    (home / ".claude").mkdir()
    (home / ".claude/settings.json").symlink_to(home / "dotfiles/settings.json")
    run("claude-code")
    assert (home / ".claude/settings.json").is_symlink()
    assert KEY in (home / "dotfiles/settings.json").read_text()
    run("claude-code", "--undo")
    assert (home / "dotfiles/settings.json").read_text() == SETTINGS


@pytest.mark.parametrize(
    ("variable", "client", "name"),
    [
        ("CLAUDE_CONFIG_DIR", "claude-code", "settings.json"),
        ("CODEX_HOME", "codex", "config.toml"),
        ("XDG_CONFIG_HOME", "opencode", "opencode/opencode.json"),
    ],
)
def test_where_the_clients_look_themselves(home, run, monkeypatch, variable, client, name):
    monkeypatch.setenv(variable, str(home / "own"))
    run(client)
    assert (home / "own" / name).exists()
    run(client, "--config-dir", str(home / "given"))
    assert (home / "given" / name.rpartition("/")[2]).exists()


@pytest.mark.parametrize("client", list(FILES))
def test_print_writes_nothing(home, run, client):
    shown = run(client, "--print")
    assert KEY in shown.stdout
    assert contents(home) == {}
    told = json.loads(run(client, "--print", "--output", "json").stdout)
    assert [file["path"] for file in told["files"]]
    assert KEY in "".join(file["text"] for file in told["files"])


def test_documents(run, home, gateway):
    told = json.loads(run("claude-code", "--output", "json").stdout)
    path = str(home / ".claude/settings.json")
    assert told == {"client": "claude-code", "files": [{"path": path, "action": "written", "backup": None}]}
    told = json.loads(run("claude-code", "--undo", "--output", "json").stdout)
    assert told["files"] == [{"path": path, "action": "removed", "backup": None}]
    assert json.loads(run("env", "--output", "json").stdout)["OPENAI_BASE_URL"] == f"{gateway}/v1"
    assert "unset ANTHROPIC_BASE_URL" in run("env", "--undo").stdout


def test_where_the_key_comes_from(home, run, monkeypatch):
    for options in ({"input": f"{KEY}\n"}, {"env": {"PENSTOCK_API_KEY": KEY}}):
        assert f"ANTHROPIC_API_KEY={KEY}" in run("env", key=None, **options).stdout
    assert f"ANTHROPIC_API_KEY={KEY}" in run("env", key="-", input=f"{KEY}\n").stdout
    run("env", key=None, input="", code=2)
    run("env", key="two words", code=2)


def test_a_wrong_key_is_refused_and_an_absent_gateway_is_not(home, run):
    assert "does not accept this key" in run("claude-code", key="psk_wrong", code=4).stderr
    assert contents(home) == {}
    assert "Not checked" in run("claude-code", url="http://127.0.0.1:9").stderr
    assert KEY in (home / ".claude/settings.json").read_text()


def test_a_model_that_the_key_does_not_have_is_said(run):
    assert "does not list the model nothing" in run("claude-code", "--model", "nothing").stderr


def test_where_the_gateway_comes_from(home, run, gateway, tmp_path, monkeypatch):
    run("claude-code", url=None, code=4)
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "gateway-url").write_text(f"{gateway}\n")
    (folder / "admin-url").write_text("http://127.0.0.1:8081\n")
    assert gateway in run("env", "--data-dir", str(folder), url=None).stdout
    monkeypatch.setenv("PENSTOCK_DATA_DIR", str(folder))
    assert gateway in run("env", url=None).stdout
    assert gateway in run("env", "--server", "http://127.0.0.1:8081/", url=None).stdout
    assert "--url" in run("env", "--server", "https://admin.example.com", url=None, code=4).stderr
    run("env", url="gateway", code=2)


def test_an_unknown_client_is_wrong_usage(run):
    run("emacs", code=2)


def test_a_directory_that_cannot_be_written(home, run):
    (home / ".claude").write_text("a file")
    assert "cannot" in run("claude-code", code=1).stderr
