import asyncio
import os
import stat

import grpc
import pytest
from sqlalchemy import make_url

from penstock_cli import data_dir
from penstock_cli.data_dir import DataDir, write_private
from penstock_cli.errors import CommandError


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_owner_can_look_in(tmp_path):
    folder = DataDir(tmp_path / "data")
    (tmp_path / "data").mkdir(mode=0o755)
    folder.prepare()
    for path in (folder.root, folder.run, folder.catalog, folder.secrets, folder.spool):
        assert mode(path) == 0o700


def test_a_data_dir_that_cannot_be_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandError, match="data directory"):
        DataDir(tmp_path / "file" / "data").prepare()


def test_a_directory_of_everybody_is_left_to_everybody(tmp_path):
    shared = tmp_path / "tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    with pytest.raises(CommandError, match="is shared with others"):
        DataDir(shared).prepare()
    assert list(shared.iterdir()) == []
    DataDir(shared / "penstock").prepare()


def test_one_process_at_a_time(tmp_path):
    folder = DataDir(tmp_path)
    folder.prepare()
    held = folder.lock()
    with pytest.raises(CommandError, match=rf"pid {os.getpid()}.*--data-dir"):
        folder.lock()
    os.close(held)
    os.close(folder.lock())


def test_the_token_is_kept(tmp_path):
    folder = DataDir(tmp_path)
    token = folder.token()
    assert len(token) >= 40
    assert folder.token() == token
    assert mode(folder.admin_token) == 0o600
    folder.admin_token.chmod(0o644)
    assert folder.token() == token
    assert mode(folder.admin_token) == 0o600
    folder.admin_token.write_text("")
    assert folder.token() not in {"", token}


def test_private_files_are_replaced_whole(tmp_path):
    path = tmp_path / "deep" / "file"
    write_private(path, "one")
    write_private(path, "two")
    assert path.read_text() == "two"
    assert mode(path) == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_sockets_stay_in_the_data_dir_where_they_fit(tmp_path, monkeypatch):
    monkeypatch.setattr(data_dir.tempfile, "gettempdir", lambda: str(tmp_path))
    folder = DataDir(tmp_path / "d")
    assert folder.sockets() == folder.run
    deep = DataDir(tmp_path / ("x" * 100))
    short = deep.sockets()
    assert short == deep.sockets()
    assert short.parent == tmp_path
    assert mode(short) == 0o700
    assert DataDir(tmp_path / ("y" * 100)).sockets() != short
    short.chmod(0o755)
    with pytest.raises(CommandError, match="not a private directory"):
        deep.sockets()


@pytest.mark.parametrize("name", ["my data", "C#", "what?", "a,b", "My%20Project", "ключ"])
async def test_any_name_of_a_data_dir_will_do(tmp_path, monkeypatch, name):
    monkeypatch.setattr(data_dir.tempfile, "gettempdir", lambda: str(tmp_path))
    folder = DataDir(tmp_path / name)
    folder.prepare()
    server = grpc.aio.server()
    address = f"unix:{folder.sockets()}/auth.sock"
    server.add_insecure_port(address)
    await server.start()
    async with grpc.aio.insecure_channel(address) as channel:
        await asyncio.wait_for(channel.channel_ready(), 10)
    await server.stop(0)
    assert make_url(folder.database_url).database == str(folder.database)
    assert not make_url(folder.database_url).query
