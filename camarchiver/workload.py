"""How many clips are encoded at the same time, and with how many threads each."""

from __future__ import annotations

from camarchiver.codecs import Backend, Encoder

GPU_JOBS = 2
"""One clip is decoded while another is encoded; more only share the same engines."""

# Measured at 2160p, the largest that cameras commonly deliver: SVT-AV1 preset 10 took 1.6 GB, x264
# veryfast 0.9 GB, x265 less than SVT-AV1; a fifth is added.
_MEMORY = {"libsvtav1": 1_950_000_000, "libx264": 1_100_000_000, "libx265": 1_950_000_000}
"""Bytes of memory for one job."""


def jobs_for(encoder: Encoder, *, cores: int, memory: int) -> int:
    """As many jobs as cores, with a thread each: cheaper than one job with all threads.

    `memory` is what the machine has available, in bytes.
    """
    if encoder.backend is not Backend.SOFTWARE:
        return GPU_JOBS
    each = _MEMORY[encoder.name]
    return max(1, min(cores, memory // each))


def threads_for(encoder: Encoder, *, cores: int, running: int) -> int:
    """Threads of one job while `running` jobs share the cores; 0 lets ffmpeg choose (GPU backends)."""
    if encoder.backend is not Backend.SOFTWARE:
        return 0
    return max(1, cores // max(1, running))
