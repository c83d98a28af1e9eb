"""Turns inside turns: any tree finishes on one slot, and no slot is ever lost or used twice."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from pagefault.scheduling import Dispatcher, Limits, Phase, Request, Rules
from tests.properties import tried

DEPTH, FAN_OUT, NODES = 6, 8, 100


def tree(chance, depth=DEPTH, room=None):
    """Children of children: up to depth 6 and fan-out 8, and no more than 100 turns."""
    room = [NODES] if room is None else room
    if not depth:
        return []
    count = min(chance.choice((0, 1, 2, FAN_OUT)), room[0])
    room[0] -= count
    return [tree(chance, depth - 1, room) for _ in range(count)]


class Play:
    """Opens and ends the turns of some trees in a random order, as parallel agents would."""

    def __init__(self, dispatcher, trees, chance):
        self.dispatcher = dispatcher
        self.chance = chance
        self.todo = {}  # turn -> subtrees not opened yet
        self.open = {}  # turn -> how many of its children have not ended
        self.parent = {}
        self.done = 0
        for number, each in enumerate(trees):
            self._ask(None, each, f"root{number}")

    def _ask(self, parent, subtree, root):
        if parent is not None:
            self.dispatcher.lend(parent, 0.0)
            self.open[parent] += 1
        number = self.dispatcher.submit(Request(account=("", root), agent=root), 0.0)
        self.todo[number], self.open[number], self.parent[number] = list(subtree), 0, (parent, root)
        self.dispatcher.pump(0.0)

    def run(self):
        dispatcher = self.dispatcher
        while dispatcher.turns:
            assert dispatcher.running <= dispatcher.slots
            active = [n for n, e in dispatcher.turns.items() if e.phase is Phase.RUNNING]
            lent = [n for n, e in dispatcher.turns.items() if e.phase is Phase.LENT and self.todo[n]]
            assert active, "stuck: turns are open and none of them runs"
            number = self.chance.choice(active + lent)
            if self.todo[number]:
                self._ask(number, self.todo[number].pop(), self.parent[number][1])
            elif not self.open[number]:
                self._end(number)
        return self.done

    def _end(self, number):
        parent, _ = self.parent[number]
        self.dispatcher.finish(number, 0.0)
        self.done += 1
        if parent is not None:
            self.open[parent] -= 1
            self.dispatcher.regain(parent, 0.0)
        self.dispatcher.pump(0.0)


def size(subtree):
    return 1 + sum(map(size, subtree))


@tried(50)
@given(st.integers(0, 2**32), st.sampled_from((1, 1, 3)))
def test_random_trees_finish(seed, slots):
    chance = random.Random(seed)
    trees = [tree(chance) for _ in range(chance.randint(1, 3))]
    dispatcher = Dispatcher(Rules(limits=Limits(slots=slots)))
    assert Play(dispatcher, trees, chance).run() == sum(map(size, trees))
    assert dispatcher.running == 0


def request(agent="a", **fields):
    return Request(account=("", agent), agent=agent, **fields)


def test_a_returning_turn_goes_before_new_ones():
    dispatcher = Dispatcher(Rules(limits=Limits(slots=1)))
    outer = dispatcher.submit(request(), 0.0)
    assert dispatcher.pump(0.0) == [outer]
    dispatcher.lend(outer, 0.0)
    other = dispatcher.submit(request("b"), 0.0)
    inner = dispatcher.submit(request(), 0.0)
    assert dispatcher.pump(0.0) == [other]
    dispatcher.finish(other, 1.0)
    assert dispatcher.pump(1.0) == [inner]
    late = dispatcher.submit(request("c"), 1.0)
    dispatcher.finish(inner, 2.0)
    dispatcher.regain(outer, 2.0)
    assert dispatcher.pump(2.0) == [outer]
    assert dispatcher.why(late, 2.0) == "a slot"
    dispatcher.finish(outer, 3.0)
    assert dispatcher.pump(3.0) == [late]


def test_another_inner_turn_while_the_outer_one_returns():
    dispatcher = Dispatcher(Rules(limits=Limits(slots=1)))
    outer = dispatcher.submit(request(), 0.0)
    dispatcher.pump(0.0)
    dispatcher.lend(outer, 0.0)
    other = dispatcher.submit(request("b"), 0.0)
    gives_up = dispatcher.submit(request(), 0.0)
    assert dispatcher.pump(0.0) == [other]
    dispatcher.finish(gives_up, 0.0, failed=True)
    dispatcher.regain(outer, 0.0)
    assert dispatcher.pump(0.0) == []
    assert dispatcher.turns[outer].phase is Phase.RETURNING
    assert dispatcher.why(outer, 0.0) == "its slot, after the turns inside it"
    dispatcher.lend(outer, 0.0)
    assert dispatcher.pump(0.0) == [outer], "nobody need wait for its return any more"
    dispatcher.regain(outer, 0.0)
    dispatcher.finish(outer, 0.0)
    assert dispatcher.pump(0.0) == [outer]
    dispatcher.finish(other, 1.0)
    dispatcher.pump(1.0)
    assert not dispatcher.turns
    assert dispatcher.running == 0


def test_an_outer_turn_that_ends_first_takes_no_slot_with_it():
    dispatcher = Dispatcher(Rules(limits=Limits(slots=1)))
    outer = dispatcher.submit(request(), 0.0)
    dispatcher.pump(0.0)
    dispatcher.lend(outer, 0.0)
    inner = dispatcher.submit(request(), 0.0)
    assert dispatcher.pump(0.0) == [inner]
    dispatcher.finish(outer, 0.0)
    assert dispatcher.running == 1
    dispatcher.finish(inner, 0.0)
    assert dispatcher.running == 0


def test_a_returning_turn_waits_for_its_quota_and_for_room_in_the_cache():
    rules = Rules(limits=Limits(slots=3, kv_tokens=100), quotas={"a": Limits(slots=1)})
    dispatcher = Dispatcher(rules)
    outer = dispatcher.submit(request(input_tokens=60, max_output_tokens=0), 0.0)
    dispatcher.pump(0.0)
    dispatcher.lend(outer, 0.0)
    inner = dispatcher.submit(request("b", input_tokens=10, max_output_tokens=0), 0.0)
    second = dispatcher.submit(request(input_tokens=10, max_output_tokens=0), 0.0)
    assert sorted(dispatcher.pump(0.0)) == [inner, second]
    dispatcher.finish(inner, 1.0)
    dispatcher.regain(outer, 1.0)
    assert dispatcher.pump(1.0) == [], "its agent may have one call at a time, and has one"
    large = dispatcher.submit(request("c", input_tokens=90, max_output_tokens=0), 1.0)
    assert dispatcher.pump(1.0) == [large], "others need not wait for that"
    dispatcher.finish(second, 2.0)
    small = dispatcher.submit(request("d", input_tokens=5, max_output_tokens=0), 2.0)
    assert dispatcher.pump(2.0) == [], "but they leave what it needs of the backend"
    dispatcher.finish(large, 3.0)
    assert dispatcher.pump(3.0) == [outer, small]
