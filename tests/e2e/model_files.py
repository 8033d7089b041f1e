"""Copies of model files with one fault each, made by editing bytes of safetensors and GGUF."""

import json
import pathlib
import struct

NAN_F16 = b"\x00\x7e"
GGUF_SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
GGUF_STRING, GGUF_ARRAY, GGUF_I32 = 8, 9, 26
GGUF_ALIGNMENT = 32


class Safetensors:
    """A file in memory: header, {tensor: {dtype, shape, data_offsets}}, and data."""

    def __init__(self, path):
        content = pathlib.Path(path).read_bytes()
        (length,) = struct.unpack_from("<Q", content)
        self.header = json.loads(content[8:8 + length])
        self.data = bytearray(content[8 + length:])

    def rename(self, tensor, name):
        self.header[name] = self.header.pop(tensor)

    def transpose(self, tensor):
        self.header[tensor]["shape"].reverse()

    def retype(self, tensor):
        self.header[tensor]["dtype"] = "I16"  # two bytes too, but no weights

    def fill_with_nan(self, tensor):
        begin, end = self.header[tensor]["data_offsets"]
        self.data[begin:end] = NAN_F16 * ((end - begin) // 2)

    def save(self, path):
        header = json.dumps(self.header).encode()
        path.write_bytes(struct.pack("<Q", len(header)) + header + self.data)


class Gguf:
    """A file in memory: its bytes, and where each tensor's header and data lie."""

    def __init__(self, path):
        self.content = bytearray(pathlib.Path(path).read_bytes())
        num_tensors, num_fields = struct.unpack_from("<QQ", self.content, 8)
        at = 24
        for _ in range(num_fields):
            at = self.skip_value(self.skip_string(at))
        self.dims_at, self.type_at, offsets = {}, {}, {}
        for _ in range(num_tensors):
            end = self.skip_string(at)
            name = self.content[at + 8:end].decode()
            (rank,) = struct.unpack_from("<I", self.content, end)
            self.dims_at[name] = (end + 4, rank)
            self.type_at[name] = end + 4 + 8 * rank
            (offsets[name],) = struct.unpack_from("<Q", self.content, self.type_at[name] + 4)
            at = self.type_at[name] + 12
        data = (at + GGUF_ALIGNMENT - 1) // GGUF_ALIGNMENT * GGUF_ALIGNMENT
        self.data_at = {name: data + offset for name, offset in offsets.items()}

    def skip_string(self, at):
        return at + 8 + struct.unpack_from("<Q", self.content, at)[0]

    def skip_value(self, at):
        (kind,) = struct.unpack_from("<I", self.content, at)
        return self.skip_payload(at + 4, kind)

    def skip_payload(self, at, kind):
        if kind == GGUF_STRING:
            return self.skip_string(at)
        if kind != GGUF_ARRAY:
            return at + GGUF_SCALARS[kind]
        kind, count = struct.unpack_from("<IQ", self.content, at)
        at += 12
        for _ in range(count):
            at = self.skip_payload(at, kind)
        return at

    def rename(self, tensor, name):
        assert len(name) == len(tensor), "the header keeps its length"
        at = self.dims_at[tensor][0] - 4 - len(tensor)
        self.content[at:at + len(tensor)] = name.encode()

    def transpose(self, tensor):
        at, rank = self.dims_at[tensor]
        dims = struct.unpack_from(f"<{rank}Q", self.content, at)
        struct.pack_into(f"<{rank}Q", self.content, at, *reversed(dims))

    def retype(self, tensor):
        struct.pack_into("<I", self.content, self.type_at[tensor], GGUF_I32)

    def fill_with_nan(self, tensor):
        """Of an F16 tensor: the first row."""
        (row,) = struct.unpack_from("<Q", self.content, self.dims_at[tensor][0])
        at = self.data_at[tensor]
        self.content[at:at + 2 * row] = NAN_F16 * row

    def save(self, path):
        path.write_bytes(self.content)


def open_model(path):
    return (Gguf if path.suffix == ".gguf" else Safetensors)(path)
