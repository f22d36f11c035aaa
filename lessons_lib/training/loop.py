"""The training loop. It stops by the clock, and goes on later as if it had not stopped."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from lessons_lib.training.alone import alone
from lessons_lib.training.config import Run
from lessons_lib.training.files import Files
from lessons_lib.training.sitting import Sitting, launch
from lessons_lib.training.standing import Standing, read_standing

# Asked for its loss, a GPU has to be waited for: so it is once in so many steps.
STEPS_PER_REPORT = 10


@dataclass(frozen=True)
class Progress:
    """What a training says of itself.

    ``loss`` and ``seconds`` are those of the last step; the PSNRs in dB are those of the last look.
    """

    stage: int
    step: int
    steps: int
    loss: float
    seconds: float
    training_psnr: float
    held_out_psnr: float


def train(
    run: Run,
    folder: Path,
    *,
    minutes: float = math.inf,
    device: str = "auto",
    save_every: float = 60.0,
    report: Callable[[Progress], None] | None = None,
) -> Standing:
    """Train for a while, from where the last sitting ended: one stage after the other.

    Args:
        run: what to train.
        folder: of the runs, for log and state.
        minutes: time to spend, from the call; the state is saved before they are over.
        device: "auto", "cpu" or "cuda". Under torchrun each process takes its share of a batch.
        save_every: seconds between saved states.
        report: called after every step, on a GPU after every tenth.

    Returns:
        How far the run is at the end of the sitting.

    Raises:
        ConfigError: see `Sitting`; or the training diverges at every learning rate.
        BusyError: if another process trains the run.
        CheckpointError: if there are no weights of the name that a stage starts from.
    """
    until = time.monotonic() + 60 * minutes
    standing = read_standing(run, folder)
    if standing.finished:
        return standing
    # Torchrun's processes have to know each other to agree on who trains what.
    launch(run.stages[standing.stage - 1], device)
    with alone(Files(folder, run.name)):
        while not (standing := read_standing(run, folder)).finished:
            sitting = Sitting(run, standing.stage, folder, device, until, save_every)
            _train_stage(sitting, report)
            if not sitting.end():
                break
        return read_standing(run, folder)


def _train_stage(sitting: Sitting, report: Callable[[Progress], None] | None) -> None:
    """Steps until the stage is finished, or the time over."""
    stage, state, fabric, clock = sitting.stage, sitting.state, sitting.fabric, sitting.clock
    model, learner, optimizers = sitting.model, sitting.learner, sitting.optimizers
    every = 1 if fabric.device.type == "cpu" else STEPS_PER_REPORT
    while not state.stage_finished and clock.allows_a_step():
        some = sitting.examples()
        # Of what a model draws itself, as Gumbel's gates do; going on later, it draws the same.
        torch.manual_seed((stage.seed << 32) + state.step * fabric.world_size + fabric.global_rank)
        told = some.told_to(learner.model.told)
        loss = sitting.objective(model(some.degraded, **told, **sitting.objective.asks), some)
        fabric.backward(loss)
        learner.set_rate(stage.rate(state.step) * state.slowdown)
        for optimizer in optimizers:
            if longest := stage.optimizer.max_gradient:
                # Beyond finite numbers there is no direction left to keep; a look finds out.
                fabric.clip_gradients(model, optimizer, max_norm=longest, error_if_nonfinite=False)
            optimizer.step()
            optimizer.zero_grad()
        learner.update_average(state.step)
        sitting.count_step()
        if sitting.wants_a_look:
            sitting.look(loss.item())
        sitting.save_if_due()
        shown = report if state.step % every == 0 or state.stage_finished else None
        value = math.nan if shown is None else loss.item()
        seconds = clock.end_step()
        if shown is not None and fabric.is_global_zero:
            shown(_progress(sitting, value, seconds))


def _progress(sitting: Sitting, loss: float, seconds: float) -> Progress:
    state, last = sitting.state, sitting.log.rows[-1]
    psnrs = last["training_psnr"], last["held_out_psnr"]
    return Progress(state.stage, state.step, state.steps, loss, seconds, *psnrs)
