"""Layouts of published files: small ones written here, and what is refused."""

import io
import shutil
from argparse import Namespace
from collections import OrderedDict
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from lessons_lib.published import CheckpointError, PublishedWeights, load_published, registry
from lessons_lib.published.layouts import LAYOUTS

SIZES = {"layers": 4, "width": 5}
PLAIN = SIZES | {"batch_norm": False}


def described(content: bytes, layout: str, model: str, options: dict) -> PublishedWeights:
    return PublishedWeights(
        name="toy@somebody",
        layout=layout,
        model=model,
        options=options,
        tasks=("denoise",),
        sigma_255=0.0,
        parameters=0,
        repository="somebody/code",
        commit="1" * 40,
        path="weights",
        size=len(content),
        sha256=sha256(content).hexdigest(),
        blob="",
        licence="none stated",
        about="",
    )


def read(content: bytes, layout: str, model: str, options: dict):
    weights = described(content, layout, model, options)
    return LAYOUTS[layout](content, weights).eval().requires_grad_(False)


def saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def matlab(layers: list[tuple[str, Tensor | None, Tensor | None]]) -> bytes:
    """A network of MatConvNet; kernels are given as (height, width, inputs, outputs)."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        places = file.create_dataset("net/layers", (len(layers), 1), h5py.ref_dtype)
        for k, (kind, kernels, biases) in enumerate(layers):
            group = file.create_group(f"#refs#/{k}")
            group["type"] = np.array([[ord(letter)] for letter in kind], np.uint16)
            places[k, 0] = group.ref
            if kernels is None or biases is None:
                continue
            stored = kernels.numpy().T  # MATLAB counts its axes the other way round ...
            if stored.shape[0] == 1:
                stored = stored[0]  # ... and knows of no last axis of length 1
            parts = group.create_dataset("weights", (2, 1), h5py.ref_dtype)
            for row, values in enumerate((stored, biases.numpy()[None])):
                file[f"#refs#/{k}-{row}"] = values
                parts[row, 0] = file[f"#refs#/{k}-{row}"].ref
    return buffer.getvalue()


def matlab_stack(channels: list[int]) -> list[tuple[Tensor, Tensor]]:
    """Kernels (height, width, inputs, outputs) and biases."""
    return [
        (0.3 * draw(3, 3, into, out, seed=k), draw(out, seed=k + 20))
        for k, (into, out) in enumerate(pairwise(channels))
    ]


def run_stack(image: Tensor, stack: list[tuple[Tensor, Tensor]]) -> Tensor:
    for k, (kernels, biases) in enumerate(stack):
        image = conv2d(
            image if k == 0 else image.relu(), kernels.permute(3, 2, 0, 1), biases, padding=1
        )
    return image


@pytest.mark.parametrize("channels", [1, 3])
def test_matconvnet_networks(channels):
    stack = matlab_stack([channels, 5, 5, 5, channels])
    layers = []
    for kernels, biases in stack:
        layers += [("conv", kernels, biases), ("relu", None, None)]
    model = read(matlab(layers[:-1]), "matconvnet", "dncnn", PLAIN | {"channels": channels})
    image = draw(1, channels, 9, 8, seed=9)
    torch.testing.assert_close(model(image), image - run_stack(image, stack))


@pytest.mark.parametrize("channels", [1, 3])
def test_matconvnet_counts_the_pixels_of_a_square_down_its_columns(channels):
    phases = 4 * channels
    stack = matlab_stack([phases + 1, 5, 5, phases])
    layers = [("SubP", None, None), ("concat", None, None)]
    for kernels, biases in stack:
        layers += [("conv", kernels, biases), ("relu", None, None)]
    content = matlab([*layers[:-1], ("SubP", None, None)])
    model = read(content, "matconvnet", "ffdnet", {"layers": 3, "width": 5, "channels": channels})
    image = draw(1, channels, 8, 6, seed=9)
    corners = [(0, 0), (1, 0), (0, 1), (1, 1)]  # row, column
    planes = [image[:, c, i::2, j::2] for c in range(channels) for i, j in corners]
    level = torch.full_like(planes[0], 0.1)
    out = run_stack(torch.stack([*planes, level], dim=1), stack)
    wanted = torch.empty_like(image)
    for c in range(channels):
        for k, (i, j) in enumerate(corners):
            wanted[:, c, i::2, j::2] = out[:, 4 * c + k]
    torch.testing.assert_close(model(image, torch.tensor([0.1])), wanted)


class Theirs(nn.Module):
    """The DnCNN that bias-free weights come with, with biases or without."""

    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.first_layer = nn.Conv2d(1, 5, 3, padding=1, bias=bias)
        self.hidden_layer_list = nn.ModuleList(
            nn.Conv2d(5, 5, 3, padding=1, bias=bias) for _ in range(2)
        )
        self.bn_layer_list = nn.ModuleList(nn.BatchNorm2d(5) for _ in range(2))
        self.last_layer = nn.Conv2d(5, 1, 3, padding=1, bias=bias)
        for k, (name, tensor) in enumerate(self.state_dict().items()):
            if tensor.is_floating_point():
                values = 0.3 * draw(*tensor.shape, seed=k)
                tensor.copy_(values.abs() + 0.1 if name.endswith("var") else values)

    def forward(self, image: Tensor) -> Tensor:
        features = self.first_layer(image).relu()
        for layer, norm in zip(self.hidden_layer_list, self.bn_layer_list, strict=True):
            features = layer(features)
            if layer.bias is None:
                spread = norm.running_var.sqrt() + norm.eps
                features = features * (norm.weight / spread)[:, None, None]
            else:
                features = norm(features)
            features = features.relu()
        return image - self.last_layer(features)


@pytest.mark.parametrize(
    ("layout", "model", "options"),
    [("bias-free", "bias-free", SIZES), ("batch-norm", "dncnn", PLAIN)],
)
def test_networks_with_and_without_biases(layout, model, options):
    theirs = Theirs(bias=layout == "batch-norm").eval().requires_grad_(False)
    whole = {"model": [OrderedDict(theirs.state_dict())], "args": Namespace(bias=True)}
    ours, image = read(saved(whole), layout, model, options), draw(1, 1, 9, 8, seed=9)
    torch.testing.assert_close(ours(image), theirs(image))


def test_released_weights_must_be_of_the_size_that_is_said():
    weights = {f"apply_{letter}.weight": draw(4, 9, 1, 1) for letter in "A"}
    weights |= {f"apply_{letter}.weight": draw(9, 4, 1, 1) for letter in "DW"}
    content = saved({"state_dict": weights | {"lmbda.0": draw(1, 4, 1, 1)}})
    assert read(content, "released", "sc", {"channels": 1, "patch": 3}).config.atoms == 4
    with pytest.raises(ValueError, match="patch is 3, not 9"):
        read(content, "released", "sc", {"channels": 1, "patch": 9})


# Odd files -----------------------------------------------------------------------------------


class Malicious:
    """Runs a command when it is unpickled by a loader that trusts its input."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return shutil.copy, (__file__, str(self.target))


