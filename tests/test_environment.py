"""The lock files, environment.yml and pyproject.toml must describe one environment."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import course

PROJECT: dict[str, Any] = tomllib.loads((course.ROOT / "pyproject.toml").read_text("utf-8"))[
    "project"
]
PYTHONS = ["3.11", "3.12", "3.13"]


def requirements(lock: Path) -> list[Requirement]:
    return [Requirement(line) for line in lock.read_text("utf-8").splitlines()]


def pins(lock: Path, python: str) -> dict[str, Version]:
    """Read the version of every package that the lock file gives to a Linux machine's Python."""
    machine = {"python_version": python, "python_full_version": f"{python}.9"}
    machine |= {"sys_platform": "linux", "os_name": "posix", "implementation_name": "cpython"}
    chosen = [
        requirement
        for requirement in requirements(lock)
        if requirement.marker is None or requirement.marker.evaluate(machine)
    ]
    names = [canonicalize_name(requirement.name) for requirement in chosen]
    assert len(names) == len(set(names)), "a package is pinned twice"
    versions = [re.fullmatch(r"==([^*]+)", str(requirement.specifier)) for requirement in chosen]
    return {name: Version(pin[1]) for name, pin in zip(names, versions, strict=True) if pin}


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", [course.COURSE, course.DEV], ids=lambda lock: lock.name)
def test_every_direct_dependency_is_pinned_within_its_range(lock: Path, python: str) -> None:
    pinned = pins(lock, python)
    wanted = PROJECT["dependencies"]
    if lock == course.DEV:
        wanted = wanted + PROJECT["optional-dependencies"]["dev"]
    for requirement in map(Requirement, wanted):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not pinned"
        assert requirement.specifier.contains(version), f"{requirement} does not allow {version}"


def test_every_line_is_a_pin() -> None:
    for lock in (course.COURSE, course.DEV, course.SPAMS):
        for requirement in requirements(lock):
            assert [part.operator for part in requirement.specifier] == ["=="], str(requirement)


def test_the_dev_lock_holds_the_course_lock() -> None:
    course_lines = set(course.COURSE.read_text("utf-8").splitlines())
    assert course_lines < set(course.DEV.read_text("utf-8").splitlines())


def test_spams_is_pinned_within_its_range() -> None:
    wanted = Requirement(PROJECT["optional-dependencies"]["spams"][0])
    assert wanted.specifier.contains(pins(course.SPAMS, "3.11")[wanted.name])


@pytest.mark.parametrize("python", PYTHONS)
def test_torch_is_the_agreed_version_and_nothing_optional_is_forced_on_users(python: str) -> None:
    pinned = pins(course.DEV, python)
    assert pinned["torch"] == Version("2.13.0")
    unwanted = re.compile(r"spams|bm3d|nvidia|cuda|triton")
    assert not [name for name in pinned if unwanted.search(name)]


def test_conda_gets_the_same_lock_and_a_python_we_support() -> None:
    environment = yaml.safe_load((course.ROOT / "environment.yml").read_text("utf-8"))
    *packages, from_pip = environment["dependencies"]
    pythons = [package.split("=")[1] for package in packages if package.startswith("python=")]
    assert len(pythons) == 1
    assert SpecifierSet(PROJECT["requires-python"]).contains(pythons[0])
    lock = course.DEV.relative_to(course.ROOT).as_posix()
    assert from_pip == {"pip": [f"-r {lock}", "-e ."]}
    assert "pip" in packages


def test_binder_gets_the_locks_torch_and_nothing_else_from_conda() -> None:
    environment = yaml.safe_load((course.ROOT / "binder/environment.yml").read_text("utf-8"))
    versions = dict(re.split("=+", f"{package}=")[:2] for package in environment["dependencies"])
    assert set(versions) == {"python", "pip", "pytorch-cpu"}
    torch = pins(course.COURSE, versions["python"])["torch"]
    assert versions["pytorch-cpu"] == f"{torch.major}.{torch.minor}"
    script = (course.ROOT / "binder/postBuild").read_text("utf-8")
    assert course.COURSE.relative_to(course.ROOT).as_posix() in script


@pytest.mark.parametrize("name", ["tests", "site", "weekly"])
def test_workflows_are_for_the_systems_and_pythons_of_the_course(name: str) -> None:
    text = (course.ROOT / f".github/workflows/{name}.yml").read_text("utf-8")
    jobs = yaml.safe_load(text)["jobs"]
    for job in jobs.values():
        matrix = job.get("strategy", {}).get("matrix", {})
        assert set(matrix.get("python", [])) <= set(PYTHONS)
        assert job["timeout-minutes"] <= 120
        scripts = re.findall(
            r"[\w./]+/[\w]+(?:\.py)?", " ".join(s.get("run", "") for s in job["steps"])
        )
        assert all((course.ROOT / script).exists() for script in scripts)
    if name == "tests":
        assert jobs["quick"]["strategy"]["matrix"] == {
            "system": ["ubuntu-latest", "macos-latest", "windows-latest"],
            "python": PYTHONS,
        }


def test_badges_lead_to_the_repository() -> None:
    address = PROJECT["urls"]["Repository"]
    readme = (course.ROOT / "README.md").read_text("utf-8")
    badges = re.findall(r"^\[!\[Open in (\w+)\]\([^)]+\)\]\((.+)\)$", readme, re.MULTILINE)
    assert {name for name, _ in badges} == {"Binder", "Colab"}
    assert all(address.removeprefix("https://github.com/") in link for _, link in badges)


def test_course_py_and_the_metadata_agree_on_the_pythons() -> None:
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert [f"3.{minor}" for minor in range(30) if allowed.contains(f"3.{minor}")] == PYTHONS
    stated = re.search(r"\((\d+, \d+)\) <= sys\.version_info.* <= \((\d+, \d+)\)", course_source())
    assert stated is not None
    assert [end.replace(", ", ".") for end in stated.groups()] == [PYTHONS[0], PYTHONS[-1]]


def course_source() -> str:
    return (course.ROOT / "course.py").read_text(encoding="utf-8")
