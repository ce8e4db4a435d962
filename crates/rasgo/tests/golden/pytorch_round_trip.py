"""The zoo's networks in PyTorch, under rasgo's names: golden logits, and weights that go both ways.

    python3 pytorch_round_trip.py make FOLDER     writes what lies beside this file, from weights by a formula
    python3 pytorch_round_trip.py check FOLDER    loads the files that rasgo wrote and compares the logits
    python3 pytorch_round_trip.py save FOLDER     writes random weights and their logits, for rasgo to load

It needs torch, torchvision and safetensors. In a folder, MODEL.safetensors holds a network's weights and MODEL.logits.safetensors
an `input` and the `logits` of these weights for it, in evaluation. `check` and `save` are called by tests/pytorch.rs.
"""
import copy, json, sys
from pathlib import Path
import numpy as np
import torch, torch.nn as nn, torch.nn.functional as F, torchvision
from safetensors.torch import load_file, save_file

# Differences of logits that pass, relative to the largest logit or to 1.
TOLERANCE = 1e-5


# --- The layers of 1990 ---

class ScaledTanh(nn.Module):
    def forward(self, x):
        return 1.7159 * torch.tanh(x * (2 / 3))


class Subsample2d(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        return F.avg_pool2d(x, 2) * self.weight[:, None, None] + self.bias[:, None, None]


class ConnectedConv2d(nn.Module):
    """One convolution for each output map, over the input maps that it sees."""

    def __init__(self, connections, kernel):
        super().__init__()
        self.connections = connections
        self.weight = nn.Parameter(torch.empty(sum(map(len, connections)), kernel, kernel).uniform_(-0.2, 0.2))
        self.bias = nn.Parameter(torch.empty(len(connections)).uniform_(-0.2, 0.2))

    def forward(self, x):
        kernels = self.weight.split([len(maps) for maps in self.connections])
        return torch.cat([F.conv2d(x[:, maps], kernel[None]) for maps, kernel in zip(self.connections, kernels)],
                         dim=1) + self.bias[:, None, None]


# --- The networks ---

class Network(nn.Module):
    def __init__(self, backbone, head):
        super().__init__()
        self.backbone = nn.Sequential(*backbone)
        self.head = nn.Sequential(*head)

    def forward(self, x):
        return self.head(self.backbone(x))


def norm_relu(channels):
    return [nn.BatchNorm2d(channels), nn.ReLU()]


def average(channels):
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)]


def small():
    def conv(inputs, outputs, kernel, **options):
        return [nn.Conv2d(inputs, outputs, kernel, bias=False, **options), *norm_relu(outputs)]
    return Network([
        *conv(1, 16, 5, stride=2), *conv(16, 32, 3), *conv(32, 32, 3), nn.MaxPool2d(2),
        *conv(32, 64, 3, padding=1), *conv(64, 64, 3, padding=1)], average(64))


def small_1d():
    def conv(inputs, outputs, kernel, **options):
        layer = nn.Conv1d(inputs, outputs, kernel, padding=kernel // 2, bias=False, **options)
        return [layer, nn.BatchNorm1d(outputs), nn.ReLU()]
    return Network([
        *conv(1, 16, 7, stride=2), *conv(16, 32, 5), nn.MaxPool1d(2), *conv(32, 32, 5), nn.MaxPool1d(2),
        *conv(32, 64, 5), *conv(64, 64, 5)], [nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(64, 10)])


def small_3d():
    def conv(inputs, outputs, kernel=3, **options):
        layer = nn.Conv3d(inputs, outputs, kernel, bias=False, **{"padding": 1, **options})
        return [layer, nn.BatchNorm3d(outputs), nn.ReLU()]
    return Network([
        *conv(1, 8, (3, 5, 5), stride=(1, 2, 2), padding=(1, 2, 2)), *conv(8, 16), nn.MaxPool3d((1, 2, 2)),
        *conv(16, 32), nn.MaxPool3d((1, 2, 2)), *conv(32, 64), *conv(64, 64)],
        [nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(64, 10)])


def mlp():
    return Network([nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU()],
                   [nn.Linear(128, 10)])


def lecture():
    def block(inputs, outputs):
        return [nn.Conv2d(inputs, outputs, 3, padding=1), *norm_relu(outputs), nn.MaxPool2d(2)]
    return Network([*block(1, 64), *block(64, 128), *block(128, 256)], average(256))


def lecun1990():
    # The paper's table: two halves that see maps 0 and 1, and maps 2 and 3.
    table = [[0], [0, 1], [0, 1], [1], [0, 1], [0, 1], [2], [2, 3], [2, 3], [3], [2, 3], [2, 3]]
    return Network([
        nn.Conv2d(1, 4, 5), ScaledTanh(), Subsample2d(4), ScaledTanh(),
        ConnectedConv2d(table, 5), ScaledTanh(), Subsample2d(12), ScaledTanh()],
        [nn.Flatten(), nn.Linear(12 * 4 * 4, 10)])


def lenet5():
    return Network([
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)],
        [nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)])


def resnet18_cifar():
    network = torchvision.models.resnet18(num_classes=10)
    network.conv1, network.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    return network


