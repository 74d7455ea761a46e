"""`camarchiver verify`."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

import click

from camarchiver.cli.options import config_option, option, options, own_patterns, tree_options
from camarchiver.cli.places import Place
from camarchiver.params import Moment, Percent, When

verify_options = options(
    option("--since", type=When(), help="Only footage of this day or later."),
    option("--sample", type=Percent(), default="100", help="Check only this share, by chance."),
    option("--full", is_flag=True, help="Also decode every archive whole."),
    option("--ffmpeg", type=click.Path(path_type=Path), help="ffmpeg to decode with."),
    option("--timezone", default="", show_default=False, help="The cameras' time zone, as Europe/Berlin."),
    option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text."),
    option("-q", "--quiet", is_flag=True, help="Print what is off, and nothing else."),
    config_option,
)


@click.command()
@tree_options
@verify_options
def verify(
    *,
    directory: Path,
    output: Path | None,
    trash_root: Path | None,
    since: Moment | None,
    sample: float,
    full: bool,
    ffmpeg: Path | None,
    timezone: str,
    as_json: bool,
    quiet: bool,
) -> int:
    """Check that every archive stands as it was journalled: there, of that size, with that BLAKE2b.

    Exit 3 with a list when anything is off. Files that camarchiver didn't make are counted; they are
    nobody's fault. Changes nothing, and gives way to everything else on the machine.
    """
    from camarchiver import document, ffmpegs, kernel, report, stop
    from camarchiver.pipeline import Pipeline
    from camarchiver.progress import display
    from camarchiver.verifier import Verifier

    place = Place(directory, output, trash_root, timezone)
    pipeline = Pipeline(place.trees(), place.zone(), "verify", own_patterns(click.get_current_context()))
    decoder = max(ffmpegs.find(ffmpeg), key=lambda each: each.version).path if full else None
    kernel.lower_priority(19)
    with stop.on_signals() as stopping:
        verifier = Verifier(pipeline.trees, pipeline.journal, stopping.event, decoder)
        wanted = since.start.date() if since else None, _sampled(sample, pipeline.run.id)
        with display(verifier.bytes_of(*wanted), wanted=not (quiet or as_json)) as shown:
            found = verifier.run(*wanted, shown)
    code = 128 + stopping.signal if stopping.signal else 3 if found.findings else 0
    if as_json:
        click.echo(document.verified(found, pipeline.run.id, code), nl=False)
    else:
        lines = report.verified_lines(found, summary=sys.stderr.isatty() and not quiet)
        click.echo("".join(line + "\n" for line in lines), nl=False)
    return code


def _sampled(percent: float, seed: str) -> Callable[[str], bool]:
    """A choice by chance that is the same for the whole run."""

    def chosen(name: str) -> bool:
        digest = hashlib.blake2b(f"{seed}/{name}".encode("utf-8", "surrogateescape"), digest_size=4)
        return int.from_bytes(digest.digest()) < percent / 100 * 2**32

    return chosen
