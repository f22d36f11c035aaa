"""Draw docs/overview.png, the picture of the README: ``python docs/make_overview.py``."""

from pathlib import Path

from lessons_lib import classical, data
from lessons_lib.degradations import GaussianNoise
from lessons_lib.viz.figures import show_images

SIGMA = 25 / 255

clean = data.sample("astronaut", gray=False)[..., :256, 100:356]
noisy = GaussianNoise(SIGMA)(clean, "astronaut")
figure = show_images(
    {
        "noisy": noisy,
        "cosines": classical.dct(noisy, SIGMA),
        "learned dictionary": classical.dictionary(noisy, SIGMA),
        "clean": clean,
    },
    clean=clean,
    crop=(30, 50, 150, 150),
    width=10,
)
figure.savefig(Path(__file__).parent / "overview.png")
