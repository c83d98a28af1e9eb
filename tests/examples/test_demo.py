"""The demo runs, proves what it shows, and says what it misses."""

from __future__ import annotations

import importlib.util
import io
import re
import runpy
import sys
from argparse import Namespace
from pathlib import Path

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from rich.console import Console

import pagefault
from examples.demo.__main__ import main
from examples.demo.checks import judge
from examples.demo.library import Library, split
from examples.demo.passages import best_sentence, passages
from examples.demo.program import run
from examples.demo.questions import ANSWERABLE, UNANSWERABLE, asked
from examples.demo.stand_in import StandInModel, respond
from examples.demo.task import NOT_SAID, quoted, read_answer

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_every_check_passes(capsys):
    assert main(["--plain", "--topics", "12"]) == 0
    shown = capsys.readouterr().out
    assert "StandInModel" in shown
    assert "All checks passed." in shown
    assert "byte for byte" in shown


def test_a_kept_directory_is_gone_on_with(tmp_path, capsys):
    options = ["--plain", "--topics", "3", "--data", str(tmp_path)]
    assert main(options) == 0
    assert "reading 3 topics" in capsys.readouterr().out
    assert main(options) == 0
    assert "nothing is read again" in capsys.readouterr().out


def test_the_live_picture_shows_the_window(monkeypatch):
    monkeypatch.setattr("examples.demo.program.PAUSE", 0)
    output = io.StringIO()
    options = Namespace(model=None, topics=2, data=None, plain=False)
    assert run(options, Console(file=output, force_terminal=True, width=80, height=24))
    shown = output.getvalue()
    assert "context window: 8,000 tokens" in shown
    assert "recalled pages" in shown
    assert "All checks passed." in shown


def test_another_model_takes_the_place_of_the_stand_in(monkeypatch, capsys):
    monkeypatch.setattr("examples.demo.models.init_chat_model", lambda name, model_provider: StandInModel())
    assert main(["--plain", "--topics", "1", "--model", "elsewhere:some-model"]) == 0
    shown = capsys.readouterr().out
    assert "elsewhere:some-model" in shown
    assert "StandInModel" not in shown


@pytest.mark.parametrize("package", ["rich", "langchain"])
def test_a_missing_package_is_named_with_its_pip_command(package, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)
    assert main([]) == 2
    assert f"the demo needs {package}: pip install" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "extras"), [("team", "langgraph,demo"), ("mixed", "langgraph,llamaindex,demo")])
def test_the_other_examples_name_what_is_missing_too(name, extras, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(str(EXAMPLES / name / "__main__.py"), run_name="__main__")
    shown = capsys.readouterr().err
    assert re.match(rf"{name}: .*rich.*pip install '\.\[{extras}\]'", shown)


@pytest.mark.parametrize(
    ("spec", "way_out"),
    [("openai:some-model", "pip install langchain-openai"), ("nobody:x", "nobody"), ("some-model", "provider:name")],
)
def test_a_model_that_cannot_be_used_says_why(spec, way_out, monkeypatch, capsys):
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if "openai" in name else found(name))
    assert main(["--model", spec]) == 2
    assert way_out in capsys.readouterr().err


def test_a_missing_key_is_named(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert main(["--model", "openai:some-model"]) == 2
    assert "OPENAI_API_KEY" in capsys.readouterr().err


def test_a_damaged_conversation_is_named(tmp_path, capsys):
    (tmp_path / "conversation.json").write_text("{", encoding="utf-8")
    assert main(["--plain", "--data", str(tmp_path)]) == 2
    assert "conversation.json" in capsys.readouterr().err


def test_parts_are_the_text():
    for text in Library().topics.values():
        assert "\n\n".join(split(text)) == text


def test_every_question_has_its_answer_in_the_source():
    assert asked(Library().topics) != list(UNANSWERABLE)
    assert {q.text for q in asked(Library().topics)} >= {q.text for q in UNANSWERABLE}
    if sys.version_info[:2] == (3, 11):
        assert len(asked(Library().topics)) == len(ANSWERABLE) + len(UNANSWERABLE)


def test_the_stand_in_knows_nothing():
    question = HumanMessage(content="When are default parameter values evaluated?")
    first = respond([question])
    assert first.tool_calls[0]["args"] == {"query": question.content}
    nothing = [question, first, _result(first, "Nothing reliable was found in the earlier conversation.")]
    assert respond(nothing).content == NOT_SAID


def test_the_stand_in_quotes_what_it_was_sent():
    question = HumanMessage(content="When are default parameter values evaluated?")
    first = respond([question])
    reply = respond([question, first, _result(first, _page("Default parameter values are evaluated on Mondays."))])
    assert reply.content == quoted("Default parameter values are evaluated on Mondays.", "7")


def test_the_checker_finds_a_made_up_quotation(tmp_path):
    topics = Library().topics
    with pagefault.open(tmp_path, embedder=None) as memory:
        space = memory.space(thread="t")
        space.append([{"role": "user", "content": topics["function"]}])
        question = next(q for q in ANSWERABLE if q.topic == "function")
        good = "Default parameter values are evaluated from left to right when the\nfunction definition is executed."
        verdicts = {
            reply: judge(question, reply, topics, space, {1})
            for reply in (quoted(good, "1"), quoted(f"{good} Always.", "1"), quoted(good, "9"), NOT_SAID, "From left.")
        }
    assert [v.is_right for v in verdicts.values()] == [True, False, False, False, False], verdicts


def test_a_wrapped_quotation_is_unwrapped():
    answer = read_answer('Quote: "One sentence."\nPage: 3')
    assert answer is not None
    assert answer.quote == "One sentence."


def test_a_sentence_without_the_names_asked_for_is_no_answer():
    found = passages(_page("The garbage collector that others use is another one."))
    assert best_sentence("Which garbage collector do others use?", found) is not None
    assert best_sentence("Which garbage collector does PyPy use?", found) is None


def _page(text: str) -> str:
    return f"[0a1b2c3d] page 7 | now | tool | trust: tool\n<0a1b2c3d\n{text}\n0a1b2c3d>"


def _result(call: AIMessage, text: str):
    return ToolMessage(content=text, tool_call_id=call.tool_calls[0]["id"], name="recall")
