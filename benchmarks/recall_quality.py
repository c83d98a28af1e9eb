"""How well recall finds and how well it abstains.

``python -m benchmarks.recall_quality FILE... [--dates] [--join CHARS]`` reads texts with questions about them (see
``benchmarks.corpora``). For all files together it shows what ``space.recall`` does with them, on the embedded store and
with the default embedder, beside single methods, and what it does with questions about other files' texts. For each
LoCoMo file it compares the parts of recall and shows what the gate does, through the real policies, without an engine,
on the first two conversations, on which they were fitted, and on the rest. With ``--join`` turns are joined into pages
of at least so many characters.
"""

from __future__ import annotations

import argparse
import math
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import pagefault
from benchmarks.corpora import Corpus, read
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
    names_in,
    pieces_of,
    query_vector,
    sought,
    stressed,
    weigh,
    weighed,
)

CANDIDATES: Final = 64
JUDGED: Final = 12
FITTED: Final = 2
FOREIGN: Final = 100
"""Questions of another data set that one is asked, at most."""
AROUND: Final = (
    "Quick question before the meeting starts. {} I could not find my notes.",
    "Do you happen to remember? {}",
    "{} Please answer in one short sentence and name the source.",
)
WIDTHS: Final = (600, 1_800)
"""Characters shown of a long page: of many pages under a small budget, of ten under the default one."""
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
        words = query_vector(question)
        words = stressed(words, sought(question, words.indices))
        for term, stress in zip(words.indices, words.values, strict=True):
            for page in self.postings.get(term, ()):
                scores[page] = scores.get(page, 0.0) + stress * self.idf[term] * self.terms[page][term]
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
        wanted = sought(question, query)
        masses = weigh(wanted, weights, pages=self.size)
        shares = (coverage(masses, self.terms[page]) for page in ranked)
        cosine = max(dense.values()) if dense else None
        elsewhere = any(weights.keys().isdisjoint(name) for name in names_in(question, wanted))
        return Evidence(coverage=max(shares, default=0.0), cosine=cosine, hits=len(ranked), is_elsewhere=elsewhere)


def _units(vectors: Any) -> NDArray[np.float64]:
    matrix = np.asarray(vectors, dtype=np.float64)
    return np.asarray(matrix / np.linalg.norm(matrix, axis=1, keepdims=True), dtype=np.float64)


def _best(scores: Mapping[int, float]) -> dict[int, float]:
    return dict(sorted(scores.items(), key=lambda item: (-item[1], -item[0]))[:CANDIDATES])


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
    asked = Question(
        terms=query,
        sought=sought(question, query),
        names=[],
        words=set(query),
        weights=weights,
        dense=similar,
        pages=library.size,
    )
    best = [_as_found(page, score) for page, score in ranked[:JUDGED]]
    terms = {one.address: frozenset(library.terms[int(one.address)]) for one in best}
    ordered = in_order(best, terms, asked, weighed(terms, asked))
    return [int(one.address) for one in ordered] + [page for page, _ in ranked[JUDGED:]]


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


DEFAULT: Final = "**the same, newest first** (default)"
RANKERS: Final[Mapping[str, Ranker]] = {
    "BM25": lambda lib, q: list(lib.sparse(q)),
    "dense": lambda lib, q: list(lib.dense(q)),
    "rank fusion (k = 60)": _reciprocal_ranks,
    "both stretched to 0..1": _stretched,
    "BM25 + neighbours": lambda lib, q: [page for page, _ in fuse({}, lib.sparse(q))],
    "fused": _fused(0.0),
    "fused + neighbours": _fused(0.25),
    DEFAULT: _newest_first,
}


COMPARED: Final = {
    "full text": "BM25",
    "similarity": "dense",
    "rank fusion": "rank fusion (k = 60)",
    "ours, before the gate": DEFAULT,
}


def quality(ranked: Sequence[Sequence[int]], wanted: Sequence[frozenset[int]]) -> list[float]:
    """First (the first page answers), R@5, R@10, R@20, hit@10 and MRR."""
    pairs = list(zip(ranked, wanted, strict=True))
    recall = [[len(set(pages[:k]) & answer) / len(answer) for pages, answer in pairs] for k in (5, 10, 20)]
    hits = [float(bool(set(pages[:10]) & answer)) for pages, answer in pairs]
    first = [next((1 / (i + 1) for i, page in enumerate(pages) if page in answer), 0.0) for pages, answer in pairs]
    top = [float(value == 1) for value in first]
    return [sum(values) / len(pairs) for values in (top, *recall, hits, first)]


