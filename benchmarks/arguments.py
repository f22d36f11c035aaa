"""Arguments of the benchmarks that are refused before anything is measured."""

import argparse
from collections.abc import Iterable, Mapping

from lessons_lib import data
from lessons_lib.checkpoints import CheckpointError, load_model


def at_least_one(text: str) -> int:
    """A whole number, 1 or more, as argparse's ``type``."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def need(
    parser: argparse.ArgumentParser, datasets: Iterable[str], weights: Iterable[str] = ()
) -> None:
    """End with one line of message where data sets or weights are unknown or cannot be had."""
    try:
        for name in datasets:
            data.load(name)
        for name in weights:
            load_model(name)
    except (data.DataError, CheckpointError) as error:
        parser.error(str(error))


def networks(description: str, known: Mapping[str, str], dataset: str) -> argparse.Namespace:
    """Which networks to score on a data set, and whether to keep the scores.

    Args:
        description: of the benchmark, as it is.
        known: weights of each network.
        dataset: name.

    Returns:
        ``networks``, names out of those known, all by default; and ``write``.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", default=list(known), choices=known)
    parser.add_argument("--write", action="store_true", help="keep results, renew the page")
    given = parser.parse_args()
    need(parser, [dataset], [known[name] for name in given.networks])
    return given
