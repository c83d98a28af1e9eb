"""What a LangGraph store does, from the documentation of ``BaseStore``.

Each check runs on PagefaultStore, sync and async, and on LangGraph's own InMemoryStore;
``DEVIATES`` lists where that one does otherwise. An entry that no longer holds fails.
"""

from __future__ import annotations

import asyncio
import inspect
import threading

import pytest
from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
)
from langgraph.store.memory import InMemoryStore

import pagefault
from pagefault.testing.embedders import HashingEmbedder
from pagefault_langgraph import PagefaultStore

EMBEDDER = HashingEmbedder()
DEVIATES = {
    "test_created_at_survives_an_update": "resets it",
    "test_values_are_copies": "hands out what it holds, nested values are shared both ways",
    "test_the_newest_come_first_without_a_query": "gives the order of insertion",
    "test_an_item_that_is_not_indexed_any_more_is_not_found_by_query": "keeps the old vector (#8214)",
    "test_only_indexed_items_answer_a_query": "fills up with items that have no score",
    "test_equal_texts_in_one_batch": "embeds them once and fails (#8822)",
    "test_a_miss_or_a_deletion_leaves_no_namespace": "lists both (#8734)",
    "test_comparisons_with_what_is_not_there_do_not_match": "raises TypeError",
    "test_numbers_and_text_are_not_compared": "raises ValueError, and cannot compare text at all",
    "test_truth_is_no_number": "compares as Python does",
    "test_an_unknown_operator_is_refused_even_if_nothing_is_there": "looks at filters only where there are items",
    "test_raw_operations_are_checked_too": "takes any label in a raw operation",
    "test_negative_pages_are_refused": "counts them from the end",
    "test_a_list_is_a_namespace_too": "finds nothing for one",
    "test_ints_as_keys_are_text_everywhere": "keeps them as they are in raw operations",
    "test_items_expire": "knows no time to live",
    "test_a_put_says_anew_how_long_an_item_lives": "knows no time to live",
    "test_reading_is_no_update": "knows no time to live",
    "test_a_key_that_expired_is_a_new_item": "knows no time to live",
    "test_what_is_no_index_is_refused": "takes any iterable, and raises TypeError for what is none",
    "test_words_and_meaning_rank_together": "goes by vectors alone, which a word that is in one text does not decide",
    "test_threads_write_and_search_at_once": "changes its dictionaries while others iterate over them",
    "test_a_bad_filter_among_good_operations_does_nothing": "writes some of them, or nothing, depending on the data",
}
RACES = {"test_threads_write_and_search_at_once", "test_words_and_meaning_rank_together"}
"""Deviations that a run may not show."""


class Awaited:
    """A store whose sync methods are its async ones, each on an event loop of its own."""

    def __init__(self, store):
        self._store = store

    def __getattr__(self, name):
        method = getattr(self._store, name if name.startswith("a") else f"a{name}")
        return lambda *args, **kwargs: asyncio.run(method(*args, **kwargs))


@pytest.fixture(scope="module")
def memory():
    with pagefault.open(":memory:", embedder=EMBEDDER) as memory:
        yield memory


@pytest.fixture(params=["pagefault", "pagefault-async", "InMemoryStore"])
def store(request, memory):
    if request.param == "InMemoryStore":
        name = request.function.__name__
        if name in DEVIATES:
            request.node.add_marker(pytest.mark.xfail(reason=DEVIATES[name], strict=name not in RACES))
        return InMemoryStore(index={"dims": EMBEDDER.dimension, "embed": EMBEDDER.embed})
    made = PagefaultStore(memory, name=request.node.name)  # an empty store for each test
    return Awaited(made) if request.param.endswith("async") else made


def keys(items):
    return [item.key for item in items]


def test_the_list_of_deviations_names_checks():
    assert set(DEVIATES) <= {name for name, each in globals().items() if inspect.isfunction(each)}


# -- get, put, delete --------------------------------------------------------------------------


def test_what_is_put_comes_back(store):
    value = {"s": "é\ud83d", "n": 2**70, "f": 0.1, "deep": {"a": [1, {"b": None}]}, "t": True, "": "empty"}
    store.put(("users", "ada"), "k", value)
    item = store.get(("users", "ada"), "k")
    assert item.value == value
    assert (item.namespace, item.key) == (("users", "ada"), "k")
    assert item.created_at.tzinfo is not None
    assert item.created_at <= item.updated_at
    assert store.get(("users", "ada"), "other") is None
    assert store.get(("users",), "k") is None


