"""Trainable models by name: one architecture per file, each with its frozen config."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from torch import Tensor

from lessons_lib.models.bias_free import BiasFree, BiasFreeConfig
from lessons_lib.models.cbdnet import CBDNet, CBDNetConfig
from lessons_lib.models.class_aware import ClassAware, ClassAwareConfig
from lessons_lib.models.csr import CSR, CSRConfig
from lessons_lib.models.dncnn import DnCNN, DnCNNConfig
from lessons_lib.models.ffdnet import FFDNet, FFDNetConfig
from lessons_lib.models.groupsc import GroupSC
from lessons_lib.models.lista import Lista, ListaConfig
from lessons_lib.models.nlrn import NLRN, NLRNConfig
from lessons_lib.models.non_local import NonLocalConfig
from lessons_lib.models.nsr import NSR, NSRConfig
from lessons_lib.models.restore import restore
from lessons_lib.models.restorer import Restorer
from lessons_lib.models.sc import PatchSC
from lessons_lib.models.unrolled import PatchConfig


@dataclass(frozen=True)
class Architecture:
    """A model that can be built by name.

    Attributes:
        model: its class.
        config: that of its config.
        title: what papers and tables call it.
        lesson: the lesson that teaches it.
        paper_pixels: of all crops that the paper's training looks at; 0 where that is not known.
        paper_rounds: whether its paper scores estimates that were rounded to 8 bits.
        variants: what papers call it instead, by the task's name and whether there are colours.
        by_size: what papers and tables call a network of some sizes, a config; the title, where
            all sizes are called the same.
    """

    model: type[Restorer]
    config: type
    title: str
    lesson: int
    paper_pixels: int = 0
    paper_rounds: bool = True
    variants: dict[tuple[str, bool], str] = field(default_factory=dict)
    by_size: Callable[[Any], str] | None = None

    def name_in_tables(self, options: dict[str, Any], task: str, colour: bool) -> str:
        """What papers call it in a task, or tables where no paper has a network of its sizes.

        Args:
            options: the network's, see `build`.
            task: its name.
            colour: whether there are colours.
        """
        if self.by_size is not None:
            return self.by_size(self.config(**options))
        return self.variants.get((task, colour), self.title)


def _nsr(config: NSRConfig) -> str:
    alike = replace(config, channels=1, scale=1)
    known = {
        NSRConfig(): "NSR baseline",
        NSRConfig(expansion=1, groups=2, cardinality=16): "NSR sparse-",
        NSRConfig(groups=2, cardinality=16): "NSR sparse+",
    }
    return known.get(alike, f"NSR, {config.blocks} blocks")


def _nlrn(config: NLRNConfig) -> str:
    usual = config == NLRNConfig(channels=config.channels, tile=config.tile)
    return "NLRN" if usual else f"NLRN, {config.states} states of {config.width} channels"


def _cbdnet(config: CBDNetConfig) -> str:
    usual = config == CBDNetConfig(channels=config.channels)
    return "CBDNet" if usual else f"CBDNet, {config.width} channels"


# 120,000 steps of 32 crops of 56 x 56, whatever the task: GroupSC §B and its released code.
GROUPSC_PIXELS = 120_000 * 32 * 56**2
_GROUPSC: dict[str, Any] = {"paper_pixels": GROUPSC_PIXELS, "paper_rounds": False}

# In the order in which tables have them.
MODELS = {
    "lista": Architecture(Lista, ListaConfig, "LISTA", lesson=4, **_GROUPSC),
    "sc": Architecture(PatchSC, PatchConfig, "SC", lesson=5, **_GROUPSC),
    "csr": Architecture(CSR, CSRConfig, "CSR", lesson=9, **_GROUPSC),
    "groupsc": Architecture(GroupSC, NonLocalConfig, "GroupSC", lesson=8, **_GROUPSC),
    "dncnn": Architecture(
        DnCNN,
        DnCNNConfig,
        "DnCNN",
        lesson=13,
        # 128 times 1600 crops of 40 x 40, fifty times over: DnCNN §IV-A.
        paper_pixels=50 * 128 * 1600 * 40**2,
        variants={
            ("denoise", True): "CDnCNN",
            ("blind", True): "CDnCNN-B",
            ("jpeg", False): "DnCNN-3",
            ("sr", False): "DnCNN-3",
        },
    ),
    "ffdnet": Architecture(FFDNet, FFDNetConfig, "FFDNet", lesson=14),
    "bias-free": Architecture(BiasFree, BiasFreeConfig, "BF-CNN", lesson=14),
    "cbdnet": Architecture(CBDNet, CBDNetConfig, "CBDNet", lesson=15, by_size=_cbdnet),
    "class-aware": Architecture(ClassAware, ClassAwareConfig, "class-aware net", lesson=15),
    "nlrn": Architecture(NLRN, NLRNConfig, "NLRN", lesson=11, by_size=_nlrn),
    "nsr": Architecture(NSR, NSRConfig, "NSR", lesson=12, by_size=_nsr),
}


def build(name: str, options: dict[str, Any], dictionary: Tensor | None = None) -> Restorer:
    """A model from its name and plain options, as a config file or a checkpoint holds them.

    Args:
        name: one of `MODELS`.
        options: of the model's config class; what is left out keeps its default.
        dictionary: ``(m, K)`` to start from, of a model that `starts_from_dictionary`.

    Raises:
        ValueError: unknown name or option, a value that the config refuses, or a dictionary for a
            model that has none.
    """
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}; known: {', '.join(MODELS)}")
    model, config = MODELS[name].model, MODELS[name].config
    unknown = set(options) - {item.name for item in fields(config)}
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
    if dictionary is None:
        return model(config(**given))
    if not model.starts_from_dictionary:
        raise ValueError(f"model {name!r} starts from no dictionary")
    return model(config(**given), dictionary)


def describe(model: Restorer) -> tuple[str, dict[str, Any]]:
    """Name and options that `build` makes the same model of."""
    for name, architecture in MODELS.items():
        if type(model) is architecture.model:
            options = asdict(model.config)
            return name, {k: list(v) if isinstance(v, tuple) else v for k, v in options.items()}
    raise ValueError(f"{type(model).__name__} is not one of the models")


__all__ = [
    "CSR",
    "MODELS",
    "NLRN",
    "NSR",
    "Architecture",
    "BiasFree",
    "CBDNet",
    "ClassAware",
    "DnCNN",
    "FFDNet",
    "GroupSC",
    "Lista",
    "PatchSC",
    "Restorer",
    "build",
    "describe",
    "restore",
]
