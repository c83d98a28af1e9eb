"""Chains: a page's identity holds its whole past."""

from __future__ import annotations

import hashlib
import uuid
from itertools import pairwise

from hypothesis import assume, given
from hypothesis import strategies as st

from pagefault.chain import ROOT, chunk_id, head_id, item_id, link, point_id

DIGESTS = st.lists(st.integers(0, 30).map(lambda n: hashlib.sha256(b"%d" % n).digest()), min_size=1, max_size=12)


def chain_of(digests):
    chains = []
    for digest in digests:
        chains.append(link(chains[-1] if chains else ROOT, digest))
    return chains


@given(DIGESTS, st.data())
def test_a_changed_page_changes_every_later_link_and_no_earlier_one(digests, data):
    at = data.draw(st.integers(0, len(digests) - 1))
    other = data.draw(st.sampled_from([b"x" * 32, *digests]))
    assume(other != digests[at])
    before, after = chain_of(digests), chain_of([*digests[:at], other, *digests[at + 1 :]])
    assert before[:at] == after[:at]
    assert not set(before[at:]) & set(after[at:])


@given(DIGESTS, st.data())
def test_an_inserted_page_moves_every_later_link(digests, data):
    at = data.draw(st.integers(0, len(digests) - 1))
    before, after = chain_of(digests), chain_of([*digests[:at], b"new" + bytes(29), *digests[at:]])
    assert before[:at] == after[:at]
    assert not set(before[at:]) & set(after[at:])


@given(DIGESTS, st.data())
def test_order_matters(digests, data):
    shuffled = data.draw(st.permutations(digests))
    assume(shuffled != digests)
    first = next(i for i, (a, b) in enumerate(zip(digests, shuffled, strict=True)) if a != b)
    assert not set(chain_of(digests)[first:]) & set(chain_of(shuffled)[first:])


@given(DIGESTS, DIGESTS)
def test_equal_chains_are_equal_histories(one, other):
    assert (chain_of(one)[-1] == chain_of(other)[-1]) == (one == other)


@given(DIGESTS)
def test_equal_paths_have_equal_chains_and_no_link_twice(digests):
    chains = chain_of(digests)
    assert chains == chain_of(list(digests))
    assert len(set(chains)) == len(chains)
    assert all(len(c) == 32 and int(c, 16) >= 0 for c in chains)
    assert all(link(parent, d) == c for (parent, c), d in zip(pairwise([ROOT, *chains]), digests, strict=True))


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("cd")), min_size=2, max_size=2, unique=True))
def test_points_differ_between_spaces_and_pages(pairs):
    one, other = (point_id(space, chain) for space, chain in pairs)
    assert one != other
    assert one == point_id(*pairs[0])


def test_no_two_kinds_of_record_share_an_id():
    owner = point_id("s", "c")
    ids = [owner, head_id("s"), head_id("t"), point_id("s", ""), chunk_id(owner, 0), chunk_id(owner, 1)]
    ids += [chunk_id(head_id("s"), 0), point_id("", "s/c")]
    assert len(set(ids)) == len(ids)
    assert all(isinstance(i, uuid.UUID) for i in ids)


def test_ids_are_fixed_for_ever():
    digest = hashlib.sha256(b"[]").digest()
    assert link(ROOT, bytes(32)) == "66687aadf862bd776c8fc18b8e9f8e20"
    assert link("ab" * 16, digest) == hashlib.sha256(b"ab" * 16 + digest).hexdigest()[:32]
    assert str(point_id("a" * 32, "b" * 32)) == "1cc87ced-a31e-5498-ac63-0e75791772c9"
    assert str(head_id("a" * 32)) == "343855fc-bf45-5f29-b5f8-24af2eeae893"


@given(st.text(), st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_points_are_where_every_release_has_put_them(key, name):
    space = uuid.UUID("6f1e7c0a-9d4b-5c53-8f0e-70616765666c")
    key = key.encode("utf-8", "replace").decode()
    assert point_id(key, name) == uuid.uuid5(space, f"page/{key}/{name}")
    assert head_id(key) == uuid.uuid5(space, f"head/{key}")
    assert item_id(key, name) == uuid.uuid5(space, f"item/{key}/{name}")
