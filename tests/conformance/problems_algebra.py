"""The algebra of tensors: arithmetic, functions of each element, comparisons, choice, products."""

import numpy as np
import torch

from draw import Problem, problem


def shape_of(draw, ranks=(0, 4)):
    """Any rank, now and then with an axis of nothing."""
    return draw.sizes(draw.int(*ranks), 0 if draw.flag(0.08) else 1, 7)


def pair(draw):
    """Two shapes that broadcast, mostly; sometimes they do not."""
    whole = shape_of(draw)
    shapes = []
    for _ in range(2):
        shape = [1 if draw.flag(0.25) else size for size in whole]
        shapes.append(shape[draw.int(0, len(shape)) if draw.flag(0.3) else 0 :])
    if draw.flag(0.05) and shapes[0]:
        shapes[0][-1] += 2
    return shapes


def values(draw, shape, odd=0.3):
    x = draw.normal(shape, draw.choice([0.1, 1, 1, 5, 40])) if draw.flag(0.6) else draw.ties(shape)
    return draw.odd(x, 0.1) if draw.flag(odd) else x


def number(draw):
    """A number that float32 holds exactly, now and then one that it does not."""
    return draw.choice([0.0, 1.0, -1.0, 2.0, 0.5, -2.5, 3.0, 7.0, 100.0, 0.1, -1e-3, 1e6, "inf", "-inf", "nan"])


def plain_number(text):
    return float(text)


def whole(draw, shape):
    if draw.flag(0.1):
        return draw.whole(shape, -(2**63), 2**63 - 1)
    return draw.whole(shape, -9, 9)


FUNCTION = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "rsub": torch.rsub,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
}


@problem("add", "sub", "mul", "div", "rsub")
def arithmetic(draw, name):
    a, b = pair(draw)
    attributes = {}
    of_whole = draw.flag(0.2)
    make = whole if of_whole else values
    inputs = {"input": make(draw, a)}
    if draw.flag(0.6):
        inputs["other"] = make(draw, b)
        if of_whole and name == "div":
            # float32 of large whole numbers is exact on neither side.
            inputs = {key: np.clip(value, -9, 9) for key, value in inputs.items()}
    elif of_whole:
        attributes["other"] = draw.int(-5, 5)
    else:
        attributes["other"] = number(draw)
    if name in ("add", "sub") and draw.flag(0.3):
        attributes["alpha"] = draw.int(-3, 3) if of_whole else draw.choice([0.0, 0.5, -2.0, 3.0])

    def reference(t, other=None, alpha=1):
        if other is None:
            right = t["other"]
        else:
            right = other if isinstance(other, int) else plain_number(other)
        if name in ("add", "sub"):
            return FUNCTION[name](t["input"], right, alpha=alpha)
        return FUNCTION[name](t["input"], right)

    return Problem(inputs, attributes, reference, dtypes=("f32",) if of_whole and name == "div" else ("f32", "f64"))


@problem("maximum", "minimum")
def extremes(draw, name):
    a, b = pair(draw)
    make = whole if draw.flag(0.2) else (lambda d, s: draw.odd(draw.ties(s), 0.1) if draw.flag(0.5) else values(d, s))
    return Problem(
        {"input": make(draw, a), "other": make(draw, b)}, {}, lambda t: FUNCTION[name](t["input"], t["other"])
    )


