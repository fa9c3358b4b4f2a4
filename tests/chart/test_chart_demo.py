"""What people do after an installation: the notes' commands, the demonstration, and `helm test`."""

import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
import yaml

from penstock_catalog import reader
from penstock_catalog.compiler import IssuedKey, Options, compile_catalog
from penstock_simulator.settings import SimulatorSettings
from tests.chart import cluster
from tests.chart.rendering import CHART, container, named, pods, rendered, template, value, variables

pytestmark = pytest.mark.xdist_group("chart")  # one process renders everything, once

NOTES = """
extraObjects:
  - |
    apiVersion: v1
    kind: ConfigMap
    metadata: {name: notes}
    data: {notes: {{ include "penstock.notes" . | toJson }}}
"""


def notes(*settings):
    result = template("--show-only", "templates/extra.yaml", *settings, values=NOTES)
    assert result.returncode == 0, result.stderr
    return yaml.safe_load(result.stdout)["data"]["notes"]


def commands(text):
    """The notes' commands: lines that begin as one does; a here document belongs to its command."""
    text = re.sub(r"<<'RESOURCES'\n.*?\nRESOURCES", "<<'RESOURCES'", text, flags=re.DOTALL)
    return [
        line
        for line in text.splitlines()
        if re.match(r"(kubectl -n gw \w|curl |helm test penstock -n gw --logs)", line)
    ]


def documents(text):
    return [one for one in yaml.safe_load_all(text) if one]


def test_without_a_simulator_the_notes_begin_with_an_account():
    text = notes()
    apply, wait, ask = commands(text)
    assert apply == "kubectl -n gw apply -f - <<'RESOURCES'"
    assert wait.endswith("--for=condition=Ready --timeout=5m upstreamaccount/anthropic-a apikey/first")
    assert ask.startswith("kubectl -n gw port-forward service/penstock-edge 8080:8080 & ")
    (body,) = re.findall(r"-d '(.*?)'", ask)
    assert json.loads(body)["model"] == "claude-haiku-4-5"
    (told,) = re.findall(r"<<'RESOURCES'\n(.*?)\nRESOURCES", text, flags=re.DOTALL)
    given = documents(told)
    assert [one["kind"] for one in given] == ["Secret", "UpstreamAccount", "Plan", "APIKey"]
    for one in given[1:]:
        assert cluster.answers(one) == []
    assert "has no key and nothing to send to" in text


def test_with_an_ingress_the_notes_go_through_it():
    settings = ("--set", "ingress.enabled=true,ingress.hosts[0]=gw.example.com")
    *_, ask = commands(notes(*settings, "--set", "ingress.tls.enabled=true"))
    assert ask.startswith("curl https://gw.example.com/v1/messages -H ")
    *_, ask = commands(notes(*settings))
    assert ask.startswith("curl http://gw.example.com/v1/messages -H ")
    route = "httpRoute.enabled=true,httpRoute.parentRefs[0].name=a,httpRoute.hostnames[0]=gw.example.com"
    *_, ask = commands(notes("--set", route))
    assert ask.startswith("curl https://gw.example.com/v1/messages -H ")
    *_, ask = commands(notes("--set", route.replace("gw.example.com", "*.example.com")))
    assert "port-forward" in ask


def test_with_a_simulator_the_notes_need_no_account():
    text = notes("--set", "simulator.enabled=true")
    assert commands(text) == [
        "kubectl -n gw get configmap penstock-demo -o 'jsonpath={.data.resources\\.yaml}' | kubectl -n gw apply -f -",
        "kubectl -n gw wait --for=condition=Ready --timeout=5m upstreamaccount/penstock-demo-anthropic apikey/penstock-demo",
        "helm test penstock -n gw --logs",
    ]
    assert "nothing to send to" not in text


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("tls.mode=Off", "tls.mode is Off: the processes speak plain text"),
        ("auth.persistence.enabled=false", "all books end with auth's pod"),
        ("edge.persistence.enabled=false", "what an edge has not booked yet is lost with its pod"),
        ("edge.autoscaling.enabled=true", "so edge.replicaCount is not used"),
    ],
)
def test_the_notes_say_what_people_should_know(setting, words):
    assert words in notes("--set", setting)


# The demonstration


def demonstration():
    made = rendered("simulator")
    return documents(named(made, "ConfigMap", "demo-demo")["data"]["resources.yaml"])


def test_the_demonstration_is_taken_by_the_cluster_and_by_the_compiler():
    for one in demonstration():
        assert one["kind"] == "Secret" or cluster.answers(one) == []
    resources = reader.read_text(yaml.safe_dump_all(demonstration()), "demo.yaml")
    key = IssuedKey("0" * 16, "psk_0", "0" * 64)
    compiled = compile_catalog(resources, options=Options(), keys={"demo-demo": key})
    assert compiled.problems == ()
    assert [account.name for account in compiled.router.accounts] == [
        "demo-demo-anthropic",
        "demo-demo-gemini",
        "demo-demo-openai",
    ]


