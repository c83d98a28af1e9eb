"""Pinned items, notices and released pages: in every prompt, at the tail first, in place after a reclaim."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagefault.chat import CHAT
from pagefault.errors import PinnedOverBudget
from pagefault.window.budget import Budget
from pagefault.window.eviction import PageCost
from pagefault.window.notes import change_text, items_text
from pagefault.window.pager import Census, victims
from pagefault.window.view import View, from_record, to_record
from tests.core import conversation as c
from tests.properties import tried

BUDGET = Budget(window=1_400, target=1_000, reserve=200)
LIMIT = BUDGET.target // 8


def text_of(shown):
    return "\n".join(str(m["content"]) for m in shown)


def is_notice(message):
    return "of the room for this conversation is used" in str(message["content"])


class Run:
    """A conversation of one space, checked at every step."""

    def __init__(self, budget=BUDGET):
        self.budget = budget
        self.paging = c.paging()
        self.messages = [c.system("rules"), c.user("begin")]
        self.record = None
        self.last = []
        self.told = []
        self.reclaims = 0
        self.step()

    def step(self):
        known = self.paging.lineages[0].offered if self.paging.lineages else 0
        prompt = self.paging.step(list(self.messages), CHAT, self.budget, now=1.0, record=self.record, notices=True)
        shown = c.sent(prompt, self.messages)
        assert sum(c.tokens(m) for m in shown) <= prompt.tokens
        assert prompt.tokens <= self.budget.window - self.budget.reserve
        told = [m["content"] for m in shown if is_notice(m)]
        if prompt.evicted:
            self.reclaims += 1
        else:
            assert c.is_extension(shown, self.last)
            assert not self.told or told == self.told, "said once between reclaims"
        self.told = told
        if len(self.messages) > known and self.messages[-1]["role"] == "user":
            assert shown[-1] == self.messages[-1], "a question stays the last word"
        if prompt.record is not None:
            self.record = json.loads(json.dumps(prompt.record))
        assert sum(map(is_notice, shown)) <= 1
        answered = {m["tool_call_id"] for m in shown if m.get("tool_call_id")}
        for at, message in enumerate(shown):
            for offset, call in enumerate(message.get("tool_calls") or (), 1):
                if call["id"] in answered:
                    assert shown[at + offset].get("tool_call_id"), "nothing stands between a call and its results"
        self.last = shown
        self.prompt = prompt
        return prompt

    @property
    def lineage(self):
        return self.paging.lineages[0]


EVENTS = st.one_of(
    st.tuples(st.just("say"), st.integers(1, 120)),
    st.tuples(st.just("group"), st.integers(1, 150)),
    st.tuples(st.just("item"), st.sampled_from("ab"), st.text("xyz ", min_size=1, max_size=60).filter(str.strip)),
    st.tuples(st.just("drop"), st.sampled_from("ab")),
    st.tuples(st.just("release"), st.integers(1, 30)),
)


@tried(60)
@given(st.lists(EVENTS, min_size=10, max_size=40))
def test_items_stand_in_every_prompt_and_the_prompt_only_grows(events):
    run, items = Run(), {}
    for number, (kind, *rest) in enumerate(events):
        if kind == "say":
            run.messages += [c.said("so " * rest[0]), c.user(f"{number}?")]
        elif kind == "group":
            run.messages += c.group(f"call {number}", "found " * rest[0])
        elif kind == "item":
            run.paging.pin_item(run.lineage, rest[0], rest[1], LIMIT)
            items[rest[0]] = rest[1]
        elif kind == "drop" and items.pop(rest[0], None) is not None:
            run.paging.pin_item(run.lineage, rest[0], None, LIMIT)
        elif kind == "release" and rest[0] <= run.lineage.length:
            run.paging.release(run.lineage, [rest[0]])
        prompt = run.step()
        assert {i.key: i.text for i in run.lineage.view.items} == items
        for key, text in items.items():
            assert f"{key}: {text}" in text_of(run.last)
        if prompt.evicted and items:
            assert run.last[1]["content"] == items_text(run.lineage.view.items), "folded right after the system prompt"
            assert "pinned item set" not in text_of(run.last)
        check_elsewhere(run)
        released = {p.seq for p in run.lineage.view.released}
        assert not released & run.lineage.absent
        if prompt.evicted:
            assert released <= {1, run.lineage.request, len(run.lineage.slots)}, "what was released has left"


def check_elsewhere(run):
    """Another process that has the state and its record alone sends the very same."""
    messages = copy.deepcopy(run.messages)
    prompt = c.paging().step(messages, CHAT, run.budget, now=9.0, record=run.record, notices=True)
    assert (c.sent(prompt, messages), prompt.record, prompt.evicted) == (run.last, None, ())


def test_setting_an_item_to_what_it_says_changes_nothing():
    run = Run()
    run.paging.pin_item(run.lineage, "goal", "finish", LIMIT)
    first = run.step()
    run.paging.pin_item(run.lineage, "goal", "finish", LIMIT)
    again = run.step()
    assert (again.natives, again.record) == (first.natives, None)


def test_a_change_while_a_tool_call_waits_comes_after_its_results():
    run = Run()
    run.messages.append(c.calls("x"))
    path = run.paging.align(list(run.messages), CHAT, now=1.0, record=run.record)
    run.paging.pin_item(path, "goal", "finish", LIMIT)
    run.messages.append(c.result("x", "done"))
    run.step()
    assert [m["role"] for m in run.last] == ["system", "user", "assistant", "tool", "user"]
    assert run.last[-1]["content"] == change_text("goal", "finish")


def test_items_may_use_an_eighth_of_the_target():
    run = Run()
    with pytest.raises(PinnedOverBudget, match=r"with 'long' the pinned items would have \d+ tokens, the limit is 125"):
        run.paging.pin_item(run.lineage, "long", "word " * 200, LIMIT)
    assert not run.lineage.view.items


def test_an_older_state_has_its_own_items():
    run = Run()
    run.paging.pin_item(run.lineage, "goal", "old", LIMIT)
    run.step()
    old_messages, old_record = list(run.messages), run.record
    run.messages += [c.said("done"), c.user("next")]
    run.step()
    run.paging.pin_item(run.lineage, "goal", "new", LIMIT)
    run.step()
    older = [*old_messages, c.said("something else"), c.user("and now?")]
    prompt = run.paging.step(older, CHAT, BUDGET, now=2.0, record=old_record)
    assert {i.key: i.text for i in prompt.lineage.view.items} == {"goal": "old"}
    assert "goal: new" not in text_of(c.sent(prompt, older))


def rewritten(messages, how):
    if how == "an edit":
        return [messages[0], c.user("begin anew"), *messages[2:]]
    if how == "a removal":
        return [messages[0], *messages[2:]]
    return [messages[0], c.user("summary of all"), *messages[-3:]]


@pytest.mark.parametrize("how", ["an edit", "a removal", "a summary"])
@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("restarted", [False, True])
def test_items_outlive_what_is_done_to_the_messages_before_them(how, folded, restarted):
    run = Run()
    for key in ("goal", "rule"):
        run.messages += [c.said("ok"), c.user("go on")]
        run.step()
        run.paging.pin_item(run.lineage, key, "stays", LIMIT)
    run.step()
    while folded and not run.reclaims:
        run.messages += [c.said("so " * 40), c.user("and?")]
        run.step()
    paging = c.paging() if restarted else run.paging
    record, messages = run.record, rewritten(run.messages, how)
    for _ in range(2):
        prompt = paging.step(messages, CHAT, BUDGET, now=2.0, record=record)
        shown = c.sent(prompt, messages)
        assert shown[1]["content"] == "[pagefault: pinned items, always in this window]\ngoal: stays\nrule: stays"
        assert text_of(shown).count("goal: stays") == 1
        record = json.loads(json.dumps(prompt.record)) if prompt.record else record
        messages = [*messages, c.said("well"), c.user("next")]
    before = c.paging().step(messages[:2], CHAT, BUDGET, now=3.0, record=None)
    assert not before.lineage.view.items
    assert not paging.step(messages[:2], CHAT, BUDGET, now=3.0, record=None).lineage.view.items


def test_items_outlive_a_message_that_was_changed_in_place():
    run = Run()
    run.messages += [c.said("ok"), c.user("go on")]
    run.step()
    run.paging.pin_item(run.lineage, "goal", "stays", LIMIT)
    run.messages[1]["content"] = "begin anew"
    for _ in range(40):
        run.messages += [c.said("so " * 40), c.user("and?")]
        prompt = run.paging.step(run.messages, CHAT, BUDGET, now=1.0, record=run.record)
        run.record = prompt.record or run.record
        assert "goal: stays" in text_of(c.sent(prompt, run.messages))
    assert prompt.lineage.view.absent


def test_notes_keep_their_place_where_other_middleware_changed_the_request():
    run = Run()
    run.paging.pin_item(run.lineage, "goal", "finish", LIMIT)
    run.messages += [c.said("ok"), c.user("go on")]
    prompt = run.step()
    requested = [*run.messages, c.user("transient")]
    again = run.paging.step(run.messages, CHAT, BUDGET, now=1.0, record=run.record, requested=requested)
    assert again.natives == [*prompt.natives, c.user("transient")]


def test_a_question_stays_the_last_word():
    run = Run(Budget(window=6_000, target=4_000, reserve=500))
    run.messages += [c.said("so " * 100), c.user("first?")]
    for _ in range(200):
        run.messages += [c.said("so " * 20), c.user("and " * 10)]
        run.step()
        if any(map(is_notice, run.last)):
            break
    assert not is_notice(run.last[-1])
    assert is_notice(run.last[-2])
    assert "tokens) assistant: so so" in run.last[-2]["content"], "the largest pages are named"


def test_releasing_does_not_touch_pins_unless_asked():
    run = Run()
    run.messages += [*c.group("x", "found " * 20), c.said("ok"), c.user("go on")]
    run.step()
    run.paging.pin(run.lineage, [3])
    run.paging.release(run.lineage, [3], unpin=False)
    assert (run.lineage.view.pinned, run.lineage.view.released) == ({3}, ())
    run.paging.release(run.lineage, [3])
    assert (run.lineage.view.pinned, [p.seq for p in run.lineage.view.released]) == (set(), [3])
    run.paging.pin(run.lineage, [3])
    assert not run.lineage.view.released


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(1, 900))
def test_released_pages_are_the_first_to_leave(released, size):
    pages = [PageCost(seq=n, tokens=size) for n in range(1, len(released) + 1)]
    first = {n for n, is_released in enumerate(released, 1) if is_released}
    chosen = victims(Census(overhead=0, held=(), evictable=pages, released=frozenset(first)), BUDGET)
    assert not chosen or set(chosen) >= first


def test_a_view_without_anything_of_ours_is_plain():
    assert View().is_plain
    assert View().with_items_folded(len) == View()
    assert from_record(to_record(View())) == View()


def test_to_release_many_pages_takes_no_look_at_all_pages_for_each(monkeypatch):
    paging = c.paging()
    lineage = paging.align([c.user(f"message {n}") for n in range(100)], CHAT, now=1.0)
    asked: list[int] = []
    monkeypatch.setattr(View, "pinned", property(lambda view: asked.append(0) or set()))
    paging.release(lineage, range(1, 100))
    assert len(lineage.view.released) == 99
    assert len(asked) < 10
