"""naming: against the real disk, the real ffmpeg and real faults."""

from __future__ import annotations

import os
from datetime import date

import pytest

from camarchiver.naming import paths as name_paths


class TestNames:
    @pytest.mark.edge
    @pytest.mark.parametrize(
        "raw", [b"x" * 252 + b".ts", b"\xff" * 251 + b".mp4", b"\xc3\xa4" * 126 + b".ts", b"x" * 255]
    )
    def test_every_name_that_a_disk_holds_has_an_archive_name_that_it_holds(self, tmp_path, raw):
        (tmp_path / os.fsdecode(raw)).touch()
        (found,) = tmp_path.iterdir()
        target = name_paths.archive_path("", found.stem, date(2026, 5, 3))
        for relative in (target, name_paths.numbered(target, 2), name_paths.numbered(target, 10)):
            path = tmp_path / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(exist_ok=False)
            assert path in set(path.parent.iterdir())
