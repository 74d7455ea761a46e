"""What `camarchiver verify` costs, against `b2sum` of the same archives and against decoding them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

from benches.footage import LARGE, SHORT, camera_tree, footage, own_footage
from benches.measuring import Options, Result, Row, cpu_seconds, in_turns, own_command, ratio, say, workplace


def bench(options: Options) -> Result:
    """Archive some clips, then verify them by their digests and by decoding."""
    from camarchiver.media import ffmpeg_find

    result = Result("verify")
    ffmpeg = str(ffmpeg_find.find()[0].path)
    if options.footage:
        clips = own_footage(options.footage)[: 2 if options.quick else None]
    else:
        large, short = footage(LARGE, ffmpeg, options), footage(SHORT, ffmpeg, options)
        clips = [*large[:2], *short[:6]] if options.quick else [*large, *short]
    with workplace(options) as place:
        camera_tree(clips, place / "camera")
        archives = _archived(place)
        trees = [str(place / "camera"), "-o", str(place / "archive"), "--config", str(place / "config.toml")]
        say(f"{len(archives)} archives")
        decode = ("-v", "error", "-nostdin", "-threads", "1", "-i")
        tasks = {
            "nothing": partial(cpu_seconds, [sys.executable, "-c", "import click"]),
            "b2sum": partial(cpu_seconds, ["b2sum", *archives]),
            "verify": partial(cpu_seconds, [own_command(), "verify", *trees]),
            "ffmpeg": lambda: sum(
                cpu_seconds([ffmpeg, *decode, each, "-f", "null", "-"]) for each in archives
            ),
            "verify --full": partial(cpu_seconds, [own_command(), "verify", "--full", *trees]),
        }
        figures = in_turns(tasks, options.rounds or (3 if options.quick else 5))
    megabytes = sum(clip.stat().st_size for clip in clips) / 1e6
    note = f"{len(archives)} archives of {megabytes:.0f} MB of clips"
    result.rows = [
        Row("b2sum", "s", figures["b2sum"], note=note),
        Row("verify", "s", figures["verify"]),
        Row("python -c 'import click'", "s", figures["nothing"]),
        Row("ffmpeg decodes each archive", "s", figures["ffmpeg"]),
        Row("verify --full", "s", figures["verify --full"]),
        ratio("verify --full / ffmpeg decodes each archive", figures["verify --full"], figures["ffmpeg"]),
    ]
    return result


def _archived(place: Path) -> list[str]:
    (place / "config.toml").touch()
    roots = [str(place / "camera"), "-o", str(place / "archive"), "--trash-root", str(place / "trash")]
    kept = ["--log-file", str(place / "log"), "--config", str(place / "config.toml")]
    how = ["--keep-source", "--encoder", "software", "--json"]
    found = subprocess.run(
        [own_command(), "archive", *roots, *how, *kept],
        stdout=subprocess.PIPE,
        env={**os.environ, "SVT_LOG": "1"},
        check=True,
    )
    return [each["target"] for each in json.loads(found.stdout)["outcomes"]]
