"""Ask every address that the course sends people to, and say which do not answer.

    python tests/campaigns/links.py [--files N] [--seed S]

Of a data set N files are asked for at each of their servers, drawn from a seed (the week, where
none is given), of published weights all; they must have the registry's length, where it has one.
For a page, a server that wants no robots (401, 403, 429) has answered.
"""

import argparse
import random
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from lessons_lib.data import registry
from lessons_lib.published.registry import published_weights

ROOT = Path(__file__).parents[2]
TEXTS = ["*.md", "CITATION.cff", "pyproject.toml", "docs/*.md", "solutions/*.py", "data/*.toml"]
ADDRESS = re.compile(r"https?://[^\s<>\"')\]`]+")
AGENT = {"User-Agent": "lessons-lib link check"}
SHY = (401, 403, 429)
SECONDS, TRIES = 30, 3


def in_texts(root: Path) -> dict[str, str]:
    """Address to the file that has it, of everything that is written for people."""
    found: dict[str, str] = {}
    for pattern in TEXTS:
        for path in sorted(root.glob(pattern)):
            for address in ADDRESS.findall(path.read_text("utf-8")):
                found.setdefault(address.rstrip(".,;:"), path.relative_to(root).as_posix())
    return {address: where for address, where in found.items() if not is_local(address)}


def is_local(address: str) -> bool:
    return urlsplit(address).hostname in ("127.0.0.1", "localhost", None)


def of_files(count: int, seed: int) -> Iterator[tuple[str, str, int | None]]:
    """Address, name and bytes, if known, of files that are downloaded on demand."""
    draw = random.Random(seed)
    for name, entry in registry().items():
        servers: dict[str, list[tuple[str, str, int]]] = {}
        for file in entry.files:
            for address in file.urls:
                server = servers.setdefault(urlsplit(address).netloc, [])
                server.append((address, f"{name}/{file.name}", file.bytes))
        for files in servers.values():
            yield from draw.sample(files, min(count, len(files)))
    for weights in published_weights().values():
        for file in weights.files:
            yield file.url, weights.name, file.size or None


def trouble(address: str, length: int | None = None) -> str:
    """What is wrong with an address; "" if it answers with a page, or a file of that length."""
    request = urllib.request.Request(address, headers=AGENT)
    problem = ""
    for attempt in range(TRIES):
        time.sleep(attempt)
        try:
            # Some servers refuse HEAD; the body of this answer is not read.
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                told = answer.headers.get("Content-Length")
                if length is not None and told is not None and int(told) != length:
                    return f"has {told} bytes, not {length}"
                return ""
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in SHY and length is None:
                return ""
            problem = f"answers {error.code}"
        except (OSError, ValueError) as error:
            problem = f"does not answer: {error}"
    return problem


def main() -> int:
    parser = argparse.ArgumentParser(description="Ask every address that people are sent to.")
    parser.add_argument("--files", type=int, default=2, help="of a data set and a server")
    parser.add_argument("--seed", type=int, default=int(time.time()) // (7 * 24 * 3600))
    options = parser.parse_args()
    asked: list[tuple[str, str, int | None]] = [
        (address, where, None) for address, where in in_texts(ROOT).items()
    ]
    asked += of_files(options.files, options.seed)
    failed = 0
    for address, where, length in asked:
        if problem := trouble(address, length):
            failed += 1
            print(f"{where}: {address} {problem}", flush=True)
    print(f"{len(asked) - failed} addresses answer, {failed} do not (seed {options.seed})")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
