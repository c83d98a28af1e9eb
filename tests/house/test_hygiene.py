"""What must not be in the code, or in any file of the repository."""

from __future__ import annotations

import ast
import io
import re
import tokenize

import pytest

from tests.house.tree import REPO, modules, name, tracked

UNSAFE_IMPORTS = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle"}
WRITING_ONLY = {("marshal", "dumps")}
"""Bytes to compare, never to read back."""
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__"}

SUPPRESSION = re.compile(r"#\s*(type:\s*ignore|noqa|pyright:\s*ignore|pragma:\s*no\s*(?:cover|branch))(.*)")
CODED = re.compile(r"\s*(?:\[[\w\-, ]+\]|:\s*[A-Z]+[0-9]+(?:[, ]+[A-Z]+[0-9]+)*)")
REASON_CHARS = 8

# The patterns are spelled so that none of them matches this file.
FOREIGN = {
    "a path of somebody's machine": re.compile(r"(?<![\w.])/(?:home|root|Users|work)/\w|(?<![\w.])/tmp/[a-z]\w*"),
    "a registry's address": re.compile(
        r"(?:pypi|pythonhosted|npmjs|crates)\.(?:org|io)/(?:simple|packages)|registry\.npmjs"
    ),
    "a secret": re.compile(
        r"\bAKIA[0-9A-Z]{16}\b|\bsk-[A-Za-z0-9_-]{24,}|\bgh[pousr]_[A-Za-z0-9]{30,}|\bxox[bp]-[0-9]{6,}"
        r"|-----BEGIN [A-Z ]*PRIVATE[ ]KEY"
    ),
}


def python_files():
    return [path for path in tracked() if path.suffix == ".py"]


def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", python_files(), ids=name)
def test_no_bare_except(path):
    bare = [node.lineno for node in ast.walk(tree(path)) if isinstance(node, ast.ExceptHandler) and node.type is None]
    assert not bare, f"{name(path)}: bare except in lines {bare}; name what you expect"


@pytest.mark.parametrize("path", modules(), ids=name)
def test_data_never_becomes_code(path):
    found: list[str | None] = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.split(".")[0] in UNSAFE_IMPORTS]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in UNSAFE_IMPORTS:
            found += [node.module for a in node.names if (node.module, a.name) not in WRITING_ONLY]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in UNSAFE_CALLS:
            found.append(f"{node.func.id}() in line {node.lineno}")
    assert not found, f"{name(path)}: {found}"


@pytest.mark.parametrize("path", python_files(), ids=name)
def test_a_suppression_names_its_code_and_its_reason(path):
    bad = []
    source = path.read_text(encoding="utf-8")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        match = SUPPRESSION.search(token.string) if token.type == tokenize.COMMENT else None
        if match is None:
            continue
        coded = CODED.match(match[2])
        reason = match[2] if match[1].startswith("pragma") else match[2][coded.end() :] if coded else ""
        if len(reason.strip(" #:-")) < REASON_CHARS:
            bad.append(f"line {token.start[0]}: {token.string}")
    assert not bad, f"{name(path)}: write `# noqa: CODE  # reason` or `# type: ignore[code]  # reason`: {bad}"


@pytest.mark.parametrize("what", FOREIGN)
def test_no_tracked_file_holds(what):
    found = []
    for path in tracked():
        if path.suffix in {".png", ".gif", ".svg", ".cast"}:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if match := FOREIGN[what].search(line):
                found.append(f"{name(path)}:{number}: {match[0]}")
    assert not found, f"{what}: {found}"


def test_what_is_generated_is_not_tracked():
    generated = [name(p) for p in tracked() if p.suffix in {".pyc", ".log", ".egg-info"} or ".venv" in p.parts]
    assert not generated
    assert (REPO / ".gitignore").is_file()
