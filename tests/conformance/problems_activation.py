"""Activations."""

import torch
import torch.nn.functional as F

from draw import Problem, functional, problem


def values(draw, odd=(0.0, -0.0)):
    """Shapes of every rank, with values on the corners of the functions and beyond them, and some of `odd`."""
    shape = draw.sizes(draw.int(0, 4), 0 if draw.flag(0.1) else 1, 7)
    scale = draw.choice([0.1, 1, 1, 5, 40])
    x = draw.normal(shape, scale) if draw.flag(0.7) else draw.ties(shape) * 2
    return draw.odd(x, 0.1, odd) if draw.flag(0.3) else x


NAN, INF = float("nan"), float("inf")


@problem("relu", "sigmoid", "tanh", "silu", "mish", "logsigmoid", "softsign")
def plain(draw, name):
    x = values(draw, (NAN, INF, -INF, 0.0, -0.0))
    return Problem({"input": x}, {}, lambda t: functional(name)(t["input"]))


# At NaN PyTorch's vector kernels and its scalar ones for the last few elements give different gradients here.
@problem("relu6", "selu", "hardswish", "hardsigmoid")
def plain_without_nan(draw, name):
    x = values(draw, (INF, -INF, 0.0, -0.0, 3.0, -3.0, 6.0))
    return Problem({"input": x}, {}, lambda t: functional(name)(t["input"]))


@problem("leaky_relu")
def leaky_relu(draw, _name):
    slope = draw.choice([None, 0.0, 0.2, -0.3, 1.5])
    x = values(draw, (NAN, INF, -INF, 0.0, -0.0))
    return Problem({"input": x}, {"negative_slope": slope}, lambda t, **a: F.leaky_relu(t["input"], **a))


# NaN as above; a negative alpha turns an infinite argument of celu's exponential around.
@problem("elu", "celu")
def elu(draw, name):
    alpha = draw.choice([None, 1.0, 0.3, 2.5, -0.7, 0.0])
    x = values(draw, (INF, -INF, 0.0, -0.0))
    return Problem({"input": x}, {"alpha": alpha}, lambda t, **a: functional(name)(t["input"], **a))


# PyTorch's f32 kernel gives NaN for infinity, its f64 kernel infinity.
@problem("gelu")
def gelu(draw, _name):
    approximate = draw.choice([None, "none", "tanh", "tanh", "sigmoid" if draw.flag(0.1) else "none"])
    x = values(draw)
    return Problem({"input": x}, {"approximate": approximate}, lambda t, **a: F.gelu(t["input"], **a))


@problem("hardtanh")
def hardtanh(draw, _name):
    attributes = {"min_val": draw.choice([None, -2.0, 0.0, 0.5]), "max_val": draw.choice([None, 0.5, 3.0, -1.0])}
    x = values(draw, (INF, -INF, 0.0, -0.0, 0.5, -1.0))
    return Problem({"input": x}, attributes, lambda t, **a: F.hardtanh(t["input"], **a))


@problem("softplus")
def softplus(draw, _name):
    attributes = {"beta": draw.choice([None, 0.5, 2.0, -1.0]), "threshold": draw.choice([None, 1.0, 5.0, 30.0])}
    x = values(draw, (NAN, INF, -INF, 0.0, -0.0))
    return Problem({"input": x}, attributes, lambda t, **a: F.softplus(t["input"], **a))


@problem("prelu")
def prelu(draw, _name):
    x = values(draw, (NAN, INF, -INF, 0.0, -0.0))
    if draw.flag(0.2):
        x = draw.normal([draw.batch(), draw.channels(), *draw.sizes(draw.int(0, 3), 1, 9)])
    channels = x.shape[1] if x.ndim > 1 else 1
    slopes = draw.choice([[1], [channels], [channels], [channels + 1], [1, channels], []])
    weight = draw.normal(slopes)
    return Problem({"input": x, "weight": weight}, {}, lambda t: F.prelu(t["input"], t["weight"]))


@problem("softmax", "log_softmax")
def softmax(draw, name):
    x = values(draw, (NAN, INF, -INF, 0.0, -0.0) if draw.flag(0.2) else (-INF, 0.0))
    if draw.flag(0.3):
        x = draw.normal(draw.sizes(draw.int(1, 3), 1, 70), draw.choice([1, 30, 300]))
    dim = draw.int(-max(x.ndim, 1), max(x.ndim, 1) - (0 if draw.flag(0.05) else 1))
    return Problem({"input": x}, {"dim": dim}, lambda t, **a: getattr(torch, name)(t["input"], **a))
