"""Tables in Markdown, made from kept scores and training logs. Nobody types their numbers."""

import csv
import re
import tomllib
from collections import Counter
from collections.abc import Callable
from importlib.resources.abc import Traversable
from pathlib import Path
from statistics import fmean

from lessons_lib.checkpoints import cards, known_weights
from lessons_lib.evaluation.ablations import STUDIES, Study
from lessons_lib.evaluation.paper import Published
from lessons_lib.evaluation.protocols import standard
from lessons_lib.evaluation.scores import StoredScore, stored
from lessons_lib.files import replace_file
from lessons_lib.models import MODELS
from lessons_lib.published import published_weights
from lessons_lib.tasks import TASKS

HOURS = (0.1, 0.25, 0.5, 1, 2, 4, 8)
# Folder of runs whose weights were not taken.
TRIED = "tried"
PLACE, END = re.compile(r"<!-- results: .+? -->"), "<!-- end of results -->"
BLOCK = re.compile(rf"(<!-- results: (.+?) -->\n)(.*?)({END})", re.DOTALL)

Cell = Callable[[StoredScore], str]


class ReportError(ValueError):
    """A table that is unknown, or scores that do not belong to the weights."""


def tables(scores: Traversable, runs: Path | None = None) -> dict[str, str]:
    """All tables by name, as `fill` finds them in a text.

    Args:
        scores: folder of kept scores.
        runs: folder of training runs with their logs, for the table ``training``, which also shows
            those of its folder ``tried``; and of folders of short runs that differ in one thing,
            for a table of that folder's name each. Those of ``ablations`` also stand beside the
            paper's, see `STUDIES`.

    Raises:
        ReportError: if there is no such folder, or no log in that of runs, or a score was measured
            with other weights than those that bear the name now.
    """
    if not scores.is_dir():
        raise ReportError(f"{scores} is no folder of scores")
    kept = list(stored(scores))
    if not kept:
        raise ReportError(f"{scores} holds no scores")
    stale = [f"{s.method} on {s.dataset}, {s.setting}" for s in kept if s.stale]
    if stale:
        raise ReportError(f"measured with other weights, measure again: {', '.join(stale)}")
    made = {}
    if any(_by_authors(score) for score in kept):
        made["print, authors, ours"] = _three_neighbours(kept)
    kept = [score for score in kept if not _by_authors(score)]
    for dataset, task in dict.fromkeys((score.dataset, score.task) for score in kept):
        some = [score for score in kept if (score.dataset, score.task) == (dataset, task)]
        name = ", ".join(filter(None, (dataset, TASKS[task].mark)))
        made[f"PSNR on {name}"] = _by_setting(some, _psnr)
        made[f"SSIM on {name}"] = _by_setting(some, lambda score: f"{score.ssim:.4f}")
        made[f"seconds on {name}"] = _seconds(some)
        for setting in dict.fromkeys(score.setting for score in some):
            at = [score for score in some if score.setting == setting]
            made[f"pictures of {name}, {_head(setting)}"] = _by_picture(at)
    weights = [score for score in kept if score.method in cards() and _at_home(score)]
    compared = [(score, paper) for score in weights if (paper := score.paper)]
    if compared:
        made["trained weights"] = _weights(compared)
    if runs is not None:
        if not any(runs.rglob("*.csv")):
            raise ReportError(f"{runs} holds no log of a training: no *.csv file")
        made["training"] = _training(runs)
        for folder in sorted({log.parent for log in runs.glob("*/*.csv")} - {runs / TRIED}):
            made[f"training, {folder.name}"] = _comparison(folder)
        for study in STUDIES:
            if any((runs / study.name).glob("*.csv")):
                made[study.name] = _ablations(runs / study.name, study)
    return made


def fill(text: str, made: dict[str, str]) -> str:
    """Put tables where a text has a place for them.

    A place is ``<!-- results: NAME -->`` on a line, and ``<!-- end of results -->`` on a later one;
    what is between them is replaced.

    Raises:
        ReportError: if the text asks for a table that does not exist, or for none, or the end of a
            place is missing.
    """
    if len(PLACE.findall(text)) != text.count(END) or any(
        PLACE.search(match[3]) for match in BLOCK.finditer(text)
    ):
        raise ReportError(f"a place for a table does not end: no '{END}'")
    names = [match[2] for match in BLOCK.finditer(text)]
    unknown = [name for name in names if name not in made]
    if unknown:
        raise ReportError(f"no table '{unknown[0]}'; there are {', '.join(made)}")
    if not names:
        raise ReportError("no place for a table: no '<!-- results: NAME -->'")
    return BLOCK.sub(lambda match: f"{match[1]}\n{made[match[2]]}\n\n{match[4]}", text)


