"""The usual hand-made agent: a model, its tools, and an edge back."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from tests.langgraph.scripted import TOOLS


def graph_of(model: Any, *lead: BaseMessage) -> Any:
    """``lead`` stands before the messages of the state in every request."""

    def call(state: MessagesState, config: RunnableConfig) -> Any:
        return {"messages": [model.invoke([*lead, *state["messages"]], config)]}

    async def acall(state: MessagesState, config: RunnableConfig) -> Any:
        return {"messages": [await model.ainvoke([*lead, *state["messages"]], config)]}

    builder = StateGraph(MessagesState)
    builder.add_node("model", RunnableLambda(call, afunc=acall))
    builder.add_node("tools", ToolNode(TOOLS))
    builder.add_edge(START, "model")
    builder.add_conditional_edges("model", tools_condition)
    builder.add_edge("tools", "model")
    return builder.compile(checkpointer=InMemorySaver())
