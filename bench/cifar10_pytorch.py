"""The recipe of cifar10.toml in PyTorch: the same files, network, rule, schedule, batches and augmentation.

    python3 bench/cifar10_pytorch.py FOLDER [--seed 1] [--epochs N] [--threads 2] [--steps N] [--contiguous]
                                    [--precision f32|bf16]    (the recipe's, if it is not given)

Trains, and prints loss and time of each epoch and the accuracy on FOLDER/test after the last, as the mean over the same views
of each image. With --steps N it prints the images/s of N steps instead, loading and augmentation among them, after
five that do not count. Network and numbers are read from cifar10_net.toml and cifar10.toml beside this file. Tensors are
channels-last, PyTorch's faster f32 mode here, but with --contiguous. In bf16 the network runs under autocast: weights, loss
and update are f32, as in rasgo. It needs torch and torchvision.
"""
import argparse, pathlib, time, tomllib
import torch, torch.nn as nn, torch.nn.functional as F
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import pil_to_tensor

here = pathlib.Path(__file__).parent
recipe = tomllib.loads((here / "cifar10.toml").read_text())
layers = tomllib.loads((here / "cifar10_net.toml").read_text())["layer"]
ap = argparse.ArgumentParser()
ap.add_argument("folder", type=pathlib.Path)
ap.add_argument("--seed", type=int, default=0)
ap.add_argument("--epochs", type=int, default=recipe["epochs"])
ap.add_argument("--threads", type=int, default=2)
ap.add_argument("--steps", type=int, default=0)
ap.add_argument("--contiguous", action="store_true")
ap.add_argument("--precision", choices=["f32", "bf16"], default=recipe.get("precision", "f32"))
a = ap.parse_args()
torch.set_num_threads(a.threads)
torch.manual_seed(a.seed)
memory = torch.contiguous_format if a.contiguous else torch.channels_last


def read(part):
    """All images (N, 3, H, W) as bytes, and their labels."""
    files = ImageFolder(a.folder / part)
    return torch.stack([pil_to_tensor(image) for image, _ in files]), torch.tensor(files.targets)


def network(layers, channels, classes):
    def build(type, **options):
        nonlocal channels
        if type == "Conv2d":
            conv = nn.Conv2d(channels, **options)
            channels = options["out_channels"]
            return conv
        if type == "BatchNorm2d":
            return nn.BatchNorm2d(channels, **options)
        if type == "Linear":
            return nn.Linear(channels, classes, **options)
        return getattr(nn, type)(**options)
    return nn.Sequential(*(build(**layer) for layer in layers)).to(memory_format=memory)


class Muon(torch.optim.Optimizer):
    """torch.optim.Muon with match_rms_adamw, for filters too, as matrices (out, all others), and in f32 throughout."""

    def __init__(self, params, momentum, nesterov, weight_decay):
        super().__init__(params, dict(lr=0.0, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                m = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p))
                m.lerp_(p.grad, 1 - group["momentum"])
                u = p.grad.lerp(m, group["momentum"]) if group["nesterov"] else m
                o = orthogonal(u.flatten(1))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.sub_(o.view(p.shape), alpha=group["lr"] * 0.2 * max(o.shape) ** 0.5)


