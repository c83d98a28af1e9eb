"""What PagefaultStore does beyond the interface, and how it lives in graphs, threads and loops."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TypedDict

import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.config import get_store
from langgraph.graph import END, START, StateGraph
from langgraph.store.base import GetOp, PutOp, SearchOp
from qdrant_edge import UpdateOperation

import pagefault
from pagefault import BadFilter, CorruptPage, EmbedderError, InvalidId, InvalidItem, MemoryClosed, VersionConflict
from pagefault.items import point_of
from pagefault.ports import Where
from pagefault.testing.embedders import HashingEmbedder
from pagefault_langgraph import PagefaultStore, open_store

NS = ("a",)


@pytest.fixture(scope="module")
def memory():
    with pagefault.open(":memory:", embedder=None) as memory:
        yield memory


@pytest.fixture
def store(request, memory):
    return PagefaultStore(memory, name=request.node.name)


@pytest.fixture
def clock(monkeypatch):
    real, ahead = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + ahead[0])

    def wait(minutes):
        ahead[0] += 60 * minutes

    return wait


# -- compare-and-set ---------------------------------------------------------------------------


def test_compare_and_set(store):
    first = store.compare_and_set(NS, "k", {"n": 1}, version=0)
    assert store.get(NS, "k").version == first
    second = store.compare_and_set(NS, "k", {"n": 2}, version=first)
    assert second > first
    for version in (0, first, 12):
        with pytest.raises(VersionConflict, match=str(second)):
            store.compare_and_set(NS, "k", {"n": 3}, version=version)
    assert store.get(NS, "k").value == {"n": 2}
    with pytest.raises(VersionConflict):
        store.compare_and_set(NS, "k", None, version=first)
    assert store.compare_and_set(NS, "k", None, version=second) == 0
    with pytest.raises(VersionConflict, match="no such item"):
        store.compare_and_set(NS, "k", {"n": 3}, version=second)
    store.put(NS, "k", {"n": 1})
    with pytest.raises(VersionConflict):  # an item that was deleted and made again is another one
        store.compare_and_set(NS, "k", {"n": 3}, version=first)


@pytest.mark.parametrize("version", [-1, 1.0, True, None, "1"])
def test_odd_versions_are_refused(store, version):
    with pytest.raises(ValueError, match="version"):
        store.compare_and_set(NS, "k", {}, version=version)


def test_four_threads_lose_no_increment(store):
    store.put(NS, "n", {"n": 0})

    def count():
        done = 0
        while done < 15:
            item = store.get(NS, "n")
            try:
                store.compare_and_set(NS, "n", {"n": item.value["n"] + 1}, version=item.version)
            except VersionConflict:
                continue
            done += 1

    _in_threads(count, count, lambda: asyncio.run(_count(store)), lambda: asyncio.run(_count(store)))
    assert store.get(NS, "n").value == {"n": 60}


async def _count(store):
    async def one():
        while True:
            item = await store.aget(NS, "n")
            try:
                await store.acompare_and_set(NS, "n", {"n": item.value["n"] + 1}, version=item.version)
            except VersionConflict:
                continue
            return

    await asyncio.gather(*(one() for _ in range(15)))


# -- batches -----------------------------------------------------------------------------------


def test_errors_stay_with_their_operations(store):
    store.put(NS, "k", {"n": 1})
    ops = [
        PutOp(NS, "new", {"n": 2}),
        SearchOp(NS, filter={"n": {"$in": [1]}}),
        PutOp(("a.b",), "k", {}),
        PutOp(NS, "bad", {"n": object()}),
        GetOp(NS, "k"),
        "no operation",
        PutOp(NS, "ttl", {}, None, -5.0),
    ]
    results = store.batch(ops, return_exceptions=True)
    kinds = [type(each).__name__ for each in results]
    assert kinds == [
        "NoneType",
        "BadFilter",
        "InvalidNamespaceError",
        "InvalidItem",
        "VersionedItem",
        "TypeError",
        "InvalidItem",
    ]
    assert store.get(NS, "new").value == {"n": 2}
    with pytest.raises(BadFilter):
        asyncio.run(store.abatch([PutOp(NS, "other", {}), *ops[1:]]))
    assert store.get(NS, "other") is None


def test_what_a_store_could_not_hold_is_refused_before_anything_is_done(store):
    """A namespace of many labels was refused when what stood beside it had been deleted."""
    store.put(NS, "k", {"n": 1})
    ops = [PutOp(NS, "k", None), PutOp(("label",) * 2_000, "k", {"n": 1})]
    with pytest.raises(InvalidItem, match="labels"):
        store.batch(ops)
    assert store.get(NS, "k").value == {"n": 1}
    gone, refused = store.batch(ops, return_exceptions=True)
    assert gone is None
    assert isinstance(refused, InvalidItem)
    assert store.get(NS, "k") is None


def test_a_damaged_item_is_its_readers_trouble_alone(store, memory):
    for key in "abc":
        store.put(NS, key, {"v": key})
    point = point_of(store._shelf()._scope.space, NS, "b")
    spoil = UpdateOperation.set_payload([point], {"body": "{}"})
    memory.core.kernel.call(memory.core.store._call(lambda shard: shard.update(spoil), urgent=True))
    results = store.batch([GetOp(NS, key) for key in "abcd"], return_exceptions=True)
    assert [each and type(each).__name__ for each in results] == ["VersionedItem", "CorruptPage", "VersionedItem", None]
    assert [each.key for each in store.search(NS)] == ["c", "a"]
    with pytest.raises(CorruptPage):
        store.batch([GetOp(NS, key) for key in "abc"])


def test_one_agents_mistake_is_not_anothers(store):
    async def main():
        return await asyncio.gather(
            store.aput(NS, "good", {"n": 1}),
            store.aput(NS, "bad", {"n": b""}),
            store.asearch(NS, filter={"n": {"$x": 1}}),
            store.aput(NS, "fine", {"n": 1}),
            return_exceptions=True,
        )

    results = asyncio.run(main())
    assert [type(each) for each in results] == [type(None), InvalidItem, BadFilter, type(None)]
    assert {item.key for item in store.search(NS)} == {"good", "fine"}


@pytest.mark.parametrize(
    "op",
    [
        PutOp(NS, "k", ["no dictionary"]),
        PutOp(NS, "k", {"v": 1}, "text"),
        PutOp(NS, "k", {"v": 1}, index=True),
        PutOp(NS, "k", {"v": 1}, {"v": 1}),
        PutOp(NS, "k", {"v": 1}, [None]),  # type: ignore[list-item]  # what is refused
        PutOp(NS, "k", {"v": 1}, None, "soon"),
        PutOp(NS, "k", {"v": 1}, ttl=True),
        PutOp("abc", "k", {"v": 1}),
        PutOp(None, "k", {"v": 1}),
        PutOp(NS, "k" * 20_000, {"v": 1}),
        GetOp(NS, "k" * 20_000),
        PutOp(NS * 2_000, "k", {"v": 1}),
        SearchOp(NS, filter={"v": 10**5_000}),
        SearchOp(NS, filter=["v"]),
        SearchOp(NS, limit="3"),
        SearchOp(NS, offset=True),
        SearchOp(NS, query=3),
        SearchOp(NS, filter={"v": {"$gt": []}}),
    ],
)
def test_odd_operations_are_refused(store, op):
    with pytest.raises(ValueError, match=r".{20}"):
        store.batch([op])
    assert store.search(()) == []


# -- time to live ------------------------------------------------------------------------------


def test_reading_begins_the_time_anew_unless_told_otherwise(store, clock):
    for key in ("got", "searched", "left"):
        store.put(NS, key, {"v": 1}, ttl=10)
    clock(6)
    store.get(NS, "got")
    store.get(NS, "left", refresh_ttl=False)
    store.search(NS, refresh_ttl=False)
    assert store.search(NS, filter={"v": 1}, limit=1, offset=1)[0].key == "searched"
    clock(6)
    assert {item.key for item in store.search(NS, refresh_ttl=False)} == {"got", "searched"}
    clock(6)
    assert store.get(NS, "got") is None


def test_the_store_sweeps_by_itself_when_the_time_has_come(memory, request, clock):
    store = PagefaultStore(memory, name=request.node.name, ttl={"sweep_interval_minutes": 30})
    store.put(("short",), "k", {"v": 1}, ttl=10)
    store.put(NS, "ever", {"v": 1})

    def records():
        scope, where = store._shelf()._scope, Where(kind="item")
        return len(memory.core.kernel.call(memory.core.store.scan(scope, where, limit=10)))

    clock(20)
    store.get(NS, "ever")
    assert records() == 2, "nobody has read it, and it is not time yet"
    clock(20)
    asyncio.run(store.aget(NS, "ever"))
    deadline = time.monotonic() + 30
    while records() > 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert records() == 1


def test_a_clock_set_back_does_not_put_off_sweeping(memory, request, clock, monkeypatch):
    store = PagefaultStore(memory, name=request.node.name, ttl={"sweep_interval_minutes": 30})
    swept = []

    async def sweep(self):
        swept.append(self)

    monkeypatch.setattr("pagefault.shelf.Shelf.sweep", sweep)
    year = 365 * 24 * 60
    for minutes, sweeps in ((year, 1), (20, 1), (-year, 2), (20, 2), (20, 3)):
        clock(minutes)
        store.get(NS, "k")
        memory.flush()  # on the same loop, behind what was begun there
        assert len(swept) == sweeps, minutes


def test_a_sweep_that_fails_costs_nobody_anything(memory, request, clock, caplog, monkeypatch):
    store = PagefaultStore(memory, name=request.node.name, ttl={"sweep_interval_minutes": 1})
    store.put(NS, "ever", {"v": 1})

    async def fails(self):
        raise pagefault.StoreError("the fake store is down")

    monkeypatch.setattr("pagefault.shelf.Shelf.sweep", fails)
    clock(2)
    assert store.get(NS, "ever").value == {"v": 1}
    deadline = time.monotonic() + 30
    while "not removed yet" not in caplog.text and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "the fake store is down" in caplog.text


def test_the_stores_own_times(memory, request, clock):
    store = PagefaultStore(memory, name=request.node.name, ttl={"default_ttl": 10, "refresh_on_read": False})
    store.put(NS, "default", {})
    store.put(NS, "ever", {}, ttl=None)
    store.put(NS, "long", {}, ttl=100)
    store.compare_and_set(NS, "compared", {}, version=0)
    clock(6)
    assert len(store.search(NS)) == 4
    version = store.get(NS, "default").version
    clock(6)
    assert {item.key for item in store.search(NS)} == {"ever", "long"}
    store.sweep_ttl()
    asyncio.run(store.asweep_ttl())
    with pytest.raises(VersionConflict):
        store.compare_and_set(NS, "default", {}, version=version)


# -- what search sees --------------------------------------------------------------------------


def test_fields_of_a_store(memory, request):
    store = PagefaultStore(memory, name=request.node.name, fields=["text"])
    store.put(NS, "k", {"text": "apples", "secret": "zebra"})
    store.put(NS, "all", {"text": "pears", "secret": "zebra"}, index=["$"])
    assert [item.key for item in store.search(NS, query="zebra")] == ["all"]
    assert [item.key for item in store.search(NS, query="apples")] == ["k"]


def test_large_values_and_many_namespaces(store):
    store.put(NS, "large", {"text": "x" * 3_000_000})
    store.batch([PutOp((f"n{i}", "x"), "k", {"i": i}) for i in range(300)])
    assert len(store.get(NS, "large").value["text"]) == 3_000_000
    assert len(store.list_namespaces(limit=1000)) == 301
    assert [item.value["i"] for item in store.search((), limit=300)][:3] == [299, 298, 297]
    assert len(store.search((), limit=300, filter={"i": {"$lt": 250}})) == 250


def test_an_embedder_that_fails_costs_meaning_and_no_item(caplog):
    class Failing(HashingEmbedder):
        is_down = False

        def embed(self, texts):
            if self.is_down:
                raise EmbedderError("the fake embedder is down")
            return super().embed(texts)

    embedder = Failing()
    with pagefault.open(":memory:", embedder=embedder) as memory:
        store = PagefaultStore(memory)
        store.put(NS, "before", {"text": "red apples"})
        embedder.is_down = True
        store.put(NS, "during", {"text": "green apples"})
        assert {item.key for item in store.search(NS, query="apples")} == {"before", "during"}
        assert "full text" in caplog.text


# -- graphs, loops, life -----------------------------------------------------------------------


class State(TypedDict):
    seen: list[str]


def test_in_a_graph(store):
    def remember(state):
        get_store().put(("users", "ada"), "diet", {"text": "vegan"})
        return {"seen": ["put"]}

    async def look(state):
        found = await get_store().asearch(("users",), query="vegan")
        return {"seen": [*state["seen"], found[0].key]}

    builder = StateGraph(State)
    builder.add_node("remember", remember)
    builder.add_node("look", look)
    builder.add_edge(START, "remember")
    builder.add_edge("remember", "look")
    builder.add_edge("look", END)
    graph = builder.compile(store=store)
    for _ in range(2):  # each on a loop of its own
        assert asyncio.run(graph.ainvoke({"seen": []})) == {"seen": ["put", "diet"]}


@pytest.mark.filterwarnings("ignore:Deserializing unregistered type")
def test_an_item_in_a_state_comes_back_from_its_checkpoint(store):
    """It came back as a dictionary, which has no ``value``, where items of other stores come back as items."""
    store.put(NS, "k", {"n": 1})
    serializer = JsonPlusSerializer()
    for item in (store.get(NS, "k"), *store.search(NS)):
        again = serializer.loads_typed(serializer.dumps_typed(item))
        assert type(again) is type(item)
        assert again == item
        assert again.dict() == item.dict()
    again = serializer.loads_typed(serializer.dumps_typed(store.get(NS, "k")))
    assert store.compare_and_set(NS, "k", {"n": 2}, version=again.version)


def test_sync_calls_work_on_a_running_loop(store):
    async def main():
        store.put(NS, "k", {"v": 1})
        return store.get(NS, "k"), await store.aget(NS, "k")

    one, other = asyncio.run(main())
    assert one == other


def test_stores_of_other_names_and_tenants_are_apart(memory, store, request):
    store.put(NS, "k", {"v": 1})
    assert PagefaultStore(memory, name=request.node.name).get(NS, "k")
    assert PagefaultStore(memory, name=request.node.name, tenant="evil").search(()) == []
    assert PagefaultStore(memory, name="other").list_namespaces() == []


def test_the_factory_opens_and_closes(tmp_path, monkeypatch):
    async def main(*place):
        async with open_store(*place) as store:
            await store.aput(NS, "k", {"v": 1})
        with pytest.raises(MemoryClosed):
            await store.aget(NS, "k")

    asyncio.run(main(str(tmp_path / "one")))
    monkeypatch.setenv("PAGEFAULT_MEMORY", str(tmp_path / "two"))
    asyncio.run(main())
    with pagefault.open(tmp_path / "two") as memory:
        assert PagefaultStore(memory).get(NS, "k").value == {"v": 1}


def test_what_it_is_made_of_is_checked(memory, tmp_path):
    with pytest.raises(TypeError, match=r"pagefault\.open"):
        PagefaultStore("./agent-memory")
    with pytest.raises(TypeError, match="list of paths"):
        PagefaultStore(memory, fields="text")
    with pytest.raises(InvalidId):
        PagefaultStore(memory, tenant="")
    with pagefault.open(tmp_path, require_tenant=True) as strict, pytest.raises(InvalidId, match="tenant"):
        PagefaultStore(strict)


def _in_threads(*work):
    threads = [threading.Thread(target=each) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
