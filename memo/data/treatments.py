"""Treatments of the labels and of the inputs of a training set. A new treatment is one function and one entry.

Every treatment draws from the generator it is given, so the same seed draws the same treatment regardless of other
networks. Test labels are never changed.
"""

from collections import ChainMap
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from memo.data.randomness import generator as generator_of
from memo.errors import Refusal


def _true_labels(generator: np.random.Generator, labels: np.ndarray, fraction: float, classes: int) -> np.ndarray:
    return labels


def _shuffled_labels(generator: np.random.Generator, labels: np.ndarray, fraction: float, classes: int) -> np.ndarray:
    """Permute a random `fraction` of the labels among themselves: class counts are kept."""
    chosen = generator.permutation(len(labels))[: round(fraction * len(labels))]
    shuffled = labels.copy()
    shuffled[chosen] = generator.permutation(labels[chosen])
    return shuffled


def _random_labels(generator: np.random.Generator, labels: np.ndarray, fraction: float, classes: int) -> np.ndarray:
    """Redraw each label uniformly with probability `fraction` (Zhang et al. 2017): about 0.9 of those change."""
    redrawn = generator.random(len(labels)) < fraction
    return np.where(redrawn, generator.integers(0, classes, len(labels), dtype=labels.dtype), labels)


def stratified_shuffle(generator: np.random.Generator, labels: np.ndarray, fraction: float, classes: int) -> np.ndarray:
    """Permute a random `fraction` of the labels so that images of each class get every label equally often.

    That is, as often as it occurs among those labels, but for one or two images.
    """
    chosen = generator.permutation(len(labels))[: round(fraction * len(labels))]
    chosen = chosen[np.argsort(labels[chosen], kind="stable")]  # class by class, in random order within each
    counts = np.bincount(labels[chosen], minlength=classes)
    # The copies of each label lie at even distances from 0 to 1, so that every stretch has its share of each label.
    places = np.concatenate([(np.arange(count) + generator.random()) / max(count, 1) for count in counts])
    shuffled = labels.copy()
    shuffled[chosen] = np.repeat(np.arange(classes, dtype=labels.dtype), counts)[np.argsort(places)]
    return shuffled


def _symmetric_noise(generator: np.random.Generator, labels: np.ndarray, fraction: float, classes: int) -> np.ndarray:
    """Replace each label with probability `fraction` by one of the other classes, all equally likely (Nakkiran et al. 2020)."""
    chosen = generator.random(len(labels)) < fraction
    others = (labels + generator.integers(1, max(classes, 2), len(labels))) % classes
    return np.where(chosen, others, labels).astype(labels.dtype)


def _pair_flips(generator: np.random.Generator, labels: np.ndarray, fraction: float, classes: int) -> np.ndarray:
    """Replace each label with probability `fraction` by the next class, the last by the first (Han et al. 2018)."""
    return flipped(generator, labels, fraction, (np.arange(classes) + 1) % classes)


def flipped(generator: np.random.Generator, labels: np.ndarray, fraction: float, others: np.ndarray) -> np.ndarray:
    """Replace each label [n] with probability `fraction` by the one class that `others` [classes] has for it."""
    chosen = generator.random(len(labels)) < fraction
    return np.where(chosen, others[labels], labels).astype(labels.dtype)


def _redrawn(key: jax.Array, labels: jax.Array, fraction: jax.Array, classes: int) -> jax.Array:
    """Redraw each label uniformly with probability `fraction`, as `random` does once for all."""
    chosen, drawn = jax.random.split(key)
    others = jax.random.randint(drawn, labels.shape, 0, classes)
    return jnp.where(jax.random.bernoulli(chosen, fraction, labels.shape), others, labels.astype(jnp.int32))


# (generator, labels [n] uint8, fraction 0..1, number of classes) -> labels [n] uint8
LabelTreatment = Callable[[np.random.Generator, np.ndarray, float, int], np.ndarray]
LABELS: dict[str, LabelTreatment] = {
    "true": _true_labels,
    "shuffled": _shuffled_labels,
    "random": _random_labels,
    "symmetric": _symmetric_noise,
    "pair": _pair_flips,
}
# (generator, labels [n] uint8, fraction 0..1, the class most similar to each [classes] uint8) -> labels [n] uint8
SimilarityTreatment = Callable[[np.random.Generator, np.ndarray, float, np.ndarray], np.ndarray]
BY_SIMILARITY: dict[str, SimilarityTreatment] = {"similar": flipped}
# Drawn anew whenever a minibatch presents an image, inside the compiled program, from true labels:
# (key, labels [batch], fraction 0..1, number of classes) -> labels [batch]
Presentation = Callable[[jax.Array, jax.Array, jax.Array, int], jax.Array]
AT_PRESENTATION: dict[str, Presentation] = {"fresh": _redrawn}
# Of all three: the values of `labels.kind`.
LABEL_KINDS: Mapping[str, object] = ChainMap[str, object](AT_PRESENTATION, BY_SIMILARITY, LABELS)  # type: ignore[arg-type]


