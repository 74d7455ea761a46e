"""media: what the installed command makes of each format, and what it does not encode."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import av
import imageio_ffmpeg
import pytest

from camarchiver.errors import ExitCode
from camarchiver.media.info import Orientation
from camarchiver.media.parsing.streams import orientation_of
from tests import programs
from tests.commands import (
    DAY,
    H264,
    ONE,
    START,
    Make,
    Put,
    archive,
    clips_of,
    command,
    document,
    frames,
    journal,
    media,
    put_recent,
    reasons,
    state_of,
)
from tests.dahua import dav_of

_BARS = "-f lavfi -i testsrc2=s=160x120:r=10:d=2"
_TONE = "-f lavfi -i sine=d=2"
CONTAINERS = {
    ".webm": f"{_BARS} -c:v libvpx -b:v 3M -deadline realtime",
    ".flv": f"{_BARS} {_TONE} -c:v libx264 -preset ultrafast -b:v 2M -c:a aac",
    ".3gp": f"{_BARS} {_TONE} -c:v libx264 -preset ultrafast -b:v 2M -c:a aac",
    ".wmv": f"{_BARS} {_TONE} -c:v wmv2 -b:v 3M -c:a wmav2",
    ".mpg": f"{_BARS} {_TONE} -r 25 -c:v mpeg2video -b:v 6M -c:a mp2",
    ".m2ts": f"{_BARS} {_TONE} -c:v libx264 -preset ultrafast -b:v 2M -c:a aac",
    ".MTS": f"{_BARS} {_TONE} -c:v libx264 -preset ultrafast -b:v 2M -c:a aac",
}


class TestFormats:
    """Containers other than mp4, streams without one, and what is left alone by its format."""

    REORDERED = f"{_BARS} -c:v libx264 -preset ultrafast -bf 2 -b:v 2M"
    PLAIN = f"{_BARS} -c:v libx264 -preset ultrafast -bf 0 -b:v 2M"

    @pytest.mark.parametrize("suffix", CONTAINERS)
    def test_each_container_is_encoded_and_verified(
        self, put: Put, tree: Path, make_clip: Make, suffix: str
    ) -> None:
        source = put(f"{ONE}{suffix}", make_clip(CONTAINERS[suffix], suffix.lower()).read_bytes())
        count = frames(source)
        done = archive(tree, "--verify", "full")
        assert (done.returncode, done.stderr) == (0, "")
        (made,) = media(tree / "archived")
        assert frames(tree / "archived" / made) == count
        assert not source.exists()
        (line,) = [each for each in journal(tree) if each["event"] == "archived"]
        assert (line["remuxed"], line["source"]) == (False, f"{ONE}{suffix}")
        assert (tree / f".deleted/input/{ONE}{suffix}").exists()

    def test_a_wmv_with_a_hole_that_nobody_else_complains_of(
        self, put: Put, tree: Path, make_clip: Make
    ) -> None:
        content = make_clip(f"{_BARS} -c:v wmv2 -b:v 3M -g 10", ".wmv").read_bytes()
        middle = len(content) // 2
        source = put(f"{ONE}.wmv", content[:middle] + bytes(4096) + content[middle + 4096 :])
        (outcome,) = document(tree)["outcomes"]
        assert (outcome["result"], outcome["reason"]) == ("failed", "damaged"), outcome
        assert "has a hole between its packets" in outcome["detail"]
        assert source.exists()

    def test_boxes_nested_deeper_than_python_can_call_are_damage(
        self, put: Put, tree: Path, make_clip: Make
    ) -> None:
        nested = b"".join((8 * each).to_bytes(4) + b"moov" for each in range(5000, 0, -1))
        fragments = make_clip(f"{_BARS} -c:v libx264 -movflags frag_keyframe", ".mp4").read_bytes()
        put(f"{ONE}.mp4", fragments + nested + bytes(4))
        (outcome,) = document(tree)["outcomes"]
        assert (outcome["result"], outcome["reason"]) == ("failed", "damaged"), outcome
        assert "has a hole in or between its fragments" in outcome["detail"]

    @pytest.mark.parametrize("header", [False, True])
    def test_a_dahua_recording_keeps_its_times(
        self, put: Put, tree: Path, make_clip: Make, header: bool
    ) -> None:
        put(f"{ONE}.dav", dav_of(make_clip(self.PLAIN, ".h264"), 10, header=header))
        assert archive(tree).returncode == 0
        assert shown(tree / f"archived/{ONE}.mp4") == pytest.approx([n / 10 for n in range(20)], abs=0.001)

    @pytest.mark.parametrize("spoil", ["between", "cut short"])
    def test_a_dahua_recording_with_bytes_that_nobody_reads_keeps_all_of_them(
        self, put: Put, tree: Path, make_clip: Make, spoil: str
    ) -> None:
        whole_file = dav_of(make_clip(self.PLAIN, ".h264"), 10)
        second = whole_file.index(b"DHAV", 4)
        odd = {
            "between": whole_file[:second] + b"lost" * 9 + whole_file[second:],
            "cut short": whole_file[: whole_file.rindex(b"DHAV") + 20],
        }[spoil]
        put(f"{ONE}.dav", odd)
        archive(tree)
        assert (tree / f"archived/{ONE}.dav").read_bytes() == odd
        (line,) = [each for each in journal(tree) if each["event"] == "archived"]
        assert line["unencoded"] == "unkeepable-times"

    @pytest.mark.parametrize("suffix", [".264", ".H264", ".265"])
    def test_a_raw_stream_gets_its_times_by_the_declared_rate(
        self, put: Put, tree: Path, tmp_path: Path, make_clip: Make, suffix: str
    ) -> None:
        hevc = f"{_BARS} -c:v libx265 -preset ultrafast -x265-params log-level=error -b:v 2M -f hevc"
        words = hevc if "5" in suffix else f"{self.REORDERED} -f h264"
        put(f"{ONE}{suffix}", make_clip(words, suffix.lower()).read_bytes())
        config = tmp_path / "rates.toml"
        config.write_text('[camera.front]\nraw_rate = "30000/2002"\n')
        done = archive(tree, "--config", config)
        assert (done.returncode, done.stderr) == (0, "")
        wanted = [n * 2002 / 30000 for n in range(20)]
        assert shown(tree / f"archived/{ONE}.mp4") == pytest.approx(wanted, abs=0.0001)
        (line,) = [each for each in journal(tree) if each["event"] == "archived"]
        assert line["verified"].startswith("every frame's time")

    def test_a_raw_stream_without_a_rate_is_counted_and_stays(
        self, put: Put, tree: Path, make_clip: Make
    ) -> None:
        source = put(f"{ONE}.264", make_clip(f"{self.PLAIN} -f h264", ".264").read_bytes())
        assert reasons(tree) == {source.name: "no-frame-rate"}
        assert (archive(tree).returncode, source.exists()) == (0, True)
        told = command("archive", tree, "--dry-run")
        assert "1  raw stream" in told and "--raw-rate" in told
        assert json.loads(command("status", tree, "--json"))["no_frame_rate"] == 1
        assert "1 raw stream without a declared frame rate" in command("status", tree)
        assert reasons(tree, "--raw-rate", "10") == {source.name: "not-archived"}

    @pytest.mark.parametrize("spoil", ["not smaller", "no keyframe first"])
    def test_a_lossless_copy_of_a_raw_stream_keeps_its_bytes(
        self, put: Put, tree: Path, make_clip: Make, spoil: str
    ) -> None:
        content = make_clip(f"{self.REORDERED} -g 5 -f h264", ".264").read_bytes()
        options = ["--min-saving", "99"]
        if spoil == "no keyframe first":
            with av.open(io.BytesIO(content), format="h264") as opened:
                first = next(each for each in opened.demux(video=0) if each.size)
                content, options = content[first.size :], []
        put(f"{ONE}.264", content)
        done = archive(tree, "--raw-rate", "10", *options)
        assert done.returncode == 0, done.stdout + done.stderr
        assert (tree / f"archived/{ONE}.264").read_bytes() == content
        assert (tree / f".deleted/input/{ONE}.264").read_bytes() == content
        verified = json.loads(command("verify", tree, "--full", "--json"))
        assert (verified["checked"], verified["findings"]) == (1, [])

    def test_video_that_is_not_archived_is_counted_by_everybody_and_never_touched(
        self, put: Put, tree: Path
    ) -> None:
        put(f"{ONE}.mp4")
        others = {f"REO_front_2026030108150{n}{suffix}" for n, suffix in enumerate((".bvr", ".M4S", ".g64x"))}
        for name in others:
            put(f"{DAY}/{name}", b"video of a kind")
        old = [put(f"old/{name}", b"video of a kind", mtime=START - 4 * 365 * 86400) for name in others]
        found = reasons(tree)
        assert {name for name, reason in found.items() if reason == "unsupported-format"} == others
        told = command("archive", tree, "--dry-run")
        assert "6  video of a format that is not archived (unsupported-format), 90 B" in told
        assert json.loads(command("status", tree, "--json"))["unsupported_format"] == 6
        assert "6 videos of a format that is never archived" in command("status", tree)
        put_recent(put)
        cleaned = json.loads(command("cleanup", tree, "--age", 1, "--unarchived", "--no-confirm", "--json"))
        (total,) = [each for each in cleaned["totals"] if each["reason"] == "unsupported-format"]
        assert (total["action"], total["clips"]) == ("keep", 6)
        assert all(path.exists() for path in old)


def shown(path: Path) -> list[float]:
    """The presentation times of a file's frames, from the first."""
    with av.open(str(path)) as opened:
        times = sorted(
            float(each.pts * each.time_base)
            for each in opened.demux(video=0)
            if each.pts is not None and each.time_base is not None and each.size
        )
    return [moment - times[0] for moment in times]


