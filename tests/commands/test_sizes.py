"""What a directory takes on the disk, told while its owner is at work."""

from __future__ import annotations

import os
from pathlib import Path

from pagefault.stores.edge_rebuild import size_of
from pagefault.upkeep import disk_use


def test_sizes_can_be_told_while_folders_go_away(tmp_path, monkeypatch):
    """As where another process vacuums: whoever looked at the same time got an error."""
    scandir = os.scandir

    def going_away(place):
        if Path(place).name == "gone":
            (tmp_path / "gone" / "file").unlink()
            (tmp_path / "gone").rmdir()
        return scandir(place)

    for tell in (size_of, lambda directory: disk_use(directory, is_in_use=True).bytes):
        for name in ("gone", "kept"):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / "file").write_bytes(b"x" * 10_000)
        with monkeypatch.context() as beside:
            beside.setattr(os, "scandir", going_away)
            assert tell(tmp_path) >= 10_000
        assert not (tmp_path / "gone").exists()