# Model: its network, and the shape of the input that `make` and `save` take; small, where the network allows it.
MODELS = {
    "rasgo-small": (small, (3, 1, 28, 28)),
    "rasgo-small-1d": (small_1d, (3, 1, 128)),
    "rasgo-small-3d": (small_3d, (3, 1, 8, 28, 28)),
    "mlp": (mlp, (3, 1, 28, 28)),
    "lecture": (lecture, (3, 1, 28, 28)),
    "lecun1990": (lecun1990, (3, 1, 28, 28)),
    "lenet5": (lenet5, (3, 1, 28, 28)),
    "alexnet": (torchvision.models.alexnet, (1, 3, 224, 224)),
    "vgg16": (torchvision.models.vgg16, (1, 3, 32, 32)),
    "resnet18": (torchvision.models.resnet18, (2, 3, 64, 64)),
    "resnet18-cifar": (resnet18_cifar, (2, 3, 32, 32)),
    "mobilenet_v2": (torchvision.models.mobilenet_v2, (2, 3, 64, 64)),
}

# Whose state_dicts lie beside this file: convolution without bias and batch norm; the layers of 1990, and biases.
COMMITTED = ["rasgo-small", "lecun1990"]


# --- Values by a formula ---

def numbers(key, count):
    """`count` whole numbers below 2^20: FNV-1a of the key, then splitmix64 from there. All in 64 bits, wrapping."""
    start = 0xCBF29CE484222325
    for byte in key.encode():
        start = (start ^ byte) * 0x100000001B3 % 2**64
    z = np.uint64(start) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (z ^ (z >> np.uint64(31))) >> np.uint64(44)


def centre_and_scale(name, shape):
    """Values fill centre ± scale, powers of two, so that they are the same bits in every language."""
    if name == "input":
        return 0.0, 1.0
    if name.endswith("running_var") or (name.endswith("weight") and len(shape) == 1):
        return 1.0, 0.5
    if len(shape) == 1:
        return 0.0, 0.25
    # The power of two in (3 / fan_in, 12 / fan_in], squared: values neither grow nor vanish through the layers.
    fan_in, scale = int(np.prod(shape[1:])), 1.0
    while 12 < fan_in * scale * scale:
        scale /= 2
    return 0.0, scale


def formula(model, name, shape):
    whole = numbers(f"{model}/{name}", int(np.prod(shape)))
    if name.endswith("num_batches_tracked"):
        return torch.tensor(1 + int(whole[0]))
    centre, scale = centre_and_scale(name, shape)
    unit = (whole.astype(np.float32) - np.float32(2**19)) / np.float32(2**19)
    return torch.from_numpy(np.float32(centre) + np.float32(scale) * unit).reshape(shape)


# --- The subcommands ---

def logits(network, x):
    with torch.no_grad():
        return network.eval()(x)


def has_statistics(network):
    return any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in network.modules())


def train_without_dropout(network):
    for layer in network.train().modules():
        if isinstance(layer, nn.Dropout):
            layer.eval()
    return network


def answers(network, x):
    """Logits in double precision, and how far PyTorch's own in single precision are from them: in evaluation; where there
    are statistics of a batch, also in a training forward, and then in evaluation with the running ones that this left.
    Of those, the first 16 of each input."""
    modes = [lambda network: network.eval()]
    if has_statistics(network):
        modes += [train_without_dropout, lambda network: network.eval()]
    exact, found = copy.deepcopy(network).double(), []
    for mode in modes:
        with torch.no_grad():
            wanted, single = mode(exact)(x.double()), mode(network)(x)
        keep = slice(None) if not found else slice(16)
        found.append({
            # Nine digits are enough to give every f32 back.
            "logits": [float(f"{value:.9g}") for value in wanted[:, keep].flatten()],
            "rounding": float(f"{(single - wanted).abs().max().item():.3g}"),
        })
    return found


def state(network):
    return {name: tensor.contiguous() for name, tensor in network.state_dict().items()}


def make(folder):
    lines = []
    for model, (build, shape) in MODELS.items():
        network = build()
        values = {name: formula(model, name, tuple(old.shape)) for name, old in network.state_dict().items()}
        network.load_state_dict(values, strict=True)
        if model in COMMITTED:
            save_file(state(network), folder / f"{model}.safetensors", metadata={"format": "pt"})
        golden = {
            "input": shape,
            "state": {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()},
        }
        evaluated, *trained = answers(network, formula(model, "input", shape))
        golden |= {**evaluated, "trained": trained}
        lines.append(f"{json.dumps(model)}: {json.dumps(golden)}")
    (folder / "pytorch_logits.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def check(folder):
    passed = True
    for model, (build, _) in MODELS.items():
        network = build()
        network.load_state_dict(load_file(folder / f"{model}.safetensors"), strict=True)
        given = load_file(folder / f"{model}.logits.safetensors")
        ours = logits(network, given["input"])
        difference = (ours - given["logits"]).abs().max().item()
        largest = ours.abs().max().item()
        same = difference <= TOLERANCE * max(1, largest)
        passed &= same
        print(f"{model:14} rasgo to PyTorch: {difference:.2e} of {largest:.2f}" + ("" if same else "  FAILED"))
    return passed


def save(folder):
    torch.manual_seed(1)
    for model, (build, shape) in MODELS.items():
        network, x = build(), torch.randn(shape)
        if has_statistics(network):
            # Some forwards in training, so that the running statistics are not those of a new network.
            with torch.no_grad():
                for _ in range(3):
                    network.train()(torch.randn(8, *shape[1:]))
        save_file(state(network), folder / f"{model}.safetensors", metadata={"format": "pt"})
        save_file({"input": x, "logits": logits(network, x)}, folder / f"{model}.logits.safetensors")


if __name__ == "__main__":
    commands = {"make": make, "check": check, "save": save}
    if len(sys.argv) != 3 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    sys.exit(commands[sys.argv[1]](Path(sys.argv[2])) is False)
