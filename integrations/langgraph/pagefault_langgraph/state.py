"""The private state key that carries the view record."""

from __future__ import annotations

from typing import Annotated, Any, Final, NotRequired

from langchain.agents.middleware.types import AgentState, PrivateStateAttr

from pagefault.view import merge_records

VIEW_KEY: Final = "pagefault_view"


class PagingState(AgentState[Any]):
    """Agent state with the view record: checkpointed, never part of input or output."""

    pagefault_view: NotRequired[Annotated[dict[str, Any], merge_records, PrivateStateAttr]]
