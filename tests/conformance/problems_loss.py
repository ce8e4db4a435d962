"""Losses."""

import numpy as np
import torch.nn.functional as F
from torchvision.ops import sigmoid_focal_loss

from draw import Problem, functional, problem


def reduction(draw):
    return draw.choice([None, "none", "none", "mean", "sum"])


def class_shape(draw):
    """(C) or (N, C, …), with empty axes now and then."""
    classes = draw.choice([1, 2, 3, 5, 10, 17, 33, 130])
    rank = draw.int(0, 5)
    if rank == 0:
        return [classes]
    return [draw.batch(), classes, *draw.sizes(rank - 1, 0 if draw.flag(0.05) else 1, 5)]


def classes_of(draw, shape, ignored):
    """A class for each row, some of them ignored, and now and then one that does not exist."""
    rows = shape[:1] + shape[2:] if len(shape) > 1 else []
    count = shape[1] if len(shape) > 1 else shape[0]
    target = draw.whole(rows, 0, count - 1)
    skip = draw.rng.random(target.shape) < draw.choice([0, 0, 0.3, 1])
    target = np.where(skip, ignored, target)
    if target.size and draw.flag(0.04):
        target.flat[draw.int(0, target.size - 1)] = draw.choice([count, -1, count + 7])
    if draw.flag(0.04):
        target = draw.whole([*rows, 2], 0, count - 1)
    return target


@problem("cross_entropy", "nll_loss")
def of_classes(draw, name):
    shape = class_shape(draw)
    count = shape[1] if len(shape) > 1 else shape[0]
    ignored = draw.choice([-100, -100, 0, count - 1, 255])
    attributes = {"reduction": reduction(draw), "ignore_index": ignored if ignored != -100 or draw.flag() else None}
    x = draw.normal(shape, draw.choice([1, 1, 5, 60]))
    inputs, constants = {"input": x, "target": classes_of(draw, shape, ignored)}, ("weight",)
    if name == "cross_entropy":
        attributes["label_smoothing"] = draw.choice([None, None, 0.0, 0.1, 0.7, 1.0, 1.5 if draw.flag(0.1) else 0.3])
        if draw.flag(0.25):
            inputs["target"] = draw.normal(shape)
            attributes["ignore_index"] = None if draw.flag(0.95) else 1
    if draw.flag(0.4):
        inputs["weight"] = draw.positive([count if draw.flag(0.95) else count + 1])
    return Problem(inputs, attributes, lambda t, **a: functional(name)(t["input"], t["target"], t.get("weight"), **a), constants)


def pair_shapes(draw):
    """Mostly one shape; now and then two that broadcast, or that do not."""
    shape = draw.sizes(draw.int(0, 5), 0 if draw.flag(0.05) else 1, 5)
    other = list(shape)
    if draw.flag(0.2):
        other = [1 if draw.flag() else size for size in shape][draw.int(0, len(shape)) :]
    if draw.flag(0.04):
        other = [*other, 3]
    return (shape, other) if draw.flag() else (other, shape)


