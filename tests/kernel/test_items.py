"""Items of a memory: remembered, found, replaced, forgotten, by several threads and after a restart."""

from __future__ import annotations

import asyncio
import copy
import sys
import threading
import time

import pytest

import pagefault
from pagefault import InvalidItem, Outcome, StoreError, VersionConflict
from pagefault.ports import Where
from pagefault.shelf import Change, Search


@pytest.fixture(params=["default", None], ids=["vectors", "words"])
def memory(request, tmp_path):
    with pagefault.open(tmp_path / "data", embedder=request.param) as memory:
        yield memory


def user(memory, **more):
    return memory.space(**({"tenant": "acme", "user": "ada", "thread": "t1"} | more))


def on(memory, work):
    return memory.core.kernel.call(work)


def change(key, value=None, *, namespace=("a",), **more):
    return Change(namespace=namespace, key=key, value=value, **more)


def shelf_of(memory, name="s"):
    return memory.core.shelf(kind="test", name=name)


# -- remember, recall, forget ------------------------------------------------------------------


def test_what_is_remembered_is_found_with_key_and_time(memory):
    space = user(memory)
    before = time.time()
    item = space.remember("diet", "vegan since 2020")
    assert before - 1e-5 <= item.updated_at <= time.time() + 1e-5
    found = space.recall("vegan diet")
    assert found.outcome is Outcome.ANSWER
    assert [(r.item.key, r.item.value) for r in found.items] == [("diet", "vegan since 2020")]
    assert 'item "diet" | 20' in found.text
    assert "vegan since 2020" in found.text
    assert space.recall("capital of France").outcome is Outcome.ABSTAIN


def test_a_replaced_version_is_never_shown(memory):
    space = user(memory)
    first = space.remember("city", "lives in Paris")
    second = space.remember("city", "lives in Rome")
    assert second.version > first.version
    assert second.updated_at >= first.updated_at
    assert second.created_at == first.created_at
    found = space.recall("Which city, Paris?")
    assert [r.item.value for r in found.items] in ([["lives in Rome"]], ["lives in Rome"], [])
    assert "lives in Paris" not in found.text
    assert [r.item.value for r in space.recall("lives in which city").items] == ["lives in Rome"]


@pytest.mark.parametrize("length", range(100, 240, 10))
def test_items_and_the_notice_of_pages_share_the_budget(tmp_path, length):
    """The best item leaves room for one line; with the addresses of many pages that line did not fit."""
    with pagefault.open(tmp_path / "data", embedder=None) as memory:
        space = user(memory)
        for n in range(30):
            space.append({"role": "user", "content": f"Gate {n}: " + "the pin of the gate is long " * 40})
        space.remember("gate pin", "red " * length)
        found = space.recall("gate pin", budget=300, limit=20)
        assert len(found.pages) == 20
        assert memory.core.counter.count(found.text) * (1 + memory.core.counter.reserve) <= 300


def test_items_of_a_user_are_shared_by_threads_and_agents_alone(memory):
    user(memory).remember("diet", "vegan")
    for other in ({"thread": "t2"}, {"thread": "t2", "agent": "cook"}):
        assert [r.item.value for r in user(memory, **other).recall("vegan diet").items] == ["vegan"]
    for stranger in ({"user": "bob"}, {"tenant": "evil"}, {"user": ""}):
        assert user(memory, **stranger).recall("vegan diet").items == ()


def test_without_a_user_items_stay_in_their_thread(memory):
    user(memory, user="").remember("diet", "vegan")
    assert user(memory, user="", agent="cook").recall("vegan diet").items
    assert not user(memory, user="", thread="t2").recall("vegan diet").items


def test_what_is_forgotten_is_gone(memory):
    space = user(memory)
    space.remember("diet", "vegan")
    assert space.forget(key="diet")
    assert not space.forget(key="diet")
    assert space.recall("vegan diet").outcome is Outcome.ABSTAIN


def test_pages_and_items_answer_together(memory):
    space = user(memory)
    space.append(
        [{"role": "user", "content": "Turing is my cat, a grey one."}, {"role": "assistant", "content": "Nice!"}]
    )
    space.remember("cat", {"name": "Turing", "colour": "grey"})
    found = space.recall("grey cat Turing")
    assert found.outcome is Outcome.ANSWER
    assert [r.item.key for r in found.items] == ["cat"]
    assert found.pages[0].page.seq == 1
    assert found.text.index('item "cat"') < found.text.index("page 1")
    assert memory.counter.count(space.recall("grey cat Turing", budget=400).text) <= 400
    assert space.recall("grey cat Turing", after=time.time() + 60).outcome is Outcome.ABSTAIN


def test_items_of_another_time_take_no_place_and_lend_no_outcome(memory):
    space = user(memory)
    for n in range(40):
        space.remember(f"gate PIN {n}", f"gate PIN {n}")
    time.sleep(0.002)
    middle = time.time()
    space.remember("door PIN", "opens neither the front gate nor the cellar")
    found = space.recall("gate PIN", after=middle, limit=1)
    assert [each.item.key for each in found.items] == ["door PIN"]
    assert found.outcome is found.items[0].outcome
    older = space.recall("gate PIN", before=middle, limit=3)
    assert len(older.items) == 3
    assert "door PIN" not in older.text
    assert space.recall("gate PIN", after=time.time() + 60).items == ()


