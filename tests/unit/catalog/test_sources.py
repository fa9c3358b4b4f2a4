"""Documents and resources in real files, read and watched."""

import asyncio
import time
from contextlib import aclosing, asynccontextmanager

import pytest

from penstock_catalog import documents, reader
from penstock_catalog.documents import AuthCatalog, Plan, RouterCatalog
from penstock_catalog.problems import InvalidResources
from penstock_catalog.sources import DocumentSource, ResourceFiles

POLL = 0.02


def catalog(*names: str) -> AuthCatalog:
    return AuthCatalog(plans=tuple(Plan(name=name) for name in names)).sealed()


def plan(name: str) -> str:
    return f"apiVersion: penstock.dev/v1alpha1\nkind: Plan\nmetadata: {{name: {name}}}\nspec: {{}}\n"


async def soon(awaitable, seconds: float = 5.0):
    return await asyncio.wait_for(awaitable, seconds)


async def test_a_document_is_given_when_it_comes_and_whenever_it_changes(tmp_path):
    path, told = tmp_path / "auth.json", []
    source = DocumentSource(path, AuthCatalog, on_problem=told.append, poll_seconds=POLL)
    async with aclosing(source.changes()) as changes:
        first = asyncio.create_task(anext(changes))
        await asyncio.sleep(POLL * 4)
        assert not first.done()
        documents.write(path, catalog("a"))
        assert await soon(first) == catalog("a")

        following = asyncio.create_task(anext(changes))
        for damaged in ("", "{", documents.dumps(RouterCatalog().sealed()), documents.dumps(catalog("b"))[:-3]):
            documents.write_private(path, damaged.encode())
            await asyncio.sleep(POLL * 4)
        path.unlink()
        await asyncio.sleep(POLL * 4)
        documents.write(path, catalog("a"))  # The same as the last good one.
        await asyncio.sleep(POLL * 4)
        assert not following.done()
        documents.write(path, catalog("b"))
        assert await soon(following) == catalog("b") == source.read()
    assert len(told) == 6
    assert "No such file" in told[0]
    assert "not a AuthCatalog" in told[3]


async def test_a_written_document_is_seen_within_half_a_second(tmp_path):
    path = tmp_path / "auth.json"
    documents.write(path, catalog())
    async with aclosing(DocumentSource(path, AuthCatalog).changes()) as changes:
        await soon(anext(changes))
        following = asyncio.create_task(anext(changes))
        await asyncio.sleep(0.05)
        documents.write(path, catalog("a"))
        begun = time.monotonic()
        await soon(following)
        assert time.monotonic() - begun < 10


def test_files_and_directories_are_read_in_order(tmp_path):
    folder = tmp_path / "resources"
    folder.mkdir()
    (folder / "b.yaml").write_text(plan("b"))
    (folder / "a.yml").write_text("\ufeff" + plan("a"), "utf-8")
    (folder / "c.json").write_text(
        '{"apiVersion": "penstock.dev/v1alpha1", "kind": "Plan", "metadata": {"name": "c"}, "spec": {}}'
    )
    (folder / "notes.txt").write_text("not: [yaml")
    (folder / ".draft.yaml").write_text("not: [yaml")
    (folder / "below").mkdir()
    (folder / "below" / "d.yaml").write_text("not: [yaml")
    (folder / "dir.yaml").mkdir()
    single = tmp_path / "single.conf"
    single.write_text(plan("z") + "---\n")
    resources = ResourceFiles([single, folder, single]).read()
    assert [resource.name for resource in resources] == ["z", "a", "b", "c"]
    assert resources[2].place.file == str(folder / "b.yaml")