def renew(page: Path, made: dict[str, str]) -> None:
    """Put tables where a file has a place for them, see `fill`.

    Raises:
        ReportError: as `fill`, or if the file cannot be read.
        OSError: if it cannot be written; then it is as it was.
    """
    try:
        text = page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReportError(f"{page}: cannot be read: {error}") from error
    replace_file(page, fill(text, made).encode())


def _by_authors(score: StoredScore) -> bool:
    """Whether it was measured with weights that others have published."""
    return score.method in published_weights()


def _three_neighbours(kept: list[StoredScore]) -> str:
    """Print, what the authors' weights score in our code, and what ours do.

    The second against the first says whether the code is right, the third how far the training got.
    """
    head = ["model", "data", "print", "authors' weights, scored here", "difference", "ours", "from"]
    lines = []
    for score in filter(_by_authors, kept):
        weights = published_weights()[score.method]
        ours = [
            other
            for other in kept
            if other.place == score.place
            and other.overlap is None
            and not _by_authors(other)
            and _at_home(other)
            and _label(other) == _label(score)
        ]
        paper = score.paper
        place = (_place(weights.model), score.dataset, _number(score.setting), score.method)
        name = paper.method if paper else _network(score)
        cells = [
            name,
            ", ".join(filter(None, (score.dataset, TASKS[score.task].mark, _head(score.setting)))),
            f"{paper.psnr:.2f}" if paper else "–",
            f"{score.psnr:.3f}",
            f"{score.psnr - paper.psnr:+.3f}" if paper else "",
            f"{ours[0].psnr:.3f}" if ours else "–",
            score.method,
        ]
        lines.append((place, cells))
    return markdown([head, *(cells for _, cells in sorted(lines))])


def _by_setting(scores: list[StoredScore], cell: Cell) -> str:
    """One row for each method or network, one column for each noise level or quality."""
    settings = sorted({score.setting for score in scores}, key=_number)
    lines: dict[tuple[tuple[int, str], str, int], dict[str, str]] = {}
    for score in filter(_at_home, scores):
        line = (_place(_kind(score)), _label(score), _overlap(score))
        lines.setdefault(line, {})[score.setting] = cell(score)
    rows = [["method", *map(_head, settings)]]
    for line in sorted(lines):
        _, label, overlap = line
        cells = (lines[line].get(setting, "–") for setting in settings)
        rows.append([_with_overlap(label, overlap), *cells])
    return _explain_star(markdown(rows))


def _by_picture(scores: list[StoredScore]) -> str:
    """A row for each picture, a column for each method or network; of two, how far apart they are.

    Labels are those of other tables without the lesson.
    """
    scores = [score for score in filter(_at_home, scores) if score.overlap is None]
    scores.sort(key=lambda score: _place(_kind(score)))
    names = [_label(score).partition(" (")[0] for score in scores]
    two = len(scores) == 2
    rows = [["picture", *names, *(["difference"] if two else [])]]
    means = {score.method: score.psnr for score in scores}
    pictures = [(Path(file).stem, file) for file in scores[0].per_image] if scores else []
    for picture, file in [*pictures, ("mean", "")]:
        found = [score.per_image[file] if file else means[score.method] for score in scores]
        apart = [f"{found[1] - found[0]:+.2f}"] if two else []
        rows.append([picture, *(f"{psnr:.2f}" for psnr in found), *apart])
    return markdown(rows)


def _explain_star(table: str) -> str:
    if "*" in table:
        table += "\n\n\\* training unfinished; `lessons models` says how far it is."
    return table


def _number(setting: str) -> float:
    """That of "sigma=25", "q=10" or "x2", by which columns are ordered."""
    number = re.search(r"\d+(\.\d+)?$", setting)
    return float(number[0]) if number else 0.0


def _head(setting: str) -> str:
    """Of a column: "σ = 25" for "sigma=25", "× 2" for "x2"."""
    return re.sub(r"^x(?=\d)", "× ", setting.replace("sigma", "σ").replace("=", " = "))


