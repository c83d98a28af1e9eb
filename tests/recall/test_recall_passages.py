"""What sources outside say: judged word by word, quoted under their name, never taken for a page."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagefault.estimate import EstimateCounter
from pagefault.ports import Passage
from pagefault.recall import (
    Found,
    Outcome,
    PassageEvidence,
    RecalledPassage,
    document_vector,
    judge_passages,
    passages,
    query_vector,
    render_passages,
    shared,
    with_passages,
)

QUERY = "What is the name of my dog?"
TERMS = query_vector(QUERY).indices
COUNTER = EstimateCounter()
NOTHING = Found(outcome=Outcome.ABSTAIN, pages=(), text="Nothing reliable was found.")


def found(text, source="wiki", outcome=Outcome.ANSWER, **more):
    return RecalledPassage(source=source, passage=Passage(text=text, **more), outcome=outcome)


def judged(*texts, cosine=None):
    evidence = [
        PassageEvidence(found=found(text), terms=set(document_vector(text).indices), cosine=cosine) for text in texts
    ]
    return judge_passages(evidence, [TERMS])


def show(*passages, failed=(), budget=5_000):
    weights = dict.fromkeys(TERMS, 1.0)
    return render_passages(passages, failed, weights, counter=COUNTER, budget=budget)


def test_only_what_answers_is_kept_best_first():
    kept = judged("It rains.", "A dog.", "The name of the dog is Rex.")
    assert kept[0].outcome is Outcome.ANSWER
    assert kept[0].passage.text == "The name of the dog is Rex."
    assert "It rains." not in [each.passage.text for each in kept]
    assert judged("It rains.") == []
    assert judged() == []
    (alike,) = judged("He is called Rex.", cosine=0.96)
    assert alike.outcome is Outcome.ANSWER, "meaning counts where it is known"


def test_each_says_where_it_is_from():
    text = show(found("Rex", address="pets/[1]\n", updated_at=0.0), found("Bello", source="a b]"))
    assert "not from this conversation" in text
    assert re.search(
        r"^\[([0-9]{8})\] source wiki \| pets/_1__ \| 1970-01-01T00:00:00Z\n<\1\nRex\n\1>$", text, re.MULTILINE
    )
    assert "source a b_\n" in text
    assert "page" not in text.lower()
    assert "weak" not in text


def test_weak_passages_are_marked_beside_those_that_answer():
    text = show(found("Rex"), found("Bello", source="notes", outcome=Outcome.WEAK))
    assert "marked weak may be about something else" in text
    assert "source wiki\n" in text
    assert "source notes | weak\n" in text


def test_a_long_passage_is_shown_where_it_answers():
    text = show(found("Nothing here. " * 400 + "The name of the dog is Rex. " + "Nothing here. " * 20))
    assert "name of the dog is Rex" in text
    assert re.search(r"characters \d+-\d+ of \d+\n", text)


@given(st.integers(1_590, 1_610) | st.integers(1, 9_000), st.integers(0, 9_000))
def test_a_passage_is_quoted_verbatim_and_says_which_characters_these_are(length, at):
    text = f"{'Nothing here. ' * 700}"[:at] + "The name of the dog is Rex. " + "Nothing here. " * 700
    text = text[:length]
    shown = show(found(text))
    quoted = re.search(r"\n<([0-9]{8})\n(.*)\n\1>", shown, re.DOTALL)
    note = re.search(r" \| characters (\d+)-(\d+) of (\d+)\n", shown)
    first, last, size = map(int, note.groups()) if note else (1, length, length)
    assert quoted is not None
    assert (quoted[2], size) == (text[first - 1 : last], length)
    assert (note is None) == (quoted[2] == text)


@given(st.integers(0, 900), st.lists(st.text(max_size=300), max_size=6))
def test_it_fits_or_says_what_is_missing(budget, texts):
    failed = ["Source 'x' gave no answer: it is down"]
    text = show(*(found(each, address=f"a{n}") for n, each in enumerate(texts)), failed=failed, budget=budget)
    assert text.endswith(failed[0])
    assert COUNTER.count(text) * (1 + COUNTER.reserve) <= budget + 1e-9 or text == failed[0]


def test_a_long_passage_is_read_once_however_many_do_not_fit(monkeypatch):
    """Ten of 200,000 characters took four seconds: all of them were read anew for each number that might fit."""
    looked, look = [], passages.focus
    monkeypatch.setattr(passages, "focus", lambda *a: looked.append(a[0]) or look(*a))
    long = [found(f"{n} " + "Nothing here. " * 200, address=f"a{n}") for n in range(9)]
    text = show(*long, budget=1_500)
    shown = text.count("| characters ")
    assert 0 < shown < len(long)
    assert shown <= len(looked) == len(set(looked)) < len(long)
    assert text.count("source wiki | a") == len(long)


def test_what_does_not_fit_is_named():
    text = show(found("word " * 200, address="a"), found("word " * 200, address="b"), budget=500)
    assert "No room here for source wiki | b." in text


@pytest.mark.parametrize("own", [NOTHING, Found(outcome=Outcome.WEAK, pages=(), text="own pages")])
def test_a_result_has_both(own):
    assert with_passages(own, [], [], "") is own
    both = with_passages(own, [found("Rex")], ["down"], "theirs")
    assert (both.outcome, both.passages, both.failed) == (Outcome.ANSWER, (found("Rex"),), ("down",))
    assert both.text == ("theirs" if own is NOTHING else "own pages\ntheirs")
    only_failed = with_passages(own, [], ["down"], "down")
    assert (only_failed.outcome, only_failed.text) == (own.outcome, f"{own.text}\ndown")


@given(st.lists(st.integers(0, 9), max_size=8), st.lists(st.integers(10, 19), max_size=8), st.integers(1, 9))
def test_neither_crowds_the_other_out(own, outside, limit):
    both = shared(own, outside, limit)
    mine = [each for each in both if each < 10]
    theirs = both[len(mine) :]
    assert mine == own[: len(mine)]
    assert theirs == outside[: len(theirs)]
    assert len(both) == min(limit, len(own) + len(outside))
    assert len(theirs) >= min(len(outside), limit // 3)
    assert len(mine) >= min(len(own), limit - limit // 3)
