"""Runs rasgo and its peers in turns on the same work and prints both beside each other, as Markdown.

    python3 bench/compare.py [--what layers|steps|infer|memory|all] [--precision f32|bf16|both] [--rounds 5]
                             [--threads N] [--no-compile] [--rasgo target/release/rasgo] [--python python3]
                             [--only lenet5 "resnet 64>64" ...] [--retries 0] [--wait 0] [--seconds 1.0]
                             [--out bench/record/FILE.md]

Build rasgo first (cargo build --release). --python needs torch, and torchvision for the larger networks, a C++ compiler
for torch.compile, onnxruntime, onnx and onnxscript for ONNX Runtime. The peers are PyTorch in every mode that
bench/pytorch_bench.py has in that precision, and for inference ONNX Runtime. Layers and steps are measured in f32 and in bf16, a
table each, where the bf16 of PyTorch's steps is autocast; all else in f32. Every figure is the median over the rounds; a round takes
one piece of work after the other, and runs rasgo and then each peer on it, each in a process of its own.
"""
import argparse
import datetime
import json
import os
import resource
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PEER = os.path.join(HERE, "pytorch_bench.py")
LAYERS = os.path.join(HERE, "../crates/rasgo-cli/problems/layers.txt")
# The rows of both programs, and the model of the zoo behind each.
NETWORKS = {
    "rasgo-small 1x28x28 b128": "rasgo-small",
    "lecture 1x28x28 b128": "lecture",
    "lenet5 1x28x28 b128": "lenet5",
    "resnet18 3x32x32 b64": "resnet18-cifar",
    "resnet18 3x224x224 b16": "resnet18",
    "mobilenet_v2 3x224x224 b16": "mobilenet_v2",
    "alexnet 3x224x224 b32": "alexnet",
}
SMALL_NETWORKS = {"mlp 1x28x28 b128": "mlp", "lecun1990 1x28x28 b128": "lecun1990"}
EAGER = ["eager", "channels_last"]
COMPILED = ["compile", "compile_cl"]
BF16 = ["bf16_cl", "bf16_compile_cl"]


def layer_names():
    with open(LAYERS) as f:
        return [line.split("|")[0].strip() for line in f if not line.startswith("#")]


class Kind:
    """A kind of work: its rows, what a row's figures are, and the processes in which a peer's modes run."""

    def __init__(self, what, row, title, about, names, figures, peers, precision="f32"):
        self.what, self.row, self.title, self.about, self.names, self.peers = what, row, title, about, names, peers
        self.figures = figures  # the name of each, whether less is better, and its digits after the point
        self.precision = precision


def kinds():
    steps = "Images/s of forward, cross entropy, backward, SGD with momentum"
    # The last mode of inference folds normalisations into convolutions and keeps weights packed, as ONNX Runtime does.
    return [
        Kind(
            "layers", "layer", "Convolution layers", "GFLOP/s of each pass alone, counted as direct convolution.",
            layer_names(), [(of, False, 0) for of in ("forward", "gradient to the input", "gradient to the weight")],
            [["nchw", "nhwc"]]),
        Kind(
            "layers", "layer", "Convolution layers", "GFLOP/s of each pass alone, counted as direct convolution.",
            layer_names(), [(of, False, 0) for of in ("forward", "gradient to the input", "gradient to the weight")],
            [["bf16"]], "bf16"),
        Kind(
            "steps", "step", "Training steps", f"{steps}.", list(NETWORKS), [("images/s", False, 0)],
            [EAGER + COMPILED]),
        Kind(
            "steps", "step", "Training steps",
            f"{steps}: maps in bf16; weights, their gradients, the loss and the update in f32. PyTorch's is autocast.",
            list(NETWORKS), [("images/s", False, 0)], [BF16], "bf16"),
        Kind(
            "infer", "infer", "Inference", "Evaluation without gradients.", list(NETWORKS),
            [("ms, one image", True, 3), ("images/s of 32 at once", False, 0)],
            [EAGER + COMPILED + ["compile_freeze"], ["onnxruntime"]]),
        Kind(
            "memory", "memory", "Memory of three training steps",
            "MB of 10^6 bytes: growth of the peak of resident memory from just before the model is made, after two "
            "steps of a tiny network in both.", list(NETWORKS | SMALL_NETWORKS), [("MB", True, 1)],
            [["eager"], ["channels_last"]]),
    ]


