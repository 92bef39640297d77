# SPDX-License-Identifier: GPL-2.0-only
"""Selftests from a kernel's sources: found, and compiled into a directory of our own.

Their Makefile writes into the sources, so it is not used: a test is its own file and what all share.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from ptelab.source import SourceError

PLACES = (".", "tools/testing/selftests/mm", "tools/testing/selftests/vm")
"""Where the tests are; up to Linux 6.2 in `vm`."""

_SHARED = ("vm_util.c", "thp_settings.c")
_LIBRARIES = ("-lrt", "-lpthread", "-lm")
_LIMIT_S = 120


class NotBuilt(Exception):
    """A test cannot be had; one line says why."""


def find(directory: Path, programs: Iterable[str]) -> Path:
    """The directory of the tests in or under a directory.  Raises SourceError."""
    for place in PLACES:
        if any((directory / place / f"{program}.c").is_file() for program in programs):
            return (directory / place).resolve()
    raise SourceError(
        f"{directory}: none of the tests of memory management is there; write a kernel's source tree or its"
        " tools/testing/selftests/mm instead"
    )


def prepare(build: Path) -> None:
    """Make what the tests' Makefile would: a header that says which libraries there are.  Raises NotBuilt."""
    if shutil.which(_compiler()[0]) is None:
        raise NotBuilt(f"no compiler {_compiler()[0]}")
    probe = build / "probe.c"
    probe.write_text("#include <liburing.h>\nint main(void) { return 0; }\n", encoding="ascii")
    ring = not _compile([str(probe), "-luring"], build / "probe")
    header = "#define LOCAL_CONFIG_HAVE_LIBURING 1\n" if ring else ""
    (build / "local_config.h").write_text(header, encoding="ascii")


def compiled(sources: Path, program: str, build: Path) -> Path:
    """Compile a test.  Raises NotBuilt."""
    if not (sources / f"{program}.c").is_file():
        raise NotBuilt("these sources have no such test")
    files = [str(sources / name) for name in (f"{program}.c", *_SHARED) if (sources / name).is_file()]
    top = sources.parents[3] if len(sources.parents) > 3 else sources
    libraries = [*_LIBRARIES, *(["-luring"] if (build / "local_config.h").stat().st_size else [])]
    directories = [build, sources, sources.parent, top]
    words = [*files, "-w", "-D_GNU_SOURCE", *(f"-I{directory}" for directory in directories)]
    said: list[str] = []
    for headers in (top / "usr/include", top / "tools/include/uapi", None):  # `make headers`, else perf's, else libc's
        if headers is None or headers.is_dir():
            chosen = ["-isystem", str(headers)] if headers else []
            error = _compile([*words, *chosen, *libraries], build / program)
            if not error:
                return build / program
            said.append(error)
    raise NotBuilt(f"not compiled: {said[0]}")


def _compiler() -> list[str]:
    return os.environ.get("CC", "").split() or ["gcc"]


# The first error; empty when there is none.
def _compile(words: list[str], target: Path) -> str:
    command = [*_compiler(), *words, "-o", str(target)]
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, env=environment, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    lines = done.stderr.splitlines()
    return next((line for line in lines if "error:" in line or "undefined reference" in line), (lines or ["?"])[-1])
