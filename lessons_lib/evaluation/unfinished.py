"""Evaluations that take hours: each image's score is written down at once, and never lost.

With tiles that overlap as the paper's do, GroupSC takes two hours for BSD68 on a processor. Until
the last image is done, a file of lines of JSON holds what was measured: first what a score depends
on, then the images in the order in which they were finished.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lessons_lib.evaluation.score import ImageScore, Score
from lessons_lib.files import replace_file


@dataclass(frozen=True)
class Unfinished:
    """Where the scores of single images are kept until all are there.

    Args:
        folder: of the files; is made if need be.
        device: what measures; seconds of two devices are not mixed.
    """

    folder: Path
    device: str

    def known(self, score: Score) -> list[dict[str, Any]]:
        """What was measured before under the same conditions; else a new file is begun.

        Args:
            score: what is being measured, without images.

        Returns:
            The fields of an `ImageScore` for each image.
        """
        path, conditions = self._path(score), self._conditions(score)
        try:
            lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
            # What follows the last line break was being written when the process was killed.
            whole = [json.loads(line) for line in lines[:-1]]
        except ValueError:  # damaged in some other way
            whole = []
        if not whole or whole[0] != conditions:
            whole = [conditions]
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, "".join(f"{json.dumps(row)}\n" for row in whole).encode())
        return whole[1:]

    def add(self, score: Score, image: ImageScore) -> None:
        """Keep one more image; several processes may do so at a time."""
        # One write of a line at the end of a file is not divided by another's.
        with self._path(score).open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(asdict(image))}\n")

    def remove(self, score: Score) -> None:
        """All images are measured, and the whole is kept elsewhere."""
        self._path(score).unlink(missing_ok=True)

    def _path(self, score: Score) -> Path:
        return self.folder / f"{score.stem}.unfinished.jsonl"

    def _conditions(self, score: Score) -> dict[str, Any]:
        conditions = {
            "method": score.method,
            "protocol": score.protocol.as_dict(),
            "data_sha256": score.data_sha256,
            "weights_sha256": score.weights_sha256,
            "precision": score.precision,
            "overlap": score.overlap,
            "device": self.device,
        }
        return json.loads(json.dumps(conditions))  # as they will be read: no tuples
