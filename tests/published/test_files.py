"""Files of published weights: found, downloaded from a server on this machine, and verified."""

import http.server
import io
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha1, sha256
from pathlib import Path

import pytest
import torch

from lessons_lib.checkpoints import load_model
from lessons_lib.cli import main
from lessons_lib.data import shipped
from lessons_lib.models import MODELS, build
from lessons_lib.published import (
    CheckpointError,
    PublishedWeights,
    fetch,
    load_published,
    published_weights,
    registry,
)
from lessons_lib.published.layouts import LAYOUTS

NAME = "toy@somebody"


def kair() -> bytes:
    """A small DnCNN without batch normalisation, as KAIR stores it."""
    draw = torch.Generator().manual_seed(0)
    sizes = [(4, 1), (4, 4), (1, 4)]
    weights = {}
    for k, (out, into) in enumerate(sizes):
        weights[f"model.{2 * k}.weight"] = torch.randn(out, into, 3, 3, generator=draw)
        weights[f"model.{2 * k}.bias"] = torch.randn(out, generator=draw)
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    return buffer.getvalue()


CONTENT = kair()
TOY = PublishedWeights(
    name=NAME,
    layout="kair",
    model="dncnn",
    options={"layers": 3, "width": 4, "batch_norm": False},
    tasks=("denoise",),
    sigma_255=25.0,
    parameters=sum(9 * out * into + out for out, into in [(4, 1), (4, 4), (1, 4)]),
    repository="somebody/their-code",
    commit="1" * 40,
    path="zoo/sigma=25 %.pth",
    size=len(CONTENT),
    sha256=sha256(CONTENT).hexdigest(),
    blob=sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest(),
    licence="none stated",
    about="a toy",
)


