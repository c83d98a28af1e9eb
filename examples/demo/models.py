"""The model: the stand-in, or a real one by ``--model provider:name``."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from typing import Final

from langchain.chat_models import init_chat_model
from langchain_core.language_models.chat_models import BaseChatModel

from examples.demo.stand_in import StandInModel
from examples.demo.trouble import CannotRun


@dataclass(frozen=True, slots=True)
class Provider:
    """What a provider needs: a package, and a key in the environment (none for local ones)."""

    package: str
    key: str = ""


PROVIDERS: Final = {
    "anthropic": Provider("langchain-anthropic", "ANTHROPIC_API_KEY"),
    "deepseek": Provider("langchain-deepseek", "DEEPSEEK_API_KEY"),
    "google_genai": Provider("langchain-google-genai", "GOOGLE_API_KEY"),
    "groq": Provider("langchain-groq", "GROQ_API_KEY"),
    "mistralai": Provider("langchain-mistralai", "MISTRAL_API_KEY"),
    "ollama": Provider("langchain-ollama"),
    "openai": Provider("langchain-openai", "OPENAI_API_KEY"),
    "openrouter": Provider("langchain-openrouter", "OPENROUTER_API_KEY"),
    "together": Provider("langchain-together", "TOGETHER_API_KEY"),
    "xai": Provider("langchain-xai", "XAI_API_KEY"),
}


def model_for(spec: str | None) -> BaseChatModel:
    """The stand-in for ``None``, else a real model.

    Raises:
        CannotRun: Its package or key is missing, or nobody knows the provider.
    """
    if spec is None:
        return StandInModel()
    provider, _, name = spec.partition(":")
    if not name:
        raise CannotRun(f"--model {spec}: write provider:name, such as openai:gpt-5-mini or ollama:qwen3")
    _check(provider)
    try:
        model = init_chat_model(name, model_provider=provider)
    except (ImportError, ValueError) as error:
        raise CannotRun(f"--model {spec}: {error}") from error
    if not isinstance(model, BaseChatModel):
        raise CannotRun(f"--model {spec}: {type(model).__name__} is not a chat model")
    return model


def _check(provider: str) -> None:
    """Say what is missing before a client library does it less clearly."""
    needs = PROVIDERS.get(provider)
    if needs is None:
        return
    if importlib.util.find_spec(needs.package.replace("-", "_")) is None:
        raise CannotRun(f"{provider} needs a package that is not installed: pip install {needs.package}")
    if needs.key and not os.environ.get(needs.key):
        raise CannotRun(f"{provider} needs a key: set {needs.key} in the environment")
