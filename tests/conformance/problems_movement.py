"""Other shapes, parts, joined tensors, picking and placing, order."""

import numpy as np
import torch

from draw import Problem, problem
from problems_algebra import shape_of
from problems_reduce import axis, long


def any_values(draw, shape):
    """Of every dtype; what moves values computes nothing."""
    kind = draw.int(0, 6)
    if kind == 0:
        return draw.whole(shape, -(2**63), 2**63 - 1)
    if kind == 1:
        return draw.whole(shape, 0, 255).astype(np.uint8)
    x = draw.normal(shape)
    return draw.odd(x) if draw.flag(0.2) else x


def whole_or_float(draw, shape):
    return draw.whole(shape, -9, 9) if draw.flag(0.15) else draw.normal(shape)


def signed(draw, place, rank):
    return place - rank if draw.flag() else place


@problem("permute")
def permute(draw, _name):
    shape = shape_of(draw)
    rank = len(shape)
    dims = [signed(draw, int(x), rank) for x in draw.rng.permutation(rank)]
    if draw.flag(0.08) and dims:
        dims = draw.choice([dims[:-1], dims + [0], dims[:-1] + [dims[0]], dims[:-1] + [rank]])
    return Problem({"input": any_values(draw, shape)}, {"dims": dims}, lambda t, dims: torch.permute(t["input"], dims))


@problem("transpose")
def transpose(draw, _name):
    shape = shape_of(draw, (1, 4))
    return Problem(
        {"input": any_values(draw, shape)},
        {"dim0": axis(draw, shape), "dim1": axis(draw, shape)},
        lambda t, dim0, dim1: torch.transpose(t["input"], dim0, dim1),
    )


def factors(draw, number):
    """Sizes with that product."""
    if number == 0:
        return draw.choice([[0], [0, 3], [2, 0], [0, 0]])
    sizes = []
    for divisor in (2, 3, 5, 7):
        while number % divisor == 0:
            number //= divisor
            if sizes and draw.flag():
                sizes[draw.int(0, len(sizes) - 1)] *= divisor
            else:
                sizes.append(divisor)
    if draw.flag(0.3):
        sizes.insert(draw.int(0, len(sizes)), 1)
    return [int(sizes[i]) for i in draw.rng.permutation(len(sizes))]


def with_open(draw, sizes):
    """One of the sizes as -1; sometimes what does not fit."""
    sizes = list(sizes)
    if sizes and draw.flag(0.5):
        sizes[draw.int(0, len(sizes) - 1)] = -1
    if draw.flag(0.08):
        sizes = draw.choice([sizes + [-1, -1], sizes + [2], [-2] + sizes, [11, -1]])
    return sizes


@problem("reshape")
def reshape(draw, _name):
    shape = shape_of(draw)
    sizes = with_open(draw, factors(draw, int(np.prod(shape))))
    return Problem({"input": any_values(draw, shape)}, {"shape": sizes}, lambda t, shape: torch.reshape(t["input"], shape))


@problem("flatten")
def flatten(draw, _name):
    shape = shape_of(draw)
    attributes = {
        "start_dim": None if draw.flag(0.3) else axis(draw, shape),
        "end_dim": None if draw.flag(0.3) else axis(draw, shape),
    }
    return Problem({"input": any_values(draw, shape)}, attributes, lambda t, **a: torch.flatten(t["input"], **a))


@problem("unflatten")
def unflatten(draw, _name):
    shape = shape_of(draw, (1, 3))
    place = draw.int(0, len(shape) - 1)
    shape[place] = draw.choice([0, 1, 6, 12, 30])
    sizes = with_open(draw, factors(draw, shape[place]) or [1])
    return Problem(
        {"input": any_values(draw, shape)},
        {"dim": signed(draw, place, len(shape)) if draw.flag(0.95) else 5, "sizes": sizes},
        lambda t, dim, sizes: torch.unflatten(t["input"], dim, sizes),
    )


@problem("squeeze")
def squeeze(draw, _name):
    shape = [1 if draw.flag(0.4) else size for size in shape_of(draw)]
    dim = None
    if draw.flag(0.7):
        dim = [axis(draw, shape, 0.03) for _ in range(draw.int(0, 2))]
    return Problem(
        {"input": any_values(draw, shape)},
        {"dim": dim},
        lambda t, dim=None: torch.squeeze(t["input"]) if dim is None else torch.squeeze(t["input"], tuple(dim)),
    )


