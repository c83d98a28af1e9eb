"""What every test gets: Hypothesis profiles."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Machines that run tests are slow at times, so no deadline; a failure prints how to repeat it.
settings.register_profile("ci", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", parent=settings.get_profile("ci"), max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
