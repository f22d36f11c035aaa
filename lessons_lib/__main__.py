"""The command ``lessons``, also as ``python -m lessons_lib``.

Here stands what must come before anything else is imported: imports take a second.
"""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line, see `lessons_lib.cli.main`."""
    _open_what_is_closed()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    for name in ("SIGTERM", "SIGHUP"):
        # Windows has no hang-up; and nohup's wish that it be ignored is kept.
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)
    from lessons_lib.cli import main as run

    run()


def _open_what_is_closed() -> None:
    """Standard streams that the shell has closed (``2>&-``) lead nowhere.

    Otherwise the next file to be opened would be taken for one of them.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # A new descriptor is always the lowest free one: this one.
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(number, mode))


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Ctrl-C: at once while modules are loaded, as compiled ones abort at any exception then.

    Nothing has been written at that time.
    """
    if _is_importing(frame):
        os._exit(130)
    raise KeyboardInterrupt


def _end(number: int, frame: FrameType | None) -> None:
    """Being asked to end, as `timeout` and schedulers ask: half-written files are taken away."""
    if _is_importing(frame):
        os._exit(128 + number)
    raise SystemExit(128 + number)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


if __name__ == "__main__":
    main()
