"""GET /setup.sh, and the script itself: run by real shells in homes of its own."""

from __future__ import annotations

import json
import os
import pty
import shutil
import stat
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from penstock_edge.errors import ProblemError
from penstock_edge.routes.setup import address, script

KEY = "psk_abcdefgh_0123456789"
SETTINGS = '{"env": {"KEEP": "1", "ANTHROPIC_BASE_URL": "http://old"}, "model": "opus", "name": "ü"}\n'
CONFIG = """\
# mine
approval_policy = "never" # careful
model = "gpt-old" # why
developer_instructions = \"\"\"
[not.a.table]
model = "nor this"
\"\"\"

[profiles.x]
model = "y"

[[hooks]]
name = "z"
"""
SHELLS = [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)]


@pytest.fixture
async def edge(gateway, play):
    return await gateway([play.answer()])


async def test_the_script_names_the_gateway_that_served_it(edge):
    answer = await edge.http.get("/setup.sh", headers={"host": "gateway.example.com:8443"})
    assert answer.status_code == 200
    assert answer.text == script("http://gateway.example.com:8443")
    assert "GATEWAY='http://gateway.example.com:8443'\n" in answer.text
    assert "@GATEWAY@" not in answer.text
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["request-id"].startswith("req_")


async def test_it_is_described_and_needs_no_key(edge):
    described = (await edge.http.get("/openapi.json")).json()["paths"]["/setup.sh"]["get"]
    assert described["security"] == []
    assert set(described["responses"]) == {"200", "400"}
    assert list(described["responses"]["200"]["content"]) == ["text/plain"]


@pytest.mark.parametrize(
    ("proto", "scheme"),
    [
        ("https", "https"),
        ("HTTPS, http", "https"),
        ("http", "http"),
        ("ftp", "http"),
        ("'; id; '", "http"),
        ("", "http"),
    ],
)
async def test_the_scheme_before_the_proxy(edge, proto, scheme):
    answer = await edge.http.get("/setup.sh", headers={"host": "x.example", "x-forwarded-proto": proto})
    assert f"GATEWAY='{scheme}://x.example'\n" in answer.text


HOSTILE = [
    *("x'; id; '", "x`id`", "$(id)", "x y", "x\tid", "x/../y", "x?y", "x#y", "u@x", "x\\y", 'x"y', "x\n", "", "-x", "x.", "a" * 300),
    *("x:", "x:y", "x:123456", "[::1", "[x]", "x]", "ü.example"),
]  # fmt: skip


@pytest.mark.parametrize("host", HOSTILE)
def test_a_hostile_host_is_refused(host):
    with pytest.raises(ProblemError) as refused:
        address(host, "http", "")
    assert refused.value.problem.status == 400


@pytest.mark.parametrize("host", ["x'; id; '", "$(id)", "x`id`"])
async def test_a_hostile_host_gets_no_script(edge, host):
    answer = await edge.http.get("/setup.sh", headers={"host": host})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert "id" not in answer.json()["error"]["message"]


@pytest.mark.parametrize("host", ["x", "x.example.com", "x.example.com:443", "10.0.0.1:80", "[::1]:8080", "[fe80::1]"])
def test_an_ordinary_host(host):
    assert address(host, "https", "") == f"https://{host}"


class Models(BaseHTTPRequestHandler):
    def do_GET(self):
        right = self.path == "/v1/models" and self.headers["authorization"] == f"Bearer {KEY}"
        rows = [{"id": "claude-sonnet-4-6", "object": "model"}, {"id": "gpt-5.2-codex"}, {"id": "gpt-5-codex"}]
        body = json.dumps({"data": rows} if right else {"error": {}}, separators=(",", ":")).encode()
        self.send_response(200 if right else 401)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_): ...


