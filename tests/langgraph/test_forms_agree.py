"""Middleware, paging node and dropping node: on the same conversation each sends the same and keeps the same.

Whatever happens in between: restarts, going back to an older checkpoint, edits.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph

import pagefault
from pagefault_langgraph import PagedState, PagingMiddleware, paging_node, prompt_of
from tests.langgraph.scripted import ScriptedModel, problems, words
from tests.langgraph.test_paging_node import is_block

BUDGET = pagefault.Budget(window=2_500, target=1_500, reserve=300)
THREAD: Any = {"configurable": {"thread_id": "t"}}
FORMS = ["middleware", "node", "dropping"]


def answer(_call: int, messages: list[BaseMessage]) -> AIMessage:
    last = messages[-1].id
    return AIMessage(words(f"answer {last}", random.Random(last).choice([1, 10, 40])), id=f"answer {last}")


class Form:
    """One way to page a conversation, on a directory of its own."""

    def __init__(self, name: str, place: Path) -> None:
        self.name = name
        self.place = place / name
        self.model = ScriptedModel(answer)
        self.saver = InMemorySaver()
        self.config = THREAD
        self.checkpoints: list[Any] = []
        self.memory = pagefault.open(self.place, embedder=None)
        self.build()

    def build(self) -> None:
        if self.name == "middleware":
            paging = PagingMiddleware(self.memory, budget=BUDGET, recall=False)
            self.graph: Any = create_agent(self.model, [], middleware=[paging], checkpointer=self.saver)
            return
        builder = StateGraph(PagedState)
        builder.add_node("page", paging_node(self.memory, budget=BUDGET, drop=self.name == "dropping"))
        builder.add_node("model", lambda state: {"messages": [self.model.invoke(prompt_of(state))]})
        builder.add_edge(START, "page")
        builder.add_edge("page", "model")
        self.graph = builder.compile(checkpointer=self.saver)

    def restart(self) -> None:
        self.memory.close()
        self.memory = pagefault.open(self.place, embedder=None)
        self.build()

    def ask(self, messages: list[AnyMessage]) -> list[tuple[str, str]]:
        """Go on; what the model was sent, the table of contents first: a dropping node puts it where pages were."""
        self.graph.invoke({"messages": messages}, self.config)
        self.config = THREAD
        self.checkpoints.append(self.graph.get_state(THREAD).config)
        request = self.model.requests[-1]
        assert not problems(request)
        return [(m.type, str(m.content)) for m in sorted(request, key=lambda m: not is_block(m))]

    def go_back(self, turn: int) -> None:
        self.config = self.checkpoints[turn]

    def has(self, name: str) -> bool:
        return any(m.id == name and not is_block(m) for m in self.graph.get_state(THREAD).values.get("messages", ()))

    def edit(self, name: str, text: str) -> None:
        self.graph.update_state(THREAD, {"messages": [HumanMessage(text, id=name)]})

    def pages(self) -> list[tuple[str, list[str]]]:
        """Every page of the path, read back by its number."""
        space = self.memory.space(thread="t")
        length = space.paging.lineages[0].length
        return [(p.address, [m.text for m in p.page.messages]) for p in space.fault(f"1-{length}", budget=50).pages]


def turn_of(number: int, chance: random.Random) -> list[AnyMessage]:
    """What is new: a question, and steps that some other node did on it."""
    asked = words(f"question {number}", chance.choice([1, 5, 30, 80]))
    messages: list[AnyMessage] = [HumanMessage(asked, id=f"h{number}")]
    for step in range(chance.choice([0, 1, 3])):
        ids = [f"{number}.{step}.{part}" for part in range(chance.choice([1, 2]))]
        calls = [{"name": "look", "args": {"key": each}, "id": each} for each in ids]
        messages.append(AIMessage("", tool_calls=calls, id=f"a{number}.{step}"))
        messages += [ToolMessage(words(each, chance.choice([5, 40])), tool_call_id=each, id=f"t{each}") for each in ids]
    return messages


@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(3, 64))])
def test_all_forms_send_the_same_and_keep_the_same(tmp_path, seed):
    chance, forms = random.Random(seed), [Form(name, tmp_path) for name in FORMS]
    edited = False
    for number in range(1, 15):
        deed, back = chance.choice(["restart", "go back", "edit", *["go on"] * 4]), chance.randrange(max(1, number - 1))
        before = f"h{number - 1}"
        edits = deed == "edit" and all(form.has(before) for form in forms)
        edited = edited or edits
        for form in forms:
            if deed == "restart":
                form.restart()
            elif deed == "go back" and number > 1:
                form.go_back(back)
            elif edits:
                form.edit(before, words(f"edit {number}", 5))
        news = turn_of(number, chance)
        sent = [form.ask(news) for form in forms]
        assert sent[0] == sent[1]
        assert edited or sent[1] == sent[2]  # where pages had left, an edit has the others choose the window anew
        kept = [form.pages() for form in forms]
        assert kept[0] == kept[1] == kept[2]
    for form in forms:
        form.memory.close()
