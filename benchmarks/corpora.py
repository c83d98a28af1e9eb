"""Texts with questions about them, in the layouts that others publish them in; the data is not part of this repository.

- LoCoMo: a JSON list of ``conversation`` with ``session_N`` turns, and ``qa`` with ``evidence``. Every turn is a page,
  and evidence that names no turn is dropped.
- LongMemEval: a JSON list of ``question`` with ``haystack_sessions``. Every message is a page, and those with
  ``has_answer`` answer.
- HotpotQA: ``NAME_corpus.json``, a JSON list of paragraphs, ten for each question of ``NAME_qa_pairs.json`` beside it.
  Every paragraph is a page. Which ones answer is not in these files: those of a question's ten that hold its answer
  word for word. Where none does, or more than two do (``yes``, the name that all ten are about), it is not known.

Questions without a page known to answer them are asked of the gate only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ADVERSARIAL: Final = 5
PARAGRAPHS: Final = 10
"""Of each question of HotpotQA: two that are needed to answer it, and others that look like them."""
NEEDED: Final = 2
_BEHIND: Final = "_corpus.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Pages of one space, and questions that they answer.

    Attributes:
        data: The data set that it is from.
        pages: Texts of the pages.
        roles: Who says each of them.
        questions: Each with the pages known to answer it, at least one.
        unplaced: Questions that it answers, it is not known where.
        dropped: Questions left out, since what shall answer them is not there.
        speakers: The two who talk, if there are two.
        turns: Of each question and each turn that answers it: the page, and from where to where the turn stands in it.
    """

    data: str
    pages: tuple[str, ...]
    roles: tuple[str, ...]
    questions: tuple[tuple[str, frozenset[int]], ...]
    unplaced: tuple[str, ...] = ()
    dropped: int = 0
    speakers: tuple[str, ...] = ()
    turns: tuple[tuple[str, int, int, int], ...] = field(default=(), repr=False)

    @property
    def asked(self) -> list[str]:
        """All questions that it answers."""
        return [*(question for question, _ in self.questions), *self.unplaced]


def read(path: Path, *, dates: bool, join: int = 0) -> list[Corpus]:
    """What is in a file.

    Args:
        path: A file in one of the layouts above.
        dates: Whether a turn of LoCoMo begins with its session's date.
        join: Characters up to which turns of LoCoMo are joined to one page.
    """
    data = json.loads(path.read_text(encoding="utf-8"))
    if path.name.endswith(_BEHIND):
        pairs = path.with_name(f"{path.name.removesuffix(_BEHIND)}_qa_pairs.json")
        return [_hotpot(data, json.loads(pairs.read_text(encoding="utf-8")))]
    if "haystack_sessions" in data[0]:
        return [_longmemeval(instance) for instance in data]
    return [_locomo(talk, dates=dates, join=join) for talk in data]


def _hotpot(paragraphs: Sequence[str], pairs: Sequence[Mapping[str, str]]) -> Corpus:
    plain = [_plain(paragraph) for paragraph in paragraphs]
    questions: list[tuple[str, frozenset[int]]] = []
    unplaced: list[str] = []
    for number, pair in enumerate(pairs):
        own = range(PARAGRAPHS * number, PARAGRAPHS * (number + 1))
        answers = frozenset(page for page in own if f" {_plain(pair['answer'])} " in f" {plain[page]} ")
        if 0 < len(answers) <= NEEDED:
            questions.append((pair["question"], answers))
        else:
            unplaced.append(pair["question"])
    return Corpus(
        data="HotpotQA",
        pages=tuple(paragraphs),
        roles=("user",) * len(paragraphs),
        questions=tuple(questions),
        unplaced=tuple(unplaced),
    )


def _plain(text: str) -> str:
    return re.sub(r"\W+", " ", text.casefold()).strip()


def _longmemeval(instance: Mapping[str, Any]) -> Corpus:
    turns = [turn for session in instance["haystack_sessions"] for turn in session if turn["content"].strip()]
    answers = frozenset(page for page, turn in enumerate(turns) if turn.get("has_answer"))
    return Corpus(
        data="LongMemEval",
        pages=tuple(turn["content"] for turn in turns),
        roles=tuple(turn["role"] for turn in turns),
        questions=((instance["question"], answers),) if answers else (),
        dropped=not answers,
    )


def _turns(talk: Mapping[str, Any], *, dates: bool) -> Iterator[tuple[str, str]]:
    """The name and the text of each turn of a LoCoMo conversation."""
    for session in sorted((k for k in talk if re.fullmatch(r"session_\d+", k)), key=lambda k: int(k[8:])):
        for turn in talk[session]:
            photo = f" [photo: {turn['blip_caption']}]" if turn.get("blip_caption") else ""
            date = f"({talk[f'{session}_date_time']}) " if dates else ""
            yield turn["dia_id"], f"{date}{turn['speaker']}: {turn['text']}{photo}"


def _locomo(data: Mapping[str, Any], *, dates: bool, join: int) -> Corpus:
    talk = data["conversation"]
    pages: list[str] = []
    placed: dict[str, tuple[int, int, int]] = {}
    for name, text in _turns(talk, dates=dates):
        if not pages or len(pages[-1]) >= join:
            pages.append(text)
        else:
            pages[-1] += f"\n{text}"
        placed[name] = len(pages) - 1, len(pages[-1]) - len(text), len(pages[-1])
    questions: list[tuple[str, frozenset[int]]] = []
    turns: list[tuple[str, int, int, int]] = []
    asked = [qa for qa in data["qa"] if qa["category"] != ADVERSARIAL]
    for qa in asked:
        named = re.findall(r"D\d+:\d+", " ".join(qa.get("evidence") or ()))
        places = [placed[name] for name in named if name in placed]
        if places:
            questions.append((qa["question"], frozenset(page for page, _, _ in places)))
            turns += [(qa["question"], *place) for place in places]
    return Corpus(
        data="LoCoMo",
        pages=tuple(pages),
        roles=("user",) * len(pages),
        questions=tuple(questions),
        dropped=len(asked) - len(questions),
        speakers=(talk["speaker_a"], talk["speaker_b"]),
        turns=tuple(turns),
    )
