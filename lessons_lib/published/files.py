"""Files of published weights: found on this machine or downloaded, and verified before any use.

Where a file may be, in this order: in ``$LESSONS_PUBLISHED/<owner>+<repository>/<path>``, in the
cache beside the data sets. What is nowhere is downloaded into the cache from the repository that it
was published in.
"""

import os
from collections.abc import Callable
from hashlib import sha1, sha256
from pathlib import Path

from lessons_lib.data import cache_folder
from lessons_lib.files import download, reason
from lessons_lib.published.registry import CheckpointError, PublishedWeights, find_published

Progress = Callable[[int, int], None]


def fetch(name: str, progress: Progress | None = None) -> Path:
    """Make sure that published weights are on this machine.

    Args:
        name: see `published_weights`.
        progress: called with (bytes done, bytes in all) while it is downloaded.

    Returns:
        Where their first file is; all are what the registry says.

    Raises:
        CheckpointError: unknown name, a file that is not what was published, or one that cannot be
            downloaded.
    """
    paths = [obtain(file, progress)[0] for file in find_published(name).files]
    return paths[0]


def obtain(weights: PublishedWeights, progress: Progress | None = None) -> tuple[Path, bytes]:
    """Where one file of published weights is, and its verified content; see `fetch`."""
    path = _place(weights)
    remedy = f"delete it, and it is downloaded again from {weights.url}"
    chosen = os.environ.get("LESSONS_PUBLISHED")
    if chosen and path.is_relative_to(chosen):
        remedy = f"replace it by {weights.url}, or set LESSONS_PUBLISHED to another folder"
    if not path.is_file():
        return path, _download(weights, path, progress)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    if not recognised(weights, content):
        raise CheckpointError(
            f"{path} is not the file that was published as {weights.name}: {remedy}"
        )
    return path, content


def is_here(name: str) -> bool:
    """Whether published weights are on this machine, so that nothing has to be downloaded.

    Raises:
        CheckpointError: unknown name.
    """
    return all(_place(file).is_file() for file in find_published(name).files)


def _place(weights: PublishedWeights) -> Path:
    """Where a file is, or will be once it is downloaded."""
    chosen = os.environ.get("LESSONS_PUBLISHED")
    if chosen and (Path(chosen) / weights.place).is_file():
        return Path(chosen) / weights.place
    return cache_folder() / "published" / weights.place


def recognised(weights: PublishedWeights, content: bytes) -> bool:
    """Whether a file's content is what was published.

    Raises:
        CheckpointError: if nothing is known of the content to tell by.
    """
    if weights.sha256:
        return sha256(content).hexdigest() == weights.sha256
    if not weights.blob:
        raise CheckpointError(
            f"no hash of {weights.name} is known to check it by: download {weights.url} yourself, "
            "and read it with lessons_lib.checkpoints.import_published"
        )
    blob = sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
    return blob.hexdigest().startswith(weights.blob)


def _download(weights: PublishedWeights, path: Path, progress: Progress | None) -> bytes:
    """Download a file, and put it in place if it is what was published."""
    recognised(weights, b"")  # a file that nothing is known of is not even asked for
    bar = _Bar(weights.size, progress) if progress and weights.size else False
    try:
        return download(weights.url, path, lambda content: recognised(weights, content), bar)
    except Exception as error:
        raise CheckpointError(
            f"{weights.name} could not be downloaded from {weights.url} ({reason(error)}); check "
            f"the network, or set LESSONS_PUBLISHED to a folder that holds {weights.place}"
        ) from error


class _Bar:
    """What pooch tells of a download, as tqdm would like to hear it."""

    def __init__(self, total: int, progress: Progress) -> None:
        self.total, self.done, self.progress = total, 0, progress

    def update(self, count: int) -> None:
        self.done += count
        self.progress(min(self.done, self.total), self.total)

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        pass
