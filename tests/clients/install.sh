#!/usr/bin/env bash
# Install the real clients that the tests drive, at exact versions, beside this file. Quick when they are there.
#
# The command lines are programs of their own: the package that holds this machine's program is installed by itself, so
# neither Node's version nor an install script matters. commands/bin/{claude,codex,opencode} are links to them.
set -euo pipefail
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
npm_install() { npm install --silent --no-package-lock --no-audit --no-fund --ignore-scripts "$@"; }
is_ready() { [ -e "$1" ] && [ ! "$2" -nt "$1" ] && [ ! install.sh -nt "$1" ]; } # mark, what it was made from

for folder in typescript-*; do
  is_ready "$folder/node_modules/.ready" "$folder/package.json" && continue
  (cd "$folder" && npm_install && touch node_modules/.ready)
done

install_commands() {
  local arch versions claude codex opencode
  case "$(uname -s)-$(uname -m)" in
    Linux-x86_64) arch=linux-x64 ;;
    Linux-aarch64 | Linux-arm64) arch=linux-arm64 ;;
    *) echo "tests: there is no claude, codex and opencode for $(uname -s) $(uname -m) here" >&2; return 1 ;;
  esac
  versions=$(node -p 'const {claude, codex, opencode} = require("./commands/package.json").config; `${claude} ${codex} ${opencode}`')
  read -r claude codex opencode <<<"$versions"
  # The build for processors without AVX2 does everywhere.
  local opencode_package=opencode-$arch
  [ "$arch" = linux-arm64 ] || opencode_package+=-baseline
  rm -rf commands/bin commands/node_modules
  (cd commands && npm_install --no-save "@anthropic-ai/claude-code-$arch@$claude" \
    "codex@npm:@openai/codex@$codex-$arch" "$opencode_package@$opencode")
  mkdir commands/bin
  ln -s "../node_modules/@anthropic-ai/claude-code-$arch/claude" commands/bin/claude
  local program
  for program in commands/node_modules/codex/vendor/*/bin/codex; do ln -s "../${program#commands/}" commands/bin/codex; done
  ln -s "../node_modules/$opencode_package/bin/opencode" commands/bin/opencode
  chmod +x commands/bin/*
  touch commands/bin/.ready
}
if ! is_ready commands/bin/.ready commands/package.json || [ ! -x commands/bin/claude ] || [ ! -x commands/bin/codex ] || [ ! -x commands/bin/opencode ]; then
  install_commands
fi

if ! is_ready python-before/.venv/.ready python-before/requirements.txt; then
  uv=$("$root/scripts/find-uv.sh")
  "$uv" venv --quiet --clear --python "$root/.venv/bin/python" python-before/.venv
  VIRTUAL_ENV="$PWD/python-before/.venv" "$uv" pip install --quiet --require-hashes -r python-before/requirements.txt
  touch python-before/.venv/.ready
fi
