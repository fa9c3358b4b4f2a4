"""Keys of `APIKey` resources in files."""

import secrets
import stat

import pytest

from penstock_catalog import api_key, reader
from penstock_catalog.compiler import IssuedKey, KeyFailure
from penstock_catalog.key_files import KeyFiles
from penstock_catalog.problems import Place


def key(name: str, secret: str | None = None, **spec):
    content = {
        "apiVersion": "penstock.dev/v1alpha1", "kind": "APIKey", "metadata": {"name": name},
        "spec": {"project": "demo", "planRef": {"name": "p"}, "secretName": secret or name, **spec},
    }  # fmt: skip
    return reader.read_object(content, Place("test"))[0]


@pytest.fixture
def files(tmp_path) -> KeyFiles:
    return KeyFiles(tmp_path / "data" / "secrets", prefix="psk_", random_bytes=secrets.token_bytes)


def text(files: KeyFiles, secret: str) -> str:
    return files.path(secret).read_text()


def test_a_key_is_made_once_and_kept_private(files):
    issued = files.issue([key("a"), key("b")], ())
    for name in ("a", "b"):
        kept = text(files, name)
        assert api_key.well_formed(kept)
        assert issued[name] == IssuedKey(
            id=api_key.public_id(kept), prefix=api_key.shown(kept), digest=api_key.digest(kept).hex()
        )
        assert stat.S_IMODE(files.path(name).stat().st_mode) == 0o600
        assert stat.S_IMODE(files.path(name).parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(files.path("a").parent.parent.stat().st_mode) == 0o700
    before = files.path("a").stat().st_mtime_ns
    assert files.issue([key("a", mode="Revoked"), key("b", expirationTime="2020-01-01T00:00:00Z")], ()) == issued
    assert files.path("a").stat().st_mtime_ns == before


def test_a_deleted_file_means_a_new_key_and_a_wrong_mode_is_mended(files):
    first = files.issue([key("a"), key("b")], ())
    files.path("a").unlink()
    files.path("b").chmod(0o644)
    second = files.issue([key("a"), key("b")], ())
    assert first["a"] != second["a"]
    assert first["b"] == second["b"]
    assert stat.S_IMODE(files.path("b").stat().st_mode) == 0o600


def test_a_key_that_a_user_put_there_is_used(files):
    mine = api_key.generate("mine-", secrets.token_bytes)
    files.path("a").parent.mkdir(parents=True)
    files.path("a").write_text(mine.text + "\n")
    assert files.issue([key("a")], ())["a"] == IssuedKey(mine.id, mine.shown, mine.digest.hex())


def test_other_content_is_left_alone(files):
    files.path("a").parent.mkdir(parents=True)
    files.path("a").write_text("my shopping list")
    issued = files.issue([key("a"), key("b")], ())
    assert issued["a"] == KeyFailure(
        "SecretInvalid", f"{files.path('a')} does not hold an API key; remove it to have a new one"
    )
    assert text(files, "a") == "my shopping list"
    assert isinstance(issued["b"], IssuedKey)


def test_a_changed_secret_name_moves_the_key(files):
    before = files.issue([key("a", "old")], ())
    assert files.issue([key("a", "new")], ()) == before
    assert api_key.well_formed(text(files, "new"))
    assert not files.path("old").parent.exists()
    assert files.issue([key("a", "new")], ()) == before


def test_a_move_that_was_cut_short_is_finished(files):
    before = files.issue([key("a", "old")], ())
    mark = files.path("old").with_name(".owner").read_text()
    files.issue([key("a", "new")], ())
    files.path("old").parent.mkdir()
    files.path("old").with_name(".owner").write_text(mark)
    assert files.issue([key("a", "new")], ()) == before
    assert not files.path("old").parent.exists()


def test_a_move_removes_nothing_that_is_not_the_keys_own(files):
    files.issue([key("a", "old"), key("b", "beside")], ())
    mine = files.path("old").with_name("notes.txt")
    mine.write_text("mine")
    strange = files.path("strange")
    strange.parent.mkdir()
    strange.write_text("nobody's")
    files.issue([key("a", "new")], ())
    assert sorted(file.name for file in mine.parent.iterdir()) == ["notes.txt"]
    assert strange.exists()
    # Its resource is gone, not moved: it may come back with the same key.
    assert files.path("beside").exists()


def test_two_keys_may_change_places(files):
    before = files.issue([key("a", "x"), key("b", "y")], ())
    assert files.issue([key("a", "y"), key("b", "x")], ()) == before


def test_a_key_never_passes_to_another_resource(files):
    before = files.issue([key("a", "x")], ())
    after = files.issue([key("b", "x")], ())
    assert after["b"] != before["a"]
    assert files.issue([key("b", "x")], ()) == after


def test_names_that_are_taken(files):
    issued = files.issue([key("a", "x"), key("b", "x"), key("c", "theirs")], {"theirs"})
    assert isinstance(issued["a"], IssuedKey)
    assert issued["b"] == KeyFailure("SecretConflict", "the Secret's name x is taken by APIKey/a")
    assert issued["c"] == KeyFailure("SecretConflict", "the Secret's name theirs is taken by Secret/theirs")
    assert not files.path("theirs").exists()
