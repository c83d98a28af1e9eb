"""Exactly one's own past: random histories against a reference model, on the real engine.

The reference model is the list of messages in each checkpoint. After every few operations
some checkpoint is restored and everything it can see is compared with that list.
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

import pagefault
from pagefault_langgraph.messages import LANGCHAIN

SEEDS = 8
OPERATIONS = 45
BUDGET = pagefault.Budget(window=900, target=500, reserve=50)
SERDE = JsonPlusSerializer()


@dataclass
class Checkpoint:
    """What a checkpointer would hold: messages and the view record."""

    messages: list[BaseMessage] = field(default_factory=list)
    record: dict[str, Any] | None = None

    def reloaded(self) -> Checkpoint:
        """Through the framework's own serialiser: every object is new."""
        messages = SERDE.loads_typed(SERDE.dumps_typed(self.messages))
        return Checkpoint(messages, self.record)


class Fuzz:
    """One thread's life: appends, edits, time travel, crashes, retries."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.directory = directory
        self.memory = pagefault.open(directory, embedder=None)
        self.saved = [Checkpoint()]
        self.made = 0
        self.checked = 0

    def space(self, thread: str = "t") -> pagefault.Space:
        return self.memory.space(thread=thread)

    def run(self, operations: int) -> None:
        for _ in range(operations):
            act = self.rng.choices(
                [self.append, self.edit, self.travel, self.crash, self.retry, self.flush, self.rivals],
                weights=[8, 2, 2, 1, 2, 1, 1],
            )[0]
            act()
            if self.rng.random() < 0.4:
                self.verify(self.rng.choice(self.saved))
        for checkpoint in self.saved[:: max(1, len(self.saved) // 12)]:
            self.verify(checkpoint)

    def new(self) -> list[BaseMessage]:
        self.made += 1
        text = self.rng.choice([f"needle w{self.made}", "needle again"])  # duplicates on purpose
        if self.rng.random() < 0.3:
            call = [{"name": "t", "args": {"n": self.made}, "id": f"c{self.made}"}]
            result = ToolMessage(content=text, tool_call_id=f"c{self.made}", id=f"t{self.made}")
            return [AIMessage(content="", tool_calls=call, id=f"a{self.made}"), result]
        cls = self.rng.choice([HumanMessage, AIMessage])
        return [cls(content=text, id=self.rng.choice([f"m{self.made}", None]))]

    def step(self, base: Checkpoint, messages: list[BaseMessage]) -> Checkpoint:
        prompt = self.space().step(messages, LANGCHAIN, BUDGET, now=float(self.made), record=base.record)
        return Checkpoint(list(messages), prompt.record or base.record)

    def append(self) -> None:
        base = self.saved[-1] if self.rng.random() < 0.7 else self.saved[-1].reloaded()
        fresh = [m for _ in range(self.rng.randint(1, 4)) for m in self.new()]
        self.saved.append(self.step(base, [*base.messages, *fresh]))

    def edit(self) -> None:
        base = self.saved[-1]
        if base.messages:
            at = self.rng.randrange(len(base.messages))
            if isinstance(base.messages[at], HumanMessage):
                self.made += 1
                changed = HumanMessage(content=f"needle edited w{self.made}", id=base.messages[at].id)
                self.saved.append(self.step(base, [*base.messages[:at], changed, *base.messages[at + 1 :]]))

    def travel(self) -> None:
        base = self.rng.choice(self.saved).reloaded()
        self.saved.append(self.step(base, [*base.messages, *self.new()]))

    def retry(self) -> None:
        """The checkpoint of the last step was lost: the same or another answer comes again."""
        if len(self.saved) > 1:
            lost = self.saved.pop()
            base = self.saved[-1].reloaded()
            again = lost.reloaded().messages if self.rng.random() < 0.5 else [*base.messages, *self.new()]
            self.saved.append(self.step(base, again))

    def crash(self) -> None:
        """The process dies with whatever was not written yet, and a new one starts."""

        async def never_flushed() -> None:
            """What a dying process does with its queue."""

        self.memory._writeback.close = never_flushed  # type: ignore[method-assign]  # the crash
        self.memory.close()
        self.memory = pagefault.open(self.directory, embedder=None)

    def flush(self) -> None:
        self.memory.flush()

    def rivals(self) -> None:
        """Two runs of one thread at once, on different paths."""
        bases = [self.rng.choice(self.saved).reloaded(), self.saved[-1]]
        paths = [[*base.messages, *self.new()] for base in bases]
        results: list[Checkpoint | None] = [None, None]

        def work(index: int) -> None:
            results[index] = self.step(bases[index], paths[index])

        threads = [threading.Thread(target=work, args=(i,)) for i in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.saved += [r for r in results if r is not None]

    def verify(self, checkpoint: Checkpoint) -> None:
        """A restored state sees exactly its own past: by number, and by query."""
        state = checkpoint.reloaded()
        if not state.messages:
            return
        space = self.space()
        path = space.path(state.messages, LANGCHAIN, record=state.record)
        closed = [path.natives(slot) for slot in path.slots if slot.closed]
        own = [str(natives[-1].content) for natives in closed]
        found = space.fault(f"1-{len(own)}", path=path, budget=300)
        assert [p.page.messages[-1].text for p in found.pages] == own
        wanted = sorted(number for number, text in enumerate(own, 1) if text)
        seen = space.recall("needle", limit=100, path=path, budget=300)
        visible = sorted(p.page.seq for p in seen.pages)
        assert visible == wanted or (len(wanted) > 100 and set(visible) <= set(wanted))
        for page in seen.pages:
            assert page.page.messages[-1].text == own[page.page.seq - 1]
        self.checked += 1


@pytest.mark.parametrize("number", range(SEEDS))
def test_every_checkpoint_sees_exactly_its_own_past(number: int, tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    fuzz = Fuzz(tmp_path / "memory", seed)
    try:
        fuzz.run(OPERATIONS)
    finally:
        fuzz.memory.close()
    assert fuzz.checked > OPERATIONS // 5