def treat_labels(
    kind: str,
    generator: np.random.Generator,
    labels: np.ndarray,
    fraction: float,
    classes: int,
    stratified: bool,
    nearest: Callable[[], np.ndarray] | None = None,
) -> np.ndarray:
    """Return labels [n] uint8 as a treatment leaves them; Refusal where it returns anything else than n classes.

    `nearest` returns the class most similar to each [classes] uint8, for a kind of BY_SIMILARITY. A kind of AT_PRESENTATION
    leaves them as they are: it changes what a minibatch reads.
    """
    if kind in AT_PRESENTATION:
        return labels
    if kind in BY_SIMILARITY:
        if nearest is None:
            raise ValueError(f"labels.kind={kind} needs the class most similar to each.")
        treated = np.asarray(BY_SIMILARITY[kind](generator, labels, fraction, nearest()))
    else:
        treated = np.asarray((stratified_shuffle if stratified else LABELS[kind])(generator, labels, fraction, classes))
    _require(treated.shape == labels.shape, "labels", kind, f"the shape {treated.shape}", f"{labels.shape}")
    _require(treated.dtype.kind in "iu", "labels", kind, f"the type {treated.dtype}", "whole numbers")
    least, most = int(treated.min()), int(treated.max())
    _require(least >= 0 and most < classes, "labels", kind, f"labels from {least} to {most}", f"0 to {classes - 1}")
    return treated.astype(np.uint8)


def _require(holds: bool, what: str, kind: str, returned: str, due: str) -> None:
    if not holds:
        raise Refusal(f"{what}.kind is {kind}; its treatment returned {returned} where {due} are due.")


class PixelStatistics(NamedTuple):
    """Mean and standard deviation over all pixels of each channel of a whole training set, on the scale 0..1."""

    mean: tuple[float, ...]
    sd: tuple[float, ...]

    @property
    def overall(self) -> tuple[float, float]:
        """Mean and standard deviation over the pixels of all channels together."""
        mean, sd = np.array(self.mean), np.array(self.sd)
        return float(mean.mean()), float(np.sqrt(np.mean(sd**2) + mean.var()))


TrainAndTest = tuple[np.ndarray, np.ndarray]
# (generator, train [n, pixels] uint8, test [m, pixels] uint8, statistics) -> (train, test), uint8 or float32
InputTreatment = Callable[[np.random.Generator, np.ndarray, np.ndarray, PixelStatistics], TrainAndTest]


def _shuffled_pixels(
    generator: np.random.Generator, train: np.ndarray, test: np.ndarray, statistics: PixelStatistics
) -> TrainAndTest:
    channels = len(statistics.mean)
    order = generator.permutation(train.shape[1] // channels)
    train, test = (images.reshape(len(images), channels, -1)[..., order] for images in (train, test))
    return train.reshape(len(train), -1), test.reshape(len(test), -1)


def permute_each(generator: np.random.Generator, images: np.ndarray, channels: int) -> np.ndarray:
    """Permute the pixels of each image [n, channels * pixels] on its own; the channels of a pixel stay together."""
    if channels == 1:
        return generator.permuted(images, axis=1)
    permuted = np.empty_like(images).reshape(len(images), channels, -1)
    for one, image in zip(permuted, images.reshape(permuted.shape)):
        one[:] = image[:, generator.permutation(image.shape[1])]
    return permuted.reshape(images.shape)


def gaussian_images(generator: np.random.Generator, shape: tuple[int, int], statistics: PixelStatistics) -> np.ndarray:
    """Draw images of a `shape` [N, pixels], float32, of independent Gaussian pixels with each channel's mean and sd, not clipped."""
    images = generator.standard_normal(shape, np.float32)
    channels = images.reshape(len(images), len(statistics.mean), -1)
    channels *= np.array(statistics.sd, np.float32)[:, None]
    channels += np.array(statistics.mean, np.float32)[:, None]
    return images


def _random_pixels(
    generator: np.random.Generator, train: np.ndarray, test: np.ndarray, statistics: PixelStatistics
) -> TrainAndTest:
    channels = len(statistics.mean)
    return permute_each(generator, train, channels), permute_each(generator, test, channels)


def _gaussian(
    generator: np.random.Generator, train: np.ndarray, test: np.ndarray, statistics: PixelStatistics
) -> TrainAndTest:
    return gaussian_images(generator, train.shape, statistics), gaussian_images(generator, test.shape, statistics)


# natural has no function: its seeds read the one copy of the images instead of one copy each.
INPUTS: dict[str, InputTreatment | None] = {
    "natural": None,
    "shuffled_pixels": _shuffled_pixels,
    "random_pixels": _random_pixels,
    "gaussian": _gaussian,
}


def treat_inputs(
    kind: str, fraction: float, seed: int, train: np.ndarray, test: np.ndarray, statistics: PixelStatistics
) -> tuple[np.ndarray, np.ndarray]:
    """Return the images (train, test) as a treatment leaves them, uint8 or float32.

    At a `fraction` of 1 all of them are treated, the test images too: they test what was learned of such inputs. Below it
    only that share of the training images is: a smaller share is part of a larger one, each replaced image is the same at
    every fraction, and test images stay natural.
    """
    treat = INPUTS[kind]
    if treat is None:
        return train, test
    treated, treated_test = map(np.asarray, treat(generator_of(seed, "inputs"), train, test, statistics))
    for given, images in ((train, treated), (test, treated_test)):
        _require(images.shape == given.shape, "inputs", kind, f"the shape {images.shape}", f"{given.shape}")
        _require(images.dtype in (np.uint8, np.float32), "inputs", kind, f"the type {images.dtype}", "uint8 or float32")
        _require(bool(np.isfinite(images).all()), "inputs", kind, "pixels that are not finite", "finite ones")
    _require(treated.dtype == treated_test.dtype, "inputs", kind, "two types", "training and test images of one")
    if fraction == 1:
        return treated, treated_test
    replaced = generator_of(seed, "inputs", "replaced").permutation(len(train))[: round(fraction * len(train))]
    # Bytes stay bytes; floats lie on the scale where white is 1.
    mixed = train.copy() if treated.dtype == np.uint8 else train.astype(np.float32) / np.float32(255)
    mixed[replaced] = treated[replaced]
    return mixed, test
