"""Random problems through `rasgo op` and through PyTorch, compared. See README.md beside this file."""

import argparse
import glob
import importlib
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
import warnings
import zlib
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from draw import PROBLEMS, Draw  # noqa: E402

TOLERANCE = {"f32": 1e-4, "f64": 1e-10}
NUMPY = {"f32": np.float32, "f64": np.float64}


def load_families():
    for path in sorted(glob.glob(os.path.join(HERE, "problems_*.py"))):
        importlib.import_module(os.path.basename(path)[:-3])


def draw_case(name, seed, index):
    """The problem of that number, its dtype and the gradient of its output, all from the seed."""
    draw = Draw([zlib.crc32(name.encode()), seed, index])
    problem = PROBLEMS[name](draw, name)
    dtype = problem.dtypes[0] if len(problem.dtypes) == 1 else draw.choice(["f32", "f32", "f32", "f64"])
    inputs = {}
    for key, value in problem.inputs.items():
        value = np.asarray(value)
        inputs[key] = value.astype(NUMPY[dtype]) if value.dtype.kind == "f" else value
    # PyTorch takes one sample without the batch axis.
    batched = [key for key in ("input", "indices") if key in inputs]
    spatial = re.fullmatch(r"(?!dropout).*[123]d|fold|unfold", name)
    if spatial and inputs["input"].size and inputs["input"].shape[0] == 1 and draw.flag(0.3):
        for key in batched if draw.flag(0.95) else batched[:1]:
            inputs[key] = inputs[key][0]
    attributes = {key: value for key, value in problem.attributes.items() if value is not None}
    return problem, dtype, inputs, attributes, draw


def reference(problem, inputs, attributes, numpy_dtype, grad_output):
    """PyTorch's outputs and gradients, computed in one dtype; `grad_output` is drawn when it is a function."""
    tensors, leaves = {}, {}
    for key, value in inputs.items():
        tensor = torch.from_numpy(np.array(value))
        if value.dtype.kind == "f":
            tensor = torch.from_numpy(np.array(value, dtype=numpy_dtype))
            if key not in problem.constants:
                tensor.requires_grad_()
                leaves[key] = tensor
        tensors[key] = tensor
    outputs = problem.reference(tensors, **attributes)
    if torch.is_tensor(outputs):
        outputs = {"output": outputs}
    results = {key: value.detach().numpy() for key, value in outputs.items()}
    main = outputs["output"]
    if main.requires_grad and leaves:
        if callable(grad_output):
            grad_output = grad_output(main.shape)
        grads = torch.autograd.grad(
            main,
            list(leaves.values()),
            torch.from_numpy(np.array(grad_output, dtype=numpy_dtype)),
            allow_unused=True,
        )
        for key, grad in zip(leaves, grads):
            shape = inputs[key].shape
            results[f"grad_{key}"] = np.zeros(shape) if grad is None else grad.detach().numpy()
    else:
        grad_output = None
    return results, grad_output


def arguments_of(attributes):
    """Attributes as they stand on the command line."""
    arguments = []
    for key, value in attributes.items():
        option = "--" + key.replace("_", "-")
        if value is True:
            arguments.append(option)
        elif value is False:
            arguments.append(f"{option}=false")
        elif isinstance(value, (list, tuple)):
            arguments.append(f"{option}=" + ",".join("none" if v is None else str(v) for v in value))
        else:
            arguments.append(f"{option}={value}")
    return arguments


def tolerances(exact, same_dtype, inputs, dtype):
    """For each float output, the largest difference that is allowed."""
    largest = max((np.abs(v[np.isfinite(v)]).max(initial=0) for v in inputs.values() if v.dtype.kind == "f"), default=0)
    allowed = {}
    for key, value in exact.items():
        if value.dtype.kind != "f":
            continue
        both = np.isfinite(value) & np.isfinite(same_dtype[key])
        scale = np.abs(value[both]).max(initial=0)
        own = np.abs(value[both] - same_dtype[key][both].astype(np.float64)).max(initial=0)
        # Sums that cancel to nothing leave the rounding of their terms.
        floor = 1e-5 * largest
        allowed[key] = max(TOLERANCE[dtype] * max(scale, floor), 8 * own)
    return allowed


