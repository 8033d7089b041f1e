#!/usr/bin/env python3
"""One job is one picture, whatever the memory, the threads and the level of the processor.

  same_bytes_test.py INGOT                the demo model: what ctest runs
  same_bytes_test.py INGOT --models DIR --model NAME [--size 512x512] [--steps 1] [--runs 12]
                                          a model from outside, by hand: so many plans that differ,
                                          on threads and levels in turn; prints a row each

Nothing that `ingot run` prints says which level ran. What is checked is that INGOT_CPU_TARGET is
obeyed: a name it does not know ends in 2, and a level above this machine's is skipped by name.
"""

import itertools
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from ingot import MODELS, PROMPT, IngotTest, main_or_by_hand

THREADS = (1, 2, 3)
LEVELS = ("AVX2", "AVX_VNNI", "AVX3", "AVX3_DL", "AMX")
NUM_BUDGETS = 24  # tried between the least and one that changes nothing any more


class SameBytes(IngotTest):
    def least_budget(self, *job, **environment):
        """The peak of the smallest plan, from the refusal of 1 MiB."""
        done = self.ingot("plan", PROMPT, "--models", MODELS, *job, "--memory", "1MiB",
                          **environment)
        self.assertEqual(done.returncode, 3, done.stderr)
        return int(re.search(r"found one of (\d+):", done.stderr).group(1))

    def plan(self, *job, **environment):
        return self.json("plan", PROMPT, "--models", MODELS, *job, **environment)["plan"]

    def plans(self, *job, **environment):
        """{budget: plan} with every plan once, from the least budget to one without limit."""
        least = self.least_budget(*job, **environment)
        most = self.plan(*job, "--memory", "8GiB", **environment)["peak_ram_bytes"]
        self.assertLess(least, most)
        plans, seen = {}, []
        for i in range(NUM_BUDGETS):
            budget = least + (most - least) * i // (NUM_BUDGETS - 1)
            plan = self.plan(*job, "--memory", f"{budget}B", **environment)
            if plan["phases"] not in seen:
                seen.append(plan["phases"])
                plans[budget] = plan
        return plans

    def levels(self):
        """Those that this machine has."""
        levels = []
        for level in LEVELS:
            done = self.ingot("plan", "--models", MODELS, INGOT_CPU_TARGET=level)
            if done.returncode == 0:
                levels.append(level)
            else:
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn(level, done.stderr)
                print(f"skipped {level}: {done.stderr.strip()}", flush=True)
        return levels

    def pictures(self, *job):
        """One picture over plans x threads x levels; returns all plans that made it."""
        shas, made = {}, []
        for threads, level in itertools.product(THREADS, self.levels()):
            on = [*job, "--threads", threads]
            for budget, plan in self.plans(*on, INGOT_CPU_TARGET=level).items():
                report = self.json("run", PROMPT, "--models", MODELS, *on, "--memory",
                                   f"{budget}B", "-o", "x.png", INGOT_CPU_TARGET=level)
                self.assertEqual(report["plan"], plan)
                sha256 = report["images"][0]["sha256"]
                shas.setdefault(sha256, []).append((threads, level, budget))
                made.append(plan)
        print(f"{' '.join(job)}: {len(made)} runs, {len(shas)} picture", flush=True)
        self.assertGreaterEqual(len(made), 12)
        self.assertEqual(len(shas), 1, shas)
        return made

    @staticmethod
    def phases(plans, name):
        return [phase for plan in plans for phase in plan["phases"]
                if phase["name"] == name]

    def test_strips_on_disk_and_groups_of_steps_change_no_byte(self):
        plans = self.pictures("--size", "256x192", "--steps", "3", "--seed", "1")
        decode, hoist = self.phases(plans, "decode"), self.phases(plans, "hoist")
        whole = [phase for phase in decode if phase["num_parts"] == 1]
        strips = {phase["num_parts"] for phase in decode if phase["scratch_bytes"] > 0}
        self.assertTrue(whole)
        self.assertTrue(all(phase["scratch_bytes"] == 0 for phase in whole))
        self.assertGreaterEqual(len(strips), 2, "two heights of strips")
        self.assertEqual({phase["num_parts"] > 1 for phase in hoist}, {True, False},
                         "all steps at once, and in groups")

    def test_streamed_transformer_changes_no_byte(self):
        plans = self.pictures("--size", "64x64", "--steps", "3", "--seed", "1")
        sampling = self.phases(plans, "sampling")
        self.assertEqual({phase["ring_bytes"] > 0 for phase in sampling}, {True, False},
                         "weights through a ring, and all resident")

    def test_strips_of_a_height_that_is_no_multiple_of_theirs_give_the_whole_picture(self):
        job = ["--size", "256x200", "--steps", "1", "--seed", "1", "--threads", "2"]
        least = f"{self.least_budget(*job)}B"
        parts = {budget: self.plan(*job, "--memory", budget)["phases"][-1]["num_parts"]
                 for budget in (least, "8GiB")}
        self.assertGreater(parts[least], 1)
        self.assertEqual(parts["8GiB"], 1)
        self.assertEqual(self.picture(*job, "--memory", least),
                         self.picture(*job, "--memory", "8GiB"))

    def test_level_of_no_such_name_is_refused(self):
        done = self.ingot("plan", "--models", MODELS, INGOT_CPU_TARGET="AVX1")
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertRegex(done.stderr, r"\Aingot: [^\n]*expected[^\n]*AVX2[^\n]*found 'AVX1'")


