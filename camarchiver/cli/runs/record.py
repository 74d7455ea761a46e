"""One run of `record`: checks the request, then records, or in a dry run shows the motion."""

from __future__ import annotations

import logging
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from datetime import datetime, timedelta, tzinfo
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from camarchiver.cli.conventions import check_mask, view_of
from camarchiver.cli.session import tell
from camarchiver.domain.report import concluded
from camarchiver.errors import EncoderError, ExitCode, Problem, StorageError, UsageError
from camarchiver.motion.events import rules_for
from camarchiver.naming import patterns as name_patterns
from camarchiver.output import lists
from camarchiver.output.json import answers, document
from camarchiver.pipeline import run_id
from camarchiver.record import schedule
from camarchiver.runtime import clock
from camarchiver.runtime.extras import install_extra
from camarchiver.runtime.log_setup import logging_to
from camarchiver.storage import linux, run_lock

if TYPE_CHECKING:
    from camarchiver.monitoring.channels import Channels
    from camarchiver.monitoring.run_events import RunEvents
    from camarchiver.record.capture.source import Camera
    from camarchiver.record.detection_stream import DetectionStream
    from camarchiver.record.outbox.folders import Folders
    from camarchiver.record.outbox.keeper import OutboxKeeper
    from camarchiver.record.outbox.recorded_clip import Recorded
    from camarchiver.record.stream_detector import DetectionSettings
    from camarchiver.record.supervision.member import Member
    from camarchiver.record.supervision.processes import CameraProcesses
    from camarchiver.record.watchdog import CameraMonitor, Watchdog

_log = logging.getLogger(__name__)


class RecordOptions(Struct, frozen=True):
    """The command line of `record`, parsed."""

    source: str | None
    camera: str | None
    detect_source: str | None
    credentials: Path | None
    g711: str
    realtime: bool
    spool: Path
    outbox: Path
    pre: timedelta
    post: timedelta
    max_clip: timedelta
    schedules: tuple[str, ...]
    snapshot: bool
    timelapse: timedelta | None
    min_free: int
    on_full: str
    keep_days: timedelta | None
    max_storage: int | None
    duration: timedelta | None
    sensitivity: str
    min_area: float | None
    min_duration: timedelta | None
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

    def watch(self) -> DetectionSettings:
        """What counts as motion. Raises UsageError."""
        from camarchiver.record.stream_detector import DetectionSettings

        view = view_of(self.masks, self.zones)
        check_mask(view)
        rules = rules_for(self.sensitivity, min_area=self.min_area)
        return DetectionSettings(rules, view, self.keyframes, self.shortest)

    @property
    def shortest(self) -> float:
        """Seconds; shorter motion is ignored."""
        return self.min_duration.total_seconds() if self.min_duration else 0.0

    def sources(self) -> tuple[Camera, DetectionStream]:
        """The recorded stream, and the one that is searched for motion. Raises EncoderError, UsageError."""
        from camarchiver.record.capture.devices.picamera import PicameraCamera
        from camarchiver.record.capture.source import camera
        from camarchiver.record.detection_stream import BesideOrOwnStream, OwnPictures, OwnStream

        if not self.source:
            hint = "name a camera, as rtsp://HOST/PATH, /dev/video0 or picamera2:, or file:CLIP"
            raise UsageError("--source is missing", hint=hint)
        login = _credentials(self.credentials)
        source = camera(self.source, realtime=self.realtime, credentials=login)
        if self.detect_source:
            beside = camera(self.detect_source, realtime=self.realtime, credentials=login)
            return source, BesideOrOwnStream(self.watch(), beside)
        if isinstance(source, PicameraCamera):
            return source, OwnPictures(self.watch(), source.pictures)
        return source, OwnStream(self.watch())

    def folders(self) -> tuple[str, Folders]:
        """The camera's name, and where its clips go. Raises UsageError."""
        from camarchiver.record.outbox.folders import Folders

        name = self.camera or ""
        if not name or "/" in name or name.startswith(".") or "\0" in name:
            raise UsageError(
                f"--camera {name!r} can't be a folder's name" if name else "--camera is missing",
                hint="name the camera, as --camera yard: its clips go to OUTBOX/yard",
            )
        return name, Folders((self.spool / name).absolute(), (self.outbox / name).absolute())

    def keeper(self, camera: str, zone: tzinfo) -> OutboxKeeper:
        """The keeper of this camera's clips in the outbox. Raises UsageError."""
        from camarchiver.record.outbox.keeper import OutboxKeeper
        from camarchiver.record.outbox.rules import OutboxLimits

        if self.max_storage == 0:
            raise UsageError(
                "--max-storage 0 would keep nothing", hint="leave it out, or name a size such as 50GB"
            )
        drops = self.on_full == "drop-oldest"
        if drops and not self.min_free:
            raise UsageError(
                "--on-full drop-oldest needs to know when a disk is full", hint="set --min-free, as 1GB"
            )
        limits = OutboxLimits(self.keep_days, self.max_storage)
        return OutboxKeeper(
            camera, self.outbox.absolute(), limits, lambda: clock.now(zone), drops_oldest=drops
        )

    def timelapse_seconds(self) -> float | None:
        """Seconds between two frames of the timelapse. Raises UsageError."""
        if self.timelapse is None:
            return None
        if self.timelapse < timedelta(seconds=1):
            raise UsageError("--timelapse takes a frame every second at most", hint="write for example 1m")
        return self.timelapse.total_seconds()

    def ranges(self) -> tuple[schedule.Range, ...]:
        """When to record. Raises UsageError."""
        return tuple(one for text in self.schedules for one in schedule.parse(text))


