"""The errors of pagefault. Each names the thing, the limit and the way out."""

from __future__ import annotations


class PagefaultError(Exception):
    """Base of pagefault's own errors.

    An argument that the call itself does not allow, such as ``limit=0`` or a list where a memory is
    wanted, raises Python's ``ValueError`` or ``TypeError``.
    """


class InvalidId(PagefaultError, ValueError):
    """A tenant, user, thread, agent or message id that cannot be used as one."""


class AmbiguousAgent(PagefaultError, ValueError):
    """Two different agents at work at once would share one space."""


class BadAddress(PagefaultError, ValueError):
    """Text that is not a page address (``12``, ``12-14``, ``12.3@4000``), or one that cannot be used here."""


class PageNotFound(PagefaultError, LookupError):
    """A well-formed address that names no page of this space's own past, or a key that no pinned item has."""


class CorruptPage(PagefaultError):
    """What is stored of a page, head or item is not what was written: its sha256, chain, place or fields do not fit."""


class PagesLost(PagefaultError):
    """The store lacks pages that the chain of this space says were stored."""


class UnsupportedMessage(PagefaultError, TypeError):
    """A message that cannot be turned into a page (wrong type, too deep, not text)."""


class CannotTranslate(PagefaultError, ValueError):
    """A page written by another framework that holds what one's own cannot say."""


class BudgetError(PagefaultError, ValueError):
    """A budget that cannot be kept: too small for what must stay in the window."""


class PageTooLarge(BudgetError):
    """One page that must be in the prompt is larger than the budget by itself."""


class PinnedOverBudget(BudgetError):
    """All that must stay (pins, pinned items, system prompt and tools, the last messages) exceeds the budget."""


class StoreError(PagefaultError):
    """The page store refused or failed an operation."""


class StoreMissing(StoreError):
    """There is no store at a place that was to be read."""


class StoreLocked(StoreError):
    """Another process has this data directory open."""


class StoreUnwritable(StoreError):
    """The data directory cannot be created or written, or its disk is nearly full."""


class StoreMismatch(StoreError):
    """The store was written with another format, embedder or dimension."""


class StoreUnreachable(StoreError):
    """The store's server could not be reached, or did not confirm in time, after several attempts."""


class StoreDenied(StoreError):
    """The store's server refused the API key."""


class EmbedderError(PagefaultError):
    """An embedder cannot be had, raised, or returned vectors of the wrong count, shape or values."""


class MemoryClosed(PagefaultError, RuntimeError):
    """A verb was called on a ``Memory`` after ``close()``."""


class InvalidItem(PagefaultError, ValueError):
    """A namespace, key, value or time to live that an item cannot have."""


class BadFilter(PagefaultError, ValueError):
    """A filter over item values with an unknown operator or an operand that cannot be compared."""


class VersionConflict(PagefaultError):
    """A compare-and-set found another version than the caller knew; read the item again and decide anew."""


class SchedulerError(PagefaultError):
    """The scheduler refused or ended a turn."""


class BadTurn(SchedulerError, ValueError):
    """What a scheduler is given and cannot use: a weight of 0, tokens below 0, a quota without a name."""


class QuotaExceeded(SchedulerError):
    """A turn that no waiting could ever fit into a limit or quota."""


class QueueFull(SchedulerError):
    """So many turns of one account wait already that the next one is refused."""


class TurnTimeout(SchedulerError, TimeoutError):
    """A turn was not granted in the time its caller was ready to wait."""


class TurnNotOpen(SchedulerError, RuntimeError):
    """A turn was charged or left while it was not open, or entered a second time."""


class WaitBlocksLoop(SchedulerError, RuntimeError):
    """A ``with`` would stop the very event loop that has to run for a slot to come free."""


class UnknownAgent(SchedulerError, LookupError):
    """An agent that has not asked this scheduler for a turn."""


class SchedulerUnreachable(SchedulerError, ConnectionError):
    """The server through which several processes share a backend cannot be reached, or does not answer."""


class LeaseLost(SchedulerError):
    """This process was not heard for so long that others were given the slots of its turns."""


class RulesDiffer(SchedulerError):
    """Another process shares this backend by other rules."""


class SharedStateUnreadable(SchedulerError):
    """What the server holds under this name was not written by this version of pagefault."""


class SchedulerClosed(SchedulerError, RuntimeError):
    """A turn was asked of a scheduler after ``close()``."""


class MissingDependency(PagefaultError, ImportError):
    """An optional package is not installed; the message is the pip command."""
