#!/usr/bin/env python3
"""Make the fixtures of test_quant.c and test_file.c with the reference packages.

    python3 test/unit/make_data.py

needs numpy, gguf (0.17 or later) and safetensors.  Writes into test/unit/data:

quant.safetensors     per quantized type: blocks of random bits with tame scales, and the
                      values that the reference makes of them; per type that the reference
                      quantizes too: values, and the blocks that it makes of them
tiny.gguf             every type of metadata value, nested arrays, tensors of several types
tiny.safetensors      several types, a scalar, an empty tensor, metadata
"""
import os

import gguf
import numpy as np
from safetensors.numpy import save_file

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")
Q = gguf.GGMLQuantizationType
BOTH = {"q8_0": Q.Q8_0, "q4_0": Q.Q4_0, "q4_1": Q.Q4_1, "q5_0": Q.Q5_0, "q5_1": Q.Q5_1}
ONE_WAY = {"q2_K": Q.Q2_K, "q3_K": Q.Q3_K, "q4_K": Q.Q4_K, "q5_K": Q.Q5_K, "q6_K": Q.Q6_K}
# where the half-precision scales of a block are
SCALES = {"q8_0": [0], "q4_0": [0], "q4_1": [0, 2], "q5_0": [0], "q5_1": [0, 2],
          "q2_K": [80, 82], "q3_K": [108], "q4_K": [0, 2], "q5_K": [0, 2], "q6_K": [208]}


def random_blocks(rng, name, kind, n):
    size = gguf.GGML_QUANT_SIZES[kind][1]
    blocks = rng.integers(0, 256, (n, size), dtype=np.uint8)
    for at in SCALES[name]:
        blocks[:, at:at + 2] = rng.normal(0, 0.1, (n, 1)).astype(np.float16).view(np.uint8)
    return blocks


def make_quant():
    rng = np.random.default_rng(1)
    out = {}
    for name, kind in {**BOTH, **ONE_WAY}.items():
        blocks = random_blocks(rng, name, kind, 24 if name in BOTH else 4)
        out[name + ".blocks"] = blocks.reshape(-1)
        out[name + ".values"] = gguf.quants.dequantize(blocks, kind).reshape(-1)
    source = rng.normal(0, 1, (64, 32)).astype(np.float32)
    source[0] = 0
    source[1] = 1
    source[2] *= 1e-6
    source[3] *= 1e4
    source[4, ::2] = 0
    source[5] = np.arange(32) / 2 - 8
    out["source"] = source.reshape(-1)
    for name, kind in BOTH.items():
        out[name + ".quantized"] = gguf.quants.quantize(source, kind).reshape(-1)
    bf16 = gguf.quants.quantize(source.reshape(8, -1), Q.BF16)
    out["bf16.quantized"] = bf16.reshape(-1)
    out["f16.quantized"] = source.astype(np.float16).view(np.uint8).reshape(-1)
    halves = np.concatenate([np.arange(0, 65536, 37, dtype=np.uint16), np.array([1, 0x3ff, 0x400, 0x7c00, 0xfc00], np.uint16)])
    out["f16.blocks"] = halves.view(np.uint8)
    out["f16.values"] = halves.view(np.float16).astype(np.float32)
    save_file(out, os.path.join(OUT, "quant.safetensors"))


def make_gguf():
    rng = np.random.default_rng(2)
    w = gguf.GGUFWriter(os.path.join(OUT, "tiny.gguf"), "bert")
    w.add_uint8("value.u8", 200)
    w.add_int8("value.i8", -100)
    w.add_uint16("value.u16", 60000)
    w.add_int16("value.i16", -30000)
    w.add_uint32("value.u32", 4000000000)
    w.add_int32("value.i32", -2000000000)
    w.add_float32("value.f32", 0.5)
    w.add_bool("value.bool", True)
    w.add_string("value.string", "h\u00e9llo \U0001f600")
    w.add_uint64("value.u64", 2**63 + 2**20)
    w.add_int64("value.i64", -2**62)
    w.add_float64("value.f64", 0.1)
    w.add_array("array.strings", ["a", "", "\u4e2d\u6587"])
    w.add_array("array.floats", [1.5, -2.5])
    w.add_array("array.ints", [1, -2, 3])
    w.add_key_value("array.nested", [[1, 2], [3]], gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.ARRAY)
    w.add_tensor("plain", rng.normal(0, 1, (3, 5)).astype(np.float32))
    w.add_tensor("half", rng.normal(0, 1, (2, 3, 4)).astype(np.float16))
    w.add_tensor("quantized", gguf.quants.quantize(rng.normal(0, 1, (4, 64)).astype(np.float32), Q.Q8_0), raw_dtype=Q.Q8_0)
    w.add_tensor("vector", np.arange(7, dtype=np.int32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def make_safetensors():
    rng = np.random.default_rng(3)
    save_file({
        "plain": rng.normal(0, 1, (3, 5)).astype(np.float32),
        "half": rng.normal(0, 1, (2, 3, 4)).astype(np.float16),
        "double": np.array([0.1, 1e300]),
        "scalar": np.array(2.5, np.float32),
        "empty": np.zeros((0, 4), np.float32),
        "ids": np.arange(6, dtype=np.int64).reshape(1, 6),
        "mask": np.array([True, False, True]),
    }, os.path.join(OUT, "tiny.safetensors"), metadata={"format": "pt", "note": "h\u00e9llo"})


if __name__ == "__main__":
    os.makedirs(OUT, exist_ok=True)
    make_quant()
    make_gguf()
    make_safetensors()
    for name in os.listdir(OUT):
        os.chmod(os.path.join(OUT, name), 0o644)
