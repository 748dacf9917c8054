"""A small convolutional network for 8 × 8 images, trained with plain NumPy.

    pixels ÷ 16 → conv 3×3 (16) → ReLU → max-pool 2×2 → conv 3×3 (32) → ReLU → dense 10 → softmax

Images are channels-last here, [n, height, width, channels], because a convolution then is one matrix product over patches.
The seed fixes initial weights, order and shifts, so the same machine learns the same weights every time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SIDE = 8
"""Height and width of an image, in pixels."""

BRIGHTEST = 16.0
"""Largest value of a pixel; inputs are divided by it."""

CLASSES = 10
CHANNELS = (16, 32)
KERNEL = 3

_EPOCHS = 40
_BATCH_ROWS = 32
_STEP_SIZE = 2e-3
_SHIFTS = (-1, 0, 0, 0, 0, 1)
"""Pixels by which a batch of training images is moved, down and to the right, each equally likely."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvNet:
    """Learned weights: kernels [3, 3, in, out], dense [height × width × channels, 10]."""

    kernel_1: Floats
    bias_1: Floats
    kernel_2: Floats
    bias_2: Floats
    dense: Floats
    dense_bias: Floats

    def probabilities(self, pixels: Floats) -> Floats:
        """Return class probabilities [n, 10] for raw pixels [n, 64]."""
        return _forward(self._weights(), _images(pixels)).probabilities

    def _weights(self) -> list[Floats]:
        return [self.kernel_1, self.bias_1, self.kernel_2, self.bias_2, self.dense, self.dense_bias]


