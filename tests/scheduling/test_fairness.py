"""Counters and virtual time of one priority class."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pagefault.scheduling.fairness import LARGEST_TIME, FairClass, classes_in_order

ACCOUNTS = st.sampled_from("abc").map(lambda agent: ("", agent))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("goes"), ACCOUNTS, st.integers(1, 9)),
        st.tuples(st.just("ends"), st.integers(-3, 3), st.none()),
    ),
    max_size=14,
)


def state(fair, lines):
    counters = {line.account: (line.counter, line.open, line.passed) for line in lines}
    return fair.virtual, fair.since, fair.is_idle, counters


@given(STEPS)
def test_to_go_at_once_is_to_join_and_be_served(steps):
    at_once, one_by_one, open_at_once, open_one_by_one = FairClass(), FairClass(), [], []
    for turn, (what, who, charge) in enumerate(steps):
        if what == "goes":
            open_at_once.append(at_once.pass_by(who, float(charge), turn))
            line = one_by_one.join(who, turn, turn)
            one_by_one.serve(line, turn, [line], float(charge), turn)
            open_one_by_one.append(line)
        elif open_at_once:
            at_once.correct(open_at_once.pop(0), float(who))
            one_by_one.correct(open_one_by_one.pop(0), float(who))
        assert state(at_once, open_at_once) == state(one_by_one, open_one_by_one)


@given(STEPS)
def test_nobody_saves_up_a_share_and_virtual_time_never_goes_back(steps):
    fair, running = FairClass(), []
    for turn, (what, who, charge) in enumerate(steps):
        before = fair.virtual
        if what == "goes":
            line = fair.pass_by(who, float(charge), turn)
            assert line.counter >= before + charge
            running.append(line)
        elif running:
            fair.correct(running.pop(0), float(who))
        assert fair.virtual >= before


@given(st.dictionaries(st.integers(-2, 5), st.integers(0, 100), min_size=1), st.integers(0, 100), st.integers(1, 40))
def test_the_highest_class_goes_first_but_for_those_that_are_overdue(since, now, aging):
    order = classes_in_order(since, now, aging)
    assert sorted(order) == sorted(since)
    falling = sorted(since, reverse=True)
    overdue = {
        priority
        for above, priority in enumerate(falling)
        if above
        and now - since[priority] >= aging * above
        and not any(since[each] < since[priority] for each in falling[:above])
    }
    first, rest = order[: len(overdue)], order[len(overdue) :]
    assert set(first) == overdue
    assert rest == [priority for priority in falling if priority not in overdue]
    due = [since[priority] + aging * falling.index(priority) for priority in first]
    assert due == sorted(due)


def test_who_a_quota_of_its_own_held_back_has_saved_nothing_up_meanwhile():
    fair, full = FairClass(), {1}
    held, other = fair.join(("", "a"), 1, 0.0), fair.join(("", "b"), 2, 0.0)
    for turn in (3, 4):
        fair.join(("", "b"), turn, 0.0)
    for turn in (2, 3):
        assert fair.eligible(full.__contains__) == [other]
        fair.serve(other, turn, [other], 50.0, 1.0)
    full.clear()
    assert fair.eligible(full.__contains__) == [held, other]
    assert (held.counter, fair.virtual, other.counter) == (50.0, 50.0, 100.0)


def test_who_is_held_back_no_longer_keeps_what_is_given_back():
    fair = FairClass()
    held, other = fair.join(("", "a"), 1, 0.0), fair.join(("", "b"), 2, 0.0)
    fair.join(("", "a"), 3, 0.0)
    assert fair.eligible({1}.__contains__) == [other]
    other.counter = 50.0
    fair.serve(other, 2, [other], 50.0, 1.0)
    assert fair.eligible(set().__contains__) == [held]
    fair.serve(held, 1, [held], 20.0, 2.0)
    fair.correct(held, -35.0)
    assert fair.eligible(set().__contains__) == [held]
    assert (held.counter, fair.virtual) == (35.0, 50.0), "it is not lifted to virtual time again"


def test_all_counters_are_set_back_where_turns_go_at_once():
    fair = FairClass()
    other = fair.pass_by(("t", "b"), 5.0, 1.0)
    for charge in (2 * LARGEST_TIME, 7.0):
        line = fair.pass_by(("t", "a"), charge, 2.0)
    assert (fair.virtual, line.counter) == (0.0, 7.0)
    assert other.counter == 5.0 - 2 * LARGEST_TIME
    assert fair.join(("t", "b"), 1, 3.0).counter == 0.0, "nobody saves up a share"


def test_virtual_time_is_the_least_counter_of_those_among_whom_one_was_chosen():
    fair = FairClass()
    lines = [fair.join(("", agent), turn, 0.0) for turn, agent in enumerate("abc")]
    for line, counter in zip(lines, (30.0, 10.0, 90.0), strict=True):
        line.counter = counter
    fair.serve(lines[0], 0, lines, 5.0, 1.0)
    assert fair.virtual == 10.0
    assert fair.join(("", "new"), 9, 2.0).counter == 10.0
