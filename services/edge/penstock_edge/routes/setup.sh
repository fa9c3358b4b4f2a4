#!/bin/sh
# Sets up Claude Code and Codex on this machine for the gateway below.
#
#   curl -fsS @GATEWAY@/setup.sh | sh
#   curl -fsS @GATEWAY@/setup.sh | sh -s -- --claude-code --codex --model MODEL
#   curl -fsS @GATEWAY@/setup.sh | sh -s -- --undo
#
# What it does, for each of the two that is here (or named by a flag):
#   Claude Code   ~/.claude/settings.json: env.ANTHROPIC_BASE_URL and env.ANTHROPIC_AUTH_TOKEN
#   Codex         ~/.codex/config.toml: model, model_provider and [model_providers.penstock];
#                 ~/.codex/.env: PENSTOCK_API_KEY, which Codex loads by itself
# Everything else in these files stays. A file that was there is kept beside it as *.penstock-backup, and
# *.penstock-sum says what was written; --undo gives the files back. A second run changes nothing.
# Your key is asked for on the terminal, or taken from PENSTOCK_API_KEY. It is sent to the gateway and nowhere else.
set -eu
GATEWAY='@GATEWAY@'

usage() {
  cat <<'USAGE'
Options: --claude-code and --codex (else whichever is installed), --model MODEL, --undo, --help.
PENSTOCK_API_KEY gives the key; CLAUDE_CONFIG_DIR and CODEX_HOME say where the files are.
USAGE
}

say() { printf '%s\n' "$*"; }
fail() { printf 'penstock: %s\n' "$*" >&2; exit 1; }

main() {
  want_claude='' want_codex='' undo='' model='' failed='' served=''
  while [ $# -gt 0 ]; do
    case $1 in
      --claude-code) want_claude=yes ;;
      --codex) want_codex=yes ;;
      --undo) undo=yes ;;
      --model) [ $# -gt 1 ] || { usage >&2; exit 2; }; model=$2; shift ;;
      -h | --help) usage; exit 0 ;;
      *) usage >&2; exit 2 ;;
    esac
    shift
  done
  : "${HOME:?is not set}"
  for program in awk cat chmod cksum cmp cp dirname grep head mkdir mktemp mv rm sed tr; do
    command -v "$program" >/dev/null 2>&1 || fail "this needs $program, which is not here; nothing was written"
  done
  claude_dir=${CLAUDE_CONFIG_DIR:-$HOME/.claude}
  codex_dir=${CODEX_HOME:-$HOME/.codex}
  case $model in *[!A-Za-z0-9._:/@-]*) fail 'a model is named by letters, digits and . _ : / @ -' ;; esac
  umask 077
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  trap 'exit 1' HUP INT TERM
  new=$work/new
  old=$work/old
  if [ -n "$undo" ]; then undo_all; else set_up_all; fi
  [ -z "$failed" ] || exit 1
}

set_up_all() {
  if [ -z "$want_claude$want_codex" ]; then
    if command -v claude >/dev/null 2>&1 || [ -d "$claude_dir" ]; then want_claude=yes; fi
    if command -v codex >/dev/null 2>&1 || [ -d "$codex_dir" ]; then want_codex=yes; fi
    [ -n "$want_claude$want_codex" ] || fail 'neither Claude Code nor Codex is here; name one: sh -s -- --claude-code'
  fi
  get_key
  ask_gateway
  if [ -n "$want_claude" ]; then
    say 'Claude Code:'
    set_up settings "$claude_dir/settings.json"
    if [ -n "${ANTHROPIC_API_KEY:-}" ] && [ -z "$failed" ]; then
      say '  ANTHROPIC_API_KEY is set in this shell; it is emptied for Claude Code, which would send it to the gateway.'
    fi
  fi
  if [ -n "$want_codex" ]; then
    say 'Codex:'
    set_up config "$codex_dir/config.toml"
    set_up dotenv "$codex_dir/.env"
    if [ -n "${OPENAI_BASE_URL:-}${CODEX_OPENAI_BASE_URL:-}" ]; then
      say '  OPENAI_BASE_URL is set in this shell. Older versions of Codex follow it: unset it if requests go elsewhere.'
    fi
  fi
}

undo_all() {
  both=''
  [ -n "$want_claude$want_codex" ] || both=yes
  undone=''
  if [ -n "$want_claude$both" ]; then undo_one settings "$claude_dir/settings.json"; fi
  if [ -n "$want_codex$both" ]; then
    undo_one config "$codex_dir/config.toml"
    undo_one dotenv "$codex_dir/.env"
  fi
  [ -n "$undone$failed" ] || say 'There is nothing to undo.'
}

