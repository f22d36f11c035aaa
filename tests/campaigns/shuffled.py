"""A plugin of pytest that runs a share of the tests in an order drawn from a seed.

Both are in LESSONS_ORDER, as "SEED SHARE". Modules are shuffled, and the tests in each: what a
module has prepared once for its tests is still used by all of them.
"""

import os
import random

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    seed, share = os.environ["LESSONS_ORDER"].split()
    draw = random.Random(int(seed))
    modules = sorted({item.path for item in items})
    places = dict(zip(modules, draw.sample(modules, len(modules)), strict=True))
    chosen = [item for item in items if draw.random() < float(share)]
    draw.shuffle(chosen)
    items[:] = sorted(chosen, key=lambda item: places[item.path])
