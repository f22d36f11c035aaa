#!/usr/bin/env python3
"""How fast GroupSC is here, and what that costs in decibels.

    python benchmarks/speed.py [SECTION ...] [--write]

Every number of a section is measured in one run, and what counts are the ratios between them. The
sections are

    image      one photograph of 481 x 321 pixels: forms of GroupSC, and other methods
    step       a training step of 56 x 56 crops
    roofline   what the matrix products reach, beside what this machine can do
    knobs      cost against window, neighbours and atoms
    gates      a convolution with sparsity groups beside a plain one
    size       cost and memory against the number of pixels, up to 9.6 megapixels: ten minutes
    photograph 24 megapixels: half an hour
    agreement  fast forms against plain ones on pieces of all images of BSD68: 15 minutes

Without a name all run but the last two. On a machine with a CUDA device all but size and photograph
run there as well. ``--write`` keeps the numbers in data/speed.json and brings docs/speed.md and its
figures up to date after each section. With them are kept the hashes of the weights that a section
was measured with: when these are replaced, the page says so.
"""

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from arguments import at_least_one, need
from results import keep, kept
from torch import Tensor

from lessons_lib import classical, data
from lessons_lib.checkpoints import load_card, load_model
from lessons_lib.degradations import GaussianNoise
from lessons_lib.evaluation.processes import describe_device
from lessons_lib.evaluation.report import markdown, renew
from lessons_lib.metrics import psnr
from lessons_lib.models import Restorer, build, fast, restore
from lessons_lib.models.restore import Precision
from lessons_lib.models.sparse_conv import SparseConv2d
from lessons_lib.ops.bands import BandedSimilarity
from lessons_lib.training.losses import squared
from lessons_lib.viz import figures

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "data" / "speed.json"  # lesson 08 draws from it
DOCS = ROOT / "docs"
MODEL = "groupsc-gray-25"
SIGMA = 25 / 255
# The trained weights of each section that has any.
WEIGHTS = {
    "image": (MODEL, "sc-gray-25", "dncnn-gray-25", "ffdnet-gray"),
    "knobs": (MODEL,),
    "size": (MODEL,),
    "photograph": (MODEL,),
    "agreement": ("sc-gray-25", "csr-gray-25", MODEL),
}
# Writing to it makes Linux forget how much memory was in use at most.
CLEAR = Path("/proc/self/clear_refs")
LONG = 30  # seconds, after which one run is enough
BLOCK, STRIDE, MARGIN = 56, 48, 55  # of the paper's code at its light setting
SIZES = (0.15, 0.6, 2.4, 9.6)  # megapixels
PIECE = 88  # with its mirrored border four whole tiles

Row = dict[str, Any]
T = TypeVar("T")


def photograph(height: int = 321, width: int = 481) -> Tensor:
    """A gray photograph of that size: a piece of a bundled one, or mirror images of it."""
    whole = data.to_gray(data.sample("astronaut"))
    while whole.shape[-2] < height:
        whole = torch.cat([whole, whole.flip(-2)], dim=-2)
    while whole.shape[-1] < width:
        whole = torch.cat([whole, whole.flip(-1)], dim=-1)
    return whole[..., :height, :width]


def timed(work: Callable[[], T], device: str, repeats: int) -> tuple[float, T]:
    """The shortest of some runs, after one that warms up, and what the last one returned.

    The first that is `LONG` is the last.
    """

    def run() -> tuple[float, T]:
        began = time.perf_counter()
        result = work()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began, result

    _, result = run()
    times: list[float] = []
    while len(times) < repeats:
        took, result = run()
        times.append(took)
        if took > LONG:
            break
    return min(times), result


def seconds(work: Callable[[], Any], device: str, repeats: int) -> float:
    """The time of `timed` alone."""
    return timed(work, device, repeats)[0]


def tell(row: Row) -> None:
    """Show a row while the others are still to come."""
    cells = (f"{k} {v:.4g}" if isinstance(v, float | int) else str(v) for k, v in row.items())
    print("   " + ", ".join(cells), flush=True)


