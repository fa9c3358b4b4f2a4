from __future__ import annotations

import os

import pytest

from penstock_edge.file_systems import maps_safely


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("ext4 /dev/sda1 rw,errors=remount-ro", True),
        ("tmpfs none rw,size=1024k", True),
        ("ext4 /dev/sda1 rw,data=journal", False),
        ("xfs /dev/sda1 rw", False),
        ("btrfs /dev/sda1 rw", False),
        ("overlay overlay rw", False),
        ("nfs4 host:/ rw", False),
    ],
)
def test_by_the_kind_of_file_system_of_the_folder(tmp_path, kind, expected):
    device = tmp_path.stat().st_dev
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "21 1 0:999 / /proc rw,nosuid shared:5 - tmpfs proc rw\n"
        f"36 35 {os.major(device)}:{os.minor(device)} /data /var/lib/my\\040data rw shared:1 - {kind}\n"
    )
    assert maps_safely(tmp_path, mounts) is expected


@pytest.mark.parametrize("text", ["", "\n", "nonsense\n", "1 2 3:4 - ext4\n"])
def test_a_folder_that_is_on_nothing_known(tmp_path, text):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(text)
    assert not maps_safely(tmp_path, mounts)


def test_a_system_that_does_not_tell(tmp_path):
    assert not maps_safely(tmp_path, tmp_path / "nothing")


def test_this_system_has_an_answer(tmp_path):
    assert maps_safely(tmp_path) in {True, False}