@problem("pow")
def power(draw, _name):
    a, b = pair(draw)
    if draw.flag(0.15):
        inputs, attributes = {"input": draw.whole(a, -4, 4)}, {}
        if draw.flag():
            inputs["exponent"] = draw.whole(b, -2, 5)
        else:
            attributes["exponent"] = draw.int(-1, 4)
    else:
        base = values(draw, a)
        base = draw.choice([base, np.abs(base), np.round(base), draw.odd(draw.ties(a), 0.2)])
        inputs, attributes = {"input": base}, {}
        if draw.flag(0.5):
            exponent = draw.normal(b, 2)
            inputs["exponent"] = draw.choice([exponent, np.round(exponent), draw.odd(draw.ties(b), 0.2)])
        else:
            attributes["exponent"] = draw.choice(
                [0.0, 0.5, -0.5, 1.0, -1.0, 2.0, -2.0, 3.0, 4.0, 2.5, -3.0, "inf", "-inf", "nan"]
            )

    def reference(t, exponent=None):
        if exponent is None:
            return torch.pow(t["input"], t["exponent"])
        return torch.pow(t["input"], exponent if isinstance(exponent, int) else float(exponent))

    return Problem(inputs, attributes, reference)


ELEMENTWISE = (
    "abs ceil cos erf exp expm1 floor log log10 log1p log2 neg reciprocal round rsqrt sign sin sqrt square trunc"
).split()
KEEP_WHOLE = "abs ceil floor neg round sign square trunc".split()


@problem(*ELEMENTWISE)
def elementwise(draw, name):
    shape = shape_of(draw)
    if name in KEEP_WHOLE and draw.flag(0.15):
        return Problem({"input": whole(draw, shape)}, {}, lambda t: getattr(torch, name)(t["input"]))
    x = values(draw, shape)
    if name in ("log", "log2", "log10", "sqrt", "rsqrt") and draw.flag(0.7):
        x = np.abs(x)
    return Problem({"input": x}, {}, lambda t: getattr(torch, name)(t["input"]))


@problem("clamp")
def clamp(draw, _name):
    shape = shape_of(draw)
    if draw.flag(0.15):
        x, bound = whole(draw, shape), lambda: draw.int(-4, 4)
    else:
        x, bound = values(draw, shape), lambda: draw.choice([-1.0, -0.5, 0.0, 0.5, 1.0, 2.0, "inf", "-inf", "nan"])
    attributes = {"min": bound() if draw.flag(0.7) else None, "max": bound() if draw.flag(0.7) else None}

    def reference(t, **bounds):
        return torch.clamp(t["input"], **{k: v if isinstance(v, int) else float(v) for k, v in bounds.items()})

    return Problem({"input": x}, attributes, reference)


@problem("eq", "ne", "lt", "le", "gt", "ge")
def comparison(draw, name):
    a, b = pair(draw)
    kind = draw.int(0, 5)
    make = {0: whole, 1: lambda d, s: d.whole(s, 0, 3).astype(np.uint8)}.get(kind, lambda d, s: d.odd(d.ties(s), 0.1))
    inputs, attributes = {"input": make(draw, a)}, {}
    if draw.flag(0.6):
        inputs["other"] = make(draw, b)
    elif kind < 2:
        attributes["other"] = draw.int(0, 3)
    else:
        attributes["other"] = draw.choice([0.0, 0.5, -1.0, "inf", "-inf", "nan"])

    def reference(t, other=None):
        if other is None:
            return getattr(torch, name)(t["input"], t["other"])
        return getattr(torch, name)(t["input"], other if isinstance(other, int) else float(other))

    return Problem(inputs, attributes, reference)


def any_dtype(draw, shape):
    kind = draw.int(0, 3)
    if kind == 0:
        return draw.whole(shape, -1, 1)
    if kind == 1:
        return draw.whole(shape, 0, 2).astype(np.uint8)
    return draw.odd(draw.ties(shape), 0.2)


@problem("logical_and", "logical_or", "logical_xor")
def logic(draw, name):
    a, b = pair(draw)
    first = any_dtype(draw, a)
    second = any_dtype(draw, b)
    if first.dtype != second.dtype:
        # PyTorch compares across dtypes; rasgo's operations take one.
        second = (second != 0).astype(first.dtype)
    return Problem({"input": first, "other": second}, {}, lambda t: getattr(torch, name)(t["input"], t["other"]))


