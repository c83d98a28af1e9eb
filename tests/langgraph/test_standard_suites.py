"""LangChain's own standard tests, where they apply: the retriever, and the tools that a model is given.

Chat models: ``test_standard_chat_model.py``. Embeddings: pagefault takes those of LangChain and gives none, so that
suite has nothing to test; ``tests/embedders`` tests the adapter. ``BaseStore[str, bytes]`` of langchain-core is not
the one of LangGraph: for that, ``test_store_contract.py``.
"""

from __future__ import annotations

from typing import Any

import pytest
from langchain_tests.integration_tests import RetrieversIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests

import pagefault
from pagefault_langgraph import PagefaultRetriever, recall_tool, remember_tool

MEMORY = pagefault.open(":memory:", embedder=None)


@pytest.fixture(scope="session", autouse=True)  # a worker may leave this module and come back to it
def closing():
    yield
    MEMORY.close()


class TestRetriever(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[PagefaultRetriever]:
        return PagefaultRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        space = MEMORY.space(user="ada", thread="standard")
        if not space.recall("cat").pages:
            space.append([{"role": "user", "content": f"My cat did trick {n}."} for n in range(5)])
        return {"memory": MEMORY, "space": space.id}

    @property
    def retriever_query_example(self) -> str:
        return "cat trick"


class TestRememberTool(ToolsUnitTests):
    @property
    def tool_constructor(self) -> Any:
        return remember_tool(MEMORY)

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"key": "diet", "value": "Ada is vegan."}


class TestRecallTool(ToolsUnitTests):
    @property
    def tool_constructor(self) -> Any:
        return recall_tool(MEMORY)

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"addresses": "1-2", "query": ""}