def test_an_item_that_fills_a_small_window_is_shown(memory):
    space = user(memory)
    space.append({"role": "user", "content": "hi"})
    value = "vegan since 2020, no honey, no leather, but oysters are all right"
    space.remember("diet", value)
    space.view(budget=pagefault.Budget(window=1_000))
    assert value in space.recall("diet").text
    space.append({"role": "user", "content": "My diet was omnivore until 2019."})
    assert value in space.recall("diet").text
    found = space.recall("diet", budget=300)
    assert value in found.text
    assert memory.counter.count(found.text) <= 300


def test_async_twins(memory):
    async def main():
        space = user(memory)
        await space.aremember("diet", ["vegan", "no nuts"])
        found = await space.arecall("nuts diet")
        assert found.items[0].item.value == ["vegan", "no nuts"]
        assert await space.aforget(key="diet")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("key", "value"), [("", "x"), (" ", "x"), (7, "x"), ("k", {1, 2}), ("k", b"x"), ("k" * 20_000, 1)]
)
def test_odd_items_are_refused(memory, key, value):
    with pytest.raises(InvalidItem):
        user(memory).remember(key, value)


def test_items_survive_a_restart(tmp_path):
    with pagefault.open(tmp_path) as memory:
        user(memory).remember("diet", "vegan \ud83d")
    with pagefault.open(tmp_path) as memory:
        assert user(memory, thread="t9").recall("vegan diet").items[0].item.value == "vegan \ud83d"


# -- the shelf ---------------------------------------------------------------------------------


def test_compare_and_set(memory):
    shelf = shelf_of(memory)
    (first,) = on(memory, shelf.write([change("k", 1, version=0)]))
    (conflict,) = on(memory, shelf.write([change("k", 2, version=0)]))
    assert isinstance(conflict, VersionConflict)
    assert str(first.version) in str(conflict)
    results = on(
        memory, shelf.write([change("k", 2, version=first.version), change("j", 1, version=5), change("i", 1)])
    )
    assert [getattr(each, "value", type(each)) for each in results] == [2, VersionConflict, 1]
    (conflict,) = on(memory, shelf.write([change("k", deletes=True, version=first.version)]))
    assert isinstance(conflict, VersionConflict)
    (gone,) = on(memory, shelf.write([change("k", deletes=True, version=results[0].version)]))
    assert gone is None
    (again,) = on(memory, shelf.write([change("k", 1)]))
    assert again.version > results[0].version
    assert isinstance(on(memory, shelf.write([change("k", 3, version=first.version)]))[0], VersionConflict)


def test_no_increment_is_lost(memory):
    on(memory, shelf_of(memory).write([change("n", 0)]))

    def count():
        done = 0
        while done < 20:
            (item,) = on(memory, shelf_of(memory).get([(("a",), "n")]))
            (result,) = on(memory, shelf_of(memory).write([change("n", item.value + 1, version=item.version)]))
            done += not isinstance(result, VersionConflict)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert on(memory, shelf_of(memory).get([(("a",), "n")]))[0].value == 80


def test_plain_writes_from_many_threads_all_end(memory):
    def write(me):
        for i in range(10):
            on(memory, shelf_of(memory).write([change("same", [me, i]), change(f"own {me}", i)]))

    threads = [threading.Thread(target=write, args=(me,)) for me in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    items = on(memory, shelf_of(memory).get([(("a",), "same"), *((("a",), f"own {me}") for me in range(6))]))
    assert items[0].value[1] == 9
    assert [item.value for item in items[1:]] == [9] * 6


def test_items_expire_and_are_cleared_away(memory, monkeypatch):
    shelf = shelf_of(memory)
    on(memory, shelf.write([change("short", "red", ttl=5.0), change("long", "red", ttl=500.0), change("ever", "red")]))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 60)
    names = [(("a",), key) for key in ("short", "long", "ever")]
    kept = on(memory, shelf.get(names))
    assert [item and item.key for item in kept] == [None, "long", "ever"]
    for search in (Search(query="red"), Search(), Search(wanted={}, limit=1, offset=1)):
        assert "short" not in {item.key for item, _ in on(memory, shelf.search(search))}
    assert on(memory, shelf.namespaces()) == {("a",)}
    scope = shelf._scope
    assert len(on(memory, memory.core.store.scan(scope, Where(kind="item"), limit=9))) == 2
    on(memory, shelf.refresh([item for item in kept if item]))
    (fresh,) = on(memory, shelf.get(names[1:2]))
    assert fresh.expires_at == pytest.approx(now + 560, abs=1e-3)
    assert fresh.version == kept[1].version
    monkeypatch.setattr(time, "time", lambda: now + 10_000)
    on(memory, shelf.sweep())
    assert [r.fields["path"] for r in on(memory, memory.core.store.scan(scope, Where(kind="item"), limit=9))] == [
        '["a", "ever"]'
    ]


