"""One path: messages grouped into pages, counted and chained."""

from __future__ import annotations

import copy
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagefault.chat import CHAT
from pagefault.errors import UnsupportedMessage
from pagefault.estimate import EstimateCounter, reserved
from pagefault.messages import canonical
from pagefault.page import Kind
from pagefault.paths.content import copy_of, count, digest, imprints, materialise, read_as
from pagefault.paths.lineage import Lineage
from pagefault.paths.slot import LeftBehind
from pagefault.window.compaction import Block, Entry
from pagefault.window.view import Pin, View
from tests.core import conversation as c
from tests.core.strategies import doubled, family, few, json_values, nested, texts
from tests.cut_short import cut_short
from tests.properties import tried

TOOLS = [
    c.user("go"),
    c.calls("a", "b"),
    c.result("b", "two"),
    c.result("a", "one"),
    c.said("done"),
    c.calls("c"),
    c.user("never mind"),
    c.said("all right"),
    c.calls("d", "e"),
    c.result("d", "half"),
]


def imprint(messages):
    """Of one page."""
    return imprints(messages, [len(messages)], CHAT)[0]


def path(messages, **more):
    lineage = Lineage(CHAT, c.Quarters())
    lineage.extend(messages, now=1.0, **more)
    return lineage


@st.composite
def conversations(draw):
    """Any order of messages at all, valid for a provider or not."""
    messages = []
    for n in range(draw(st.integers(0, 15))):
        ids = st.lists(st.sampled_from("abc"), max_size=3, unique=True)
        text = draw(st.sampled_from(["", "short", "long " * 30]))
        asked = draw(st.integers(0, 2)) == 0
        messages.append(
            draw(
                st.sampled_from(
                    [c.user(f"{n} {text}"), c.said(text), c.system(text), c.calls(*draw(ids)) if asked else c.said("")]
                    + [c.result(i, text) for i in "abc"]
                )
            )
        )
    return messages


@given(conversations(), st.lists(st.integers(0, 15), max_size=3))
@few
def test_pages_are_the_same_however_the_messages_arrive(messages, cuts):
    lineage = Lineage(CHAT, c.Quarters())
    cuts = sorted({0, *(min(cut, len(messages)) for cut in cuts), len(messages)})
    for first, last in pairwise(cuts):
        lineage.extend(messages[first:last], now=1.0)
        if last % 2:
            assert lineage.slots is not None
    spans = [c.Span(s.start, s.stop, s.closed) for s in lineage.slots]
    assert spans == c.pages(messages)
    assert [s.seq for s in lineage.slots] == list(range(1, len(spans) + 1))
    assert [lineage.chain_at(n) for n in range(1, lineage.length + 1)] == c.chains(messages)


@given(conversations())
@few
def test_the_bound_is_a_bound_and_the_count_is_exact(messages):
    lineage = path(messages)
    exact = sum(c.tokens(m) for m in messages)
    assert lineage.ceiling() >= exact
    lineage.count_exactly()
    assert lineage.ceiling() == exact
    lineage.extend([c.user("more " * 20)], now=1.0)
    assert lineage.ceiling() >= exact + c.tokens(c.user("more " * 20))
    lineage.adopt(lineage.view)
    lineage.count_exactly()
    assert lineage.ceiling() == exact + c.tokens(c.user("more " * 20))


@given(conversations(), st.integers(0, 15))
@few
def test_a_fork_goes_on_like_a_path_of_its_own(messages, at):
    at = min(at, len(messages))
    parent = path(messages)
    child = parent.fork(at)
    assert len(child.seen) <= at
    tail = [*messages[len(child.seen) : at], c.user("another way")]
    child.extend(tail, now=2.0)
    whole = [*messages[:at], c.user("another way")]
    assert child.seen == whole
    assert [(s.start, s.stop, s.closed) for s in child.slots] == [
        (s.start, s.stop, s.closed) for s in path(whole).slots
    ]
    assert [child.chain_at(n) for n in range(1, child.length + 1)] == c.chains(whole)
    assert parent.seen == messages


