#!/usr/bin/env python3
"""The course's commands; nothing but Python itself is needed to start them.

    python3 course.py lab     set up .venv and open the first lesson in JupyterLab
    python3 course.py test    set up .venv and run every check
    python3 course.py site    set up .venv and make a static site of all lessons in site/
    python3 course.py kit     pack all of it for machines without a network, see docs/teaching.md

Python 3.6 can still read this file, so that an old Python gets one clear line, not a SyntaxError.
"""

import argparse
import csv
import hashlib
import http.client
import io
import json
import os
import platform
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    sys.exit(
        "course.py: the course needs Python 3.11, 3.12 or 3.13, and this is Python "
        f"{sys.version_info[0]}.{sys.version_info[1]}. Install one from python.org and name it in "
        "the command, for example: python3.12 course.py lab (Windows: py -3.12 course.py lab)"
    )

ROOT = Path(__file__).resolve().parent
# Elsewhere by request: a roomier disk, or beside a .venv of the user's own.
VENV = Path(os.environ.get("LESSONS_VENV") or ROOT / ".venv").expanduser().absolute()
PYTHON = str(VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
LOG = VENV / "install.log"
LOCK = VENV / "lock"
STAMP = VENV / "installed"  # written last: a .venv without it is only half made
COURSE = ROOT / "requirements" / "course.lock"
DEV = ROOT / "requirements" / "dev.lock"  # everything in course.lock, and the test tools
SPAMS = ROOT / "requirements" / "spams.lock"
DISK_NEEDED_GB = 3
# A first start should show the lesson, and ask nothing.
LAB_SETTINGS = '{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}'

AGAIN = "run the same command again"
STEP_MARK = "\n$ "  # stands before each command in the log
DISK_SIGNS = r"No space left on device|Errno 28|Errno 122|WinError 112"
NETWORK_SIGNS = r"(WARNING|ERROR).*(connect|retry|timed? ?out|name resolution|proxy|ssl|HTTP error)"


def say(text: str, end: str = "\n") -> None:
    print(text, end=end, flush=True)


def clean_environment(**more: str) -> dict[str, str]:
    """Return this program's variables without those that would mix in what is set up elsewhere.

    Threads that wait let others work, unless the user has said how they are to wait: PyTorch's
    usual ones keep their core busy, and a notebook beside another program gets 20 times slower.
    """
    theirs = ("PYTHONPATH", "PYTHONHOME", "JUPYTER_CONFIG_PATH")
    kept = {k: v for k, v in os.environ.items() if k not in theirs}
    return {"OMP_WAIT_POLICY": "PASSIVE", **kept, "PIP_USER": "0", **more}


# --- Setting up .venv ---------------------------------------------------------------------------


def place() -> str:
    """Name this folder and the Python in .venv; "" if that Python does not run."""
    ask = [PYTHON, "-c", "import sys; print(sys.version_info[:2])"]
    try:
        answer = subprocess.run(ask, capture_output=True, text=True, env=clean_environment())
    except OSError:
        return ""
    return "" if answer.returncode else f"{ROOT} {answer.stdout.strip()}"


def stamp(lock: Path) -> str:
    """Describe a finished set-up: its place, and a hash of all that decides what is installed."""
    contents = [part.read_bytes() for part in (lock, SPAMS, ROOT / "pyproject.toml")]
    return f"{place()}\n{hashlib.sha256(b'|'.join(contents)).hexdigest()}\n"


def read_stamp() -> str:
    return STAMP.read_text(encoding="utf-8", errors="replace") if STAMP.exists() else ""


def is_ready(lock: Path) -> bool:
    """Tell whether .venv holds at least this lock file's packages, and all of them work here."""
    enough = [DEV] if lock == DEV else [COURSE, DEV]
    return STAMP.exists() and read_stamp() in map(stamp, enough)


def is_ours() -> bool:
    """Tell whether course.py made .venv for this folder: nothing else is ever emptied."""
    if not os.path.lexists(VENV):
        return True
    if VENV.is_symlink() and not VENV.exists():
        return False
    if {path.name for path in VENV.iterdir()} <= {LOCK.name}:
        return True
    if not LOG.exists():
        return False
    # The log starts with the folder it is for. A .venv that moved along with its folder has another
    # one there, but so has what a link or a variable shares with another copy of the course.
    moved_along = ROOT / ".venv" == VENV and not VENV.is_symlink()
    return moved_along or LOG.read_bytes().splitlines()[:1] == [os.fsencode(ROOT)]


def set_up(lock: Path, wheels: Path | None = None) -> None:
    """Make .venv hold the lock file's packages and the library; do nothing if it already does.

    With a folder of wheels, nothing else is looked for and nothing downloaded.
    """
    if is_ready(lock):
        return
    if not is_ours():
        raise SystemExit(
            f"course.py: {VENV} was not made by this course, so it is left as it is: move it away, "
            f"or set LESSONS_VENV to a new folder for the course's own, then {AGAIN}."
        )
    VENV.mkdir(parents=True, exist_ok=True)
    with only_one_at_a_time():
        if is_ready(lock):  # the run we waited for has done the work
            return
        only_update = place() != "" and read_stamp().startswith(f"{place()}\n")
        STAMP.unlink(missing_ok=True)
        LOG.write_bytes(os.fsencode(ROOT) + b"\n")
        say(f"Setting up {VENV} (needed once; takes a few minutes)")
        if not only_update:
            make_empty_venv()
            if wheels is None:
                advise_on_cuda()
        install(lock, wheels)
        STAMP.write_text(stamp(lock), encoding="utf-8")
        say("Ready.")


def make_empty_venv() -> None:
    """Create .venv anew; whatever an interrupted run left in it is removed."""
    for leftover in set(VENV.iterdir()) - {LOCK, LOG}:
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()
    if shutil.disk_usage(VENV).free < DISK_NEEDED_GB * 1e9:
        raise SystemExit(disk_full())
    # Inside an activated .venv, sys.executable is the file just removed; its base still exists.
    base = getattr(sys, "_base_executable", sys.executable)
    # venv makes no folder where a link is.
    venv = str(VENV.resolve())
    run_logged("making the environment", [base, "-m", "venv", "--without-pip", venv])
    run_logged("pip", [PYTHON, "-m", "ensurepip", "--default-pip"])  # venv would hide its errors


def install(lock: Path, wheels: Path | None = None) -> None:
    pip = [PYTHON, "-m", "pip", "install", "--prefer-binary", "--no-input"]
    pip += ["--disable-pip-version-check", "--progress-bar", "off"]
    environment = clean_environment()
    if wheels is not None:
        pip += ["--no-index", "--find-links", wheels.as_uri()]
        # Whatever pip has been told of other places is not for a kit.
        environment = {k: v for k, v in environment.items() if not k.startswith("PIP_")}
        environment["PIP_CONFIG_FILE"] = os.devnull
    required = [*pip, "--requirement", str(lock)]
    run_logged(f"packages of {lock.name}", required, environment=environment)
    # SPAMS is quicker, but has no wheel for some machines, where building it mostly fails.
    spams = ["--no-deps", "--only-binary", ":all:", "--requirement", str(SPAMS)]
    if not run_logged("SPAMS (optional)", [*pip, *spams], True, environment):
        say("    SPAMS cannot be installed on this machine: the library's own code does its work.")
    library = ["--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
    run_logged("the course's library", [*pip, *library], environment=environment)


def advise_on_cuda() -> None:
    """On Linux without an NVIDIA card, say how to leave CUDA out of the first download."""
    has_card = shutil.which("nvidia-smi") or Path("/proc/driver/nvidia").exists()
    if has_card or not sys.platform.startswith("linux"):
        return
    ask = [PYTHON, "-m", "pip", "config", "list"]
    settings = subprocess.run(ask, capture_output=True, env=clean_environment()).stdout
    if not re.search(b"index|find-links", settings):
        say(
            "  Note: there seems to be no NVIDIA card here, but pip's usual PyTorch for Linux\n"
            "  brings about 3 GB of CUDA files. To do without: stop here with Ctrl-C, copy the\n"
            "  index address that pytorch.org shows under Get started for Linux, Pip, CPU,\n"
            f"  type   export PIP_EXTRA_INDEX_URL=<that address>   and {AGAIN}."
        )


def run_logged(
    title: str,
    command: list[str],
    optional: bool = False,
    environment: dict[str, str] | None = None,
) -> bool:
    """Run one step of the set-up with its output in the log and, on a terminal, a running clock.

    Returns:
        Whether it succeeded; unless `optional`, a failure ends the program with one line.
    """
    start = time.monotonic()
    rewind = f"\r  {title} ... " if sys.stdout.isatty() else ""
    say(f"  {title} ... ", end="")
    with LOG.open("ab") as log:
        log.write(f"{STEP_MARK}{' '.join(command)}\n".encode("utf-8", "replace"))
        log.flush()
        step = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**(environment or clean_environment()), "PYTHONUTF8": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            close_fds=False,  # the lock stays open in it
        )
        try:
            while step.poll() is None:
                time.sleep(0.2)
                if rewind:
                    clock = f"{time.monotonic() - start:.0f} s {newest_package()}"
                    say(f"{rewind}{clock:<40}", end="")
        finally:
            if step.poll() is None:
                step.terminate()
                step.wait()
    failed = step.returncode != 0
    say(f"{rewind}{time.monotonic() - start:.0f} s {'(failed)' if failed else '':<35}".rstrip())
    if failed and not optional:
        raise SystemExit(explain_failure(last_output()))
    return not failed


def last_output() -> str:
    return LOG.read_text(encoding="utf-8", errors="replace").rpartition(STEP_MARK)[2]


def newest_package() -> str:
    output = last_output()
    found = re.findall(r"^(?:Collecting ([\w.-]+)|Installing collected)", output, re.MULTILINE)
    return f"({found[-1][:24] or 'unpacking'})" if found else ""


def explain_failure(output: str) -> str:
    """Turn the output of a failed step into one line that says what to do."""
    if re.search(DISK_SIGNS, output):
        return disk_full()
    if re.search("No module named (venv|ensurepip)", output):
        package = f"python3.{sys.version_info[1]}-venv"
        return (
            "course.py: this Python lacks a part. Install it (Debian and Ubuntu: sudo apt install "
            f"{package}; elsewhere, the Python from python.org has it), then {AGAIN}."
        )
    if re.search(NETWORK_SIGNS, output, re.IGNORECASE):
        todo = f"the download failed: check the Internet connection, then {AGAIN}"
    elif "No matching distribution" in output:
        todo = (
            "pip finds no fitting package: the course needs a 64-bit Python and an index that has "
            f"its packages (see: {PYTHON} -m pip config list); put that right, then {AGAIN}"
        )
    else:
        todo = f"the installation failed: read the end of the log, then {AGAIN}"
    errors = re.findall(r"^(?:ERROR|Error|error): (.+)", output, re.MULTILINE)
    reason = f"; pip's words: {errors[-1].strip()}" if errors else ""
    return f"course.py: {todo}{reason} (log: {LOG})"


def disk_full() -> str:
    return (
        f"course.py: not enough disk space: make {DISK_NEEDED_GB} GB (with CUDA, 9 GB) free in "
        f"{ROOT} and in {tempfile.gettempdir()}, or point TMPDIR to a roomier folder, then {AGAIN} "
        f"(log: {LOG})"
    )


@contextmanager
def only_one_at_a_time() -> Iterator[None]:
    """Hold .venv for this run; the system lets go of it even if the run is killed."""
    with LOCK.open("w") as handle:
        # What this run has started goes on after a kill: until it ends, it holds .venv, too.
        os.set_inheritable(handle.fileno(), True)
        if not try_to_lock(handle.fileno()):
            say("Another course.py is setting up .venv: waiting for it (Ctrl-C to give up).")
            while not try_to_lock(handle.fileno()):
                time.sleep(0.5)
        yield


def try_to_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        pass  # a disk that knows no locks: better to go on than never to start
    return True


# --- Kits for machines without a network --------------------------------------------------------

MANIFEST = "kit.json"
# What students get: no solutions, and nothing that only the course's authors need.
PACKED = ["course.py", "README.md", "LICENSE", "LICENSE-TEXT", "CITATION.cff", "pyproject.toml"]
PACKED += ["requirements", "lessons_lib", "notebooks", "data", "docs"]
PLATFORMS = {"linux": "linux", "darwin": "macos", "win32": "windows"}
# The wheels that pip looks for when it packs for another kind of machine.
GLIBC = [f"manylinux_2_{minor}_x86_64" for minor in range(35, 4, -1)]
TAGS = {
    "linux": [*GLIBC, "manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"],
    "macos": ["macosx_14_0_arm64"],
    "windows": ["win_amd64"],
}
MACHINES = {"linux": "x86_64", "macos": "arm64", "windows": "AMD64"}
# pip would read the lock's conditions as those of this machine. Any pip has this part of it.
CHOOSE = """
import json, sys
from pip._vendor.packaging.requirements import Requirement
machine = json.loads(sys.argv[1])
for line in open(sys.argv[2], encoding="utf-8"):
    if line.strip() and not line.startswith("#"):
        wanted = Requirement(line)
        if wanted.marker is None or wanted.marker.evaluate(machine):
            print(wanted.name + str(wanted.specifier))
"""


def kit(out: Path, system: str, python: str, data: bool) -> int:
    """Pack lessons, library, weights and all wheels for one kind of machine into a zip file.

    Args:
        out: the file; it is there whole, or not at all.
        system: linux, macos or windows.
        python: such as "3.12"; wheels are for one version.
        data: whether data sets go along, those of the folder LESSONS_DATA whose licence lets them.
    """
    set_up(COURSE)
    here = (PLATFORMS.get(sys.platform, ""), f"3.{sys.version_info[1]}")
    native = (system, python) == here
    machine = platform.machine() if native else MACHINES[system]
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kit-", dir=out.parent) as scratch:
        wheels = Path(scratch) / "wheels"
        tags = [] if native else [f"--platform={tag}" for tag in TAGS[system]]
        download(wheels, system, python, [*tags, f"--python-version={python}"] if tags else [])
        files = {f"wheels/{path.name}": path for path in sorted(wheels.iterdir())}
        for name in PACKED:
            files.update(packed(ROOT / name))
        if data:
            files.update(permitted_data())
        about = {"system": system, "machine": machine, "python": python}
        half = Path(scratch) / "kit.zip"
        mark = write_kit(half, about, files)
        os.replace(half, out)
    size = out.stat().st_size / 1e6
    say(f"{out}: {len(files)} files, {size:.0f} MB, for {system} on {machine}, Python {python}")
    say(f"Its mark is {mark}: the same is shown where it is set up.")
    return 0


def download(wheels: Path, system: str, python: str, options: list[str]) -> None:
    """Download the wheels of the lock, and of SPAMS where there are some."""
    pip = [PYTHON, "-m", "pip", "download", "--no-input", "--disable-pip-version-check"]
    pip += ["--progress-bar", "off", "--no-deps", "--only-binary", ":all:", "--dest", str(wheels)]
    wheels.mkdir()
    chosen: list[str] = []
    # Some pins differ between the first and the last of a Python's versions: both are packed.
    for patch in ("0", "99"):
        lines = [line for line in chosen_lines(system, f"{python}.{patch}") if line not in chosen]
        if lines:
            title = "wheels" if not chosen else "wheels of other versions"
            run_logged(title, [*pip, *options, *lines])
        chosen += lines
    if not run_logged("SPAMS (optional)", [*pip, *options, "-r", str(SPAMS)], optional=True):
        say("    SPAMS has no wheel for such machines: the library's own code does its work.")
    # Elsewhere its wheels have no CUDA, whatever their metadata say of Linux.
    for torch in wheels.glob("torch-*.whl") if system == "linux" else ():
        with zipfile.ZipFile(torch) as wheel:
            about = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
            if b"\nRequires-Dist: nvidia" in wheel.read(about):
                raise SystemExit(
                    "course.py: pip's usual PyTorch for Linux needs 3 GB of CUDA files, and a kit "
                    "has none: set PIP_EXTRA_INDEX_URL as README.md says under Start, "
                    f"then {AGAIN}."
                )


def chosen_lines(system: str, python: str) -> list[str]:
    """The lock's pins for a machine, without conditions."""
    names = {"linux": ("linux", "Linux", "posix"), "macos": ("darwin", "Darwin", "posix")}
    sys_platform, platform_system, os_name = names.get(system, ("win32", "Windows", "nt"))
    machine = {
        "sys_platform": sys_platform,
        "platform_system": platform_system,
        "platform_machine": MACHINES[system],
        "os_name": os_name,
        "python_version": python.rpartition(".")[0],
        "python_full_version": python,
        "implementation_version": python,
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_version": "",
    }
    choose = [PYTHON, "-c", CHOOSE, json.dumps(machine), str(COURSE)]
    chosen = subprocess.run(choose, stdout=subprocess.PIPE, env=clean_environment(), check=True)
    return chosen.stdout.decode().split("\n")[:-1]


def packed(place: Path) -> dict[str, Path]:
    """The files of a folder, or one file, by their names in a kit; without what programs leave."""
    found = {}
    for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
        name = path.relative_to(ROOT)
        left = any(part.startswith(".") or part == "__pycache__" for part in name.parts)
        if path.is_file() and not left:
            found[name.as_posix()] = path
    return found


def permitted_data() -> dict[str, Path]:
    """Files of data sets that are in LESSONS_DATA and may be passed on."""
    import tomllib  # not known to the Pythons that only need to read this file

    folder = Path(os.environ.get("LESSONS_DATA") or "/nowhere")
    sets = tomllib.loads((ROOT / "data" / "datasets.toml").read_text(encoding="utf-8"))
    with (ROOT / "data" / "registry.csv").open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    found: dict[str, Path] = {}
    for name, about in sets.items():
        files = {row["file"]: row["sha256"] for row in rows if row["dataset"] == name}
        if about["role"] in ("samples", "drawn"):
            continue  # inside of other wheels, and of the library
        if not about.get("redistribution"):
            say(f"  {name} stays out: {about['licence']}")
        elif any(not is_file(folder / name / file, mark) for file, mark in files.items()):
            say(f"  {name} stays out: it is not in the folder that LESSONS_DATA names")
        else:
            found.update({f"datasets/{name}/{file}": folder / name / file for file in files})
    return found


def write_kit(out: Path, about: dict[str, str], files: dict[str, Path]) -> str:
    """Write a kit and its manifest; return the mark by which kits are told apart."""
    marks = {name: sha256(path) for name, path in files.items()}
    manifest = json.dumps({**about, "files": marks}, indent=1)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"lessons-kit/{MANIFEST}", manifest)
        for name, path in files.items():
            # Wheels are compressed already.
            way = zipfile.ZIP_STORED if name.endswith(".whl") else zipfile.ZIP_DEFLATED
            archive.write(path, f"lessons-kit/{name}", way)
    return hashlib.sha256(manifest.encode()).hexdigest()[:12]


