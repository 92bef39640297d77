# SPDX-License-Identifier: GPL-2.0-only
"""`make patches`: fit bundled patches whose context has changed to the model, with the help of patch(1).

A patch that applies to the letter stays as it is.  One that applies only by guessing (fuzz) is written anew with
today's context: read git diff, then let tests/test_patches.py say whether it still does what its header says.
"""

from __future__ import annotations

import difflib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ptelab.source import PatchError, Sources

ROOT = Path(__file__).parent.parent


def applies(patch: Path) -> bool:
    """Whether a patch applies to the letter, on an architecture that it is about."""
    for arch in ("x86_64", "arm64", "s390"):
        try:
            Sources(arch, patches=(patch,))
        except PatchError:
            continue
        return True
    return False


def refreshed(patch: Path) -> str | None:
    """The patch with today's context; None if patch(1) cannot apply it either."""
    header = re.split(r"^(?:---|diff --git) ", patch.read_text(encoding="utf-8"), maxsplit=1, flags=re.MULTILINE)[0]
    with tempfile.TemporaryDirectory() as directory:
        tree = Path(directory)
        shutil.copytree(ROOT / "model", tree / "model")
        command = ["patch", "-p1", "--silent", "--no-backup-if-mismatch", "--fuzz=3", "--input", str(patch)]
        if subprocess.run(command, cwd=tree, check=False).returncode != 0:
            return None
        diffs = []
        for new in sorted((tree / "model").rglob("*.py")):
            name = str(new.relative_to(tree))
            old = ROOT / name
            before = old.read_text(encoding="utf-8").splitlines(True) if old.exists() else []
            after = new.read_text(encoding="utf-8").splitlines(True)
            if before != after:
                diff = "".join(difflib.unified_diff(before, after, f"a/{name}", f"b/{name}"))
                diffs.append((f"diff --git a/{name} b/{name}\n", diff))
        # Between the diffs of several files readers of patches want git's line.
        return header + "".join(mark * (len(diffs) > 1) + diff for mark, diff in diffs)


def main() -> int:
    """Refresh every bundled patch that needs it; 1 if one must be mended by hand."""
    lost = 0
    for patch in sorted((ROOT / "patches").glob("*.patch")):
        if applies(patch):
            continue
        text = refreshed(patch)
        if text is None:
            print(f"{patch.name}: does not apply any more; mend it by hand")
            lost = 1
        else:
            patch.write_text(text, encoding="utf-8")
            print(f"{patch.name}: written anew")
    return lost


if __name__ == "__main__":
    sys.exit(main())