def recall_table(talks: Sequence[Corpus], libraries: Sequence[Library]) -> Iterator[str]:
    yield "| method | first | R@5 | R@10 | R@20 | hit@10 | MRR |\n|---|---|---|---|---|---|---|"
    asked = [(lib, q, pages) for talk, lib in zip(talks, libraries, strict=True) for q, pages in talk.questions]
    for name, ranker in RANKERS.items():
        values = quality([ranker(lib, q) for lib, q, _ in asked], [pages for _, _, pages in asked])
        yield f"| {name} | {' | '.join(f'{value:.3f}' for value in values)} |"


def near_table(talks: Sequence[Corpus], libraries: Sequence[Library]) -> Iterator[str]:
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


def off_target(talks: Sequence[Corpus], own: int, *, renamed: bool) -> Iterator[str]:
    """Every fourth question of the other conversations, with this one's speakers put in if wanted."""
    for other, talk in enumerate(talks):
        for question, _ in talk.questions[::4] if other != own else ():
            text = question
            for theirs, ours in zip(talk.speakers, talks[own].speakers, strict=True) if renamed else ():
                text = re.sub(rf"\b{re.escape(theirs)}\b", ours, text)
            yield text


def gate_table(talks: Sequence[Corpus], libraries: Sequence[Library], first: int, last: int) -> Iterator[str]:
    yield "| questions | n | answer | weak | abstain |\n|---|---|---|---|---|"
    kinds: dict[str, list[Outcome]] = {}
    for own in range(first, last):
        library = libraries[own]
        for name, questions in {
            "answerable": [q for q, _ in talks[own].questions],
            "answerable, with other sentences around": [w.format(q) for q, _ in talks[own].questions for w in AROUND],
            "about another conversation": off_target(talks, own, renamed=False),
            "about another, with other sentences around": [
                w.format(q) for q in off_target(talks, own, renamed=False) for w in AROUND
            ],
            "the same, with this one's names put in": off_target(talks, own, renamed=True),
        }.items():
            kinds.setdefault(name, []).extend(decide(library.evidence(question)) for question in questions)
    for name, outcomes in kinds.items():
        shares = [outcomes.count(outcome) / len(outcomes) for outcome in Outcome]
        yield f"| {name} | {len(outcomes)} | {' | '.join(f'{share:.1%}' for share in shares)} |"


def shown_table(talks: Sequence[Corpus], libraries: Sequence[Library]) -> Iterator[str]:
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


class Spaces:
    """Corpora as users have them: each a space of one memory on disk, asked through ``space.recall``."""

    def __init__(self, memory: pagefault.Memory, corpora: Sequence[Corpus]) -> None:
        self._spaces = [memory.space(thread=f"t{number}") for number in range(len(corpora))]
        for space, corpus in zip(self._spaces, corpora, strict=True):
            space.append([{"role": r, "content": text} for r, text in zip(corpus.roles, corpus.pages, strict=True)])
        memory.flush()

    def ask(self, number: int, question: str) -> tuple[Outcome, list[int]]:
        """What one of the spaces makes of a question, and the pages that it shows."""
        found = self._spaces[number].recall(question, limit=10)
        return found.outcome, [page.page.seq - 1 for page in found.pages]


def shown_by_recall(corpora: Sequence[Corpus], libraries: Sequence[Library], spaces: Spaces) -> Iterator[str]:
    """Of each data set, how well single methods find, and our ranking, and all of recall with its gate."""
    yield "| data | method | first | R@5 | R@10 | MRR |\n|---|---|---|---|---|---|"
    for data in dict.fromkeys(corpus.data for corpus in corpora):
        asked = [(n, q, pages) for n, c in enumerate(corpora) if c.data == data for q, pages in c.questions]
        wanted = [pages for _, _, pages in asked]
        ranked: dict[str, list[Sequence[int]]] = {
            name: [RANKERS[ranker](libraries[n], q) for n, q, _ in asked] for name, ranker in COMPARED.items()
        }
        ranked["**recall**"] = [spaces.ask(n, q)[1] for n, q, _ in asked]
        for name, found in ranked.items():
            first, five, ten, _, _, mrr = quality(found, wanted)
            yield f"| {data}, {len(asked)} | {name} | {first:.3f} | {five:.3f} | {ten:.3f} | {mrr:.3f} |"


