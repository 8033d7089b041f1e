#!/usr/bin/env python3
"""Writes small.gguf and small.safetensors with PyPI gguf and safetensors.

What they hold is repeated in src/formats/tensor_file_test.cc.
"""
import pathlib

import gguf
import numpy as np
import torch
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent


def ramp(*shape):
    """0, 1/8, 2/8, …: exact in every float type here."""
    return (np.arange(np.prod(shape), dtype=np.float32) / 8).reshape(shape)


def write_gguf():
    writer = gguf.GGUFWriter(HERE / "small.gguf", "flux")
    writer.add_custom_alignment(64)
    writer.add_uint32("test.u32", 7)
    writer.add_int64("test.i64", -5)
    writer.add_float32("test.f32", 0.5)
    writer.add_bool("test.bool", True)
    writer.add_string("test.string", "dieses Erz: Eisen – Fe")
    writer.add_array("test.strings", ["<pad>", "▁the", ""])
    writer.add_array("test.ints", [1, -2, 3])
    writer.add_array("test.floats", [0.25, -1.5])
    writer.add_array("comfy.gguf.orig_shape.conv.weight", [8, 4, 2, 1])
    writer.add_tensor("a.f32", ramp(2, 3))
    writer.add_tensor("a.f16", ramp(3, 2).astype(np.float16))
    for qtype in (gguf.GGMLQuantizationType.BF16, gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_0):
        data = gguf.quants.quantize(ramp(2, 64), qtype)
        writer.add_tensor(f"a.{qtype.name.lower()}", data, raw_dtype=qtype)
    writer.add_tensor("a.i32", np.array([4, -4], dtype=np.int32))
    data = gguf.quants.quantize(ramp(2, 32), gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("conv.weight", data, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_safetensors():
    tensors = {
        "a.f32": torch.from_numpy(ramp(2, 3)),
        "a.f16": torch.from_numpy(ramp(3, 2)).half(),
        "a.bf16": torch.from_numpy(ramp(2, 64)).bfloat16(),
        "a.f8_e5m2": torch.from_numpy(ramp(4)).to(torch.float8_e5m2),
        "a.i64": torch.tensor(-3, dtype=torch.int64),
        "a.empty": torch.zeros(0, 5),
        "scaled_fp8": torch.zeros(2).to(torch.float8_e4m3fn),
        "old.weight": torch.from_numpy(ramp(2, 4)).to(torch.float8_e4m3fn),
        "old.scale_weight": torch.tensor(0.5),
        "old.scale_input": torch.tensor(1.0),
        "new.weight": torch.from_numpy(ramp(2, 4)).to(torch.float8_e4m3fn),
        "new.weight_scale": torch.tensor([0.25]),
        "new.comfy_quant": torch.frombuffer(bytearray(b'{"format": "float8_e4m3fn"}'), dtype=torch.uint8),
    }
    save_file(tensors, HERE / "small.safetensors", metadata={"format": "pt", "author": "Ingot"})


if __name__ == "__main__":
    write_gguf()
    write_safetensors()
