"""A research team: one memory, one scheduler, one backend that refuses what is too much."""