def refused_by_recall(corpora: Sequence[Corpus], spaces: Spaces) -> Iterator[str]:
    """Of each data set, what recall makes of its questions, and of those about the others."""
    yield "| pages of | questions of | n | answer | weak | abstain |\n|---|---|---|---|---|---|"
    names = list(dict.fromkeys(corpus.data for corpus in corpora))
    for own, other in ((own, other) for own in names for other in names):
        here = [n for n, corpus in enumerate(corpora) if corpus.data == own]
        asked = [(n, q) for n in here for q in corpora[n].asked]
        if own != other:
            foreign = [question for corpus in corpora if corpus.data == other for question in corpus.asked]
            asked = [(n, q) for n in here for q in foreign[:: -(-len(foreign) // FOREIGN)]]
        outcomes = [spaces.ask(n, question)[0] for n, question in asked]
        shares = " | ".join(f"{outcomes.count(outcome) / len(outcomes):.1%}" for outcome in Outcome)
        yield f"| {own} | {other} | {len(outcomes)} | {shares} |"


def whole_recall(corpora: Sequence[Corpus], embedder: Embedder) -> Iterator[str]:
    """Tables of all of recall, on a store of its own."""
    yield "## Recall, on the embedded store\n"
    libraries = [Library(corpus.pages, embedder) for corpus in corpora]
    with tempfile.TemporaryDirectory() as place, pagefault.open(place, embedder=embedder) as memory:
        spaces = Spaces(memory, corpora)
        yield from shown_by_recall(corpora, libraries, spaces)
        yield ""
        yield from refused_by_recall(corpora, spaces)
        yield ""


def parts_of_recall(talks: Sequence[Corpus], embedder: Embedder, *, join: bool) -> Iterator[str]:
    """Tables of the parts of recall on conversations, those that they were fitted on and the others."""
    libraries = [Library(talk.pages, embedder) for talk in talks]
    for title, first, last in (("fitted on", 0, FITTED), ("held out", FITTED, len(talks))):
        yield f"## Finding, conversations {first + 1}-{last} ({title})\n"
        yield from (*recall_table(talks[first:last], libraries[first:last]), "")
        yield from (*near_table(talks[first:last], libraries[first:last]), "")
    if join:
        yield "## What is shown of a long page\n"
        yield from (*shown_table(talks, libraries), "")
    lexical = [Library(talk.pages, None) for talk in talks]
    for name, searched in ((embedder.name, libraries), ("full text alone", lexical)):
        for title, first, last in (("fitted on", 0, FITTED), ("held out", FITTED, len(talks))):
            yield f"## Gate, {name}, conversations {first + 1}-{last} ({title})\n"
            yield from (*gate_table(talks, searched, first, last), "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--dates", action="store_true", help="index each turn of LoCoMo with its session's date")
    parser.add_argument("--join", type=int, default=0, help="join turns of LoCoMo into pages of so many characters")
    options = parser.parse_args()
    files = [read(path, dates=options.dates, join=options.join) for path in options.files]
    embedder = WordLlamaEmbedder()
    for path, corpora in zip(options.files, files, strict=True):
        asked, dropped = sum(len(c.questions) for c in corpora), sum(c.dropped for c in corpora)
        unplaced = sum(len(c.unplaced) for c in corpora)
        pages = sum(len(c.pages) for c in corpora)
        print(f"{path.name}: {pages} pages, {asked} questions; {unplaced} for the gate alone, {dropped} left out.\n")
    for line in whole_recall([corpus for corpora in files for corpus in corpora], embedder):
        print(line)
    for corpora in files:
        if len(corpora) > FITTED and all(corpus.speakers for corpus in corpora):
            for line in parts_of_recall(corpora, embedder, join=bool(options.join)):
                print(line)


if __name__ == "__main__":
    main()