def set_up_from_kit(source: Path) -> None:
    """Set up .venv from a kit, a zip file or its folder, and from nothing else.

    The manifest's hashes find what was damaged on the way; against forgery stands only the mark
    that is shown when a kit is made and when it is used.
    """
    if is_ready(COURSE):
        return
    with tempfile.TemporaryDirectory(prefix="kit-", dir=ROOT) as scratch:
        folder = unpacked(source, Path(scratch))
        manifest = read_manifest(folder)
        say(f"Kit {sha256(folder / MANIFEST)[:12]} for {manifest['system']}, {manifest['python']}")
        check_kit(folder, manifest)
        set_up(COURSE, folder / "wheels")
        if (folder / "datasets").is_dir() and folder != ROOT:
            shutil.copytree(folder / "datasets", VENV / "datasets", dirs_exist_ok=True)


def unpacked(source: Path, scratch: Path) -> Path:
    """The folder of a kit that has its manifest in it; a zip file is unpacked."""
    if source.is_dir():
        return source.resolve()
    if not source.exists():
        raise SystemExit(f"course.py: there is no {source}.")
    try:
        with zipfile.ZipFile(source) as archive:
            # It writes nowhere else, whatever the names in the archive are.
            archive.extractall(scratch)
    except (zipfile.BadZipFile, zlib.error, EOFError):
        raise SystemExit(f"course.py: {source} is no kit, or damaged: copy it again.") from None
    return scratch / "lessons-kit"


