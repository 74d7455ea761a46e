"""One run of `record`: what was asked for, checked; then recorded, or shown where it is a dry run."""

from __future__ import annotations

import secrets
import stat
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from camarchiver import clock, document, locking, names, schedule, stop, words
from camarchiver.cli.recorder_news import News, figures_of, judged
from camarchiver.errors import EncoderError, StorageError, UsageError
from camarchiver.logs import logging_to
from camarchiver.model import Problem, Status
from camarchiver.motion import polygon, rules_for

if TYPE_CHECKING:
    from camarchiver.cameras import Camera
    from camarchiver.cli.attendance import Attendance
    from camarchiver.cli.channels import Channels
    from camarchiver.delivery import Recorded
    from camarchiver.lookout import Lookout
    from camarchiver.motion import Event
    from camarchiver.sentry import Watch
    from camarchiver.spool import Folders
    from camarchiver.upkeep import Upkeep

_PICTURES = (".png", ".jpg", ".jpeg", ".bmp")


@dataclass(frozen=True, slots=True)
class RecordOptions:
    """The command line of `record`, parsed."""

    source: str | None
    camera: str | None
    detect_source: str | None
    credentials: Path | None
    realtime: bool
    spool: Path
    outbox: Path
    pre: timedelta
    post: timedelta
    max_clip: timedelta
    schedules: tuple[str, ...]
    snapshot: bool
    min_free: int
    on_full: str
    keep_days: timedelta | None
    max_storage: int | None
    duration: timedelta | None
    sensitivity: str
    min_area: float | None
    masks: tuple[str, ...]
    zones: tuple[str, ...]
    keyframes: bool
    dry_run: bool
    timezone: str
    log_file: Path | None
    channels: Channels
    as_json: bool
    quiet: bool
    verbose: bool

    def watch(self) -> Watch:
        """What is to be noticed. Raises UsageError."""
        from camarchiver.detector import View
        from camarchiver.sentry import Watch

        pictures = [Path(mask) for mask in self.masks if mask.lower().endswith(_PICTURES)]
        if len(pictures) > 1:
            raise UsageError("--mask takes one picture", hint="draw both into one, or use polygons")
        for picture in pictures:
            if not picture.is_file():
                raise UsageError(f"{picture} is not a file", hint="give a PNG whose black parts are ignored")
        shapes = tuple(polygon(mask) for mask in self.masks if not mask.lower().endswith(_PICTURES))
        zones = {}
        for zone in self.zones:
            name, equals, corners = zone.partition("=")
            if not (name and equals):
                raise UsageError(f"{zone!r} is not a zone", hint="write NAME=0.1,0.2 0.5,0.2 0.5,0.9")
            zones[name] = polygon(corners)
        view = View(shapes, pictures[0] if pictures else None, zones)
        return Watch(rules_for(self.sensitivity, min_area=self.min_area), view, self.keyframes)

    def folders(self) -> tuple[str, Folders]:
        """The camera's name, and where its clips go. Raises UsageError."""
        from camarchiver.spool import Folders

        name = self.camera or ""
        if not name or "/" in name or name.startswith(".") or "\0" in name:
            raise UsageError(
                f"--camera {name!r} can't be a folder's name" if name else "--camera is missing",
                hint="name the camera, as --camera yard: its clips go to OUTBOX/yard",
            )
        return name, Folders((self.spool / name).absolute(), (self.outbox / name).absolute())

    def upkeep(self, camera: str, zone: tzinfo) -> Upkeep:
        """Who sees to this camera's clips in the outbox. Raises UsageError."""
        from camarchiver.expiry import Terms
        from camarchiver.upkeep import Upkeep

        if self.max_storage == 0:
            raise UsageError(
                "--max-storage 0 would keep nothing", hint="leave it out, or name a size such as 50GB"
            )
        drops = self.on_full == "drop-oldest"
        if drops and not self.min_free:
            raise UsageError(
                "--on-full drop-oldest needs to know when a disk is full", hint="set --min-free, as 1GB"
            )
        terms = Terms(self.keep_days, self.max_storage)
        return Upkeep(camera, self.outbox.absolute(), terms, lambda: clock.now(zone), drops_oldest=drops)

    def ranges(self) -> tuple[schedule.Range, ...]:
        """When to record. Raises UsageError."""
        return tuple(one for text in self.schedules for one in schedule.parse(text))