def test_groups():
    lineage = path(TOOLS)
    assert [(s.start, s.stop, s.closed) for s in lineage.slots] == [
        (0, 1, True), (1, 4, True), (4, 5, True), (5, 7, True), (7, 8, True), (8, 10, False),
    ]  # fmt: skip
    assert lineage.length == 5
    assert lineage.chain_at(6) is None
    assert lineage.chain_at(0) is None
    lineage.extend([c.result("e", "whole")], now=1.0)
    assert lineage.length == 6
    assert lineage.chain_at(6)


@pytest.mark.parametrize(
    ("results", "kind"),
    [
        ([{"artifact": {"pagefault.recalled": []}}], Kind.RECALLED),
        ([{}], Kind.MESSAGE),
        ([{"artifact": {"pagefault.recalled": []}}, {}], Kind.MESSAGE),
        ([{}, {"artifact": {"pagefault.recalled": []}}], Kind.MESSAGE),
        ([{"artifact": {"pagefault.recalled": []}}] * 2, Kind.RECALLED),
    ],
)
def test_a_page_of_nothing_but_copies_is_recalled(results, kind):
    messages = [c.calls("a", "b")] if len(results) == 2 else [c.calls("a")]
    messages += [c.result(i, "x", **more) for i, more in zip("ab", results, strict=False)]
    (slot,) = path(messages).slots
    assert slot.kind is kind


def test_the_page_is_what_was_said():
    lineage = path(TOOLS)
    page = lineage.page(lineage.slots[1])
    assert canonical.load(page.body) == TOOLS[1:4]
    assert page.sha256 == canonical.sha256(page.body)
    assert (page.seq, page.chain, page.parent) == (2, lineage.chain_at(2), lineage.chain_at(1))
    assert (page.tokens, page.kind, page.format) == (sum(map(c.tokens, TOOLS[1:4])), Kind.MESSAGE, "chat/1")
    assert page.gist.startswith("search(")
    assert not page.opaque


def test_a_settled_page_keeps_its_numbers_and_can_be_made_again():
    lineage = path(TOOLS)
    before = lineage.page(lineage.slots[1])
    lineage.slots[1].hold(lineage.content_of(lineage.slots[1]))
    lineage.settle(lineage.slots[1])
    assert lineage.slots[1].content.body == ""
    assert lineage.page(lineage.slots[1]) == before
    fresh = path(TOOLS)
    fresh.settle(fresh.slots[0])
    assert fresh.slots[0].stored


def test_a_page_is_not_written_again_by_messages_that_were_changed_in_place():
    messages = copy.deepcopy(TOOLS)
    lineage = path(messages)
    lineage.link_up_to(lineage.length)
    for slot in lineage.slots[:4]:
        lineage.settle(slot)
    messages[2]["content"] = "another result"
    assert not lineage.doubt([2]), "under its chain it would be a damaged page"
    assert not lineage.doubt([1, 2])
    assert lineage.doubt([3])
    assert [slot.seq for slot in lineage.unstored(9)] == [3, 5]


def test_a_page_is_stored_as_it_was_chained_whatever_became_of_its_messages():
    messages = rich(odd=False)
    messages[1]["extra"] |= {"numbers": [1, 1.0, True, -0.0, None]}
    said = copy.deepcopy(messages)
    lineage = path(messages)
    lineage.link_up_to(lineage.length)  # as a pin does
    chains = c.chains(said)
    for message in messages:
        message["content"] = "something else"
    messages[1]["extra"]["deep"].append("z")
    for slot in lineage.slots:
        page = lineage.page(slot)
        assert canonical.load(page.body) == said[slot.start : slot.stop]
        assert (page.chain, page.body) == (chains[slot.seq - 1], canonical.dump(said[slot.start : slot.stop])[0])


