"""What the banner tells people to type."""

from __future__ import annotations

import pytest

from penstock_cli.local import banner


@pytest.fixture
def own(tmp_path):
    script = tmp_path / "a clone" / ".venv" / "bin" / "penstock"
    script.parent.mkdir(parents=True)
    script.touch()
    return script


def test_commands_are_named_as_a_shell_finds_them(own, tmp_path):
    clone = own.parents[2]
    link = tmp_path / "penstock"
    link.symlink_to(own)
    assert banner.program(own, clone, None) == ".venv/bin/penstock"
    assert banner.program(own, clone, "/usr/bin/penstock") == ".venv/bin/penstock"
    assert banner.program(own, tmp_path / "elsewhere", None) == f"'{own}'"
    assert banner.program(own, clone, str(link)) == "penstock"
    assert banner.program(own.with_name("none"), clone, None) == "penstock"


def test_a_data_dir_with_blanks_can_be_pasted(tmp_path):
    facts = banner.Facts(
        gateway="http://127.0.0.1:1",
        admin="http://127.0.0.1:2",
        accounts="some",
        data_dir=tmp_path / "my data",
        default_data_dir=False,
        store="SQLite",
        processes=[],
        metrics={},
        simulator=None,
        plan="team",
    )
    assert f"penstock accounts list --data-dir '{tmp_path}/my data'\n" in banner.text(facts, "curl")
