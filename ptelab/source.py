# SPDX-License-Identifier: GPL-2.0-only
"""The texts of the model: where files are found, what lies over them, and the patches applied to them in memory."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ARCHES = ("x86", "arm64", "s390")


class SourceError(Exception):
    """A model directory or a patch that cannot be used; the message says where and why."""


class PatchError(SourceError):
    """A patch that does not apply: names the patch, the hunk and the file of the model."""


@dataclass(frozen=True, slots=True)
class Text:
    """One source file: `path` is relative to the model directory, `name` is how messages call it."""

    path: str
    name: str
    text: str


def bundled_model() -> Path:
    """The model that comes with the tool: <repo>/model in a checkout, package data in a wheel."""
    package = Path(__file__).parent
    for candidate in (package.parent / "model", package / "_data" / "model"):
        if candidate.is_dir():
            return candidate
    raise SourceError(f"no model directory next to {package}")


def arch_directory(arch: str) -> str:
    """The directory of an architecture or profile, as Linux names it: x86_64 is in arch/x86."""
    base = arch.partition("+")[0]
    return "x86" if base in ("x86_64", "i386") else base


def search_roots(arch: str) -> tuple[str, ...]:
    """Where imports are looked up, in this order: `asm.x`, `linux.x`, `mm.x`, `cpu` and `smp`, `hw.x` and the rest."""
    return (f"linux/arch/{arch}/include/", "linux/include/", "linux/", f"hw/{arch}/", f"stubs/{arch}/", "")


def owner(path: str) -> str:
    """The architecture that a file of the model belongs to; empty when it is for all."""
    match = re.match(r"(?:linux/arch/(\w+)/|hw/(\w+)/|stubs/(\w+)/|invariants/(\w+)\.py$)", path)
    return next((name for name in match.groups() if name in ARCHES), "") if match else ""


def text_of(file: Path) -> str:
    """What a file says.  Raises SourceError."""
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise SourceError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{file}: this is no text in UTF-8 ({error.reason})") from error


class Sources:
    """The model for one architecture, with patches applied and generated texts laid over it.

    `overlay` maps paths relative to the model directory to texts: a litmus test's columns are `{"litmus.py": …}`.
    The first overlay is where plain root names are looked up.  `edits` are other texts for files of the model.
    `alone`: the directory is no model, but where a program lies.
    """

    def __init__(
        self,
        arch: str,
        model: Path | None = None,
        overlay: Mapping[str, str] | None = None,
        patches: Sequence[Path] = (),
        edits: Mapping[str, str] | None = None,
        alone: bool = False,
    ) -> None:
        self.alone = alone
        self.arch = arch_directory(arch)
        self.directory = model if model is not None else bundled_model()
        self._label = str(model) if model is not None else "model"
        self.overlay: dict[str, str] = {}
        self._texts: dict[str, Text | None] = {}
        self._modules: dict[str, Text | None] = {}
        self._listed: frozenset[str] | None = None
        self._lay_over(overlay or {})
        for path, text in (edits or {}).items():
            self._texts[path] = Text(path, f"{self._label}/{path}", text)
        for patch in patches:
            self._apply(patch)

    def under(self, overlay: Mapping[str, str]) -> Sources:
        """The same with other texts laid over it; what has been read is not read again."""
        found = copy.copy(self)
        found._texts = dict(self._texts)
        found._modules = {}
        found._lay_over(overlay)
        return found

    def hides(self) -> bool:
        """Whether an overlay lies where the model has a file."""
        return any((self.directory / path).exists() for path in self.overlay)

    def _lay_over(self, overlay: Mapping[str, str]) -> None:
        self.overlay = dict(overlay)
        for path, text in self.overlay.items():
            self._texts[path] = Text(path, path, text)

    def read(self, path: str) -> Text | None:
        """The text at a path relative to the model directory; None when there is none."""
        if path not in self._texts:
            file = self.directory / path
            text = None
            if file.is_file():
                text = Text(path, f"{self._label}/{path}", text_of(file))
            self._texts[path] = text
        return self._texts[path]

    def module(self, dotted: str) -> Text | None:
        """The file that `from dotted import …` means."""
        if dotted not in self._modules:
            self._modules[dotted] = self._module(dotted)
        return self._modules[dotted]

    def _module(self, dotted: str) -> Text | None:
        path = dotted.replace(".", "/") + ".py"
        for root in search_roots(self.arch):
            found = self.read(root + path)
            if found is not None:
                return found
        if dotted.startswith("asm."):
            return self.read("linux/include/asm_generic/" + path.removeprefix("asm/"))
        return None

    def texts(self) -> list[Text]:
        """Every file of the model for this architecture, and the overlays, in the order of their paths.

        Of a program only what it has imported: what else lies beside it is nobody's business.
        """
        paths = set(self._texts)
        if not self.alone:
            if self._listed is None:
                self._listed = frozenset(_files(self.directory))
            paths |= self._listed
        found = (self.read(path) for path in sorted(paths) if self._is_ours(path))
        return [text for text in found if text is not None]

    def directory_texts(self, directory: str, every_arch: bool = False) -> list[Text]:
        """The files of one directory of the model, in order; those of the other architectures too if asked for."""
        found = {f"{directory}/{p.name}" for p in (self.directory / directory).glob("*.py")}
        found |= {path for path in self._texts if path.rpartition("/")[0] == directory}
        texts = (self.read(path) for path in sorted(found) if every_arch or self._is_ours(path))
        return [text for text in texts if text is not None]

    def _is_ours(self, path: str) -> bool:
        return owner(path) in ("", self.arch)

    # ---------------------------------------------------------------------------------------- patches

    def _apply(self, patch: Path) -> None:
        import whatthepatch  # only runs that apply a patch pay for loading it

        try:
            content = patch.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PatchError(f"{patch}: cannot be read: {error}") from error
        start = re.search(r"^(diff --git |--- )\S", content, re.MULTILINE)
        diffs = list(whatthepatch.parse_patch(content[start.start() :])) if start else []
        if not diffs:
            raise PatchError(f"{patch}: holds no unified diff")
        for diff in diffs:
            path = _model_path(diff.header)
            if "\n+++ /dev/null" in f"\n{diff.text}":
                raise PatchError(f"{patch}: hunk 1: removes {path}; a patch may change files of the model only")
            before = self.read(path)
            if path in self.overlay or (before is None and diff.header.old_path != "/dev/null"):
                raise PatchError(f"{patch}: hunk 1: the model has no file {path}")
            lines = _apply_hunks(patch, path, before.text.splitlines() if before else [], diff.changes or ())
            name = before.name if before else f"{self._label}/{path}"
            self._texts[path] = Text(path, name, "".join(line + "\n" for line in lines))


def _files(directory: Path) -> Iterator[str]:
    """The paths of the Python files below a directory, relative to it."""
    for root, _, names in os.walk(directory):
        place = Path(root).relative_to(directory).as_posix()
        yield from (name if place == "." else f"{place}/{name}" for name in names if name.endswith(".py"))


def _model_path(header: Any) -> str:
    """The path inside the model directory; git's a/ and b/ and the leading model/ may be left out."""
    new, old = str(header.new_path or ""), str(header.old_path or "")
    path = re.sub(r"^[ab]/", "", old if new in ("", "/dev/null") else new)
    return path.removeprefix("model/")


