"""The processes of a local gateway: who ends when."""

from __future__ import annotations

from itertools import groupby

from penstock_cli.data_dir import DataDir
from penstock_cli.local.fleet import QUICK_END_SECONDS, Fleet
from penstock_cli.local.options import UpOptions


def programs(tmp_path, **changes):
    facts = {
        "data_dir": tmp_path,
        "resources": (),
        "host": "127.0.0.1",
        "port": 8080,
        "admin_port": 8081,
        "database_url": None,
        "redis_url": None,
        "edges": 2,
        "drain_seconds": 8.0,
        "log_level": "info",
        "log_format": "json",
    }
    options = UpOptions(**(facts | changes))
    return Fleet(options, DataDir(tmp_path), tmp_path, {}, simulator_port=9000).programs()


def test_the_edges_end_first_and_everything_else_then_at_once(tmp_path):
    ordered = sorted(programs(tmp_path), key=lambda program: program.stage)
    stages = [{program.name for program in members} for _, members in groupby(ordered, key=lambda p: p.stage)]
    assert stages == [{"edge-0", "edge-1"}, {"auth-0", "router-0", "status-0", "simulator-0"}]


def test_the_edges_have_their_drain_and_a_little_more(tmp_path):
    for program in programs(tmp_path):
        if program.name.startswith("edge"):
            assert 8.0 < program.end_seconds < 10.0
        else:
            assert program.end_seconds == QUICK_END_SECONDS
