"""Progress bars on stderr for what takes more than two seconds."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(title: str, shown: bool = True) -> Iterator[Callable[[float], None]]:
    """Show a bar, or none; the function it yields is told the share done, from 0 to 1."""
    from tqdm import tqdm

    # In a log file each update is another line, so there are fewer of them.
    interval = 0.1 if sys.stderr.isatty() else 2
    with tqdm(
        total=1.0,
        desc=title,
        delay=2,
        mininterval=interval,
        leave=False,
        disable=not shown,
        file=sys.stderr,
        bar_format="{desc}: {percentage:3.0f}% |{bar}| {elapsed} < {remaining}",
    ) as bar:
        yield lambda share: bar.update(share - bar.n) and None
