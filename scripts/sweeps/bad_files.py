"""Cases of the catalogue that are files: damaged, odd, misnamed, or no files at all."""

from __future__ import annotations

import os
import socket
import stat
import unicodedata
from datetime import timedelta
from pathlib import Path

from sweeps import Unable
from sweeps.camera import LATELY
from sweeps.cases import ARCHIVED, IGNORED, KEPT, CaseClips, Expected, files, name_of
from tests import dates
from tests.dates import stamp_of

BROKEN = "damaged"


def _one(place: Path, suffix: str = ".mp4") -> Path:
    return place / name_of(place.name, suffix)


def _cut(case_clips: CaseClips, kind: str, part: float) -> bytes:
    content = case_clips.clip(kind).read_bytes()
    return content[: int(len(content) * part)]


@files(1, "a file of zero bytes")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return {case_clips.put(_one(place), b""): BROKEN}


@files(2, "random bytes")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return {case_clips.put(_one(place), case_clips.dice.randbytes(50_000)): BROKEN}


@files(3, "a text file")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return {case_clips.put(_one(place), b"this is no video\n" * 99): BROKEN}


@files(4, "mp4 without its index")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return {case_clips.put(_one(place), _cut(case_clips, "plain.mp4", 0.6)): BROKEN}


@files(5, "faststart mp4 cut at half")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return {case_clips.put(_one(place), _cut(case_clips, "faststart.mp4", 0.5)): BROKEN}


@files(6, "faststart mp4 cut at 99 %")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return {case_clips.put(_one(place), _cut(case_clips, "faststart.mp4", 0.99)): BROKEN}


@files(7, "fragmented mp4 cut")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return {case_clips.put(_one(place), _cut(case_clips, "fragmented.mp4", 0.7)): BROKEN}


@files(8, "TS cut at half")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return {case_clips.put(_one(place, ".ts"), _cut(case_clips, "plain.ts", 0.5)): BROKEN}


@files(9, "Matroska cut")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return {case_clips.put(_one(place, ".mkv"), _cut(case_clips, "plain.mkv", 0.5)): BROKEN}


@files(10, "AVI cut")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return {case_clips.put(_one(place, ".avi"), _cut(case_clips, "plain.avi", 0.5)): BROKEN}


@files(11, "TS with a tail of zeros")
def _(case_clips: CaseClips, place: Path) -> Expected:
    whole = case_clips.clip("plain.ts").read_bytes()
    half = len(whole) // 2
    return {case_clips.put(_one(place, ".ts"), whole[:half] + bytes(len(whole) - half)): BROKEN}


