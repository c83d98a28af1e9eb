"""A budget corrected by usage reports: in provider tokens it never grows beyond what was asked."""

from __future__ import annotations

import logging

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pagefault import Budget
from pagefault.chat import CHAT, ChatCodec
from pagefault.window.calibration import HIGHEST, LEAST_TOKENS, LOWEST, SAMPLES, Calibration, Gauge
from tests.core import conversation as c

ASKED = Budget(window=10_000, target=6_000, reserve=1_000)


@given(st.lists(st.tuples(st.integers(0, 100_000), st.integers(0, 400_000)), max_size=20))
@example([(LEAST_TOKENS, LEAST_TOKENS + 9)])
@example([(1_000, 500), (1_000, 4_000)])
@example([(1_000, 500)])
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
    counted = 10 * window
    applied = Calibration(reports=((counted, int(counted * ratio)),)).applied(asked)
    assert applied.target * ratio <= asked.target + ratio + 1
    assert applied.target * ratio >= asked.target - ratio - 1, "all of it may be used"
    assert (applied.window - applied.reserve) * ratio <= asked.window - asked.reserve + ratio + 1
    assert applied.watermarks == asked.watermarks


@given(
    first=st.integers(LEAST_TOKENS, 3_000),
    steps=st.lists(st.integers(0, 2_000), max_size=12),
    share=st.floats(0.1, 1.0),
    same=st.integers(-3_000, 3_000),
)
def test_an_overestimate_that_stays_the_same_lets_no_prompt_grow_beyond_the_target(first, steps, share, same):
    """Such as tool schemas that the provider writes shorter: the share of it is largest in a small prompt."""
    calibration, counted = Calibration(), first

    def real(counted: int) -> int:
        return int(counted * share) + same

    for step in (0, *steps):
        counted += step
        allowed = calibration.applied(ASKED).target
        if calibration.reports and counted <= allowed:
            assert real(counted) <= max(ASKED.target, *(reported for _, reported in calibration.reports)) + 1
        calibration = calibration.after(counted=counted, reported=real(counted))


@given(st.integers(1, 60), st.integers(0, 59), st.integers(1, 60), st.floats(LOWEST, HIGHEST))
def test_a_small_budget_stays_one_with_the_answer_it_asked_for(window, reserve, target, ratio):
    reserve = min(reserve, window - 1)
    asked = Budget(window=window, reserve=reserve, target=min(target, window - reserve))
    known = Calibration(reports=((1_000, int(1_000 * ratio)),))
    applied = known.applied(asked)
    assert applied.reserve * known.factor >= asked.reserve - 1e-6
    assert 1 <= applied.target <= applied.window - applied.reserve
    assert applied.window <= max(asked.window / min(1, known.factor), applied.reserve + 1)


def test_a_prompt_is_compared_again_when_it_has_grown_by_a_quarter():
    gauge = Gauge(ASKED)
    gauge.report(counted=2_000, reported=2_000)
    assert gauge.due == 2_500
    gauge.unreported(4_000)
    assert gauge.due == 5_000
    gauge.report(counted=2_000, reported=2_000)
    assert gauge.due == 5_000, "a smaller prompt does not bring it back"


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


@pytest.mark.parametrize("counts", [True, False])
def test_a_report_is_weighed_once_its_request_is_counted_exactly(counts):
    """Until then what it held is only bounded, and a bound is far above the count."""
    paging, gauge, history = c.paging(), Gauge(ASKED), [c.user("word " * 170)]
    for turn in range(10):
        gauge.due = 0 if counts or turn > 4 else 10**9
        prompt = paging.step(list(history), REPORTING, gauge, now=float(turn))
        if counts or turn < 4:
            prompt.lineage.count_exactly()  # as write-back does behind a model at work
        whole = c.paging().step(list(history), CHAT, ASKED, now=0.0).lineage
        whole.count_exactly()
        history += [{"role": "assistant", "content": "answer", "usage": whole.ceiling()}, c.user("word " * 170)]
    reports = gauge.calibration.reports
    assert all(counted == reported for counted, reported in reports)
    assert len(reports) == (7 if counts else 0)


def test_a_report_is_about_the_model_that_gave_it():
    paging, one, other = c.paging(), Gauge(ASKED, "one"), Gauge(ASKED, "other")
    history = [c.user("word " * 2_000)]
    prompt = paging.step(list(history), REPORTING, one, now=0.0)
    prompt.lineage.count_exactly()
    history += [{"role": "assistant", "content": "of one", "usage": prompt.lineage.ceiling() * 2}, c.user("go on")]
    prompt = paging.step(list(history), REPORTING, other, now=1.0)
    assert (one.calibration.factor, other.calibration.factor) == (pytest.approx(2.0, rel=0.02), 1.0)
    prompt.lineage.count_exactly()
    usage = int(prompt.lineage.ceiling() * 1.5)
    history += [{"role": "assistant", "content": "of the other", "usage": usage}, c.user("and on")]
    paging.step(list(history), REPORTING, one, now=2.0)
    assert (one.calibration.factor, other.calibration.factor) == (pytest.approx(2.0, rel=0.02), pytest.approx(1.5))


def test_a_provider_that_reports_nothing_is_not_asked_at_every_step():
    paging, gauge, history = c.paging(), Gauge(ASKED), []
    asked = []

    class Asked(Reporting):
        def usage(self, message):
            asked.append(message["content"])
            return super().usage(message)

    codec = Asked()
    for turn in range(30):
        history += [c.user("word " * 100), {"role": "assistant", "content": f"{turn}"}]
        paging.step(list(history), codec, gauge, now=float(turn)).lineage.count_exactly()
    assert 1 <= len(asked) <= 8
    assert gauge.calibration.factor == 1.0


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


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["", "", "", "", "loose", "pin", "narrow", "notices"]),
        st.sampled_from([1, 1, 10, 30, 400]),
        st.sampled_from([None, 0.9, 1.3]),
    ),
    min_size=8,
    max_size=20,
)


@given(steps=STEPS, learns=st.booleans())
def test_a_path_known_to_be_calm_is_decided_on_as_any_other(steps, learns):
    """The short way through a step says what the long one says, and leaves the same behind."""
    wide, tight = ASKED, Budget(window=3_000, target=2_000, reserve=100)
    twins = [(c.paging(), [Gauge(wide), Gauge(tight)] if learns else [wide, tight]) for _ in range(2)]
    history, narrow, notices = [c.user("word " * 1_200)], 0, False
    for now, (what, size, usage) in enumerate(steps):
        narrow, notices = narrow ^ (what == "narrow"), notices ^ (what == "notices")
        prompts, tokens = [], []
        for number, (paging, budgets) in enumerate(twins):
            if number and paging.lineages:
                paging.lineages[0].calm = -1
            prompt = paging.step(list(history), REPORTING, budgets[narrow], now=now, overhead=9, notices=notices)
            lineage = prompt.lineage
            said = prompt.natives, prompt.record, prompt.evicted, prompt.tokens
            sent = lineage.sent and lineage.sent[1:]
            prompts.append((said, sent, lineage.offered, lineage.peak, paging.target, learns and budgets[narrow].due))
            if what != "loose":  # as write-back does behind the agent
                lineage.count_exactly()
            if what == "pin" and lineage.length:
                paging.pin(lineage, [lineage.length])
            tokens.append(lineage.ceiling() if what == "pin" else prompt.tokens)
        assert prompts[0] == prompts[1]
        history += [c.user("word " * size), {"role": "assistant", "content": f"answer {now}"}]
        if usage:
            history[-1]["usage"] = int(tokens[0] * usage)
