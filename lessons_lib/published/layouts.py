"""How published weights are laid out in their files, and what our models make of them.

Nothing in a file is executed: MATLAB's are read by h5py, PyTorch's by its loader for plain tensors,
TensorFlow's by `lessons_lib.published.tensorflow`.
"""

from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor

from lessons_lib.models import Restorer, build
from lessons_lib.models.released import from_published
from lessons_lib.published.registry import PublishedWeights
from lessons_lib.published.tensorflow import read_variables

# A convolution: its kernels (out, in, 3, 3) and its biases (out,).
Layer = tuple[Tensor, Tensor]


def from_matconvnet(content: bytes, weights: PublishedWeights) -> Restorer:
    """A stack of convolutions from a MatConvNet network, as MATLAB 7.3 stores it: HDF5.

    Its arrays are seen with their axes in reverse order, and an axis of length 1 at the end is not
    stored. A network that works on 2 × 2 squares of pixels numbers them column by column, where
    `torch.nn.functional.pixel_unshuffle` goes row by row.
    """
    import h5py

    layers: list[Layer] = []
    kinds = []
    with h5py.File(BytesIO(content)) as file:
        for place in file["net"]["layers"][:].ravel():
            layer = file[place]
            kinds.append("".join(map(chr, layer["type"][:].ravel())))
            if kinds[-1] == "conv":
                kernels, biases = (file[part][:] for part in layer["weights"][:].ravel())
                square = kernels.reshape(biases.size, -1, *kernels.shape[-2:]).swapaxes(2, 3)
                layers.append((torch.tensor(square), torch.tensor(biases.ravel())))
    others = set(kinds) - {"conv", "relu", "SubP", "concat"}
    if others:
        raise ValueError(f"layers of unknown kinds: {', '.join(sorted(others))}")
    if "SubP" in kinds:
        (kernels, biases), (last, last_biases) = layers[0], layers[-1]
        order = _by_rows(len(last))
        inputs = [*order, *range(len(order), kernels.shape[1])]  # the noise comes after the pixels
        layers[0] = kernels[:, inputs], biases
        layers[-1] = last[order], last_biases[order]
    return _filled(weights, _stack(layers))


def from_kair(content: bytes, weights: PublishedWeights) -> Restorer:
    """A stack of convolutions ``model.0``, ``model.2``, … with the ReLUs counted between them."""
    tensors = plain_tensors(BytesIO(content))
    numbers = sorted(int(name.split(".")[1]) for name in tensors if name.endswith(".weight"))
    return _filled(
        weights,
        _stack([(tensors[f"model.{n}.weight"], tensors[f"model.{n}.bias"]) for n in numbers]),
    )


def from_bias_free(content: bytes, weights: PublishedWeights) -> Restorer:
    """Kernels, gains and running variances; means and shifts are stored beside them, unused."""
    tensors = plain_tensors(BytesIO(content), allowed=[Namespace])
    taken = {"first.weight": tensors["first_layer.weight"]}
    for k in range(weights.options["layers"] - 2):
        taken[f"middle.{k}.weight"] = tensors[f"hidden_layer_list.{k}.weight"]
        taken[f"norms.{k}.gain"] = tensors[f"bn_layer_list.{k}.weight"]
        taken[f"norms.{k}.running_var"] = tensors[f"bn_layer_list.{k}.running_var"]
    return _filled(weights, taken | {"last.weight": tensors["last_layer.weight"]})


