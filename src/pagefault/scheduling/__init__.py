"""The scheduler's policy: values in, decisions out; no clock, no I/O, no randomness."""

from __future__ import annotations

from pagefault.scheduling.accounts import AccountUsage
from pagefault.scheduling.affinity import Mark, Prefix, WarmPrefixes, marks
from pagefault.scheduling.costs import NOTHING, Prices, Usage, reported
from pagefault.scheduling.dispatcher import Dispatcher, Phase
from pagefault.scheduling.fairness import AccountId, classes_in_order
from pagefault.scheduling.limits import Limits
from pagefault.scheduling.pace import check_pause, is_refusal, retry_after
from pagefault.scheduling.recount import recount
from pagefault.scheduling.replica import Replica, Token
from pagefault.scheduling.rules import Request, Rules

__all__ = [
    "NOTHING",
    "AccountId",
    "AccountUsage",
    "Dispatcher",
    "Limits",
    "Mark",
    "Phase",
    "Prefix",
    "Prices",
    "Replica",
    "Request",
    "Rules",
    "Token",
    "Usage",
    "WarmPrefixes",
    "check_pause",
    "classes_in_order",
    "is_refusal",
    "marks",
    "recount",
    "reported",
    "retry_after",
]
