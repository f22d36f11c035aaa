"""Trained weights by name: a safetensors file and, beside it, a card that says where it is from.

``data/weights/NAME.safetensors`` and ``NAME.json`` travel with the library. Nothing here unpickles
code: a file from elsewhere can at worst be refused. A name with an "@" is that of weights which
others have published, see `lessons_lib.published`.
"""

import functools
import json
import math
import os
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, get_origin

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from lessons_lib.data import shipped, unknown
from lessons_lib.files import replace_file
from lessons_lib.models import MODELS, Restorer, build, describe
from lessons_lib.models.released import PublishedModel, from_published
from lessons_lib.published import (
    CheckpointError,
    PublishedWeights,
    load_published,
    plain_tensors,
    published_weights,
)
from lessons_lib.tasks import GOALS, Goal

SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Card:
    """Where trained weights come from and what they may be used for.

    Args:
        name: of the files.
        model: a name of `lessons_lib.models.MODELS`.
        options: of the model's config, all of them.
        sigma_255: noise they were trained for, white being 255; 0 if not for one level.
        parameters: how many.
        run: the training's config: of the run, and of its stage that the weights come from.
        steps: training steps done in that stage.
        finished: whether these are all that the config asks for.
        hours: of training, by device.
        curve: pairs of steps and dB on held-out training crops, one for each look.
        revision: of the code that trained them.
        data: training images.
        licence: of the weights and the code.
        data_licence: of the training images.
        sha256: of the safetensors file.
        task: what they restore, a name of `lessons_lib.tasks.GOALS`.
        quality: of the JPEG files they were trained for; else 0.
        scale: how many times larger they make images; 0 for none, or for all usual scales.
        hours_before: of training behind the weights that the stage began from.
        pixels_before: of all crops that this training looked at.
    """

    name: str
    model: str
    options: dict[str, Any]
    sigma_255: float
    parameters: int
    run: dict[str, Any]
    steps: int
    finished: bool
    hours: dict[str, float]
    curve: list[list[float]]
    revision: str
    data: str
    licence: str
    data_licence: str
    sha256: str
    task: str = "denoise"
    quality: int = 0
    scale: int = 0
    hours_before: float = 0.0
    pixels_before: int = 0

    @property
    def sigma(self) -> float | None:
        """Noise on the [0, 1] scale, if they are for one level of it."""
        return self.sigma_255 / 255 if self.sigma_255 else None

    @property
    def held_out_psnr(self) -> float:
        """dB on held-out training crops at the end."""
        return self.curve[-1][1]

    @property
    def late_gain(self) -> float:
        """dB gained on held-out crops since three quarters of the steps: is it still rising?"""
        before = [psnr for step, psnr in self.curve if step <= 0.75 * self.steps]
        return self.held_out_psnr - before[-1] if before else math.nan

    @property
    def hours_in_all(self) -> float:
        """Hours of training, with those of all that it began from."""
        return self.hours_before + sum(self.hours.values())

    @property
    def pixels_in_all(self) -> int:
        """Pixels of all crops that the training has looked at, and all that it began from."""
        return self.pixels_before + self.steps * self.run["batch"] * self.run["crop"] ** 2

    @property
    def setting(self) -> str:
        """What they were trained for: "sigma=25", "q=10", or the task's name."""
        levels = self.options.get("levels_255") or [self.options.get("loudest_255", 0.0)]
        goal = Goal(
            self.sigma_255 / 255, self.quality, tuple(level / 255 for level in levels), self.scale
        )
        return GOALS[self.task].goal_setting(goal)

    def serves(self, task: str) -> bool:
        """Whether they can be used for a task."""
        return task == self.task or task in GOALS[self.task].also


@functools.cache
def cards() -> dict[str, Card]:
    """Cards of all weights that travel with the library, by name.

    Raises:
        CheckpointError: see `read_card`.
    """
    folder = shipped("weights")
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".json"))
    return {card.name: card for card in (read_card(folder / name) for name in names)}


def read_card(file: Traversable) -> Card:
    """The card in a JSON file.

    Raises:
        CheckpointError: if it holds none; says why.
    """
    try:
        # Nesting without end is no card either, and ends in a RecursionError.
        card = Card(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} is no card of weights: {error}") from error
    for item in fields(Card):
        value, wanted = getattr(card, item.name), item.type
        kind: Any = get_origin(wanted) or wanted
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise CheckpointError(f"{file}: {item.name} is no {kind.__name__}: {value!r:.80}")
    looks = [pair for pair in card.curve if len(pair) == 2 and all(map(_is_number, pair))]
    if card.model not in MODELS or card.task not in GOALS or not looks or looks != card.curve:
        raise CheckpointError(f"{file}: is no card of a model, a task and a curve that there are")
    if not all(_is_number(card.run.get(key)) for key in ("batch", "crop", "steps")):
        raise CheckpointError(f"{file}: its run has no batch, crop and steps")
    if card.options.get("channels") not in (1, 3):
        raise CheckpointError(f"{file}: is for images of neither 1 nor 3 channels")
    return card