def test_a_page_that_is_made_again_is_not_counted_again(monkeypatch):
    lineage = path(TOOLS)
    slot = lineage.slots[1]
    slot.hold(lineage.content_of(slot))
    lineage.settle(slot)
    counted = []
    monkeypatch.setattr(c.Quarters, "count", lambda _, text: counted.append(text) or 0)
    assert lineage.page(slot).tokens == slot.tokens > 0
    assert not counted, "a fault holds the space's lock meanwhile, and of a long result that takes seconds"


def test_what_is_not_stored_yet():
    lineage = path(TOOLS)
    assert [s.seq for s in lineage.unstored(3)] == [1, 2, 3]
    for slot in lineage.slots[:3]:
        lineage.settle(slot)
    assert [s.seq for s in lineage.unstored(9)] == [4, 5], "an open page is never written"
    assert lineage.doubt([2])
    assert [s.seq for s in lineage.unstored(9)] == [2, 4, 5]
    assert [lineage.is_behind(limit) for limit in (0, 2, 3, 4, 5, 6, 7)] == [True] * 2 + [False] * 5, "3 of 6 places"


def test_messages_that_are_only_in_the_store():
    lineage = path(TOOLS)
    page = lineage.page(lineage.slots[1])
    lineage.seen[1:4] = [LeftBehind() for _ in range(3)]
    assert lineage.left_behind([1, 2, 3]) == [2]
    assert not lineage.doubt([2])
    lineage.put_back(page)
    assert lineage.seen == TOOLS
    assert lineage.left_behind([1, 2, 3]) == []


def test_a_change_in_place_is_noticed():
    messages = copy.deepcopy(TOOLS)
    lineage = path(messages)
    assert lineage.first_changed(lineage.slots) is None, "nothing is known yet"
    lineage.count_exactly()
    messages[3]["content"] = "another"
    assert lineage.first_changed(lineage.slots) is lineage.slots[1]
    assert lineage.first_changed(lineage.slots[2:]) is None


def rename(message):
    message["ran"] = message.pop("tool_calls")


EDITS = [
    lambda m: m.update(content="b"),
    lambda m: m.update(content="A B".lower()),  # an equal text is the same, whichever object it is
    lambda m: m["extra"].update(limit=True),
    lambda m: m["extra"]["deep"].append("x"),
    lambda m: m["tags"].append("x"),
    lambda m: m["notes"].update(x=1),
    lambda m: m.update(flag=1),
    lambda m: m.update(extra={**m["extra"], "limit": 1.0}),
    lambda m: m["extra"].update(none=-0.0),
    lambda m: m.update(more=None),
    lambda m: m.pop("flag"),
    rename,
]


def rich(*, odd):
    extra = {"limit": 1, "deep": ["y"], "none": 0.0}
    more = {"extra": extra, "tags": [], "notes": {}, "flag": True, "tool_calls": [], **({"pair": ()} if odd else {})}
    return [c.user("hi"), {**c.said("a b"), **more}, c.user("ho"), c.said("done")]


@pytest.mark.parametrize("odd", [False, True], ids=["compared with a copy", "by its imprint"])
@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_of_whatever_kind_is_noticed(edit, odd):
    messages = rich(odd=odd)
    lineage = path(messages)
    lineage.count_exactly()
    lineage.link_up_to(lineage.length)
    assert (lineage.slots[1].copy is None) == odd
    before = digest(messages[1:2], CHAT)
    edit(messages[1])
    is_same = digest(messages[1:2], CHAT) == before
    assert lineage.first_changed(lineage.slots) is (None if is_same else lineage.slots[1])
    assert is_same == (edit is EDITS[1])


def test_prefixes():
    lineage = path(TOOLS)
    assert lineage.is_prefix_of(TOOLS)
    assert lineage.is_prefix_of([*TOOLS, c.user("more")])
    assert not lineage.is_prefix_of(TOOLS[:-1])
    assert not lineage.is_prefix_of([*TOOLS[:-1], c.result("d", "half")])
    assert not lineage.is_prefix_of([c.user("else"), *TOOLS[1:]])
    assert lineage.seen == TOOLS
    assert Lineage(CHAT, c.Quarters()).is_prefix_of([])


