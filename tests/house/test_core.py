"""The list of pure modules is one list, and it is true."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest

from tests.house.tree import REPO, contracts, dotted, modules, project

# Pure modules that `make cover` does not measure yet. This list only ever shrinks.
NOT_COVERED_YET: tuple[str, ...] = ()
LISTED = tuple(contracts()["importlinter:contract:pure-core"]["source_modules"].split())
COVERED_FILES = tuple(project()["tool"]["coverage"]["run"]["include"])


def matching(patterns):
    return {name for name in map(dotted, modules()) if any(fnmatchcase(name, pattern) for pattern in patterns)}


def test_contract_and_coverage_name_the_same_modules():
    covered = {dotted(path) for pattern in COVERED_FILES for path in REPO.glob(pattern)}
    assert matching(LISTED) - matching(NOT_COVERED_YET) == covered


@pytest.mark.parametrize("pattern", [*LISTED, *NOT_COVERED_YET])
def test_every_listed_module_exists(pattern):
    assert matching([pattern])


@pytest.mark.parametrize("pattern", COVERED_FILES)
def test_every_covered_file_exists(pattern):
    assert list(REPO.glob(pattern))


def test_strictly_typed_files_exist():
    strict = project()["tool"]["pyright"]["strict"]
    assert [f for f in strict if not (REPO / f).exists()] == []