# The key: never echoed, and never an argument of a program, where others on this machine could read it.
get_key() {
  key=${PENSTOCK_API_KEY:-}
  if [ -z "$key" ]; then
    if ! (: </dev/tty) 2>/dev/null; then fail 'there is no terminal to ask for the key on; set PENSTOCK_API_KEY'; fi
    printf 'API key for %s: ' "$GATEWAY" >/dev/tty
    trap 'stty echo </dev/tty 2>/dev/null; exit 1' HUP INT TERM
    stty -echo </dev/tty 2>/dev/null || true
    IFS= read -r key </dev/tty || key=''
    stty echo </dev/tty 2>/dev/null || true
    trap 'exit 1' HUP INT TERM
    printf '\n' >/dev/tty
  fi
  case $key in
    '') fail 'there is no key' ;;
    *[!A-Za-z0-9._~+/=-]*) fail 'a key is one word of letters, digits and signs; check what was pasted' ;;
  esac
}

# Ask the gateway which models the key may use. Without an answer the files are written all the same.
ask_gateway() {
  command -v curl >/dev/null 2>&1 || return 0
  status=$(printf 'header = "authorization: Bearer %s"\n' "$key" |
    curl -sS --max-time 10 --config - -o "$work/models" -w '%{http_code}' "$GATEWAY/v1/models" 2>/dev/null) || status=000
  case $status in
    200) served=$(tr ',' '\n' <"$work/models" | sed -n 's/.*"id" *: *"\([A-Za-z0-9._:@/-]*\)".*/\1/p') ;;
    401 | 403) fail "$GATEWAY does not accept this key; nothing was written" ;;
    *) say "Not checked: $GATEWAY did not answer as expected (status $status)." ;;
  esac
}

# --- files: what was there is kept, and given back ---------------------------------------------------------------

as_written() { [ -f "$1" ] && [ "$(cksum <"$1")" = "$(cat "$1.penstock-sum")" ]; }

# Put a text in place of a file: at once and whole, but through a link where the file is one.
place() { # text, file
  if [ -L "$2" ]; then cat "$1" >"$2"; else cp "$1" "$2.penstock-part" && mv "$2.penstock-part" "$2"; fi
}

set_up() { # kind, file
  if ! "${1}_with" "$2" >"$new"; then failed=yes; return 0; fi
  if [ -f "$2" ] && cmp -s "$2" "$new"; then
    chmod go-rwx "$2"
    say "  $2: nothing to do"
    return 0
  fi
  mkdir -p "$(dirname "$2")"
  if [ ! -f "$2.penstock-sum" ]; then
    if [ -f "$2" ]; then cp -p "$2" "$2.penstock-backup"; else rm -f "$2.penstock-backup"; fi
  elif ! as_written "$2" && [ -f "$2" ]; then
    # Edited since it was set up: the file to go back to is this one, less our entries.
    if ! "${1}_without" "$2" >"$old"; then failed=yes; return 0; fi
    if [ -f "$2.penstock-backup" ] || ! is_empty "$old"; then cat "$old" >"$2.penstock-backup"; fi
  fi
  cksum <"$new" >"$2.penstock-sum"
  place "$new" "$2"
  chmod 600 "$2"
  kept=''
  if [ -f "$2.penstock-backup" ]; then kept=" (as it was: $2.penstock-backup)"; fi
  say "  $2: written$kept"
}

undo_one() { # kind, file
  [ -f "$2.penstock-sum" ] || return 0
  undone=yes
  done_what=restored
  if [ -f "$2" ] && ! as_written "$2"; then
    if ! "${1}_without" "$2" >"$old"; then failed=yes; return 0; fi
    if [ -f "$2.penstock-backup" ] || ! is_empty "$old"; then
      place "$old" "$2"
      chmod 600 "$2"
      rm -f "$2.penstock-backup" "$2.penstock-sum"
      say "$2: it had changed since, so only our entries were taken out"
      return 0
    fi
  fi
  if [ ! -f "$2.penstock-backup" ]; then
    rm -f "$2"
    done_what=removed
  elif [ -L "$2" ]; then
    cat "$2.penstock-backup" >"$2"
  else
    mv "$2.penstock-backup" "$2"
  fi
  rm -f "$2.penstock-backup" "$2.penstock-sum"
  say "$2: $done_what"
}

is_empty() { case $(tr -d ' \t\r\n' <"$1") in '' | '{}') ;; *) return 1 ;; esac; }

# --- settings.json: Python or Node change a file that is there; without either a person has to -------------------

