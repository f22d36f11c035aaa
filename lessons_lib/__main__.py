"""``python -m lessons_lib`` is the command ``lessons``."""

from lessons_lib.cli import main

main()
