"""The binary under test: runs it with the demo models, and reads the PNG files it writes."""

import argparse
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib

from cgroup import NoCgroup

MODELS = pathlib.Path(__file__).resolve().parents[2] / "demo" / "models"
FILES = {
    "diffusion": MODELS / "Stable-diffusion" / "ingot-demo.gguf",
    "clip": MODELS / "text_encoder" / "ingot-demo-clip" / "ingot-demo-clip.safetensors",
    "t5": MODELS / "text_encoder" / "ingot-demo-t5" / "ingot-demo-t5.safetensors",
    "vae": MODELS / "VAE" / "ingot-demo-ae.safetensors",
}
PROMPT = "a red house on the left, orange sky"
SMALL = ["--size", "64x64", "--steps", "2"]  # about 0.3 s
TIMEOUT_S = 60  # a hang is a failure, not a stuck build


def binary():
    return str(pathlib.Path(os.environ["INGOT"]).resolve())


def main(*arguments, module="__main__"):
    """Runs the tests of the calling script, or those that `arguments` of unittest name; the binary
    is argv[1] or $INGOT. Ends with 77 when every test was skipped, which ctest tells by name."""
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        os.environ["INGOT"] = sys.argv.pop(1)
    if "INGOT" not in os.environ:
        sys.exit("expected the path of ingot as the argument or in $INGOT, found neither")
    result = unittest.main(module=module, argv=[sys.argv[0], *arguments, *sys.argv[1:]],
                           verbosity=2, exit=False).result
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(77 if result.testsRun == len(result.skipped) else 0)


def main_or_by_hand(doc, by_hand, add_arguments):
    """The tests; with --models DIR, on models that no test has, `by_hand` of its arguments, which
    gives the exit code."""
    if "--models" not in sys.argv:
        main()
    parser = argparse.ArgumentParser(description=doc,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ingot", type=pathlib.Path)
    parser.add_argument("--models", required=True, type=pathlib.Path)
    add_arguments(parser)
    arguments = parser.parse_args()
    os.environ["INGOT"] = str(arguments.ingot)
    arguments.models = arguments.models.resolve()
    try:
        sys.exit(by_hand(arguments))
    except NoCgroup as no_cgroup:
        sys.exit(f"skipped: {no_cgroup}")


class IngotTest(unittest.TestCase):
    """A test with an empty folder of its own, self.dir, where the binary runs."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ingot-e2e-")
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)

    def ingot(self, *args, **environment):
        return subprocess.run([binary(), *map(str, args)], cwd=self.dir, timeout=TIMEOUT_S,
                              env={**os.environ, **environment}, capture_output=True, text=True)

    def ok(self, *args, **environment):
        done = self.ingot(*args, **environment)
        self.assertEqual((done.returncode, done.stderr), (0, ""), args)
        return done.stdout

    def json(self, *args, **environment):
        return json.loads(self.ok(*args, "--json", **environment))

    def picture(self, *args, prompt=PROMPT, **environment):
        """sha256 of the one picture of `run prompt args`, saved as x.png."""
        report = self.json("run", prompt, "--models", MODELS, "-o", "x.png", *args, **environment)
        return report["images"][0]["sha256"]

    def assert_fails(self, exit_code, *parts, args):
        """Exit code, one line on stderr that holds every part, nothing on stdout, no new file."""
        before = sorted(self.dir.rglob("*"))
        done = self.ingot(*args)
        self.assertEqual(done.returncode, exit_code, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertRegex(done.stderr, r"\Aingot: [^\n]+\n\Z")
        for part in parts:
            self.assertIn(str(part), done.stderr)
        self.assertEqual(sorted(self.dir.rglob("*")), before)
        return done.stderr


def read_png(path):
    """(width, height, RGB bytes, {keyword: text}) of an 8-bit RGB PNG, checksums checked."""
    data = pathlib.Path(path).read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n", "no PNG signature"
    at, compressed, texts, size = 8, b"", {}, None
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8:at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length)[0] == zlib.crc32(kind + body), kind
        at += 12 + length
        if kind == b"IHDR":
            *size, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", body)
            assert (depth, colour, interlace) == (8, 2, 0), "not plain 8-bit RGB"
        elif kind == b"IDAT":
            compressed += body
        elif kind == b"tEXt":
            keyword, text = body.split(b"\0", 1)
            texts[keyword.decode()] = text.decode("latin-1")
        elif kind == b"iTXt":
            keyword, rest = body.split(b"\0", 1)
            assert rest[0] == 0, "compressed text"
            texts[keyword.decode()] = rest[2:].split(b"\0", 2)[2].decode()
    return (*size, unfilter(zlib.decompress(compressed), *size), texts)


def unfilter(rows, width, height):
    """Undoes the five PNG row filters (PNG specification, section 9)."""
    stride, previous, out = 3 * width, bytes(3 * width), bytearray()
    for y in range(height):
        kind = rows[y * (stride + 1)]
        row = bytearray(rows[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        for x in range(stride):
            left = row[x - 3] if x >= 3 else 0
            up, corner = previous[x], previous[x - 3] if x >= 3 else 0
            row[x] = (row[x] + (0, left, up, (left + up) // 2, paeth(left, up, corner))[kind]) & 255
        out += row
        previous = row
    return bytes(out)


def paeth(left, up, corner):
    guess = left + up - corner
    return min((left, up, corner), key=lambda value: abs(guess - value))