@problem("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
def of_differences(draw, name):
    shape, other = pair_shapes(draw)
    x, target = draw.normal(shape, draw.choice([1, 5])), draw.normal(other)
    if draw.flag(0.2):
        x, target = draw.ties(shape), draw.ties(other)
    inputs, attributes = {"input": draw.odd(x) if draw.flag(0.1) else x, "target": target}, {"reduction": reduction(draw)}
    if name == "smooth_l1_loss":
        attributes["beta"] = draw.choice([None, 0.0, 0.5, 2.0, 1e-3, 2e-38, 1e-40, -1.0 if draw.flag(0.2) else 1.5])
    if name == "huber_loss":
        attributes["delta"] = draw.choice([None, 0.5, 2.0, 0.1, draw.choice([0.0, -1.0]) if draw.flag(0.2) else 1.5])
    # A single weight cancels from the mean: its gradient would be rounding, in PyTorch as here.
    if name != "smooth_l1_loss" and np.prod(shape) != 1 and draw.flag(0.2):
        inputs["weight"] = draw.positive(shape if draw.flag(0.9) else [*shape, 2])

    def reference(t, **a):
        weight = {"weight": t["weight"]} if "weight" in t else {}
        return functional(name)(t["input"], t["target"], **weight, **a)

    return Problem(inputs, attributes, reference)


def weight_of(draw, shape):
    """A shape that broadcasts to that one, or now and then does not."""
    weight = [1 if draw.flag(0.3) else size for size in shape][draw.int(0, len(shape)) :]
    return draw.positive(weight if draw.flag(0.95) else [4, *shape])


@problem("binary_cross_entropy", "binary_cross_entropy_with_logits")
def binary(draw, name):
    shape, other = draw.sizes(draw.int(0, 5), 0 if draw.flag(0.05) else 1, 5), None
    if draw.flag(0.05):
        other = [*shape, 2]
    logits = name.endswith("logits")
    x = draw.normal(shape, draw.choice([1, 10, 60])) if logits else draw.rng.random(tuple(shape))
    x, target = np.array(x), draw.rng.random(tuple(other or shape))
    if draw.flag():
        target = np.round(target)
    if not logits and draw.flag(0.2):
        x = np.round(x)
    if not logits and x.size and draw.flag(0.04):
        x.flat[0] = draw.choice([1.5, -0.1, float("nan")])
    inputs, constants = {"input": x, "target": target}, ("weight", "pos_weight")
    if logits and draw.flag(0.1):
        # Not at -inf: there PyTorch's (1 - t) x + ln(1 + e^-x) is -inf + inf, though the loss is infinite for t above 0.
        odd = draw.odd(x)
        inputs["input"] = np.where(odd == -np.inf, np.inf, odd)
    if draw.flag(0.3):
        inputs["weight"] = weight_of(draw, shape)
    if logits and draw.flag(0.4):
        inputs["pos_weight"] = weight_of(draw, shape)

    def reference(t, **a):
        more = {key: t[key] for key in constants if key in t}
        return functional(name)(t["input"], t["target"], **more, **a)

    return Problem(inputs, {"reduction": reduction(draw)}, reference, constants)


@problem("kl_div")
def kl_div(draw, _name):
    shape, other = pair_shapes(draw)
    log_target = draw.choice([None, True, False])
    target = draw.normal(other) if log_target else draw.rng.random(tuple(other))
    if not log_target and draw.flag(0.2):
        target = np.round(target)
    attributes = {"reduction": draw.choice([None, "none", "mean", "sum", "batchmean"]), "log_target": log_target}
    return Problem({"input": draw.normal(shape), "target": target}, attributes, lambda t, **a: F.kl_div(t["input"], t["target"], **a))


@problem("sigmoid_focal_loss")
def focal(draw, _name):
    shape = draw.sizes(draw.int(0, 5), 1, 5)
    target = draw.rng.random(tuple(shape) if draw.flag(0.95) else (2, *shape))
    attributes = {
        "reduction": reduction(draw),
        "alpha": draw.choice([None, 0.25, 0.9, 0.0, 1.0, -1.0, 1.5 if draw.flag(0.2) else 0.5]),
        "gamma": draw.choice([None, 0.0, 1.0, 2.0, 1.5, 5.0]),
    }
    x = draw.normal(shape, draw.choice([1, 3]))
    return Problem({"input": x, "target": np.round(target) if draw.flag() else target}, attributes, lambda t, **a: sigmoid_focal_loss(t["input"], t["target"], **a))


@problem("dice_loss")
def dice(draw, _name):
    shape = [draw.batch(), *draw.sizes(draw.int(0, 4), 1, 5)]
    per_channel = draw.choice([None, True, False])
    target = (draw.rng.random(tuple(shape) if draw.flag(0.95) else (*shape, 2)) > 0.5) * 1.0
    attributes = {"reduction": reduction(draw), "smooth": draw.choice([None, 1.0, 0.1, 1e-5]), "per_channel": per_channel}

    def reference(t, smooth=1.0, per_channel=False, reduction="mean"):
        p, target = t["input"], t["target"]
        if p.shape != target.shape or per_channel and p.dim() < 2:
            raise ValueError("one shape (N, …) or (N, C, …)")
        axes = list(range(2 if per_channel else 1, p.dim()))
        total = lambda x: x.sum(axes) if axes else x
        losses = 1 - (2 * total(p * target) + smooth) / (total(p) + total(target) + smooth)
        return losses if reduction == "none" else getattr(losses, reduction)()

    return Problem({"input": draw.rng.random(tuple(shape)), "target": target}, attributes, reference)