def compare(key, found, exact, same_dtype, allowed):
    """What is wrong with one output, or None."""
    if found.shape != exact.shape:
        return f"{key}: shape {found.shape} for {exact.shape}"
    if exact.dtype.kind != "f":
        wrong = found.astype(np.int64) != exact.astype(np.int64)
        if wrong.any():
            at = tuple(int(i) for i in np.argwhere(wrong)[0])
            return f"{key}: {found[at]} for {exact[at]} at {at}"
        return None
    if found.dtype.kind != "f":
        return f"{key}: dtype {found.dtype}"
    special = ~np.isfinite(same_dtype)
    if not np.array_equal(found[special], same_dtype[special].astype(found.dtype), equal_nan=True):
        at = tuple(int(i) for i in np.argwhere(special & ~((found == same_dtype) | (np.isnan(found) & np.isnan(same_dtype))))[0])
        return f"{key}: {found[at]} for {same_dtype[at]} at {at}"
    rest = ~special & np.isfinite(exact)
    with np.errstate(invalid="ignore"):
        difference = np.abs(found.astype(np.float64) - exact)
    bad = rest & ~(difference <= allowed)
    if bad.any():
        at = tuple(int(i) for i in np.argwhere(bad)[0])
        return f"{key}: {found[at]!r} for {exact[at]!r} at {at}, allowed {allowed:.3g}"
    return None


def make(name, seed, index):
    """A case with PyTorch's answer: a dict, `refused` where PyTorch raises."""
    problem, dtype, inputs, attributes, draw = draw_case(name, seed, index)
    case = {"name": name, "dtype": dtype, "inputs": inputs, "attributes": attributes}
    drawn = {}

    def grad_output(shape):
        drawn["value"] = draw.normal(shape).astype(NUMPY[dtype])
        return drawn["value"]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            same, grad = reference(problem, inputs, attributes, NUMPY[dtype], grad_output)
        except Exception as error:  # noqa: BLE001: whatever PyTorch raises is a refusal
            case["refused"] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            return case
        try:
            exact, _ = reference(problem, inputs, attributes, np.float64, grad)
        except Exception as error:  # noqa: BLE001
            # Refused in one dtype only: rasgo may do either, but not crash.
            return {**case, "refused": f"in float64 only: {error}", "open": True}
    if grad is not None:
        case["inputs"] = {**inputs, "grad_output": grad}
    case["same"] = same
    case["exact"] = {k: v.astype(np.float64) if v.dtype.kind == "f" else v for k, v in exact.items()}
    case["allowed"] = tolerances(case["exact"], same, case["inputs"], dtype)
    return case


def run_rasgo(binary, case, folder, threads=None):
    """(outputs or None, what was said)"""
    source, target = os.path.join(folder, "in.safetensors"), os.path.join(folder, "out.safetensors")
    save_file({k: np.ascontiguousarray(v).reshape(v.shape) for k, v in case["inputs"].items()}, source)
    if os.path.exists(target):
        os.remove(target)
    command = [binary] + ([f"--threads={threads}"] if threads else [])
    command += ["op", case["name"], source, *arguments_of(case["attributes"]), target]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode == 0:
        return load_file(target), done.stderr, open(target, "rb").read()
    if os.path.exists(target):
        return None, f"exit {done.returncode}, and left OUT behind: {done.stderr}", None
    if done.returncode != 1 or "panicked" in done.stderr:
        return None, f"CRASH: exit {done.returncode}: {done.stderr}", None
    return None, done.stderr.strip(), None


def check(name, seed, index, binary, same_bits):
    """(what is wrong or None, whether PyTorch refused)"""
    case = make(name, seed, index)
    with tempfile.TemporaryDirectory() as folder:
        try:
            outputs, said, raw = run_rasgo(binary, case, folder)
            if same_bits and raw is not None:
                for threads in (1, 2, 3):
                    if run_rasgo(binary, case, folder, threads)[2] != raw:
                        return f"other bits at {threads} threads", False
        except subprocess.TimeoutExpired:
            return "CRASH: no answer in 120 s", False
    if "CRASH" in said or "left OUT" in said:
        return said, "refused" in case
    if "open" in case:
        return None, True
    if "refused" in case:
        if outputs is not None:
            return f"accepted, PyTorch refuses: {case['refused']}", True
        # An operation that is made of others is the one to be named.
        return (None if said.startswith(f"error: {name}: ") else f"it does not name the operation: {said}"), True
    if outputs is None:
        return f"refused: {said}", False
    if set(outputs) != set(case["exact"]):
        return f"outputs {sorted(outputs)} for {sorted(case['exact'])}", False
    for key in case["exact"]:
        wrong = compare(key, outputs[key], case["exact"][key], case["same"][key], case["allowed"].get(key))
        if wrong:
            return wrong, False
    return None, False


def describe(name, seed, index):
    _, dtype, inputs, attributes, _ = draw_case(name, seed, index)
    shapes = {key: list(value.shape) for key, value in inputs.items()}
    return f"{name} --seed {seed} --index {index} ({dtype}): {shapes} {attributes}"


def check_range(arguments):
    name, seed, indices, binary, same_bits = arguments
    torch.set_num_threads(1)
    load_families()
    results = []
    for index in indices:
        wrong, refused = check(name, seed, index, binary, same_bits)
        results.append((index, wrong, refused))
    return name, results