def test_a_later_put_replaces_and_a_delete_removes(store):
    store.put(("a",), "k", {"v": 1})
    store.put(("a",), "k", {"w": 2})
    assert store.get(("a",), "k").value == {"w": 2}
    store.delete(("a",), "k")
    store.delete(("a",), "k")
    assert store.get(("a",), "k") is None
    assert store.search(("a",)) == []


def test_created_at_survives_an_update(store):
    store.put(("a",), "k", {"v": 1})
    first = store.get(("a",), "k")
    store.put(("a",), "k", {"v": 2})
    second = store.get(("a",), "k")
    assert second.created_at == first.created_at
    assert second.updated_at > first.updated_at


def test_values_are_copies(store):
    value = {"list": [1]}
    store.put(("a",), "k", value)
    value["list"].append(2)
    assert store.get(("a",), "k").value == {"list": [1]}
    store.get(("a",), "k").value["list"].append(3)
    assert store.get(("a",), "k").value == {"list": [1]}


def test_a_value_that_json_cannot_hold_is_refused(store):
    if isinstance(store, InMemoryStore):
        pytest.skip("keeps Python objects as they are, which the interface does not forbid")
    with pytest.raises(ValueError, match="JSON"):
        store.put(("a",), "k", {"v": {1, 2}})
    assert store.get(("a",), "k") is None


# -- batches -----------------------------------------------------------------------------------


def test_an_empty_batch(store):
    assert store.batch([]) == []
    assert store.batch(iter(())) == []


def test_reads_come_before_writes_and_the_last_write_wins(store):
    store.put(("a",), "k", {"v": 0})
    results = store.batch(
        [
            PutOp(("a",), "k", {"v": 1}),
            GetOp(("a",), "k"),
            PutOp(("a",), "new", {"v": 1}),
            SearchOp(("a",)),
            PutOp(("a",), "k", {"v": 2}),
            ListNamespacesOp(),
            PutOp(("a",), "k", {"v": 3}),
            GetOp(("a",), "new"),
            PutOp(("b",), "gone", {"v": 1}),
            PutOp(("b",), "gone", None),
        ]
    )
    assert [type(each) for each in results[::2]] == [type(None)] * 5
    assert results[1].value == {"v": 0}
    assert keys(results[3]) == ["k"]
    assert results[5] == [("a",)]
    assert results[7] is None
    assert store.get(("a",), "k").value == {"v": 3}
    assert store.get(("a",), "new").value == {"v": 1}
    assert store.get(("b",), "gone") is None


def test_a_listing_and_a_search_see_deletions_of_earlier_batches_only(store):
    store.put(("a",), "k", {"v": 0})
    results = store.batch([PutOp(("a",), "k", None), SearchOp(("a",)), ListNamespacesOp(), GetOp(("a",), "k")])
    assert (keys(results[1]), results[2], results[3].value) == (["k"], [("a",)], {"v": 0})
    assert store.batch([GetOp(("a",), "k"), SearchOp(("a",))]) == [None, []]


def test_the_last_of_deletion_and_write_wins(store):
    store.batch([PutOp(("a",), "k", {"v": 1}), PutOp(("a",), "k", None)])
    assert store.get(("a",), "k") is None
    store.batch([PutOp(("a",), "k", None), PutOp(("a",), "k", {"v": 2})])
    assert store.get(("a",), "k").value == {"v": 2}


def test_equal_texts_in_one_batch(store):
    store.batch([PutOp(("a",), key, {"text": "the same"}) for key in "xyz"])
    assert sorted(keys(store.search(("a",), query="the same"))) == ["x", "y", "z"]


def test_a_bad_filter_among_good_operations_does_nothing(store):
    store.put(("a",), "k", {"v": 0})
    with pytest.raises(ValueError, match="nope"):
        store.batch([PutOp(("a",), "k", {"v": 1}), SearchOp(("z",), filter={"v": {"$nope": 1}})])
    assert store.get(("a",), "k").value == {"v": 0}


