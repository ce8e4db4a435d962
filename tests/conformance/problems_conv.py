"""Convolutions and transposed convolutions."""

import torch

from draw import Problem, dims_of, functional, problem


def channels_of(draw, dims):
    """(groups, input channels of a group, output channels of a group): dense, grouped and depthwise."""
    groups = draw.choice([1, 1, 1, 1, 2, 3, draw.channels()])
    inputs, outputs = draw.choice([1, 2, 3, draw.channels()]), draw.choice([1, 2, 3, 5, draw.channels()])
    if groups > 3:
        # Depthwise, with a multiplier or a few channels a group.
        inputs, outputs = draw.choice([1, 1, 1, 2, 3]), draw.choice([1, 1, 1, 2, 3])
    most = [1 << 14, 5000, 2500][dims - 1]
    while groups * inputs * outputs > most:
        inputs, outputs = max(inputs // 3, 1), max(outputs // 2, 1)
    return groups, inputs, outputs


def spoil(draw, inputs):
    """Now and then a shape that does not fit."""
    if draw.flag(0.04):
        x = inputs["input"]
        shape = list(x.shape)
        shape[draw.int(1, x.ndim - 1)] += draw.choice([1, -1])
        inputs["input"] = draw.normal([max(size, 0) for size in shape])
    if "bias" in inputs and draw.flag(0.03):
        inputs["bias"] = draw.normal([inputs["bias"].shape[0] + 1])
    return inputs


@problem("conv1d", "conv2d", "conv3d")
def conv(draw, name):
    dims = dims_of(name)
    groups, per_group, out = channels_of(draw, dims)
    kernel = draw.sizes(dims, 1, [7, 5, 3][dims - 1])
    size = draw.sizes(dims, 1 if draw.flag(0.2) else 3, [40, 13, 7][dims - 1])
    if draw.flag(0.02):
        # Nothing along an axis: an error, unless the batch is empty too.
        size[draw.int(0, dims - 1)] = 0
    named = draw.flag(0.25)
    attributes = {
        "stride": draw.choice([None, draw.per_axis(dims, 1, 3)]),
        "padding": draw.choice(["same", "same", "valid"]) if named else draw.choice([None, draw.per_axis(dims, 0, 3)]),
        "dilation": draw.choice([None, draw.per_axis(dims, 1, 3)]),
        "groups": groups if draw.flag(0.97) else draw.choice([groups + 1, 0]),
    }
    if attributes["padding"] == "same" and draw.flag(0.8):
        attributes["stride"] = draw.choice([None, 1])
    inputs = {
        "input": draw.normal([draw.batch(), groups * per_group, *size]),
        "weight": draw.normal([groups * out, per_group, *kernel]),
    }
    if draw.flag():
        inputs["bias"] = draw.normal([groups * out])
    # Not drawn: no channels, where PyTorch accepts a weight (4, 0, …) and gives 0 channels for 4.
    spoil(draw, inputs)
    return Problem(inputs, attributes, lambda t, **a: functional(name)(t["input"], t["weight"], t.get("bias"), **a))


@problem("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def conv_transpose(draw, name):
    dims = dims_of(name)
    groups, per_group, out = channels_of(draw, dims)
    kernel = draw.sizes(dims, 1, [7, 5, 3][dims - 1])
    size = draw.sizes(dims, 1, [30, 10, 5][dims - 1])
    if draw.flag(0.02):
        size[draw.int(0, dims - 1)] = 0
    attributes = {
        "stride": draw.choice([None, draw.per_axis(dims, 1, 4)]),
        "padding": draw.choice([None, draw.per_axis(dims, 0, 2)]),
        "output_padding": draw.choice([None, None, draw.per_axis(dims, 0, 1), draw.per_axis(dims, 0, 3)]),
        "dilation": draw.choice([None, draw.per_axis(dims, 1, 3)]),
        "groups": groups if draw.flag(0.97) else draw.choice([groups + 1, 0]),
    }

    def each(key, default):
        value = attributes[key]
        return value if isinstance(value, list) else [default if value is None else value] * dims

    stride, padding, dilation = each("stride", 1), each("padding", 0), each("dilation", 1)
    batch = draw.batch()
    if batch == 0 and any(
        extra >= max(s, d) for extra, s, d in zip(each("output_padding", 0), stride, dilation)
    ):
        # PyTorch forgets this check where the batch is empty. rasgo refuses whatever the batch.
        attributes["output_padding"] = None
    more = each("output_padding", 0)
    smallest = [(i - 1) * s - 2 * p + d * (k - 1) + 1 for i, s, p, d, k in zip(size, stride, padding, dilation, kernel)]
    if batch and any(least + extra == 0 for least, extra in zip(smallest, more)):
        # PyTorch refuses a result without cells in float64 and gives it in float32. rasgo refuses.
        attributes["padding"] = 0
        padding = [0] * dims
        smallest = [(i - 1) * s + d * (k - 1) + 1 for i, s, d, k in zip(size, stride, dilation, kernel)]
    if draw.flag(0.3):
        attributes["output_padding"] = None
        room = 0 if draw.flag(0.95) else -1
        attributes["output_size"] = [max(1, least + draw.int(room, s - 1)) for least, s in zip(smallest, stride)]
    inputs = {
        "input": draw.normal([batch, groups * per_group, *size]),
        "weight": draw.normal([groups * per_group, out, *kernel]),
    }
    if draw.flag():
        inputs["bias"] = draw.normal([groups * out])
    spoil(draw, inputs)

    def reference(t, output_size=None, **a):
        if output_size is not None:
            # As torch.nn.ConvTranspose2d.forward(x, output_size) does.
            layer = getattr(torch.nn, name.replace("conv_transpose", "ConvTranspose"))(1, 1, 1)
            a["output_padding"] = layer._output_padding(
                t["input"], output_size, stride, padding, kernel, dims, dilation
            )
        return functional(name)(t["input"], t["weight"], t.get("bias"), **a)

    return Problem(inputs, attributes, reference)
