"""Functions of each element."""

import torch.nn.functional as F

from draw import Problem, functional, problem


def values(draw):
    """Shapes of every rank, with values on the corners of the functions and beyond them."""
    shape = draw.sizes(draw.int(0, 4), 0 if draw.flag(0.1) else 1, 7)
    scale = draw.choice([0.1, 1, 1, 5, 40])
    x = draw.normal(shape, scale) if draw.flag(0.7) else draw.ties(shape) * 2
    return draw.odd(x, 0.1) if draw.flag(0.3) else x


@problem("relu")
def plain(draw, name):
    return Problem({"input": values(draw)}, {}, lambda t: functional(name)(t["input"]))


@problem("leaky_relu")
def leaky_relu(draw, _name):
    slope = draw.choice([None, 0.0, 0.2, -0.3, 1.5])
    return Problem({"input": values(draw)}, {"negative_slope": slope}, lambda t, **a: F.leaky_relu(t["input"], **a))
