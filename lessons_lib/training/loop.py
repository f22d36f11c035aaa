"""The training loop. It stops by the clock, and goes on later as if it had not stopped."""

import importlib.util
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from lessons_lib import metrics
from lessons_lib.evaluation.processes import describe_device
from lessons_lib.models import Restorer, build
from lessons_lib.tasks import TASKS, Examples
from lessons_lib.training.config import ConfigError, Run
from lessons_lib.training.crops import Crops
from lessons_lib.training.stability import growth
from lessons_lib.training.start import first_model
from lessons_lib.training.state import Learner, State, read_state, write_state

# dB; what rounding to 8 bits costs by itself is 59.
PSNR_CEILING = 60.0


@dataclass(frozen=True)
class Progress:
    """What a training says of itself after each step.

    ``loss`` and ``seconds`` are those of the last step; the PSNRs in dB are those of the last look,
    NaN before it.
    """

    step: int
    steps: int
    loss: float
    seconds: float
    training_psnr: float
    held_out_psnr: float


def restoration_loss(estimate: Tensor, clean: Tensor, counts: Tensor) -> Tensor:
    """``Σ [m (x̂ − x)]² / batch`` with ``m`` the estimates of each pixel over their maximum.

    Args:
        estimate: ``(B, C, H, W)``.
        clean: same shape.
        counts: ``(1, 1, H, W)`` from `Restorer.confidence`.

    Source: GroupSC eq. 7 and §3.6 (ii); that ``m`` is squared is its released code's.
    """
    weight = counts / counts.max()
    return (weight * (estimate - clean)).square().sum() / len(estimate)


def train(
    run: Run,
    root: Path,
    *,
    minutes: float = math.inf,
    device: str = "auto",
    save_every: float = 60.0,
    report: Callable[[Progress], None] | None = None,
) -> State:
    """Train for a while, from where the last sitting ended.

    Args:
        run: what to train.
        root: folder that holds a folder for each run, with its state and its log.
        minutes: time to spend, from the call; the state is saved before they are over.
        device: "auto", "cpu" or "cuda". Under torchrun each process takes its share of a batch.
        save_every: seconds between saved states.
        report: called after every step.

    Returns:
        The state at the end of the sitting; see ``finished``.

    Raises:
        ConfigError: see `Crops`; or the state in the folder is another model's; or the run it is to
            start from is not finished; or the training diverges at every learning rate.
    """
    began = time.monotonic()
    fabric = Fabric(
        accelerator=device,
        # One device, or one for each process that torchrun has started here.
        devices=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
        num_nodes=int(os.environ.get("GROUP_WORLD_SIZE", "1")),
        precision="bf16-mixed" if run.precision == "bf16" else "32-true",
    )
    fabric.launch()
    if run.batch % fabric.world_size:
        raise ConfigError(f"{fabric.world_size} processes cannot share {run.batch} crops evenly")
    state = read_state(root / run.name)
    if state is not None and state.finished:
        return state

    crops = Crops(run, run.options.get("channels", 1))
    # A state brings its own weights.
    begun = build(run.model, run.options) if state else first_model(run, root, crops)
    learner = Learner(begun, run)
    forward = cast(nn.Module, torch.compile(learner.model)) if run.compile else learner.model
    model, *optimizers = fabric.setup(forward, *learner.optimizers)
    learner.average.to(fabric.device)
    looks = {which: crops.fixed(which) for which in ("training", "held out")}
    board = _board(root / run.name, state) if fabric.is_global_zero else None
    if state is None:
        first = learner.capture()
        state = State(
            0, run.steps, run.sigma_255, {}, 1.0, first, first, -math.inf, options=run.options
        )
        _look(fabric, learner, state, run, looks, math.nan)
        _show(board, state)
    else:
        _resume(learner, state, run)
    here = describe_device(str(fabric.device))
    if fabric.world_size > 1:
        here = f"{fabric.world_size} x {here}"
    earlier = state.spent.get(here, 0.0)
    counts = learner.model.confidence((run.crop, run.crop)).to(fabric.device)
    measured = None
    if run.stability:
        config = learner.model.config
        measured = TASKS[run.task].measured(config.patch, config.channels).to(fabric.device)
    share = slice(fabric.global_rank, None, fabric.world_size)
    saved_at = time.monotonic()
    longest, compiled_already = 0.0, False
    while not state.finished:
        step_began = time.monotonic()
        # One process's clock decides for all of them: they must stop after the same step.
        if fabric.broadcast(step_began + 1.5 * longest + 1 > began + 60 * minutes):
            break
        some = crops.examples(state.step).part(share, fabric.device)
        learner.set_rate(run.rate(state.step) * state.slowdown)
        for optimizer in optimizers:
            optimizer.zero_grad()
        scale = some.scale[:, None, None, None]
        estimate = model(some.degraded, **some.told_to(learner.model.told))
        loss = restoration_loss(scale * estimate, scale * some.clean, counts)
        if measured is not None:
            loss = loss + run.stability * growth(learner.model, measured)
        fabric.backward(loss)
        for optimizer in optimizers:
            if run.max_gradient:
                # Beyond finite numbers there is no direction left to keep; a look finds out.
                fabric.clip_gradients(
                    model, optimizer, max_norm=run.max_gradient, error_if_nonfinite=False
                )
            optimizer.step()
        learner.update_average(state.step)
        state.step += 1

        state.spent[here] = earlier + time.monotonic() - began
        if state.step % run.monitor_every == 0 or state.finished:
            _look(fabric, learner, state, run, looks, loss.item())
            _show(board, state)
        if fabric.is_global_zero and time.monotonic() - saved_at > save_every:
            state.weights = learner.capture()
            write_state(state, root / run.name)
            saved_at = time.monotonic()
        # The first step of a sitting also compiles, which no later one will.
        if compiled_already or not run.compile:
            longest = max(longest, time.monotonic() - step_began)
        compiled_already = True
        if report is not None and fabric.is_global_zero:
            row = state.log[-1] if state.log else {}
            psnrs = (row.get(key, math.nan) for key in ("training_psnr", "held_out_psnr"))
            took = time.monotonic() - step_began
            report(Progress(state.step, run.steps, loss.item(), took, *psnrs))

    state.weights = learner.capture()
    if state.finished:
        # Nothing will go on from here, and what is kept for ever should be small.
        del state.weights["optimizers"]
        state.snapshot = {}
    if fabric.is_global_zero:
        write_state(state, root / run.name)
    if board is not None:
        board.close()
    return state


