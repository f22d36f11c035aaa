"""Run a method over a data set, one image after the other, and score every estimate."""

import time
from dataclasses import replace
from typing import Any

from torch import distributed

from lessons_lib import data, metrics
from lessons_lib.checkpoints import find_card
from lessons_lib.classical import Progress
from lessons_lib.evaluation.methods import INFERENCE, Inference, find_method, restore, weights
from lessons_lib.evaluation.protocols import Protocol
from lessons_lib.evaluation.score import ImageScore, Score
from lessons_lib.evaluation.unfinished import Unfinished
from lessons_lib.models.restore import resolve_precision


def evaluate(
    method: str,
    protocol: Protocol,
    limit: int | None = None,
    progress: Progress | None = None,
    inference: Inference = INFERENCE,
    unfinished: Unfinished | None = None,
) -> Score:
    """Score a method by a protocol.

    The processes of one torch.distributed group share the images, and each returns all scores.

    Args:
        method: see `find_method`.
        protocol: how to measure.
        limit: only the first so many images of the data set.
        progress: called with the share done, from 0 to 1.
        inference: see `find_method`.
        unfinished: keeps the score of each image at once; those that it has are not measured again.

    Raises:
        MethodError: see `restore`.
        DataError: see `lessons_lib.data.load`.
    """
    find_method(method, protocol.task, inference)
    dataset = data.load(protocol.dataset, limit)
    blank = Score(method, protocol, (), dataset.sha256)
    card = find_card(method)
    if card is not None:
        blank = replace(
            blank,
            weights_sha256=card.sha256,
            precision=resolve_precision(weights(method, inference.device), inference.precision),
            overlap=inference.overlap,
        )
    rank, processes = 0, 1
    if distributed.is_initialized():
        rank, processes = distributed.get_rank(), distributed.get_world_size()
    known: list[Any] = []
    if unfinished is not None and rank == 0:
        known = unfinished.known(blank)
    if processes > 1:
        told = [known]
        distributed.broadcast_object_list(told)
        (known,) = told
    scores = {row["file"]: ImageScore(**row) for row in known}
    missing = [file.name for file in dataset.files if file.name not in scores]
    mine = missing[rank::processes]
    for name, image in dataset:
        if name not in mine:
            continue
        done = len(dataset) - len(missing) + missing.index(name)
        clean = protocol.clean(image)
        side = metrics.ssim_side(protocol.ssim)
        if min(clean.shape[-2:]) - 2 * protocol.border < side:
            raise data.DataError(f"{name}: too small to score, SSIM needs {side} pixels each way")
        degraded = protocol.degradation(clean, key=name)

        def report(share: float, done: int = done) -> None:
            if progress is not None:
                progress((done + share) / len(dataset))

        started = time.perf_counter()
        estimate = restore(method, degraded, protocol.degradation, protocol.task, report, inference)
        seconds = time.perf_counter() - started
        scores[name] = ImageScore(name, *protocol.score(estimate, clean), seconds)
        if unfinished is not None:
            unfinished.add(blank, scores[name])
        report(1.0)
    if processes > 1:
        shares: list[Any] = [None] * processes
        distributed.all_gather_object(shares, scores)
        scores = {name: score for share in shares for name, score in share.items()}
    return replace(blank, per_image=tuple(scores[file.name] for file in dataset.files))
