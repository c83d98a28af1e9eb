"""The agent, its conversation, and what of it outlives the process."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from langchain.agents import create_agent
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage, messages_from_dict, messages_to_dict
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

import pagefault
from examples.demo.library import Library
from examples.demo.meter import Meter, Observer
from examples.demo.task import SYSTEM
from examples.demo.trouble import CannotRun
from pagefault_langgraph import PagingMiddleware

WINDOW: Final = 8_000
MAX_STEPS: Final = 20_000
STATE_FILE: Final = "conversation.json"
PAGES: Final = "pages"


class Session:
    """One agent with its memory in a directory, where it may find a conversation to go on with."""

    def __init__(self, model: BaseChatModel, topics: int | None, directory: Path) -> None:
        self._file = directory / STATE_FILE
        kept = _load(self._file)
        thread = kept.get("thread") or f"reader-{uuid.uuid4().hex[:8]}"
        self.is_resumed: Final = bool(kept)
        self.library: Final = Library(kept.get("topics", topics))
        self.memory: Final = pagefault.open(directory / PAGES, budget=pagefault.Budget(window=WINDOW))
        self.space: Final = self.memory.space(thread=thread)
        self.meter: Final = Meter(self.memory.budget, self.memory.counter)
        self._config: RunnableConfig = {"configurable": {"thread_id": thread}, "recursion_limit": MAX_STEPS}
        paging = PagingMiddleware(self.memory, identity=lambda _: self.space.id)
        self._agent = create_agent(
            model,
            self.library.tools(),
            system_prompt=SYSTEM,
            middleware=[paging, Observer(self.meter)],
            checkpointer=InMemorySaver(),
        )
        if kept:
            state = {**kept["state"], "messages": messages_from_dict(kept["messages"])}
            self._agent.update_state(self._config, state)

    @property
    def messages(self) -> list[BaseMessage]:
        """Every message of the conversation, as the graph's state has them."""
        found: list[BaseMessage] = self._agent.get_state(self._config).values.get("messages", [])
        return found

    def say(self, text: str, on_step: Callable[[], None]) -> str:
        """One turn of the user; the agent's reply."""
        turn: Any = {"messages": [HumanMessage(content=text)]}
        for _ in self._agent.stream(turn, self._config, stream_mode="updates", durability="exit"):
            on_step()
        return self.messages[-1].text

    def keep(self) -> None:
        """Write the conversation beside its pages, so that a later run goes on with it."""
        state = dict(self._agent.get_state(self._config).values)
        kept = {
            "thread": self.space.id.thread,
            "topics": len(self.library.topics),
            "messages": messages_to_dict(state.pop("messages")),
            "state": state,
        }
        self._file.write_text(json.dumps(kept), encoding="utf-8")


def _load(file: Path) -> dict[str, Any]:
    """What an earlier run kept; empty without one."""
    if not file.exists():
        return {}
    try:
        kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CannotRun(f"{file} cannot be read ({error}); remove it to begin a new conversation") from error
    return kept
