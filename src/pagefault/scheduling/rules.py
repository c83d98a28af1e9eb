"""What the scheduler is told: the rules of one backend, and a request for a turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from pagefault.errors import BadTurn
from pagefault.scheduling.affinity import Mark
from pagefault.scheduling.costs import Prices
from pagefault.scheduling.fairness import AccountId
from pagefault.scheduling.limits import Limits
from pagefault.scheduling.numbers import above_zero, from_zero, whole

PRICES: Final = Prices()
NO_QUOTAS: Final[Mapping[str, Limits]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How one backend is shared.

    Attributes:
        limits: What the backend takes; its ``slots`` are a number.
        affinity_slack: How far, in cost per weight, an account may run ahead of the least served one
            to stay on a warm prefix.
        prices: What tokens cost.
        quotas: Limits of single agents, by name; each tenant's agent of that name has them for itself.
        tenant_quotas: Limits of single tenants, by name.
        aging: Seconds after which a lower priority class goes once before the class above it.
        max_waiting: Turns of one account that may wait at a time.

    Raises:
        BadTurn: A number that cannot be one, or what is no limit, price or name.
    """

    limits: Limits
    affinity_slack: float = 4_000.0
    prices: Prices = PRICES
    quotas: Mapping[str, Limits] = field(default_factory=lambda: NO_QUOTAS)
    tenant_quotas: Mapping[str, Limits] = field(default_factory=lambda: NO_QUOTAS)
    aging: float = 30.0
    max_waiting: int = 1_024

    def __post_init__(self) -> None:
        if self.limits.slots is None:
            raise BadTurn("the backend's slots are a number: how many calls it runs at a time")
        from_zero("affinity_slack", self.affinity_slack)
        above_zero("aging", self.aging)
        whole("max_waiting", self.max_waiting, least=1)
        _check_prices(self.prices)
        for name in ("quotas", "tenant_quotas"):
            _check_quotas(name, getattr(self, name))
            # a copy: who changes a dictionary later would change the rules of one process among those that share a log
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    @property
    def slots(self) -> int:
        """Calls that the backend runs at a time."""
        return self.limits.slots or 0


def _check_prices(prices: object) -> None:
    if not isinstance(prices, Prices):
        raise BadTurn(f"prices is a pagefault.Prices, got {prices!r:.60}")


def _check_quotas(name: str, quotas: Any) -> None:
    pairs: Any = quotas.items() if hasattr(quotas, "items") else [(None, quotas)]
    for whose, limits in pairs:
        if not isinstance(whose, str) or not isinstance(limits, Limits):
            raise BadTurn(
                f"{name} is a mapping from names to pagefault.Limits(...), got {whose!r:.40} with {limits!r:.40}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A turn that somebody asks for.

    Attributes:
        account: Tenant and agent of the root turn.
        agent: Who makes this call.
        priority: Its class, the highest of its own and of all turns it is nested in.
        weight: The share of the account.
        input_tokens: Tokens to send; ``None`` if nobody counted them.
        max_output_tokens: Tokens that come back at most; ``None`` if nobody said.
        marks: How the prompt begins.
    """

    account: AccountId
    agent: str
    priority: int = 0
    weight: float = 1.0
    input_tokens: int | None = None
    max_output_tokens: int | None = None
    marks: tuple[Mark, ...] = ()
