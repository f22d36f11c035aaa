"""The short form of the kills."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="forks")
@pytest.mark.parametrize("kind", ["evaluation", "export", "fetch"])
def test_nothing_is_lost(kind: str) -> None:
    script = Path(__file__).with_name("kills.py")
    done = subprocess.run(
        [sys.executable, str(script), kind, "--count", "8"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "8 kills" in done.stdout
