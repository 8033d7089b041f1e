#!/usr/bin/env python3
"""Model sets with one damaged file: exit 4, one line that names the file, and no picture."""

import pickle
import time

from ingot import FILES, MODELS, PROMPT, IngotTest, main
from model_files import open_model

# A matrix of each file that every job reads, and the phase that reads it.
MATRICES = {
    "diffusion": ("img_in.weight", "sampling"),
    "clip": ("text_model.encoder.layers.0.mlp.fc1.weight", "clip"),
    "t5": ("encoder.block.0.layer.1.DenseReluDense.wi_0.weight", "t5"),
    "vae": ("decoder.mid.attn_1.k.weight", "decode"),
}
# Far longer than the test may take: the fault must be found before the work.
LONG = ["--steps", "1000", "--size", "1024x1024", "-o", "x.png"]
SHORT = ["--steps", "1", "--size", "64x64", "-o", "x.png"]
AT_ONCE_S = 5


class CorruptSets(IngotTest):
    def damaged(self, kind, edit):
        """A copy of the demo file of this kind after edit(model), beside its vocabulary."""
        model = open_model(FILES[kind])
        edit(model)
        path = self.dir / f"damaged{FILES[kind].suffix}"
        for sibling in FILES[kind].parent.iterdir() if kind in ("clip", "t5") else []:
            if sibling != FILES[kind] and not (self.dir / sibling.name).exists():
                (self.dir / sibling.name).symlink_to(sibling)
        model.save(path)
        return path

    def assert_job_fails(self, kind, path, *parts, job):
        self.assert_fails(4, path, "expected", "found", *parts,
                          args=["run", PROMPT, "--models", MODELS, f"--{kind}", path, *job])

    def assert_found_at_once(self, kind, path, *parts):
        start = time.monotonic()
        self.assert_job_fails(kind, path, *parts, job=LONG)
        self.assertLess(time.monotonic() - start, AT_ONCE_S)

    def for_each_kind(self, edit):
        for kind, (tensor, _) in MATRICES.items():
            with self.subTest(kind):
                path = self.damaged(kind, lambda model: edit(model, tensor))
                self.assert_found_at_once(kind, path, tensor.removesuffix(".weight"))

    def test_missing_tensor_is_named_before_the_work(self):
        self.for_each_kind(lambda model, tensor: model.rename(tensor, tensor[:-1] + "X"))

    def test_wrong_shape_is_named_before_the_work(self):
        self.for_each_kind(lambda model, tensor: model.transpose(tensor))

    def test_wrong_dtype_is_named_before_the_work(self):
        self.for_each_kind(lambda model, tensor: model.retype(tensor))

    def test_truncated_file_is_found_before_the_work(self):
        for kind, source in FILES.items():
            content = source.read_bytes()
            for length in (4, 100, len(content) // 2, len(content) - 1):
                with self.subTest(kind, length=length):
                    path = self.damaged(kind, lambda model: None)
                    path.write_bytes(content[:length])
                    self.assert_found_at_once(kind, path)

    def test_nan_weights_end_the_job_with_phase_and_file(self):
        for kind, (tensor, phase) in MATRICES.items():
            with self.subTest(kind):
                path = self.damaged(kind, lambda model: model.fill_with_nan(tensor))
                self.assert_job_fails(kind, path, phase, job=SHORT)

    def test_what_is_no_model_file_is_refused_by_name(self):
        text, empty, pickled = (self.dir / name for name in ("a.gguf", "b.safetensors", "c.ckpt"))
        text.write_text("hello\n")
        empty.write_bytes(b"")
        pickled.write_bytes(pickle.dumps({"state_dict": [1.0]}))
        for path, found in [(text, "text file"), (empty, "empty file"), (pickled, "pickle"),
                            (self.dir, "directory")]:
            with self.subTest(found):
                self.assert_fails(4, path, "expected", "found", found, args=["inspect", path])
                for kind in FILES:
                    self.assert_found_at_once(kind, path, found)

    def test_quantize_of_a_damaged_file_leaves_nothing(self):
        path = self.dir / "damaged.gguf"
        path.write_bytes(FILES["diffusion"].read_bytes()[:-1])
        self.assert_fails(4, path, "expected", "found",
                          args=["quantize", path, "x.gguf", "--type", "Q8_0"])


if __name__ == "__main__":
    main()
