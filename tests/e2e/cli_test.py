#!/usr/bin/env python3
"""`ingot run`, `plan` and the file commands: pictures, reports, exit codes."""

import hashlib
import json
import os
import re
import signal
import subprocess
import time

from ingot import FILES, MODELS, PROMPT, SMALL, IngotTest, binary, main, read_png

SAMPLERS = ["DPM++ 2M", "DPM++ 2M SDE", "Euler a", "Euler", "Heun", "DDIM", "UniPC", "LCM"]
SCHEDULERS = ["Uniform", "Karras", "Exponential", "Polyexponential", "SGM Uniform", "KL Optimal",
              "Simple", "Normal", "DDIM", "Beta"]
NOT_UTF8 = os.fsdecode(b"a \xff")


class SameBytes(IngotTest):
    def test_same_prompt_and_seed_give_the_same_pixels(self):
        job = ["--size", "128x128", "--seed", "1"]
        first = self.picture(*job)
        width, height, pixels, _ = read_png(self.dir / "x.png")
        self.assertEqual((width, height), (128, 128))
        self.assertEqual(first, self.picture(*job))
        self.assertEqual(pixels, read_png(self.dir / "x.png")[2])

    def test_sha256_is_of_the_pixels_in_the_file(self):
        sha256 = self.picture(*SMALL, "--seed", "1")
        pixels = read_png(self.dir / "x.png")[2]
        self.assertEqual(sha256, hashlib.sha256(pixels).hexdigest())

    def test_another_seed_or_prompt_gives_another_picture(self):
        pictures = {self.picture(*SMALL, "--seed", "1"), self.picture(*SMALL, "--seed", "2"),
                    self.picture(*SMALL, "--seed", "1", prompt="a boat")}
        self.assertEqual(len(pictures), 3)

    def test_threads_do_not_change_the_picture(self):
        job = ["--size", "128x128", "--steps", "3", "--seed", "1"]
        self.assertEqual(self.picture(*job, "--threads", "1"), self.picture(*job, "--threads", "2"))

    def test_avx2_gives_the_picture_of_the_default_target(self):
        job = ["--size", "128x128", "--steps", "3", "--seed", "1"]
        self.assertEqual(self.picture(*job), self.picture(*job, INGOT_CPU_TARGET="AVX2"))

    def test_second_picture_of_a_batch_is_the_single_run_of_the_next_seed(self):
        batch = self.json("run", PROMPT, "--models", MODELS, *SMALL, "--seed", "1", "--batch", "2",
                          "-o", "x.png")
        self.assertEqual(len(batch["images"]), 2)
        for image, seed in zip(batch["images"], (1, 2)):
            self.assertEqual(image["path"], str(self.dir / f"x-{seed}.png"))
            self.assertEqual(image["sha256"], self.picture(*SMALL, "--seed", seed))


