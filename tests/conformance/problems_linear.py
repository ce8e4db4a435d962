"""Linear layers."""

import torch.nn.functional as F

from draw import Problem, problem


@problem("linear")
def linear(draw, _name):
    features, out = draw.choice([0, 1, 2, 3, 5, 17, 64, 130]), draw.choice([1, 2, 4, 7, 33, 70])
    wanted = features if draw.flag(0.95) else features + 1
    lead = draw.choice([[draw.batch()], [], [2, 3], [2, 0, 4], [draw.int(1, 40)]])
    inputs = {"input": draw.normal(lead + [features]), "weight": draw.normal([out, wanted])}
    if draw.flag(0.05):
        inputs["weight"] = draw.normal([wanted])
    elif draw.flag():
        inputs["bias"] = draw.normal([out if draw.flag(0.95) else out + 1])
    return Problem(inputs, {}, lambda t: F.linear(t["input"], t["weight"], t.get("bias")))


@problem("embedding")
def embedding(draw, _name):
    rows, features = draw.choice([1, 2, 5, 30, 400]), draw.choice([0, 1, 2, 7, 33, 130])
    index = draw.whole(draw.sizes(draw.int(0, 4), 0 if draw.flag(0.1) else 1, 7), 0, rows - 1)
    if index.size and draw.flag(0.05):
        index = index.copy()
        index.flat[0] = draw.choice([rows, -1])
    padding = draw.choice([None, None, 0, -1, rows - 1, -rows, rows if draw.flag(0.2) else 0])
    inputs = {"input": index, "weight": draw.normal([rows, features] if draw.flag(0.97) else [rows])}
    return Problem(inputs, {"padding_idx": padding}, lambda t, **a: F.embedding(t["input"], t["weight"], **a))
