"""How well recall finds and how well it abstains, through the real policies, without an engine.

``python -m benchmarks.recall_quality PATH [--dates] [--join CHARS]`` reads conversations in LoCoMo's layout (a
JSON list of ``conversation`` with ``session_N`` turns, and ``qa`` with ``evidence``); the data is not part of
this repository. Every turn is a page; with ``--join`` turns are joined into pages of at least so many characters.
Thresholds of the gate are compared on the first two conversations, on which they were fitted, and on the rest.
Evidence that names no turn is dropped and counted.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pagefault.embedders import WordLlamaEmbedder
from pagefault.page import Kind, Page, Projection, Role
from pagefault.ports import Embedder
from pagefault.recall import (
    NEAR,
    Evidence,
    Outcome,
    Question,
    RecalledPage,
    coverage,
    decide,
    document_vector,
    focus,
    fuse,
    in_order,
    pieces_of,
    query_vector,
)

CANDIDATES: Final = 64
JUDGED: Final = 12
FITTED: Final = 2
WIDTHS: Final = (600, 1_800)
"""Characters shown of a long page: of many pages under a small budget, of ten under the default one."""
ADVERSARIAL: Final = 5
SHARES: Final = (0.0, 0.1, NEAR, 0.3, 0.4, 0.5)


class Library:
    """Texts as pages, searched exactly: BM25 with exact IDF, cosine over all pages."""

    def __init__(self, texts: Sequence[str], embedder: Embedder | None) -> None:
        vectors = [document_vector(text) for text in texts]
        self.size = len(texts)
        self.terms = [dict(zip(v.indices, v.values, strict=True)) for v in vectors]
        self.postings: dict[int, list[int]] = {}
        for page, terms in enumerate(self.terms):
            for term in terms:
                self.postings.setdefault(term, []).append(page)
        self.idf = {term: math.log((len(texts) + 1) / (len(pages) + 0.5)) for term, pages in self.postings.items()}
        self.embedder = embedder
        cut = [pieces_of(text) for text in texts]
        self.owners = np.array([page for page, pieces in enumerate(cut) for _ in pieces], dtype=np.intp)
        self.matrix = _units(embedder.embed([piece for pieces in cut for piece in pieces])) if embedder else None

    def sparse(self, question: str) -> dict[int, float]:
        """BM25 scores of the best pages, best first."""
        scores: dict[int, float] = {}
        for term in query_vector(question).indices:
            for page in self.postings.get(term, ()):
                scores[page] = scores.get(page, 0.0) + self.idf[term] * self.terms[page][term]
        return _best(scores)

    def dense(self, question: str) -> dict[int, float]:
        """Cosines of the best pages by their nearest pieces, best first; none without an embedder."""
        if self.embedder is None or self.matrix is None:
            return {}
        cosines = self.matrix @ _units(self.embedder.embed([question]))[0]
        nearest = np.full(self.size, -1.0)
        np.maximum.at(nearest, self.owners, cosines)
        return _best(dict(enumerate(nearest.tolist())))

    def evidence(self, question: str) -> Evidence:
        """What the gate is shown."""
        dense, sparse = self.dense(question), self.sparse(question)
        ranked = [page for page, _ in fuse(dense, sparse)[:JUDGED]]
        query = query_vector(question).indices
        weights = {term: self.idf[term] for term in query if term in self.idf}
        shares = (coverage(query, weights, self.terms[page], pages=self.size) for page in ranked)
        cosine = max(dense.values()) if dense else None
        return Evidence(coverage=max(shares, default=0.0), cosine=cosine, hits=len(ranked))


def _units(vectors: Any) -> NDArray[np.float64]:
    matrix = np.asarray(vectors, dtype=np.float64)
    return np.asarray(matrix / np.linalg.norm(matrix, axis=1, keepdims=True), dtype=np.float64)


def _best(scores: Mapping[int, float]) -> dict[int, float]:
    return dict(sorted(scores.items(), key=lambda item: (-item[1], -item[0]))[:CANDIDATES])


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    speakers: tuple[str, str]
    pages: tuple[str, ...]
    questions: tuple[tuple[str, frozenset[int]], ...]
    dropped: int
    turns: tuple[tuple[str, int, int, int], ...]
    """Of each question and each turn that answers it: the page, and from where to where the turn stands in it."""


def read_talk(data: Mapping[str, Any], *, dates: bool, join: int = 0) -> Talk:
    """One conversation: its turns as pages, its answerable questions with the pages that answer them."""
    talk = data["conversation"]
    turns: list[tuple[str, str]] = []
    for session in sorted((k for k in talk if re.fullmatch(r"session_\d+", k)), key=lambda k: int(k[8:])):
        for turn in talk[session]:
            photo = f" [photo: {turn['blip_caption']}]" if turn.get("blip_caption") else ""
            date = f"({talk[f'{session}_date_time']}) " if dates else ""
            turns.append((turn["dia_id"], f"{date}{turn['speaker']}: {turn['text']}{photo}"))
    pages: list[str] = []
    page_of: dict[str, int] = {}
    ends: dict[str, int] = {}
    sizes = {name: len(text) for name, text in turns}
    for name, text in turns:
        if not pages or len(pages[-1]) >= join:
            pages.append(text)
        else:
            pages[-1] += f"\n{text}"
        page_of[name], ends[name] = len(pages) - 1, len(pages[-1])
    questions, dropped = [], 0
    places: list[tuple[str, int, int, int]] = []
    for qa in data["qa"]:
        named = re.findall(r"D\d+:\d+", " ".join(qa.get("evidence") or ()))
        answers = frozenset(page_of[name] for name in named if name in page_of)
        if qa["category"] != ADVERSARIAL and answers:
            questions.append((qa["question"], answers))
            known = [name for name in named if name in ends]
            places += [(qa["question"], page_of[n], ends[n] - sizes[n], ends[n]) for n in known]
        dropped += qa["category"] != ADVERSARIAL and not answers
    return Talk(
        speakers=(talk["speaker_a"], talk["speaker_b"]),
        pages=tuple(pages),
        questions=tuple(questions),
        dropped=dropped,
        turns=tuple(places),
    )


Ranker = Callable[[Library, str], Sequence[int]]


def _reciprocal_ranks(library: Library, question: str) -> list[int]:
    scores: dict[int, float] = {}
    for found in (library.dense(question), library.sparse(question)):
        for rank, page in enumerate(found):
            scores[page] = scores.get(page, 0.0) + 1 / (60 + rank)
    return list(_best(scores))


def _stretched(library: Library, question: str) -> list[int]:
    scores: dict[int, float] = {}
    for found in (library.dense(question), library.sparse(question)):
        low, high = min(found.values(), default=0.0), max(found.values(), default=0.0)
        for page, score in found.items():
            scores[page] = scores.get(page, 0.0) + (score - low) / ((high - low) or 1.0)
    return list(_best(scores))


def _newest_first(library: Library, question: str) -> list[int]:
    ranked, query = fuse(library.dense(question), library.sparse(question)), query_vector(question).indices
    similar = {str(page): cosine for page, cosine in library.dense(question).items()}
    weights = {term: library.idf[term] for term in query if term in library.idf}
    asked = Question(terms=query, words=set(query), weights=weights, dense=similar, pages=library.size)
    best = [_as_found(page, score) for page, score in ranked[:JUDGED]]
    terms = {one.address: frozenset(library.terms[int(one.address)]) for one in best}
    return [int(one.address) for one in in_order(best, terms, asked)] + [page for page, _ in ranked[JUDGED:]]


def _as_found(page: int, score: float) -> RecalledPage:
    said = (Projection(role=Role.USER, text=""),)
    found = Page(
        seq=page + 1, chain="", parent="", kind=Kind.MESSAGE, format="chat/1", body="", sha256="", messages=said,
        tokens=1, gist="", created_at=0.0,
    )  # fmt: skip
    return RecalledPage(
        address=str(page), page=found, score=score, message_ids=(), trust="user", resident=False, superseded_by=None
    )


def _fused(neighbour: float) -> Ranker:
    return lambda lib, q: [page for page, _ in fuse(lib.dense(q), lib.sparse(q), neighbour=neighbour)]


RANKERS: Final[Mapping[str, Ranker]] = {
    "BM25": lambda lib, q: list(lib.sparse(q)),
    "dense": lambda lib, q: list(lib.dense(q)),
    "rank fusion (k = 60)": _reciprocal_ranks,
    "both stretched to 0..1": _stretched,
    "BM25 + neighbours": lambda lib, q: [page for page, _ in fuse({}, lib.sparse(q))],
    "fused": _fused(0.0),
    "fused + neighbours": _fused(0.25),
    "**the same, newest first** (default)": _newest_first,
}


def quality(ranked: Sequence[Sequence[int]], wanted: Sequence[frozenset[int]]) -> list[float]:
    """First, R@5, R@10, R@20, hit@10 and MRR."""
    pairs = list(zip(ranked, wanted, strict=True))
    recall = [[len(set(pages[:k]) & answer) / len(answer) for pages, answer in pairs] for k in (5, 10, 20)]
    hits = [float(bool(set(pages[:10]) & answer)) for pages, answer in pairs]
    first = [next((1 / (i + 1) for i, page in enumerate(pages) if page in answer), 0.0) for pages, answer in pairs]
    top = [float(value == 1) for value in first]
    return [sum(values) / len(pairs) for values in (top, *recall, hits, first)]


def recall_table(talks: Sequence[Talk], libraries: Sequence[Library]) -> Iterator[str]:
    yield "| method | first | R@5 | R@10 | R@20 | hit@10 | MRR |\n|---|---|---|---|---|---|---|"
    asked = [(lib, q, pages) for talk, lib in zip(talks, libraries, strict=True) for q, pages in talk.questions]
    for name, ranker in RANKERS.items():
        values = quality([ranker(lib, q) for lib, q, _ in asked], [pages for _, _, pages in asked])
        yield f"| {name} | {' | '.join(f'{value:.3f}' for value in values)} |"


def near_table(talks: Sequence[Talk], libraries: Sequence[Library]) -> Iterator[str]:
    """What it costs and saves to leave out pages that have less than a share of the best page's score."""
    yield "| least share of the best score | R@10 | pages shown of ten | of those, answers |\n|---|---|---|---|"
    asked = [(lib, q, pages) for talk, lib in zip(talks, libraries, strict=True) for q, pages in talk.questions]
    ranked = [(fuse(lib.dense(q), lib.sparse(q))[:10], answer) for lib, q, answer in asked]
    for share in SHARES:
        near = [({page for page, s in found if s >= share * found[0][1]}, answer) for found, answer in ranked]
        recall = sum(len(pages & answer) / len(answer) for pages, answer in near) / len(near)
        shown = sum(len(pages) for pages, _ in near)
        right = sum(len(pages & answer) for pages, answer in near) / shown
        name = f"**{share:g}** (default)" if share == NEAR else f"{share:g}"
        yield f"| {name} | {recall:.3f} | {shown / len(near):.1f} | {right:.1%} |"


