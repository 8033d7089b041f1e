#!/usr/bin/env python3
"""Jobs inside a kernel memory limit of exactly their --memory budget, without swap: none is killed.

  memory_wall.py INGOT                             the demo model, as a test
  memory_wall.py INGOT --models DIR [--steps N] [--model NAME] [--case 512x512@512MiB]…
      the models of DIR, by hand: a table; without --case 512x512 in 512 MiB, 1024x1024 in 1 GiB
      and, for both, the smallest budget that Ingot plans
"""

import json
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from cgroup import MIB, MemoryCgroup, NoCgroup
from ingot import MODELS, PROMPT, binary, main_or_by_hand

UNITS = {"KiB": 1 << 10, "MiB": MIB, "GiB": 1 << 30, "KB": 10**3, "MB": 10**6, "GB": 10**9, "B": 1}


def run_limited(command, limit_bytes, **options):
    """The finished process, the cgroup's peak, and whether the kernel killed it for memory."""
    with MemoryCgroup(limit_bytes) as cgroup:
        done = subprocess.run(list(map(str, command)), preexec_fn=cgroup.enter,
                              capture_output=True, text=True, **options)
        return done, cgroup.peak_bytes, cgroup.num_killed > 0


def least_budget(*job):
    """The smallest budget that Ingot offers for a job, in bytes."""
    done = subprocess.run([binary(), "plan", *map(str, job), "--memory", "1MiB"],
                          capture_output=True, text=True)
    if done.returncode != 3:
        raise RuntimeError(f"expected a refusal of 1MiB, found exit {done.returncode}: "
                           f"{done.stderr}")
    return int(re.search(r"--memory (\d+)MiB", done.stderr).group(1)) * MIB


class Wall(unittest.TestCase):
    def setUp(self):
        try:
            with MemoryCgroup(64 * MIB):
                pass
        except NoCgroup as reason:
            self.skipTest(str(reason))
        folder = tempfile.TemporaryDirectory(prefix="ingot-wall-")
        self.addCleanup(folder.cleanup)
        self.dir = folder.name

    def test_what_takes_more_than_the_limit_is_killed(self):
        take = "x = bytearray(96 << 20)"
        done, _, killed = run_limited([sys.executable, "-c", take], 64 * MIB)
        self.assertEqual((done.returncode, killed), (-signal.SIGKILL, True))
        done, _, killed = run_limited([sys.executable, "-c", take], 192 * MIB)
        self.assertEqual((done.returncode, killed), (0, False))

    def test_job_lives_within_its_budget_and_makes_the_same_picture(self):
        for size in ("64x64", "128x128", "256x192"):
            job = ["--models", MODELS, "--size", size, "--steps", "1", "--seed", "1"]
            least = least_budget(*job)
            shas = set()
            for budget in (least, 2 * least):
                with self.subTest(size=size, budget=budget):
                    done, _, killed = run_limited(
                        [binary(), "run", PROMPT, *job, "--memory", f"{budget}B", "--json"], budget,
                        cwd=self.dir)
                    self.assertEqual((done.returncode, killed), (0, False), done.stderr)
                    report = json.loads(done.stdout)
                    self.assertLessEqual(report["measured"]["peak_ram_bytes"],
                                         report["plan"]["peak_ram_bytes"])
                    self.assertLessEqual(report["plan"]["peak_ram_bytes"], budget)
                    shas.add(report["images"][0]["sha256"])
            self.assertEqual(len(shas), 1)


def mib(num_bytes):
    return "-" if num_bytes is None else f"{num_bytes / MIB:.1f}"


def print_case(model, size, steps, budget, job):
    with tempfile.TemporaryDirectory(prefix="ingot-wall-") as folder:
        start = time.monotonic()
        done, cgroup_peak, killed = run_limited(
            [binary(), "run", PROMPT, *job, "--steps", steps, "--memory", f"{budget}B", "--json"],
            budget, cwd=folder)
        seconds = time.monotonic() - start
    planned = measured = ratio = None
    if done.returncode == 0:
        report = json.loads(done.stdout)
        planned = report["plan"]["peak_ram_bytes"]
        measured = report["measured"]["peak_ram_bytes"]
        ratio = measured / planned
    outcome = "killed" if killed else "lives" if ratio else done.stderr.strip()
    print(f"{model:<26}{size:>10}{mib(budget):>10}{mib(planned):>10}{mib(measured):>10}"
          f"{ratio or 0:>8.4f}{mib(cgroup_peak):>10}{seconds:>9.1f}  {outcome}", flush=True)
    return outcome == "lives"


def parse_bytes(text):
    number, unit = re.fullmatch(r"([\d.]+)([A-Za-z]+)", text).groups()
    return int(float(number) * UNITS[unit])


def by_hand(args):
    models = [args.model] if args.model else [
        pathlib.Path(file["path"]).name for file in json.loads(subprocess.run(
            [binary(), "models", "--models", args.models, "--json"], capture_output=True,
            text=True, check=True).stdout)["files"]
        if any("Flux" in part["component"] for part in file.get("components", []))]
    print(f"{'model':<26}{'size':>10}{'budget':>10}{'planned':>10}{'measured':>10}{'ratio':>8}"
          f"{'cgroup':>10}{'seconds':>9}  (MiB)")
    all_live = True
    for model in models:
        for case in args.case or ["512x512@512MiB", "512x512@least", "1024x1024@1GiB",
                                  "1024x1024@least"]:
            size, budget = case.split("@")
            job = ["--models", args.models, "--model", model, "--size", size, "--seed", "1"]
            num_bytes = least_budget(*job) if budget == "least" else parse_bytes(budget)
            all_live &= print_case(model, size, args.steps, num_bytes, job)
    return 0 if all_live else 1


def add_arguments(parser):
    parser.add_argument("--model", help="one diffusion model; without it every one of the folder")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--case", action="append", help="WxH@SIZE, or WxH@least")


if __name__ == "__main__":
    main_or_by_hand(__doc__, by_hand, add_arguments)
