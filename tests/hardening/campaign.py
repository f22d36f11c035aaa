"""Mutated files in large numbers, for every reader of the library.

    python tests/hardening/campaign.py images --count 10000 --seed 0
    python tests/hardening/campaign.py all --count 500

Each file must be valid, or be refused in one line: nothing else may be raised, nothing executed or
written, no more than 2 GB taken, no more than 30 s. What is at fault is kept in a folder.
"""

import argparse
import io
import json
import math
import random
import select
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from mutations import mutate
from PIL import Image

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SECONDS, MEGABYTES = 30.0, 2048


@dataclass(frozen=True)
class Fault:
    """A file that was neither read nor refused."""

    path: Path
    words: str


class Reader:
    """A process that reads files, started anew whenever one of them was too much for it."""

    def __init__(self, kind: str, sound: Path) -> None:
        self.command = [sys.executable, str(HERE / "reader.py"), kind, str(sound)]
        self.process: subprocess.Popen[str] | None = None

    def read(self, path: Path) -> tuple[str, str]:
        """What came of a file, and in which words."""
        if self.process is None:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                cwd=ROOT,
            )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        # Loading the library takes a while, on a busy machine above all.
        ready, _, _ = select.select([self.process.stdout], [], [], SECONDS + 60)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            self.stop()
            return "fault", "hangs" if not ready else "kills the process"
        answer = json.loads(line)
        if answer["peak"] > MEGABYTES:
            self.stop()
            return "fault", f"takes {answer['peak']} MB"
        if answer["seconds"] > SECONDS:
            return "fault", f"takes {answer['seconds']:.0f} s"
        return answer["outcome"], answer["words"]

    def stop(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def run(kind: str, count: int, seed: int, keep: Path) -> tuple[Counter[str], list[Fault]]:
    """Read so many mutated files of a kind.

    Returns:
        How often each outcome came, and the faults, whose files are in ``keep``.
    """
    draw = random.Random(f"{kind} {seed}")
    outcomes: Counter[str] = Counter()
    faults: list[Fault] = []
    with tempfile.TemporaryDirectory() as folder:
        sound = dict(SEEDS[kind]())
        for name, content in sound.items():
            (Path(folder) / name).write_bytes(content)
        reader = Reader(kind, Path(folder) / next(iter(sound)))
        for name in sound:
            outcome, words = reader.read(Path(folder) / name)
            if outcome != "valid":
                faults.append(Fault(Path(name), f"sound, and yet {outcome}: {words}"))
        names = sorted(sound)
        for number in range(count):
            name = draw.choice(names)
            path = Path(folder) / f"{Path(name).stem}-{seed}-{number}{Path(name).suffix}"
            path.write_bytes(mutate(sound[name], sound[draw.choice(names)], draw))
            outcome, words = reader.read(path)
            outcomes[outcome] += 1
            if outcome == "fault":
                keep.mkdir(parents=True, exist_ok=True)
                faults.append(Fault(path.replace(keep / path.name), words))
            else:
                path.unlink()
        reader.stop()
    return outcomes, faults


# --- Sound files to start from -------------------------------------------------------------------


def image_files() -> Iterator[tuple[str, bytes]]:
    """Small pictures of every kind that is read."""
    draw = np.random.default_rng(0)
    gray = draw.integers(0, 256, (24, 20)).astype(np.uint8)
    rgb = draw.integers(0, 256, (24, 20, 3)).astype(np.uint8)
    rgba = draw.integers(0, 256, (24, 20, 4)).astype(np.uint8)
    wide = draw.integers(0, 65536, (24, 20, 3)).astype(np.uint16)
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    exif.get_ifd(0x8769)[0x9003] = "2026:01:01 00:00:00"
    exif.get_ifd(0x8825)[1] = "N"

    def pillow(array: np.ndarray, kind: str, **options: object) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, kind, **options)
        return buffer.getvalue()

    def tiff(array: np.ndarray, **options: object) -> bytes:
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, array, **options)  # type: ignore[arg-type]
        return buffer.getvalue()

    yield "gray.png", pillow(gray, "PNG")
    yield "rgb.png", pillow(rgb, "PNG", exif=exif.tobytes(), dpi=(300, 300))
    yield "rgba.png", pillow(rgba, "PNG")
    yield "wide.png", pillow(wide[..., 0], "PNG")
    palette = io.BytesIO()
    Image.fromarray(rgb).quantize(16).save(palette, "PNG")
    yield "palette.png", palette.getvalue()
    yield "gray.jpg", pillow(gray, "JPEG")
    yield "rgb.jpg", pillow(rgb, "JPEG", exif=exif.tobytes(), quality=90)
    yield "slow.jpg", pillow(rgb, "JPEG", progressive=True)
    yield "rgb.bmp", pillow(rgb, "BMP")
    yield "rgb.webp", pillow(rgb, "WEBP", lossless=True)
    yield "gray.tif", tiff(gray)
    yield "wide.tif", tiff(wide, photometric="rgb", compression="zlib", predictor=True)
    yield "float.tif", tiff(gray.astype(np.float32) / 255)
    yield "signed.tif", tiff(gray.astype(np.int16))
    yield "tiles.tif", tiff(np.tile(gray, (4, 4)), tile=(16, 16), compression="zlib")
    yield "lzw.tif", pillow(rgb, "TIFF", compression="tiff_lzw")
    yield "pages.tif", tiff(np.stack([gray] * 3), photometric="minisblack")
    yield "imagej.tif", tiff(np.stack([wide[..., 0]] * 3), imagej=True)
    yield "ome.ome.tif", tiff(np.stack([gray] * 3), ome=True, photometric="minisblack")