def off_target(talks: Sequence[Talk], own: int, *, renamed: bool) -> Iterator[str]:
    """Every fourth question of the other conversations, with this one's speakers put in if wanted."""
    for other, talk in enumerate(talks):
        for question, _ in talk.questions[::4] if other != own else ():
            text = question
            for theirs, ours in zip(talk.speakers, talks[own].speakers, strict=True) if renamed else ():
                text = re.sub(rf"\b{re.escape(theirs)}\b", ours, text)
            yield text


def gate_table(talks: Sequence[Talk], libraries: Sequence[Library], first: int, last: int) -> Iterator[str]:
    yield "| questions | n | answer | weak | abstain |\n|---|---|---|---|---|"
    kinds: dict[str, list[Outcome]] = {}
    for own in range(first, last):
        library = libraries[own]
        for name, questions in {
            "answerable": [q for q, _ in talks[own].questions],
            "about another conversation": off_target(talks, own, renamed=False),
            "the same, with this one's names put in": off_target(talks, own, renamed=True),
        }.items():
            kinds.setdefault(name, []).extend(decide(library.evidence(question)) for question in questions)
    for name, outcomes in kinds.items():
        shares = [outcomes.count(outcome) / len(outcomes) for outcome in Outcome]
        yield f"| {name} | {len(outcomes)} | {' | '.join(f'{share:.1%}' for share in shares)} |"


