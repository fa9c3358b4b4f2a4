#!/usr/bin/env python3
"""Make a folder with the edge's packages in which the modules on every request's way are compiled to C (mypyc).

    scripts/compiled.py .compiled            make it, unless it was made of the same sources by the same Python
    scripts/compiled.py --current .compiled  print its path if it was, else nothing

What stands there is used by whoever has it first on its path: `PYTHONPATH=.compiled penstock up`. docs/compiled.md
tells what this is for.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (ROOT / "services/edge/penstock_edge", ROOT / "services/lib/routing/penstock_routing")
# Not here, and why: modules that define messages for msgspec (`fields`), which reads annotations of its own; what is
# inherited from by modules that are not here; what no ordinary request passes.
HOT = {
    "penstock_edge": "admission admission_policy allow_messages allowance amounts answer_head answering asking batch "
    "bodies calls changes client_timers closing cost credentials decisions denials freshness giving_back hearing "
    "holdings holds key_book key_facts leases limits metrics outage reminders session times unrecorded "
    "attempts corking crossing decoding direct_turn dispatch estimates exchange flow hints journal keepalive key_books "
    "limit_headers outcome_messages outcomes passage patterns price protocol relay reply request_id request_reader "
    "settlement segments settlement_messages signatures snapshot spool sse standing store_clock tallies usage "
    "varints waiting ways "
    "dialects/anthropic dialects/dialect dialects/gemini/dialect dialects/gemini/framing "
    "dialects/gemini/head dialects/openai_chat dialects/openai_embeddings dialects/openai_errors "
    "dialects/openai_responses/dialect dialects/openai_responses/head dialects/openai_responses/passing "
    "dialects/plain_text dialects/unreadable "
    "providers/anthropic providers/anthropic_failure providers/gemini/sniffer "
    "providers/gemini/wire providers/openai_chat providers/openai_chat_sniffer "
    "providers/openai_chat_usage providers/openai_embeddings providers/openai_failure "
    "providers/openai_head providers/openai_responses/sniffer providers/openai_responses/wire "
    "providers/splice providers/wire providers/wires routes/inference unattended "
    "upstream/answer_reader upstream/answers upstream/call upstream/client upstream/connection "
    "upstream/deadlines upstream/fields upstream/outgoing upstream/pool",
    "penstock_routing": "access accounts affinity buckets candidates choosing condition fair_queue gates gauges "
    "health lanes outcomes policy pool rendezvous retry retry_budget selection serving shares storms waiting_room "
    "warmth words",
}
FLAGS = ("--config-file=", "--strict", "--namespace-packages", "--explicit-package-bases", "--no-warn-unused-ignores")
# Flags that are named take the place of those that Python was built with, so two of these are named again: without
# -DNDEBUG each macro of Python's asserts what it is given, and -fwrapv says that its integers may wrap.
# What nothing outside a library calls goes out of it: less to load, and less memory.
CFLAGS = "-DNDEBUG -fwrapv -fvisibility=hidden -ffunction-sections -include cold.h"
LDFLAGS = "-Wl,--gc-sections"
# gcc compiles twice: what was compiled first counts how often each branch is taken while TRAINING asks all that clients
# ask; then what is never taken gets out of the way. What follows of counters that threads have muddled may be wrong.
COUNT = "-fprofile-generate={folder} -fprofile-update=single"
COUNTED = "-fprofile-use={folder} -fprofile-correction -Wno-missing-profile"
TRAINING = ROOT / "scripts/training.py"
# mypyc's functions that only failures call. What leads there is a fifth of the code: made small, and put where nothing
# loads it.
COLD = """
struct _object;
#define COLD __attribute__((cold)) void
COLD CPyError_OutOfMemory(void);
COLD CPy_TypeError(const char *, struct _object *);
COLD CPy_AddTraceback(const char *, const char *, int, struct _object *);
COLD CPy_TypeErrorTraceback(const char *, const char *, int, struct _object *, const char *, struct _object *);
COLD CPy_AttributeError(const char *, const char *, const char *, const char *, int, struct _object *);
#undef COLD
"""
STAMP = "made-of"
# Runs in the folder, in a process of its own: setuptools and mypy take over arguments, output and working directory.
# A library for each package, not for each module: all would hold mypyc's own functions again, 9 MB of an edge's memory.
# Each step is flags for the compiler and the linker, and a command that follows.
BUILD = """
import json, os, subprocess, sys
from mypyc.build import mypycify
from setuptools import setup
jobs, steps, modules = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3:]
packages = {path.partition("/")[0] for path in modules if path.endswith(".py")}
libraries = [([path for path in modules if path.startswith(f"{name}/")], f"{name}.compiled") for name in packages]
made = mypycify(modules, opt_level="2", debug_level="0", separate=libraries)
for step in steps:
    os.environ |= step["flags"]
    sys.argv = ["setup.py", "--quiet", "build_ext", "--inplace", "--force", "-j", jobs]
    setup(name="penstock-compiled", packages=[], ext_modules=made)
    if step["then"]:
        subprocess.run(step["then"], env=os.environ | {"PYTHONPATH": os.getcwd()}, check=True)
