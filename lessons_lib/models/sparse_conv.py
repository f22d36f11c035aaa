"""A convolution whose kernel is mixed for each image from a few: softmax sparsity groups.

Fan, Yu, Mei, Zhang, Fu, Liu, Huang, *Neural sparse representation for image restoration*, 2020.
"""

import copy
import math
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, gumbel_softmax, pad

GATES = ("softmax", "sigmoid", "gumbel", "hard")

Model = TypeVar("Model", bound=nn.Module)


class Gate(nn.Module):
    """How much of each group of kernels an image gets: ``γ = σ(MLP(Pool(x)))``.

    Args:
        inputs: channels of the features.
        groups: sparsity groups k, of which one should be chosen.
        cardinality: cardinal groups d, which choose each by itself.
        kind: σ. "softmax"; "sigmoid", as CondConv has it, which chooses nothing; "hard", one group
            alone, by a choice that cannot be learned; "gumbel", which draws a group in training,
            with the gradient of a softmax, and is "hard" else.
        temperature: what a softmax's logits are divided by: the smaller, the harder. Of "gumbel" it
            shapes the gradient; which group is drawn does not depend on it.
        depth: layers of the MLP, 1 or 2.

    Raises:
        ValueError: for an unknown kind, or a size that is not positive.

    Source: eq. 6, 7 and §3.3.
    """

    def __init__(
        self,
        inputs: int,
        groups: int,
        cardinality: int,
        kind: str = "softmax",
        temperature: float = 1.0,
        depth: int = 1,
    ) -> None:
        super().__init__()
        if kind not in GATES:
            raise ValueError(f"a gate is {', '.join(GATES)}, not {kind!r}")
        if min(groups, cardinality) < 1 or temperature <= 0 or depth not in (1, 2):
            raise ValueError(f"no such gate: {groups} x {cardinality}, {temperature=}, {depth=}")
        self.groups, self.cardinality = groups, cardinality
        self.kind, self.temperature = kind, temperature
        layers: list[nn.Module] = [nn.Linear(inputs, inputs), nn.ReLU()] if depth == 2 else []
        self.layers = nn.Sequential(*layers, nn.Linear(inputs, groups * cardinality))
        # A choice has no slope.
        self.layers.requires_grad_(kind != "hard")

    def forward(self, features: Tensor) -> Tensor:
        """Gates ``(B, k, d)`` of features ``(B, C, H, W)``, which are pooled over H and W."""
        logits = self.layers(features.mean(dim=(2, 3)))
        logits = logits.unflatten(1, (self.groups, self.cardinality))
        if self.kind == "sigmoid":
            return torch.sigmoid(logits / self.temperature)
        if self.kind == "gumbel" and self.training:
            return gumbel_softmax(logits, self.temperature, hard=True, dim=1)
        if self.kind in ("gumbel", "hard"):
            best = logits.argmax(dim=1, keepdim=True)
            return torch.zeros_like(logits).scatter_(1, best, 1.0)
        return torch.softmax(logits / self.temperature, dim=1)


