"""Messages that say when they were said, as those of a conversation that is brought in from elsewhere."""

from __future__ import annotations

import time

import pagefault

JULY, AUGUST = 1_625_097_600.0, 1_627_776_000  # 2021
TALK = [
    {"role": "user", "content": "The harbour gate opens with the code 4711.", "created_at": JULY},
    {"role": "assistant", "content": "Noted, the harbour gate.", "created_at": JULY + 5},
    {"role": "user", "content": "The harbour gate opens with the code 0815 now.", "created_at": AUGUST},
    {"role": "assistant", "content": None, "created_at": AUGUST + 1,
     "tool_calls": [{"id": "c1", "name": "write", "args": {"code": "0815"}}]},
    {"role": "tool", "tool_call_id": "c1", "content": "written", "created_at": AUGUST + 60},
    {"role": "user", "content": "What a day."},
]  # fmt: skip


def codes(space, **bounds):
    return {code for code in ("4711", "0815") if code in space.recall("harbour gate code", **bounds).text}


def check(space, begun):
    times = [page.page.created_at for page in space.fault("1-5").pages]
    assert times[:4] == [JULY, JULY + 5, AUGUST, AUGUST + 1], "a group's time is its call's"
    assert begun <= times[4] <= time.time(), "without a word it is when it came"
    assert codes(space, before=AUGUST) == {"4711"}
    assert codes(space, after=AUGUST - 1) == {"0815"}
    assert "2021-07-01T00:00:00Z" in space.recall("harbour gate code 4711").text
    assert space.view() == TALK


def test_what_was_said_long_ago_is_found_by_its_own_time_also_by_the_next_process(tmp_path):
    begun = time.time()
    with pagefault.open(tmp_path, embedder=None) as memory:
        space = memory.space(thread="t")
        space.append(TALK)
        check(space, begun)
    with pagefault.open(tmp_path, embedder=None) as memory:
        check(memory.space(thread="t"), begun)
