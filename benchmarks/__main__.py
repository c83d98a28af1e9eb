"""Every benchmark that needs nothing but this checkout; tables on standard output.

``make bench`` runs it. Figures in ``docs/benchmarks.md`` name the command that made them.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys

PROGRAMS = (
    ("Cost of a model call besides the model", "benchmarks.step_cost"),
    ("The first step after a reload, and a reclaim", "benchmarks.reload"),
    ("The user's event loop during write-back", "benchmarks.loop_stall"),
    ("Cost of a LlamaIndex memory", "benchmarks.chat_memory"),
    ("LangGraph stores", "benchmarks.store_speed"),
    ("How long a recall takes", "benchmarks.recall_speed"),
    ("Memory and disk for a page", "benchmarks.footprint"),
)


def main() -> int:
    """Run each program in a process of its own; the first failure's exit code."""
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}\n")
    for title, module in PROGRAMS:
        print(f"## {title}\n\n`python -m {module}`\n", flush=True)
        done = subprocess.run([sys.executable, "-m", module], check=False)
        print(flush=True)
        if done.returncode:
            return done.returncode
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
