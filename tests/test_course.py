"""The real `course.py` in small stand-in repositories, whose packages install in a second."""

import ast
import errno
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

import course

# Stands in for JupyterLab: notes how it was started and answers every request.
JUPYTERLAB = """
import http.server, json, os, sys
seen = {"arguments": sys.argv[1:], "token": os.environ["JUPYTER_TOKEN"], "folder": os.getcwd()}
with open("seen.json", "w") as file:
    json.dump(seen, file)
port = next(int(word.split("=")[1]) for word in sys.argv if word.startswith("--ServerApp.port="))
handler = type("Handler", (http.server.BaseHTTPRequestHandler,), {
    "do_GET": lambda self: (self.send_response(200), self.end_headers()),
    "log_message": lambda self, *words: None})
http.server.HTTPServer(("127.0.0.1", port), handler).serve_forever()
"""
# Builds the stand-in library without setuptools, from a wheel made beforehand.
BACKEND = """
import shutil
def build_editable(folder, config_settings=None, metadata_directory=None):
    return shutil.copy("lessons_lib-0-py3-none-any.whl", folder).rpartition("/")[2]
"""
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "lessons-lib"
version = "0"
"""
on_posix = pytest.mark.skipif(os.name != "posix", reason="uses POSIX signals and paths")


def write_wheel(folder: Path, name: str, files: dict[str, str]) -> None:
    about = f"{name}-0.dist-info"
    files = {
        **files,
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/RECORD": "",
    }
    with zipfile.ZipFile(folder / f"{name}-0-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)


class Repository:
    """A stand-in repository around the real course.py, in a folder with an awkward name."""

    def __init__(self, parent: Path) -> None:
        # Where Python's own letters are those of ASCII it can name no folder like that.
        self.root = parent / "a b" / ("курс" if sys.getfilesystemencoding() == "utf-8" else "kurs")
        self.wheels = parent / "wheels"  # pip splits its list of folders at spaces
        self.wheels.mkdir()
        (self.root / "requirements").mkdir(parents=True)
        (self.root / "notebooks").mkdir()
        (self.root / "notebooks" / "00_first.ipynb").write_text("{}")
        (self.root / "backend.py").write_text(BACKEND)
        (self.root / "pyproject.toml").write_text(PYPROJECT)
        shutil.copy(course.ROOT / "course.py", self.root)
        (self.root / "requirements" / "course.lock").write_text("jupyterlab==0\n")
        (self.root / "requirements" / "dev.lock").write_text("jupyterlab==0\nanother==0\n")
        (self.root / "requirements" / "spams.lock").write_text("spams-bin==2.6.14\n")
        write_wheel(self.root, "lessons_lib", {"lessons_lib.py": ""})
        write_wheel(self.wheels, "jupyterlab", {"jupyterlab/__main__.py": JUPYTERLAB})
        write_wheel(self.wheels, "another", {"another.py": ""})

    def start(
        self, *arguments: str, prefix: Sequence[str] = (), **settings: str
    ) -> "subprocess.Popen[str]":
        """Start course.py, or code that uses it, with pip bound to the stand-in packages."""
        offline = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PYTHONUTF8": "1"}
        offline |= {"PIP_FIND_LINKS": str(self.wheels), **settings}
        return subprocess.Popen(
            [*prefix, sys.executable, *arguments],
            cwd=self.root,
            env={name: value for name, value in (os.environ | offline).items() if value},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )

    def run(self, *arguments: str, **settings: str) -> tuple[int, str]:
        process = self.start(*arguments, **settings)
        output, _ = process.communicate(timeout=120)
        return process.returncode, output

    def set_up(self, **settings: str) -> tuple[int, str]:
        code = "import sys, course; course.lab = lambda *_: course.set_up(course.COURSE) or 0;"
        return self.run("-c", f"{code} sys.exit(course.main(['lab']))", **settings)

    def works(self) -> bool:
        python = self.root / Path(course.PYTHON).relative_to(course.ROOT)
        imports = [python, "-c", "import jupyterlab, lessons_lib"]
        return subprocess.run(imports, capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return Repository(tmp_path_factory.mktemp("course"))


@pytest.fixture
def ready(shared: Repository) -> Repository:
    """A repository whose .venv is complete, whatever the test before did to it."""
    (shared.root / "requirements" / "course.lock").write_text("jupyterlab==0\n")
    code, output = shared.set_up()
    assert code == 0, output
    return shared


def wait_for(process: "subprocess.Popen[str]", text: str) -> str:
    """Read the process's output up to a text (which need not end a line)."""
    assert process.stdout is not None
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    output = ""
    while text not in output:
        letter = process.stdout.read(1)
        assert letter, f"ended without {text!r}: {output}"
        output += letter
    watchdog.cancel()
    return output