def _apply_hunks(patch: Path, path: str, lines: list[str], changes: Iterable[Any]) -> list[str]:
    """Apply the hunks in order; like patch(1), a hunk may have moved, but its context must match to the letter."""
    hunks: dict[int, list[tuple[int | None, int | None, str]]] = {}
    for change in changes:
        hunks.setdefault(change.hunk, []).append((change.old, change.new, change.line))
    result = list(lines)
    shift = 0  # how far the lines of the result are from the numbers in the patch
    done = 0  # lines of the result that earlier hunks have dealt with
    for number, hunk_lines in enumerate(hunks.values(), 1):
        before = [line for old, _, line in hunk_lines if old is not None]
        after = [line for _, new, line in hunk_lines if new is not None]
        first = next((old for old, _, _ in hunk_lines if old is not None), None)
        expected = (first - 1 if first is not None else (hunk_lines[0][1] or 1) - 1 - shift) + shift
        at = _find(result, before, expected, done)
        if at is None:
            where = f"{path}:{max(expected, 0) + 1}"
            missing = next((t for t in before if t not in lines), before[0] if before else "")
            raise PatchError(f"{patch}: hunk {number}: does not apply to {where}: no line “{missing.strip()}” there")
        result[at : at + len(before)] = after
        shift += (at - expected) + len(after) - len(before)
        done = at + len(after)
    return result


def _find(lines: list[str], wanted: list[str], expected: int, start: int) -> int | None:
    """The place nearest to the expected one, not before `start`, where all wanted lines stand."""
    if not wanted:
        return min(max(expected, start), len(lines))
    last = len(lines) - len(wanted)
    for at in sorted(range(start, last + 1), key=lambda i: abs(i - expected)):
        if lines[at] == wanted[0] and lines[at : at + len(wanted)] == wanted:
            return at
    return None
