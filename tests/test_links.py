"""What asks every address of the course: which answers it takes for one, and what it asks."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lessons_lib.data import registry
from tests.campaigns import links


class Server(BaseHTTPRequestHandler):
    """Answers /NUMBER with that status and five bytes; refuses HEAD, as some servers do."""

    def do_GET(self) -> None:
        self.send_response(int(self.path[1:]))
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test's own messages are to be read."""


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(links.time, "sleep", lambda seconds: None)
    monkeypatch.setenv("no_proxy", "*")
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_what_answers_and_what_does_not(address: str):
    assert links.trouble(f"{address}/200") == ""
    assert links.trouble(f"{address}/403") == ""  # no robots, but there
    assert links.trouble(f"{address}/404") == "answers 404"
    assert "does not answer" in links.trouble("http://127.0.0.1:9/")


def test_a_file_must_be_there_and_have_its_length(address: str):
    assert links.trouble(f"{address}/200", length=5) == ""
    assert links.trouble(f"{address}/200", length=6) == "has 5 bytes, not 6"
    assert links.trouble(f"{address}/403", length=5) == "answers 403"


def test_addresses_are_found_in_texts(tmp_path: Path):
    (tmp_path / "README.md").write_text(
        "See [a](https://a.example/x) and <https://b.example/?q=1>, or https://c.example/d. "
        "JupyterLab is at http://127.0.0.1:8888/lab.\n"
    )
    wanted = ["https://a.example/x", "https://b.example/?q=1", "https://c.example/d"]
    assert list(links.in_texts(tmp_path)) == wanted


def test_each_data_set_is_asked_for_and_the_seed_decides_for_which_file():
    asked = list(links.of_files(count=1, seed=3))
    assert asked == list(links.of_files(count=1, seed=3))
    assert asked != list(links.of_files(count=1, seed=4))
    sets = {name.partition("/")[0] for _, name, _ in asked}
    elsewhere = {name for name, entry in registry().items() if any(f.urls for f in entry.files)}
    assert elsewhere <= sets
    assert all(size is None or size > 0 for _, _, size in asked)
