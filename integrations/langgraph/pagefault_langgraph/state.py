"""The state keys that pagefault adds: the view record, and the prompt on its way to the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, NotRequired

from langchain.agents.middleware.types import AgentState, PrivateStateAttr
from langchain_core.messages import AnyMessage
from langgraph.channels import EphemeralValue
from typing_extensions import TypedDict

from pagefault.window.view import filed_under, merge_records, record_under
from pagefault_langgraph.drop import add_paged_messages
from pagefault_langgraph.model import NotPageable

MESSAGES_KEY: Final = "messages"
VIEW_KEY: Final = "pagefault_view"
PROMPT_KEY: Final = "llm_input_messages"


class _OnePrompt(EphemeralValue[list[Any]]):
    """The prompt of one superstep: of two that differ, any would go to a model that it is not for."""

    def update(self, values: Sequence[list[Any]]) -> bool:
        if any(value != values[0] for value in values[1:]):
            raise NotPageable(
                f"two nodes of one superstep left different prompts under {self.key!r}; give each paging node its own "
                "prompt_key=..., and its model node prompt_of(state, prompt_key=...), or a superstep of its own"
            )
        return super().update(values)


OneStep: Final[EphemeralValue[list[Any]]] = _OnePrompt(list, guard=False)
"""A value that the next superstep reads, after which it is gone: no checkpoint keeps a second history."""


def read(state: Any, key: str) -> Any:
    """A key of a state, be it a dictionary, a dataclass or a model; ``None`` where it is not there."""
    return state.get(key) if isinstance(state, Mapping) else getattr(state, key, None)


def record_of(state: Any, messages_key: str) -> Mapping[str, Any] | None:
    """The view record of the messages under this key; a state may have several lists of them, and one key of ours."""
    return record_under(read(state, VIEW_KEY), "" if messages_key == MESSAGES_KEY else messages_key)


def told_of(record: dict[str, Any], messages_key: str) -> dict[str, Any]:
    """What the state's key is told of such a record."""
    return filed_under(record, "" if messages_key == MESSAGES_KEY else messages_key)


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