def run_record(cameras: Sequence[RecordOptions]) -> int:
    """Run `record` for each of these cameras and return its exit code; the first has the common options."""
    if find_spec("cv2") is None or find_spec("numpy") is None:
        raise EncoderError("record needs OpenCV, which is not installed", hint=install_extra("record"))
    linux.share_memory()
    # numpy's and OpenCV's linear algebra is not used, but it keeps threads and memory once it is loaded
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    options = cameras[0]
    if options.dry_run:
        if len(cameras) > 1:
            names = ", ".join(one.camera or "" for one in cameras)
            raise UsageError("--dry-run shows one camera", hint=f"name it with --camera; there are {names}")
        source, stream = options.sources()
        limit = options.duration.total_seconds() if options.duration else None
        return _preview(source, stream, limit, as_json=options.as_json)
    from camarchiver.monitoring.run_events import open_run_events

    own = {"camera": options.camera or ""} if len(cameras) == 1 else {}
    with open_run_events(options.channels, "record", document.failure_document, **own) as events:
        return _run_with_events(cameras, events)


def _run_with_events(cameras: Sequence[RecordOptions], events: RunEvents) -> int:
    from camarchiver.record.supervision.run import RecordDocuments, record

    options = cameras[0]
    run = run_id(clock.now(clock.zone(options.timezone)))
    documents = RecordDocuments(
        lambda judgement: answers.recorded(answers.NOTHING_RECORDED, run, *judgement),
        lambda facts, judgement: answers.recorded(answers.recorders(facts), run, *judgement),
    )
    named = {one.folders()[0]: one for one in cameras}
    begin = partial(_own_process, options) if len(named) == 1 else partial(_camera_processes, named, run)
    result = record(named, begin, partial(_logged, options, run), events, documents)
    if options.as_json:
        _print(result.document)
    elif result.error is not None:
        raise result.error
    return result.exit_code


def _logged(options: RecordOptions, run: str) -> AbstractContextManager[None]:
    return logging_to(
        options.log_file or options.spool / "recorder.log",
        run=run,
        verbose=options.verbose,
        quiet=options.quiet,
        log_format=options.channels.log_format,
    )


def _own_process(options: RecordOptions, watchdog: Watchdog, locks: ExitStack) -> Member:
    """The only camera's recorder; the service manager starts it again if it crashes."""
    return _member(options, watchdog, locks)


class _CameraRequest(Struct, frozen=True):
    """What a camera's process is asked to do."""

    options: RecordOptions
    run: str


