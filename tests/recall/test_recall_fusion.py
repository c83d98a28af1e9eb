"""Fusion of two rankings."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagefault.recall.fusion import NEIGHBOUR, fuse

seqs = st.integers(1, 40)
cosines = st.dictionaries(seqs, st.floats(-1, 1), max_size=30)
scores = st.dictionaries(seqs, st.floats(0, 1e6), max_size=30)


def shuffled(values, seed):
    items = list(values.items())
    random.Random(seed).shuffle(items)
    return dict(items)


@given(cosines, scores, st.integers(0, 9))
def test_the_order_of_candidates_changes_nothing(dense, sparse, seed):
    assert fuse(dense, sparse) == fuse(shuffled(dense, seed), shuffled(sparse, seed))


@given(cosines, scores)
def test_exactly_the_candidates_come_back_best_first(dense, sparse):
    fused = fuse(dense, sparse)
    assert {seq for seq, _ in fused} == dense.keys() | sparse.keys()
    assert len(fused) == len(dense.keys() | sparse.keys())
    assert fused == sorted(fused, key=lambda item: (-item[1], -item[0]))
    assert all(0 <= score <= 2 * (1 + NEIGHBOUR) + 1e-9 for _, score in fused)


@given(cosines, scores, seqs)
def test_a_better_score_never_ranks_a_page_lower_alone(dense, sparse, seq):
    best = max(sparse.values(), default=0.0) + 1
    fused = fuse({}, {**sparse, seq: best}, neighbour=0)
    assert fused[0][0] == seq


@given(cosines, scores)
def test_a_page_has_its_own_shares_and_a_quarter_of_its_better_neighbours(dense, sparse):
    similar, shared = dict(fuse(dense, {}, neighbour=0)), dict(fuse({}, sparse, neighbour=0))
    own = {seq: similar.get(seq, 0) + shared.get(seq, 0) for seq in dense.keys() | sparse.keys()}
    assert dict(fuse(dense, sparse, neighbour=0)) == own
    for seq, score in fuse(dense, sparse):
        assert score == pytest.approx(own[seq] + NEIGHBOUR * max(own.get(seq - 1, 0), own.get(seq + 1, 0)))


@given(st.dictionaries(seqs, st.floats(0.01, 1), max_size=30), st.sampled_from([2**-9, 2**9]))
def test_only_how_scores_of_a_list_compare_counts(scores, factor):
    scaled = {seq: score * factor for seq, score in scores.items()}
    assert fuse({}, scaled) == fuse({}, scores)
    assert fuse(scaled, {}) == fuse(scores, {})


def test_a_list_in_which_nothing_matches_says_nothing():
    assert fuse({}, {1: 0.0, 3: 0.0}) == [(3, 0.0), (1, 0.0)]
    assert fuse({1: 0.0}, {3: 0.5}) == [(3, 1.0), (1, 0.0)]


def test_either_list_may_be_missing():
    assert fuse({}, {}) == []
    assert [seq for seq, _ in fuse({}, {1: 2.0, 5: 9.0})] == [5, 1]
    assert [seq for seq, _ in fuse({1: 0.2, 5: 0.9}, {})] == [5, 1]


def test_ties_go_to_the_newer_page():
    assert [seq for seq, _ in fuse({}, {3: 1.0, 9: 1.0, 6: 1.0})] == [9, 6, 3]
    assert fuse({4: 0.5, 8: 0.5}, {}) == [(8, 0.0), (4, 0.0)]


def test_a_list_counts_as_much_as_it_tells_apart():
    flat = {1: 0.62, 2: 0.60, 3: 0.58}
    steep = {1: 1.0, 3: 9.0}
    assert fuse(flat, steep, neighbour=0)[0][0] == 3


def test_a_page_gains_from_its_neighbours():
    plain = dict(fuse({}, {10: 8.0, 11: 1.0, 30: 1.0}, neighbour=0))
    helped = dict(fuse({}, {10: 8.0, 11: 1.0, 30: 1.0}))
    assert plain[11] == plain[30]
    assert helped[11] == pytest.approx(plain[11] + NEIGHBOUR * plain[10])
    assert helped[30] == plain[30]


def test_the_one_in_the_middle_of_pages_about_the_same_does_not_win_by_both():
    row = {10: 7.0, 11: 6.0, 12: 7.0}
    assert [seq for seq, _ in fuse({}, row)] == [12, 10, 11]


def test_negative_similarities_stay_within_bounds():
    assert fuse({1: -0.5, 2: -0.9}, {}, neighbour=0) == [(1, pytest.approx(1.0)), (2, 0.0)]
