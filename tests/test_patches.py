# SPDX-License-Identifier: GPL-2.0-only
"""The bundled patches: each must be caught where the tests say so, and only a test that can fail proves anything."""

from __future__ import annotations

import functools
import re
import zlib
from pathlib import Path

import pytest

from ptelab import bundled, checking
from ptelab.checking import Options
from ptelab.frontend import lower
from ptelab.litmus import build
from ptelab.litmus.profiles import covers

read = functools.cache(build.read)
PATCHES = sorted(bundled.directory("patches").glob("*.patch"))
CHANGED_LINES_MAX = 25
HEADER = ("Subject", "Kind", "Caught-by")


@functools.cache
def claims() -> list[tuple[Path, str, str, str]]:
    """Every `Patch=` of every bundled test, for each of its architectures and profiles that are named: file, patch, arch,
    result."""
    return [
        (path, claim.id, arch, claim.result if covers(claim.arches, arch) else read(path).on(arch).expected)
        for path in bundled.litmus_files([])
        for claim in read(path).patches
        for arch in dict.fromkeys((*read(path).arches, *claim.arches))
    ]


def chosen() -> list[object]:
    """All claims; of those of one test, patch and result all but one only with --exhaustive, on whichever profile."""
    alike: dict[tuple[Path, str, str], list[str]] = {}
    for path, patch, arch, result in claims():
        alike.setdefault((path, patch, result), []).append(arch)
    found: list[object] = []
    for path, patch, arch, result in claims():
        arches = alike[path, patch, result]
        one = arches[zlib.crc32(f"{path.stem} {patch}".encode()) % len(arches)]
        marks = [] if arch == one else [pytest.mark.exhaustive]
        found.append(pytest.param(path, patch, arch, result, marks=marks))
    return found


def header(path: Path) -> dict[str, str]:
    """The lines `Name: text` before the diff."""
    head = path.read_text(encoding="utf-8").partition("\n--- ")[0]
    return dict(re.findall(r"^([A-Z][\w-]+(?: \w+)?): (.*)$", head, re.MULTILINE))


@pytest.mark.parametrize(("path", "patch", "arch", "result"), chosen(), ids=lambda v: getattr(v, "stem", str(v)))
def test_a_patch_flips_the_test_that_names_it(path: Path, patch: str, arch: str, result: str) -> None:
    """A test must not survive the un-fix that it says catches it, nor be broken by one that it says it bears."""
    _, verdict = checking.check(read(path), Options(threads=2, arch=arch, patches=(bundled.patch_path(patch),)))
    assert verdict.result == result
    assert verdict.exploration.complete


@pytest.mark.parametrize("patch", PATCHES, ids=lambda p: p.stem)
def test_every_patch_is_caught_by_the_test_that_its_header_names(patch: Path) -> None:
    """No patch may be in the tree that no test catches, or whose header names a test that does not."""
    names = header(patch)
    assert set(HEADER) <= set(names), patch.name
    # An older form of the code need not be worse than v7.0: that a test says what becomes of it is enough.
    old = names["Kind"] == "history"
    caught = {
        path.stem
        for path, id_, arch, result in claims()
        if patch.stem.startswith(id_) and (old or result != read(path).on(arch).expected)
    }
    wanted = {name.strip().removesuffix(".litmus") for name in names["Caught-by"].split(",")}
    assert wanted and wanted <= caught, (wanted, caught)


@pytest.mark.parametrize("patch", PATCHES, ids=lambda p: p.stem)
def test_patches_are_small(patch: Path) -> None:
    """An un-fix must stay readable: at most 25 changed lines, or one for a mutant."""
    lines = patch.read_text(encoding="utf-8").partition("\n--- ")[2].splitlines()[2:]
    changed = [line for line in lines if re.match(r"[+-](?![+-]{2} )", line)]
    assert 0 < len(changed) <= CHANGED_LINES_MAX


FLIPS = [claim for claim in claims() if claim[3] != read(claim[0]).on(claim[2]).expected]


@pytest.mark.parametrize(("path", "patch", "arch", "result"), FLIPS[::30])
def test_what_was_lowered_for_another_model_is_not_used(path: Path, patch: str, arch: str, result: str) -> None:
    """A function that a patch changes must not be taken from the model without it, nor the other way round."""
    test, patches = read(path).on(arch), (bundled.patch_path(patch),)
    build.build(test, arch)
    after, plain = build.build(test, arch, patches=patches), build.build(test, arch)
    lower._MODELS.clear()
    assert after.scenario.module == build.build(test, arch, patches=patches).scenario.module
    lower._MODELS.clear()
    assert plain.scenario.module == build.build(test, arch).scenario.module
    assert after.scenario.module != plain.scenario.module