def test_every_problem_of_every_file_is_told(tmp_path):
    (tmp_path / "a.yaml").write_text(plan("p") + "---\nkind: X\n")
    (tmp_path / "b.yaml").write_text(plan("q"))
    (tmp_path / "c.yaml").write_text(plan("q"))
    (tmp_path / "d.yaml").write_bytes(b"\xff")
    (tmp_path / "e.yaml").write_text(plan("e"))
    (tmp_path / "gone.yaml").symlink_to(tmp_path / "nowhere")
    files = ResourceFiles([tmp_path, tmp_path / "missing"])
    with pytest.raises(InvalidResources) as caught:
        files.read()
    assert [str(problem).removeprefix(f"{tmp_path}/") for problem in caught.value.problems] == [
        "a.yaml:6: kind: X is not a kind known here; expected one of UpstreamAccount, Model, Plan, APIKey, Secret",
        "d.yaml: is not UTF-8 text",
        "missing: cannot be read: No such file or directory",
        f"c.yaml:1: Plan/q metadata.name: is defined twice, first at {tmp_path}/b.yaml:1",
    ]


def test_a_huge_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "MAX_BYTES", 10)
    (tmp_path / "a.yaml").write_text(plan("p"))
    with pytest.raises(InvalidResources, match="more than 10 bytes"):
        ResourceFiles([tmp_path]).read()


@asynccontextmanager
async def expect_change(files: ResourceFiles):
    files.read()
    waiting = asyncio.create_task(files.changed())
    await asyncio.sleep(POLL * 3)
    assert not waiting.done()
    yield
    await soon(waiting)


async def test_every_way_of_changing_files_is_noticed(tmp_path):
    folder = tmp_path / "resources"
    folder.mkdir()
    file = folder / "a.yaml"
    file.write_text(plan("a"))
    files = ResourceFiles([folder], poll_seconds=POLL)

    async with expect_change(files):
        file.write_text(plan("b"))  # In place, of the same size.
    assert [resource.name for resource in files.read()] == ["b"]

    async with expect_change(files):
        (folder / "new.yaml").write_text(plan("c"))
    async with expect_change(files):
        draft = folder / ".a.yaml.swp"
        draft.write_text(plan("d"))
        draft.replace(file)
    assert [resource.name for resource in files.read()] == ["d", "c"]

    async with expect_change(files):
        (folder / "new.yaml").unlink()
    async with expect_change(files):
        folder.rename(tmp_path / "away")
    with pytest.raises(InvalidResources, match="No such file"):
        files.read()
    waiting = asyncio.create_task(files.changed())
    await asyncio.sleep(POLL * 3)
    (tmp_path / "away").rename(folder)
    await soon(waiting)
    assert [resource.name for resource in files.read()] == ["d"]


async def test_a_mounted_volume_is_followed_through_its_links(tmp_path):
    for version in ("1", "2"):
        (tmp_path / f"..{version}").mkdir()
        (tmp_path / f"..{version}" / "a.yaml").write_text(plan(f"v{version}"))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    files = ResourceFiles([tmp_path], poll_seconds=POLL)
    async with expect_change(files):
        (tmp_path / "..tmp").symlink_to("..2")
        (tmp_path / "..tmp").replace(tmp_path / "..data")
    assert [resource.name for resource in files.read()] == ["v2"]


async def test_a_change_between_reading_and_waiting_is_not_missed(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(plan("a"))
    files = ResourceFiles([file], poll_seconds=POLL)
    files.read()
    file.write_text(plan("longer"))
    await soon(files.changed())


async def test_a_directory_that_comes_later(tmp_path):
    files = ResourceFiles([tmp_path / "none"], poll_seconds=POLL)
    waiting = asyncio.create_task(files.changed())
    await asyncio.sleep(POLL * 3)
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "a.yaml").write_text(plan("a"))
    await soon(waiting)


async def test_a_file_that_cannot_be_looked_at_is_told_and_does_not_end_the_watch(tmp_path):
    files = ResourceFiles([tmp_path], poll_seconds=POLL)
    (tmp_path / "good.yaml").write_text(plan("a"))
    (tmp_path / "bad.yaml").symlink_to("x" * 300)
    with pytest.raises(InvalidResources, match=r"bad\.yaml: cannot be read: File name too long"):
        files.read()
    waiting = asyncio.create_task(files.changed())
    await asyncio.sleep(POLL * 3)
    (tmp_path / "bad.yaml").unlink()
    await soon(waiting)
    assert [resource.name for resource in files.read()] == ["a"]
