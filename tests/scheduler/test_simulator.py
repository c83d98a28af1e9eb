"""The simulator behind the figures: repeatable, no slot idles, and the claims hold in small."""

from __future__ import annotations

import pytest

from benchmarks.scheduling import simulate as simulator
from benchmarks.scheduling.picture import frontier
from benchmarks.scheduling.policies import POLICIES
from benchmarks.scheduling.workload import SCENARIOS

OURS = "ours, slack 4,000"


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(simulator, "HORIZON", 100.0)


@pytest.mark.parametrize("policy", POLICIES)
def test_no_policy_leaves_a_slot_idle(policy):
    result = simulator.simulate(policy, "nested", 1)
    assert result.idle == 0
    assert result.throughput > 0
    assert result == simulator.simulate(policy, "nested", 1)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_ours_is_fair_where_longest_prefix_first_starves_agents(scenario):
    ours, lpm = (simulator.simulate(policy, scenario, 1) for policy in (OURS, "longest prefix first"))
    assert ours.gap < lpm.gap
    assert ours.jain > lpm.jain
    assert ours.worst_wait < lpm.worst_wait


def test_the_picture_shows_every_policy():
    svg = frontier({scenario: dict.fromkeys(POLICIES, (20_000.0, 0.9)) for scenario in SCENARIOS})
    assert svg.count("<circle") == len(POLICIES) * len(SCENARIOS)