@problem("unsqueeze")
def unsqueeze(draw, _name):
    shape = shape_of(draw)
    rank = len(shape) + 1
    dim = draw.choice([rank, -rank - 1]) if draw.flag(0.05) else draw.int(-rank, rank - 1)
    return Problem({"input": any_values(draw, shape)}, {"dim": dim}, lambda t, dim: torch.unsqueeze(t["input"], dim))


@problem("broadcast_to")
def broadcast_to(draw, _name):
    shape = [1 if draw.flag(0.4) else size for size in shape_of(draw)]
    size = [draw.int(2, 4) if n == 1 and draw.flag(0.7) else n for n in shape]
    size = [-1 if draw.flag(0.2) else n for n in size]
    size = draw.sizes(draw.int(0, 2), 0 if draw.flag(0.05) else 1, 4) + size
    if draw.flag(0.08) and size:
        size = draw.choice([size[1:], [-1] + size, size[:-1] + [9], [-2] + size])
    return Problem({"input": any_values(draw, shape)}, {"size": size}, lambda t, size: torch.broadcast_to(t["input"], size))


@problem("repeat")
def repeat(draw, _name):
    shape = shape_of(draw, (0, 3))
    count = max(0, len(shape) + draw.choice([0, 0, 0, 1, 2] if draw.flag(0.95) else [-1]))
    repeats = [draw.int(0 if draw.flag(0.1) else 1, 3) for _ in range(count)]
    return Problem({"input": any_values(draw, shape)}, {"repeats": repeats}, lambda t, repeats: t["input"].repeat(repeats))


@problem("tile")
def tile(draw, _name):
    shape = shape_of(draw, (0, 3))
    dims = [draw.int(0 if draw.flag(0.1) else 1, 3) for _ in range(draw.int(0, 4))]
    return Problem({"input": any_values(draw, shape)}, {"dims": dims}, lambda t, dims: torch.tile(t["input"], dims))


def some_axes(draw, shape):
    rank = len(shape)
    dims = [signed(draw, int(x), rank) for x in draw.rng.permutation(rank)[: draw.int(0, rank)]]
    if draw.flag(0.06):
        dims = dims + [draw.choice([rank, -rank - 1] + dims[:1])]
    return dims


@problem("flip")
def flip(draw, _name):
    shape = shape_of(draw)
    return Problem(
        {"input": any_values(draw, shape)}, {"dims": some_axes(draw, shape)}, lambda t, dims: torch.flip(t["input"], dims)
    )


@problem("roll")
def roll(draw, _name):
    shape = shape_of(draw)
    dims = None
    count = 1
    if shape and draw.flag(0.75):
        # Of an empty tensor PyTorch does not look at the axes.
        dims = [axis(draw, shape, 0 if 0 in shape else 0.04) for _ in range(draw.int(1, 2))]
        count = len(dims) if draw.flag(0.93) else len(dims) + 1
    shifts = [draw.int(-9, 9) for _ in range(count)]
    return Problem(
        {"input": any_values(draw, shape)},
        {"shifts": shifts, "dims": dims},
        lambda t, shifts, dims=None: torch.roll(t["input"], shifts, dims),
    )


@problem("narrow")
def narrow(draw, _name):
    shape = shape_of(draw, (1, 4))
    dim = axis(draw, shape)
    size = shape[dim] if -len(shape) <= dim < len(shape) else 1
    start = draw.int(-size, size)
    length = draw.int(0, max(0, size - (start + size if start < 0 else start)))
    if draw.flag(0.08):
        start, length = draw.choice([(size + 1, 0), (-size - 1, 1), (0, size + 1), (start, -1)])
    return Problem(
        {"input": any_values(draw, shape)},
        {"dim": dim, "start": start, "length": length},
        lambda t, dim, start, length: torch.narrow(t["input"], dim, start, length),
    )


