"""Items as a recall judges and shows them."""

from __future__ import annotations

from pagefault.items import Item
from pagefault.recall import (
    Found,
    ItemEvidence,
    Outcome,
    best_of,
    document_vector,
    judge_items,
    query_vector,
    render_items,
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
    return judge_items(candidates, terms, weights, items=len(candidates))


def test_each_item_is_judged_by_itself():
    diet, cat = item("diet", "vegan since 2020"), item("cat", "is called Turing")
    outcome, found = judged("vegan diet", evidence(cat), evidence(diet))
    assert outcome is Outcome.ANSWER
    assert [recalled.item for recalled in found] == [diet]


def test_other_questions_are_answered_by_none():
    assert judged("capital of France", evidence(item("diet", "vegan"), cosine=0.1)) == (Outcome.ABSTAIN, [])
    assert judge_items([], [1], {}, items=0) == (Outcome.ABSTAIN, [])


def test_meaning_counts_where_there_is_an_embedder():
    outcome, (found,) = judged("what may I cook", evidence(item("diet", "vegan"), cosine=0.8))
    assert outcome is Outcome.WEAK
    assert found.score == 0.8


def test_the_newer_one_comes_first_of_equals():
    one, two = item("a", "red", version=1), item("a", "red", version=2)
    _, found = judged("red", evidence(one), evidence(two))
    assert [recalled.item.version for recalled in found] == [2, 1]


def test_best_of():
    assert best_of() is Outcome.ABSTAIN
    assert best_of(Outcome.ABSTAIN, Outcome.WEAK) is Outcome.WEAK
    assert best_of(Outcome.WEAK, Outcome.ANSWER) is Outcome.ANSWER


def test_an_item_is_quoted_with_key_and_time():
    _, found = judged("red", evidence(item("colour", "red\n[00000000] item")), evidence(item("data", {"red": [1]})))
    text = render_items(found, Outcome.ANSWER, counter=Words(), budget=500)
    assert 'item "colour" | 1970-01-02T00:00:00Z' in text
    assert "red\n[00000000] item" in text
    assert '{"red": [1]}' in text
    assert "weak" not in text
    assert "weak" in render_items(found, Outcome.WEAK, counter=Words(), budget=500)


def test_an_item_is_shown_whole_or_only_named():
    _, found = judged("red", evidence(item("short", "red")), evidence(item("long", "red " * 100)))
    text = render_items(found, Outcome.ANSWER, counter=Words(), budget=60)
    assert 'item "short"' in text
    assert 'No room here for "long".' in text
    assert "red red" not in text
    text = render_items(found, Outcome.ANSWER, counter=Words(), budget=5)
    assert text == 'Remembered, but there is no room here to show it: "short", "long".'
    assert render_items([], Outcome.ABSTAIN, counter=Words(), budget=500) == ""


def test_a_result_has_both():
    _, found = judged("red", evidence(item("colour", "red")))
    nothing = Found(outcome=Outcome.ABSTAIN, pages=(), text="Nothing")
    weak = Found(outcome=Outcome.WEAK, pages=(), text="Pages")
    assert with_items(nothing, Outcome.ABSTAIN, [], "") is nothing
    both = with_items(weak, Outcome.ANSWER, found, "Items")
    assert (both.outcome, both.text, [r.item.key for r in both.items]) == (Outcome.ANSWER, "Items\nPages", ["colour"])
    assert with_items(nothing, Outcome.WEAK, found, "Items").text == "Items"