def _board(folder: Path, state: State | None) -> Any:
    """A writer for TensorBoard, which drops what a killed sitting wrote beyond its last state."""
    if importlib.util.find_spec("tensorboardX") is None:
        return None
    from tensorboardX import SummaryWriter

    return SummaryWriter(str(folder / "tensorboard"), purge_step=state.step + 1 if state else 0)


def _show(board: Any, state: State) -> None:
    """Write the last look for TensorBoard."""
    if board is not None:
        for name, value in state.log[-1].items():
            if name != "step" and math.isfinite(value):
                board.add_scalar(name, value, state.step)
        board.flush()


def _resume(learner: Learner, state: State, run: Run) -> None:
    try:
        learner.restore(state.weights)
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"the saved state of {run.name} is another model's: {error}") from error


def _look(
    fabric: Fabric,
    learner: Learner,
    state: State,
    run: Run,
    looks: dict[str, Examples],
    loss: float,
) -> None:
    """Measure PSNRs; go back to the last look's weights if the training has diverged since.

    Source: GroupSC §B, backtracking; the threshold in dB is its released code's.
    """
    psnr = crop_psnr(fabric, learner.model, looks["training"], run.batch)
    if psnr >= state.snapshot_psnr - run.tolerated_drop:
        state.snapshot, state.snapshot_psnr = learner.capture(), psnr
    else:  # NaN comes here as well
        state.slowdown *= run.backtrack
        if state.slowdown < 1e-3:
            raise ConfigError(f"run {run.name} diverges at every learning rate")
        learner.restore(state.snapshot)
    state.log.append(
        {
            "step": state.step,
            "seconds": round(state.seconds, 1),
            "crops": state.step * run.batch,
            "learning_rate": run.rate(state.step) * state.slowdown,
            "loss": loss,
            "training_psnr": psnr,
            "held_out_psnr": crop_psnr(fabric, learner.average, looks["held out"], run.batch),
        }
    )


def crop_psnr(fabric: Fabric, model: Restorer, examples: Examples, batch: int) -> float:
    """Mean PSNR in dB over crops, of the pixels that get as many estimates as in a large image.

    No crop counts for more than `PSNR_CEILING`: a flat one, black in a mosaic, may come back exact,
    and its infinity would hide all others.
    """
    edge = model.border
    height, width = examples.clean.shape[-2:]
    inside = (..., slice(edge, height - edge), slice(edge, width - edge))
    scores = []
    with torch.no_grad(), fabric.autocast():
        for first in range(0, len(examples.clean), batch):
            some = examples.part(slice(first, first + batch), fabric.device)
            estimate = model(some.degraded, **some.told_to(model.told)).clamp(0, 1)
            psnr = metrics.psnr(estimate[inside], some.clean[inside])
            scores.append(psnr.clamp(max=PSNR_CEILING).cpu())
    return torch.cat(scores).mean().item()
