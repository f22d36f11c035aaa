"""Data sets by name: found on this machine or downloaded, and verified before a pixel is used.

A folder of one's own photographs is a data set, too: its name is its path.

Where a set's folder may be, in this order: inside scikit-image (the set `samples`, and what is not
drawn of `Unlike12` and `CUnlike12`), in ``$LESSONS_DATA/<name>/``, in the cache
(``$LESSONS_CACHE`` or the user's cache folder). What is nowhere is downloaded into the cache: first
from the server ``$LESSONS_MIRROR`` if there is one, laid out ``<name>/<file>``, then from the
addresses of the registry.
"""

import csv
import difflib
import hashlib
import importlib.resources
import importlib.util
import os
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources.abc import Traversable
from pathlib import Path
from urllib.parse import quote, urlsplit

import torch
from torch import Tensor

from lessons_lib.files import download, reason
from lessons_lib.images import FORMATS, read_image
from lessons_lib.pictures import PICTURES, SIDE, draw

SAMPLES = "samples"
# Upper left corner, line and column, of what a set of drawn pictures takes of a photograph.
CORNERS = {"astronaut.png": (10, 128), "ihc.png": (160, 160), "retina.jpg": (500, 100)}

Progress = Callable[[int, int], None]


class DataError(ValueError):
    """A data set that is unknown, cannot be had, or is not what the registry says."""


@dataclass(frozen=True)
class File:
    """One row of the registry; or a picture of `PICTURES`, which has no bytes and no hash."""

    name: str
    bytes: int
    sha256: str
    urls: tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """What is known of a data set without having it.

    ``kind`` is gray, colour or mixed; ``role`` is samples, train, test, drawn (a test on pictures
    that are drawn when they are asked for, and cut out of scikit-image's photographs), noisy
    (photographs with real noise, so that there is no clean reference), or own (a folder).
    ``redistribution`` is whether the licence lets anybody pass the files on, as in a kit.
    """

    name: str
    title: str
    kind: str
    role: str
    origin: str
    citation: str
    licence: str
    files: tuple[File, ...]
    redistribution: bool = False

    @property
    def offline(self) -> bool:
        """Whether all of it comes with the library and what it requires."""
        return self.role in ("samples", "drawn", "own")


@dataclass(frozen=True)
class Dataset:
    """A data set on this machine; iterating yields ``(file name, (1, C, H, W) image)``.

    Every file is compared with the registry's sha256 when it is read. What is drawn or cut is
    turned to gray where the set is gray.
    """

    entry: Entry
    folder: Path
    files: tuple[File, ...]

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        for file in self.files:
            yield file.name, self._image(file)

    @property
    def sha256(self) -> str:
        """One hash for the whole: of the files' hashes, in their order.

        A picture that is drawn has that of its pixels as they come out on this machine.
        """
        hashes = (
            file.sha256 or hashlib.sha256(self._image(file).numpy().tobytes()).hexdigest()
            for file in self.files
        )
        return hashlib.sha256("".join(hashes).encode()).hexdigest()

    def _image(self, file: File) -> Tensor:
        if file.sha256 and _sha256(self.folder / file.name) != file.sha256:
            raise DataError(
                f"{self.folder / file.name} is not the file of the registry; "
                f"'lessons data verify {self.entry.name}' says more"
            )
        image = read_image(self.folder / file.name).pixels if file.sha256 else draw(file.name)
        if self.entry.role != "drawn":
            return image
        top, left = CORNERS.get(file.name, (0, 0))
        part = image[..., top : top + SIDE, left : left + SIDE]
        return to_gray(part) if self.entry.kind == "gray" else part.clone()


@cache
def registry() -> dict[str, Entry]:
    """All data sets by name, as ``registry.csv`` and ``datasets.toml`` describe them."""
    files: dict[str, list[File]] = {}
    with shipped("registry.csv").open(encoding="utf-8") as table:
        for row in csv.DictReader(table):
            file = File(row["file"], int(row["bytes"]), row["sha256"], tuple(row["url"].split()))
            files.setdefault(row["dataset"], []).append(file)
    notes = tomllib.loads(shipped("datasets.toml").read_text(encoding="utf-8"))
    for name, note in notes.items():
        if note["role"] == "drawn":
            files[name] += [File(picture, 0, "", ()) for picture in PICTURES]
    return {name: Entry(name, files=tuple(files[name]), **note) for name, note in notes.items()}


