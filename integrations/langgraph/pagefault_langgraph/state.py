"""The state keys that pagefault adds: the view record, and the prompt on its way to the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, NotRequired

from langchain.agents.middleware.types import AgentState, PrivateStateAttr
from langchain_core.messages import AnyMessage
from langgraph.channels import EphemeralValue
from typing_extensions import TypedDict

from pagefault.window.view import merge_records
from pagefault_langgraph.drop import add_paged_messages

VIEW_KEY: Final = "pagefault_view"
PROMPT_KEY: Final = "llm_input_messages"
OneStep: Final[EphemeralValue[list[Any]]] = EphemeralValue(list, guard=False)
"""A value that the next superstep reads, after which it is gone: no checkpoint keeps a second history."""


def read(state: Any, key: str) -> Any:
    """A key of a state, be it a dictionary, a dataclass or a model; ``None`` where it is not there."""
    return state.get(key) if isinstance(state, Mapping) else getattr(state, key, None)


class PagingState(AgentState[Any]):
    """Agent state with the view record: checkpointed, never part of input or output.

    LangGraph takes a reducer only where it is the last annotation.
    """

    pagefault_view: NotRequired[Annotated[dict[str, Any], PrivateStateAttr, merge_records]]


class PagedState(TypedDict):
    """``MessagesState`` for graphs with a :func:`paging_node`; derive from it to add keys.

    ``pagefault_view`` carries the decisions, ``llm_input_messages`` the prompt for the node that
    runs right after the paging node; read it with :func:`prompt_of`.
    """

    messages: Annotated[list[AnyMessage], add_paged_messages]
    pagefault_view: NotRequired[Annotated[dict[str, Any], merge_records]]
    llm_input_messages: NotRequired[Annotated[list[AnyMessage], OneStep]]