def _camera_processes(
    cameras: Mapping[str, RecordOptions], run: str, watchdog: Watchdog, locks: ExitStack
) -> CameraProcesses:
    """A process for each camera, so that none takes the others down."""
    from camarchiver.record.supervision.processes import CameraLaunch, CameraProcesses

    program = f"from {__name__} import serve_camera; serve_camera({{descriptor}})"

    def launch(options: RecordOptions) -> CameraLaunch:
        def request(passed: float) -> _CameraRequest:
            limit = options.duration
            left = None if limit is None else max(limit - timedelta(seconds=passed), timedelta())
            return _CameraRequest(replace(options, duration=left), run)

        folders = options.folders()[1]
        return CameraLaunch(program, request, folders.spool, folders.outbox)

    return CameraProcesses({name: launch(one) for name, one in cameras.items()}, watchdog, locks)


def serve_camera(descriptor: int) -> None:
    """Run the process of one of several cameras; it is asked through this descriptor."""
    from camarchiver.record.supervision import camera_process

    linux.share_memory()

    def make(request: _CameraRequest, monitor: CameraMonitor, stack: ExitStack) -> Member:
        member = _member(request.options, monitor, stack)
        stack.enter_context(_logged(request.options, request.run))
        return member

    camera_process.serve(descriptor, make)


def _member(options: RecordOptions, monitor: CameraMonitor, locks: ExitStack) -> Member:
    """One camera's recorder; `locks` holds its locks until the end."""
    from camarchiver.record.capture.sound.formats import Uncompressed
    from camarchiver.record.clip_rules import RecordingLengths
    from camarchiver.record.outbox.publisher import ClipPublisher
    from camarchiver.record.recorder import Recorder, RecorderSettings
    from camarchiver.record.supervision.member import Member

    source, stream = options.sources()
    name, folders = options.folders()
    zone = clock.zone(options.timezone)
    pre, post, longest = (one.total_seconds() for one in (options.pre, options.post, options.max_clip))
    settings = RecorderSettings(
        lengths=RecordingLengths(pre, post, longest, options.shortest),
        times=options.ranges(),
        min_free=options.min_free,
        duration=options.duration.total_seconds() if options.duration else None,
        base=_base(source, zone),
        timelapse=options.timelapse_seconds(),
        uncompressed=Uncompressed(options.g711),
    )
    keeper = options.keeper(name, zone)
    folders.make()
    for lock in folders.locks:
        locks.enter_context(run_lock.exclusive(lock, what="record"))
    folders.sweep()
    publisher = ClipPublisher(name, folders, pictures=options.snapshot, on_clip=partial(_print_clip, options))
    recorder = Recorder(settings, source, stream, publisher, keeper, monitor, lambda: clock.now(zone))
    return Member(name, source, recorder, publisher, keeper)


def _print_clip(options: RecordOptions, clip: Recorded) -> None:
    if clip.published and not (options.quiet or options.as_json):
        tell(lists.recorded_line(clip))


def _base(source: Camera, zone: tzinfo) -> datetime | None:
    """When a file's first frame was: by its name if that has a time, otherwise now; None if live."""
    path = Path(source.name)
    if source.reconnects or stat.S_ISFIFO(path.stat().st_mode):
        return None
    parsed = name_patterns.Names().read(path.stem, path.absolute().parent.name)
    if parsed is None:
        return clock.now(zone)
    return name_patterns.locate(parsed, path.stat().st_mtime_ns, zone)


def _credentials(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        words = path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError as error:
        hint = "save it as UTF-8, or with letters without accents"
        raise UsageError(f"{path} is no text in UTF-8", hint=hint) from error
    if ":" not in words or "\n" in words:
        raise UsageError(f"{path} does not hold USER:PASSWORD", hint="write both into its only line")
    return words


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _preview(source: Camera, stream: DetectionStream, max_seconds: float | None, *, as_json: bool) -> int:
    """Show what would be recorded, in seconds from the first frame."""
    from camarchiver.record.preview import motion_of

    if source.reconnects:
        raise UsageError("--dry-run needs a source that ends", hint="use file:CLIP")
    events, error = motion_of(source, stream, max_seconds)
    if as_json:
        ended = concluded(achieved=bool(events) and not error, failed=bool(error), is_storage=True)
        problems = [Problem(StorageError.code, f"{source.name}: {error}")] if error else []
        sys.stdout.write(answers.recorded(answers.motion(events), "", ended, problems))
        return ended.exit_code
    for one in events:
        sys.stdout.write(f"{lists.motion_line(one)}\n")
    if error:
        raise StorageError(f"{source.name} can't be read on: {error}")
    return ExitCode.DONE
