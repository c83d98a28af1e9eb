"""What is particular to the embedded store."""

from __future__ import annotations

import asyncio
import json
import math
import os
import stat
from dataclasses import replace
from functools import partial

import pytest
from qdrant_edge import CountRequest, EdgeShard, UpdateOperation

from pagefault.chain import chunk_id
from pagefault.errors import (
    CorruptPage,
    MemoryClosed,
    StoreError,
    StoreLocked,
    StoreMismatch,
    StoreUnwritable,
)
from pagefault.ports import FORMAT, Where
from pagefault.stores import EdgeStore, edge_calls, layout
from pagefault.stores.engine import engine_errors
from pagefault.testing import ThreadRunner
from pagefault.testing.store_contract import HEADER, OURS, head, page, terms

LARGE = "z" * 3_000_000


def in_store(path, body, header=HEADER):
    async def main():
        with ThreadRunner() as run:
            store = EdgeStore(path, run=run)
            await store.open(header)
            try:
                return await body(store, run)
            finally:
                await store.close()

    return asyncio.run(main())


async def nothing(store, run):
    pass


def test_a_directory_from_before_there_were_items_gets_their_index(tmp_path):
    async def forget_it(store, run):
        await run(
            partial(store._engine.call, lambda shard: shard.update(UpdateOperation.delete_field_index("tags"))),
            urgent=True,
        )

    async def indexes(store, run):
        return set(await run(partial(store._engine.call, lambda shard: shard.info().payload_schema), urgent=True))

    in_store(tmp_path, forget_it)
    assert "tags" in in_store(tmp_path, indexes)


def test_the_directory_is_private_and_says_what_wrote_it(tmp_path):
    path = tmp_path / "deep" / "er" / "data"
    in_store(path, nothing)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert json.loads((path / "pagefault.json").read_text()) == {
        "embedder": "probe-1",
        "dimension": 3,
        "fingerprint": "f" * 64,
        "version": FORMAT,
    }
    assert sorted(file.name for file in path.iterdir()) == ["pagefault.json", "pagefault.lock", "shard"]


@pytest.mark.parametrize("place", ["file", "file/data", "/proc/pagefault", "/dev/null/x"])
def test_a_place_that_cannot_be_written(tmp_path, place):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreUnwritable, match="can write"):
        in_store(tmp_path / place, nothing)
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_mismatch_names_both_sides(tmp_path):
    in_store(tmp_path, nothing)
    with pytest.raises(StoreMismatch) as caught:
        in_store(tmp_path, nothing, replace(HEADER, embedder="other", dimension=5, fingerprint=""))
    assert "'probe-1' (3 dimensions, fingerprint ffffffffffffffff)" in str(caught.value)
    assert "'other' (5 dimensions)" in str(caught.value)


def test_a_missing_fingerprint_is_learnt(tmp_path):
    in_store(tmp_path, nothing, replace(HEADER, fingerprint=""))
    in_store(tmp_path, nothing)
    with pytest.raises(StoreMismatch):
        in_store(tmp_path, nothing, replace(HEADER, fingerprint="0" * 64))
    in_store(tmp_path, nothing, replace(HEADER, fingerprint=""))
    assert json.loads((tmp_path / "pagefault.json").read_text())["fingerprint"] == "f" * 64


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"embedder": "x"}', "\x00"])
def test_a_broken_header_is_refused(tmp_path, text):
    in_store(tmp_path, nothing)
    (tmp_path / "pagefault.json").write_text(text)
    with pytest.raises(StoreMismatch, match=r"pagefault\.json is not a pagefault header"):
        in_store(tmp_path, nothing)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_in_the_place_of_the_header_is_waited_for_by_nobody(tmp_path):
    in_store(tmp_path, nothing)
    (tmp_path / "pagefault.json").unlink()
    os.mkfifo(tmp_path / "pagefault.json")
    with pytest.raises(StoreMismatch, match=r"pagefault\.json is no file"):
        in_store(tmp_path, nothing)


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="the system opens no file without following links")
@pytest.mark.parametrize("name", ["pagefault.lock", "pagefault.json.{pid}"])
def test_no_link_in_the_directory_makes_or_empties_a_file_elsewhere(tmp_path, name):
    data, kept, new = tmp_path / "data", tmp_path / "kept", tmp_path / "new"
    name = name.format(pid=os.getpid())
    data.mkdir()
    kept.write_text("precious")
    for target in (kept, new):
        (data / name).symlink_to(target)
        with pytest.raises(StoreUnwritable, match="symbolic link"):
            in_store(data, nothing)
        (data / name).unlink()
    assert kept.read_text() == "precious"
    assert not new.exists()
    in_store(data, nothing)


