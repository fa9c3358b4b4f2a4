"""Streams that take nothing any more."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock_chassis.streams import forget_unwritten


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_what_a_full_disk_did_not_take_is_forgotten():
    with Path("/dev/full").open("w") as full:
        full.write("lost")
        with pytest.raises(OSError, match="No space"):
            full.flush()
        full.write("lost too")
        forget_unwritten(full)
        full.flush()


def test_what_can_be_written_is(tmp_path):
    with (tmp_path / "file").open("w") as file:
        file.write("kept")
        forget_unwritten(file)
        assert (tmp_path / "file").read_text() == "kept"
        file.write(", as what follows")
    assert (tmp_path / "file").read_text() == "kept, as what follows"
