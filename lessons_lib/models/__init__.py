"""Trainable models by name: one architecture per file, each with its frozen config."""

from dataclasses import asdict
from typing import Any

from torch import Tensor

from lessons_lib.models.base import NonLocalConfig, PatchConfig, PatchModel, PatchSizes
from lessons_lib.models.csr import CSR, CSRConfig
from lessons_lib.models.groupsc import GroupSC
from lessons_lib.models.lista import Lista, ListaConfig
from lessons_lib.models.restore import restore
from lessons_lib.models.sc import PatchSC

MODELS: dict[str, tuple[type[PatchModel], type[PatchSizes]]] = {
    "lista": (Lista, ListaConfig),
    "sc": (PatchSC, PatchConfig),
    "groupsc": (GroupSC, NonLocalConfig),
    "csr": (CSR, CSRConfig),
}


def build(name: str, options: dict[str, Any], dictionary: Tensor | None = None) -> PatchModel:
    """A model from its name and plain options, as a config file or a checkpoint holds them.

    Args:
        name: one of `MODELS`.
        options: of the model's config class; what is left out keeps its default.
        dictionary: ``(m, K)`` to start from.

    Raises:
        ValueError: unknown name or option, or a value that the config refuses.
    """
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}; known: {', '.join(MODELS)}")
    model, config = MODELS[name]
    unknown = set(options) - set(config.__dataclass_fields__)
    if unknown:
        raise ValueError(f"model {name!r} has no option {', '.join(sorted(unknown))}")
    given = dict(options)
    for key, value in options.items():
        wanted = type(getattr(config(), key))
        if wanted is tuple and type(value) is list:  # neither TOML nor JSON has tuples
            if not all(isinstance(number, int | float) for number in value):
                raise ValueError(f"{key} = {value!r} should be a list of numbers")
            given[key] = tuple(map(float, value))
        elif type(value) is not wanted and not (wanted is float and type(value) is int):
            raise ValueError(f"{key} = {value!r} should be of type {wanted.__name__}")
    return model(config(**given), dictionary)


def describe(model: PatchModel) -> tuple[str, dict[str, Any]]:
    """Name and options that `build` makes the same model of."""
    for name, (kind, _) in MODELS.items():
        if type(model) is kind:
            options = asdict(model.config)
            return name, {k: list(v) if isinstance(v, tuple) else v for k, v in options.items()}
    raise ValueError(f"{type(model).__name__} is not one of the models")


__all__ = [
    "CSR",
    "MODELS",
    "GroupSC",
    "Lista",
    "PatchModel",
    "PatchSC",
    "build",
    "describe",
    "restore",
]
