"""Which photographs a command reads, and where what comes of them goes."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import typer

STANDARD = "-"


@dataclass(frozen=True)
class Job:
    """One file to be made of another.

    Attributes:
        source: what is read.
        target: what is written; None for standard output.
        name: of the source, for messages.
        scratch: a folder for what goes to standard output: pictures are written whole or not at
            all.
    """

    source: Path
    target: Path | None
    name: str
    scratch: Path

    def deliver(self, path: Path) -> str:
        """Pass a written file on; say where it is."""
        if self.target is not None:
            return str(self.target)
        sys.stdout.buffer.write(path.read_bytes())
        sys.stdout.buffer.flush()
        return "standard output"


@contextmanager
def line_up(paths: Sequence[Path], folder: Path | None) -> Iterator[list[Job]]:
    """Say which file becomes which, for the time of the context.

    Args:
        paths: a source and a target, either of them "-" for a standard stream; with a folder,
            sources alone.
        folder: where results go, under the names that their sources have. It is made if need be,
            and not left empty.

    Raises:
        typer.BadParameter: where it is not clear what is to be written, or it would be written
            twice.
        OSError: if the folder cannot be made.
    """
    with TemporaryDirectory(prefix="lessons-") as temporary:
        place = Path(temporary)
        if folder is None:
            if len(paths) != 2:
                raise typer.BadParameter(
                    "give a photograph and the file to write; several need --out FOLDER",
                    param_hint="IN... OUT",
                )
            yield [_pair(paths[0], paths[1], place)]
            return
        if folder.exists() and not folder.is_dir():
            raise typer.BadParameter(f"{folder} is a file, not a folder", param_hint="--out")
        sources = [_source(path, place) for path in paths]
        targets = [folder / _name(path) for path in paths]
        # Where letters of either case are the same, these would be the same file.
        twice = [str(t) for t in targets if sum(_same(t, other) for other in targets) > 1]
        if twice:
            raise typer.BadParameter(f"two photographs would become {twice[0]}", param_hint="--out")
        made = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            yield [
                Job(source, target, _words(path), place)
                for source, target, path in zip(sources, targets, paths, strict=True)
            ]
        finally:
            if made and not any(folder.iterdir()):
                folder.rmdir()


def _pair(path: Path, target: Path, place: Path) -> Job:
    to_stdout = str(target) == STANDARD
    if to_stdout and sys.stdout.isatty():
        raise typer.BadParameter("a terminal shows no pictures: name a file", param_hint="OUT")
    return Job(_source(path, place), None if to_stdout else target, _words(path), place)


def _source(path: Path, place: Path) -> Path:
    """The file itself, or one that holds what standard input brought."""
    if str(path) != STANDARD:
        return path
    copy = place / "stdin"
    copy.write_bytes(sys.stdin.buffer.read())
    return copy


def _name(path: Path) -> str:
    from lessons_lib.images import FORMATS

    if str(path) == STANDARD:
        return "stdin.png"
    # What can be read and not written, such as a camera's raw file, becomes TIFF.
    return path.name if path.suffix.lower() in FORMATS else f"{path.stem}.tif"


def _same(one: Path, other: Path) -> bool:
    return str(one).lower() == str(other).lower()


def _words(path: Path) -> str:
    return "standard input" if str(path) == STANDARD else str(path)
