"""Runs rasgo and PyTorch in turns on the same work and prints both beside each other, as Markdown.

    python3 bench/compare.py [--what steps|memory|both] [--rounds 3] [--threads N] [--compile]
                             [--rasgo target/release/rasgo] [--python python3] [--models lenet5 lecture ...]
                             [--retries 0] [--wait 0] [--seconds 1.0] [--out FILE]

Build rasgo first (cargo build --release). --python needs torch, and torchvision for alexnet. Every figure is the median
over the rounds; a round runs rasgo, then PyTorch, for one model after the other, each in a process of its own.
"""
import argparse
import datetime
import json
import os
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

PEER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pytorch_bench.py")
STEPS = ["rasgo-small", "lecture", "lenet5", "alexnet"]
MEMORY = ["rasgo-small", "mlp", "lecture", "lecun1990", "lenet5", "alexnet"]
EAGER = ["eager", "channels_last"]
COMPILED = ["compile", "compile_cl"]


def options():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--what", choices=["steps", "memory", "both"], default="both", help="what to measure (both)")
    ap.add_argument("--rounds", type=int, default=3, help="how often both run; the medians count (3)")
    ap.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="threads of each (all)")
    ap.add_argument("--seconds", type=float, default=1.0, help="time for the steps of one model and mode (1.0)")
    ap.add_argument("--compile", action="store_true", help="time torch.compile too; needs a C++ compiler")
    ap.add_argument("--rasgo", default="target/release/rasgo", help="the command (target/release/rasgo)")
    ap.add_argument("--python", default="python3", help="a Python with torch (python3)")
    ap.add_argument("--models", nargs="+", default=[], metavar="NAME", help="models by name (all)")
    ap.add_argument("--retries", type=int, default=0, metavar="N",
                    help="run again, up to N times, where other programs took over a tenth of the processors; "
                         "the least disturbed run counts (0)")
    ap.add_argument("--wait", type=float, default=0.0, metavar="S",
                    help="before each run, wait up to S seconds for a second in which they took less (0)")
    ap.add_argument("--out", default="", metavar="FILE", help="write the tables there too")
    a = ap.parse_args()
    unknown = [name for name in a.models if name not in MEMORY]
    if unknown:
        ap.error(f"unknown model {unknown[0]!r}; the models are {', '.join(MEMORY)}")
    if a.rounds < 1 or a.threads < 1:
        ap.error("--rounds and --threads are 1 or more")
    return a


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
        self.machine, self.torch = {}, ""

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

    def rasgo(self, *arguments):
        """The figure of the one row that this makes."""
        threads = str(self.a.threads)
        object = self.run([self.a.rasgo, "bench", *arguments, "--json", "--threads", threads], json.loads)
        peak = max(object["peak"], self.machine.get("peak", 0.0))
        self.machine = {**object, "peak": peak}
        return object["rows"][0][-1]

    def pytorch(self, *arguments):
        """The figures by mode."""
        with tempfile.TemporaryDirectory() as folder:
            file = os.path.join(folder, "rows.json")
            command = [self.a.python, PEER, "--threads", str(self.a.threads), "--json", file, *arguments]

            def read(_text):
                with open(file) as f:
                    return json.load(f)
            result = self.run(command, read)
        self.torch = result["torch"]
        kinds = ("step", "memory")
        return {mode: figure for kind, _name, mode, figure in rows_of(result, kinds)}


def rows_of(result, kinds):
    return [row for row in result["rows"] if row[0] in kinds]


def collect(turns, models, rasgo, pytorch):
    """By model, the figures of all rounds: rasgo's, and PyTorch's by mode."""
    figures = {name: ([], {}) for name in models}
    for number in range(turns.a.rounds):
        for name in models:
            print(f"round {number + 1} of {turns.a.rounds}: {name}", file=sys.stderr, flush=True)
            ours, theirs = figures[name]
            ours.append(rasgo(name))
            for mode, figure in pytorch(name).items():
                theirs.setdefault(mode, []).append(figure)
    return figures


