"""The simulator behind the figures: repeatable, no slot idles, and the claims hold in small."""

from __future__ import annotations

import pytest

from benchmarks.scheduling import simulate as simulator
from benchmarks.scheduling.picture import bars, frontier
from benchmarks.scheduling.policies import LOAD_CONTROL, POLICIES
from benchmarks.scheduling.workload import SCENARIOS

OURS = "ours, slack 4,000"


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(simulator, "HORIZON", 100.0)


@pytest.mark.parametrize("policy", POLICIES)
def test_no_policy_leaves_a_slot_idle(policy):
    result = simulator.simulate(policy, "nested", 1)
    if policy not in LOAD_CONTROL:
        assert result.idle == 0
    assert result.idle < simulator.HORIZON / 20, "load control keeps slots empty, but rarely"
    assert result.throughput > 0
    assert result == simulator.simulate(policy, "nested", 1)


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name != "crowd"])
def test_ours_is_fair_where_longest_prefix_first_starves_agents(scenario):
    ours, lpm = (simulator.simulate(policy, scenario, 1) for policy in (OURS, "longest prefix first"))
    assert ours.gap < lpm.gap
    assert ours.jain > lpm.jain
    assert ours.worst_wait < lpm.worst_wait


def test_load_control_keeps_a_crowd_from_pushing_each_other_out():
    known, unknown, lpm = (
        simulator.simulate(policy, "crowd", 1)
        for policy in ("ours, slack 16,000", "ours, slack 4,000, cache size unknown", "longest prefix first")
    )
    assert known.hit > 2 * max(unknown.hit, lpm.hit)
    assert known.throughput > 1.2 * max(unknown.throughput, lpm.throughput)
    assert known.jain > 0.9, "the set that is let in rotates"


def test_the_pictures_show_every_policy():
    svg = frontier({scenario: dict.fromkeys(POLICIES, (20_000.0, 0.9)) for scenario in SCENARIOS})
    assert svg.count("<circle") == len(POLICIES) * len(SCENARIOS)
    svg = bars("waits", "s", {name: float(number) for number, name in enumerate(POLICIES)})
    assert all(f">{name}<" in svg for name in POLICIES)
