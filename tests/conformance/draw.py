"""Random problems: how a family draws them, and the list of all."""

from dataclasses import dataclass, field
from typing import Callable

import numpy as np
import torch


@dataclass
class Problem:
    """One call of an operation, for rasgo and for PyTorch.

    inputs: tensors by name; floats are float64 here, and are rounded to the dtype of the run.
    attributes: PyTorch's keywords; None and absent ones are left out.
    reference: function of (tensors by name, attributes) that gives a tensor, or a dict of tensors by output name.
    constants: names of float inputs that have no gradient.
    dtypes: "f32", "f64" or both.
    """

    inputs: dict
    attributes: dict
    reference: Callable
    constants: tuple = ()
    dtypes: tuple = ("f32", "f64")
    lists: tuple = field(default=())


class Draw:
    """Random numbers under names that read well."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def int(self, low, high):
        """A whole number, both ends included."""
        return int(self.rng.integers(low, high + 1))

    def flag(self, probability=0.5):
        return bool(self.rng.random() < probability)

    def choice(self, values):
        return values[int(self.rng.integers(len(values)))]

    def uniform(self, low, high):
        return float(self.rng.uniform(low, high))

    def sizes(self, count, low, high):
        """Sizes that differ from each other where the range has room."""
        room = list(range(low, high + 1))
        if len(room) >= count:
            return [int(x) for x in self.rng.permutation(room)[:count]]
        return [self.int(low, high) for _ in range(count)]

    def batch(self):
        """Mostly 1 to 4, sometimes 0."""
        return self.choice([0, 1, 1, 2, 2, 3, 4])

    def channels(self):
        """Mostly few, with the tails of every tile: 1 to 9, and some beyond 16, 32, 64, 128."""
        return self.choice([1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 16, 17, 33, 70, 130])

    def per_axis(self, dims, low, high, one=0.3):
        """A number for all axes, or one for each, different where there is room."""
        if self.flag(one):
            return self.int(low, high)
        return self.sizes(dims, low, high)

    def normal(self, shape, scale=1.0, shift=0.0):
        return self.rng.normal(size=tuple(shape)) * scale + shift

    def positive(self, shape):
        return np.abs(self.normal(shape)) + 0.1

    def whole(self, shape, low, high):
        """int64 values, both ends included."""
        return self.rng.integers(low, high + 1, size=tuple(shape))

    def ties(self, shape):
        """Few different values, so that equals are common."""
        return np.round(self.normal(shape) * 2) / 2

    def odd(self, values, share=0.05, among=(np.nan, np.inf, -np.inf, 0.0, -0.0)):
        """The same with some NaN, inf, -inf, 0 and -0, or what else is given, among them."""
        values = np.array(values, dtype=np.float64)
        strange = self.rng.random(values.shape) < share
        picks = self.rng.choice(list(among), size=values.shape)
        return np.where(strange, picks, values)


PROBLEMS = {}


def problem(*names):
    """Registers `function(draw, name) -> Problem` for operations."""

    def register(function):
        for name in names:
            assert name not in PROBLEMS, f"{name} is registered twice"
            PROBLEMS[name] = function
        return function

    return register


def dims_of(name):
    """1, 2 or 3 from the end of a name such as conv2d."""
    return int(name[-2])


def functional(name):
    """PyTorch's function of that name."""
    return getattr(torch.nn.functional, name, None) or getattr(torch, name)
