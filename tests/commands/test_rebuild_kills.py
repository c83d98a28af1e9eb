"""A kill in the middle of reindex or vacuum leaves the old memory or the new one, never a mix."""

from __future__ import annotations

from pathlib import Path

import pytest

from pagefault.stores import header as headers
from pagefault.stores.edge_rebuild import rebuild
from pagefault.testing.embedders import HashingEmbedder
from pagefault.upkeep import reindex
from tests.commands.support import OLD, holds_all, start

SCRIPT = str(Path(__file__).with_name("rebuild_script.py"))


@pytest.mark.parametrize("moment", ["copying", "written", "swapped"])
@pytest.mark.parametrize("what", ["reindex", "vacuum"])
def test_killed(place, what, moment):
    with start(SCRIPT, str(place), what, moment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.kill()
    assert len(list(place.glob("shard*"))) == 2
    new = HashingEmbedder() if what == "reindex" else OLD
    counts = new if moment == "swapped" else OLD
    header = headers.read(place)
    assert header is not None
    assert header.embedder == counts.name
    holds_all(place, counts)
    assert len(list(place.glob("shard*"))) == 1  # what was left lying is gone
    if what == "reindex":
        assert reindex(place, HashingEmbedder()).vectors == 46
        holds_all(place, HashingEmbedder())
    else:
        assert rebuild(place).records == 48
        holds_all(place, OLD)


def test_an_error_in_the_middle_leaves_nothing_behind(place):
    def fail(_done, _total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild(place, progress=fail)
    assert [each.name for each in place.glob("shard*")] == ["shard"]
    holds_all(place, OLD)
