"""The file names of camera makers: a table, each row with its source."""

from __future__ import annotations

# Maker; expression (`naming.patterns.Pattern` explains the groups); source; an example path without suffix.
# No two rows may match the same name: their order has no meaning.
MAKERS: tuple[tuple[str, str, str, str], ...] = (
    (
        "Reolink, prefix REO",
        r"REO_(?P<camera>.+)_(?P<time>\d{14})",
        "https://github.com/lukelalo/gallery-card/issues/12",
        "2026/05/03/REO_front_door_20260503142005",
    ),
    (
        "Reolink FTP",
        r"(?!REO_)(?P<camera>.+?)(?:_(?P<channel>\d\d))?_(?P<time>\d{14})",
        "https://github.com/kappmeier/reolink-cam-site/blob/0189c017a906c32d96fff2ff42486282b752581e/cam_file.py",
        "2021/03/15/Camera BE_01_20210315004528",
    ),
    (
        "Reolink SD card and hub",
        r"(?:(?:.*/)?(?P<camera>[^/]*)(?:^|/)Mp4Record/[^/]+/|.*/)?"
        r"Rec[A-Z][0-9A-F]{2}_(?:DST)?(?P<time>\d{8}_\d{6})_(?P<end>\d{6})_[0-9A-Za-z_]+",
        "https://github.com/starkillerOG/reolink_aio/blob/029853a046acf7bc3d4209fe59bd03db5f1caee6/reolink_aio/typings.py",
        "front/Mp4Record/2020-12-22/RecM01_20201222_075939_080140_6D28808_1A468F9",
    ),
    (
        "camarchiver record",
        r"(?:motion|timelapse)_(?P<time>\d{8}_\d{6})_(?P<duration>\d+\.\d+)s(?:_\d{1,6})?",
        "camarchiver.record.recorder",
        "front/motion_20260503_142005_10.0s",
    ),
    (
        "Dahua, Amcrest",
        r"(?:(?:.*/)?(?P<camera>[^/]*)(?:^|/)\d{4}-\d\d-\d\d/(?P<channel>\d{3})/[a-z0-9]+/\d\d/|.*/)?"
        r"(?P<time>\d\d\.\d\d\.\d\d)-(?P<end>\d\d\.\d\d\.\d\d)\[[A-Z]\]\[\d+@\d+\]\[\d+\]",
        "https://github.com/shawnburke/amcrest-viewer/blob/00b23efa8b136b1bcde45f5b22b17de94619c563/ingest/amcrest_test.go",
        "yard/2019-05-09/001/dav/21/21.04.49-21.05.14[M][0@0][0]",
    ),
    (
        "Hikvision FTP",
        r"(?P<camera>.+)_(?P<channel>\d\d)_(?P<time>\d{14})(?P<millisecond>\d{3})_[A-Z][A-Z_]*",
        "https://github.com/evilboss/suiteview/blob/HEAD/readme.md",
        "crk04/20150619/192.168.88.67_01_20150619045313183_TIMING",
    ),
    (
        "Foscam",
        r"(?:(?:.*/)?(?P<camera>[^/]*)(?:^|/)(?:record|snap)/(?:[^/]+/)?|.*/)?"
        r"H?M?D?[Aa]larm_(?P<time>\d{8}[-_]\d{6})",
        "https://github.com/hdaniel/pi_files/blob/HEAD/clean_files.sh",
        "FI9800P_00123E45E060/record/MDalarm_20180812_100109",
    ),
    (
        "Frigate export",
        r"(?P<camera>.+)_(?P<time>\d{8}_\d{6})-(?P<end>\d{8}_\d{6})_[0-9a-z]{6}",
        "https://github.com/blakeblackshear/frigate/pull/16446",
        "exports/back_yard_20250210_120000-20250210_121500_x7k2p9",
    ),
    (
        "Frigate recording",
        r"(?:.*/)?(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)/(?P<hour>\d\d)/(?P<camera>[^/]+)/"
        r"(?P<minute>\d\d)\.(?P<second>\d\d)(?P<utc>)",
        "https://github.com/blakeblackshear/frigate/blob/0140adf8e1711869927f1dc263e8a0b4bcc871f1/frigate/record/maintainer.py",
        "recordings/2023-04-14/22/front/38.34",
    ),
    (
        "Blue Iris",
        r"(?P<camera>.+)\.(?P<time>\d{8}_\d{6})",
        "https://camlocus.com/docs/recording-and-clips/",
        "New/Drive.20240105_081500",
    ),
    (
        "UniFi Protect, protect-archiver",
        r"(?P<camera>.+) - (?P<time>\d{4}-\d\d-\d\d - \d\d\.\d\d\.\d\d)(?P<utc>[+-]\d{4})?",
        "https://github.com/danielfernau/unifi-protect-video-downloader/issues/14",
        "Front Door 1a2b - 2020-02-09 - 23.21.12+0100",
    ),
    (
        "Motion",
        r"(?:(?P<channel>\d+)-)?\d+-(?P<time>\d{14})",
        "https://github.com/Motion-Project/motion/issues/1848",
        "shed/042-20250210170144",
    ),
    (
        "motionEye",
        r"(?P<time>\d\d-\d\d-\d\d)",
        "https://github.com/motioneye-project/motioneye/issues/1631",
        "porch/2020-01-30/12-30-45",
    ),
    (
        "Brickcom NVR",
        r"(?P<time>\d{8}-\d{6})-(?P<end>\d{6})_(?P<camera>[^_]+)-CH(?P<channel>\d+)",
        "https://www.brickcom.com/support/faq_contents.php?id=106",
        "20140509-000500-001000_192.168.1.11-CH2",
    ),
    (
        "Canon",
        r"(?P<time>\d{14})-\d{6}-[EMRTU]\d\d_\d{1,9}(?P<utc>)",
        "https://www.manualshelf.com/manual/canon/vb-s30d/operation-manual-english/page-151.html",
        "gate/20150910070623-070619-M00_508",
    ),
    (
        "Blink",
        r"(?:(?P<camera>.+)_)?(?P<time>\d{4}-\d\d-\d\dT\d\d_\d\d_\d\d)(?P<utc>[+-]\d\d_?\d\d)",
        "https://github.com/lurume84/bling-desktop/issues/47",
        "Roof_Rear_Corner_2020-11-09T10_30_54-0800",
    ),
    (
        "Tapo, Home Assistant",
        r"(?P<unix>\d{10})-(?P<end>\d{10})",
        "https://github.com/JurajNyiri/HomeAssistant-Tapo-Control/issues/509",
        "hall/1706108297-1706108310",
    ),
    (
        "Sonoff",
        r"(?:ARC|nrc)(?P<time>\d{14})",
        "https://github.com/roleoroleo/sonoff-hack/issues/108",
        "cellar/20220927/15/ARC20220927150523",
    ),
)