def dataset_names() -> list[str]:
    """Names of all data sets, here or not."""
    return list(registry())


def entry(name: str) -> Entry:
    """What is known of one data set, or of a folder.

    Args:
        name: one of `dataset_names`; or else a path to a folder of photographs. Those in it are
            taken by name, and not those in folders within it. They are colour if all are.

    Raises:
        DataError: unknown name (says the nearest one), or a folder without photographs.
        ImageError: a photograph of the folder that cannot be read.
    """
    if name in registry():
        return registry()[name]
    if name and Path(name).is_dir():
        return _own_folder(name)
    if Path(name).name != name:
        raise DataError(f"{name}: no such folder")
    raise DataError(unknown("data set", name, registry()))


@cache
def _own_folder(name: str) -> Entry:
    paths = sorted(path for path in Path(name).iterdir() if path.suffix.lower() in FORMATS)
    if not paths:
        raise DataError(f"{name}: holds no photographs ({' '.join(FORMATS)})")
    files = tuple(File(path.name, path.stat().st_size, _sha256(path), ()) for path in paths)
    colour = all(read_image(path).pixels.shape[1] == 3 for path in paths)
    kind, title = "colour" if colour else "gray", "a folder of photographs"
    return Entry(name, title, kind, "own", str(Path(name).resolve()), "none", "not known", files)


def locate(name: str) -> Path | None:
    """Find the folder that holds a data set whole; None if there is none.

    Names and sizes are looked at here; contents are when they are read, or by `verify`.
    """
    wanted = entry(name)
    return _find(wanted, wanted.files)


def load(name: str, limit: int | None = None) -> Dataset:
    """Open a data set, downloading what is not on this machine.

    Args:
        name: one of `dataset_names`.
        limit: only the first so many images.

    Raises:
        DataError: unknown name, or it is not here and cannot be downloaded.
    """
    folder = fetch(name, limit)
    wanted = entry(name)
    return Dataset(wanted, folder, wanted.files[:limit])


