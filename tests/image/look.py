"""Looks around inside the image and prints what it found as one JSON document; run there with `python3 -c`."""

import importlib.util
import json
import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
from importlib import metadata
from pathlib import Path

SKIPPED = ("/proc", "/sys", "/dev", "/tmp")
TOOLS = (
    "pip",
    "pip3",
    "uv",
    "gcc",
    "cc",
    "clang",
    "zig",
    "ld",
    "make",
    "curl",
    "git",
    "mypy",
    "mypyc",
    "hatchling",
    "cyclonedx-py",
)
MODULES = ("pip", "ensurepip", "setuptools", "mypy", "mypyc", "ziglang", "hatchling", "cyclonedx", "pytest")
CONFIGURATION = ("/etc/pip.conf", "/etc/uv", "/run/secrets")
OURS = Path("/opt/penstock")
COMPILED = OURS / "compiled"

found = {"setuid": [], "writable": [], "owned": [], "caches": [], "uncompiled": [], "tests": [], "headers": []}


def note(path):
    """Take down whose a file is, and what it lends."""
    try:
        facts = path.lstat()
    except OSError:
        return
    mode = facts.st_mode
    if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
        found["setuid"].append(str(path))
    if not stat.S_ISLNK(mode) and mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        found["writable"].append(str(path))
    if facts.st_uid == os.getuid():
        found["owned"].append(str(path))


def compiled(path):
    """Whether a source has its bytecode beside it."""
    return (path.parent / "__pycache__" / f"{path.stem}.{sys.implementation.cache_tag}.pyc").exists()


def extensions():
    """Our compiled modules: `penstock_edge/relay`."""
    return sorted(str(path.relative_to(COMPILED)).partition(".")[0] for path in COMPILED.rglob("*.so"))


def packages():
    """Debian's packages."""
    if not shutil.which("dpkg-query"):
        return []
    command = ["dpkg-query", "-W", "-f", "${Package} ${Version} ${db:Status-Status}\n"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line.split()[:2] for line in listed.splitlines() if line.endswith(" installed")]


for name, folders, files in os.walk("/"):
    folder = Path(name)
    folders[:] = [one for one in folders if not str(folder / one).startswith(SKIPPED)]
    note(folder)
    for file in files:
        note(folder / file)
    if re.search(r"/(\.cache|apt/lists|var/cache/apt)$", name) and (files or folders):
        found["caches"].append(name)
    if OURS in folder.parents and re.search(r"site-packages/(penstock[a-z_]*/)?tests?$", name):
        found["tests"].append(name)
    if "Python.h" in files:
        found["headers"].append(name)
found["uncompiled"] = [str(path) for path in OURS.rglob("*.py") if not compiled(path)]
me = pwd.getpwuid(os.getuid())
found |= {
    "user": [me.pw_name, os.getuid(), os.getgid(), os.getgroups(), me.pw_dir],
    "folder": str(Path.cwd()),
    "stdlib_compiled": compiled(Path(os.__file__)),
    "programs": sorted(path.name for path in (OURS / "bin").iterdir()),
    "tools": [name for name in TOOLS if shutil.which(name)],
    "modules": [name for name in MODULES if importlib.util.find_spec(name)],
    "configuration": [path for path in CONFIGURATION if Path(path).exists()],
    "distributions": sorted([one.metadata["Name"], one.version] for one in metadata.distributions()),
    "editable": sorted(one.metadata["Name"] for one in metadata.distributions() if one.read_text("direct_url.json")),
    "extensions": extensions(),
    "packages": packages(),
    "sbom": json.loads(Path("/usr/share/penstock/sbom.cdx.json").read_text()),
}
print(json.dumps(found))
