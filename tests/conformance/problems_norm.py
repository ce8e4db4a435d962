"""Normalisations and dropout."""

import numpy as np
import torch.nn.functional as F

from draw import Problem, functional, problem


def shape_of(draw, least_rank=2):
    """(N, C, …), also with one value for each channel, empty axes and many channels."""
    spatial = draw.int(max(least_rank - 2, 0), 4 if draw.flag(0.1) else 3)
    size = [60, 15, 7, 4][max(spatial - 1, 0)]
    sizes = draw.sizes(spatial, 0 if draw.flag(0.05) else 1, size)
    return [draw.batch() if draw.flag(0.8) else draw.int(1, 30), draw.channels(), *sizes]


def affine(draw, inputs, shape):
    """weight and bias, both, one or none, and sometimes of another shape (which PyTorch checks only where there are values)."""
    for name in ("weight", "bias"):
        if draw.flag(0.7):
            good = draw.flag(0.98) or inputs["input"].size == 0
            inputs[name] = draw.normal(shape if good else [*shape[:-1], shape[-1] + 1])


def running(draw, inputs, channels, share):
    empty = inputs["input"].size == 0
    if draw.flag(share) or (empty and share > 0.9):
        size = [channels if draw.flag(0.98) or empty else channels + 1]
        inputs["running_mean"] = draw.normal(size)
        inputs["running_var"] = draw.positive(size)
        if draw.flag(0.03) and not empty:
            del inputs[draw.choice(["running_mean", "running_var"])]


def statistics(tensors):
    """Copies, which PyTorch changes."""
    return [tensors[name].clone() if name in tensors else None for name in ("running_mean", "running_var")]


def spread(draw, shape):
    return draw.normal(shape, draw.choice([1, 1, 0.01, 30]), draw.choice([0, 0, -3, 100]))


@problem("batch_norm")
def batch_norm(draw, _name):
    shape = shape_of(draw)
    training = draw.flag(0.6)
    inputs = {"input": spread(draw, shape)}
    affine(draw, inputs, [shape[1]])
    running(draw, inputs, shape[1], 0.6 if training else 0.95)
    attributes = {
        "training": training,
        "momentum": draw.choice([None, 0.0, 0.3, 1.0]),
        "eps": draw.choice([None, 1e-3, 0.1, 0.0 if draw.flag(0.1) else None]),
    }

    def reference(t, training, **a):
        mean, var = statistics(t)
        output = F.batch_norm(t["input"], mean, var, t.get("weight"), t.get("bias"), training, **a)
        if training and mean is not None:
            return {"output": output, "running_mean": mean, "running_var": var}
        return output

    return Problem(inputs, attributes, reference, constants=("running_mean", "running_var"))


# With an empty batch PyTorch's backward crashes if there is a weight or bias, and the running statistics become NaN: such
# batches are drawn alone.
@problem("instance_norm")
def instance_norm(draw, _name):
    shape = shape_of(draw, 2 if draw.flag(0.1) else 3)
    if shape[0] == 0:
        return Problem({"input": spread(draw, shape)}, {}, lambda t: F.instance_norm(t["input"]))
    own = draw.choice([None, True, True, False])
    inputs = {"input": spread(draw, shape)}
    affine(draw, inputs, [shape[1]])
    running(draw, inputs, shape[1], 0.95 if own is False else 0.4)
    attributes = {
        "use_input_stats": own,
        "momentum": draw.choice([None, 0.0, 0.3, 1.0]),
        "eps": draw.choice([None, 1e-3, 0.1]),
    }

    def reference(t, **a):
        mean, var = statistics(t)
        output = F.instance_norm(t["input"], mean, var, t.get("weight"), t.get("bias"), **a)
        if own is not False and mean is not None:
            return {"output": output, "running_mean": mean, "running_var": var}
        return output

    return Problem(inputs, attributes, reference, constants=("running_mean", "running_var"))


@problem("group_norm")
def group_norm(draw, _name):
    shape = shape_of(draw)
    divisors = [g for g in range(1, shape[1] + 1) if shape[1] % g == 0]
    groups = draw.choice(divisors) if draw.flag(0.9) else draw.int(-1, shape[1] + 2)
    if groups == shape[1] and shape[0] > 1 and np.prod(shape[2:]) == 1:
        # Of a group of one value PyTorch leaves the rounding of x * rstd - mean * rstd, not 0.
        shape = [*shape, 2]
    inputs = {"input": spread(draw, shape)}
    affine(draw, inputs, [shape[1]])
    attributes = {"num_groups": groups, "eps": draw.choice([None, 1e-3, 0.1])}

    def reference(t, **a):
        return F.group_norm(t["input"], weight=t.get("weight"), bias=t.get("bias"), **a)

    return Problem(inputs, attributes, reference)


@problem("layer_norm")
def layer_norm(draw, _name):
    shape = draw.sizes(draw.int(1, 5), 0 if draw.flag(0.1) else 1, 9)
    if draw.flag(0.2):
        shape = [draw.int(1, 40), draw.int(1, 600)]
    last = shape[draw.int(0, len(shape) - 1) :]
    if np.prod(last) == 1:
        # As above.
        shape, last = [*shape, 2], [*last, 2]
    if draw.flag(0.05):
        last = draw.choice([[], [2, *shape], [shape[-1] + 1]])
    inputs = {"input": spread(draw, shape)}
    affine(draw, inputs, last if last else [1])
    attributes = {"normalized_shape": last, "eps": draw.choice([None, 1e-3, 0.1])}

    def reference(t, **a):
        return F.layer_norm(t["input"], weight=t.get("weight"), bias=t.get("bias"), **a)

    return Problem(inputs, attributes, reference)


# Which elements are dropped is each library's own: here all, none, or an evaluation.
@problem("dropout", "dropout1d", "dropout2d", "dropout3d")
def dropout(draw, name):
    ranks = {"dropout": (0, 5), "dropout1d": (1, 4), "dropout2d": (3, 4), "dropout3d": (4, 5)}[name]
    x = draw.normal(draw.sizes(draw.int(*ranks), 0 if draw.flag(0.1) else 1, 6))
    training = draw.choice([None, True, False])
    p = draw.choice([0.0, 1.0, -0.1, 1.5] if draw.flag(0.2) else [0.0, 1.0])
    if training is False and draw.flag(0.5):
        p = draw.choice([None, 0.3])
    x = np.where(np.abs(x) > 2, np.inf, x) if draw.flag(0.2) else x
    return Problem({"input": x}, {"p": p, "training": training}, lambda t, **a: functional(name)(t["input"], **a))
