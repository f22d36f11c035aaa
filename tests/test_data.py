"""Data sets: real downloads from a server on this machine, and the real sets where they are."""

import dataclasses
import hashlib
import http.server
import io
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lessons_lib import data
from lessons_lib.data import DataError, Entry, File
from lessons_lib.pictures import PICTURES

REAL = Path(os.environ.get("LESSONS_DATA", ""))
needs_real = pytest.mark.skipif(not (REAL / "Set12").is_dir(), reason="LESSONS_DATA has no Set12")


def picture(seed: int) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (24, 32), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


GOOD = {f"{seed}.png": picture(seed) for seed in range(3)}


class Server(http.server.ThreadingHTTPServer):
    """Serves GOOD under /good/ and /toy/, and every kind of trouble under other names."""

    requests: Counter[str]
    finished: threading.Event


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests[self.path] += 1
        _, place, name = self.path.split("/", 2)
        body, length = GOOD[name], len(GOOD[name])
        if place == "absent":
            self.send_error(404)
            return
        if place == "page":
            body = b"<html>This dataset has moved</html>"
            length = len(body)
        if place in ("short", "interrupt"):
            body = body[: length // 2]
        if place == "cut":
            body = body[: length // 2]
            length = len(body)
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)
        if place == "interrupt":
            # The client is waiting for the other half now; the signal must wake its thread.
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            self.server.finished.wait(10)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.requests = Counter()
        server.finished = threading.Event()
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.finished.set()
        server.shutdown()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, no other data, no mirror."""
    monkeypatch.setenv("LESSONS_CACHE", str(tmp_path / "cache"))
    for name in ("LESSONS_DATA", "LESSONS_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"


def register(monkeypatch: pytest.MonkeyPatch, server: Server, *places: str) -> None:
    """Make `toy` the only data set, to be had from these places of the server."""
    base = f"http://127.0.0.1:{server.server_port}"
    files = tuple(
        File(
            name,
            len(body),
            hashlib.sha256(body).hexdigest(),
            tuple(f"{base}/{place}/{name}" for place in places),
        )
        for name, body in GOOD.items()
    )
    toy = Entry("toy", "Toy", "gray", "test", "here", "none", "none", files)
    monkeypatch.setattr(data, "registry", lambda: {"toy": toy})


def left_behind(home: Path) -> list[str]:
    return sorted(path.name for path in home.rglob("*") if path.is_file())


def test_download_on_demand_once(
    home: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, server, "good")
    assert data.locate("toy") is None
    images = dict(data.load("toy"))
    assert list(images) == list(GOOD)
    for name, image in images.items():
        expected = np.asarray(Image.open(io.BytesIO(GOOD[name])))
        assert image.shape == (1, 1, 24, 32)
        assert np.array_equal(np.rint(image[0, 0].numpy() * 255), expected)
    assert data.locate("toy") == home / "toy"
    assert left_behind(home) == sorted(GOOD)
    data.load("toy")
    assert set(server.requests.values()) == {1}
    assert data.verify("toy") == []


def test_limit_downloads_only_so_many(
    home: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, server, "good")
    steps: list[tuple[int, int]] = []
    data.fetch("toy", 2, lambda done, count: steps.append((done, count)))
    assert len(data.load("toy", 2)) == 2
    assert left_behind(home) == ["0.png", "1.png"]
    assert steps == [(0, 2), (1, 2), (2, 2)]
    assert data.locate("toy") is None
    with pytest.raises(DataError, match="leaves none"):
        data.load("toy", 0)


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("absent", "HTTP 404"),
        ("page", "sent another file"),
        ("cut", "sent another file"),
        ("short", ""),
    ],
)
def test_bad_downloads_leave_nothing_and_say_what_to_do(
    home: Path, server: Server, monkeypatch: pytest.MonkeyPatch, place: str, reason: str
) -> None:
    register(monkeypatch, server, place)
    with pytest.raises(DataError) as caught:
        data.load("toy")
    message = str(caught.value)
    assert "\n" not in message
    assert reason in message
    for part in ("toy/0.png", "127.0.0.1", "LESSONS_DATA"):
        assert part in message
    assert left_behind(home) == []


@pytest.mark.parametrize("first", ["absent", "page", "cut", "short"])
def test_next_mirror_serves_what_the_first_does_not(
    home: Path, server: Server, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    register(monkeypatch, server, first, "good")
    assert len(data.load("toy")) == 3
    assert left_behind(home) == sorted(GOOD)
    assert data.verify("toy") == []


def test_the_classroom_server_comes_first(
    home: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, server, "good")
    monkeypatch.setenv("LESSONS_MIRROR", f"http://127.0.0.1:{server.server_port}/")
    data.load("toy")
    assert {path.split("/")[1] for path in server.requests} == {"toy"}


def test_no_server_at_all(home: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, server, "good")
    server.shutdown()
    server.server_close()
    with pytest.raises(DataError, match="no connection"):
        data.load("toy")


@pytest.mark.usefixtures("heard")
@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def test_interrupted_download_leaves_nothing(
    home: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, server, "interrupt")
    with pytest.raises(KeyboardInterrupt):
        data.fetch("toy")
    assert left_behind(home) == []


def test_lessons_data_is_used_and_never_written(
    home: Path, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    register(monkeypatch, server, "good")
    here = tmp_path / "mine" / "toy"
    here.mkdir(parents=True)
    for name, body in GOOD.items():
        (here / name).write_bytes(body)
    monkeypatch.setenv("LESSONS_DATA", str(here.parent))
    assert data.locate("toy") == here
    assert len(list(data.load("toy"))) == 3
    assert not server.requests
    (here / "2.png").unlink()
    assert data.load("toy").folder == home / "toy"
    assert sorted(path.name for path in here.iterdir()) == ["0.png", "1.png"]


def test_changed_files_are_not_used(
    home: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, server, "good")
    data.fetch("toy")
    path = home / "toy" / "1.png"
    changed = bytearray(path.read_bytes())
    changed[-20] ^= 1
    path.write_bytes(changed)
    with pytest.raises(DataError, match=r"1\.png is not the file"):
        list(data.load("toy"))
    assert data.verify("toy") == [f"{path}: wrong sha256"]
    path.write_bytes(b"")
    (home / "toy" / "2.png").unlink()
    sizes, missing = data.verify("toy")
    assert "0 bytes instead of" in sizes
    assert "missing" in missing
    data.fetch("toy")
    assert data.verify("toy") == []


def test_one_hash_for_the_whole_set(
    home: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, server, "good")
    whole, part = data.load("toy"), data.load("toy", 2)
    assert whole.sha256 != part.sha256
    other = dataclasses.replace(whole, files=whole.files[::-1])
    assert whole.sha256 != other.sha256
    assert len(whole.sha256) == 64


@pytest.mark.parametrize(
    ("name", "nearest"), [("set12", "Set12"), ("Set112", "Set12"), ("kodak", "Kodak24")]
)
def test_unknown_names_get_the_nearest(name: str, nearest: str) -> None:
    for function in (data.load, data.fetch, data.verify, data.locate):
        with pytest.raises(DataError, match=f"did you mean '{nearest}'"):
            function(name)


def test_unknown_names_far_from_all_get_the_list() -> None:
    with pytest.raises(DataError, match="known: samples, BSD400"):
        data.load("qqqqqq")
    with pytest.raises(DataError, match="did you mean 'camera'"):
        data.sample("kamera")


def test_registry_and_notes_fit_together() -> None:
    registry = data.registry()
    with data.shipped("registry.csv").open(encoding="utf-8") as table:
        named = {line.split(",")[0] for line in table} - {"dataset"}
    assert set(registry) == named
    assert len(registry["Set12"].files) == 12
    for entry in registry.values():
        assert entry.kind in ("gray", "colour", "mixed")
        assert entry.role in ("samples", "train", "test", "drawn", "noisy")
        assert entry.licence
        assert entry.citation
        names = [file.name for file in entry.files]
        assert len(set(names)) == len(names)
        for file in entry.files:
            assert Path(file.name).name == file.name
            if entry.role == "drawn" and file.name in PICTURES:
                assert not file.sha256
                continue
            assert len(bytes.fromhex(file.sha256)) == 32
            assert all(url.startswith("https://") for url in file.urls)
            assert file.urls or entry.offline


def test_samples_are_here_without_network(home: Path) -> None:
    assert data.verify("samples") == []
    images = dict(data.load("samples"))
    assert images["camera.png"].shape == (1, 1, 512, 512)
    assert images["astronaut.png"].shape == (1, 3, 512, 512)
    assert len(images) == 9


def test_drawn_sets_are_here_without_network_in_gray_and_in_colour(home: Path) -> None:
    gray, colour = data.load("Unlike12"), data.load("CUnlike12")
    assert data.verify("Unlike12") == data.verify("CUnlike12") == []
    assert len(gray) == len(colour) == 12
    for (name, plain), (same_name, coloured) in zip(gray, colour, strict=True):
        assert name == same_name
        assert coloured.shape == (1, 3, 192, 192)
        assert torch.equal(plain, data.to_gray(coloured))
    assert colour.sha256 == data.load("CUnlike12").sha256 != gray.sha256
    assert not home.exists()


def test_drawn_sets_check_the_photographs_that_they_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = data.load("CUnlike12")
    for file in whole.files:
        (tmp_path / file.name).write_bytes(bytes(file.bytes))
    monkeypatch.setattr(data, "_folders", lambda name: iter([tmp_path]))
    with pytest.raises(DataError, match=r"astronaut\.png is not the file"):
        list(data.load("CUnlike12"))
    (tmp_path / "ihc.png").unlink()
    with pytest.raises(DataError, match="install scikit-image again"):
        data.load("CUnlike12")


def test_sample_gray_colour_and_size() -> None:
    colour = data.sample("astronaut", gray=False)
    gray = data.sample("astronaut")
    assert colour.shape[1] == 3
    assert gray.shape[1] == 1
    assert torch.equal((gray * 255).round() / 255, gray)
    small = data.sample("astronaut", size=100)
    assert torch.equal(small, gray[..., 206:306, 206:306])
    with pytest.raises(DataError, match="is gray"):
        data.sample("camera", gray=False)
    with pytest.raises(ValueError, match="513"):
        data.sample("camera", size=513)


@needs_real
@pytest.mark.parametrize("name", ["Set12", "BSD68", "Classic5", "Set14"])
def test_real_sets_are_as_registered(name: str) -> None:
    assert data.locate(name) == REAL / name
    assert data.verify(name) == []
    dataset = data.load(name)
    channels = {image.shape[1] for _, image in dataset}
    assert channels == {"gray": {1}, "colour": {3}, "mixed": {1, 3}}[dataset.entry.kind]


@needs_real
def test_gray_is_how_bsd68_was_made_of_cbsd68() -> None:
    grays = [image for _, image in data.load("BSD68")]
    for _, colour in data.load("CBSD68", 3):
        made = data.to_gray(colour)
        differences = [
            (made - gray).abs().max() * 255 for gray in grays if gray.shape == made.shape
        ]
        assert min(differences) < 1.5
