"""Linear layers."""

import torch.nn.functional as F

from draw import Problem, problem


@problem("linear")
def linear(draw, _name):
    features, out = draw.choice([0, 1, 2, 3, 5, 17, 64, 130]), draw.choice([1, 2, 4, 7, 33, 70])
    wanted = features if draw.flag(0.95) else features + 1
    lead = draw.choice([[draw.batch()], [], [2, 3], [2, 0, 4], [draw.int(1, 40)]])
    inputs = {"input": draw.normal(lead + [features]), "weight": draw.normal([out, wanted])}
    if draw.flag():
        inputs["bias"] = draw.normal([out if draw.flag(0.95) else out + 1])
    return Problem(inputs, {}, lambda t: F.linear(t["input"], t["weight"], t.get("bias")))
