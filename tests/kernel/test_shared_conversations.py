"""Two processes in one conversation on a server: what each sees, and that they are told of each other."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from pagefault.core import Core, Options
from pagefault.errors import PagefaultError
from pagefault.memory import Memory
from pagefault.space import Space
from pagefault.stores.server import ServerStore
from pagefault.upkeep import verify
from tests.kernel.support import scope_of, user
from tests.stores.rest_port import RestPort

TOLD = "another process goes on with the conversation of"


@pytest.fixture
def port() -> Iterator[RestPort]:
    with RestPort() as port:
        yield port


def process(port: RestPort) -> Memory:
    """What another process would have: a memory that shares nothing with this one's."""
    return Memory(Core(port.url, Options(None, None, None, require_tenant=False)))


def conversation(memory: Memory) -> Space:
    return memory.space(user="ada", thread="t")


def says(memory: Memory, text: str) -> None:
    conversation(memory).append(user(text))
    memory.flush()


def heard(memory: Memory) -> list[str]:
    return [message["content"] for message in conversation(memory).view()]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if TOLD in record.message]


async def damage(port: RestPort) -> tuple[object, ...]:
    store = ServerStore(port.url)
    await store.open(None)
    try:
        return (await verify(store)).findings
    finally:
        await store.close()


def test_who_goes_on_beside_another_process_is_told_once_and_nothing_is_damaged(
    port: RestPort, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = process(port), process(port)
    says(one, "base")
    assert heard(other) == ["base"]
    says(one, "from one")
    assert warnings(caplog) == []
    says(other, "from the other")
    (told,) = warnings(caplog)
    assert "user='ada', thread='t'" in told
    assert "Send a conversation's requests to one process" in told
    says(other, "more")
    says(one, "last")
    says(one, "very last")
    says(other, "the end")
    assert len(warnings(caplog)) == 2
    assert heard(one) == ["base", "from one", "last", "very last"]
    assert heard(other) == ["base", "from the other", "more", "the end"]
    one.close()
    other.close()
    with process(port) as third:
        assert heard(third) == ["base", "from the other", "more", "the end"]
    assert asyncio.run(damage(port)) == ()


def test_two_processes_that_begin_a_conversation_at_once_are_told(
    port: RestPort, caplog: pytest.LogCaptureFixture
) -> None:
    with process(port) as one, process(port) as other:
        assert heard(one) == heard(other) == []
        says(one, "hello")
        says(other, "hello, too")
        assert len(warnings(caplog)) == 1


def test_who_closes_before_another_process_goes_on_is_told_nothing(
    port: RestPort, caplog: pytest.LogCaptureFixture
) -> None:
    for n in range(2):
        with process(port) as memory:
            says(memory, f"message {n}")
            says(memory, f"reply {n}")
            assert len(heard(memory)) == 2 * n + 2
    assert warnings(caplog) == []


def test_a_head_that_was_written_without_being_confirmed_is_ones_own(
    port: RestPort, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with process(port) as memory:
        says(memory, "base")
        put, left = memory.core.store.put, [True]

        async def cut(scope: Any, records: Any) -> None:
            await put(scope, records)
            if left and scope == scope_of(conversation(memory)):
                left.clear()
                raise ConnectionError("nobody heard the answer")

        monkeypatch.setattr(memory.core.store, "put", cut)
        conversation(memory).append(user("one"))
        conversation(memory).append({"role": "assistant", "content": "two"})
        with contextlib.suppress(PagefaultError):  # unless the writer met it before
            memory.flush()
        says(memory, "three")
        assert not left
        assert warnings(caplog) == []