class Server(http.server.ThreadingHTTPServer):
    """Serves the toy, or the trouble that ``trouble`` names."""

    requests: Counter[str]
    trouble = ""
    finished: threading.Event


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests[self.path] += 1
        body = CONTENT
        if self.server.trouble == "absent":
            self.send_error(404)
            return
        if self.server.trouble == "page":
            body = b"<html>moved</html>"
        if self.server.trouble == "changed":
            body = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.trouble in ("short", "interrupt"):
            body = body[: len(body) // 2]
        self.wfile.write(body)
        if self.server.trouble == "interrupt":
            # The client is waiting for the other half now; the signal must wake its thread.
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            self.server.finished.wait(10)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.requests, server.finished = Counter(), threading.Event()
        base = f"http://127.0.0.1:{server.server_port}/"
        real = PublishedWeights.url.fget
        assert real is not None
        monkeypatch.setattr(
            PublishedWeights,
            "url",
            property(lambda self: real(self).replace("https://raw.githubusercontent.com/", base)),
        )
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.finished.set()
        server.shutdown()


def register(monkeypatch: pytest.MonkeyPatch, weights: PublishedWeights = TOY) -> None:
    monkeypatch.setattr(registry, "published_weights", lambda: {NAME: weights})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and the toy alone in the registry."""
    register(monkeypatch)
    monkeypatch.setenv("LESSONS_CACHE", str(tmp_path / "cache"))
    for name in ("LESSONS_PUBLISHED", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"


def left_behind(home: Path) -> list[str]:
    return sorted(path.name for path in home.rglob("*") if path.is_file())


# The registry --------------------------------------------------------------------------------


def test_the_registry_is_whole_and_its_models_can_be_built() -> None:
    hashless = 0
    for name, weights in published_weights().items():
        assert weights.name == name
        assert name.count("@") == 1
        assert weights.layout in LAYOUTS
        assert set(weights.tasks) <= {"denoise", "blind", "jpeg", "sr"}
        assert len(bytes.fromhex(weights.commit)) == 20
        assert weights.licence
        assert "\n" not in weights.about
        if weights.sha256:
            assert len(bytes.fromhex(weights.sha256)) == 32
            assert len(bytes.fromhex(weights.blob)) == 20
            assert weights.size > 0
        else:
            hashless += 1
            assert "not tested here" in weights.about
        model = build(weights.model, weights.options)
        assert sum(tensor.numel() for tensor in model.parameters()) == weights.parameters
        assert bool(weights.sigma_255) != bool(model.loudest)
    assert hashless == 8


def test_names_say_what_they_are() -> None:
    weights = published_weights()
    assert weights["dncnn-gray-25@cszn"].setting == "sigma=25"
    assert weights["dncnn-gray-25@cszn"].sigma == 25 / 255
    assert weights["dncnn-3@cszn"].setting == "sigma<=55 jpeg x2 x3 x4"
    assert weights["ffdnet-color@cszn"].setting == "sigma<=75"
    assert weights["ffdnet-color@cszn"].sigma is None
    address = weights["groupsc-gray-25@bruno-31"].url
    assert address.startswith("https://raw.githubusercontent.com/bruno-31/groupsc/1804a425f7f5")
    assert "/trained_model/gray/corr_update%253_freq%256_kernel_size%259_" in address
    assert {each.model for each in weights.values()} <= set(MODELS)
    with shipped("published.csv").open(encoding="utf-8") as table:
        assert len(table.readlines()) == len(weights) + 1


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(CheckpointError, match="did you mean 'dncnn-gray-25@cszn'"):
        load_model("dncnn-grey-25@cszn")


# Files ---------------------------------------------------------------------------------------


def test_download_on_demand_once(home: Path, server: Server) -> None:
    steps: list[tuple[int, int]] = []
    path = fetch(NAME, lambda done, size: steps.append((done, size)))
    assert path == home / "published" / "somebody+their-code" / "zoo" / "sigma=25 %.pth"
    assert path.read_bytes() == CONTENT
    assert steps[-1] == (len(CONTENT), len(CONTENT))
    model = load_published(NAME)
    assert model.sigma == 25 / 255
    assert not model.training
    assert not any(weight.requires_grad for weight in model.parameters())
    assert server.requests == {f"/somebody/their-code/{'1' * 40}/zoo/sigma%3D25%20%25.pth": 1}
    assert left_behind(home) == ["sigma=25 %.pth"]


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("absent", "HTTP 404"),
        ("page", "sent another file"),
        ("changed", "sent another file"),
        ("short", ""),
    ],
)
def test_bad_downloads_leave_nothing_and_say_what_to_do(
    home: Path, server: Server, trouble: str, reason: str
) -> None:
    server.trouble = trouble
    with pytest.raises(CheckpointError) as caught:
        load_published(NAME)
    message = str(caught.value)
    assert "\n" not in message
    for part in (NAME, "http://127.0.0.1", reason, "LESSONS_PUBLISHED", "somebody+their-code/zoo"):
        assert part in message
    assert left_behind(home) == []


def test_without_a_network(home: Path, server: Server) -> None:
    server.shutdown()
    server.server_close()
    with pytest.raises(CheckpointError, match="no connection"):
        fetch(NAME)


@pytest.mark.usefixtures("heard")
@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def test_interrupted_download_leaves_nothing(home: Path, server: Server) -> None:
    server.trouble = "interrupt"
    with pytest.raises(KeyboardInterrupt):
        fetch(NAME)
    assert left_behind(home) == []


def test_a_folder_of_ones_own_is_used_and_never_written(
    home: Path, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    monkeypatch.setenv("LESSONS_PUBLISHED", str(mine))
    place = mine / TOY.place
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT)
    assert fetch(NAME) == place
    assert not server.requests
    place.unlink()
    assert fetch(NAME) == home / "published" / TOY.place
    assert not list(place.parent.iterdir())


@pytest.mark.parametrize("at", [0, len(CONTENT) // 2, -1])
def test_a_changed_byte_is_refused_wherever_the_file_lies(
    home: Path, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, at: int
) -> None:
    changed = bytearray(CONTENT)
    changed[at] ^= 1
    cached = fetch(NAME)
    cached.write_bytes(changed)
    for function in (fetch, load_published):
        with pytest.raises(CheckpointError) as caught:
            function(NAME)
        for part in (str(cached), NAME, "http://127.0.0.1", "delete it"):
            assert part in str(caught.value)
    mine = tmp_path / TOY.place
    mine.parent.mkdir(parents=True)
    mine.write_bytes(changed)
    monkeypatch.setenv("LESSONS_PUBLISHED", str(tmp_path))
    with pytest.raises(CheckpointError, match="replace it by") as caught:
        load_published(NAME)
    assert str(mine) in str(caught.value)


def test_a_file_is_known_by_its_blob_or_not_at_all(
    home: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, replace(TOY, sha256="", blob=TOY.blob[:12], size=0))
    assert fetch(NAME).read_bytes() == CONTENT
    register(monkeypatch, replace(TOY, sha256="", blob="0" * 12))
    with pytest.raises(CheckpointError, match="is not the file"):
        fetch(NAME)
    server.requests.clear()
    register(monkeypatch, replace(TOY, sha256="", blob="", path="another"))
    with pytest.raises(CheckpointError, match=r"no hash of .* is known.*import_published"):
        fetch(NAME)
    assert not server.requests


def test_the_command_says_where_they_lie_and_whose_they_are(
    home: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["models", "fetch", NAME])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    for part in (str(fetch(NAME)), "none stated", TOY.repository, TOY.commit):
        assert part in printed
    server.trouble = "absent"
    fetch(NAME).unlink()
    with pytest.raises(SystemExit) as ended:
        main(["models", "fetch", NAME])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"lessons: {NAME} could not be downloaded")
    with pytest.raises(SystemExit) as ended:
        main(["models", "fetch", "toy@nobody"])
    assert ended.value.code == 2
    assert NAME in capsys.readouterr().err
