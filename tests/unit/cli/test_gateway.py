"""`penstock up` with fake processes: the order of things, what is said, and every way to end."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import shlex
import signal
import socket
import stat
import sys
import time
from pathlib import Path

import httpx
import pytest

from penstock_catalog import api_key
from penstock_cli.errors import CommandError
from penstock_cli.local import gateway as gateway_module
from penstock_cli.local.gateway import Gateway
from penstock_cli.local.options import UpOptions
from penstock_cli.local.voice import Voice
from tests.unit.cli.fakes import shadow

ACCOUNT = """
apiVersion: penstock.dev/v1alpha1
kind: UpstreamAccount
metadata: {name: a}
spec: {provider: Anthropic, auth: {apiKey: {secretRef: {name: a, key: api-key}}}}
---
apiVersion: v1
kind: Secret
metadata: {name: a}
stringData: {api-key: sk-ant-secret}
"""
PLAN = """---
apiVersion: penstock.dev/v1alpha1
kind: Plan
metadata: {name: team}
spec: {credit: NotRequired}
"""
KEY = """---
apiVersion: penstock.dev/v1alpha1
kind: APIKey
metadata: {name: ci}
spec: {project: demo, planRef: {name: team}, secretName: ci-key}
"""


@pytest.fixture
def fakes(tmp_path):
    return shadow(tmp_path / "fakes")


@pytest.fixture
def resources(tmp_path):
    path = tmp_path / "resources.yaml"
    path.write_text(ACCOUNT + PLAN + KEY)
    return path


class Up:
    """A gateway in this process, and what it has said."""

    def __init__(self, options, environment):
        self.heard = io.BytesIO()
        self.voice = Voice(self.heard)
        self.gateway = Gateway(options, environment, self.voice)
        self.folder = options.data_dir
        self.task = asyncio.create_task(self.gateway.run())

    def said(self):
        return self.heard.getvalue().decode()

    async def until(self, condition, seconds=20.0):
        async with asyncio.timeout(seconds):
            while not condition():
                if self.task.done():
                    self.task.result()
                await asyncio.sleep(0.01)

    def pids(self):
        return {path.stem: int(path.read_text()) for path in (self.folder / "run").glob("*.pid")}

    async def told(self, name):
        """The environment of one process; the banner does not wait for all of them."""
        await self.until((self.folder / "run" / f"{name}.json").exists)
        return json.loads((self.folder / "run" / f"{name}.env").read_text())

    async def end(self):
        self.gateway._ending.heard(signal.SIGTERM)
        code = await asyncio.wait_for(self.task, 20)
        self.voice.close()
        return code


@pytest.fixture
async def up(tmp_path, fakes, capsys):
    started = []

    def up(*, variables=None, **options):
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(fakes), **(variables or {})}
        given = {"data_dir": tmp_path / "data", "port": 0, "admin_port": 0, "drain_seconds": 2.0, **options}
        started.append(Up(UpOptions(**given), environment))
        return started[-1]

    yield up
    for one in started:
        if not one.task.done():
            one.gateway._ending.heard(signal.SIGTERM)
            with contextlib.suppress(Exception):
                await asyncio.wait_for(one.task, 20)
        one.voice.close()


@pytest.fixture
def banner(capsys):
    class Banner:
        text = ""

        def printed(self):
            self.text += capsys.readouterr().out
            ends = ("curl ", "There is no Plan", "No key could be made")
            return any(end in self.text for end in ends)

        def last(self):
            assert self.text.endswith("\n")
            return self.text.splitlines()[-1]

    return Banner()


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_from_start_to_end(up, banner, resources):
    one = up(resources=(resources,), edges=2)
    await one.until(banner.printed)
    await one.until(lambda: one.said().count(" begins") == 5)
    key = (one.folder / "secrets" / "ci-key" / "api-key").read_text().strip()
    words = shlex.split(banner.last())
    assert words[0] == "curl"
    assert words[2].endswith("/v1/messages")
    assert f"x-api-key: {key}" in words
    assert json.loads(words[-1])["model"] == "claude-haiku-4-5"
    assert f"resources: {resources}" in banner.text
    assert sorted(one.pids()) == ["auth-0", "edge-0", "edge-1", "router-0", "status-0"]
    for name in ("admin-url", "gateway-url", "admin-token", "run/ready"):
        assert stat.S_IMODE((one.folder / name).stat().st_mode) == 0o600
    assert httpx.get(words[2].replace("/v1/messages", "/readyz"), trust_env=False).status_code == 200
    admin_url = (one.folder / "admin-url").read_text().strip()
    assert httpx.get(f"{admin_url}/readyz", trust_env=False).status_code == 200
    pids = one.pids().values()
    assert await one.end() == 0
    assert not any(map(alive, pids))
    assert one.pids() == {}
    assert not (one.folder / "admin-url").exists()
    assert not (one.folder / "gateway-url").exists()
    assert not (one.folder / "run" / "ready").exists()
    ends = [line.split()[0] for line in one.said().splitlines() if line.endswith(" ends")]
    assert set(ends[:2]) == {"edge-0", "edge-1"}
    assert "auth-0" in ends[2:], "auth outlives the edges, which settle with it"
    assert "SIGTERM: ending" in one.said()
    assert key not in one.said()


async def test_the_simulator_plays_where_nothing_is_given(up, banner):
    one = up()
    await one.until(banner.printed)
    assert "simulator: no account and no provider's API key given" in banner.text
    assert banner.last().startswith("curl ")
    assert "simulator-0" in one.pids()
    told = await one.told("simulator-0")
    accounts = json.loads((one.folder / "catalog" / "router.json").read_text())["accounts"]
    url = f"http://127.0.0.1:{told['PENSTOCK_SIMULATOR_PORT']}"
    assert {account["provider"]: account["base_url"] for account in accounts} == {
        "Anthropic": url, "OpenAI": f"{url}/v1", "Gemini": url
    }  # fmt: skip
    base = shlex.split(banner.last())[2].removesuffix("/v1/messages")
    ways = {f"ANTHROPIC_BASE_URL={base}", f"OPENAI_BASE_URL={base}/v1", f"GOOGLE_GEMINI_BASE_URL={base}"}
    assert ways <= {line.strip() for line in banner.text.splitlines()}
    assert {a["api_key"] for a in accounts} == {a["key"] for a in json.loads(told["PENSTOCK_SIMULATOR_ACCOUNTS"])}


async def test_a_key_in_the_environment_is_an_account_and_goes_no_further(up, banner):
    secrets = {"ANTHROPIC_API_KEY": "sk-ant-secret", "OPENAI_API_KEY": "sk-oai-secret", "GOOGLE_API_KEY": "g-secret"}
    variables = {
        **secrets,
        "PENSTOCK_ADMIN_TOKEN": "mine",
        "PENSTOCK_EDGE_MAX_ATTEMPTS": "2",
    }
    one = up(variables=variables)
    await one.until(banner.printed)
    assert "ANTHROPIC_API_KEY, OPENAI_API_KEY, GOOGLE_API_KEY in the environment" in banner.text
    assert "simulator-0" not in one.pids()
    for name in one.pids():
        text = json.dumps(await one.told(name))
        assert not [secret for secret in secrets.values() if secret in text]
        assert '"mine"' not in text
        assert "PENSTOCK_EDGE_MAX_ATTEMPTS" in text
    assert not [secret for secret in secrets.values() if secret in banner.text + one.said()]


async def test_a_shell_set_up_for_this_gateway_makes_no_loop(up, banner):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    one = up(port=port, variables={"OPENAI_API_KEY": "x", "OPENAI_BASE_URL": f"http://localhost:{port}/v1"})
    await one.until(banner.printed)
    assert "OPENAI_API_KEY is not used: OPENAI_BASE_URL is this gateway" in one.said()
    assert "simulator-0" in one.pids()


async def test_a_base_url_in_the_environment_that_is_none_is_an_error(up):
    with pytest.raises(
        CommandError, match=r"the environment: UpstreamAccount/openai-compatible spec\.baseURL: must be"
    ):
        await up(variables={"OPENAI_API_KEY": "x", "OPENAI_BASE_URL": "localhost:11434"}).task


async def test_each_process_is_told_its_part(up, banner, resources):
    one = up(resources=(resources,), database_url="postgresql://db/x", redis_url="redis://r", log_level="debug")
    await one.until(banner.printed)
    edge, auth, router, status = [await one.told(f"{name}-0") for name in ("edge", "auth", "router", "status")]
    assert auth["PENSTOCK_AUTH_DATABASE_URL"] == "postgresql://db/x"
    assert auth["PENSTOCK_AUTH_REDIS_URL"] == router["PENSTOCK_ROUTER_REDIS_URL"] == "redis://r"
    assert edge["PENSTOCK_EDGE_DRAIN_SECONDS"] == "2.0"
    assert float(auth["PENSTOCK_AUTH_DRAIN_SECONDS"]) < 1
    assert edge["PENSTOCK_EDGE_LOG_LEVEL"] == "debug"
    assert edge["PENSTOCK_EDGE_AUTH_ADDRESS"] == auth["PENSTOCK_AUTH_ADDRESS"] == status["PENSTOCK_STATUS_AUTH_ADDRESS"]
    assert "a database by URL, counters in Redis" in banner.text


async def test_a_long_data_dir_has_its_sockets_elsewhere(up, banner, resources, tmp_path):
    one = up(resources=(resources,), data_dir=tmp_path / ("x" * 90) / "data")
    await one.until(banner.printed)
    told = (await one.told("auth-0"))["PENSTOCK_AUTH_ADDRESS"]
    assert len(told.removeprefix("unix:")) <= 100
    assert str(one.folder) not in told
    assert f" --data-dir {one.folder}" in banner.text


async def test_a_crashed_process_is_said_and_comes_back(up, banner, resources):
    one = up(resources=(resources,))
    await one.until(banner.printed)
    before = one.pids()
    os.kill(before["edge-0"], signal.SIGKILL)
    await one.until(lambda: one.pids()["edge-0"] != before["edge-0"])
    assert "edge-0 ended (SIGKILL); it is restarted in 0.2 s" in one.said()


async def test_readiness_waits_for_the_admin_api(up, banner, resources):
    one = up(resources=(resources,))
    await one.until(banner.printed)
    ready = one.folder / "run" / "ready"
    os.kill(one.pids()["status-0"], signal.SIGKILL)
    await one.until(lambda: not ready.exists())
    await one.until(ready.exists)


async def test_an_admin_api_that_is_not_ready_keeps_the_gateway_unready(up, banner, resources, monkeypatch):
    monkeypatch.setattr(gateway_module, "PATIENCE_SECONDS", 0.3)
    one = up(resources=(resources,), variables={"FAKE_UNREADY": "status"})
    await one.until(lambda: "run/ready" in one.said())
    assert not banner.printed()
    assert await one.end() == 0


async def test_what_an_edge_has_not_reached_says_itself_why(up, resources, monkeypatch):
    monkeypatch.setattr(gateway_module, "PATIENCE_SECONDS", 0.3)
    one = up(resources=(resources,), variables={"FAKE_UNREADY": "auth,edge"})
    await one.until(lambda: "/readyz: a reason; auth-0: a reason\n" in one.said())
    assert await one.end() == 0


async def test_changes_are_taken_up_or_refused(up, banner, resources):
    one = up(resources=(resources,))
    await one.until(banner.printed)
    document = one.folder / "catalog" / "router.json"
    good = document.read_text()
    resources.write_text(ACCOUNT.replace("Anthropic", "Anthropomorphic") + PLAN + KEY)
    await one.until(lambda: "the last good state stays in force" in one.said(), 2.5)
    await one.until(lambda: f"{resources}:5: UpstreamAccount/a spec.provider: must be" in one.said())
    assert "(InvalidResource)" in one.said()
    assert document.read_text() == good
    resources.write_text(ACCOUNT.replace("spec: {", "spec: {weight: 50, ") + PLAN + KEY)
    await one.until(lambda: "the changed resources are in force" in one.said(), 2.5)
    assert json.loads(document.read_text())["accounts"][0]["weight"] == 50


async def test_resources_that_cannot_be_used_stop_the_start(up, resources, tmp_path):
    resources.write_text(
        ACCOUNT + "---\nkind: Plan\napiVersion: penstock.dev/v1alpha1\nmetadata: {name: x}\nspec: {credits: 1}\n"
    )
    with pytest.raises(CommandError, match=rf"{resources}:15: Plan/x spec.credits: is not a known field"):
        await up(resources=(resources,)).task
    with pytest.raises(CommandError, match=r"nowhere.*cannot be read"):
        await up(resources=(tmp_path / "nowhere",)).task


async def test_a_resource_that_is_not_ready_is_told(up, banner, resources):
    resources.write_text(ACCOUNT.replace("{name: a, key: api-key}", "{name: gone, key: api-key}") + PLAN + KEY)
    one = up(resources=(resources,))
    await one.until(banner.printed)
    assert "(SecretNotFound)" in one.said()
    assert banner.last().startswith("curl ")


async def test_without_a_declared_key_one_is_made_and_kept(up, banner, resources):
    resources.write_text(ACCOUNT + PLAN)
    keys = set()
    for _ in range(2):
        one = up(resources=(resources,))
        banner.text = ""
        await one.until(banner.printed)
        keys |= {word for word in shlex.split(banner.last()) if word.startswith("x-api-key: ")}
        await one.end()
    (key,) = keys
    assert api_key.well_formed(key.removeprefix("x-api-key: "))
    (post,) = (one.folder / "posts").read_text().splitlines()
    assert post == '/admin/v1/keys {"project": "local", "plan": "team", "name": "banner"}'
    assert stat.S_IMODE((one.folder / "banner-key").stat().st_mode) == 0o600
    (one.folder / "fake-keys.json").unlink()
    one = up(resources=(resources,))
    banner.text = ""
    await one.until(banner.printed)
    assert key not in banner.text


async def test_a_plan_that_wants_credit_gets_some(up, banner, resources):
    resources.write_text(ACCOUNT + PLAN.replace("NotRequired", "Required") + KEY)
    one = up(resources=(resources,))
    await one.until(banner.printed)
    assert banner.last().startswith("curl ")
    posts = (one.folder / "posts").read_text().splitlines()
    assert [post.split()[0] for post in posts] == ["/admin/v1/keys", "/admin/v1/credit"]
    assert '"idempotency_key": "banner"' in posts[1]


async def test_without_a_plan_there_is_no_key(up, banner, resources):
    resources.write_text(ACCOUNT)
    one = up(resources=(resources,))
    await one.until(banner.printed)
    assert "no key can be made" in banner.last()


async def test_a_key_that_is_refused_is_told(up, banner, resources):
    resources.write_text(ACCOUNT + PLAN)
    one = up(resources=(resources,), variables={"FAKE_REFUSE": "1"})
    await one.until(banner.printed)
    await one.until(lambda: "no key could be made for the example: not today" in one.said())
    assert banner.last().startswith("No key could be made")


async def test_a_taken_port_is_an_error(up, monkeypatch):
    monkeypatch.setattr("penstock_cli.local.ports.RETRY_SECONDS", 0.0)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CommandError, match=f"port {port} .* is taken.*--port"):
            await up(port=port).task
        with pytest.raises(CommandError, match=f"port {port} .* is taken.*--admin-port"):
            await up(admin_port=port).task


@pytest.mark.parametrize("process", ["simulator", "status", "edge"])
async def test_nobody_else_can_take_a_port_before_its_process_does(up, banner, process, monkeypatch):
    taken = []
    start = gateway_module.Supervisor.start

    def take_ports_first(supervisor):
        for child in supervisor.children:
            if child.program.name == f"{process}-0":
                port = int(child.program.environment[f"PENSTOCK_{process.upper()}_PORT"])
                with socket.socket() as other, contextlib.suppress(OSError):
                    other.bind(("127.0.0.1", port))
                    taken.append(port)
        start(supervisor)

    monkeypatch.setattr(gateway_module.Supervisor, "start", take_ports_first)
    one = up()
    await one.until(banner.printed)
    assert taken == []


async def test_two_gateways_do_not_share_a_data_dir(up, banner, resources):
    one = up(resources=(resources,))
    await one.until(banner.printed)
    with pytest.raises(CommandError, match="another `penstock up`"):
        await up(resources=(resources,)).task
    assert (one.folder / "admin-url").exists(), "the first one goes on"


async def test_a_process_that_cannot_start_ends_it_all(up, resources, monkeypatch):
    monkeypatch.setattr(gateway_module, "HOPELESS_STARTS", 2)
    one = up(resources=(resources,), variables={"FAKE_CRASH": "edge"})
    with pytest.raises(CommandError, match=r"edge-0 cannot start \(exit code 1\)"):
        await one.task
    assert "edge-0 has a reason" in one.said()
    assert one.pids() == {}


async def test_who_does_not_end_is_killed(up, banner, resources):
    one = up(resources=(resources,), variables={"FAKE_DEAF": "edge"}, drain_seconds=0.1)
    await one.until(banner.printed)
    assert await one.end() == 0
    assert "were killed" in one.said()


async def test_what_cannot_be_removed_does_not_keep_the_end_from_its_order(up, banner, resources):
    one = up(resources=(resources,))
    await one.until(banner.printed)
    ready = one.folder / "run" / "ready"
    ready.unlink()
    ready.mkdir()  # as on a disk that has become read-only
    edge = one.pids()["edge-0"]
    assert await one.end() == 0
    assert not alive(edge)
    assert not list((one.folder / "run").glob("*.pid"))
    assert not (one.folder / "admin-url").exists()


async def test_a_second_signal_insists(up, banner, resources, monkeypatch):
    monkeypatch.setattr("penstock_cli.local.ending.INSIST_SECONDS", 0.2)
    one = up(resources=(resources,), variables={"FAKE_DEAF": "edge"}, drain_seconds=60)
    await one.until(banner.printed)
    pids = one.pids().values()
    for pause in (0, 0.3):
        one.gateway._ending.heard(signal.SIGINT)
        one.gateway._ending.heard(signal.SIGINT)
        await asyncio.sleep(0.05)
        assert not one.task.done(), "the same signal given twice is one"
        await asyncio.sleep(pause)
    one.gateway._ending.heard(signal.SIGINT)
    assert await asyncio.wait_for(one.task, 30) == 1
    assert not any(map(alive, pids))


class Command:
    """`penstock up` as a process."""

    def __init__(self, process, folder):
        self.process = process
        self.folder = folder

    async def banner(self):
        text = b""
        async with asyncio.timeout(30):
            while not text.splitlines() or not text.splitlines()[-1].startswith(b"curl "):
                line = await self.process.stdout.readline()
                assert line, "it ended"
                text += line
            # The banner waits for edges and status only.
            while len(list((self.folder / "run").glob("*.json"))) < 4:
                await asyncio.sleep(0.01)
        return text.decode()

    def pids(self):
        return [int(path.read_text()) for path in (self.folder / "run").glob("*.pid")]


@pytest.fixture
async def command(tmp_path, fakes, resources):
    started = []

    async def command(*arguments, session=True):
        folder = tmp_path / "data"
        variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(fakes), "PENSTOCK_DATA_DIR": str(folder)}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "penstock_cli.main", "up", "--resources", str(resources)),
            *("--port", "0", "--admin-port", "0", *arguments),
            env=variables,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=session,
        )
        started.append(process)
        return Command(process, folder)

    yield command
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_group_that_is_told_to_end_ends(command):
    one = await command()
    await one.banner()
    os.killpg(one.process.pid, signal.SIGTERM)
    _, err = await asyncio.wait_for(one.process.communicate(), 60)
    assert one.process.returncode == 0
    assert err.count(b" ends\n") == 4
    assert b"restarted" not in err
    assert b"SIGTERM: ending" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_to_the_whole_group_is_an_orderly_end(command, number):
    one = await command()
    await one.banner()
    pids = one.pids()
    assert {os.getpgid(pid) for pid in pids} == {one.process.pid}
    begun = time.monotonic()
    if number is signal.SIGINT:
        os.killpg(one.process.pid, number)
    else:
        one.process.send_signal(number)
    out, err = await asyncio.wait_for(one.process.communicate(), 15)
    assert one.process.returncode == 0, err
    assert time.monotonic() - begun < 40
    assert out == b"", "the last line of the banner is the last line"
    ends = [line.split()[0] for line in err.splitlines() if line.endswith(b" ends")]
    assert ends[0] == b"edge-0"
    assert b"auth-0" in ends[1:], "auth outlives the edges, which settle with it"
    assert b"Traceback" not in err
    assert not any(map(alive, pids))


async def test_a_killed_one_leaves_nothing_behind(command):
    one = await command()
    await one.banner()
    pids = one.pids()
    assert len(pids) == 4
    one.process.kill()
    await one.process.wait()
    async with asyncio.timeout(30):
        while any(map(alive, pids)):
            await asyncio.sleep(0.01)
    again = await command()
    assert await again.banner()


async def test_errors_are_words_and_exit_code_1(command, resources):
    resources.write_text("kind: Nonsense\n")
    one = await command()
    out, err = await asyncio.wait_for(one.process.communicate(), 20)
    assert one.process.returncode == 1
    assert out == b""
    assert f"{resources}:1:".encode() in err
    assert b"Traceback" not in err


async def test_wrong_options_are_exit_code_2(command):
    one = await command("--log-level", "loud")
    await asyncio.wait_for(one.process.communicate(), 20)
    assert one.process.returncode == 2