def with_tags_first(mp4: bytes) -> bytes:
    """The same file, but its tags and its cover come before its tracks, so the cover is the first stream."""
    start = mp4.index(b"moov") - 4
    end = start + int.from_bytes(mp4[start : start + 4])
    boxes, at = list[bytes](), start + 8
    while at < end:
        length = int.from_bytes(mp4[at : at + 4])
        boxes.append(mp4[at : at + length])
        at += length
    return mp4[: start + 8] + b"".join(sorted(boxes, key=lambda box: box[4:8] == b"trak")) + mp4[end:]


class TestUnencoded:
    """What no encoder keeps as it is: its archive is a lossless copy, and everybody is told why."""

    PLAIN = H264 + " -bf 0"
    AXIS = "5369676e-6564-2056-6964-656f2e2e2e30"
    ONVIF = "005bc93f-2d71-5e95-ada4-796f90877a6f"
    STRAY = PLAIN + r" -bsf:v 'setts=pts=if(eq(N\,7)\,PTS+3600/TB\,PTS)'"
    SIGNED = PLAIN + f" -bsf:v h264_metadata=sei_user_data={AXIS}+x"

    @staticmethod
    def of_two_sizes(make_clip: Make, tmp_path: Path) -> str:
        both = tmp_path / "both.h264"
        pieces = [make_clip(H264.replace("160x120", size), ".h264") for size in ("160x120", "320x240")]
        both.write_bytes(b"".join(piece.read_bytes() for piece in pieces))
        return f"-r 10 -i {both} -c copy -tag:v avc3"

    @staticmethod
    def with_subtitles(tmp_path: Path) -> str:
        words = tmp_path / "words.srt"
        words.write_text("1\n00:00:00,000 --> 00:00:01,000\nfront\n")
        return f"-i {words} {H264} -map 0 -map 1 -c:s mov_text"

    @pytest.mark.parametrize(
        ("kind", "reason", "said"),
        [
            ("axis", "signed", "Axis signed video"),
            ("onvif", "signed", "ONVIF Media Signing"),
            ("sizes", "picture-changes", "from 160x120 to 320x240"),
            ("stray", "unkeepable-times", "out of order"),
            ("two pictures", "other-streams", "2 video streams"),
            ("subtitles", "other-streams", "subtitle:mov_text"),
            ("subtitles in mkv", "other-streams", "subtitle:subrip"),
        ],
    )
    def test_the_very_bytes_are_kept_and_told_of(
        self, put: Put, tree: Path, tmp_path: Path, make_clip: Make, kind: str, reason: str, said: str
    ) -> None:
        picture = "-f lavfi -i testsrc2=s=160x120:r=10:d=1"
        words = {
            "axis": self.SIGNED,
            "onvif": self.SIGNED.replace(self.AXIS, self.ONVIF),
            "stray": self.STRAY,
            "two pictures": f"{picture} {picture} -map 0 -map 1 -c:v libx264 -preset ultrafast",
        }
        words |= {"sizes": self.of_two_sizes(make_clip, tmp_path), "subtitles": self.with_subtitles(tmp_path)}
        words["subtitles in mkv"] = words["subtitles"].replace("mov_text", "srt")
        name = f"{ONE}.mkv" if kind.endswith("mkv") else f"{ONE}.mp4"
        content = put(name, words[kind]).read_bytes()
        done = archive(tree)
        assert (done.returncode, done.stderr) == (0, "")
        assert "not encoded: 1 clip" in done.stdout and f"({reason})" in done.stdout
        assert (tree / "archived" / name).read_bytes() == content
        assert (tree / ".deleted/input" / name).read_bytes() == content
        (line,) = [each for each in journal(tree) if each["event"] == "archived"]
        assert (line["unencoded"], line["remuxed"], line["verified"]) == (reason, True, "byte for byte")
        assert said in line["detail"]
        told = command("why", tree / name, "-C", tree)
        assert f"({reason})" in told and "about to be published" not in told
        assert "front: 1 archive not encoded" in command("status", tree)
        (camera,) = json.loads(command("status", tree, "--json"))["cameras"]
        assert camera["unencoded"] == {reason: 1}

    @pytest.mark.parametrize(
        ("flaw", "said"),
        [
            (
                "-vf \"select='not(eq(n,7))'\" -fps_mode passthrough",
                "of 20 frames 20 were encoded and 19 are",
            ),
            ("-itsoffset 0.1 -i {} -map 0:v -map 1:a -c:v copy", "begins +0."),
            ("-vf crop=152:120,scale=160:120,setsar=1", "is moved or stretched by"),
            ("-vf scale=in_range=tv:out_range=pc,setparams=range=tv", "of the contrast"),
        ],
    )
    def test_an_encoder_that_shows_something_else(
        self, put: Put, tree: Path, tmp_path: Path, flaw: str, said: str
    ) -> None:
        """Each is noticed, and the source's very bytes are the archive."""
        sound = "-f lavfi -i sine=r=16000:d=2"
        content = put(f"{ONE}.mp4", f"{sound} {self.PLAIN} -c:a aac").read_bytes()
        real, target, copy = imageio_ffmpeg.get_ffmpeg_exe(), '"file:$last"', tmp_path / "flawed.mp4"
        words = f"{real} -v error -y -i {target} {flaw.replace('{}', target)} -crf 18 -c:a copy"
        script = tmp_path / "ffmpeg"
        script.write_text(
            f'#!/bin/bash\n{real} "$@" || exit\ncase "$*" in *-map*.staged*) for last; do :; done\n'
            f'last=${{last#file:}}\n{words} {copy} && cat {copy} > "$last";; esac\n'
        )
        script.chmod(0o755)
        (outcome,) = document(tree, "--ffmpeg", script, "--codec", "h264", "--encoder", "software")[
            "outcomes"
        ]
        assert (outcome["result"], outcome["unencoded"]) == ("done", "refused")
        assert said in f"{outcome['rungs']} {outcome['detail']}"
        assert (tree / f"archived/{ONE}.mp4").read_bytes() == content

    @pytest.mark.parametrize("codec", ["auto", "h264", "av1"])
    def test_fields_stay_fields(self, put: Put, tree: Path, codec: str) -> None:
        fields = "-flags +ilme+ildct -x264opts tff=1 -vf interlace,format=yuv420p"
        content = put(f"{ONE}.mp4", f"{H264.replace('d=2', 'd=4')} {fields}").read_bytes()
        (outcome,) = document(tree, "--codec", codec)["outcomes"]
        assert outcome["result"] == "done", outcome
        made = tree / f"archived/{ONE}.mp4"
        assert outcome.get("unencoded") == ("interlaced" if codec == "av1" else None)
        assert made.stat().st_size <= len(content)
        with av.open(str(made)) as opened:
            assert all(frame.interlaced_frame for frame in opened.decode(video=0))

    @pytest.mark.parametrize(("codec", "reason"), [("auto", None), ("av1", "refused")])
    def test_a_refusal_goes_to_the_next_encoder_and_at_last_to_a_copy(
        self, put: Put, tree: Path, codec: str, reason: str | None
    ) -> None:
        fast = "-f lavfi -i testsrc2=s=160x120:r=600:d=0.1 -c:v mjpeg"
        content = put(f"{ONE}.avi", fast).read_bytes()
        (outcome,) = document(tree, "--codec", codec)["outcomes"]
        assert (outcome["result"], outcome.get("unencoded")) == ("done", reason), outcome
        if reason is None:
            assert outcome["encoder"] == "libx264"
            assert "maximum allowed frame rate" in outcome["rungs"][0]
            return
        assert "maximum allowed frame rate" in outcome["detail"]
        (made,) = (tree / "archived" / DAY).iterdir()
        assert (made.suffix == ".avi" and made.read_bytes() == content) or frames(made) == 60
        again = document(tree, "--no-skip")
        assert again["exit_code"] == 0

    def test_quick_sync_hands_on_what_it_can_not_do(self, put: Put, tree: Path, softqsv: Path) -> None:
        fields = "-flags +ilme+ildct -x264opts tff=1 -vf interlace,format=yuv420p"
        big = H264.replace("160x120", "256x256")
        put(f"{DAY}/REO_fields_20260301081500.mp4", f"{big.replace('d=2', 'd=4')} {fields}")
        put(f"{DAY}/REO_fast_20260301081500.avi", "-f lavfi -i testsrc2=s=256x256:r=600:d=0.1 -c:v mjpeg")
        put(f"{DAY}/REO_full_20260301081500.mp4", f"{big} -vf scale=out_range=pc,format=yuvj420p")
        colors = "-colorspace bt709 -color_primaries bt709 -color_trc bt709"
        put(f"{DAY}/REO_colors_20260301081500.mp4", f"{big} {colors}")
        done = document(tree, "--encoder", "qsv", "--device", softqsv)
        assert done["exit_code"] == 0, done
        found = {Path(each["path"]).name.split("_")[1]: each["encoder"] for each in done["outcomes"]}
        assert found == {
            "fields": "libx264",
            "fast": "libx264",
            "full": "av1_qsv",
            "colors": "av1_qsv",
        }
        with av.open(str(tree / f"archived/{DAY}/REO_full_20260301081500.mp4")) as opened:
            assert next(opened.decode(video=0)).color_range == 2

    def test_a_mirrored_picture_stays_mirrored(self, put: Put, tree: Path, make_clip: Make) -> None:
        """Old ffmpegs write no mirroring into mkv, which a remux needs for PCM."""
        programs.needs("ffmpeg")
        plain = make_clip(f"-f lavfi -i sine=r=8000:d=2 {self.PLAIN} -c:a pcm_s16le", ".mov")
        put(f"{ONE}.mov", f"-display_vflip -i {plain} -c copy")
        system = shutil.which("ffmpeg")
        assert archive(tree, "--ffmpeg", system, "--codec", "h264", "--min-saving", "99").returncode == 0
        (made,) = (tree / "archived" / DAY).iterdir()
        with av.open(str(made)) as opened:
            assert orientation_of(next(opened.decode(video=0))) == Orientation(is_mirrored=True)

    @pytest.mark.parametrize("audio", ["copy", "none"])
    def test_sound_that_changes_its_format(
        self, put: Put, tree: Path, tmp_path: Path, make_clip: Make, audio: str
    ) -> None:
        """An mp4 states one format for all of it: the rest would be noise."""
        sounds = [make_clip(f"-f lavfi -i sine=r={rate}:d=1 -c:a aac", ".aac") for rate in (16000, 48000)]
        both = tmp_path / "both.aac"
        both.write_bytes(b"".join(sound.read_bytes() for sound in sounds))
        content = put(f"{ONE}.ts", f"-i {both} {self.PLAIN} -c:a copy").read_bytes()
        (outcome,) = document(tree, "--audio", audio)["outcomes"]
        assert outcome["result"] == "done", outcome
        assert outcome.get("unencoded") == ("other-streams" if audio == "copy" else None)
        if audio == "copy":
            assert (tree / f"archived/{ONE}.ts").read_bytes() == content
            assert json.loads(command("verify", tree, "--full", "--json"))["findings"] == []

    @pytest.mark.parametrize(("level", "made"), [("quick", "remux"), ("full", "copy")])
    def test_a_remux_is_decoded_whole_on_demand(
        self, put: Put, tree: Path, tmp_path: Path, level: str, made: str
    ) -> None:
        """Its keyframe and its compared pictures are good, but a frame between them is spoilt."""
        put(f"{ONE}.ts", f"{self.PLAIN} -g 100")
        script = tmp_path / "ffmpeg"
        script.write_text(
            f'#!/bin/bash\n{imageio_ffmpeg.get_ffmpeg_exe()} "$@" || exit\n'
            'case "$*" in *"-c copy"*.staged*) for last; do :; done; last=${last#file:}\n'
            'printf "%060d" 0 | tr 0 "\\0" | dd of="$last" conv=notrunc bs=1 status=none '
            'seek=$(($(stat -c %s "$last") * 7 / 10));; esac\n'
        )
        script.chmod(0o755)
        options = ("--ffmpeg", script, "--codec", "h264", "--min-saving", "99", "--verify", level)
        (outcome,) = document(tree, *options)["outcomes"]
        assert (outcome["result"], outcome["encoder"]) == ("done", made), outcome

    def test_a_cover_before_the_picture(self, put: Put, tree: Path, make_clip: Make) -> None:
        cover = make_clip("-f lavfi -i color=red:s=64x64 -frames:v 1", ".jpg")
        words = f"-i {cover} {self.PLAIN} -map 1 -map 0 -c:v:1 copy -disposition:v:1 attached_pic"
        put(f"{ONE}.mp4", with_tags_first(make_clip(words, ".mp4").read_bytes()))
        (outcome,) = document(tree)["outcomes"]
        assert (outcome["result"], outcome.get("unencoded")) == ("done", "other-streams"), outcome

    def test_sound_of_an_unknown_codec(self, put: Put, tree: Path, make_clip: Make) -> None:
        content = make_clip(f"-f lavfi -i sine=d=2 {self.PLAIN} -c:a aac", ".mp4").read_bytes()
        put(f"{ONE}.mp4", content.replace(b"mp4a", b"zzqa").replace(b"esds", b"free"))
        (outcome,) = document(tree)["outcomes"]
        assert (outcome["result"], outcome["reason"]) == ("failed", "unsupported")
        assert "has sound of an unknown codec" in outcome["detail"]

    def test_what_is_damaged_is_not_copied(self, put: Put, tree: Path) -> None:
        """Its copy would be as good, but nobody would look at it again while its source is there."""
        source = put(f"{ONE}.mp4", self.SIGNED)
        content = bytearray(source.read_bytes())
        middle = content.index(b"mdat") + len(content) // 2
        content[middle : middle + 3000] = bytes(3000)
        put(f"{ONE}.mp4", bytes(content))
        (outcome,) = document(tree)["outcomes"]
        assert (outcome["result"], outcome["reason"]) == ("failed", "damaged")
        assert source.exists() and media(tree / "archived") == []
        assert f"front: 1 clip failed before: damaged; camarchiver find {tree} --s" in command("status", tree)
        (camera,) = json.loads(command("status", tree, "--json"))["cameras"]
        assert (camera["failed"], camera["failed_by_reason"]) == (1, {"damaged": 1})

    def test_the_owner_may_have_signed_clips_encoded(self, put: Put, tree: Path, tmp_path: Path) -> None:
        put(f"{ONE}.mp4", self.SIGNED)
        put(f"{DAY}/REO_back_20260301081500.mp4", self.SIGNED)
        config = tmp_path / "c.toml"
        config.write_text('[camera.back]\nsigned = "reencode"\n')
        done = document(tree, "--config", config, "--keep-source")
        found = {Path(each["path"]).name[4:8]: each.get("unencoded") for each in done["outcomes"]}
        assert found == {"fron": "signed", "back": None}
        assert done["unencoded"] == {"signed": 1}
        assert reasons(tree, "--no-skip", "--keep-source") == {
            "REO_front_20260301081500.mp4": "signed",
            "REO_back_20260301081500.mp4": "repeat-asked",
        }
        done = document(tree, "--config", config, "--keep-source", "--no-skip", "--signed", "reencode")
        assert [each.get("unencoded") for each in done["outcomes"]] == [None, None]
        config.write_text('[camera.back]\nsigned = "maybe"\n')
        refused = archive(tree, "--config", config)
        assert (refused.returncode, "[camera.back] signed" in refused.stderr) == (ExitCode.CONFIG, True)

    @pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
    def test_the_plan_counts_signed_clips(self, put: Put, tree: Path, suffix: str) -> None:
        for hour in ("08", "09", "10", "11"):
            put(f"{DAY}/REO_front_20260301{hour}1500{suffix}", self.SIGNED)
        put(f"{DAY}/REO_back_20260301081500.mp4")
        said = "front: 3 of 3 examined clips are signed (Axis signed video): "
        assert said + "kept byte for byte" in archive(tree, "--dry-run").stdout
        notes = document(tree, "--dry-run", "--signed", "reencode")["notes"]
        assert [note for note in notes if "signed" in note] == [
            said + "encoded as asked, which loses the proof"
        ]

    def test_a_copy_that_no_line_speaks_of_is_adopted(self, put: Put, tree: Path) -> None:
        """The run died between publishing and journalling: a copy carries no tag, an intent tells of it."""
        source = put(f"{ONE}.mp4", self.SIGNED)
        assert archive(tree, "--keep-source").returncode == 0
        (file,) = (state_of(tree) / "journal").rglob("*.jsonl")
        lines = file.read_text().splitlines(keepends=True)
        assert [json.loads(line)["event"] for line in lines] == ["copying", "archived", "kept"]
        file.write_text(lines[0])
        assert "about to be published" in command("why", tree / f"{ONE}.mp4", "-C", tree)
        assert archive(tree).returncode == 0
        assert [each["event"] for each in journal(tree)] == ["copying", "adopted", "trashed"]
        assert journal(tree)[1]["unencoded"] == "signed"
        assert not source.exists() and clips_of(tree / "archived") == [f"{ONE}.mp4"]

    def test_the_same_bytes_by_another_hand_stay_foreign(self, put: Put, tree: Path) -> None:
        source = put(f"{ONE}.mp4", self.SIGNED)
        other = tree / f"archived/{ONE}.mp4"
        other.parent.mkdir(parents=True)
        shutil.copy2(source, other)
        assert archive(tree).returncode == 0
        assert clips_of(tree / "archived") == [f"{ONE}.mp4", f"{ONE}~2.mp4"]
