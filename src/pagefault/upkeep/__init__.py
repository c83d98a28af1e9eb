"""What an operator does to a whole store, beside its agents: survey, verify, reindex. The commands use it."""

from __future__ import annotations

from pagefault.upkeep.reindex import Reindexed, reindex, searched_text
from pagefault.upkeep.survey import DiskUse, SpaceSurvey, Survey, disk_use, survey
from pagefault.upkeep.verify import Finding, Verified, verify

__all__ = [
    "DiskUse",
    "Finding",
    "Reindexed",
    "SpaceSurvey",
    "Survey",
    "Verified",
    "disk_use",
    "reindex",
    "searched_text",
    "survey",
    "verify",
]
