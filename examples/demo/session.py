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
from pagefault_langgraph import PagingMiddleware

WINDOW: Final = 8_000
MAX_STEPS: Final = 20_000
STATE_FILE: Final = "conversation.json"


class Session:
    """One agent with its memory in a directory."""

    def __init__(self, model: BaseChatModel, library: Library, directory: Path) -> None:
        self._file = directory / STATE_FILE
        kept = json.loads(self._file.read_text(encoding="utf-8")) if self._file.exists() else {}
        thread = kept.get("thread", f"reader-{uuid.uuid4().hex[:8]}")
        self.memory: Final = pagefault.open(directory / "pages", budget=pagefault.Budget(window=WINDOW))
        self.space: Final = self.memory.space(thread=thread)
        self.meter: Final = Meter(self.memory.budget, self.memory.counter)
        self._config: RunnableConfig = {"configurable": {"thread_id": thread}, "recursion_limit": MAX_STEPS}
        paging = PagingMiddleware(self.memory, identity=lambda _: self.space.id)
        self._agent = create_agent(
            model,
            library.tools(),
            system_prompt=SYSTEM,
            middleware=[paging, Observer(self.meter)],
            checkpointer=InMemorySaver(),
        )
        self.is_resumed = bool(kept)
        if kept:
            self._agent.update_state(self._config, {**kept["state"], "messages": messages_from_dict(kept["messages"])})

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
        return str(self.messages[-1].content)

    def keep(self) -> None:
        """Write the conversation beside its pages, so that a later run goes on with it."""
        values = dict(self._agent.get_state(self._config).values)
        messages = messages_to_dict(values.pop("messages"))
        thread = self.space.id.thread
        text = json.dumps({"thread": thread, "state": values, "messages": messages})
        self._file.write_text(text, encoding="utf-8")
