"""Decisions and formats, without a disk."""

from __future__ import annotations

import errno
import importlib
import itertools
import json
import math
import os
import random
import re
import runpy
import sys
import threading
import tomllib
from array import array
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import click
import dates
import numpy as np
import programs
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec import structs
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pytest_mock import MockerFixture

from camarchiver import (
    atomic,
    attention,
    config,
    crew,
    document,
    events,
    expiry,
    ffmpeg_args,
    figures,
    headers,
    hearsay,
    journal,
    ledger,
    lockfile,
    lots,
    manifest,
    motion,
    mounts,
    names,
    order,
    params,
    plan,
    quiet,
    reel,
    removal,
    report,
    retention,
    schedule,
    service,
    tag,
    timing,
    trash,
    vigil,
    words,
    workload,
)
from camarchiver.alike import Alike, Folder, gather
from camarchiver.attention import Attention
from camarchiver.codecs import (
    ENCODERS,
    Backend,
    Encoder,
    Rung,
    Settings,
    changes,
    container_for,
    obstacle,
    remux_container,
)
from camarchiver.color_codes import MATRICES, code_of
from camarchiver.config import Config, Value
from camarchiver.coverage import Hold, held_by, may_reach
from camarchiver.detector import Detector, Luma, View, shrink
from camarchiver.errors import (
    AlreadyRunning,
    CamarchiverError,
    ClipBusy,
    ConfigError,
    NotRemovable,
    StorageError,
    UsageError,
    cause,
)
from camarchiver.events import Event, What
from camarchiver.expected import expected_of
from camarchiver.expiry import Notice, Terms, Waiting
from camarchiver.ffmpeg_args import Job, Transcode
from camarchiver.ffmpeg_errors import Trouble, diagnose, refuses_constant_quality
from camarchiver.figures import Figure, Room, Sums, Vitals
from camarchiver.gaps import Coverage, gaps
from camarchiver.ladder import Breaker
from camarchiver.lossless import SignedRule, Unencoded, stays_unencoded, unencodable
from camarchiver.lots import Lot, Shelf
from camarchiver.media import AudioStream, Media, Pictures, VideoStream
from camarchiver.model import Archived, Clip, Disposal, Fingerprint, Reason, Tree, Trees
from camarchiver.motion import Event as Motion
from camarchiver.motion import Gate, Rules, Score
from camarchiver.names import PATTERNS, Names, ParsedName
from camarchiver.packet_times import FrameTimes, SoundTimes
from camarchiver.parameter_sets import header_of, signature_in
from camarchiver.picture_check import HEIGHT, WIDTH, Grid, difference, pairs, problem_of
from camarchiver.plan import ArchivePolicy, Failure, FolderFacts, Memory, Restored
from camarchiver.quiet import Agenda, Due
from camarchiver.reel import Do, Lengths, Reel
from camarchiver.retention import CleanupPolicy, Copy, Freed, Goal, Herd, Limits, Pursuit, Rank
from camarchiver.ring import Entry, Ring
from camarchiver.sealed import Sealed
from camarchiver.spool import Unfit
from camarchiver.steps import Archive, Discard, Encoding, Keep, Outcome, Remove, Report, Result, Status, Way
from camarchiver.stop import Stop
from camarchiver.trash import Stale
from camarchiver.verification import Facts, decodes_whole, verify

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
HOUR_NS = 3600 * 10**9

ANY_STEM = st.text(max_size=60) | st.from_regex(r"[\w .\-\[\]@]{0,40}\d{4,20}[\w.\-]{0,10}", fullmatch=True)
ANY_FOLDER = st.text(max_size=40) | st.from_regex(r"([a-z]{1,5}/)?\d{4}[-/]?\d\d[-/]?\d\d", fullmatch=True)
FILE_NAME = st.binary(min_size=1, max_size=255).filter(lambda raw: b"/" not in raw and b"\0" not in raw)


def ns(moment: datetime) -> int:
    return int(moment.timestamp()) * 10**9


def parsed(start: datetime, *, utc: bool = False) -> ParsedName:
    return ParsedName("front", start, utc, None, "")


def split(path: str) -> tuple[str, str]:
    folder, _, stem = path.rpartition("/")
    return stem, folder


def read(path: str) -> ParsedName | None:
    return Names().read(*split(path))


class TestMakers:
    def test_there_are_enough_of_them(self):
        assert len({row.maker for row in PATTERNS}) == len(PATTERNS) >= 12

    @pytest.mark.parametrize("row", PATTERNS, ids=lambda row: row.maker)
    def test_its_example_is_read_by_this_row_alone(self, row):
        assert [other.maker for other in PATTERNS if other.read(*split(row.example))] == [row.maker]

    @pytest.mark.parametrize("row", PATTERNS, ids=lambda row: row.maker)
    def test_it_names_its_source(self, row):
        assert row.source.startswith("https://") or row.source == "camarchiver.recorder"

    @settings(max_examples=400)
    @given(st.data())
    def test_no_two_rows_match_one_name(self, data):
        # No overlap is allowed at all: the row that matched last is tried first.
        row = data.draw(st.sampled_from(PATTERNS))
        text = data.draw(st.from_regex(row.regex, fullmatch=True))
        assume(row.with_folder or "/" not in text)
        stem, folder = split(text)
        fitting = [
            other.maker
            for other in PATTERNS
            if other.regex.fullmatch(f"{folder}/{stem}" if other.with_folder and folder else stem)
        ]
        assert fitting in ([row.maker], [])  # empty where "/" stands in a part of a stem's pattern

    @pytest.mark.parametrize(
        ("path", "camera", "start", "duration", "channel"),
        [
            ("2026/05/03/REO_front_20260503142005", "front", "2026-05-03 14:20:05", None, ""),
            ("2026/05/03/REO_a_b_c_20260503142005", "a_b_c", "2026-05-03 14:20:05", None, ""),
            ("REO_REO_20260503142005", "REO", "2026-05-03 14:20:05", None, ""),
            ("2024/01/01/CAM_00_20240101120000", "CAM_ch0", "2024-01-01 12:00", None, "0"),
            ("Front_Door_12_20240101120000", "Front_Door_ch12", "2024-01-01 12:00", None, "12"),
            ("Cam_20210313090523", "Cam", "2021-03-13 09:05:23", None, ""),
            (
                "Mp4Record/2023-04-26/RecS02_DST20230426_145918_150032_2B14808_32F1DF",
                "camera",
                "2023-04-26 14:59:18",
                74.0,
                "",
            ),
            (
                "yard/RecM02_DST20240827_235950_000010_0_800_800_033C820000_61B6F0",
                "yard",
                "2024-08-27 23:59:50",
                20.0,
                "",
            ),
            ("porch/motion_20260503_142005_10.0s", "porch", "2026-05-03 14:20:05", 10.0, ""),
            ("porch/2026/05/03/motion_20260503_142005_7.5s_2", "porch", "2026-05-03 14:20:05", 7.5, ""),
            ("porch/timelapse_20260503_000003_48.0s", "porch", "2026-05-03 00:00:03", 48.0, ""),
            (
                "yard/2019-05-09/001/dav/21/21.04.49-21.05.14[M][0@0][0]",
                "yard_ch1",
                "2019-05-09 21:04:49",
                25.0,
                "1",
            ),
            (
                "2019-05-09/002/dav/23/23.59.50-00.00.10[R][0@0][0]",
                "camera_ch2",
                "2019-05-09 23:59:50",
                20.0,
                "2",
            ),
            ("yard/2026/05/03/12.00.00-12.00.30[M][0@0][0]", "yard", "2026-05-03 12:00", 30.0, ""),
            (
                "192.168.0.64_01_20190319093422939_MOTION_DETECTION",
                "192.168.0.64_ch1",
                "2019-03-19 09:34:22.939",
                None,
                "1",
            ),
            ("FI9800P/snap/MDAlarm_20180807-135928", "FI9800P", "2018-08-07 13:59:28", None, ""),
            ("cam1/record/20180812/MDalarm_20180812_100109", "cam1", "2018-08-12 10:01:09", None, ""),
            ("gate/HMDAlarm_20260925-021400", "gate", "2026-09-25 02:14", None, ""),
            (
                "back_yard_20250210_235900-20250211_000100_x7k2p9",
                "back_yard",
                "2025-02-10 23:59",
                120.0,
                "",
            ),
            ("New/Drive.20240105_081500", "Drive", "2024-01-05 08:15", None, ""),
            ("Front Door 1a2b - 2020-02-09 - 23.21.12", "Front Door 1a2b", "2020-02-09 23:21:12", None, ""),
            ("shed/2-042-20250210170144", "shed_ch2", "2025-02-10 17:01:44", None, "2"),
            ("porch/2020-01-30/12-30-45", "porch", "2020-01-30 12:30:45", None, ""),
            ("20140509-000500-001000_192.168.1.11-CH2", "192.168.1.11_ch2", "2014-05-09 00:05", 300.0, "2"),
            ("cellar/20220927/15/ARC20220927150523", "cellar", "2022-09-27 15:05:23", None, ""),
        ],
    )
    def test_local_names(self, path, camera, start, duration, channel):
        assert read(path) == (camera, datetime.fromisoformat(start), False, duration, channel)

    @pytest.mark.parametrize(
        ("path", "camera", "start"),
        [
            ("recordings/2023-04-14/22/front/38.34", "front", "2023-04-14 22:38:34"),
            ("Front Door 1a2b - 2020-02-09 - 23.21.12+0000", "Front Door 1a2b", "2020-02-09 23:21:12"),
            ("Front Door 1a2b - 2020-02-09 - 23.21.12+0530", "Front Door 1a2b", "2020-02-09 17:51:12"),
            ("gate/20150910070623-070619-M00_508", "gate", "2015-09-10 07:06:23"),
            ("blink/2020-11-26T02_06_04+00_00", "blink", "2020-11-26 02:06:04"),
            ("Roof_Corner_2020-12-31T20_30_54-0800", "Roof_Corner", "2021-01-01 04:30:54"),
            ("hall/1706108297-1706108310", "hall", "2024-01-24 14:58:17"),
        ],
    )
    def test_utc_names(self, path, camera, start):
        found = read(path)
        assert found is not None
        assert (found.camera, found.start, found.utc) == (camera, datetime.fromisoformat(start), True)

    @pytest.mark.parametrize(
        "path",
        [
            "REO_front_20261303142005",  # month 13
            "REO_front_20260230142005",  # 30 February
            "REO_front_20260503242005",
            "REO_front_20260503146005",
            "REO_front_19691231235959",
            "REO_front_21010101000000",
            "REO_front_2026050314200",
            "REO_front_202605031420055",
            "REO__20260503142005x",
            "REO_front_٢٠٢٦٠٥٠٣١٤٢٠٠٥",  # digits, but not ASCII's
            "archived-20260503142005",
            "front/12-30-45",  # no date in the folder
            "front/2026/02/30/12-30-45",
            "recordings/2023-04-14/25/front/38.34",
            "hall/9706108297-9706108310",
            "holiday",
            "",
        ],
    )
    def test_no_time_or_an_impossible_one(self, path):
        assert read(path) is None

    def test_newlines_and_bytes_that_are_not_utf8_belong_to_the_camera(self):
        odd = b"a\nb\xff".decode("utf-8", "surrogateescape")
        found = read(f"2026/05/03/REO_{odd}_20260503142005")
        assert found is not None
        assert found.camera == odd

    def test_the_row_that_matched_last_changes_no_answer(self):
        paths = [row.example for row in PATTERNS]
        reader = Names()
        assert [reader.read(*split(path)) for path in paths * 2] == [read(path) for path in paths * 2]

    @given(st.text(max_size=12), st.text("0123456789", min_size=14, max_size=14) | st.text(max_size=16))
    def test_a_beginning_that_is_known_changes_no_answer(self, front, ending):
        for beginning in (front, f"{front}_", f"REO_{front}_", f"{front}_01_"):
            reader = Names()
            reader.read(f"{beginning}20260503142005", "yard")
            assert reader.read(beginning + ending, "yard") == Names().read(beginning + ending, "yard")

    @given(ANY_STEM, ANY_FOLDER)
    def test_any_text_is_read_or_refused(self, stem, folder):
        found = Names().read(stem, folder)
        assert found is None or (
            1970 <= found.start.year <= 2100 and found.start.tzinfo is None and found.camera
        )

    @given(
        st.datetimes(datetime(1970, 1, 1), datetime(2100, 12, 31, 23, 59, 59)).map(
            lambda start: start.replace(microsecond=0)
        ),
        st.text(min_size=1, max_size=20).filter(lambda camera: "/" not in camera),
    )
    def test_round_trip(self, start, camera):
        found = read(f"{start:%Y/%m/%d}/REO_{camera}_{start:%Y%m%d%H%M%S}")
        assert found == (camera, start, False, None, "")


class TestOwnPatterns:
    def test_own_ones_come_first(self):
        own = names.compile_pattern(r"REO_(?P<camera>[a-z]+)_\w+_(?P<time>\d{14})", name="mine")
        reader = Names([own])
        for _ in range(2):
            assert reader.read("REO_a_b_20260503142005", "")[0] == "a"
            assert reader.read("REO_a_20260503142005", "")[0] == "a"

    @pytest.mark.parametrize(
        ("text", "path"),
        [
            (
                r"(?P<day>\d\d)\.(?P<month>\d\d)\.(?P<year>\d{4}) (?P<hour>\d\d)h(?P<minute>\d\d)",
                "03.05.2026 14h20",
            ),
            (r"clip (?P<hour>\d\d)(?P<minute>\d\d)", "front/2026/05/03/clip 1420"),
            (r"(?:.*/)?(?P<camera>\w+)/x(?P<time>[\d-]+)", "front/x2026-05-03-14-20-00"),
            (r"(?P<unix>\d+)", "1777818000"),
            (r"(?P<time>\d{8}T\d{6})(?P<utc>Z)?", "20260503T142000"),
        ],
    )
    def test_groups_that_tell_a_time(self, text, path):
        found = Names([names.compile_pattern(text, name="mine")]).read(*split(path))
        assert found is not None
        assert found.start == datetime(2026, 5, 3, 14, 20)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (r"(?P<time>\d{14}", "is not a regular expression"),
            (r"(?P<tme>\d{14})", "unknown group tme"),
            (r"(?P<camera>.+)", "tells no time"),
            (r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)", "tells no time"),
            (r"(?P<month>\d\d)(?P<day>\d\d)(?P<hour>\d\d)(?P<minute>\d\d)", "tells no time"),
        ],
    )
    def test_others_are_config_errors_with_an_example(self, text, message):
        with pytest.raises(ConfigError, match=f"^pattern mine .*{message}") as caught:
            names.compile_pattern(text, name="mine")
        assert caught.value.hint

    @pytest.mark.parametrize(
        ("text", "stem"),
        [
            (r"(?P<time>.*)", "202605031420"),
            (r"(?P<time>\d{14})-(?P<duration>\w+)", "20260503142000-nan"),
            (r"(?P<time>\d{14})-(?P<millisecond>\d+)", "20260503142000-1000"),
            (r"(?P<time>\d{14})(?P<utc>.+)", "19700101000000+0100"),
            (r"(?P<unix>\d+)", "9" * 30),
            (r"(?P<year>.)(?P<month>.)(?P<day>.)(?P<hour>.)(?P<minute>.)", "abcde"),
        ],
    )
    def test_what_their_groups_hold_may_still_be_nonsense(self, text, stem):
        assert names.compile_pattern(text, name="mine").read(stem, "") is None

    def test_thirty_years_are_no_duration(self):
        told = Names().read("motion_20240101_120000_99999999999.0s", "")
        assert told is not None and told.duration is None

    def test_an_end_before_the_start_gives_no_duration(self):
        own = names.compile_pattern(r"(?P<time>\d{14})-(?P<end>\d{14})", name="mine")
        assert own.read("20261025025900-20261025020100", "").duration is None


class TestLocate:
    # Europe/Berlin repeats 02:00 to 03:00 on 25 October 2026 and skips it on 29 March.
    FIRST = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    SECOND = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    REPEATED = parsed(datetime(2026, 10, 25, 2, 30))

    @pytest.mark.parametrize(
        ("mtime", "instant"),
        [
            (FIRST, FIRST),
            (FIRST + timedelta(minutes=59), FIRST),
            (SECOND - timedelta(seconds=1), FIRST),
            (SECOND, SECOND),
            (SECOND + timedelta(days=300), SECOND),
            (FIRST - timedelta(days=300), FIRST),
        ],
    )
    def test_repeated_hour(self, mtime, instant):
        located = names.locate(self.REPEATED, ns(mtime), BERLIN)
        assert located.astimezone(UTC) == instant
        assert located.replace(tzinfo=None, fold=0) == self.REPEATED.start

    def test_the_two_clips_of_the_repeated_hour_stay_two(self):
        one, other = (names.locate(self.REPEATED, ns(at), BERLIN) for at in (self.FIRST, self.SECOND))
        assert other.astimezone(UTC) - one.astimezone(UTC) == timedelta(hours=1)

    def test_skipped_hour_is_of_a_clock_not_yet_put_forward(self):
        located = names.locate(parsed(datetime(2026, 3, 29, 2, 30)), 0, BERLIN)
        assert located.isoformat() == "2026-03-29T03:30:00+02:00"

    def test_utc_names_are_converted(self):
        located = names.locate(parsed(datetime(2026, 10, 25, 1, 30), utc=True), 0, BERLIN)
        assert located.isoformat() == "2026-10-25T02:30:00+01:00"

    def test_any_other_hour_takes_no_notice_of_the_mtime(self):
        located = names.locate(parsed(datetime(2026, 7, 1, 2, 30)), 0, NEW_YORK)
        assert located.isoformat() == "2026-07-01T02:30:00-04:00"

    @given(
        st.datetimes(datetime(1970, 1, 1), datetime(2100, 12, 31)),
        st.integers(-(2**63), 2**63 - 1),
        st.sampled_from(
            [BERLIN, NEW_YORK, UTC, timezone(timedelta(hours=14)), ZoneInfo("Australia/Lord_Howe")]
        ),
        st.booleans(),
    )
    def test_always_an_existing_time(self, start, mtime_ns, zone, utc):
        located = names.locate(parsed(start, utc=utc), mtime_ns, zone)
        assert located.tzinfo is zone
        back = located.astimezone(UTC).astimezone(zone)
        assert (back.replace(tzinfo=None), back.fold) == (located.replace(tzinfo=None), located.fold)


class TestFolders:
    @pytest.mark.parametrize(
        ("folder", "day"),
        [
            ("2026/05/03", date(2026, 5, 3)),
            ("front/2026/05/03", date(2026, 5, 3)),
            ("front/2026-05-03", date(2026, 5, 3)),
            ("20260503", date(2026, 5, 3)),
            ("2025/01/01/20260503", date(2026, 5, 3)),
            ("2026/05/03/front", None),
            ("2026/05/03/14", None),
            ("2026/05", None),
            ("2026/02/30", None),
            ("2026/13/03", None),
            ("1969/05/03", None),
            ("x2026/05/03", None),
            ("2026/05/031", None),
            ("", None),
        ],
    )
    def test_date_of_folder(self, folder, day):
        assert names.date_of_folder(folder) == day

    @pytest.mark.parametrize(
        ("folder", "camera"),
        [
            ("front/2026/05/03", "front"),
            ("2026/05/03/front", "front"),
            ("front/2026-05-03/14", "front"),
            ("site/front/202605/03", "front"),
            ("front/2026/05", "front"),
            ("01/2026/05/03", "01"),
            ("2026/05/03", "camera"),
            ("", "camera"),
        ],
    )
    def test_the_camera_is_the_innermost_folder_that_is_no_date(self, folder, camera):
        found = Names().read("motion_20260503_142005_10.0s", folder)
        assert found is not None
        assert found.camera == camera

    @given(st.text(max_size=60))
    def test_any_folder(self, folder):
        names.date_of_folder(folder)


class TestKindsOfFile:
    @pytest.mark.parametrize(
        "name", ["x.mp4", "x.MP4", "x.Mkv", "x.mov", "x.avi", "x.ts", "x.m4v", "a.part.mp4"]
    )
    def test_clips(self, name):
        assert names.is_clip_name(name)
        assert not names.is_picture_name(name)
        assert not names.is_passing(name)

    @pytest.mark.parametrize("name", ["x.jpg", "x.JPEG", "x.png"])
    def test_pictures(self, name):
        assert names.is_picture_name(name)
        assert not names.is_clip_name(name)

    @pytest.mark.parametrize(
        "name",
        [
            ".x.mp4",
            ".x.mp4.aB3dE9",
            ".~tmp~",
            "x.mp4.part",
            "x.mp4.TMP",
            "x.mp4.lock",
            "x.mp4~",
            "..mp4",
            ".jpg",
        ],
    )
    def test_passing(self, name):
        assert names.is_passing(name)
        assert not names.is_clip_name(name)
        assert not names.is_picture_name(name)

    @pytest.mark.parametrize("name", ["mp4", "x", "x.mp4.txt", "x.mp4 ", "archiver.log", ""])
    def test_neither(self, name):
        assert not names.is_clip_name(name)


class TestArchiveNames:
    DAY = date(2026, 5, 3)

    @pytest.mark.parametrize(
        ("folder", "target"),
        [
            ("2026/05/03", "2026/05/03/x.mp4"),
            ("front", "front/2026/05/03/x.mp4"),
            ("", "2026/05/03/x.mp4"),
            ("front/2026-05-03", "front/2026-05-03/x.mp4"),
            ("2026/05/03/front", "2026/05/03/front/x.mp4"),
            ("front/2026/05", "front/2026/05/03/x.mp4"),
            ("front/2026/04", "front/2026/04/2026/05/03/x.mp4"),
            ("2026/02/30", "2026/02/30/2026/05/03/x.mp4"),
        ],
    )
    def test_date_folders_where_the_source_had_none(self, folder, target):
        assert names.archive_path(folder, "x", self.DAY) == target

    def test_suffix(self):
        assert names.archive_path("2026/05/03", "x.y", self.DAY, suffix=".mkv") == "2026/05/03/x.y.mkv"

    def test_a_stem_that_gets_too_long_keeps_its_time(self):
        stem = "ä" * 118 + "x_20260503142005"
        assert len(f"{stem}.ts".encode()) == names.NAME_MAX
        target = names.archive_path("", stem, self.DAY)
        assert target == f"2026/05/03/{stem[1:]}.mp4"

    def test_the_longest_name_is_kept_whole(self):
        stem = "x" * 251
        assert names.archive_path("2026/05/03", stem, self.DAY).endswith(f"/{stem}.mp4")

    @pytest.mark.parametrize(
        ("relative", "target"),
        [
            ("front/x.mp4", "front/x~2.mp4"),
            ("x.mp4", "x~2.mp4"),
            ("a.b/x", "a.b/x~2"),
            (".hidden", ".hidden~2"),
            ("12.00.00-12.00.30[M][0@0][0]", "12.00.00-12.00.30[M][0@0][0]~2"),
        ],
    )
    def test_numbered(self, relative, target):
        assert names.numbered(relative, 2) == target

    @given(FILE_NAME, st.integers(2, 10**6))
    def test_every_name_fits_and_keeps_its_bytes(self, raw, n):
        name = raw.decode("utf-8", "surrogateescape")
        for target in (names.numbered(f"d/{name}", n), names.archive_path("2026/05/03", name, self.DAY)):
            encoded = target.rpartition("/")[2].encode("utf-8", "surrogateescape")
            assert len(encoded) <= names.NAME_MAX
            if len(raw) <= 240:
                assert raw.rpartition(b".")[0] in encoded

    @given(FILE_NAME, st.integers(2, 999))
    def test_numbers_differ(self, raw, n):
        name = raw.decode("utf-8", "surrogateescape")
        assert len({name, names.numbered(name, n), names.numbered(name, n + 1)}) == 3


class TestParams:
    SIZE, DAYS, DURATION = params.Size(), params.Days(), params.Duration()
    WHEN, PERCENT = params.When(), params.Percent()

    @pytest.mark.parametrize(
        ("kind", "value", "result"),
        [
            (SIZE, "500GB", 500 * 1000**3),
            (SIZE, "500GiB", 500 * 1024**3),
            (SIZE, "1.5T", 1_500_000_000_000),
            (SIZE, " 20 mb ", 20_000_000),
            (SIZE, "0.1kB", 100),
            (SIZE, "0", 0),
            (SIZE, 4096, 4096),
            (DAYS, "30", timedelta(30)),
            (DAYS, "30d", timedelta(30)),
            (DAYS, "2 weeks", timedelta(14)),
            (DAYS, "1.5d", timedelta(1.5)),
            (DAYS, "36h", timedelta(1.5)),
            (DAYS, 30, timedelta(30)),
            (DAYS, 0.5, timedelta(0.5)),
            (DAYS, timedelta(3), timedelta(3)),
            (params.Days(zero=True), "0", timedelta(0)),
            (params.Days(zero=True), 0, timedelta(0)),
            (DURATION, "6h", timedelta(hours=6)),
            (DURATION, "1h30m", timedelta(minutes=90)),
            (DURATION, "90s", timedelta(seconds=90)),
            (DURATION, timedelta(3), timedelta(3)),
            (PERCENT, "10", 10.0),
            (PERCENT, "12.5 %", 12.5),
            (PERCENT, 0, 0.0),
            (PERCENT, 100, 100.0),
        ],
    )
    def test_values(self, kind, value, result):
        assert kind.convert(value, None, None) == result

    @pytest.mark.parametrize(
        ("value", "start", "end"),
        [
            ("2026-05-03", "2026-05-03", "2026-05-04"),
            ("2026-05-03 14:20", "2026-05-03 14:20", "2026-05-03 14:20:01"),
            ("2026-05-03T14:20:05", "2026-05-03 14:20:05", "2026-05-03 14:20:06"),
            (date(2026, 5, 3), "2026-05-03", "2026-05-04"),
            (datetime(2026, 5, 3, 14, 20), "2026-05-03 14:20", "2026-05-03 14:20:01"),
        ],
    )
    def test_moments(self, value, start, end):
        moment = self.WHEN.convert(value, None, None)
        assert (moment.start, moment.end) == (datetime.fromisoformat(start), datetime.fromisoformat(end))
        assert moment.whole_day == (moment.end - moment.start == timedelta(days=1))
        assert self.WHEN.convert(moment, None, None) is moment

    @pytest.mark.parametrize(
        ("kind", "value", "example"),
        [
            *(
                (params.Size(), value, "500GB")
                for value in ("5 bananas", "-5GB", "", "1e9", "10iB", "٣GB", -1, True)
            ),
            *(
                (params.Days(), value, "30")
                for value in ("0", 0, "-3d", -3, "1y", "1:30", "99999999d", True, "nan")
            ),
            *(
                (params.Duration(), value, "6h")
                for value in ("90", 90, "0s", "-3s", "6:00", "5 bananas", "", True)
            ),
            *((params.Duration(), value, "6h") for value in ("9999999999999999d", "1h 1e999s")),
            *(
                (params.When(), value, "2026-05-03")
                for value in ("", "today", "2026-13-01", "1969-12-31", "20260503")
            ),
            *(
                (params.When(), value, "2026-05-03")
                for value in ("2101-01-01", "2026-05-03 14", time(3), 3, True)
            ),
            (params.When(), datetime(2026, 5, 3, tzinfo=UTC), "2026-05-03"),
            *((params.Percent(), value, "10") for value in ("101", "-1", "nan", "", "ten", "1e1", True)),
        ],
    )
    def test_refusals_show_an_example(self, kind, value, example):
        with pytest.raises(
            click.BadParameter, match=rf"; write for example .*{example}|, for example {example}"
        ):
            kind.convert(value, None, None)

    @given(st.text(max_size=30) | st.from_regex(r"-?\d{1,30}(\.\d+)? ?[a-zA-Z%:]{0,6}", fullmatch=True))
    def test_any_text_is_a_value_or_a_refusal(self, text):
        for kind in (self.SIZE, self.DAYS, self.DURATION, self.WHEN, self.PERCENT):
            try:
                value = kind.convert(text, None, None)
            except click.BadParameter:
                continue
            assert kind.convert(value, None, None) == value or kind is self.SIZE

    @given(st.integers(0, 999), st.sampled_from(["", "k", "M", "G", "T", "P"]), st.booleans())
    def test_size_units(self, number, unit, binary):
        factor = (1024 if binary else 1000) ** " kMGTP".index(unit or " ")
        text = f"{number}{unit}{'i' if binary and unit else ''}B"
        assert self.SIZE.convert(text, None, None) == number * (factor if unit else 1)

    def test_names_for_the_help(self):
        command = click.Command("x", params=[click.Option(["--max-size"], type=self.SIZE)])
        assert re.search(r"--max-size\s+SIZE", command.get_help(click.Context(command)))


