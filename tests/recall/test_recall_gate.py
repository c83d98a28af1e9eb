"""The gate."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagefault.recall import Evidence, Outcome, decide, gate, weigh
from pagefault.recall.gate import OTHER_PAGES

terms = st.lists(st.integers(0, 30), unique=True, max_size=12)
weights = st.dictionaries(st.integers(0, 30), st.floats(0, 12), max_size=20)
shares = st.floats(0, 1)
RANK = [Outcome.ABSTAIN, Outcome.WEAK, Outcome.ANSWER]


def coverage(query, idf, page, *, pages=0):
    return gate.coverage(weigh([query], idf, pages=pages), page)


@given(terms, weights, st.sets(st.integers(0, 30)), st.integers(0, 10_000))
def test_coverage_is_a_share(query, idf, page, pages):
    assert 0 <= coverage(query, idf, page, pages=pages) <= 1


@given(terms, weights, st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)), st.integers(0, 10_000))
def test_more_words_never_cover_less(query, idf, page, more, pages):
    assert coverage(query, idf, page | more, pages=pages) >= coverage(query, idf, page, pages=pages) - 1e-12


@given(terms, st.integers(0, 500))
def test_all_words_are_full_coverage(query, pages):
    idf = dict.fromkeys(query, 2.5)
    assert coverage(query, idf, set(query), pages=pages) == (pytest.approx(1) if query else 0)


def test_rare_words_weigh_more_and_absent_ones_most():
    idf = {1: 1.0, 2: 3.0}
    assert coverage([1, 2], idf, {2}) == 0.75
    assert coverage([1, 2, 9], idf, {2}) == pytest.approx(3 / 7)
    assert coverage([9], {}, {1}) == 0
    assert coverage([9], {9: 0.0}, {9}) == 0


def test_a_small_space_does_not_punish_absent_words_too_much():
    idf = {1: math.log(5 / 2.5)}  # in two of four pages
    alone, imagined = 0.69 / (0.69 + math.log(10)), coverage([1, 9], idf, {1}, pages=4)
    assert imagined > alone + 0.1


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=8), st.integers(40, 5_000))
def test_a_space_is_judged_as_if_a_hundred_pages_about_other_things_stood_in_it(words, pages):
    """Each word with how many pages have it, and whether the page in question does."""
    weights = {word: math.log((pages + 1) / (often + 0.5)) for word, (often, _) in enumerate(words) if often}
    page = {word for word, (often, has) in enumerate(words) if often and has}
    mass = [math.log((pages + OTHER_PAGES + 1) / (often + 0.5)) for often, _ in words]
    held = sum(mass[word] for word in page)
    expected = held / sum(mass) if words else 0
    assert coverage(range(len(words)), weights, page, pages=pages) == pytest.approx(expected)


@given(
    st.dictionaries(st.integers(0, 9), st.floats(0.01, 9), min_size=1), st.sets(st.integers(0, 9)), st.floats(0.01, 9)
)
def test_only_how_weights_compare_counts_where_the_pages_are_not_known(weights, page, factor):
    scaled = {word: weight * factor for word, weight in weights.items()}
    assert coverage([*weights], scaled, page) == pytest.approx(coverage([*weights], weights, page))


@given(shares, st.floats(-1, 1) | st.none(), st.integers(0, 50))
def test_what_is_about_others_is_weak_evidence_at_most(covered, cosine, hits):
    outcome = decide(Evidence(coverage=covered, cosine=cosine, hits=hits))
    elsewhere = decide(Evidence(coverage=covered, cosine=cosine, hits=hits, is_elsewhere=True))
    assert elsewhere is (Outcome.WEAK if outcome is Outcome.ANSWER else outcome)


@given(shares, st.floats(-1, 1) | st.none(), st.integers(0, 50), shares)
def test_more_evidence_never_weakens_the_outcome(covered, cosine, hits, more):
    less = decide(Evidence(coverage=covered, cosine=cosine, hits=hits))
    better = decide(Evidence(coverage=min(1, covered + more), cosine=cosine, hits=hits + 1))
    assert RANK.index(better) >= RANK.index(less)


@pytest.mark.parametrize(
    ("covered", "cosine", "hits", "outcome"),
    [
        (1.0, 0.9, 0, Outcome.ABSTAIN),
        (0.6, 0.4, 5, Outcome.ANSWER),
        (0.4, 0.4, 5, Outcome.WEAK),
        (0.4, 0.2, 5, Outcome.ABSTAIN),
        (0.7, None, 5, Outcome.ANSWER),
        (0.5, None, 5, Outcome.WEAK),
        (0.4, None, 5, Outcome.ABSTAIN),
        (gate.ANSWER, 0.0, 1, Outcome.ANSWER),
        (gate.WEAK, 0.0, 1, Outcome.WEAK),
        (gate.ANSWER_BY_WORDS, None, 1, Outcome.ANSWER),
        (gate.WEAK_BY_WORDS, None, 1, Outcome.WEAK),
    ],
)
def test_outcomes(covered, cosine, hits, outcome):
    assert decide(Evidence(coverage=covered, cosine=cosine, hits=hits)) is outcome


def test_a_page_may_cover_any_of_what_is_sought():
    masses = weigh([[1, 2, 3, 4], [2, 3]], dict.fromkeys([1, 2, 3, 4], 1.0))
    assert [gate.coverage(masses, page) for page in ({2, 3}, {1, 4}, {1, 2, 4})] == [1.0, 0.5, 0.75]
