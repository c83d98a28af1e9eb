"""What the embedded store remembers of words: never too much, and nothing that may be wrong."""

from __future__ import annotations

import pytest

from pagefault.stores import frequencies, layout
from pagefault.stores.frequencies import Frequencies
from pagefault.stores.scopes import reach_of
from pagefault.testing.store_contract import OURS, page, terms

REACH = reach_of(OURS, "page")


def test_it_begins_anew_where_it_would_remember_too_much(monkeypatch):
    monkeypatch.setattr(frequencies, "MAX_WORDS", 3)
    counted = Frequencies()
    counted.learn(REACH, 4, {1: 1.0}, counted.unknown(REACH, [1, 2]))
    assert counted.unknown(REACH, [1]) == []
    asked = [1, 3, 4]
    assert counted.unknown(REACH, asked) == asked, "all terms of one question are known together or not at all"
    assert counted.records(REACH) is None
    for number in range(9):
        counted.learn_size(("_scope", f"page/{number}"), 1)
    assert sum(counted.size(("_scope", f"page/{number}")) is not None for number in range(9)) <= 3


def test_a_write_that_failed_leaves_nothing_to_rely_on():
    counted = Frequencies()
    counted.learn(REACH, 4, {1: 1.0}, [1])
    rows = layout.rows(OURS, page(1, sparse=terms({1: 1.0})), dimension=0)
    with pytest.raises(OSError, match="full"), counted.adding(rows):
        raise OSError("the disk is full")
    assert counted.records(REACH) is None
    assert counted.unknown(REACH, [1]) == [1]
