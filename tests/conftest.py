"""What every test gets: how properties are tried, and no event loop that nobody closes."""

from __future__ import annotations

import asyncio

from hypothesis import HealthCheck, settings

from tests.properties import tried

# Machines that run tests are slow at times, so no deadline; a failure prints how to repeat it.
settings.register_profile(
    "ours", tried(100, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
)
settings.load_profile("ours")

# As after any asyncio.run: who asks for the current event loop is told that there is none. Before, one is made for who
# asks, as LlamaIndex's sync methods do, and fails whatever test runs when it is collected unclosed.
asyncio.set_event_loop(None)