@problem("select")
def select(draw, _name):
    shape = shape_of(draw, (0 if draw.flag(0.05) else 1, 4))
    dim = axis(draw, shape)
    size = shape[dim] if -len(shape) <= dim < len(shape) else 1
    index = draw.int(-size, max(size - 1, 0)) if draw.flag(0.92) else draw.choice([size, -size - 1])
    return Problem(
        {"input": any_values(draw, shape)},
        {"dim": dim, "index": index},
        lambda t, dim, index: torch.select(t["input"], dim, index),
    )


@problem("cat")
def cat(draw, _name):
    shape = shape_of(draw, (0 if draw.flag(0.03) else 1, 4))
    dim = axis(draw, shape)
    place = dim % len(shape) if shape else 0
    many = draw.int(1, 5) if draw.flag(0.93) else draw.int(33, 70)
    probe = any_values(draw, [1])
    inputs = {}
    for i in range(many):
        own = list(shape)
        if own:
            own[place] = draw.int(0 if draw.flag(0.1) else 1, 4)
        if own and draw.flag(0.01):
            own[draw.int(0, len(own) - 1)] += 1
        if draw.flag(0.02):
            own = [0]
        value = draw.whole(own, 0, 99).astype(probe.dtype) if probe.dtype.kind in "iu" else draw.normal(own)
        inputs[f"tensors.{i}"] = value
    dim = None if dim == 0 and draw.flag() else dim
    return Problem(
        inputs, {"dim": dim}, lambda t, dim=0: torch.cat([t[f"tensors.{i}"] for i in range(many)], dim)
    )


@problem("stack")
def stack(draw, _name):
    shape = shape_of(draw, (0, 3))
    rank = len(shape) + 1
    dim = draw.choice([rank, -rank - 1]) if draw.flag(0.04) else draw.int(-rank, rank - 1)
    many = draw.int(1, 5) if draw.flag(0.95) else 40
    inputs = {f"tensors.{i}": draw.normal(shape) for i in range(many)}
    if draw.flag(0.05) and shape:
        inputs["tensors.0"] = draw.normal(shape[:-1] + [shape[-1] + 1])
    return Problem(inputs, {"dim": dim}, lambda t, dim: torch.stack([t[f"tensors.{i}"] for i in range(many)], dim))


def index_values(draw, shape, size):
    """Places on an axis; sometimes one that is not there."""
    index = draw.whole(shape, 0, max(size - 1, 0))
    if index.size and draw.flag(0.06):
        index.flat[draw.int(0, index.size - 1)] = draw.choice([size, size + 3, -1])
    return index


@problem("index_select")
def index_select(draw, _name):
    shape = long(draw, shape_of(draw, (1, 4)))
    dim = axis(draw, shape)
    size = shape[dim] if -len(shape) <= dim < len(shape) else 1
    index = index_values(draw, [draw.int(0, 9)] if draw.flag(0.9) else draw.choice([[], [2, 2]]), size)
    return Problem(
        {"input": any_values(draw, shape), "index": index},
        {"dim": dim},
        lambda t, dim: torch.index_select(t["input"], dim, t["index"]),
    )


@problem("index_add")
def index_add(draw, _name):
    shape = shape_of(draw, (1, 4))
    dim = axis(draw, shape, 0.02)
    place = dim % len(shape)
    count = draw.int(0, 9)
    index = index_values(draw, [count], shape[place])
    if 0 in shape:
        # PyTorch does not look at the index of a tensor without elements and takes one that is outside; rasgo refuses it.
        count = count if shape[place] else 0
        index = draw.whole([count], 0, max(shape[place] - 1, 0))
    source = list(shape)
    source[place] = count
    if draw.flag(0.05):
        source[draw.int(0, len(source) - 1)] += 1
    x = whole_or_float(draw, shape)
    other = draw.whole(source, -9, 9) if x.dtype.kind == "i" else draw.normal(source)
    return Problem(
        {"input": x, "index": index, "source": other},
        {"dim": dim},
        lambda t, dim: torch.index_add(t["input"], dim, t["index"], t["source"]),
    )