def only_line(output: str) -> str:
    """The error of a failed run: one line of course.py's, at the end, and no traceback."""
    assert "Traceback" not in output
    lines = [line for line in output.splitlines() if line.startswith("course.py: ")]
    assert len(lines) == 1, output
    assert output.rstrip().endswith(lines[0])
    return lines[0]


# --- The wrong Python ---------------------------------------------------------------------------


def test_old_pythons_can_read_the_file() -> None:
    ast.parse((course.ROOT / "course.py").read_text(encoding="utf-8"), feature_version=(3, 6))


@pytest.mark.parametrize("version", [(3, 6, 0), (3, 10, 9), (3, 14, 0)])
def test_another_python_gets_one_line(version: tuple[int, int, int]) -> None:
    pretend = f"import runpy, sys; sys.version_info = {version}; runpy.run_path('course.py')"
    result = subprocess.run(
        [sys.executable, "-c", pretend], cwd=course.ROOT, capture_output=True, text=True
    )
    assert result.returncode == 1
    assert "needs Python 3.11, 3.12 or 3.13" in only_line(result.stderr)
    assert f"this is Python 3.{version[1]}." in result.stderr


def old_pythons() -> Iterator[str]:
    places = [Path.home() / ".pyenv" / "versions", Path("/usr/bin"), Path("/usr/local/bin")]
    for minor in range(6, 11):
        for place in places:
            yield from map(str, sorted(place.glob(f"3.{minor}.*/bin/python3.{minor}")))
            yield from map(str, sorted(place.glob(f"python3.{minor}")))


@pytest.mark.parametrize("python", list(old_pythons()))
def test_a_real_old_python_gets_one_line(python: str) -> None:
    result = subprocess.run(
        [python, "course.py", "lab"], cwd=course.ROOT, stderr=subprocess.PIPE, encoding="utf-8"
    )
    assert result.returncode == 1
    assert "needs Python 3.11" in only_line(result.stderr)


# --- Setting up ---------------------------------------------------------------------------------


@on_posix
@pytest.mark.slow
def test_lab_serves_the_first_lesson_to_this_machine_alone(ready: Repository) -> None:
    # A second start must not need pip: here it would find nothing.
    start = time.monotonic()
    server = ready.start(
        *("course.py", "lab", "--no-browser", "--port", "0", "--", "--Theirs=1"), PIP_FIND_LINKS=""
    )
    output = wait_for(server, "Stop it with Ctrl-C")
    print(f"second start: {time.monotonic() - start:.2f} s")
    server.send_signal(signal.SIGINT)
    assert server.wait(timeout=10) == 0
    assert "Setting up" not in output

    address = re.search(
        r"http://127\.0\.0\.1:(\d+)/lab/tree/notebooks/00_first\.ipynb\?token=(\w+)", output
    )
    assert address is not None
    port, token = address.groups()
    seen = json.loads((ready.root / "seen.json").read_text())
    assert seen["token"] == token
    assert len(token) >= 32
    assert seen["folder"] == str(ready.root)
    assert f"--ServerApp.root_dir={ready.root}" in seen["arguments"]
    assert "--ServerApp.ip=127.0.0.1" in seen["arguments"]
    assert f"--ServerApp.port={port}" in seen["arguments"]
    assert "--ServerApp.open_browser=False" in seen["arguments"]
    assert seen["arguments"][-1] == "--Theirs=1"
    assert not [word for word in seen["arguments"] if "token" in word.lower()]


