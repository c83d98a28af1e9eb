"""Steps of one space: what is sent, when something leaves, and how paths are told apart."""

from __future__ import annotations

import copy
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagefault.chat import CHAT
from pagefault.errors import PageTooLarge, PinnedOverBudget, UnsupportedMessage
from pagefault.paths.paging import Branch
from pagefault.window.budget import Budget
from pagefault.window.view import from_record
from tests.core import conversation as c
from tests.core.strategies import few

BUDGET = Budget(window=1_400, target=1_000, reserve=200)


def run(paging, messages, record=None, budget=BUDGET, overhead=0):
    prompt = paging.step(messages, CHAT, budget, now=1.0, overhead=overhead, record=record)
    c.check_prompt(prompt, messages, budget, overhead)
    return prompt


def grown(messages, turns, name="more"):
    return [*messages, *c.talk(turns, name=name)[1:]]


def test_nothing_happens_while_everything_fits():
    messages = c.talk(5)
    prompt = run(c.paging(), messages)
    assert (prompt.natives, prompt.record, prompt.evicted) == (None, None, ())


def test_pages_are_counted_until_the_window_is_known_to_fit():
    messages, paging = c.talk(20), c.paging()
    bound = paging.step(messages, CHAT, Budget(window=10**6, target=10**5), now=1.0).tokens
    budget = Budget(window=2 * bound, target=bound, reserve=1)
    prompt = run(paging, messages, budget=budget)
    assert not prompt.evicted
    assert sum(map(c.tokens, messages)) < prompt.tokens <= budget.high < bound
    counted = [slot.content is not None for slot in prompt.lineage.slots]
    assert counted == sorted(counted, reverse=True), "the oldest first"
    assert 0 < sum(counted) < len(counted)


def test_a_reclaim_leaves_a_block_and_a_record():
    messages = c.talk(12)
    prompt = run(c.paging(), messages)
    assert prompt.evicted
    assert prompt.tokens <= BUDGET.low
    assert from_record(json.loads(json.dumps(prompt.record))) == prompt.lineage.view
    assert prompt.natives[0] is messages[0]
    assert c.is_block(prompt.natives[1])
    assert prompt.natives[2:] == messages[-len(prompt.natives[2:]) :]


def test_each_prompt_extends_the_one_before_until_the_next_reclaim():
    paging, messages, record, last, reclaims = c.paging(), c.talk(1), None, [], 0
    for turn in range(60):
        messages = [*messages, *c.group(f"call {turn}", "found " * 40), c.said("so " * 20), c.user("and? " * 20)]
        prompt = run(paging, messages, record)
        record = prompt.record or record
        if prompt.evicted:
            reclaims += 1
        else:
            assert c.is_extension(prompt.natives or messages, last)
        last = prompt.natives or list(messages)
    assert 5 <= reclaims <= 20, "rare and deep"


def test_the_list_that_is_sent_belongs_to_the_caller():
    paging, messages = c.paging(), c.talk(12)
    first = run(paging, messages)
    first.natives.clear()
    assert run(paging, messages).natives


def test_the_record_is_given_once_and_again_when_it_was_lost():
    paging, messages = c.paging(), c.talk(12)
    record = run(paging, messages).record
    assert record
    assert run(paging, messages, record).record is None
    assert run(paging, messages, None).record == record
    assert run(paging, messages, {**record, "gen": 0}).record == record


def test_a_new_process_honours_the_record():
    messages = c.talk(12)
    first = run(c.paging(), messages)
    again = run(c.paging(), copy.deepcopy(messages), first.record)
    assert (again.natives, again.record, again.evicted) == (first.natives, None, ())


def test_an_old_state_keeps_its_own_record():
    paging, early = c.paging(), c.talk(12)
    first = run(paging, early)
    late = grown(early, 12)
    second = run(paging, late, first.record)
    assert second.evicted
    back = run(paging, early, first.record)
    assert (back.natives, back.record, back.evicted) == (first.natives, None, ())
    other = grown(early, 2, name="another path")
    assert c.is_extension(run(paging, other, first.record).natives, first.natives)
    assert run(paging, late, second.record).natives == second.natives


