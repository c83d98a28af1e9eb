"""Requests, usage and rules as plain JSON values, for a log that several processes read."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any, Final

from pagefault.scheduling.affinity import Mark
from pagefault.scheduling.costs import Usage, reported
from pagefault.scheduling.numbers import LARGEST, as_weight, whole
from pagefault.scheduling.rules import Request, Rules

FORMAT: Final = 4
"""Rises with every change of the log's or the snapshot's form, or of a decision of the policy."""


def request_to(request: Request) -> list[Any]:
    """A request as plain values."""
    tenant, root = request.account
    prompt = [[digest_to(mark.digest), mark.tokens] for mark in request.marks]
    sizes = [request.input_tokens, request.max_output_tokens]
    return [tenant, root, request.agent, request.priority, request.weight, *sizes, prompt]


def request_from(values: Any) -> Request:
    """A request from plain values.

    Raises:
        ValueError: They are none. Also ``TypeError``.
    """
    tenant, root, agent, priority, weight, inputs, outputs, prompt = values
    if not all(isinstance(name, str) for name in (tenant, root, agent)):
        raise TypeError(values)
    return Request(
        account=(tenant, root),
        agent=agent,
        priority=whole("priority", priority, least=-LARGEST),
        weight=as_weight(weight),
        input_tokens=None if inputs is None else whole("input_tokens", inputs),
        max_output_tokens=None if outputs is None else whole("max_output_tokens", outputs),
        marks=tuple(Mark(digest=digest_from(digest), tokens=whole("tokens", tokens)) for digest, tokens in prompt),
    )


def usage_to(usage: Usage) -> list[int]:
    """Usage as plain values."""
    return [usage.input_tokens, usage.output_tokens, usage.cached_tokens]


def usage_from(values: Any) -> Usage:
    """Usage from plain values.

    Raises:
        ValueError: They are none. Also ``TypeError``.
    """
    inputs, outputs, cached = values
    return reported(inputs, outputs, cached)


def digest_to(digest: str | bytes) -> str:
    """A digest as text; text and bytes stay different."""
    return f"t{digest}" if isinstance(digest, str) else f"b{digest.hex()}"


def digest_from(text: str) -> str | bytes:
    """A digest from its text.

    Raises:
        ValueError: It is none.
    """
    return text[1:] if text.startswith("t") else bytes.fromhex(text.removeprefix("b"))


def rules_text(rules: Rules) -> str:
    """All that decisions depend on, as one line: who shares a log has the same.

    Example:
        >>> from pagefault.scheduling import Limits
        >>> rules_text(Rules(limits=Limits(slots=2)))[:40]
        '{"affinity_slack":4000.0,"aging":30.0,"f'
    """
    values = {
        "format": FORMAT,
        "limits": _fields(rules.limits),
        "affinity_slack": float(rules.affinity_slack),
        "prices": {name: float(price) for name, price in _fields(rules.prices).items()},
        "quotas": {name: _fields(limits) for name, limits in rules.quotas.items()},
        "tenant_quotas": {name: _fields(limits) for name, limits in rules.tenant_quotas.items()},
        "aging": float(rules.aging),
        "max_waiting": rules.max_waiting,
    }
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def _fields(record: Any) -> dict[str, Any]:
    return {each.name: getattr(record, each.name) for each in fields(record) if getattr(record, each.name) is not None}