@pytest.mark.slow
def test_without_a_network_one_line_says_so_and_the_next_run_recovers(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    dead_end = {"PIP_NO_INDEX": "", "PIP_FIND_LINKS": "", "PIP_PROXY": "http://127.0.0.1:9"}
    code, output = repository.set_up(**dead_end, PIP_RETRIES="1")
    assert code == 1
    line = only_line(output)
    assert "the download failed: check the Internet connection" in line
    assert "No matching distribution found for jupyterlab==0" in line
    log = Path(re.findall(r"\(log: (.+)\)$", line)[0])
    assert "ERROR: No matching distribution found for jupyterlab==0" in log.read_text()
    has_card = shutil.which("nvidia-smi") or Path("/proc/driver/nvidia").exists()
    assert ("CUDA" in output) == (sys.platform.startswith("linux") and not has_card)

    code, output = repository.set_up()
    assert code == 0, output
    assert "SPAMS cannot be installed on this machine: the library's own code" in output
    assert "CUDA" not in output  # whoever has told pip where to look needs no advice
    assert repository.works()


@on_posix
@pytest.mark.slow
def test_an_interrupted_update_is_made_good(ready: Repository) -> None:
    lock = ready.root / "requirements" / "course.lock"
    lock.write_text("another==0\njupyterlab==0\n")
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes calls and never answers
        index = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        settings = {"PIP_NO_INDEX": "", "PIP_FIND_LINKS": "", "PIP_INDEX_URL": index}
        process = ready.start("course.py", "lab", **settings)
        wait_for(process, "packages of course.lock")
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Stopped. To go on, run the same command again." in rest
    assert "Traceback" not in rest
    code, output = ready.set_up()
    assert code == 0, output
    assert ready.works()


@pytest.mark.slow
def test_a_changed_lock_updates_what_is_there(ready: Repository) -> None:
    lock = ready.root / "requirements" / "course.lock"
    kept = ready.root / ".venv" / "kept"
    kept.touch()
    lock.write_text(lock.read_text() + "# changed\n")
    code, output = ready.set_up()
    assert code == 0, output
    assert "Setting up" in output
    assert kept.exists()
    assert "Setting up" not in ready.set_up()[1]


@on_posix
@pytest.mark.slow
def test_a_venv_whose_python_is_gone_is_rebuilt(ready: Repository) -> None:
    for python in (ready.root / ".venv" / "bin").glob("python*"):
        python.unlink()
        python.symlink_to("/no/longer/there")
    code, output = ready.set_up()
    assert code == 0, output
    assert ready.works()


@pytest.mark.slow
def test_of_two_runs_at_once_one_waits(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    # The first leftovers to clear: a half-made .venv without pip and without a stamp.
    (repository.root / ".venv" / "lib" / "left" / "over").mkdir(parents=True)
    (repository.root / ".venv" / "install.log").touch()
    code = "import sys, course; course.set_up(course.COURSE)"
    first = repository.start("-c", code)
    early = wait_for(first, "making the environment")
    second_code, second = repository.run("-c", code)
    rest, _ = first.communicate(timeout=60)
    assert (first.returncode, second_code) == (0, 0), early + rest + second
    assert second.startswith("Another course.py is setting up")
    assert "Setting up" not in second
    assert repository.works()
    assert not (repository.root / ".venv" / "lib" / "left").exists()


@on_posix
@pytest.mark.slow
def test_what_a_killed_run_has_started_holds_up_the_next(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    code = "import sys, course; course.set_up(course.COURSE)"
    first = repository.start("-c", code)
    wait_for(first, "  pip ... ")
    time.sleep(0.2)  # its process is started right after these words
    first.kill()
    first.communicate()
    second_code, second = repository.run("-c", code)
    assert second_code == 0, second
    assert second.startswith("Another course.py is setting up")
    assert repository.works()


def test_too_little_disk_space_stops_before_anything_is_installed(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    code, output = repository.run(
        "-c", "import course; course.DISK_NEEDED_GB = 10**9; course.main(['lab'])"
    )
    assert code == 1
    assert "not enough disk space: make 1000000000 GB" in only_line(output)
    assert {path.name for path in (repository.root / ".venv").iterdir()} == {"install.log", "lock"}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_on_the_way_is_recognised(number: int) -> None:
    error = OSError(number, os.strerror(number))
    output = f"Collecting torch\nERROR: Could not install packages due to an OSError: {error}\n"
    assert "not enough disk space" in course.explain_failure(output)


def test_a_python_without_ensurepip_is_told_the_package() -> None:
    message = course.explain_failure("/usr/bin/python3: No module named ensurepip\n")
    assert f"apt install python3.{sys.version_info[1]}-venv" in message


def test_a_file_in_the_place_of_venv_gets_one_line(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    (repository.root / ".venv").touch()
    code, output = repository.run("course.py", "lab")
    assert code == 1
    assert str(repository.root / ".venv") in only_line(output)


def own_environment(venv: Path) -> None:
    """Somebody's own environment, with a thing of worth in it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    (venv / "precious").touch()


def of_another_copy(venv: Path) -> None:
    """The environment of a second copy of the course, complete."""
    own_environment(venv)
    (venv / "install.log").write_text(f"{venv.parent}\n")
    (venv / "installed").write_text(f"{venv.parent} (3, 12)\nhash\n")


@on_posix
@pytest.mark.parametrize("make", [own_environment, of_another_copy])
@pytest.mark.parametrize("place", ["folder", "link", "variable"])
def test_an_environment_that_others_made_is_left_alone(
    tmp_path: Path, make: Callable[[Path], None], place: str
) -> None:
    if place == "folder" and make is of_another_copy:
        pytest.skip("a .venv that moved along with its folder is the course's to renew")
    repository = Repository(tmp_path)
    venv = tmp_path / "elsewhere" if place != "folder" else repository.root / ".venv"
    make(venv)
    if place == "link":
        (repository.root / ".venv").symlink_to(venv)
    before = {path: path.lstat().st_mtime_ns for path in venv.rglob("*")}
    settings = {"LESSONS_VENV": str(venv)} if place == "variable" else {}
    code, output = repository.set_up(**settings)
    assert code == 1
    line = only_line(output)
    assert "was not made by this course" in line
    assert "LESSONS_VENV" in line
    assert {path: path.lstat().st_mtime_ns for path in venv.rglob("*")} == before


@on_posix
def test_a_link_to_nothing_is_left_alone(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    (repository.root / ".venv").symlink_to(tmp_path / "unplugged")
    code, output = repository.set_up()
    assert code == 1
    assert "LESSONS_VENV" in only_line(output)


@on_posix
@pytest.mark.slow
@pytest.mark.parametrize("how", ["link", "variable"])
def test_the_environment_may_lie_on_another_disk(tmp_path: Path, how: str) -> None:
    repository, scratch = Repository(tmp_path), tmp_path / "scratch"
    settings = {}
    if how == "link":
        scratch.mkdir()
        (repository.root / ".venv").symlink_to(scratch)
    else:
        settings["LESSONS_VENV"] = str(scratch / "deep" / "venv")
    for _ in range(2):
        code, output = repository.set_up(**settings)
        assert code == 0, output
    assert "Setting up" not in output
    venv = scratch if how == "link" else scratch / "deep" / "venv"
    # Half made, it is the course's to finish, there too.
    (venv / "installed").unlink()
    (venv / "lib" / "left").mkdir()
    code, output = repository.set_up(**settings)
    assert code == 0, output
    assert not (venv / "lib" / "left").exists()


# --- lab and test -------------------------------------------------------------------------------


def test_a_taken_port_gets_one_line_before_the_set_up(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, output = repository.run("course.py", "lab", "--port", str(taken.getsockname()[1]))
    assert code == 1
    assert "choose one with --port" in only_line(output)
    assert not (repository.root / ".venv").exists()


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, False),
        ({"DISPLAY": ":0"}, True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, True),
        ({"DISPLAY": "localhost:10", "SSH_CONNECTION": "198.51.100.1 1 198.51.100.2 22"}, False),
    ],
)
def test_a_browser_opens_only_on_a_display(
    variables: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert course.has_display() == expected


@pytest.mark.slow
def test_every_check_runs_and_the_last_line_counts_them(ready: Repository) -> None:
    checks = {
        "bad": ["-c", "raise SystemExit(3)"],
        "good": ["-c", "import jupyterlab; print('ran to the end')"],
    }
    code = f"import sys, course; course.steps = lambda *_: {checks}; course.set_up = lambda _: None"
    code += "; sys.exit(course.main(['test']))"
    code, output = ready.run("-c", code)
    assert code == 1
    assert "ran to the end" in output
    assert re.search(r"^FAILED +[\d.]+ s +bad$", output, re.MULTILINE)
    assert output.splitlines()[-1] == "1 passed, 1 failed"


def test_the_quick_run_leaves_out_notebooks_and_slow_tests() -> None:
    quick, full = course.steps(True, False), course.steps(False, True)
    assert "not slow" in str(quick)
    assert "nbval" not in str(quick)
    assert "browser" in str(full)
    assert [words[-1] for words in full.values() if "--nbval-lax" in words] == ["notebooks"]


# --- Kits ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Repository, Path]:
    """A repository, and the kit that it has packed, with the one data set that it may pass on."""
    folder = tmp_path_factory.mktemp("kit")
    repository, sets = Repository(folder), folder / "sets"
    (repository.root / "data").mkdir()
    (repository.root / "data" / "datasets.toml").write_text(
        '[free]\nrole = "test"\nlicence = "CC0"\nredistribution = true\n'
        '[kept]\nrole = "test"\nlicence = "Ask the authors."\n'
        '[gone]\nrole = "test"\nlicence = "CC0"\nredistribution = true\n'
    )
    mark = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"  # of "x"
    rows = [f"{name},a.png,1,{mark},\n" for name in ("free", "kept", "gone")]
    (repository.root / "data" / "registry.csv").write_text(
        "dataset,file,bytes,sha256,url\n" + "".join(rows)
    )
    for name in ("free", "kept", "gone"):
        (sets / name).mkdir(parents=True)
        (sets / name / "a.png").write_text("y" if name == "gone" else "x")
    (repository.root / "notebooks" / ".hidden").touch()
    kit = folder / "out" / "kit.zip"
    code, output = repository.run("course.py", "kit", str(kit), "--data", LESSONS_DATA=str(sets))
    assert code == 0, output
    assert "kept stays out: Ask the authors." in output
    assert "gone stays out" in output
    assert [path.name for path in kit.parent.iterdir()] == ["kit.zip"]
    return repository, kit


# The set-up alone; JupyterLab does not start.
FROM_KIT = "import sys, course; course.serve = lambda *_: 0; sys.exit(course.main(sys.argv[1:]))"


def without_network() -> list[str]:
    """What runs a command without any network, where this machine permits that."""
    command = ["unshare", "--user", "--map-root-user", "--net"]
    try:
        permitted = subprocess.run([*command, "true"], capture_output=True).returncode == 0
    except OSError:
        permitted = False
    return command if permitted else []


@pytest.mark.slow
def test_a_kit_holds_all_that_a_student_needs(packed: tuple[Repository, Path]) -> None:
    repository, kit = packed
    with zipfile.ZipFile(kit) as archive:
        names = {name.removeprefix("lessons-kit/") for name in archive.namelist()}
        manifest = json.loads(archive.read("lessons-kit/kit.json"))
    assert names == manifest["files"].keys() | {"kit.json"}
    assert {
        "wheels/jupyterlab-0-py3-none-any.whl",
        "course.py",
        "notebooks/00_first.ipynb",
    } <= names
    assert {name for name in names if name.startswith("datasets/")} == {"datasets/free/a.png"}
    assert not [name for name in names if "hidden" in name or "another" in name]
    assert manifest["files"]["course.py"] == course.sha256(repository.root / "course.py")


@pytest.mark.slow
@pytest.mark.parametrize("way", ["zip", "folder"])
def test_a_kit_sets_up_without_a_network(
    packed: tuple[Repository, Path], tmp_path: Path, way: str
) -> None:
    _, kit = packed
    student = Repository(tmp_path)
    shutil.rmtree(student.wheels)
    source = kit
    if way == "folder":
        zipfile.ZipFile(kit).extractall(tmp_path)
        source = tmp_path / "lessons-kit"
        (source / "notebooks" / "00_first.ipynb").write_text("worked on")
    nowhere = {"PIP_NO_INDEX": "", "PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_FIND_LINKS": ""}
    arguments = ["-c", FROM_KIT, "lab", "--from-kit", str(source)]
    process = student.start(*arguments, prefix=without_network(), **nowhere)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert re.search(r"^Kit [0-9a-f]{12} for ", output)
    assert student.works()
    assert (student.root / ".venv" / "datasets" / "free" / "a.png").read_text() == "x"
    assert not list(student.root.glob("kit-*"))
    code, output = student.run(*arguments, **nowhere)
    assert (code, output) == (0, "")


def rewrite(kit: Path, target: Path, edits: dict[str, str | None], **about: str) -> Path:
    """A kit with other contents of files, files removed (None), or another manifest."""
    with zipfile.ZipFile(kit) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            text: bytes | None = old.read(name)
            short = name.removeprefix("lessons-kit/")
            if short == "kit.json":
                text = json.dumps({**json.loads(old.read(name)), **about}).encode()
            if short in edits:
                edit = edits.pop(short)
                text = None if edit is None else edit.encode()
            if text is not None:
                new.writestr(name, text)
        for short, edit in edits.items():
            new.writestr(f"lessons-kit/{short}", edit or "")
    return target


WHEEL = "wheels/jupyterlab-0-py3-none-any.whl"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("edits", "about", "says"),
    [
        ({WHEEL: "damaged"}, {}, f"{WHEEL} is missing or damaged"),
        ({WHEEL: None}, {}, f"{WHEEL} is missing or damaged"),
        ({"course.py": "print()"}, {}, "course.py is missing or damaged"),
        ({"wheels/evil-1-py3-none-any.whl": "x"}, {}, "evil-1-py3-none-any.whl is no part"),
        ({"kit.json": "{}"}, {}, "kit.json is missing or damaged"),
        ({"kit.json": None}, {}, "kit.json is missing or damaged"),
        ({}, {"python": "3.99"}, "is for "),
        ({}, {"system": "plan9"}, "is for plan9 on"),
    ],
)
def test_a_kit_that_does_not_fit_is_refused(
    packed: tuple[Repository, Path],
    tmp_path: Path,
    edits: dict[str, str | None],
    about: dict[str, str],
    says: str,
) -> None:
    kit = rewrite(packed[1], tmp_path / "kit.zip", dict(edits), **about)
    student = Repository(tmp_path)
    code, output = student.run("-c", FROM_KIT, "lab", "--from-kit", str(kit))
    assert code == 1
    assert says in only_line(output)
    assert not (student.root / ".venv").exists()
    assert not list(student.root.glob("kit-*"))


def test_what_is_no_kit_gets_one_line(tmp_path: Path) -> None:
    student = Repository(tmp_path)
    (tmp_path / "half.zip").write_bytes(b"PK\x03\x04 and no more")
    for name, says in {
        "half.zip": "is no kit, or damaged",
        "nowhere.zip": "there is no",
        ".": "kit.json is missing",
    }.items():
        kit = str(tmp_path / name)
        code, output = student.run("-c", FROM_KIT, "lab", "--from-kit", kit)
        assert code == 1
        assert says in only_line(output)


@pytest.mark.slow
def test_a_kit_of_another_version_is_refused(
    packed: tuple[Repository, Path], tmp_path: Path
) -> None:
    student = Repository(tmp_path)
    (student.root / "requirements" / "course.lock").write_text("jupyterlab==1\n")
    code, output = student.run("-c", FROM_KIT, "lab", "--from-kit", str(packed[1]))
    assert code == 1
    assert "another version of the course" in only_line(output)


@pytest.mark.parametrize("python", ["3.11.0", "3.11.99", "3.12.99"])
@pytest.mark.parametrize("system", course.TAGS)
def test_the_lock_is_read_for_other_machines(
    system: str, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(course, "PYTHON", sys.executable)
    chosen = course.chosen_lines(system, python)
    names = [line.partition("==")[0] for line in chosen]
    assert len(names) == len(set(names))
    assert not [line for line in chosen if ";" in line]
    assert ("pywinpty" in names) == ("colorama" in names) == (system == "windows")
    assert ("appnope" in names) == (system == "macos")
    assert ("pexpect" in names) == (system != "windows")
    assert {"torch", "jupyterlab", "setuptools"} <= set(names)
    assert ("soupsieve==2.10" in chosen) == (python == "3.11.0")


@pytest.mark.slow
@pytest.mark.parametrize("outcome", [0, 2])
def test_the_site_is_made_with_the_courses_packages(ready: Repository, outcome: int) -> None:
    script = ready.root / "docs" / "site" / "build.py"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(f"import another, sys; print('made in', sys.prefix); sys.exit({outcome})")
    code, output = ready.run("course.py", "site")
    assert code == outcome
    assert f"made in {ready.root / '.venv'}" in output