"""


def main() -> None:
    """Make the folder that is named, or tell whether it would have to be made."""
    parser = argparse.ArgumentParser(description="Compile the modules on every request's way.")
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--current", action="store_true", help="make nothing: print the path of a folder that is current"
    )
    options = parser.parse_args()
    folder, wanted = options.folder.resolve(), made_of()
    stamp = folder / STAMP
    current = stamp.exists() and stamp.read_text() == wanted
    if options.current:
        print(folder if current else "")
    elif not current:
        print(f"compiled: making {folder} (three to five minutes)", file=sys.stderr)
        make(folder)
        stamp.write_text(wanted)


def make(folder: Path) -> None:
    """Copy the packages, and compile there."""
    shutil.rmtree(folder, ignore_errors=True)
    for package in PACKAGES:
        shutil.copytree(package, folder / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    build(folder)


def made_of() -> str:
    """Return what tells one result from another: this file, the sources, and whose headers they are compiled with."""
    seen = hashlib.sha256(sysconfig.get_config_var("EXT_SUFFIX").encode() + sys.version.encode())
    sources = (path for package in PACKAGES for path in package.rglob("*.py"))
    for path in sorted((*sources, Path(__file__), TRAINING)):
        seen.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return seen.hexdigest()


def build(folder: Path) -> None:
    """Compile in place. Exits with what the compilers said when they refuse."""
    modules = [f"{package}/{module}.py" for package, names in HOT.items() for module in names.split()]
    # Types are looked up in the folder first, as its user will; elsewhere the packages are as they are installed.
    others = (ROOT / "gen", ROOT / "services/lib/catalog", ROOT / "services/lib/chassis")
    told = os.environ | {"MYPYPATH": os.pathsep.join(map(str, (folder, *others)))}
    (folder / "cold.h").write_text(COLD)
    log, profile = folder / "build.log", folder / "profile"
    planned = steps(profile)
    with log.open("wb") as output:
        command = [sys.executable, "-c", BUILD, str(os.cpu_count() or 1), json.dumps(planned), *FLAGS, *modules]
        done = subprocess.run(command, cwd=folder, env=told, stdout=output, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        text = log.read_text(errors="replace").splitlines()
        said = [line for line in text if ("rror" in line or line.startswith("training:")) and "gcc" not in line]
        sys.exit("\n".join([f"compiled: refused; all of it is in {log}", *said[:20]]))
    if len(planned) > 1 and not any(profile.rglob("*.gcda")):
        sys.exit(f"compiled: the training counted nothing; what it said is in {log}")
    (folder / "cold.h").unlink()
    for made_meanwhile in (folder / "build", folder / ".mypy_cache", profile):
        shutil.rmtree(made_meanwhile, ignore_errors=True)


def steps(profile: Path) -> list[dict[str, Any]]:
    """Return how often is compiled, and how; `profile` is for what is counted. Exits where no compiler is."""
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(compiler[0]) is None:
        sys.exit("compiled: no C compiler was found. On Debian or Ubuntu: apt-get install gcc libc6-dev python3-dev")
    said = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=False).stdout
    if "Free Software Foundation" not in said:
        return [_step("", LDFLAGS + " -Wl,-s")]
    count, counted = COUNT.format(folder=profile), COUNTED.format(folder=profile)
    return [_step(count, f"{LDFLAGS} {count}", TRAINING), _step(counted, LDFLAGS + " -Wl,-s")]


def _step(cflags: str, ldflags: str, then: Path | None = None) -> dict[str, Any]:
    flags = {"CFLAGS": f"{CFLAGS} {cflags}", "LDFLAGS": ldflags}
    return {"flags": flags, "then": [sys.executable, str(then)] if then else []}


if __name__ == "__main__":
    main()
