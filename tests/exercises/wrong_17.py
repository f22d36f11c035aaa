"""Wrong answers to the exercises of lesson 17, each with the property that it breaks."""

import torch
from torch import nn

from lessons_lib import metrics
from lessons_lib.degradations import GaussianNoise
from lessons_lib.exercises.answer import FINITE, RUNS, SHAPE, TYPE

ORDER = "one number for each photograph, in their order"
NOISE = "the noise is drawn by the photograph's name, and not clipped"
TOLD = "the method is told σ"
CLIPPED = "estimates are clipped before they are scored"
ROUNDED = "estimates have the 256 levels of a file"
LEAD = "the first number is how much better ours is on average"
CERTAIN = "a lead that is the same everywhere is certain"
SCALES = "differences twice as large, twice the error"
MORE = "a hundred times the photographs, a tenth of the error"
TABLES = "tables of six photographs scatter as much as it says"
INTERVAL = "a number that is printed is one of many"
DIGITS = "the fewer digits, the more numbers it may be"
COLUMNS = "all columns of a row have to agree"
NONE = "sometimes all agree, and sometimes none"
BEFORE = "photographs without black and white have the protocol's numbers"
BLACK = "where a photograph is black, a mean of many pixels is no longer black"
SAME = "a method that changes nothing has the protocol's numbers"
COUNT = "fewer than 20,000 weights, and more than none"
SIZES = "an estimate as large as the photograph, whatever its size"
ITSELF = "each photograph of a batch by itself"
REACHED = "gradients reach its weights"
LEARNS = "thirty steps of training help"


def benchmark(
    method, photos, sigma, *, key=True, clip=True, levels=torch.round, before=False, times=1
):
    """The benchmark with one thing wrong."""
    scores = []
    for name, clean in photos.items():
        noisy = GaussianNoise(sigma)(clean, name if key else "")
        estimate = method(noisy.clamp(0, 1) if before else noisy, times * sigma)
        estimate = estimate.clamp(0, 1) if clip else estimate
        scores.append(metrics.psnr(levels(255 * estimate) / 255, clean))
    return torch.cat(scores)


def the_mean(method, photos, sigma):
    return benchmark(method, photos, sigma).mean()


def a_list(method, photos, sigma):
    return benchmark(method, photos, sigma).tolist()


def by_alphabet(method, photos, sigma):
    return benchmark(method, dict(reversed(photos.items())), sigma)


def shows_the_clean(method, photos, sigma):
    return torch.cat([metrics.psnr(method(clean, sigma), clean) for clean in photos.values()])


def scatter(ours, theirs):
    return (ours - theirs).mean(), (ours - theirs).std()


def by_n(ours, theirs):
    return (ours - theirs).mean(), (ours - theirs).std() / len(ours)


def biased(ours, theirs):
    leads = ours - theirs
    return leads.mean(), leads.std(correction=0) / len(leads) ** 0.5


def unpaired(ours, theirs):
    n = len(ours)
    return (ours - theirs).mean(), ((ours.var() + theirs.var()) / n) ** 0.5


def the_other_way(ours, theirs):
    return (theirs - ours).mean(), (theirs - ours).std() / len(ours) ** 0.5


def the_median(ours, theirs):
    return (ours - theirs).median(), (ours - theirs).std() / len(ours) ** 0.5


def variance(ours, theirs):
    return (ours - theirs).mean(), (ours - theirs).var() / len(ours)


def two_digits(printed, scored):
    return [
        name
        for name, numbers in scored.items()
        if all(f"{n:.2f}" == f"{float(p):.2f}" for p, n in zip(printed, numbers, strict=True))
    ]


def first_column(printed, scored):
    digits = len(printed[0].partition(".")[2])
    return [name for name, numbers in scored.items() if f"{numbers[0]:.{digits}f}" == printed[0]]


def any_column(printed, scored):
    def agrees(text, number):
        return f"{number:.{len(text.partition('.')[2])}f}" == text

    return [name for name in scored if any(map(agrees, printed, scored[name]))]


def nearest(printed, scored):
    def far(name):
        return sum(
            abs(float(text) - number) for text, number in zip(printed, scored[name], strict=True)
        )

    return [min(scored, key=far)]


def exactly(printed, scored):
    wanted = [float(text) for text in printed]
    return [name for name, numbers in scored.items() if numbers == wanted]