def test_messages_in_common():
    lineage = path(TOOLS)
    assert lineage.common(copy.deepcopy(TOOLS)) == len(TOOLS)
    assert lineage.common(TOOLS[:4]) == 4
    assert lineage.common([*TOOLS[:4], c.said("else"), *TOOLS[5:]]) == 4
    lost = path([c.user("\ud83d"), c.user("x")])
    assert lost.common([c.user("?"), c.user("x")]) == 2, "a serialiser's loss is no other message"


def test_all_or_nothing():
    lineage = path(TOOLS)
    with pytest.raises(UnsupportedMessage):
        lineage.extend([c.user("fine"), {"role": "critic"}], now=1.0)
    assert lineage.seen == TOOLS
    assert lineage.ceiling() == path(TOOLS).ceiling()


@given(json_values(), texts())
@few
def test_content_of_any_message(content, name):
    message = {"role": "user", "content": content, "name": name}
    made = materialise([message], CHAT, c.Quarters(), Kind.MESSAGE)
    assert canonical.load(made.body) == [message]
    assert made.digest == digest([message], CHAT)
    assert made.tokens == count(made.messages, c.Quarters())
    assert not made.opaque


def test_a_message_that_cannot_be_written_is_kept_as_far_as_it_goes():
    ring: dict[str, Any] = {"name": "r"}
    ring["self"] = ring
    for odd in (nested(400), ring):
        message = c.result("a", "text", artifact=odd)
        made = materialise([c.calls("a"), message], CHAT, c.Quarters(), Kind.MESSAGE)
        assert made.opaque
        assert made.digest == digest([c.calls("a"), message], CHAT)
        assert canonical.load(made.body)[1]["content"] == "text"


def test_the_counters_reserve_is_added_once():
    class Tenth(c.Quarters):
        reserve = 0.1

    assert reserved(100, c.Quarters()) == 100
    assert reserved(100, Tenth()) == 111
    made = materialise([c.user("x" * 400)], CHAT, Tenth(), Kind.MESSAGE)
    assert made.tokens == int(104 * 1.1) + 1


# -- seals -------------------------------------------------------------------------------------


def sealed(messages, at):
    """A view as a reclaim leaves it: page 1 gone, a page before and one after the seal pinned."""
    lineage = path(messages)
    chains = {seq: lineage.chain_at(seq) for seq in (1, at, lineage.length)}
    line = Entry(first=1, last=1, gist="gone")
    block = Block(ranges=((1, 1),), entries=(line,), at=1, tip=chains[1])
    pins = tuple(Pin(seq=seq, chain=chain) for seq, chain in chains.items() if seq > 1)
    return View(generation=1, block=block, pins=pins, seal=lineage.seal(at)), lineage


PLAIN = [c.user("go"), c.said("one"), c.user("more"), c.said("two"), c.user("and?"), c.said("three")]


def test_a_seal_spares_the_chains_it_vouches_for():
    view, lineage = sealed(PLAIN, 4)
    other = path(copy.deepcopy(PLAIN))
    other.adopt(view)
    assert other.view == view
    assert not any(slot.chain for slot in other.slots)
    assert other.seal(4) == lineage.seal(4)
    assert [other.chain_at(n) for n in (6, 5, 4, 3)] == [lineage.chain_at(n) for n in (6, 5, 4, 3)]
    other.link_up_to(other.length)
    assert [slot.chain for slot in other.slots] == c.chains(PLAIN)


def test_a_chain_goes_on_from_pages_that_only_the_store_has():
    view, _ = sealed(PLAIN, 4)
    other = path(copy.deepcopy(PLAIN))
    other.adopt(replace(view, pins=()))
    other.link_up_to(6)
    other.leave_behind([6])
    later = [c.user("so?"), c.said("four")]
    other.extend(later, now=1.0)
    assert [other.chain_at(n) for n in (8, 7)] == c.chains([*PLAIN, *later])[:5:-1]


