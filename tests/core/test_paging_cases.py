"""Cases that once went wrong: records, shorter paths, messages changed in place."""

from __future__ import annotations

import copy

import pytest

from pagefault.window.view import merge_records
from tests.core import conversation as c
from tests.core.test_paging import grown, run


def test_a_message_that_grows_in_place_is_counted_again():
    paging, messages = c.paging(), c.talk(8)
    run(paging, messages)
    run(paging, messages, overhead=200)
    messages[-1]["content"] *= 30
    run(paging, [*messages, c.user("next")])


@pytest.mark.parametrize("has_record", [True, False], ids=["messages deleted", "travelled to before the first reclaim"])
def test_what_is_last_on_a_shorter_path_is_in_the_prompt(has_record):
    paging, messages = c.paging(), c.talk(12)
    prompt = run(paging, messages)
    run(paging, messages[: max(prompt.evicted)], prompt.record if has_record else None)


def test_two_paths_of_one_generation_keep_their_own_windows():
    paging, base = c.paging(), c.talk(10)
    first = run(paging, base)
    longer = grown(base, 9)
    there = run(paging, longer, first.record)
    run(paging, base, first.record)
    run(paging, base, first.record, overhead=600)
    back = run(paging, [*longer, c.user("next")], there.record)
    assert c.is_extension(back.natives, there.natives)


def test_a_refused_record_is_replaced_by_the_next_decision():
    newer = {"v": 2, "gen": 7}
    prompt = run(c.paging(), c.talk(12), newer)
    assert merge_records(newer, prompt.record) == prompt.record


def test_equal_for_python_is_not_equal_as_json():
    paging, messages = c.paging(), [c.user("go"), c.calls("a"), c.result("a", "found"), c.said("done")]
    messages[1]["tool_calls"][0]["args"] = {"limit": 1, "q": "x"}
    c.check_chains(run(paging, messages), messages)
    other = copy.deepcopy(messages)
    other[1]["tool_calls"][0]["args"]["limit"] = 1.0
    c.check_chains(run(paging, other), other)