@pytest.mark.parametrize("paths", [2, 6])
def test_paths_that_take_turns_keep_their_windows(paths):
    paging, base = c.paging(), c.talk(8)
    states = [(grown(base, 5, name=f"path {n}"), None) for n in range(paths)]
    states = [(m, run(paging, m).record) for m in (copy.deepcopy(m) for m, _ in states)]
    lasts = [run(paging, m, r).natives for m, r in states]
    for turn in range(3):
        for n, (messages, record) in enumerate(states):
            longer = [*messages, c.user(f"turn {turn} on path {n}")]
            prompt = run(paging, longer, record)
            assert prompt.evicted == ()
            assert c.is_extension(prompt.natives, lasts[n])
            c.check_chains(prompt, longer)
            states[n], lasts[n] = (longer, record), prompt.natives


def test_an_edit_brings_back_what_the_old_path_had_let_go():
    paging, messages = c.paging(), c.talk(12)
    record = run(paging, messages).record
    edited = [messages[0], c.user("something else"), *messages[2:4]]
    prompt = run(paging, edited, record)
    assert prompt.natives is None
    c.check_chains(prompt, edited)


@given(st.integers(0, 24), st.integers(0, 24), st.booleans())
@few
def test_equal_prefixes_have_equal_chains(at, length, reloaded):
    paging, messages = c.paging(), c.talk(12)
    before = chains(run(paging, messages))
    edited = [*messages[:at], c.user("changed"), *messages[at + 1 :]][: max(at, length) + 1]
    after = chains(run(paging, copy.deepcopy(edited) if reloaded else edited))
    assert after[:at] == before[:at]
    assert not set(after[at:]) & set(before)


def chains(prompt):
    return [prompt.lineage.chain_at(n) for n in range(1, prompt.lineage.length + 1)]


def test_a_message_changed_in_place_is_another_page_at_the_next_reclaim():
    paging, messages = c.paging(), c.talk(8)
    before = chains(run(paging, messages))
    messages[3]["content"] = "changed in place ".ljust(200, "!")
    messages = grown(messages, 8)
    prompt = run(paging, messages)
    assert 4 in prompt.evicted
    c.check_chains(prompt, messages)
    assert chains(prompt)[:3] == before[:3]
    assert chains(prompt)[3] != before[3]


def test_a_pin_comes_back_and_stays():
    paging, messages = c.paging(), c.talk(12)
    prompt = run(paging, messages)
    seq = prompt.evicted[1]
    paging.pin(prompt.lineage, [seq])
    for turn in range(8):
        messages = grown(messages, 3, name=f"later {turn}")
        prompt = run(paging, messages, prompt.record)
        assert messages[seq - 1] in prompt.natives
    paging.release(prompt.lineage, [seq])
    assert messages[seq - 1] in run(paging, messages).natives, "released is not evicted"
    messages = grown(messages, 12)
    assert messages[seq - 1] not in run(paging, messages).natives


def test_pins_come_with_the_record_to_paths_that_this_process_forgot():
    paging, base = c.paging(), c.talk(4)
    pinned = grown(base, 3, name="pinned")
    prompt = run(paging, pinned)
    paging.pin(prompt.lineage, [12])
    record = run(paging, pinned).record
    for n in range(6):
        run(paging, grown(base, 3, name=f"other {n}"))
    prompt = run(paging, copy.deepcopy(pinned), record)
    assert prompt.lineage.view.pinned == {12}
    assert prompt.record is None


def known_prefix():
    paging = c.paging()
    run(paging, [*c.talk(12)[:-3], c.user("another end")])
    return paging


@pytest.mark.parametrize("make", [c.paging, known_prefix], ids=["new process", "known prefix"])
def test_a_damaged_record_is_said_once_and_the_window_is_rebuilt(make, caplog):
    paging, messages = make(), c.talk(12)
    with caplog.at_level(logging.WARNING, "pagefault"):
        first = run(paging, messages, {"v": 1, "gen": 7, "blocks": "?"})
        run(paging, [*messages, c.user("next")], {"v": 1, "gen": 7, "blocks": "?"})
    assert [r.message for r in caplog.records if "ignored" in r.message] == [caplog.records[0].message]
    assert "the window is rebuilt" in caplog.records[0].message
    assert first.evicted
    assert first.record


