#!/bin/sh
# Compile the modules on every request's way into the folder of the first argument, which lies in the processes' virtual
# environment. Runs in the image's build stage, where compiler/ is a virtual environment with mypyc and zig, a C compiler
# that is a wheel. gcc is better where the stage has it: it compiles for what the modules are seen to do
# (scripts/training.py), which zig cannot.
set -eu
folder=$1
venv=${folder%/*}
packages_of() { "$1" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }

headers=$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')
if [ ! -f "$headers/Python.h" ]; then
  echo "compile: the base has no $headers/Python.h to compile with; COMPILED=0 builds an image that runs the sources" >&2
  exit 1
fi
# Another image than the base may compile, and what it makes fits its own Python only.
wanted=$(sed -nE 's/^version *= *([0-9]+\.[0-9]+).*/\1/p' "$venv/pyvenv.cfg")
if [ "$(python3 -c 'import sys; print(*sys.version_info[:2], sep=".")')" != "$wanted" ] || [ ! -x "$venv/bin/python" ]; then
  echo "compile: the base has Python $wanted, and COMPILER_IMAGE has not, or at another place; name an image of the same kind, or none" >&2
  exit 1
fi
# The types are those of the libraries that the processes will have; the gateway that is trained on is our sources.
{ packages_of "$venv/bin/python"; ls -d "$PWD"/gen "$PWD"/services/* "$PWD"/services/lib/*; } >"$(packages_of compiler/bin/python)/penstock.pth"
if command -v gcc >/dev/null; then
  export CC=gcc
else
  # Told nothing, zig makes what only processors like this machine's understand. Debian's Python.h includes by /usr/include.
  export CC="$PWD/compiler/bin/python -m ziglang cc -mcpu=baseline -idirafter /usr/include"
fi
# Not what the base's Python was linked with: zig knows few of the linker's options.
export LDSHARED="$CC -shared"
compiler/bin/python scripts/compiled.py "$folder"
rm -rf "$folder/build.log" "$folder/made-of" /root/.cache
python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash "$folder"