def authors_way(model: Restorer, noisy: Tensor) -> Tensor:
    """Block by block in float32, as GroupSC's code restores: 55 mirrored pixels all round, dense Σ.

    Each block is the model's plain forward pass; the last row and column of blocks reach as far
    beyond the image as they must for all strides to be equal.
    """
    height, width = (length + 2 * MARGIN for length in noisy.shape[-2:])
    below, right = (-(length - BLOCK) % STRIDE for length in (height, width))
    padded = F.pad(noisy, (MARGIN, MARGIN, MARGIN, MARGIN), mode="reflect")
    padded = F.pad(padded, (0, right, 0, below), mode="replicate")
    total, weights = torch.zeros_like(padded), torch.zeros_like(padded)
    weight = model.estimate_counts((BLOCK, BLOCK)).to(noisy)
    with torch.no_grad():
        for row in range(0, padded.shape[-2] - BLOCK + 1, STRIDE):
            for column in range(0, padded.shape[-1] - BLOCK + 1, STRIDE):
                area = (..., slice(row, row + BLOCK), slice(column, column + BLOCK))
                total[area] += weight * model(padded[area])
                weights[area] += weight
    whole = total / weights
    return whole[..., MARGIN : height - MARGIN, MARGIN : width - MARGIN]


def half_is_fast(device: str) -> bool:
    """Whether half precision is what `restore` chooses here."""
    return fast.fastest_dtype(torch.device(device)) == torch.bfloat16


def image(device: str, repeats: int) -> list[Row]:
    """One photograph, by forms of GroupSC, the course's other networks, BM3D and a CNN."""
    clean = photograph()
    noisy = GaussianNoise(SIGMA)(clean, "speed").to(device)
    groupsc, sc, dncnn, ffdnet = (load_model(name, device) for name in WEIGHTS["image"])
    quick: Precision = "bf16" if half_is_fast(device) else "fp32"
    ways: dict[str, Callable[[], Tensor]] = {
        "GroupSC, blocks as in the paper's code, float32": lambda: authors_way(groupsc, noisy),
        "GroupSC, plain form": lambda: restore(groupsc, noisy, precision="reference"),
        "GroupSC, fast form, float32": lambda: restore(groupsc, noisy, precision="fp32"),
        "GroupSC, fast form, bfloat16": lambda: restore(groupsc, noisy, precision="bf16"),
        "GroupSC, fast form, stride 24": lambda: restore(
            groupsc, noisy, precision=quick, overlap=BLOCK - 24
        ),
        "GroupSC, fast form, tiles of 40 pixels": lambda: restore(
            groupsc, noisy, precision=quick, tile=40
        ),
        "SC, plain form": lambda: restore(sc, noisy, precision="reference"),
        "SC, fast form": lambda: restore(sc, noisy, precision=quick),
        "DnCNN, float32": lambda: restore(dncnn, noisy, precision="fp32"),
        "FFDNet, float32": lambda: restore(ffdnet, noisy, SIGMA, precision="fp32"),
        "DCT thresholding": lambda: classical.METHODS["dct"].function(noisy.cpu(), SIGMA, None),
    }
    if half_is_fast(device):
        ways["DnCNN, bfloat16"] = lambda: restore(dncnn, noisy, precision="bf16")
        ways["FFDNet, bfloat16"] = lambda: restore(ffdnet, noisy, SIGMA, precision="bf16")
    if classical.METHODS["bm3d"].missing() is None:
        ways["BM3D"] = lambda: classical.METHODS["bm3d"].function(noisy.cpu(), SIGMA, None)
    rows = []
    for name, way in ways.items():
        took, estimate = timed(way, device, repeats)
        decibels = psnr(estimate.cpu().float().clamp(0, 1), clean).item()
        rows.append({"way": name, "seconds": took, "psnr": decibels})
        tell(rows[-1])
    return rows


def step(device: str, repeats: int) -> list[Row]:
    """Crops per second of a training step, forward and backward, without the optimiser."""
    batch, crop = (32, 56) if device == "cuda" else (4, 56)
    clean = torch.rand(batch, 1, crop, crop, device=device)
    noisy = GaussianNoise(SIGMA)(clean.cpu(), "step").to(device)
    rows = []
    for kind in ("sc", "groupsc", "csr"):
        for half, compiled in ((False, False), (True, False), (True, True)):
            if half and not half_is_fast(device):
                continue
            torch._dynamo.reset()
            model = build(kind, {}).to(device)
            forward = torch.compile(model) if compiled else model
            counts = model.estimate_counts((crop, crop)).to(device)

            def once(
                model: Restorer = model,
                forward: Callable[..., Tensor] = forward,
                counts: Tensor = counts,
                half: bool = half,
            ) -> None:
                model.zero_grad()
                with torch.autocast(device, torch.bfloat16, enabled=half):
                    estimate = forward(noisy)
                squared(estimate.float(), clean, counts).backward()

            pace = batch / seconds(once, device, repeats)
            form = ("bfloat16" if half else "float32") + (", compiled" if compiled else "")
            rows.append({"model": kind, "form": form, "crops_per_second": pace})
            tell(rows[-1])
    return rows


