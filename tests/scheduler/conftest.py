"""Schedulers of both kinds, on a real server."""

from __future__ import annotations

import pytest

from pagefault import Scheduler
from tests.scheduler.servers import Server

KINDS = ("local", "shared")


@pytest.fixture(scope="session")
def valkey(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("valkey")).start()
    yield server
    server.kill()


@pytest.fixture
def own_server(tmp_path):
    """A server that a test may kill; ``start`` is left to it."""
    servers = []

    def make(**options):
        servers.append(Server(tmp_path, **options))
        return servers[-1]

    yield make
    for server in servers:
        server.kill()


@pytest.fixture(params=KINDS)
def make_scheduler(request):
    """What every kind of scheduler does: tests that use this are the coordinators' contract."""
    made: list[Scheduler] = []
    place = None if request.param == "local" else request.getfixturevalue("valkey").url

    yield Maker(made, place)
    for scheduler in made:
        scheduler.close()


class Maker:
    def __init__(self, made, place):
        self.made, self.place, self.is_shared = made, place, place is not None

    def __call__(self, **options):
        self.made.append(Scheduler(**options, shared=self.place and self.place()))
        return self.made[-1]