def test_raw_operations_are_checked_too(store):
    for op in (
        GetOp(("a.b",), "k"),
        PutOp(("a\x00",), "k", {}),
        SearchOp(("",)),
        PutOp((1,), "k", {}),
        ListNamespacesOp((MatchCondition("prefix", ("a.b",)),)),
    ):
        with pytest.raises(InvalidNamespaceError):
            store.batch([op])


# -- namespaces --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "namespace", [("a.b",), ("",), ("a", ""), ("a\x00b",), (1,), ("a", None), ("langgraph", "x"), ()]
)
def test_odd_namespaces_are_refused(store, namespace):
    with pytest.raises(InvalidNamespaceError):
        store.put(namespace, "k", {"v": 1})
    assert store.list_namespaces() == []


def test_namespaces_are_compared_label_by_label(store):
    for namespace in (("t", "a"), ("t", "ab"), ("t", "a", "b"), ("ta",), ("t", "%"), ("t", "a/b"), ("t", '"')):
        store.put(namespace, "k", {"v": 1})
    found = {item.namespace for item in store.search(("t", "a"))}
    assert found == {("t", "a"), ("t", "a", "b")}
    assert {item.namespace for item in store.search(("t", "a"), query="v")} == found
    assert {item.namespace for item in store.search(("t", "%"))} == {("t", "%")}
    assert store.search(("t", "*")) == []
    assert len(store.search(())) == 7


def test_a_list_is_a_namespace_too(store):
    store.put(("a", "b"), "k", {"v": 1})
    assert keys(store.search(["a"])) == ["k"]


def test_ints_as_keys_are_text_everywhere(store):
    store.put(("a",), 7, {"v": 1})
    assert store.get(("a",), 7).key == "7"
    assert store.batch([GetOp(("a",), 7)])[0].value == {"v": 1}


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({}, [("a",), ("a", "b"), ("a", "b", "c"), ("a", "x", "c"), ("ab", "c"), ("b",)]),
        ({"prefix": ("a",)}, [("a",), ("a", "b"), ("a", "b", "c"), ("a", "x", "c")]),
        ({"prefix": ("a", "*")}, [("a", "b"), ("a", "b", "c"), ("a", "x", "c")]),
        ({"prefix": ("*", "b")}, [("a", "b"), ("a", "b", "c")]),
        ({"suffix": ("c",)}, [("a", "b", "c"), ("a", "x", "c"), ("ab", "c")]),
        ({"suffix": ("*", "c")}, [("a", "b", "c"), ("a", "x", "c"), ("ab", "c")]),
        ({"prefix": ("a",), "suffix": ("c",)}, [("a", "b", "c"), ("a", "x", "c")]),
        ({"prefix": ("a",), "suffix": ("b", "*")}, [("a", "b", "c")]),
        ({"max_depth": 1}, [("a",), ("ab",), ("b",)]),
        ({"max_depth": 2, "prefix": ("a",)}, [("a",), ("a", "b"), ("a", "x")]),
        ({"limit": 2, "offset": 1}, [("a", "b"), ("a", "b", "c")]),
        ({"limit": 2, "offset": 5}, [("b",)]),
        ({"prefix": ("zz",)}, []),
        ({"prefix": ("a", "*", "c")}, [("a", "b", "c"), ("a", "x", "c")]),
        ({"prefix": ("*",)}, [("a",), ("a", "b"), ("a", "b", "c"), ("a", "x", "c"), ("ab", "c"), ("b",)]),
        ({"suffix": ("a", "b", "c", "d")}, []),
        ({"suffix": ("*", "b", "*")}, [("a", "b", "c")]),
        ({"prefix": ("a", "b"), "suffix": ("b", "c")}, [("a", "b", "c")]),
        ({"max_depth": 0}, [()]),
        ({"max_depth": 9, "prefix": ("a", "b")}, [("a", "b"), ("a", "b", "c")]),
        ({"max_depth": 1, "limit": 1, "offset": 1}, [("ab",)]),
        ({"limit": 0}, []),
    ],
)
def test_namespaces_are_listed(store, how, expected):
    for namespace in (("b",), ("a",), ("a", "b"), ("a", "b", "c"), ("a", "x", "c"), ("ab", "c")):
        store.put(namespace, "k", {"v": 1})
        store.put(namespace, "l", {"v": 1})
    assert store.list_namespaces(**how) == expected