@given(conversations(), st.data())
@few
def test_a_seal_changes_no_decision(messages, data):
    """With or without it, a path takes of a view what belongs to it, whatever was edited since."""
    if path(messages).length < 2:
        return
    view, _ = sealed(messages, data.draw(st.integers(2, path(messages).length)))
    edited = copy.deepcopy(messages)
    if data.draw(st.booleans()):
        edited[data.draw(st.integers(0, len(edited) - 1))]["content"] = "edited"
    known, unknown = path(edited), path(edited)
    known.adopt(view)
    unknown.adopt(replace(view, seal=None))
    assert replace(known.view, seal=None) == unknown.view
    at = data.draw(st.integers(1, known.length)) if known.length else 0
    assert known.chain_at(at) == unknown.chain_at(at)
    child = known.fork(data.draw(st.integers(0, len(edited))))
    assert [child.chain_at(n) for n in range(1, child.length + 1)] == c.chains(edited)[: child.length]
    assert known.seal(at) is None or known.seal(at).chain == unknown.chain_at(at)


def test_what_has_no_imprint_is_not_sealed():
    odd = [*PLAIN, {"role": "user", "content": "hi", "extra": Decimal(1)}]
    lineage = path(odd)
    assert lineage.seal(7) is None
    assert lineage.seal(6) is not None
    assert lineage.first_changed(lineage.slots) is None


def test_what_has_no_end_has_no_imprint_and_no_copy():
    class Odd(dict[str, Any]):
        def values(self):
            raise RuntimeError("no")

    plain, shared = c.user("hi"), c.user("hi") | {"extra": doubled(21)}  # four million lists where each is written out
    tree, odd = c.user("hi") | {"extra": family()}, c.user("hi") | {"extra": {"a": [Odd()]}}
    assert imprint([shared]) == b""
    assert imprint([tree]) == imprint([odd]) == b""
    assert copy_of([tree], CHAT) is copy_of([odd], CHAT) is None
    made = materialise([tree], CHAT, EstimateCounter(), Kind.MESSAGE)
    assert (made.imprint, made.copy, made.opaque) == (b"", None, True)
    assert made.digest == digest([tree], CHAT)
    assert imprints([plain, tree, plain], [1, 1, 1], CHAT) == [imprint([plain]), b"", imprint([plain])]


def test_messages_that_can_be_written_alone_can_be_written_together(monkeypatch):
    monkeypatch.setattr(canonical, "MAX_CONTAINERS", 100)
    monkeypatch.setattr(canonical, "KEPT_CONTAINERS", 10)
    large = [c.result(name, "", extra=[[]] * 60) for name in "abc"]
    assert canonical.load(materialise(large, CHAT, EstimateCounter(), Kind.MESSAGE).body) == large
    made = materialise([*large, c.result("d", "", extra=[[]] * 200)], CHAT, EstimateCounter(), Kind.MESSAGE)
    assert made.opaque
    assert canonical.load(made.body)[:3] == large


def test_a_seal_is_not_asked_where_messages_are_in_the_store_alone():
    view, lineage = sealed(PLAIN, 4)
    other = path(copy.deepcopy(PLAIN))
    assert other.length == 6
    other.seen[0] = LeftBehind()
    other._vouch(view)
    assert not other.vouched
    lineage.adopt(view)  # its chains are known
    assert not lineage.vouched


@pytest.mark.parametrize("at", [0, 99])
def test_a_seal_over_pages_that_are_not_there(at):
    view, _ = sealed(PLAIN, 4)
    other = path(PLAIN)
    other.adopt(replace(view, seal=replace(view.seal, at=at)))
    assert other.view.seal is None
    assert other.view.block == view.block
    other.adopt(replace(view, seal=replace(view.seal, sum="0")))
    assert other.view.block == view.block


class Array:
    """What stands for a value whose ``==`` has no truth, as an array's has none."""

    def __eq__(self, other):
        raise ValueError("the truth value of an array is ambiguous")

    __hash__ = None  # type: ignore[assignment]  # as an array's


def test_a_copy_is_compared_with_whatever_stands_there_now():
    messages = rich(odd=False)
    lineage = path(messages)
    lineage.link_up_to(lineage.length)
    messages[1]["extra"] = Array()
    assert lineage.first_changed(lineage.slots) is lineage.slots[1]