def from_batch_norm(content: bytes, weights: PublishedWeights) -> Restorer:
    """The same with biases: normalisation is merged into its convolution, see `DnCNN.fold`.

    Unlike there, the convolution has a bias of its own; ε is PyTorch's 1e-5.
    """
    tensors = plain_tensors(BytesIO(content), allowed=[Namespace])
    layers = [(tensors["first_layer.weight"], tensors["first_layer.bias"])]
    for k in range(weights.options["layers"] - 2):
        kernels, biases = (tensors[f"hidden_layer_list.{k}.{part}"] for part in ("weight", "bias"))
        gain, shift, mean, variance = (
            tensors[f"bn_layer_list.{k}.{part}"].double()
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gain / (variance + 1e-5).sqrt()
        merged = scale[:, None, None, None] * kernels, shift + scale * (biases - mean)
        layers.append((merged[0].float(), merged[1].float()))
    return _filled(
        weights, _stack([*layers, (tensors["last_layer.weight"], tensors["last_layer.bias"])])
    )


def from_released(content: bytes, weights: PublishedWeights) -> Restorer:
    """SC or GroupSC. Weights for mosaics look the same: that these are for noise, one must know."""
    model = from_published(plain_tensors(BytesIO(content)))
    for name, value in weights.options.items():
        if getattr(model.config, name) != value:
            raise ValueError(f"{name} is {getattr(model.config, name)}, not {value}")
    return model


def from_nlrn(index: bytes, numbers: bytes, weights: PublishedWeights) -> Restorer:
    """NLRN, from the two files of its TensorFlow checkpoint.

    Kernels there are (height, width, inputs, outputs). The network sees pixels up to 255 and adds
    its output, divided by 255, to the image. Here the first normalisation, whose statistics are
    those of pixels, and the last kernel take the factor in.
    """
    variables = read_variables(index, numbers)
    layers = {
        "first": "conv1",
        "transitions.0.look.embeddings.0": "rnn/non_local_theta",
        "transitions.0.look.embeddings.1": "rnn/non_local_phi",
        "transitions.0.look.transform": "rnn/non_local_g",
        "transitions.0.first": "rnn/RB1_a",
        "transitions.0.second": "rnn/RB1_b",
        "last": "conv_end",
    }
    norms = {"norm": "batch_normalization", "last_norm": "batch_normalization_1"}
    for number in range(3 * weights.options["states"]):
        mark = f"_{number}" if number else ""
        place = ("before", "between", "after")[number % 3]
        norms[f"norms.{number // 3}.{place}"] = f"rnn/batch_normalization{mark}"
    taken = {}
    for ours, theirs in layers.items():
        taken[f"{ours}.weight"] = variables[f"model/{theirs}/kernel"].permute(3, 2, 0, 1)
        taken[f"{ours}.bias"] = variables[f"model/{theirs}/bias"]
    parts = {"weight": "gamma", "bias": "beta"}
    parts |= {"running_mean": "moving_mean", "running_var": "moving_variance"}
    for ours, theirs in norms.items():
        for part, name in parts.items():
            taken[f"{ours}.{part}"] = variables[f"model/{theirs}/{name}"]
        taken[f"{ours}.num_batches_tracked"] = torch.tensor(0)
    for name in ("last.weight", "last.bias", "norm.running_mean"):
        taken[name] = taken[name] / 255
    # (255 y − μ) / √(σ² + ε) = (y − μ/255) / √(σ'² + ε)
    epsilon = 1e-3
    taken["norm.running_var"] = (taken["norm.running_var"] + epsilon) / 255**2 - epsilon
    return _filled(weights, taken)


# Each takes the contents of the files in the registry's order.
LAYOUTS: dict[str, Callable[..., Restorer]] = {
    "matconvnet": from_matconvnet,
    "kair": from_kair,
    "bias-free": from_bias_free,
    "batch-norm": from_batch_norm,
    "released": from_released,
    "nlrn": from_nlrn,
}


def plain_tensors(file: Path | BytesIO, allowed: Iterable[type] = ()) -> Mapping[str, Tensor]:
    """The state dict in a file of PyTorch.

    Args:
        file: holds a state dict, or a training checkpoint with one as ``state_dict``, or alone in a
            list ``model``.
        allowed: classes besides plain tensors that the file may hold objects of.

    Raises:
        OSError: if there is no such file.
        ValueError: if it holds more than plain tensors, or no state dict.
    """
    try:
        with torch.serialization.safe_globals(list(allowed)):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:
        # The loader raises many kinds of error; all mean that this is no file of plain tensors.
        raise ValueError("is no checkpoint of plain tensors") from error
    if isinstance(content, Mapping):
        content = content.get("state_dict", content.get("model", content))
    if isinstance(content, list) and len(content) == 1:
        (content,) = content
    if not isinstance(content, Mapping) or not all(
        isinstance(tensor, Tensor) for tensor in content.values()
    ):
        raise ValueError("holds no state dict")
    return content


def _by_rows(channels: int) -> list[int]:
    """Where the four pixels of a square are, colour by colour, in MATLAB's order."""
    return [4 * colour + pixel for colour in range(channels // 4) for pixel in (0, 2, 1, 3)]


def _stack(layers: Sequence[Layer]) -> dict[str, Tensor]:
    """Convolutions in their order, named as our models name them."""
    middle = [f"middle.{k}" for k in range(len(layers) - 2)]
    named = zip(["first", *middle, "last"], layers, strict=True)
    return {
        f"{name}.{part}": tensor
        for name, layer in named
        for part, tensor in zip(("weight", "bias"), layer, strict=True)
    }


def _filled(weights: PublishedWeights, tensors: dict[str, Tensor]) -> Restorer:
    """The model that the registry says, with these weights and no others."""
    model = build(weights.model, weights.options)
    model.load_state_dict(tensors)
    return model