def large_product(dtype: torch.dtype, device: str) -> float:
    """GFLOP/s of a product of two large square matrices."""
    side = 8192 if device == "cuda" else 2048
    one, other = torch.rand(2, side, side, device=device).to(dtype)
    return 2 * side**3 / seconds(lambda: one @ other, device, 5) / 1e9


def roofline(device: str, repeats: int) -> list[Row]:
    """GFLOP/s of the products of one tile, their FLOPs per byte, and what limits them.

    That are the speed of the memory and that of large products, which others may surpass by a bit.
    """
    dtype = torch.bfloat16 if half_is_fast(device) else torch.float32
    tiles = 16 if device == "cuda" else 1
    grid = (BLOCK - 8, BLOCK - 8)
    n, m, atoms, width = grid[0] * grid[1], 81, 256, torch.finfo(dtype).bits // 8
    points = torch.rand(tiles, n, m, device=device)
    near = BandedSimilarity(points, grid, 49, dtype)
    codes = torch.rand(tiles, n, atoms, device=device).to(dtype)
    room = torch.empty_like(codes)
    D = torch.rand(m, atoms, device=device).to(dtype).expand(tiles, -1, -1)
    patches = points.to(dtype)
    pairs = tiles * sum(part.shape[1] * part.shape[2] for part in near.parts)
    transposed = patches.mT.contiguous()
    distances = patches.new_empty(tiles, n, n)
    products = {
        # name: (work, FLOPs, bytes that must be moved at least)
        "averages under Σ": (
            lambda: near.product(codes, room),
            2 * pairs * atoms,
            width * (pairs + 2 * codes.numel()),
        ),
        "dictionaries": (
            # A step of the fast form adds to the codes in place. Here what it adds goes elsewhere,
            # or each repeat would begin from the codes of the one before.
            lambda: torch.bmm(torch.baddbmm(patches, codes, D.mT, alpha=-1), D, out=room),
            4 * tiles * m * atoms * n,
            width * (2 * codes.numel() + 2 * patches.numel()),
        ),
        "distances": (
            lambda: torch.matmul(patches, transposed, out=distances),
            2 * tiles * m * n * n,
            width * (distances.numel() + 2 * patches.numel()),
        ),
    }
    large = torch.rand(64_000_000, device=device)
    copy = torch.empty_like(large)
    bandwidth = 2 * 4 * large.numel() / seconds(lambda: copy.copy_(large), device, 5) / 1e9
    large_products = {str(kind)[6:]: large_product(kind, device) for kind in (torch.float32, dtype)}
    rows: list[Row] = [{"what": "memory", "gigabytes_per_second": bandwidth}]
    rows += [{"what": f"large product, {k}", "gflops": v} for k, v in large_products.items()]
    for name, (work, flops, size) in products.items():
        reached = flops / seconds(work, device, 4 * repeats) / 1e9
        rows.append(
            {
                "what": name,
                "gflops": reached,
                "flops_per_byte": flops / size,
                "of_large": reached / large_products[str(dtype)[6:]],
            }
        )
    for row in rows:
        tell(row)
    return rows


def knobs(device: str, repeats: int) -> list[Row]:
    """One row of tiles with other windows, neighbours and atoms; decibels where trained."""
    clean = photograph(96, 240)
    noisy = GaussianNoise(SIGMA)(clean, "knobs").to(device)
    trained = load_model(MODEL, device)
    whole = restore(trained, noisy)
    rows = []

    def measure(knob: str, value: int, model: Restorer, **options: int) -> None:
        took, estimate = timed(lambda: restore(model, noisy, **options), device, repeats)
        row: Row = {"knob": knob, "value": value, "seconds": took}
        if knob != "atoms":
            row["psnr"] = psnr(estimate.cpu().clamp(0, 1), clean).item()
            row["largest_difference_255"] = 255 * (estimate - whole).abs().max().item()
        rows.append(row)
        tell(row)

    for neighbours in (4, 8, 16, 32, 64, 128, 256):
        measure("neighbours", neighbours, trained, neighbours=neighbours)
    for tile in (24, 32, 40, 48, 56, 72):
        measure("tile", tile, trained, tile=tile)
    for window in (9, 17, 25, 33, 41, 49):
        model = build("groupsc", {"window": window}).to(device)
        model.load_state_dict(trained.state_dict())
        measure("window", window, model)
    for atoms in (64, 128, 256, 512):
        measure("atoms", atoms, build("groupsc", {"atoms": atoms}).to(device))
    return rows