def test_the_simulator_knows_the_demonstration(monkeypatch):
    made = rendered("simulator")
    simulator = dict(pods(made))["simulator"]
    for name, given in variables(simulator).items():
        monkeypatch.setenv(name, given.get("value", "simulator-0"))
    known = {account.key for account in SimulatorSettings.read().accounts}
    (secret,) = [one for one in demonstration() if one["kind"] == "Secret"]
    accounts = [one for one in demonstration() if one["kind"] == "UpstreamAccount"]
    assert {one["spec"]["provider"] for one in accounts} == {"Anthropic", "OpenAI", "Gemini"}
    for account in accounts:
        reference = account["spec"]["auth"]["apiKey"]["secretRef"]
        assert reference["name"] == secret["metadata"]["name"]
        assert secret["stringData"][reference["key"]] in known
        service = named(made, "Service", "demo-simulator")
        (port,) = service["spec"]["ports"]
        assert account["spec"]["baseURL"].removesuffix("/v1") == f"http://demo-simulator.gw.svc:{port['port']}"


def test_the_test_sends_the_demonstrations_key():
    made = rendered("simulator")
    test = dict(pods(made))["test"]
    (key,) = [one for one in demonstration() if one["kind"] == "APIKey"]
    (plan,) = [one for one in demonstration() if one["kind"] == "Plan"]
    assert key["spec"]["planRef"]["name"] == plan["metadata"]["name"]
    source = variables(test)["TEST_KEY"]["valueFrom"]["secretKeyRef"]
    assert source == {"name": key["spec"]["secretName"], "key": "api-key", "optional": True}
    assert value(test, "TEST_SECRET") == key["spec"]["secretName"]
    given = variables(dict(pods(rendered("large")))["test"])
    assert given["TEST_KEY"]["valueFrom"]["secretKeyRef"]["name"] == "smoke-key"
    assert given["TEST_MODEL"]["value"] == "gpt-5-mini"
    assert "TEST_KEY" not in variables(dict(pods(rendered("default")))["test"])


# helm test


class Gateway(BaseHTTPRequestHandler):
    """Answers as an edge does: 401 without a key, 503 at first, then an answer."""

    answers: ClassVar[list[tuple[int, dict]]] = []
    asked: ClassVar[list[tuple[str, str, dict]]] = []

    def do_GET(self):
        self.reply(401, {"error": {"message": "no key"}})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.asked.append((self.path, self.headers["authorization"], body))
        self.reply(*(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]))

    def reply(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("request-id", "req_1")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def gateway():
    Gateway.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Gateway) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def run_test(url, seconds=1.0, **told):
    """Run what the pod runs, as the pod is given it."""
    made = dict(pods(rendered("simulator")))["test"]
    command, (script,) = container(made)["command"], container(made)["args"]
    assert command == ["/opt/penstock/bin/python", "-c"]
    # Kubernetes would replace these.
    assert "$(" not in script
    assert script == (CHART / "files" / "test_request.py").read_text()
    environment = {"PATH": os.environ["PATH"], "TEST_URL": url, "TEST_MODEL": "claude-haiku-4-5", **told}
    quick = script.replace("PAUSE_SECONDS = 2.0", "PAUSE_SECONDS = 0.05").replace("= 120.0", f"= {seconds}")
    return subprocess.run(
        [sys.executable, "-c", quick], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


GOOD = {"usage": {"prompt_tokens": 10, "completion_tokens": 3}}


def test_a_request_goes_through(gateway):
    Gateway.answers = [(401, {"error": {"message": "unknown key"}}), (503, {}), (200, GOOD)]
    result = run_test(gateway, 30.0, TEST_SECRET="demo-key", TEST_KEY="psk_secret\n")
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.splitlines() == [
        "not ok: claude-haiku-4-5: 401 (request-id req_1): unknown key",
        "not ok: claude-haiku-4-5: 503 (request-id req_1): an answer that is none of the gateway's",
        "ok: claude-haiku-4-5: 200 (request-id req_1), 10 tokens in, 3 out",
    ]
    path, credential, body = Gateway.asked[-1]
    assert (path, credential, body["model"]) == ("/v1/chat/completions", "Bearer psk_secret", "claude-haiku-4-5")
    assert "psk_secret" not in result.stdout + result.stderr


@pytest.mark.parametrize(
    "answer", [(200, {"usage": {"prompt_tokens": 1, "completion_tokens": 0}}), (400, {}), (503, {})]
)
def test_what_does_not_go_through_fails(gateway, answer):
    Gateway.answers = [answer]
    result = run_test(gateway, TEST_SECRET="demo-key", TEST_KEY="psk_secret")
    assert result.returncode == 1, result.stdout + result.stderr
    assert result.stdout.startswith("not ok: ")


def test_a_key_that_is_not_there_is_told_at_once():
    result = run_test("http://127.0.0.1:9", TEST_SECRET="demo-key")
    assert (result.returncode, result.stdout) == (
        1,
        "Secret demo-key is missing or holds no key: see the notes of the release\n",
    )


def test_without_a_key_the_gateway_must_ask_for_one(gateway):
    result = run_test(gateway)
    assert (result.returncode, result.stdout) == (0, "ok: a request without a key: 401 (request-id req_1)\n")
    assert run_test("http://127.0.0.1:9").returncode == 1
