"""The directory that a relative path meant when it was given, whatever becomes the working directory later."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import pagefault
from pagefault.attaching import attach
from pagefault.errors import InvalidId, StoreError
from pagefault.stores import EdgeStore
from pagefault.testing import ThreadRunner
from tests.kernel.support import texts, user

HERE = "./agent-memory"


def tree(directory: Path) -> dict[str, tuple[int, int]]:
    """Every file by name, with what would show that somebody wrote it."""
    files = [file for file in sorted(directory.rglob("*")) if file.is_file()]
    return {str(file): (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    home = tmp_path / "home"
    (tmp_path / "elsewhere").mkdir()
    home.mkdir()
    monkeypatch.chdir(home)
    return home


def says(directory: Path) -> list[str]:
    with pagefault.open(directory, embedder=None) as memory:
        space = memory.space(thread="t")
        space.view()
        return texts(space)


def write_here_and_elsewhere(memory):
    memory.space(thread="t").append(user("one"))
    memory.flush()
    os.chdir("../elsewhere")
    memory.space(thread="t").append(user("two"))
    memory.flush()


def test_before_the_first_use(home):
    with pagefault.open(HERE, embedder=None) as memory:
        os.chdir("../elsewhere")
        memory.space(thread="t").append(user("written from elsewhere"))
        memory.flush()
        assert memory.place == str(home / "agent-memory")
    assert not any(Path.cwd().iterdir())
    assert says(home / "agent-memory") == ["written from elsewhere"]


def test_after_the_first_use_where_another_memory_has_the_same_name(home):
    other = home.parent / "elsewhere" / "agent-memory"
    with pagefault.open(other, embedder=None) as memory:
        memory.space(thread="t").append(user("of another project"))
    before = tree(other)
    with pagefault.open(HERE, embedder=None) as memory:
        write_here_and_elsewhere(memory)
        assert attach(memory.place).place == memory.place
    assert tree(other) == before
    assert says(home / "agent-memory") == ["one", "two"]
    assert says(other) == ["of another project"]


def test_who_found_an_open_memory_by_its_place_does_not_close_it(home):
    with pagefault.open(HERE, embedder=None) as memory:
        space = memory.space(thread="t")
        attach(memory.place).close()
        space.append(user("one"))
    assert says(home / "agent-memory") == ["one"]


def test_where_nothing_of_that_name_is(home):
    with pagefault.open(HERE, embedder=None) as memory:
        write_here_and_elsewhere(memory)
    assert not any(Path.cwd().iterdir())
    assert says(home / "agent-memory") == ["one", "two"]


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_link_that_is_changed_under_a_running_process(home):
    link = home / "current"
    for name in ("old", "new"):
        (home / name).mkdir()
    link.symlink_to("old")
    with pagefault.open(link / "memory", embedder=None) as memory:
        link.unlink()
        link.symlink_to("new")
        memory.space(thread="t").append(user("one"))
        memory.flush()
    assert not any((home / "new").iterdir())
    assert says(home / "old" / "memory") == ["one"]


async def test_a_store_by_itself(home):
    with ThreadRunner() as run:
        store = EdgeStore("store", run=run)
        os.chdir("../elsewhere")
        await store.open(pagefault.ports.Header())
        await store.sync()
        await store.close()
    assert (home / "store" / "pagefault.json").exists()


@pytest.mark.parametrize("bad", ["a\x00b", "~nobody-of-this-name/memory"])
def test_what_can_be_no_path(bad):
    with pytest.raises(InvalidId, match=r"is no path .*; give a directory"):
        pagefault.open(bad, embedder=None)


def test_a_directory_that_was_deleted_under_an_open_memory_is_made_anew_by_the_next_to_open_it(tmp_path):
    place = tmp_path / "data"
    lost = pagefault.open(place, embedder=None)
    lost.space(thread="t").append(user("lost"))
    lost.flush()
    shutil.rmtree(place)
    with pagefault.open(place, embedder=None) as memory:
        assert memory.space(thread="t").view() == []
        memory.space(thread="t").append(user("new"))
        with pytest.raises(StoreError, match="is gone"):
            lost.close()
        with pagefault.open(place, embedder=None) as again:
            assert again.core is memory.core
    assert says(place) == ["new"]
