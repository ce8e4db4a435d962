"""Padding, interpolation and pixel shuffles."""

import torch.nn.functional as F

from draw import Problem, problem


@problem("pad")
def pad(draw, _name):
    mode = draw.choice([None, "constant", "reflect", "replicate", "circular"])
    constant = mode in (None, "constant")
    rank = draw.int(1, 5) if constant else draw.int(2, 5)
    shape = draw.sizes(rank, 1, 7)
    if draw.flag(0.1):
        shape[0] = 0
    elif draw.flag(0.04):
        shape[draw.int(0, rank - 1)] = 0
    if rank >= 3 and draw.flag(0.2):
        shape[1] = draw.channels()
    if constant:
        count = draw.int(1, rank) if draw.flag(0.97) else rank + 1
    else:
        count = rank - draw.choice([1, 2, 2, 2]) if draw.flag(0.95) else draw.int(1, rank)
        count = max(count, 1)
    numbers = []
    for axis in range(rank - 1, rank - 1 - count, -1):
        size = shape[axis]
        most = {"reflect": size - 1, "circular": size}.get(mode, 4)
        if draw.flag(0.95):
            pair = [draw.int(0, max(most, 0)), draw.int(0, max(most, 0))]
        else:
            pair = [draw.int(0, most + 2), draw.int(0, 3)]
        if draw.flag(0.15):
            pair[draw.int(0, 1)] = -draw.int(0, max(size, 1))
        left = size + min(pair[0], 0) + min(pair[1], 0)
        if mode == "circular" and min(pair) < 0 and max(pair) > left:
            # PyTorch reads what it has not written: more is added than the cut axis has. rasgo refuses.
            pair = [0, 0]
        numbers += pair
    if draw.flag(0.02):
        numbers.append(1)
    value = draw.choice([None, None, 0.0, 2.5, -1.0, float("inf"), float("nan")]) if constant or draw.flag(0.05) else None
    x = draw.normal(shape)
    return Problem(
        {"input": draw.odd(x) if draw.flag(0.2) else x},
        {"pad": numbers, "mode": mode, "value": value},
        lambda t, **a: F.pad(t["input"], **a),
    )


@problem("interpolate")
def interpolate(draw, _name):
    dims = draw.int(1, 3)
    shape = [draw.batch(), draw.choice([1, 2, 3, 5, 17]), *draw.sizes(dims, 1, [40, 13, 7][dims - 1])]
    if draw.flag(0.03):
        shape[draw.int(1, dims + 1)] = 0
    linear = ["linear", "bilinear", "trilinear"][dims - 1]
    modes = [None, "nearest", "nearest-exact", linear, linear, linear, "area"]
    if dims == 2:
        modes += ["bicubic", "bicubic"]
    if draw.flag(0.05):
        modes = ["linear", "bilinear", "trilinear", "bicubic"]
    mode = draw.choice(modes)
    attributes = {"mode": mode}
    if draw.flag():
        attributes["size"] = draw.per_axis(dims, 1, [60, 20, 9][dims - 1])
        if draw.flag(0.05) and mode != "area":
            attributes["size"] = 0
    else:
        one = draw.flag(0.5)
        factors = [draw.choice([0.5, 1.0, 1.5, 2.0, 3.0, draw.uniform(0.2, 3.5)]) for _ in range(1 if one else dims)]
        attributes["recompute_scale_factor"] = draw.choice([None, None, True, False])
        if mode in (None, "nearest", "nearest-exact") and not attributes["recompute_scale_factor"]:
            # PyTorch's forward places cells by the factor, its backward by the sizes where out is in or 2 in: not
            # the gradient of its forward. Not drawn: factors that come to such a size without being 1 or 2.
            for axis, size in enumerate(shape[2:]):
                at = 0 if one else axis
                if int(size * factors[at]) in (size, 2 * size):
                    factors[at] = 2.0
            if one and any(int(size * factors[0]) == size for size in shape[2:]):
                factors[0] = 2.0
        attributes["scale_factor"] = factors[0] if one else factors
    if mode == "area" and shape[1] == 0:
        # PyTorch computes the mean of no channels and refuses its gradient.
        shape[1] = 1
    if mode in ("linear", "bilinear", "trilinear", "bicubic") or draw.flag(0.03):
        attributes["align_corners"] = draw.choice([None, True, False])
    x = draw.normal(shape)
    if mode in (None, "nearest", "nearest-exact") and draw.flag(0.2):
        x = draw.odd(x)
    return Problem({"input": x}, attributes, lambda t, **a: F.interpolate(t["input"], **a))


@problem("pixel_shuffle")
def pixel_shuffle(draw, _name):
    factor = draw.int(1, 4)
    # Not drawn: nothing at all, whose gradient PyTorch gives in another shape and then refuses.
    lead = draw.choice([[], [draw.int(1, 4)], [draw.int(1, 4)], [2, 3], [1, 3, 2]])
    channels = draw.choice([1, 2, 3, 5, 17]) * factor * factor + (draw.flag(0.1))
    shape = [*lead, int(channels), *draw.sizes(2, 1, 8)]
    if draw.flag(0.03):
        shape = shape[-2:]
    if draw.flag(0.03):
        factor = 0
    x = draw.normal(shape)
    return Problem(
        {"input": draw.odd(x) if draw.flag(0.2) else x},
        {"upscale_factor": factor},
        lambda t, **a: F.pixel_shuffle(t["input"], **a),
    )


@problem("pixel_unshuffle")
def pixel_unshuffle(draw, _name):
    factor = draw.int(1, 4)
    # Not drawn: nothing at all, for which PyTorch gives the input's own shape.
    lead = draw.choice([[], [draw.int(1, 3)], [draw.int(1, 3)], [2, 3]])
    height, width = (size * factor + int(draw.flag(0.06)) for size in draw.sizes(2, 1, 5))
    shape = [*lead, draw.choice([1, 2, 3, 5, 17]), height, width]
    if draw.flag(0.03):
        shape = shape[-2:]
    if draw.flag(0.03):
        factor = 0
    x = draw.normal(shape)
    return Problem(
        {"input": draw.odd(x) if draw.flag(0.2) else x},
        {"downscale_factor": factor},
        lambda t, **a: F.pixel_unshuffle(t["input"], **a),
    )
