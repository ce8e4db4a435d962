"""Poolings."""

from draw import Problem, dims_of, functional, problem


@problem("max_pool1d", "max_pool2d", "max_pool3d")
def max_pool(draw, name):
    dims = dims_of(name)
    shape = [draw.batch(), draw.choice([1, 2, 3, 5, 17]), *draw.sizes(dims, 1, [40, 14, 8][dims - 1])]
    x = draw.ties(shape) if draw.flag() else draw.normal(shape, shift=-3)
    attributes = {
        "kernel_size": draw.per_axis(dims, 1, 4),
        "stride": draw.choice([None, draw.per_axis(dims, 1, 4)]),
        "padding": draw.choice([None, draw.per_axis(dims, 0, 2)]),
        "dilation": draw.choice([None, draw.per_axis(dims, 1, 3)]),
        "ceil_mode": draw.choice([None, True, False]),
    }

    def reference(t, **a):
        output, indices = functional(name)(t["input"], return_indices=True, **a)
        return {"output": output, "indices": indices}

    return Problem({"input": draw.odd(x) if draw.flag(0.2) else x}, attributes, reference)