def read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        fits = all(isinstance(manifest[part], str) for part in ("system", "machine", "python"))
        fits = fits and isinstance(manifest["files"], dict)
    except (OSError, ValueError, TypeError, KeyError):
        fits = False
    if not fits:
        raise SystemExit(f"course.py: no kit: {MANIFEST} is missing or damaged in {folder}.")
    return dict(manifest)


def check_kit(folder: Path, manifest: dict[str, Any]) -> None:
    """End with one line if a kit is not for this machine or this course, or not whole."""
    here = {
        "system": PLATFORMS.get(sys.platform, sys.platform),
        "machine": platform.machine(),
        "python": f"3.{sys.version_info[1]}",
    }
    if any(manifest[part] != here[part] for part in here):
        wanted, found = (
            f"{one['system']} on {one['machine']} with Python {one['python']}"
            for one in (manifest, here)
        )
        raise SystemExit(
            f"course.py: this kit is for {wanted}, and here is {found}: "
            "start it with that Python, or ask for another kit."
        )
    marks: dict[str, str] = manifest["files"]
    for name, mark in marks.items():
        # Notebooks are there to be worked on.
        if not name.startswith("notebooks/") and not is_file(folder / name, mark):
            raise SystemExit(f"course.py: {name} is missing or damaged in the kit: copy it again.")
    for path in (folder / "wheels").iterdir():
        if f"wheels/{path.name}" not in marks:
            raise SystemExit(f"course.py: wheels/{path.name} is no part of the kit: remove it.")
    for name in ("requirements/course.lock", "pyproject.toml"):
        if not is_file(ROOT / name, marks.get(name, "")):
            raise SystemExit(
                "course.py: this kit is of another version of the course: use the course.py in it."
            )


