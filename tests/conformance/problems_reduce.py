"""Reductions over axes."""

import numpy as np
import torch

from draw import Problem, problem
from problems_algebra import any_dtype, shape_of, values, whole


def axes(draw, shape):
    """None, one axis or several, by either name; sometimes one that is not there, or comes twice."""
    rank = len(shape)
    if draw.flag(0.25):
        return None
    if rank == 0:
        return draw.choice([None, [0], [-1], [1]])
    chosen = [int(x) for x in draw.rng.permutation(rank)[: draw.int(1, rank)]]
    chosen = [axis - rank if draw.flag() else axis for axis in chosen]
    if draw.flag(0.04):
        chosen.append(draw.choice([rank, -rank - 1, chosen[0]]))
    return chosen


def axis(draw, shape, wrong=0.04):
    rank = max(len(shape), 1)
    if draw.flag(wrong):
        return draw.choice([rank, -rank - 1])
    return draw.int(-rank, rank - 1)


def keep(draw, dim):
    return draw.flag() if dim is not None and draw.flag(0.7) else None


def long(draw, shape):
    """Now and then an axis longer than a block of the kernels."""
    if shape and draw.flag(0.1):
        shape = list(shape)
        shape[draw.int(0, len(shape) - 1)] = draw.choice([130, 1031])
    return shape


@problem("sum")
def sums(draw, _name):
    shape = long(draw, shape_of(draw))
    kind = draw.int(0, 9)
    x = whole(draw, shape) if kind == 0 else values(draw, shape)
    if kind == 1:
        x = draw.whole(shape, 0, 255).astype(np.uint8)
    dim = axes(draw, shape)
    return Problem(
        {"input": x},
        {"dim": dim, "keepdim": keep(draw, dim)},
        lambda t, dim=None, keepdim=False: torch.sum(t["input"], dim, keepdim),
    )


@problem("mean", "logsumexp", "amax", "amin")
def over(draw, name):
    shape = long(draw, shape_of(draw))
    dim = axes(draw, shape)
    if name == "logsumexp" and dim is None:
        dim = list(range(len(shape))) if shape else [0]
    if name in ("amax", "amin"):
        x = whole(draw, shape) if draw.flag(0.15) else draw.odd(draw.ties(shape), 0.05)
    else:
        x = values(draw, shape)
    function = getattr(torch, name)

    def reference(t, dim=None, keepdim=False):
        return function(t["input"]) if dim is None else function(t["input"], dim, keepdim)

    return Problem({"input": x}, {"dim": dim, "keepdim": keep(draw, dim)}, reference)


@problem("var", "std")
def moments(draw, name):
    shape = long(draw, shape_of(draw))
    dim = axes(draw, shape)
    x = values(draw, shape, odd=0.1) + draw.choice([0, 0, 3, -10])
    # Squares that float32 does not hold.
    x = x * draw.choice([1, 1, 1, 1, 1e-23, 1e20])
    if draw.flag(0.1):
        x = np.full(shape, 1.5)
    correction = draw.choice([None, 0, 1, 2, 0.5, 9])
    # With fewer elements than the correction PyTorch warns, and without dim its gradient is infinite: only the value is
    # compared.
    less = 1 if correction is None else correction
    constants = ("input",) if dim is None and np.prod(shape) < less else ()
    return Problem(
        {"input": x},
        {"dim": dim, "correction": correction, "keepdim": keep(draw, dim)},
        lambda t, dim=None, correction=1, keepdim=False: getattr(torch, name)(
            t["input"], dim, correction=correction, keepdim=keepdim
        ),
        constants=constants,
    )


@problem("norm")
def norm(draw, _name):
    shape = long(draw, shape_of(draw))
    dim = axes(draw, shape)
    x = draw.choice([values(draw, shape), draw.ties(shape), np.zeros(shape)])
    return Problem(
        {"input": x},
        {"p": draw.choice([None, 1, 2, 2.0, "inf", "-inf", 0, 0.5, 1.5, 3, -1, -2.5]), "dim": dim, "keepdim": keep(draw, dim)},
        lambda t, p=2, dim=None, keepdim=False: torch.linalg.vector_norm(t["input"], float(p), dim, keepdim),
    )


@problem("any", "all")
def truth(draw, name):
    shape = long(draw, shape_of(draw))
    dim = axes(draw, shape)
    return Problem(
        {"input": any_dtype(draw, shape)},
        {"dim": dim, "keepdim": keep(draw, dim)},
        lambda t, dim=None, keepdim=False: (
            getattr(torch, name)(t["input"]) if dim is None else getattr(torch, name)(t["input"], dim, keepdim)
        ),
    )


@problem("max", "min")
def with_index(draw, name):
    shape = long(draw, shape_of(draw))
    dim = None if draw.flag(0.2) else axis(draw, shape)
    # Equals: both take the first, also of NaNs.
    x = draw.whole(shape, -3, 3) if draw.flag(0.15) else draw.odd(draw.ties(shape), 0.05)

    def reference(t, dim=None, keepdim=False):
        if dim is None:
            return getattr(torch, name)(t["input"])
        output, indices = getattr(torch, name)(t["input"], dim, keepdim)
        return {"output": output, "indices": indices}

    return Problem({"input": x}, {"dim": dim, "keepdim": keep(draw, dim)}, reference)


@problem("argmax", "argmin")
def position(draw, name):
    shape = long(draw, shape_of(draw))
    dim = None if draw.flag(0.2) else axis(draw, shape)
    x = draw.whole(shape, -3, 3) if draw.flag(0.15) else draw.odd(draw.ties(shape), 0.05)
    return Problem(
        {"input": x},
        {"dim": dim, "keepdim": draw.flag() if draw.flag() else None},
        lambda t, dim=None, keepdim=False: getattr(torch, name)(t["input"], dim, keepdim),
    )


@problem("prod")
def prod(draw, _name):
    shape = shape_of(draw)
    dim = None if draw.flag(0.2) else axis(draw, shape)
    x = draw.whole(shape, -3, 3) if draw.flag(0.15) else draw.choice([draw.normal(shape), draw.ties(shape)])
    if x.dtype.kind == "f" and draw.flag(0.2):
        x = draw.odd(x)

    def reference(t, dim=None, keepdim=False):
        return torch.prod(t["input"]) if dim is None else torch.prod(t["input"], dim, keepdim)

    return Problem({"input": x}, {"dim": dim, "keepdim": keep(draw, dim)}, reference)


@problem("cumsum")
def cumsum(draw, _name):
    shape = long(draw, shape_of(draw))
    x = whole(draw, shape) if draw.flag(0.15) else values(draw, shape, odd=0.15)
    return Problem({"input": x}, {"dim": axis(draw, shape)}, lambda t, dim: torch.cumsum(t["input"], dim))
