#!/usr/bin/env python3
"""Predicted against measured peaks over a grid of model, size, batch, budget and threads.

  plan_accuracy.py INGOT                 the demo model and its Q8_0: 96 cases, a minute or two
  plan_accuracy.py INGOT --models DIR [--model NAME]… [--sizes 256x256 512x512] …
                                         the models of DIR

Prints one row a case: peaks in MiB (the kernel's high-water mark of the resident set for the
measured one), their ratio, and the largest arena of a phase over its most live bytes. A case holds
when the measured peak is not above the predicted one, is at least 0.98 of it or within 2 MiB, and
no arena is above 1.02 times its live bytes. Budgets are the smallest that Ingot plans ("least"),
twice that, and none. Exits 1 when a case does not hold.
"""
import argparse
import itertools
import json
import pathlib
import re
import subprocess
import sys
import tempfile

MIB = 1 << 20
LEAST_RATIO, SLACK_BYTES, MOST_GAP = 0.98, 2 * MIB, 1.02
DEMO = pathlib.Path(__file__).resolve().parents[1] / "demo" / "models"
PROMPT = "a red house on the left, orange sky"


def ingot(args, *flags):
    return subprocess.run([str(args.ingot), *map(str, flags)], capture_output=True, text=True)


def least_budget(args, job):
    """In MiB."""
    refusal = ingot(args, "plan", *job, "--memory", "1MiB").stderr
    return int(re.search(r"--memory (\d+)MiB", refusal).group(1))


def budgets(args, job):
    least = least_budget(args, job)
    return {"least": ["--memory", f"{least}MiB"], "twice": ["--memory", f"{2 * least}MiB"],
            "none": []}


def demo_models(args, folder):
    """The demo model as it is and, in another type, beside it."""
    quantized = folder / "ingot-demo-Q8_0.gguf"
    ingot(args, "quantize", DEMO / "Stable-diffusion" / "ingot-demo.gguf", quantized, "--type",
          "Q8_0")
    return {"ingot-demo": ["--models", DEMO, "--model", "ingot-demo"],
            "ingot-demo-Q8_0": ["--models", DEMO, "--diffusion", quantized]}


def folder_models(args):
    files = json.loads(ingot(args, "models", "--models", args.models, "--json").stdout)["files"]
    names = args.model or [
        pathlib.Path(file["path"]).name for file in files
        if any("Flux" in part["component"] for part in file.get("components", []))]
    return {name: ["--models", args.models, "--model", name] for name in names}


def measure(args, job, folder):
    done = ingot(args, "run", PROMPT, *job, "--steps", args.steps, "--seed", 1, "--json", "-o",
                 folder / "x.png")
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    return json.loads(done.stdout)


def verdict(predicted, measured, gap):
    if measured > predicted:
        return "above the plan"
    if measured < LEAST_RATIO * predicted and predicted - measured > SLACK_BYTES:
        return "padded"
    return "arena" if gap > MOST_GAP else "holds"


def run_case(args, names, job, folder):
    report = measure(args, job, folder)
    predicted, measured = (report[part]["peak_ram_bytes"] for part in ("plan", "measured"))
    gap = max((phase["arena_bytes"] / phase["max_live_bytes"]
               for phase in report["plan"]["phases"] if phase["max_live_bytes"]), default=1.0)
    found = verdict(predicted, measured, gap)
    print(("{:<24}{:>10}{:>6}{:>7}{:>8}" + "{:>11.1f}{:>10.1f}{:>8.4f}{:>8.4f}  {}").format(
        *names, predicted / MIB, measured / MIB, measured / predicted, gap, found), flush=True)
    return found


def run_grid(args, folder):
    models = demo_models(args, folder) if args.models is None else folder_models(args)
    print("{:<24}{:>10}{:>6}{:>7}{:>8}{:>11}{:>10}{:>8}{:>8}".format(
        "model", "size", "batch", "budget", "threads", "predicted", "measured", "ratio", "gap"))
    found = []
    for (name, files), size, batch in itertools.product(models.items(), args.sizes, args.batches):
        job = [*files, "--size", size, "--batch", batch]
        for (budget, flags), threads in itertools.product(budgets(args, job).items(), args.threads):
            found.append(run_case(args, (name, size, batch, budget, threads),
                                  [*job, *flags, "--threads", threads], folder))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ingot", type=pathlib.Path)
    parser.add_argument("--models", type=pathlib.Path)
    parser.add_argument("--model", action="append", help="a diffusion model of the folder")
    parser.add_argument("--sizes", nargs="+", default=["64x64", "128x128", "256x192", "256x256"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 3])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--steps", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ingot-accuracy-") as folder:
        found = run_grid(args, pathlib.Path(folder))
    kinds = ", ".join(f"{found.count(kind)} {kind}" for kind in sorted(set(found)))
    print(f"\n{len(found)} cases: {kinds}")
    return 0 if set(found) == {"holds"} else 1


if __name__ == "__main__":
    sys.exit(main())
