"""LangChain's own standard tests for chat models, on ``paged(model)`` over a stand-in without a provider.

Skipped for want of a provider: environment variables, serialisation, JSON mode, recorded HTTP, and images, audio and
PDFs, which those tests download; ``tests/langgraph/test_roundtrip.py`` has content of all kinds.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

import pagefault
from pagefault_langgraph import paged
from tests.langgraph.stand_in import ChatStandIn

MEMORY = pagefault.open(":memory:", embedder=None, budget=pagefault.Budget(window=32_000))
THREADS = itertools.count()


class PagedStandIn(ChatStandIn):
    """Calling it makes a stand-in, and pages it: the suites want a class."""

    def __new__(cls, **kwargs: Any) -> Any:
        space = pagefault.SpaceId(tenant="standard", user="", thread=f"t{next(THREADS)}", agent="")
        return paged(ChatStandIn(**kwargs), MEMORY, identity=lambda config: space)


@pytest.fixture(scope="session", autouse=True)  # a worker may leave this module and come back to it
def closing():
    yield
    MEMORY.close()


class TestPagedModel(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[PagedStandIn]:
        return PagedStandIn

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {}


class TestPagedModelAtWork(ChatModelIntegrationTests):
    @property
    def chat_model_class(self) -> type[PagedStandIn]:
        return PagedStandIn

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {}

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def supports_model_override(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str | None:
        return "stand-in-2"


def test_the_suites_ran_on_a_paged_model():
    model = PagedStandIn()
    assert isinstance(model, ChatStandIn)
    assert model.invoke("hello").content
    assert len(MEMORY.core._pagings) > 0
