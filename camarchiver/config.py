"""Reads the config files: one table of values, each with the file that it came from."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from camarchiver.errors import ConfigError, cause, raise_all, remedy, user_name
from camarchiver.runtime.formatting import shown

SYSTEM_FILE = Path("/etc/camarchiver.toml")

TABLES = ("patterns", "camera", "folders")
"""Tables that hold the user's own names instead of option names."""

NESTED = {
    "record": frozenset(
        ["camera", "duration", "log_file", "log_format", "metrics", "notify", "ping_url", "quiet", "verbose"]
    )
}
"""Sections with a table for each camera, as `[record.NAME]`, besides the keys common to all cameras."""


class Value(Struct, frozen=True):
    """One value as the file has it."""

    value: Any
    file: Path


class Config(Struct, frozen=True):
    """The content of the files, by section; the section `""` applies to every command."""

    sections: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    files: tuple[Path, ...] = ()

    def for_command(self, command: str) -> dict[str, Value]:
        """The values for one command: its own section over the common one."""
        return {**self.sections.get("", {}), **self.sections.get(command, {})}

    def table(self, name: str) -> dict[str, Value]:
        """The entries of one of `TABLES`."""
        return dict(self.sections.get(name, {}))

    def cameras(self, section: str) -> dict[str, Mapping[str, Value]]:
        """The tables of a nested section, by camera."""
        start = f"{section}."
        return {
            name.removeprefix(start): values
            for name, values in self.sections.items()
            if name.startswith(start)
        }


def default_files() -> tuple[Path, ...]:
    """Where config is looked for if no file is named; later files win."""
    try:
        return SYSTEM_FILE, own_file()
    except ConfigError:
        return (SYSTEM_FILE,)


def own_file() -> Path:
    """Where this user's own config file is, or would be. Raises ConfigError for a user without a home."""
    named = os.environ.get("XDG_CONFIG_HOME", "")
    base = Path(named) if named.startswith("/") else home() / ".config"
    return base / "camarchiver" / "config.toml"


def home() -> Path:
    """This user's home folder. Raises ConfigError if there is none."""
    try:
        return Path.home()
    except RuntimeError as error:  # in a container a process often runs under a number without an account
        raise ConfigError(
            f"user {user_name()} has no home folder: there is neither HOME nor such an account",
            hint="set HOME to a folder of this user",
        ) from error


def existing_files() -> tuple[Path, ...]:
    """The `default_files` that exist; raises ConfigError if that can't be determined."""
    try:
        return tuple(path for path in default_files() if path.is_file())
    except OSError as error:
        raise ConfigError(
            f"{error.filename}: it is not known whether this config file is there: {cause(error)}",
            hint="set HOME to this user's own home, or name a file with --config",
        ) from error


def load(explicit: Path | None) -> Config:
    """The named file alone, otherwise the user's over the system's. Raises ConfigError."""
    files = (explicit,) if explicit else existing_files()
    sections: dict[str, dict[str, Value]] = {}
    errors = list[ConfigError]()
    for file in files:
        try:
            parsed = _parse(file)
        except ConfigError as error:
            errors.append(error)
            continue
        for key, value in parsed.items():
            if isinstance(value, dict):
                for name, values in _tables(key, value).items():
                    section = sections.setdefault(name, {})
                    section.update({name: Value(entry, file) for name, entry in values.items()})
            else:
                sections.setdefault("", {})[key] = Value(value, file)
    raise_all(errors)
    return Config(sections, files)


def _tables(section: str, values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A section, and the tables in it as sections of their own if it may have any."""
    inner = {name: entry for name, entry in values.items() if isinstance(entry, dict) and section in NESTED}
    own = {name: entry for name, entry in values.items() if name not in inner}
    return {section: own, **{f"{section}.{name}": entry for name, entry in inner.items()}}


def _parse(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            return tomllib.load(stream)
    except FileNotFoundError as error:
        raise ConfigError(
            f"{file}: there is no such config file", hint="camarchiver config init writes one"
        ) from error
    except OSError as error:
        hint = remedy(error, "check the disk and its mount")
        raise ConfigError(f"{file}: can't be read: {cause(error)}", hint=hint) from error
    except RecursionError as error:
        raise ConfigError(f"{file}: is nested too deeply", hint="correct that value") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: is not valid TOML: {error}", hint="correct that line") from error


def key_errors(config: Config, valid: Mapping[str, Iterable[str]]) -> Iterator[ConfigError]:
    """An error for each unknown section and key; it names file, key and the nearest valid one."""
    common = set(valid[""])
    for section, values in config.sections.items():
        if section in TABLES:
            continue
        whole, _, camera = section.partition(".")
        if camera and whole in NESTED and whole in valid:
            yield from _section_errors(section, values, set(valid[whole]) - NESTED[whole])
            continue
        if section not in valid:
            some = next(iter(values.values()), None)
            yield ConfigError(
                f"{some.file if some else config.files[-1]}: [{section}] is not a section"
                f"{nearest(section, [*valid, *TABLES])}",
                hint="sections are " + ", ".join(f"[{name}]" for name in [*valid, *TABLES] if name),
            )
            continue
        yield from _section_errors(section, values, set(valid[section]) | (common if not section else set()))


def _section_errors(section: str, values: Mapping[str, Value], allowed: set[str]) -> Iterator[ConfigError]:
    for key, value in values.items():
        if key not in allowed:
            where = f"[{section}] " if section else ""
            yield ConfigError(
                f"{value.file}: {where}{key} is not a key{nearest(key, allowed)}",
                hint="camarchiver config show lists every key",
            )


def nearest(word: str, allowed: Iterable[str]) -> str:
    """A question that suggests the word that was probably meant; empty if none is similar."""
    close = difflib.get_close_matches(word, [name for name in allowed if name], n=1, cutoff=0.5)
    return f"; did you mean {shown(close[0])}?" if close else ""