class Reports(IngotTest):
    def test_run_json_is_one_object_of_images_job_plan_and_measures(self):
        report = self.json("run", PROMPT, "--models", MODELS, *SMALL, "--seed", "1", "-o", "x.png")
        self.assertEqual(list(report), ["images", "job", "plan", "measured"])
        self.assertEqual(report["images"][0]["path"], str(self.dir / "x.png"))
        self.assertRegex(report["images"][0]["sha256"], r"\A[0-9a-f]{64}\Z")
        self.assertEqual(report["job"]["prompt"], PROMPT)
        self.assertEqual(report["job"]["files"], {kind: str(path) for kind, path in FILES.items()})
        phases = report["measured"]["phases"]
        self.assertEqual([phase["name"] for phase in phases],
                         ["clip", "t5", "hoist", "sampling", "decode", "save"])
        for phase in phases:
            self.assertLessEqual({"seconds", "load_s", "step_s", "streamed_bytes", "stalled_s"},
                                 set(phase))
        steps = {phase["name"]: phase["step_s"] for phase in phases}
        self.assertEqual(len(steps["sampling"]), 2)

    def test_run_json_says_what_plan_json_said(self):
        flags = ["--models", MODELS, *SMALL, "--seed", "1", "--json"]
        plan = json.loads(self.ok("plan", PROMPT, *flags))
        self.assertEqual(list(plan), ["job", "plan"])
        run = json.loads(self.ok("run", PROMPT, *flags))
        self.assertEqual((plan["job"], plan["plan"]), (run["job"], run["plan"]))
        for phase in plan["plan"]["phases"]:
            self.assertLessEqual({"name", "arena_bytes", "max_live_bytes", "resident_bytes",
                                  "streamed_bytes", "predicted_s"}, set(phase))

    def test_measured_peak_is_within_the_planned_one(self):
        report = self.json("run", PROMPT, "--models", MODELS, "--size", "128x128", "--steps", "1")
        self.assertLessEqual(report["measured"]["peak_ram_bytes"],
                             report["plan"]["peak_ram_bytes"])

    def test_plan_of_a_job_too_long_to_run_is_there_at_once(self):
        start = time.monotonic()
        self.json("plan", "--models", MODELS, "--size", "2048x2048", "--steps", "1000")
        self.assertLess(time.monotonic() - start, 5)  # the job itself would take hours

    def test_json_stays_json_where_a_path_is_not_utf8(self):
        models = self.dir / os.fsdecode(b"models \xff")
        models.symlink_to(MODELS)
        self.assertIn("\ufffd", self.json("plan", "--models", models)["job"]["files"]["vae"])

    def test_run_without_json_prints_the_path_of_the_picture(self):
        out = self.ok("run", PROMPT, "--models", MODELS, *SMALL, "--seed", "1", "-o", "x.png")
        self.assertEqual(out.splitlines()[0], str(self.dir / "x.png"))


