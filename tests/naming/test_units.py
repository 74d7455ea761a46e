"""naming: decisions and formats, without a disk."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from camarchiver.errors import ConfigError
from camarchiver.naming import folders as naming_folders
from camarchiver.naming import paths as name_paths
from camarchiver.naming import patterns as name_patterns
from camarchiver.naming.folders import comparable
from camarchiver.naming.formats import (
    CLIP_SUFFIXES,
    OTHER_VIDEO_SUFFIXES,
    PICTURE_SUFFIXES,
    is_clip_name,
    is_other_video_name,
    is_picture_name,
    is_raw_name,
    is_temporary_name,
)
from camarchiver.naming.patterns import PATTERNS, Names, ParsedName
from camarchiver.naming.proposals import NameSample, propose
from camarchiver.naming.system_folders import KNOWN, OWN, RECYCLE_BIN, SYSTEM_FOLDERS, PassedOver
from tests.values import BERLIN, ns

NEW_YORK = ZoneInfo("America/New_York")

ANY_STEM = st.text(max_size=60) | st.from_regex(r"[\w .\-\[\]@]{0,40}\d{4,20}[\w.\-]{0,10}", fullmatch=True)
ANY_FOLDER = st.text(max_size=40) | st.from_regex(r"([a-z]{1,5}/)?\d{4}[-/]?\d\d[-/]?\d\d", fullmatch=True)
FILE_NAME = st.binary(min_size=1, max_size=255).filter(lambda raw: b"/" not in raw and b"\0" not in raw)


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
        assert row.source.startswith("https://") or row.source == "camarchiver.record.recorder"

    @pytest.mark.parametrize(
        "stem",
        [
            "front_2026-05-03_14-20-05_2026-05-03_14-30-05",
            "front_20260503_142005_to_20260503_143005",
            "REO_front_20260503142005_20260503143005",
            "front_2026-05-03T14-20-05_20260503143005",
            "20260503142005-20260503143005",
            "20260503-142005-20260503143005",
            "front.20260503_142005.20260503_143005",
            "front_2026-05-03_14-20_2026-05-03_14-30-05",
            "front_202605031420_20260503143005",
            "front_20260503142005123_20260503143005",
            "front_2026-05-03T14_20_05_20260503143005",
            "front_2026-05-03--14-20-05_20260503143005",
        ],
    )
    def test_an_end_is_no_start(self, stem):
        assert Names().read(stem, "2026/05/03") is None

    def test_a_number_of_five_digits_is_a_camera_of_motion(self):
        parsed = Names().read("10012-042-20250210170144", "shed")
        assert parsed is not None and parsed.camera == "shed_ch10012"

    @pytest.mark.parametrize(
        "camera", ["192168001064", "202613011420", "front_2026-05-03", "I20160512CCWR6140"]
    )
    def test_other_numbers_in_a_camera_are_no_time(self, camera):
        parsed = Names().read(f"{camera}_20260503143005", "")
        assert parsed is not None and parsed.camera == camera

    def test_a_folder_that_was_copied_at_some_time_may_say_so(self):
        folder = "card of 2026-05-03 14-20-05/record/20220927/15"
        parsed = Names().read("07", folder)
        assert parsed is not None and parsed.start == datetime(2022, 9, 27, 15, 7)

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
            ("Front Door - 2-9-2020, 11.21.12pm", "Front Door", "2020-02-09 23:21:12", None, ""),
            ("yard/3-1-2026, 8.15.00pm", "yard", "2026-03-01 20:15", None, ""),
            ("yard/12-31-2026, 12.05.00AM", "yard", "2026-12-31 00:05", None, ""),
            ("yard/12-31-2026, 12.05.00PM", "yard", "2026-12-31 12:05", None, ""),
            ("NVR_ch1_main_20230131000000_20230131010000", "NVR_ch1", "2023-01-31", 3600.0, "1"),
            ("yard/D3_S20230719090001_E20230719091810", "yard_ch3", "2023-07-19 09:00:01", 1089.0, "3"),
            (
                "barn/idea0/2026-07-31/001/23.50.00-00.10.00[R][@17f2][0]",
                "barn_ch1",
                "2026-07-31 23:50",
                1200.0,
                "1",
            ),
            (
                "idea0/2026-07-31/002/23.40.00-23.50.00[M][@e1][0]",
                "camera_ch2",
                "2026-07-31 23:40",
                600.0,
                "2",
            ),
            ("nest box/record/20220927/15/07", "nest box", "2022-09-27 15:07", None, ""),
            ("record/20220927/15/07", "camera", "2022-09-27 15:07", None, ""),
            ("nest/20220927/15/07", "nest", "2022-09-27 15:07", None, ""),
            ("front_2022-11-03_18-20-00_EST", "front", "2022-11-03 18:20", None, ""),
            (
                "x/78DF72DE6C4E/00_20260504235500_20260505001000",
                "78DF72DE6C4E",
                "2026-05-04 23:55",
                900.0,
                "",
            ),
            ("attic/2024Y09M18D08H/E206M00S60", "attic", "2024-09-18 08:06", 60.0, ""),
            ("attic/2024Y09M18D08H/22M37S23", "attic", "2024-09-18 08:22:37", 23.0, ""),
            ("attic/2024Y09M18D08H/22M37S", "attic", "2024-09-18 08:22:37", None, ""),
            ("porch/2024-11-07/2024-11-07T23-26-14", "porch", "2024-11-07 23:26:14", None, ""),
            ("events/5/16/09/12/19/37/42/4023-video", "5", "2016-09-12 19:37:42", None, ""),
            ("recordings/camera_1/2024-05-01/16:01:04", "camera_1", "2024-05-01 16:01:04", None, ""),
            ("Camera01/20221230205117", "Camera01", "2022-12-30 20:51:17", None, ""),
            ("bell/RingVideo_20251205_075319", "bell", "2025-12-05 07:53:19", None, ""),
            (
                "x/20210712_141048_857A_ACCC8EAF31F3/20210712_14/20210712_141048_5E30",
                "ACCC8EAF31F3",
                "2021-07-12 14:10:48",
                None,
                "",
            ),
            ("gate/20210712_141048_5E30", "gate", "2021-07-12 14:10:48", None, ""),
            ("20260301_201500", "camera", "2026-03-01 20:15", None, ""),
            ("cellar/20260301_201500_tp00003", "cellar", "2026-03-01 20:15", None, ""),
            ("back_door_20091115_164501", "back_door", "2009-11-15 16:45:01", None, ""),
            ("HH/WINDOW/03-01-2026/1A123455", "WINDOW", "2026-03-01 12:34:55", None, ""),
            ("unit7_Jan.01.2006_01.10.00+", "unit7", "2006-01-01 01:10", None, ""),
            ("van/Dec.31.2006_23.10.00", "camera", "2006-12-31 23:10", None, ""),
            ("bus/H20190808-095851P1N2P0", "bus_ch2", "2019-08-08 09:58:51", None, "2"),
            ("garden/2008-11-07_11-22-04-123456", "garden", "2008-11-07 11:22:04.123", None, ""),
            ("3_2018-05-31_14-37-09", "3", "2018-05-31 14:37:09", None, ""),
            ("shed/2018-05-31_14-37-09", "shed", "2018-05-31 14:37:09", None, ""),
            ("dock/2026/03/01/20/15/00", "dock", "2026-03-01 20:15", None, ""),
            ("dock/20260301/20/15/00", "dock", "2026-03-01 20:15", None, ""),
            ("20260301/20/15/00", "camera", "2026-03-01 20:15", None, ""),
            ("dock/2026-03-01/20/15", "dock", "2026-03-01 20:15", None, ""),
        ],
    )
    def test_local_names(self, path, camera, start, duration, channel):
        assert read(path) == ParsedName(camera, datetime.fromisoformat(start), False, duration, channel)

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
            ("front_2022-11-03_18-20-00_UTC", "front", "2022-11-03 18:20"),
            ("hall/MIJIA_RECORD_VIDEO/2021072308/42M03S_1627051323", "hall", "2021-07-23 14:42:03"),
            ("videos/78DF72BBDC20/2025051223/52M00S_1747065120", "78DF72BBDC20", "2025-05-12 15:52"),
            ("Yard/20260301PM/Yard-20260301-201500-1772392500123-1", "Yard", "2026-03-01 19:15:00.123"),
            ("NVR_MPEG4_00000085_20080512_110000_20080512_113000", "00000085", "2008-05-12 11:00"),
            ("nest/front_door/1675781436-camera_person", "front_door", "2023-02-07 14:50:36"),
            ("clips/front-1606742747.272411-0lbwng", "front", "2020-11-30 13:25:47"),
            ("test/2022/06/06/2022-06-06T05 22 15", "test", "2022-06-06 05:22:15"),
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
            "cam_20230131000000_20230131010000",  # the second one is the end, and no maker is known
            "cam_20250210_120000_20250210_121500",
            "yard/13-1-2026, 8.15.00pm",  # month 13
            "yard/3-1-2026, 13.15.00pm",
            "yard/3-1-2026, 0.15.00am",
            "van/Foo.31.2006_23.10.00",
            "dock/20260301/24/15/00",
            "datadir0/hiv00012",
            "events/1/2020-11-28/2735/2735-video",
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

    @settings(max_examples=400)
    @given(st.data())
    def test_a_row_matches_every_name_of_a_form(self, data):
        # `Names` remembers which forms no row matches.
        row = data.draw(st.sampled_from(PATTERNS))
        stem, folder = split(row.example)
        other = "".join(data.draw(st.sampled_from("0123456789")) if c.isdecimal() else c for c in stem)
        assert row.match(other, folder) is not None

    def test_an_impossible_time_hides_no_other_name_of_its_form(self):
        reader = Names()
        assert reader.read("REO_front_20261303142005", "yard") is None
        assert reader.read("REO_front_20261203142005", "yard") is not None

    def test_a_form_that_is_unread_in_one_folder_may_be_read_in_another(self):
        reader = Names()
        assert reader.read("15", "yard") is None
        assert reader.read("15", "yard/20260301/20") is not None
        assert reader.read("15", "yard") is None

    @pytest.mark.parametrize(
        ("stem", "folder", "words"),
        [
            ("hiv00012", "datadir0", "Hikvision SD card and NAS: .* FTP"),
            ("2735-video", "events/1/2020-11-28/2735", "ZoneMinder.* Deep"),
            ("holiday", "", "^$"),
        ],
    )
    def test_what_is_known_of_names_without_a_time(self, stem, folder, words):
        assert re.search(words, name_patterns.why_timeless(stem, folder))

    def test_the_order_of_names_changes_no_answer(self):
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
        assert found == ParsedName(comparable(camera), start, False, None, "")


class TestOwnPatterns:
    def test_own_ones_come_first(self):
        own = name_patterns.compile_pattern(r"REO_(?P<camera>[a-z]+)_\w+_(?P<time>\d{14})", name="mine")
        reader = Names([own])
        for _ in range(2):
            assert reader.read("REO_a_b_20260503142005", "").camera == "a"
            assert reader.read("REO_a_20260503142005", "").camera == "a"

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
            (r"(?P<unix>\d+)", "1777818000000"),
            (
                r"(?P<month>\w+) (?P<day>\d+) (?P<year>\d+) at (?P<hour>\d+)\.(?P<minute>\d+) (?P<ampm>..)",
                "May 3 2026 at 2.20 PM",
            ),
            (
                r"(?P<day>\d\d)-(?P<month>\w+)-(?P<year>\d\d) (?P<hour>\d+)\.(?P<minute>\d+)(?P<ampm>.*)",
                "03-MAY-26 02.20p.m.",
            ),
            (r"(?P<time>[\d ]+)(?P<ampm>[AP])", "20260503 022000P"),
            (r"(?P<time>\d{8}T\d{6})(?P<utc>.*)", "20260503T152000+0100"),
            (r"(?P<time>\d{8}T\d{6})(?P<utc>.*)", "20260503T092000UTC-5"),
            (r"(?P<time>\d{8}T\d{6}) (?P<utc>.*)", "20260503T195000 GMT+5:30"),
            (r"(?P<time>\d{8}T\d{6})(?P<utc>.*)", "20260503T142000GMT"),
            (r"(?P<time>\d{8}T\d{6})(?P<utc>.*)", "20260503T195000+530"),
        ],
    )
    def test_groups_that_tell_a_time(self, text, path):
        found = Names([name_patterns.compile_pattern(text, name="mine")]).read(*split(path))
        assert found is not None
        assert found.start == datetime(2026, 5, 3, 14, 20)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (r"(?P<time>\d{14}", "is not a regular expression"),
            (r"(?P<tme>\d{14})", "unknown group tme"),
            (r"(?P<camera>.+)", "has no time"),
            (r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)", "has no time"),
            (r"(?P<month>\d\d)(?P<day>\d\d)(?P<hour>\d\d)(?P<minute>\d\d)", "has no time"),
        ],
    )
    def test_others_are_config_errors_with_an_example(self, text, message):
        with pytest.raises(ConfigError, match=f"^pattern mine .*{message}") as caught:
            name_patterns.compile_pattern(text, name="mine")
        assert caught.value.hint

    @pytest.mark.parametrize(
        ("text", "stem"),
        [
            (r"(?P<time>.*)", "202605031420"),
            (r"(?P<time>\d{14})-(?P<duration>\w+)", "20260503142000-nan"),
            (r"(?P<time>\d{14})-(?P<millisecond>\d+)", "20260503142000-1000"),
            (r"(?P<time>\d{14})(?P<utc>.+)", "19700101000000+0100"),
            (r"(?P<unix>\d+)", "9" * 30),
            (r"(?P<time>\d{14})(?P<utc>.+)", "20260503142000EST"),
            (r"(?P<time>\d{14})(?P<ampm>.+)", "20260503142000pm"),
            (r"(?P<time>\d{14})(?P<ampm>.+)", "20260503022000x"),
            (r"(?P<year>.)(?P<month>.)(?P<day>.)(?P<hour>.)(?P<minute>.)", "abcde"),
        ],
    )
    def test_what_their_groups_hold_may_still_be_nonsense(self, text, stem):
        assert name_patterns.compile_pattern(text, name="mine").read(stem, "") is None

    def test_thirty_years_are_no_duration(self):
        told = Names().read("motion_20240101_120000_99999999999.0s", "")
        assert told is not None and told.duration is None

    def test_an_end_before_the_start_gives_no_duration(self):
        own = name_patterns.compile_pattern(r"(?P<time>\d{14})-(?P<end>\d{14})", name="mine")
        assert own.read("20261025025900-20261025020100", "").duration is None


class TestProposals:
    """Patterns for names that no pattern reads."""

    @pytest.mark.parametrize(
        ("stem", "folder", "camera", "start"),
        [
            ("cam1 03.01.2026 8h15", "yard", "cam1", "2026-01-03 08:15"),
            ("cam1 01-03-2026 8.15.01 pm", "yard", "cam1", "2026-01-03 20:15:01"),
            ("IMG_2026-03-01_20h15", "yard", "IMG", "2026-03-01 20:15"),
            ("Mar 1 2026 at 8.15.01 PM", "yard", "yard", "2026-03-01 20:15:01"),
            ("front-1-March-2026-20.15.01-x7", "", "front", "2026-03-01 20:15:01"),
            ("cam@20260301T201501.17", "", "cam", "2026-03-01 20:15:01"),
            ("x.1772396101.part2", "", "x", "2026-03-01 20:15:01"),
            ("it's_clip 20-15-01", "yard/2026/03/01", "it's_clip", "2026-03-01 20:15:01"),
            ("12_clip_201501", "yard/2026-03-01", "12_clip", "2026-03-01 20:15:01"),
            ("gate_202603012015_20260301201501", "", "gate", "2026-03-01 20:15"),
        ],
    )
    def test_a_proposal_reads_the_name_as_its_file_says(self, stem, folder, camera, start):
        moment = datetime.fromisoformat(start)
        found = propose([NameSample(stem, folder, moment + timedelta(minutes=3))])
        assert found is not None
        assert found.is_sure
        own = name_patterns.compile_pattern(found.regex, name="mine")
        assert own.read(stem, folder) == found.first
        assert (found.first.camera, found.first.start) == (camera, moment)

    @pytest.mark.parametrize("modified", [None, datetime(2020, 1, 1)])
    def test_without_the_files_time_it_is_not_sure(self, modified):
        found = propose([NameSample("cam 03.01.2026 8h15", "", modified)])
        assert found is not None
        assert not found.is_sure

    def test_it_reads_every_name_of_the_form(self):
        days = [datetime(2026, 1, 3, 8, 15), datetime(2026, 4, 13, 8, 15)]
        found = propose([NameSample(f"cam {day:%d.%m.%Y %H-%M}", "", None) for day in days])
        assert found is not None
        own = name_patterns.compile_pattern(found.regex, name="mine")
        assert [own.read(f"cam {day:%d.%m.%Y %H-%M}", "").start for day in days] == days

    @pytest.mark.parametrize(("stem", "folder"), [("holiday", ""), ("clip-12-30-45", "yard"), ("", "")])
    def test_where_there_is_no_time_nothing_is_proposed(self, stem, folder):
        assert propose([NameSample(stem, folder, datetime(2026, 3, 1))]) is None

    @settings(max_examples=200)
    @given(ANY_STEM, ANY_FOLDER)
    def test_whatever_is_proposed_reads_the_name(self, stem, folder):
        found = propose([NameSample(stem, folder, None)])
        if found is not None:
            own = name_patterns.compile_pattern(found.regex, name="mine")
            assert own.read(stem, folder) == found.first


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
        located = name_patterns.locate(self.REPEATED, ns(mtime), BERLIN)
        assert located.astimezone(UTC) == instant
        assert located.replace(tzinfo=None, fold=0) == self.REPEATED.start

    def test_the_two_clips_of_the_repeated_hour_stay_two(self):
        one, other = (name_patterns.locate(self.REPEATED, ns(at), BERLIN) for at in (self.FIRST, self.SECOND))
        assert other.astimezone(UTC) - one.astimezone(UTC) == timedelta(hours=1)

    def test_skipped_hour_is_of_a_clock_not_yet_put_forward(self):
        located = name_patterns.locate(parsed(datetime(2026, 3, 29, 2, 30)), 0, BERLIN)
        assert located.isoformat() == "2026-03-29T03:30:00+02:00"

    def test_utc_names_are_converted(self):
        located = name_patterns.locate(parsed(datetime(2026, 10, 25, 1, 30), utc=True), 0, BERLIN)
        assert located.isoformat() == "2026-10-25T02:30:00+01:00"

    def test_any_other_hour_takes_no_notice_of_the_mtime(self):
        located = name_patterns.locate(parsed(datetime(2026, 7, 1, 2, 30)), 0, NEW_YORK)
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
        located = name_patterns.locate(parsed(start, utc=utc), mtime_ns, zone)
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
            ("2026050314", None),
            ("20260503PM", None),
            ("2026Y05M03D14H", None),
            ("", None),
        ],
    )
    def test_date_of_folder(self, folder, day):
        assert naming_folders.date_of_folder(folder) == day

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
            ("front/2026050314", "front"),
            ("front/20260503PM", "front"),
            ("front/2026Y05M03D14H", "front"),
            ("front/2026050324", "2026050324"),
            ("", "camera"),
        ],
    )
    def test_the_camera_is_the_innermost_folder_that_is_no_date(self, folder, camera):
        found = Names().read("motion_20260503_142005_10.0s", folder)
        assert found is not None
        assert found.camera == camera

    @given(st.text(max_size=60))
    def test_any_folder(self, folder):
        naming_folders.date_of_folder(folder)


class TestKindsOfFile:
    @pytest.mark.parametrize(
        "name",
        [
            "x.mp4",
            "x.MP4",
            "x.Mkv",
            "x.mov",
            "x.avi",
            "x.ts",
            "x.m4v",
            "a.part.mp4",
            "x.dav",
            "x.webm",
            "x.FLV",
            "x.3gp",
            "x.wmv",
            "x.mpg",
            "x.mpeg",
            "x.m2ts",
            "x.264",
            "x.h265",
            "x.HEVC",
        ],
    )
    def test_clips(self, name):
        assert is_clip_name(name)
        assert not is_picture_name(name)
        assert not is_temporary_name(name)

    @pytest.mark.parametrize("name", ["x.jpg", "x.JPEG", "x.png"])
    def test_pictures(self, name):
        assert is_picture_name(name)
        assert not is_clip_name(name)

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
        assert is_temporary_name(name)
        assert not is_clip_name(name)
        assert not is_picture_name(name)

    @pytest.mark.parametrize("name", ["x.bvr", "x.M4S", "x.ogv", "x.divx"])
    def test_other_video(self, name):
        assert is_other_video_name(name)
        assert not is_clip_name(name)
        assert not is_other_video_name(f".{name}")

    def test_a_suffix_is_of_one_kind(self):
        assert not CLIP_SUFFIXES & OTHER_VIDEO_SUFFIXES
        assert not (CLIP_SUFFIXES | OTHER_VIDEO_SUFFIXES) & PICTURE_SUFFIXES
        assert {suffix for suffix in CLIP_SUFFIXES if is_raw_name(f"x{suffix}")} == {
            ".264", ".h264", ".265", ".h265", ".hevc",
        }  # fmt: skip

    @pytest.mark.parametrize("name", ["mp4", "x", "x.mp4.txt", "x.mp4 ", "archiver.log", ""])
    def test_neither(self, name):
        assert not is_clip_name(name)


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
        assert name_paths.archive_path(folder, "x", self.DAY) == target

    def test_suffix(self):
        assert name_paths.archive_path("2026/05/03", "x.y", self.DAY, suffix=".mkv") == "2026/05/03/x.y.mkv"

    def test_a_stem_that_gets_too_long_keeps_its_time(self):
        stem = "ä" * 118 + "x_20260503142005"
        assert len(f"{stem}.ts".encode()) == name_paths.NAME_MAX
        target = name_paths.archive_path("", stem, self.DAY)
        assert target == f"2026/05/03/{stem[1:]}.mp4"

    def test_the_longest_name_is_kept_whole(self):
        stem = "x" * 251
        assert name_paths.archive_path("2026/05/03", stem, self.DAY).endswith(f"/{stem}.mp4")

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
        assert name_paths.numbered(relative, 2) == target

    @given(FILE_NAME, st.integers(2, 10**6))
    def test_every_name_fits_and_keeps_its_bytes(self, raw, n):
        name = raw.decode("utf-8", "surrogateescape")
        for target in (
            name_paths.numbered(f"d/{name}", n),
            name_paths.archive_path("2026/05/03", name, self.DAY),
        ):
            encoded = target.rpartition("/")[2].encode("utf-8", "surrogateescape")
            assert len(encoded) <= name_paths.NAME_MAX
            if len(raw) <= 240:
                assert raw.rpartition(b".")[0] in encoded

    @given(FILE_NAME, st.integers(2, 999))
    def test_numbers_differ(self, raw, n):
        name = raw.decode("utf-8", "surrogateescape")
        assert len({name, name_paths.numbered(name, n), name_paths.numbered(name, n + 1)}) == 3


class TestCameraNames:
    @pytest.mark.parametrize("name", ["front", "Küche", "Ku\u0308che", "\udcff", "", "cafe\u0301"])
    def test_both_spellings_are_one_camera(self, name: str) -> None:
        assert comparable(comparable(name)) == comparable(name)
        assert comparable(unicodedata.normalize("NFD", name)) == comparable(
            unicodedata.normalize("NFC", name)
        )

    def test_a_name_is_read_in_the_form_that_is_compared(self) -> None:
        parsed = Names().read("REO_Ku\u0308che_20260301081500", "2026/03/01")
        assert parsed is not None
        assert parsed.camera == "Küche"


class TestSystemFolders:
    @pytest.mark.parametrize(
        "name",
        [
            *(
                "#recycle",
                "#Recycle",
                "@Recycle",
                "#snapshot",
                "@Recently-Snapshot",
                "@eaDir",
                "$RECYCLE.BIN",
            ),
            *("$Recycle.Bin", ".Trash-1000", "lost+found", "System Volume Information", ".snapshots", ".zfs"),
            *("@GMT-2026.03.01-00.00.00", "~snapshot", ".hidden", "front.part"),
        ],
    )
    def test_is_not_entered(self, name: str) -> None:
        assert not KNOWN.may_hold_clips(name)

    @pytest.mark.parametrize("name", ["2026", "03", "front", "recycle", "#1", "@home", "snapshots", "Küche"])
    def test_of_a_camera_is(self, name: str) -> None:
        assert KNOWN.may_hold_clips(name)

    def test_an_owner_adds_names(self) -> None:
        own = PassedOver(("Lost *", "KÜCHE.alt"))
        assert own.kind("lost footage") == own.kind("Ku\u0308che.alt") == OWN
        assert own.kind("#recycle") == RECYCLE_BIN
        assert own.may_hold_clips("front")

    def test_every_row_has_its_source(self) -> None:
        for kind, pattern, source in SYSTEM_FOLDERS:
            assert pattern == pattern.casefold()
            assert source.startswith("https://")
            assert KNOWN.kind(pattern.replace("*", "x")) == kind
