"""Bad input: a typed error that names the thing and the way out, and nothing is lost by it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import pagefault
from pagefault.errors import (
    BadAddress,
    BudgetError,
    EmbedderError,
    InvalidId,
    PagefaultError,
    PageNotFound,
    StoreError,
    StoreLocked,
    StoreMismatch,
    StoreUnreachable,
    StoreUnwritable,
    UnsupportedMessage,
)
from pagefault.stores import EdgeStore
from pagefault.testing.embedders import HashingEmbedder
from pagefault.testing.faults import BrokenEmbedder
from tests.kernel.support import texts, user, users

ROOT = Path(__file__).parents[2]
NOBODY = "qdrant://127.0.0.1:1"


# -- the data directory ----------------------------------------------------------------------


@pytest.mark.parametrize("target", [None, "", 7, b"bytes", object()])
def test_what_is_no_directory(target):
    with pytest.raises(InvalidId, match=r"open takes a (directory|text path)"):
        pagefault.open(target)


def test_an_unreachable_server_is_said_at_the_first_use():
    with pagefault.open(NOBODY, embedder=None) as memory, pagefault.open(NOBODY, embedder=None) as again:
        assert again.space(thread="t").paging is memory.space(thread="t").paging
        with pytest.raises(StoreUnreachable, match=r"127\.0\.0\.1:1"):
            memory.ready()


@pytest.mark.parametrize("target", ["redis://host", "qdrant://user:password@host", "qdrant://host?collection=a/b"])
def test_a_url_that_names_no_usable_server(target):
    with pytest.raises(StoreError) as caught:
        pagefault.open(target, embedder=None)
    assert "password@" not in str(caught.value)


@pytest.mark.parametrize("url", ["qdrant://host:6333", "HTTPS://host", "qdrant+grpc://host/"])
def test_a_url_that_lost_a_slash_is_no_directory(tmp_path, monkeypatch, url):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match=r"has lost a slash, as in a Path; give it as a str"):
        pagefault.open(Path(url))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["qdrant", "http", "./qdrant:/host", "qdrant:x"])
def test_a_directory_may_have_a_name_like_it(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pagefault.open(name, embedder=None) as memory:
        assert memory.place == str(tmp_path / name)


def test_a_directory_that_is_a_file(tmp_path):
    (tmp_path / "data").write_text("mine")
    with pagefault.open(tmp_path / "data", embedder=None) as memory:
        space = memory.space(thread="t")
        for verb in (memory.ready, space.view, lambda: space.append(user("x")), lambda: space.recall("x")):
            with pytest.raises(
                StoreUnwritable, match=r"data cannot be used as a data directory.*that this process can"
            ):
                verb()
    assert (tmp_path / "data").read_text() == "mine"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root can write anywhere")
def test_a_directory_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pagefault.open(tmp_path / "data", embedder=None) as memory, pytest.raises(StoreUnwritable):
        memory.space(thread="t").append(user("x"))


def test_a_directory_that_nobody_can_write():
    refused = pytest.raises(StoreUnwritable, match=r"/proc/pagefault.*give a path that this process can write")
    with pagefault.open("/proc/pagefault", embedder=None) as memory, refused:
        memory.space(thread="t").append(user("x"))


def test_a_directory_that_another_process_has_open(tmp_path):
    script = (
        "import sys, pagefault\n"
        "memory = pagefault.open(sys.argv[1], embedder=None)\n"
        "memory.space(thread='t').append({'role': 'user', 'content': 'mine'})\n"
        "memory.flush()\n"
        "print('open', flush=True)\n"
        "sys.stdin.read()\n"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        memory = pagefault.open(tmp_path, embedder=None)
        space = memory.space(thread="t")
        with pytest.raises(StoreLocked, match=r"open in another process.*qdrant://"):
            space.append(user("yours"))
        other.communicate()
    space.append(user("yours"))  # the same memory goes on once the other has let go
    assert [m["content"] for m in space.view()] == ["mine", "yours"]
    memory.close()


def test_callers_who_wait_for_a_locked_directory_wait_together(tmp_path):
    async def main():
        async with pagefault.open(tmp_path / "one", embedder=None) as one:
            await one.aready()
            rival = EdgeStore(tmp_path / "one", run=one.core.kernel.run, lock_timeout=0)
            two = pagefault.open(tmp_path / "two", embedder=None)
            attempts = 0

            async def attempt(header):
                nonlocal attempts
                attempts += 1
                while len(two.core.kernel._verbs) < 20:  # noqa: ASYNC110  # they come from another thread
                    await asyncio.sleep(0.001)
                await asyncio.sleep(0.05)
                await rival.open(header)

            two.core.store.open = attempt  # a store that is locked
            verbs = [two.space(thread=str(n)).arecall("x") for n in range(20)]
            errors = await asyncio.gather(*verbs, return_exceptions=True)
            assert {type(error) for error in errors} == {StoreLocked}
            assert attempts == 1
            await two.aclose()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (None, "no embedder"),
        (HashingEmbedder(dimension=32), "32 dimensions"),
        (HashingEmbedder(dimension=128), "128 dimensions"),
        ("default", "wordllama"),
    ],
    ids=["none", "smaller", "larger", "default"],
)
def test_a_directory_of_another_embedder(tmp_path, other, named):
    with pagefault.open(tmp_path, embedder=HashingEmbedder(dimension=64)) as memory:
        memory.space(thread="t").append(user("mine"))
    refused = pytest.raises(StoreMismatch, match=rf"64 dimensions.*{named}.*pagefault reindex")
    with pagefault.open(tmp_path, embedder=other) as memory, refused:
        memory.space(thread="t").append(user("x"))
    with pagefault.open(tmp_path, embedder=HashingEmbedder(dimension=64)) as memory:
        assert texts_of(memory) == ["mine"]


def test_a_directory_of_an_embedder_with_the_same_name_but_other_vectors(tmp_path):
    class Impostor(HashingEmbedder):
        def embed(self, texts):
            return [[-x for x in vector] for vector in super().embed(texts)]

    with pagefault.open(tmp_path, embedder=HashingEmbedder()) as memory:
        memory.space(thread="t").append(user("mine"))
    with pagefault.open(tmp_path, embedder=Impostor()) as memory, pytest.raises(StoreMismatch):
        memory.space(thread="t").append(user("x"))


def test_a_directory_is_open_already_with_other_options(tmp_path):
    with pagefault.open(tmp_path, embedder=None) as memory:
        others: list[dict[str, Any]] = [
            {"embedder": HashingEmbedder()},
            {"embedder": None, "require_tenant": True},
            {"embedder": None, "budget": pagefault.Budget(window=1000)},
        ]
        for options in others:
            with pytest.raises(StoreError, match=r"open already with other options; close it first"):
                pagefault.open(tmp_path, **options)
        memory.space(thread="t").append(user("still there"))
        assert texts_of(memory) == ["still there"]


def texts_of(memory):
    space = memory.space(thread="t")
    space.view()
    return texts(space)


# -- ids ----------------------------------------------------------------------------------------

BAD_IDS = [7, b"x", ["x"], {"$ne": 1}, "a\x00b", "a\nb", "x" * 513, "\udce9", True, object()]


@pytest.mark.parametrize("bad", BAD_IDS, ids=lambda bad: f"{bad!r:.12}")
@pytest.mark.parametrize("part", ["tenant", "user", "thread", "agent"])
def test_ids_that_are_none(memory, part, bad):
    with pytest.raises(InvalidId, match=part):
        memory.space(**{"thread": "t", part: bad})


@pytest.mark.parametrize("part", ["user", "thread", "agent"])
def test_none_is_no_id(memory, part):
    with pytest.raises(InvalidId, match=rf"{part} must be a string, got NoneType.*str\("):
        memory.space(**{"thread": "t", part: None})


@pytest.mark.parametrize("part", ["tenant", "thread"])
def test_empty_is_no_id(memory, part):
    with pytest.raises(InvalidId, match=f"{part} is empty; give it 1 to 512 characters"):
        memory.space(**{"thread": "t", part: ""})


def test_a_tenant_can_be_required():
    with pagefault.open(":memory:", embedder=None, require_tenant=True) as memory:
        with pytest.raises(InvalidId, match=r"requires a tenant.*tenant='\.\.\.'"):
            memory.space(thread="t")
        memory.space(thread="t", tenant="acme").append(user("x"))


@pytest.mark.parametrize("bad", [None, "t", ("default", "", "t", "")])
def test_a_space_id_is_a_space_id(memory, bad):
    with pytest.raises(InvalidId, match="SpaceId"):
        memory.at(bad)


def test_ids_that_only_look_alike_are_different_spaces(memory):
    ids = [
        {"thread": "a/b", "user": "c"},
        {"thread": "b", "user": "c/a"},
        {"thread": "a", "user": "b/c"},
        {"thread": "a", "agent": "b"},
        {"thread": "ab"},
        {"thread": "a b"},
        {"thread": "A b"},
        {"thread": "а b"},  # noqa: RUF001  # a Cyrillic letter is the point
    ]
    for n, parts in enumerate(ids):
        memory.space(**parts).append(user(f"secret {n}"))
    for n, parts in enumerate(ids):
        assert [m["content"] for m in memory.space(**parts).view()] == [f"secret {n}"]
        assert [p.page.text for p in memory.space(**parts).recall("secret").pages] in ([f"secret {n}"], [])


# -- addresses ----------------------------------------------------------------------------------

MALFORMED: list[object] = [None, "", " ", "abc", "0", "-1", "1-", "3-1", "1.0", "1..2", "1@", "12-14.2", "1;2"]
MALFORMED += ["docs:/x", "1" * 40, "9" * 5000, 0, -1, 1.5, True, [1], b"1", "\N{ARABIC-INDIC DIGIT ONE}"]


@pytest.mark.parametrize("bad", MALFORMED, ids=lambda bad: f"{bad!r:.12}")
def test_malformed_addresses(space, bad):
    for verb in (space.fault, space.pin, space.release):
        with pytest.raises(BadAddress, match=r"12|backwards"):
            verb(bad)
    assert len(texts(space)) == 3


@pytest.mark.parametrize("foreign", [4, "4", "2-4", "1, 99", "999999999999999", "1-999999999999999"])
def test_addresses_beyond_this_conversation(memory, space, foreign):
    memory.space(thread="other").append(users(1, 50))
    for verb in (space.fault, space.pin, space.release):
        with pytest.raises(PageNotFound, match=r"this conversation has pages 1-3"):
            verb(foreign)


def test_addresses_in_an_empty_conversation(memory):
    with pytest.raises(PageNotFound, match="no complete page yet"):
        memory.space(thread="new").fault("1")


def test_a_part_that_the_page_does_not_have(space):
    with pytest.raises(PagefaultError, match="1"):
        space.fault("1.7")


def test_pin_and_release_take_whole_pages(space):
    for verb in (space.pin, space.release):
        with pytest.raises(BadAddress, match="whole pages, write '1'"):
            verb("1@3")


BAD_OPTIONS: list[dict[str, object]] = [
    {"limit": 0},
    {"limit": 101},
    {"limit": 1.5},
    {"limit": True},
    {"limit": None},
    {"after": "yesterday"},
    {"before": float("nan")},
    {"before": float("-inf")},
    {"after": 10**400},
    {"after": 5.0, "before": 5},
    {"budget": -1},
    {"budget": "many"},
]


@pytest.mark.parametrize("options", BAD_OPTIONS, ids=str)
def test_recall_options(space, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        space.recall("cat", **options)


@pytest.mark.parametrize("budget", [8_000, 0, "8000"])
def test_a_budget_that_is_none_is_refused_at_once(space, budget):
    for use in (
        lambda: pagefault.open(":memory:", budget=budget),
        lambda: space.view(budget=budget),
        lambda: asyncio.run(space.aview(budget=budget)),
    ):
        with pytest.raises(BudgetError, match=r"budget is a pagefault\.Budget"):
            use()


NO_COUNTERS: list[Any] = [5, "tiktoken", [], len, SimpleNamespace(count=len), SimpleNamespace(count=5, reserve=0)]
NO_COUNTERS += [SimpleNamespace(count=len, reserve=reserve) for reserve in (None, "0", -0.1, 2, float("nan"))]


@pytest.mark.parametrize("counter", NO_COUNTERS, ids=repr)
def test_what_cannot_count_is_refused_at_once(counter):
    with pytest.raises(TypeError, match=r"counter is .*; it must be None, or an object with count\(text\)"):
        pagefault.open(":memory:", counter=counter)


def test_a_counter_of_ones_own(tmp_path):
    with pagefault.open(tmp_path, counter=SimpleNamespace(count=len, reserve=0), embedder=None) as memory:
        memory.space(thread="t").append(user("x"))
        assert len(memory.space(thread="t").view()) == 1


def test_an_empty_key_of_a_pinned_item(space):
    for use in (lambda: space.pin_item("", "x"), lambda: space.unpin_item("")):
        with pytest.raises(InvalidId, match=r"^key is empty; give it 1 to 512 characters"):
            use()


@pytest.mark.parametrize("query", ["", " \n", None, 7, b"cat"])
def test_recall_queries(space, query):
    with pytest.raises(ValueError, match="non-empty query"):
        space.recall(query)


@pytest.mark.parametrize("query", ["\x00", "\udce9\udce9", "?" * 100, "cat " * 50_000, "' OR 1=1 --", "{}[]\\"])
def test_queries_that_are_odd_are_answered(space, query):
    assert space.recall(query).outcome in {"answer", "weak", "abstain"}


# -- messages -------------------------------------------------------------------------------------


def deep(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


def loop():
    value: dict[str, object] = {"role": "user", "content": "x"}
    value["self"] = value
    return value


UNSUPPORTED = {
    "none": None,
    "str": "hello",
    "bytes": b"hello",
    "number": 7,
    "list of str": ["hello"],
    "list of none": [None],
    "no role": {"content": "x"},
    "unknown role": {"role": "narrator", "content": "x"},
    "role of a wrong type": {"role": ["user"], "content": "x"},
    "bytes inside": {"role": "user", "content": b"x"},
    "object inside": {"role": "user", "content": "x", "extra": object()},
    "set inside": {"role": "user", "content": "x", "extra": {1, 2}},
    "deep": {"role": "user", "content": "x", "extra": deep(100_000)},
    "loop": loop(),
    "calls of a wrong type": {"role": "assistant", "tool_calls": "look"},
    "generator": (m for m in [user("x")]),
}


@pytest.mark.parametrize("what", UNSUPPORTED)
def test_messages_that_cannot_be_stored_exactly(space, what):
    bad = UNSUPPORTED[what]
    for batch in [bad, [user("good one"), *(bad if isinstance(bad, list) else [bad])]]:
        if batch is not bad or not isinstance(bad, list):
            with pytest.raises(UnsupportedMessage) as caught:
                space.append(batch)
            assert len(str(caught.value)) > 20
    assert len(space.view()) == 3  # all or nothing: the good one beside it was not added either
    space.append(user("later"))
    assert texts(space)[3:] == ["later"]


@pytest.mark.parametrize("bad", [7, "a\x00b", "x" * 513, ["x"]], ids=lambda bad: f"{bad!r:.12}")
@pytest.mark.parametrize("key", ["id", "tool_call_id"])
def test_ids_of_messages(space, key, bad):
    with pytest.raises(InvalidId, match=f"message 0: {key}"):
        space.append({"role": "tool", "content": "x", key: bad})
    assert len(space.view()) == 3


def test_nothing_is_a_fine_thing_to_append(space):
    space.append([])
    assert len(space.view()) == 3


def test_what_the_caller_changes_later_does_not_matter(space):
    message = {"role": "user", "content": [{"type": "text", "text": "before"}]}
    space.append(message)
    message["content"][0]["text"] = "after"
    space.view()[-1]["content"][0]["text"] = "after"
    assert space.view()[-1]["content"][0]["text"] == "before"
    assert texts(space)[-1] == "before"


def test_a_frameworks_conversation_is_read_but_not_added_to(memory):
    messages = pytest.importorskip("pagefault_langgraph.messages")
    core = pytest.importorskip("langchain_core.messages")
    space = memory.space(thread="graph")
    natives = [core.HumanMessage("the cat is called Turing"), core.AIMessage("noted")]
    lineage = space.path(natives, messages.LANGCHAIN)
    memory.core.writeback.note(space.paging, lineage)
    memory.flush()
    space.paging.lineages.clear()  # as in a process that has not seen the graph's state
    assert [p.page.text for p in space.fault("1-2").pages] == ["the cat is called Turing", "noted"]
    assert space.recall("cat").pages[0].address == "1"
    for verb in (lambda: space.append(user("x")), space.view):
        with pytest.raises(UnsupportedMessage, match=r"belongs to a framework \(langchain/1\)"):
            verb()


# -- embedders that cannot be used at all -----------------------------------------------------------


@pytest.mark.parametrize("name", ["", None, 7])
def test_an_embedder_without_a_name(name):
    nameless = type("Nameless", (HashingEmbedder,), {"name": name})
    with pagefault.open(":memory:", embedder=nameless()) as memory, pytest.raises(EmbedderError, match="name"):
        memory.space(thread="t").append(user("x"))


@pytest.mark.parametrize("dimension", [0, -3, 2.5, None, True])
def test_an_embedder_without_a_dimension(dimension):
    flat = type("Flat", (HashingEmbedder,), {"dimension": dimension})
    with pagefault.open(":memory:", embedder=flat()) as memory, pytest.raises(EmbedderError, match="dimension"):
        memory.space(thread="t").append(user("x"))


def test_an_embedder_is_only_asked_for_what_it_is_for():
    embedder = BrokenEmbedder(HashingEmbedder())
    with pagefault.open(":memory:", embedder=embedder) as memory:
        space = memory.space(thread="t")
        space.append([user(""), user("one"), {"role": "assistant", "content": None}])
        memory.flush()
        assert [text for call in embedder.calls[1:] for text in call] == ["one"]  # after the probe
