"""What a recall brings back: pages, items, passages, and all of them as one result."""

from __future__ import annotations

from dataclasses import dataclass

from pagefault.items import Item
from pagefault.page import Address, Page, SpaceId
from pagefault.ports import Passage
from pagefault.recall.gate import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class RecalledPage:
    """One page that a recall or a fault brought back.

    Attributes:
        address: How the model names it.
        page: The page, verified against its hash.
        score: Fused score; comparable only within one result.
        message_ids: The framework's ids of its messages, those that have one.
        trust: The least trusted role in it.
        resident: It is in the window already.
        superseded_by: Address of the newest page found that says anew what this one says, and may have changed it;
            ``None`` where none was found.
        space: Whose page it is, where it is from another conversation of the user; ``None`` for one's own.
        then: What was said right after it, where that may correct or answer it, quoted behind it; else ``None``.
    """

    address: str
    page: Page
    score: float
    message_ids: tuple[str, ...]
    trust: str
    resident: bool
    superseded_by: str | None
    space: SpaceId | None = None
    then: RecalledPage | None = None

    @property
    def whole(self) -> Address:
        """Its address."""
        seq = self.page.seq
        return Address(first=seq, last=seq, alias=self.space.alias if self.space is not None else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecalledItem:
    """One item that a recall brought back: what was last set, never a version that was replaced.

    Attributes:
        item: Key, value, version and times.
        score: Coverage of the question plus similarity; comparable only within one result.
        outcome: Whether it is an answer or weak evidence.
    """

    item: Item
    score: float
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class RecalledPassage:
    """One passage of a source outside. It is no page: it has no address here and cannot be faulted.

    Attributes:
        source: The source's name.
        passage: What it gave.
        score: Coverage of the question plus similarity; comparable only within one result.
        outcome: Whether it is an answer or weak evidence; an abstention until it is judged.
    """

    source: str
    passage: Passage
    score: float = 0.0
    outcome: Outcome = Outcome.ABSTAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A recall's result.

    Attributes:
        outcome: Whether it is an answer; ``abstain`` comes without pages.
        pages: Best first, but each behind the newest that says anew what it says.
        text: What a tool returns to the model.
        items: What was remembered under a key and answers, best first.
        passages: What sources outside say, best first.
        failed: Sources that gave no answer, and why.
    """

    outcome: Outcome
    pages: tuple[RecalledPage, ...]
    text: str
    items: tuple[RecalledItem, ...] = ()
    passages: tuple[RecalledPassage, ...] = ()
    failed: tuple[str, ...] = ()

    @property
    def quoted(self) -> tuple[RecalledPage, ...]:
        """The pages, each with what was said right after it (``then``) behind it."""
        return tuple(each for page in self.pages for each in (page, page.then) if each is not None)
