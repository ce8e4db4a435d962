"""Makes the pictures image_orders_*.png and image_orders.json: the bytes that Pillow and OpenCV hold after reading them,
and PyTorch's (C, H, W). tests/pixels.rs compares rasgo's orders with these. Needs pillow, opencv-python, torch:

    python crates/rasgo/tests/golden/image_orders.py
"""

import json
import pathlib

import cv2
import numpy as np
import torch
from PIL import Image

FOLDER = pathlib.Path(__file__).parent
HEIGHT, WIDTH = 3, 4
CHANNELS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}


def picture(channels):
    """Every byte is another one, so that no order can be taken for another."""
    values = (np.arange(HEIGHT * WIDTH * channels) * 37 + 11) % 256
    assert len(set(values)) == len(values)
    return values.reshape(HEIGHT, WIDTH, channels).astype(np.uint8)


def main():
    golden = {"height": HEIGHT, "width": WIDTH}
    for mode, channels in CHANNELS.items():
        path = str(FOLDER / f"image_orders_{mode.lower()}.png")
        Image.fromarray(picture(channels).squeeze(), mode).save(path)
        pillow = np.array(Image.open(path))
        entry = {"channels": channels, "pillow": pillow.flatten().tolist()}
        planes = torch.from_numpy(pillow.reshape(HEIGHT, WIDTH, channels)).permute(2, 0, 1)
        entry["torch_chw"] = planes.flatten().tolist()
        entry["torch_unit"] = (planes.float() / 255).flatten().tolist()
        if mode != "LA":  # OpenCV reads grey and alpha as four channels
            entry["opencv"] = cv2.imread(path, cv2.IMREAD_UNCHANGED).flatten().tolist()
        golden[mode] = entry
    (FOLDER / "image_orders.json").write_text(json.dumps(golden) + "\n")


main()