NODE = Path("/dev/dri/renderD128")
VIDEO = VideoStream("h264", 2560, 1440, "yuv420p", 8, Fraction(25), Fraction(1, 12800))
MEDIA = Media("mp4", VIDEO, 1, (AudioStream("aac", 16000, 1),), (), 250, 5, 0, 0.0, 10.0, {})


def audio(*codecs: str) -> tuple[AudioStream, ...]:
    return tuple(AudioStream(codec, 8000, 1) for codec in codecs)


def video(**changed: object) -> Media:
    return replace(MEDIA, video=replace(VIDEO, **changed))


def way(name: str, rung: Rung, media: Media = MEDIA, **changed: object) -> Transcode:
    """A transcode whose clip, encoder or rung the case is about."""
    job = Job(
        Path("/camera/-y.mp4"),
        Path("/archive/.x.part"),
        media,
        changed.pop("settings", Settings()),
        changed.pop("container", "mp4"),
        changed.pop("metadata", {"creation_time": "2026-05-03T12:20:00Z", "comment": "a=b"}),
        changed.pop("threads", 1),
    )
    return replace(Transcode(job, ENCODERS[name], rung, (9, 0), NODE), **changed)


def part(arguments: tuple[str, ...], option: str) -> str | None:
    """The value of an option, None where it isn't given."""
    return arguments[arguments.index(option) + 1] if option in arguments else None


QUIET = "-hide_banner -nostdin -v error -y"
QSV = f"{QUIET} -xerror -filter_threads 1 -init_hw_device qsv=hw,child_device={NODE} -filter_hw_device hw"
VAAPI = f"{QUIET} -xerror -filter_threads 1 -init_hw_device vaapi=hw:{NODE} -filter_hw_device hw"
OTHER = f"{QUIET} -xerror -filter_threads 1"
SOFT = f"{QUIET} -filter_threads 1"
QSV_IN = (
    "-c:v h264_qsv -hwaccel qsv -hwaccel_device hw -hwaccel_output_format qsv"
    " -noautorotate -threads 1 -i file:/camera/-y.mp4"
)
VAAPI_IN = (
    "-hwaccel vaapi -hwaccel_device hw -hwaccel_output_format vaapi"
    " -noautorotate -threads 1 -i file:/camera/-y.mp4"
)
CUDA_IN = "-hwaccel cuda -hwaccel_output_format cuda -noautorotate -threads 1 -i file:/camera/-y.mp4"
SOFT_IN = "-noautorotate -threads 1 -i file:/camera/-y.mp4"
MAPS = "-map 0:v:0 -map 0:a:0 -f mp4"
TIME = "-enc_time_base:v demux -fps_mode passthrough -g 150"
TAGS = (
    "-map_metadata 0 -metadata:g:0 creation_time=2026-05-03T12:20:00Z -metadata:g:1 comment=a=b"
    " -movflags +faststart"
)
OUT = "file:/archive/.x.part"

ARGUMENTS = {
    ("av1_qsv", "gpu"): f"{QSV} {QSV_IN} {MAPS} -async_depth 4 -bf 2 -c:a:0 copy -c:v av1_qsv {TIME}"
    f" -global_quality 28 {TAGS} -preset medium {OUT}",
    ("av1_qsv", "gpu-encode"): f"{QSV} {SOFT_IN} {MAPS} -async_depth 4 -bf 2 -c:a:0 copy -c:v av1_qsv {TIME}"
    f" -global_quality 28 {TAGS} -preset medium -vf format=nv12 {OUT}",
    ("hevc_qsv", "gpu"): f"{QSV} {QSV_IN} {MAPS} -async_depth 4 -bf 2 -c:a:0 copy -c:v hevc_qsv {TIME}"
    f" -global_quality 26 {TAGS} -preset medium -tag:v hvc1 {OUT}",
    ("hevc_qsv", "gpu-encode"): f"{QSV} {SOFT_IN} {MAPS} -async_depth 4 -bf 2 -c:a:0 copy -c:v hevc_qsv"
    f" {TIME} -global_quality 26 {TAGS} -preset medium -tag:v hvc1 -vf format=nv12 {OUT}",
    ("h264_qsv", "gpu"): f"{QSV} {QSV_IN} {MAPS} -async_depth 4 -bf 2 -c:a:0 copy -c:v h264_qsv {TIME}"
    f" -global_quality 25 {TAGS} -preset medium {OUT}",
    ("h264_qsv", "gpu-encode"): f"{QSV} {SOFT_IN} {MAPS} -async_depth 4 -bf 2 -c:a:0 copy -c:v h264_qsv"
    f" {TIME} -global_quality 25 {TAGS} -preset medium -vf format=nv12 {OUT}",
    ("av1_vaapi", "gpu"): f"{VAAPI} {VAAPI_IN} {MAPS} -bf 2 -c:a:0 copy -c:v av1_vaapi {TIME}"
    f" -global_quality 28 {TAGS} -rc_mode ICQ {OUT}",
    ("av1_vaapi", "gpu-encode"): f"{VAAPI} {SOFT_IN} {MAPS} -bf 2 -c:a:0 copy -c:v av1_vaapi {TIME}"
    f" -global_quality 28 {TAGS} -rc_mode ICQ -vf format=nv12,hwupload {OUT}",
    ("hevc_vaapi", "gpu"): f"{VAAPI} {VAAPI_IN} {MAPS} -bf 2 -c:a:0 copy -c:v hevc_vaapi {TIME}"
    f" -global_quality 26 {TAGS} -rc_mode ICQ -tag:v hvc1 {OUT}",
    ("hevc_vaapi", "gpu-encode"): f"{VAAPI} {SOFT_IN} {MAPS} -bf 2 -c:a:0 copy -c:v hevc_vaapi {TIME}"
    f" -global_quality 26 {TAGS} -rc_mode ICQ -tag:v hvc1 -vf format=nv12,hwupload {OUT}",
    ("h264_vaapi", "gpu"): f"{VAAPI} {VAAPI_IN} {MAPS} -bf 2 -c:a:0 copy -c:v h264_vaapi {TIME}"
    f" -global_quality 25 {TAGS} -rc_mode ICQ {OUT}",
    ("h264_vaapi", "gpu-encode"): f"{VAAPI} {SOFT_IN} {MAPS} -bf 2 -c:a:0 copy -c:v h264_vaapi {TIME}"
    f" -global_quality 25 {TAGS} -rc_mode ICQ -vf format=nv12,hwupload {OUT}",
    ("av1_nvenc", "gpu"): f"{OTHER} {CUDA_IN} {MAPS} -b:v 0 -bf 0 -c:a:0 copy -c:v av1_nvenc -cq 34 {TIME}"
    f" {TAGS} -preset p5 -rc vbr {OUT}",
    ("av1_nvenc", "gpu-encode"): f"{OTHER} {SOFT_IN} {MAPS} -b:v 0 -bf 0 -c:a:0 copy -c:v av1_nvenc -cq 34"
    f" {TIME} {TAGS} -preset p5 -rc vbr -vf format=nv12 {OUT}",
    ("hevc_nvenc", "gpu"): f"{OTHER} {CUDA_IN} {MAPS} -b:v 0 -bf 0 -c:a:0 copy -c:v hevc_nvenc -cq 28 {TIME}"
    f" {TAGS} -preset p5 -rc vbr -tag:v hvc1 {OUT}",
    ("hevc_nvenc", "gpu-encode"): f"{OTHER} {SOFT_IN} {MAPS} -b:v 0 -bf 0 -c:a:0 copy -c:v hevc_nvenc -cq 28"
    f" {TIME} {TAGS} -preset p5 -rc vbr -tag:v hvc1 -vf format=nv12 {OUT}",
    ("h264_nvenc", "gpu"): f"{OTHER} {CUDA_IN} {MAPS} -b:v 0 -bf 2 -c:a:0 copy -c:v h264_nvenc -cq 26 {TIME}"
    f" {TAGS} -preset p5 -rc vbr {OUT}",
    ("h264_nvenc", "gpu-encode"): f"{OTHER} {SOFT_IN} {MAPS} -b:v 0 -bf 2 -c:a:0 copy -c:v h264_nvenc -cq 26"
    f" {TIME} {TAGS} -preset p5 -rc vbr -vf format=nv12 {OUT}",
    ("hevc_v4l2m2m", "gpu-encode"): f"{OTHER} {SOFT_IN} {MAPS} -b:v 3000k -bf 0 -c:a:0 copy"
    f" -c:v hevc_v4l2m2m {TIME} {TAGS} -tag:v hvc1 -vf format=yuv420p {OUT}",
    ("h264_v4l2m2m", "gpu-encode"): f"{OTHER} {SOFT_IN} {MAPS} -b:v 4000k -bf 0 -c:a:0 copy"
    f" -c:v h264_v4l2m2m {TIME} {TAGS} -vf format=yuv420p {OUT}",
    ("libsvtav1", "software"): f"{SOFT} {SOFT_IN} {MAPS} -c:a:0 copy -c:v libsvtav1 -crf 35 {TIME}"
    f" {TAGS} -preset 10 -svtav1-params lp=1 {OUT}",
    ("libx265", "software"): f"{SOFT} {SOFT_IN} {MAPS} -c:a:0 copy -c:v libx265 -crf 26 {TIME}"
    f" {TAGS} -preset fast -tag:v hvc1 -x265-params log-level=error:pools=1 {OUT}",
    ("libx264", "software"): f"{SOFT} {SOFT_IN} {MAPS} -c:a:0 copy -c:v libx264 -crf 23 {TIME}"
    f" {TAGS} -preset veryfast -threads 1 {OUT}",
}