def record_session(options: RecordOptions, *, source_by_hand: bool) -> int:
    """Run `record` and return its exit code."""
    if options.dry_run:
        source, lookout = _sources(options, by_hand=source_by_hand)
        if source.returns:
            raise UsageError("--dry-run needs a source that ends", hint="use file:CLIP")
        return _show(options, source, lookout)
    from camarchiver.cli.attendance import attending

    with attending(options.channels, "record", camera=options.camera or "") as attendance:
        source, lookout = _sources(options, by_hand=source_by_hand)
        return _attended(options, source, lookout, attendance)


def _sources(options: RecordOptions, *, by_hand: bool) -> tuple[Camera, Lookout]:
    """What is recorded, and what looks for motion. Raises EncoderError, UsageError."""
    if find_spec("cv2") is None or find_spec("numpy") is None:
        raise EncoderError(
            "record needs OpenCV, which is not installed", hint="pip install camarchiver[record]"
        )
    wanted = options.source
    if not wanted:
        hint = "name a camera, as rtsp://HOST/PATH, /dev/video0 or picamera2:, or file:CLIP"
        raise UsageError("--source is missing", hint=hint)
    if by_hand and "@" in wanted.partition("://")[2].partition("/")[0]:
        raise UsageError(
            "a password on the command line can be read by every user of this machine",
            hint="put USER:PASSWORD into a file and name it with --credentials, or set CAMARCHIVER_SOURCE",
        )
    from camarchiver.cameras import camera

    login = _credentials(options.credentials)
    source = camera(wanted, realtime=options.realtime, credentials=login)
    beside = None
    if options.detect_source:
        beside = camera(options.detect_source, realtime=options.realtime, credentials=login)
    return source, _lookout(options.watch(), source, beside)


def _attended(options: RecordOptions, source: Camera, lookout: Lookout, attendance: Attendance) -> int:
    name, folders = options.folders()
    run = f"{clock.now(clock.zone(options.timezone)):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    with ExitStack() as held:
        folders.make()
        log_file = options.log_file or options.spool / "recorder.log"
        held.enter_context(
            logging_to(
                log_file,
                run=run,
                verbose=options.verbose,
                quiet=options.quiet,
                log_format=options.channels.log_format,
            )
        )
        for lock in folders.locks:
            held.enter_context(locking.exclusive(lock, what="record"))
        folders.sweep()
        attendance.started()
        return _record(options, source, lookout, run, name, folders, attendance)


def _credentials(path: Path | None) -> str:
    if path is None:
        return ""
    words = path.read_text(encoding="utf-8").strip()
    if ":" not in words or "\n" in words:
        raise UsageError(f"{path} does not hold USER:PASSWORD", hint="write both into its only line")
    return words


def _lookout(watch: Watch, source: Camera, beside: Camera | None) -> Lookout:
    from camarchiver.lookout import BesideStream, OwnPictures, OwnStream
    from camarchiver.picamera import PicameraCamera

    if beside is None and isinstance(source, PicameraCamera):
        return OwnPictures(watch, source.pictures)
    return BesideStream(watch, beside) if beside is not None else OwnStream(watch)


def _show(options: RecordOptions, source: Camera, lookout: Lookout) -> int:
    """A dry run: what would be recorded, in seconds from the first frame."""
    limit = options.duration.total_seconds() if options.duration else None
    events, error = _events(source, lookout, limit)
    exit_code = 1 if error else 0
    if options.as_json:
        found = [{"start": one.start, "end": one.end, "peak": one.peak, "zone": one.zone} for one in events]
        status = Status.FAILED if error else Status.DONE if events else Status.NOTHING
        problems = [Problem("failed", f"{source.name}: {error}")] if error else []
        _print(document.recorded({"dry_run": True, "events": found}, "", status, exit_code, problems))
        return exit_code
    for one in events:
        zone = f", in {words.shown(one.zone)}" if one.zone else ""
        _print(f"{one.start:.1f} s to {one.end:.1f} s: {one.peak:.2f} % of the picture{zone}\n")
    if error:
        raise StorageError(f"{source.name} can't be read on: {error}")
    return exit_code