def is_file(path: Path, mark: str) -> bool:
    return path.is_file() and sha256(path) == mark


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- lab ----------------------------------------------------------------------------------------


def lab(port: int | None, browser: bool, jupyter_arguments: list[str]) -> int:
    """Set up .venv and open the first lesson."""
    port = free_port(port)
    set_up(COURSE)
    for datasets in (ROOT / "datasets", VENV / "datasets"):  # of a kit
        if datasets.is_dir():
            os.environ.setdefault("LESSONS_DATA", str(datasets))
    lesson = next(iter(sorted(ROOT.glob("notebooks/00_*.ipynb"))), ROOT / "notebooks")
    return serve(lesson, port, browser, jupyter_arguments, PYTHON, VENV / "jupyter")


def serve(
    notebook: Path,
    port: int,
    browser: bool,
    jupyter_arguments: list[str],
    python: str,
    settings: Path,
) -> int:
    """Serve the repository on this machine alone and open a notebook of it."""
    page = "/lab/tree/" + quote(notebook.relative_to(ROOT).as_posix())
    token = secrets.token_hex(24)
    # The token travels in the environment because every user can read command lines; settings in
    # the user's home could switch it off or open the port to others, so the course has its own.
    environment = clean_environment(JUPYTER_TOKEN=token, JUPYTER_CONFIG_DIR=str(settings))
    (settings / "labconfig").mkdir(parents=True, exist_ok=True)
    (settings / "labconfig" / "default_setting_overrides.json").write_text(LAB_SETTINGS)
    command = lab_command(python, port, page, browser and has_display()) + jupyter_arguments
    server = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        while server.poll() is None and not answers(port):
            time.sleep(0.1)
        if server.poll() is None:
            say("\nThe course is open in JupyterLab, for this machine only:")
            say(f"\n    http://127.0.0.1:{port}{page}?token={token}\n")
            say("Stop it with Ctrl-C.")
        return server.wait()
    except KeyboardInterrupt:
        if os.name == "posix":  # on Windows, Ctrl-C has reached the server by itself
            server.terminate()
        server.wait()
        say("JupyterLab has stopped.")
        return 0