def whole_network() -> bytes:
    stack = matlab_stack([1, 5, 5, 5, 1])
    return matlab([("conv", *layer) for layer in stack])


@pytest.mark.parametrize("layout", list(LAYOUTS))
@pytest.mark.parametrize(
    "content",
    [b"", b"no such file", whole_network()[:900], saved([1, 2]), saved({"a": torch.zeros(2)})],
    ids=["empty", "text", "truncated", "list", "others"],
)
def test_what_is_in_no_known_layout_is_refused_in_one_line(layout, content, tmp_path, monkeypatch):
    model = {"bias-free": "bias-free", "released": "sc"}.get(layout, "dncnn")
    weights = described(content, layout, model, {"bias-free": SIZES}.get(layout, PLAIN))
    (tmp_path / weights.place).parent.mkdir()
    (tmp_path / weights.place).write_bytes(content)
    monkeypatch.setenv("LESSONS_PUBLISHED", str(tmp_path))
    monkeypatch.setattr(registry, "published_weights", lambda: {weights.name: weights})
    with pytest.raises(CheckpointError, match=f"not in the layout '{layout}': ") as caught:
        load_published(weights.name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("layout", ["kair", "bias-free", "batch-norm", "released"])
def test_nothing_in_a_file_is_executed(layout, tmp_path):
    loot = tmp_path / "loot"
    content = saved({"model": [{"first_layer.weight": draw(2)}], "args": Malicious(loot)})
    with pytest.raises(ValueError, match="no checkpoint of plain tensors"):
        read(content, layout, "dncnn", PLAIN)
    assert not loot.exists()


def test_networks_of_another_size_or_kind_are_refused():
    content = whole_network()
    weights = described(content, "matconvnet", "dncnn", PLAIN)
    for options in (PLAIN | {"layers": 5}, PLAIN | {"width": 6}, SIZES):
        with pytest.raises(RuntimeError, match="state_dict"):
            LAYOUTS["matconvnet"](content, replace(weights, options=options))
    strange = matlab(
        [("conv", *layer) for layer in matlab_stack([1, 5, 1])] + [("bnorm", None, None)]
    )
    with pytest.raises(ValueError, match="unknown kinds: bnorm"):
        read(strange, "matconvnet", "dncnn", PLAIN)
