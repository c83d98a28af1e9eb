"""The vectors of a point: checked, so that nothing is written that the engine takes without a word and cannot use."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from pagefault.errors import StoreError
from pagefault.ports import LARGEST, Dense, Sparse

TEXT: Final = "text"  # the names of the vectors of a point
USER_TEXT: Final = "user_text"  # its words once more, for searches across the spaces of its user
DENSE: Final = "dense"
# The second and further pieces of a long text, compared by the nearest. They lie apart, since one field for all
# vectors makes a search a third slower where no text is long.
PIECES: Final = "pieces"
_SMALLEST_WEIGHT: Final = 1e-30


def vector(values: Sequence[float], *, dimension: int, of: str) -> list[float]:
    """A dense vector as plain floats.

    Raises:
        StoreError: The store has no dense vectors, or length or values do not fit.
    """
    if dimension == 0:
        raise StoreError(f"{of} has a dense vector, but the store was opened without an embedder (dimension 0)")
    whole = getattr(values, "tolist", None)  # an array's numbers one by one take three times as long
    numbers = list(map(float, values if whole is None else whole()))
    if len(numbers) != dimension:
        raise StoreError(f"the vector of {of} has {len(numbers)} values, the store's dimension is {dimension}")
    if not math.hypot(*numbers) < LARGEST:
        raise StoreError(f"the vector of {of} holds NaN, an infinity or values beyond {LARGEST:g}")
    return numbers


def dense_vectors(dense: Dense, *, dimension: int, of: str) -> list[list[float]]:
    """The dense vectors of a record as plain floats.

    Raises:
        StoreError: There is none, or one of them is no usable vector.
    """
    if not dense:
        raise StoreError(f"{of} comes with no dense vector at all; give None, or one for each piece of its text")
    return [vector(each, dimension=dimension, of=of) for each in dense]


def named_vectors(dense: Sequence[Sequence[float]], *, pieced: bool = False) -> dict[str, Any]:
    """Dense vectors by their names in a point: the first by itself, the others together.

    Args:
        dense: One for each piece of a text.
        pieced: The point has had pieces, which are to give way.
    """
    further = dense[1:] or (dense if pieced else [])
    return {DENSE: list(dense[0]), **({PIECES: [list(each) for each in further]} if further else {})}


def dense_units(dense: Mapping[UUID, list[list[float]]], size: int) -> Iterator[dict[UUID, list[list[float]]]]:
    """Vectors of records in order, about ``size`` vectors at a time."""
    unit: dict[UUID, list[list[float]]] = {}
    filled = 0
    for id_, each in dense.items():
        if unit and filled + len(each) > size:
            yield unit
            unit, filled = {}, 0
        unit[id_] = each
        filled += len(each)
    if unit:
        yield unit


def query_sparse(sparse: Sparse) -> Sparse:
    """Check the sparse vector of a query.

    Raises:
        StoreError: Lengths differ, an index repeats or is out of range, a weight is not finite.
    """
    indices, values = sparse.indices, sparse.values
    if len(indices) != len(values) or len(set(indices)) != len(indices):
        raise StoreError(f"a sparse vector needs one weight per distinct index: {len(indices)} and {len(values)}")
    if indices and not 0 <= min(indices) <= max(indices) < 2**32:
        raise StoreError("a sparse index must be an integer from 0 to 2^32 - 1")
    if not math.hypot(*values) < LARGEST:  # one NaN or infinity makes it one
        raise StoreError(f"sparse weights must be finite and below {LARGEST:g}")
    return sparse


def stored_sparse(id_: UUID, sparse: Sparse) -> Sparse:
    """Check the sparse vector of a record; its weights must be positive to weigh terms by.

    Raises:
        StoreError: As :func:`query_sparse`, or a weight is not positive.
    """
    if not min(query_sparse(sparse).values, default=1.0) > _SMALLEST_WEIGHT:
        raise StoreError(f"the sparse vector of {id_} has a weight that is not positive")
    return sparse
