"""Tool results too large for the window: shown in part, never lost, and never changed afterwards."""

from __future__ import annotations

import copy
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagefault.chat import CHAT
from pagefault.errors import PageTooLarge
from pagefault.messages.projection import read_content, replace_parts
from pagefault.page import Address, Kind
from pagefault.paths.previewing import oversize, squeeze
from pagefault.recall.slices import slice_page
from pagefault.window.budget import Budget
from pagefault.window.compaction import Block, Entry
from pagefault.window.preview import LEAST_TOKENS, Cut, Preview, cap, cut
from pagefault.window.view import Pin, View, from_record, to_record
from tests.core import conversation as c

BUDGET = Budget(window=1_400, target=1_000, reserve=200)
NOTE = re.compile(r'\n\[pagefault: ([\d,]+) of ([\d,]+) characters .*? recall\(addresses="([\d.@]+)"\) .*?\]\n')


@given(st.lists(st.integers(0, 10_000), max_size=12), st.integers(0, 30_000))
def test_the_cap_is_the_largest_that_fits(sizes, room):
    limit = cap(sizes, room)
    assert sum(min(size, limit) for size in sizes) <= room or limit == 0
    assert limit >= max(sizes, default=0) or sum(min(size, limit + 1) for size in sizes) > room


def lines(size, width):
    """A text of so many characters, no two stretches of which are alike for long."""
    return "".join("\n" if n % width == 0 else chr(97 + (n * n // 7) % 26) for n in range(1, size + 1))


@given(st.integers(0, 2_000), st.integers(2, 3_000), st.integers(40, 600), st.integers(1, 99), st.integers(1, 9))
def test_a_cut_keeps_its_limit_and_loses_nothing(size, width, limit, seq, part):
    text = lines(size, width)
    found = cut(text, part, seq, limit, len)
    shown = found.shown(text, seq)
    assert len(shown) <= limit or not found.head + found.tail
    match = NOTE.search(shown)
    if match is None:
        assert shown == text
        return
    head, tail = shown[: match.start()], shown[match.end() :]
    assert text.startswith(head)
    assert text.endswith(tail)
    assert (len(head), len(tail)) == (found.head, found.tail)
    assert 1.5 * len(tail) - 3 <= len(head) <= 2 * len(tail) + 2, (
        "two thirds from the beginning, or to the end of a line"
    )
    if width > size and limit > 200:
        assert len(shown) > 0.9 * limit, "the room is used"
    assert Address.parse(match[3]) == Address(first=seq, last=seq, part=part, offset=len(head))
    assert int(match[1].replace(",", "")) == len(text) - len(head) - len(tail)
    assert int(match[2].replace(",", "")) == len(text)


def test_a_cut_that_leaves_nothing_out_says_nothing():
    assert Cut(part=1, head=3, tail=2).shown("abcde", 7) == "abcde"
    assert "1 of 6 characters" in Cut(part=1, head=3, tail=2).shown("abcdef", 7)


@given(st.integers(200, 4_000), st.integers(1, 9))
def test_a_long_text_is_counted_a_few_times_only(limit, density):
    counted = []

    def cost(text):
        counted.append(len(text))
        return len(text) // density

    assert cut("x" * 300_000, 1, 3, limit, cost).head
    assert len(counted) <= 12


def test_a_cut_prefers_the_end_of_a_line():
    text = "\n".join(f"line {n:03}" for n in range(400))
    found = cut(text, 1, 3, 400, len)
    assert text[: found.head].endswith("\n")


def run(paging, messages, record=None):
    prompt = paging.step(list(messages), CHAT, BUDGET, now=1.0, record=record)
    shown = c.sent(prompt, messages)
    size = sum(c.tokens(m) for m in shown)
    assert size <= prompt.tokens
    assert size <= BUDGET.window - BUDGET.reserve
    return prompt, shown


def group(name, sizes):
    ids = [f"{name}-{n}" for n in range(len(sizes))]
    bodies = ["".join(f"{name} {n} fact {k}\n" for k in range(size)) for n, size in enumerate(sizes)]
    return [c.calls(*ids), *(c.result(i, body) for i, body in zip(ids, bodies, strict=True))]


@given(st.lists(st.lists(st.integers(0, 900), min_size=1, max_size=4), min_size=1, max_size=12))
def test_results_of_any_size_keep_the_budget_the_prefix_and_every_character(groups):
    paging, messages, record, last = c.paging(), [c.system("rules"), c.user("read it all")], None, []
    for number, sizes in enumerate(groups):
        messages = [*messages, *group(f"g{number}", sizes)]
        prompt, shown = run(paging, messages, record)
        record = prompt.record or record
        assert prompt.evicted or c.is_extension(shown, last)
        last = shown
        again, same = run(paging, messages, record)
        assert (same, again.record) == (shown, None)
        elsewhere, same = run(c.paging(), copy.deepcopy(messages), record)
        assert (same, elsewhere.record) == (shown, None), "a process that has the state and its record alone"
        for preview in prompt.lineage.view.previews:
            check_preview(prompt.lineage, preview, shown)


def check_preview(lineage, preview, shown):
    """Head and tail are the page's own, and the address in between leads to all the rest."""
    slot = lineage.slots[preview.seq - 1]
    page = lineage.page(slot)
    in_prompt = {m.get("tool_call_id"): m["content"] for m in shown}
    assert preview.tokens < page.tokens
    first = len(page.messages[0].parts) + 1
    for part, message in enumerate(lineage.natives(slot)[1:], first):
        text, seen = message["content"], in_prompt.get(message["tool_call_id"])
        match = NOTE.search(seen) if seen is not None and seen != text else None
        if match is None:
            continue
        address = Address.parse(match[3])
        assert (address.first, address.part) == (preview.seq, part)
        rest, at = "", address
        while at is not None:
            piece = slice_page(page, at, 500)
            rest, at = rest + piece.text, piece.rest
        assert seen[: match.start()] + rest == text


def test_a_previewed_page_is_whole_again_once_pinned_and_gone_once_evicted():
    paging, messages = c.paging(), [c.user("read"), *group("g", [60])]
    prompt, _ = run(paging, messages)
    assert not prompt.lineage.view.previews
    messages = [*messages, *group("h", [200])]
    prompt, shown = run(paging, messages)
    assert [p.seq for p in prompt.lineage.view.previews] == [3]
    assert "characters are not shown here" in shown[-1]["content"]
    for turn in range(40):
        messages = [*messages, c.said("so " * 20), c.user(f"{turn} " + "and " * 20)]
        prompt, shown = run(paging, messages)
    assert 3 in prompt.lineage.absent
    assert not prompt.lineage.view.previews


def test_pinning_a_previewed_page_shows_it_whole():
    paging, messages = c.paging(), [c.user("read"), *group("h", [120])]
    prompt, _ = run(paging, messages)
    assert prompt.lineage.view.previews
    paging.pin(prompt.lineage, [2])
    _, shown = run(paging, messages)
    assert shown[-1] == messages[-1]


def test_what_one_path_shows_in_part_another_shows_whole():
    paging, before = c.paging(), [c.user("read"), *group("h", [120])]
    prompt, shown = run(paging, before)
    one, other = [*before, c.said("one way")], [*before, c.said("the other way")]
    run(paging, one, prompt.record)
    forked, _ = run(paging, other, prompt.record)
    paging.pin(forked.lineage, [2])
    _, whole = run(paging, other)
    assert whole == other
    _, again = run(paging, copy.deepcopy(one), prompt.record)  # reloaded: its prompt is made anew
    assert again[: len(shown)] == shown


def test_a_users_message_is_never_cut():
    with pytest.raises(PageTooLarge, match="page 1 has"):
        run(c.paging(), [c.user("word " * 2_000)])


def test_what_other_middleware_changed_stays_changed():
    paging, messages = c.paging(), [c.user("read"), *group("h", [200])]
    run(paging, messages)
    redacted = [*messages[:-1], {**messages[-1], "content": "[redacted]"}]
    prompt = paging.step(messages, CHAT, BUDGET, now=1.0, requested=redacted)
    assert prompt.natives == redacted
    copied = [dict(m) for m in messages]
    prompt = paging.step(messages, CHAT, BUDGET, now=1.0, requested=[*copied, c.user("transient")])
    assert "characters are not shown here" in prompt.natives[2]["content"]
    assert prompt.natives[3] == c.user("transient")


def test_structured_content_is_cut_part_by_part():
    parts = [{"type": "text", "text": "one"}, {"type": "image_url", "image_url": {"url": "x"}}, "two", {"rows": [1]}]
    replaced = replace_parts(parts, ["ONE", None, None, "rows"])
    assert replaced == [{"type": "text", "text": "ONE"}, parts[1], "two", {"type": "text", "text": "rows"}]
    assert read_content(replaced)[0] == ("ONE", "", "two", "rows")
    assert replace_parts(["a", "b"], [None, "B"]) == ["a", "B"]
    assert replace_parts({"text": "t"}, ["T"]) == [{"text": "T"}]
    assert replace_parts([5], ["five"]) == [{"type": "text", "text": "five"}]
    assert replace_parts("plain", ["P"]) == "P"
    assert replace_parts("plain", [None]) == "plain"


PREVIEW = Preview(seq=3, chain="c" * 32, cuts=(Cut(part=2, head=10, tail=5),), tokens=40)


def test_a_view_carries_its_previews():
    view = View().with_previews([PREVIEW])
    assert from_record(to_record(view)) == view
    old = {k: v for k, v in to_record(view).items() if k != "previews"}
    assert from_record(old).previews == (), "records of earlier releases have none"
    assert view.on_path({3: "c" * 32}.get) == view
    assert view.on_path(lambda seq: None).previews == ()
    assert view.with_pins([Pin(seq=3, chain="c" * 32)]).previews == ()
    line = Entry(first=3, last=3, gist="x")
    assert view.with_block(Block(ranges=((3, 3),), entries=(line,), at=3, tip="c" * 32), 1.0).previews == ()


LARGE = Budget(window=10**7, target=10**6, reserve=0)


def laid_out(groups, budget=LARGE, before=()):
    messages = [c.user("read"), *before, *(m for n, sizes in enumerate(groups) for m in group(f"g{n}", sizes))]
    return c.paging().step(messages, CHAT, budget, now=1.0).lineage


def costs(lineage, previews):
    """Tokens of each result as it is shown, by page and part."""
    cuts = {(preview.seq, each.part): each for preview in previews for each in preview.cuts}
    found = {}
    for slot in lineage.slots:
        texts = [text for m in lineage.natives(slot) for text in ([m["content"]] if m["content"] else [])]
        for part, text in enumerate(texts, 1):
            if slot.stop - slot.start > 1:
                one = cuts.get((slot.seq, part))
                found[slot.seq, part] = c.Quarters().count(one.shown(text, slot.seq) if one else text)
    return found


@given(st.lists(st.lists(st.integers(1, 400), min_size=1, max_size=3), min_size=1, max_size=5), st.integers(1, 20_000))
def test_results_are_squeezed_by_what_is_asked_for_the_largest_first(groups, excess):
    lineage = laid_out(groups)
    before = costs(lineage, [])
    after = costs(lineage, squeeze(lineage, lineage.slots, excess))
    spared = sum(before.values()) - sum(after.values())
    assert spared >= excess or all(after[at] <= LEAST_TOKENS for at in after)
    cut_to = {at: size for at, size in after.items() if size < before[at]}
    largest = max(cut_to.values(), default=0)
    assert all(before[at] <= max(largest, LEAST_TOKENS) * 1.2 for at in before if at not in cut_to), "all to one size"
    assert spared <= excess + 0.2 * sum(after.values()) + 10, "and no more than that"


def test_each_page_of_several_has_its_own_cuts_and_what_was_cut_before_stays_so():
    lineage, budget = laid_out([[800], [600, 20], [20]]), Budget(window=6_400, target=6_400, reserve=0)
    first = oversize(lineage, budget)
    assert [(preview.seq, [each.part for each in preview.cuts]) for preview in first] == [(2, [1]), (3, [1])]
    room = budget.target // 16
    assert all(0.7 * room < costs(lineage, first)[at] <= room for at in [(2, 1), (3, 1)])
    lineage.show(first)
    assert oversize(lineage, budget) == [], "they are shown already"
    (again,) = squeeze(lineage, [lineage.slots[2]], room - LEAST_TOKENS)
    assert [each.part for each in again.cuts] == [1]
    assert again.cuts[0].head < first[1].cuts[0].head


def test_a_part_that_is_small_enough_keeps_the_cut_it_had():
    lineage = laid_out([[600, 200]])
    lineage.show(oversize(lineage, Budget(window=6_400, target=6_400, reserve=0)))
    before = lineage.previews[2]
    assert [each.part for each in before.cuts] == [1]
    sizes = costs(lineage, [before])
    (after,) = squeeze(lineage, lineage.slots, sizes[2, 2] - sizes[2, 1] - 20)
    assert [each.part for each in after.cuts] == [1, 2]
    assert after.cuts[0] == before.cuts[0]


def test_neither_a_recalled_page_nor_one_that_still_grows_is_cut_for_its_size():
    growing = laid_out([], before=[c.calls("a", "b"), c.result("a", "one " * 2_000)])
    assert oversize(growing, BUDGET) == []
    assert squeeze(growing, growing.slots, 5_000) == []
    marked = c.result("a", "one " * 2_000, artifact={"pagefault.recalled": []})
    recalled = laid_out([], before=[c.calls("a", tool="recall"), marked])
    assert recalled.slots[1].kind is Kind.RECALLED
    assert oversize(recalled, BUDGET) == []
    assert squeeze(recalled, recalled.slots, 1_000), "but where nothing else makes room it is"
