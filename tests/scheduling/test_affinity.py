"""The model of the backend's prompt cache, beside a plain list of conversations."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from pagefault.scheduling import Mark, WarmPrefixes
from pagefault.scheduling.affinity import IN_USE_SECONDS, WARM_SECONDS, conversation

CAPACITY = 10
NAMES = ("a", "b", "c", "d", None)  # None is a call without marks
STEPS = st.lists(
    st.tuples(st.sampled_from([0, 1, 2]), st.sampled_from(["begin", "begin", "end"]), st.sampled_from(NAMES)),
    max_size=14,
)


@dataclass
class Seen:
    name: str
    prompt: int
    tokens: int
    at: float
    busy: int


class Cache:
    """Conversations, the longest unused first, and the tokens of calls without marks."""

    def __init__(self):
        self.seen: list[Seen] = []
        self.others = 0

    def use(self, name, prompt, tokens, now, calls):
        known = self.find(name)
        self.seen = [each for each in self.seen if each.name != name]
        if name is not None:
            self.seen.append(Seen(name, prompt, tokens, now, calls + (known.busy if known else 0)))
        while self.held() > CAPACITY and any(not each.busy for each in self.seen):
            self.seen.remove(next(each for each in self.seen if not each.busy))

    def find(self, name):
        return next((each for each in self.seen if each.name == name), None)

    def held(self):
        return self.others + sum(each.tokens for each in self.seen)

    def room_at(self, name, tokens, now):
        """By trying each moment at which a conversation is no longer in use."""
        idle = [each for each in self.seen if not each.busy and each.name != name]
        own = sum(each.tokens for each in self.seen if each.name == name)
        for moment in sorted({now, *(each.at + IN_USE_SECONDS for each in idle)}):
            free = sum(each.tokens for each in idle if each.at + IN_USE_SECONDS <= moment)
            if moment >= now and self.held() - own - free + tokens <= CAPACITY:
                return moment
        return math.inf


def marks(name, tokens):
    return () if name is None else (Mark(digest=name, tokens=tokens),)


@given(STEPS, st.lists(st.tuples(st.integers(1, 6), st.integers(0, 2), st.integers(0, 3)), min_size=14, max_size=14))
def test_a_conversation_waits_exactly_while_it_would_push_out_one_in_use(steps, sizes):
    warm, cache, running, now = WarmPrefixes(CAPACITY), Cache(), [], 1_000.0
    for (seconds, what, name), (prompt, answer, written) in zip(steps, sizes, strict=False):
        now += seconds
        if what == "begin":
            warm.begin(marks(name, prompt), prompt + answer, now)
            cache.others += 0 if name else prompt + answer
            cache.use(name, prompt, prompt + answer, now, 1)
            running.append((name, prompt, prompt + answer))
        elif running:
            ended, sent, expected = running.pop(0)
            warm.end(marks(ended, sent), expected, sent + written, now)
            cache.others -= 0 if ended else expected
            cache.use(ended, sent, sent + written, now, -1)
        for asked in NAMES:
            known = cache.find(asked)
            for size in (1, 4, CAPACITY, CAPACITY + 1):
                assert warm.room_at(marks(asked, size), size, now) == cache.room_at(asked, size, now)
                cached = min(known.prompt, size) if known else 0
                assert warm.cached(marks(asked, size), now) == cached
                assert warm.is_new(marks(asked, size), size, now) is (cached < size / 2)
            assert warm.cached(marks(asked, 5), now + WARM_SECONDS) == 0


def test_the_last_mark_stands_for_all_of_a_prompt_and_the_others_for_what_they_say():
    system, talk = Mark(digest="system", tokens=20), Mark(digest="talk", tokens=40)
    assert conversation((system, talk), 50) == (system, Mark(digest="talk", tokens=50))
    assert conversation((system, talk), 40) == (system, talk)
    assert conversation((), 50) == ()
