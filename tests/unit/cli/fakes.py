"""Processes that look like ours to `penstock up`: small, quick to start, and on our names by PYTHONPATH."""

from __future__ import annotations

from pathlib import Path

FAKE = r"""
import json, os, signal, socket, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

kind = sys.argv[0].rpartition("penstock_")[2].split("/")[0]
told = {k.removeprefix(f"PENSTOCK_{kind.upper()}_"): v for k, v in os.environ.items()}
name = told["NAME"]
run = Path(told["RUN_DIR"])
(run / f"{name}.env").write_text(json.dumps(dict(os.environ)))
if os.environ.get("FAKE_CRASH") == kind:
    sys.exit(f"{name} has a reason")

def end(*_):
    print(f"{name} ends", flush=True)
    os._exit(0)

signal.signal(signal.SIGTERM, signal.SIG_IGN if os.environ.get("FAKE_DEAF") == kind else end)

class Server(ThreadingHTTPServer):
    allow_reuse_port = True
    daemon_threads = True

keys = run.parent / "fake-keys.json"

class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def give(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        if self.path.startswith("/admin/v1/keys/"):
            kept = json.loads(keys.read_text()) if keys.exists() else {}
            key = kept.get(self.path.rpartition("/")[2])
            return self.give(200 if key else 404, key or {"detail": "none"})
        missing = [f for f in json.loads(told.get("READY_FILES", "[]")) if not Path(f).exists()]
        if kind in os.environ.get("FAKE_UNREADY", "").split(","):
            missing = ["a reason"]
        self.give(503 if missing else 200, {"ready": not missing, "reason": ", ".join(missing)})
    def do_POST(self):
        from penstock_catalog import api_key
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.headers["authorization"] != "Bearer " + Path(told["ADMIN_TOKEN_FILE"]).read_text().strip():
            return self.give(401, {"detail": "no"})
        with (run.parent / "posts").open("a") as file:
            print(self.path, json.dumps(body), file=file)
        if os.environ.get("FAKE_REFUSE"):
            return self.give(409, {"detail": "not today"})
        key = api_key.generate("psk_", os.urandom)
        keys.write_text(json.dumps({key.id: {"state": "Active", "plan": body.get("plan")}}))
        self.give(201, {"key": key.text})

def serve(port):
    server = Server((told.get("HOST", "127.0.0.1"), port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]

if "PORT" in told and kind in ("edge", "status", "simulator"):
    serve(int(told["PORT"]))
(run / f"{name}.json").write_text(json.dumps({"pid": os.getpid(), "metrics_port": serve(0)}))
print(f"{name} begins", flush=True)
while True:
    time.sleep(60)
"""


def shadow(folder: Path) -> Path:
    """Write the fakes; the folder goes into PYTHONPATH."""
    for kind in ("auth", "router", "status", "edge", "simulator"):
        package = folder / f"penstock_{kind}"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "main.py").write_text(FAKE)
    return folder