def of_repository(pattern: str, count: int) -> Iterator[tuple[str, bytes]]:
    """Some of the repository's own files."""
    files = sorted(ROOT.glob(pattern))
    for path in files[:: max(1, len(files) // count)][:count]:
        yield path.name, path.read_bytes()


def states() -> Iterator[tuple[str, bytes]]:
    """The state of a small training."""
    import torch

    weights = {"average": {"kernels": torch.rand(4, 4)}, "steps": 3}
    state = {
        "stage": 1,
        "stages": 1,
        "step": 1,
        "steps": 2,
        "sigma_255": 25.0,
        "options": {},
        "spent": {"cpu": 1.0},
        "pixels": 1,
        "hours_before": 0.0,
        "pixels_before": 0,
        "slowdown": 1.0,
        "weights": weights,
        "snapshot": {},
        "snapshot_psnr": math.nan,
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    yield "state.pt", buffer.getvalue()


def released() -> Iterator[tuple[str, bytes]]:
    """A checkpoint as the authors' code of SC writes it, with few atoms."""
    import torch

    m, K = 9, 4
    tensors = {"apply_A.weight": torch.rand(K, m, 1, 1)}
    tensors |= {f"apply_{letter}.weight": torch.rand(m, K, 1, 1) for letter in "DW"}
    tensors |= {f"lmbda.{step}": torch.rand(1, K, 1, 1) for step in range(3)}
    buffer = io.BytesIO()
    torch.save({"state_dict": tensors}, buffer)
    yield "sc.pth", buffer.getvalue()


def published() -> Iterator[tuple[str, bytes]]:
    """Small convolutional networks in the layouts that authors use."""
    import h5py
    import torch

    shapes = [(5, 1), (5, 5), (5, 5), (1, 5)]
    buffer = io.BytesIO()
    tensors = {f"model.{2 * k}.weight": torch.rand(*two, 3, 3) for k, two in enumerate(shapes)}
    tensors |= {f"model.{2 * k}.bias": torch.rand(two[0]) for k, two in enumerate(shapes)}
    torch.save(tensors, buffer)
    yield "kair-dncnn.pth", buffer.getvalue()
    buffer = io.BytesIO()
    kinds = ["conv", "relu"] * 3 + ["conv"]
    with h5py.File(buffer, "w") as file:
        places = file.create_dataset("net/layers", (len(kinds), 1), h5py.ref_dtype)
        for k, kind in enumerate(kinds):
            group = file.create_group(f"#refs#/{k}")
            group["type"] = np.array([[ord(letter)] for letter in kind], np.uint16)
            places[k, 0] = group.ref
            if kind == "conv":
                outputs, inputs = shapes[k // 2]
                parts = group.create_dataset("weights", (2, 1), h5py.ref_dtype)
                file[f"#refs#/{k}-0"] = np.ones((outputs, inputs, 3, 3), np.float32).squeeze()
                file[f"#refs#/{k}-1"] = np.ones((1, outputs), np.float32)
                for row in range(2):
                    parts[row, 0] = file[f"#refs#/{k}-{row}"].ref
    yield "matconvnet-dncnn.mat", buffer.getvalue()


SEEDS = {
    "images": image_files,
    "cards": lambda: of_repository("data/weights/*.json", 4),
    "scores": lambda: of_repository("data/scores/*-noisy.json", 4),
    "runs": lambda: of_repository("runs/*.toml", 6),
    "states": states,
    "released": released,
    "published": published,
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Read mutated files.")
    parser.add_argument("kind", choices=[*SEEDS, "all"])
    parser.add_argument("--count", type=int, default=1000, help="files of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("faults"), help="folder for what fails")
    options = parser.parse_args()
    found = 0
    for kind in SEEDS if options.kind == "all" else [options.kind]:
        outcomes, faults = run(kind, options.count, options.seed, options.keep)
        counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
        print(f"{kind}: {counts}", flush=True)
        for fault in faults:
            print(f"  {fault.path}: {fault.words}")
        found += len(faults)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