settings_with() { # file
  {
    printf '{\n  "env": {\n    "ANTHROPIC_BASE_URL": "%s",\n    "ANTHROPIC_AUTH_TOKEN": "%s"' "$GATEWAY" "$key"
    if [ -n "${ANTHROPIC_API_KEY:-}" ]; then printf ',\n    "ANTHROPIC_API_KEY": ""'; fi
    if [ -n "$model" ]; then printf ',\n    "ANTHROPIC_MODEL": "%s"' "$model"; fi
    printf '\n  }\n}\n'
  } >"$work/fresh"
  if [ ! -f "$1" ] || is_empty "$1" || cmp -s "$work/fresh" "$1"; then cat "$work/fresh"; else edit_settings with "$1"; fi
}

settings_without() { edit_settings without "$1"; }

edit_settings() { # with or without, file
  if command -v python3 >/dev/null 2>&1; then
    edit_with_python "$@" || { say "  $2 cannot be changed; nothing was written there" >&2; return 1; }
  elif command -v node >/dev/null 2>&1; then
    edit_with_node "$@" || { say "  $2 cannot be changed; nothing was written there" >&2; return 1; }
  else
    {
      say "  $2 is there, and neither python3 nor node is, which could change it. Please do this by hand:"
      if [ "$1" = with ]; then
        say "    \"env\": {\"ANTHROPIC_BASE_URL\": \"$GATEWAY\", \"ANTHROPIC_AUTH_TOKEN\": \"<your key>\"}"
      else
        say '    take ANTHROPIC_BASE_URL and ANTHROPIC_AUTH_TOKEN out of "env"'
      fi
    } >&2
    return 1
  fi
}