@files(12, "20 flipped bits")
def _(case_clips: CaseClips, place: Path) -> Expected:
    content = bytearray(case_clips.clip("faststart.mp4").read_bytes())
    dice = case_clips.dice
    for _ in range(20):
        content[dice.randrange(len(content) // 3, len(content))] ^= 1 << dice.randrange(8)
    return {case_clips.put(_one(place), bytes(content)): BROKEN}


@files(13, "a hole of zeros")
def _(case_clips: CaseClips, place: Path) -> Expected:
    found = {}
    for kind in ("faststart.mp4", "plain.ts", "plain.mkv"):
        content = bytearray(case_clips.clip(kind).read_bytes())
        start, length = len(content) // 2, len(content) // 5
        content[start : start + length] = bytes(length)
        found[case_clips.put(_one(place, Path(kind).suffix), bytes(content))] = BROKEN
    return found


@files(14, "sound without a picture")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return {case_clips.put(_one(place), "sound.mp4"): KEPT}


@files(15, "a picture without sound")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return {case_clips.put(_one(place), "silent.mp4"): ARCHIVED}


@files(16, "two video streams")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return {case_clips.put(_one(place), "two.mp4"): ARCHIVED}


@files(17, "a timecode stream")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return {case_clips.put(_one(place, ".mov"), "timecode.mov"): ARCHIVED}


@files(18, "a codec that this ffmpeg does not know")
def _(case_clips: CaseClips, place: Path) -> Expected:
    content = case_clips.clip("plain.mkv").read_bytes()
    return {
        case_clips.put(_one(place, ".mkv"), content.replace(b"V_MPEG4/ISO/AVC", b"V_UNKNOWN/CODEC")): KEPT
    }


@files(19, "HEVC")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return {case_clips.put(_one(place), "hevc.mp4"): ARCHIVED}


@files(20, "a variable frame rate")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return {case_clips.put(_one(place), "vfr.mp4"): ARCHIVED}


@files(21, "rotated by its display matrix")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return {case_clips.put(_one(place), "rotated.mp4"): ARCHIVED}


@files(22, "10 bits, 4:2:2")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return {case_clips.put(_one(place), "deep.mp4"): ARCHIVED}


@files(23, "the picture's size changes")
def _(case_clips: CaseClips, place: Path) -> Expected:
    joined = case_clips.clip("plain.ts").read_bytes() + case_clips.clip("other-size.ts").read_bytes()
    return {case_clips.put(_one(place, ".ts"), joined): KEPT}


@files(24, "frames before the presentation begins")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return {case_clips.put(_one(place), "early.mp4"): KEPT}


@files(25, "a timestamp that wraps")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return {case_clips.put(_one(place, ".ts"), "wrap.ts"): ARCHIVED}


@files(26, "a clip of 24 hours")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return {case_clips.put(_one(place), "day.mp4"): ARCHIVED}


@files(27, "one frame")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return {case_clips.put(_one(place), "one.mp4"): ARCHIVED}


@files(33, "a FIFO")
def _(case_clips: CaseClips, place: Path) -> Expected:
    place.mkdir()
    os.mkfifo(_one(place))
    return {_one(place): "not-a-clip"}


@files(34, "a socket")
def _(case_clips: CaseClips, place: Path) -> Expected:
    place.mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        folder = os.open(place, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{folder}/{_one(place).name}")
        os.close(folder)
    return {_one(place): "not-a-clip"}


@files(35, "a device")
def _(case_clips: CaseClips, place: Path) -> Expected:
    if os.geteuid():
        raise Unable("only root makes devices")
    place.mkdir()
    os.mknod(_one(place), 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    return {_one(place): "not-a-clip"}


@files(36, "a folder named like a clip")
def _(case_clips: CaseClips, place: Path) -> Expected:
    _one(place).mkdir(parents=True)
    return {case_clips.put(_one(place) / name_of("inside")): ARCHIVED}


@files(37, "a link to a clip inside")
def _(case_clips: CaseClips, place: Path) -> Expected:
    clip = case_clips.put(_one(place))
    link = place / name_of("link")
    link.symlink_to(clip.name)
    return {clip: ARCHIVED, link: IGNORED}


@files(38, "a link to a file outside")
def _(case_clips: CaseClips, place: Path) -> Expected:
    outside = case_clips.put(case_clips.where / "outside" / "secret.mp4")
    place.mkdir()
    _one(place).symlink_to(outside)
    return {_one(place): IGNORED, outside: IGNORED}


@files(39, "a link to a folder outside")
def _(case_clips: CaseClips, place: Path) -> Expected:
    outside = case_clips.put(case_clips.where / "outside-folder" / name_of("out"))
    place.mkdir()
    (place / "etc").symlink_to(outside.parent)
    return {place / "etc": IGNORED, outside: IGNORED}


@files(40, "a link to the folder above")
def _(case_clips: CaseClips, place: Path) -> Expected:
    (place / "a").mkdir(parents=True)
    (place / "a/up").symlink_to("..")
    return {case_clips.put(_one(place)): ARCHIVED, place / "a/up": IGNORED}


@files(41, "a link to itself")
def _(case_clips: CaseClips, place: Path) -> Expected:
    place.mkdir()
    _one(place).symlink_to(_one(place).name)
    return {_one(place): IGNORED}


@files(42, "a link to nothing")
def _(case_clips: CaseClips, place: Path) -> Expected:
    place.mkdir()
    _one(place).symlink_to("nothing.mp4")
    return {_one(place): IGNORED}


def _named(case_clips: CaseClips, place: Path, *names: str) -> Expected:
    return {case_clips.put(place / name): ARCHIVED for name in names}


@files(50, "a line end in the name")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return _named(case_clips, place, name_of("line\nend"))


@files(51, "a name that begins with a dash")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return _named(case_clips, place / "-y", f"-y_{stamp_of(LATELY)}.mp4")


@files(52, "a colon in the name")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return _named(case_clips, place, name_of("a:b"))


@files(53, "a name like a protocol of ffmpeg's: concat")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return _named(case_clips, place, f"concat:REO_ok_{stamp_of(LATELY)}.mp4")


@files(54, "a name like an address")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return _named(case_clips, place, f"http:REO_x_{stamp_of(LATELY)}.mp4")


@files(55, "a pattern of numbers in the name")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return _named(case_clips, place, name_of("%d %05d"))


@files(56, "quotes, blanks, stars and dollars")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return _named(case_clips, place, name_of("a 'b' \"c\" *?[x] $(touch pwned) `id` ;&|"))


@files(57, "bytes that are no UTF-8")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return _named(case_clips, place, os.fsdecode(os.fsencode(name_of("XX")).replace(b"XX", b"caf\xe9\xff")))


@files(58, "a name of 255 bytes")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return _named(case_clips, place, name_of("n" * (255 - len(name_of("")))))


@files(60, "blanks and dots at the ends")
def _(case_clips: CaseClips, place: Path) -> Expected:
    hidden = case_clips.put(place / f".{name_of('hidden')}")
    return {**_named(case_clips, place, name_of("blank "), name_of("dot.")), hidden: IGNORED}


@files(61, "the suffix in capitals")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return _named(case_clips, place, name_of("big", ".MP4"), name_of("mixed", ".Mp4"))


@files(62, "two clips that want one archive name")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return {case_clips.put(_one(place)): ARCHIVED, case_clips.put(_one(place, ".MKV"), "plain.mkv"): ARCHIVED}


@files(63, "one name in two forms of Unicode")
def _(case_clips: CaseClips, place: Path) -> Expected:
    names = [unicodedata.normalize(form, name_of("Küche")) for form in ("NFC", "NFD")]
    return {**_named(case_clips, place, names[0]), case_clips.put(place / names[1], "silent.mp4"): ARCHIVED}


@files(64, "names of what is not finished")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return {
        case_clips.put(place / f"{name_of('x')}{ending}"): IGNORED
        for ending in (".part", ".tmp", "~", ".bak")
    }


@files(65, "one clip under two names")
def _(case_clips: CaseClips, place: Path) -> Expected:
    first = case_clips.put(_one(place))
    second = place / name_of("second")
    os.link(first, second)
    return {first: ARCHIVED, second: ARCHIVED}


@files(88, "a clip of the future")
def _(case_clips: CaseClips, place: Path) -> Expected:
    soon = dates.now() + timedelta(days=20)
    return {case_clips.put(place / f"REO_{place.name}_{stamp_of(soon)}.mp4", at=soon.timestamp()): KEPT}


@files(90, "a modification time of zero")
def _(case_clips: CaseClips, place: Path) -> Expected:
    return {case_clips.put(_one(place), at=0): ARCHIVED}
