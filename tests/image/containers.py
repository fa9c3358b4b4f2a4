"""podman for the image's tests: a base without a registry, the image, and containers as locked up as a cluster's pods."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
BASE = "localhost/penstock-base:python"
NAME = "localhost/penstock:test"
SOURCES = "localhost/penstock:test-sources"
CANARY = "canary.penstock.invalid"
"""Goes into the build as a part of pip's configuration, and must not be found in the image."""
LOCKED = (
    "--read-only",
    "--read-only-tmpfs=false",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    "--tmpfs=/tmp:rw,noexec,nosuid,nodev,size=64m",
    "--network=host",
    # Lower than the default, which not every root may raise.
    "--ulimit=nofile=16384:16384",
    "--ulimit=nproc=16384:16384",
)


def podman(*words: str, check: bool = True, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    """Run podman; a failure shows what it said."""
    done = subprocess.run(["podman", *words], capture_output=True, text=True, timeout=seconds, check=False)
    assert not check or done.returncode == 0, f"podman {' '.join(words)}: {done.stderr}"
    return done


def why_not() -> str:
    """Say why no image can be built here; empty when one can."""
    if os.geteuid() != 0:
        return "the image's tests bootstrap a Debian and run containers: run them as root"
    missing = [program for program in ("podman", "mmdebstrap") if shutil.which(program) is None]
    if missing:
        return f"NO IMAGE IS TESTED: install {' and '.join(missing)} (apt-get install --no-install-recommends {' '.join(missing)} runc)"
    # What podman and mmdebstrap begin with; a root without the rights of one cannot.
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0:
        return "NO IMAGE IS TESTED: no containers can be made inside this one"
    return ""


def base() -> str:
    """Make the base, or take the one that was made before; returns why containers cannot run here, if so."""
    if podman("image", "exists", BASE, check=False).returncode != 0:
        script = [str(ROOT / "scripts" / "debian-base.sh"), BASE]
        done = subprocess.run(script, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
    done = podman("run", "--rm", *LOCKED, BASE, "true", check=False)
    return (
        "" if done.returncode == 0 else f"NO IMAGE IS TESTED: containers cannot run here: {done.stderr.strip()[-300:]}"
    )


def build(name: str = NAME, **told: str) -> None:
    """Build the image as people do, with a canary in what tells pip where packages come from."""
    environment = os.environ | {
        "BASE_IMAGE": BASE,
        "BUILDER": "podman",
        "BUILD_NETWORK": "host",
        "TAG": name.partition(":")[2],
        "PIP_TRUSTED_HOST": CANARY,
        **told,
    }
    for variable in ("BASE_DIGEST", "COMPILER_IMAGE"):
        environment.pop(variable, None)
    script = [str(ROOT / "scripts" / "images.sh")]
    done = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stderr[-6000:]


def answer(image: str, program: str, *options: str) -> str:
    """Run a Python program in a fresh container and return what it printed."""
    return podman("run", "--rm", *LOCKED, *options, image, "python3", "-c", program).stdout


def config(image: str) -> dict:
    """Return the image's configuration."""
    return json.loads(podman("image", "inspect", image).stdout)[0]


@dataclass
class Pod:
    """Containers of one test that share volumes, as pods of one release do, and the machine's network."""

    image: str
    name: str = field(default_factory=lambda: f"penstock-test-{uuid.uuid4().hex[:8]}")
    containers: list[str] = field(default_factory=list)
    volumes: set[str] = field(default_factory=set)

    def start(
        self,
        process: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        volumes: Mapping[str, str] | None = None,
        files: Mapping[Path, str] | None = None,
    ) -> str:
        """Start one container. `volumes`: places by volume's name, with `:ro` where that is wanted; `files` likewise."""
        container = f"{self.name}-{process}"
        options = [f"--env={name}={value}" for name, value in environment.items()]
        for volume, place in (volumes or {}).items():
            self.volumes.add(f"{self.name}-{volume}")
            options.append(f"--volume={self.name}-{volume}:{place}")
        options += [f"--volume={path}:{place}" for path, place in (files or {}).items()]
        self.containers.append(container)
        podman("run", "--detach", "--name", container, *LOCKED, *options, self.image, *command)
        return container

    def execute(self, process: str, *command: str) -> str:
        """Run a command in a running container."""
        return podman("exec", f"{self.name}-{process}", *command).stdout

    def logs(self, process: str) -> str:
        """Return what a container said."""
        done = podman("logs", f"{self.name}-{process}", check=False)
        return done.stdout + done.stderr

    def state(self, process: str) -> dict:
        """Return whether it runs, and how it ended."""
        return json.loads(podman("container", "inspect", f"{self.name}-{process}").stdout)[0]["State"]


@contextmanager
def pod(image: str) -> Iterator[Pod]:
    """Give a pod, and take everything of it away."""
    made = Pod(image)
    try:
        yield made
    finally:
        if made.containers:
            podman("rm", "--force", "--time", "0", *made.containers, check=False)
        if made.volumes:
            podman("volume", "rm", "--force", *made.volumes, check=False)
