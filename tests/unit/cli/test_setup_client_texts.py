"""Configuration texts: one value changes, the rest stays as its owner wrote it."""

from __future__ import annotations

import json
import tomllib

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from penstock_cli.setup_client.dotenv_text import DotEnv
from penstock_cli.setup_client.entries import Entry, put_in, take_out
from penstock_cli.setup_client.json_text import Json
from penstock_cli.setup_client.syntax import UnreadableError
from penstock_cli.setup_client.toml_text import Toml

JSON, JSONC, TOML, ENV = Json(), Json(comments=True), Toml(), DotEnv()
URL = Entry(("env", "URL"), "http://gateway")

COMMENTED = """\
{
    // what the editor shows
    "theme": "dark", // not light
    "provider": {
        "other": {"options": {}}, /* kept */
    },
}
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '{\n  "env": {\n    "URL": "http://gateway"\n  }\n}\n'),
        ("{}", '{\n  "env": {\n    "URL": "http://gateway"\n  }\n}'),
        ('{"a": 1}', '{"a": 1, "env": {"URL": "http://gateway"}}'),
        ('{ "a": 1 }\n', '{ "a": 1, "env": {"URL": "http://gateway"} }\n'),
        ('{"env": {}}', '{"env": {\n  "URL": "http://gateway"\n}}'),
        (
            '{\n\t"env": {\n\t\t"A": "1"\n\t},\n\t"b": [1, 2]\n}\n',
            '{\n\t"env": {\n\t\t"A": "1",\n\t\t"URL": "http://gateway"\n\t},\n\t"b": [1, 2]\n}\n',
        ),
        ('{\r\n  "a": 1\r\n}\r\n', '{\r\n  "a": 1,\r\n  "env": {\r\n    "URL": "http://gateway"\r\n  }\r\n}\r\n'),
        ('{"env": {"URL": "old", "Z": null}}', '{"env": {"URL": "http://gateway", "Z": null}}'),
        ('\ufeff{"a": 1}', '\ufeff{"a": 1, "env": {"URL": "http://gateway"}}'),
    ],
)
def test_json_keeps_its_form(before, after):
    assert put_in(JSON, before, [URL]) == after
    assert put_in(JSON, after, [URL]) == after


def test_comments_and_trailing_commas_stay():
    entries = [Entry(("provider", "anthropic", "options", "apiKey"), "k"), Entry(("theme",), "light")]
    assert put_in(JSONC, COMMENTED, entries) == COMMENTED.replace('"dark"', '"light"').replace(
        "/* kept */\n    }",
        '/* kept */\n        "anthropic": {\n          "options": {\n            "apiKey": "k"\n          }\n        }\n    }',
    )


def test_a_comma_goes_before_a_comment():
    assert put_in(JSONC, '{\n  "a": 1 // one\n}', [Entry(("b",), 2)]) == '{\n  "a": 1, // one\n  "b": 2\n}'
    assert JSONC.drop('{\n  "a": 1, // one\n  "b": 2 // two\n}', ("b",)) == '{\n  "a": 1 // one\n   // two\n}'


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('{"a": 1,}', "line 1, column 8"),
        ('{\n  "a": 1\n  "b": 2\n}', "line 3, column 3"),
        ('{"a": 1 // c\n}', "line 1, column 9"),
        ("{'a': 1}", "line 1, column 2"),
        ('{"a": NaN}', "line 1, column 7"),
        ('{"a": 1} x', "line 1, column 10"),
        ('{"a": "secret', "line 1, column 7"),
        ("[1]", "not a JSON object"),
        ('{"env": [1]}', "env is not an object"),
        ("[" * 5000, "Too deep"),
    ],
)
def test_wrong_json_is_refused_and_not_shown(text, where):
    with pytest.raises(UnreadableError) as refused:
        put_in(JSON, text, [URL])
    assert where in str(refused.value)
    assert "secret" not in str(refused.value)


names = st.sampled_from(["env", "a", "b", "ü", 'q"'])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=12,
)
documents = st.dictionaries(names, values, max_size=4)
paths = st.lists(names, min_size=1, max_size=3).map(tuple)


def _set(document, path, value):
    for name in path[:-1]:
        document = document.setdefault(name, {})
        if not isinstance(document, dict):
            return False
    document[path[-1]] = value
    return True


@given(documents, paths, values, st.sampled_from([None, 2, 4]))
def test_json_says_what_it_should_afterwards(document, path, value, indent):
    text = json.dumps(document, indent=indent, ensure_ascii=False)
    try:
        changed = JSON.put(text, path, value)
    except UnreadableError:
        assert not _set(document, path, value)
        return
    assert _set(document, path, value)
    assert json.loads(changed) == document
    assert JSON.get(changed, path) == value


@given(documents, paths, st.text(max_size=5), st.sampled_from([None, 2, 4]))
def test_json_says_what_it_did_after_taking_out(document, path, value, indent):
    text = json.dumps(document, indent=indent, ensure_ascii=False)
    try:
        changed = put_in(JSON, text, [Entry(path, value)])
    except UnreadableError:
        return
    if JSON.get(text, path) is None and None in _along(document, path):
        return  # A null on the way reads as absent.
    assert json.loads(take_out(JSON, changed, text, [path])) == document


def _along(document, path):
    for name in path:
        if not isinstance(document, dict) or name not in document:
            return
        document = document[name]
        yield document


PROVIDER = Entry(("model_providers", "penstock"), {"name": "Penstock", "base_url": "http://gateway/v1"})
CODEX = [Entry(("model",), "m-1"), Entry(("model_provider",), "penstock"), PROVIDER]
TOMLS = [
    "",
    "# mine\n[a]\nb = 1 # one\n",
    "model = 'x' # why\n\n[model_providers.other]\nname = 'o'\n\n[z]\ny = 1\n",
    'model_providers = {other = {name = "o"}}\n',
    "a = 1",
    "[model_providers]\n[profiles.x]\nm = 1\n[model_providers.b]\nname = 'b'\n",
    'model_providers.o.name = "x"\n[t]\nq = 1\n',
    "a=1\r\n[b]\r\nc=2\r\n",
    "[model_providers.penstock]\nbase_url = 'old' # c\nzz = '1'\n[z]\nq = 1\n",
    "[a]\nb = 1\n[model_providers]\npenstock = {name = 'q'}\n",
    'text = """\n[not.a.table]\n"""\n',
]


@pytest.mark.parametrize("text", TOMLS)
def test_toml_says_what_it_should_and_keeps_the_rest(text):
    changed = put_in(TOML, text, CODEX)
    document = tomllib.loads(text)
    wanted = document | {"model": "m-1", "model_provider": "penstock"}
    wanted["model_providers"] = document.get("model_providers", {}) | {"penstock": PROVIDER.value}
    assert tomllib.loads(changed) == wanted
    assert put_in(TOML, changed, CODEX) == changed
    for comment in ("# mine", "# one", "# why", "# c"):
        assert (comment in changed) == (comment in text)
    assert ("\r\n" in changed) == ("\r\n" in text)
    assert tomllib.loads(take_out(TOML, changed, text, [entry.path for entry in CODEX])) == document


@pytest.mark.parametrize("text", TOMLS)
def test_a_table_that_is_there_changes_in_place(text):
    first = put_in(TOML, text, CODEX)
    moved = Entry(PROVIDER.path, PROVIDER.value | {"base_url": "http://elsewhere/v1"})
    assert put_in(TOML, first, [moved]) == first.replace("http://gateway/v1", "http://elsewhere/v1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = ", "not valid TOML"),
        ("[a\nb = 'secret'", "line 1"),
        ("model_providers = 1\n", "model_providers is not a table"),
        ("[[model_providers]]\nname = 'x'\n", "model_providers is not a table"),
    ],
)
def test_wrong_toml_is_refused_and_not_shown(text, said):
    with pytest.raises(UnreadableError) as refused:
        put_in(TOML, text, CODEX)
    assert said in str(refused.value)
    assert "secret" not in str(refused.value)


def test_what_tomlkit_would_write_is_written_for_names_that_need_quotes():
    text = TOML.put("", ("model_providers", "my own"), {"name": 'a "b"'})
    assert tomlkit.parse(text).unwrap() == {"model_providers": {"my own": {"name": 'a "b"'}}}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "KEY=k\n"),
        ("A=1", "A=1\nKEY=k\n"),
        ("# c\nexport KEY = 'old'\nB=2\n", "# c\nB=2\nKEY=k\n"),
        ("MY_KEY=1\nKEY=old", "MY_KEY=1\nKEY=k\n"),
    ],
)
def test_variables_in_a_file(before, after):
    entry = Entry(("KEY",), "k")
    assert put_in(ENV, before, [entry]) == after
    assert put_in(ENV, after, [entry]) == after
    assert ENV.get(before, ("KEY",)) == ("old" if "old" in before else None)
    assert "KEY=k" not in take_out(ENV, after, before, [("KEY",)])
