"""One sitting at one stage: all that the training loop works with, begun or taken up again."""

import math
import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from torch import nn

from lessons_lib.evaluation.processes import choose_device, describe_device
from lessons_lib.memory import keep_memory
from lessons_lib.models import build
from lessons_lib.models.fast import fastest_dtype
from lessons_lib.tasks import Examples
from lessons_lib.training.board import Board
from lessons_lib.training.clock import Clock
from lessons_lib.training.config import Run
from lessons_lib.training.crops import Crops
from lessons_lib.training.files import Files
from lessons_lib.training.learner import Learner
from lessons_lib.training.log import Log
from lessons_lib.training.objective import Objective
from lessons_lib.training.stage import Stage
from lessons_lib.training.start import first_model
from lessons_lib.training.state import State, read_state, write_state
from lessons_lib.training.tables import ConfigError
from lessons_lib.training.watch import Watcher


class Sitting:
    """A stage in training.

    Args:
        run: whose stage it is.
        number: of the stage, counted from 1.
        folder: of the runs.
        device: see `lessons_lib.training.train`.
        until: when the time is over, as `time.monotonic` counts.
        save_every: seconds between saved states.

    Raises:
        ConfigError: see `Crops` and `first_model`; or the state is another model's; or processes
            cannot share a batch.
    """

    def __init__(
        self, run: Run, number: int, folder: Path, device: str, until: float, save_every: float
    ) -> None:
        self.stage = stage = run.stages[number - 1]
        self.files, self.save_every = Files(folder, run.name), save_every
        self.clock = Clock(until, compiles=stage.compile)
        self.fabric = launch(stage, device)
        self.crops = Crops(run, stage, run.channels)
        self.log, saved = Log(self.files.log), read_state(self.files.state)
        resumed = saved if saved is not None and saved.stage == number else None
        if resumed is None:
            first, effort = first_model(run, number, folder, self.crops, saved)
            self.learner = Learner(first, stage)
        else:
            self.learner = Learner(build(run.model, run.options), stage)
        model = self.learner.model
        forward = cast(nn.Module, torch.compile(model)) if stage.compile else model
        self.model, *self.optimizers = self.fabric.setup(forward, *self.learner.optimizers)
        self.learner.average.to(self.fabric.device)
        self.objective = Objective(run, stage, model, self.fabric.device)
        self.watcher = Watcher(run, number, self.crops, self.learner, self.fabric)
        if resumed is None:
            self.state = State(
                stage=number,
                stages=len(run.stages),
                step=0,
                steps=stage.steps,
                sigma_255=run.sigma_255,
                options=run.options,
                spent={},
                pixels=0,
                hours_before=effort.hours,
                pixels_before=effort.pixels,
                slowdown=1.0,
                weights={},
                snapshot={},
                snapshot_psnr=-math.inf,
            )
        else:
            self.state = resumed
            self.state.stages, self.state.steps = len(run.stages), stage.steps
            self._take_up(run.name)
        self.board = self._board(sum(earlier.steps for earlier in run.stages[: number - 1]))
        self.here = _describe(self.fabric)
        self.earlier = self.state.spent.get(self.here, 0.0)
        if resumed is None:
            self.log.cut(number, -1)
            self.look(math.nan)
            self.save()
        self.saved_at = time.monotonic()
        self._maker = ThreadPoolExecutor(1)
        self._made: tuple[int, Future[Examples]] | None = None

    def examples(self) -> Examples:
        """This process's share of the next step's batch."""
        step, made = self.state.step, self._made
        batch = made[1].result() if made and made[0] == step else self.crops.examples(step)
        # The next ones are made while a GPU is at work on these, or it would wait for them.
        self._made = step + 1, self._maker.submit(self.crops.examples, step + 1)
        share = slice(self.fabric.global_rank, None, self.fabric.world_size)
        some = batch.part(share, self.fabric.device)
        return replace(some, degraded=some.degraded.to(memory_format=self.learner.model.layout))

    def count_step(self) -> None:
        """A step is done."""
        self.state.step += 1
        self.state.pixels += self.stage.batch * self.stage.crop**2
        self.state.spent[self.here] = self.earlier + self.clock.seconds

    @property
    def wants_a_look(self) -> bool:
        """Whether it is time for one."""
        return self.state.step % self.stage.watch.every == 0 or self.state.stage_finished

    def look(self, loss: float) -> None:
        """Measure PSNRs, and go back if the training has diverged."""
        row = self.watcher.look(self.state, loss)
        self.log.rows.append(row)
        if self.board is not None:
            self.board.show(row)

    def save_if_due(self) -> None:
        """Save the state if the last one is old."""
        if self.fabric.is_global_zero and time.monotonic() - self.saved_at > self.save_every:
            self.save()
            self.saved_at = time.monotonic()

    def save(self) -> None:
        """Write log and state.

        The log first: what it is ahead by is dropped when a killed training goes on, while a look
        that only a state knew of would be lost with the next one.
        """
        if self.state.stage_finished:
            # Nothing goes on from here but from the average.
            self.state.weights, self.state.snapshot = self.learner.harvest(), {}
        else:
            self.state.weights = self.learner.capture()
        if self.fabric.is_global_zero:
            self.log.write()
            write_state(self.state, self.files.state)

    def end(self) -> bool:
        """Save, and say whether there is time for the next stage."""
        self._maker.shutdown(cancel_futures=True)
        self.save()
        if self.board is not None:
            self.board.close()
        # Before anybody reads what one process has written.
        self.fabric.barrier()
        return self.state.stage_finished and self.clock.allows_a_stage()

    def _take_up(self, name: str) -> None:
        if "model" not in self.state.weights:
            raise ConfigError(
                f"the saved state of {name} is that of the end of stage {self.state.stage}: "
                "another process has just ended it, or the stage has become longer since"
            )
        try:
            self.learner.restore(self.state.weights)
        except (RuntimeError, ValueError) as error:
            what = "another model's" if isinstance(error, RuntimeError) else "of other paces"
            raise ConfigError(f"the saved state of {name} is {what}: {error}") from error
        self.log.cut(self.state.stage, self.state.step)

    def _board(self, before: int) -> Board | None:
        if not self.fabric.is_global_zero:
            return None
        first = before + self.state.step + 1 if self.state.step else before
        return Board(self.files.board, first=first, before=before)