class SparseConv2d(nn.Module):
    """A convolution with the kernel ``Ŵ = concat_j Σ_i γ_ji W^ji``, mixed for each image anew.

    It holds k kernels and costs as much as one. With one group and no sigmoid there is nothing to
    mix: it is `torch.nn.Conv2d`. With one group, a sigmoid and as many cardinal groups as outputs
    it is squeeze and excitation.

    Args:
        inputs: channels of what it sees.
        outputs: channels of what it makes; a multiple of the cardinality.
        kernel_size: side of the kernels, odd.
        groups: sparsity groups k.
        cardinality: cardinal groups d.
        gate: see `Gate`.
        temperature: see `Gate`.
        depth: see `Gate`.
        bias: whether each kernel has a bias, mixed as it is.
        padding_mode: what surrounds the image, as `torch.nn.functional.pad` names it: "constant"
            for zeros, "reflect", "replicate" or "circular".
        weight_norm: whether each kernel is a direction and a length of its own; `length` is what
            they start with.
        length: see ``weight_norm``.

    Attributes:
        weight: ``(k, outputs, inputs, s, s)``.
        bias: ``(k, outputs)``, or None.
        gate: a `Gate`, or None where there is nothing to choose.

    Raises:
        ValueError: for impossible sizes; see `Gate`.

    Source: eq. 10 and §5 of the supplement.
    Differs from the printed code, which fails without a bias and on features in channels-last
    order, forgets all padding but zeros, and reports k times its outputs.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel_size: int = 3,
        *,
        groups: int = 1,
        cardinality: int = 1,
        gate: str = "softmax",
        temperature: float = 1.0,
        depth: int = 1,
        bias: bool = True,
        padding_mode: str = "constant",
        weight_norm: bool = False,
        length: float = 1.0,
    ) -> None:
        super().__init__()
        if min(inputs, outputs, groups) < 1 or kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"no such convolution: {inputs} to {outputs}, side {kernel_size}")
        if cardinality < 1 or outputs % cardinality:
            raise ValueError(f"{outputs} outputs are no multiple of {cardinality} cardinal groups")
        self.reach, self.padding_mode = kernel_size // 2, padding_mode
        chooses = groups > 1 or gate == "sigmoid"
        self.gate = Gate(inputs, groups, cardinality, gate, temperature, depth) if chooses else None
        shape = (groups, outputs, inputs, kernel_size, kernel_size)
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.zeros(groups, outputs)) if bias else None
        self.length = nn.Parameter(torch.full((groups, outputs), length)) if weight_norm else None
        nn.init.uniform_(self.weight, -1, 1)
        with torch.no_grad():
            self.weight.mul_(1 / math.sqrt(inputs * kernel_size**2))

    def kernels(self) -> Tensor:
        """The k kernels ``(k, outputs, inputs, s, s)`` as they are mixed."""
        if self.length is None:
            return self.weight
        norms = torch.linalg.vector_norm(self.weight, dim=(2, 3, 4), keepdim=True)
        return self.weight * (self.length[:, :, None, None, None] / norms)

    def forward(self, features: Tensor, gates: Tensor | None = None) -> Tensor:
        """Convolve ``(B, inputs, H, W)``; the size stays.

        Args:
            features: what it sees.
            gates: ``(B, k, d)`` from elsewhere, in place of its own.

        Returns:
            ``(B, outputs, H, W)``.
        """
        if gates is None and self.gate is not None:
            gates = self.gate(features)
        if self.reach and self.padding_mode != "constant":
            features = pad(features, 4 * [self.reach], mode=self.padding_mode)
        padding = self.reach if self.padding_mode == "constant" else 0
        kernels = self.kernels()
        if gates is None:
            bias = None if self.bias is None else self.bias[0]
            return conv2d(features, kernels[0], bias, padding=padding)
        mixed = mix(kernels, gates)  # (B, outputs, inputs, s, s)
        biases = None if self.bias is None else mix(self.bias, gates).flatten()
        # One convolution with a group for each image. Faster, on processors, than to gather the
        # surroundings of each pixel for a batched product, and backwards than one image at a time.
        batch, outputs = mixed.shape[:2]
        joined = features.reshape(1, -1, *features.shape[-2:])
        found = conv2d(joined, mixed.flatten(0, 1), biases, padding=padding, groups=batch)
        return found.reshape(batch, outputs, *found.shape[-2:])

    def extra_repr(self) -> str:
        groups, outputs, inputs, side, _ = self.weight.shape
        return f"{inputs}, {outputs}, kernel_size={side}, groups={groups}"


def mix(kernels: Tensor, gates: Tensor) -> Tensor:
    """``concat_j Σ_i γ_ji W^ji``: kernels ``(k, outputs, …)``, mixed ``(B, outputs, …)``.

    Args:
        kernels: of all sparsity groups; their outputs are d cardinal groups, one after the other.
        gates: ``(B, k, d)``.

    Source: eq. 10.
    """
    batch, groups, cardinality = gates.shape
    parts = kernels.reshape(groups, cardinality, -1)
    return torch.einsum("bkd,kdn->bdn", gates, parts).reshape(batch, *kernels.shape[1:])


def sparsify(model: Model, groups: int, cardinality: int = 1, **options: Any) -> Model:
    """A copy of a network in which kernels are mixed wherever there was one.

    Every 3 × 3 convolution, or larger, whose outputs the cardinality divides becomes a
    `SparseConv2d` with its kernel k times over. So the copy computes what the network does, until
    it is trained. Of one of the library's models only ``forward`` is meant from then on: `restore`
    would still take it for what it was, which pools nothing and can be folded.

    Args:
        model: any network of `torch.nn.Conv2d` with stride 1, one group, and padding that keeps the
            size; other convolutions stay.
        groups: sparsity groups k.
        cardinality: cardinal groups d.
        **options: further ones of `SparseConv2d`; its gate must be one whose gates sum to 1.

    Raises:
        ValueError: for sigmoid gates, which do not; see `SparseConv2d`.
    """
    if options.get("gate") == "sigmoid":
        raise ValueError("sigmoid gates do not sum to 1, so the network would change")
    sparse = copy.deepcopy(model)
    for name, layer in list(sparse.named_modules()):
        if isinstance(layer, nn.Conv2d) and _fits(layer, cardinality):
            parent, _, own = name.rpartition(".")
            replaced = _sparse(layer, groups, cardinality, options)
            setattr(sparse.get_submodule(parent), own, replaced)
    return sparse


def _fits(layer: nn.Conv2d, cardinality: int) -> bool:
    side = layer.kernel_size[0]
    plain = layer.stride == (1, 1) and layer.dilation == (1, 1) and layer.groups == 1
    square = layer.kernel_size == (side, side) and side > 1 and side % 2 == 1
    kept = layer.padding in ((side // 2, side // 2), "same")
    return plain and square and kept and layer.out_channels % cardinality == 0


def _sparse(
    layer: nn.Conv2d, groups: int, cardinality: int, options: dict[str, Any]
) -> SparseConv2d:
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    new = SparseConv2d(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size[0],
        groups=groups,
        cardinality=cardinality,
        bias=layer.bias is not None,
        padding_mode=mode,
        **options,
    ).to(layer.weight)
    with torch.no_grad():
        if new.length is not None:
            new.length.copy_(layer.weight.flatten(1).norm(dim=1).expand_as(new.length))
        new.weight.copy_(layer.weight.expand_as(new.weight))
        if new.bias is not None and layer.bias is not None:
            new.bias.copy_(layer.bias.expand_as(new.bias))
    return new.train(layer.training)