def test_a_miss_or_a_deletion_leaves_no_namespace(store):
    store.get(("missed",), "k")
    store.put(("deleted",), "k", {"v": 1})
    store.delete(("deleted",), "k")
    assert store.list_namespaces() == []


# -- search ------------------------------------------------------------------------------------


def test_the_newest_come_first_without_a_query(store):
    for i in range(5):
        store.put(("a",), f"k{i}", {"v": i})
    store.put(("a",), "k1", {"v": 9})
    assert keys(store.search(("a",))) == ["k1", "k4", "k3", "k2", "k0"]


def test_pages_of_a_search(store):
    store.batch([PutOp(("a",), f"k{i}", {"v": i, "text": f"word {i}"}) for i in range(25)])
    for query in (None, "word"):
        pages = [keys(store.search(("a",), query=query, limit=10, offset=offset)) for offset in (0, 10, 20, 30)]
        assert [len(page) for page in pages] == [10, 10, 5, 0]
        assert len({key for page in pages for key in page}) == 25
    assert len(store.search(("a",))) == 10
    assert store.search(("a",), limit=0) == []


def test_negative_pages_are_refused(store):
    store.put(("a",), "k", {"v": 1})
    for how in ({"limit": -1}, {"offset": -1}):
        with pytest.raises(ValueError, match="-1"):
            store.search(("a",), **how)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"n": 2}, "c"),
        ({"n": {"$eq": 2}}, "c"),
        ({"n": {"$ne": 2}}, "abd"),
        ({"n": {"$gt": 1}}, "cd"),
        ({"n": {"$gte": 1}}, "bcd"),
        ({"n": {"$lt": 1}}, "a"),
        ({"n": {"$lte": 1}}, "ab"),
        ({"n": {"$gt": 0, "$lt": 3}}, "bc"),
        ({"n": {"$gt": 0.5}, "even": True}, "c"),
        ({"deep": {"half": 1.5}}, "d"),
        ({"deep": {"half": {"$lt": 1}}}, "ab"),
        ({"list": [2, "x"]}, "c"),
        ({"n": 2, "even": False}, ""),
        ({"gone": None}, "abcd"),
        ({"gone": {"$ne": 1}}, "abcd"),
        ({"gone": 1}, ""),
        ({"n": 1.0}, "b"),
        ({"n": {"$ne": 2, "$lt": 3}}, "ab"),
        ({"n": {"$eq": 1, "$gt": 1}}, ""),
        ({"deep": {"$eq": {"half": 0.5, "x": 1}}}, "b"),
        ({"deep": {"$eq": {"half": 0.5}}}, ""),
        ({"deep": {}}, "abcd"),
        ({"t": {}}, ""),
        ({"t": {"$eq": "number"}}, "abcd"),
        ({"deep.half": 1.5}, ""),
        ({}, "abcd"),
    ],
)
@pytest.mark.parametrize("query", [None, "number"])
def test_filters(store, wanted, expected, query):
    for i, key in enumerate("abcd"):
        store.put(
            ("a",), key, {"n": i, "even": i % 2 == 0, "deep": {"half": i / 2, "x": 1}, "list": [i, "x"], "t": "number"}
        )
    assert sorted(keys(store.search(("a",), filter=wanted, query=query))) == list(expected)


def test_comparisons_with_what_is_not_there_do_not_match(store):
    store.put(("a",), "k", {"v": 1})
    assert store.search(("a",), filter={"gone": {"$gt": 0}}) == []


def test_numbers_and_text_are_not_compared(store):
    store.put(("a",), "k", {"day": "2026-11-22"})
    assert store.search(("a",), filter={"day": {"$gt": 5}}) == []
    assert keys(store.search(("a",), filter={"day": {"$gte": "2026-11", "$lt": "2026-12"}})) == ["k"]


def test_truth_is_no_number(store):
    store.put(("a",), "k", {"v": True})
    assert store.search(("a",), filter={"v": 1}) == []


@pytest.mark.parametrize("wanted", [{"v": {"$in": [1]}}, {"v": {"$gt": 1, "x": 2}}])
def test_unknown_operators_are_refused(store, wanted):
    store.put(("a",), "k", {"v": 3})
    with pytest.raises(ValueError, match="perator"):
        store.search(("a",), filter=wanted)


