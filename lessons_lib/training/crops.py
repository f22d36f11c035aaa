"""Training data: random crops of clean images, turned and mirrored, with fresh noise.

A batch is a function of the run's seed and of the step's number, and of nothing else. There is no
state to save: a run that was killed goes on with the very crops and the very noise it would have
seen.
"""

import numpy as np
import torch
from torch import Tensor

from lessons_lib import data
from lessons_lib.evaluation.leaks import refuse_test_images
from lessons_lib.ops.dictionary import learn_dictionary
from lessons_lib.ops.patches import centre
from lessons_lib.training.config import ConfigError, Run

HELD_OUT = 12
# Of a small data set a quarter is held out, and of a data set smaller still nothing is learned.
SMALLEST = 8


class Crops:
    """The images of a data set, some held out, and what is cut from them.

    Args:
        run: names the data set, the crops and the seed.
        channels: 1 turns colours to gray.

    Raises:
        ConfigError: if a crop does not fit into the images, or too few images are there.
        DataError: if the data set cannot be had.
        LeakError: if an image is in a test set.
    """

    def __init__(self, run: Run, channels: int) -> None:
        self.run = run
        dataset = data.load(run.dataset)
        refuse_test_images(dataset)
        images = []
        for name, image in dataset:
            image = data.to_gray(image) if channels == 1 else image
            if image.shape[1] != channels:
                raise ConfigError(f"{run.dataset}/{name} is gray; the model wants colours")
            if min(image.shape[-2:]) < run.crop:
                raise ConfigError(f"{run.dataset}/{name} is smaller than a crop of {run.crop}")
            # Bytes: a quarter of the memory, and exact for the 8-bit files these are.
            images.append((image[0] * 255).round().byte())
        if len(images) < SMALLEST:
            raise ConfigError(f"{run.dataset} has {len(images)} images: too few to hold some out")
        # The same images are held out whatever the seed, so that runs can be compared.
        order = np.random.RandomState(0).permutation(len(images))
        count = min(HELD_OUT, len(images) // 4)
        self.held_out = [images[index] for index in order[:count]]
        self.training = [images[index] for index in order[count:]]

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Clean and noisy crops ``(batch, C, crop, crop)`` of one step."""
        run = self.run
        generator = np.random.default_rng([run.seed, step])
        crops = []
        for index in generator.integers(len(self.training), size=run.batch):
            image = self.training[index]
            top, left = (int(generator.integers(n - run.crop + 1)) for n in image.shape[-2:])
            crop = image[:, top : top + run.crop, left : left + run.crop]
            quarters, mirrored = generator.integers(4), generator.integers(2)
            crop = crop.rot90(int(quarters), (1, 2))
            crops.append(crop.flip(2) if mirrored else crop)
        clean = torch.stack(crops) / 255
        noise = generator.standard_normal(tuple(clean.shape), dtype=np.float32)
        return clean, clean + run.sigma * torch.from_numpy(noise)

    def fixed(self, which: str) -> tuple[Tensor, Tensor]:
        """Clean and noisy crops for monitoring, the same at every look.

        Args:
            which: "held out" or "training", of which a dozen images are looked at.
        """
        images = self.held_out if which == "held out" else self.training[:HELD_OUT]
        size = self.run.crop
        crops = [
            image[:, top : top + size, left : left + size]
            for image in images
            for top in range(0, image.shape[-2] - size + 1, size)[:3]
            for left in range(0, image.shape[-1] - size + 1, size)[:3]
        ]
        clean = torch.stack(crops) / 255
        noise = np.random.default_rng(1).standard_normal(tuple(clean.shape), dtype=np.float32)
        return clean, clean + self.run.sigma * torch.from_numpy(noise)

    def dictionary(self, patch: int, atoms: int) -> Tensor:
        """Learn ``(m, atoms)`` from clean centred patches, to start a model from.

        Source: GroupSC §3.6.
        """
        run = self.run
        generator = np.random.default_rng([run.seed])
        patches = []
        for index in generator.integers(len(self.training), size=run.dictionary_patches):
            image = self.training[index]
            top, left = (int(generator.integers(n - patch + 1)) for n in image.shape[-2:])
            patches.append(image[:, top : top + patch, left : left + patch].flatten())
        centred, _ = centre(torch.stack(patches, dim=1) / 255)
        varied = centred[:, centred.std(dim=0) > 1 / 255]
        # Batches of 512 that see each patch two or three times.
        passes = max(1, run.dictionary_patches // 200)
        return learn_dictionary(varied, atoms, run.dictionary_lam, iterations=passes, seed=run.seed)
