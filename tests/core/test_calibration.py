"""A budget corrected by usage reports: in provider tokens it never grows beyond what was asked."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagefault import Budget
from pagefault.calibration import HIGHEST, LEAST_TOKENS, LOWEST, SAMPLES, Calibration, Gauge
from pagefault.chat import CHAT, ChatCodec
from tests.core import conversation as c

ASKED = Budget(window=10_000, target=6_000, reserve=1_000)


@given(st.lists(st.tuples(st.integers(0, 100_000), st.integers(0, 400_000)), max_size=20))
def test_the_largest_of_the_last_believable_ratios_holds(reports):
    calibration = Calibration()
    believed = []
    for counted, reported in reports:
        calibration = calibration.after(counted=counted, reported=reported)
        if counted >= LEAST_TOKENS and LOWEST <= reported / counted <= HIGHEST:
            believed.append(reported / counted)
    assert calibration.factor == max(believed[-SAMPLES:], default=1.0)


@given(
    window=st.integers(100, 10**6),
    share=st.floats(0.1, 0.9),
    ratio=st.floats(LOWEST, HIGHEST),
)
def test_in_provider_tokens_the_budget_is_the_one_asked_for(window, share, ratio):
    asked = Budget(window=window, target=max(1, int(window * share * 0.9)), reserve=window // 20)
    applied = Calibration(ratios=(ratio,)).applied(asked)
    assert applied.target * ratio <= asked.target + ratio
    assert (applied.window - applied.reserve) * ratio <= asked.window - asked.reserve + ratio
    assert applied.watermarks == asked.watermarks


def test_without_reports_nothing_changes():
    assert Calibration().applied(ASKED) is ASKED


def test_a_gauge_says_what_changed(caplog):
    gauge = Gauge(ASKED, "ChatSomething large")
    with caplog.at_level(logging.INFO, logger="pagefault"):
        gauge.report(counted=2_000, reported=2_020)
        assert not caplog.records, "a hundredth is not worth a line"
        gauge.report(counted=2_000, reported=3_000)
    assert "ChatSomething large reports 1.50 tokens for each one counted here" in caplog.text
    assert "its target of 6,000 is 4,000 as counted here" in caplog.text
    assert gauge.budget.target == 4_000
    assert gauge.asked is ASKED
    assert "factor=1.50" in repr(gauge)
    assert gauge.due > 2_000
    gauge.again()
    assert gauge.due == LEAST_TOKENS


class Reporting(ChatCodec):
    """Chat dictionaries whose answers carry a usage report."""

    def usage(self, message):
        return message.get("usage")


REPORTING = Reporting()


def talk(ratio: float, turns: int) -> tuple[Gauge, list[int]]:
    """A conversation whose provider counts ``ratio`` tokens where we count one; its requests in provider tokens."""
    paging, gauge, messages, sizes = c.paging(), Gauge(ASKED), [], []
    for turn in range(turns):
        messages.append(c.user(f"question {turn}: " + "word " * 60))
        prompt = paging.step(list(messages), REPORTING, gauge, now=float(turn))
        prompt.lineage.count_exactly()
        real = int(prompt.lineage.ceiling() * ratio)
        sizes.append(real)
        messages.append({"role": "assistant", "content": f"answer {turn}", "usage": real})
    return gauge, sizes


@pytest.mark.parametrize("ratio", [0.7, 1.0, 1.6, 2.5])
def test_a_conversation_keeps_the_providers_budget_whatever_it_counts(ratio):
    gauge, sizes = talk(ratio, 400)
    assert gauge.calibration.factor == pytest.approx(ratio, rel=0.02)
    assert max(sizes[100:]) <= ASKED.target
    assert max(sizes[100:]) > ASKED.target * 0.75, "nothing is given away either"


def test_a_report_about_another_request_is_not_taken():
    paging, gauge = c.paging(), Gauge(ASKED)
    history = [c.user("word " * 2_500), {"role": "assistant", "content": "old", "usage": 9_000}, c.user("go on")]
    prompt = paging.step(history, REPORTING, gauge, now=0.0)
    prompt.lineage.count_exactly()
    history = [*history, {"role": "assistant", "content": "no report"}, c.user("and on")]
    prompt = paging.step(history, REPORTING, gauge, now=1.0)
    assert gauge.calibration.factor == 1.0
    paging.step([*history, {"role": "assistant", "content": "x", "usage": 7_000}], CHAT, gauge, now=2.0)
    assert gauge.calibration.factor == 1.0
