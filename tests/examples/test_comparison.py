"""Agents of both frameworks get their work done on a backend that refuses, and ours lets it refuse less."""

from __future__ import annotations

import asyncio
import random

import pytest

from benchmarks.scheduling.comparison import Worker, compare
from benchmarks.scheduling.refusing import SLOTS, Refused, RefusingBackend

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # LlamaIndex looks at old fields

WORKERS = tuple(Worker(conversations=4, input_tokens=tokens) for tokens in (600, 900, 1_200))
WORK = 12_000


def test_all_work_is_done_and_ours_is_refused_no_more_often_than_nobody():
    none, ours = (compare(name, work=WORK, workers=WORKERS) for name in ("none", "pagefault.Scheduler"))
    for outcome in (none, ours):
        assert outcome.calls >= sum(WORK / (1.5 * worker.input_tokens) for worker in WORKERS)
        assert 0 < outcome.jain <= 1
    assert none.refusals > 0
    assert ours.refusals <= none.refusals


def test_the_backend_refuses_what_is_too_much_and_says_when_to_come_back():
    async def crowd():
        backend = RefusingBackend(minute=3.0, chance=random.Random(1))
        calls = [backend.call("agent", 100) for _ in range(SLOTS + 1)]
        return backend, await asyncio.gather(*calls, return_exceptions=True)

    backend, answers = asyncio.run(crowd())
    assert (backend.calls, backend.refusals) == (SLOTS, 1)
    (refused,) = (answer for answer in answers if isinstance(answer, Refused))
    assert refused.response.status_code == 429
    assert float(refused.response.headers["retry-after"]) == pytest.approx(refused.seconds, abs=1e-3)
