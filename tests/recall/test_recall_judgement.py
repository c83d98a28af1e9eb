"""What counts as evidence, what is shown, and where in a page reading starts."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagefault.estimate import EstimateCounter
from pagefault.page import Call, Kind, Page, Projection, Role, SpaceId
from pagefault.recall import (
    Outcome,
    Question,
    RecalledPage,
    apart,
    counts,
    document_vector,
    focus,
    fuse,
    in_order,
    is_evidence,
    is_remark,
    judge,
    latest_of,
    leading,
    query_vector,
    query_words,
    render,
    sought,
    starts,
    term_id,
    weighed,
)
from pagefault.recall.following import MAX_CHARS
from pagefault.recall.rendering import QUOTED
from pagefault.tokens import default_counter

QUERY = "What is the name of my dog?"
TERMS = query_vector(QUERY).indices


def page(seq, *said):
    messages = tuple(Projection(role=role, text=text) for role, text in said)
    return Page(
        seq=seq, chain=f"{seq:032x}", parent="", kind=Kind.MESSAGE, format="chat/1", body="", sha256="",
        messages=messages, tokens=1, gist="", created_at=0.0,
    )  # fmt: skip


def user(seq, text):
    return page(seq, (Role.USER, text))


def found(one, *, resident=False, score=1.0, space=None):
    address = f"{space.alias}:{one.seq}" if space else str(one.seq)
    return RecalledPage(
        address=address, page=one, score=score, message_ids=(), trust="user", resident=resident, superseded_by=None,
        space=space,
    )  # fmt: skip


def words(one):
    return set(document_vector(one.text).indices)


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("My dog is called Rex.", True),
        (QUERY, False),
        ("the name of my dog", True),
        ("Do you know the name of my dog?", False),
        ("My dog Rex is sick and does not eat, what should I do?", True),
        ("?", False),
        ("", True),
        ("Tell me the name of my dog.", False),
        ("Please, tell me the name of my dog", False),
        ("what is the name of my dog", False),
        ("What I like most is the name of my dog.", True),
        ("I need the name of the dog, please.", False),
        ("I lost my dog, name of Rex.", True),
        ("Hello, my dog's name?", False),
        ("Do you know the name of my dog, please?", False),
    ],
)
def test_a_question_is_no_evidence_for_its_answer(text, counts):
    one = user(1, text)
    assert is_evidence(one, TERMS, words(one)) is counts


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("My cat is called Turing.", "What is my cat called?"),
        ("The wifi password is hunter2.", "What is the wifi password?"),
        ("My locker code is 4711.", "locker code"),
        ("My locker code is 4711, ok?", "locker code"),
        ("The server port is 8443.", "What port does the server have?"),
        ("The server port is 8443.", "Is the server port 8443?"),
        ("My dog is Rex. Remember?", "Who is my dog?"),
        ("Did I tell you my dog is called Rex?", "What is my dog called?"),
        ("Haven't I said that my dog is called Rex?", "What is my dog called?"),
    ],
)
def test_a_short_statement_is_evidence_although_the_question_has_nearly_all_its_words(said, asked):
    one = user(1, said)
    assert is_evidence(one, query_vector(asked).indices, words(one))


def test_beside_copies_of_the_question_an_answer_is_scored_as_if_they_were_not_there():
    pages = {seq: found(user(seq, f"page {seq}")) for seq in (1, 2, 4, 7)}
    dense, sparse = {1: 0.5, 2: 0.99, 4: 0.3, 7: 0.98, 9: 0.4}, {1: 2.0, 2: 9.0, 7: 9.0}
    evident, asks = apart(fuse(dense, sparse), pages, {2, 7}, dense=dense, sparse=sparse)
    alone = dict(fuse({1: 0.5, 4: 0.3, 9: 0.4}, {1: 2.0}))
    assert [(p.page.seq, p.score) for p in evident] == [(1, alone[1]), (4, alone[4])]
    assert [(p.page.seq, p.score) for p in asks] == [(7, 0.0), (2, 0.0)]


def test_without_copies_of_the_question_the_order_found_stays():
    pages = {seq: found(user(seq, f"page {seq}"), score=seq / 10) for seq in (1, 4)}
    evident, asks = apart([(4, 0.4), (9, 0.3), (1, 0.1)], pages, set(), dense={4: 1.0}, sparse={1: 1.0})
    assert ([p.page.seq for p in evident], [p.score for p in evident], asks) == ([4, 1], [0.4, 0.1], [])


def test_the_request_itself_never_counts():
    one = user(7, "I need the name of the dog, please, since the vet wants to know.")
    question = Question(terms=TERMS, sought=[TERMS], names=[], words=TERMS, weights={}, dense=None, pages=9, request=7)
    assert not counts(found(one), words(one), question)
    assert counts(found(user(6, "My dog is called Rex.")), {1, 2, 3}, question)
    elsewhere = SpaceId(tenant="t", user="u", thread="another", agent="")
    assert counts(found(one, space=elsewhere), words(one), question), "another conversation has a page 7, too"


def test_one_long_line_is_cut_anywhere():
    text = "{" + ",".join(f'"k{n}":{n}' for n in range(4_000)) + ',"dog":"Rex"}'
    at = focus(text, {term_id("dog"): 1.0}, 300)
    assert '"dog":"Rex"' in text[at : at + 300]


def test_only_a_user_asks():
    for said in ([(Role.TOOL, QUERY)], [(Role.ASSISTANT, QUERY)], [(Role.ASSISTANT, QUERY), (Role.TOOL, QUERY)]):
        one = page(1, *said)
        assert is_evidence(one, TERMS, words(one))


def judged(pages, *, skip_resident=False, dense=None, limit=10, request=0, behind=None):
    terms = {p.address: words(p.page) for p in pages}
    weights = {t: 2.0 for p in pages for t in terms[p.address] if t in TERMS}
    question = Question(
        terms=TERMS, sought=[TERMS], names=[], words=TERMS, weights=weights, dense=dense, pages=50, request=request
    )
    asking = {p.address for p in pages if not counts(p, terms[p.address], question)}
    alone = weighed(terms, question)
    how = {"asking": asking, "behind": behind or {}, "limit": limit, "skip_resident": skip_resident}
    return judge(pages, terms, question, alone, **how)


def test_the_question_alone_answers_nothing():
    assert judged([found(user(3, QUERY))]) == (Outcome.ABSTAIN, [])


def test_what_only_asks_is_not_shown_beside_evidence():
    asks, says = found(user(9, QUERY)), found(user(2, "The name of my dog is Rex."))
    assert judged([asks, says]) == (Outcome.ANSWER, [says])


def test_a_question_that_was_replied_to_is_weak_evidence_with_its_reply():
    asks, reply = found(user(3, QUERY)), found(page(4, (Role.ASSISTANT, "Rex.")))
    (outcome, shown) = judged([asks], behind={"3": reply})
    assert (outcome, shown) == (Outcome.WEAK, [replace(asks, then=reply)])
    here = replace(reply, resident=True)
    assert judged([asks], behind={"3": here}, skip_resident=True) == (Outcome.WEAK, [replace(asks, then=here)])


def test_a_statement_of_the_window_is_not_pointed_at_without_its_correction():
    says = found(user(2, "The name of my dog is Rex."), resident=True)
    corrects = found(user(3, "Sorry, it should be Max."), resident=True)
    outcome, shown = judged([says], behind={"2": corrects}, skip_resident=True)
    assert (outcome, shown) == (Outcome.ANSWER, [replace(says, then=corrects)])
    text = render(shown, outcome, counter=EstimateCounter(), budget=500, skip_resident=True)
    assert text.index("is Rex") < text.index("should be Max")


def test_a_reply_comes_behind_an_answer_and_before_what_is_weak():
    asks, reply = found(user(3, QUERY)), found(page(4, (Role.ASSISTANT, "Rex.")))
    says, vague = found(user(2, "The name of my dog is Rex.")), found(user(2, "Something else about a dog."))
    both = replace(asks, then=reply)
    assert judged([asks, says], behind={"3": reply}) == (Outcome.ANSWER, [says, both])
    assert judged([asks, says], behind={"3": reply}, limit=1) == (Outcome.ANSWER, [says])
    assert judged([asks, vague], behind={"3": reply}) == (Outcome.WEAK, [both, vague])
    near = replace(vague, resident=True)
    assert judged([asks, near], behind={"3": reply}, skip_resident=True) == (Outcome.WEAK, [both])
    there = replace(says, resident=True)
    assert judged([asks, there], behind={"3": reply}, skip_resident=True) == (Outcome.ANSWER, [there])


def test_a_reply_has_its_place_however_many_pages_answer():
    asks, reply = found(user(9, QUERY)), found(page(10, (Role.ASSISTANT, "Rex.")))
    says = [found(user(seq, f"The name of my dog is Rex, number {seq}.")) for seq in (1, 2, 3)]
    both = replace(asks, then=reply)
    assert judged([*says, asks], behind={"9": reply}, limit=2) == (Outcome.ANSWER, [says[0], both])


def test_similarity_speaks_for_a_page_as_the_words_do():
    words_alone, both = found(user(1, "The name of a dog.")), found(user(2, "My dog is Rex."))
    dense = {"1": 0.1, "2": 0.9}
    assert judged([words_alone, both], dense=dense, limit=1) == (Outcome.ANSWER, [both])
    assert judged([words_alone, both], dense={"1": 0.9, "2": 0.1}, limit=1) == (Outcome.ANSWER, [words_alone])


def test_a_page_that_similarity_did_not_find_is_not_like_the_question():
    near, far = found(user(1, "He is called Rex.")), found(user(2, "It rains."))
    assert judged([far], dense={}) == (Outcome.ABSTAIN, [])
    assert judged([far, near], dense={"1": 0.96}, limit=1) == (Outcome.ANSWER, [near]), "the nearest decides"


def test_the_strongest_page_is_not_shown_in_the_place_of_the_one_that_says_it_anew():
    newer = found(user(30, "Max is the name of the dog now."), score=2.0)
    older = replace(found(user(2, "The name of my dog is Rex.")), superseded_by="30")
    assert judged([newer, older], limit=1, dense={"2": 0.9, "30": 0.2}) == (Outcome.ANSWER, [newer])


def test_what_is_shown_anyway_is_not_shown_again_behind_another_page():
    says, corrects = found(user(2, "The name of my dog is Rex.")), found(user(3, "His name, my dog's name, is Max."))
    assert judged([says, corrects], behind={"2": corrects}) == (Outcome.ANSWER, [says, corrects])
    outside = found(user(4, "Sorry, Max."))
    (_, shown) = judged([says, corrects], behind={"2": outside, "3": outside})
    assert [page.then for page in shown] == [outside, None]


@pytest.mark.parametrize(
    ("before", "asks", "role", "text", "is_one"),
    [
        (Role.USER, False, Role.USER, "Sorry, it should be Max.", True),
        (Role.USER, False, Role.USER, "4712", True),
        (Role.USER, False, Role.ASSISTANT, "It is Rex.", False),
        (Role.USER, True, Role.ASSISTANT, "It is Rex.", True),
        (Role.USER, True, Role.USER, "It is Rex.", False),
        (Role.ASSISTANT, False, Role.USER, "Yes.", True),
        (Role.ASSISTANT, False, Role.ASSISTANT, "Sorry, it should be Max.", True),
        (Role.USER, True, Role.TOOL, "Rex", False),
        (Role.USER, True, Role.ASSISTANT, "Let me look. One moment, please.", False),
        (Role.USER, True, Role.ASSISTANT, "I do not know the name of the dog.", False),
        (Role.USER, False, Role.USER, "Ok, thanks!", False),
        (Role.USER, False, Role.USER, "", False),
        (Role.USER, False, Role.USER, "Max".rjust(MAX_CHARS), True),
        (Role.USER, False, Role.USER, "Max".rjust(MAX_CHARS + 1), False),
    ],
)
def test_a_remark_is_short_and_says_something_new(before, asks, role, text, is_one):
    one, earlier = page(4, (role, text)), page(3, (before, "..."))
    assert is_remark(one, words(one), TERMS, before=earlier, asks=asks) is is_one


def test_a_remark_is_looked_for_behind_the_best_messages_and_the_best_that_only_ask():
    call = Projection(role=Role.ASSISTANT, text="It is Rex.", calls=(Call(id="c", name="look", arguments="{}"),))
    with_call = replace(page(4, (Role.ASSISTANT, "")), messages=(call,))
    with_result = page(5, (Role.ASSISTANT, "a"), (Role.TOOL, "b"))
    best = [(4, with_call), (5, with_result), *((n, user(n, "a")) for n in (6, 9, 7, 8, 1, 2, 3))]
    assert leading(best, {9, 7, 8, 1, 2}) == [6, 3, 9, 7, 8, 1]
    assert leading(best, set()) == [6, 9]
    assert leading([], {9}) == []


def test_what_is_in_the_window_is_no_news_to_the_model():
    here = found(user(9, "The name of my dog is Rex."), resident=True)
    away = found(user(2, "My dog got his name, Rex, from my sister."))
    assert judged([here, away], skip_resident=True) == (Outcome.ANSWER, [here, away])
    assert judged([here], skip_resident=True) == (Outcome.ANSWER, [here])
    assert judged([here, away]) == (Outcome.ANSWER, [here, away])


def test_of_a_window_that_answers_nothing_from_outside_is_shown():
    here = found(user(9, "The name of my dog is Rex."), resident=True)
    away = found(user(2, "It rains."))
    assert judged([here, away], skip_resident=True) == (Outcome.ANSWER, [here])


def test_weak_evidence_in_the_window_does_not_make_an_answer():
    here = found(user(9, "Something else about a dog."), resident=True)
    assert judged([here], skip_resident=True, dense={"9": 0.5}) == (Outcome.WEAK, [here])
    assert judged([here], skip_resident=True, dense={"9": 0.1}) == (Outcome.ABSTAIN, [])


def test_pages_far_behind_the_best_are_not_shown_but_the_one_that_answers_is():
    says = [found(user(n, f"My dog has a friend, number {n}."), score=1.0 - n / 100) for n in range(1, 6)]
    far, long = found(user(6, "A dog barks."), score=0.1), found(user(7, "The name of my dog is Rex."), score=0.1)
    outcome, shown = judged([*says, far, long])
    assert (outcome, shown) == (Outcome.ANSWER, [*says, long])
    assert judged([*says, far, long], limit=3) == (Outcome.ANSWER, [*says[:2], long])
    assert judged([*says, far, long], limit=1) == (Outcome.ANSWER, [long])


def test_a_resident_page_is_no_measure_of_those_that_are_shown():
    here = found(user(9, "The name of the dog."), resident=True, score=9.0)
    away = found(user(2, "The name of my dog is Rex."), score=1.0)
    assert judged([here, away], skip_resident=True) == (Outcome.ANSWER, [here, away])


def test_what_says_the_same_is_shown_once_and_the_newest():
    same = [found(user(n, "The name of my dog is Rex.")) for n in (9, 3, 12, 5)]
    other = found(user(4, "The name of my dog was Max."))
    assert judged([*same, other]) == (Outcome.ANSWER, [same[2], other])


def restated(*facts, dense=None, query=QUERY):
    """Their addresses and what each is superseded by, after the newer ones were put first."""
    pages = [one if isinstance(one, RecalledPage) else found(user(*one)) for one in facts]
    terms = {one.address: frozenset(words(one.page)) for one in pages}
    asked = query_vector(query).indices
    question = Question(
        terms=asked, sought=sought(query, asked), names=[], words=query_words(query), weights=dict.fromkeys(asked, 1.0),
        dense=dense, pages=100,
    )  # fmt: skip
    return [(one.address, one.superseded_by) for one in in_order(pages, terms, question, weighed(terms, question))]


def test_what_is_said_anew_comes_first_and_is_named_by_the_older_page():
    rex, max_ = (2, "The name of my dog is Rex."), (30, "The name of my dog is Max now.")
    assert restated(rex, max_) == [("30", None), ("2", "30")]
    assert restated(max_, rex) == [("30", None), ("2", "30")]
    between = (5, "A dog barks.")
    assert restated(rex, between, max_) == [("30", None), ("2", "30"), ("5", "30")]
    tom = (50, "Sadly, Max died. Our new dog has the name Tom.")
    assert restated(rex, tom, max_)[0] == ("50", None)
    terms, question = _asked(rex, max_)
    both = [found(user(*rex), score=2.0), found(user(*max_), score=1.5)]
    first = in_order(both, terms, question, weighed(terms, question))[0]
    assert (first.address, first.score) == ("30", 2.0)


def _asked(*facts):
    terms = {str(seq): frozenset(words(user(seq, text))) for seq, text in facts}
    weights = dict.fromkeys(TERMS, 1.0)
    return terms, Question(
        terms=TERMS, sought=[TERMS], names=[], words=query_words(QUERY), weights=weights, dense=None, pages=100
    )


@pytest.mark.parametrize(
    "newer",
    [
        user(30, "The name of my cat is Tom."),
        user(30, "My dog runs."),
        user(30, "The name of my dog " + " ".join(f"word{n}" for n in range(80))),
        page(30, (Role.ASSISTANT, "The name of my dog is Max.")),
        user(1, "The name of my dog is Max."),
    ],
    ids=["about something else", "says less", "long", "another speaker", "older"],
)
def test_what_does_not_say_it_anew_stays_where_it_is(newer):
    rex = found(user(2, "The name of my dog is Rex."))
    assert ("2", None) in restated(rex, found(newer))


def test_only_evidence_of_one_conversation_says_it_anew():
    rex, max_ = user(2, "The name of my dog is Rex."), user(30, "The name of my dog is Max.")
    there = SpaceId(tenant="acme", user="u", thread="t2", agent="")
    assert [by for _, by in restated(found(rex), found(max_, space=there))] == [None, None]
    more = f"{QUERY[:-1]}, his age, weight, height, colour, breed and character?"
    assert [by for _, by in restated(found(rex), found(max_), query=more)] == [None, None]
    assert restated(found(rex), found(max_), query=more, dense={"2": 0.8, "30": 0.8})[1] == ("2", "30")


@given(
    st.lists(st.tuples(st.integers(1, 30), st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=5)), max_size=12)
)
def test_putting_the_newest_first_loses_and_doubles_nothing(facts):
    pages = list({seq: (seq, "dog name " + " ".join(f"{w}word" for w in said)) for seq, said in facts}.values())
    done = restated(*pages)
    assert sorted(int(at) for at, _ in done) == sorted(seq for seq, _ in pages)
    place = {at: index for index, (at, _) in enumerate(done)}
    assert all(int(by) > int(at) and place[by] < place[at] for at, by in done if by is not None)


CHANGED = [
    ("What is my phone number?", "My phone number is 0171 555.", "My phone number is now 0160 777."),
    ("Where do I live?", "I live in Berlin.", "I moved to Hamburg, I live there now."),
    (
        "When is the deadline of Falcon?",
        "The deadline of the project Falcon is 3 March.",
        "Change: the deadline of Falcon is 10 April.",
    ),
    (
        "What's my favourite colour?",
        "My favourite colour is blue.",
        "Actually my favourite colour is green these days.",
    ),
    ("Which database do we use?", "We use PostgreSQL 14 as our database.", "We switched the database to MySQL 8."),
    (
        "What is the staging server's IP?",
        "The staging server has the IP 10.0.0.4.",
        "Ops moved staging: the server's IP is 10.0.0.9 now.",
    ),
    ("Who is on call this week?", "On call this week: Maria.", "Swap: Jonas is on call this week instead of Maria."),
    (
        "What is my budget for the laptop?",
        "My budget for the laptop is 1200 euros.",
        "I can go up to 1500 euros for the laptop budget.",
    ),
    (
        "When is the meeting with Kim?",
        "The meeting with Kim is on Tuesday at 10.",
        "Kim asked to move the meeting to Thursday at 14.",
    ),
    ("What's the wifi password?", "The wifi password is banana42.", "I changed the wifi password, it's kiwi77 now."),
    (
        "Am I allergic to anything?",
        "I'm allergic to peanuts.",
        "The doctor says I'm allergic to cashews too, not only peanuts.",
    ),
    ("How many employees does Acme have?", "Acme has 120 employees.", "Acme grew to 145 employees last month."),
    ("What car do I drive?", "I drive a Golf.", "I sold the Golf and drive a Tesla now."),
    ("What time do I get up?", "I usually get up at 6.", "Since the baby came I get up at 5."),
    (
        "What is the API rate limit?",
        "The API rate limit is 100 requests per minute.",
        "Vendor raised the API rate limit to 500 requests per minute.",
    ),
    (
        "Where is the release branch?",
        "The release branch is release/2.3.",
        "Use release/2.4 as release branch from today.",
    ),
    (
        "What's the hotel for the Paris trip?",
        "For the Paris trip we booked Hotel Lutetia.",
        "The Paris hotel is cancelled, we stay at Hotel Regina.",
    ),
    ("What is my weight?", "My weight is 82 kg.", "I weigh 79 kg today."),
    ("What's the gate code?", "The gate code is 4711.", "New gate code: 9921."),
    ("Who leads the design team?", "The design team is led by Ana.", "Ana left; Tom leads the design team."),
]
"""A question, a statement, and how it is changed later."""
OTHER = [
    ("What is the door PIN of Ann?", "Ann's door PIN is 4712.", "Bob's door PIN is 8443."),
    ("What did I pay for milk?", "I bought milk for 3 euros at Aldi.", "I bought bread for 4 euros at Aldi."),
    ("Who likes jazz?", "Maria likes jazz music.", "Tom likes rock music."),
    ("What is the IP of db1?", "The server db1 has the IP 10.0.0.1.", "The server db2 has the IP 10.0.0.2."),
    ("When is the exam in maths?", "The maths exam is on 3 May.", "The physics exam is on 9 May."),
    ("What is the capital of Peru?", "The capital of Peru is Lima.", "The capital of Chile is Santiago."),
]
"""A question, the statement that answers it, and a later one about something else."""


def is_superseded(query, older, newer):
    return ("2", "30") in restated((2, older), (30, newer), query=query)


def test_most_changes_of_mind_are_seen_and_other_things_are_not_taken_for_them():
    assert sum(is_superseded(*case) for case in CHANGED) == 17
    assert sum(is_superseded(*case) for case in OTHER) == 0


def test_the_request_is_pointed_at_where_it_alone_says_it():
    asks = found(user(7, "Call my dog by his name, Rex, and write a report."), resident=True)
    assert judged([asks], request=7, skip_resident=True) == (Outcome.WEAK, [asks])
    assert judged([asks], request=7) == (Outcome.ABSTAIN, [])
    copy = found(user(7, QUERY), resident=True)
    assert judged([copy], request=7, skip_resident=True) == (Outcome.ABSTAIN, [])


def test_similarity_counts_where_there_is_an_embedder():
    one = found(user(2, "My dog got called Rex."))
    assert judged([one], dense={"2": 0.9})[0] is Outcome.ANSWER
    assert judged([one], dense={})[0] is not Outcome.ANSWER
    assert judged([], dense={}) == (Outcome.ABSTAIN, [])


def test_reading_starts_shortly_before_what_answers():
    filler = "Nothing of interest happens in this sentence. " * 30
    text = f"{filler}He came in May. The name of the dog is Rex. My sister chose it.\n\n{filler}"
    at = focus(text, dict.fromkeys(TERMS, 1.0), 200)
    assert "He came in May. The name of the dog is Rex. My sister chose it." in text[at : at + 200]
    assert text[at:].startswith(("Nothing of interest", "He came"))
    assert focus(text, {}, 200) == 0
    assert focus("The dog. " * 3, dict.fromkeys(TERMS, 1.0), 200) == 0


def test_lines_divide_a_text_without_sentences():
    rows = [f"row{n},value" for n in range(200)]
    rows[150] = "rex,dog"
    text = "\n".join(rows)
    at = focus(text, {term_id("dog"): 1.0}, 100)
    assert "\nrex,dog\n" in text[at : at + 100]
    assert text[at:].startswith("row")


def test_no_room_is_wasted_behind_the_end():
    text = "Nothing of interest. " * 50 + "The name of the dog is Rex."
    at = focus(text, dict.fromkeys(TERMS, 1.0), 300)
    assert 270 <= len(text) - at <= 320


def test_a_last_place_right_behind_another_is_none():
    text = "Nothing of interest here. A. " + "and then the dog slept ".ljust(64, "z")
    at = focus(text, {term_id("dog"): 1.0}, 64)
    assert at == text.index("A. ")
    assert "the dog slept" in text[at : at + 64]


def test_words_together_tell_more_than_words_apart():
    filler = "Nothing of interest happens. " * 10
    text = f"{filler}A name. {filler}A dog called Rex has this name. {filler}A dog. {filler}"
    at = focus(text, dict.fromkeys(TERMS, 1.0), 150)
    assert "A dog called Rex has this name." in text[at : at + 150]


@given(st.text(st.characters(codec="utf-8"), max_size=600), st.integers(1, 200))
def test_focus_is_a_place_in_the_text(text, width):
    at = focus(text, {term_id("dog"): 1.0, term_id("rex"): 2.0}, width)
    assert 0 <= at <= max(0, len(text) - 1)


def test_where_a_text_says_it_everywhere_not_all_of_it_is_looked_at_for_each_place(monkeypatch):
    looks = 0

    class Looked(list[Any]):
        def __getitem__(self, at: Any) -> Any:
            nonlocal looks
            found = super().__getitem__(at)
            looks += len(found) if isinstance(at, slice) else 1
            return found

        def __iter__(self) -> Iterator[Any]:
            return (self[at] for at in range(len(self)))

    module = sys.modules["pagefault.recall.focus"]
    told, known = module._told, dict[int, Looked]()

    def counted(hits: list[Any], *more: Any) -> float:
        if id(hits) not in known:
            known[id(hits)] = Looked(hits)
        return told(known[id(hits)], *more)

    monkeypatch.setattr(module, "_told", counted)
    places = 6_600
    assert focus("n. " * places, {term_id("n"): 1.0}, 60) == 0
    assert places < looks < 40 * places


def test_numbers_are_looked_for_in_the_beginning_of_a_long_text():
    """Nobody else had the interpreter meanwhile, two tenths of a second for each page of five megabytes."""
    told = [found(user(n, f"The name of my dog is {n}. " * 100_000)) for n in range(1, 7)]
    terms = {each.address: frozenset(document_vector(each.page.messages[0].text[:99]).indices) for each in told}
    weights = dict.fromkeys(TERMS, 1.0)
    question = Question(terms=TERMS, sought=[TERMS], names=[], words=TERMS, weights=weights, dense=None, pages=6)
    alone = weighed(terms, question)
    start = time.process_time()
    ordered = in_order(told, terms, question, alone)
    assert time.process_time() - start < 0.1
    assert [each.superseded_by for each in ordered] == [None, *["6"] * 5]


@given(st.integers(0, 80), st.sampled_from([". ", "\n\n", "! ", "\n- "]))
def test_the_chosen_width_holds_the_only_match(place, mark):
    parts = [f"filler number {n} of many" for n in range(81)]
    parts[place] = "here is the dog"
    text = mark.join(parts)
    at = focus(text, {term_id("dog"): 1.0}, 60)
    assert "dog" in text[at : at + 60]


def test_starts_names_only_pages_that_begin_elsewhere():
    short = found(user(1, "The name of my dog is Rex."))
    long = found(user(2, "Nothing here. " * 200 + "The name of my dog is Rex. " + "Nothing here. " * 20))
    (address,) = starts([short, long], dict.fromkeys(TERMS, 1.0), 300)
    assert address.first == address.last == 2
    assert address.offset > 2_000
    assert starts([], {}, 300) == []


@pytest.mark.parametrize("counter", [EstimateCounter(), default_counter()], ids=["estimate", "default"])
@pytest.mark.parametrize("budget", [150, 170, 200, 400, 1_000])
def test_a_quote_of_a_long_page_holds_the_place_however_small_the_budget(budget, counter):
    for before in range(40, 100, 5):
        long = user(1, "Nothing is here. " * before + "The name of my dog is Rex. " + "Nothing is here. " * 100)
        pages = [found(long)]
        addresses = starts(pages, dict.fromkeys(TERMS, 1.0), budget)
        text = render(pages, Outcome.ANSWER, counter=counter, budget=budget, addresses=addresses)
        assert "Rex" in text, (before, text)


def long_page(seq, before, **fields):
    said = f"Nothing is here, {seq}. " * before + "The name of my dog is Rex. " + "Nothing is here. " * 100
    return found(user(seq, said), **fields)


@pytest.mark.parametrize("counter", [EstimateCounter(), default_counter()], ids=["estimate", "default"])
@pytest.mark.parametrize("budget", [375, 425, 550, 725, 900, 1_075, 2_000])
def test_each_of_several_quotes_holds_the_place(budget, counter):
    for count, before in itertools.product((2, 3, 8), (40, 61)):
        pages = [long_page(seq, before + 3 * seq) for seq in range(1, count + 1)]
        addresses = starts(pages, dict.fromkeys(TERMS, 1.0), budget)
        text = render(pages, Outcome.ANSWER, counter=counter, budget=budget, addresses=addresses)
        assert text.count("is Rex") == text.count("] page ") >= 1, (count, before, text)


def test_the_short_quotes_of_pages_in_the_window_hold_the_place():
    pages = [long_page(seq, 40 + seq, resident=True) for seq in range(1, 6)]
    addresses = starts(pages, dict.fromkeys(TERMS, 1.0), 1_000, skip_resident=True)
    text = render(
        pages, Outcome.ANSWER, counter=EstimateCounter(), budget=1_000, addresses=addresses, skip_resident=True
    )
    assert text.count("is Rex") == text.count("] page ") == QUOTED


def test_pages_of_the_window_take_no_room_from_those_that_are_shown():
    long = found(user(1, "Nothing here. " * 200 + "The name of my dog is Rex. " + "Nothing here. " * 20))
    here = [found(user(seq, "The name of my dog is Rex. " * 30), resident=True) for seq in range(2, 9)]
    weights = dict.fromkeys(TERMS, 1.0)
    assert starts([*here, long], weights, 600, skip_resident=True) == starts([long], weights, 600)
    assert all(a.first != 1 for a in starts(here, weights, 600, skip_resident=True)), "they are quoted in short"


@given(st.dictionaries(st.integers(1, 400), st.floats(0.125, 64.0), max_size=80))
def test_the_latest_is_the_newest_with_half_of_the_best_score(words):
    latest = latest_of(words)
    assert (latest == 0) == (not words)
    for number, score in words.items():
        assert number <= latest or score < max(words.values()) / 2
    assert not words or words[latest] >= max(words.values()) / 2