def sample(name: str, gray: bool = True, size: int | None = None) -> Tensor:
    """One of the photographs that are always here.

    Args:
        name: astronaut, brick, camera, chelsea, coffee, coins, grass, gravel or rocket.
        gray: whether to turn colours to gray.
        size: side in pixels of the square to cut from the centre; None for the whole.

    Returns:
        (1, 1, H, W) gray or (1, 3, H, W) RGB in [0, 1].

    Raises:
        DataError: unknown name, or colours asked of a gray photograph.
        ValueError: the photograph is smaller than `size`.

    >>> sample("camera", size=64).shape
    torch.Size([1, 1, 64, 64])
    """
    wanted = entry(SAMPLES)
    stems = {Path(file.name).stem: file for file in wanted.files}
    if name not in stems:
        raise DataError(unknown("sample", name, stems))
    ((_, image),) = Dataset(wanted, fetch(SAMPLES), (stems[name],))
    if gray:
        image = to_gray(image)
    elif image.shape[1] == 1:
        raise DataError(f"the sample '{name}' is gray")
    if size is None:
        return image
    top, left = ((side - size) // 2 for side in image.shape[-2:])
    if min(top, left) < 0:
        raise ValueError(f"the sample '{name}' has no {size}×{size} pixels")
    return image[..., top : top + size, left : left + size].clone()


def to_gray(image: Tensor) -> Tensor:
    """Gray of (B, C, H, W) RGB, as MATLAB's ``rgb2gray`` on 8-bit images; gray stays as it is.

    ``0.2989 R + 0.5870 G + 0.1140 B``, rounded to one of 256 levels. BSD68 was made of CBSD68 so.
    """
    if image.shape[1] == 1:
        return image
    weights = torch.tensor([0.298936, 0.587043, 0.114021], dtype=torch.float64)
    luma = torch.einsum("c,bchw->bhw", weights, image.double()).unsqueeze(1)
    return (luma * 255).round().div(255).to(image.dtype)


def fetch(name: str, limit: int | None = None, progress: Progress | None = None) -> Path:
    """Make sure that a data set is on this machine.

    Args:
        name: one of `dataset_names`.
        limit: only the first so many files.
        progress: called with (files done, files in all).

    Returns:
        The folder that holds the files.

    Raises:
        DataError: unknown name, or no address gave a file that the registry recognises.
    """
    wanted = entry(name)
    if limit is not None and limit < 1:
        raise DataError(f"a limit of {limit} images leaves none")
    files = wanted.files[:limit]
    folder = _find(wanted, files)
    if folder is not None:
        return folder
    if wanted.role == "own":
        raise DataError(f"{name}: its files have changed")
    if wanted.offline:
        raise DataError("scikit-image lacks its sample photographs; install scikit-image again")
    folder = cache_folder() / name
    for done, file in enumerate(files):
        if progress:
            progress(done, len(files))
        if not _has_size(folder / file.name, file.bytes):
            _download(name, file, folder)
    if progress:
        progress(len(files), len(files))
    return folder


def verify(name: str) -> list[str]:
    """Compare every file of a data set with the registry.

    Returns:
        One line for each file that is missing or differs; none if all is well.

    Raises:
        DataError: unknown name, or no folder holds any of it.
    """
    wanted = entry(name)
    folder = locate(name) or next((f for f in _folders(name) if f.is_dir()), None)
    if folder is None:
        raise DataError(f"{name} is not on this machine; 'lessons data fetch {name}' downloads it")
    problems = []
    for file in filter(lambda file: file.sha256, wanted.files):
        path = folder / file.name
        if not path.is_file():
            problems.append(f"{path}: missing")
        elif path.stat().st_size != file.bytes:
            problems.append(f"{path}: has {path.stat().st_size} bytes instead of {file.bytes}")
        elif _sha256(path) != file.sha256:
            problems.append(f"{path}: wrong sha256")
    return problems


def cache_folder() -> Path:
    """Where downloads go."""
    chosen = os.environ.get("LESSONS_CACHE")
    if chosen:
        return Path(chosen)
    import pooch

    return Path(pooch.os_cache("lessons"))


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Say that a name is unknown, with the nearest known one, or all if none is near."""
    by_lower = {item.lower(): item for item in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    hint = (
        f"did you mean '{by_lower[near[0]]}'?" if near else f"known: {', '.join(by_lower.values())}"
    )
    return f"unknown {what} '{name}'; {hint}"


def shipped(file: str) -> Traversable:
    """A file of the ``data/`` folder that travels with the library."""
    try:
        return importlib.resources.files("lessons_data") / file
    except ModuleNotFoundError:
        # Not installed: the library runs from a checkout, with data/ beside it.
        return Path(__file__).parents[1] / "data" / file


def _folders(name: str) -> Iterator[Path]:
    if entry(name).role == "own":
        yield Path(name)
        return
    if entry(name).offline:
        spec = importlib.util.find_spec("skimage")
        for place in (spec.submodule_search_locations if spec else None) or ():
            yield Path(place) / "data"
        return
    if os.environ.get("LESSONS_DATA"):
        yield Path(os.environ["LESSONS_DATA"]) / name
    yield cache_folder() / name


def _find(wanted: Entry, files: tuple[File, ...]) -> Path | None:
    for folder in _folders(wanted.name):
        if all(_has_size(folder / file.name, file.bytes) for file in files if file.sha256):
            return folder
    return None


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def _download(name: str, file: File, folder: Path) -> None:
    """Try one address after the other."""
    urls = list(file.urls)
    mirror = os.environ.get("LESSONS_MIRROR")
    if mirror:
        urls.insert(0, f"{mirror.rstrip('/')}/{quote(name)}/{quote(file.name)}")
    failures = []
    for url in urls:
        try:
            download(
                url,
                folder / file.name,
                lambda content: hashlib.sha256(content).hexdigest() == file.sha256,
            )
            return
        except Exception as error:
            failures.append(f"{urlsplit(url).hostname}: {reason(error)}")
    given = os.environ.get("LESSONS_DATA")
    if given and not Path(given).is_dir():
        todo = f"LESSONS_DATA={given} is no folder"
    elif given:
        todo = f"LESSONS_DATA={given} holds no whole {name}/"
    else:
        todo = f"set LESSONS_DATA to a folder that holds {name}/"
    raise DataError(
        f"{name}/{file.name} could not be downloaded ({'; '.join(failures)}); check the network; "
        f"{todo}; or set LESSONS_MIRROR to a server"
    )
