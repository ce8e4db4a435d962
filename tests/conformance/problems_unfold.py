"""Unfold and fold."""

import torch.nn.functional as F

from draw import Problem, problem


def options(draw):
    return {
        "kernel_size": draw.per_axis(2, 0 if draw.flag(0.02) else 1, 4),
        "dilation": draw.choice([None, draw.per_axis(2, 0 if draw.flag(0.03) else 1, 3)]),
        "padding": draw.choice([None, draw.per_axis(2, 0, 4)]),
        "stride": draw.choice([None, draw.per_axis(2, 0 if draw.flag(0.03) else 1, 4)]),
    }


def pair(value, default=1):
    value = default if value is None else value
    return [value, value] if isinstance(value, int) else value


@problem("unfold")
def unfold(draw, _name):
    shape = [draw.batch(), draw.channels(), *draw.sizes(2, 1, 13)]
    if draw.flag(0.04):
        shape[draw.int(1, 3)] = 0
    if draw.flag(0.02):
        shape = shape + [2] if draw.flag() else shape[:2]
    x = draw.normal(shape)
    x = draw.odd(x) if draw.flag(0.2) else x
    return Problem({"input": x}, options(draw), lambda t, **a: F.unfold(t["input"], **a))


@problem("fold")
def fold(draw, _name):
    size, attributes = draw.sizes(2, 0 if draw.flag(0.04) else 1, 13), options(draw)
    kernel, dilation = pair(attributes["kernel_size"]), pair(attributes["dilation"])
    padding, stride = pair(attributes["padding"], 0), pair(attributes["stride"])
    places = 1
    for n, k, d, p, s in zip(size, kernel, dilation, padding, stride):
        places *= max((n + 2 * p - d * (k - 1) - 1) // s + 1, 0) if s else 1
    rows = draw.channels() * max(kernel[0] * kernel[1], 1)
    if draw.flag(0.05):
        rows, places = rows + draw.int(0, 1), max(places + draw.int(-1, 1), 0)
    x = draw.normal([draw.batch(), rows, places])
    x = draw.odd(x) if draw.flag(0.2) else x
    attributes["output_size"] = size if size[0] != size[1] or draw.flag() else size[0]
    return Problem({"input": x}, attributes, lambda t, **a: F.fold(t["input"], **a))