def gates(device: str, repeats: int) -> list[Row]:
    """One layer of 64 channels on images of 64 x 64, as in Figure 5 of NSR, forward and backward.

    With k groups a layer has k times the weights for the same products; or, with a k-th of the
    outputs, the same weights for a k-th of the products.
    """
    batch = torch.rand(32, 64, 64, 64, generator=torch.Generator().manual_seed(0)).to(device)

    def measure(groups: int, kept: str, outputs: int, gate: str) -> None:
        layer = SparseConv2d(64, outputs, groups=groups, gate=gate).to(device)

        def forward() -> Tensor:
            with torch.no_grad():
                return layer(batch)

        rows.append(
            {
                "groups": groups,
                "kept": kept,
                "gate": gate,
                "forward": seconds(forward, device, repeats),
                "training": seconds(lambda: layer(batch).sum().backward(), device, repeats),
            }
        )
        tell(rows[-1])

    rows: list[Row] = []
    measure(1, "", 64, "softmax")
    for groups in (2, 4, 8, 16):
        measure(groups, "size", 64 // groups, "softmax")
        measure(groups, "products", 64, "softmax")
    measure(4, "products", 64, "hard")
    return rows


def restore_alone(megapixels: float) -> Row:
    """Restore one photograph in a process of its own, whose memory can be told from ours."""
    print(f"  {megapixels:g} megapixels ...", flush=True)
    command = [sys.executable, __file__, "--alone", str(megapixels)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    row: Row = json.loads(done.stdout)
    print(f"    {row['seconds']:.1f} s, {row['megabytes']:.0f} MB beside the image", flush=True)
    return row


def alone(megapixels: float) -> Row:
    """What `restore_alone` runs: seconds, and how far memory rose beside the two images."""
    height = round(math.sqrt(megapixels * 1e6 * 2 / 3))
    width = round(megapixels * 1e6 / height)
    noisy = GaussianNoise(SIGMA)(photograph(height, width), "size")
    model = load_model(MODEL)
    restore(model, noisy[..., :64, :64])  # what is loaded and compiled once
    before = forget_peak()
    restored_size = noisy.numel() * 4 / 1e6
    began = time.perf_counter()

    def show(share: float) -> None:
        left = (time.perf_counter() - began) * (1 / share - 1)
        print(f"\r    {share:4.0%}, {left:5.0f} s left ", end="", file=sys.stderr, flush=True)

    restore(model, noisy, progress=show if sys.stderr.isatty() else None)
    took = time.perf_counter() - began
    return {
        "megapixels": height * width / 1e6,
        "seconds": took,
        "megabytes": memory("VmHWM") - before - restored_size,
    }


def memory(line: str) -> float:
    """MB of this process, as Linux tells them: "VmRSS" now, "VmHWM" at their peak."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    kibibytes = next(int(row.split()[1]) for row in status.splitlines() if row.startswith(line))
    return kibibytes * 1024 / 1e6  # Linux writes "kB" and means 1024 bytes


def forget_peak() -> float:
    """Let the peak of memory be what is used now, and return that."""
    CLEAR.write_text("5", encoding="ascii")  # see man proc
    return memory("VmRSS")


def size(device: str, repeats: int) -> list[Row]:
    """Cost and memory against pixels; on the processor only, and on Linux."""
    return [restore_alone(megapixels) for megapixels in SIZES]


def large(device: str, repeats: int) -> list[Row]:
    """The photograph of a 24-megapixel camera."""
    return [restore_alone(24)]


def agreement(device: str, repeats: int) -> list[Row]:
    """Decibels and pixels of the fast forms less those of the plain ones."""
    rows = []
    for name in WEIGHTS["agreement"]:
        model = load_model(name, device)
        forms: list[Precision] = ["fp32", "bf16"] if half_is_fast(device) else ["fp32"]
        decibels: dict[Precision, list[float]] = {form: [] for form in forms}
        pixels = dict.fromkeys(forms, 0.0)
        for key, whole in data.load("BSD68"):
            top, left = ((side - PIECE) // 2 for side in whole.shape[-2:])
            clean = whole[..., top : top + PIECE, left : left + PIECE]
            noisy = GaussianNoise(SIGMA)(clean, key).to(device)
            plain = restore(model, noisy, precision="reference").cpu()
            for form in forms:
                fast_one = restore(model, noisy, precision=form).cpu()
                decibels[form].append((psnr(fast_one, clean) - psnr(plain, clean)).item())
                difference = 255 * (fast_one - plain).abs().max().item()
                pixels[form] = max(pixels[form], difference)
        for form in forms:
            found = torch.tensor(decibels[form])
            rows.append(
                {
                    "weights": name,
                    "form": form,
                    "mean_db": found.mean().item(),
                    "largest_db": found.abs().max().item(),
                    "largest_difference_255": pixels[form],
                }
            )
            tell(rows[-1])
    return rows


SECTIONS = {
    "image": image,
    "step": step,
    "roofline": roofline,
    "knobs": knobs,
    "gates": gates,
    "size": size,
    "photograph": large,
    "agreement": agreement,
}
# Those that run only if they are asked for: one takes long, the other needs a data set.
ON_REQUEST = ("photograph", "agreement")


# From results to the documentation -----------------------------------------------------------


def tables(results: dict[str, Any]) -> dict[str, str]:
    """Tables by name, as docs/speed.md asks for them."""
    made: dict[str, str] = {}
    for kind in ("processor", "GPU"):
        found = results.get(kind, {})
        for name, make in TABLES.items():
            if name not in found:
                made[f"{name}, {kind}"] = "Not measured."
                continue
            made[f"{name}, {kind}"] = make(found[name]["rows"])
            if old := replaced(name, found[name]):
                made[f"{name}, {kind}"] += f"\n\nMeasured with earlier weights of {', '.join(old)}."
        where = {name: f"{section['device']}, {section['when']}" for name, section in found.items()}
        made[f"where, {kind}"] = markdown([["section", "measured on"], *map(list, where.items())])
    return made


def replaced(name: str, section: dict[str, Any]) -> list[str]:
    """The weights of a kept section that are not, or not for certain, those of today."""
    then = section.get("weights", {})
    return [one for one in WEIGHTS.get(name, ()) if then.get(one) != load_card(one).sha256]


def _image_table(rows: list[Row]) -> str:
    base = rows[0]["seconds"]
    lines = [["", "seconds", "times sooner", "dB"]]
    for row in rows:
        times = f"{row['seconds']:.2f}", f"{base / row['seconds']:.1f}"
        lines.append([row["way"], *times, f"{row['psnr']:.3f}"])
    return markdown(lines)


def _step_table(rows: list[Row]) -> str:
    lines = [["model", "form", "crops/s", "times the plain form's"]]
    base = {row["model"]: row["crops_per_second"] for row in rows if row["form"] == "float32"}
    for row in rows:
        pace = row["crops_per_second"]
        ratio = f"{pace / base[row['model']]:.1f}"
        lines.append([row["model"], row["form"], f"{pace:.2f}", ratio])
    return markdown(lines)


def _roofline_table(rows: list[Row]) -> str:
    lines = [["", "GFLOP/s", "FLOP per byte", "share of a large product's speed"]]
    for row in rows:
        if "gflops" in row:
            share = f"{row['of_large']:.0%}" if "of_large" in row else ""
            intensity = f"{row['flops_per_byte']:.0f}" if "flops_per_byte" in row else ""
            lines.append([row["what"], f"{row['gflops']:.0f}", intensity, share])
    return markdown(lines)


def _knobs_table(rows: list[Row]) -> str:
    lines = [["knob", "value", "seconds", "dB", "largest difference (of 255)"]]
    for row in rows:
        line = [row["knob"], str(row["value"]), f"{row['seconds']:.3f}", "", ""]
        if "psnr" in row:
            line[3:] = [f"{row['psnr']:.3f}", f"{row['largest_difference_255']:.2f}"]
        lines.append(line)
    return markdown(lines)


def _gates_table(rows: list[Row]) -> str:
    lines = [["groups", "as many", "gate", "forward, ms", "plain = 1", "training, ms", "plain = 1"]]
    for row in rows:
        line = [str(row["groups"]), row["kept"], row["gate"] if row["kept"] else "none"]
        for what in ("forward", "training"):
            line += [f"{1000 * row[what]:.0f}", f"{row[what] / rows[0][what]:.2f}"]
        lines.append(line)
    return markdown(lines)


def _size_table(rows: list[Row]) -> str:
    lines = [["megapixels", "seconds", "MB beside the images"]]
    lines += [
        [f"{row['megapixels']:.2f}", f"{row['seconds']:.1f}", f"{row['megabytes']:.0f}"]
        for row in rows
    ]
    text = markdown(lines)
    return f"{text}\n\nSlope in a log-log plot: {slope(rows):.3f}." if len(rows) > 1 else text


def _agreement_table(rows: list[Row]) -> str:
    lines = [["weights", "form", "dB, mean", "dB, largest", "pixels, largest (of 255)"]]
    for row in rows:
        decibels = f"{row['mean_db']:+.5f}", f"{row['largest_db']:.5f}"
        pixels = f"{row['largest_difference_255']:.4f}"
        lines.append([row["weights"], row["form"], *decibels, pixels])
    return markdown(lines)


def slope(rows: list[Row]) -> float:
    """Exponent of the cost in the number of pixels, by least squares on logarithms."""
    x, y = (torch.tensor([math.log(row[key]) for row in rows]) for key in ("megapixels", "seconds"))
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / x.square().sum())


TABLES: dict[str, Callable[[list[Row]], str]] = {
    "image": _image_table,
    "step": _step_table,
    "roofline": _roofline_table,
    "knobs": _knobs_table,
    "gates": _gates_table,
    "size": _size_table,
    "photograph": _size_table,
    "agreement": _agreement_table,
}


def draw(results: dict[str, Any]) -> None:
    """The Pareto plot, the roofline and the cost against pixels."""
    found = results["processor"]
    if "image" in found:
        rows = found["image"]["rows"]
        figure = figures.show_tradeoff({r["way"]: (r["seconds"], r["psnr"]) for r in rows})
        figure.savefig(DOCS / "speed_pareto.png")
    if "roofline" in found:
        rows = found["roofline"]["rows"]
        bandwidth = next(row["gigabytes_per_second"] for row in rows if row["what"] == "memory")
        figure = figures.new_figure(6.5, 4)
        axes = figure.axes[0]
        intensity = torch.logspace(-1, 4, 100)
        for index, row in enumerate(row for row in rows if row["what"].startswith("large")):
            roof = (bandwidth * intensity).clamp_max(row["gflops"])
            axes.plot(intensity, roof, figures.LINE_STYLES[index], color="0.4", label=row["what"])
        for index, row in enumerate(row for row in rows if "of_large" in row):
            axes.plot(row["flops_per_byte"], row["gflops"], "os^"[index], label=row["what"],
                      color=figures.COLOURS[index])  # fmt: skip
        axes.set(xscale="log", yscale="log", xlabel="FLOP per byte", ylabel="GFLOP/s")
        axes.legend(frameon=False)
        figure.savefig(DOCS / "speed_roofline.png")


def show(results: dict[str, Any]) -> None:
    """Bring docs/speed.md and its figures up to date."""
    renew(DOCS / "speed.md", tables(results))
    draw(results)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", choices=list(SECTIONS), metavar="SECTION")
    parser.add_argument(
        "--repeats", type=at_least_one, default=3, help="of which the shortest counts"
    )
    parser.add_argument("--write", action="store_true", help="keep results, renew docs/speed.md")
    parser.add_argument("--alone", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone:
        print(json.dumps(alone(given.alone)))
        return
    sections = given.sections or [name for name in SECTIONS if name not in ON_REQUEST]
    weights = {name for section in sections for name in WEIGHTS.get(section, ())}
    need(parser, ["BSD68"] if "agreement" in sections else [], weights)
    kinds = {"processor": "cpu"} | ({"GPU": "cuda"} if torch.cuda.is_available() else {})
    results = kept(RESULTS)
    for section in sections:
        for kind, device in kinds.items():
            if section in ("size", "photograph"):
                if device == "cuda":
                    continue
                if not CLEAR.exists():
                    print(f"{section}: left out, only Linux tells how far memory rose", flush=True)
                    continue
            print(f"{section}, {describe_device(device)}", flush=True)
            rows = SECTIONS[section](device, given.repeats)
            results.setdefault(kind, {})[section] = {
                "device": describe_device(device),
                "when": time.strftime("%Y-%m-%d"),
                "weights": {name: load_card(name).sha256 for name in WEIGHTS.get(section, ())},
                "rows": rows,
            }
            if given.write:
                keep(RESULTS, results)
                show(results)
    if not given.write:
        for name, text in tables(results).items():
            print(f"\n{name}\n\n{text}")


if __name__ == "__main__":
    main()