def _events(source: Camera, lookout: Lookout, limit: float | None) -> tuple[list[Event], str]:
    """The motion of a whole source, and why it could not be read to its end."""
    from dataclasses import replace

    from camarchiver.reader import Ended, Opened, Reader
    from camarchiver.ring import Entry

    found: list[Event] = []
    first: float | None = None
    error = ""
    reader = Reader(source)
    while True:
        item = reader.take(1.0)
        if isinstance(item, Opened):
            lookout.begin(item)
        elif isinstance(item, Entry) and item.video:
            first = item.at if first is None else first
            if limit is not None and item.at - first >= limit:
                break
            found += lookout.see(item)
        elif isinstance(item, Ended):
            error = item.error
            break
    found += lookout.finish()
    reader.close()
    lookout.close()
    zero = first or 0.0
    return [
        replace(one, start=one.start - zero, end=one.end - zero, peak_at=one.peak_at - zero) for one in found
    ], error


def _record(
    options: RecordOptions,
    source: Camera,
    lookout: Lookout,
    run: str,
    name: str,
    folders: Folders,
    attendance: Attendance,
) -> int:
    from camarchiver.delivery import Delivery
    from camarchiver.recorder import Recorder, Settings
    from camarchiver.reel import Lengths
    from camarchiver.service import Service
    from camarchiver.vigil import Vigil

    zone = clock.zone(options.timezone)
    lengths = (options.pre, options.post, options.max_clip)
    settings = Settings(
        lengths=Lengths(*(length.total_seconds() for length in lengths)),
        times=options.ranges(),
        min_free=options.min_free,
        duration=options.duration.total_seconds() if options.duration else None,
        base=_base(source, zone),
    )

    def tell(clip: Recorded) -> None:
        if clip.published and not (options.quiet or options.as_json):
            _print(f"{words.shown(clip.path)}: {clip.seconds:.1f} s, {clip.frames} frames\n")

    delivery = Delivery(name, folders, pictures=options.snapshot, tell=tell)
    upkeep = options.upkeep(name, zone)
    vigil = Vigil(Service(), (name,))
    recorder = Recorder(settings, source, lookout, delivery, upkeep, vigil, lambda: clock.now(zone))
    look = partial(figures_of, recorder, delivery, upkeep, name)
    with stop.on_signals() as stopping:
        judge = partial(judged, recorder, delivery.clips, upkeep, source)
        news = News(lambda: judge(None), run)
        with attendance.each_minute(
            look, lambda: recorder.is_connected and not recorder.is_full, news.failures
        ):
            vigil.begin()
            recorder.run(stopping.event)
            vigil.end()
        status, exit_code, problems = judge(stopping.signal)
        found = {
            "dry_run": False,
            "camera": name,
            "clips": [clip.fields() for clip in delivery.clips],
            "salvaged": [str(path) for path in delivery.salvaged],
            "removed": [document.outcome_fields(outcome) for outcome in upkeep.outcomes],
            "announced": [str(path) for path in upkeep.announced],
            "outages": recorder.outages,
        }
        text = document.recorded(found, run, status, exit_code, problems)
        attendance.closed(exit_code, look(), (text,), failed=bool(news.untold()))
        if options.as_json:
            _print(text)
    if recorder.error and not options.as_json:
        raise StorageError(f"{source.name} can't be read on: {recorder.error}")
    return exit_code


def _base(source: Camera, zone: tzinfo) -> datetime | None:
    """When a file's first frame was: by its name where that tells, else now; None for what is live."""
    path = Path(source.name)
    if source.returns or stat.S_ISFIFO(path.stat().st_mode):
        return None
    parsed = names.Names().read(path.stem, path.absolute().parent.name)
    if parsed is None:
        return clock.now(zone)
    return names.locate(parsed, path.stat().st_mtime_ns, zone)


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
