"""Ports for servers that tests stop and start again."""

from __future__ import annotations

import random
import socket

PORTS = range(10_000, 30_000)
"""Below what systems give to connections that ask for none: nobody takes a port while its server is away."""
_chance = random.SystemRandom()  # seeded, all workers of a run would try the same ports


def free_port():
    """One that nobody listens on now."""
    while True:
        port = _chance.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