def _overlap(score: StoredScore) -> int:
    """Of the tiles; -1 stands for the one that `restore` chooses, which comes first."""
    return -1 if score.overlap is None else score.overlap


def _with_overlap(label: str, overlap: int) -> str:
    return label if overlap < 0 else f"{label}, tiles overlapping by {overlap}"


def _label(score: StoredScore) -> str:
    """Of a method or a network: what tables call it, and the lesson that teaches it."""
    methods, kind = TASKS[score.task].methods(), _kind(score)
    lesson: int | None
    if kind in MODELS:
        title, lesson = _network(score), MODELS[kind].lesson
    elif kind in methods:
        title, lesson = methods[kind].title or kind, methods[kind].lesson
    else:
        return kind
    return title if lesson is None else f"{title} (lesson {lesson:02d})"


def _network(score: StoredScore) -> str:
    """What tables call the network of trained weights, where a score stands."""
    card = known_weights()[score.method]
    colour = standard(score.task, score.dataset, score.setting).channel == "rgb"
    return MODELS[card.model].name_in_tables(card.options, score.task, colour)


def _place(kind: str) -> tuple[int, str]:
    """Of a method among all: as tasks and models list them; others come last, by name."""
    known = list(dict.fromkeys(name for task in TASKS.values() for name in task.methods()))
    known += MODELS
    return (known.index(kind) if kind in known else len(known), kind)


def _kind(score: StoredScore) -> str:
    card = known_weights().get(score.method)
    return card.model if card else score.method


def _at_home(score: StoredScore) -> bool:
    """Whether trained weights were scored on what they were trained for."""
    card = cards().get(score.method)
    if card is None:
        return True
    if score.task == card.task:
        task = TASKS[score.task]
        return task.fits(card, task.value(score.setting)) == 0
    if card.task == "mixed":
        return score.task in ("jpeg", "sr")  # for noise there are other weights of that network
    if card.task == "blind":
        # Those that take a map of the noise are told its level, too, and are all that there is of
        # them; a camera's noise is taken for white noise of any level.
        return score.task == "camera" or MODELS[card.model].model.takes_maps
    return False


def _psnr(score: StoredScore) -> str:
    card = cards().get(score.method)
    mark = "" if card is None or card.finished else "*"
    paper = score.paper
    beside = f" ({paper.psnr:.2f})" if paper else ""
    return f"{score.psnr:.2f}{mark}{beside}"


def _seconds(scores: list[StoredScore]) -> str:
    """Seconds, each with the number of the machine, and the machines below."""
    devices = sorted({score.device for score in scores})

    def cell(score: StoredScore) -> str:
        return f"{score.seconds_per_image:.2g} [{devices.index(score.device) + 1}]"

    machines = (f"[{number}] {device}" for number, device in enumerate(devices, 1))
    return f"{_by_setting(scores, cell)}\n\n{', '.join(machines)}"


def _weights(compared: list[tuple[StoredScore, Published]]) -> str:
    """Trained weights against what was published, and what their training cost.

    Hours and pixels in all are those of the run and of all that it began from.
    """
    head = ["weights", "data", "PSNR (paper)", "difference", "parameters", "hours", "in all"]
    head += ["pixels", "late gain", "trained on"]
    lines = []
    for score, paper in compared:
        card, overlap = cards()[score.method], _overlap(score)
        pixels = MODELS[card.model].paper_pixels
        kind = (card.task, card.options.get("channels", 1), _place(card.model))
        cells = [
            score.method,
            _with_overlap(f"{score.dataset}, {_head(score.setting)}", overlap),
            _psnr(score),
            f"{score.psnr - paper.psnr:+.2f}",
            f"{card.parameters:,}",
            f"{sum(card.hours.values()):.2f}",
            f"{card.hours_in_all:.2f}",
            f"{100 * card.pixels_in_all / pixels:.2f} %" if pixels else "–",
            f"{card.late_gain:+.3f}",
            ", ".join(card.hours),
        ]
        lines.append(((*kind, score.dataset, _number(score.setting), overlap), cells))
    rows = [cells for _, cells in sorted(lines)]
    return _explain_star(markdown([head, *rows]))


