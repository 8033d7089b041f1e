#!/usr/bin/env python3
"""Many jobs of three models and four sizes in one server, by hand: what stays in memory after them.

  soak.py INGOT [--jobs N] [--before N]

The models are the demo's in Q8_0 and Q4_0 and in Q5_0 made of it. Resident sets are read after
`unload-checkpoint`, of the server and both workers: once after --before jobs, when every model and
size was there and the server's log of events is full, and at the end. Exit 1 when one has grown by more than 1 % and 2 MiB.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from ingot import FILES, MODELS, PROMPT, binary
from server import Server

SIZES = [(64, 64), (128, 64), (96, 128), (160, 160)]
MIB = 1 << 20


def resident(server):
    server.json("POST", "/sdapi/v1/unload-checkpoint")
    time.sleep(0.5)  # the worker hears of it behind its last job
    return server.rss_bytes()


def run(num_jobs, num_before):
    with tempfile.TemporaryDirectory() as folder:
        models = pathlib.Path(folder, "models")
        shutil.copytree(MODELS, models)
        made = models / "Stable-diffusion" / "ingot-demo-Q5_0.gguf"
        subprocess.run([binary(), "quantize", str(FILES["diffusion"]), str(made), "--type", "Q5_0"],
                       check=True, capture_output=True)
        names = ["ingot-demo", "ingot-demo-Q4_0", "ingot-demo-Q5_0"]
        with Server(str(pathlib.Path(folder, "data")), models, "512MiB") as server:
            kinds = [(name, size) for name in names for size in SIZES]
            shas, begin = {}, time.monotonic()
            for i in range(num_jobs + num_before):
                if i == num_before:
                    before = resident(server)
                name, (width, height) = kinds[i * 7 % len(kinds)]
                status, headers, body = server.ask("POST", "/sdapi/v1/txt2img", {
                    "prompt": PROMPT, "seed": 1, "steps": 1, "width": width, "height": height,
                    "override_settings": {"sd_model_checkpoint": name}})
                if status != 200:
                    sys.exit(f"job {i}: {status} {body.decode()}")
                row = server.json("GET", "/ingot/v1/jobs/" + headers["X-Job-Id"])
                sha = row["images"][0]["sha256"]
                if shas.setdefault((name, width, height), sha) != sha:
                    sys.exit(f"job {i}: {name} {width}x{height} gave other pixels")
            after = resident(server)
            seconds = time.monotonic() - begin
    has_grown = False
    print(f"{num_jobs} jobs, {len(names)} models, {len(SIZES)} sizes, {seconds:.0f} s")
    for pid, name in zip(before, ("server", "worker", "worker")):
        grown = after[pid] - before[pid] if pid in after else 0
        has_grown |= pid not in after or grown > max(before[pid] // 100, 2 * MIB)
        print(f"{name:<8}{before[pid] / MIB:9.2f} MiB before, {after.get(pid, 0) / MIB:9.2f} after")
    return 1 if has_grown else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ingot", type=pathlib.Path)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--before", type=int, default=500)
    arguments = parser.parse_args()
    os.environ["INGOT"] = str(arguments.ingot)
    sys.exit(run(arguments.jobs, arguments.before))