@pytest.mark.parametrize("record", [["gen", 7], "record", 7])
def test_what_is_no_record_at_all_is_ignored_as_well(record, caplog):
    with caplog.at_level(logging.WARNING, "pagefault"):
        prompt = run(c.paging(), c.talk(12), record)
    assert "not a view record" in caplog.text
    assert prompt.evicted
    assert prompt.record["gen"] == 1


def test_an_empty_record_is_no_record(caplog):
    paging = known_prefix()
    assert run(paging, c.talk(12), {}).record
    assert not caplog.records


def test_a_page_too_large_is_refused_and_nothing_else_changes():
    paging, messages = c.paging(), c.talk(3)
    run(paging, messages)
    large = [*messages, c.user("x" * 6_000)]
    with pytest.raises(PageTooLarge, match="page 8 has 15"):
        run(paging, large)
    assert run(paging, [*messages, c.user("shorter")]).natives is None


def test_pins_that_do_not_fit_are_refused_by_number():
    paging, messages = c.paging(), c.talk(10)
    prompt = run(paging, messages)
    paging.pin(prompt.lineage, range(2, 20))
    with pytest.raises(PinnedOverBudget, match="release pins"):
        run(paging, [*messages, c.user("x" * 2_000)])


def test_what_is_no_message_changes_nothing():
    paging, messages = c.paging(), c.talk(3)
    run(paging, messages)
    with pytest.raises(UnsupportedMessage, match="critic"):
        run(paging, [*messages, c.user("fine"), {"role": "critic", "content": "bad"}])
    c.check_chains(run(paging, [*messages, c.user("fine")]), [*messages, c.user("fine")])


def test_the_overhead_counts():
    messages = c.talk(6)
    assert run(c.paging(), messages).evicted == ()
    assert run(c.paging(), messages, overhead=400).evicted


def test_the_smaller_budget_of_another_model_holds_at_once():
    paging, messages = c.paging(), c.talk(8)
    record = run(paging, messages).record
    small = Budget(window=700, target=500, reserve=100)
    prompt = run(paging, messages, record, budget=small)
    assert prompt.evicted
    assert prompt.tokens <= small.low


@pytest.mark.parametrize("overhead", [0, 950, 1_200])
def test_a_prompt_without_messages(overhead):
    assert run(c.paging(), [], overhead=overhead).natives is None


def test_tools_that_do_not_fit_are_refused_even_without_messages():
    with pytest.raises(PinnedOverBudget, match=r"^system prompt and tools alone have 1300 tokens"):
        run(c.paging(), [], overhead=1_300)


def test_what_other_middleware_took_out_or_put_in_stays_so():
    paging, messages = c.paging(), c.talk(12)
    prompt = run(paging, messages)
    notice = c.user("a notice that is not in the state")
    redacted = {**messages[-1], "content": "redacted"}
    requested = [*messages[:-2], redacted, notice]
    sent = paging.step(messages, CHAT, BUDGET, now=1.0, record=prompt.record, requested=requested).natives
    kept = [m for m in prompt.natives if m not in messages[-2:]]
    assert sent == [*kept, redacted, notice]


def test_a_forked_child_process_starts_with_its_own_lock():
    paging = c.paging()
    run(paging, c.talk(3))
    base = paging.lineages[0]
    branch = base.fork(len(base.seen))
    paging.branches = [Branch(base, len(base.seen), branch, 0)]
    base.queued = True
    locks = [paging.lock, base._grouping, branch._grouping]
    for lock in locks:
        lock.acquire()
    try:
        paging.after_fork()
        assert not {paging.lock, base._grouping, branch._grouping} & {*locks}
        assert not base.queued
    finally:
        for lock in locks:
            lock.release()