def _training(runs: Path) -> str:
    """What each stage of each run has reached after some hours, from the logs of its looks."""
    rows = [["run", "crops/s", "hours", *(f"{hours:g} h" for hours in HOURS), "end"]]
    tried = [(f"{TRIED}/{name}", looks) for name, looks in logs(runs / TRIED)]
    for name, looks in logs(runs) + tried:
        last = looks[-1]
        if last["step"] == 0:
            continue
        reached = []
        for hours in HOURS:
            before = [look["held_out_psnr"] for look in looks if look["seconds"] <= 3600 * hours]
            reached.append("" if 3600 * hours > last["seconds"] else f"{before[-1]:.2f}")
        pace = f"{last['crops'] / last['seconds']:.1f}"
        end = f"{last['held_out_psnr']:.2f}"
        rows.append([name, pace, f"{last['seconds'] / 3600:.2f}", *reached, end])
    return markdown(rows)


def _comparison(runs: Path) -> str:
    """What short runs have reached after the same steps; the best at the last look comes first."""
    reached = {
        name: {int(look["step"]): look["held_out_psnr"] for look in looks}
        for name, looks in logs(runs)
    }
    steps = sorted(set().union(*reached.values()))
    rows = [["run", *(f"{step} steps" for step in steps)]]
    for name in sorted(reached, key=lambda name: -reached[name].get(steps[-1], 0)):
        looks = reached[name]
        rows.append([name, *(f"{looks[step]:.2f}" if step in looks else "" for step in steps)])
    return markdown(rows)


def _ablations(runs: Path, study: Study) -> str:
    """What each choice gains or loses in dB, in the paper and in our short runs.

    Those are left out of which a seed is not finished: beside others, one alone misleads.
    """
    ends: dict[str, list[dict[str, float]]] = {}
    for name, looks in logs(runs):
        if _finished(runs, name, looks):
            ends.setdefault(_choice(name), []).append(looks[-1])
    seeds = Counter(_choice(path.stem) for path in runs.glob("*.toml"))
    ends = {choice: found for choice, found in ends.items() if len(found) == seeds[choice]}
    rows = [["changed", "training steps", "held-out crops", "difference", "the paper's"]]
    for beside, label in study.usual.items():
        if beside not in ends:
            continue
        usual = ends[beside]
        rows.append([label, *_reached(usual), "", ""])
        for ablation in study.ablations:
            if ablation.beside == beside and ablation.run in ends:
                end = ends[ablation.run]
                paper = ablation.published
                rows.append(
                    [
                        ablation.changed,
                        *_reached(end),
                        f"{_mean(end) - _mean(usual):+.2f}",
                        "" if paper is None else f"{paper:+.2f}",
                    ]
                )
    return markdown(rows)


def _choice(run: str) -> str:
    """What a run tries, whatever its seed."""
    return run.partition("-seed-")[0]


def _mean(ends: list[dict[str, float]]) -> float:
    """The mean dB of several seeds."""
    return fmean(end["held_out_psnr"] for end in ends)


def _reached(ends: list[dict[str, float]]) -> list[str]:
    """Steps that a run took, and its dB; of several seeds the mean, and how far they are apart."""
    psnrs = [end["held_out_psnr"] for end in ends]
    spread = f" ± {(max(psnrs) - min(psnrs)) / 2:.2f}" if len(psnrs) > 1 else ""
    return [f"{ends[0]['step']:.0f}", f"{_mean(ends):.2f}{spread}"]


def _finished(runs: Path, name: str, looks: list[dict[str, float]]) -> bool:
    """Whether a run of one stage has taken all the steps that its TOML file asks for."""
    config = tomllib.loads((runs / f"{name}.toml").read_text(encoding="utf-8"))
    return bool(looks[-1]["step"] == config["stage"][0]["steps"])


def logs(runs: Path) -> list[tuple[str, list[dict[str, float]]]]:
    """Stages in a folder's runs that have begun, and the rows of their logs, one a look.

    A stage is called by its run's name, and by its number where the run has had several.
    """
    found = []
    for path in sorted(runs.glob("*.csv"), key=lambda path: path.stem):
        stages: dict[int, list[dict[str, float]]] = {}
        for row in _read_log(path):
            stages.setdefault(int(row["stage"]), []).append(row)
        for number, looks in stages.items():
            name = path.stem if len(stages) == 1 else f"{path.stem}, stage {number}"
            found.append((name, looks))
    return found


def _read_log(log: Path) -> list[dict[str, float]]:
    with log.open(encoding="utf-8") as file:
        rows = csv.DictReader(file)
        return [{key: float(value) for key, value in row.items()} for row in rows]


def markdown(rows: list[list[str]]) -> str:
    """A table in Markdown; the first row is its head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])
