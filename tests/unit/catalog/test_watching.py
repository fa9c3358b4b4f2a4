"""When a change counts as finished."""

from penstock_catalog import watching


def mark(size: int) -> watching.Fingerprint:
    return (("a.yaml", 1, size, 1),)


async def test_a_change_counts_when_it_has_been_still_for_one_interval():
    seen = [mark(1), mark(1), mark(2), mark(3), mark(4), mark(4), mark(5)]
    looks = iter(seen)
    assert await watching.changed(lambda: next(looks), mark(1), poll_seconds=0) == mark(4)
    assert list(looks) == [mark(5)]


async def test_a_change_that_was_taken_back_counts_too():
    looks = iter([mark(2), mark(1), mark(1)])
    assert await watching.changed(lambda: next(looks), mark(1), poll_seconds=0) == mark(1)


def test_a_fingerprint_tells_files_apart(tmp_path):
    file, other = tmp_path / "a", tmp_path / "b"
    file.write_text("x")
    assert watching.fingerprint([file, other]) == watching.fingerprint([file])
    before = watching.fingerprint([file, other])
    other.write_text("x")
    assert watching.fingerprint([file, other]) != before


def test_a_fingerprint_tells_of_rights_and_of_what_cannot_be_looked_at(tmp_path):
    file, other = tmp_path / "a", tmp_path / "b"
    file.write_text("x")
    file.chmod(0)
    before = watching.fingerprint([file, other])
    file.chmod(0o600)
    after = watching.fingerprint([file, other])
    assert after != before
    other.symlink_to("x" * 300)
    assert watching.fingerprint([file, other]) != after