def best(theirs, modes, choose):
    """The best mode by the median of its rounds, and its figures."""
    present = [mode for mode in modes if mode in theirs]
    mode = choose(present, key=lambda mode: statistics.median(theirs[mode]))
    return mode, theirs[mode]


def cell(figures, digits=0):
    median = f"{statistics.median(figures):,.{digits}f}"
    return f"{median} ({min(figures):,.{digits}f}–{max(figures):,.{digits}f})" if len(figures) > 1 else median


def steps(turns):
    a = turns.a
    modes = EAGER + (COMPILED if a.compile else [])
    seconds = ["--seconds", str(a.seconds)]
    figures = collect(
        turns, [name for name in STEPS if not a.models or name in a.models],
        lambda name: turns.rasgo("steps", "--only", name, *seconds),
        lambda name: turns.pytorch("--only", "steps", "--model", name, "--modes", ",".join(modes), *seconds))
    compiled = [" PyTorch compiled | rasgo / compiled |", "---:|---:|"] if a.compile else ["", ""]
    lines = [f"| model | rasgo images/s | PyTorch images/s | mode | rasgo / PyTorch |{compiled[0]}",
             f"|---|---:|---:|---|---:|{compiled[1]}"]
    for name, (ours, theirs) in figures.items():
        mode, peer = best(theirs, EAGER, max)
        ratio = statistics.median(ours) / statistics.median(peer)
        line = f"| {name} | {cell(ours)} | {cell(peer)} | {mode} | **{ratio:.2f}** |"
        if a.compile and any(mode in theirs for mode in COMPILED):
            mode, peer = best(theirs, COMPILED, max)
            line += f" {cell(peer)} {mode} | {statistics.median(ours) / statistics.median(peer):.2f} |"
        lines.append(line)
    return "## Training steps, f32\n\nForward, cross entropy, backward, SGD with momentum; more is better.\n\n" + "\n".join(lines)


def memory(turns):
    figures = collect(
        turns, [name for name in MEMORY if not turns.a.models or name in turns.a.models],
        lambda name: turns.rasgo("memory", "--model", name),
        lambda name: {mode: figure for m in EAGER for mode, figure in
                      turns.pytorch("--only", "memory", "--model", name, "--modes", m).items()})
    lines = ["| model | rasgo MB | PyTorch MB | mode | rasgo / PyTorch |", "|---|---:|---:|---|---:|"]
    for name, (ours, theirs) in figures.items():
        mode, peer = best(theirs, EAGER, min)
        ratio = statistics.median(ours) / statistics.median(peer)
        lines.append(f"| {name} | {cell(ours, 1)} | {cell(peer, 1)} | {mode} | **{ratio:.2f}** |")
    return ("## Memory of three training steps, f32\n\nGrowth of the peak of resident memory from just before the model is "
            "made, after two steps of a tiny network in both; MB of 10^6 bytes; less is better.\n\n" + "\n".join(lines))


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
    return (f"`{shlex.join(argv)}`\n\n"
            f"{datetime.date.today()}, {machine['cpu']}, {machine['isa']}, {a.threads} threads, measured f32 peak "
            f"{machine['peak']:.0f} GFLOP/s; torch {turns.torch}. Medians of {a.rounds} rounds in turns (least–most). "
            f"Other programs took {100 * others:.0f} % of the processors during the median run, "
            f"{100 * max(turns.disturbed):.0f} % at most.\n")


def main():
    a = options()
    turns = Turns(a)
    parts = [part(turns) for name, part in (("steps", steps), ("memory", memory)) if a.what in (name, "both")]
    text = "\n".join(["# rasgo beside PyTorch\n", header(turns)] + [part + "\n" for part in parts])
    print(text)
    if a.out:
        with open(a.out, "w") as f:
            f.write(text)


if __name__ == "__main__":
    main()
