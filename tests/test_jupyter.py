"""The real JupyterLab of `course.py lab` answers its user in its own pages, and nobody else."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from urllib.parse import urlsplit

import pytest

import course

pytestmark = pytest.mark.slow

# Whatever the user has set up for another JupyterLab must not open this one to others.
CARELESS = """
c.ServerApp.ip = '0.0.0.0'
c.IdentityProvider.token = ''
c.ServerApp.allow_remote_access = True
c.ServerApp.allow_origin = '*'
c.ServerApp.disable_check_xsrf = True
"""
# The set-up of .venv is left out: the packages are those that run this test.
LAB = """
import sys, course
course.PYTHON, course.set_up = sys.executable, lambda lock: None
sys.exit(course.main(["lab", "--no-browser", "--port", "0"]))
"""
ELSEWHERE = "http://elsewhere.example"
UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
UPGRADE["Sec-WebSocket-Key"] = "MDEyMzQ1Njc4OWFiY2RlZg=="


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab: its port, the page that it gave its user, and the token in it."""

    port: int
    page: str
    token: str

    def ask(self, path: str, method: str = "GET", **headers: str) -> HTTPResponse:
        """One request's answer; nothing is sent but these headers, and no redirection followed."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, b"{}" if method == "POST" else None, named)
        return connection.getresponse()

    def status(self, path: str, method: str = "GET", **headers: str) -> int:
        return self.ask(path, method, **headers).status


@pytest.fixture(scope="module", params=["JUPYTER_CONFIG_DIR", "JUPYTER_CONFIG_PATH", "HOME"])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The course's JupyterLab, beside a careless configuration at one of the user's places."""
    folder = tmp_path_factory.mktemp("user")
    place = folder / ".jupyter" if request.param == "HOME" else folder
    place.mkdir(exist_ok=True)
    (place / "jupyter_server_config.py").write_text(CARELESS)
    server = subprocess.Popen(
        [sys.executable, "-c", LAB],
        cwd=course.ROOT,
        env=os.environ | {"LESSONS_VENV": str(folder / "venv"), request.param: str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
    )
    assert server.stdout is not None
    try:
        found = (re.search(r"http://\S+", line) for line in server.stdout)
        page = urlsplit(next(match[0] for match in found if match))
        assert page.hostname == "127.0.0.1"
        assert page.port is not None
        yield Lab(page.port, f"{page.path}?{page.query}", page.query.removeprefix("token="))
    finally:
        server.terminate()
        server.wait(timeout=30)


@pytest.fixture
def cookies(lab: Lab) -> str:
    """What the user's browser sends along after it was shown the page: with every request to this
    server, also when the page of somebody else makes it."""
    given = lab.ask(lab.page).headers.get_all("Set-Cookie") or []
    assert any(cookie.startswith(f"username-127-0-0-1-{lab.port}=") for cookie in given)
    return "; ".join(cookie.partition(";")[0] for cookie in given)


def test_it_listens_on_this_machine_alone(lab: Lab) -> None:
    # A server on all addresses would answer on this one too.
    with socket.socket() as caller:
        caller.settimeout(5)
        assert caller.connect_ex(("127.0.0.2", lab.port)) != 0


@pytest.mark.parametrize("path", ["/api/contents", "/api/kernels", "/api/status"])
def test_nothing_is_told_without_the_token(lab: Lab, path: str) -> None:
    assert lab.status(path, Authorization=f"token {lab.token}") == 200
    assert lab.status(path) == 403
    assert lab.status(path, Authorization=f"token {lab.token[:-1]}") == 403


def test_no_file_is_shown_and_no_kernel_started_without_the_token(lab: Lab) -> None:
    for path in ("/files/course.py", "/lab"):
        login = lab.ask(path)
        assert (login.status, login.headers["Location"].partition("?")[0]) == (302, "/login")
    assert lab.status("/api/kernels", "POST") == 403


def test_a_foreign_page_gets_nothing_from_a_browser_that_is_logged_in(
    lab: Lab, cookies: str
) -> None:
    own = f"http://127.0.0.1:{lab.port}"
    assert lab.status("/api/contents", Cookie=cookies, Origin=own) == 200
    for origin in (ELSEWHERE, "null", f"http://127.0.0.1:{lab.port + 1}"):
        refused = lab.ask("/api/contents", Cookie=cookies, Origin=origin)
        assert refused.status in (403, 404), origin
        assert "Access-Control-Allow-Origin" not in refused.headers
        assert lab.status("/api/kernels", "POST", Cookie=cookies, Origin=origin) in (403, 404)
    # A form sends no Origin in some browsers; what changes something needs a word of the page's.
    assert lab.status("/api/kernels", "POST", Cookie=cookies) == 403


def test_a_name_that_leads_here_is_not_this_machine(lab: Lab, cookies: str) -> None:
    """Somebody may let a name of theirs lead to 127.0.0.1, so that their page has its origin."""
    host = f"elsewhere.example:{lab.port}"
    for path in ("/api/contents", "/lab"):
        assert lab.status(path, Host=host, Origin=f"http://{host}", Cookie=cookies) == 403
    assert lab.status("/api/contents", Host=host, Authorization=f"token {lab.token}") == 403


def test_a_kernel_listens_to_the_users_page_only(lab: Lab, cookies: str) -> None:
    token, own = f"token {lab.token}", f"http://127.0.0.1:{lab.port}"
    kernel = f"/api/kernels/{json.load(lab.ask('/api/kernels', 'POST', Authorization=token))['id']}"
    try:
        channels = f"{kernel}/channels"
        assert lab.status(channels, Origin=own, Cookie=cookies, **UPGRADE) == 101
        assert lab.status(channels, Origin=ELSEWHERE, Cookie=cookies, **UPGRADE) == 403
        assert lab.status(channels, Origin=own, **UPGRADE) == 403
    finally:
        assert lab.status(kernel, "DELETE", Authorization=token) == 204
