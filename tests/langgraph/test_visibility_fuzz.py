"""Exactly one's own past: random histories against a reference model, on the real engine.

The reference model is the list of messages in each checkpoint. After every few operations
some checkpoint is restored and everything it can see is compared with that list: by address,
by query, and in the prompt. Another conversation of the same user speaks of the same things.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

import pagefault
from pagefault.faults.others import Past
from pagefault_langgraph.messages import LANGCHAIN
from tests.kernel.support import store_alone

SEEDS = 8
OPERATIONS = 45
LIVES, LONGER = 200, 60
BUDGET = pagefault.Budget(window=600, target=320, reserve=50)
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
    """One thread's life: appends, edits, removals, time travel, crashes, retries, runs at once."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.directory = directory
        self.memory = pagefault.open(directory, embedder=None)
        self.saved = [Checkpoint()]
        self.neighbour = Checkpoint()
        self.made = 0
        self.checked = 0
        self.evicted = 0
        self.done: Counter[str] = Counter()

    def run(self, operations: int) -> None:
        weights: dict[Callable[[], None], int] = {
            self.append: 8, self.edit: 2, self.remove: 1, self.travel: 2, self.crash: 1, self.retry: 2, self.flush: 1,
            self.rivals: 2, self.neighbours: 1,
        }  # fmt: skip
        acts = [*weights, *self.rng.choices(list(weights), list(weights.values()), k=operations - len(weights))]
        self.rng.shuffle(acts)
        for act in [self.append, self.append, *acts]:
            act()
            self.done[act.__name__] += 1
            if self.rng.random() < 0.4:
                self.verify(self.rng.choice(self.saved))
        for checkpoint in self.saved[:: max(1, len(self.saved) // 12)]:
            self.verify(checkpoint)

    def new(self, about: str = "needle") -> list[BaseMessage]:
        self.made += 1
        text = self.rng.choice([f"{about} w{self.made}", "needle again"])  # duplicates on purpose
        if self.rng.random() < 0.3:
            call = [{"name": "t", "args": {"n": self.made}, "id": f"c{self.made}"}]
            result = ToolMessage(content=text, tool_call_id=f"c{self.made}", id=f"t{self.made}")
            return [AIMessage(content="", tool_calls=call, id=f"a{self.made}"), result]
        cls = self.rng.choice([HumanMessage, AIMessage])
        return [cls(content=text, id=self.rng.choice([f"m{self.made}", None]))]

    def step(self, base: Checkpoint, messages: list[BaseMessage], thread: str = "t") -> Checkpoint:
        space = self.memory.space(thread=thread)
        prompt = space.step(messages, LANGCHAIN, BUDGET, now=float(self.made), record=base.record)
        if prompt.natives is not None:
            own = [m.content for m in messages]
            shown = [m.content for m in prompt.natives if not str(m.id).startswith("pagefault-")]
            assert all(content in own for content in shown)
        self.evicted += len(prompt.evicted)
        return Checkpoint(list(messages), prompt.record or base.record)

    def append(self) -> None:
        base = self.saved[-1] if self.rng.random() < 0.7 else self.saved[-1].reloaded()
        fresh = [m for _ in range(self.rng.randint(1, 4)) for m in self.new()]
        self.saved.append(self.step(base, [*base.messages, *fresh]))

    def edit(self) -> None:
        """What was asked, said or found is changed in place, under its id."""
        base = self.saved[-1]
        said = [i for i, m in enumerate(base.messages) if m.content]
        if said:
            at = self.rng.choice(said)
            self.made += 1
            changed = base.messages[at].model_copy(update={"content": f"needle edited w{self.made}"})
            self.saved.append(self.step(base, [*base.messages[:at], changed, *base.messages[at + 1 :]]))

    def remove(self) -> None:
        """A message leaves the state; a tool call leaves with its result."""
        base = self.saved[-1]
        if len(base.messages) > 2:
            gone = {self.rng.randrange(len(base.messages))}
            for at in list(gone):
                message = base.messages[at]
                gone |= {at - 1} if isinstance(message, ToolMessage) else set()
                gone |= {at + 1} if isinstance(message, AIMessage) and message.tool_calls else set()
            self.saved.append(self.step(base, [m for i, m in enumerate(base.messages) if i not in gone]))

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

        self.memory.core.writeback.close = never_flushed  # type: ignore[method-assign]  # the crash
        self.memory.close()
        self.memory = pagefault.open(self.directory, embedder=None)

    def flush(self) -> None:
        self.memory.flush()

    def rivals(self) -> None:
        """Two runs of one thread at once, on different paths, while a third looks back."""
        bases = [self.rng.choice(self.saved).reloaded(), self.saved[-1]]
        paths = [[*base.messages, *self.new()] for base in bases]
        past = self.rng.choice(self.saved)
        with ThreadPoolExecutor(3) as threads:
            reading = threads.submit(self.verify, past)
            self.saved += threads.map(self.step, bases, paths)
            reading.result()

    def neighbours(self) -> None:
        """Another conversation of the user, whose pages are nobody's business here."""
        self.neighbour = self.step(self.neighbour, [*self.neighbour.messages, *self.new("needle of a neighbour")], "u")

    def verify(self, checkpoint: Checkpoint) -> None:
        """A restored state sees exactly its own past: by number, and by query."""
        state = checkpoint.reloaded()
        if not state.messages:
            return
        space = self.memory.space(thread="t")
        past = Past(space.path(state.messages, LANGCHAIN, record=state.record), len(state.messages))
        own = [str(m.content) for m in state.messages if not (isinstance(m, AIMessage) and m.tool_calls)]
        found = space.fault(f"1-{len(own)}", path=past, budget=300)
        assert [p.page.messages[-1].text for p in found.pages] == own
        with store_alone():
            stored = space.fault(f"1-{len(own)}", path=past, budget=300)
        assert timeless(found) == timeless(stored), "whether the messages are here or not"
        with pytest.raises(pagefault.PageNotFound, match="page 1$" if len(own) == 1 else f"pages 1-{len(own)}"):
            space.fault(len(own) + 1, path=past)
        seen = space.recall("needle", limit=100, path=past, budget=300)
        visible = [said(p.page) for p in seen.pages]
        everything = {said(p.page) for p in found.pages}
        assert len(visible) == min(100, len(everything)), "what was said more than once is shown once"
        assert everything.issuperset(visible)
        assert len(set(visible)) == len(visible)
        few = space.recall("needle", limit=3, path=past, budget=300)
        assert len(few.pages) == min(3, len(everything)), "pages of other paths take nobody's place"
        for page in (*seen.pages, *few.pages):
            for each in (page, *([page.then] if page.then else [])):
                assert each.page.messages[-1].text == own[each.page.seq - 1]
        self.checked += 1


def said(page: pagefault.Page) -> tuple[Any, ...]:
    """What a page says, whichever messages say it."""
    return tuple((m.role, m.text, tuple((call.name, call.arguments) for call in m.calls)) for m in page.messages)


def timeless(found: Any) -> list[Any]:
    """Its pages but for when they were seen: that is when this path saw them, or another one that said the same.

    Whether they are in the window is left out as well: while it is asked, rivals reclaim.
    """
    return [(each.address, each.trust, replace(each.page, created_at=0.0)) for each in found.pages]


def live(seed: int, directory: Path, operations: int) -> Fuzz:
    print(f"seed {seed}")
    fuzz = Fuzz(directory, seed)
    try:
        fuzz.run(operations)
    finally:
        fuzz.memory.close()
    return fuzz


@pytest.mark.parametrize("number", range(SEEDS))
def test_every_checkpoint_sees_exactly_its_own_past(number: int, tmp_path: Path) -> None:
    fuzz = live(random.randrange(2**32), tmp_path / "memory", OPERATIONS)
    assert fuzz.checked > OPERATIONS // 5
    assert len(fuzz.done) == 9, "every kind of operation was in it"


@pytest.mark.long
@pytest.mark.timeout(3_600)
def test_two_hundred_lives(tmp_path: Path) -> None:
    lives = [live(random.randrange(2**32), tmp_path / str(number), LONGER) for number in range(LIVES)]
    assert sum(fuzz.checked for fuzz in lives) > LIVES * LONGER // 5
    assert sum(fuzz.evicted > 0 for fuzz in lives) > LIVES * 0.9