@problem("gather")
def gather(draw, _name):
    shape = long(draw, shape_of(draw, (1, 4)))
    dim = axis(draw, shape, 0.02)
    place = dim % len(shape)
    index = [n if draw.flag(0.6) else draw.int(0 if draw.flag(0.1) else min(n, 1), n) for n in shape]
    index[place] = draw.int(0, 6)
    if draw.flag(0.06):
        index = draw.choice([index[:-1], index + [1], [n + 1 for n in index]])
    return Problem(
        {"input": any_values(draw, shape), "index": index_values(draw, index, shape[place])},
        {"dim": dim},
        lambda t, dim: torch.gather(t["input"], dim, t["index"]),
    )


@problem("scatter_add", "scatter")
def scatter(draw, name):
    shape = shape_of(draw, (1, 4))
    dim = axis(draw, shape, 0.02)
    place = dim % len(shape)
    index = [n if draw.flag(0.6) else draw.int(min(n, 1), n) for n in shape]
    index[place] = draw.int(0, 5 if name == "scatter_add" else shape[place])
    # PyTorch has a gradient only where index and source have one shape.
    source = list(index)
    if draw.flag(0.06):
        index = draw.choice([index[:-1], [n + 1 for n in index]])
        # PyTorch takes a scalar beside a vector, and what is empty beside anything, and then has no gradient for it.
        index = [max(n, 1) for n in index] or [source[0] + 1]
    places = index_values(draw, index, shape[place])
    if name == "scatter" and len(index) == len(shape):
        # Several values for one place: PyTorch leaves open which stays.
        order = np.argsort(draw.rng.random(index[:place] + [max(shape[place], index[place])] + index[place + 1 :]), place)
        once = np.take(order, range(index[place]), place)
        places = places if ((places < 0) | (places >= shape[place])).any() else once
    x = whole_or_float(draw, shape)
    other = draw.whole(source, -9, 9) if x.dtype.kind == "i" else draw.normal(source)
    return Problem(
        {"input": x, "index": places, "src": other},
        {"dim": dim},
        lambda t, dim: getattr(torch, name)(t["input"], dim, t["index"], t["src"]),
    )


def distinct(draw, shape):
    """Different values, so that the order is one."""
    count = int(np.prod(shape))
    return (draw.rng.permutation(count).reshape(shape) - count / 2) / 4


@problem("sort", "argsort")
def order(draw, name):
    shape = long(draw, shape_of(draw))
    dim = None if draw.flag(0.2) else axis(draw, shape)
    stable = draw.flag()
    x = draw.odd(draw.ties(shape)) if stable else distinct(draw, shape)
    if draw.flag(0.15):
        x = draw.whole(shape, -4, 4) if stable else draw.rng.permutation(int(np.prod(shape))).reshape(shape)
    attributes = {"dim": dim, "descending": draw.flag() if draw.flag(0.7) else None, "stable": True if stable else None}

    def reference(t, dim=-1, descending=False, stable=False):
        output, indices = torch.sort(t["input"], dim=dim, descending=descending, stable=stable)
        return {"output": output, "indices": indices} if name == "sort" else indices

    return Problem({"input": x}, attributes, reference)


@problem("topk")
def topk(draw, _name):
    shape = long(draw, shape_of(draw))
    dim = None if draw.flag(0.2) else axis(draw, shape)
    place = -1 if dim is None else dim
    size = shape[place] if -len(shape) <= place < len(shape) else 1
    k = draw.int(0, size) if draw.flag(0.95) else draw.choice([size + 1, -1])
    # Among equals PyTorch leaves the choice open.
    x = distinct(draw, shape)
    attributes = {"k": k, "dim": dim, "largest": draw.flag() if draw.flag(0.7) else None}

    def reference(t, k, dim=-1, largest=True):
        output, indices = torch.topk(t["input"], k, dim, largest)
        return {"output": output, "indices": indices}

    return Problem({"input": x}, attributes, reference)


@problem("one_hot")
def one_hot(draw, _name):
    shape = shape_of(draw, (0, 3))
    classes = draw.int(1, 6)
    x = draw.whole(shape, 0, classes - 1)
    if x.size and draw.flag(0.08):
        x.flat[0] = draw.choice([classes, -1])
    given = draw.choice([None, -1, classes, classes + 2]) if draw.flag(0.95) else draw.choice([0, -2])
    return Problem(
        {"input": x},
        {"num_classes": given},
        lambda t, num_classes=-1: torch.nn.functional.one_hot(t["input"], num_classes),
    )
