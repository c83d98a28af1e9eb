"""What cannot fit a window, given to a graph of thread "long": refused by name, and the graph goes on once it fits."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import HumanMessage

import pagefault
from tests.langgraph.scripted import ScriptedModel, words

SMALL = pagefault.Budget(window=2_000, target=1_500, reserve=200)


def check_too_large(graph: Any, model: ScriptedModel, memory: pagefault.Memory, config: Any) -> None:
    """A message larger than the window, then pins larger than the budget."""
    with pytest.raises(pagefault.PageTooLarge, match=r"page 1 has .* window=2000 .* larger window"):
        graph.invoke({"messages": [HumanMessage(words("big", 1_500), id="h")]}, config)
    assert model.requests == []
    assert [m.id for m in graph.get_state(config).values["messages"]] == ["h"]
    graph.update_state(config, {"messages": [HumanMessage(words("small", 100), id="h")]})
    for turn in range(3):
        graph.invoke({"messages": [HumanMessage(words(f"turn{turn}", 60), id=f"h{turn}")]}, config)
    space = memory.space(thread="long")
    space.pin("1-12")
    with pytest.raises(pagefault.PinnedOverBudget, match="release pins"):
        graph.invoke({"messages": [HumanMessage("go on", id="on")]}, config)
    space.release("1-12")
    assert graph.invoke(None, config)["messages"][-1].content.startswith("turn done")
