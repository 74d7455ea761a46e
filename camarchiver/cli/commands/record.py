"""`camarchiver record`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from camarchiver.cli.channel_options import with_channels
from camarchiver.cli.help_page import HelpCommand
from camarchiver.cli.options import (
    FOLDER,
    TIME_ZONE,
    cameras_own,
    config_option,
    is_on_command_line,
    option,
    options,
    origin,
)
from camarchiver.cli.types import DaysType, Duration, Percent, ReadableText, Size
from camarchiver.errors import UsageError
from camarchiver.motion.events import rules_for
from camarchiver.naming.folders import comparable
from camarchiver.record import schedule

if TYPE_CHECKING:
    from camarchiver.cli.runs.record import RecordOptions

source_options = options(
    option(
        "--source",
        metavar="SOURCE",
        help="rtsp://HOST/PATH, /dev/video0, picamera2:, rpicam-vid:, file:CLIP or file:FIFO; required. A"
        " local camera's size and rate follow its name: /dev/video0,1280x720@15, picamera2:0,1920x1080@15.",
    ),
    option("--camera", metavar="NAME", help="The camera's name; required unless --dry-run."),
    option(
        "--detect-source",
        metavar="SOURCE",
        help="A small stream of the same camera in which to detect motion.",
    ),
    option("--credentials", type=FOLDER, help="A file with USER:PASSWORD for rtsp://."),
    option(
        "--g711",
        type=click.Choice(["keep", "aac", "drop"]),
        default="keep",
        help="Sound that mp4 can't hold, such as G.711: keep it in a mov file, encode it as AAC, or leave it"
        " out.",
    ),
    option("--realtime", is_flag=True, help="Read a file no faster than it was recorded."),
)

motion_options = options(
    option(
        "--sensitivity",
        type=ReadableText("text", rules_for),
        default="medium",
        metavar="low|medium|high|N",
        help="How sensitive the detector is; N is from 1 (least) to 100 (most).",
    ),
    option(
        "--min-area",
        type=Percent(),
        help="Smallest moving area that counts, in percent of the picture.  [default: by sensitivity]",
    ),
    option(
        "--min-duration",
        type=Duration(),
        help="Ignore motion that ends sooner, such as 1s.  [default: ignore none]",
    ),
    option(
        "--mask",
        "masks",
        multiple=True,
        metavar="FILE.png|POLYGON",
        help="Ignore the black parts of a picture, or a polygon such as '0,0 1,0 1,0.1' (repeatable).",
    ),
    option(
        "--zone",
        "zones",
        multiple=True,
        metavar="NAME=POLYGON",
        help="Only motion within a zone counts (repeatable).",
    ),
    option(
        "--keyframes",
        is_flag=True,
        help="Decode only keyframes, and more only to confirm a suspicion: much less CPU, but motion"
        " between two keyframes is missed.",
    ),
)

clip_options = options(
    option("--spool", type=FOLDER, default=Path("temp_clips"), help="Where unfinished clips are."),
    option(
        "--outbox", type=FOLDER, default=Path("recorded_clips"), help="Where finished clips go, by camera."
    ),
    option("--pre", type=Duration(), default="2s", help="How much to record before the motion."),
    option("--post", type=Duration(), default="3s", help="How much to record after the motion."),
    option("--max-clip", type=Duration(), default="30s", help="Split clips that are longer."),
    option(
        "--schedule",
        "schedules",
        type=ReadableText("text", schedule.parse),
        multiple=True,
        metavar="[DAYS] HH:MM-HH:MM",
        help="Record only at these times, such as 'mo-fr 18:00-06:00' (repeatable).",
    ),
    option("--snapshot", is_flag=True, help="Save a JPG of the largest motion beside each clip."),
    option(
        "--timelapse",
        type=Duration(),
        metavar="INTERVAL",
        help="Also make one clip per day from one keyframe every INTERVAL, such as 1m.",
    ),
    option(
        "--min-free", type=Size(), default="1GB", help="Do not record with less than this free on a disk."
    ),
    option(
        "--on-full",
        type=click.Choice(["stop", "drop-oldest"]),
        default="stop",
        help="With less than that free: do not record, or remove this camera's oldest clips from the outbox.",
    ),
    option(
        "--keep-days",
        type=DaysType(),
        help="Remove this camera's clips from the outbox at this age; each is announced a day before."
        "  [default: keep all]",
    ),
    option(
        "--max-storage",
        type=Size(),
        help="The most that this camera's clips may use in the outbox, such as 50GB; the oldest go, each"
        " announced a day before.  [default: no limit]",
    ),
    option("--duration", type=Duration(), help="Stop after this time."),
)

run_options = options(
    option("-n", "--dry-run", is_flag=True, envvar=None, help="Show the motion in a file; record nothing."),
    option(
        "--timezone",
        type=TIME_ZONE,
        default="",
        show_default=False,
        help="The camera's time zone, such as Europe/Berlin.",
    ),
    option("--log-file", type=FOLDER, help="Log file, rotated by size.  [default: SPOOL/recorder.log]"),
    option("--json", "as_json", is_flag=True, help="Print one JSON document at the end instead of text."),
    option("-q", "--quiet", is_flag=True, help="Print errors only."),
    option("-v", "--verbose", is_flag=True, help="Log more."),
    config_option,
)


@click.command(
    cls=HelpCommand,
    examples=(
        (
            "camarchiver record --source rtsp://10.0.0.9/stream1 --camera yard --credentials yard.secret",
            "record motion at one camera",
        ),
        ("camarchiver record", "every camera that has a table [record.NAME] in the config file"),
        (
            "camarchiver record --source file:yesterday.mp4 --dry-run",
            "what it would have recorded, to tune --sensitivity",
        ),
    ),
    common=(
        "--source",
        "--camera",
        "--credentials",
        "--outbox",
        "--pre",
        "--post",
        "--sensitivity",
        "--zone",
        "--mask",
        "--keep-days",
        "--max-storage",
        "--dry-run",
    ),
)
@source_options
@clip_options
@motion_options
@run_options
@with_channels
def record(**chosen: Any) -> int:
    """Record motion from a camera, from before it began until after it ended.

    A clip is a copy of the camera's own H.264 or HEVC, with its sound; only uncompressed video and
    MJPEG are encoded. A clip appears in OUTBOX/CAMERA when it is complete. SIGTERM ends the running clip and
    publishes it.
    """
    from camarchiver.cli.runs.record import RecordOptions, run_record

    context = click.get_current_context()
    options = RecordOptions(**chosen)
    sources = {"source": options.source, "detect_source": options.detect_source}
    if any(is_on_command_line(context, name) and _has_login(answer) for name, answer in sources.items()):
        raise UsageError(
            "a password on the command line can be read by every user of this machine",
            hint="put USER:PASSWORD into a file and name it with --credentials, or set CAMARCHIVER_SOURCE",
        )
    return run_record(_cameras(context, options))


def _has_login(source: str | None) -> bool:
    """Whether an address may contain a password, however it is written."""
    kind, _, rest = (source or "").partition(":")
    return "@" in rest and (rest.startswith("//") or kind.lower() in ("rtsp", "rtsps"))


def _cameras(context: click.Context, options: RecordOptions) -> list[RecordOptions]:
    """The cameras to record: the one that is named, otherwise every one that has a table in the config."""
    own = cameras_own(context)
    is_given = origin(context, "source") in ("command line", "environment")
    if options.camera:
        # The name is the camera's folder in the outbox: it stays as it was written.
        table = next((name for name in own if comparable(name) == comparable(options.camera)), None)
        return [replace(options, **own[table])] if table is not None else [options]
    if is_given or not own:
        return [options]
    return [replace(options, camera=name, **values) for name, values in own.items()]
