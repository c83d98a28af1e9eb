"""The fault path: words, fusion, the gate and the rendering. Everything here is pure."""

from pagefault.messages.fences import ended, fence_of
from pagefault.recall.evidence import is_evidence, only_asks
from pagefault.recall.focus import focus
from pagefault.recall.following import FOLLOWED, NEXT, is_remark, leading
from pagefault.recall.found import Found, RecalledItem, RecalledPage, RecalledPassage
from pagefault.recall.fusion import fuse
from pagefault.recall.gate import Evidence, Outcome, coverage, decide, weigh
from pagefault.recall.judgement import NEAR, Question, apart, counts, in_order, judge, said_by, starts, weighed
from pagefault.recall.passages import PassageEvidence, judge_passages, render_passages, shared, with_passages
from pagefault.recall.pieces import FIELD, pieces_of
from pagefault.recall.questions import names_in, sought, stressed
from pagefault.recall.remembered import ItemEvidence, best_of, judge_items, render_items, with_items
from pagefault.recall.rendering import left_out, render
from pagefault.recall.restating import latest_of
from pagefault.recall.slices import Slice, reading, slice_page, trust_of
from pagefault.recall.terms import document_vector, query_vector, query_words, split_terms, term_id

__all__ = [
    "FIELD",
    "FOLLOWED",
    "NEAR",
    "NEXT",
    "Evidence",
    "Found",
    "ItemEvidence",
    "Outcome",
    "PassageEvidence",
    "Question",
    "RecalledItem",
    "RecalledPage",
    "RecalledPassage",
    "Slice",
    "apart",
    "best_of",
    "counts",
    "coverage",
    "decide",
    "document_vector",
    "ended",
    "fence_of",
    "focus",
    "fuse",
    "in_order",
    "is_evidence",
    "is_remark",
    "judge",
    "judge_items",
    "judge_passages",
    "latest_of",
    "leading",
    "left_out",
    "names_in",
    "only_asks",
    "pieces_of",
    "query_vector",
    "query_words",
    "reading",
    "render",
    "render_items",
    "render_passages",
    "said_by",
    "shared",
    "slice_page",
    "sought",
    "split_terms",
    "starts",
    "stressed",
    "term_id",
    "trust_of",
    "weigh",
    "weighed",
    "with_items",
    "with_passages",
]