def orthogonal(x):
    x = x / x.norm().clamp(min=1e-7)
    if tall := x.shape[0] > x.shape[1]:
        x = x.T
    for _ in range(5):
        s = x @ x.T
        x = torch.addmm(x, torch.addmm(s, s, s, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return x.T if tall else x


def factor(step, steps):
    """rasgo's one-cycle schedule."""
    rise = int(recipe["warmup"] * steps)
    return 0.04 + 0.96 * step / rise if step < rise else 1 - (step - rise) / max(steps - rise, 1)


def mirrored_border(start, size):
    """Where `size` cells from `start` on lie, of which those outside are mirrored in; an index for each start."""
    at = (start[:, None] + torch.arange(size)).abs()
    return torch.where(at < size, at, 2 * (size - 1) - at)


def batch(images, chosen):
    """Cropped, mirrored, cut and normalised images (N, 3, H, W), channels-last."""
    crop, (h, w) = recipe["augment"]["crop"], images.shape[2:]
    rows = mirrored_border(torch.randint(-crop, crop + 1, chosen.shape), h)
    columns = mirrored_border(torch.randint(-crop, crop + 1, chosen.shape), w)
    flipped = torch.rand(chosen.shape) < 0.5
    columns = torch.where(flipped[:, None], columns.flip(1), columns)
    x = images[chosen[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).float()
    hole = within_hole(chosen.shape, h)[:, None, :, None] & within_hole(chosen.shape, w)[:, None, None, :]
    return normalized(torch.where(hole, x.mean((2, 3), keepdim=True), x))


def within_hole(count, size):
    """For each image, which cells of an axis the square of cutout takes, about one of them."""
    side = recipe["augment"]["cutout"]
    start = torch.randint(size, count)[:, None] - side // 2
    at = torch.arange(size)
    return (at >= start) & (at < start + side)


def normalized(images):
    return images.float().sub_(mean).div_(std).contiguous(memory_format=memory)


start = time.perf_counter()
images, labels = read("train")
parts = [part.double() for part in (images.float().mean((2, 3)), images.float().square().mean((2, 3)))]
mean = parts[0].mean(0)
std = (parts[1].mean(0) - mean**2).sqrt().float().view(1, 3, 1, 1)
mean = mean.float().view(1, 3, 1, 1)
print(f"{len(images)} images read in {time.perf_counter() - start:.0f} s", flush=True)

model = network(layers, 3, int(labels.max()) + 1)
matrices = [p for p in model.parameters() if p.dim() > 1]
vectors = [p for p in model.parameters() if p.dim() <= 1]
rule = recipe["optimizer"]
optimizers = [
    Muon(matrices, rule["momentum"], rule["nesterov"], recipe["weight_decay"]),
    torch.optim.AdamW(vectors, betas=rule["betas"], eps=rule["eps"], weight_decay=0),
]
size = recipe["batch_size"]
steps_an_epoch = len(images) // size
total = a.epochs * steps_an_epoch


def scores(x):
    """What the network makes of a batch in the precision that was asked for, as f32."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=a.precision == "bf16"):
        return model(x).float()


def mean_scores(x):
    """The mean over the views of a batch: mirrored too, and both of it moved by some pixels at half the weight."""
    views, s = recipe["views"], recipe["views"]["shift"]
    both = (lambda x: (scores(x) + scores(x.flip(3))) / 2) if views["flip"] else scores
    if not s:
        return both(x)
    h, w = x.shape[2:]
    border = F.pad(x, (s, s, s, s), mode="reflect").contiguous(memory_format=memory)
    sides = both(border[:, :, :h, :w]) + both(border[:, :, 2 * s :, 2 * s :])
    return both(x) / 2 + sides / 4


def train_step(step, chosen):
    loss = F.cross_entropy(scores(batch(images, chosen)), labels[chosen], label_smoothing=recipe["label_smoothing"])
    loss.backward()
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = recipe["lr"] * factor(step, total)
        optimizer.step()
        optimizer.zero_grad()
    return loss.item()


if a.steps:
    order = torch.randperm(len(images))
    for step in range(5 + a.steps):
        if step == 5:
            start = time.perf_counter()
        at = step % steps_an_epoch * size
        train_step(step, order[at : at + size])
    print(f"{a.steps * size / (time.perf_counter() - start):.0f} images/s")
    raise SystemExit

start = time.perf_counter()
model.train()
for epoch in range(a.epochs):
    order = torch.randperm(len(images))
    losses = [
        train_step(epoch * steps_an_epoch + i, order[i * size : (i + 1) * size]) for i in range(steps_an_epoch)
    ]
    seconds = time.perf_counter() - start
    speed = (epoch + 1) * steps_an_epoch * size / seconds
    print(f"epoch {epoch + 1}: loss {sum(losses) / len(losses):.4f}, {speed:.0f} images/s, {seconds:.0f} s", flush=True)

images, labels = read("test")
model.eval()
found = 0
with torch.no_grad():
    for x, y in zip(images.split(250), labels.split(250)):
        found += (mean_scores(normalized(x)).argmax(1) == y).sum().item()
print(f"{100 * found / len(labels):.2f} % of {len(labels)} test images, after {time.perf_counter() - start:.0f} s")
