"""The time of a sitting: what is left of it, and how long steps take."""

import time

from lessons_lib.training.alone import agreed


class Clock:
    """Measures one stage's steps, and tells when there is no time for another.

    Args:
        until: when the sitting must be over, as `time.monotonic` counts.
        compiles: whether the first step also compiles, which no later one will.
    """

    def __init__(self, until: float, *, compiles: bool) -> None:
        self.began = self.step_began = time.monotonic()
        self.until = until
        self.longest = 0.0
        self.typical = not compiles

    def allows_a_step(self) -> bool:
        """Whether another step, and what follows it, can be over in time; the step begins now.

        One process's clock decides for all of them: they must stop after the same step.
        """
        self.step_began = time.monotonic()
        over = self.step_began + 1.5 * self.longest + 1
        return agreed(over <= self.until)

    def allows_a_stage(self) -> bool:
        """Whether any time is left."""
        return agreed(time.monotonic() < self.until)

    def end_step(self) -> float:
        """Seconds that the step took, with all that followed it."""
        took = time.monotonic() - self.step_began
        if self.typical:
            self.longest = max(self.longest, took)
        self.typical = True
        return took

    @property
    def seconds(self) -> float:
        """Time spent on the stage in this sitting."""
        return time.monotonic() - self.began
