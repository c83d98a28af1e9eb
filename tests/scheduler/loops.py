"""Runs a test on an event loop of its own."""

from __future__ import annotations

import asyncio
import functools

PATIENCE = 60.0


def on_a_loop(test):
    """For ``async def test_...``; a limit ends what hangs."""

    @functools.wraps(test)
    def run(*args, **kwargs):
        async def limited():
            await asyncio.wait_for(test(*args, **kwargs), PATIENCE)

        asyncio.run(limited())

    return run
