"""``lessons evaluate``: score a method on a data set."""

from typing import TYPE_CHECKING, Annotated

import typer

from lessons_lib.cli.denoise import METHODS_HELP, Sigma, check_sigma
from lessons_lib.cli.progress import progress_bar

if TYPE_CHECKING:
    from lessons_lib.evaluation import Score


def evaluate(
    sigma: Sigma,
    method: Annotated[str, typer.Option(help=METHODS_HELP)] = "dictionary",
    dataset: Annotated[str, typer.Option(help="Name, see 'lessons data list'.")] = "samples",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many images.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Score a method on a data set.

    Noise is added to each image; the restored one is compared with the original.
    """
    check_sigma(sigma)
    import json

    from lessons_lib.evaluation import denoising, find_method
    from lessons_lib.evaluation import evaluate as run

    find_method(method)
    protocol = denoising(dataset, sigma)
    with progress_bar(f"{method} on {dataset}") as show:
        score = run(method, protocol, limit, show)
    if as_json:
        typer.echo(json.dumps(score.as_dict(), allow_nan=False, indent=2))
    else:
        typer.echo(_table(score))


def _table(score: "Score") -> str:
    protocol = score.protocol
    width = max(len("image"), *(len(row.file) for row in score.per_image))
    lines = [
        f"{score.method} on {protocol.dataset}, sigma {protocol.sigma_255:g}",
        f"scored on {protocol.channel}, "
        + ("clipped" if protocol.clip else "not clipped")
        + (", rounded to 8 bits" if protocol.rounding else "")
        + f", SSIM {protocol.ssim}, noise seed {protocol.degradation.seed}",
        "",
        f"{'image':{width}}  PSNR/dB    SSIM  seconds",
    ]
    rows = [(row.file, row.psnr, row.ssim, row.seconds) for row in score.per_image]
    rows.append(("mean", score.psnr, score.ssim, score.seconds_per_image))
    lines += [f"{name:{width}}  {psnr:7.2f}  {ssim:6.4f}  {s:7.2f}" for name, psnr, ssim, s in rows]
    return "\n".join(lines)
