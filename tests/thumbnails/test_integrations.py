"""thumbnails: against the real disk and the real ffmpeg."""

from __future__ import annotations

import stat
from datetime import date
from pathlib import Path

import av
import numpy as np
import pytest

from camarchiver.errors import StorageError
from camarchiver.state import thumbnails
from camarchiver.state.thumbnails import KeyframeScore, StripKey, ThumbnailStrip

KEY = StripKey(date(2026, 3, 1), "2026/03/01/REO_front_20260301081500.mp4", 1000, 5)
STRIP = ThumbnailStrip(320, 180, (0.0, 4.0, 8.0), (KeyframeScore(4.0, 1.5),))


def jpeg(width: int = 96, height: int = 32) -> bytes:
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"  # type: ignore[attr-defined]
    encoder.time_base = 1  # type: ignore[assignment]
    frame = av.VideoFrame.from_ndarray(np.zeros((height, width, 3), np.uint8), "rgb24")
    packets = [*encoder.encode(frame.reformat(format="yuvj420p")), *encoder.encode(None)]  # type: ignore[attr-defined]
    return b"".join(map(bytes, packets))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    state = tmp_path / ".camarchiver"
    state.mkdir(mode=0o700)
    return state


class TestCache:
    def test_a_strip_is_read_as_it_was_written_and_stays_a_picture(self, state: Path) -> None:
        path = thumbnails.write(state, KEY, STRIP, jpeg())
        assert path == thumbnails.path(state, KEY)
        assert thumbnails.read(state, KEY) == STRIP
        with av.open(str(path)) as picture:
            (frame,) = picture.decode(video=0)
        assert (frame.width, frame.height) == (96, 32)

    def test_its_file_may_be_linked_and_read_by_all_and_its_folders_by_nobody_else(self, state: Path) -> None:
        path = thumbnails.write(state, KEY, STRIP, jpeg())
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        assert stat.S_IMODE((state / "cache").stat().st_mode) == 0o700

    def test_another_clip_of_the_same_name_has_another_strip(self, state: Path) -> None:
        thumbnails.write(state, KEY, STRIP, jpeg())
        assert thumbnails.read(state, KEY._replace(size=1001)) is None
        assert thumbnails.read(state, KEY._replace(mtime_ns=6)) is None

    @pytest.mark.parametrize(
        "content", [b"", b"\xff\xd8", b'\xff\xd8\xff\xfe\x00\x09{"wid', jpeg()[:300], jpeg()]
    )
    def test_what_nobody_of_us_wrote_is_no_strip(self, state: Path, content: bytes) -> None:
        path = thumbnails.write(state, KEY, STRIP, jpeg())
        path.write_bytes(content)
        assert thumbnails.read(state, KEY) is None

    def test_it_may_be_deleted_at_any_time(self, state: Path) -> None:
        thumbnails.write(state, KEY, STRIP, jpeg())
        thumbnails.clear(state)
        assert thumbnails.read(state, KEY) is None
        thumbnails.remove(state, KEY)
        thumbnails.clear(state)
        thumbnails.write(state, KEY, STRIP, jpeg())
        thumbnails.remove(state, KEY)
        assert thumbnails.read(state, KEY) is None

    def test_the_longest_name_and_the_most_scores_fit(self, state: Path) -> None:
        key = KEY._replace(source="2026/03/01/" + "ä" * 125 + ".mp4")
        scores = tuple(KeyframeScore(1234567.125 + at, 12.345) for at in range(thumbnails.MOST_SCORES))
        strip = ThumbnailStrip(320, 180, tuple(float(at) for at in range(9)), scores)
        thumbnails.write(state, key, strip, jpeg())
        assert thumbnails.read(state, key) == strip

    def test_no_link_leads_out_of_the_state(self, state: Path, tmp_path: Path) -> None:
        (state / "cache").symlink_to(tmp_path)
        with pytest.raises(StorageError):
            thumbnails.write(state, KEY, STRIP, jpeg())
        assert not [*tmp_path.rglob("*.jpg")]
        (tmp_path / "thumbnails").mkdir()
        with pytest.raises(StorageError):
            thumbnails.clear(state)
        assert (tmp_path / "thumbnails").is_dir()
