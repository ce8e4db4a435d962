"""Poolings and max unpooling."""

from draw import Problem, dims_of, functional, problem

SIZES = [40, 14, 8]


def each(value, dims):
    return [value] * dims if isinstance(value, int) else value


def filled(draw, shape):
    """Few equal values, or all negative, so that padding would win if it were 0; sometimes NaN and infinities."""
    x = draw.ties(shape) if draw.flag() else draw.normal(shape, shift=-3)
    return draw.odd(x) if draw.flag(0.2) else x


def maps(draw, dims):
    """(N, C, …), rarely with an empty axis."""
    shape = [draw.batch(), draw.channels(), *draw.sizes(dims, 1, SIZES[dims - 1])]
    if draw.flag(0.02):
        shape[draw.int(1, dims + 1)] = 0
    return filled(draw, shape)


def windows(draw, dims, dilated):
    """A map and a pooling of it: mostly small windows that fit, some of more cells than a byte can number, and some
    that are refused."""
    large = draw.flag(0.1)
    kernel = draw.per_axis(dims, [257, 16, 6][dims - 1], [300, 19, 8][dims - 1]) if large else draw.per_axis(dims, 1, 4)
    kernels = each(kernel, dims)
    padding = [draw.int(0, k // 2) for k in kernels] if draw.flag(0.6) else None
    if draw.flag(0.05):
        padding = draw.per_axis(dims, 0, 2)
    dilation = draw.per_axis(dims, 1, 3) if dilated and not large and draw.flag() else None
    shape = [draw.batch(), draw.channels(), *draw.sizes(dims, 1, SIZES[dims - 1])]
    if large:
        shape[:2] = min(shape[0], 2), min(shape[1], 5)
    if draw.flag(0.9):
        # Room for the window, with and without its padding.
        spans = [d * (k - 1) + 1 for d, k in zip(each(dilation or 1, dims), kernels)]
        shape[2:] = [max(n, span + draw.int(0, 1)) for n, span in zip(shape[2:], spans)]
    if draw.flag(0.02):
        shape[draw.int(1, dims + 1)] = 0
    # A window that misses the map makes PyTorch write its gradient outside of the plane (undefined): no such draw.
    if any(k > 1 and d > n for k, d, n in zip(kernels, each(dilation or 1, dims), shape[2:])):
        padding = None
    stride = draw.per_axis(dims, 1, 5) if draw.flag(0.7) else None
    if draw.flag(0.04):
        zero = draw.int(0, 2)
        kernel = 0 if zero == 0 else kernel
        stride = 0 if zero == 1 else stride
        dilation = 0 if zero == 2 and dilated else dilation
    attributes = {"kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": draw.choice([None, True, False])}
    if dilated:
        attributes["dilation"] = dilation
    return filled(draw, shape), attributes


def with_indices(function):
    def reference(t, **a):
        output, indices = function(t["input"], return_indices=True, **a)
        return {"output": output, "indices": indices}

    return reference


@problem("max_pool1d", "max_pool2d", "max_pool3d")
def max_pool(draw, name):
    x, attributes = windows(draw, dims_of(name), True)
    return Problem({"input": x}, attributes, with_indices(functional(name)))


@problem("avg_pool1d", "avg_pool2d", "avg_pool3d")
def avg_pool(draw, name):
    x, attributes = windows(draw, dims_of(name), False)
    attributes["count_include_pad"] = draw.choice([None, True, False])
    if dims_of(name) > 1:
        attributes["divisor_override"] = draw.choice([None, None, 1, 3, 7, -2, 0 if draw.flag(0.2) else 5])
    return Problem({"input": x}, attributes, lambda t, **a: functional(name)(t["input"], **a))


def adaptive(draw, name):
    """To smaller and larger maps, also to the input's own size along an axis, rarely to nothing."""
    dims = dims_of(name)
    x = maps(draw, dims)
    # PyTorch takes the mean of an empty map to size 1, which is undefined: then to 2 or more.
    least, most = 2 if x.size == 0 else 1, SIZES[dims - 1] + 4
    size = draw.per_axis(dims, least, most)
    if dims > 1 and not isinstance(size, int):
        size = [draw.choice([None, n, n, n]) for n in size]
    # An input without channels it takes only so: rasgo refuses it always.
    if draw.flag(0.03) and x.shape[1] != 0:
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

    kernels, paddings = each(kernel, dims), each(padding or 0, dims)
    strides = each(stride, dims) if stride else kernels
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
