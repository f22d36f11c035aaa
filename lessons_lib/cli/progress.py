"""What is shown on stderr of work that takes a while."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Seconds until something is said: on a terminal, in a log, and that there is a quicker way.
TERMINAL, LOG, PATIENCE = 2.0, 5.0, 60.0


@contextmanager
def progress_bar(
    title: str, shown: bool = True, quicker: str = ""
) -> Iterator[Callable[[float], None]]:
    """Show a bar, or lines in a log; the function it yields is told the share done, from 0 to 1.

    Args:
        title: before the bar.
        shown: whether anything is to be seen.
        quicker: what to say, once, of work that turns out to take more than a minute.
    """
    if not shown:
        yield lambda share: None
    elif sys.stderr.isatty():
        with _bar(title, quicker) as show:
            yield show
    else:
        yield _lines(title, quicker)


@contextmanager
def _bar(title: str, quicker: str) -> Iterator[Callable[[float], None]]:
    from tqdm import tqdm

    advice = _Advice(quicker)
    with tqdm(
        total=1.0,
        desc=title,
        delay=TERMINAL,
        leave=False,
        file=sys.stderr,
        bar_format="{desc}: {percentage:3.0f}% |{bar}| {elapsed} < {remaining}",
    ) as bar:

        def show(share: float) -> None:
            if words := advice.about(share):
                bar.write(words, file=sys.stderr)
            bar.update(share - bar.n)

        yield show


def _lines(title: str, quicker: str) -> Callable[[float], None]:
    """A line now and then, ever more rarely: a log keeps all of them."""
    advice, started, wait = _Advice(quicker), time.monotonic(), LOG

    def show(share: float) -> None:
        nonlocal wait
        passed = time.monotonic() - started
        if words := advice.about(share):
            print(words, file=sys.stderr, flush=True)
        if passed >= wait and share < 1:
            wait *= 2
            print(f"{title}: {share:.0%} after {passed:.0f} s", file=sys.stderr, flush=True)

    return show


class _Advice:
    """Says once, some seconds into the work, how long it will take and what is quicker."""

    def __init__(self, quicker: str) -> None:
        self.quicker, self.started = quicker, time.monotonic()

    def about(self, share: float) -> str:
        """The words, at the one moment for them."""
        passed = time.monotonic() - self.started
        if not self.quicker or passed < LOG or not 0 < share < 1:
            return ""
        left, words = passed * (1 - share) / share, self.quicker
        self.quicker = ""
        return f"this takes about {left / 60:.0f} minutes more; {words}" if left > PATIENCE else ""