def cut_off(printed, scored):
    return [
        name
        for name, numbers in scored.items()
        if all(str(n).startswith(p) for p, n in zip(printed, numbers, strict=True))
    ]


def a_set(printed, scored):
    return set(first_column(printed, scored))


def as_a_file(method, photos, sigma):
    return benchmark(lambda y, s: method((y.clamp(0, 1) * 255).round() / 255, s), photos, sigma)


def shifted(method, photos, sigma):
    return benchmark(method, photos, sigma) - 0.02


def folded(method, photos, sigma):
    return benchmark(lambda y, s: method(y.abs(), s), photos, sigma)


def clipped_above(method, photos, sigma):
    return benchmark(lambda y, s: method(y.clamp(max=1), s), photos, sigma)


def not_scored_as_before(method, photos, sigma):
    return benchmark(method, photos, sigma, before=True, levels=lambda x: x)


class Stack(nn.Module):
    """Three small layers, and a residual, with one thing wrong."""

    def __init__(self, width=8, padding=1, wrong=""):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=padding),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=padding),
            nn.ReLU(),
            nn.Conv2d(width, 1, 3, padding=padding),
        )
        self.wrong = wrong
        if wrong == "unused":
            self.more = nn.Conv2d(1, 1, 3)

    def forward(self, noisy, sigma):
        if self.wrong == "no sigma":
            raise TypeError("forward() takes 2 positional arguments but 3 were given")
        if self.wrong == "shuffled":
            return nn.functional.pixel_shuffle(nn.functional.pixel_unshuffle(noisy, 2), 2)
        found = self.layers(noisy)
        if self.wrong == "batch":
            found = found - found.mean(dim=0, keepdim=True)
        if self.wrong == "detached":
            found = found.detach()
        if self.wrong == "dead":
            found = 0 * found
        return noisy - found if noisy.shape == found.shape else found


WRONG = {
    "capstone.benchmark": [
        (the_mean, SHAPE),
        (a_list, TYPE),
        (by_alphabet, ORDER),
        (lambda *a: benchmark(*a, key=False), NOISE, "is the key of the noise"),
        (lambda *a: benchmark(*a, before=True), NOISE, "noisy values beyond"),
        (shows_the_clean, NOISE, "is to be shown"),
        (lambda *a: benchmark(*a, times=255), TOLD, "on the [0, 1] scale"),
        (lambda *a: benchmark(*a, clip=False), CLIPPED, "brighter than 1"),
        (lambda *a: benchmark(*a, levels=lambda x: x), ROUNDED, "is the estimate rounded"),
        (lambda *a: benchmark(*a, levels=torch.floor), FINITE),
    ],
    "capstone.paired": [
        (scatter, MORE, "how much do *means*"),
        (by_n, MORE, "n times less"),
        (biased, TABLES, "from the same six numbers"),
        (unpaired, CERTAIN, "what is left of that"),
        (the_other_way, LEAD, "ours less theirs"),
        (the_median, LEAD, "not the median"),
        (variance, SCALES, "in dB²"),
    ],
    "capstone.suspects": [
        (two_digits, DIGITS, "how many digits are printed"),
        (first_column, COLUMNS, "does one column decide"),
        (any_column, COLUMNS, "does one column decide"),
        (nearest, INTERVAL, "which numbers are printed"),
        (exactly, INTERVAL),
        (cut_off, INTERVAL),
        (a_set, TYPE),
    ],
    "capstone.row_c": [
        (benchmark, BLACK, "what is different about black"),
        (as_a_file, BEFORE, "rounded as well"),
        (shifted, BEFORE, "agree to the last digit"),
        (folded, SAME, "all of it is scored"),
        (clipped_above, BLACK),
        (not_scored_as_before, BEFORE),
    ],
    "capstone.small_network": [
        (lambda: Stack(width=64), COUNT, "9ab weights"),
        (nn.Identity, COUNT, "nn.Parameter"),
        (lambda: Stack(padding=0), SIZES, "an odd row"),
        (lambda: Stack(wrong="shuffled"), RUNS),
        (lambda: Stack(wrong="no sigma"), RUNS),
        (lambda: Stack(wrong="batch"), ITSELF, "over the batch"),
        (lambda: Stack(wrong="detached"), RUNS),
        (lambda: Stack(wrong="unused"), REACHED, "not used"),
        (lambda: Stack(wrong="dead"), LEARNS, "move the estimate"),
    ],
}