def test_a_copy_stays_as_it_was():
    messages = rich(odd=False)
    lineage = path(messages)
    lineage.count_exactly()
    lineage.link_up_to(lineage.length)
    messages[1]["extra"]["deep"].append("z")
    assert lineage.first_changed(lineage.slots) is lineage.slots[1]
    messages[1]["extra"]["deep"].pop()
    assert lineage.first_changed(lineage.slots) is None


def test_no_copy_is_kept_of_what_is_not_in_the_window():
    view, _ = sealed(PLAIN, 4)
    lineage = path(copy.deepcopy(PLAIN))
    lineage.adopt(view)
    lineage.link_up_to(lineage.length)
    assert {slot.seq for slot in lineage.slots if slot.copy is None} == lineage.absent != set()


nearly = st.recursive(
    st.sampled_from([0, 0.0, -0.0, 1, 1.0, False, True, None, "", "a", float("nan")]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)


@given(nearly, nearly)
@tried(500)
def test_what_reads_as_its_copy_has_its_digest(one, other):
    """Of values that Python takes for equal, and of others."""
    mine, theirs = ([c.user("hi") | {"extra": value}] for value in (one, other))
    copied = copy_of(mine, CHAT)
    assert copied is not None
    if read_as(theirs, copied, CHAT):
        assert digest(mine, CHAT) == digest(theirs, CHAT)
    if one == other and digest(mine, CHAT) == digest(theirs, CHAT):
        assert read_as(theirs, copied, CHAT)


@given(st.lists(json_values(), max_size=3))
@few
def test_any_message_reads_as_its_copy(values):
    mine = [c.user("hi") | {"extra": value} for value in values]
    copied = copy_of(mine, CHAT)
    assert copied is None or read_as(copy.deepcopy(mine), copied, CHAT)


@given(st.lists(json_values(), max_size=3), st.lists(json_values(), max_size=3))
@few
def test_one_imprint_is_one_digest(one, other):
    mine, theirs = ([c.user("hi") | {"extra": value} for value in values] for values in (one, other))
    if imprint(mine) == imprint(theirs) != b"":
        assert digest(mine, CHAT) == digest(theirs, CHAT)
    sizes = [1] * len(mine) + [len(theirs)]
    assert imprints([*mine, *theirs], sizes, CHAT) == [*(imprint([m]) for m in mine), imprint(theirs)]
    again = canonical.load(canonical.dump(mine)[0])
    assert imprint(mine) == imprint(copy.deepcopy(mine))
    assert digest(again, CHAT) == digest(mine, CHAT)


def _grouped(lineage):
    return [(s.seq, s.start, s.stop, s.role, s.kind, s.closed, sorted(s.waiting), s.has_user) for s in lineage.slots]


@pytest.mark.parametrize("is_followed", [True, False])
def test_an_exception_from_outside_leaves_no_message_without_a_page(is_followed):
    whole = [c.system("be brief"), *TOOLS, c.result("e", "the rest"), c.user("thanks")]
    expected = path(whole)
    cuts = 0
    for step in range(1, 10_000, 3):
        lineage = path(whole[:4])
        assert lineage.slots

        def grow(lineage=lineage):
            if is_followed:
                assert lineage.follow(whole[:], 1.0)
            else:
                lineage.extend(whole[len(lineage.seen) :], now=1.0)
            assert lineage.slots

        if not cut_short(grow, step):
            break
        cuts += 1
        assert len(lineage.seen) in {4, len(whole)}
        lineage.extend(whole[len(lineage.seen) :], now=1.0)
        assert lineage.seen == whole
        assert _grouped(lineage) == _grouped(expected)
        assert lineage.follow(whole[:], 1.0)
        assert lineage.ceiling() >= sum(slot.tokens for slot in lineage.slots)
        lineage.count_exactly()
        assert lineage.ceiling() >= sum(slot.tokens for slot in lineage.slots)
    assert 50 < cuts < 3_000