edit_with_python() {
  PENSTOCK_URL=$GATEWAY PENSTOCK_KEY=${key:-} PENSTOCK_MODEL=$model python3 - "$@" <<'PYTHON'
import json, os, sys

what, path = sys.argv[1:]
names = ["ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY", "ANTHROPIC_MODEL"]


def load(name):
    with open(name, encoding="utf-8-sig") as file:
        document = json.load(file)
    if not isinstance(document, dict) or not isinstance(document.get("env", {}), dict):
        sys.exit("  %s: the settings, or env in them, are no JSON object" % name)
    return document


try:
    document = load(path)
    env = document.setdefault("env", {})
    if what == "with":
        env[names[0]], env[names[1]] = os.environ["PENSTOCK_URL"], os.environ["PENSTOCK_KEY"]
        if os.environ.get(names[2]) or env.get(names[2]):
            env[names[2]] = ""
        if os.environ["PENSTOCK_MODEL"]:
            env[names[3]] = os.environ["PENSTOCK_MODEL"]
    else:
        backup = path + ".penstock-backup"
        before = load(backup) if os.path.exists(backup) else {}
        for name in names:
            env.pop(name, None)
            if name in before.get("env", {}):
                env[name] = before["env"][name]
        if not env and "env" not in before:
            del document["env"]
except ValueError as error:
    sys.exit("  %s is not valid JSON (line %s)" % (path, getattr(error, "lineno", "?")))
sys.stdout.buffer.write((json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode())
PYTHON
}

edit_with_node() {
  PENSTOCK_URL=$GATEWAY PENSTOCK_KEY=${key:-} PENSTOCK_MODEL=$model node - "$@" <<'NODE'
const fs = require("fs");
const [what, path] = process.argv.slice(2);
const names = ["ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY", "ANTHROPIC_MODEL"];
const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
const stop = (words) => { console.error(`  ${path}: ${words}`); process.exit(1); };
function load(name) {
  let document;
  try { document = JSON.parse(fs.readFileSync(name, "utf8").replace(/^\uFEFF/, "")); } catch { stop("not valid JSON"); }
  if (!isObject(document) || !isObject(document.env ?? {})) stop("the settings, or env in them, are no JSON object");
  return document;
}
const document = load(path);
const env = (document.env ??= {});
if (what === "with") {
  env[names[0]] = process.env.PENSTOCK_URL;
  env[names[1]] = process.env.PENSTOCK_KEY;
  if (process.env[names[2]] || env[names[2]]) env[names[2]] = "";
  if (process.env.PENSTOCK_MODEL) env[names[3]] = process.env.PENSTOCK_MODEL;
} else {
  const backup = `${path}.penstock-backup`;
  const before = fs.existsSync(backup) ? load(backup) : {};
  for (const name of names) {
    delete env[name];
    if (name in (before.env ?? {})) env[name] = before.env[name];
  }
  if (Object.keys(env).length === 0 && !("env" in before)) delete document.env;
}
process.stdout.write(`${JSON.stringify(document, null, 2)}\n`);
NODE
}

# --- config.toml: lines, tables, and texts of several lines are told apart; more need not be understood -----------

config_with() { # file
  source=$1
  if [ ! -f "$1" ]; then
    source=$work/none
    : >"$source"
  fi
  if toml rest "$source" | grep -q '^[[:blank:]]*model_providers[[:blank:]]*[=.]'; then
    say "  $1: model_providers is written in one line; please put this gateway into it by hand" >&2
    return 1
  fi
  {
    printf 'model = "%s"\nmodel_provider = "penstock"\n' "$(choose_model "$source")"
    toml rest "$source"
    if [ -n "$(toml rest "$source")" ]; then printf '\n'; fi
    printf '[model_providers.penstock]\nname = "Penstock"\nbase_url = "%s/v1"\n' "$GATEWAY"
    printf 'env_key = "PENSTOCK_API_KEY"\nwire_api = "responses"\n'
    toml extra "$source"
  } >"$work/config"
  # Where Python can read TOML it has a look at the result, and so at what was there.
  if python3 -c 'import tomllib' >/dev/null 2>&1 &&
    ! python3 -c 'import sys, tomllib; tomllib.load(open(sys.argv[1], "rb"))' "$work/config" >/dev/null 2>&1; then
    say "  $1 is not valid TOML, or is written in a way that this script does not understand; nothing was written" >&2
    return 1
  fi
  cat "$work/config"
}

config_without() { # file
  if [ -f "$1.penstock-backup" ]; then toml head "$1.penstock-backup"; fi
  toml others "$1"
}

# Lines of a TOML file. head: the two names before the first table; rest: all but these and our own table;
# others: the same without tables below ours; extra: what somebody added to our table.
toml() { # part, file
  awk -v part="$1" '
    function odd(line, sign) { return gsub(sign, "", line) % 2 }
    function held(line) {
      if (line ~ /^[ \t\r]*$/ && open == "") { blank = blank line "\n"; return }
      if (begun) printf "%s", blank
      blank = ""; begun = 1; print line
    }
    {
      if (open == "") {
        if ($0 ~ /^[ \t]*\[\[?[ \t]*[A-Za-z0-9_."\047-][^,]*\]\]?[ \t\r]*(#.*)?$/) {
          tables = 1; header = 1
          ours = ($0 ~ /^[ \t]*\[[ \t]*model_providers[ \t]*\.[ \t]*"?penstock"?[ \t]*\]/)
          below = ($0 ~ /^[ \t]*\[\[?[ \t]*model_providers[ \t]*\.[ \t]*"?penstock"?[ \t]*\./)
        } else header = 0
        named = (!tables && $0 ~ /^[ \t]*"?(model|model_provider)"?[ \t]*=/)
        standing = (ours && $0 ~ /^[ \t]*"?(name|base_url|env_key|wire_api)"?[ \t]*=/)
      }
      if (part == "head" && named) print
      if (part == "extra" && ours && !header && !standing && $0 !~ /^[ \t\r]*$/) print
      if ((part == "rest" || part == "others") && !named && !ours && !(below && part == "others")) held($0)
      if (open == "") {
        if (odd($0, "\"\"\"")) open = "\"\"\""
        else if (odd($0, "\047\047\047")) open = "\047\047\047"
      } else if (odd($0, open)) open = ""
    }' "$2"
}

# The model asked for, else the one that is there if it is served, else the newest that fits.
choose_model() { # file
  present=$(toml head "$1" | sed -n 's/^[[:blank:]]*"\{0,1\}model"\{0,1\}[[:blank:]]*=[[:blank:]]*["'\'']\([A-Za-z0-9._:@\/-]*\)["'\''].*/\1/p')
  if [ -n "$model" ]; then
    say "$model"
  elif [ -n "$present" ] && { [ -z "$served" ] || say "$served" | grep -qxF "$present"; }; then
    say "$present"
  else
    for part in -codex gpt- claude-sonnet ''; do
      found=$(say "$served" | grep -e "$part" | head -n 1) || found=''
      [ -z "$found" ] || break
    done
    say "${found:-gpt-5.3-codex}"
  fi
}

# --- .env -------------------------------------------------------------------------------------------------------

dotenv_with() { # file
  dotenv_without "$1"
  printf 'PENSTOCK_API_KEY=%s\n' "$key"
}

dotenv_without() { # file
  [ ! -f "$1" ] || sed '/^[[:blank:]]*\(export[[:blank:]]\{1,\}\)\{0,1\}PENSTOCK_API_KEY[[:blank:]]*=/d' "$1"
}

main "$@"