@pytest.fixture(scope="module")
def url():
    with ThreadingHTTPServer(("127.0.0.1", 0), Models) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def home(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    return home


def tools(folder, *names):
    """A PATH with only these programs beside the usual small ones."""
    folder.mkdir()
    small = ("awk", "cat", "chmod", "cksum", "cmp", "cp", "dirname", "grep", "head", "id", "mkdir", "mktemp")
    for name in (*small, "mv", "rm", "sed", "stty", "tr", *names):
        # What is first on PATH may be a script of a version manager, which needs more than this.
        found = sys.executable if name == "python3" else shutil.which(name)
        assert found, name
        (folder / name).symlink_to(Path(found).resolve())
    return str(folder)


@pytest.fixture
def run(home, url, tmp_path):
    paths = {}

    def run(*arguments, shell="dash", programs=("python3", "curl"), code=0, key=KEY, text=None, **variables):
        if programs not in paths:
            paths[programs] = tools(tmp_path / f"bin{len(paths)}", *programs)
        environment = {"HOME": str(home), "PATH": paths[programs], "PENSTOCK_API_KEY": key} | variables
        command = [shutil.which(shell), *(["sh"] if shell == "busybox" else []), "-s", "--", *arguments]
        # Without a terminal: a session of its own.
        done = subprocess.run(
            command,
            input=text or script(url),
            capture_output=True,
            text=True,
            env=environment,
            start_new_session=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert KEY not in done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def contents(home):
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}


def existing(home):
    for name, text in ((".claude/settings.json", SETTINGS), (".codex/config.toml", CONFIG), (".codex/.env", "A=1\n")):
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text(text)
        (home / name).chmod(0o644)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("language", ["python3", "node"])
def test_existing_files_keep_what_they_say(home, run, url, shell, language):
    existing(home)
    before = contents(home)
    first = run(shell=shell, programs=(language, "curl"))
    assert first.count("written") == 3
    settings = json.loads((home / ".claude/settings.json").read_text())
    assert settings == {
        "env": {"KEEP": "1", "ANTHROPIC_BASE_URL": url, "ANTHROPIC_AUTH_TOKEN": KEY},
        "model": "opus",
        "name": "ü",
    }
    text = (home / ".codex/config.toml").read_text()
    wanted = tomllib.loads(CONFIG) | {"model": "gpt-5.2-codex", "model_provider": "penstock"}
    provider = {"name": "Penstock", "base_url": f"{url}/v1", "env_key": "PENSTOCK_API_KEY", "wire_api": "responses"}
    assert tomllib.loads(text) == wanted | {"model_providers": {"penstock": provider}}
    assert "# careful" in text
    assert (home / ".codex/.env").read_text() == f"A=1\nPENSTOCK_API_KEY={KEY}\n"
    after = contents(home)
    for name in before:
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600
    assert run(shell=shell, programs=(language, "curl")).count("nothing to do") == 3
    assert contents(home) == after
    run("--undo", shell=shell, programs=(language,))
    assert contents(home) == before
    for name in before:
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o644
    assert "nothing to undo" in run("--undo")


@pytest.mark.parametrize("shell", SHELLS)
def test_new_files_need_nothing_but_a_shell(home, run, url, shell):
    arguments = ("--claude-code", "--codex", "--model", "claude-sonnet-4-6")
    run(*arguments, shell=shell, programs=())
    assert run(*arguments, shell=shell, programs=()).count("nothing to do") == 3
    settings = json.loads((home / ".claude/settings.json").read_text())
    assert settings["env"]["ANTHROPIC_MODEL"] == "claude-sonnet-4-6"
    config = tomllib.loads((home / ".codex/config.toml").read_text())
    assert (config["model"], config["model_providers"]["penstock"]["base_url"]) == ("claude-sonnet-4-6", f"{url}/v1")
    assert all(stat.S_IMODE((home / name).stat().st_mode) == 0o600 for name in contents(home))
    run("--undo", shell=shell, programs=())
    assert contents(home) == {}


def test_without_a_language_a_person_is_told_what_to_write(home, run, url):
    existing(home)
    said = run("--claude-code", programs=(), code=1)
    assert f'"ANTHROPIC_BASE_URL": "{url}"' in said
    assert (home / ".claude/settings.json").read_text() == SETTINGS
    run("--codex", programs=())
    assert tomllib.loads((home / ".codex/config.toml").read_text())["model_provider"] == "penstock"


@pytest.mark.parametrize("language", ["python3", "node"])
def test_after_an_edit_only_our_entries_go(home, run, language):
    existing(home)
    run(programs=(language,))
    settings, config = home / ".claude/settings.json", home / ".codex/config.toml"
    settings.write_text(settings.read_text().replace("opus", "sonnet"))
    config.write_text(config.read_text().replace("never", "on-request") + "request_max_retries = 9\n")
    assert run("--undo", programs=(language,)).count("had changed since") == 2
    assert json.loads(settings.read_text()) == json.loads(SETTINGS.replace("opus", "sonnet"))
    assert tomllib.loads(config.read_text()) == tomllib.loads(CONFIG.replace("never", "on-request"))
    assert contents(home).keys() == {".claude/settings.json", ".codex/config.toml", ".codex/.env"}


def test_an_edit_between_two_runs_survives_the_undo(home, run):
    existing(home)
    run()
    config = home / ".codex/config.toml"
    config.write_text(config.read_text().replace("never", "on-request") + "request_max_retries = 9\n")
    run("--model", "gpt-5-codex")
    assert tomllib.loads(config.read_text())["model_providers"]["penstock"]["request_max_retries"] == 9
    run("--undo")
    assert tomllib.loads(config.read_text()) == tomllib.loads(CONFIG.replace("never", "on-request"))


@pytest.mark.parametrize("language", ["python3", "node"])
@pytest.mark.parametrize("text", ["{", "[]", '{"env": []}', '{"env": 1}'])
def test_broken_settings_stay_as_they_are(home, run, language, text):
    (home / ".claude").mkdir()
    (home / ".claude/settings.json").write_text(text)
    assert "settings.json" in run(programs=(language,), code=1)
    assert contents(home) == {".claude/settings.json": text.encode()}


@pytest.mark.parametrize("text", ["a = ", "model_providers = {a = {name = 'b'}}\n", "model_providers.a.name = 'b'\n"])
def test_a_config_that_it_does_not_understand_stays_as_it_is(home, run, text):
    (home / ".codex").mkdir()
    (home / ".codex/config.toml").write_text(text)
    assert "config.toml" in run("--codex", code=1)
    assert (home / ".codex/config.toml").read_text() == text


def test_another_key_in_the_shell_does_not_reach_the_gateway(home, run):
    for settings in (None, SETTINGS):
        if settings:
            existing(home)
        said = run("--claude-code", ANTHROPIC_API_KEY="sk-ant-other", CLAUDE_CONFIG_DIR=str(home / ".claude"))
        assert "ANTHROPIC_API_KEY is set" in said
        assert json.loads((home / ".claude/settings.json").read_text())["env"]["ANTHROPIC_API_KEY"] == ""
        run("--undo")


def test_what_is_installed_is_set_up(home, run):
    assert "neither Claude Code nor Codex" in run(code=1)
    (home / ".codex").mkdir()
    run()
    assert {name.partition("/")[0] for name in contents(home)} == {".codex"}


def test_a_wrong_key_writes_nothing(home, run):
    assert "does not accept this key" in run("--codex", key="psk_wrong", code=1)
    for key in ("two words", "$(id)", "a'b", 'a"b'):
        assert "one word" in run("--codex", key=key, code=1)
    assert "no terminal" in run("--codex", key="", code=1)
    assert contents(home) == {}


def test_a_missing_program_is_named_before_anything_is_written(home, run, tmp_path):
    folder = tmp_path / "few"
    tools(folder, "curl")
    (folder / "cksum").unlink()
    assert "cksum" in run("--codex", code=1, PATH=str(folder))
    assert contents(home) == {}


@pytest.mark.parametrize("arguments", [("--emacs",), ("--model",), ("claude",)])
def test_wrong_usage(home, run, arguments):
    assert "Options" in run(*arguments, code=2)
    assert contents(home) == {}


def test_a_model_cannot_carry_a_command(home, run):
    run("--codex", "--model", '"; id', code=1)
    assert contents(home) == {}


def test_half_a_script_does_nothing(home, run, url):
    whole = script(url)
    for part in (whole[: len(whole) // 2].rpartition("\n}\n")[0] + "\n}\n", whole.rpartition("main")[0]):
        run("--codex", text=part)
    assert contents(home) == {}


def test_the_key_is_asked_for_on_the_terminal_and_not_shown(home, url, tmp_path):
    path = tools(tmp_path / "bin")
    (tmp_path / "setup.sh").write_text(script(url))
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(home)
        arguments = ["sh", "-c", f"cat {tmp_path}/setup.sh | sh -s -- --codex"]
        os.execve("/bin/sh", arguments, {"HOME": str(home), "PATH": f"{path}:/bin"})
    shown = b""
    while b"API key for" not in shown:
        shown += os.read(terminal, 1000)
    # Typed only once the echo is off, as a person would.
    while _echoes(terminal):
        pass
    os.write(terminal, KEY.encode() + b"\n")
    try:
        while chunk := os.read(terminal, 1000):
            shown += chunk
    except OSError:
        pass  # Linux says so at the end of a terminal.
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0, shown
    assert KEY.encode() not in shown
    assert (home / ".codex/.env").read_text() == f"PENSTOCK_API_KEY={KEY}\n"


def _echoes(terminal):
    import termios

    return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)