def options():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    whats = list(dict.fromkeys(kind.what for kind in kinds()))
    ap.add_argument("--what", choices=[*whats, "all"], default="all", help="what to measure (all)")
    ap.add_argument("--precision", choices=["f32", "bf16", "both"], default="both",
                    help="measure only what is in that precision; bf16 is of layers and steps (both)")
    ap.add_argument("--rounds", type=int, default=5, help="how often all run; the medians count (5)")
    ap.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="threads of each (all)")
    ap.add_argument("--seconds", type=float, default=1.0, help="time for one figure of one mode (1.0)")
    ap.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    ap.add_argument("--rasgo", default="target/release/rasgo", help="the command (target/release/rasgo)")
    ap.add_argument("--python", default="python3", help="a Python with torch (python3)")
    ap.add_argument("--only", nargs="+", default=[], metavar="NAME",
                    help="rows of these names, or whose names begin with these words (all)")
    ap.add_argument("--retries", type=int, default=0, metavar="N",
                    help="run again, up to N times, where other programs took over a tenth of the processors; "
                         "the least disturbed run counts (0)")
    ap.add_argument("--wait", type=float, default=0.0, metavar="S",
                    help="before each run, wait up to S seconds for a second in which they took less (0)")
    ap.add_argument("--out", default="", metavar="FILE", help="write the tables there too, as bench/record/all.md")
    a = ap.parse_args()
    a.kinds = [kind for kind in kinds() if a.what in (kind.what, "all") and a.precision in (kind.precision, "both")]
    if not a.kinds:
        ap.error(f"--what {a.what} is not measured in {a.precision}: only layers and steps are; leave --precision out")
    if a.only:
        names = [name for kind in a.kinds for name in kind.names]
        for only in a.only:
            if not any(is_chosen(name, [only]) for name in names):
                ap.error(f"no row begins with {only!r}; the rows are {', '.join(dict.fromkeys(names))}")
    if a.rounds < 1 or a.threads < 1:
        ap.error("--rounds and --threads are 1 or more")
    if a.out and not os.path.isdir(os.path.dirname(a.out) or "."):
        ap.error(f"--out {a.out}: there is no such folder")
    a.compiler = any(map(shutil.which, [os.environ.get("CXX") or "g++", "clang++", "c++"]))
    return a


def is_chosen(name, only):
    return not only or any(name == words or name.startswith(words + " ") for words in only)


def busy_seconds():
    """What all programs together have used of the processors so far; None where the system does not tell."""
    try:
        with open("/proc/stat") as f:
            user, nice, system, _idle, _wait, irq, softirq = map(int, f.readline().split()[1:8])
    except (OSError, ValueError):
        return None
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


class Turns:
    """Starts the processes, and knows what else the machine did meanwhile."""

    def __init__(self, a):
        self.a = a
        self.disturbed = []  # by run, the share of all processors that other programs took
        self.machine, self.torch, self.missing = {}, "", set()

    def wait(self):
        """Until the machine is quiet, or patience ends."""
        end = time.monotonic() + self.a.wait
        while (busy := busy_seconds()) is not None and time.monotonic() < end:
            time.sleep(1.0)
            if busy_seconds() - busy < 0.1 * os.cpu_count():
                break

    def once(self, command):
        self.wait()
        start, busy, own = time.monotonic(), busy_seconds(), resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(f"{shlex.join(command)}\nended with {done.returncode}:\n{done.stderr.strip()}")
        if busy is None:
            return 0.0, done.stdout
        now, after = resource.getrusage(resource.RUSAGE_CHILDREN), busy_seconds()
        used = now.ru_utime + now.ru_stime - own.ru_utime - own.ru_stime
        others = max(0.0, after - busy - used) / ((time.monotonic() - start) * os.cpu_count())
        return others, done.stdout

    def run(self, command, read):
        """The result of `read(stdout)` of the least disturbed of the runs."""
        best = None
        for _ in range(self.a.retries + 1):
            others, text = self.once(command)
            if best is None or others < best[0]:
                best = (others, read(text))
            if others <= 0.1:
                break
        self.disturbed.append(best[0])
        return best[1]

    def rasgo(self, kind, name):
        """The figures of a row."""
        if kind.what == "memory":
            work = ["--model", (NETWORKS | SMALL_NETWORKS)[name]]
        else:
            work = ["--only", name, "--precision", kind.precision, *self.seconds()]
        command = [self.a.rasgo, "bench", kind.what, *work, "--json", "--threads", str(self.a.threads)]
        result = self.run(command, json.loads)
        self.machine = {**result, "peak": max(result["peak"], self.machine.get("peak", 0.0))}
        return next(row[3:] for row in result["rows"] if row[1] == name)

    def peer(self, kind, name, modes):
        """The figures of a row, by mode; a mode that fails has none."""
        with tempfile.TemporaryDirectory() as folder:
            file = os.path.join(folder, "rows.json")
            command = [self.a.python, PEER, "--threads", str(self.a.threads), "--json", file, "--only", kind.what,
                       "--model", name, "--modes", ",".join(modes), *self.seconds()]

            def read(text):
                sys.stderr.writelines(line + "\n" for line in text.splitlines() if " failed: " in line)
                with open(file) as f:
                    return json.load(f)
            result = self.run(command, read)
        self.torch = result["torch"]
        found = {mode: figures for row, _name, mode, *figures in result["rows"] if row == kind.row}
        self.missing |= {mode for mode in modes if mode not in found}
        return found

    def seconds(self):
        return ["--seconds", str(self.a.seconds)]


