#!/usr/bin/env python3
"""Writes codec_TYPE.bin with PyPI gguf (block formats) and torch (fp8).

One file: uint32 n, then n encoded blocks, then n * block_elements f32 that they
decode to. For types that gguf encodes, encode_TYPE.bin: the same with f32 first,
the blocks that they encode to after.
"""
import pathlib

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Q

HERE = pathlib.Path(__file__).parent
DECODED = [Q.F16, Q.BF16, Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1, Q.Q8_0, Q.Q2_K, Q.Q3_K, Q.Q4_K, Q.Q5_K, Q.Q6_K,
           Q.IQ4_NL, Q.IQ4_XS]
ENCODED = [Q.F16, Q.BF16, Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1, Q.Q8_0]
# Bytes of the f16 factors in a block: they must be finite for a comparison of bits.
F16_OFFSETS = {Q.Q4_0: [0], Q.Q4_1: [0, 2], Q.Q5_0: [0], Q.Q5_1: [0, 2], Q.Q8_0: [0], Q.Q2_K: [80, 82],
               Q.Q3_K: [108], Q.Q4_K: [0, 2], Q.Q5_K: [0, 2], Q.Q6_K: [208], Q.IQ4_NL: [0], Q.IQ4_XS: [0]}


def write(name, num_blocks, *arrays):
    with open(HERE / name, "wb") as file:
        file.write(np.uint32(num_blocks).tobytes())
        for array in arrays:
            file.write(np.ascontiguousarray(array).tobytes())


def decode_goldens(rng):
    for qtype in DECODED:
        elements, num_bytes = gguf.GGML_QUANT_SIZES[qtype]
        if elements == 1:  # every bit pattern
            blocks = np.arange(65536, dtype=np.uint16)
            # NaNs by value, not by payload.
            values = gguf.quants.dequantize(blocks, qtype) if qtype == Q.F16 else \
                gguf.quants.dequantize(blocks.reshape(1, -1).view(np.uint8), qtype).ravel()
            keep = np.isfinite(values)
            blocks, values = blocks[keep][::17], values[keep][::17]
            write(f"codec_{qtype.name}.bin", len(blocks), blocks, values)
            continue
        num_blocks = 2048 // elements
        blocks = rng.integers(0, 256, (num_blocks, num_bytes), dtype=np.uint8)
        for offset in F16_OFFSETS[qtype]:
            factors = (rng.standard_normal(num_blocks) * 0.01).astype(np.float16)
            blocks[:, offset:offset + 2] = factors.view(np.uint8).reshape(-1, 2)
        write(f"codec_{qtype.name}.bin", num_blocks, blocks, gguf.quants.dequantize(blocks, qtype))
    for name, dtype in (("F8_E4M3", torch.float8_e4m3fn), ("F8_E5M2", torch.float8_e5m2)):
        blocks = np.arange(256, dtype=np.uint8)
        values = torch.from_numpy(blocks.copy()).view(dtype).float().numpy()
        keep = ~np.isnan(values)
        write(f"codec_{name}.bin", int(keep.sum()), blocks[keep], values[keep])


def encode_goldens(rng):
    rows = rng.standard_normal((32, 32)).astype(np.float32)
    rows *= np.exp2(rng.integers(-16, 5, (32, 1))).astype(np.float32)
    rows[0] = 0
    rows[1] = 1.5  # a constant block
    rows[2] = np.round(rows[2] * 4) / 4  # ties
    rows[3, :] = np.arange(-16, 16)  # the extreme is negative; many exact halves
    rows[4] = np.abs(rows[4])
    rows[5, :16] = 3.0  # equal magnitudes of both signs: the first one decides
    rows[5, 16:] = -3.0
    rows[6] *= 1e-7  # subnormal f16 factors
    rows[7] = np.linspace(65400, 65600, 32)  # about the largest f16
    for qtype in ENCODED:
        data = rows.ravel()
        with np.errstate(over="ignore"):
            blocks = gguf.quants.quantize(data, qtype)
        elements = gguf.GGML_QUANT_SIZES[qtype][0]
        write(f"encode_{qtype.name}.bin", data.size // elements, data, blocks)


if __name__ == "__main__":
    decode_goldens(np.random.default_rng(1))
    encode_goldens(np.random.default_rng(2))