def lab_command(python: str, port: int, page: str, browser: bool) -> list[str]:
    command = [python, "-m", "jupyterlab", "-y", f"--ServerApp.root_dir={ROOT}"]
    command += ["--log-level=WARN", "--LabApp.log_level=WARN"]
    command += ["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"]
    command += ["--ServerApp.port_retries=0", f"--ServerApp.open_browser={browser}"]
    # The lock decides on versions, so offers of updates would only mislead.
    command += [f"--LabApp.default_url={page}"]
    # A photograph that is opened in a widget travels as one message: by default, 10 MB at most.
    command += [f"--ServerApp.tornado_settings={{'websocket_max_message_size': {256 * 2**20}}}"]
    command += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # containers; JupyterLab refuses otherwise
        command.append("--allow-root")
    return command


def has_display() -> bool:
    if "SSH_CONNECTION" in os.environ:
        return False
    on_desktop = sys.platform in ("win32", "darwin")
    return on_desktop or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def free_port(wanted: int | None) -> int:
    for port in range(8888, 8988) if wanted is None else [wanted]:
        try:
            with socket.create_server(("127.0.0.1", port)) as trial:
                return int(trial.getsockname()[1])
        except (OSError, OverflowError):
            continue
    raise SystemExit(f"course.py: cannot use port {wanted or '8888-8987'}: choose one with --port.")