def test_an_unknown_operator_is_refused_even_if_nothing_is_there(store):
    with pytest.raises(ValueError, match="operator"):
        store.search(("a",), filter={"v": {"$in": [1]}})


def test_a_query_ranks(store):
    store.put(("a",), "cat", {"text": "the cat sat on the mat"})
    store.put(("a",), "dog", {"text": "a dog barked at night"})
    store.put(("a",), "tax", {"text": "tax returns are due"})
    found = store.search(("a",), query="dog at night")
    assert found[0].key == "dog"
    scores = [item.score for item in found if item.score is not None]
    assert scores == sorted(scores, reverse=True)
    assert store.search(("a",))[0].score is None


def test_words_and_meaning_rank_together(store):
    for i in range(60):
        store.put(
            ("a",), f"k{i}", {"text": f"a report of the usual kind, number {i}, with the usual parts and remarks"}
        )
    store.put(("a",), "needle", {"text": "a report of the usual kind, number zx81, with the usual parts and remarks"})
    found = store.search(("a",), query="which report of the usual kind with remarks has zx81", limit=1)
    assert keys(found) == ["needle"]


def test_index_says_what_a_query_sees(store):
    value = {"title": "apples", "notes": [{"t": "bread"}, {"t": "cheese"}], "secret": "zebra"}
    store.put(("a",), "some", value, index=["title", "notes[*].t"])
    store.put(("a",), "one", {"title": "wood", "secret": "apples"}, index=["title"])
    assert keys(store.search(("a",), query="apples"))[0] == "some"
    assert keys(store.search(("a",), query="cheese"))[0] == "some"
    assert store.get(("a",), "some").value == value


def test_each_element_of_a_list_is_found_by_itself(store):
    others = [f"a long remark on number {i} of the many other things" for i in range(20)]
    store.put(("a",), "many", {"notes": [*others[:10], "striped zebra", *others[10:]]}, index=["notes[*]"])
    store.put(("a",), "one", {"notes": ["striped zebra and spotted cheetah at a zoo"]}, index=["notes[*]"])
    assert keys(store.search(("a",), query="striped zebra", limit=1)) == ["many"], "its best element is the question"


@pytest.mark.parametrize(
    ("path", "sees"),
    [
        ("title", "apples"),
        ("meta.by.name", "ada"),
        ("notes[*].t", "bread cheese"),
        ("notes[0].t", "bread"),
        ("notes[-1].t", "cheese"),
        ("tags[*]", "red green"),
        ("n", "42"),
        ("gone", ""),
        ("gone[*].deeper", ""),
        ("title[0]", ""),
    ],
)
def test_paths_of_an_index(store, path, sees):
    value = {"title": "apples", "meta": {"by": {"name": "ada"}}, "notes": [{"t": "bread"}, {"t": "cheese"}]}
    value |= {"tags": ["red", "green"], "n": 42, "none": None}
    store.put(("a",), "k", value, index=[path])
    words = ("apples", "ada", "bread", "cheese", "red", "green", "42")
    scores = {word: [i.score for i in store.search(("a",), query=word) if i.score is not None] for word in words}
    seen = [scores.pop(word) for word in sees.split()]
    assert all(mine and mine > other for mine in seen for other in scores.values())
    assert seen or not any(scores.values())


def test_what_is_no_index_is_refused(store):
    for index in (True, 3, "text", [1], {"text": 1}):
        with pytest.raises(ValueError, match="index"):
            store.put(("a",), "k", {"text": "apples"}, index=index)
    assert store.get(("a",), "k") is None


def test_a_query_and_a_filter_together(store):
    for i in range(12):
        store.put(("a",), f"k{i}", {"text": "red apples", "even": i % 2 == 0, "n": i})
    store.put(("b",), "k", {"text": "red apples", "even": True, "n": 0})
    pages = [keys(store.search(("a",), query="apples", filter={"even": True}, limit=4, offset=o)) for o in (0, 4, 8)]
    assert [len(page) for page in pages] == [4, 2, 0]
    assert {key for page in pages for key in page} == {f"k{i}" for i in range(0, 12, 2)}
    assert keys(store.search(("a",), query="apples", filter={"even": True, "n": {"$gte": 9}})) == ["k10"]
    assert store.search(("a",), query="apples", filter={"n": {"$gt": 99}}) == []