def test_a_lost_header_is_written_again_only_while_nothing_is_stored(tmp_path):
    async def write(store, run):
        await store.put(OURS, [page(1)])

    in_store(tmp_path, nothing)
    (tmp_path / "pagefault.json").unlink()
    in_store(tmp_path, write)
    (tmp_path / "pagefault.json").unlink()
    for _ in range(2):  # and the directory is let go of
        with pytest.raises(StoreMismatch, match=r"no pagefault\.json"):
            in_store(tmp_path, write)


def test_a_lost_shard_is_not_replaced_in_silence(tmp_path):
    in_store(tmp_path, nothing)
    (tmp_path / "shard").rename(tmp_path / "moved")
    with pytest.raises(StoreError, match="backup"):
        in_store(tmp_path, nothing)


def test_open_twice_at_once(tmp_path):
    async def main():
        with ThreadRunner() as run:
            store = EdgeStore(tmp_path, run=run)
            await asyncio.gather(store.open(HEADER), store.open(HEADER))
            with pytest.raises(StoreMismatch):
                await store.open(replace(HEADER, dimension=4))
            await store.put(OURS, [page(1)])
            await store.close()

    asyncio.run(main())


def test_calls_under_way_when_the_store_closes(tmp_path):
    async def body(store, run):
        calls = [store.get(OURS, [page(1).id]) for _ in range(3)]
        results = await asyncio.gather(store.close(), *calls, return_exceptions=True)
        assert all(isinstance(result, MemoryClosed) for result in results[1:])

    in_store(tmp_path, body)


def test_it_works_across_event_loops(tmp_path):
    with ThreadRunner() as run:
        store = EdgeStore(tmp_path, run=run)
        asyncio.run(store.open(HEADER))
        asyncio.run(store.put(OURS, [page(1)]))
        assert len(asyncio.run(store.scan(OURS, Where(), limit=9))) == 1
        asyncio.run(store.sync())
        asyncio.run(store.close())


def test_chunks_are_seen_by_nobody(tmp_path):
    record = page(1, LARGE, sparse=terms({1: 1.0}))

    async def body(store, run):
        await store.put(OURS, [record])
        points = await store._read(lambda shard: shard.count(CountRequest(exact=True)))
        assert points == 1 + 3
        ids = await chunks_of(store, record.id)
        assert await store.get(OURS, ids) == {}
        for kind in ("page", "head"):
            assert await store.scan(OURS, Where(kind=kind, ids=ids), limit=99) == []
        await store.index(OURS, {id_: [[1.0, 0.0, 0.0]] for id_ in ids})
        assert await store.search(OURS, [[1.0, 0.0, 0.0]], Where(), limit=99) == [[]]
        with pytest.raises(StoreError, match="another space or kind"):
            await store.put(OURS, [replace(page(2), id=ids[0])])

    in_store(tmp_path, body)


async def chunks_of(store, id_):
    payloads = await store._calls.fetch(OURS, [id_], bodies=False)
    return layout.chunk_ids(id_, str(payloads[id_][0]["chunks"]))


def test_a_missing_chunk_is_an_error_not_a_short_body(tmp_path):
    record = page(1, LARGE)

    async def body(store, run):
        await store.put(OURS, [record])
        (first, *_) = await chunks_of(store, record.id)
        await store._call(lambda shard: shard.update(UpdateOperation.delete_points([first])), urgent=False)
        with pytest.raises(CorruptPage, match="lacks chunk"):
            await store.get(OURS, [record.id])
        assert record.id in await store.get(OURS, [record.id], bodies=False)

    in_store(tmp_path, body)


def test_a_crash_between_chunks_and_page_cannot_mix_two_bodies(tmp_path):
    first, second = page(1, LARGE), replace(page(1, LARGE[::-1] + "y" * 2_000_000), id=page(1, LARGE).id)

    async def body(store, run):
        orphans = layout.rows(OURS, first, dimension=3)[:-1]
        await store._calls.write(OURS, orphans)
        await store.put(OURS, [second])
        assert (await store.get(OURS, [first.id]))[first.id].body == second.body

    in_store(tmp_path, body)


