"""What the process that runs a student's code may do.

Linux can take the network, all other processes and the right to write outside of one folder away
from a program, where it lets users make namespaces (`unshare` of util-linux). Elsewhere a guard
inside the process refuses what careless code does, and no more: who wants to get round it can.
Memory is limited where the system knows such limits, Linux and macOS, and on Linux alone exactly.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The folder is a mount of its own, so that all others can become read-only. In a second namespace
# of users the program has no right to undo that.
INSIDE = """
mount --bind "$1" "$1" && cd "$1" || exit 1
shift
while [ "$1" != -- ]; do mount -o "remount,bind,$2" "$1" 2>/dev/null; shift 2; done
shift
exec unshare --user "$@"
"""
# No file of a lesson is larger, and no core is dumped.
LARGEST_FILE = 2**30


@dataclass(frozen=True)
class Confinement:
    """How code is kept away from everything else.

    Attributes:
        words: for the user.
        namespaces: whether the kernel does it; else the guard.
    """

    words: str
    namespaces: bool

    def command(self, command: Sequence[str], folder: Path) -> list[str]:
        """The command that runs another one so that it can write in one folder only."""
        if not self.namespaces:
            return list(command)
        unshare = ["unshare", "--user", "--map-root-user", "--net", "--pid", "--fork"]
        unshare += ["--kill-child", "--mount-proc", "sh", "-c", INSIDE, "sh", str(folder)]
        return [*unshare, *_read_only_mounts(), "--", *command]


NAMESPACES = Confinement(
    "in namespaces of its own: no network, no other processes, read-only files", True
)
GUARD = Confinement(
    "under a guard in its own process, which stops careless code only "
    "(no network, no files elsewhere, no other programs)",
    False,
)


def choose_confinement() -> Confinement:
    """The best that this machine permits."""
    if not sys.platform.startswith("linux") or shutil.which("unshare") is None:
        return GUARD
    with tempfile.TemporaryDirectory(prefix="lessons-") as folder:
        trial = NAMESPACES.command(["sh", "-c", 'test ! -w "$0"', sys.prefix], Path(folder))
        done = subprocess.run(trial, capture_output=True, stdin=subprocess.DEVNULL)
    return NAMESPACES if done.returncode == 0 else GUARD


def limit(memory: int, cpu: int) -> None:
    """Let this process have so many bytes, and seconds of processors.

    A wish for more memory raises an error in Python; after its seconds the process is ended. Where
    the system knows no such limits, nothing happens.
    """
    if sys.platform == "win32":
        return
    import resource

    # On Linux this is what a program really has of its own; addresses would be far more.
    kind = resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS
    for what, value in (
        (kind, memory),
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_FSIZE, LARGEST_FILE),
        (resource.RLIMIT_CORE, 0),
    ):
        _, most = resource.getrlimit(what)
        if most != resource.RLIM_INFINITY:
            value = min(value, most)
        with suppress(OSError, ValueError):  # macOS refuses some
            resource.setrlimit(what, (value, value))


def guard(folder: Path) -> None:
    """Refuse, from now on, network, other programs, and changes outside of a folder."""
    home = os.path.realpath(folder)

    def outside(path: Any) -> bool:
        if isinstance(path, int) or path is None:
            return False
        real = os.path.realpath(os.fsdecode(path))
        return real != os.devnull and not (real + os.sep).startswith(home + os.sep)

    def hear(event: str, given: tuple[Any, ...]) -> None:
        if event in _NETWORK and (event in _NAMES or isinstance(given[1], tuple)):
            raise PermissionError("there is no network while a notebook is graded")
        if event in _PROGRAMS:
            raise PermissionError("no other program can be started while a notebook is graded")
        changes = event in _CHANGES or (event == "open" and _writes(given[1], given[2]))
        if changes and any(outside(path) for path in given[: _CHANGES.get(event, 1)]):
            raise PermissionError("files elsewhere cannot be changed while a notebook is graded")

    sys.addaudithook(hear)


_NAMES = {"socket.getaddrinfo", "socket.gethostbyname"}
# A socket between processes of this machine has the name of a file, and no tuple.
_NETWORK = _NAMES | {"socket.connect", "socket.sendto", "socket.bind"}
_PROGRAMS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.kill"}
_PROGRAMS |= {"os.killpg", "os.startfile", "os.spawn", "os.forkpty"}
# How many of an event's arguments are paths.
_CHANGES = {"os.remove": 1, "os.rename": 2, "os.rmdir": 1, "os.mkdir": 1, "os.truncate": 1}
_CHANGES |= {"os.chmod": 1, "os.chown": 1, "os.link": 2, "os.symlink": 2, "os.utime": 1}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def _writes(mode: Any, flags: Any) -> bool:
    if isinstance(mode, str):
        return bool(set(mode) & set("wax+"))
    return isinstance(flags, int) and bool(flags & _WRITING)


def _read_only_mounts() -> list[str]:
    """Every place where a file system is mounted, each followed by its options with "ro".

    Options that are set must be named again: users may not take them away.
    """
    found = []
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        place, options = line.split(" ")[4:6]
        if place == "/proc" or place.startswith("/proc/"):
            continue
        place = place.encode().decode("unicode_escape").encode("latin-1").decode("utf-8", "replace")
        words = [word for word in options.split(",") if word not in ("rw", "ro")]
        found += [place, ",".join(["ro", *words])]
    return found