class ExitCodes(IngotTest):
    def run_job(self, *args):
        return ["run", PROMPT, "--models", MODELS, *args]

    def test_2_for_bad_usage_or_value(self):
        os.mkfifo(self.dir / "pipe")  # stands for every device: never name a real one here
        for args, parts in [
                ([], ["command", "expected", "run", "found none"]),
                (["run"], ["prompt"]),
                (["run", "x", "--no-such-flag"], ["--no-such-flag"]),
                (["draw", "x"], ["draw"]),
                (["run", NOT_UTF8, "--models", MODELS], ["prompt", "expected UTF-8", "found"]),
                (["plan", NOT_UTF8, "--models", MODELS, "--json"], ["prompt", "expected UTF-8"]),
                (self.run_job("--size", "100"), ["--size", "expected", "found '100'"]),
                (self.run_job("--size", "100x128"), ["width", "multiple of 8", "found 100"]),
                (self.run_job("--size", "64x99999"), ["height", "expected", "found 99999"]),
                (self.run_job("--size", "64x-64"), ["height", "expected", "found -64"]),
                (self.run_job("--memory", "512"), ["unit", "found '512'"]),
                (self.run_job("--sampler", "Nope"), ["sampler", "Euler a", "found 'Nope'"]),
                (self.run_job("--scheduler", "Nope"), ["scheduler", "Simple", "found 'Nope'"]),
                (self.run_job("--rng", "dice"), ["rng", "found 'dice'"]),
                (self.run_job("--steps", "0"), ["steps", "from 1", "found 0"]),
                (self.run_job("--steps", "many"), ["--steps", "many"]),
                (self.run_job("--seed", "-1"), ["--seed", "expected", "found '-1'"]),
                (self.run_job("--seed", 1 << 64), ["--seed", "expected", f"found '{1 << 64}'"]),
                (self.run_job("--batch", "0"), ["batch", "found 0"]),
                (self.run_job("--cfg", "nan"), ["cfg", "expected", "found nan"]),
                (self.run_job("--threads", "0"), ["--threads", "found 0"]),
                (self.run_job("-o", "no/x.png"), ["no", "folder", "found none"]),
                (self.run_job("-o", "."), [".", "expected", "directory"]),
                (self.run_job("-o", "pipe"), ["pipe", "expected", "special file"]),
                (["quantize", FILES["diffusion"], "x.gguf", "--type", "Q9"],
                 ["--type", "Q8_0", "found 'Q9'"])]:
            with self.subTest(args[-2:]):
                self.assert_fails(2, *parts, args=args)

    def test_3_names_the_shortfall_and_what_would_fit(self):
        for args in (self.run_job("--memory", "1MiB"),
                     ["plan", "--models", MODELS, "--memory", "1MiB"]):
            error = self.assert_fails(3, "1048576", args=args)
            found, short, fits = map(int, re.search(
                r"found one of (\d+): (\d+) bytes short; .*--memory (\d+)MiB", error).groups())
            self.assertEqual(found - short, 1 << 20)
            self.ok("plan", "--models", MODELS, "--memory", f"{fits}MiB")

    def test_3_offers_a_smaller_size_that_fits(self):
        large = ["plan", "--models", MODELS, "--size", "1024x768"]
        error = self.assert_fails(3, args=[*large, "--memory", "1MiB"])
        peak = int(re.search(r"found one of (\d+):", error).group(1))
        self.ok(*large, "--memory", f"{peak}B")
        error = self.assert_fails(3, f"found one of {peak}: 1 bytes short",
                                  args=[*large, "--memory", f"{peak - 1}B"])
        size = re.search(r"--size (\d+x\d+)", error).group(1)
        self.ok("plan", "--models", MODELS, "--size", size, "--memory", f"{peak - 1}B")

    def test_plan_fits_80_columns_and_says_what_it_does(self):
        text = self.ok("plan", "--models", MODELS, "--memory", "8GiB")
        table = text.split("\n", 1)[1]  # the first line is the model's path
        self.assertLessEqual(max(map(len, table.splitlines())), 80)
        self.assertIn("sets the peak", text)
        self.assertIn("of a budget of 8.00 GiB (--memory)", text)

    def test_4_for_a_file_that_is_not_there(self):
        for flag in ("--diffusion", "--clip", "--t5", "--vae"):
            self.assert_fails(4, "no.safetensors", "expected", "found none",
                              args=self.run_job(flag, "no.safetensors"))
        self.assert_fails(4, "no.gguf", "expected", "found", args=["inspect", "no.gguf"])
        self.assert_fails(4, "'no'", "expected", "ingot-demo", args=self.run_job("--model", "no"))

    def test_5_on_interrupt_in_the_middle_of_sampling_and_nothing_is_left(self):
        for stop in (signal.SIGINT, signal.SIGTERM):
            job = subprocess.Popen(
                [binary(), *map(str, self.run_job("--size", "768x768", "--steps", "1000"))],
                cwd=self.dir, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            time.sleep(1.5)  # sampling begins after 0.1 s and takes a minute
            self.assertIsNone(job.poll())
            job.send_signal(stop)
            start = time.monotonic()
            out, error = job.communicate(timeout=30)
            self.assertLess(time.monotonic() - start, 5)
            self.assertEqual((job.returncode, out), (5, ""))
            self.assertRegex(error, r"\Aingot: cancelled [^\n]*\n\Z")
            self.assertEqual(list(self.dir.iterdir()), [])

    def test_6_for_a_folder_that_takes_no_file_before_the_work(self):
        # /proc takes no file from anyone, root included.
        start = time.monotonic()
        self.assert_fails(6, "/proc/x.png", "expected", "found",
                          args=self.run_job("-o", "/proc/x.png", "--steps", "1000"))
        self.assertLess(time.monotonic() - start, 5)

    def test_6_for_an_output_that_cannot_be_written(self):
        with open("/dev/full", "w") as full:  # as stdout: it is opened, never replaced
            done = subprocess.run([binary(), "plan", "--models", MODELS, "--json"], stdout=full,
                                  stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 6)
        self.assertRegex(done.stderr, r"\Aingot: stdout: expected [^\n]+ found: [^\n]+\n\Z")


class Files(IngotTest):
    def test_inspect_names_each_demo_file(self):
        for kind, part in [("diffusion", "Flux transformer"), ("clip", "CLIP-L text encoder"),
                           ("t5", "T5 text encoder"), ("vae", "VAE")]:
            report = self.json("inspect", FILES[kind])
            self.assertEqual([c["component"] for c in report["components"]], [part])
            self.assertEqual(report["format"],
                             "GGUF v3" if kind == "diffusion" else "safetensors")
            self.assertIn(f"component: {part}: ", self.ok("inspect", FILES[kind]))

    def test_models_lists_a_complete_set(self):
        report = self.json("models", "--models", MODELS)
        self.assertTrue(report["complete"])
        self.assertLessEqual({str(path) for path in FILES.values()},
                             {file["path"] for file in report["files"]})
        self.assertIn("complete set: ", self.ok("models", "--models", MODELS))

    def test_every_quantized_type_runs(self):
        for dtype in ("Q4_0", "Q5_1", "Q8_0", "F16", "BF16"):
            with self.subTest(dtype):
                self.ok("quantize", FILES["diffusion"], f"{dtype}.gguf", "--type", dtype)
                types = self.json("inspect", f"{dtype}.gguf")["types"]
                self.assertIn(dtype, types)
                self.picture(*SMALL, "--seed", "1", "--diffusion", f"{dtype}.gguf")

    def test_missing_component_is_named_with_what_would_do(self):
        for missing, name in [("diffusion", "Flux transformer"), ("clip", "CLIP-L"), ("t5", "T5"),
                              ("vae", "VAE")]:
            with self.subTest(missing):
                models = self.dir / missing
                for kind, path in FILES.items():
                    link = models / path.relative_to(MODELS)
                    link.parent.mkdir(parents=True, exist_ok=True)
                    if kind == missing:
                        continue
                    for sibling in path.parent.iterdir() if kind in ("clip", "t5") else [path]:
                        (link.parent / sibling.name).symlink_to(sibling)
                self.assert_fails(4, name, "expected", "found",
                                  args=["run", "x", "--models", models])
                self.assertFalse(self.json("models", "--models", models)["complete"])


class Pictures(IngotTest):
    def test_parameters_text_reads_back_with_forges_parser(self):
        self.picture(*SMALL, "--seed", "1")
        lines = read_png(self.dir / "x.png")[3]["parameters"].split("\n")
        self.assertEqual(lines[0], PROMPT)
        # re_param of Forge's modules/infotext_utils.py; its parser wants three fields or more.
        fields = re.findall(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)', lines[-1])
        self.assertEqual([name for name, _ in fields][:6],
                         ["Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Size"])
        self.assertEqual([value for _, value in fields][:6],
                         ["2", "Euler", "Simple", "1", "1", "64x64"])

    def test_sizes_need_not_be_square_nor_even_in_the_latent(self):
        for width, height in [(128, 192), (264, 200), (72, 64)]:
            self.picture("--size", f"{width}x{height}", "--steps", "1", "--seed", "1")
            self.assertEqual(read_png(self.dir / "x.png")[:2], (width, height))

    def test_every_sampler_makes_a_picture(self):
        self.make_pictures("--sampler", SAMPLERS)

    def test_every_scheduler_makes_a_picture(self):
        self.make_pictures("--scheduler", SCHEDULERS)

    def make_pictures(self, flag, names):
        """A value that is not finite would end the run with 4; one flat colour is no picture."""
        for name in names:
            with self.subTest(name):
                self.picture("--size", "128x128", "--steps", "4", "--seed", "1", flag, name)
                self.assertGreater(len(set(read_png(self.dir / "x.png")[2])), 16)


if __name__ == "__main__":
    main()
