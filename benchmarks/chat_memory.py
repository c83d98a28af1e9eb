"""What a LlamaIndex memory costs per call: ours beside ``Memory`` and ``ChatMemoryBuffer``, in CPU time.

Run with ``python -m benchmarks.chat_memory``. Each row holds a session of the given length under the default
limit of 30,000 tokens and times ``aput`` (a question) and ``aget`` on the calling thread's CPU clock, so
what the machine does otherwise counts little; what pagefault's own threads do behind is measured
apart, as the whole process' CPU time per message. The stock memories get their history at once, without
its cost.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer, Memory
from llama_index.core.storage.chat_store.base_db import MessageStatus

import pagefault
from pagefault_llamaindex import PagefaultMemory
from tests.langgraph.scripted import words

ROUNDS = 8
BUFFER_LENGTH = 400
IN_USE = 340
"""Messages that the stock ``Memory`` keeps in use under its limit; the others are archived."""


def history(length: int) -> list[ChatMessage]:
    """Questions and answers of about 60 tokens each."""
    roles = ("user", "assistant")
    return [ChatMessage(role=roles[n % 2], content=f"message {n}: {words(f'm{n}', 10)}") for n in range(length)]


async def timed(call: Callable[[], Awaitable[Any]]) -> float:
    """CPU seconds of the calling thread for one call."""
    began = time.thread_time()
    await call()
    return time.thread_time() - began


async def measure(
    memory: Any, length: int, settle: Callable[[], Awaitable[Any]]
) -> tuple[list[float], list[float], float]:
    """Costs of ``aput`` and ``aget`` on this thread, and CPU seconds of the process per round."""
    await memory.aput_messages(history(length))
    await memory.aget()
    await settle()
    puts: list[float] = []
    gets: list[float] = []
    gc.collect()
    began = time.process_time()
    for number in range(ROUNDS):
        message = ChatMessage(role="user", content=f"question {number}: {words(f'q{number}', 10)}")
        puts.append(await timed(partial(memory.aput, message)))
        gets.append(await timed(memory.aget))
        await memory.aput(ChatMessage(role="assistant", content=f"answer {number}: {words(f'a{number}', 10)}"))
    await settle()
    return puts, gets, (time.process_time() - began) / ROUNDS


async def nothing() -> None:
    """The stock memories write at once."""


async def ours(length: int) -> tuple[list[float], list[float], float]:
    """Our memory over a throw-away store, with the default embedder behind it."""
    async with pagefault.open(":memory:") as backend:
        return await measure(PagefaultMemory.from_defaults(backend, session_id="s"), length, backend.aflush)


async def stock(length: int) -> tuple[list[float], list[float], float]:
    """LlamaIndex's ``Memory`` over its default SQLite in memory."""
    memory = Memory.from_defaults(session_id="s")
    messages = history(length)
    if old := messages[:-IN_USE]:
        await memory.sql_store.add_messages("s", old, status=MessageStatus.ARCHIVED)
    await memory.aset(messages[-IN_USE:])
    return await measure(_Prepared(memory), 0, nothing)


async def buffer(length: int) -> tuple[list[float], list[float], float]:
    """LlamaIndex's ``ChatMemoryBuffer``, the default of its agents."""
    memory = ChatMemoryBuffer.from_defaults(token_limit=30_000)
    memory.set(history(length))
    return await measure(_Inline(memory), 0, nothing)


class _Prepared:
    """A memory that has its history already, and takes no empty batch."""

    def __init__(self, memory: Memory) -> None:
        self.aput, self.aget = memory.aput, memory.aget

    async def aput_messages(self, messages: list[ChatMessage]) -> None:
        assert not messages


class _Inline:
    """The buffer's sync methods on the calling thread: its async ones hop to another, whose time is not ours."""

    def __init__(self, memory: ChatMemoryBuffer) -> None:
        self._memory = memory

    async def aput_messages(self, messages: list[ChatMessage]) -> None:
        assert not messages

    async def aput(self, message: ChatMessage) -> None:
        self._memory.put(message)

    async def aget(self) -> list[ChatMessage]:
        return self._memory.get()


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", type=int, nargs="*", default=[100, 1_000, 5_000])
    lengths = parser.parse_args().lengths
    print("| messages | memory | aput us | aget us | both, peer / ours | process us a turn |")
    print("|---|---|---|---|---|---|")
    for length in lengths:
        rows = {"PagefaultMemory": ours, "Memory": stock, "ChatMemoryBuffer": buffer}
        base = 0.0
        for name, run in rows.items():
            if name == "ChatMemoryBuffer" and length > BUFFER_LENGTH:
                print(f"| {length:,} | {name} | not measured: minutes a call | | | |")
                continue
            puts, gets, whole = asyncio.run(run(length))
            put, get = statistics.median(puts), statistics.median(gets)
            base = base or put + get
            ratio = (put + get) / base
            print(f"| {length:,} | {name} | {put * 1e6:,.0f} | {get * 1e6:,.0f} | {ratio:,.1f} | {whole * 1e6:,.0f} |")


if __name__ == "__main__":
    main()