def answers(port: int) -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/api")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False


# --- test ---------------------------------------------------------------------------------------


def steps(quick: bool, browser: bool) -> dict[str, list[str]]:
    """Name the checks, each with its arguments for Python; `quick` runs no notebooks."""
    together = f"--numprocesses={min(4, os.cpu_count() or 1)}"
    nbval = ["-m", "pytest", "--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=300"]
    nbval += ["--nbval-sanitize-with=tests/nbval_sanitize.cfg", together, "--dist=loadscope"]
    tests = ["-m", "pytest", together, "--dist=worksteal", "-m"]
    chosen = {
        "lint": ["-m", "ruff", "check", "."],
        "format": ["-m", "ruff", "format", "--check", "."],
        "types": ["-m", "mypy", "lessons_lib", "course.py"],
        "notebooks match their sources": ["solutions/build.py", "--check"],
        "tests": [*tests, "not browser and not long" + " and not slow" * quick],
    }
    if not quick:
        chosen["notebooks run"] = [*nbval, "notebooks"]
    if browser:
        in_browser = ["-m", "pytest", "-rs", "-m", "browser", "tests/browser"]
        chosen["pages in a browser"] = in_browser
    return chosen


def test(quick: bool, browser: bool) -> int:
    """Run every check even if one fails, then sum up; the last line is for machines too."""
    set_up(DEV)
    summary = []
    for name, arguments in steps(quick, browser).items():
        say(f"\n=== {name}")
        start = time.monotonic()
        # As many tests run at once as there are cores, so each has one.
        environment = clean_environment(OMP_NUM_THREADS="1")
        code = subprocess.run([PYTHON, *arguments], cwd=ROOT, env=environment)
        outcome = "FAILED" if code.returncode else "passed"
        summary.append(f"{outcome} {time.monotonic() - start:7.1f} s  {name}")
    failed = sum(line.startswith("FAILED") for line in summary)
    say("\n=== summary\n" + "\n".join(summary))
    say(f"{len(summary) - failed} passed, {failed} failed")
    return 1 if failed else 0


