"""Files that NumPy writes, byte for byte, with what they hold.

    python3 numpy_arrays.py > numpy_arrays.json

It needs numpy. The bytes are in hexadecimal; values are listed in row-major order, as they are after reading.
"""
import io, json
import numpy as np
from numpy.lib import format as npy


def file_of(array, version=None):
    file = io.BytesIO()
    npy.write_array(file, array, version=version, allow_pickle=True)
    return file.getvalue().hex()


def case(name, array, version=None):
    read = {"f": "f32", "i": "i64", "u": "i64", "b": "u8"}[array.dtype.kind]
    read = {"f8": "f64", "u1": "u8"}.get(array.dtype.str[1:], read)
    values = [float(x) if read[0] == "f" else int(x) for x in array.flatten(order="C")]
    return dict(name=name, file=file_of(array, version), dtype=read, shape=list(array.shape), values=values)


cases = []
for kind in ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]:
    low = -7 if kind[0] != "u" else 0
    values = np.arange(low, low + 12).reshape(3, 4) * (0.5 if kind[0] == "f" else 3)
    for order in "<>":
        array = values.astype(order + kind)
        cases.append(case(f"{order}{kind} by rows", array))
        cases.append(case(f"{order}{kind} by columns", np.asfortranarray(array)))
cases += [
    case("truths", np.array([True, False, True])),
    case("version 2", np.arange(6, dtype="<f4").reshape(2, 3), (2, 0)),
    case("version 3", np.arange(6, dtype="<f4").reshape(2, 3), (3, 0)),
    case("one number", np.array(2.5, dtype="<f4")),
    case("no numbers", np.zeros((3, 0, 2), dtype="<f4")),
    case("four axes by columns", np.asfortranarray(np.arange(120, dtype="<i2").reshape(2, 3, 4, 5))),
]

refused = {
    "objects": np.array([1, "a"], dtype=object),
    "structured": np.array([(1, 2.0)], dtype=[("a", "<i4"), ("b", "<f4")]),
    "complex": np.array([1 + 2j]),
    "texts": np.array(["a", "b"]),
    "byte strings": np.array([b"a"]),
    "times": np.array(["2020-01-01"], dtype="M8[D]"),
    "beyond": np.array([2**63], dtype="<u8"),
}

archives = {}
for name, save in [("stored", np.savez), ("deflated", np.savez_compressed)]:
    file = io.BytesIO()
    x = np.arange(24, dtype="<f4").reshape(2, 3, 4)
    save(file, x=x, y=np.array([0, 1]), classes=np.array(["up", "наверх", "上"]))
    archives[name] = file.getvalue().hex()

print(json.dumps(dict(cases=cases, refused={k: file_of(v) for k, v in refused.items()}, archives=archives), indent=0))
