"""The leak guard: no image of a test set is ever trained on.

An image is known by its content, whatever its name: by the hash of its file, and by the hash of
its pixels, which a change of format leaves as they are. ``test_pixels.csv`` holds the pixel hashes
of the registry's test sets, in colour and in gray, so that they need not be on this machine.
"""

import csv
import hashlib
from collections.abc import Iterator
from functools import cache

from torch import Tensor

from lessons_lib import data


class LeakError(ValueError):
    """A training image is in a test set."""


def refuse_test_images(dataset: data.Dataset) -> None:
    """Look for test images in a training set.

    Args:
        dataset: about to be trained on.

    Raises:
        LeakError: says the first image that is in a test set, and in which.
    """
    files = {
        file.sha256: f"{entry.name}/{file.name}"
        for entry in data.registry().values()
        if entry.role == "test"
        for file in entry.files
    }
    known = files | test_pixels()
    for file, (name, image) in zip(dataset.files, dataset, strict=True):
        for digest in (file.sha256, *pixel_hashes(image)):
            if digest in known:
                raise LeakError(
                    f"{dataset.entry.name}/{name} is the test image {known[digest]}: "
                    "a score on it would mean nothing after training on it"
                )


def pixel_hashes(image: Tensor) -> Iterator[str]:
    """sha256 of the size and the 8-bit pixels of a (1, C, H, W) image, and of its gray version."""
    for version in (image, data.to_gray(image)) if image.shape[1] == 3 else (image,):
        pixels = (version[0] * 255).round().byte()
        content = repr(tuple(pixels.shape)).encode() + pixels.numpy().tobytes()
        yield hashlib.sha256(content).hexdigest()


@cache
def test_pixels() -> dict[str, str]:
    """Pixel hashes of test images, each with the image's set and name."""
    with data.shipped("test_pixels.csv").open(encoding="utf-8") as table:
        return {row["sha256"]: f"{row['dataset']}/{row['file']}" for row in csv.DictReader(table)}


def pixel_table() -> Iterator[tuple[str, str, str]]:
    """Rows (data set, file, sha256) of ``test_pixels.csv``, from the test sets on this machine."""
    for entry in data.registry().values():
        if entry.role == "test" and data.locate(entry.name) is not None:
            for name, image in data.load(entry.name):
                for digest in pixel_hashes(image):
                    yield entry.name, name, digest
