"""The documents say what is so."""

from __future__ import annotations

import re

import pytest

from tests.house.tree import REPO, name, project

GUARANTEES = [f"G{number}" for number in range(1, 13)]
LINK = re.compile(r"\[[^\]]*\]\((?!https?:|mailto:|#)([^)#\s]+)")


def rows():
    text = (REPO / "docs" / "guarantees.md").read_text(encoding="utf-8")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:3] == "| G"]
    return {row[0]: row[-1] for row in cells}


def test_every_guarantee_is_listed():
    assert list(rows()) == GUARANTEES


@pytest.mark.parametrize("number", GUARANTEES)
def test_a_kept_guarantee_names_a_test_that_exists(number):
    status = rows()[number]
    assert status.startswith(("kept", "not yet")), f"{number}: say 'kept, proved by `tests/...`' or 'not yet'"
    if status.startswith("kept"):
        proofs = [proof.split("::") for proof in re.findall(r"`(tests/[^`]+)`", status)]
        assert proofs, f"{number} is kept but names no test"
        for path, *test in proofs:
            assert (REPO / path).exists(), f"{number} names {path}, which does not exist"
            assert all(t in (REPO / path).read_text(encoding="utf-8") for t in test), f"{number}: no {test} in {path}"


def test_the_changelog_knows_this_version():
    version = project()["project"]["version"].split(".dev")[0]
    changelog = (REPO / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{version}]" in changelog or "## [Unreleased]" in changelog


@pytest.mark.parametrize("path", sorted([*REPO.glob("*.md"), *REPO.glob("docs/**/*.md")]), ids=name)
def test_links_between_documents_lead_somewhere(path):
    broken = [link for link in LINK.findall(path.read_text(encoding="utf-8")) if not (path.parent / link).exists()]
    assert not broken, f"{name(path)}: {broken}"


@pytest.mark.parametrize("path", sorted(REPO.glob("docs/adr/*.md")), ids=name)
def test_a_decision_record_has_its_parts(path):
    text = path.read_text(encoding="utf-8")
    missing = [part for part in ("Status:", "## Context", "## Decision", "## Consequences") if part not in text]
    assert re.match(r"\d{4}-[a-z0-9-]+$", path.stem)
    assert not missing, f"{name(path)} lacks {missing}"