def modes_of(a, kind):
    """The modes of each process of a peer, without those that cannot run here."""
    compiles = a.compiler and not a.no_compile
    lists = [[mode for mode in modes if compiles or "compile" not in mode] for modes in kind.peers]
    return [modes for modes in lists if modes]


def collect(turns, kind):
    """By row, the figures of all rounds: rasgo's, and the peers' by mode."""
    rows = {name: ([], {}) for name in kind.names if is_chosen(name, turns.a.only)}
    for number in range(turns.a.rounds):
        for name, (ours, theirs) in rows.items():
            print(f"round {number + 1} of {turns.a.rounds}: {kind.what} in {kind.precision}, {name}", file=sys.stderr,
                  flush=True)
            ours.append(turns.rasgo(kind, name))
            for modes in modes_of(turns.a, kind):
                for mode, figures in turns.peer(kind, name, modes).items():
                    theirs.setdefault(mode, []).append(figures)
    return rows


def cell(figures, digits):
    median = f"{statistics.median(figures):,.{digits}f}"
    return f"{median} ({min(figures):,.{digits}f}–{max(figures):,.{digits}f})" if len(figures) > 1 else median


def table(turns, kind):
    """The table of a kind of work, and its worst ratio with the row's name; nothing where no row is chosen."""
    rows = collect(turns, kind)
    lines = ["| work | figure | rasgo | best peer | its mode | ratio |", "|---|---|---:|---:|---|---:|"]
    ratios = []
    for name, (ours, theirs) in rows.items():
        for i, (figure, less, digits) in enumerate(kind.figures):
            own = [figures[i] for figures in ours]
            peers = {mode: [figures[i] for figures in rounds] for mode, rounds in theirs.items()}
            if not peers:
                lines.append(f"| {name} | {figure} | {cell(own, digits)} | – | – | – |")
                continue
            mode = (min if less else max)(peers, key=lambda mode: statistics.median(peers[mode]))
            ratio = statistics.median(own) / statistics.median(peers[mode])
            ratio = 1 / ratio if less else ratio
            ratios.append((ratio, f"{name}, {figure}"))
            lines.append(f"| {name} | {figure} | {cell(own, digits)} | {cell(peers[mode], digits)} | {mode} | "
                         f"**{ratio:.2f}** |")
    if not rows:
        return None
    worst = "Worst: {1}, {0:.2f}.\n".format(*min(ratios)) if ratios else ""
    return f"## {kind.title} in {kind.precision}\n\n{kind.about}\n\n" + "\n".join(lines) + f"\n\n{worst}"


def header(turns):
    a, machine = turns.a, turns.machine
    # Where the two programs lie on this machine is nobody else's concern.
    argv, words = ["python3", "bench/compare.py"], iter(sys.argv[1:])
    for word in words:
        if word in ("--rasgo", "--python"):
            next(words, None)
        elif not word.startswith(("--rasgo=", "--python=")):
            argv.append(word)
    others = statistics.median(turns.disturbed)
    text = (f"`{shlex.join(argv)}`\n\n"
            f"{datetime.date.today()}, {machine['cpu']}, {machine['isa']}, {a.threads} threads, measured f32 peak "
            f"{machine['peak']:.0f} GFLOP/s; torch {turns.torch}. Medians of {a.rounds} "
            f"round{'s' * (a.rounds > 1)} in turns (least–most). "
            "A ratio above 1 says that rasgo is faster, or takes less memory, than the best mode of its peers. "
            f"Other programs took {100 * others:.0f} % of the processors during the median run, "
            f"{100 * max(turns.disturbed):.0f} % at most.\n")
    if not a.no_compile and not a.compiler:
        text += "\ntorch.compile was left out: there is no C++ compiler.\n"
    if turns.missing:
        text += f"\nModes that failed in a run: {', '.join(sorted(turns.missing))}.\n"
    return text


def main():
    a = options()
    turns = Turns(a)
    tables = [table(turns, kind) for kind in a.kinds]
    text = "\n".join(["# rasgo beside its peers\n", header(turns)] + [part for part in tables if part])
    print(text)
    if a.out:
        with open(a.out, "w") as f:
            f.write(text)


if __name__ == "__main__":
    main()