def of_plan(binary, *args, **environment):
    return subprocess.run([binary, "plan", PROMPT, *map(str, args)], capture_output=True, text=True,
                          env={**os.environ, **environment})


def levels_here(binary, job):
    return [level for level in LEVELS
            if of_plan(binary, *job, INGOT_CPU_TARGET=level).returncode == 0]


def plans_of(binary, job, num_plans):
    """[(budget in bytes, plan)]: `num_plans` that differ, from the least budget up."""
    refusal = of_plan(binary, *job, "--memory", "1MiB").stderr
    least = int(re.search(r"found one of (\d+):", refusal).group(1))
    most = json.loads(of_plan(binary, *job, "--json").stdout)["plan"]["peak_ram_bytes"]
    plans = []
    for i in range(4 * num_plans):
        budget = least + (most - least) * i // (4 * num_plans - 1)
        report = of_plan(binary, *job, "--memory", f"{budget}B", "--json")
        plan = json.loads(report.stdout)["plan"]
        if all(plan["phases"] != other["phases"] for _, other in plans):
            plans.append((budget, plan))
    step = max(1, (len(plans) - 1) / max(1, num_plans - 1))
    return [plans[round(i * step)] for i in range(min(num_plans, len(plans)))]


def by_hand(args):
    job = ["--models", args.models, "--model", args.model, "--size", args.size, "--steps",
           args.steps, "--seed", 1]
    on = itertools.cycle(itertools.product(THREADS, levels_here(args.ingot, job)))
    shas = set()
    print(f"{'budget MiB':>10}{'threads':>9}{'level':>9}{'resident MiB':>14}{'parts':>14}  sha256")
    with tempfile.TemporaryDirectory(prefix="ingot-bytes-") as folder:
        plans = itertools.cycle(plans_of(args.ingot, job, args.runs))  # fewer may differ
        for (budget, _), (threads, level) in itertools.islice(zip(plans, on), args.runs):
            done = subprocess.run(
                [args.ingot, "run", PROMPT, *map(str, job), "--memory", f"{budget + (4 << 20)}B",
                 "--threads", str(threads), "--json", "-o", f"{folder}/x.png"],
                capture_output=True, text=True, env={**os.environ, "INGOT_CPU_TARGET": level})
            if done.returncode != 0:
                sys.exit(done.stderr)
            report = json.loads(done.stdout)
            phases = report["plan"]["phases"]
            resident = sum(phase["resident_bytes"] for phase in phases) / (1 << 20)
            parts = ",".join(str(phase["num_parts"]) for phase in phases)
            shas.add(report["images"][0]["sha256"])
            print(f"{budget >> 20:>10}{threads:>9}{level:>9}{resident:>14.1f}{parts:>14}  "
                  f"{report['images'][0]['sha256'][:16]}", flush=True)
    print(f"{len(shas)} picture")
    return 0 if len(shas) == 1 else 1


def add_arguments(parser):
    parser.add_argument("--model", required=True)
    parser.add_argument("--size", default="512x512")
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--runs", type=int, default=12)


if __name__ == "__main__":
    main_or_by_hand(__doc__, by_hand, add_arguments)
