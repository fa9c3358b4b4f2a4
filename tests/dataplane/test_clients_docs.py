"""The pages of docs/clients do what they say: their commands and programs run, their files are those that are written.

Blocks marked sh, python and js are run in order, with this gateway's address and a key; json, toml and dotenv are
compared with what `penstock setup-client --print` gives. Blocks marked console and text are for people alone.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.client_stack import CLAUDE, CLIENTS, every_provider
from tests.stack import BIN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.client_stack import ClientStack

pytestmark = pytest.mark.xdist_group("clients-docs")

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs/clients").glob("*.md"))
ADDRESS, KEY = "https://gateway.example.com", "psk_..."
RUN, COMPARED, SHOWN = {"sh", "python", "js"}, {"json", "toml", "dotenv"}, {"console", "text"}


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of each fenced block."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClientStack]:
    with every_provider(tmp_path_factory.mktemp("docs")) as stack:
        yield stack


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
# E: clients Claude Code, Conductor, OpenCode, Cursor, Codex CLI, Codex Desktop, Anthropic SDK, OpenAI SDK, curl
def test_what_a_page_tells_to_run_runs(stack: ClientStack, tmp_path: Path, page: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "node_modules").symlink_to(CLIENTS / "typescript-current/node_modules")
    found = blocks(page)
    assert {language for language, _ in found} <= RUN | COMPARED | SHOWN
    for language, text in [(language, text.replace(ADDRESS, stack.gateway.url)) for language, text in found]:
        if language not in RUN:
            continue
        if language == "sh":
            command = ["bash", "-euo", "pipefail", "-c", text]
        elif language == "python":
            command = [str(BIN / "python"), "-W", "error", "-c", text]
        else:
            (work / "program.mjs").write_text(text)
            command = ["node", "program.mjs"]
        done = stack.run(*command, home=tmp_path, PENSTOCK_API_KEY=stack.key)
        assert done.stdout.strip(), f"{page.name}: nothing was printed by\n{text}"


def test_the_program_in_the_readme_runs(stack: ClientStack, tmp_path: Path) -> None:
    (program,) = [text for language, text in blocks(ROOT / "README.md") if language == "python"]
    assert program.count("http://127.0.0.1:8080") == 3
    own = program.replace("http://127.0.0.1:8080", stack.gateway.url).replace(KEY, stack.key)
    stack.run(str(BIN / "python"), "-W", "error", "-c", own, home=tmp_path)


@pytest.mark.parametrize(
    ("client", "options"), [("claude-code", ()), ("codex", ("--model", "gpt-5.3-codex")), ("opencode", ())]
)
def test_what_a_page_tells_to_write_is_what_is_written(
    stack: ClientStack, tmp_path: Path, client: str, options: tuple[str, ...]
) -> None:
    given = ("--url", stack.gateway.url, "--key", stack.key, "--print", "--output", "json", *options)
    shown = stack.run(str(BIN / "penstock"), "setup-client", client, *given, home=tmp_path)
    written = [
        file["text"].replace(stack.gateway.url, ADDRESS).replace(stack.key, KEY)
        for file in json.loads(shown.stdout)["files"]
    ]
    page = ROOT / f"docs/clients/{client}.md"
    told = [(language, text) for language, text in blocks(page) if language in COMPARED]
    for (language, text), file in zip(told, written, strict=True):
        read = {"json": json.loads, "toml": tomllib.loads, "dotenv": str}[language]
        assert read(text) == read(file)


def test_the_words_of_errors_are_the_gateways() -> None:
    page = (ROOT / "docs/clients/README.md").read_text()
    rows = re.findall(r"^\| [0-9].*$", page.partition("## What an error means")[2], re.MULTILINE)
    words = [word for row in rows for word in re.findall(r"`([^`]+)`", row.split("|")[2])]
    assert len(words) > 12
    edge = ROOT / "services/edge/penstock_edge"
    # Texts that are cut into lines stand whole in the source, less the quotes between the lines.
    source = "".join(path.read_text() for path in (edge / "errors.py", edge / "routes/inference.py"))
    whole = re.sub(r'"\s*f?"', "", source)
    missing = [word for word in words if word.removesuffix("…") not in whole]
    assert missing == []


def said(page: str) -> list[str]:
    """The words of a client in the first column of a page's table of failures."""
    text = (ROOT / f"docs/clients/{page}.md").read_text().partition("## When it does not work")[2]
    return [word for row in re.findall(r"^\| `+([^|]*?) ?`+", text, re.MULTILINE) for word in [row.split("`,")[0]]]


@pytest.mark.parametrize("wrong", ["key", "model", "address"])
def test_claude_code_says_what_its_page_says(stack: ClientStack, tmp_path: Path, wrong: str) -> None:
    variables = {"ANTHROPIC_BASE_URL": stack.gateway.url, "ANTHROPIC_AUTH_TOKEN": stack.key}
    variables |= {"key": {"ANTHROPIC_AUTH_TOKEN": "psk_wrong"}, "address": {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}}.get(wrong, {})  # fmt: skip
    model = "claude-none" if wrong == "model" else CLAUDE
    command = ("claude", "-p", "hi", "--model", model)
    done = stack.run(*command, home=tmp_path, code=1, CLAUDE_CODE_MAX_RETRIES="0", **variables)
    words = said("claude-code")[("key", "model", "address").index(wrong)]
    assert words in done.stdout


def test_codex_says_what_its_page_says(stack: ClientStack, tmp_path: Path) -> None:
    missing, refused, model = said("codex")
    given = ("--url", stack.gateway.url, "--key", stack.key)
    stack.run(str(BIN / "penstock"), "setup-client", "codex", *given, home=tmp_path)
    codex = ("codex", "exec", "--skip-git-repo-check", "hi")
    assert model.removesuffix("…") in stack.run(*codex, "--model", "gpt-none", home=tmp_path, code=1).stderr
    (tmp_path / ".codex/.env").write_text("PENSTOCK_API_KEY=psk_wrong\n")
    assert refused in stack.run(*codex, home=tmp_path, code=1).stderr
    (tmp_path / ".codex/.env").unlink()
    assert missing in stack.run(*codex, home=tmp_path, code=1).stderr
