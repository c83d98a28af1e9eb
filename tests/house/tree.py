"""The repository's own files, read once."""

from __future__ import annotations

import re
import subprocess
import tomllib
from configparser import ConfigParser
from functools import cache
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]
ROOTS = (
    REPO / "src" / "pagefault",
    REPO / "integrations" / "langgraph" / "pagefault_langgraph",
    REPO / "integrations" / "llamaindex" / "pagefault_llamaindex",
)
GENERATED = re.compile(r"^(\.git|\.venv|\.coverage|\..*cache|\.hypothesis|__pycache__|build|dist)$")


def modules() -> list[Path]:
    """Every module that ships."""
    return sorted(path for root in ROOTS for path in root.rglob("*.py"))


def dotted(path: Path) -> str:
    """The import name of a module that ships."""
    root = next(root for root in ROOTS if path.is_relative_to(root))
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tracked() -> tuple[Path, ...]:
    """Every file under version control; without git, every file that nothing generated."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPO, capture_output=True, text=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        names = [REPO / name for name in listed.stdout.split("\0") if name]
    else:
        names = [p for p in REPO.rglob("*") if not any(map(GENERATED.match, p.relative_to(REPO).parts))]
    return tuple(sorted(path for path in names if path.is_file()))


def name(path: Path) -> str:
    """A path as test reports show it."""
    return path.relative_to(REPO).as_posix()


@cache
def project() -> dict[str, Any]:
    """pyproject.toml."""
    return tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))


@cache
def contracts() -> ConfigParser:
    """.importlinter."""
    parser = ConfigParser()
    parser.read(REPO / ".importlinter", encoding="utf-8")
    return parser
