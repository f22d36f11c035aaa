"""The short form of the campaign: a few hundred mutated files, always the same."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from campaign import SEEDS, run  # noqa: E402


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="waits for pipes")
@pytest.mark.parametrize("kind", SEEDS)
def test_every_file_is_read_or_refused(kind: str, tmp_path: Path) -> None:
    outcomes, faults = run(kind, {"images": 300}.get(kind, 60), 0, tmp_path / "faults")
    assert not faults
    # It would prove nothing if every file was refused at once, or none was damaged.
    assert outcomes["refused"] > 5