# --- site ---------------------------------------------------------------------------------------


def site() -> int:
    """Make the site from what is committed; no notebook is run."""
    set_up(DEV)
    say("Making the site (takes a minute or two)")
    command = [PYTHON, str(ROOT / "docs" / "site" / "build.py")]
    return subprocess.run(command, cwd=ROOT, env=clean_environment()).returncode


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="course.py", description="Open or check the course.")
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="lab | test | site | kit"
    )
    for_lab = commands.add_parser("lab", help="open the first lesson in JupyterLab")
    for_lab.epilog = "Further arguments after -- go to JupyterLab."
    for_lab.add_argument("--no-browser", action="store_true", help="only print the address")
    for_lab.add_argument("--port", type=int, help="where to listen (default: from 8888 on)")
    for_lab.add_argument(
        "--from-kit", type=Path, metavar="KIT", help="set up from this zip file or folder alone"
    )
    for_test = commands.add_parser("test", help="run every check")
    for_test.add_argument("--quick", action="store_true", help="under 3 minutes: no notebooks")
    for_test.add_argument("--browser", action="store_true", help="add what needs a real browser")
    commands.add_parser("site", help="make a static site of all lessons in site/")
    for_kit = commands.add_parser("kit", help="pack all of it for machines without a network")
    for_kit.add_argument("out", type=Path, metavar="OUT.zip")
    systems = [*TAGS]
    here = PLATFORMS.get(sys.platform, "linux")
    for_kit.add_argument("--platform", choices=systems, default=here, help="default: this one")
    versions = ["3.11", "3.12", "3.13"]
    this = f"3.{sys.version_info[1]}"
    for_kit.add_argument("--python", choices=versions, default=this, help="default: this one")
    for_kit.add_argument("--data", action="store_true", help="with data sets, where they permit it")
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    options = parser.parse_args(arguments[:cut])
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # the folder's name may not fit the terminal
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops the children, as Ctrl-C does
    try:
        if options.command == "lab":
            if options.from_kit is not None:
                set_up_from_kit(options.from_kit)
            return lab(options.port, not options.no_browser, arguments[cut + 1 :])
        if options.command == "site":
            return site()
        if options.command == "kit":
            return kit(options.out.absolute(), options.platform, options.python, options.data)
        return test(options.quick, options.browser)
    except KeyboardInterrupt:
        say(f"\nStopped. To go on, {AGAIN}.")
        return 130
    except OSError as error:
        if re.search(DISK_SIGNS, str(error)):
            raise SystemExit(disk_full()) from None
        raise SystemExit(
            f"course.py: cannot use {error.filename or ROOT}: {error.strerror}. Close programs "
            f"that use .venv, see that you may write there, then {AGAIN}."
        ) from None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