def read_weights(
    card: Card, content: bytes, device: str | torch.device = "cpu", name: str = ""
) -> Restorer:
    """The model that a card describes, with the weights of a safetensors file.

    Args:
        card: of the weights.
        content: of the file.
        device: where to put the model.
        name: of the file, for messages; the card's where not given.

    Raises:
        CheckpointError: if the file is not the one of the card, or its weights do not fit.
    """
    name = name or card.name
    if sha256(content).hexdigest() != card.sha256:
        raise CheckpointError(f"the weights of {name} are not those that its card describes")
    try:
        model = build(card.model, card.options)
        model.load_state_dict(load(content))
    except (SafetensorError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"the weights of {name} do not fit its card: {error}") from error
    model.sigma = card.sigma
    return model.eval().requires_grad_(False).to(device)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def known_weights() -> dict[str, Card | PublishedWeights]:
    """What is known of all weights by name: those of the library, and those of other authors."""
    return {**cards(), **published_weights()}


def find_card(name: str) -> Card | PublishedWeights | None:
    """What is known of weights by name, or in a file of one's own; None if it is neither.

    Raises:
        CheckpointError: see `load_card`, of a file.
    """
    return load_card(name) if name.endswith(SUFFIX) else known_weights().get(name)


def load_card(name: str) -> Card:
    """Card of weights by name, or of a ``.safetensors`` file as `save_model` writes it.

    Raises:
        CheckpointError: unknown name (says the nearest); or of a file, there is none, or no card
            beside it.
    """
    if name.endswith(SUFFIX):
        if not Path(name).is_file():
            raise CheckpointError(f"{name}: no such file")
        file = Path(name).with_suffix(".json")
        if not file.is_file():
            raise CheckpointError(
                f"{name} has no card beside it, {file.name}: 'lessons models export' writes both"
            )
        return read_card(file)
    if name not in cards():
        raise CheckpointError(unknown("model", name, cards()))
    return cards()[name]


def load_model(name: str | os.PathLike[str], device: str | torch.device = "cpu") -> Restorer:
    """A trained model by name, ready to restore.

    Args:
        name: see `cards`; with an "@" in it, see `lessons_lib.published.published_weights`; or a
            ``.safetensors`` file, see `load_card`.
        device: where to put it.

    Returns:
        The model in evaluation mode, its weights fixed; ``sigma`` is the level it was trained for.

    Raises:
        CheckpointError: unknown name, or a file that is not what its card says.

    >>> load_model("sc-gray-25").config.patch
    9
    """
    name = os.fspath(name)
    if "@" in name and not name.endswith(SUFFIX):
        return load_published(name, device)
    card = load_card(name)
    own = name.endswith(SUFFIX)
    file = Path(name) if own else shipped("weights") / f"{name}{SUFFIX}"
    try:
        content = file.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read: {error.strerror}") from error
    return read_weights(card, content, device, name)


def save_model(model: Restorer, folder: Path, **facts: Any) -> Card:
    """Write a model's weights and card.

    Args:
        model: one of `lessons_lib.models.MODELS`.
        folder: is made if need be.
        facts: what `Card` needs and the model itself does not know.

    Returns:
        The card.
    """
    kind, options = describe(model)
    weights = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
    content = save(weights, metadata={"format": "pt"})
    card = Card(
        model=kind,
        options=options,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        sha256=sha256(content).hexdigest(),
        **facts,
    )
    text = json.dumps(asdict(card), indent=2, allow_nan=False) + "\n"
    replace_file(folder / f"{card.name}{SUFFIX}", content)
    replace_file(folder / f"{card.name}.json", text.encode())
    cards.cache_clear()
    return card


def import_published(path: Path) -> PublishedModel:
    """Read a checkpoint of the authors' released SC or GroupSC.

    Nothing in the file is executed: it is read by PyTorch's loader for plain tensors.

    Args:
        path: a state dict, or a training checkpoint that holds one as ``state_dict``.

    Returns:
        A model that computes what the released code computes, in evaluation mode.

    Raises:
        CheckpointError: no such file, one that holds more than plain data, or another layout; see
            `from_published`.
    """
    try:
        return from_published(plain_tensors(path)).eval().requires_grad_(False)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