@problem("logical_not", "isnan", "isinf", "isfinite")
def question(draw, name):
    return Problem({"input": any_dtype(draw, shape_of(draw))}, {}, lambda t: getattr(torch, name)(t["input"]))


def mask(draw, shape):
    return draw.whole(shape, 0, 1).astype(np.uint8)


@problem("where")
def where(draw, _name):
    a, b = pair(draw)
    joint = np.broadcast_shapes(a, b) if _broadcasts(a, b) else a
    shape = [1 if draw.flag(0.2) else size for size in joint]
    shape = shape[draw.int(0, len(shape)) if draw.flag(0.2) else 0 :]
    inputs, attributes = {"condition": mask(draw, shape)}, {}
    make = whole if draw.flag(0.2) else values
    inputs["input"], inputs["other"] = make(draw, a), make(draw, b)
    if make is values and draw.flag(0.3):
        key = draw.choice(["input", "other"])
        del inputs[key]
        attributes[key] = draw.choice([0.0, 1.5, "nan", "inf"])

    def reference(t, **numbers):
        sides = [t[key] if key in t else float(numbers[key]) for key in ("input", "other")]
        return torch.where(t["condition"].bool(), *sides)

    return Problem(inputs, attributes, reference)


def _broadcasts(a, b):
    try:
        np.broadcast_shapes(a, b)
        return True
    except ValueError:
        return False


@problem("masked_fill")
def masked_fill(draw, _name):
    shape, other = pair(draw)
    x = whole(draw, shape) if draw.flag(0.2) else values(draw, shape)
    value = draw.int(-3, 3) if x.dtype.kind == "i" else draw.choice([0.0, -2.5, "inf", "nan"])
    return Problem(
        {"input": x, "mask": mask(draw, other)},
        {"value": value},
        lambda t, value: t["input"].masked_fill(t["mask"].bool(), value if isinstance(value, int) else float(value)),
    )


@problem("tril", "triu")
def triangle(draw, name):
    shape = shape_of(draw, (1 if draw.flag(0.05) else 2, 4))
    x = whole(draw, shape) if draw.flag(0.2) else values(draw, shape)
    diagonal = draw.choice([None, 0, 1, -1, 3, -9, 9])
    return Problem({"input": x}, {"diagonal": diagonal}, lambda t, **a: getattr(torch, name)(t["input"], **a))


@problem("matmul")
def matmul(draw, _name):
    m, n = draw.choice([0, 1, 2, 3, 7, 17, 40]), draw.choice([0, 1, 2, 4, 9, 33, 70])
    k = draw.choice([0, 1, 2, 3, 5, 16, 33, 130])
    lead = draw.sizes(draw.int(0, 3), 1, 4)
    if lead and draw.flag(0.1):
        lead[0] = 0
    batches = []
    for _ in range(2):
        own = [1 if draw.flag(0.25) else size for size in lead]
        batches.append(own[draw.int(0, len(own)) if draw.flag(0.4) else 0 :])
    a, b = batches[0] + [m, k], batches[1] + [k, n]
    if draw.flag(0.15):
        a = [k]
    if draw.flag(0.15):
        b = [k]
    if draw.flag(0.05):
        a[-1] += 1
    if draw.flag(0.03):
        a = []
    return Problem({"input": draw.normal(a), "other": draw.normal(b)}, {}, lambda t: torch.matmul(t["input"], t["other"]))


@problem("bmm")
def bmm(draw, _name):
    b, m, n, k = draw.batch(), draw.int(0, 40), draw.int(0, 40), draw.choice([0, 1, 2, 5, 16, 33, 130])
    a, c = [b, m, k], [b, k, n]
    if draw.flag(0.08):
        a[draw.int(0, 2)] += 1
    if draw.flag(0.05):
        c = c[1:]
    return Problem({"input": draw.normal(a), "mat2": draw.normal(c)}, {}, lambda t: torch.bmm(t["input"], t["mat2"]))
