"""Lines joined before a reclaim asks for them: the same window as without."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from pagefault.chat import CHAT
from pagefault.window.budget import Budget
from pagefault.window.compaction import Block, Entry, compact
from pagefault.window.joined import Joined
from pagefault.window.view import to_record
from pagefault.writing.records import Task, join_ahead
from tests.core import conversation as c
from tests.core.strategies import few
from tests.core.test_compaction import SCALE, entries, reclaims


@given(st.integers(0, 2**32), st.integers(100, 900), st.floats(0, 1))
@few
def test_a_block_is_the_same_whatever_was_joined_before(seed, limit, share):
    rng, known = random.Random(seed), Joined()
    scale = SCALE._replace(known=known.get)
    block, other, gone = None, None, set()
    for victims in reclaims(rng, 12):
        lines = sorted([*entries(victims), *(other.entries if other else ())], key=lambda e: e[:2])
        for at in range(len(lines) - 1):
            if rng.random() < share:
                known.add(lines[at : at + rng.choice((2, 2, 2, 3))], SCALE.size)
        gone |= set(victims)
        block = compact(block, entries(victims), f"t{victims[-1]}", limit=limit, scale=SCALE)
        other = compact(other, entries(victims), f"t{victims[-1]}", limit=limit, scale=scale)
        assert other == block
        assert [e.tokens for e in other.entries] == [e.tokens for e in block.entries]
        if rng.random() < share:
            known.take_up(other, gone)


def test_only_the_very_same_lines_are_found():
    known = Joined()
    one, two = entries([1, 2])
    assert known.get([one, two]) is None
    known.add([one, two], len)
    line = known.get([one, two._replace(tokens=7)])
    assert line == Entry(1, 2, "user: something was said here 1 | user: something was said here 2")
    assert line.tokens == len(line.whole)
    assert known.get([one, two._replace(gist="other")]) is None
    assert known.get([one, Entry(2, 3, two.gist)]) is None


def test_what_left_is_forgotten_but_for_the_lines_of_the_block():
    known, lines = Joined(), entries([1, 2, 3, 4, 5])
    for at in range(4):
        known.add(lines[at : at + 2], len)
    known.due.extend([(lines[0], lines[1]), (lines[2], lines[3]), (lines[3], lines[4])])
    block = Block(ranges=((1, 3),), entries=(lines[0], Entry(2, 3, "both")), at=3, tip="t")
    known.add(block.entries, len)
    known.take_up(block, {1, 2, 3})
    assert list(known.due) == [block.entries, (lines[3], lines[4])]
    assert known.block == block, "it need not be taken up again"
    assert [at for at in range(4) if known.get(lines[at : at + 2])] == [3]
    assert known.get(block.entries)
    assert len(known) == 2


def written(lineage, upto):
    """As the writer leaves the pages up to this one."""
    lineage.count_exactly()
    for slot in lineage.slots[:upto]:
        slot.line = lineage.line_of(slot)
        slot.line = slot.line._replace(tokens=lineage.counter.count(slot.line.whole))
        slot.stored = True


@given(st.integers(8, 60), st.integers(0, 60), st.integers(0, 8), st.booleans())
@few
def test_a_window_is_the_same_whatever_the_writer_joined_before(turns, upto, rounds, is_read_back):
    """Byte for byte, however far the writer had come, through some reclaims."""
    messages, plain, ahead = c.talk(turns, size=60), c.paging(), c.paging()
    for window in (10**6, 2_400, 1_800, 1_500):
        budget = Budget(window=window, target=window - 400, reserve=200)
        prompts = [paging.step(messages, CHAT, budget, now=1.0) for paging in (plain, ahead)]
        ours, theirs = (to_record(prompt.lineage.view) for prompt in prompts)
        assert ours == theirs
        assert prompts[0].natives == prompts[1].natives
        assert prompts[0][4:] == prompts[1][4:]
        for prompt in prompts:
            written(prompt.lineage, upto)
        if is_read_back:  # of a page whose line this process did not make, nothing is known
            prompts[1].lineage.slots[0].line = None
        task = Task(ahead, prompts[1].lineage)
        for _ in range(rounds):
            join_ahead(task)
        messages = [*messages, *c.talk(3, name=str(window))[1:]]


def test_neighbours_in_the_window_and_in_the_block_are_joined():
    messages, paging = c.talk(40, size=60), c.paging()
    lineage = paging.step(messages, CHAT, Budget(window=10**6, target=10**6 - 400, reserve=200), now=1.0).lineage
    task = Task(paging, lineage)
    assert not join_ahead(task), "nothing is written yet"
    written(lineage, 30)
    assert join_ahead(task)
    assert not join_ahead(task)
    lines = [slot.line for slot in lineage.slots[:30]]
    assert all(lineage.joined.get(lines[at : at + 2]) for at in range(29))
    written(lineage, lineage.length)
    evicted = paging.step(messages, CHAT, Budget(window=1_800, target=1_400, reserve=200), now=1.0).evicted
    assert evicted
    while join_ahead(task):
        pass
    block = lineage.view.block
    assert all(lineage.joined.get(block.entries[at : at + 2]) for at in range(len(block.entries) - 1))
    assert not any(lineage.joined.get(lines[at : at + 2]) for at in range(29) if at + 1 in evicted)
    assert not join_ahead(task), "nothing has changed since"


def test_the_copies_of_what_left_the_window_are_let_go():
    messages, paging = c.talk(40, size=60), c.paging()
    lineage = paging.step(messages, CHAT, Budget(window=10**6, target=10**6 - 400, reserve=200), now=1.0).lineage
    lineage.link_up_to(lineage.length)
    assert all(slot.copy for slot in lineage.slots)
    evicted = paging.step(messages, CHAT, Budget(window=1_800, target=1_400, reserve=200), now=1.0).evicted
    join_ahead(Task(paging, lineage))
    assert {slot.seq for slot in lineage.slots if slot.copy is None} == {*evicted} != set()
