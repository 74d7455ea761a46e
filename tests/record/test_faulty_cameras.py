"""record: against loopback cameras with the faults of real ones."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from camarchiver.record.capture import reader
from camarchiver.record.capture.reader import Lost, Reader
from camarchiver.record.capture.source import camera
from tests.record.rtsp import Faults, RtspServer


@pytest.fixture
def rec_simple(rec_make: Callable[..., Path]) -> Path:
    """Eight seconds with sound as a camera sends it, without reordered frames; motion from 3 to 4.5."""
    return rec_make((3, 4.5), d=8, options="-g 15 -bf 0")


def open_files() -> int:
    """Descriptors of this process."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def resident() -> int:
    """Bytes of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class TestLosses:
    @pytest.mark.parametrize(("losses", "hang_up"), [(20, 0.0), (20, 0.2)])
    def test_a_lost_source_leaves_nothing_open(
        self, rec_simple: Path, mocker: MockerFixture, losses: int, hang_up: float
    ) -> None:
        mocker.patch.object(reader, "BACKOFF", (0.01,))
        with RtspServer(rec_simple, Faults(hang_up=hang_up)) as server:
            seeking = Reader(camera(server.url))
            counts = []
            while len(counts) < losses:
                if isinstance(seeking.take(20), Lost):
                    counts.append((open_files(), threading.active_count(), resident()))
            seeking.close()
        # the camera's own side of the next connection may be there, or not yet
        assert max(files for files, _, _ in counts[1:]) <= counts[0][0] + 2
        assert max(threads for _, threads, _ in counts[1:]) <= counts[0][1] + 2
        assert counts[-1][2] - counts[len(counts) // 2][2] < 2 << 20
