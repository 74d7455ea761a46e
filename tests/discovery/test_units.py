"""discovery: decisions and formats, without a disk."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camarchiver.discovery import copy_batches
from camarchiver.discovery.copy_batches import CopyBatch, FolderIndex
from camarchiver.domain.clip import Fingerprint, Tree
from camarchiver.domain.hold import Hold
from camarchiver.domain.memory import Memory, Restored
from camarchiver.journal import replay
from camarchiver.journal import store as journal_store
from camarchiver.naming.patterns import Names
from camarchiver.policy import cleanup_rules
from camarchiver.policy.cleanup_rules import CleanupPolicy, Copy
from tests.values import DAYS30, KEEPING, NOW, ROOT, a_clip, a_file, line_of, ns


class TestLots:
    """Lots are decided only where their copies can have one fate."""

    @pytest.mark.parametrize(
        ("policy", "memory", "trees"),
        [
            (KEEPING, Memory(), {Tree.SOURCE, Tree.ARCHIVE, Tree.TRASH}),
            (replace(KEEPING, clean_output=True), Memory(), {Tree.SOURCE, Tree.TRASH}),
            (replace(KEEPING, unarchived=True), Memory(), {Tree.ARCHIVE, Tree.TRASH}),
            (replace(KEEPING, cameras=frozenset({"front"})), Memory(), set()),
            (replace(KEEPING, exclude=("x",)), Memory(), set()),
            (replace(KEEPING, limits=replace(KEEPING.limits, max_age_hard=DAYS30)), Memory(), set()),
            (
                replace(KEEPING, cameras_own={"front": replace(KEEPING.limits, max_age_hard=DAYS30)}),
                Memory(),
                set(),
            ),
            (KEEPING, Memory(holds=(Hold("1", NOW, NOW + DAYS30),)), set()),
            (KEEPING, Memory(restored={"a": Restored(1, 2, NOW - timedelta(days=6))}), set()),
            (
                KEEPING,
                Memory(restored={"a": Restored(1, 2, NOW - timedelta(days=7))}),
                {Tree.SOURCE, Tree.ARCHIVE, Tree.TRASH},
            ),
        ],
    )
    def test_where_single_copies_matter_none_are_decided(
        self, policy: CleanupPolicy, memory: Memory, trees: set[Tree]
    ) -> None:
        assert copy_batches.decidable(policy, memory, NOW) == trees

    FOLDER = "input/2026/03/01"
    SIX = tuple(f"REO_front_20260301{hour:02}0000" for hour in range(6))

    @classmethod
    def a_shelf(
        cls, changed: dict[str, Any], file: dict[str, int], *, archived: dict[str, Any]
    ) -> FolderIndex:
        """Six clips in the trash and six in the archive; what is `changed` of the first one's events."""
        lines = []
        for number, stem in enumerate(cls.SIX):
            source = f"2026/03/01/{stem}.mp4"
            odd = number == 0
            about = {"source": source, "start": f"2026-03-01T{number:02}:00:00+00:00"}
            about |= {"source_size": 1000, "source_mtime_ns": 10**9, "source_blake2b": "d"}
            about |= {"archive": f"{cls.FOLDER}/{stem}.mp4", "archive_size": 1000}
            lines.append(line_of("archived", **{**about, **(archived if odd else {})}))
            gone = {"trash": f"{cls.FOLDER}/{stem}.mp4", "reason": "age"}
            lines.append(line_of("trashed", **{**about, **gone, **(changed if odd else {})}))
        day = journal_store.parse("\n".join(map(json.dumps, lines)).encode(), Path("day"))
        files = {f"{stem}.mp4": a_file(10**9) for stem in cls.SIX}
        files[f"{cls.SIX[0]}.mp4"] = a_file(**{"mtime_ns": 10**9, **file})
        folded = replay.fold(day.events, day.archived)
        return FolderIndex(ROOT, cls.FOLDER, files, Names(), lambda day: folded)

    @pytest.mark.parametrize(
        ("changed", "file", "stands"),
        [
            ({"start": "2026-02-28T23:00:00+00:00"}, {}, True),
            ({"start": "2026-03-01T00:00:00.5+00:00"}, {}, True),
            ({"start": "2026-03-01T01:00:00+01:00"}, {}, True),
            ({"start": "2026-03-01T02:30:00+00:00"}, {}, True),
            ({"camera": "back"}, {}, True),
            ({"reason": "max-age-hard"}, {}, True),
            ({"reason": "replaced"}, {}, True),
            ({"tree": "archive"}, {}, True),
            ({"tree": "trash"}, {}, True),
            ({"source_size": 7}, {}, True),
            ({"source_mtime_ns": 7}, {}, True),
            ({"source_size": 7}, {"size": 7}, True),
            ({"source_mtime_ns": 7}, {"mtime_ns": 7}, True),
            ({"trash": "input/elsewhere"}, {}, True),
            ({}, {"size": 7}, True),
            ({}, {"mtime_ns": 7}, True),
            ({}, {"links": 2}, True),
            ({}, {"mode": 0o040755}, True),
            ({}, {}, False),
        ],
    )
    def test_one_of_another_kind_makes_all_in_the_trash_single(
        self, changed: dict[str, Any], file: dict[str, int], stands: bool
    ) -> None:
        usual, _ = self.a_shelf({}, {}, archived={}).trashed(lambda _: True)
        assert [len(lot.names) for lot in usual] == [6]
        shelf = self.a_shelf(changed, file, archived={})
        found, rest = shelf.trashed(lambda entry: stands or not entry.source.endswith("000000.mp4"))
        assert (found, rest) == ([], list(shelf.files))

    @pytest.mark.parametrize(
        ("archived", "file"),
        [
            ({"archive_size": 7}, {}),
            ({"archive": "elsewhere.mp4"}, {}),
            ({"camera": "back"}, {}),
            ({}, {"size": 7}),
            ({}, {"links": 2}),
            ({}, {"mode": 0o120777}),
        ],
    )
    def test_one_of_another_kind_makes_all_archives_single(
        self, archived: dict[str, Any], file: dict[str, int]
    ) -> None:
        usual, _ = self.a_shelf({}, {}, archived={}).archives(lambda _: iter(()))
        assert [(lot.files, lot.size, lot.camera) for lot in usual] == [(6, 6000, "front")]
        shelf = self.a_shelf({}, file, archived=archived)
        assert shelf.archives(lambda _: iter(())) == ([], list(shelf.files))

    @given(
        st.lists(st.tuples(st.integers(0, 23), st.integers(-25, 25)), min_size=1, max_size=4),
        st.sampled_from([-2, 0, 29, 30]),
        st.sampled_from([False, False, True]),
        st.sampled_from([Tree.SOURCE, Tree.SOURCE, Tree.ARCHIVE]),
    )
    @settings(max_examples=300)
    def test_why_a_lot_stays_is_why_each_of_it_does(
        self, found: list[tuple[int, int]], days: int, trust_names: bool, tree: Tree
    ) -> None:
        """Each copy begins at an hour of the day, and was changed some hours after that."""
        policy = replace(KEEPING, trust_names=trust_names)
        day = NOW - timedelta(days=days + 1)
        copies = []
        for hour, hours in found:
            start = day + timedelta(hours=hour)
            mark = Fingerprint(1, 2, 3, ns(start + timedelta(hours=hours)))
            copies.append(Copy(a_clip(start=start, fingerprint=mark), tree, "x", identity=mark[2:]))
        starts, mtimes = [c.clip.start for c in copies], [c.identity[1] for c in copies]
        lot = CopyBatch(
            tree,
            ROOT,
            "",
            copies[0].clip.camera,
            1,
            len(copies),
            3 * len(copies),
            False,
            (min(starts), max(starts)),
            (min(mtimes), max(mtimes)),
            lambda: iter(copies),
        )
        stay = copy_batches.stay_of(lot, policy, NOW)
        each = [cleanup_rules.decide(copy, policy, Memory(), {}, NOW) for copy in copies]
        if stay is not None:
            assert each == [stay] * len(copies)
            assert not any(copy.is_doubtful(policy, NOW) for copy in copies)
        elif len(copies) == 1:
            assert copies[0].is_doubtful(policy, NOW) or min(starts) <= NOW - DAYS30 < max(
                copy.recorded(policy) for copy in copies
            )