def golden(seed, names, count, folder):
    """Writes small cases with their answers, for the tests that run without PyTorch."""
    os.makedirs(folder, exist_ok=True)
    for name in names:
        tensors, cases, index, refused = {}, [], 0, 0
        while len(cases) < count and index < 60 * count:
            case = make(name, seed, index)
            index += 1
            values = {**case["inputs"], **case.get("exact", {})}
            # A refusal or two; the others small.
            if "open" in case or "refused" in case and refused >= 2 or sum(v.size for v in values.values()) > 400:
                continue
            number = len(cases)
            for key, value in case["inputs"].items():
                tensors[f"{number}/in/{key}"] = np.array(value, order="C")
            for key, value in case.get("exact", {}).items():
                special = case["same"][key]
                if value.dtype.kind == "f":
                    value = np.where(np.isfinite(special), value, special.astype(np.float64))
                tensors[f"{number}/out/{key}"] = np.array(value, order="C")
            refused += "refused" in case
            cases.append(
                {
                    "arguments": arguments_of(case["attributes"]),
                    "refused": "refused" in case,
                    "allowed": {k: float(v) for k, v in case.get("allowed", {}).items()},
                }
            )
        path = os.path.join(folder, f"{name}.safetensors")
        save_file(tensors, path, metadata={"cases": json.dumps(cases), "seed": str(seed), "torch": torch.__version__})
        print(f"{name}: {len(cases)} cases, {refused} refused, {os.path.getsize(path)} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", help="the command rasgo")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--total", type=int, default=20000, help="problems in all, shared among the operations")
    parser.add_argument("--count", type=int, help="problems for each operation, instead")
    parser.add_argument("--only", help="operations, with commas between")
    parser.add_argument("--index", type=int, help="this one problem of --only, and what each side says")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--same-bits", action="store_true", help="run each also at 1, 2 and 3 threads")
    parser.add_argument("--golden", type=int, metavar="N", help="write N cases an operation under golden/ instead")
    parser.add_argument("--show", type=int, default=5, help="failures to print for each operation")
    options = parser.parse_args()
    # Where several values go to one place, PyTorch's threads would leave open which stays.
    torch.set_num_threads(1)
    load_families()
    names = options.only.split(",") if options.only else sorted(PROBLEMS)
    for name in names:
        if name not in PROBLEMS:
            sys.exit(f"there are no problems for {name}")
    if options.golden:
        return golden(options.seed, names, options.golden, os.path.join(HERE, "golden"))
    if not options.binary:
        sys.exit("give --binary, the command rasgo")
    if options.index is not None:
        name = names[0]
        case = make(name, options.seed, options.index)
        print(describe(name, options.seed, options.index), arguments_of(case["attributes"]))
        print("PyTorch:", case.get("refused") or case["exact"])
        with tempfile.TemporaryDirectory() as folder:
            outputs, said, _ = run_rasgo(options.binary, case, folder)
        print("rasgo:", said or outputs)
        wrong, _ = check(name, options.seed, options.index, options.binary, options.same_bits)
        return print("wrong:", wrong)
    listed = subprocess.run([options.binary, "op", "--list"], capture_output=True, text=True, check=True).stdout
    known = {line.split()[0] for line in listed.splitlines()}
    if not options.only and known != set(PROBLEMS):
        sys.exit(f"without problems: {sorted(known - set(PROBLEMS))}; not in rasgo: {sorted(set(PROBLEMS) - known)}")
    count = options.count or max(200, math.ceil(options.total / len(names)))
    begin = time.time()
    chunk = 50
    work = [
        (name, options.seed, range(start, min(start + chunk, count)), options.binary, options.same_bits)
        for name in names
        for start in range(0, count, chunk)
    ]
    failures, refusals, done = {}, {}, {}
    with ProcessPoolExecutor(options.jobs) as pool:
        for name, results in pool.map(check_range, work):
            for index, wrong, refused in results:
                done[name] = done.get(name, 0) + 1
                refusals[name] = refusals.get(name, 0) + refused
                if wrong:
                    failures.setdefault(name, []).append((index, wrong))
    for name in names:
        bad = failures.get(name, [])
        print(f"{name}: {done[name]} problems, {refusals[name]} refused by PyTorch, {len(bad)} disagree")
        for index, wrong in bad[: options.show]:
            print(f"    {describe(name, options.seed, index)}\n        {wrong}")
    total = sum(done.values())
    bad = sum(map(len, failures.values()))
    isa = os.environ.get("RASGO_MAX_ISA", "as found")
    print(
        f"{total} problems over {len(names)} operations, seed {options.seed}, instruction set {isa}, "
        f"PyTorch {torch.__version__}: {bad} disagree, {time.time() - begin:.0f} s"
    )
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
