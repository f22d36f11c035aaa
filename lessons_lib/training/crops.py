"""Training data: random crops of images, turned and mirrored, and what happened to them.

A batch is a function of the run's seed and of the step's number, and of nothing else. There is no
state to save: a run that was killed goes on with the very crops and the very noise it would have
seen.
"""

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from lessons_lib import data
from lessons_lib.evaluation.leaks import refuse_test_images
from lessons_lib.ops.dictionary import learn_dictionary
from lessons_lib.ops.patches import centre
from lessons_lib.tasks import GOALS, Examples, Goal, Task
from lessons_lib.training.balance import image_scales
from lessons_lib.training.config import Run
from lessons_lib.training.stage import Stage
from lessons_lib.training.tables import ConfigError

HELD_OUT = 12
# Of a small data set a quarter is held out, and of a data set smaller still nothing is learned.
SMALLEST = 8


class Crops:
    """The images of a data set, some held out, and what is cut from them.

    Args:
        run: names the data set and the task.
        stage: gives the crops and the seed.
        channels: 1 turns colours to gray; to the luma of a file, where files are to be restored.

    Raises:
        ConfigError: if a crop does not fit into the images, or too few images are there.
        DataError: if the data set cannot be had.
        LeakError: if an image is in a test set.
    """

    def __init__(self, run: Run, stage: Stage, channels: int) -> None:
        self.run, self.stage = run, stage
        self.channels = channels
        dataset = data.load(run.dataset)
        refuse_test_images(dataset)
        images = []
        for name, image in dataset:
            image = self.task.training_image(image, channels, self.goal)
            if image.shape[1] < channels:
                raise ConfigError(f"{run.dataset}/{name} is gray; the model wants colours")
            if min(image.shape[-2:]) < stage.crop:
                raise ConfigError(f"{run.dataset}/{name} is smaller than a crop of {stage.crop}")
            # Bytes: a quarter of the memory, and exact for the 8-bit files these are.
            images.append((image[0] * 255).round().byte())
        if len(images) < SMALLEST:
            raise ConfigError(f"{run.dataset} has {len(images)} images: too few to hold some out")
        # The same images are held out whatever the seed, so that runs can be compared.
        order = np.random.RandomState(0).permutation(len(images))
        count = min(HELD_OUT, len(images) // 4)
        self.held_out = [images[index] for index in order[:count]]
        self.training = [images[index] for index in order[count:]]

    @property
    def task(self) -> Task:
        """What the run is for."""
        return GOALS[self.run.task]

    @property
    def goal(self) -> Goal:
        """How far it is to go."""
        return self.run.goal

    @cached_property
    def scales(self) -> Tensor:
        """What a balanced run scales the training images' differences by; half a minute's work."""
        return image_scales(self.task, self.goal, self.training)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Clean and degraded crops ``(batch, C, crop, crop)`` of one step, see `examples`."""
        examples = self.examples(step)
        return examples.clean, examples.degraded

    def examples(self, step: int) -> Examples:
        """What one step learns from."""
        stage = self.stage
        generator = np.random.default_rng([stage.seed, step])
        crops = []
        chosen = generator.integers(len(self.training), size=stage.batch)
        for index in chosen:
            image = self.training[index]
            top, left = (int(generator.integers(n - stage.crop + 1)) for n in image.shape[-2:])
            crop = image[:, top : top + stage.crop, left : left + stage.crop]
            quarters, mirrored = generator.integers(4), generator.integers(2)
            crop = crop.rot90(int(quarters), (1, 2))
            crops.append(crop.flip(2) if mirrored else crop)
        examples = self.task.examples(torch.stack(crops) / 255, self.goal, generator)
        if not stage.loss.balanced:
            return examples
        scales = self.scales[torch.from_numpy(chosen)]
        levels = torch.tensor(self.task.levels(self.goal))
        noise = examples.told.get("sigma", levels[:1].expand(stage.batch))
        nearest = (noise[:, None] - levels).abs().argmin(dim=1, keepdim=True)
        return examples.scaled(scales.gather(1, nearest)[:, 0])

    def fixed(self, which: str) -> Examples:
        """Crops for monitoring, the same at every look.

        Args:
            which: "held out" or "training", of which a dozen images are looked at.
        """
        images = self.held_out if which == "held out" else self.training[:HELD_OUT]
        size = self.stage.crop
        crops = [
            image[:, top : top + size, left : left + size]
            for image in images
            for top in range(0, image.shape[-2] - size + 1, size)[:3]
            for left in range(0, image.shape[-1] - size + 1, size)[:3]
        ]
        return self.task.watched(torch.stack(crops) / 255, self.goal, np.random.default_rng(1))

    def dictionary(self, patch: int, atoms: int) -> Tensor:
        """Learn ``(m, atoms)`` from clean centred patches, to start a model from.

        Source: GroupSC §3.6.
        """
        how, seed = self.run.dictionary, self.stage.seed
        generator = np.random.default_rng([seed])
        patches = []
        for index in generator.integers(len(self.training), size=how.patches):
            image = self.training[index][: self.channels]
            top, left = (int(generator.integers(n - patch + 1)) for n in image.shape[-2:])
            patches.append(image[:, top : top + patch, left : left + patch].flatten())
        centred, _ = centre(torch.stack(patches, dim=1) / 255)
        varied = centred[:, centred.std(dim=0) > 1 / 255]
        # Batches of 512 that see each patch two or three times.
        passes = max(1, how.patches // 200)
        return learn_dictionary(varied, atoms, how.lam, iterations=passes, seed=seed)
