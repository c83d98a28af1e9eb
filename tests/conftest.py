"""What every test gets: Hypothesis profiles, and no event loop that nobody closes."""

from __future__ import annotations

import asyncio
import os

from hypothesis import HealthCheck, settings

# Machines that run tests are slow at times, so no deadline; a failure prints how to repeat it.
settings.register_profile("ci", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", parent=settings.get_profile("ci"), max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# As after any asyncio.run: who asks for the current event loop is told that there is none. Before, one is made for who
# asks, as LlamaIndex's sync methods do, and fails whatever test runs when it is collected unclosed.
asyncio.set_event_loop(None)