def at_60_fps(*, pause: int) -> tuple[int, ...]:
    """Times of frames of which one is followed by so many seconds without any, in ticks of 1/12800 s."""
    return tuple(12800 * frame // 60 + (12800 * pause if frame > 50 else 0) for frame in range(100))


class TestCodecs:
    @pytest.mark.parametrize(
        ("codecs", "choice", "container"),
        [
            (("aac",), "copy", "mp4"),
            (("mp3", "opus"), "copy", "mp4"),
            (("pcm_alaw",), "copy", "mp4"),
            (("adpcm_g726",), "copy", "mp4"),
            (("aac", "wmav2"), "copy", "mkv"),
            (("vorbis",), "copy", "mkv"),
            (("vorbis",), "aac", "mp4"),
            (("vorbis",), "none", "mp4"),
            ((), "copy", "mp4"),
        ],
    )
    def test_container(self, codecs: tuple[str, ...], choice: str, container: str) -> None:
        media = replace(MEDIA, audio=audio(*codecs))
        assert container_for(media, Settings(audio=choice)) == container

    def test_a_remux_keeps_pcm_and_so_needs_mkv(self) -> None:
        assert remux_container(MEDIA) == "mp4"
        assert remux_container(replace(MEDIA, audio=audio("pcm_mulaw"))) == "mkv"
        assert remux_container(video(codec="mjpeg")) == "mkv"

    @pytest.mark.parametrize(
        ("name", "rung", "media", "said"),
        [
            ("hevc_qsv", Rung.GPU, MEDIA, ""),
            ("hevc_qsv", Rung.GPU, video(codec="mpeg4"), "Quick Sync has no decoder for mpeg4"),
            ("hevc_qsv", Rung.GPU_ENCODE, video(codec="mpeg4"), ""),
            ("hevc_qsv", Rung.GPU, video(pixel_format="yuv422p"), "the GPU's pipeline has no 4:2:2"),
            ("hevc_qsv", Rung.GPU, video(pixel_format="yuv420p10le", bit_depth=10), ""),
            ("h264_qsv", Rung.GPU_ENCODE, video(bit_depth=10), "h264_qsv would reduce 10 bits to 8"),
            ("hevc_vaapi", Rung.GPU, video(width=161), "the GPU's pipeline has no odd size (161x1440)"),
            ("h264_v4l2m2m", Rung.GPU, MEDIA, "v4l2m2m has no full pipeline"),
            ("libx264", Rung.SOFTWARE, video(bit_depth=12, pixel_format="yuv444p12le"), ""),
        ],
    )
    def test_obstacle(self, name: str, rung: Rung, media: Media, said: str) -> None:
        assert obstacle(ENCODERS[name], rung, media) == said

    def test_changes_are_told(self) -> None:
        deep = replace(
            video(pixel_format="yuv422p12le", bit_depth=12),
            audio=audio("pcm_alaw", "aac"),
            other_streams=("data:tmcd",),
        )
        assert changes(MEDIA, ENCODERS["libsvtav1"], Settings()) == ()
        assert changes(deep, ENCODERS["libx265"], Settings(audio="none")) == (
            "audio left out",
            "data:tmcd left out",
        )
        assert changes(deep, ENCODERS["libsvtav1"], Settings(max_height=720)) == (
            "scaled to 1280x720",
            "chroma 4:2:2 becomes 4:2:0",
            "12 bits become 10",
            "audio pcm_alaw becomes aac",
            "data:tmcd left out",
        )


class TestLossless:
    SOFTWARE = (ENCODERS["libsvtav1"],)
    BOTH = (ENCODERS["libsvtav1"], ENCODERS["libx264"])

    @pytest.mark.parametrize(
        ("changed", "encoders", "reason"),
        [
            ({}, SOFTWARE, None),
            ({"signed": "ONVIF Media Signing", "varies": "changes"}, BOTH, Reason.SIGNED),
            ({"varies": "changes from 320x240 to 640x480 midway"}, BOTH, Reason.PICTURE_CHANGES),
            ({"unkeepable": "has frames whose times are out of order"}, BOTH, Reason.UNKEEPABLE_TIMES),
            ({"video_streams": 2}, BOTH, Reason.OTHER_STREAMS),
            ({"other_streams": ("data:gpmd",)}, BOTH, Reason.OTHER_STREAMS),
            ({"other_streams": ("data:tmcd",)}, BOTH, None),
            ({"video": replace(VIDEO, field_order="tt")}, SOFTWARE, Reason.INTERLACED),
            ({"video": replace(VIDEO, field_order="tt")}, BOTH, None),
            ({"video": replace(VIDEO, field_order="progressive")}, SOFTWARE, None),
        ],
    )
    def test_what_a_clip_tells_itself(
        self, changed: dict[str, Any], encoders: tuple[Encoder, ...], reason: Reason | None
    ) -> None:
        why = unencodable(replace(MEDIA, **changed), encoders, encode_signed=False)
        assert (why and why.reason) == reason

    def test_signed_clips_may_be_encoded_on_demand(self) -> None:
        rule = SignedRule(cameras={"garden": True})
        assert [rule.encodes(camera) for camera in ("front", "garden")] == [False, True]
        assert unencodable(replace(MEDIA, signed="x"), self.BOTH, encode_signed=True) is None
        assert (str(rule), str(SignedRule(reencode=True))) == ("keep", "reencode")

    @pytest.mark.parametrize(
        ("reason", "ways"),
        [
            (Reason.SIGNED, (Way.COPY,)),
            (Reason.OTHER_STREAMS, (Way.COPY,)),
            (Reason.REFUSED, (Way.REMUX, Way.COPY)),
            (Reason.NOT_SMALLER, (Way.REMUX, Way.COPY)),
        ],
    )
    def test_only_what_a_remux_keeps_is_remuxed(self, reason: Reason, ways: tuple[Way, ...]) -> None:
        assert Unencoded(reason, "").ways == ways

    def test_a_copy_is_made_anew_only_where_that_may_come_out_otherwise(self) -> None:
        anew = {reason for reason in Reason if not stays_unencoded(reason, encode_signed=True)}
        assert {Reason.REFUSED, Reason.INTERLACED, Reason.SIGNED} <= anew
        assert not anew & {Reason.NOT_SMALLER, Reason.PICTURE_CHANGES, Reason.UNKEEPABLE_TIMES}
        assert stays_unencoded(Reason.SIGNED, encode_signed=False)


class TestFfmpegArgs:
    @pytest.mark.parametrize(("name", "rung"), ARGUMENTS)
    def test_whole_list(self, name: str, rung: str) -> None:
        assert " ".join(ffmpeg_args.transcode(way(name, Rung(rung)))) == ARGUMENTS[name, rung]

    def test_every_encoder_and_rung_is_listed(self) -> None:
        possible = {
            (name, rung.value)
            for name, encoder in ENCODERS.items()
            for rung in Rung
            if (rung is Rung.SOFTWARE) == (encoder.backend is Backend.SOFTWARE)
            and not obstacle(encoder, rung, MEDIA)
        }
        assert possible == set(ARGUMENTS)

    @pytest.mark.parametrize(
        ("name", "option", "value", "mode"),
        [
            ("hevc_qsv", "-q:v", "28", None),
            ("h264_qsv", "-q:v", "27", None),
            ("av1_qsv", "-q:v", "150", None),
            ("hevc_vaapi", "-global_quality", "28", "CQP"),
        ],
    )
    def test_constant_quantiser(self, name: str, option: str, value: str, mode: str | None) -> None:
        arguments = ffmpeg_args.transcode(way(name, Rung.GPU, constant_quantiser=True))
        assert part(arguments, option) == value
        assert part(arguments, "-rc_mode") == mode
        assert ("-global_quality" in arguments) == (option == "-global_quality")

    @pytest.mark.parametrize(
        ("version", "option", "base"),
        [
            ((4, 4), "-vsync", "-1"),
            ((5, 1), "-fps_mode", "-1"),
            ((6, 0), "-fps_mode", "-1"),
            ((6, 1), "-fps_mode", "demux"),
        ],
    )
    def test_timestamps(self, version: tuple[int, int], option: str, base: str) -> None:
        arguments = ffmpeg_args.transcode(way("libx264", Rung.SOFTWARE, ffmpeg_version=version))
        assert part(arguments, option) == "passthrough"
        assert part(arguments, "-enc_time_base:v") == base

    def test_owner_s_quality_and_preset(self) -> None:
        settings = Settings(quality=0, preset="slow")
        arguments = ffmpeg_args.transcode(way("libx264", Rung.SOFTWARE, settings=settings))
        assert (part(arguments, "-crf"), part(arguments, "-preset")) == ("0", "slow")

    @pytest.mark.parametrize(
        ("size", "limit", "scaled"),
        [
            ((2560, 1440), 1440, None),
            ((2560, 1440), 2160, None),
            ((2560, 1440), 1080, "1920:h=1080"),
            ((2560, 1920), 1081, "1440:h=1080"),
            ((1920, 1080), 333, "590:h=332"),
        ],
    )
    def test_max_height(self, size: tuple[int, int], limit: int, scaled: str | None) -> None:
        media = video(width=size[0], height=size[1])
        settings = Settings(max_height=limit)
        for name, rung, scaler in (
            ("libx264", Rung.SOFTWARE, "scale"),
            ("hevc_qsv", Rung.GPU, "vpp_qsv"),
            ("hevc_vaapi", Rung.GPU, "scale_vaapi"),
            ("hevc_nvenc", Rung.GPU, "scale_cuda"),
        ):
            arguments = ffmpeg_args.transcode(way(name, rung, media, settings=settings))
            assert part(arguments, "-vf") == (scaled and f"{scaler}=w={scaled}")

    def test_ten_bits_stay_ten_bits(self) -> None:
        media = video(pixel_format="yuv420p10le", bit_depth=10)
        whole = ffmpeg_args.transcode(way("hevc_qsv", Rung.GPU, media))
        assert (part(whole, "-profile:v"), part(whole, "-vf")) == ("main10", None)
        half = ffmpeg_args.transcode(way("hevc_vaapi", Rung.GPU_ENCODE, media))
        assert (part(half, "-profile:v"), part(half, "-vf")) == ("main10", "format=p010le,hwupload")
        for name in ("libsvtav1", "libx265", "libx264"):
            arguments = ffmpeg_args.transcode(way(name, Rung.SOFTWARE, media))
            assert "-pix_fmt" not in arguments and "-vf" not in arguments

    def test_odd_sizes_are_padded(self) -> None:
        arguments = ffmpeg_args.transcode(way("libx264", Rung.SOFTWARE, video(width=161, height=121)))
        assert part(arguments, "-vf") == "pad=w=162:h=122"

    def test_each_audio_stream_its_way(self) -> None:
        media = replace(MEDIA, audio=(*audio("pcm_alaw", "mp3"), AudioStream("pcm_s16le", 48000, 2)))
        arguments = ffmpeg_args.transcode(way("libx264", Rung.SOFTWARE, media))
        assert [part(arguments, f"-c:a:{index}") for index in range(3)] == ["aac", "copy", "aac"]
        assert [part(arguments, f"-b:a:{index}") for index in range(3)] == ["48k", None, "96k"]

    def test_audio_none_maps_none(self) -> None:
        arguments = ffmpeg_args.transcode(way("libx264", Rung.SOFTWARE, settings=Settings(audio="none")))
        assert arguments.count("-map") == 1

    def test_mkv_gets_neither_tag_nor_faststart(self) -> None:
        arguments = ffmpeg_args.transcode(way("libx265", Rung.SOFTWARE, container="mkv"))
        assert part(arguments, "-f") == "matroska"
        assert "-movflags" not in arguments and "-tag:v" not in arguments

    @pytest.mark.parametrize(
        ("media", "frames"),
        [
            (MEDIA, "150"),
            (video(frame_rate=Fraction(60000, 1001)), "240"),
            (video(frame_rate=Fraction(1, 10)), "150"),
            (video(frame_rate=Fraction(90000)), "1000"),
            (replace(video(frame_rate=None), packets=600, span=10.0), "240"),
            (replace(video(frame_rate=None), packets=1, span=0.0), "150"),
            (replace(video(frame_rate=Fraction(1, 10)), times=at_60_fps(pause=0)), "240"),
            (replace(video(frame_rate=Fraction(1, 10)), times=at_60_fps(pause=3600)), "240"),
            (replace(MEDIA, times=range(0, 12800 * 30, 12800)), "150"),
        ],
    )
    def test_keyframe_distance(self, media: Media, frames: str) -> None:
        assert part(ffmpeg_args.transcode(way("libx264", Rung.SOFTWARE, media)), "-g") == frames

    @pytest.mark.parametrize(
        ("order", "first"), [("tt", "tff=1"), ("bt", "tff=1"), ("bb", "bff=1"), ("tb", "bff=1")]
    )
    def test_interlaced_video_stays_interlaced(self, order: str, first: str) -> None:
        arguments = ffmpeg_args.transcode(way("libx264", Rung.SOFTWARE, video(field_order=order)))
        assert (part(arguments, "-flags"), part(arguments, "-x264-params")) == ("+ilme+ildct", first)
        small = way("libx264", Rung.SOFTWARE, video(field_order=order), settings=Settings(max_height=480))
        assert str(part(ffmpeg_args.transcode(small), "-vf")).endswith(":interl=1")
        assert "-flags" not in ffmpeg_args.transcode(way("libx264", Rung.SOFTWARE))

    @pytest.mark.parametrize(
        ("name", "rung", "filters"),
        [
            ("libx264", Rung.SOFTWARE, None),
            ("libsvtav1", Rung.SOFTWARE, "scale=out_range=full,format=yuv420p"),
            ("hevc_qsv", Rung.GPU_ENCODE, "scale=out_range=full,format=nv12,setparams=range=tv"),
            ("hevc_vaapi", Rung.GPU_ENCODE, "scale=out_range=full,format=nv12,setparams=range=tv,hwupload"),
            ("h264_qsv", Rung.GPU, "setparams=range=tv"),
        ],
    )
    def test_full_range_stays_full(self, name: str, rung: Rung, filters: str | None) -> None:
        media = video(pixel_format="yuvj420p", color_range="pc")
        arguments = ffmpeg_args.transcode(way(name, rung, media))
        assert part(arguments, "-vf") == filters
        is_software = rung is Rung.SOFTWARE
        assert part(arguments, "-color_range") == ("pc" if is_software else None)
        told = None if is_software else f"{name.split('_')[0]}_metadata=video_full_range_flag=1"
        assert part(arguments, "-bsf:v") == told

    @pytest.mark.parametrize(
        ("name", "told"),
        [
            ("av1_qsv", "av1_metadata=color_primaries=9"),
            ("hevc_qsv", "hevc_metadata=colour_primaries=9"),
            ("libsvtav1", None),
        ],
    )
    def test_what_hardware_does_not_write_is_written_afterwards(self, name: str, told: str | None) -> None:
        media = video(primaries="bt2020", transfer="smpte2084", matrix="bt2020nc")
        rung = Rung.SOFTWARE if told is None else Rung.GPU
        more = ":transfer_characteristics=16:matrix_coefficients=9"
        assert part(ffmpeg_args.transcode(way(name, rung, media)), "-bsf:v") == (told and told + more)

    def test_a_code_without_a_name_is_its_number(self) -> None:
        names = ("22", "gbr", "", "unheard")
        assert [code_of(MATRICES, name) for name in names] == [22, 0, None, None]

    def test_threads(self) -> None:
        def said(name: str, threads: int, option: str) -> str | None:
            return part(ffmpeg_args.transcode(way(name, Rung.SOFTWARE, threads=threads)), option)

        assert said("libsvtav1", 16, "-svtav1-params") == "lp=6"
        assert said("libsvtav1", 0, "-svtav1-params") is None
        assert said("libx265", 0, "-x265-params") == "log-level=error"
        assert said("libx264", 0, "-filter_threads") is None

    def test_no_device_named(self) -> None:
        arguments = ffmpeg_args.transcode(way("hevc_qsv", Rung.GPU, device=None))
        assert part(arguments, "-init_hw_device") == "qsv=hw"

    def test_remux(self) -> None:
        media = replace(video(codec="hevc"), audio=audio("aac", "aac"))
        arguments = ffmpeg_args.remux(Path("/c/concat:a.mp4"), Path("/a/.p"), media, "mp4", {"comment": "x"})
        assert " ".join(arguments) == (
            f"{QUIET} -xerror -i file:/c/concat:a.mp4 -map 0:v:0 -map 0:a:0 -map 0:a:1 -f mp4 -c copy"
            " -map_metadata 0 -metadata:g:0 comment=x -movflags +faststart -tag:v hvc1 file:/a/.p"
        )

    def test_decode(self) -> None:
        start = "-hide_banner -nostdin -v error -xerror -reinit_filter 0"
        assert " ".join(ffmpeg_args.decode(Path("/a/x.mp4"))) == (
            f"{start} -threads 0 -i file:/a/x.mp4 -map 0:v:0 -map 0:a? -f null"
            " -af asetpts=N -vf setpts=N*100/TB -"
        )
        assert " ".join(ffmpeg_args.decode(Path("/a/x.mp4"), keyframes_only=True, threads=1)) == (
            f"{start} -skip_frame nokey -threads 1 -i file:/a/x.mp4 -map 0:v:0 -f null -vf setpts=N*100/TB -"
        )
        assert "-xerror" not in ffmpeg_args.decode(Path("/a/x.TS"))

    def test_trial_has_the_options_of_a_real_encode(self) -> None:
        trial = ffmpeg_args.trial(
            ENCODERS["hevc_qsv"],
            Rung.GPU,
            clip=Path("/camera/-y.mp4"),
            target=Path("/archive/.x.part"),
            settings=Settings(),
            device=NODE,
            ffmpeg_version=(9, 0),
        )
        media = ffmpeg_args.TRIAL_MEDIA
        assert trial == ffmpeg_args.transcode(way("hevc_qsv", Rung.GPU, media, metadata={}))

    def test_a_stray_full_pipeline_is_a_mistake(self) -> None:
        with pytest.raises(ValueError, match="no full pipeline"):
            ffmpeg_args.transcode(way("libx264", Rung.GPU))


class TestFfmpegErrors:
    @pytest.mark.parametrize(
        ("lines", "trouble", "telling"),
        [
            ((), Trouble.UNKNOWN, ""),
            (("odd words", "more"), Trouble.UNKNOWN, "odd words"),
            (
                (
                    "[h264 @ 0x55d] Invalid data found",
                    "[hevc_qsv @ 0x5a] Error during encoding: GPU Hang (-21)",
                ),
                Trouble.DEVICE,
                "[hevc_qsv] Error during encoding: GPU Hang (-21)",
            ),
            (
                ("x: Error decoding stream header: unsupported (-3)", "av_write: No space left on device"),
                Trouble.STORAGE,
                "av_write: No space left on device",
            ),
            (
                ("Current profile is unsupported", "some encoding parameters are not supported"),
                Trouble.OPTION,
                "Current profile is unsupported",
            ),
            (("Error during QSV decoding.: device failed (-17)",), Trouble.DEVICE, None),
            (("Error decoding stream header: unsupported (-3)",), Trouble.INPUT, None),
        ],
    )
    def test_diagnosis(self, lines: tuple[str, ...], trouble: Trouble, telling: str | None) -> None:
        found = diagnose(lines)
        assert found.trouble is trouble
        assert found.line == (lines[0] if telling is None else telling)

    def test_remedy(self) -> None:
        lines = ("Failed to initialise VAAPI connection: -1 (unknown libva error).",)
        assert "intel-media-va-driver" in diagnose(lines).remedy

    def test_constant_quality_refused(self) -> None:
        assert refuses_constant_quality(["[h264_qsv @ 0x1] Selected ratecontrol mode is unsupported"])
        assert not refuses_constant_quality(["Current profile is unsupported"])


class TestBreaker:
    def test_one_failure_or_two_apart_change_nothing(self) -> None:
        asked: list[str] = []
        breaker = Breaker(lambda: bool(asked.append("probe")), announce=asked.append)
        breaker.failed("x")
        breaker.succeeded()
        breaker.failed("x")
        assert (breaker.tripped, asked) == (False, [])

    def test_two_in_a_row_and_a_failed_trial_trip_it_once(self) -> None:
        said: list[str] = []
        breaker = Breaker(lambda: False, announce=said.append)
        for _ in range(5):
            breaker.failed("GPU Hang (-21)")
        assert breaker.tripped
        assert said == ["the GPU failed (GPU Hang (-21)): software encodes from now on"]

    def test_a_good_trial_starts_the_count_afresh(self) -> None:
        trials = iter([True, False])
        breaker = Breaker(lambda: next(trials), announce=lambda _: None)
        tripped = []
        for _ in range(4):
            breaker.failed("x")
            tripped.append(breaker.tripped)
        assert tripped == [False, False, False, True]

    def test_a_gpu_that_was_given_up_gets_a_trial_half_a_day_later(self) -> None:
        said, now = list[str](), [0.0]
        trials = iter([False, False, True])
        breaker = Breaker(lambda: next(trials), announce=said.append, clock=lambda: now[0])
        tripped = []
        for hours in (0, 11, 12, 23, 24):
            now[0] = hours * 3600.0
            if hours == 0:
                breaker.failed("x")
                breaker.failed("x")
            tripped.append(breaker.tripped)
        assert tripped == [True, True, True, True, False]
        assert said[-1] == "the GPU works again"

    def test_many_threads_trip_it_once(self) -> None:
        said: list[str] = []
        breaker = Breaker(lambda: False, announce=said.append)
        threads = [threading.Thread(target=breaker.failed, args=("x",)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(said) == 1


SOURCE = Media(
    container="mov,mp4,m4a,3gp,3g2,mj2",
    video=VideoStream("h264", 2560, 1440, "yuv420p", 8, Fraction(25), Fraction(1, 12800)),
    video_streams=1,
    audio=(AudioStream("aac", 16000, 1, frame=0.064, start=0.0, span=10.0),),
    other_streams=(),
    packets=250,
    keyframes=5,
    packets_before_keyframe=0,
    start=0.0,
    span=10.0,
    tags={},
    shown=250,
    times=array("q", range(0, 250 * 512, 512)),
    keyframe_times=tuple(range(0, 250 * 512, 50 * 512)),
)
ARCHIVE = replace(SOURCE, video=replace(SOURCE.video, codec="av1"))
SAME = Pictures(compared=3, problem="")
FACTS = Facts(
    source=SOURCE,
    archive=ARCHIVE,
    exit_status=0,
    stderr=(),
    frames_encoded=250,
    codec="av1",
    keep_audio=True,
    pictures=SAME,
)
HEADLESS = replace(SOURCE, container="mpegts", packets_before_keyframe=50, start=1.4)
HEADLESS_FACTS = replace(
    FACTS,
    source=HEADLESS,
    archive=replace(
        ARCHIVE,
        packets=200,
        span=8.0,
        start=2.0,
        shown=200,
        times=SOURCE.times[:200],
        audio=(replace(SOURCE.audio[0], start=-2.0),),
    ),
    frames_encoded=200,
    stderr=(
        "[h264 @ 0x5581] non-existing PPS 0 referenced",
        "    Last message repeated 1 times",
        "[h264 @ 0x5581] decode_slice_header error",
        "[h264 @ 0x5581] no frame!",
    ),
)


def archived(**changes: object) -> Facts:
    return replace(FACTS, archive=replace(ARCHIVE, **changes))  # type: ignore[arg-type]


class TestVerification:
    def test_whole_archive_passes(self) -> None:
        verdict = verify(FACTS)
        assert (verdict.ok, verdict.problem, verdict.notes) == (True, "", ())

    @pytest.mark.parametrize(
        "line",
        [
            "Svt[info]: -------------------------------------------",
            "Svt[warn]: Failed to set thread priority: Invalid argument",
            "LIB Build date: Sep 29 2026 02:02:32",
            "x265 [info]: HEVC encoder version 3.5+1-f0c1022b6",
            "",
            "encoded 50 frames in 0.26s (192.57 fps), 158.30 kb/s, Avg QP:33.30",
        ],
    )
    def test_harmless_lines_pass(self, line: str) -> None:
        assert verify(replace(FACTS, stderr=(line, "    Last message repeated 2 times"))).ok

    @pytest.mark.parametrize(
        "line",
        [
            "[h264 @ 0x5581] error while decoding MB 3 7, bytestream -5",
            "[matroska,webm @ 0x5581] File ended prematurely",
            "[in#0/matroska,webm @ 0x5581] File ended prematurely",
            "[in#0/mov,mp4,m4a,3gp,3g2,mj2 @ 0x5581] stream 0, offset 0xb4fd: partial file",
            "[vist#0:0/h264 @ 0x5581] [dec:h264 @ 0x5582] Decoding error: Invalid data found",
            "Error while decoding stream #0:0: Invalid data found when processing input",
            "[mjpeg @ 0x5581] overread 8",
        ],
    )
    def test_complaint_about_the_source(self, line: str) -> None:
        verdict = verify(replace(FACTS, stderr=("Svt[info]: SVT [version]", line)))
        assert (verdict.ok, verdict.blames_source) == (False, True)
        assert verdict.problem == f"ffmpeg complained: {line}"

    @pytest.mark.parametrize(
        "line",
        [
            "Error closing file: No space left on device",
            "[out#0/matroska @ 0x5581] Error writing trailer: No space left on device",
            "Svt[error]: Failed to initialise",
            "[h264_qsv @ 0x5581] Error during QSV decoding.: device failed (-17)",
            "a line that no one has seen",
            "3 lines of stderr were dropped",
        ],
    )
    def test_complaint_about_the_encode(self, line: str) -> None:
        """Disk and device come before what a decoder says in their wake."""
        verdict = verify(replace(FACTS, stderr=(line,)))
        assert (verdict.ok, verdict.blames_source) == (False, False)
        if "@" in line or "space" in line:
            wake = "[h264 @ 0x5581] no frame!"
            assert not verify(replace(FACTS, stderr=(line, wake))).blames_source

    @pytest.mark.parametrize("status", [1, 69, 187, 255, -9, -11])
    def test_any_exit_status_but_zero_fails(self, status: int) -> None:
        verdict = verify(replace(FACTS, exit_status=status))
        assert verdict.problem == f"ffmpeg ended with status {status}: it said nothing"
        assert not verdict.blames_source
        assert not verify(replace(HEADLESS_FACTS, exit_status=status)).ok

    def test_repetition_of_a_complaint_is_a_complaint(self) -> None:
        lines = ("Svt[info]: x", "    Last message repeated 1 times", "    Last message repeated 1 times")
        assert verify(replace(FACTS, stderr=lines)).ok
        assert not verify(replace(FACTS, stderr=("boom", "    Last message repeated 1 times"))).ok
        assert not verify(replace(FACTS, stderr=("    Last message repeated 1 times",))).ok

    def test_unreadable_archive(self) -> None:
        verdict = verify(replace(FACTS, archive="/a.mp4 is empty"))
        assert (verdict.ok, verdict.problem) == (False, "/a.mp4 is empty")

    @pytest.mark.parametrize(
        ("encoded", "packets"), [(249, 250), (250, 249), (249, 249), (251, 251), (None, 250), (0, 0)]
    )
    def test_every_frame_must_be_there(self, encoded: int | None, packets: int) -> None:
        verdict = verify(replace(archived(packets=packets, shown=packets), frames_encoded=encoded))
        assert not verdict.ok
        assert verdict.problem.startswith("of 250 frames ")

    @pytest.mark.parametrize(
        ("start", "ok"), [(0.0, True), (0.9, True), (-0.04, True), (-0.1, False), (1.1, False)]
    )
    def test_start(self, start: float, ok: bool) -> None:
        assert verify(archived(start=start)).ok is ok

    def test_codec(self) -> None:
        assert verify(replace(FACTS, codec="hevc")).problem == "the archive's video is av1 instead of hevc"

    def test_audio(self) -> None:
        silent = archived(audio=())
        assert verify(silent).problem == "the source has 1 audio streams, the archive 0"
        assert verify(replace(silent, keep_audio=False)).ok

    def test_second_video_stream(self) -> None:
        assert not verify(replace(FACTS, source=replace(SOURCE, video_streams=2))).ok

    @pytest.mark.parametrize(
        ("width", "height", "limit", "ok"),
        [
            (2560, 1440, None, True),
            (1440, 2560, None, False),
            (2560, 1440, 2160, True),
            (1280, 720, 720, True),
            (1280, 720, None, False),
            (2560, 1440, 720, False),
            (720, 720, 720, False),
            (2558, 1438, None, True),
        ],
    )
    def test_picture_size(self, width: int, height: int, limit: int | None, ok: bool) -> None:
        facts = archived(video=replace(ARCHIVE.video, width=width, height=height))
        assert verify(replace(facts, max_height=limit)).ok is ok

    @pytest.mark.parametrize(("clean", "ok"), [(None, True), (True, True), (False, False)])
    def test_full_decode(self, clean: bool | None, ok: bool) -> None:
        assert verify(replace(FACTS, decoded_clean=clean)).ok is ok

    def test_undecodable_head_is_excused_with_a_note(self) -> None:
        verdict = verify(HEADLESS_FACTS)
        assert verdict.ok
        assert verdict.notes == (
            "50 frames before the first keyframe can't be decoded and are not in the archive",
        )

    def test_undecodable_head_excuses_nothing_else(self) -> None:
        damaged = (*HEADLESS_FACTS.stderr, "[h264 @ 0x5581] error while decoding MB 3 7, bytestream -5")
        assert verify(replace(HEADLESS_FACTS, stderr=damaged)).blames_source
        assert not verify(replace(HEADLESS_FACTS, source=SOURCE)).ok
        assert not verify(replace(HEADLESS_FACTS, stderr=())).ok
        assert not verify(replace(HEADLESS_FACTS, frames_encoded=199)).ok
        assert not verify(replace(HEADLESS_FACTS, frames_encoded=250)).ok
        short = replace(HEADLESS_FACTS.archive, times=SOURCE.times[:199])  # type: ignore[type-var]
        assert not verify(replace(HEADLESS_FACTS, archive=short)).ok

    def test_head_that_decodes_all_the_same(self) -> None:
        assert verify(replace(FACTS, source=HEADLESS)).notes == ()
        assert verify(replace(FACTS, source=HEADLESS)).ok

    def test_what_is_not_carried_over_is_noted(self) -> None:
        deep = replace(SOURCE.video, bit_depth=10)
        source = replace(SOURCE, video=deep, other_streams=("subtitle:mov_text", "data:unknown"))
        assert verify(replace(FACTS, source=source)).notes == (
            "10-bit video became 8-bit",
            "not in the archive: subtitle:mov_text, data:unknown",
        )


def at_times(*seconds: float, base: Fraction = Fraction(1, 1000), **changes: object) -> Media:
    """A clip whose frames are shown then."""
    ticks = [round(each / base) for each in seconds]
    media = replace(
        SOURCE,
        video=replace(SOURCE.video, time_base=base),
        packets=len(ticks),
        shown=len(ticks),
        times=array("q", (each - ticks[0] for each in ticks)),
        start=float(ticks[0] * base),
        keyframe_times=(0,),
    )
    return replace(media, **changes)  # type: ignore[arg-type]


def with_sound(start: float, span: float, *gaps: float, frame: float = 0.064, primed: float = 0.0) -> Media:
    sound = AudioStream("aac", 16000, 1, frame, start, span, array("d", gaps), primed)
    return replace(SOURCE, audio=(sound,))


class TestTiming:
    def test_each_frame_within_a_tick_of_the_coarser_time_base(self) -> None:
        there = at_times(*(index / 30 for index in range(300)), base=Fraction(1, 90000))
        here = at_times(*(7 + index / 30 for index in range(300)))
        assert timing.times_problem(there, here, 0) == ""
        assert timing.times_problem(here, there, 0) == ""

    @pytest.mark.parametrize("late", [0.002, -0.002, 0.9, 37600.0])
    def test_one_frame_at_another_time(self, late: float) -> None:
        times = [index / 25 for index in range(250)]
        there = at_times(*times)
        times[100] += late
        here = at_times(*sorted(times))
        assert timing.times_problem(there, here, 0).startswith("frame ")
        assert timing.times_problem(here, there, 0).startswith("frame ")

    def test_the_same_start_and_span_prove_nothing(self) -> None:
        there, here = at_times(0, 1, 2, 3, 4), at_times(0, 0.005, 0.01, 0.015, 4)
        assert timing.times_problem(there, here, 0) == "frame 2 is shown after 0.005 s instead of 1.000 s"

    def test_lost_frames_at_the_start(self) -> None:
        there, here = at_times(0, 1, 2, 3), at_times(5, 6, 7)
        assert timing.times_problem(there, here, 1) == ""
        assert timing.times_problem(there, here, 0) != ""

    def test_nothing_measured_proves_nothing(self) -> None:
        empty = replace(SOURCE, shown=0, times=())
        assert timing.times_problem(empty, empty, 0) != ""

    @pytest.mark.parametrize(
        ("start", "span", "gaps", "ok"),
        [
            (0.5, 8.0, (), True),
            (0.52, 8.0, (), True),
            (0.6, 8.0, (), False),
            (0.4, 8.0, (), False),
            (0.5, 8.06, (), True),
            (0.5, 7.9, (), False),
            (0.5, 8.1, (), False),
            (0.5, 8.0, (3.0, 3.06), True),
            (0.5, 8.0, (3.0, 3.1), False),
            (0.5, 8.0, (3.0, 5.0), False),
        ],
    )
    def test_sound_without_a_gap(self, start: float, span: float, gaps: tuple[float, ...], ok: bool) -> None:
        here = with_sound(start, span, *gaps)
        assert (timing.sound_problem(with_sound(0.5, 8.0), here, 0) == "") is ok

    @pytest.mark.parametrize(
        ("gaps", "ok"),
        [((3.0, 5.0), True), ((3.05, 5.05), True), ((3.2, 5.2), False), ((3.0, 4.8), False), ((), False)],
    )
    def test_sound_with_a_gap(self, gaps: tuple[float, ...], ok: bool) -> None:
        there, here = with_sound(0.0, 8.0, 3.0, 5.0), with_sound(0.0, 8.0, *gaps)
        assert (timing.sound_problem(there, here, 0) == "") is ok

    def test_sound_moved_by_100_ms_within_one_long_frame(self) -> None:
        there, here = with_sound(0.0, 8.0, frame=0.128), with_sound(0.1, 8.0, frame=0.128)
        assert timing.sound_problem(there, here, 0) == (
            "audio stream 1 begins +0.100 s from the picture instead of +0.000 s"
        )

    def test_priming_that_a_container_cannot_hide(self) -> None:
        there, here = with_sound(0.0, 8.0, primed=0.064), with_sound(-0.064, 8.064)
        assert timing.sound_problem(there, here, 0) == ""
        spoken = replace(there, audio=(replace(there.audio[0], codec="pcm_alaw", primed=0.0),))
        assert timing.sound_problem(spoken, here, 0) == ""
        assert timing.sound_problem(spoken, with_sound(-0.1, 8.1), 0) != ""

    def test_sound_after_lost_frames(self) -> None:
        there = replace(with_sound(0.0, 10.0), times=SOURCE.times)
        head = 50 * 512 / 12800
        assert timing.sound_problem(there, with_sound(-head, 10.0), 50) == ""
        assert timing.sound_problem(there, with_sound(0.0, 10.0), 50) != ""

    @given(st.lists(st.floats(0.2, 3.0), min_size=1, max_size=12), st.floats(-1.0, 1.0))
    def test_a_stream_is_like_itself_and_unlike_a_shorter_one(self, parts: list[float], start: float) -> None:
        edges = list(itertools.accumulate(parts))
        gaps = edges[:-1] if len(edges) % 2 else edges[:-2]
        there = with_sound(start, edges[-1] + 1, *gaps)
        assert timing.sound_problem(there, there, 0) == ""
        assert timing.sound_problem(there, with_sound(start, edges[-1], *gaps), 0) != ""


class TestPacketTimes:
    @staticmethod
    def of(packets: list[tuple[int, int]]) -> FrameTimes:
        times = FrameTimes()
        for pts, dts in packets:
            times.add(pts, dts, 1)
            times.look_at_order(pts, dts)
        return times

    @given(st.lists(st.integers(1, 500), min_size=1, max_size=60), st.integers(0, 16), st.randoms())
    def test_any_order_that_a_decoder_can_restore(
        self, steps: list[int], depth: int, chance: random.Random
    ) -> None:
        """Frames are moved forward in decoding order by at most `depth` places."""
        shown = list(itertools.accumulate(steps))
        order = sorted(range(len(shown)), key=lambda index: index - chance.randint(0, depth))
        times = FrameTimes()
        for index in order:
            times.add(shown[index], None, 1)
        found = times.shown()
        assert found is not None
        assert list(found.times) == [each - shown[0] for each in shown]

    def test_b_frames_are_in_order(self) -> None:
        # I P B B P B B, the decoding two frames ahead.
        packets = [(0, -2), (3, -1), (1, 0), (2, 1), (6, 2), (4, 3), (5, 4)]
        times = self.of(packets)
        assert not times.is_disordered
        assert times.is_reordered

    def test_a_variable_rate_with_b_frames_is_in_order(self) -> None:
        shown = [0, 40, 120, 130, 500, 540]
        times = self.of([(shown[0], -40), (shown[2], 0), (shown[1], 40), (shown[4], 120), (shown[3], 130)])
        assert not times.is_disordered

    @pytest.mark.parametrize("ahead", [2, 13, 400])
    def test_a_stamp_ahead_of_its_time(self, ahead: int) -> None:
        packets = [(index, index) for index in range(100)]
        packets[40] = (40 + ahead, 40)
        assert self.of(packets).is_disordered

    def test_a_step_back(self) -> None:
        assert self.of([(each, each) for each in (*range(50), *range(30))]).is_disordered

    def test_frames_that_follow_later_ones_from_a_decoder_that_reorders(self) -> None:
        times = self.of([(0, 0), (24, 24), (48, 48), (72, 72)])
        found = times.shown(delay=2)
        assert found is not None
        assert (found.first, list(found.times)) == (48, [0, 24, 48, 72])

    def test_a_day_of_frames_takes_little_room(self) -> None:
        times = FrameTimes()
        for index in range(100_000):
            times.add(index * 3600 + (index % 3 == 1) * 7200, None, 3600)
        found = times.shown()
        assert found is not None
        assert sys.getsizeof(found.times) < 1_000_000

    def test_sound_skips_what_is_not_heard(self) -> None:
        sound = SoundTimes(Fraction(1, 16000), 16000, 1024)
        sound.add(-2112, 1024, skipped=(2112, 0), is_hidden=False)
        for number in range(1, 11):
            sound.add(-2112 + number * 1024, 1024, skipped=(0, 300 * (number == 10)), is_hidden=False)
        assert sound.start == pytest.approx(0)
        assert sound.end == pytest.approx((11 * 1024 - 2112 - 300) / 16000)
        assert sound.primed == pytest.approx(2112 / 16000)
        assert not sound.gaps

    def test_sound_with_a_gap_and_one_with_a_rounded_clock(self) -> None:
        sound = SoundTimes(Fraction(1, 1000), 16000, 1024)
        for start in (0, 64, 129, 192, 500, 564):
            sound.add(start, 64, skipped=(0, 0), is_hidden=False)
        assert list(sound.gaps) == pytest.approx([0.256, 0.5])

    def test_no_sound(self) -> None:
        sound = SoundTimes(Fraction(1, 1000), 16000, 1024)
        sound.add(0, 64, skipped=(0, 0), is_hidden=True)
        assert sound.start is None


class TestParameterSets:
    SPS, PPS, PICTURE = b"\x67\x42sps", b"\x68pps", b"\x65picture"

    def test_the_sequence_parameter_set_however_units_are_told_apart(self) -> None:
        delimited = b"".join(b"\0\0\0\1" + unit for unit in (b"\x09\xf0", self.SPS, self.PPS, self.PICTURE))
        prefixed = b"".join(len(unit).to_bytes(4) + unit for unit in (self.SPS, self.PPS, self.PICTURE))
        avcc = b"\x01\x42\0\x1e\xff\xe1"
        assert header_of("h264", delimited, b"") == self.SPS
        assert header_of("h264", prefixed, avcc) == self.SPS
        assert header_of("h264", b"\0\0\1" + self.PICTURE, b"") == b""

    def test_hevc(self) -> None:
        sps = b"\x42\x01sps"
        assert header_of("hevc", b"\0\0\1\x40\x01vps\0\0\1" + sps + b"\0\0\1\x26\x01x", b"") == sps

    def test_jpeg(self) -> None:
        packet = b"\xff\xd8\xff\xe0\0\4ab\xff\xc0\0\x11\x08\x00\xf0\x01\x40rest"
        assert header_of("mjpeg", packet, b"") == b"\x00\xf0\x01\x40"

    def test_av1(self) -> None:
        assert header_of("av1", b"\x12\0\x0a\x03seq\x32\x01x", b"") == b"seq"

    @given(
        st.sampled_from(["h264", "hevc", "mjpeg", "av1", "vp9"]),
        st.binary(max_size=80),
        st.binary(max_size=30),
    )
    def test_any_bytes(self, codec: str, packet: bytes, extradata: bytes) -> None:
        header_of(codec, packet, extradata)

    def test_marks_of_signed_video(self) -> None:
        onvif = bytes.fromhex("005bc93f2d715e95ada4796f90877a6f")
        assert signature_in(b"\0\0\1\x06\x05\x20" + onvif + b"x") == "ONVIF Media Signing"
        assert signature_in(b"\0\0\1\x06\x05\x20Signed Video...0x") == "Axis signed video"
        assert signature_in(b"\0\0\1\x06\x05\x20" + onvif[:-1]) == ""


class TestPicturePairs:
    @staticmethod
    def clip(frames: int, gop: int, width: int = 320, height: int = 240) -> Media:
        media = at_times(
            *(index / 25 for index in range(frames)), keyframe_times=tuple(range(0, frames * 40, gop * 40))
        )
        return replace(media, video=replace(media.video, width=width, height=height))

    def test_first_and_last_and_keyframes_between(self) -> None:
        found = pairs(self.clip(990, 50), self.clip(990, 100))
        assert (found[0].seconds, found[-1].seconds) == (0.0, pytest.approx(39.56))
        assert len(found) >= 6
        assert all(pair.source.frame == pair.archive.frame for pair in found)
        assert sum(pair.source.key == pair.source.frame for pair in found) >= 4

    def test_a_large_clip_costs_a_small_share_of_its_frames(self) -> None:
        large = (2560, 1440)
        found = pairs(self.clip(150, 50, *large), self.clip(150, 100, *large))
        decoded = sum(
            (each.frame - each.key) // 40 + 1 for pair in found for each in (pair.source, pair.archive)
        )
        assert 2 <= decoded <= 150 // 20 + 8
        thorough = pairs(self.clip(150, 50, *large), self.clip(150, 100, *large), thorough=True)
        assert thorough[-1].seconds == pytest.approx(149 / 25)

    def test_lost_frames_have_no_pair(self) -> None:
        source, archive = self.clip(100, 50), self.clip(70, 35)
        found = pairs(source, archive, lost=30)
        assert found[0].source.frame == 30 * 40
        assert found[0].archive.frame == 0
        assert found[-1].source.frame == 99 * 40
        assert found[-1].archive.frame == 69 * 40

    @given(st.integers(1, 80), st.integers(1, 30), st.integers(1, 30), st.booleans())
    def test_any_clip(self, frames: int, gop: int, other: int, thorough: bool) -> None:
        found = pairs(self.clip(frames, gop), self.clip(frames, other), thorough=thorough)
        assert found[0].source.frame == found[0].archive.frame == 0
        assert [pair.seconds for pair in found] == sorted({pair.seconds for pair in found})
        assert all(pair.source.key <= pair.source.frame for pair in found)


class TestPictureDifference:
    @staticmethod
    def scene(*, right: float = 0.0, gain: float = 1.0, colour: float = 20.0, person: float = -9.0) -> Grid:
        """Soft stripes and a slope, `right` moves them by cells; a dark person stands at `person`."""
        luma, blue, red = [], [], []
        for at in range(WIDTH * HEIGHT):
            x, y = at % WIDTH - right, at // WIDTH
            value = 120 + 40 * math.sin(x / 4) * math.cos(y / 5) + x / 2
            inside = abs(x - person) < 2 and abs(y - 18) < 5
            luma.append(128 + gain * ((30.0 if inside else value) - 128))
            blue.append(colour * math.sin(x / 9))
            red.append(-colour * math.cos(y / 9))
        return Grid(luma, blue, red)

    def problem(self, source: Grid, archive: Grid, first: tuple[Grid, Grid] | None = None) -> str:
        return problem_of(difference(first or (source, archive), source, archive, 1.0))

    def test_the_same_picture_with_the_noise_of_compression(self) -> None:
        source = self.scene()
        chance = random.Random(7)
        noisy = replace(source, luma=[each + chance.gauss(0, 6) for each in source.luma])
        assert self.problem(source, noisy) == ""

    def test_detail_that_compression_leaves_out(self) -> None:
        chance = random.Random(7)
        source = self.scene()
        noisy = replace(source, luma=[each + chance.gauss(0, 14) for each in source.luma])
        assert self.problem(noisy, source) == ""

    @pytest.mark.parametrize(
        ("archive", "said"),
        [
            ({"right": 0.5}, "is moved or stretched by 0.8 %"),
            ({"right": 12.0}, "the archive's picture at 1.0 s "),
            ({"gain": 219 / 255}, "has 86% of the contrast"),
            ({"gain": 255 / 219}, "has 116% of the contrast"),
            ({"gain": 0.0}, "the archive's picture at 1.0 s "),
            ({"colour": 0.0}, "of the colour"),
            ({"colour": -20.0}, "off in colour"),
        ],
    )
    def test_another_picture(self, archive: dict[str, float], said: str) -> None:
        assert said in self.problem(self.scene(), self.scene(**archive))

    def test_a_frozen_picture(self) -> None:
        before, after = self.scene(person=10.0), self.scene(person=50.0)
        assert self.problem(after, after, (before, before)) == ""
        assert "has 0% of the movement" in self.problem(after, before, (before, before))

    def test_a_flat_picture_tells_of_brightness_and_tint_only(self) -> None:
        night = Grid([20.0] * (WIDTH * HEIGHT), [0.0] * (WIDTH * HEIGHT), [0.0] * (WIDTH * HEIGHT))
        assert self.problem(night, replace(night, luma=[22.0] * (WIDTH * HEIGHT))) == ""
        assert "off in brightness" in self.problem(night, replace(night, luma=[60.0] * (WIDTH * HEIGHT)))
        assert "off in colour" in self.problem(night, replace(night, blue=[-90.0] * (WIDTH * HEIGHT)))


some_names = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=300
).filter(lambda name: name not in {".", ".."} and not name.isspace())


class TestDecodedByItself:
    def test_what_came_before_the_first_keyframe_is_no_damage(self) -> None:
        line = "[h264 @ 0x1] non-existing PPS 0 referenced"
        assert decodes_whole(SOURCE, 0, (), 250)
        assert decodes_whole(HEADLESS, 0, (line, "    Last message repeated 3 times"), 200)

    @pytest.mark.parametrize(
        ("media", "status", "stderr", "frames"),
        [
            (SOURCE, 1, (), 250),
            (SOURCE, 0, (), 249),
            (SOURCE, 0, ("[h264 @ 0x1] non-existing PPS 0 referenced",), 250),
            (HEADLESS, 0, ("[h264 @ 0x1] non-existing PPS 0 referenced",), 199),
            (HEADLESS, 0, ("[h264 @ 0x1] error while decoding MB 3 4",), 200),
            (HEADLESS, 0, (), 200),
        ],
    )
    def test_anything_else_is(self, media: Media, status: int, stderr: tuple[str, ...], frames: int) -> None:
        assert not decodes_whole(media, status, stderr, frames)


class TestAtomic:
    @given(some_names)
    def test_a_staged_name_fits_hides_and_tells_its_stem(self, name: str) -> None:
        staged = atomic._staged_name(name)
        assert len(os.fsencode(staged)) <= 255
        assert staged.startswith(".")
        stem = atomic.staged_stem(staged)
        assert stem is not None
        assert name.startswith(stem)
        assert atomic.is_staged_for(staged, name)
        assert not atomic.is_staged_for(staged, f"y{name[:100]}")

    @pytest.mark.parametrize(
        "name",
        ["x.mp4", ".hidden.mp4", ".x.0123456789abcdef.mp4", "x.0123456789abcdef.staged.mp4", ".staged"],
    )
    def test_other_names_are_not_staged_ones(self, name: str) -> None:
        assert atomic.staged_stem(name) is None

    def test_a_staged_name_keeps_the_suffix_that_ffmpeg_goes_by(self) -> None:
        assert atomic._staged_name("x" * 251 + ".mkv").endswith(".staged.mkv")

    @pytest.mark.parametrize("code", [errno.ESTALE, errno.ETIMEDOUT, errno.EINTR])
    def test_transient_errors_are_tried_three_times(self, mocker: MockerFixture, code: int) -> None:
        pauses = mocker.patch("time.sleep")
        call = mocker.Mock(side_effect=[OSError(code, "x"), OSError(code, "x"), "done"])
        assert atomic.patiently(call) == "done"
        assert pauses.call_count == 2
        call = mocker.Mock(side_effect=OSError(code, "x"))
        with pytest.raises(OSError):
            atomic.patiently(call)
        assert call.call_count == 3

    @pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EEXIST])
    def test_other_errors_are_final(self, mocker: MockerFixture, code: int) -> None:
        call = mocker.Mock(side_effect=OSError(code, "x"))
        with pytest.raises(OSError):
            atomic.patiently(call)
        assert call.call_count == 1


