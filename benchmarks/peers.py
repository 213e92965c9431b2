"""The peers, in a directory of their own: `benchmarks/.peers`. Nothing is installed into the system.

A peer that can't be had here is a named gap (`Missing`), and the others are measured without it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

PLACE = Path(__file__).parent / ".peers"
INSTALL_SECONDS_MAX = 300
PYSYNCOBJ = "pysyncobj==0.3.14"
CONFLUX_JS = "conflux@1.1.8"
REDIS_PACKAGES = ("redis-server", "redis-tools", "libjemalloc2", "liblzf1", "libatomic1")


class Missing(Exception):
    """A system that can't be measured here, and why."""


def etcd() -> str:
    """The path of the etcd program: the system's, or one unpacked from Debian's package."""
    return shutil.which("etcd") or str(_unpacked("etcd", ("etcd-server",), "usr/bin/etcd"))


def redis() -> tuple[str, dict[str, str]]:
    """(path of the redis-server program, environment that it needs)."""
    if path := shutil.which("redis-server"):
        return path, {}
    program = _unpacked("redis", REDIS_PACKAGES, "usr/bin/redis-server")
    libraries = sorted({str(path.parent) for path in (PLACE / "redis" / "usr" / "lib").rglob("*.so*")})
    return str(program), {"LD_LIBRARY_PATH": os.pathsep.join(libraries)}


def pysyncobj() -> str:
    """The directory that holds PySyncObj, for PYTHONPATH."""
    place = PLACE / "pysyncobj"
    if not (place / "pysyncobj").is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(place), PYSYNCOBJ]
        _run(command, "PySyncObj")
    return str(place)


def conflux_js() -> str:
    """The directory whose node_modules hold Conflux JS."""
    place = PLACE / "conflux-js"
    if not (place / "node_modules" / "conflux").is_dir():
        place.mkdir(parents=True, exist_ok=True)
        _run(["npm", "install", "--no-audit", "--no-fund", "--prefix", str(place), CONFLUX_JS], "Conflux JS")
    return str(place)


def _unpacked(name: str, packages: tuple[str, ...], program: str) -> Path:
    """Debian's packages, downloaded and unpacked: needs neither root nor an installation."""
    place = PLACE / name
    if not (place / program).exists():
        downloads = place / "packages"
        downloads.mkdir(parents=True, exist_ok=True)
        _run(["apt-get", "download", *packages], name, downloads)
        for package in sorted(downloads.glob("*.deb")):
            _run(["dpkg", "-x", str(package), str(place)], name)
    return place / program


def _run(command: list[str], name: str, directory: Path | None = None) -> None:
    try:
        subprocess.run(command, cwd=directory, check=True, capture_output=True, timeout=INSTALL_SECONDS_MAX)
    except FileNotFoundError:
        raise Missing(f"{name}: there is no {command[0]} here") from None
    except subprocess.TimeoutExpired:
        raise Missing(f"{name}: {' '.join(command[:3])} took over {INSTALL_SECONDS_MAX} s") from None
    except subprocess.CalledProcessError as error:
        last = error.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no reason given"]
        raise Missing(f"{name}: {' '.join(command[:3])} failed: {last[0]}") from None
