"""A disk that fills up: the agent goes on, a typed error says why nothing is stored, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import pagefault
from pagefault.errors import StoreUnwritable
from pagefault.stores import room
from tests.kernel.support import texts, until, user, users

ROOT = Path(__file__).parents[2]


def test_write_back_waits_for_room(tmp_path, monkeypatch):
    free = [10**12]
    monkeypatch.setattr(room, "disk_usage", lambda _: SimpleNamespace(free=free[0], total=10**13))
    with pagefault.open(tmp_path, embedder=None) as memory:
        space = memory.space(thread="t")
        space.append(users(1, 20))
        memory.flush()
        free[0] = 1_000_000
        for n in range(21, 60):
            space.append(user(f"message {n}"))
            assert space.view()[-1]["content"] == f"message {n}"
        until(lambda: isinstance(memory.trouble, StoreUnwritable), "who asks is told")
        with pytest.raises(StoreUnwritable, match=r"has 1\.0 MB free, and 33\.6 MB are wanted"):
            memory.flush()
        assert space.fault("3").pages[0].page.text == "message 3"
        assert space.fault("59").pages[0].page.text == "message 59"
        free[0] = 10**12
        memory.flush()
        until(lambda: memory.trouble is None, "all is well again")
    with pagefault.open(tmp_path, embedder=None) as memory:
        space = memory.space(thread="t")
        space.view()
        assert texts(space) == [message["content"] for message in users(1, 59)]


@pytest.mark.parametrize("embedder", [None, "default"])
def test_recall_searches_what_is_stored_and_says_what_is_not(tmp_path, monkeypatch, embedder):
    free = [10**12]
    monkeypatch.setattr(room, "disk_usage", lambda _: SimpleNamespace(free=free[0], total=10**13))
    with pagefault.open(tmp_path, embedder=embedder) as memory:
        space = memory.space(thread="t")
        space.append([user("The vault opens with 4711."), user("Something else."), *users(3, 6)])
        memory.flush()
        free[0] = 1_000_000
        space.append([user("The vault opens with 1234 from now on."), user("And more.")])
        found = space.recall("What opens the vault?")
        assert found.pages[0].address == "1"
        assert "Not searched, because the disk is full: pages 7-8." in found.text
        assert "Not searched" in space.recall("zeppelin").text
        assert space.fault("7").pages[0].page.text.startswith("The vault opens with 1234")
        free[0] = 10**12
        found = space.recall("What opens the vault?")
        assert [page.address for page in found.pages[:2]] == ["7", "1"]
        assert "Not searched" not in found.text


def test_closing_on_a_full_disk_says_what_is_lost(tmp_path, monkeypatch, caplog):
    free = [10**12]
    monkeypatch.setattr(room, "disk_usage", lambda _: SimpleNamespace(free=free[0], total=10**13))
    memory = pagefault.open(tmp_path, embedder=None)
    memory.space(thread="stored").append(users(1, 3))
    memory.flush()
    free[0] = 1_000_000
    memory.space(thread="a").append(users(1, 2))
    memory.space(thread="b", user="ada").append(user("one"))
    with pytest.raises(StoreUnwritable):
        memory.close()
    (told,) = (record.message for record in caplog.records if record.levelname == "ERROR")
    assert "lost accepted pages (3 in all)" in told
    assert "thread='a'" in told
    assert "user='ada', thread='b'" in told
    assert "stored'" not in told
    free[0] = 10**12
    with pagefault.open(tmp_path, embedder=None) as memory:  # takes over what was not closed
        assert memory.space(thread="stored").view() == users(1, 3)


def in_namespace(mount: Path, *commands: str) -> subprocess.CompletedProcess[str]:
    script = f"mount -t tmpfs -o size=320m none '{mount}' && " + " && ".join(commands)
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    arguments = ["unshare", "--map-root-user", "--mount", "sh", "-c", script]
    return subprocess.run(arguments, cwd=ROOT, env=env, capture_output=True, text=True, timeout=100, check=False)


def test_a_disk_that_is_really_full_ends_no_process(tmp_path):
    if shutil.which("unshare") is None or in_namespace(tmp_path, "true").returncode != 0:
        pytest.skip("NOT RUN: no disk of its own can be mounted here (wants unshare and mount, as in a user namespace)")
    script = f"'{sys.executable}' -m tests.kernel.full_disk_script '{tmp_path}'"
    ended = in_namespace(tmp_path, f"{script} first", f"{script} second")
    assert (ended.returncode, ended.stderr, ended.stdout) == (0, "", "all is there\n" * 2)
