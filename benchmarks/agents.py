"""Deterministic agents for measuring: the stand-in model and histories of any length."""

from __future__ import annotations

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from tests.langgraph.scripted import TOOLS, ScriptedModel, words, worker_script

__all__ = ["TOOLS", "ScriptedModel", "history", "worker_script"]


def history(length: int) -> list[BaseMessage]:
    """A conversation of about ``length`` messages: a question, tool steps, an answer, again."""
    messages: list[BaseMessage] = []
    turn = 0
    while len(messages) < length:
        turn += 1
        messages.append(HumanMessage(content=f"question {turn}: {words(f'q{turn}', 12)}", id=f"h{turn}"))
        for step in range(4):
            call = f"t{turn}s{step}"
            calls = [{"name": "lookup", "args": {"key": call}, "id": call}]
            messages.append(AIMessage(content="", tool_calls=calls, id=f"a{call}"))
            messages.append(ToolMessage(content=words(call, 20), tool_call_id=call, name="lookup", id=f"r{call}"))
        messages.append(AIMessage(content=f"answer {turn}: {words(f'x{turn}', 15)}", id=f"b{turn}"))
    return messages
