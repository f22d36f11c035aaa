#!/usr/bin/env python3
"""The course's two commands; nothing but Python itself is needed to start them.

    python3 course.py lab     set up .venv and open the first lesson in JupyterLab
    python3 course.py test    set up .venv and run every check

Python 3.6 can still read this file, so that an old Python gets one clear line, not a SyntaxError.
"""

import argparse
import hashlib
import http.client
import io
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
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
    """Return this program's variables without those that would mix in what is set up elsewhere."""
    theirs = ("PYTHONPATH", "PYTHONHOME", "JUPYTER_CONFIG_PATH")
    kept = {k: v for k, v in os.environ.items() if k not in theirs}
    return {**kept, "PIP_USER": "0", **more}


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


def set_up(lock: Path) -> None:
    """Make .venv hold the lock file's packages and the library; do nothing if it already does."""
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
            advise_on_cuda()
        install(lock)
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


def install(lock: Path) -> None:
    pip = [PYTHON, "-m", "pip", "install", "--prefer-binary", "--no-input"]
    pip += ["--disable-pip-version-check", "--progress-bar", "off"]
    run_logged(f"packages of {lock.name}", [*pip, "--requirement", str(lock)])
    # SPAMS is quicker, but has no wheel for some machines, where building it mostly fails.
    spams = ["--no-deps", "--only-binary", ":all:", "--requirement", str(SPAMS)]
    if not run_logged("SPAMS (optional)", [*pip, *spams], optional=True):
        say("    SPAMS cannot be installed on this machine: the library's own code does its work.")
    library = ["--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
    run_logged("the course's library", [*pip, *library])


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


def run_logged(title: str, command: list[str], optional: bool = False) -> bool:
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
        utf8 = clean_environment(PYTHONUTF8="1")
        step = subprocess.Popen(
            command,
            cwd=ROOT,
            env=utf8,
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


# --- lab ----------------------------------------------------------------------------------------


def lab(port: int | None, browser: bool, jupyter_arguments: list[str]) -> int:
    """Serve the repository on this machine alone and open the first lesson."""
    port = free_port(port)
    set_up(COURSE)
    lesson = next(iter(sorted(ROOT.glob("notebooks/00_*.ipynb"))), ROOT / "notebooks")
    page = "/lab/tree/" + quote(lesson.relative_to(ROOT).as_posix())
    token = secrets.token_hex(24)
    # The token travels in the environment because every user can read command lines; settings in
    # the user's home could switch it off or open the port to others, so the course has its own.
    settings = VENV / "jupyter"
    environment = clean_environment(JUPYTER_TOKEN=token, JUPYTER_CONFIG_DIR=str(settings))
    (settings / "labconfig").mkdir(parents=True, exist_ok=True)
    (settings / "labconfig" / "default_setting_overrides.json").write_text(LAB_SETTINGS)
    command = lab_command(port, page, browser and has_display()) + jupyter_arguments
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


def lab_command(port: int, page: str, browser: bool) -> list[str]:
    command = [PYTHON, "-m", "jupyterlab", "-y", f"--ServerApp.root_dir={ROOT}"]
    command += ["--log-level=WARN", "--LabApp.log_level=WARN"]
    command += ["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"]
    command += ["--ServerApp.port_retries=0", f"--ServerApp.open_browser={browser}"]
    # The lock decides on versions, so offers of updates would only mislead.
    command += [f"--LabApp.default_url={page}"]
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
        chosen["lesson 00 in a browser"] = ["-m", "pytest", "-rs", "-m", "browser", "tests/browser"]
    return chosen


def test(quick: bool, browser: bool) -> int:
    """Run every check even if one fails, then sum up; the last line is for machines too."""
    set_up(DEV)
    summary = []
    for name, arguments in steps(quick, browser).items():
        say(f"\n=== {name}")
        start = time.monotonic()
        # As many tests run at once as there are cores, so each has one; where one starts threads
        # all the same, those that wait let others work.
        environment = clean_environment(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="PASSIVE")
        code = subprocess.run([PYTHON, *arguments], cwd=ROOT, env=environment)
        outcome = "FAILED" if code.returncode else "passed"
        summary.append(f"{outcome} {time.monotonic() - start:7.1f} s  {name}")
    failed = sum(line.startswith("FAILED") for line in summary)
    say("\n=== summary\n" + "\n".join(summary))
    say(f"{len(summary) - failed} passed, {failed} failed")
    return 1 if failed else 0


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="course.py", description="Open or check the course.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="lab | test")
    for_lab = commands.add_parser("lab", help="open the first lesson in JupyterLab")
    for_lab.epilog = "Further arguments after -- go to JupyterLab."
    for_lab.add_argument("--no-browser", action="store_true", help="only print the address")
    for_lab.add_argument("--port", type=int, help="where to listen (default: from 8888 on)")
    for_test = commands.add_parser("test", help="run every check")
    for_test.add_argument("--quick", action="store_true", help="under 3 minutes: no notebooks")
    for_test.add_argument("--browser", action="store_true", help="add lesson 00 in a real browser")
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    options = parser.parse_args(arguments[:cut])
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # the folder's name may not fit the terminal
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops the children, as Ctrl-C does
    try:
        if options.command == "lab":
            return lab(options.port, not options.no_browser, arguments[cut + 1 :])
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
