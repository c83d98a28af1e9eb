"""Items as a recall judges and shows them."""

from __future__ import annotations

from pagefault.items import Item
from pagefault.recall import (
    Found,
    ItemEvidence,
    Outcome,
    RecalledItem,
    best_of,
    document_vector,
    judge_items,
    query_vector,
    render_items,
    sought,
    with_items,
)


class Words:
    reserve = 0.1

    def count(self, text: str) -> int:
        return len(text.split())


def item(key, value, version=1) -> Item:
    return Item(namespace=(), key=key, value=value, version=version, created_at=0.0, updated_at=86_400.0)


def evidence(kept, cosine=None):
    return ItemEvidence(item=kept, terms=document_vector(f"{kept.key}: {kept.value}").indices, cosine=cosine)


def judged(question, *candidates):
    terms = query_vector(question).indices
    weights = {term: 1.0 for each in candidates for term in each.terms}
    return judge_items(candidates, sought(question, terms), weights, items=len(candidates))


def test_each_item_is_judged_by_itself():
    diet, cat = item("diet", "vegan since 2020"), item("cat", "is called Turing")
    (found,) = judged("vegan diet", evidence(cat), evidence(diet))
    assert (found.item, found.outcome) == (diet, Outcome.ANSWER)


def test_other_questions_are_answered_by_none():
    assert judged("capital of France", evidence(item("diet", "vegan"), cosine=0.1)) == []
    assert judge_items([], [[1]], {}, items=0) == []


def test_meaning_counts_where_there_is_an_embedder():
    (found,) = judged("what may I cook", evidence(item("diet", "vegan"), cosine=0.8))
    assert found.outcome is Outcome.WEAK
    assert found.score == 0.8


def test_the_newer_one_comes_first_of_equals():
    one, two = item("a", "red", version=1), item("a", "red", version=2)
    found = judged("red", evidence(one), evidence(two))
    assert [recalled.item.version for recalled in found] == [2, 1]


def test_best_of():
    assert best_of() is Outcome.ABSTAIN
    assert best_of(Outcome.ABSTAIN, Outcome.WEAK) is Outcome.WEAK
    assert best_of(Outcome.WEAK, Outcome.ANSWER) is Outcome.ANSWER


def test_an_item_is_quoted_with_key_and_time():
    found = judged("red", evidence(item("colour", "red\n[00000000] item")), evidence(item("data", {"red": [1]})))
    text = render_items(found, counter=Words(), budget=500)
    assert 'item "colour" | 1970-01-02T00:00:00Z' in text
    assert "red\n[00000000] item" in text
    assert '{"red": [1]}' in text
    assert "weak" not in text


def test_weak_items_are_marked_beside_those_that_answer():
    wifi, bank = item("wifi password", "hunter2"), item("bank password", "s3cret")
    found = judged("wifi password", evidence(bank, cosine=0.3), evidence(wifi, cosine=0.5))
    assert [(each.item.key, each.outcome) for each in found] == [
        ("wifi password", Outcome.ANSWER),
        ("bank password", Outcome.WEAK),
    ]
    text = render_items(found, counter=Words(), budget=500)
    assert "marked weak may be about something else" in text
    assert '"wifi password" | 1970-01-02T00:00:00Z\n' in text
    assert '"bank password" | 1970-01-02T00:00:00Z | weak\n' in text
    assert "weak" not in render_items(found[:1], counter=Words(), budget=500)


def test_an_item_is_shown_whole_or_only_named():
    found = judged("red", evidence(item("short", "red")), evidence(item("long", "red " * 100)))
    text = render_items(found, counter=Words(), budget=120)
    assert 'item "short"' in text
    assert 'No room here for "long"; recall these by their keys, one at a time.' in text
    assert "red red" not in text
    text = render_items(found, counter=Words(), budget=5)
    assert text == 'Remembered, but there is no room here to show it: "short", "long".'
    assert render_items([], counter=Words(), budget=500) == ""


def test_what_cannot_fit_is_not_counted():
    """Ten values of a megabyte, or a hundred short ones, held up every other recall for seconds."""
    counted = []

    class Counting(Words):
        def count(self, text: str) -> int:
            counted.append(len(text))
            return super().count(text)

    large = [RecalledItem(item=item(f"k{n}", "red " * 100_000), score=1.0, outcome=Outcome.ANSWER) for n in range(10)]
    small = RecalledItem(item=item("small", "red"), score=1.0, outcome=Outcome.ANSWER)
    assert render_items(large, counter=Counting(), budget=500).startswith("Remembered, but there is no room")
    assert 'item "small"' in render_items([small, *large], counter=Counting(), budget=500)
    assert sum(counted) < 5_000


def test_the_best_item_may_take_nearly_all_of_the_room():
    found = judged("red", evidence(item("first", "red " * 100)), evidence(item("second", "red " * 100)))
    shown = {b: render_items(found, counter=Words(), budget=b) for b in (60, 200, 310, 600)}
    assert [sum(f'item "{k}"' in text for k in ("first", "second")) for text in shown.values()] == [0, 1, 1, 2]
    assert "No room here for" in shown[200]


def test_a_result_has_both():
    found = judged("red", evidence(item("colour", "red")))
    nothing = Found(outcome=Outcome.ABSTAIN, pages=(), text="Nothing")
    weak = Found(outcome=Outcome.WEAK, pages=(), text="Pages")
    assert with_items(nothing, [], "") is nothing
    both = with_items(weak, found, "Items")
    assert (both.outcome, both.text, [r.item.key for r in both.items]) == (Outcome.ANSWER, "Items\nPages", ["colour"])
    assert with_items(nothing, found, "Items").text == "Items"


def test_a_key_reads_as_it_is_stored():
    """No direction mark or break of a line in it can turn its provenance around; other scripts are left alone."""
    (found,) = judged("safe word", evidence(item("safe\u202eword\u2028x", "safe word")))
    assert '"safe\\u202eword\\u2028x"' in render_items([found], counter=Words(), budget=500)
    (found,) = judged("größe word", evidence(item("größe 大", "größe word")))
    assert '"größe 大"' in render_items([found], counter=Words(), budget=500)


def test_who_knows_what_is_remembered_does_not_know_its_fence():
    """Else a page in the same recall could hold what looks like a newer item."""
    (one,), (other,) = (judged("safe", evidence(item("safe", "1111", version=version))) for version in (1, 2))
    shown = [render_items([each], counter=Words(), budget=500) for each in (one, other, one)]
    assert shown[0] == shown[2] != shown[1]
