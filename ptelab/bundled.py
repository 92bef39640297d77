# SPDX-License-Identifier: GPL-2.0-only
"""The data that travel with the tool: litmus tests and patches, in a checkout or in an installed wheel."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from ptelab.source import PatchError, SourceError


@dataclass(frozen=True, slots=True)
class Patch:
    """A diff of the model: `id` is the commit that it undoes, or the file's name; `header` stands above the diff."""

    id: str
    path: Path
    header: str

    @property
    def subject(self) -> str:
        """The first line of the header."""
        return self.header.partition("\n")[0].removeprefix("Subject:").strip()


def directory(name: str) -> Path:
    """The directory `litmus`, `live` or `patches`; SourceError when the installation lacks it."""
    package = Path(__file__).parent
    for candidate in (package.parent / name, package / "_data" / name):
        if candidate.is_dir():
            return candidate
    raise SourceError(f"no {name} directory next to {package}")


def patches() -> dict[str, Patch]:
    """The bundled patches by their ids."""
    found: dict[str, Patch] = {}
    for path in sorted(directory("patches").glob("*.patch")):
        match = re.match(r"(?:[0-9a-f]{12}|CVE-\d+-\d+)(?=-|$)", path.stem)
        header = re.split(r"^(?:---|diff --git) ", path.read_text(encoding="utf-8"), maxsplit=1, flags=re.MULTILINE)[0]
        patch = Patch(match[0] if match else path.stem, path, header.strip())
        found[patch.id] = patch
    return found


def patch_path(word: str) -> Path:
    """The file of a bundled patch's id, or of a path; PatchError names ids that are like it when it is neither."""
    known = patches()
    if word in known:
        return known[word].path
    path = Path(word)
    if path.is_file():
        return path
    alike = difflib.get_close_matches(word, known, 3, 0.5) or list(known)[:3]
    raise PatchError(
        f"{word}: neither a file nor a bundled patch; write {', '.join(alike) or 'a path'}, or another of"
        f" `ptelab list` instead"
    )


def litmus_files(words: list[str]) -> list[Path]:
    """The litmus files that paths name, directories searched; all bundled ones without paths."""
    found: list[Path] = []
    if "" in words:
        raise SourceError("an empty file name; write the path of a litmus file or the name of a bundled test instead")
    for root in [Path(w) for w in words] or [directory("litmus")]:
        if root.is_dir():
            inside = sorted(root.rglob("*.litmus"))
            if not inside:
                raise SourceError(f"{root}: no litmus file in this directory")
            found += inside
        elif not root.exists() and root.suffix == "" and (directory("litmus") / f"{root}.litmus").is_file():
            found.append(directory("litmus") / f"{root}.litmus")
        elif not root.exists():
            raise SourceError(f"{root}: no such file or directory, and no bundled test of that name")
        else:
            found.append(root)
    return list(dict.fromkeys(found))