def test_a_large_head_leaves_no_chunks_behind(tmp_path):
    async def body(store, run):
        for length in range(4):
            await store.put(OURS, [head(length, LARGE + str(length))])
        await store.put(OURS, [head(5)])
        assert await store._read(lambda shard: shard.count(CountRequest(exact=True))) == 1

    in_store(tmp_path, body)


def test_a_head_replaced_while_it_is_read(tmp_path):
    async def body(store, run):
        await store.put(OURS, [head(1, LARGE)])
        seen = set()
        for length in range(2, 12):
            body_ = LARGE + str(length) if length % 3 else "{}"
            found, _ = await asyncio.gather(store.get(OURS, [head(0).id]), store.put(OURS, [head(length, body_)]))
            (record,) = found.values()
            assert record.body in {"{}", LARGE, *(LARGE + str(n) for n in range(12))}
            seen.add(record.seq)
        assert len(seen) > 1

    in_store(tmp_path, body)


def test_the_engine_is_held_for_short_units_only(tmp_path):
    async def body(store, run):
        await store.put(OURS, [page(n) for n in range(160)])
        assert run.other == 10
        await store.put(OURS, [page(200, LARGE)])
        assert run.other == 10 + 3
        await store.index(OURS, {page(n).id: [[1.0, 0.0, 0.0]] for n in range(33)})
        assert run.other == 13 + 3
        before = run.urgent
        await store.get(OURS, [page(n).id for n in range(128)], bodies=False)
        assert run.urgent == before + 2
        await store.put(OURS, [page(n, "path") for n in range(1000)])
        before = run.urgent
        assert len(await store.scan(OURS, Where(), limit=9999)) == 1161
        assert run.urgent >= before + 5

    in_store(tmp_path, body)


def test_a_retry_writes_nothing_again(tmp_path):
    records = [page(n, "x" * 50_000) for n in range(100)]

    async def body(store, run):
        wal = tmp_path / "shard" / "wal"
        await store.put(OURS, records)
        before = {file.name: file.read_bytes() for file in wal.iterdir()}
        await store.put(OURS, records)
        assert {file.name: file.read_bytes() for file in wal.iterdir()} == before

    in_store(tmp_path, body)


class PanicException(BaseException):
    pass


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (Exception("boom"), StoreError),
        (TypeError("boom"), StoreError),
        (OverflowError("boom"), StoreError),
        (Exception("failed to open WAL x: Can't init WAL: Kind(WouldBlock)"), StoreLocked),
        (Exception("write failed: No space left on device (os error 28)"), StoreUnwritable),
        (Exception('Can\'t init WAL: Os { code: 27, kind: FileTooLarge, message: "File too large" }'), StoreUnwritable),
        (Exception("Read-only file system (os error 30)"), StoreUnwritable),
        (PanicException("index out of bounds"), StoreError),
    ],
)
def test_engine_errors_become_ours(raised, expected):
    with pytest.raises(expected, match="/data") as caught, engine_errors("/data"):
        raise raised
    assert type(caught.value) is expected
    assert caught.value.__cause__ is raised


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), SystemExit(), CorruptPage("x"), MemoryClosed("y")])
def test_other_errors_pass(raised):
    with pytest.raises(type(raised)) as caught, engine_errors("/data"):
        raise raised
    assert caught.value is raised


def test_a_real_engine_error_is_mapped(tmp_path):
    async def body(store, run):
        with pytest.raises(StoreError, match="engine failed at"):
            await store._read(lambda shard: EdgeShard.load(str(tmp_path / "nowhere")))

    in_store(tmp_path, body)


def test_a_question_asked_again_has_the_same_scores(tmp_path):
    """To the last bit, although its words were not weighed yet when it was asked first."""
    records = [
        page(i, f"p{i}", sparse=terms({t: 0.1 + t / 7 for t in range(1, 12) if i % t == 0}), dense=[[1.0, i, 0.0]])
        for i in range(1, 60)
    ]
    asked = [[1.0, 5.0, 0.0], terms({2: 1.0, 3: 1.0, 7: 1.0, 11: 1.0})]

    async def body(store, run):
        await store.put(OURS, records)
        first, again = [await store.search(OURS, asked, Where(), limit=40) for _ in range(2)]
        assert [(hit.id, hit.score) for hit in first[1]] == [(hit.id, hit.score) for hit in again[1]]

    in_store(tmp_path, body)


