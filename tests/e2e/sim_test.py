#!/usr/bin/env python3
"""A GPU simulated by `--device sim`: the CPU's pixels, within the memory that --vram names."""

import pathlib
import re

import server
from ingot import MODELS, PROMPT, SMALL, IngotTest, main

JOB = [*SMALL, "--seed", "1"]
SIM = ["--device", "sim"]


class Sim(IngotTest):
    def report(self, *flags):
        return self.json("run", PROMPT, "--models", MODELS, "-o", "x.png", *JOB, *flags)

    def least_vram(self):
        """In bytes, from the refusal of 1 MiB."""
        done = self.ingot("plan", PROMPT, "--models", MODELS, *JOB, *SIM, "--vram", "1MiB")
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertRegex(done.stderr, r"--vram \d+MiB")
        return int(re.search(r"found one of (\d+):", done.stderr).group(1))

    def test_every_vram_and_link_gives_the_pixels_of_the_cpu(self):
        sha256 = self.report()["images"][0]["sha256"]
        least = self.least_vram()
        most = self.json("plan", PROMPT, "--models", MODELS, *JOB, *SIM)["plan"]["peak_vram_bytes"]
        plans = set()
        for vram, link in ((least, 25), (least, 0.2), ((least + most) // 2, 25), (most, 1)):
            report = self.report(*SIM, "--vram", f"{vram}B", "--link", link)
            self.assertEqual(report["images"][0]["sha256"], sha256, (vram, link))
            planned, measured = (report[part]["peak_vram_bytes"] for part in ("plan", "measured"))
            self.assertGreater(planned, 0)
            self.assertLessEqual(planned, vram)
            self.assertEqual(measured, planned)
            self.assertLessEqual(report["measured"]["peak_ram_bytes"],
                                 report["plan"]["peak_ram_bytes"])
            plans.add(planned)
        self.assertGreaterEqual(len(plans), 3)

    def test_a_server_runs_its_jobs_on_the_device_and_tells_its_memory(self):
        # Memory is looked at twice a second: sampling alone takes longer than that.
        steps = 150
        sha256 = self.json("run", PROMPT, "--models", MODELS, "-o", "x.png", "--size", "64x64",
                           "--steps", steps, "--seed", "1")["images"][0]["sha256"]
        job = {"prompt": PROMPT, "width": 64, "height": 64, "steps": steps, "seed": 1}
        with server.Server(pathlib.Path(self.dir, "data"),
                           flags=[*SIM, "--vram", "1GiB", "--link", "5"]) as served:
            device = served.json("GET", "/ingot/v1/state")["device"]
            self.assertEqual((device["name"], device["vram_bytes"]), ("sim", 1 << 30))
            path = "/ingot/v1/jobs/" + served.json("POST", "/ingot/v1/jobs", {"job": job}, 202)["id"]
            events = served.events(path + "/events")
            done = served.json("GET", path)
        self.assertEqual(done["images"][0]["sha256"], sha256)
        held, kept = (max(data[key] for _, kind, data in events if kind == "memory")
                      for key in ("vram_bytes", "kept_vram_bytes"))
        self.assertGreater(held, 0)
        self.assertLessEqual(held, done["plan"]["peak_vram_bytes"] + kept)

    def test_weights_come_through_a_small_ring_in_ram(self):
        """At 256x192, where the CPU alone needs more RAM than beside the device."""
        job = ["--models", MODELS, "--size", "256x192", "--steps", "2"]
        on_cpu = self.json("plan", PROMPT, *job, "--memory", "8GiB")["plan"]
        on_sim = self.json("plan", PROMPT, *job, "--memory", "8GiB", *SIM)["plan"]
        self.assertLess(on_sim["peak_ram_bytes"], on_cpu["peak_ram_bytes"])
        self.assertEqual(on_cpu["peak_vram_bytes"], 0)

    def test_a_budget_of_ram_holds_beside_the_device(self):
        done = self.ingot("plan", PROMPT, "--models", MODELS, *JOB, *SIM, "--memory", "1MiB")
        self.assertEqual(done.returncode, 3)
        self.assertIn("--memory", done.stderr)

    def test_wrong_flags_are_named(self):
        for flags, named in ((["--device", "gpu"], "--device"), (["--vram", "1GiB"], "--vram"),
                             (["--link", "1"], "--link"), ([*SIM, "--link", "0"], "--link")):
            done = self.ingot("plan", PROMPT, "--models", MODELS, *JOB, *flags)
            self.assertEqual(done.returncode, 2, flags)
            self.assertIn(named, done.stderr)
            done = self.ingot("serve", "--port", "0", "--models", MODELS, *flags)
            self.assertEqual(done.returncode, 2, flags)
            self.assertIn(named, done.stderr)


if __name__ == "__main__":
    main()