class TestLockfile:
    def test_a_forced_host_is_another_kernel(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CAMARCHIVER_HOST_ID", "attic")
        attic = lockfile.Owner.this()
        monkeypatch.setenv("CAMARCHIVER_HOST_ID", "cellar")
        cellar = lockfile.Owner.this()
        assert (attic.host, cellar.host) == ("attic", "cellar")
        assert attic.boot != cellar.boot
        assert attic.nonce != cellar.nonce

    @pytest.mark.parametrize("locked", [True, False, None])
    @pytest.mark.parametrize("boot", ["boot of here", "boot of there", ""])
    @pytest.mark.parametrize("age", [-601, -600, 0, 600, 601])
    def test_who_lives(
        self, monkeypatch: pytest.MonkeyPatch, locked: bool | None, boot: str, age: int
    ) -> None:
        monkeypatch.setenv("CAMARCHIVER_HOST_ID", "here")
        found = lockfile.Owner("host", boot, 1, "nonce", "since")
        dead_here = locked is True and boot == "boot of here"
        expected = locked is False or (not dead_here and abs(age) <= 600)
        assert lockfile._lives(locked, found, lambda: age) is expected


class TestTrash:
    @pytest.mark.parametrize("relative", ["", "/etc/x.mp4", "../x.mp4", "a/../../x.mp4"])
    def test_paths_out_of_the_root_are_refused(self, relative: str) -> None:
        nobody = Fingerprint(0, 0, 0, 0)
        with pytest.raises(ValueError, match="not a path below its root"):
            trash.delete(Path("/nowhere"), relative, nobody)
        with pytest.raises(ValueError, match="not a path below its root"):
            trash.move(Path("/nowhere"), "x", nobody, trash_root=Path("/no"), trash_relative=relative)


NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
MONTH = ArchivePolicy(age=timedelta(days=30))
ROOT = Path("/camera")
TREES = Trees(ROOT, ROOT / "archived", ROOT / ".deleted")


def a_clip(**changed: object) -> Clip:
    start = changed.pop("start", datetime(2026, 3, 1, 8, 15, tzinfo=UTC))
    assert isinstance(start, datetime)
    fields: dict[str, object] = {
        "root": ROOT,
        "folder": "2026/03/01",
        "name": "REO_front_20260301081500.mp4",
        "camera": "front",
        "start": start,
        "fingerprint": Fingerprint(1, 2, 1000, int(start.timestamp() * 1e9)),
    }
    return Clip(**{**fields, **changed})  # type: ignore[arg-type]  # the fields of Clip, by name


def an_entry(clip: Clip, **changed: object) -> Archived:
    name = clip.relative
    entry = Archived(name, clip.fingerprint.size, clip.fingerprint.mtime_ns, "d1", name, 100, remuxed=False)
    return entry._replace(**changed)  # type: ignore[arg-type]  # the fields of Archived, by name


def decided(
    clip: Clip, policy: ArchivePolicy = MONTH, memory: Memory | None = None, **facts: object
) -> Archive | Remove | Keep:
    known = FolderFacts(ROOT, clip.folder, (clip,), **facts)  # type: ignore[arg-type]  # by name
    (step,) = plan.decide_archive(known, policy, memory or Memory(), NOW)
    return step


class TestGaps:
    """Times without footage, of the week before noon of the eighth."""

    NOW = datetime(2026, 3, 8, 12, tzinfo=UTC)

    def gaps(
        self, *clips: tuple[float, float | None], lengths: dict[str, float] | None = None
    ) -> list[tuple[float, float]]:
        """From and to, in hours before now; clips likewise with their hours."""
        week = self.NOW - timedelta(days=7)
        coverage = Coverage()
        for ago, hours in clips:
            seconds = None if hours is None else hours * 3600
            coverage.add(self.NOW - timedelta(hours=ago), seconds, str(ago), since=week)

        def length(path: str) -> float | None:
            return (lengths or {}).get(path)

        found = gaps(coverage, timedelta(hours=1), since=week, now=self.NOW, length=length)
        return [((self.NOW - a) / timedelta(hours=1), (self.NOW - b) / timedelta(hours=1)) for a, b in found]

    def test_between_clips_in_any_order_and_until_now(self) -> None:
        assert self.gaps() == []
        assert self.gaps((0.5, 0.5)) == []
        assert self.gaps((5, 5), (12, 1), (10, 1)) == [(9, 5)]
        assert self.gaps((10, 1)) == [(9, 0)]

    def test_what_came_before_the_week_counts(self) -> None:
        assert self.gaps((200, 1), (5, 5)) == [(168, 5)]
        assert self.gaps((169, 164), (5, 5)) == []
        assert self.gaps((300, 1)) == [(168, 0)]

    def test_an_unknown_length_is_asked_for_before_a_gap_only(self) -> None:
        assert self.gaps((10, None), (5, None), (1, None), lengths={"10": 5 * 3600, "1": 3600}) == [(5, 1)]
        assert self.gaps((10, None), (9.5, None), (9, 9)) == []

    def test_a_longer_clip_covers_those_within_it(self) -> None:
        assert self.gaps((10, 10), (8, 0.1)) == []


class TestCoverage:
    """Whether a hold covers a clip."""

    @staticmethod
    def clip(start: datetime, *, seconds: float | None = None, size: int = 5_000_000) -> Clip:
        return Clip(Path("/c"), "", "x.mp4", "front", start, Fingerprint(1, 1, size, 0), duration=seconds)

    @staticmethod
    def hold(start: datetime, minutes: int = 10) -> Hold:
        return Hold("h", start, start + timedelta(minutes=minutes))

    def test_a_clip_is_held_where_its_own_time_meets_the_range(self) -> None:
        nine = datetime(2026, 3, 1, 9, tzinfo=UTC)
        now, holds = nine + timedelta(days=40), (self.hold(nine),)
        for minutes, seconds, is_held in (
            (-61, None, False),
            (-60, None, True),
            (-60, 10, False),
            (-120, 7200, True),
            (10, 10, True),
            (11, 10, False),
        ):
            found = self.clip(nine + timedelta(minutes=minutes), seconds=seconds)
            assert (held_by(found, holds, now) is not None) is is_held, (minutes, seconds)
        lapsed = replace(holds[0], until=now)
        other = replace(holds[0], camera="back")
        assert held_by(self.clip(nine), (lapsed, other), now) is None

    def test_an_hour_is_an_hour_when_the_clock_is_changed(self) -> None:
        # 01:30 in winter time, two hours before 04:30 in summer time
        start = datetime(2026, 3, 29, 1, 30, tzinfo=BERLIN)
        hold = self.hold(datetime(2026, 3, 29, 4, 20, tzinfo=BERLIN))
        assert held_by(self.clip(start, seconds=7200), (hold,), start + timedelta(days=40)) is not None

    def test_both_clips_of_a_repeated_hour_are_held(self) -> None:
        first = datetime(2025, 10, 26, 2, 30, tzinfo=BERLIN)
        hold = Hold("h", first.replace(minute=20), first.replace(minute=40, fold=1))
        for start in (first, first.replace(fold=1)):
            assert held_by(self.clip(start, seconds=5), (hold,), start + timedelta(days=40)) is not None

    def test_only_where_the_end_decides_is_it_worth_a_look(self) -> None:
        nine = datetime(2026, 3, 1, 9, tzinfo=UTC)
        now, holds = nine + timedelta(days=40), (self.hold(nine),)
        for minutes, size, worth in (
            (0, 5_000_000, False),
            (5, 5_000_000, False),
            (-1, 5_000_000, True),
            (-59, 1000, True),
            (-61, 1000, False),
            (-5 * 60, 5_000_000, True),
            (-6 * 60, 5_000_000, False),
            (-47 * 60, 10**12, True),
            (-49 * 60, 10**12, False),
        ):
            found = self.clip(nine + timedelta(minutes=minutes), size=size)
            assert may_reach(found, holds, now) is worth, (minutes, size)
        assert not may_reach(self.clip(nine - timedelta(minutes=1), seconds=5), holds, now)
        assert not may_reach(self.clip(nine - timedelta(minutes=1)), (replace(holds[0], until=now),), now)


def some_alike(folder: Folder, zone: tzinfo = UTC, lately: float = ns(NOW)) -> tuple[list[Alike], list[str]]:
    return gather(folder, Names(), zone, lately, lambda day: True)


def a_file(mtime_ns: int, *, links: int = 1, mode: int = 0o100644, size: int = 1000) -> os.stat_result:
    whole = mtime_ns // 10**9
    fields = {"st_mtime_ns": mtime_ns, "st_atime_ns": mtime_ns, "st_ctime_ns": mtime_ns}
    return os.stat_result((mode, mtime_ns % 997, 1, links, 0, 0, size, whole, whole, whole), fields)


def one_by_one(folder: Folder, zone: tzinfo) -> list[Clip]:
    """Read as single names are."""
    reader, clips = Names(), []
    for name, file in sorted(folder.files.items()):
        said = reader.read(name[:-4], folder.path)
        if said is not None:
            suffix = folder.pictures.get(name[:-4])
            clips.append(
                Clip(
                    folder.root,
                    folder.path,
                    name,
                    said.camera,
                    names.locate(said, file.st_mtime_ns, zone),
                    Fingerprint(file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns),
                    file.st_nlink,
                    said.duration,
                    (name[:-4] + suffix,) if suffix else (),
                )
            )
    return clips


def a_folder(seed: int) -> Folder:
    """Names of a few cameras and days, most of them as they should be."""
    draw = random.Random(seed)
    fronts = draw.sample(["REO_front_", "REO_yard_", "CAM_00_", "CAM_01_", "a_2026_", "front-", "x"], 2)
    days = draw.sample(
        ["20260301", "20260302", "20261025", "20260329", "20260230", "19691231", "21010101"], 2
    )
    files = {}
    for _ in range(draw.randrange(40)):
        clock = f"{draw.randrange(24):02}{draw.randrange(60):02}{draw.randrange(60):02}"
        if not draw.randrange(100):
            clock = draw.choice(["240000", "236000", "235960", "12345x", "12345\u0665", "99999"])
        files[draw.choice(fronts) + draw.choice(days) + clock + ".mp4"] = a_file(
            ns(NOW) - draw.randrange(10**17) + draw.choice([0] * 150 + [10**17]),
            links=draw.choice([1] * 150 + [2]),
            mode=draw.choice([0o100644] * 150 + [0o100600]),
            size=draw.randrange(5000),
        )
    return Folder(ROOT, draw.choice(["", "2026/03/01", "front"]), files, {})


FOLDERS = st.integers(0, 2**32).map(a_folder)


class TestAlike:
    """What is found out of many clips together is what is found out of each."""

    @given(FOLDERS, st.sampled_from(["UTC", "Europe/Berlin"]), st.sampled_from(["", ".jpg"]))
    def test_clips_are_what_each_of_them_is_alone(self, folder: Folder, zone: str, picture: str) -> None:
        folder = folder._replace(pictures={name[:-4]: picture for name in folder.files if "_1" in name})
        found, rest = some_alike(folder, ZoneInfo(zone))
        together = [clip for alike in found for clip in alike.clips()]
        assert sorted([*rest, *(clip.name for clip in together)]) == sorted(folder.files)
        alone = {clip.name: clip for clip in one_by_one(folder, ZoneInfo(zone))}
        assert together == [alone[clip.name] for clip in together]
        assert [clip.start.fold for clip in together] == [0] * len(together)
        for alike in found:
            assert alike.last_start == max(clip.start for clip in alike.clips())
            assert {clip.start.date() for clip in alike.clips()} == {alike.day}

    def test_most_of_a_day_is_alike(self) -> None:
        files = {f"REO_front_20260301{hour:02}0000.mp4": a_file(hour) for hour in range(24)}
        (alike,), rest = some_alike(Folder(ROOT, "2026/03/01", files, {}))
        assert (len(alike.names), rest, alike.camera) == (24, [], "front")

    @pytest.mark.parametrize(
        ("changed", "zone"),
        [
            (a_file(5, links=2), "UTC"),
            (a_file(5, mode=0o100600), "UTC"),
            (a_file(ns(NOW) + 1), "UTC"),
            (a_file(5), "Europe/Berlin"),
        ],
        ids=["another name", "not for all to read", "written lately", "the clock is changed"],
    )
    def test_one_of_another_kind_makes_all_single(self, changed: os.stat_result, zone: str) -> None:
        files = {f"REO_front_20261025{hour:02}0000.mp4": a_file(hour) for hour in range(24)}
        assert not some_alike(
            Folder(ROOT, "", {**files, "REO_front_20261025101010.mp4": changed}, {}), ZoneInfo(zone)
        )[0]

    def test_a_day_that_the_journal_knows_is_looked_at_clip_by_clip(self) -> None:
        files = {f"REO_front_20260301{hour:02}0000.mp4": a_file(hour) for hour in range(24)}
        found, rest = gather(
            Folder(ROOT, "", files, {}), Names(), UTC, 99, lambda day: day != date(2026, 3, 1)
        )
        assert (found, rest) == ([], list(files))

    @given(
        FOLDERS,
        st.builds(
            ArchivePolicy,
            st.sampled_from([timedelta(0), timedelta(days=30), timedelta(days=59, hours=12)]),
            cameras=st.sampled_from([frozenset()] * 3 + [frozenset({"front"})]),
            min_size=st.sampled_from([0, 0, 2500]),
        ),
        st.sampled_from([datetime(2026, 3, 1, 12, tzinfo=UTC), NOW]),
        st.sampled_from(["nothing", "a failure", "a restored clip"]),
    )
    def test_they_are_decided_as_each_of_them_is(
        self, folder: Folder, policy: ArchivePolicy, now: datetime, remembered: str
    ) -> None:
        clips = one_by_one(folder, UTC)
        memory = Memory()
        if clips and remembered != "nothing":
            clip = clips[len(clips) // 2]
            identity = clip.fingerprint.size, clip.fingerprint.mtime_ns
            memory = Memory({clip.relative: Failure(*identity, 9, now, Reason.DAMAGED, "")})
            if remembered == "a restored clip":
                memory = Memory(restored={clip.relative: Restored(*identity, now)})
        found, rest = some_alike(folder, lately=ns(now))
        facts = FolderFacts(
            ROOT, folder.path, tuple(clip for clip in clips if clip.name in rest), alike=tuple(found)
        )
        steps: list[Archive | Remove | Keep] = []
        for each in plan.decide_together(facts, policy, memory, now):
            steps.extend(each.steps() if isinstance(each, Alike) else [each])
        alone = list(plan.decide_archive(FolderFacts(ROOT, folder.path, tuple(clips)), policy, memory, now))
        assert sorted(steps, key=lambda step: step.relative) == sorted(alone, key=lambda step: step.relative)
        kept = [step for step in alone if isinstance(step, Keep)]
        assert [step for step in steps if isinstance(step, Keep)] == kept

    @given(FOLDERS)
    def test_they_are_counted_as_each_of_them_is(self, folder: Folder) -> None:
        together, alone = plan.Tally(), plan.Tally()
        for alike in some_alike(folder)[0]:
            together.add(alike)
            for step in alike.steps():
                alone.add(step)
        assert together.totals() == alone.totals()

    @given(st.lists(FOLDERS, max_size=4), st.data())
    def test_they_come_in_the_order_of_single_steps(self, folders: list[Folder], data: st.DataObject) -> None:
        found: list[Archive | Remove | Alike] = []
        for each in folders:
            for alike in some_alike(each)[0]:
                found += list(alike.steps()) if data.draw(st.booleans()) else [alike]
        steps = [step for each in found for step in (each.steps() if isinstance(each, Alike) else [each])]
        found.sort(key=order.order_key)
        assert [order.order_key(step) for step in order.one_by_one(found)] == sorted(
            map(order.order_key, steps)
        )
        assert sum(map(order.count, found)) == len(steps)


class TestPlan:
    """Every clip gets exactly one decision with a reason."""

    def test_an_old_clip_is_archived_below_its_date_folders(self) -> None:
        step = decided(a_clip())
        assert isinstance(step, Archive)
        assert (step.target, step.reason) == (
            "2026/03/01/REO_front_20260301081500.mp4",
            Reason.NOT_ARCHIVED,
        )

    def test_a_flat_folder_gets_date_folders(self) -> None:
        step = decided(a_clip(folder="front"))
        assert isinstance(step, Archive)
        assert step.target == "front/2026/03/01/REO_front_20260301081500.mp4"

    @pytest.mark.parametrize(
        ("changed", "policy", "reason"),
        [
            ({"start": NOW - timedelta(days=29)}, MONTH, Reason.TOO_RECENT),
            ({"start": NOW + timedelta(days=2)}, MONTH, Reason.CLOCK_DOUBTFUL),
            ({"start": NOW + timedelta(days=2)}, ArchivePolicy(timedelta(0)), Reason.CLOCK_DOUBTFUL),
            ({}, replace(MONTH, cameras=frozenset({"yard"})), Reason.FILTERED),
            ({}, replace(MONTH, exclude=("2026/03/*",)), Reason.FILTERED),
            ({}, replace(MONTH, exclude=("REO_front*",)), Reason.FILTERED),
            ({}, replace(MONTH, min_size=1001), Reason.FILTERED),
            ({}, replace(MONTH, since=datetime(2026, 3, 2, tzinfo=UTC)), Reason.FILTERED),
            ({}, replace(MONTH, until=datetime(2026, 3, 1, 8, 15, tzinfo=UTC)), Reason.FILTERED),
        ],
    )
    def test_left_alone(self, changed: dict[str, object], policy: ArchivePolicy, reason: Reason) -> None:
        step = decided(a_clip(**changed), policy)
        assert isinstance(step, Keep)
        assert step.reason is reason

    @pytest.mark.parametrize(
        ("age_days", "still_seconds", "settled"),
        [(30, 59, False), (30, 61, True), (0, 599, False), (0, 601, True), (30, -61, True)],
    )
    def test_settled_means_a_minute_or_ten(self, age_days: int, still_seconds: int, settled: bool) -> None:
        written = int((NOW - timedelta(seconds=still_seconds)).timestamp() * 1e9)
        step = decided(
            a_clip(fingerprint=Fingerprint(1, 2, 1000, written)),
            ArchivePolicy(timedelta(days=age_days)),
        )
        assert isinstance(step, Archive) is settled
        assert settled or step.reason is Reason.NOT_SETTLED

    def test_archived_before_is_removed_without_encoding(self) -> None:
        clip = a_clip()
        known = {"archived": {clip.relative: (an_entry(clip),)}, "standing": frozenset({clip.relative})}
        step = decided(clip, **known)
        assert isinstance(step, Remove)
        assert (step.disposal, step.reason) == (Disposal.TRASH, Reason.ALREADY_ARCHIVED)
        assert decided(clip, replace(MONTH, disposal=Disposal.KEEP), **known).reason is Reason.KEPT_SOURCE
        assert decided(clip, removable=False, **known).reason is Reason.KEPT_SOURCE

    def test_an_archive_that_does_not_stand_proves_nothing(self) -> None:
        clip = a_clip()
        assert decided(clip, archived={clip.relative: (an_entry(clip),)}).reason is Reason.NOT_ARCHIVED

    @pytest.mark.parametrize("other", [{"size": 999}, {"mtime_ns": 1}])
    def test_a_name_used_again_is_another_clip(self, other: dict[str, int]) -> None:
        clip = a_clip()
        step = decided(
            clip,
            archived={clip.relative: (an_entry(clip, **other),)},
            standing=frozenset({clip.relative}),
        )
        assert isinstance(step, Archive)

    def test_a_repeat_replaces_the_standing_archive_unless_it_is_a_remux(self) -> None:
        clip, repeat = a_clip(), replace(MONTH, repeat=True)
        entry = an_entry(clip)
        step = decided(clip, repeat, archived={clip.relative: (entry,)}, standing=frozenset({clip.relative}))
        assert isinstance(step, Archive)
        assert (step.reason, step.standing) == (Reason.REPEAT_ASKED, entry)
        remux = {clip.relative: (an_entry(clip, remuxed=True),)}
        step = decided(clip, repeat, archived=remux, standing=frozenset({clip.relative}))
        assert step.reason is Reason.NOT_SMALLER

    @pytest.mark.parametrize(
        ("unencoded", "rule", "reason"),
        [
            ("picture-changes", SignedRule(), Reason.PICTURE_CHANGES),
            ("signed", SignedRule(), Reason.SIGNED),
            ("signed", SignedRule(reencode=True), Reason.REPEAT_ASKED),
            ("signed", SignedRule(cameras={"front": True}), Reason.REPEAT_ASKED),
            ("refused", SignedRule(), Reason.REPEAT_ASKED),
            ("of a later version", SignedRule(), Reason.NOT_SMALLER),
        ],
    )
    def test_a_repeat_of_a_lossless_copy(self, unencoded: str, rule: SignedRule, reason: Reason) -> None:
        clip, repeat = a_clip(), replace(MONTH, repeat=True, signed=rule)
        archived = {clip.relative: (an_entry(clip, remuxed=True, unencoded=unencoded),)}
        step = decided(clip, repeat, archived=archived, standing=frozenset({clip.relative}))
        assert step.reason is reason

    def test_a_held_clip_is_neither_encoded_nor_removed(self) -> None:
        clip = a_clip()
        hold = Hold("h1", clip.start + timedelta(minutes=59), clip.start + timedelta(hours=2))
        assert decided(clip, memory=Memory(holds=(hold,))).reason is Reason.HELD
        short = a_clip(duration=10.0)
        assert decided(short, memory=Memory(holds=(hold,))).reason is Reason.NOT_ARCHIVED
        other = replace(hold, camera="yard")
        assert decided(clip, memory=Memory(holds=(other,))).reason is Reason.NOT_ARCHIVED
        lapsed = replace(hold, until=NOW)
        assert decided(clip, memory=Memory(holds=(lapsed,))).reason is Reason.NOT_ARCHIVED

    @pytest.mark.parametrize(
        ("count", "hours", "waits"),
        [(1, 0.9, True), (1, 1.1, False), (2, 23, True), (3, 167, True), (4, 9999, True)],
    )
    def test_failures_wait_an_hour_a_day_a_week_for_ever(self, count: int, hours: float, waits: bool) -> None:
        clip = a_clip()
        failure = Failure(
            clip.fingerprint.size,
            clip.fingerprint.mtime_ns,
            count,
            NOW - timedelta(hours=hours),
            Reason.DAMAGED,
            "cut",
        )
        memory = Memory({clip.relative: failure})
        assert (decided(clip, memory=memory).reason is Reason.FAILED_BEFORE) is waits
        again = replace(MONTH, retry_failed=True)
        assert decided(clip, again, memory).reason is Reason.NOT_ARCHIVED
        changed = a_clip(fingerprint=Fingerprint(1, 2, 2000, clip.fingerprint.mtime_ns))
        assert decided(changed, memory=memory).reason is Reason.NOT_ARCHIVED

    @pytest.mark.parametrize(
        ("count", "hours", "waits"),
        [(1, 0.9, True), (1, 1.1, False), (2, 23, True), (3, 167, True), (3, 169, False), (9, 169, False)],
    )
    def test_a_removal_that_failed_waits_as_long_but_is_tried_each_week_for_ever(
        self, count: int, hours: float, waits: bool
    ) -> None:
        clip = a_clip()
        known = {"archived": {clip.relative: (an_entry(clip),)}, "standing": frozenset({clip.relative})}
        at = NOW - timedelta(hours=hours)
        failure = Failure(*clip.fingerprint[2:], count, at, Reason.KEPT_SOURCE, "sticky")
        memory = Memory({clip.relative: failure})
        step = decided(clip, memory=memory, **known)
        assert step.reason is (Reason.FAILED_BEFORE if waits else Reason.ALREADY_ARCHIVED)
        assert not isinstance(step, Keep) or step.detail.startswith("archived; sticky; next try ")
        again = decided(clip, replace(MONTH, retry_failed=True), memory, **known)
        assert isinstance(again, Remove)
        assert decided(clip, memory=memory).reason is Reason.NOT_ARCHIVED, "its archive is gone"
        copy = Copy(clip, Tree.SOURCE, clip.relative, an_entry(clip), identity=clip.fingerprint[2:])
        policy = replace(KEEPING, trust_names=True)
        answer = retention.decide(copy, policy, memory, {}, clip.start + timedelta(days=400))
        assert isinstance(answer, Discard)
        answer = retention.decide(copy, policy, memory, {}, NOW)
        assert isinstance(answer, retention.Stay if waits else Discard)
        assert (retention.rank(copy, policy, memory, {}, NOW) is None) is waits
        answer = retention.decide_picture(copy, policy, memory, NOW, orphan=True)
        assert isinstance(answer, retention.Stay if waits else Discard)

    def test_what_was_observed_is_the_decision(self) -> None:
        clip = a_clip()
        seen = plan.keep(clip, Reason.BUSY, "host vm")
        assert decided(clip, observed={clip.relative: seen}) is seen

    def test_the_oldest_day_goes_first_and_its_largest_clip(self) -> None:
        def step(name: str, day: int, size: int) -> Archive:
            clip = a_clip(
                name=name,
                start=datetime(2026, 3, day, tzinfo=UTC),
                fingerprint=Fingerprint(1, 2, size, 0),
            )
            return Archive(clip, name, Reason.NOT_ARCHIVED)

        steps = [step(f"{index:04}", 1 + index // 300, index % 7) for index in range(600)]
        ordered = list(order.largest_first(sorted(steps, key=order.order_key)))
        assert sorted(map(order.order_key, ordered)) == sorted(map(order.order_key, steps))
        assert ordered[0].clip.fingerprint.size == 6
        assert max(ordered.index(each) for each in steps[:300]) < 300 + order.LOOK_AHEAD

    def test_a_second_name_waits_for_everything_before(self) -> None:
        first = Archive(a_clip(), "a", Reason.NOT_ARCHIVED)
        second = Archive(a_clip(name="b"), "b", Reason.SAME_FILE)
        ordered = list(order.largest_first(sorted([second, first], key=order.order_key)))
        assert ordered == [first, second]

    def test_a_limit_counts_encodes_only(self) -> None:
        clip = a_clip()
        removal = Remove(clip, Disposal.TRASH, Reason.ALREADY_ARCHIVED, an_entry(clip))
        encode = Archive(clip, "a", Reason.NOT_ARCHIVED)
        assert list(order.within_limit([removal, encode, encode], 1)) == [removal, encode]

    @given(
        st.lists(
            st.tuples(st.integers(0, 400), st.integers(0, 10_000), st.integers(1, 5000)),
            max_size=30,
        ),
        st.integers(0, 100),
    )
    def test_one_decision_each_and_the_same_facts_give_the_same_plan(
        self, seeds: list[tuple[int, int, int]], age: int
    ) -> None:
        clips = tuple(
            a_clip(
                name=f"REO_front_{index}.mp4",
                start=NOW - timedelta(days=days),
                fingerprint=Fingerprint(1, index, size, int((NOW.timestamp() - quiet) * 1e9)),
            )
            for index, (days, quiet, size) in enumerate(seeds)
        )
        facts = FolderFacts(ROOT, "2026/03/01", clips)
        policy = ArchivePolicy(timedelta(days=age))
        once = list(plan.decide_archive(facts, policy, Memory(), NOW))
        assert once == list(plan.decide_archive(facts, policy, Memory(), NOW))
        assert len(once) == len(clips)
        for clip, step in zip(clips, once, strict=True):
            if isinstance(step, Archive):
                assert clip.start <= NOW - policy.age
                assert NOW.timestamp() - clip.fingerprint.mtime_ns / 1e9 >= 59.9


# --- what the policy keeps ---------------------------------------------------------------------------

DAYS30 = timedelta(days=30)
KEEPING = CleanupPolicy(Limits(DAYS30, DAYS30, timedelta(days=21)))


A_TREE = st.sampled_from([Tree.SOURCE, Tree.ARCHIVE, Tree.TRASH])


def a_copy(
    tree: Tree = Tree.SOURCE,
    *,
    age: float = 40.0,
    camera: str = "front",
    archived: bool = True,
    mtime_off: float = 0.0,
    **more: Any,
) -> Copy:
    """A copy of a clip that was recorded so many days ago; its mtime is off by `mtime_off` days."""
    start = NOW - timedelta(days=age)
    mtime_ns = int((start + timedelta(days=mtime_off)).timestamp() * 1e9)
    name = f"REO_{camera}_{start:%Y%m%d%H%M%S}.mp4"
    size = more.pop("size", 1000)
    links = more.pop("links", 1)
    print_of = Fingerprint(1, more.pop("inode", int(age * 1000)), size, mtime_ns)
    clip = Clip(Path("/" + tree), "", name, camera, start, print_of, links)
    entry = Archived(name, 1000, mtime_ns, "d", name, 300, remuxed=False)
    fields: dict[str, Any] = {
        "archived": entry if archived or tree is Tree.ARCHIVE else None,
        "identity": (1000, mtime_ns),
        "since": NOW - timedelta(days=age - 1) if tree is Tree.TRASH else None,
        **more,
    }
    return Copy(clip, tree, name, **fields)


def told(copy: Copy, policy: CleanupPolicy = KEEPING, **known: Any) -> str:
    """Action and reason in short."""
    memory = Memory(holds=known.pop("holds", ()), restored=known.pop("restored", {}))
    step = retention.decide(copy, policy, memory, known.pop("newest", {}), NOW)
    return in_short(step)


def in_short(step: Discard | retention.Stay) -> str:
    """Action and reason."""
    return f"keep {step.reason}" if isinstance(step, retention.Stay) else f"{step.disposal} {step.reason}"


ARCHIVES_TOO = replace(KEEPING, clean_output=True)
HARD = replace(KEEPING, limits=replace(KEEPING.limits, max_age_hard=timedelta(days=35)))


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
        assert lots.decidable(policy, memory, NOW) == trees

    FOLDER = "input/2026/03/01"
    SIX = tuple(f"REO_front_20260301{hour:02}0000" for hour in range(6))

    @classmethod
    def a_shelf(
        cls,
        changed: dict[str, Any],
        file: dict[str, int],
        *,
        archived: dict[str, Any],
        damaged: frozenset[str] = frozenset(),
    ) -> Shelf:
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
        day = journal.parse("\n".join(map(json.dumps, lines)).encode(), Path("day"))
        files = {f"{stem}.mp4": a_file(10**9) for stem in cls.SIX}
        files[f"{cls.SIX[0]}.mp4"] = a_file(**{"mtime_ns": 10**9, **file})
        folded = ledger.fold(day.events, day.archived)
        return Shelf(ROOT, cls.FOLDER, files, Names(), lambda day: folded, damaged)

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

    def test_one_that_was_found_damaged_makes_all_archives_single(self) -> None:
        damaged = frozenset({f"{self.FOLDER}/{self.SIX[3]}.mp4"})
        shelf = self.a_shelf({}, {}, archived={}, damaged=damaged)
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
        lot = Lot(
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
        stay = lots.stay_of(lot, policy, NOW)
        each = [retention.decide(copy, policy, Memory(), {}, NOW) for copy in copies]
        if stay is not None:
            assert each == [stay] * len(copies)
            assert not any(copy.is_doubtful(policy, NOW) for copy in copies)
        elif len(copies) == 1:
            assert copies[0].is_doubtful(policy, NOW) or min(starts) <= NOW - DAYS30 < max(
                copy.recorded(policy) for copy in copies
            )


class TestRemoval:
    """What an error makes of a step, and how it is told."""

    @pytest.mark.parametrize(
        ("error", "words"),
        [
            (FileNotFoundError(2, "No such file", "/a"), "stale stale it is gone"),
            (Stale("changed"), "stale stale changed"),
            (ClipBusy("somebody works on it", hint="wait"), "busy busy somebody works on it"),
            (AlreadyRunning("record runs here already"), "busy busy record runs here already"),
            (removal.Held(Hold("h1", NOW, NOW)), "held held hold h1"),
            (OSError(28, "No space left", "/a", None, "/b"), "failed no-space /a -> /b: No space left"),
            (OSError(5, "Input/output error", "/a"), "failed failed /a: Input/output error"),
            (OSError("its picture stays"), "failed failed its picture stays"),
            (Unfit("holds 3 frames of 4"), "failed damaged holds 3 frames of 4"),
            (
                NotRemovable("a can't be removed", hint="chattr -i a"),
                "failed failed a can't be removed; chattr -i a",
            ),
            (StorageError("no safe way"), "failed failed no safe way"),
        ],
    )
    def test_an_error_is_an_outcome(self, error: OSError | CamarchiverError, words: str) -> None:
        def act() -> Outcome:
            raise error

        step = Archive(a_clip(), "a", Reason.NOT_ARCHIVED)
        outcome = removal.attempted(step, act)
        assert f"{outcome.result} {outcome.reason} {outcome.detail}" == words
        assert (outcome.step, outcome.target, outcome.freed) == (step, "", 0)

    def test_what_is_a_fault_of_the_program_is_raised(self) -> None:
        def act() -> Outcome:
            raise KeyError("x")

        with pytest.raises(KeyError):
            removal.attempted(Archive(a_clip(), "a", Reason.NOT_ARCHIVED), act)

    def test_where_a_file_goes(self) -> None:
        trash = Path("/trash")
        assert removal.in_trash(trash, Tree.SOURCE, "a/b.mp4").path == Path("/trash/input/a/b.mp4")
        assert removal.in_trash(trash, Tree.ARCHIVE, "a/b.mp4").path == Path("/trash/output/a/b.mp4")
        assert removal.place_of(Disposal.DELETE, trash, Tree.SOURCE, "a/b.mp4") is None

    @pytest.mark.parametrize(
        ("error", "words"),
        [
            (OSError(13, "Permission denied", "/a"), "Permission denied"),
            (OSError("by hand"), "by hand"),
            (ValueError(), "ValueError"),
            (StorageError("it is full", hint="buy one"), "it is full"),
            ("a reason of urllib's", "a reason of urllib's"),
        ],
    )
    def test_a_cause_has_no_number_and_no_name(self, error: object, words: str) -> None:
        assert cause(error) == words


class TestRetention:
    """What goes, what stays, and why."""

    @pytest.mark.parametrize(
        ("copy", "policy", "answer"),
        [
            (a_copy(), KEEPING, "trash age"),
            (a_copy(), replace(KEEPING, delete=True), "delete age"),
            (a_copy(age=29), KEEPING, "keep too-recent"),
            (a_copy(mtime_off=15), KEEPING, "keep too-recent"),
            (a_copy(mtime_off=-400), KEEPING, "trash age"),
            (a_copy(archived=False), KEEPING, "keep unarchived"),
            (a_copy(archived=False), replace(KEEPING, unarchived=True), "trash unarchived"),
            (
                a_copy(archived=False, mtime_off=-400),
                replace(KEEPING, unarchived=True),
                "keep clock-doubtful",
            ),
            (
                a_copy(archived=False, mtime_off=-400),
                replace(KEEPING, unarchived=True, trust_names=True),
                "trash unarchived",
            ),
            (a_copy(Tree.ARCHIVE), KEEPING, "keep in-policy"),
            (a_copy(Tree.ARCHIVE), ARCHIVES_TOO, "trash archive-age"),
            (a_copy(Tree.ARCHIVE, age=29), ARCHIVES_TOO, "keep in-policy"),
            (a_copy(Tree.ARCHIVE, made_by="r"), replace(ARCHIVES_TOO, spared_run="r"), "keep in-policy"),
            (a_copy(Tree.ARCHIVE, mtime_off=38), ARCHIVES_TOO, "keep clock-doubtful"),
            (a_copy(Tree.TRASH), KEEPING, "delete trash-age"),
            (a_copy(Tree.TRASH, age=21), KEEPING, "keep in-policy"),
            (a_copy(Tree.TRASH, archived=False), KEEPING, "keep last-copy"),
            (a_copy(Tree.ARCHIVE, damage="wrong-hash"), KEEPING, "keep damaged"),
            (a_copy(Tree.ARCHIVE, damage="wrong-hash"), ARCHIVES_TOO, "keep damaged"),
            (a_copy(Tree.ARCHIVE, age=36, damage="wrong-hash"), HARD, "delete max-age-hard"),
            (a_copy(Tree.TRASH, archived=False, given_up=True), KEEPING, "delete trash-age"),
            (a_copy(), replace(KEEPING, cameras=frozenset({"yard"})), "keep filtered"),
            (a_copy(), replace(KEEPING, exclude=("REO_front*",)), "keep filtered"),
            (a_copy(age=36, archived=False), HARD, "delete max-age-hard"),
            (a_copy(Tree.ARCHIVE, age=36), HARD, "delete max-age-hard"),
            (a_copy(Tree.TRASH, age=36, archived=False), HARD, "delete max-age-hard"),
            (a_copy(age=36, archived=False, mtime_off=10), HARD, "keep clock-doubtful"),
            (a_copy(age=34, archived=False), HARD, "keep unarchived"),
        ],
    )
    def test_by_age(self, copy: Copy, policy: CleanupPolicy, answer: str) -> None:
        assert told(copy, policy) == answer

    def test_what_is_held_restored_or_newest_stays(self) -> None:
        copy = a_copy()
        hold = Hold("h", copy.clip.start, copy.clip.start + timedelta(minutes=1))
        back = {copy.source: Restored(*copy.identity, NOW - timedelta(days=6))}
        newest = {"front": copy.clip.start}
        assert told(copy, holds=(hold,)) == "keep held"
        assert told(copy, restored=back) == "keep restored"
        assert told(copy, newest=newest) == "keep newest"
        assert told(copy, HARD, holds=(hold,)) == "keep held"
        assert told(copy, HARD, restored=back, newest=newest) == "delete max-age-hard"
        long_ago = {copy.source: Restored(*copy.identity, NOW - timedelta(days=7))}
        assert told(copy, restored=long_ago) == "trash age"

    def test_a_cameras_own_limits(self) -> None:
        own = replace(KEEPING, cameras_own={"yard": replace(KEEPING.limits, age=timedelta(days=14))})
        assert told(a_copy(age=20, camera="yard"), own) == "trash age"
        assert told(a_copy(age=20, camera="front"), own) == "keep too-recent"

    def test_the_order_of_rules_by_size(self) -> None:
        everything = replace(ARCHIVES_TOO, unarchived=True)

        def rank(copy: Copy, policy: CleanupPolicy = everything) -> Rank | None:
            return retention.rank(copy, policy, Memory(), {}, NOW)

        assert rank(a_copy(Tree.TRASH, age=0.1)) is Rank.TRASH
        assert rank(a_copy(age=0.1)) is Rank.SOURCE
        assert rank(a_copy(Tree.ARCHIVE, age=2)) is Rank.ARCHIVE
        assert rank(a_copy(archived=False, age=2)) is Rank.UNARCHIVED
        assert rank(a_copy(Tree.TRASH, archived=False, given_up=True)) is None
        assert rank(a_copy(Tree.ARCHIVE, age=0.9)) is None
        assert rank(a_copy(archived=False, age=0.9)) is None
        assert rank(a_copy(archived=False, mtime_off=-10)) is None
        assert rank(a_copy(Tree.ARCHIVE), KEEPING) is None
        assert rank(a_copy(Tree.ARCHIVE, damage="missing")) is None
        assert rank(a_copy(archived=False), KEEPING) is None
        assert rank(a_copy(mtime_off=-10)) is Rank.SOURCE

    def test_a_file_with_two_names_comes_free_with_the_second(self) -> None:
        freed = Freed()
        assert [freed.by(a_copy(links=2, inode=7, size=50).clip) for _ in range(2)] == [0, 50]
        assert freed.on == {1: 50}

    def test_every_goal_counts_every_removal(self) -> None:
        goals = [
            Goal(Reason.MAX_SIZE, 1500, "", camera="yard"),
            Goal(Reason.MAX_SIZE, 3500, ""),
            Goal(Reason.MIN_FREE, 100, "", device=2),
        ]
        pursuit = Pursuit(goals, Freed())
        size = 1000 + retention.RECORD_BYTES
        taken = [
            pursuit.take(a_copy(age=age, camera=camera, size=size).clip)
            for age, camera in ((9, "front"), (8, "yard"), (7, "yard"), (6, "front"), (5, "yard"))
        ]
        assert taken == [Reason.MAX_SIZE] * 4 + [None]
        assert pursuit.unmet == {goals[2]: 100}

    def test_brakes(self) -> None:
        assert retention.brake({"front": Herd(10, 100, 5, 50)}, KEEPING) == ""
        assert "6 of 10 clips of front" in retention.brake({"front": Herd(10, 100, 6, 50)}, KEEPING)
        assert "clips of front" in retention.brake({"front": Herd(10, 100, 1, 51)}, KEEPING)
        assert retention.brake({"front": Herd(10, 100, 9, 90)}, replace(KEEPING, allow_large=True)) == ""
        many = {"front": Herd(20_000, 100, 5001, 10)}
        assert "max_removals (5,000)" in retention.brake(many, KEEPING)
        assert retention.brake(many, replace(KEEPING, max_removals=5001)) == ""

    def test_a_damaged_archive_is_no_clip_that_could_be_lost(self) -> None:
        assert retention.loses(a_copy(Tree.ARCHIVE))
        assert not retention.loses(a_copy(Tree.ARCHIVE, damage="wrong-hash"))

    @pytest.mark.parametrize(("days", "far"), [(0, False), (365, False), (366, True), (-366, True)])
    def test_a_clock_that_is_far_off(self, days: int, far: bool) -> None:
        assert bool(retention.clock_is_far({"front": NOW - timedelta(days=days)}, NOW)) is far
        assert retention.clock_is_far({}, NOW) == ""

    @pytest.mark.parametrize(
        ("orphan", "age", "policy", "answer"),
        [
            (True, 2, KEEPING, "trash orphan-picture"),
            (True, 0.5, KEEPING, "keep too-recent"),
            (False, 2, KEEPING, "keep picture-only"),
            (True, 2, replace(KEEPING, keep_pictures=True), "keep in-policy"),
            (False, 36, HARD, "delete max-age-hard"),
        ],
    )
    def test_pictures_without_a_clip(
        self, orphan: bool, age: float, policy: CleanupPolicy, answer: str
    ) -> None:
        step = retention.decide_picture(
            a_copy(age=age, archived=False, is_picture=True), policy, Memory(), NOW, orphan=orphan
        )
        assert in_short(step) == answer

    @given(
        st.data(),
        st.lists(
            st.tuples(
                A_TREE,
                st.floats(0, 100),
                st.sampled_from(["front", "yard"]),
                st.booleans(),
                st.sampled_from([0.0, 0.5, -3.0, 3.0, 60.0]),
                st.sampled_from(["", "", "wrong-hash"]),
            ),
            max_size=30,
        ),
        st.booleans(),
        st.booleans(),
    )
    def test_whatever_there_is_nothing_protected_goes(
        self,
        data: st.DataObject,
        found: list[tuple[Tree, float, str, bool, float, str]],
        clean_output: bool,
        unarchived: bool,
    ) -> None:
        copies = [
            a_copy(
                tree,
                age=age,
                camera=camera,
                archived=archived and not flaw,
                mtime_off=off,
                damage=flaw if tree is Tree.ARCHIVE else "",
            )
            for tree, age, camera, archived, off, flaw in found
        ]
        policy = replace(KEEPING, clean_output=clean_output, unarchived=unarchived)
        held = data.draw(st.sampled_from([*copies, None]))
        holds = (Hold("h", held.clip.start, held.clip.start, held.clip.camera),) if held else ()
        newest: dict[str, datetime] = {}
        for copy in copies:
            if copy.tree is not Tree.TRASH:
                newest[copy.clip.camera] = max(newest.get(copy.clip.camera, copy.clip.start), copy.clip.start)
        memory = Memory(holds=holds)
        for copy in copies:
            step = retention.decide(copy, policy, memory, newest, NOW)
            assert step == retention.decide(copy, policy, memory, newest, NOW)
            goes = isinstance(step, Discard) or (
                retention.rank(copy, policy, memory, newest, NOW) is not None
            )
            live = copy.tree is not Tree.TRASH
            if goes:
                assert not copy.damage
                assert not holds or not held_by(copy.clip, holds, NOW)
                assert not (live and copy.clip.start == newest[copy.clip.camera])
                if live and (copy.tree is Tree.ARCHIVE or copy.archived is None):
                    assert clean_output if copy.tree is Tree.ARCHIVE else unarchived
                    assert not copy.is_doubtful(policy, NOW)
                    assert copy.recorded(policy) <= NOW - timedelta(days=1)
                if not live:
                    assert copy.archived is not None or copy.given_up
            if isinstance(step, Discard) and live:
                assert copy.recorded(policy) <= NOW - DAYS30

    @given(
        st.lists(
            st.tuples(
                A_TREE,
                st.integers(2, 90),
                st.integers(1001, 9999),
            ),
            max_size=40,
        ),
        st.integers(0, 100_000),
    )
    def test_a_cap_is_met_with_the_cheapest_and_no_more_than_it_takes(
        self, found: list[tuple[Tree, int, int]], cap: int
    ) -> None:
        copies = [
            a_copy(tree, age=age + number / 1000, size=size) for number, (tree, age, size) in enumerate(found)
        ]
        total = sum(copy.clip.fingerprint.size for copy in copies)
        ranks = {id(c): retention.rank(c, ARCHIVES_TOO, Memory(), {}, NOW) for c in copies}
        ordered = sorted(copies, key=lambda copy: (ranks[id(copy)] or 0, copy.clip.start))
        pursuit = Pursuit([Goal(Reason.MAX_SIZE, total - cap, "")], Freed())
        taken = [copy for copy in ordered if pursuit.take(copy.clip)]
        written = len(taken) * retention.RECORD_BYTES
        after = total - sum(copy.clip.fingerprint.size for copy in taken) + written
        assert pursuit.unmet or after <= cap
        if taken and not pursuit.unmet:
            last = taken[-1].clip.fingerprint.size - retention.RECORD_BYTES
            assert after + last > cap
        assert taken == ordered[: len(taken)]


def line_of(event: str, **fields: Any) -> dict[str, Any]:
    common = {
        "event": event,
        "at": "2026-04-01T02:00:00+00:00",
        "run": "r",
        "host": "h",
        "source": "d/REO_front_20260301081500.mp4",
        "start": "2026-03-01T08:15:00+00:00",
        "camera": "front",
        "source_size": 10,
        "source_mtime_ns": 5,
    }
    return {**common, **fields}


class TestHearsay:
    """What anybody may have written."""

    @pytest.mark.parametrize("path", ["a", "a/b.mp4", "..a/b..", "a/...", "-y", "a b\n"])
    def test_paths_below_their_root(self, path: str) -> None:
        assert hearsay.is_below(path)

    @pytest.mark.parametrize(
        "path",
        ["", ".", "./.", "/", "/a", "..", "../a", "a/../../b", "a/..", "a\0", "x" * 5000, None, 5, ["a"]],
    )
    def test_what_is_no_path_below_its_root(self, path: object) -> None:
        assert not hearsay.is_below(path)

    @given(st.text())
    def test_a_path_below_its_root_never_leaves_it(self, path: str) -> None:
        if hearsay.is_below(path):
            assert os.path.normpath(f"/root/{path}").startswith("/root")

    def test_json_without_end_is_no_json(self) -> None:
        with pytest.raises(ValueError):
            hearsay.value_of("[" * 5000)

    @pytest.mark.parametrize(
        "spoilt", [{"clip": "../x"}, {"staged": "/x"}, {"size": "1"}, {"sidecars": ["a/b"]}, {"start": ""}]
    )
    def test_a_claim_that_nobody_of_us_wrote(self, spoilt: dict[str, Any]) -> None:
        claim = {"clip": "x.mp4", "size": 1, "mtime_ns": 1, "start": "2026-03-01T08:15:00+00:00"}
        claim |= {"camera": "", "sidecars": ["x.jpg"], "host": "h", "pid": 1, "run": "r", "staged": ""}
        assert hearsay.is_claim(claim)
        assert not hearsay.is_claim({**claim, **spoilt})


class TestEvents:
    """One line of the journal."""

    @pytest.mark.parametrize(
        "spoilt",
        [
            {"source": "../a"},
            {"archive": "/etc/passwd"},
            {"trash": ""},
            {"trash": "."},
            {"source": None},
            {"source_size": 10**30},
            {"source_size": True},
            {"duration": "long"},
            {"tree": "elsewhere"},
            {"start": "then"},
            {"at": "2026-03-01T08:15:00"},
            {"sidecars": {"../x.jpg": "/a"}},
            {"sidecars": [1]},
            {"sidecars": {"x/y.jpg": "/a"}},
            {"sidecars": {"x.jpg": "/a\0"}},
            {"archive": "./."},
            {"trash": "a/\u002e./../b"},
            {"settings": 5},
            {"source_mtime_ns": -(10**30)},
            {"reason": ["a"]},
        ],
    )
    def test_a_line_that_nobody_of_us_wrote(self, spoilt: dict[str, Any]) -> None:
        good = json.dumps(line_of("trashed")).encode()
        bad = json.dumps({**line_of("trashed"), **spoilt}).encode()
        assert events.read(good)[0] == events.read(good + b"\n{\n")[0] != []
        assert events.read(bad) == ([], 1)
        assert events.read(bad + b"\n" + good) == (events.read(good)[0], 1)

    @given(
        st.lists(
            st.fixed_dictionaries(
                {"event": st.sampled_from(["archived", "trashed", "of-tomorrow"])},
                optional={
                    "source": st.sampled_from(
                        ["a", "", ".", "/a", "..", "a/..", ".a", "a..b", "é", "\0", "\udce9"]
                    ),
                    "archive": st.sampled_from(["a", ".", "b/../..", "./a", "/b"]),
                    "trash": st.sampled_from(["a", ".", "b/../..", "./a", "/b"]),
                    "sidecars": st.dictionaries(
                        st.sampled_from(["a", ".", "", "..", "a/b", "/"]), st.just("/p")
                    ),
                    "source_size": st.integers(),
                    "more": st.text(),
                },
            ),
            max_size=4,
        )
    )
    def test_many_lines_are_read_as_each_by_itself(self, changes: list[dict[str, Any]]) -> None:
        lines = [json.dumps(line_of(**changed)).encode() for changed in changes]
        each = [events.read(line) for line in lines]
        whole = events.read(b"\n".join(lines))
        assert whole == ([event for found, _ in each for event in found], sum(torn for _, torn in each))
        for event in whole[0]:
            assert all(
                hearsay.is_below(path) for path in (event.source, event.archive or "x", event.trash or "x")
            )

    @pytest.mark.parametrize("start", ["1970-01-01T00:00:00-00:44:30", "2026-03-01 08:15:00.5+01:00"])
    def test_a_time_that_only_python_reads(self, start: str) -> None:
        (event,), torn = events.read(json.dumps(line_of("trashed", start=start)).encode())
        assert (event.start, torn) == (datetime.fromisoformat(start), 0)

    def test_what_is_written_is_read(self) -> None:
        text = TestJournalLines.a_line(
            sidecars={"a.jpg": "/t/a.jpg"}, settings={"quality": 35}, tree="archive"
        )
        (event,), torn = events.read(text.encode())
        assert (event.line(), torn) == (text, 0)


class TestExpected:
    """Which archives should stand by the journal's word."""

    OTHER: ClassVar[dict[str, Any]] = {"source": "d/other.mp4", "archive": "other.mp4"}

    @pytest.mark.parametrize(
        ("lines", "expected"),
        [
            ([("archived", {})], ["x.mp4"]),
            ([("adopted", {})], ["x.mp4"]),
            ([("archived", {}), ("archived", OTHER)], ["x.mp4", "other.mp4"]),
            ([("archived", {}), ("trashed", {"reason": "age"})], ["x.mp4"]),
            ([("archived", {}), ("trashed", {"tree": "archive", "reason": "archive-age"})], []),
            ([("archived", {}), ("deleted", {"tree": "archive", "reason": "max-size"})], []),
            ([("archived", {}), ("found-damaged", {"reason": "missing"})], ["x.mp4"]),
            ([("archived", {}), ("trashed", {"reason": "replaced"})], ["x.mp4"]),
            ([("archived", {}), ("trashed", {"reason": "replaced"}), ("archived", {})], ["x.mp4"]),
            (
                [("archived", {}), ("trashed", {"reason": "replaced"}), ("archived", {"archive": "x.mkv"})],
                ["x.mkv"],
            ),
            ([("archived", {}), ("found-damaged", {}), ("archived", {"archive": "x~2.mp4"})], ["x~2.mp4"]),
            (
                [
                    *(("archived", {}), ("found-damaged", {}), ("found-sound", {})),
                    ("archived", {"archive": "x~2.mp4"}),
                ],
                ["x.mp4", "x~2.mp4"],
            ),
            ([("archived", {}), ("found-damaged", {}), ("archived", OTHER)], ["x.mp4", "other.mp4"]),
            (
                [
                    *(("archived", {}), ("found-damaged", {})),
                    ("archived", {"source_size": 11, "archive": "x~2.mp4"}),
                ],
                ["x.mp4", "x~2.mp4"],
            ),
            (
                [
                    ("archived", {}),
                    ("trashed", {"tree": "archive", "reason": "archive-age"}),
                    ("restored", {"tree": "archive"}),
                ],
                ["x.mp4"],
            ),
        ],
    )
    def test_what_a_days_lines_lead_to(
        self, lines: list[tuple[str, dict[str, Any]]], expected: list[str]
    ) -> None:
        common = {"archive": "x.mp4", "archive_size": 7, "source_blake2b": "d", "archive_blake2b": "e"}
        text = "\n".join(json.dumps(line_of(event, **{**common, **more})) for event, more in lines)
        found = expected_of(events.read(text.encode())[0])
        assert [each.archive for each in found] == expected
        assert all((each.size, each.digest) == (7, "e") for each in found)

    def test_another_name_of_the_file_keeps_the_digest(self) -> None:
        first = line_of("archived", archive="x.mp4", archive_size=7, archive_blake2b="e")
        second = line_of("archived", source="d/other.mp4", archive="x.mp4", archive_size=7)
        text = f"{json.dumps(first)}\n{json.dumps(second)}\n"
        (found,) = expected_of(events.read(text.encode())[0])
        assert (found.source, found.digest) == ("d/other.mp4", "e")


class TestLedger:
    """What a day's lines lead to."""

    ARCHIVED = line_of(
        "archived", source_blake2b="d", archive="d/x.mp4", archive_size=3, sidecars={"x.jpg": "/t/x.jpg"}
    )

    def fold(self, *events: dict[str, Any]) -> ledger.Ledger:
        lines = "".join(json.dumps(event) + "\n" for event in events).encode()
        day = journal.parse(lines, Path("day.jsonl"))
        return ledger.fold(day.events, day.archived)

    def test_an_archive_stands_until_a_line_takes_it_away(self) -> None:
        assert set(self.fold(self.ARCHIVED).archives) == {"d/x.mp4"}
        for line in (
            line_of("trashed", tree="archive", archive="d/x.mp4", trash="output/d/x.mp4", archive_size=3),
            line_of("deleted", tree="archive", archive="d/x.mp4", archive_size=3, reason="max-size"),
            line_of("trashed", archive="d/x.mp4", trash="output/d/x.mp4", reason="replaced"),
        ):
            found = self.fold(self.ARCHIVED, line)
            assert not found.archives
            assert found.given_up == ({"d/x.mp4"} if line.get("reason") == "max-size" else set())
        source_gone = line_of("trashed", archive="d/x.mp4", trash="input/d/x.mp4", reason="age")
        assert set(self.fold(self.ARCHIVED, source_gone).archives) == {"d/x.mp4"}

    def test_what_was_restored_or_purged_is_not_in_the_trash(self) -> None:
        gone = line_of("trashed", trash="input/a", reason="age", sidecars={"a.jpg": "/t"})
        assert set(self.fold(gone).trashed) == {"input/a"}
        assert self.fold(gone).sidecars.keys() == {"d/a.jpg"}
        for back in ("restored", "purged"):
            assert not self.fold(gone, line_of(back, trash="input/a", tree="trash")).trashed

    def test_a_restored_archive_stands_again(self) -> None:
        gone = line_of("trashed", tree="archive", archive="d/x.mp4", trash="output/a", reason="archive-age")
        back = line_of("restored", tree="archive", archive="d/x.mp4", trash="output/a")
        found = self.fold(self.ARCHIVED, gone, back)
        assert set(found.archives) == {"d/x.mp4"}
        assert not found.given_up

    @pytest.mark.parametrize(
        "spoilt",
        [
            {"start": "then"},
            {"start": "2026-03-01T08:15:00"},
            {"at": None},
            {"start": "0001-01-01T00:00:00+14:00"},
            {"at": "9999-12-31T23:59:59-10:00"},
            {"source_size": "many"},
            {"tree": "cellar"},
            {"duration": []},
        ],
    )
    def test_a_line_that_makes_no_sense_tells_nothing(self, spoilt: dict[str, Any]) -> None:
        found = self.fold(line_of("trashed", trash="input/a", **spoilt))
        assert not found.trashed
        assert not found.seen


class TestFigures:
    """Numbers under Prometheus's names."""

    def test_outcomes_are_summed_by_camera_result_and_encoder(self) -> None:
        step = Archive(a_clip(camera="front"), "a.mp4", Reason.NOT_ARCHIVED)
        made = Outcome(step, Result.DONE, step.reason, encoding=Encoding("libsvtav1", (), 2.5, 1000, 100))
        failed = Outcome(step, Result.FAILED, Reason.DAMAGED)
        found = {each.key: each.value for each in Sums((made, made, failed)).figures()}
        done = figures.labels(action="archive", result="done", camera="front", encoder="libsvtav1")
        lost = figures.labels(action="archive", result="failed", camera="front", encoder="")
        assert found["camarchiver_clips_total", done] == 2
        assert found["camarchiver_clips_total", lost] == 1
        assert found["camarchiver_clip_bytes_total", done] == 2 * step.size
        assert found["camarchiver_archive_bytes_total", done] == 200
        assert found["camarchiver_encode_seconds_total", done] == 5.0
        assert ("camarchiver_archive_bytes_total", lost) not in found

    def test_only_success_moves_the_last_success(self) -> None:
        name = "camarchiver_last_success_timestamp_seconds"
        assert [each.value for each in figures.of_end(100.0, 2.0, 0) if each.name == name] == [100.0]
        assert not [each for each in figures.of_end(100.0, 2.0, 3) if each.name == name]

    @staticmethod
    def merged(before: tuple[Figure, ...], now: tuple[Figure, ...], own: str) -> dict[str, float]:
        owner = figures.labels(command=own)
        base = {each.key: each.value for each in before if each.grows}
        found = figures.merged(before, base, figures.labelled(now, owner), owner)
        return {f"{each.name} {dict(each.labels)['command']}": each.value for each in found}

    def test_counters_grow_gauges_are_replaced_and_others_stay(self) -> None:
        def of(name: str, value: float, command: str) -> Figure:
            return Figure(name, value, figures.labels(command=command))

        before = (
            of("runs_total", 5, "archive"),
            of("runs_total", 7, "cleanup"),
            of("last", 1, "archive"),
            of("last", 2, "cleanup"),
            of("success", 3, "archive"),
        )
        assert self.merged(before, (Figure("runs_total", 1), Figure("last", 9)), "archive") == {
            "runs_total archive": 6,
            "runs_total cleanup": 7,
            "last archive": 9,
            "last cleanup": 2,
            "success archive": 3,
        }

    def test_days_until_full_need_a_rate(self) -> None:
        room = Room("source", "/camera", 1000, 5000)
        name = "camarchiver_until_full_seconds"

        def told(rate: float | None) -> list[float]:
            found = figures.of_vitals(Vitals(1, 2, (room,), 3, 4.0, rate))
            return [each.value for each in found if each.name == name]

        assert told(100.0) == [864_000.0]
        assert told(0.0) == told(None) == []

    def test_names_follow_the_conventions(self) -> None:
        for name, text in figures.HELP.items():
            assert re.fullmatch(r"camarchiver(_[a-z]+)+", name)
            assert text.endswith(".")
            assert not re.search("days|minutes|megabytes|_count$", name), "base units only"


class TestSealed:
    def test_a_long_sequence_is_sorted_and_walked_again_and_again(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("camarchiver.sealed.IN_MEMORY", 10)
        numbers = [(index * 37) % 101 for index in range(101)]
        sealed = Sealed(numbers, key=lambda number: number)
        assert len(sealed) == 101
        assert list(sealed) == list(sealed) == sorted(numbers)
        first, second = iter(sealed), iter(sealed)
        assert [next(first), next(first), next(second), next(first)] == [0, 1, 0, 2]

    def test_steps_of_every_kind_come_back_as_they_were(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("camarchiver.sealed.IN_MEMORY", 10)
        clips = [a_clip(name=f"{number:02}.mp4", sidecars=("a.jpg",) * (number % 2)) for number in range(25)]
        steps: list[Archive | Remove] = [
            Archive(clip, clip.name, Reason.NOT_ARCHIVED)
            if number % 7
            else Remove(clip, Disposal.TRASH, Reason.ALREADY_ARCHIVED, an_entry(clip))
            for number, clip in enumerate(clips)
        ]
        found = list(Sealed(steps, key=lambda step: step.relative))
        assert found == steps
        assert list(map(type, found)) == list(map(type, steps))
        assert all(isinstance(step.clip.fingerprint, Fingerprint) for step in found)

    @given(st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=9)))
    def test_what_stands_for_several_counts_for_them(self, groups: list[list[int]]) -> None:
        def single(items: Iterator[Any]) -> Iterator[Any]:
            return (number for item in items for number in item)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("camarchiver.sealed.IN_MEMORY", 10)
            sealed = Sealed(groups, key=lambda group: group[0], count=len, arrange=single)
        assert len(sealed) == len(list(sealed)) == sum(map(len, groups))

    def test_what_comes_in_order_is_not_merged(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("camarchiver.sealed.IN_MEMORY", 10)
        sealed = Sealed([*range(100), *range(50, 101)], key=lambda number: number)
        assert len(sealed._runs) == 2
        assert list(sealed) == sorted([*range(100), *range(50, 101)])

    def test_each_walk_is_arranged(self) -> None:
        def doubled(items: Iterator[int]) -> Iterator[int]:
            return (2 * item for item in items)

        assert list(Sealed([2, 1], key=lambda number: number, arrange=doubled)) == [2, 4]


class TestService:
    @pytest.mark.parametrize(
        ("span", "whom", "seconds"),
        [
            ("20000000", "", 10.0),
            ("1000000", "own", 0.5),
            ("20000000", "1", None),
            ("20000000", "nobody", None),
            ("0", "", None),
            ("-5", "", None),
            ("soon", "", None),
            ("", "", None),
        ],
    )
    def test_beats_come_twice_as_often_as_the_watchdog_bites(
        self, span: str, whom: str, seconds: float | None
    ) -> None:
        pid = str(os.getpid()) if whom == "own" else whom
        found = service.Service({"WATCHDOG_USEC": span, "WATCHDOG_PID": pid})
        assert found.beat_seconds == seconds

    def test_the_watchdog_of_whoever_has_no_pid_set_is_ours(self) -> None:
        assert service.Service({"WATCHDOG_USEC": "2000000"}).beat_seconds == 1.0

    def test_nobody_is_told_where_there_is_no_manager(self, caplog: pytest.LogCaptureFixture) -> None:
        for address in ("", "@", "vsock:2:1234", "relative"):
            speaker = service.Service({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1"})
            speaker.ready("up")
            speaker.status("busy")
            speaker.reloading()
            speaker.beat()
            speaker.stopping()
        assert not caplog.records

    def test_without_its_variables_no_manager_is_assumed(self) -> None:
        assert not service.is_managed({})


class TestReport:
    """Exit codes and words follow from the data alone."""

    @staticmethod
    def a_report(*outcomes: Outcome, **changed: object) -> Report:
        made = Report("archive", "r1", NOW, NOW + timedelta(seconds=9), outcomes)
        return replace(made, **changed)  # type: ignore[arg-type]  # the fields of Report, by name

    @staticmethod
    def an_outcome(result: Result, reason: Reason = Reason.NOT_ARCHIVED) -> Outcome:
        return Outcome(Archive(a_clip(), "a.mp4", Reason.NOT_ARCHIVED), result, reason)

    def test_exit_codes(self) -> None:
        done, failed = self.an_outcome(Result.DONE), self.an_outcome(Result.FAILED, Reason.FAILED)
        full = self.an_outcome(Result.FAILED, Reason.NO_SPACE)
        damaged = self.an_outcome(Result.FAILED, Reason.DAMAGED)
        cases = {
            0: [self.a_report(), self.a_report(done), self.a_report(done, remaining=3)],
            1: [self.a_report(failed), self.a_report(failed, full)],
            3: [self.a_report(done, failed), self.a_report(damaged), self.a_report(unreadable=1)],
            13: [self.a_report(full)],
            143: [self.a_report(done, failed, stopped_by=15)],
        }
        for code, reports in cases.items():
            assert [each.exit_code for each in reports] == [code] * len(reports)

    def test_busy_stale_and_held_are_no_failures(self) -> None:
        quiet = [self.an_outcome(each) for each in (Result.BUSY, Result.STALE, Result.HELD)]
        assert (self.a_report(*quiet).exit_code, self.a_report(*quiet).status) == (0, Status.DONE)

    def test_a_clip_that_was_archived_and_could_not_go_is_counted_once(self) -> None:
        encoding = Encoding("libx264", ("libx264 (software)",), 1.5, 1000, 100)
        stays = replace(self.an_outcome(Result.FAILED, Reason.KEPT_SOURCE), encoding=encoding)
        told = [*report.report_lines(self.a_report(stays), told=True)]
        assert [line.partition(":")[0] for line in told] == ["archived", "kept"]
        gone = replace(stays, result=Result.DONE, encoding=None)
        told = [*report.report_lines(self.a_report(stays, gone), told=True)]
        assert "removed or taken over: 1 source archived before" in told

    def test_the_document_is_json_with_the_promised_keys(self) -> None:
        encoding = Encoding("libx264", ("libx264 (software)",), 1.5, 1000, 100)
        outcome = replace(self.an_outcome(Result.DONE), encoding=encoding)
        made = self.a_report(outcome)
        made_of = json.loads("".join(document.document(made, None)))
        assert set(made_of) == {
            *("format", "command", "run", "status", "exit_code"),
            *("steps", "outcomes", "totals", "errors"),
        }
        assert made_of["outcomes"][0] == {
            "action": "archive",
            "path": "/camera/2026/03/01/REO_front_20260301081500.mp4",
            "result": "done",
            "reason": "not-archived",
            "detail": "",
            "target": "",
            "freed": 0,
            "encoder": "libx264",
            "rungs": ["libx264 (software)"],
            "seconds": 1.5,
            "bytes_before": 1000,
            "bytes_after": 100,
        }

    def test_a_step_has_the_promised_keys(self) -> None:
        fields = document.step_fields(Archive(a_clip(), "a.mp4", Reason.NOT_ARCHIVED), TREES)
        assert fields["target"] == "/camera/archived/a.mp4"
        assert set(fields) == {"action", "path", "target", "reason", "bytes", "camera", "start"}

    def test_a_name_that_is_no_text_is_escaped_and_given_as_bytes(self) -> None:
        fields = document.path_fields(Path("/camera/\udcff\n.mp4"))
        assert fields == {"path": "/camera/\\xff\\n.mp4", "path_bytes": "L2NhbWVyYS//Ci5tcDQ="}

    @pytest.mark.parametrize(
        ("count", "text"),
        [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (99_400, "99.4 kB"), (99_600, "100 kB"),
         (999_600, "1.0 MB"), (5e14, "500 TB")],
    )  # fmt: skip
    def test_sizes(self, count: float, text: str) -> None:
        assert words.size(count) == text

    @pytest.mark.parametrize(
        ("seconds", "text"), [(8, "8 s"), (180, "3 min"), (7500, "2 h 05 min"), (360_000, "100 h 00 min")]
    )
    def test_durations(self, seconds: float, text: str) -> None:
        assert words.span(seconds) == text

    def test_nights_are_told_once_a_rate_is_known(self) -> None:
        clip = a_clip(fingerprint=Fingerprint(1, 2, 10**12, 0))
        tally = plan.Tally()
        tally.add(Archive(clip, "a.mp4", Reason.NOT_ARCHIVED))
        made = plan.Plan("archive", TREES, NOW, MONTH, tally.totals(), (), ())
        night = timedelta(hours=6)
        unknown = list(report.plan_lines(made, report.Estimate({}, None, night), verbose=False))
        assert unknown[-1] == "1 clip, 1.0 TB to archive"
        known = list(report.plan_lines(made, report.Estimate({}, 4e6, night), verbose=False))
        assert known[-1] == "1 clip, 1.0 TB to archive, about 12 nights at 6 h 00 min"

    def test_a_long_table_is_drawn_together(self) -> None:
        tally = plan.Tally()
        for day in range(400):
            start = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=day)
            tally.add(Archive(a_clip(start=start), "a.mp4", Reason.NOT_ARCHIVED))
        made = plan.Plan("archive", TREES, NOW, MONTH, tally.totals(), (), ())
        lines = list(report.plan_lines(made, report.Estimate({}, None, timedelta(1)), verbose=False))
        assert sum("2025-" in line or "2026-" in line for line in lines) == 14


class TestManifest:
    def test_names_that_need_it_are_escaped_as_b2sum_does(self) -> None:
        assert manifest.line("a b.mp4", "00") == b"00  a b.mp4"
        assert manifest.line("a\\b\nc", "00") == b"\\00  a\\\\b\\nc"

    def test_lines_are_added_and_none_is_changed(self) -> None:
        before = manifest.merged(b"", {"b": "01", "a\nb": "02"})
        assert manifest.merged(before, {"b": "ff", "c": "03"}) == b"\\02  a\\nb\n01  b\n03  c\n"
        assert manifest.merged(before, {"b": "01"}) == before


class TestTag:
    @given(st.text(), st.integers(0), st.integers(0), st.text(alphabet="0123456789abcdef"))
    def test_what_is_stored_is_read_again(self, name: str, size: int, mtime: int, digest: str) -> None:
        made = tag.Tag(name, size, mtime, digest)
        text = tag.compose(made)
        assert text.isascii()
        assert tag.parse(text) == made

    @given(st.text())
    def test_anything_else_is_no_tag(self, text: str) -> None:
        assert tag.parse(text) is None
        assert tag.parse(tag.PREFIX + text) is None or "source" in text

    def test_it_names_one_clip_only(self) -> None:
        clip = a_clip()
        made = tag.Tag(clip.relative, 1000, clip.fingerprint.mtime_ns, "d1")
        assert made.names(clip, "d1")
        assert not made.names(clip, "d2")
        assert not made.names(a_clip(name="other.mp4"), "d1")


class TestWorkload:
    def test_as_many_jobs_as_cores_and_memory_allow(self) -> None:
        svt = ENCODERS["libsvtav1"]
        assert workload.jobs_for(svt, cores=8, memory=64_000_000_000) == 8
        assert workload.jobs_for(svt, cores=8, memory=4_000_000_000) == 2
        assert workload.jobs_for(svt, cores=8, memory=1) == 1
        assert workload.jobs_for(ENCODERS["hevc_qsv"], cores=8, memory=1) == workload.GPU_JOBS

    def test_the_last_jobs_get_the_spare_threads(self) -> None:
        x264 = ENCODERS["libx264"]
        assert [workload.threads_for(x264, cores=4, running=n) for n in (4, 2, 1)] == [1, 2, 4]
        assert workload.threads_for(ENCODERS["hevc_qsv"], cores=4, running=2) == 0


class TestOrder:
    """Several hosts on one tree begin at different places."""

    @staticmethod
    def steps(count: int) -> list[Archive | Remove]:
        clips = [a_clip(name=f"{number:03}.mp4") for number in range(count)]
        removed = Remove(clips[0], Disposal.TRASH, Reason.ALREADY_ARCHIVED, an_entry(clips[0]))
        second = Archive(clips[0], "again", Reason.SAME_FILE)
        return [removed, *(Archive(clip, clip.name, Reason.NOT_ARCHIVED) for clip in clips), second]

    def test_a_lone_host_keeps_the_order(self) -> None:
        steps = self.steps(9)
        assert list(order.from_own_place(steps, order.place_among("a", []))) == steps
        assert list(order.from_own_place(steps, order.place_among("a", ["a"]))) == steps

    def test_each_host_begins_elsewhere_and_does_all(self) -> None:
        hosts, steps = ["archive@nas", "archive@attic", "watch@nas"], self.steps(9)
        plans = [list(order.from_own_place(steps, order.place_among(host, hosts))) for host in hosts]
        assert sorted(int(each[1].clip.name[:3]) for each in plans) == [0, 3, 6]
        for each in plans:
            assert sorted(step.relative for step in each) == sorted(step.relative for step in steps)
            assert (each[0], each[-1]) == (steps[0], steps[-1])

    @given(st.integers(0, 60), st.lists(st.text(max_size=4), min_size=1, max_size=6, unique=True))
    def test_hosts_that_go_on_at_one_speed_never_meet(self, count: int, hosts: list[str]) -> None:
        steps = self.steps(count) if count else []
        plans = [list(order.from_own_place(steps, order.place_among(host, hosts)))[1:-1] for host in hosts]
        for at in range(count // len(hosts)):
            assert len({each[at].relative for each in plans}) == len(hosts)

    def test_what_a_scan_finds_is_gone_round_from_different_places(self) -> None:
        paths = [f"2026/03/01/{number}.mp4" for number in range(200)]
        orders = [
            sorted(paths, key=lambda path, place=place: order.turn(path, place))
            for place in (order.place_among(host, "ab") for host in "ab")
        ]
        assert all(0 <= order.turn(path, order.place_among("b", "ab")) < 1 for path in paths)
        assert not set(orders[0][:80]) & set(orders[1][:80])
        assert orders[1].index(orders[0][0]) > 80


class TestMounts:
    TABLE = (
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        "31 22 0:40 / /mnt/nas rw - nfs4 nas:/export rw\n"
        "32 22 8:17 / /mnt/nas\\040two\\303\\251 rw master:4 propagate_from:2 - xfs /dev/sdb1 rw\n"
        "33 31 0:41 / /mnt/nas/cam/archived rw - fuse.sshfs me@there:/ rw\n"
        "a line that says nothing\n"
    )

    def test_the_table_is_read_with_its_escapes(self) -> None:
        places = [mount.place for mount in mounts.parse(self.TABLE)]
        assert places == ["/", "/mnt/nas", "/mnt/nas twoé", "/mnt/nas/cam/archived"]

    @pytest.mark.parametrize(
        ("root", "pruned", "kinds"),
        [
            ("/camera", (), ["ext4"]),
            ("/mnt/nas two", (), ["ext4"]),
            ("/mnt/nas twoé/x", (), ["xfs"]),
            ("/mnt/nas/cam", (), ["nfs4", "fuse.sshfs"]),
            ("/mnt/nas/cam", ("/mnt/nas/cam/archived",), ["nfs4"]),
            ("/mnt/nas", (), ["nfs4", "fuse.sshfs"]),
        ],
    )
    def test_only_mounts_on_the_way_to_a_clip_matter(
        self, root: str, pruned: tuple[str, ...], kinds: list[str]
    ) -> None:
        found = mounts.that_matter(mounts.parse(self.TABLE), root, pruned)
        assert [mount.kind for mount in found] == kinds

    def test_the_last_of_two_mounts_at_one_place_counts(self) -> None:
        table = [mounts.Mount("/", "ext4"), mounts.Mount("/cam", "ext4"), mounts.Mount("/cam", "cifs")]
        assert [mount.kind for mount in mounts.that_matter(table, "/cam")] == ["cifs"]

    @pytest.mark.parametrize(
        ("kind", "tells"),
        [
            *((kind, True) for kind in ("ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs", "vfat", "exfat")),
            *((kind, False) for kind in ("nfs", "nfs4", "cifs", "smb3", "fuse", "fuseblk", "fuse.sshfs")),
            *((kind, False) for kind in ("fuse.bindfs", "9p", "virtiofs", "ceph", "afs", "ocfs2")),
        ],
    )
    def test_who_else_may_change_it_decides(self, kind: str, *, tells: bool) -> None:
        assert mounts.Mount("/x", kind).tells is tells


class TestQuiet:
    """What is looked at when; times are seconds of a clock that the test turns."""

    def test_each_path_comes_once_at_the_newest_word(self) -> None:
        agenda = Agenda()
        agenda.put("a", 600.0)
        agenda.put("b", 601.0)
        agenda.put("a", 900.0)
        agenda.put_new("b", 0.0)
        assert agenda.next_at() == 601.0
        assert [due.path for due in agenda.take(1000.0, 10)] == ["b", "a"]
        assert (len(agenda), agenda.next_at()) == (0, None)

    def test_a_rename_ends_the_quiet_period_and_a_write_begins_it_anew(self) -> None:
        agenda = Agenda()
        agenda.put("a", 600.0)
        agenda.put("a", 30.0, finished=True)
        assert list(agenda.take(30.0, 10)) == [Due("a", 30.0, True)]
        agenda.put("a", 40.0, finished=True)
        agenda.put("a", 640.0)
        assert list(agenda.take(40.0, 10)) == []
        assert list(agenda.take(640.0, 10)) == [Due("a", 640.0, False)]
        assert agenda.next_at() is None

    @given(st.lists(st.tuples(st.sampled_from("abcd"), st.floats(0, 9), st.booleans()), max_size=40))
    def test_nothing_is_lost_or_early_whatever_comes(self, words: list[tuple[str, float, bool]]) -> None:
        agenda, newest = Agenda(), dict[str, Due]()
        for path, at, finished in words:
            agenda.put(path, at, finished=finished)
            newest[path] = Due(path, at, finished)
            assert agenda.next_at() == min(due.at for due in newest.values())
        for now in range(10):
            taken = list(agenda.take(now, 3))
            assert taken == [newest.pop(due.path) for due in taken]
            assert all(due.at <= now for due in taken)
            assert len(taken) == 3 or all(due.at > now for due in newest.values())
        assert len(agenda) == len(newest)

    def test_many_writes_to_one_file_take_no_room(self) -> None:
        agenda = Agenda()
        for second in range(10_000):
            agenda.put("a", float(second))
        assert len(agenda._heap) == 1

    @pytest.mark.parametrize(
        ("reason", "seconds"),
        [
            (Reason.NOT_SETTLED, 540),
            (Reason.BEING_WRITTEN, 600),
            (Reason.BUSY, 300),
            (Reason.FAILED_BEFORE, 3600),
            (Reason.TOO_RECENT, 120),
            (Reason.NO_TIMESTAMP, None),
            (Reason.HELD, None),
            (Reason.FILTERED, None),
        ],
    )
    def test_a_clip_left_alone_is_looked_at_when_that_may_have_changed(
        self, reason: Reason, seconds: int | None
    ) -> None:
        now = datetime(2026, 3, 1, 8, 15, tzinfo=UTC)
        policy = ArchivePolicy(timedelta(minutes=5), quiet=timedelta(minutes=10))
        step = Keep(Path("/camera"), "a.mp4", reason, start=now - timedelta(minutes=3))
        failure = Failure(1, 1, 1, now, Reason.DAMAGED, "")
        wait = quiet.again_after_keep(step, ns(now - timedelta(minutes=1)), policy, failure, now)
        assert wait == (None if seconds is None else timedelta(seconds=seconds))

    def test_a_clip_that_failed_waits_as_the_failure_memory_says(self) -> None:
        now = datetime(2026, 3, 1, 8, 15, tzinfo=UTC)
        policy = ArchivePolicy(timedelta(0), quiet=timedelta(minutes=10))
        step = Archive(a_clip(), "x.mp4", Reason.NOT_ARCHIVED)

        def wait(result: Result, reason: Reason, failure: Failure | None = None) -> timedelta | None:
            return quiet.again_after(Outcome(step, result, reason), policy, failure, now)

        failed = [Failure(1, 1, count, now, Reason.DAMAGED, "") for count in (1, 2, 3, 4)]
        found = [wait(Result.FAILED, Reason.DAMAGED, failure) for failure in failed]
        assert found == [timedelta(hours=1), timedelta(days=1), timedelta(days=7), None]
        assert wait(Result.FAILED, Reason.FAILED) == quiet.TROUBLE_AGAIN
        assert wait(Result.FAILED, Reason.NO_SPACE) == quiet.TROUBLE_AGAIN
        old = Failure(1, 1, 1, now - timedelta(days=2), Reason.DAMAGED, "")
        assert wait(Result.FAILED, Reason.FAILED, old) == quiet.TROUBLE_AGAIN
        assert wait(Result.BUSY, Reason.BUSY) == quiet.BUSY_AGAIN
        assert wait(Result.STALE, Reason.STALE) == timedelta(minutes=10)
        assert wait(Result.DONE, Reason.NOT_ARCHIVED) is None
        assert wait(Result.SKIPPED, Reason.NOT_ARCHIVED) is None

    def test_what_was_renamed_into_place_needs_no_quiet_period(self) -> None:
        now = datetime(2026, 3, 1, 8, 15, tzinfo=UTC)
        fresh = a_clip(start=now - timedelta(minutes=1), fingerprint=Fingerprint(1, 1, 10, ns(now)))
        facts = FolderFacts(Path("/camera"), "", (fresh,))
        policy = ArchivePolicy(timedelta(0), quiet=timedelta(minutes=10))
        (waits,) = plan.decide_archive(facts, policy, Memory(), now)
        (begins,) = plan.decide_archive(facts, quiet.as_finished(policy), Memory(), now)
        assert (waits.reason, begins.reason) == (Reason.NOT_SETTLED, Reason.NOT_ARCHIVED)


KEYS = {"": {"age", "codec"}, "archive": {"age", "codec"}}


class TestCrew:
    """Steps are begun in their order, several at a time, until the run is to stop."""

    @staticmethod
    def steps(*reasons: Reason) -> list[Archive | Remove]:
        return [Archive(a_clip(name=f"{index}.mp4"), "", reason) for index, reason in enumerate(reasons)]

    @staticmethod
    def performed(
        steps: list[Archive | Remove], *, stop: Stop | None = None, **how: float
    ) -> list[tuple[str, int]]:
        """Each step's name and the share that it was told, in the order of their beginning."""
        begun: list[tuple[str, int]] = []

        def perform(step: Archive | Remove, share: int) -> Outcome:
            begun.append((step.clip.name, share))
            return Outcome(step, Result.DONE, step.reason)

        jobs, limit = int(how.get("jobs", 1)), how.get("max_seconds")
        outcomes = crew.perform_all(steps, perform, jobs=jobs, stop=stop or Stop(), max_seconds=limit)
        assert len(list(outcomes)) == len(begun)
        return begun

    def test_in_order_and_the_last_ones_share_with_fewer(self) -> None:
        steps = self.steps(*[Reason.NOT_ARCHIVED] * 4)
        assert [name for name, _ in self.performed(steps)] == ["0.mp4", "1.mp4", "2.mp4", "3.mp4"]
        shares = [share for _, share in self.performed(steps, jobs=2)]
        assert (shares[0], shares[-1] <= 2) == (2, True)

    def test_a_second_name_begins_when_everything_else_has_ended(self) -> None:
        steps = self.steps(Reason.NOT_ARCHIVED, Reason.NOT_ARCHIVED, Reason.SAME_FILE)
        ended: list[str] = []

        def perform(step: Archive | Remove, share: int) -> Outcome:
            if step.reason is Reason.SAME_FILE:
                assert len(ended) == 2
            ended.append(step.clip.name)
            return Outcome(step, Result.DONE, step.reason)

        outcomes = list(crew.perform_all(steps, perform, jobs=3, stop=Stop(), max_seconds=None))
        assert [outcome.step for outcome in outcomes][-1] == steps[-1]

    def test_nothing_is_begun_after_the_time_or_a_stop(self) -> None:
        steps = self.steps(*[Reason.NOT_ARCHIVED] * 3)
        assert self.performed(steps, max_seconds=0.0) == []
        stop = Stop()
        stop.ask(15)
        assert self.performed(steps, stop=stop) == []

        def perform(step: Archive | Remove, share: int) -> Outcome:
            stop_now.ask(15)
            return Outcome(step, Result.DONE, step.reason)

        stop_now = Stop()
        outcomes = list(crew.perform_all(steps, perform, jobs=1, stop=stop_now, max_seconds=None))
        assert len(outcomes) == 1


class TestConfigFiles:
    @staticmethod
    def with_key(section: str, key: str) -> Config:
        return Config({section: {key: Value(1, Path("/etc/c.toml"))}}, (Path("/etc/c.toml"),))

    @pytest.mark.parametrize(
        ("section", "key", "message"),
        [
            ("archive", "agee", "/etc/c.toml: [archive] agee is not a key; did you mean age?"),
            ("", "codek", "/etc/c.toml: codek is not a key; did you mean codec?"),
            ("archiv", "age", "/etc/c.toml: [archiv] is not a section; did you mean archive?"),
            ("archive", "zzz", "/etc/c.toml: [archive] zzz is not a key"),
        ],
    )
    def test_an_unknown_key_is_named_with_the_nearest(self, section: str, key: str, message: str) -> None:
        with pytest.raises(ConfigError) as caught:
            config.check_keys(self.with_key(section, key), KEYS)
        assert caught.value.message == message
        assert caught.value.exit_code == 10

    def test_a_section_wins_over_the_common_part(self) -> None:
        common, own = Value(1, Path("a")), Value(2, Path("b"))
        files = Config({"": {"age": common, "codec": common}, "archive": {"age": own}})
        assert files.for_command("archive") == {"age": own, "codec": common}
        config.check_keys(files, KEYS)

    def test_a_camera_of_the_recorder_has_a_section_of_its_own(self, mocker: MockerFixture) -> None:
        parsed = {"record": {"pre": "1s", "yard": {"source": "x"}}, "camera": {"yard": {"age": 3}}}
        mocker.patch("camarchiver.config._parse", return_value=parsed)
        found = config.load(Path("c.toml"))
        assert {name: dict(values) for name, values in found.cameras("record").items()} == {
            "yard": {"source": config.Value("x", Path("c.toml"))}
        }
        assert set(found.for_command("record")) == {"pre"}
        config.check_keys(found, {"": {"pre"}, "record": {"pre", "source", "duration"}})
        parsed["record"]["yard"] = {"duration": "3s"}
        with pytest.raises(ConfigError, match=r"\[record.yard\] duration"):
            config.check_keys(
                config.load(Path("c.toml")), {"": set(), "record": {"pre", "source", "duration"}}
            )


class TestJournalLines:
    """What a day's file says, parsed without a disk."""

    @staticmethod
    def a_line(**changed: object) -> str:
        event = Event(
            What.ARCHIVED,
            NOW,
            "r1",
            "vm",
            "2026/03/01/a.mp4",
            datetime(2026, 3, 1, tzinfo=ZoneInfo("Europe/Berlin")),
            source_size=1,
            source_mtime_ns=2,
            source_blake2b="d1",
            archive="2026/03/01/a.mp4",
            archive_size=3,
        )
        return structs.replace(event, **changed).line()

    def test_a_line_leaves_out_what_does_not_apply(self) -> None:
        fields = json.loads(self.a_line())
        assert fields["start"] == "2026-03-01T00:00:00+01:00"
        assert "trash" not in fields

    @pytest.mark.parametrize("cut", [1, 20, 100])
    def test_a_torn_last_line_costs_that_line_only(self, cut: int) -> None:
        text = f"{self.a_line()}\n{self.a_line(source='b.mp4')}\n{self.a_line()[:-cut]}".encode()
        day = journal.parse(text, Path("01.jsonl"))
        assert (sorted(day.archived), day.torn) == (["2026/03/01/a.mp4", "b.mp4"], 1)

    @given(st.binary(max_size=300))
    def test_no_bytes_break_it(self, text: bytes) -> None:
        journal.parse(text, Path("01.jsonl"))

    def test_a_path_that_is_not_utf_8_is_read(self) -> None:
        name = os.fsdecode(b"caf\xe9.mp4")
        day = journal.parse(self.a_line(source=name).encode(), Path("01.jsonl"))
        assert (list(day.archived), day.torn) == ([name], 0)

    def test_a_line_of_brackets_is_a_torn_one(self) -> None:
        assert journal.parse(b"[" * 100_000, Path("01.jsonl")).torn == 1

    @pytest.mark.parametrize("duration", ["NaN", "1e999", "1e300", "-5", "-1e300"])
    def test_a_line_with_a_duration_that_no_clip_has_is_a_torn_one(self, duration: str) -> None:
        text = self.a_line(duration=2.5)
        assert journal.parse(text.replace("2.5", duration).encode(), Path("01.jsonl")).torn == 1
        assert journal.parse(text.encode(), Path("01.jsonl")).torn == 0

    def test_a_line_without_the_needed_fields_is_no_proof(self) -> None:
        text = self.a_line(archive_size=None).encode()
        assert journal.parse(text, Path("01.jsonl")).archived == {}


class TestAttention:
    @staticmethod
    def looks(
        packets: str, *, moving: str = "", doubtful: str = "", suspects: tuple[int, ...] = ()
    ) -> tuple[str, Attention]:
        """Decoded of five packets a second, `k` a keyframe: `a` alone, `o` on, `s` since, `.` nothing."""
        state, told = Attention(), ""
        for number, packet in enumerate(packets):
            state, look = attention.step(
                state,
                number / 5,
                key=packet == "k",
                moving=moving[number : number + 1] == "m",
                doubtful=doubtful[number : number + 1] == "d",
            )
            told += {"NOTHING": ".", "ALONE": "a", "ON": "o", "SINCE": "s"}[look.name]
            if number in suspects:
                state = attention.suspect(state, number / 5)
        return told, state

    @pytest.mark.parametrize(
        ("packets", "looks"),
        [
            ("k....k....k....", "a....a....a...."),
            ("k..k..k..k..k..", "a.....a.....a.."),
            ("k.........k....", "a.........a...."),
            ("...k...", "...a..."),
        ],
    )
    def test_keyframes_a_second_apart_while_nothing_happens(self, packets: str, looks: str) -> None:
        assert self.looks(packets)[0] == looks

    def test_a_suspicion_lasts_half_a_second(self) -> None:
        assert self.looks("k.........k.........k", suspects=(10,))[0] == "a.........aoo.......a"

    def test_and_longer_while_in_doubt(self) -> None:
        doubtful = "...........ddddd"
        looks, _ = self.looks("k.........k.........k", doubtful=doubtful, suspects=(10,))
        assert looks == "a.........aooooo....a"

    def test_a_keyframe_within_a_burst_belongs_to_it(self) -> None:
        doubtful = "......dddddddd"
        assert self.looks("k....k....k....k", doubtful=doubtful, suspects=(5,))[0] == "a....aoooooooo.a"

    def test_confirmed_it_is_over(self) -> None:
        moving = "............mmmmmmmmmmmmmmmmmmm"
        looks, _ = self.looks("k.........k.........k.........k", moving=moving, suspects=(10,))
        assert looks == "a.........ao........a.........a"

    def test_where_keyframes_are_rare_it_goes_on(self) -> None:
        moving = "." * 17 + "m" * 8
        looks, _ = self.looks("k" + "." * 14 + "k" + "." * 14 + "k", moving=moving, suspects=(15,))
        assert looks == "a" + "." * 14 + "a" + "o" * 9 + "." * 5 + "a"

    def test_a_keyframe_that_does_not_come_is_not_waited_for(self) -> None:
        looks, state = self.looks("k....k" + "." * 20, moving="......" + "m" * 20)
        assert looks == "a....a" + "." * 12 + "s" + "o" * 7
        assert state.spacing > attention.LONG


PERIOD = 0.2


def gated(scores: list[Score], rules: Rules | None = None, period: float = PERIOD) -> list[Motion]:
    gate, events = Gate(rules or Rules()), []
    for number, score in enumerate(scores):
        gate, event = motion.step(gate, score, round(number * period, 3))
        events += [event] if event else []
    last = motion.finish(gate)
    return events + ([last] if last else [])


def areas(text: str) -> list[Score]:
    """One character a frame: `.` rest, a digit motion of that area, `s` standing still, `?` unsure."""
    special = {".": Score(0.0), "s": Score(0.0, 2.0), "?": Score(0.0, unsure=True)}
    return [special[sign] if sign in special else Score(float(sign)) for sign in text]


class TestMotion:
    @pytest.mark.parametrize(
        ("scores", "spans"),
        [
            ("..........", []),
            ("..1.......", []),
            ("..1..1..1.", []),
            ("..11......", [(0.4, 0.6)]),
            ("..1.1.....", [(0.4, 0.8)]),
            ("..11....1.........", [(0.4, 1.6)]),
            ("..11......11......", [(0.4, 0.6), (2.0, 2.2)]),
            ("..11sssssss1......", [(0.4, 2.2)]),
            ("..11ss......", [(0.4, 1.0)]),
            ("..ssssss....", []),
            ("????????", []),
            ("..11???11......", [(0.4, 1.6)]),
            ("..11??????11......", [(0.4, 2.2)]),
            ("..1?1.....", [(0.4, 0.8)]),
            ("..11", [(0.4, 0.6)]),
        ],
    )
    def test_golden_scores(self, scores: str, spans: list[tuple[float, float]]) -> None:
        assert [(event.start, event.end) for event in gated(areas(scores))] == spans

    def test_peak_and_zone_are_those_of_the_largest_motion(self) -> None:
        scores = [Score(1.0, zone="door"), Score(3.0, zone="yard"), Score(2.0, zone="door")]
        assert gated(scores) == [Motion(0.0, 0.4, 3.0, 0.2, "yard")]

    def test_standing_still_is_held_only_so_long(self) -> None:
        (event,) = gated(areas("11" + "s" * 200), Rules(still=5.0))
        assert event.end == pytest.approx(5.2)

    @pytest.mark.parametrize("period", [1.5, 2.0])
    def test_frames_far_apart_are_not_taken_together(self, period: float) -> None:
        assert gated(areas("111111"), period=period) == []

    @pytest.mark.parametrize(
        ("scores", "end"),
        [("..11k.k.k.", 2.6), ("..11k1k1k.k.", 6.6), ("..11ksk?k.k.", 6.6), ("..11k.k1k.k.", 6.6)],
    )
    def test_what_nobody_looked_at_counts_with_an_open_event(self, scores: str, end: float) -> None:
        """`k`: the next frame is two seconds after the one before."""
        gate, events, at = Gate(), list[Motion](), 0.0
        seldom = False
        for sign in scores:
            if sign == "k":
                seldom = True
                continue
            at += 2.0 if seldom else PERIOD
            gate, event = motion.step(gate, *areas(sign), at - PERIOD)
            events += [event] if event else []
        assert [(round(event.start, 3), round(event.end, 3)) for event in events] == [(0.4, end)]

    @given(
        st.lists(
            st.tuples(
                st.floats(0.01, 3.0),
                st.builds(
                    Score,
                    st.sampled_from([0.0, 0.1, 0.2, 5.0]),
                    st.sampled_from([0.0, 4.0]),
                    unsure=st.booleans(),
                ),
            ),
            max_size=80,
        )
    )
    def test_events_are_ordered_apart_and_within_the_input(self, frames: list[tuple[float, Score]]) -> None:
        gate, events, at = Gate(), list[Motion](), 0.0
        for gap, score in frames:
            at += gap
            gate, event = motion.step(gate, score, at)
            events += [event] if event else []
        events += [last] if (last := motion.finish(gate)) else []
        for event in events:
            assert frames[0][0] <= event.start <= event.peak_at <= event.end <= at
            assert event.peak >= Rules().min_area
        assert all(one.end < other.start for one, other in itertools.pairwise(events))

    @pytest.mark.parametrize(("name", "level"), [("low", "25"), ("medium", "50"), ("high", "75")])
    def test_named_sensitivities(self, name: str, level: str) -> None:
        assert motion.rules_for(name) == motion.rules_for(level)

    def test_medium_is_the_default_and_more_sensitive_asks_for_less(self) -> None:
        assert motion.rules_for("medium") == Rules()
        assert motion.rules_for("75").min_area < Rules().min_area < motion.rules_for("25").min_area
        assert motion.rules_for("low", min_area=2.5).min_area == 2.5

    @pytest.mark.parametrize("sensitivity", ["", "loud", "0", "101", "-5", "nan"])
    def test_unknown_sensitivity(self, sensitivity: str) -> None:
        with pytest.raises(UsageError):
            motion.rules_for(sensitivity)

    @pytest.mark.parametrize("area", [0.0, -1.0, 100.0, float("nan")])
    def test_impossible_area(self, area: float) -> None:
        with pytest.raises(UsageError):
            motion.rules_for("medium", min_area=area)

    def test_polygon(self) -> None:
        assert motion.polygon("0,0 0.5,0 0.5,1") == ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0))

    @pytest.mark.parametrize("text", ["", "0,0 1,1", "0,0 1,1 2,0", "0 1 2", "a,b c,d e,f", "0,0 1,0 1,nan"])
    def test_wrong_polygon(self, text: str) -> None:
        with pytest.raises(UsageError):
            motion.polygon(text)


SQUARES = np.random.default_rng(7).integers(60, 190, (23, 40)).astype(np.float32)
BACKGROUND = np.kron(SQUARES, np.ones((8, 8), np.float32))[:180]
LEFT = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
RIGHT = ((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0))


def scene(number: int, *, light: float | np.ndarray = 1.0, thing: int | None = None, width: int = 20) -> Luma:
    """One noisy frame of a patterned wall; `thing` is the left edge of a dark striped figure."""
    picture = BACKGROUND * light
    if thing is not None:
        picture[80:140, thing : thing + width] = 20
        picture[80:140:6, thing : thing + width] = 60
    noise = np.random.default_rng(number).normal(0, 2, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def seen(frames: list[Luma], view: View | None = None) -> list[Score]:
    detector = Detector(Rules(), view)
    return [detector.score(frame, number * PERIOD) for number, frame in enumerate(frames)]


def calm(count: int = 25) -> list[Luma]:
    return [scene(number) for number in range(count)]


def walk(start: int, count: int = 10) -> list[Luma]:
    return [scene(100 + number, thing=start + 6 * number) for number in range(count)]


class TestDetector:
    def test_noise_is_no_motion(self) -> None:
        assert not any(score.area or score.unsure for score in seen(calm(40)))

    def test_a_figure_that_walks_is_motion_of_its_size(self) -> None:
        scores = seen(calm() + walk(40) + calm(10))
        assert all(0.5 <= score.area <= 8 for score in scores[25:35])
        assert [(event.start, event.end) for event in gated(scores)] == [(5.0, 6.8)]

    @pytest.mark.parametrize("light", [0.3, 0.6, 1.3])
    def test_a_light_switch_is_no_motion(self, light: float) -> None:
        lit = [scene(200 + number, light=light) for number in range(15)]
        assert gated(seen(calm() + lit + calm(15))) == []

    def test_headlights_that_pass_are_no_motion(self) -> None:
        y, x = np.mgrid[0:180, 0:320]
        beams = [np.exp(-(((x - 30 * number) / 50) ** 2) - ((y - 90) / 40) ** 2) for number in range(15)]
        frames = [scene(600 + number, light=1 + 0.8 * beam) for number, beam in enumerate(beams)]
        assert gated(seen(calm() + frames + calm(10))) == []

    def test_infrared_switching_is_learned_at_once(self) -> None:
        detector = Detector(Rules())
        negative = [255 - frame for frame in calm(10)]
        scores = [detector.score(frame, number * PERIOD) for number, frame in enumerate(calm() + negative)]
        assert [score.unsure for score in scores[25:27]] == [True, False]
        assert gated(scores) == []

    def test_slow_light_is_no_motion(self) -> None:
        frames = [scene(number, light=1 - number / 100) for number in range(50)]
        assert gated(seen(frames)) == []

    def test_light_switched_while_somebody_walks_does_not_end_the_event(self) -> None:
        dark = [scene(300 + number, light=0.4, thing=100 + 6 * number) for number in range(10)]
        (event,) = gated(seen(calm() + walk(40) + dark))
        assert event.start == 5.0
        assert event.end >= 8.6

    def test_a_shaking_camera_is_no_motion(self) -> None:
        shaken = [np.roll(scene(400 + number), shift, 1) for number, shift in enumerate([2, -2, 1, -1, 0, 0])]
        assert gated(seen(calm() + shaken + calm(10))) == []

    def test_whoever_stands_still_is_present_and_then_becomes_background(self) -> None:
        standing = [scene(500 + number, thing=94) for number in range(90)]
        scores = seen(calm() + walk(40) + standing)[35:]
        assert all(score.present for score in scores[1 : int(11 / PERIOD)])
        assert not any(score.present or score.area for score in scores[int(13 / PERIOD) :])

    def test_whoever_leaves_a_background_they_were_learned_with_is_not_held(self) -> None:
        scores = seen([scene(number, thing=94) for number in range(25)] + calm(40))
        assert not any(score.present for score in scores)

    def test_a_change_of_everything_is_unsure_at_first_and_motion_when_it_goes_on(self) -> None:
        rng = np.random.default_rng(1)
        wild = [
            np.kron(rng.integers(0, 255, (23, 40)), np.ones((8, 8)))[:180].astype(np.uint8) for _ in range(12)
        ]
        scores = seen(calm() + wild)[25:]
        assert all(score.unsure for score in scores[:5])
        assert all(score.area for score in scores[8:])

    def test_ignored_parts_are_ignored(self) -> None:
        assert gated(seen(calm() + walk(40), View(ignored=(LEFT,)))) == []
        assert gated(seen(calm() + walk(40), View(ignored=(RIGHT,)))) != []

    def test_motion_has_the_name_of_its_zone(self) -> None:
        (event,) = gated(seen(calm() + walk(40), View(zones={"gate": RIGHT, "door": LEFT})))
        assert event.zone == "door"

    def test_with_zones_motion_outside_does_not_count(self) -> None:
        assert gated(seen(calm() + walk(40), View(zones={"gate": RIGHT}))) == []

    def test_a_new_picture_size_begins_anew(self) -> None:
        detector = Detector(Rules())
        for number, frame in enumerate([*calm(), *(frame[:120] for frame in calm())]):
            assert not detector.score(np.ascontiguousarray(frame), number * PERIOD).area

    def test_peek_does_not_learn(self) -> None:
        detector = Detector(Rules())
        for number, frame in enumerate(calm()):
            detector.score(frame, number * PERIOD)
        assert detector.peek(scene(900)) < Rules().min_area
        assert all(detector.peek(scene(900, thing=60)) > 1 for _ in range(20))

    @pytest.mark.parametrize(("shape", "small"), [((720, 1280), (180, 320)), ((120, 160), (240, 320))])
    def test_shrink_scales_to_one_width(self, shape: tuple[int, int], small: tuple[int, int]) -> None:
        assert shrink(np.zeros(shape, np.uint8)).shape == small


def rec_entry(at: float, *, key: bool = False, video: bool = True, size: int = 10) -> Entry:
    return Entry(at, at, 0.1, video, key, size, 0.0, None)


def rec_stream(seconds: int, *, group: float = 1.0, rate: int = 10) -> list[Entry]:
    """Frames with a keyframe every `group` seconds, and sound after every second frame."""
    entries = []
    for number in range(seconds * rate):
        at = number / rate
        entries.append(rec_entry(at, key=number % round(group * rate) == 0))
        if number % 2:
            entries.append(rec_entry(at - 0.05, video=False, size=1))
    return entries


class TestHeaders:
    SEQUENCE = b"\x67\x4d\x00\x1f\x95"
    OTHER = b"\x67\x4d\x00\x28\x95"
    HEVC = b"\x42\x01\x01\x60"

    def packet(self, *units: bytes) -> bytes:
        return b"".join(b"\0\0\0\1" + unit for unit in units)

    def test_the_sequence_parameter_sets_before_the_first_slice(self) -> None:
        found = headers.sequence(
            self.packet(b"\x09\xf0", self.SEQUENCE, b"\x68\xee", b"\x65\x88", self.OTHER), "h264"
        )
        assert found == self.SEQUENCE
        assert headers.sequence(self.packet(b"\x46\x01", self.HEVC, b"\x26\x01\xaf"), "hevc") == self.HEVC
        assert headers.sequence(self.packet(b"\x65\x88"), "h264") == b""

    @given(st.binary(max_size=60), st.sampled_from(["h264", "hevc", "av1"]))
    def test_anything_may_come(self, data: bytes, codec: str) -> None:
        assert isinstance(headers.sequence(data, codec), bytes)
        assert headers.codec(data) in ("", *headers.CODECS)

    def test_what_begins_a_packet_tells_its_codec(self) -> None:
        assert headers.codec(self.packet(b"\x09\xf0")) == "h264"
        assert headers.codec(self.packet(self.SEQUENCE)) == "h264"
        assert headers.codec(self.packet(b"\x46\x01\x50")) == "hevc"
        assert headers.codec(self.packet(b"\x40\x01\x0c")) == "hevc"
        assert headers.codec(self.packet(b"\x41\x9a\x21")) == ""
        assert headers.codec(b"\xff\xd8") == ""


class TestVigil:
    class Manager(service.Service):
        """Notes what it would send."""

        def __init__(self) -> None:
            super().__init__({"WATCHDOG_USEC": "20000000"})
            self.sent: list[str] = []

        def beat(self) -> None:
            self.sent.append("beat")

        def _send(self, *lines: str) -> None:
            self.sent += lines

    @pytest.fixture
    def now(self, mocker: MockerFixture) -> list[float]:
        moment = [100.0]
        mocker.patch("camarchiver.vigil.time.monotonic", lambda: moment[0])
        return moment

    def test_every_frame_of_the_only_camera_feeds_the_watchdog(self, now: list[float]) -> None:
        manager = self.Manager()
        watch = vigil.Vigil(manager, ["yard"])
        for now[0] in (101.0, 300.0):
            watch.frame("yard")
        assert manager.sent == ["beat", "beat"]

    def test_a_camera_that_hangs_starves_it_until_it_is_known_to_be_away(self, now: list[float]) -> None:
        manager = self.Manager()
        watch = vigil.Vigil(manager, ["yard", "gate"])
        now[0] = 109.0
        watch.frame("yard")
        now[0] = 111.0
        watch.frame("yard")
        assert manager.sent == ["beat"]
        watch.tell("gate", "lost", away=True)
        watch.frame("yard")
        assert manager.sent == ["beat", "STATUS=yard: waiting; gate: lost", "beat"]
        watch.frame("gate")
        now[0] = 125.0
        watch.frame("yard")
        assert manager.sent[3:] == ["beat"]

    def test_the_manager_hears_of_changes_once(self) -> None:
        manager = self.Manager()
        watch = vigil.Vigil(manager, ["yard", "gate"])
        watch.begin()
        for doing in ("watching", "watching", "recording"):
            watch.tell("gate", doing)
        watch.end()
        assert manager.sent == [
            *("READY=1", "STATUS=yard: waiting; gate: waiting"),
            *("STATUS=yard: waiting; gate: watching", "STATUS=yard: waiting; gate: recording"),
            "STOPPING=1",
        ]


class TestRing:
    def test_it_gives_back_whole_groups(self) -> None:
        ring = Ring(5.0, 1_000_000)
        for entry in rec_stream(8):
            ring.push(entry)
        held = ring.since(5.5)
        assert held[0].key
        assert held[0].at == 5.0
        assert [entry.at for entry in held if entry.video] == [number / 10 for number in range(50, 80)]

    def test_motion_older_than_the_ring_begins_with_its_oldest_keyframe(self) -> None:
        ring = Ring(2.0, 1_000_000)
        for entry in rec_stream(8):
            ring.push(entry)
        assert ring.since(0.0)[0].at == 5.0

    def test_sound_that_came_before_its_keyframe_is_kept(self) -> None:
        ring = Ring(5.0, 1_000)
        ring.push(rec_entry(0.0, key=True))
        ring.push(rec_entry(0.95, video=False))
        ring.push(rec_entry(1.05, video=False))
        ring.push(rec_entry(1.0, key=True))
        assert [entry.at for entry in ring.since(1.0)] == [1.0, 1.05]

    def test_nothing_before_the_first_keyframe(self) -> None:
        ring = Ring(5.0, 1_000)
        ring.push(rec_entry(0.0))
        ring.push(rec_entry(0.0, video=False))
        assert ring.since(0.0) == ()
        assert ring.size == 0

    def test_a_group_beyond_the_limit_is_dropped_whole(self) -> None:
        ring = Ring(60.0, 100)
        for number in range(20):
            ring.push(rec_entry(number / 10, key=number == 0))
        assert ring.since(0.0) == ()
        ring.push(rec_entry(2.0, key=True))
        assert len(ring.since(0.0)) == 1

    @given(
        st.lists(st.tuples(st.booleans(), st.integers(1, 40)), max_size=200),
        st.integers(1, 200),
        st.floats(0.5, 5),
    )
    def test_bounds_and_order_hold_for_any_stream(
        self, packets: list[tuple[bool, int]], limit: int, seconds: float
    ) -> None:
        ring = Ring(seconds, limit)
        for number, (key, size) in enumerate(packets):
            ring.push(rec_entry(number / 10, key=key, size=size))
            held = ring.since(float("-inf"))
            assert ring.size == sum(entry.size for entry in held) <= limit
            assert not held or held[0].key
            assert [entry.at for entry in held] == sorted(entry.at for entry in held)

    def test_cleared(self) -> None:
        ring = Ring(5.0, 1_000)
        ring.push(rec_entry(0.0, key=True))
        ring.clear()
        assert ring.since(0.0) == ()


class TestReel:
    LENGTHS = Lengths(pre=2.0, post=3.0, longest=10.0)

    def ran(self, reel_: Reel, entries: list[Entry]) -> list[tuple[Do, float]]:
        done = []
        for entry in entries:
            reel_, do = reel.decide(reel_, entry, self.LENGTHS)
            if do is not Do.WRITE:
                done.append((do, entry.at))
            if do is Do.SPLIT:
                reel_ = Reel(entry.at, reel_.until, reel_.trigger, reel_.group, entry.at)
            if do is Do.END:
                break
        return done

    def test_it_ends_after_the_post_roll(self) -> None:
        assert self.ran(Reel(0.0, 5.05, 2.0), rec_stream(8)) == [(Do.END, 5.1)]

    def test_it_is_split_at_a_keyframe_before_it_gets_too_long(self) -> None:
        done = self.ran(Reel(0.0, 35.0, 2.0), rec_stream(40, group=3.0))
        assert done == [(Do.SPLIT, 9.0), (Do.SPLIT, 18.0), (Do.SPLIT, 27.0), (Do.END, 35.1)]

    def test_groups_longer_than_the_limit_split_at_every_keyframe(self) -> None:
        done = self.ran(Reel(0.0, 50.0, 2.0), rec_stream(60, group=20.0))
        assert done == [(Do.SPLIT, 20.0), (Do.SPLIT, 40.0), (Do.END, 50.1)]

    def test_motion_makes_it_longer_and_never_shorter(self) -> None:
        longer = reel.prolonged(Reel(0.0, 5.0, 2.0), 4.0, self.LENGTHS)
        assert longer.until == 7.0
        assert reel.prolonged(longer, 1.0, self.LENGTHS).until == 7.0

    def test_names_are_read_back(self) -> None:
        stamp = reel.stamp(datetime(2026, 5, 3, 14, 20, 5))
        assert reel.file_name(stamp, 10.04, 1) == "motion_20260503_142005_10.0s.mp4"
        second = reel.file_name(stamp, 10.0, 2)
        assert second == "motion_20260503_142005_10.0s_2.mp4"
        parsed = Names().read(second.removesuffix(".mp4"), "yard")
        assert parsed is not None
        assert (parsed.camera, parsed.start, parsed.duration) == ("yard", datetime(2026, 5, 3, 14, 20, 5), 10)

    def test_numbers_count_clips_of_the_second_whatever_their_length(self) -> None:
        names = ["motion_20260503_142005_10.0s.mp4", "motion_20260503_142005_10.0s.jpg", "x.mp4"]
        assert reel.next_number("motion_20260503_142005", names) == 2
        assert reel.next_number("motion_20260503_142006", names) == 1

    @pytest.mark.parametrize(
        ("moments", "missing"),
        [
            ([], 0),
            ([0.0, 0.1], 0),
            ([0.0, 0.1, 0.2, 0.3], 0),
            ([0.0, 0.1, 0.2, 0.5, 0.6, 0.7], 2),
            ([0.0, 0.0, 0.0, 0.0], 0),
        ],
    )
    def test_gaps(self, moments: list[float], missing: int) -> None:
        assert reel.missing(moments) == missing


EX_NOW = datetime(2026, 5, 20, 12, tzinfo=UTC)


def ex_clip(age: float, *, size: int = 100, transferred: bool = False, off: float = 0.0, **more: Any) -> Any:
    """A clip in the outbox, some days old by its name and `off` days less by its mtime."""
    start = EX_NOW - timedelta(days=age)
    mtime = int((start + timedelta(days=off)).timestamp() * 1e9)
    clip = Clip(
        root=Path("/outbox"),
        folder="yard",
        name=f"motion_{start:%Y%m%d_%H%M%S}_10.0s.mp4",
        camera="yard",
        start=start,
        fingerprint=Fingerprint(1, 2, size, mtime),
        **more,
    )
    return Waiting(clip, size, transferred)


def ex_gone(steps: Any) -> list[float]:
    """How old what goes is, in days, in its order."""
    return [(EX_NOW - step.start) / timedelta(days=1) for step in steps if isinstance(step, Discard)]


class TestExpiry:
    def test_nothing_goes_before_it_was_announced_for_a_day(self) -> None:
        terms = Terms(timedelta(days=7))
        clips = [ex_clip(8), ex_clip(6.5), ex_clip(5)]
        first = expiry.announced(clips, terms, {}, (), EX_NOW)
        assert [step.reason for step in first.steps] == [Reason.ANNOUNCED, Reason.ANNOUNCED, Reason.IN_POLICY]
        assert first.fresh == tuple(each.clip.relative for each in clips[:2])
        for hours, gone in ((23, []), (24, [8.0, 6.5])):
            then = EX_NOW + timedelta(hours=hours)
            later = expiry.announced(clips, terms, first.notices, (), then)
            assert ex_gone(later.steps) == gone
            assert not set(later.fresh) & set(first.fresh)

    def test_an_announcement_speaks_of_one_file_only(self) -> None:
        terms, clip = Terms(timedelta(days=7)), ex_clip(8)
        name = clip.clip.relative
        early = EX_NOW - timedelta(days=2)
        for notice in (
            Notice(99, clip.clip.fingerprint.mtime_ns, early, Reason.KEEP_DAYS),
            Notice(100, 5, early, Reason.KEEP_DAYS),
            Notice(100, clip.clip.fingerprint.mtime_ns, EX_NOW + timedelta(days=9), Reason.KEEP_DAYS),
        ):
            found = expiry.announced([clip], terms, {name: notice}, (), EX_NOW)
            assert (ex_gone(found.steps), found.fresh) == ([], (name,))
            assert found.notices[name].at == EX_NOW

    def test_max_storage_takes_confirmed_transfers_first_then_the_oldest(self) -> None:
        clips = [ex_clip(5), ex_clip(4), ex_clip(3, transferred=True), ex_clip(2)]
        for limit, gone in (
            (400, []),
            (399, [3.0]),
            (300, [3.0]),
            (200, [3.0, 5.0]),
            (1, [3.0, 5, 4, 2]),
        ):
            assert ex_gone(expiry.at_once(clips, Terms(None, limit), (), EX_NOW)) == gone

    def test_max_storage_announces_what_the_next_day_will_push_out(self) -> None:
        clips = [ex_clip(5), ex_clip(4), ex_clip(0.5)]
        found = expiry.announced(clips, Terms(None, 300), {}, (), EX_NOW)
        assert found.fresh == (clips[0].clip.relative,)
        assert ex_gone(expiry.at_once(clips, Terms(None, 300), (), EX_NOW)) == []

    def test_what_goes_by_age_does_not_count_as_stored(self) -> None:
        clips = [ex_clip(9), ex_clip(8), ex_clip(2), ex_clip(1)]
        assert ex_gone(expiry.at_once(clips, Terms(timedelta(days=7), 200), (), EX_NOW)) == [9.0, 8.0]

    def test_a_hold_keeps_a_clip_from_every_rule(self) -> None:
        hold = Hold("x", EX_NOW - timedelta(days=9), EX_NOW - timedelta(days=8))
        clips = [ex_clip(8.5, transferred=True), ex_clip(8.1), ex_clip(7.9)]
        terms = Terms(timedelta(days=1), 1)
        assert ex_gone(expiry.at_once(clips, terms, [hold], EX_NOW)) == [7.9]
        assert ex_gone(expiry.make_room(clips, 1000, [hold], EX_NOW)) == [7.9]
        found = expiry.announced(clips, terms, {}, [hold], EX_NOW)
        assert [step.reason for step in found.steps] == [Reason.HELD, Reason.HELD, Reason.ANNOUNCED]

    def test_a_doubtful_clock_keeps_what_was_not_transferred(self) -> None:
        terms = Terms(timedelta(days=7))
        clips = [ex_clip(31, off=3), ex_clip(30, off=3, transferred=True), ex_clip(-3, off=-40)]
        assert ex_gone(expiry.at_once(clips, terms, (), EX_NOW)) == [30.0]
        past = datetime(1970, 1, 2, tzinfo=UTC)
        assert ex_gone(expiry.at_once([ex_clip(30)], terms, (), past)) == []
        notices = {"yard/x": Notice(1, 1, EX_NOW, Reason.KEEP_DAYS)}
        assert expiry.announced([ex_clip(30)], terms, notices, (), past).notices == notices

    def test_room_is_made_of_no_more_than_needed_and_only_of_what_frees_any(self) -> None:
        clips = [ex_clip(5, links=2), ex_clip(4), ex_clip(3), ex_clip(2, transferred=True)]
        assert ex_gone(expiry.make_room(clips, 150, (), EX_NOW)) == [2.0, 4.0]
        assert expiry.make_room(clips, 0, (), EX_NOW) == ()

    @given(
        ages=st.lists(st.floats(0, 40), max_size=12),
        limit=st.integers(1, 1500),
        days=st.floats(0.1, 40),
        hours=st.floats(0, 100),
    )
    def test_what_goes_was_announced_for_a_day_whatever_comes(
        self, ages: list[float], limit: int, days: float, hours: float
    ) -> None:
        clips, terms = [ex_clip(age) for age in ages], Terms(timedelta(days=days), limit)
        first = expiry.announced(clips, terms, {}, (), EX_NOW)
        assert ex_gone(first.steps) == []
        later = expiry.announced(clips, terms, first.notices, (), EX_NOW + timedelta(hours=hours))
        if hours < 24:
            assert ex_gone(later.steps) == []
        gone = {step.relative for step in later.steps if isinstance(step, Discard)}
        assert gone <= set(first.notices)
        assert len(later.steps) == len(clips)


class TestSchedule:
    @pytest.mark.parametrize(
        ("text", "moment", "holds"),
        [
            ("08:00-18:00", "2026-05-04 08:00", True),
            ("08:00-18:00", "2026-05-04 18:00", False),
            ("08:00-09:00,17:00-18:00", "2026-05-04 17:30", True),
            ("18:00-06:00", "2026-05-04 03:00", True),
            ("18:00-06:00", "2026-05-04 06:00", False),
            ("fr 18:00-06:00", "2026-05-09 05:59", True),  # Saturday's morning is Friday's night
            ("fr 18:00-06:00", "2026-05-08 05:59", False),
            ("sa-mo 00:00-24:00", "2026-05-10 12:00", True),
            ("sa-mo 00:00-24:00", "2026-05-12 12:00", False),
            ("SA,SU 10:00-11:00", "2026-05-10 10:59", True),
            # the hour that comes twice, and the one that never comes
            ("02:00-03:00", "2026-10-25 02:30", True),
            ("01:00-04:00", "2026-03-29 03:00", True),
        ],
    )
    def test_ranges(self, text: str, moment: str, holds: bool) -> None:
        assert schedule.holds(schedule.parse(text), datetime.fromisoformat(moment)) is holds

    def test_none_is_always(self) -> None:
        assert schedule.holds((), datetime(2026, 5, 4))

    @pytest.mark.parametrize(
        "text", ["8-18", "08:00", "25:00-26:00", "08:60-09:00", "08:00-08:00", "xx 08:00-09:00", "a b c"]
    )
    def test_nonsense_is_refused(self, text: str) -> None:
        with pytest.raises(UsageError):
            schedule.parse(text)


class TestSweeps:
    """Which of a command's calls the fault sweeps try, and what they count."""

    LOG = """
7 openat(AT_FDCWD</>, "/tree/a", O_RDONLY) = 3</tree/a>
7 read(3</tree/a>, "x", 1) = 1
8 newfstatat(AT_FDCWD</>, "/tree/b", {}, 0) = 0
7 read(5<pipe:[12]>, "x", 1) = 1
7 unlink("/tree/a") = 0
7 newfstatat(AT_FDCWD</>, "/tree/c", {}, 0) = 0
8 close(4</tree/b>) = 0
7 write(1</dev/null>, "x", 1) = 1
"""

    @pytest.fixture(autouse=True)
    def beside(self, monkeypatch: pytest.MonkeyPatch) -> None:
        scripts = Path(__file__).resolve().parents[1] / "scripts"
        if not scripts.exists():
            pytest.skip("scripts is not beside the tests")
        monkeypatch.syspath_prepend(str(scripts))

    def seen(self) -> list[Any]:
        calls = importlib.import_module("sweeps.calls")
        wanted = {"openat", "read", "newfstatat", "unlink", "close", "write"}
        return list(calls.seen(self.LOG, [Path("/tree")], wanted, inside=False))

    def test_one_kill_stands_for_those_that_find_the_disk_alike(self) -> None:
        calls = importlib.import_module("sweeps.calls")
        assert calls.worth_trying("kill", self.seen(), every_call=False) == {
            "unlink": {1: 4},
            "newfstatat": {1: 1},  # the other thread's, of which only the first with a number counts
            "write": {1: 1},
            "close": {1: 1},
        }

    @pytest.mark.parametrize(
        ("line", "spared"),
        [
            ('newfstatat(AT_FDCWD</>, "/tree/b", {}, 0) = -1 EIO (INJECTED)', False),
            (f'newfstatat(AT_FDCWD</>, "{sys.prefix}/x.so", {{}}, 0) = -1 EIO (INJECTED)', True),
            ('read(5<pipe:[12]>, "x", 1) = -1 EIO (INJECTED)', True),
            ('read(5<pipe:[12]>, "x", 1) = 1', False),
            (
                "read(5<pipe:[12]> <unfinished ...>\n8 read(3</tree/a>) = 1\n"
                "7 <... read resumed>) = -1 EIO (INJECTED)",
                True,
            ),
            (f"read(3</tree/a>) = -1 EIO (INJECTED)\n8 read(4<{sys.prefix}/x.so>) = -1 EIO (INJECTED)", True),
        ],
    )
    def test_a_fault_away_from_the_trees_is_none_of_a_disk(
        self, tmp_path: Path, line: str, spared: bool
    ) -> None:
        calls = importlib.import_module("sweeps.calls")
        (tmp_path / "calls").write_text(f'7 read(3</tree/a>, "x", 1) = 1\n7 {line}\n')
        assert calls.spares_the_disks(tmp_path / "calls") is spared
        assert calls.breaks_a_pipe(tmp_path / "calls") is ("<pipe" in line and "INJECTED" in line)

    def test_every_call_can_be_asked_for(self) -> None:
        calls = importlib.import_module("sweeps.calls")
        tried = calls.worth_trying("kill", self.seen(), every_call=True)
        assert tried["read"] == {1: 1, 2: 1}
        assert sum(map(len, tried.values())) == 7

    def test_no_disk_fails_at_a_pipe(self) -> None:
        calls = importlib.import_module("sweeps.calls")
        tried = calls.worth_trying("errors", self.seen(), every_call=False)
        assert tried["read"] == {1: 1}
        assert "write" not in tried

    def test_a_sweep_that_is_stopped_counts_what_it_has_tried(self) -> None:
        sweeps = importlib.import_module("sweeps")
        options = sweeps.Options(Path("/nonexistent"))

        def attempt(trial: int) -> list[str]:
            if trial == 3:
                options.stopped.set()
            return []

        told = sweeps.tally("trials", range(10), attempt, options)
        assert (told.trials, told.violations, told.note) == (4, 0, "stopped, of 10")


REPOSITORY = Path(__file__).resolve().parents[1]


class TestMissingLibraries:
    def test_a_library_that_ffmpeg_could_not_load_is_about_the_device(self) -> None:
        """The node may be missing as well: only of this trouble the node is looked at."""
        line = "implib-gen: libX11.so.6: failed to load library 'libX11.so.6' via dlopen"
        found = diagnose([line, "Conversion failed!"])
        assert (found.trouble, found.line) == (Trouble.DEVICE, line)
        assert "library" in found.remedy


class TestConstraints:
    """constraints.txt against what pyproject.toml asks for."""

    @staticmethod
    def wanted() -> list[Requirement]:
        project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
        extras = project["project"]["optional-dependencies"].values()
        lists = (project["project"]["dependencies"], *extras, project["dependency-groups"]["dev"])
        return [Requirement(line) for lines in lists for line in lines]

    def test_every_dependency_has_a_version_that_is_allowed(self) -> None:
        lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
        pinned = [Requirement(line) for line in lines if not line.startswith("#")]
        versions = {canonicalize_name(each.name): str(each.specifier).removeprefix("==") for each in pinned}
        for each in self.wanted():
            assert each.specifier.contains(versions[canonicalize_name(each.name)]), each

    def test_no_extra_is_needed_to_watch(self) -> None:
        assert "inotify_simple" in [each.name for each in self.wanted() if each.name.startswith("inotify")]
        project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
        assert set(project["optional-dependencies"]) == {"record", "distributed"}


class TestDates:
    """Where tests, sweeps and benches put their files."""

    @pytest.fixture(autouse=True)
    def unmoved(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(dates, "DAYS_EARLIER", 0)

    def test_the_moment_is_a_parameter_and_everything_is_in_utc(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TESTS_NOW", "2028-03-01T00:30:00+14:00")
        assert dates.now() == datetime(2028, 2, 29, 10, 30, tzinfo=UTC)
        assert dates.lately() == datetime(2027, 12, 31, 10, 15, tzinfo=UTC)
        assert dates.clip_of("front", dates.now()) == "2028/02/29/REO_front_20280229103000"

    def test_the_past_moves_and_age_limits_with_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TESTS_NOW", "2027-03-15T12:00:00+00:00")
        monkeypatch.setattr(dates, "DAYS_EARLIER", 15)
        assert dates.ago(7) == datetime(2027, 2, 21, 12, tzinfo=UTC)
        assert dates.recently(hours=2) == datetime(2027, 3, 15, 10, tzinfo=UTC)
        assert (dates.age(7), dates.age(0.5)) == ("22", "15.5")

    def test_other_days_miss_no_day(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "path", [*sys.path])
        other_days = runpy.run_path(str(REPOSITORY / "scripts/other-days"))
        days = [moment.astimezone(UTC).date() for moment in other_days["moments"]()]
        assert days[:400] == [days[0] + timedelta(days=each) for each in range(400)]
        assert date(2028, 2, 29) in days and date(2028, 2, 29) + timedelta(days=60) in days

    @given(st.datetimes(datetime(2026, 1, 1), datetime(2060, 1, 1)))
    def test_the_hour_that_repeats_comes_twice_and_is_long_ago(self, moment: datetime) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TESTS_NOW", f"{moment.isoformat()}+00:00")
            first = dates.repeated_hour()
            assert first < dates.now() - timedelta(days=30)
        local = [(first + timedelta(hours=each)).astimezone(ZoneInfo("Europe/Berlin")) for each in (0, 1)]
        assert [f"{each:%H:%M}" for each in local] == ["02:30", "02:30"]
        assert [each.fold for each in local] == [0, 1]


class TestPrograms:
    """What is skipped for want of a program."""

    def test_each_program_has_one_line_with_its_count(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(programs, "is_here", lambda program: program == "rsync")
        without = [
            programs.why_not("rsync", "strace"),
            programs.why_not("mkfs.vfat"),
            programs.why_not("strace"),
        ]
        assert list(programs.summary(["only root may mount", *without])) == [
            "    1 skipped: mkfs.vfat is not here: apt-get install dosfstools",
            "    2 skipped: strace is not here: apt-get install strace",
            "    1 skipped: only root may mount",
        ]
        assert programs.why_not("rsync") == ""

    def test_what_is_installed_has_packages(self) -> None:
        assert set(programs.WANTED) <= set(programs.PACKAGES)