def test_a_word_that_stands_beside_no_other_is_weighed_as_well(tmp_path):
    """The records that have most of a question's words do not have it; and a word that nobody has weighs nothing."""
    most = [page(i, f"p{i}", sparse=terms({1: 3.0, 2: 3.0, 3: 3.0})) for i in range(1, 20)]
    alone = page(20, "alone", sparse=terms({4: 0.1}))

    async def body(store, run):
        await store.put(OURS, [*most, alone])
        weights = await store.idf(OURS, [1, 2, 3, 4, 5])
        assert {term: round(weight, 5) for term, weight in weights.items()} == {
            **dict.fromkeys([1, 2, 3], round(math.log(21 / 19.5), 5)),
            4: round(math.log(21 / 1.5), 5),
        }
        assert await store.idf(OURS, [6, 7]) == {}

    in_store(tmp_path, body)


def test_the_words_of_a_long_question_are_weighed_a_few_at_a_time(tmp_path, monkeypatch):
    """The engine keeps the interpreter while it counts: for a thousand new words a quarter of a second, in one call."""
    records = [page(i, f"p{i}", sparse=terms(dict.fromkeys(range(i, i + 200), 1.0))) for i in range(1, 5)]
    read_off, asked = edge_calls._read_off, []

    def told(shard, scope, lists, kind, terms):
        asked.append(len(terms))
        return read_off(shard, scope, lists, kind, terms)

    monkeypatch.setattr(edge_calls, "_read_off", told)

    async def body(store, run):
        await store.put(OURS, records)
        (hits,) = await store.search(OURS, [terms(dict.fromkeys(range(1, 201), 1.0))], Where(), limit=4)
        assert [hit.seq for hit in hits] == [1, 2, 3, 4]

    in_store(tmp_path, body)
    assert sum(asked) == 200
    assert max(asked) <= 16


def test_fields_of_any_payload():
    """Packed, flat, amended since, chosen, and damaged."""
    packed = {"seq": 1, "_fields": '{"gist": "g", "tokens": 7}', "chain": "c"}
    assert layout.fields_of(packed) == {"gist": "g", "tokens": 7, "chain": "c"}
    assert layout.fields_of({"seq": 1, "gist": "g", "chain": "c"}) == {"gist": "g", "chain": "c"}
    assert layout.fields_of({**packed, "tokens": 8}) == {"gist": "g", "tokens": 8, "chain": "c"}
    assert layout.fields_of(packed, ("chain",)) == {"chain": "c"}
    assert layout.fields_of(packed, ("tokens", "x")) == {"tokens": 7}
    assert layout.fields_of({**packed, "tokens": 8}, ("tokens", "gist")) == {"tokens": 8, "gist": "g"}
    assert layout.fields_of({**packed, "x": 8}, ("x",)) == {"x": 8}
    for damaged in ("", "{", "[1]", "7"):
        assert layout.fields_of({**packed, "_fields": damaged}) == {"chain": "c"}


def test_chunk_ids_of_a_damaged_payload():
    for text in ("", "3", "x/" + "0" * 32, "-1/" + "0" * 32, "3/00"):
        with pytest.raises(CorruptPage):
            layout.chunk_ids(page(1).id, text)
    assert len(layout.chunk_ids(page(1).id, "3/" + "0" * 32)) == 3
    assert chunk_id(page(1).id, 0) not in layout.chunk_ids(page(1).id, "3/" + "0" * 32)


@pytest.mark.parametrize("bit", [22, 31])
def test_a_point_in_a_place_where_none_can_be_is_damage_that_the_engine_is_not_asked_about(tmp_path, bit):
    """It would make room for all places before that one: 128 MB here, and 64 GB."""

    async def write(store, run):
        await store.put(OURS, [page(1), page(2)])

    in_store(tmp_path, write)
    in_store(tmp_path, nothing)
    (file,) = tmp_path.glob("shard/segments/*/mutable_id_tracker.mappings")
    data = bytearray(file.read_bytes())
    data[-4 + bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)
    with pytest.raises(
        StoreError, match=r"is damaged: shard/.* has 2 entries and says that a point lies in place [\d,]+"
    ):
        in_store(tmp_path, nothing)