def test_what_a_host_with_a_late_clock_writes_meanwhile_stays(memory, monkeypatch):
    """Its version is a later one of its item, and older than those of other items that are cleared or refreshed."""
    ours = shelf_of(memory)
    theirs = copy.copy(ours)
    store, start = memory.core.store, time.time()
    remove, amend = store.remove, store.amend

    async def write_first(key):
        with monkeypatch.context() as late:
            late.setattr(time, "time", lambda: start + 5)
            late.setattr(store, "remove", remove)
            late.setattr(store, "amend", amend)
            theirs._version = 0  # of another process
            await theirs.write([change(key, "theirs")])

    async def removing(*given):
        await write_first("cleared")
        await remove(*given)

    async def amending(*given):
        await write_first("refreshed")
        await amend(*given)

    on(memory, ours.write([change("cleared", "ours", ttl=20.0), change("refreshed", "ours", ttl=100.0)]))
    monkeypatch.setattr(time, "time", lambda: start + 9)
    on(memory, ours.write([change("later", "ours", ttl=11.0), change("latest", "ours", ttl=100.0)]))
    names = [(("a",), key) for key in ("cleared", "later", "refreshed", "latest")]
    read = on(memory, ours.get(names[2:]))
    monkeypatch.setattr(time, "time", lambda: start + 60)
    monkeypatch.setattr(store, "remove", removing)
    monkeypatch.setattr(store, "amend", amending)
    assert on(memory, ours.get(names[:2])) == [None, None]
    on(memory, ours.refresh(read))
    monkeypatch.setattr(time, "time", lambda: start + 10_000)
    monkeypatch.setattr(store, "remove", remove)
    assert [item and item.value for item in on(memory, ours.get(names))] == ["theirs", None, "theirs", None]


def test_an_expired_item_is_written_as_a_new_one(memory, monkeypatch):
    shelf = shelf_of(memory)
    (first,) = on(memory, shelf.write([change("k", 1, ttl=5.0)]))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 60)
    (second,) = on(memory, shelf.write([change("k", 2, version=0)]))
    assert second.created_at - first.created_at > 59
    assert second.version > first.version


def test_searches_page_without_gaps_or_repeats(memory):
    shelf = shelf_of(memory)
    on(
        memory,
        shelf.write([change(f"k{i}", {"i": i, "odd": i % 2, "text": f"word{i % 7} common"}) for i in range(300)]),
    )
    for search in (
        Search(query="common word3"),
        Search(),
        Search(wanted={"odd": 1}),
        Search(query="common", wanted={"i": {"$gte": 100}}),
    ):
        seen = []
        for offset in range(0, 320, 40):
            part = Search(query=search.query, wanted=search.wanted, limit=40, offset=offset)
            seen += [item.value["i"] for item, _ in on(memory, shelf.search(part))]
        everything = [i for i in range(300) if (not search.wanted or (i % 2 if "odd" in search.wanted else i >= 100))]
        assert sorted(seen) == everything
        if not search.query:
            assert seen == everything[::-1]
    best = on(memory, shelf.search(Search(query="word3", limit=5)))
    assert all(item.value["i"] % 7 == 3 for item, _ in best)
    scores = [score for _, score in best]
    assert scores == sorted(scores, reverse=True)
    assert 0 < scores[0] <= 1


def test_who_wants_all_may_name_any_number(memory):
    shelf = shelf_of(memory)
    on(memory, shelf.write([change(f"k{n}", {"v": "red"}) for n in range(3)]))
    for limit in (sys.maxsize, 10**30):
        for search in (Search(limit=limit), Search(query="red", limit=limit)):
            assert len(on(memory, shelf.search(search))) == 3


def test_shelves_share_nothing(memory):
    on(memory, shelf_of(memory, "one").write([change("k", "red")]))
    assert on(memory, shelf_of(memory, "two").get([(("a",), "k")])) == [None]
    assert on(memory, memory.core.shelf(kind="other", name="one").search(Search(query="red"))) == []
    assert on(memory, memory.core.shelf(tenant="evil", kind="test", name="one").namespaces()) == set()


def test_a_store_that_is_down_says_so(memory):
    space = user(memory)
    space.remember("diet", "vegan")
    healthy, memory.core.store.swap = memory.core.store.swap, _broken
    with pytest.raises(StoreError, match="no disk"):
        space.remember("diet", "meat")
    memory.core.store.swap = healthy
    assert space.recall("vegan diet").items[0].item.value == "vegan"


def test_what_a_write_stored_before_it_failed_is_made_durable(memory, monkeypatch):
    store, synced = memory.core.store, threading.Event()
    swap, sync = store.swap, store.sync

    async def failing(*given):
        await swap(*given)
        raise StoreError("the answer was lost")

    async def syncing():
        await sync()
        synced.set()

    memory.flush()
    monkeypatch.setattr(store, "sync", syncing)
    monkeypatch.setattr(store, "swap", failing)
    with pytest.raises(StoreError, match="the answer was lost"):
        user(memory).remember("diet", "vegan")
    assert synced.wait(30)


async def _broken(*_):
    raise StoreError("no disk")