def train(pixels: Floats, labels: NDArray[np.int64], *, seed: int) -> ConvNet:
    """Learn from raw pixels [n, 64] and labels [n] by Adam on the cross-entropy, the step size falling to zero along a cosine."""
    random = np.random.default_rng(seed)
    weights = _initial_weights(random)
    adam = _Adam(weights)
    images = _images(pixels)
    batches = len(images) // _BATCH_ROWS
    for step in range(_EPOCHS * batches):
        if step % batches == 0:
            order = random.permutation(len(images))
        rows = order[step % batches * _BATCH_ROWS :][:_BATCH_ROWS]
        moved = np.roll(images[rows], (random.choice(_SHIFTS), random.choice(_SHIFTS)), axis=(1, 2))
        progress = step / (_EPOCHS * batches)
        adam.descend(_gradients(weights, moved, labels[rows]), step_size=_STEP_SIZE * (1 + np.cos(np.pi * progress)) / 2)
    names = ("kernel_1", "bias_1", "kernel_2", "bias_2", "dense", "dense_bias")
    return ConvNet(**dict(zip(names, weights, strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Activations:
    """What the forward pass saw; the backward pass needs all of it."""

    patches_1: Floats
    mapped: Floats
    pooled: Floats
    patches_2: Floats
    features: Floats
    probabilities: Floats


class _Adam:
    """Adam (Kingma and Ba, 2015) with its usual constants; changes the weights it is given in place."""

    def __init__(self, weights: list[Floats]) -> None:
        self._weights = weights
        self._means = [np.zeros_like(weight) for weight in weights]
        self._squares = [np.zeros_like(weight) for weight in weights]
        self._steps = 0

    def descend(self, gradients: list[Floats], *, step_size: float) -> None:
        """Move every weight one step against its gradient."""
        self._steps += 1
        correction = np.float32(step_size * np.sqrt(1 - 0.999**self._steps) / (1 - 0.9**self._steps))
        for index, gradient in enumerate(gradients):
            self._means[index] += np.float32(0.1) * (gradient - self._means[index])
            self._squares[index] += np.float32(0.001) * (gradient * gradient - self._squares[index])
            self._weights[index] -= correction * self._means[index] / (np.sqrt(self._squares[index]) + np.float32(1e-8))


def _images(pixels: Floats) -> Floats:
    return (pixels / np.float32(BRIGHTEST)).reshape(-1, SIDE, SIDE, 1)


def _initial_weights(random: np.random.Generator) -> list[Floats]:
    first, second = CHANNELS
    shapes = [(KERNEL, KERNEL, 1, first), (KERNEL, KERNEL, first, second), ((SIDE // 2) ** 2 * second, CLASSES)]
    weights: list[Floats] = []
    for shape in shapes:
        spread = np.sqrt(2 / np.prod(shape[:-1]))  # He et al., 2015
        weights += [random.normal(0, spread, shape).astype(np.float32), np.zeros(shape[-1], np.float32)]
    return weights


def _patches(images: Floats) -> Floats:
    """Return each pixel's 3 × 3 neighbourhood, zero outside: [n, height, width, 9 × channels]."""
    count, height, width, _ = images.shape
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifted = [padded[:, row : row + height, column : column + width] for row in range(KERNEL) for column in range(KERNEL)]
    return np.stack(shifted, axis=3).reshape(count, height, width, -1)


def _unpatch(patches: Floats, channels: int) -> Floats:
    """Add every neighbourhood back to the pixels it came from: the transpose of `_patches`."""
    count, height, width, _ = patches.shape
    padded = np.zeros((count, height + 2, width + 2, channels), np.float32)
    by_offset = patches.reshape(count, height, width, KERNEL * KERNEL, channels)
    for offset in range(KERNEL * KERNEL):
        row, column = divmod(offset, KERNEL)
        padded[:, row : row + height, column : column + width] += by_offset[:, :, :, offset]
    return padded[:, 1:-1, 1:-1]


def _forward(weights: list[Floats], images: Floats) -> _Activations:
    kernel_1, bias_1, kernel_2, bias_2, dense, dense_bias = weights
    patches_1 = _patches(images)
    mapped = np.maximum(patches_1 @ kernel_1.reshape(-1, kernel_1.shape[-1]) + bias_1, 0)
    pooled = _windows(mapped).max(axis=(2, 4))
    patches_2 = _patches(pooled)
    features = np.maximum(patches_2 @ kernel_2.reshape(-1, kernel_2.shape[-1]) + bias_2, 0)
    scores = features.reshape(len(images), -1) @ dense + dense_bias
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    return _Activations(
        patches_1=patches_1, mapped=mapped, pooled=pooled, patches_2=patches_2, features=features, probabilities=probabilities
    )


def _windows(mapped: Floats) -> Floats:
    """View [n, h, w, c] as 2 × 2 windows: [n, h/2, 2, w/2, 2, c]."""
    count, height, width, channels = mapped.shape
    return mapped.reshape(count, height // 2, 2, width // 2, 2, channels)


def _gradients(weights: list[Floats], images: Floats, labels: NDArray[np.int64]) -> list[Floats]:
    """Return the mean cross-entropy's gradient by each weight, in the order of the weights."""
    kernel_1, _, kernel_2, _, dense, _ = weights
    seen = _forward(weights, images)
    by_scores = (seen.probabilities - np.eye(CLASSES, dtype=np.float32)[labels]) / np.float32(len(images))
    flat = seen.features.reshape(len(images), -1)
    by_features = (by_scores @ dense.T).reshape(seen.features.shape) * (seen.features > 0)
    by_patches_2 = by_features @ kernel_2.reshape(-1, kernel_2.shape[-1]).T
    by_pooled = _unpatch(by_patches_2, seen.pooled.shape[-1])
    is_winner = _windows(seen.mapped) == seen.pooled[:, :, None, :, None]
    by_mapped = (is_winner * by_pooled[:, :, None, :, None]).reshape(seen.mapped.shape) * (seen.mapped > 0)
    return [
        *_kernel_gradients(seen.patches_1, by_mapped, kernel_1.shape),
        *_kernel_gradients(seen.patches_2, by_features, kernel_2.shape),
        flat.T @ by_scores,
        by_scores.sum(axis=0),
    ]


def _kernel_gradients(patches: Floats, by_outputs: Floats, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    rows = by_outputs.reshape(-1, shape[-1])
    return (patches.reshape(len(rows), -1).T @ rows).reshape(shape), rows.sum(axis=0)
