"""Any conversation on any path: every prompt is valid, fits, and says what left it."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from pagefault.chat import CHAT
from pagefault.errors import BudgetError
from pagefault.page import Kind
from pagefault.window.budget import Budget
from pagefault.window.view import View, from_record, merge_records, to_record
from tests.core import conversation as c
from tests.properties import tried

SIZES = st.sampled_from([0, 20, 100, 300, 900, 1_500])
BUDGET = Budget(window=1_400, target=1_000, reserve=200)


@dataclass
class State:
    """What a framework keeps of one conversation: messages, the view record; and the last prompt, for us."""

    messages: list[c.Message] = field(default_factory=list)
    record: dict[str, Any] | None = None
    waiting: list[str] = field(default_factory=list)
    last: tuple[int, list[c.Message]] | None = None

    def saved(self):
        return State(
            copy.deepcopy(self.messages), copy.deepcopy(self.record), list(self.waiting), copy.deepcopy(self.last)
        )


class Conversation(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.paging = c.paging()
        self.state = State()
        self.checkpoints: list[State] = []
        self.serial = 0
        self.moved = False
        self.decided: list[View] = []
        self.now = 1_000.0

    # -- the conversation goes on ----------------------------------------------------------

    def text(self, what, size):
        self.serial += 1
        return f"{what} {self.serial} ".ljust(size, "z")

    def add(self, *messages):
        self.state.messages += messages

    @initialize(lead=st.integers(0, 2))
    def begin(self, lead):
        self.add(*(c.system(self.text("system", 20)) for _ in range(lead)), c.user(self.text("hello", 20)))

    @rule(size=SIZES, turns=st.integers(1, 4))
    def chat(self, size, turns):
        self.state.waiting = []
        for _ in range(turns):
            self.add(c.said(self.text("answer", size)), c.user(self.text("question", size)))

    @rule(size=SIZES)
    def instruct(self, size):
        self.add(c.system(self.text("from now on", size)))

    @rule(size=SIZES, count=st.integers(1, 3), data=st.data())
    def use_tools(self, size, count, data):
        ids = [self.text("call", 0).strip() for _ in range(count)]
        self.state.waiting = []
        results = [c.result(i, self.text("result", size)) for i in data.draw(st.permutations(ids))]
        self.add(c.calls(*ids), *results)

    @rule(size=SIZES)
    def recall(self, size):
        call = self.text("call", 0).strip()
        self.state.waiting = []
        copied = c.result(call, self.text("recalled", size), artifact={"pagefault.recalled": ["1"]})
        self.add(c.calls(call, tool="recall"), copied)

    @rule(count=st.integers(1, 3))
    def begin_tools(self, count):
        self.state.waiting = [self.text("call", 0).strip() for _ in range(count)]
        self.add(c.calls(*self.state.waiting))

    @precondition(lambda self: self.state.waiting)
    @rule(size=SIZES, interrupting=st.booleans())
    def one_more_result(self, size, interrupting):
        if interrupting:
            self.add(c.user(self.text("wait!", 20)))
        self.add(c.result(self.state.waiting.pop(0), self.text("result", size)))

    # -- it is changed, left and taken up again --------------------------------------------

    @rule()
    def save(self):
        self.checkpoints = [*self.checkpoints, self.state.saved()][-6:]

    @precondition(lambda self: self.checkpoints)
    @rule(data=st.data())
    def travel(self, data):
        self.state, other = data.draw(st.sampled_from(self.checkpoints)).saved(), self.state.saved()
        self.checkpoints = [*self.checkpoints, other][-6:]
        self.moved = True

    @rule()
    def reload(self):
        self.state = self.state.saved()

    @rule()
    def restart(self):
        self.state = self.state.saved()
        self.paging = c.paging()

    @rule(data=st.data())
    def edit(self, data):
        at = data.draw(st.integers(0, len(self.state.messages) - 1))
        messages = list(self.state.messages)
        messages[at] = {**messages[at], "content": self.text("edited", data.draw(SIZES))}
        self.state.messages, self.state.last = messages, None
        self.moved = True

    @rule(data=st.data())
    def truncate(self, data):
        spans = c.pages(self.state.messages)
        keep = spans[data.draw(st.integers(0, len(spans) - 1))]
        self.state.messages, self.state.last, self.state.waiting = self.state.messages[: keep.stop], None, []
        self.moved = True

    # -- the model is called ---------------------------------------------------------------

    @rule(overhead=st.sampled_from([0, 50, 200]))
    def step(self, overhead):
        state, before = self.state, list(self.state.messages)
        self.now += 1
        if self.is_known_gap():
            return
        try:
            prompt = self.paging.step(
                state.messages, CHAT, BUDGET, now=self.now, overhead=overhead, record=state.record
            )
        except BudgetError:
            self.check_refusal(overhead)
            return
        self.moved = False
        assert state.messages == before
        absent = c.check_prompt(prompt, state.messages, BUDGET, overhead)
        c.check_chains(prompt, state.messages)
        self.check_record(prompt, absent)
        self.check_extension(prompt)

    def is_known_gap(self):
        """A page left absent by a later state of this path; see test_paging_known."""
        if not self.moved:
            return False
        lineage = self.paging.align(self.state.messages, CHAT, now=self.now, record=self.state.record)
        return bool(c.must_stay(self.state.messages, lineage.view.pinned) & lineage.view.absent)

    def is_known_rival(self, prompt):
        """Two paths decided differently under one generation; see test_paging_known."""
        if not self.state.record:
            return False
        mine, other = from_record(self.state.record), prompt.lineage.view
        return mine.generation == other.generation and mine != other and other in self.decided

    def check_refusal(self, overhead):
        """A call is refused only when what must stay, and a bounded block, really do not fit."""
        lineage = self.paging.align(self.state.messages, CHAT, now=self.now, record=self.state.record)
        spans = c.pages(self.state.messages)
        stay = [spans[n - 1] for n in c.must_stay(self.state.messages, lineage.view.pinned)]
        held = sum(c.tokens(m) for s in stay for m in self.state.messages[s.start : s.stop])
        slack = max(BUDGET.block, lineage.view.block_tokens, 100)
        assert overhead + held + slack > BUDGET.window - BUDGET.reserve

    def check_record(self, prompt, absent):
        """The record says what is absent, and is written exactly when it says something new."""
        if self.is_known_rival(prompt):
            self.state.record, self.state.last = to_record(prompt.lineage.view), None
            return
        generation = prompt.lineage.view.generation
        known = (self.state.record or {}).get("gen", 0)
        assert (prompt.record is not None) == (generation not in {0, known})
        if prompt.evicted:
            assert prompt.record is not None
        self.state.record = merge_records(self.state.record, json.loads(json.dumps(prompt.record))) or None
        if prompt.record is not None:
            assert self.state.record == prompt.record, "a new decision is never lost to an old one"
            self.decided.append(from_record(prompt.record))
        if self.state.record:
            view = from_record(self.state.record).on_path(prompt.lineage.chain_at)
            assert view.absent == absent
            assert view.pins == prompt.lineage.view.pins

    def check_extension(self, prompt):
        """Between reclaims each prompt extends the one before it."""
        generation, shown = prompt.lineage.view.generation, copy.deepcopy(c.sent(prompt, self.state.messages))
        if self.state.last is not None and self.state.last[0] == generation:
            assert c.is_extension(shown, self.state.last[1])
        self.state.last = (generation, shown)

    @precondition(lambda self: self.paging.lineages)
    @rule(data=st.data(), pinning=st.booleans())
    def pin_or_release(self, data, pinning):
        lineage = self.paging.align(self.state.messages, CHAT, now=self.now, record=self.state.record)
        if not lineage.length:
            return
        seqs = data.draw(st.lists(st.integers(1, lineage.length), min_size=1, max_size=2, unique=True))
        before = lineage.view.pinned
        (self.paging.pin if pinning else self.paging.release)(lineage, seqs)
        self.decided.append(lineage.view)
        assert lineage.view.pinned == (before | set(seqs) if pinning else before - set(seqs))
        self.step(0)

    @rule()
    def kinds_are_known(self):
        lineage = self.paging.align(self.state.messages, CHAT, now=self.now, record=self.state.record)
        for slot in lineage.slots:
            copied = [m for m in lineage.natives(slot) if "artifact" in m]
            assert (slot.kind is Kind.RECALLED) == bool(copied)


def test_any_conversation_on_any_path():
    run_state_machine_as_test(Conversation, settings=tried(60, stateful_step_count=40))
