"""Files that are whole or not there: written beside, and put in place in one atomic move."""

import contextlib
import glob
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# A process that was killed leaves what it was writing. After so many seconds it is swept away.
STALE = 600


def replace_file(path: Path, content: bytes) -> None:
    """Put content into a file, in place of an older one; its folder is made if need be."""
    with part_of(path) as part:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, part)
        os.replace(part, path)


def download(url: str, path: Path, recognised: Callable[[bytes], bool], bar: Any = False) -> bytes:
    """Download a file, and put it in place if it is the right one.

    Args:
        url: where it is.
        path: where it goes.
        recognised: whether a content is the right one.
        bar: what pooch is to tell of its progress: an object like a bar of tqdm.

    Returns:
        The content.

    Raises:
        Exception: what pooch and requests raise; see `reason`.
        ValueError: if another file came.
    """
    import pooch

    downloader = pooch.HTTPDownloader(timeout=(10, 60), progressbar=bar)
    with part_of(path) as part:
        downloader(url, str(part), None)
        content = part.read_bytes()
        if not recognised(content):
            raise ValueError("wrong hash")
        # Others of a classroom may read it, too, whatever this process's mask says.
        part.chmod(0o644)
        os.replace(part, path)
    return content


def reason(error: Exception) -> str:
    """Why a download failed, in a few words."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "timed out"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "broke off"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    if isinstance(error, ValueError) and "hash" in str(error):
        return "sent another file (wrong hash)"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).partition("\n")[0] or type(error).__name__


@contextmanager
def part_of(path: Path) -> Iterator[Path]:
    """A name beside a file for what is being written; whatever is left of it is removed.

    Folders that had to be made are removed, too, if nothing came into them.
    """
    made = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()  # refuses where there is something in it


def _sweep(path: Path) -> None:
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > STALE:
                left.unlink()
