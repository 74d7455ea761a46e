"""The file names of camera makers: a table, each row with its source."""

from __future__ import annotations

# Maker; expression (`naming.patterns.Pattern` explains the groups); source; an example path without suffix.
# No two rows may match the same name: their order has no meaning. The part of a row for the name itself has
# no digit as such, only classes of digits: `naming.patterns.Names` remembers names by their form.
MAKERS: tuple[tuple[str, str, str, str], ...] = (
    (
        "Reolink, prefix REO",
        r"REO_(?P<camera>.+)_(?P<time>\d{14})",
        "https://github.com/lukelalo/gallery-card/issues/12",
        "2026/05/03/REO_front_door_20260503142005",
    ),
    (
        "Reolink FTP",
        # A name with two times is another maker's; its last one is the end.
        r"(?!REO_|.*\d{14}_\d{14}\Z)(?P<camera>.+?)(?:_(?P<channel>\d\d))?_(?P<time>\d{14})",
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
        # A longer number is a time, and the time behind it the end.
        r"(?:(?P<channel>\d{1,5})-)?\d{1,9}-(?P<time>\d{14})",
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
    (
        "UniFi Protect, downloaded",
        r"(?:(?P<camera>.+) - )?(?P<month>\d\d?)-(?P<day>\d\d?)-(?P<year>\d{4}), "
        r"(?P<hour>\d\d?)\.(?P<minute>\d\d?)\.(?P<second>\d\d?)(?P<ampm>[aApP][mM])",
        "https://github.com/danielfernau/unifi-protect-video-downloader/issues/14",
        "Front Door - 2-9-2020, 11.21.12pm",
    ),
    (
        "Dahua NVR, downloaded",
        r"(?P<camera>.+)_ch(?P<channel>\d+)_[a-z]+\d?_(?P<time>\d{14})_(?P<end>\d{14})",
        "https://github.com/search?q=NVR_ch1_main_2023&type=code",
        "NVR_ch1_main_20230131000000_20230131010000",
    ),
    (
        "Uniview, downloaded",
        r"(?:(?P<camera>.+)_)?D(?P<channel>\d+)_S(?P<time>\d{14})_E(?P<end>\d{14})",
        "https://github.com/search?q=D1_S20230719&type=code",
        "yard/D1_S20230719090001_E20230719091810",
    ),
    (
        "XM, iCSee, XMeye",
        r"(?:(?:.*/)?(?P<camera>(?!idea\d+/)[^/]+|)(?:^|/)(?:idea\d+/)?\d{4}-\d\d-\d\d/(?P<channel>\d{3})/|.*/)?"
        r"(?P<time>\d\d\.\d\d\.\d\d)-(?P<end>\d\d\.\d\d\.\d\d)\[[A-Za-z]\]\[@[0-9a-f]+\]\[\d+\]",
        "https://github.com/Nick2bad4u/growcam-pc/blob/306a6dd27c0ea9632e876dd960c53415f38494d5/tests/test_web.py",
        "barn/idea0/2026-07-31/001/23.40.00-23.50.00[R][@17f2][0]",
    ),
    (
        "Wyze SD card",
        r"(?:.*/)?(?P<camera>(?!record/)[^/]+|)(?:^|/)(?:record/)?"
        r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)/(?P<hour>\d\d)/(?P<minute>\d\d)",
        "https://github.com/ComplexPlane/wyzecombine/blob/d7f5198a3b98703dfcc74d0358efbd7ee0b27fe4/wyzecombine.py",
        "nest box/record/20220927/15/07",
    ),
    (
        "Wyze bridge",
        r"(?P<camera>.+)_(?P<time>\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d)_(?:(?P<utc>UTC|GMT)|[A-Z]{3,5}|[+-]\d{2,4})",
        "https://github.com/mrlt8/docker-wyze-bridge/wiki/Stream-Recording-and-Livestreaming",
        "front_2022-11-03_18-20-00_EST",
    ),
    (
        "Xiaomi, Mi Home",
        r"(?:(?:.*/)?(?P<camera>[^/]*)(?:^|/)MIJIA_RECORD_VIDEO/[^/]+/|.*/)?"
        r"\d\dM\d\dS_(?P<unix>\d{10})",
        "https://github.com/tasy5kg/MiCameraVideoExporter/issues/1",
        "hall/MIJIA_RECORD_VIDEO/2021072308/42M03S_1627051323",
    ),
    (
        "Xiaomi, with an end",
        r"\d\d_(?P<time>\d{14})_(?P<end>\d{14})",
        "https://github.com/Mrhs121/xiaomi-camera-merge-tool/issues/9",
        "xiaomi_camera_videos/78DF72DE6C4E/00_20260504235500_20260505001000",
    ),
    (
        "Yi",
        r"(?:.*/)?(?P<year>\d{4})Y(?P<month>\d\d)M(?P<day>\d\d)D(?P<hour>\d\d)H/"
        r"(?:E\d)?(?P<minute>\d\d)M(?P<second>\d\d)S(?P<duration>\d\d)?",
        "https://github.com/roleoroleo/yi-hack-Allwinner-v2/issues/826",
        "attic/2024Y09M18D08H/E206M00S60",
    ),
    (
        "Synology Surveillance Station",
        r"(?P<camera>.+?)(?:-\d{8}-\d{6})?-(?P<unix>\d{13})(?:-\d{1,3})?",
        "https://github.com/ma-2a/ss-recordings/blob/596280c852fecd0f871901f27d34d94bfe0f191f/custom_components/ss_recordings/api.py",
        "Front door/20260301PM/Front door-20260301-201500-1772392500123-1",
    ),
    (
        "Shinobi, Thingino",
        r"(?P<time>\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d)",
        "https://github.com/tranzmatt/Shinobi/blob/b0a7457e5c05b27289f062da149474f85ed36161/libs/basic.js",
        "porch/2024-11-07T23-26-14",
    ),
    (
        "ZoneMinder, storage scheme Deep",
        r"(?:.*/)?(?P<camera>[^/]+)/(?P<year>\d\d)/(?P<month>\d\d)/(?P<day>\d\d)/"
        r"(?P<hour>\d\d)/(?P<minute>\d\d)/(?P<second>\d\d)/\d+-video",
        "https://github.com/ZoneMinder/zoneminder/issues/1619",
        "events/5/16/09/12/19/37/42/4023-video",
    ),
    (
        "Viseron",
        r"(?P<time>\d\d:\d\d:\d\d)",
        "https://github.com/roflcoopter/viseron/issues/738",
        "recordings/camera_1/2024-05-01/16:01:04",
    ),
    (
        "Eufy",
        r"(?P<time>\d{14})",
        "https://github.com/bropat/eufy-security-client/issues/273",
        "Camera01/20221230205117",
    ),
    (
        "Ring, downloaded",
        r"RingVideo_(?P<time>\d{8}_\d{6})",
        "https://github.com/search?q=RingVideo_2025&type=code",
        "doorbell/RingVideo_20251205_075319",
    ),
    (
        "Axis SD card and network share",
        r"(?:(?:.*/)?\d{8}_\d{6}_[0-9A-F]{4}_(?P<camera>[0-9A-F]{12})/[^/]+/|.*/)?"
        r"(?P<time>\d{8}_\d{6})_[0-9A-F]{4}",
        "https://github.com/hakanardo/vi3o/pull/9",
        "axis-ACCC8EAF31F3/20210712/14/20210712_141048_857A_ACCC8EAF31F3/20210712_14/20210712_141048_5E30",
    ),
    (
        "TP-Link Tapo C100",
        r"(?P<time>\d{8}_\d{6})(?:_tp\d+)?",
        "https://github.com/luis4ndre/SurveillanceOrganizer/blob/7bce8921d5b65cf62c25a384faf951beaa1839fb/SurveillanceOrganizer/CameraTypes/TpLinkC100.cs",
        "cellar/20260301_201500",
    ),
    (
        "ABUS",
        r"(?!RingVideo_|H?M?D?[Aa]larm_\d{8}_|.*\d{8}_\d{6}_\d{8}_\d{6}\Z)"
        r"(?P<camera>.+)_(?P<time>\d{8}_\d{6})",
        "https://manualshive.com/ru/manual/abus/tvip40000/454374?page=44",
        "ABUS_20091115_164501",
    ),
    (
        "Canon WebView NVR",
        r"NVR_(?:MEDIA|MPEG\d)_(?P<camera>[^_]+)_(?P<time>\d{8}_\d{6})_(?P<end>\d{8}_\d{6})(?P<utc>)",
        "https://manualshive.com/en/manual/canon/vb-c300/3970760?page=231",
        "NVR_MPEG4_00000085123A4B5C_20080512_110000_20080512_113000",
    ),
    (
        "Panasonic HomeHawk",
        r"(?:.*/)?(?P<camera>[^/]*)(?:^|/)(?P<month>\d\d)-(?P<day>\d\d)-(?P<year>\d{4})/"
        r"\d[AMC](?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)",
        "https://www.easymanua.ls/panasonic/homehawk-kx-hnc500/manual?p=105",
        "PRIVATE/PANA_GRP/HH/WINDOW/03-01-2026/1M123455",
    ),
    (
        "Havis-Shields MDVR",
        r"(?P<camera>.*?)_?(?P<month>[A-Z][a-z][a-z])\.(?P<day>\d\d)\.(?P<year>\d{4})_"
        r"(?P<hour>\d\d)\.(?P<minute>\d\d)\.(?P<second>\d\d)[+#*]?",
        "https://manualsdump.com/en/manuals/havis-shields-pt-video-mdvr/189973/25",
        "Jan.01.2006/unit7_Jan.01.2006_01.10.00+",
    ),
    (
        "Icarvisions MDVR",
        r"H(?P<time>\d{8}-\d{6})[PN][0-9A-C][AN](?P<channel>\d)[A-Z]\d",
        "https://www.icarvisions.com/faq/mdvr-record-files-name-rules-285.html",
        "bus/H20190808-095851P1N2P0",
    ),
    (
        "Google Nest, Home Assistant",
        r"(?P<unix>\d{10})-(?!video\Z)[a-z][a-z_]*",
        "https://github.com/home-assistant/core/blob/6adcb5a4b797d12ff542d28b49e590535a07334e/homeassistant/components/nest/media_source.py",
        "nest/event_media/front_door/1675781436-camera_person",
    ),
    (
        "Frigate clip before 0.9",
        r"(?P<camera>.+)-(?P<unix>\d{10})\.\d{1,6}-[0-9a-z]{6}",
        "https://github.com/blakeblackshear/frigate/issues/323",
        "clips/front-1606742747.272411-0lbwng",
    ),
    (
        "MediaMTX",
        r"(?P<time>\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d)-(?P<millisecond>\d{3})\d{3}",
        "https://github.com/bluenviron/mediamtx/blob/50ce6ba572b3b22d9973d93c682233864eebb030/internal/recordstore/path_test.go",
        "garden/2008-11-07_11-22-04-123456",
    ),
    (
        "iSpy",
        r"(?:(?P<camera>.+?)_)?(?P<time>\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d)",
        "https://github.com/ispysoftware/iSpy/issues/49",
        "3_2018-05-31_14-37-09",
    ),
    (
        "OpenNVR",
        r"(?:.*/)?(?P<camera>[^/]*)(?:^|/)(?P<year>\d{4})[-/]?(?P<month>\d\d)[-/]?(?P<day>\d\d)/"
        r"(?P<hour>\d\d)/(?P<minute>\d\d)/(?P<second>\d\d)",
        "https://github.com/open-nvr/open-nvr/pull/225",
        "dock/2026/03/01/20/15/00",
    ),
    (
        "OpenNVR, date-hour",
        r"(?:.*/)?(?P<camera>[^/]*)(?:^|/)(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)/"
        r"(?P<hour>\d\d)/(?P<minute>\d\d)",
        "https://github.com/open-nvr/open-nvr/pull/225",
        "dock/2026-03-01/20/15",
    ),
    (
        "simple-nvr",
        r"(?P<time>\d{4}-\d\d-\d\dT\d\d \d\d \d\d)(?P<utc>)",
        "https://github.com/TomHumphries/simple-nvr/issues/2",
        "test/2022/06/06/2022-06-06T05 22 15",
    ),
)

# Names that say no time: maker; expression over folder and name; source; what the owner can do instead.
TIMELESS: tuple[tuple[str, str, str, str], ...] = (
    (
        "Hikvision SD card and NAS",
        r"(?:.*/)?hiv\d{5}",
        "https://github.com/bkbilly/libHikvision/issues/7",
        "one file holds many recordings, and only the index beside it has their times:"
        " download the recordings from the camera's web page, or let it upload them by FTP",
    ),
    (
        "ZoneMinder, storage schemes Medium and Shallow",
        r"(?:.*/)?\d+-video",
        "https://github.com/ZoneMinder/zoneminder/issues/3083",
        "only ZoneMinder's database has the time: choose the storage scheme Deep",
    ),
)
