"""What search sees of a page."""

from __future__ import annotations

import pytest

from pagefault.messages.fences import PAGES, header
from pagefault.messages.projection import project
from pagefault.page import Call, Kind, Page, Projection, Role
from pagefault.writing.indexing import index_text


def page(*messages):
    return Page(
        seq=1, chain="0" * 32, parent="", kind=Kind.MESSAGE, format="chat/1", body="", sha256="",
        messages=messages, tokens=1, gist="", created_at=0.0,
    )  # fmt: skip


def asks(*calls):
    calls = tuple(Call(id=call_id, name=name, arguments=arguments) for call_id, name, arguments in calls)
    return Projection(role=Role.ASSISTANT, text="One moment.", calls=calls)


def tells(call_id, name, text, *, recalled=False):
    return Projection(role=Role.TOOL, text=text, name=name, call_id=call_id, recalled=recalled)


def test_texts_names_and_arguments_are_searched():
    one = page(asks(("c1", "lookup", '{"key":"x"}')), tells("c1", "lookup", "record x"))
    assert index_text(one) == 'One moment.\nlookup {"key":"x"}\nlookup\nrecord x'


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("r1", "r1"),
        ("", "recall"),  # LlamaIndex: a call without an id is answered by its tool's name
    ],
)
def test_a_copy_is_not_searched_nor_what_was_asked_for_it(asked, answered):
    one = page(
        asks((asked, "recall", '{"query":"gate PIN"}'), ("c1", "lookup", '{"key":"x"}')),
        tells(answered, "recall", "The gate PIN is 4712.", recalled=True),
        tells("c1", "lookup", "record x"),
    )
    assert index_text(one) == 'One moment.\nlookup {"key":"x"}\nlookup\nrecord x'


def test_a_copy_that_answers_no_call_hides_none():
    one = page(asks(("", "lookup", "{}")), tells("", "recall", "The gate PIN is 4712.", recalled=True))
    assert index_text(one) == "One moment.\nlookup {}"


def says(role, text):
    return project("llamaindex/1", {"role": role.value, "blocks": [{"block_type": "text", "text": text}]})


ASKED = "Thought: I look.\nAction: recall\nAction Input: {'query': 'gate PIN'}"
COPIED = f"Observation: {header(PAGES, '12345678')}\n[12345678] page 1\n<12345678\nThe gate PIN is 4712.\n12345678>"


def test_a_recall_of_a_react_agent_is_text_and_not_searched_either():
    assert index_text(page(says(Role.ASSISTANT, ASKED))) == "Thought: I look."
    assert index_text(page(says(Role.ASSISTANT, f"{ASKED}\nIt is 4712."))) == "Thought: I look.\nIt is 4712."
    assert index_text(page(says(Role.USER, COPIED))) == ""
    answer = index_text(page(says(Role.ASSISTANT, f"{ASKED}\n{COPIED}\nThought: I know.\nAnswer: It is 1234.")))
    assert "4712" not in answer
    assert "gate PIN" not in answer
    assert answer.startswith("Thought: I look.\nObservation: ")
    assert answer.endswith("\nThought: I know.\nAnswer: It is 1234.")


def test_what_such_an_agent_asked_in_a_page_that_a_recall_quotes_is_left_out_with_it():
    quoted = COPIED.replace("The gate PIN is 4712.", f"{ASKED}\nThe gate PIN is 4712.")
    answer = index_text(page(says(Role.ASSISTANT, f"{ASKED}\n{quoted}\nAnswer: It is 1234.")))
    assert "PIN" not in answer
    assert answer.endswith("\nAnswer: It is 1234.")


def test_what_is_quoted_ends_where_its_fence_does():
    quoted = COPIED.replace("4712.", "4712.\n<00000000\n00000000>\n<12345678")
    assert index_text(page(says(Role.ASSISTANT, f"Thought: I look.\n{quoted}\nThe end."))).endswith(
        "page 1\n\nThe end."
    )
    unended = f"Thought: I look.\n{COPIED}\n[12345678] page 2\n<12345678\nMy own words."
    assert index_text(page(says(Role.ASSISTANT, unended))).endswith("page 2\n<12345678\nMy own words.")


def test_a_recall_of_an_agent_that_writes_code_is_not_searched_either():
    code = "I look.\n<execute>\nq = 1\nprint(recall(query='gate (PIN)'))\nprint(lookup('x'))\n</execute>"
    assert index_text(page(says(Role.ASSISTANT, code))) == (
        "I look.\n<execute>\nq = 1\nprint(\nprint(lookup('x'))\n</execute>"
    )
    printed = f"Result of executing the code given:\n\n{COPIED.removeprefix('Observation: ')}\nrecord x\n"
    searched = index_text(page(says(Role.USER, printed)))
    assert "gate PIN" not in searched
    assert "4712" not in searched
    assert searched.endswith("\nrecord x\n")


@pytest.mark.parametrize(
    ("role", "text"),
    [
        (Role.USER, "What is this?\nAction: recall\nAction Input: {}"),
        (Role.ASSISTANT, "Action: recall"),
        (Role.ASSISTANT, "Thought: I look.\nAction: search\nAction Input: {'query': 'gate PIN'}"),
        (Role.USER, "Observation: the gate PIN is 4712"),
        (Role.USER, "Result of executing the code given:\n\n<12345678\nThe gate PIN is 4712.\n12345678>"),
        (Role.ASSISTANT, "I shall recall(query='gate PIN') later."),
        (Role.USER, f"Look here: {header(PAGES, '12345678')}"),
        (Role.ASSISTANT, "It says:\n<12345678\nThe gate PIN is 4712.\n12345678>"),
    ],
)
def test_what_only_looks_like_one_is_searched(role, text):
    assert index_text(page(says(role, text))) == text


@pytest.mark.parametrize(("format_", "role"), [("langchain/1", "human"), ("chat/1", "user")])
@pytest.mark.parametrize("text", [COPIED, ASKED])
def test_only_llamaindex_writes_its_recalls_so(format_, role, text):
    assert index_text(page(project(format_, {"type": role, "role": role, "content": text}))) == text
