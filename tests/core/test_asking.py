"""What a model says to its memory tools, and what is made of it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from pagefault.asking import asked, failed, few, kept, said_addresses, said_fact, said_moment, told
from pagefault.errors import BadAddress, InvalidId, InvalidItem
from pagefault.recall import Found, Outcome

MARCH = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
HOUR = 3_600.0


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("2026-03", MARCH),
        ("2026-03-01", MARCH),
        ("2026", MARCH - 59 * 24 * HOUR),
        (2026.0, MARCH - 59 * 24 * HOUR),
        ("2026-03-01T10:00", MARCH + 10 * HOUR),
        ("2026-03-01 10:00:30", MARCH + 10 * HOUR + 30),
        ("2026-03-01t10:00:30.5z", MARCH + 10 * HOUR + 30.5),
        ("2026-03-01T10:00+05:30", MARCH + 4.5 * HOUR),
        ("2026-03-01T10:00-0100", MARCH + 11 * HOUR),
        (' "2026-03" ', MARCH),
        (["2026-03-01"], MARCH),
        ("0001-01-01T00:00+14:00", datetime(1, 1, 1, tzinfo=UTC).timestamp() - 14 * HOUR),
    ],
)
def test_a_date_or_time_is_read_as_iso_8601_writes_it(given: Any, meant: float) -> None:
    assert said_moment("after", given) == meant


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (12, "12"), (12.0, "12"), ("page 12", "12"), ("#12", "12"), ('["12", "14"]', "12, 14"),
        ([12, "13-14"], "12, 13-14"),
        ("12 and 14", "12, 14"), ("12; 14", "12, 14"), ("12 14", "12, 14"), ("pages 12 to 14", "12-14"),
        ("12 - 14", "12-14"), ("12\u201314", "12-14"), ("12 \u2014 14", "12-14"), ("12.3@4000", "12.3@4000"),
        ("c0f3a9e2b71:12\u201114", "c0f3a9e2b71:12-14"), ("-12", "-12"), ("12-", "12-"), ("twelve", "twelve"),
        (None, ""), ("null", ""), ("None", ""), ([], ""), ("", ""),
    ],
)  # fmt: skip
def test_addresses_are_read_without_what_models_write_around_them(given: Any, meant: str) -> None:
    assert said_addresses(given) == meant


@pytest.mark.parametrize("nothing", [None, "", "  ", [], "null", "None", "[]"])
def test_a_model_may_say_in_many_ways_that_it_names_no_time(nothing: Any) -> None:
    assert said_moment("after", nothing) is None


@pytest.mark.parametrize(
    "given",
    [
        "last March", "March 2026", "yesterday", "1772323200", 1_772_323_200, 1_772_323_200.5, True, {"year": 2026},
        "2026-3", "2026-03-1", "2026/03/01", "01.03.2026", "20260301", "2026-W10", "2026-02-30", "2026-13", "0000",
        "2026-03-01T10", "2026-03-01T25:00", "2026-03T10:00", "2026-03-01T10:00 CET", "2026-03-01T10:00+99:00",
        "2026-03, 2026-04", "\uff12\uff10\uff12\uff16", "2026-03-01T10:00\n; drop",
    ],
)  # fmt: skip
def test_what_is_no_date_is_told_with_the_argument_and_the_way_out(given: Any) -> None:
    with pytest.raises(
        ValueError, match=re.escape("is no date; give one such as '2026-03', '2026-03-01' or ")
    ) as told_:
        said_moment("before", given)
    assert str(told_.value).startswith("before='")


def test_a_query_comes_with_its_time() -> None:
    assert asked("the gate") == {"query": "the gate", "after": None, "before": None}
    assert asked("the gate", "2026-03-01", "2026-03-01T01:00") == {
        "query": "the gate", "after": MARCH, "before": MARCH + HOUR
    }  # fmt: skip


@pytest.mark.parametrize("before", ["2026-03", "2026-02"])
def test_a_time_that_ends_before_it_begins_is_told(before: str) -> None:
    with pytest.raises(ValueError, match=f"no time from 2026-03 on and before {before}; give a later before, or none"):
        asked("the gate", "2026-03", before)


def test_dates_alone_ask_for_nothing() -> None:
    with pytest.raises(ValueError, match="give addresses, such as '12', or a query"):
        asked(" ", "2026-03")


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("wanted", [asked("q"), asked("q", "2026"), asked("q", "", "2026"), asked("q", "1969-12-31")])
def test_where_nothing_is_of_that_time_another_is_offered(outcome: Outcome, wanted: dict[str, Any]) -> None:
    said = told(Found(outcome=outcome, pages=(), text="Found so."), wanted).text
    offers = outcome is Outcome.ABSTAIN and wanted != asked("q")
    assert said == ("Found so.\nOnly the time that you gave was looked at; ask again without after and before to look "
                    "at all." if offers else "Found so.")  # fmt: skip


@pytest.mark.parametrize("addresses", ["12", "3, 12-14", "1-256", "c0f3a9e2b71:12", "1-128, 300-427"])
def test_few_pages_are_recalled_at_once(addresses: str) -> None:
    assert few(addresses) == addresses


@pytest.mark.parametrize(
    ("addresses", "told_"),
    [
        ("1-257", "1-257 asks for 257 pages; recall at most 256 at a time, or use a query"),
        ("1-256, 9", "asks for 257 pages"),
        ("1," * 5_000, "is 14,998 characters; give fewer addresses, or use a query"),
        ("the gate", "'the' is not a page address; write '12', '12-14' or '12.3@4000', or use a query"),
        ("14-12", "'14-12' runs backwards; write '12-14', or use a query"),
    ],
)
def test_what_names_no_pages_or_too_many_is_told_with_the_way_out(addresses: str, told_: str) -> None:
    with pytest.raises(BadAddress) as raised:
        few(said_addresses(addresses))
    assert told_ in str(raised.value)


def test_what_is_the_models_doing_is_told_to_it_alone(caplog: pytest.LogCaptureFixture) -> None:
    assert failed("recall", ValueError("no")) == failed("recall", BadAddress("no")) == "recall failed: no"
    assert failed("pin_item", InvalidId("no"), InvalidId) == "pin_item failed: no"
    assert not caplog.text
    said = failed("recall", InvalidId("no user"))
    assert said.split("\n") == [
        "recall failed: no user",
        "Nothing is wrong with your call: go on without it, and say so; do not guess.",
    ]
    assert "recall failed: no user" in caplog.text


def test_a_fact_is_text_that_says_something() -> None:
    assert (said_fact("vegan"), said_fact(["vegan", 12.0]), said_fact({"a": None})) == (
        "vegan",
        "vegan, 12",
        '{"a": null}',
    )
    with pytest.raises(InvalidItem, match="no fact to keep"):
        said_fact([" "])


def test_a_long_key_is_named_in_short() -> None:
    assert kept("diet") == "Kept under 'diet'."
    assert len(kept("k" * 9_000)) < 100
