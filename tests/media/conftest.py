"""Fixtures of the tests of media."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from camarchiver.media.parsing.prober import Prober
from tests import programs
from tests.clips import CLIP_ARGUMENTS, FFMPEGS


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one small clip of each kind; copy before you damage one."""
    folder = tmp_path_factory.mktemp("clips")
    for name, arguments in CLIP_ARGUMENTS.items():
        filled = [str(folder / word[1:-1]) if word[:1] == "{" else word for word in arguments]
        command = [FFMPEGS["embedded"], "-nostdin", "-v", "error", *filled, str(folder / name)]
        subprocess.run(command, check=True, timeout=60)
    return folder


@pytest.fixture(params=FFMPEGS)
def ffmpeg(request: pytest.FixtureRequest) -> str:
    """The path of an ffmpeg, each in turn."""
    if not FFMPEGS[request.param]:
        programs.needs("ffmpeg")
    return FFMPEGS[request.param]


@pytest.fixture
def prober() -> Iterator[Prober]:
    with Prober(timeout=30) as prober:
        yield prober
