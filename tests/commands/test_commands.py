"""The commands as a user runs them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from llama_index.core.base.llms.types import ChatMessage
from qdrant_edge import EdgeShard, PointVectors, ScrollRequest, SparseVector, UpdateOperation
from typer.testing import CliRunner

import pagefault
from pagefault.chain import head_id
from pagefault.commands.app import app
from pagefault.commands.places import damage_told
from pagefault.errors import StoreError, StoreMismatch
from pagefault.messages import canonical
from pagefault.stores.engine import _OPEN, Engine
from pagefault.stores.layout import INLINE_BYTES
from pagefault.testing.embedders import HashingEmbedder
from pagefault_langgraph import PagefaultStore
from pagefault_llamaindex import PagefaultMemory
from tests.commands.support import OLD, corrupt, drop_chunks, drop_page, holds_all

SCRIPT = str(Path(sys.executable).with_name("pagefault"))
NEW = "pagefault.testing.embedders:HashingEmbedder"
COUNTS = {"page": 44, "head": 2, "item": 2}


def call(*args, code=0):
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    return result


def data(*args, code=0):
    return json.loads(call(*args, "--json", code=code).stdout)


def test_stat_tells_what_there_is(filled):
    found = data("stat", filled, "--spaces")
    assert found["records"] == COUNTS
    assert (found["tenants"], found["embedder"]["embedder"]) == (2, OLD.name)
    names = {(s["tenant"], s.get("user"), s.get("thread"), s.get("agent")) for s in found["spaces"]}
    assert names == {("acme", "ada", "t1", "helper"), ("globex", "ada", "t1", "helper")}
    assert [(s["tenant"], s["records"]) for s in found["shelves"]] == [("acme", {"item": 1}), ("globex", {"item": 1})]
    assert 0 < found["disk"]["log_bytes"] < found["disk"]["bytes"]
    shown = call("stat", filled, "--spaces").stdout
    assert OLD.name in shown
    assert "helper" in shown


def test_a_key_stands_in_one_piece_on_an_ordinary_terminal(filled, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown = call("stat", filled, "--spaces").stdout
    assert all(each["key"] in shown for each in data("stat", filled)["spaces"])
    monkeypatch.setenv("COLUMNS", "40")
    assert "acme" in call("stat", filled, "--spaces").stdout


def test_show_by_name_and_by_key(filled):
    named = ("--tenant", "acme", "--user", "ada", "--thread", "t1", "--agent", "helper")
    found = data("show", filled, *named, "--pages", "3")
    assert (found["length"], [p["page"] for p in found["pages"]]) == (22, [22, 21, 20])
    assert data("show", filled, found["key"], "--tenant", "acme", "--pages", "3") == found
    assert data("show", filled, found["key"], "--pages", "3") == found, "the key says whose it is"
    assert "of tenant 'globex'" in call("show", filled, found["key"], "--tenant", "globex", code=3).stderr
    assert (
        "no space of tenant 'acme', thread 't1' at"
        in call("show", filled, "--tenant", "acme", "--thread", "t1", code=3).stderr
    )
    assert "Turing" in call("show", filled, *named).stdout
    assert "no space" in call("show", filled, "abc", code=3).stderr
    assert "globex" not in call("show", filled, *named, "--pages", "50").stdout


def test_a_long_name_stands_in_one_line_and_a_shelf_says_whose_it_is(tmp_path):
    with pagefault.open(tmp_path, embedder=None) as memory:
        for user, thread in (("a long name " * 5, "t" * 60), ("", "alone")):
            space = memory.space(user=user, thread=thread)
            space.append({"role": "user", "content": "hi"})
            space.remember("diet", "vegan")
    shown = call("show", tmp_path, "--user", "a long name " * 5, "--thread", "t" * 60).stdout
    assert (
        shown.splitlines()[0] == f"user {'a long name ' * 5!r}, thread {'t' * 60!r}: 1 page on its path, newest first"
    )
    shelves = data("stat", tmp_path, "--spaces")["shelves"]
    assert {(each["user"], each["thread"]) for each in shelves} == {("a long name " * 5, ""), ("", "alone")}


def test_show_of_items(filled):
    (key,) = (s["key"] for s in data("stat", filled)["shelves"] if s["tenant"] == "acme")
    assert key in call("stat", filled, "--spaces").stdout
    shown = " ".join(call("show", filled, key).stdout.split())
    assert f"{key}: no pages, 1 item, newest first" in shown
    (item,) = data("show", filled, key)["items"]
    assert item["key"] in shown
    assert item["begins"] in shown
    assert data("show", filled, key, "--pages", "0")["items"] == []


def test_show_of_a_shelf_of_a_store_and_of_what_is_damaged(tmp_path):
    with pagefault.open(tmp_path, embedder=None) as memory:
        store = PagefaultStore(memory)
        store.put(("docs", "ada"), "a", {"text": "first\nsecond " + "x" * 500})
        store.put(("docs",), "[b]", {"text": "later"})
        memory.flush()
    (key,) = (shelf["key"] for shelf in data("stat", tmp_path)["shelves"])
    newest, oldest = data("show", tmp_path, key)["items"]
    assert (newest["namespace"], newest["key"], newest["begins"]) == (["docs"], "[b]", "text: later")
    assert (oldest["namespace"], oldest["key"]) == (["docs", "ada"], "a")
    assert oldest["begins"].startswith("text: first second xxx")
    assert len(oldest["begins"]) == 120
    shown = call("show", tmp_path, key).stdout
    assert "docs/[b]" in shown
    corrupt(tmp_path, "later", kind="item")
    assert any(item["begins"].startswith("damaged") for item in data("show", tmp_path, key)["items"])


def test_show_of_a_shelf_where_a_large_item_lacks_a_part(tmp_path):
    """Nothing of the shelf was shown."""
    with pagefault.open(tmp_path, embedder=None) as memory:
        store = PagefaultStore(memory)
        store.put(("docs",), "large", {"text": "x" * 2 * INLINE_BYTES})
        store.put(("docs",), "small", {"text": "whole"})
    drop_chunks(tmp_path)
    (key,) = (shelf["key"] for shelf in data("stat", tmp_path)["shelves"])
    found = {item["key"]: item["begins"] for item in data("show", tmp_path, key)["items"]}
    assert found.pop("small") == "text: whole"
    ((name, begins),) = found.items()
    assert "large" in name
    assert begins.startswith("damaged")


@pytest.mark.parametrize("name", ["[/]", "a[/red]b", "[red]X[/red]", "[link=http://x.y]z[/link]"])
def test_a_name_that_looks_like_markup_is_shown_as_it_is(tmp_path, name):
    with pagefault.open(tmp_path, embedder=None) as memory:
        memory.space(user=name, thread=name).append({"role": "user", "content": "hi"})
    shown = call("show", tmp_path, "--user", name, "--thread", name).stdout
    assert f"user{name!r},thread{name!r}" in "".join(shown.split())  # a title is folded to its table


@pytest.mark.parametrize(
    ("args", "message"),
    [([], "or by --thread"), (["key", "--thread", "t1"], "without"), (["key", "--user", "ada"], "without")],
)
def test_show_wants_a_space_named_in_one_way(filled, args, message):
    assert message in data("show", filled, *args, code=2)["message"]


def test_what_is_stored_is_no_command_for_a_terminal(tmp_path):
    with pagefault.open(tmp_path / "m", embedder=None) as memory:
        memory.space(thread="t").append({"role": "user", "content": "\x1b]0;owned\x07 \x1b[2J [bold]x[/bold]"})
    shown = call("show", tmp_path / "m", "--thread", "t").stdout
    assert "\x1b" not in shown
    assert "[bold]x[/bold]" in shown


def test_top_looks_again_and_again(filled):
    looks = [
        json.loads(line) for line in call("top", filled, "--count", 2, "--every", 0.2, "--json").stdout.splitlines()
    ]
    assert [look["records"] for look in looks] == [COUNTS, COUNTS]
    shown = call("top", filled, "--count", 2, "--every", 0.2).stdout
    assert shown.count(OLD.name) == 2  # no terminal: one after the other
    assert "pages/s" in shown
    assert shown.endswith("\n")


def test_verify_finds_nothing_wrong_where_nothing_is(filled):
    found = {"spaces": 2, "shelves": 2, "checked": COUNTS, "unchecked": ["vectors", "words"], "findings": []}
    assert data("verify", filled) == found
    assert "in 2 spaces and 2 shelves: nothing damaged" in call("verify", filled).stdout


def test_a_session_that_was_reset_is_not_damaged(tmp_path):
    with pagefault.open(tmp_path, embedder=OLD) as memory:
        for thread, since in (("empty", []), ("anew", ["hello", "again"])):
            session = PagefaultMemory.from_defaults(memory, session_id=thread)
            session.put_messages([ChatMessage(role="user", content=f"before {n}") for n in range(3)])
            memory.flush()
            session.reset()
            session.put_messages([ChatMessage(role="user", content=text) for text in since])
    assert data("verify", tmp_path)["findings"] == []
    shown = call("show", tmp_path, "--thread", "empty").stdout
    assert "0 pages on its path, 3 stored, newest first" in " ".join(shown.split())
    drop_page(tmp_path, "default", 2)
    assert [f["what"] for f in data("verify", tmp_path, code=1)["findings"]] == [
        "page 2 of its chain is not in the store, or damaged"
    ]


def test_one_is_no_plural(tmp_path):
    with pagefault.open(tmp_path, embedder=OLD) as memory:
        space = memory.space(thread="t")
        space.append({"role": "user", "content": "hi"})
        space.remember("pet", "Turing")
    assert call("verify", tmp_path).stdout.splitlines() == [
        "1 page, 1 item, 1 head in 1 space and 1 shelf: nothing damaged",
        "not checked: vectors and words, by which searches find; `pagefault reindex` makes them anew",
    ]
    assert "1 page on its path, newest first" in " ".join(call("show", tmp_path, "--thread", "t").stdout.split())
    assert "1 page on its path, newest first" in " ".join(
        call("show", tmp_path, "--thread", "t", "--pages", "0").stdout.split()
    )
    assert "3 records kept" in call("vacuum", tmp_path).stdout
    made = call("reindex", tmp_path, "--embedder", NEW).stdout
    assert "for 2 records" in made


def test_verify_names_a_changed_body_and_a_lost_page(place):
    corrupt(place, "message 7 of acme")
    drop_page(place, "globex", 5)
    found = data("verify", place, code=1)["findings"]
    assert sorted((f["tenant"], f["kind"], f["seq"]) for f in found) == [("acme", "page", 8), ("globex", "head", 22)]
    assert "does not match its sha256" in next(f["what"] for f in found if f["kind"] == "page")
    assert "page 5" in next(f["what"] for f in found if f["kind"] == "head")
    told = call("verify", place, code=1)
    assert "page 8" in told.stderr
    assert "2 damaged" in told.stdout


@pytest.mark.parametrize(
    ("payload", "what"),
    [
        ({"seq": "x"}, "no number"),
        ({"body": "{}", "sha256": canonical.sha256("{}")}, "no head's"),
    ],
    ids=str,
)
def test_verify_tells_a_head_that_is_none(tmp_path, payload, what):
    with pagefault.open(tmp_path, embedder=None) as memory:
        space = memory.space(thread="t")
        space.append({"role": "user", "content": "hi"})
    shard = EdgeShard.load(str(tmp_path / "shard"))
    shard.update(UpdateOperation.set_payload([head_id(space.id.key)], payload))
    shard.close()
    assert what in call("verify", tmp_path, code=1).stderr


def test_reindex_is_the_way_out_of_a_mismatch(place):
    new = HashingEmbedder()
    with pytest.raises(StoreMismatch, match="pagefault reindex"), pagefault.open(place, embedder=new) as memory:
        memory.ready()
    done = data("reindex", place, "--embedder", NEW)
    assert (done["vectors"], done["without"], done["embedder"]["embedder"]) == (46, [], new.name)
    assert data("verify", place)["findings"] == []
    holds_all(place, new)
    assert new.name in call("reindex", place, "--embedder", NEW).stdout


def test_reindex_makes_damaged_words_anew(tmp_path):
    """Those of pages and of items, in the lists of their space and of their user."""
    with pagefault.open(tmp_path, embedder=None) as memory:
        space = memory.space(user="ada", thread="t")
        space.append({"role": "user", "content": "My cat is called Turing."})
        space.remember("pet", "A dog called Ada.")
    shard = EdgeShard.load(str(tmp_path / "shard"))
    points, _ = shard.scroll(ScrollRequest(limit=9, with_vector=True))
    wrong = SparseVector([7], [1.0])
    shard.update(
        UpdateOperation.update_vectors(
            [PointVectors(id=p.id, vector=dict.fromkeys(("text", "user_text"), wrong)) for p in points]
        )
    )
    shard.close()

    def outcomes():
        with pagefault.open(tmp_path, embedder=None) as memory:
            space, other = (memory.space(user="ada", thread=name) for name in ("t", "other"))
            asked = [space.recall("cat Turing"), space.recall("dog Ada"), other.recall("cat Turing", scope="user")]
            return [found.outcome for found in asked]

    assert outcomes() == ["abstain"] * 3
    assert data("reindex", tmp_path, "--embedder", "none")["without"] == []
    assert outcomes() == ["answer"] * 3


def test_reindex_to_none_and_back(place):
    with pytest.raises(StoreMismatch, match="--embedder none"), pagefault.open(place, embedder=None) as memory:
        memory.ready()
    assert data("reindex", place, "--embedder", "none")["vectors"] == 0
    holds_all(place, None)
    assert "no vectors any more" in call("reindex", place, "--embedder", "none").stdout
    assert data("reindex", place, "--embedder", NEW)["vectors"] == 46
    holds_all(place, HashingEmbedder())


def test_a_damaged_page_is_carried_over_for_verify_to_say(place):
    corrupt(place, "message 7 of acme")
    assert len(data("reindex", place, "--embedder", NEW)["without"]) == 1
    assert [f["seq"] for f in data("verify", place, code=1)["findings"]] == [8]
    data("vacuum", place)
    assert [f["seq"] for f in data("verify", place, code=1)["findings"]] == [8]


def test_vacuum_takes_what_was_removed_off_the_disk(place):
    secret = "secret word " * 20_000
    with pagefault.open(place, embedder=OLD) as memory:
        space = memory.space(tenant="acme", user="ada", thread="t1", agent="helper")
        space.remember("note", secret)
        memory.flush()
        space.forget(key="note")
    assert holds_bytes(place, b"secret word")
    done = data("vacuum", place)
    assert done["records"] == sum(COUNTS.values())
    assert not holds_bytes(place, b"secret word")
    assert holds_bytes(place, b"called Turing")
    holds_all(place, OLD)
    assert len(list(place.glob("shard*"))) == 1
    assert "48 records kept" in call("vacuum", place).stdout


def test_vacuum_names_what_it_could_not_delete(place, tmp_path, caplog):
    elsewhere = tmp_path / "another disk"
    (shard,) = place.glob("shard*")
    shutil.move(shard, elsewhere)
    shard.symlink_to(elsewhere)
    call("vacuum", place)
    assert f"{shard} does not count any more but cannot be deleted" in caplog.text
    assert elsewhere.is_dir()
    holds_all(place, OLD)


def holds_bytes(place, text):
    return any(text in file.read_bytes() for file in place.rglob("*") if file.is_file())


@pytest.mark.parametrize("command", ["stat", "top", "show", "verify", "reindex", "vacuum"])
def test_a_place_without_a_memory_is_said_and_nothing_is_made(tmp_path, command):
    more = ["abc"] if command == "show" else []
    missing = tmp_path / "missing"
    assert "no memory" in call(command, missing, *more, code=3).stderr
    assert data(command, missing, *more, code=3)["error"] == "StoreMissing"
    assert not missing.exists()
    (tmp_path / "empty").mkdir()
    call(command, tmp_path / "empty", *more, code=3)
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.parametrize("command", ["stat", "top", "show", "verify", "reindex", "vacuum"])
def test_a_file_is_no_place(tmp_path, command):
    (tmp_path / "file").write_text("a file")
    more = ["abc"] if command == "show" else []
    assert "cannot be read" in call(command, tmp_path / "file", *more, code=3).stderr
    assert data(command, tmp_path / "file", *more, code=3)["error"] == "StoreUnwritable"


def truncated(place):
    os.truncate(next(place.glob("shard/segments/*/payload_storage/page_0.dat")), 0)


def broken(place):
    next(place.glob("shard/segments/*/segment.json")).write_text("{broken")


def lost(place):
    shutil.rmtree(next(place.glob("shard/segments/*")))


@pytest.mark.parametrize("damage", [truncated, broken, lost])
def test_damage_that_the_engine_trips_over_is_told_as_damage(place, damage):
    damage(place)
    told = call("verify", place, code=1).stderr
    assert f"{place} is damaged" in told
    assert "restore it from a backup" in told
    assert damage is lost or "(the engine says: " in told
    for command in ("verify", "vacuum", "reindex"):
        assert data(command, place, code=1)["error"] == "StoreDamaged"
    assert (place / "shard").exists(), "nothing took the place of what is left"


def test_a_header_file_that_is_gone_or_broken_is_damage(place):
    for written in (b"{", b'{"version": \xff', b'{"dimension": 1e999}', b"[" * 100_000):
        (place / "pagefault.json").write_bytes(written)
        assert "is not a pagefault header" in call("stat", place, code=1).stderr
    (place / "pagefault.json").unlink()
    for command in ("stat", "verify", "vacuum"):
        assert "holds a shard but no pagefault.json" in call(command, place, code=1).stderr
    assert "restore that file from a backup" in data("verify", place, code=1)["message"]


def test_what_a_killed_rebuild_left_is_cleared_away(place):
    for name in ("shard.new-0123", "shard-4567"):
        (place / name / "wal").mkdir(parents=True)
    call("stat", place)
    assert {each.name for each in place.iterdir()} == {"pagefault.json", "pagefault.lock", "shard"}


def test_a_user_that_there_is_not():
    assert data("stat", "~nobody-of-this-name/memory", code=3)["error"] == "InvalidId"


def test_a_machine_without_open_files_is_no_damage(tmp_path):
    with pytest.raises(StoreError) as raised, damage_told(tmp_path):
        raise StoreError("the engine failed: Too many open files (os error 24)")
    assert type(raised.value) is StoreError


@pytest.mark.parametrize("command", ["stat", "vacuum"])
def test_an_empty_place_is_not_the_current_directory(place, monkeypatch, command):
    monkeypatch.chdir(place)
    assert data(command, "", code=3)["error"] == "InvalidId"


@pytest.mark.parametrize(
    "args",
    [
        ["stat"],
        ["show", "data"],
        ["top", "data", "--every", 0],
        ["top", "data", "--every", "inf"],
        ["bogus"],
        ["stat", "data", "--bogus"],
        [],
    ],
)
def test_wrong_usage_is_one_document_as_well(args):
    result = call(*args, "--json", code=2)
    assert json.loads(result.stdout)["error"] == "WrongUsage"
    assert "Error" in result.stderr


@pytest.mark.parametrize("command", ["verify", "reindex", "vacuum"])
def test_a_directory_in_use_is_left_alone(place, command):
    with pagefault.open(place, embedder=OLD) as memory:
        memory.ready()
        assert "open in another process" in call(command, place, code=4).stderr
    holds_all(place, OLD)


@pytest.mark.parametrize("args", [["stat"], ["top", "--count", 1]])
def test_files_tell_a_little_of_a_directory_in_use(place, args):
    with pagefault.open(place, embedder=OLD) as memory:
        memory.ready()
        found = data(args[0], place, *args[1:])
        assert found["disk"]["is_in_use"]
        assert found["embedder"]["embedder"] == OLD.name
        assert "records" not in found
        assert "in use" in call(args[0], place, *args[1:]).stdout


def test_top_shows_no_rate_of_what_it_cannot_count(place):
    with pagefault.open(place, embedder=OLD) as memory:
        memory.ready()
        shown = call("top", place, "--count", 2, "--every", 0.2).stdout
        assert shown.count("on disk") == 2
        assert "pages/s" not in shown


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bogus", "package.module:attribute"),
        ("fastembed:nobody/nothing", "knows no model"),
        ("no.such.module:x", "cannot be imported"),
        ("json:loads", "embedder"),
        (":x", "cannot be imported"),
        ("..a:b", "cannot be imported"),
        ("sys:exit", "makes no embedder"),
    ],
)
def test_an_embedder_that_cannot_be_one(place, name, message):
    result = CliRunner().invoke(app, ["reindex", str(place), "--embedder", name])
    assert result.exit_code == 5
    assert message in result.stderr
    holds_all(place, OLD)


def test_an_embedder_in_the_current_directory(place, tmp_path, monkeypatch):
    (tmp_path / "my_own_embedder.py").write_text(
        "from pagefault.testing.embedders import HashingEmbedder\nmine = HashingEmbedder(dimension=16)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", path := [each for each in sys.path if each not in {"", str(tmp_path)}])
    was = list(path)
    assert data("reindex", place, "--embedder", "my_own_embedder:mine")["embedder"]["dimension"] == 16
    assert path == was


def test_an_embedder_that_is_not_installed(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "fastembed", None)
    assert "pip install" in call("reindex", place, "--embedder", "fastembed:any", code=5).stderr
    holds_all(place, OLD)


def test_an_embedder_that_fails_changes_nothing(place, tmp_path, monkeypatch):
    (tmp_path / "broken_model.py").write_text(
        "from pagefault.testing.embedders import HashingEmbedder\n"
        "class Broken(HashingEmbedder):\n"
        "    def embed(self, texts):\n"
        "        if any('Turing' in text for text in texts): raise OSError('the model is down')\n"
        "        return super().embed(texts)\n"
        "class Down(Broken):\n"
        "    asked = 0\n"
        "    def embed(self, texts):\n"
        "        Down.asked += 1\n"
        "        if Down.asked > 1: raise OSError('the model is down')\n"
        "        return super().embed(texts)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert "the model is down" in call("reindex", place, "--embedder", "broken_model:Down", code=5).stderr
    holds_all(place, OLD)
    assert len(list(place.glob("shard*"))) == 1
    done = data("reindex", place, "--embedder", "broken_model:Broken")  # all but those with the poison
    assert (done["vectors"], len(done["without"])) == (42, 4)


def test_an_interrupt_is_no_failure_of_the_embedder(place, tmp_path, monkeypatch):
    (tmp_path / "interrupted_model.py").write_text(
        "from pagefault.testing.embedders import HashingEmbedder\n"
        "class Interrupted(HashingEmbedder):\n"
        "    def embed(self, texts):\n"
        "        if len(texts) > 1: raise KeyboardInterrupt\n"
        "        return super().embed(texts)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert data("reindex", place, "--embedder", "interrupted_model:Interrupted", code=130)["error"] == "Interrupted"
    holds_all(place, OLD)


def test_what_root_writes_is_the_owners(place, monkeypatch):
    """The parts of root and of somebody else are played by whoever runs this."""
    given = []
    monkeypatch.setattr("pagefault.stores.ownership.ROOT", os.geteuid())
    monkeypatch.setattr("pagefault.stores.ownership._owner", lambda directory: (4711, 4712))
    monkeypatch.setattr(
        os, "chown", lambda name, *to, dir_fd, follow_symlinks: given.append((name, to, follow_symlinks))
    )
    call("stat", place)
    assert {name for name, *_ in given} >= {"pagefault.lock", "pagefault.json", "shard", "segments", "segment.json"}
    assert {each[1:] for each in given} == {((4711, 4712), False)}


def test_a_directory_that_is_removed_under_root_is_closed_all_the_same(place, monkeypatch):
    monkeypatch.setattr("pagefault.stores.ownership.ROOT", os.geteuid())
    engine = Engine(place)
    engine.open(None)
    shutil.rmtree(place)
    with pytest.raises(StoreError, match="is gone"):
        engine.close()
    assert engine not in _OPEN


def test_output_that_goes_nowhere(filled):
    """Nobody reads it, the disk has no room for it, or it is closed."""
    command = f"{sys.executable} -m pagefault stat {filled}"
    for end, code, told in (
        (" | true; exit ${PIPESTATUS[0]}", 141, ""),
        (" >/dev/full", 3, "it is the output"),
        (" >&-", 0, ""),
    ):
        done = subprocess.run(["bash", "-c", command + end], capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert told in done.stderr
        assert "Traceback" not in done.stderr


def test_names_in_letters_that_the_terminal_has_not(tmp_path):
    with pagefault.open(tmp_path / "m", embedder=None) as memory:
        memory.space(thread="日本").append({"role": "user", "content": "ü"})
    command, ascii_only = (
        [SCRIPT, "show", str(tmp_path / "m"), "--thread", "日本"],
        os.environ | {"PYTHONIOENCODING": "ascii"},
    )
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=ascii_only)
    assert "thread '??'" in done.stdout


@pytest.mark.parametrize("command", ["reindex", "vacuum"])
def test_a_server_is_not_rebuilt(command):
    assert "?collection=" in call(command, "qdrant://localhost", code=3).stderr


def test_an_unreachable_server():
    assert data("stat", "qdrant://127.0.0.1:1", code=3)["error"] == "StoreUnreachable"


def test_the_script_and_the_module_are_one_command(filled):
    for start in ([SCRIPT], [sys.executable, "-m", "pagefault"]):
        done = subprocess.run([*start, "stat", str(filled)], capture_output=True, text=True, check=True)
        assert OLD.name in done.stdout
        assert "\x1b" not in done.stdout  # no colours in a pipe
        assert not done.stderr
    done = subprocess.run([SCRIPT, "stat", "nowhere"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert subprocess.run([SCRIPT, "--version"], capture_output=True, text=True, check=True).stdout.strip()


def test_without_typer_the_message_is_the_pip_command():
    code = "import sys; sys.modules['typer'] = None; from pagefault.commands import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"] == "MissingDependency"
    assert "pip install 'pagefault[cli]'" in done.stderr
