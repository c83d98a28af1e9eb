"""The demo: an agent reads Python's own reference through a small window and forgets nothing."""
