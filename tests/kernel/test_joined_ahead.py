"""Lines of contents are joined behind the agent, when nothing else is to do."""

from __future__ import annotations

import gc
import weakref

import pagefault
from pagefault.chat import CHAT
from tests.kernel.support import until, user

WIDE = pagefault.Budget(window=10**9, target=5 * 10**8)


def test_the_writer_joins_lines_when_it_has_nothing_else_to_do():
    messages = [user(f"question {n}") for n in range(60)]
    with pagefault.open(":memory:", embedder=None) as memory:
        space = memory.space(thread="t")
        lineage = space.step(messages, CHAT, WIDE, now=1.0).lineage
        until(lambda: len(lineage.joined) == 59, "neighbouring pages are joined")
        small = pagefault.Budget(window=400, target=200, reserve=20)
        before = len(lineage.joined)
        assert space.step(messages, CHAT, small, now=2.0).evicted
        until(lambda: len(lineage.joined) < before, "what left is let go of")
        block = lineage.view.block
        pairs = [block.entries[at : at + 2] for at in range(len(block.entries) - 1)]
        until(lambda: all(map(lineage.joined.get, pairs)), "lines of the block are joined")


def test_a_writer_that_never_rests_holds_no_conversation(monkeypatch):
    monkeypatch.setattr("pagefault.writing.writeback.QUIET_TURNS", 10**9)
    with pagefault.open(":memory:", embedder=None) as memory:
        space = memory.space(thread="t")
        path = weakref.ref(space.step([user("hi"), user("ho")], CHAT, WIDE, now=1.0).lineage)
        memory.flush()
        lineage = path()
        assert lineage is not None
        assert lineage in memory.core.writeback._writer.unjoined
        del space, lineage
        memory.core._recent.clear()  # as when many other spaces have come since

        def is_gone():
            gc.collect()
            return path() is None

        until(is_gone, "nobody holds it")
        memory.flush()
