"""Runs a test on an event loop of its own."""

from __future__ import annotations

import asyncio
import functools
import time

PATIENCE = 60.0


def until(condition, what):
    """Wait for something that happens on another thread. The limit only ends a test that hangs."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.002)


def on_a_loop(test):
    """For ``async def test_...``; a limit ends what hangs."""

    @functools.wraps(test)
    def run(*args, **kwargs):
        async def limited():
            await asyncio.wait_for(test(*args, **kwargs), PATIENCE)

        asyncio.run(limited())

    return run