def test_an_empty_query_is_none(store):
    store.put(("a",), "k", {"v": 1}, index=False)
    (item,) = store.search(("a",), query="")
    assert (item.key, item.score) == ("k", None)


def test_only_indexed_items_answer_a_query(store):
    store.put(("a",), "in", {"text": "apples"})
    store.put(("a",), "out", {"text": "apples"}, index=False)
    store.put(("a",), "none", {"other": "apples"}, index=["text"])
    assert keys(store.search(("a",), query="apples")) == ["in"]
    assert sorted(keys(store.search(("a",)))) == ["in", "none", "out"]


def test_an_item_that_is_not_indexed_any_more_is_not_found_by_query(store):
    store.put(("a",), "k", {"text": "apples"})
    store.put(("a",), "k", {"text": "apples"}, index=False)
    assert [item for item in store.search(("a",), query="apples") if item.score is not None] == []


# -- time to live ------------------------------------------------------------------------------


def test_a_put_says_anew_how_long_an_item_lives(store, monkeypatch):
    store.put(("a",), "longer", {"v": 1}, ttl=1)
    store.put(("a",), "longer", {"v": 2}, ttl=10)
    store.put(("a",), "ever", {"v": 1}, ttl=1)
    store.put(("a",), "ever", {"v": 2}, ttl=None)
    store.put(("a",), "by default", {"v": 1}, ttl=1)
    store.put(("a",), "by default", {"v": 2})
    store.put(("a",), "shorter", {"v": 1})
    store.put(("a",), "shorter", {"v": 2}, ttl=0.5)
    later = _clock(monkeypatch, 61)
    assert sorted(keys(store.search(("a",), refresh_ttl=False))) == ["by default", "ever", "longer"]
    later(600)
    assert sorted(keys(store.search(("a",), refresh_ttl=False))) == ["by default", "ever"]


def test_reading_is_no_update(store, monkeypatch):
    for key in "ab":
        store.put(("a",), key, {"v": 1}, ttl=10)
    before = store.get(("a",), "a", refresh_ttl=False)
    later = _clock(monkeypatch, 60)
    store.get(("a",), "a")
    assert keys(store.search(("a",), refresh_ttl=False)) == ["b", "a"]
    assert store.get(("a",), "a", refresh_ttl=False).updated_at == before.updated_at
    later(9.5 * 60)
    assert keys(store.search(("a",), refresh_ttl=False)) == ["a"], "only what was read lives on"


def test_a_key_that_expired_is_a_new_item(store, monkeypatch):
    store.put(("a",), "k", {"v": 1}, ttl=1)
    before = store.get(("a",), "k").created_at
    _clock(monkeypatch, 120)
    store.put(("a",), "k", {"v": 2})
    assert store.get(("a",), "k").created_at > before


def test_items_expire(store, monkeypatch):
    store.put(("a",), "short", {"v": 1}, ttl=1)
    store.put(("a",), "ever", {"v": 1}, ttl=None)
    later = _clock(monkeypatch, 61)
    assert keys(store.search(("a",))) == ["ever"]
    assert keys(store.search(("a",), query="v 1")) == ["ever"]
    assert store.get(("a",), "short") is None
    store.put(("b",), "short", {"v": 1}, ttl=1)
    later(61)
    assert store.list_namespaces() == [("a",)]


# -- threads -----------------------------------------------------------------------------------


def test_threads_write_and_search_at_once(store):
    errors = []

    def work(me):
        try:
            for i in range(15):
                store.put((f"t{me}", str(i)), "k", {"v": i, "text": f"of {me}"})
                store.search((), query="of", limit=3)
                store.search((f"t{me}",), filter={"v": {"$gte": 0}})
                assert store.get((f"t{me}", str(i)), "k").value["v"] == i
        except Exception as error:  # noqa: BLE001  # shown by the assertion below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(me,)) for me in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(store.list_namespaces(limit=1000)) == 60


def _clock(monkeypatch, seconds):
    import time  # noqa: PLC0415  # beside its replacement

    real, ahead = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + ahead[0])

    def later(more):
        ahead[0] += more

    later(seconds)
    return later
