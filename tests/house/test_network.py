"""Tests reach no network: only loopback and local sockets."""

from __future__ import annotations

import asyncio
import socket

import pytest
import pytest_socket


@pytest.mark.filterwarnings("ignore:A test tried to use socket")
def test_another_host_is_refused():
    with pytest.raises(pytest_socket.SocketConnectBlockedError):
        socket.create_connection(("192.0.2.1", 80), timeout=1)


def test_loopback_and_event_loops_work():
    async def talk():
        async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as server:
            _, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
            writer.close()
            await writer.wait_closed()
        return True

    assert asyncio.run(talk())
