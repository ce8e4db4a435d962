"""Poolings and max unpooling."""

from draw import Problem, dims_of, functional, problem

SIZES = [40, 14, 8]


def maps(draw, dims):
    """(N, C, …): few equal values, or all negative, so that padding would win if it were 0; rarely an empty axis."""
    shape = [draw.batch(), draw.channels(), *draw.sizes(dims, 1, SIZES[dims - 1])]
    if draw.flag(0.02):
        shape[draw.int(1, dims + 1)] = 0
    return draw.ties(shape) if draw.flag() else draw.normal(shape, shift=-3)


def windows(draw, dims):
    """Mostly small windows; some of more cells than a byte can number; some that are refused."""
    large = draw.flag(0.1)
    kernel = draw.per_axis(dims, [257, 16, 6][dims - 1], [300, 19, 8][dims - 1]) if large else draw.per_axis(dims, 1, 4)
    if draw.flag(0.02):
        kernel = 0
    least = kernel if isinstance(kernel, int) else min(kernel)
    padding = draw.choice([None, draw.per_axis(dims, 0, max(least // 2, 1)), draw.per_axis(dims, 0, 2)])
    attributes = {
        "kernel_size": kernel,
        "stride": draw.choice([None, draw.per_axis(dims, 0 if draw.flag(0.03) else 1, 5)]),
        "padding": padding,
        "ceil_mode": draw.choice([None, True, False]),
    }
    return attributes, large


def room_for(draw, x, dims, large):
    """A map in which large windows have room, of few channels."""
    if not large:
        return x
    shape = [min(x.shape[0], 2), min(x.shape[1], 5), *draw.sizes(dims, *[(280, 400), (14, 26), (6, 11)][dims - 1])]
    return draw.ties(shape) if draw.flag() else draw.normal(shape, shift=-3)


def with_indices(function):
    def reference(t, **a):
        output, indices = function(t["input"], return_indices=True, **a)
        return {"output": output, "indices": indices}

    return reference


@problem("max_pool1d", "max_pool2d", "max_pool3d")
def max_pool(draw, name):
    dims = dims_of(name)
    x = maps(draw, dims)
    attributes, large = windows(draw, dims)
    attributes["dilation"] = None if large else draw.choice([None, draw.per_axis(dims, 0 if draw.flag(0.03) else 1, 3)])
    x = room_for(draw, x, dims, large)
    x = draw.odd(x) if draw.flag(0.2) else x
    # A window that misses the map makes PyTorch write its gradient outside of the plane (undefined): no such draw.
    sizes, kernel, dilation = x.shape[2:], attributes["kernel_size"], attributes["dilation"] or 1
    for axis, size in enumerate(sizes):
        k = kernel if isinstance(kernel, int) else kernel[axis]
        d = dilation if isinstance(dilation, int) else dilation[axis]
        if k > 1 and d > size:
            attributes["padding"] = None
    return Problem({"input": x}, attributes, with_indices(functional(name)))


@problem("avg_pool1d", "avg_pool2d", "avg_pool3d")
def avg_pool(draw, name):
    dims = dims_of(name)
    x = maps(draw, dims)
    attributes, large = windows(draw, dims)
    attributes["count_include_pad"] = draw.choice([None, True, False])
    if dims > 1:
        attributes["divisor_override"] = draw.choice([None, None, 1, 3, 7, -2, 0 if draw.flag(0.3) else 5])
    x = room_for(draw, x, dims, large)
    x = draw.odd(x) if draw.flag(0.2) else x
    return Problem({"input": x}, attributes, lambda t, **a: functional(name)(t["input"], **a))


def adaptive(draw, name):
    """To smaller and larger maps, also to the input's own size along an axis, rarely to nothing."""
    dims = dims_of(name)
    x = maps(draw, dims)
    x = draw.odd(x) if draw.flag(0.2) else x
    # PyTorch takes the mean of an empty map to size 1, which is undefined: then to 2 or more.
    least, most = 2 if x.size == 0 else 1, SIZES[dims - 1] + 4
    size = draw.per_axis(dims, least, most)
    if dims > 1 and not isinstance(size, int):
        size = [draw.choice([None, n, n, n]) for n in size]
    if draw.flag(0.03):
        size = [0, *draw.sizes(dims - 1, 1, 4)]
        # PyTorch computes an empty output and refuses its gradient, which is zero: no gradient is asked for.
        return x, {"output_size": size}, ("input",)
    return x, {"output_size": size}, ()


@problem("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d")
def adaptive_avg_pool(draw, name):
    x, attributes, constants = adaptive(draw, name)
    return Problem({"input": x}, attributes, lambda t, **a: functional(name)(t["input"], **a), constants)


@problem("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")
def adaptive_max_pool(draw, name):
    x, attributes, constants = adaptive(draw, name)
    return Problem({"input": x}, attributes, with_indices(functional(name)), constants)


@problem("max_unpool1d", "max_unpool2d", "max_unpool3d")
def max_unpool(draw, name):
    dims = dims_of(name)
    shape = [draw.batch(), draw.channels(), *draw.sizes(dims, 1, [20, 8, 5][dims - 1])]
    if draw.flag(0.02):
        shape[draw.int(1, dims + 1)] = 0
    kernel = draw.per_axis(dims, 1, 4)
    stride = draw.choice([None, draw.per_axis(dims, 1, 4)])
    padding = draw.choice([None, None, draw.per_axis(dims, 0, 2)])

    def each(value):
        return [value] * dims if isinstance(value, int) else value

    kernels, paddings = each(kernel), each(padding or 0)
    strides = each(stride) if stride else kernels
    whole = [(n - 1) * s + k - 2 * p for n, s, k, p in zip(shape[2:], strides, kernels, paddings)]
    wanted = None
    if draw.flag(0.4):
        # Mostly within the stride; sometimes one too far.
        wanted = [max(w + draw.int(-s if draw.flag(0.1) else 1 - s, s if draw.flag(0.1) else s - 1), 0) for w, s in zip(whole, strides)]
    pixels = 1
    for size in wanted or whole:
        pixels *= max(size, 0)
    low, high = 0, max(pixels - 1, 0)
    if draw.flag(0.05):
        low, high = -2, pixels + 3
    # Equal indices are common where the plane is small: the last value stays, and each has a gradient.
    indices = draw.whole(shape, low, high)
    if draw.flag(0.02):
        indices = indices[..., :-1]
    attributes = {"kernel_size": kernel, "stride": stride, "padding": padding, "output_size": wanted}
    x = draw.normal(shape)
    inputs = {"input": draw.odd(x) if draw.flag(0.2) else x, "indices": indices}
    return Problem(inputs, attributes, lambda t, **a: functional(name)(t["input"], t["indices"], **a))
