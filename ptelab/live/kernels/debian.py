# SPDX-License-Identifier: GPL-2.0-only
"""Kernel images from Debian, by apt with lists of its own, kept in a cache."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from ptelab.live import room
from ptelab.live.kernels.versions import Kernel, Machine

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_TIMEOUT = 300.0


class NoKernel(Exception):
    """Why there is no kernel image."""


def cache() -> Path:
    """Where images are kept: PTELAB_CACHE, or ~/.cache/ptelab."""
    given = os.environ.get("PTELAB_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(given) if given else base / "ptelab"


def image(kernel: Kernel, machine: Machine) -> Path:
    """The image of a kernel for a machine, from the cache or else from Debian.  Raises NoKernel."""
    place = cache() / "kernels"
    kept = sorted(place.glob(f"vmlinuz-{kernel.name}.*-{machine.name}"), key=lambda path: path.stat().st_mtime)
    if kept:
        return kept[-1]
    for tool, package in (("apt-get", "apt"), ("dpkg-deb", "dpkg")):
        if shutil.which(tool) is None:
            raise NoKernel(
                f"{tool} is not there to fetch a kernel: install {package}, or name an image by --kernel FILE"
            )
    if not KEYRING.is_file():
        raise NoKernel(f"{KEYRING} is not there to judge a kernel: install debian-archive-keyring")
    place.mkdir(parents=True, exist_ok=True)
    with room.directory() as work:
        return _extract(_package(work, kernel, machine), place, kernel, machine)


def _run(work: Path, *words: str) -> str:
    environment = {**os.environ, "APT_CONFIG": str(work / "apt.conf"), "LC_ALL": "C"}
    try:
        done = subprocess.run(words, cwd=work, env=environment, capture_output=True, text=True, timeout=_TIMEOUT)
    except subprocess.TimeoutExpired as error:
        raise NoKernel(f"{words[0]} takes more than {_TIMEOUT:.0f} s") from error
    if done.returncode:
        problems = [line for line in done.stderr.splitlines() if line.startswith("E: ")] or done.stderr.splitlines()
        raise NoKernel(f"{' '.join(words[:2])}: {problems[0] if problems else done.returncode}")
    return done.stdout


# The archive of Debian that this machine uses, and its archive of security fixes.
def _mirrors(work: Path) -> tuple[str, str]:
    found = [os.environ.get("PTELAB_MIRROR", "").rstrip("/")]
    if not found[0]:
        listed = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"],
            cwd=work, capture_output=True, text=True, timeout=_TIMEOUT,
        )  # fmt: skip
        found = [uri.rstrip("/") for uri in listed.stdout.split()]
    main = next((uri for uri in found if uri.endswith("/debian")), found[0] if os.environ.get("PTELAB_MIRROR") else "")
    if not main:
        raise NoKernel(
            "apt knows no archive of Debian here: set PTELAB_MIRROR to the address of one (http://HOST/debian)"
        )
    return main, next((uri for uri in found if uri.endswith("/debian-security")), f"{main}-security")


def _package(work: Path, kernel: Kernel, machine: Machine) -> Path:
    main, security = _mirrors(work)
    for part in ("state/lists/partial", "cache/archives/partial", "download"):
        (work / part).mkdir(parents=True)
    (work / "status").touch()
    (work / "apt.conf").write_text(_CONFIGURATION.format(work=work, architecture=machine.name), encoding="utf-8")
    problems: list[str] = []
    for suite in kernel.suites:
        mirror = security if suite.endswith("-security") else main
        source = f"deb [signed-by={KEYRING} arch={machine.name} target=Packages] {mirror} {suite} main\n"
        (work / "sources.list").write_text(source, encoding="utf-8")
        try:
            _run(work, "apt-get", "update", "--error-on=any")
            for name, version in _candidates(work, kernel, machine):
                try:
                    return _download(work, name, version)
                except NoKernel as error:
                    problems.append(f"{suite}: {error}")
        except NoKernel as error:
            problems.append(f"{suite}: {error}")
            continue
    why = f" ({'; '.join(problems)})" if problems else ""
    raise NoKernel(f"Debian has no kernel {kernel.name} for {machine.name} in {', '.join(kernel.suites)}{why}")


_CONFIGURATION = """Dir::State "{work}/state";
Dir::State::status "{work}/status";
Dir::Cache "{work}/cache";
Dir::Etc::SourceList "{work}/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
Acquire::Retries "1";
Acquire::Check-Valid-Until "false";
"""
_TRIES = 3


# The packages with an image, those for clouds first since they have the drivers that count built in; the newest first.
def _candidates(work: Path, kernel: Kernel, machine: Machine) -> list[tuple[str, str]]:
    version = kernel.name.replace(".", r"\.")
    flavour = rf"(cloud-)?{machine.name}"
    pattern = rf"^linux-(image|binary)-{version}\.[0-9][^ ]*-{flavour}$"
    names = [line.split()[0] for line in _run(work, "apt-cache", "search", "--names-only", pattern).splitlines()]
    found = []
    for line in _run(work, "apt-cache", "madison", *names).splitlines() if names else []:
        name, number, _ = (word.strip() for word in line.split("|"))
        if number.startswith(f"{kernel.name}."):
            found.append((name, number))
    binary = any(name.startswith("linux-binary-") for name, _ in found)
    found = [(name, number) for name, number in found if name.startswith("linux-binary-") or not binary]
    found.sort(key=lambda pair: ("-cloud-" in pair[0], [int(n) for n in re.findall(r"\d+", pair[1])]), reverse=True)
    return found[:_TRIES]


def _download(work: Path, name: str, version: str) -> Path:
    place = work / "download"
    for old in place.iterdir():
        old.unlink()
    _run(place.parent, "apt-get", "-o", f"Dir::Cache::archives={place}", "download", f"{name}={version}")
    found = [*work.glob("*.deb"), *place.glob("*.deb")]
    if not found:
        raise NoKernel(f"apt-get download {name} has left no package")
    return found[0]


def _extract(package: Path, place: Path, kernel: Kernel, machine: Machine) -> Path:
    number = package.name.split("_")[1].replace("%3a", ":")
    to = place / f"vmlinuz-{number}-{machine.name}"
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as unpack:
        assert unpack.stdout is not None
        with tarfile.open(fileobj=unpack.stdout, mode="r|") as tar:
            for member in tar:
                if re.fullmatch(r"\./(boot/vmlinuz-.*|usr/lib/modules/[^/]*/vmlinuz)", member.name) and member.isfile():
                    data = tar.extractfile(member)
                    assert data is not None
                    with tempfile.NamedTemporaryFile(dir=place, prefix=".", delete=False) as part:
                        part.write(data.read())
                    os.replace(part.name, to)
                    break
        unpack.terminate()
    if not to.is_file():
        raise NoKernel(f"{package.name} has no vmlinuz")
    assert number.startswith(f"{kernel.name}.")
    return to


def number(path: Path) -> str:
    """The version that Debian gives to an image of the cache."""
    match = re.fullmatch(r"vmlinuz-(.*)-[a-z0-9]+", path.name)
    return match[1] if match else path.name


def compiler(machine: Machine) -> str:
    """The compiler for a machine; that of this machine may have no prefix."""
    prefixed = f"{machine.compiler}gcc"
    own = machine.compiler.startswith(f"{platform.machine()}-")
    return "gcc" if own and shutil.which(prefixed) is None else prefixed


def missing(machine: Machine) -> list[str]:
    """What is not installed to boot a machine, each with the package of Debian's that has it."""
    cc = compiler(machine)
    needed = [(machine.qemu, machine.package), (cc, f"gcc-{machine.compiler.removesuffix('-')}".replace("_", "-"))]
    return [f"{tool} (install {package})" for tool, package in needed if shutil.which(tool) is None]
