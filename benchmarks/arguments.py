"""Arguments of the benchmarks that are refused before anything is measured."""

import argparse
from collections.abc import Iterable

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
