"""Chains and the places that follow from them."""

from __future__ import annotations

from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from pagefault.chain import ROOT, chunk_id, head_id, link, point_id

digests = st.lists(st.binary(min_size=32, max_size=32), max_size=8)


def chain(path):
    return reduce(link, path, ROOT)


@given(digests, digests)
def test_equal_chains_are_equal_histories(one, other):
    assert (chain(one) == chain(other)) == (one == other)


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=2, max_size=8, unique=True))
def test_order_matters(path):
    assert chain(path) != chain(path[::-1])


@given(digests)
def test_a_page_has_one_place_in_a_space_and_another_in_every_other(path):
    tip = chain(path)
    assert point_id("a" * 32, tip) == point_id("a" * 32, tip)
    assert point_id("a" * 32, tip) != point_id("b" * 32, tip)


def test_pages_heads_and_chunks_never_share_a_place():
    page = point_id("a" * 32, "b" * 32)
    places = [page, head_id("a" * 32), head_id("b" * 32), *(chunk_id(page, n) for n in range(3))]
    assert len(set(places)) == len(places)


def test_places_do_not_change_between_versions():
    assert link(ROOT, bytes(32)) == "66687aadf862bd776c8fc18b8e9f8e20"
    assert str(point_id("a" * 32, "b" * 32)) == "1cc87ced-a31e-5498-ac63-0e75791772c9"
    assert str(head_id("a" * 32)) == "343855fc-bf45-5f29-b5f8-24af2eeae893"
