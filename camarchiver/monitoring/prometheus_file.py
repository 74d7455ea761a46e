"""Writes numbers for Prometheus: one text file for node_exporter's textfile collector."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from camarchiver.errors import CamarchiverError, StorageError, sentence
from camarchiver.monitoring import metrics
from camarchiver.monitoring.metrics import Figure, Labels
from camarchiver.storage import run_lock

if TYPE_CHECKING:
    from prometheus_client import Metric

_log = logging.getLogger(__name__)

MODE = 0o644
"""node_exporter runs as another user."""


class Textfile:
    """A `.prom` file that several commands may share; each replaces only its own numbers."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._base: dict[tuple[str, Labels], float] | None = None

    def write(self, *groups: tuple[Labels, Iterable[Figure]]) -> bool:
        """Replace each owner's old figures with its new ones; False, with a warning, if that can't be done.

        Labels identify the owner. Counters count from the start of this process.
        """
        try:
            if not self._path.parent.is_dir():
                raise StorageError(
                    f"there is no folder {self._path.parent}", hint="make it, or correct --metrics"
                )
            with run_lock.guarded(self._path.with_name(f".{self._path.name}.lock")):
                found = self._read()
                if self._base is None:
                    self._base = {each.key: each.value for each in found if each.grows}
                for own, now in groups:
                    found = metrics.merged(found, self._base, metrics.labelled(now, own), own)
                self._replace(found)
        except (CamarchiverError, OSError) as error:
            _log.warning("no metrics were written: %s", sentence(error))
            return False
        return True

    def _read(self) -> tuple[Figure, ...]:
        from prometheus_client.parser import text_string_to_metric_families

        try:
            text = self._path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ()
        try:
            found = tuple(
                Figure(sample.name, sample.value, tuple(sorted(sample.labels.items())))
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            )
        except (ValueError, KeyError, IndexError) as error:
            if "camarchiver_" not in text and text.strip("\0 \n"):
                raise _foreign(self._path) from error
            _log.warning("%s can't be understood and is started anew", self._path)
            return ()
        if any(not each.name.startswith("camarchiver_") for each in found):
            raise _foreign(self._path)
        return found

    def _replace(self, found: Iterable[Figure]) -> None:
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import generate_latest

        registry = CollectorRegistry()
        registry.register(_Families(found))
        # node_exporter reads every name that ends in .prom, even a hidden one: this name must not end so.
        part = self._path.with_name(f".{_short(self._path.name)}.{os.getpid()}.new")
        try:
            with part.open("wb") as file:
                file.write(generate_latest(registry))
                file.flush()
                os.fchmod(file.fileno(), MODE)
                os.fsync(file.fileno())
            part.replace(self._path)
        finally:
            part.unlink(missing_ok=True)


def _short(name: str) -> str:
    return hashlib.blake2b(os.fsencode(name), digest_size=6).hexdigest()


def _foreign(path: Path) -> StorageError:
    return StorageError(f"{path} holds another program's numbers", hint="name a file of camarchiver's own")


class _Families:
    """The figures as prometheus_client collects them."""

    def __init__(self, found: Iterable[Figure]) -> None:
        self._found = tuple(found)

    def collect(self) -> Iterator[Metric]:
        from prometheus_client import Metric

        for name in sorted({each.name for each in self._found}):
            kind = "counter" if name.endswith("_total") else "gauge"
            family = Metric(name.removesuffix("_total"), metrics.HELP.get(name, "No longer written."), kind)
            for each in self._found:
                if each.name == name:
                    family.add_sample(name, dict(each.labels), each.value)
            yield family
