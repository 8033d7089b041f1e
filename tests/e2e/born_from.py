#!/usr/bin/env python3
"""Forge issue 2858: a Flux GGUF that works in the page dies of memory when asked by API. Here it
gives a picture, whatever `forge_inference_memory` says, and every door has one plan.

  born_from.py INGOT                                      the demo model, as a test
  born_from.py INGOT --models DIR [--model NAME] [--memory SIZE] [--size WxH] [--steps N]
      by hand

Server and workers run in a cgroup of --memory (1.5GiB), without swap, and are told nothing of it.
"""

import json
import pathlib
import subprocess
import tempfile
import time
import unittest

from cgroup import MIB, MemoryCgroup, NoCgroup
from ingot import MODELS, PROMPT, binary, main_or_by_hand
from memory_wall import parse_bytes
from server import Server

HINTS = (None, 1024, 4096, 99999)


class Run:
    """What came of the four requests."""

    def __init__(self, models, limit, size, steps, model="ingot-demo"):
        self.shas, self.plans, self.seconds, self.peaks, self.kept, self.faults = (
            [], [], [], [], [], [])
        width, height = map(int, size.split("x"))
        job = {"prompt": PROMPT, "seed": 1, "steps": steps, "width": width, "height": height}
        with MemoryCgroup(limit) as cgroup, tempfile.TemporaryDirectory() as folder, \
                Server(folder, models, memory=None, preexec_fn=cgroup.enter) as server:
            for hint in HINTS:
                keys = {"sd_model_checkpoint": model}
                if hint is not None:
                    keys["forge_inference_memory"] = hint
                begin = time.monotonic()
                status, headers, body = server.ask("POST", "/sdapi/v1/txt2img",
                                                   {**job, "override_settings": keys})
                self.seconds.append(time.monotonic() - begin)
                if status != 200:
                    self.faults.append(body.decode())
                    continue
                row = server.json("GET", "/ingot/v1/jobs/" + headers["X-Job-Id"])
                self.shas.append(row["images"][0]["sha256"])
                self.plans.append(json.loads(body)["plan"])
                self.peaks.append(row["measured"]["peak_ram_bytes"])
                self.kept.append(row["measured"]["kept_bytes"])
            asked = server.json("POST", "/ingot/v1/plan", {"job": {**job, "model": model}})
            self.page_plan, self.budget = asked["plan"], asked["budget"]["ram_bytes"]
            self.cgroup_peak, self.num_killed = cgroup.peak_bytes, cgroup.num_killed
        done = subprocess.run(
            [binary(), "plan", PROMPT, "--models", str(models), "--model", model, "--size", size, "--seed", "1",
             "--steps", str(steps), "--memory", f"{self.budget}B", "--json"],
            capture_output=True, text=True, check=True)
        self.cli_plan = json.loads(done.stdout)["plan"]


class BornFrom(unittest.TestCase):
    def test_any_hint_gives_the_picture_and_every_door_has_one_plan(self):
        try:
            run = Run(MODELS, 256 * MIB, "64x64", 2)
        except NoCgroup as reason:
            self.skipTest(str(reason))
        self.assertEqual((run.faults, run.num_killed), ([], 0))
        self.assertEqual((len(run.shas), len(set(run.shas))), (len(HINTS), 1))
        for plan, peak, kept in zip(run.plans, run.peaks, run.kept):
            self.assertLessEqual(peak, plan["peak_ram_bytes"] + kept)
            self.assertLessEqual(peak, run.budget)
        self.assertEqual(run.plans[0], run.page_plan)
        self.assertEqual(run.plans[0], run.cli_plan)


def by_hand(args):
    limit = parse_bytes(args.memory)
    run = Run(args.models, limit, args.size, args.steps, args.model)
    for fault in run.faults:
        print("refused or failed:", fault)
    for hint, sha, plan, peak, kept, seconds in zip(HINTS, run.shas, run.plans, run.peaks, run.kept,
                                                    run.seconds):
        print(f"forge_inference_memory {str(hint):>6}: {sha[:16]} planned "
              f"{plan['peak_ram_bytes'] / MIB:.1f} MiB, kept beside it {kept / MIB:.1f}, "
              f"measured {peak / MIB:.1f}, {seconds:.1f} s")
    one_plan = run.plans[0] == run.page_plan == run.cli_plan
    print(f"limit {limit / MIB:.0f} MiB, cgroup's peak {(run.cgroup_peak or 0) / MIB:.1f}, "
          f"killed {run.num_killed}; API, page and command line have one plan: {one_plan}")
    lives = not run.faults and len(set(run.shas)) == 1 and len(run.shas) == len(HINTS)
    return 0 if lives and one_plan and run.num_killed == 0 else 1


def add_arguments(parser):
    parser.add_argument("--model", default="flux1-schnell-Q4_0")
    parser.add_argument("--memory", default="1.5GiB")
    parser.add_argument("--size", default="512x512")
    parser.add_argument("--steps", type=int, default=1)


if __name__ == "__main__":
    main_or_by_hand(__doc__, by_hand, add_arguments)
