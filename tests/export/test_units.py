"""export: decisions and formats, without a disk."""

from __future__ import annotations

from camarchiver.export import exporter


class TestManifest:
    def test_names_that_need_it_are_escaped_as_b2sum_does(self) -> None:
        assert exporter.line("a b.mp4", "00") == b"00  a b.mp4"
        assert exporter.line("a\\b\nc", "00") == b"\\00  a\\\\b\\nc"

    def test_lines_are_added_and_none_is_changed(self) -> None:
        before = exporter.merged(b"", {}, {"b": "01", "a\nb": "02"})
        assert exporter.merged(before, {"b": "ff", "c": "03"}, {}) == b"\\02  a\\nb\n01  b\n03  c\n"
        assert exporter.merged(before, {"b": "01"}, {}) == before

    def test_what_is_copied_anew_has_a_new_line(self) -> None:
        assert exporter.merged(b"01  a\n02  b\n", {"a": "01"}, {"b": "03"}) == b"01  a\n03  b\n"
