#!/usr/bin/env python3
"""Write what tells pip and uv where packages come from, for the image's build: pip.conf, uv.toml and ca.pem.

They are mounted into one step of the build and may hold passwords, so nobody else can read them. What names files of
this machine is left out: there are none in the build. All three are there always, empty where nothing is configured.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ASKED = ("index-url", "extra-index-url", "find-links", "trusted-host", "proxy")
AUTHORITIES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def pip_settings(lines: Iterable[str]) -> dict[str, str]:
    """Read what `pip config list` prints: later lines win, and the environment comes last."""
    ranks = {"global": 0, "install": 1, ":env:": 2}
    found = []
    for line in lines:
        key, equals, value = line.strip().partition("=")
        section, _, name = key.partition(".")
        if equals and section in ranks:
            found.append((ranks[section], name, str(ast.literal_eval(value))))
    return {name: value for _, name, value in sorted(found, key=lambda row: row[0])}


def reachable(value: str) -> str:
    """Keep of a list of addresses those that do not name files of this machine."""
    return " ".join(one for one in value.split() if not one.startswith(("file:", "/", ".", "~")))


def pip_conf(settings: Mapping[str, str]) -> str:
    """Return pip.conf; the authorities are mounted, so it does not name them."""
    rows = [f"{name} = {value}" for name in ASKED if (value := reachable(settings.get(name, "")))]
    return "\n".join(["[global]", *rows, ""]) if rows else ""


def uv_toml(settings: Mapping[str, str], environment: Mapping[str, str]) -> str:
    """Return uv.toml: uv's own variables, else what pip is told."""
    index = environment.get("UV_DEFAULT_INDEX") or environment.get("UV_INDEX_URL") or settings.get("index-url", "")
    extra = environment.get("UV_EXTRA_INDEX_URL") or settings.get("extra-index-url", "")
    links = environment.get("UV_FIND_LINKS", "").replace(",", " ") or settings.get("find-links", "")
    rows = []
    if index := reachable(index):
        rows.append(f"index-url = {json.dumps(index)}")
    if extras := reachable(extra).split():
        rows.append(f"extra-index-url = {json.dumps(extras)}")
    if found := reachable(links).split():
        rows.append(f"find-links = {json.dumps(found)}")
    if hosts := settings.get("trusted-host", "").split():
        rows.append(f"allow-insecure-host = {json.dumps(hosts)}")
    return "".join(row + "\n" for row in rows)


def own_uv_toml(environment: Mapping[str, str]) -> str | None:
    """Return the configuration that uv has here; None when it has none."""
    home = Path(environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME", "/")) / ".config")
    named = environment.get("UV_CONFIG_FILE")
    for path in [Path(named)] if named else [home / "uv" / "uv.toml", Path("/etc/uv/uv.toml")]:
        if path.is_file():
            return path.read_text(encoding="utf-8")
    return None


def authorities(settings: Mapping[str, str], environment: Mapping[str, str]) -> bytes:
    """Return the bundle that this machine believes for package registries; empty when it has none of its own."""
    for path in [*(environment.get(name, "") for name in AUTHORITIES), settings.get("cert", "")]:
        if path and Path(path).is_file():
            return Path(path).read_bytes()
    return b""


def pip_config_list() -> list[str]:
    """Ask pip how it is configured: this Python's, else the one on PATH; nothing where there is none."""
    for command in ([sys.executable, "-m", "pip"], ["pip"]):
        try:
            done = subprocess.run([*command, "config", "list"], capture_output=True, text=True, check=False)
        except OSError:
            continue
        if done.returncode == 0:
            return done.stdout.splitlines()
    return []


def pip_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Read pip's variables, which win over its files."""
    names = {name: f"PIP_{name.upper().replace('-', '_')}" for name in (*ASKED, "cert")}
    return {name: environment[variable] for name, variable in names.items() if environment.get(variable)}


def main() -> None:
    """Write the three files into the folder of the first argument."""
    folder = Path(sys.argv[1])
    environment = dict(os.environ)
    settings = pip_settings(pip_config_list()) | pip_variables(environment)
    texts = {
        "pip.conf": pip_conf(settings).encode(),
        "uv.toml": (own_uv_toml(environment) or uv_toml(settings, environment)).encode(),
        "ca.pem": authorities(settings, environment),
    }
    os.umask(0o077)
    for name, text in texts.items():
        (folder / name).write_bytes(text)


if __name__ == "__main__":
    main()
