"""Convolutions."""

from draw import Problem, dims_of, functional, problem


@problem("conv1d", "conv2d", "conv3d")
def conv(draw, name):
    dims = dims_of(name)
    groups = draw.choice([1, 1, 1, 2, 3, draw.channels()])
    per_group = draw.choice([1, 1, 2, 3, draw.channels()])
    out = groups * draw.choice([1, 2, 3, 5, draw.channels() if groups < 4 else 1])
    channels = groups * per_group
    while dims == 3 and channels * out > 4000:
        channels, out, groups, per_group = 3, 5, 1, 3
    kernel = draw.sizes(dims, 1, [7, 5, 3][dims - 1])
    size = draw.sizes(dims, 1 if draw.flag(0.2) else 3, [40, 13, 7][dims - 1])
    attributes = {
        "stride": draw.choice([None, draw.per_axis(dims, 1, 3)]),
        "padding": draw.choice([None, draw.per_axis(dims, 0, 3)]),
        "dilation": draw.choice([None, draw.per_axis(dims, 1, 3)]),
        "groups": groups if draw.flag(0.97) else groups + 1,
    }
    inputs = {"input": draw.normal([draw.batch(), channels, *size]), "weight": draw.normal([out, per_group, *kernel])}
    if draw.flag():
        inputs["bias"] = draw.normal([out])
    return Problem(inputs, attributes, lambda t, **a: functional(name)(t["input"], t["weight"], t.get("bias"), **a))
