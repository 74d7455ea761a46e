"""Writes sites for the tests, and reads their pages."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from threading import Event
from typing import Any

from camarchiver.output.page.renderer import SiteRenderer
from camarchiver.page.pages import SiteQuestion
from camarchiver.page.site import SiteBuilder, SiteRefresh
from camarchiver.page.site_folder import SiteFolder
from camarchiver.policy.archive_rules import ArchivePolicy
from tests.yards import Yard, cleanup_policy

HOSTILE = (
    "<script>window.pwned=1<",
    "\"><img src=x onerror='window.pwned=1'>",
    "' onmouseover='window.pwned=1",
    "{{7*7}}{% raw %}",
    "javascript:window.pwned=1;",
    "</",
    "a\u2028b",
    "new\nline",
    "\x1b[31m",
    "$(touch pwned)",
    "..",
    "%2e%2e%2f",
    "caf\udce9",
    "\u202egnp",
    "&lt;b&gt;",
    "\\",
    "#t=1?x=2",
    "window.DATA=0;//",
)
"""Parts of names of files and cameras; a `/` is left out where a file can't have one."""


def write_site(
    yard: Yard,
    site: Path,
    now: datetime | None = None,
    *,
    cameras: frozenset[str] = frozenset(),
    since: date = date.min,
    rebuild: bool = False,
    thumbnail_seconds: float = 0.0,
    remote: str = "",
    **policy: Any,
) -> SiteRefresh:
    """What `camarchiver page` does."""
    pipeline = yard.pipeline(now)
    question = SiteQuestion(
        ArchivePolicy(age=timedelta(days=30)),
        cleanup_policy(**policy),
        cameras,
        since,
        rebuild,
        remote,
        thumbnail_seconds=thumbnail_seconds,
    )
    folder = SiteFolder(site, pipeline.trees)
    renderer = SiteRenderer(site, pipeline.trees, pipeline.zone)
    with folder.alone():
        return SiteBuilder(pipeline, question, folder, renderer, Event()).refresh(lambda days, total: days)


class PageReader(HTMLParser):
    """The elements of a page, its links and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.handlers: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        self.handlers += [name for name, _ in attrs if name.startswith("on") or name == "style"]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def value_of_script(path: Path) -> Any:
    """The value that a data script sets."""
    text = path.read_text()
    assert "\n" not in text.rstrip("\n")
    assert "<" not in text
    return json.loads(text.partition("=")[2].rstrip(";\n"))


def days_of(site: Path, camera: str) -> list[str]:
    """The pages of a camera's days."""
    return sorted(path.stem for path in (site / "cameras" / camera).glob("????-??-??.html"))
