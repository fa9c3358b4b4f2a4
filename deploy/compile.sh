#!/bin/sh
# Compile the modules on every request's way into the folder of the first argument. Runs in the image's build stage, where
# compiler/ is a virtual environment with mypyc and zig, a C compiler that is a wheel.
set -eu
folder=$1
packages_of() { "$1" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }

headers=$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')
if [ ! -f "$headers/Python.h" ]; then
  echo "compile: the base has no $headers/Python.h to compile with; COMPILED=0 builds an image that runs the sources" >&2
  exit 1
fi
# The types are those of the libraries that the processes will have.
packages_of /opt/penstock/bin/python >"$(packages_of compiler/bin/python)/penstock.pth"
# Told nothing, zig makes what only processors like this machine's understand. Debian's Python.h includes by /usr/include.
export CC="$PWD/compiler/bin/python -m ziglang cc -mcpu=baseline -idirafter /usr/include"
# Not what the base's Python was linked with: zig knows few of the linker's options.
export LDSHARED="$CC -shared"
compiler/bin/python scripts/compiled.py "$folder"
rm -rf "$folder/build.log" "$folder/made-of" /root/.cache
# What only a compiler's environment has is missed here and not in a cluster.
PYTHONPATH=$folder:gen:services/lib/catalog:services/lib/chassis /opt/penstock/bin/python -c 'import penstock_edge.main'
python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash "$folder"