def launch(stage: Stage, device: str) -> Fabric:
    """What a stage's steps are made on: one device, or torchrun's processes with one each.

    Args:
        stage: says in which precision.
        device: see `lessons_lib.training.train`.

    Raises:
        ConfigError: if the processes cannot share a batch.
    """
    kind = torch.device(choose_device(device)).type
    if kind == "cpu":
        keep_memory()
    half = stage.precision == "bf16" and fastest_dtype(torch.device(kind)) == torch.bfloat16
    fabric = Fabric(
        accelerator=kind,
        # One device, or one for each process that torchrun has started here.
        devices=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
        num_nodes=int(os.environ.get("GROUP_WORLD_SIZE", "1")),
        plugins=[HalfProducts("bf16-mixed", kind)] if half else None,
    )
    fabric.launch()
    if stage.batch % fabric.world_size:
        raise ConfigError(f"{fabric.world_size} processes cannot share {stage.batch} crops evenly")
    return fabric


class HalfProducts(MixedPrecision):
    """Layers in half precision, and neither images nor losses.

    Fabric's own would hand the model its images in half precision, too: of their 8 bits it keeps 8
    at most, as if each had noise of its own, 60 dB below white.
    """

    def convert_input(self, data: Any) -> Any:
        """The images as they are."""
        return data


def _describe(fabric: Fabric) -> str:
    """The device, or devices, that time is spent on."""
    one = describe_device(str(fabric.device))
    return f"{fabric.world_size} x {one}" if fabric.world_size > 1 else one