def shown_table(talks: Sequence[Talk], libraries: Sequence[Library]) -> Iterator[str]:
    """Of the pages too long to be shown whole: how often what is shown holds all of a turn that answers."""
    yield "| characters shown | turns | the beginning | **around the words** (default) |\n|---|---|---|---|"
    for width in WIDTHS:
        begins, around, asked = 0, 0, 0
        for talk, library in zip(talks, libraries, strict=True):
            for question, page, first, last in talk.turns:
                if len(talk.pages[page]) > width >= last - first:
                    terms = query_vector(question).indices
                    at = focus(talk.pages[page], {t: library.idf[t] for t in terms if t in library.idf}, width)
                    begins += last <= width
                    around += at <= first and last <= at + width
                    asked += 1
        if asked:
            yield f"| {width:,} | {asked:,} | {begins / asked:.3f} | {around / asked:.3f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--dates", action="store_true", help="index each turn with its session's date")
    parser.add_argument("--join", type=int, default=0, help="join turns into pages of so many characters")
    options = parser.parse_args()
    data = json.loads(options.data.read_text(encoding="utf-8"))
    talks = [read_talk(talk, dates=options.dates, join=options.join) for talk in data]
    questions, dropped = sum(len(t.questions) for t in talks), sum(t.dropped for t in talks)
    print(f"{len(talks)} conversations, {questions} questions; {dropped} without usable evidence left out.\n")
    embedder = WordLlamaEmbedder()
    libraries = [Library(talk.pages, embedder) for talk in talks]
    for title, first, last in (("fitted on", 0, FITTED), ("held out", FITTED, len(talks))):
        print(f"## Finding, conversations {first + 1}-{last} ({title})\n")
        print("\n".join(recall_table(talks[first:last], libraries[first:last])), end="\n\n")
        print("\n".join(near_table(talks[first:last], libraries[first:last])), end="\n\n")
    if options.join:
        print("## What is shown of a long page\n")
        print("\n".join(shown_table(talks, libraries)), end="\n\n")
    lexical = [Library(talk.pages, None) for talk in talks]
    for name, searched in ((embedder.name, libraries), ("full text alone", lexical)):
        for title, first, last in (("fitted on", 0, FITTED), ("held out", FITTED, len(talks))):
            print(f"## Gate, {name}, conversations {first + 1}-{last} ({title})\n")
            print("\n".join(gate_table(talks, searched, first, last)), end="\n\n")


if __name__ == "__main__":
    main()
