"""Makes jpeg.jpg, a picture as CIFAR-10's files are written (quality 75, colours at half the size), and jpeg.png, the
bytes that Pillow decodes from it. tests/formats_image.rs compares what rasgo decodes. Needs numpy and pillow:

    python crates/rasgo/tests/golden/jpeg.py
"""

import pathlib

import numpy as np
from PIL import Image

FOLDER = pathlib.Path(__file__).parent


def main():
    """Waves of another length and direction in each channel, and a hard edge; 30 x 45, which no block divides."""
    y, x = np.mgrid[:30, :45]
    waves = [np.sin(x / 3 + y / 7), np.cos(x / 5 - y / 4), np.sin(x * y / 90)]
    picture = np.stack([128 + 100 * wave for wave in waves], axis=2)
    picture[8:20, 10:30] = [250, 30, 60]
    Image.fromarray(picture.astype(np.uint8)).save(FOLDER / "jpeg.jpg", quality=75, subsampling="4:2:0")
    Image.open(FOLDER / "jpeg.jpg").convert("RGB").save(FOLDER / "jpeg.png")


if __name__ == "__main__":
    main()
