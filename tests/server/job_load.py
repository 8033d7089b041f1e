#!/usr/bin/env python3
"""What idle event streams and pollers cost a running job, and it them: `ingot serve` with the demo
model. By hand, on a machine that does nothing else.

Usage: job_load.py INGOT [--streams 1000] [--pollers 50] [--steps 30] [--size 512] [--runs 3]

The streams are those of a job that waits; with --live they hear all events of the running one.
Prints one JSON object: seconds of the job without and with all of it in turn (the median of
--runs), latencies of /sdapi/v1/progress without a job and during it, threads and memory.
"""
import argparse
import json
import os
import pathlib
import resource
import selectors
import statistics
import sys
import tempfile
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from load_test import Pollers, memory_kib, open_streams  # noqa: E402
from server import Server  # noqa: E402

PROGRESS = "/sdapi/v1/progress"


def submit(server, args, priority=0, **more):
    size = args.size
    job = {"prompt": "a red house", "seed": 1, "width": size, "height": size, "steps": args.steps,
           **more}
    return server.json("POST", "/ingot/v1/jobs", {"job": job, "priority": priority},
                       status=202)["id"]


def seconds_of(server, job):
    """From its start to its end, as its record has them; waits for it."""
    server.events(f"/ingot/v1/jobs/{job}/events")
    row = server.json("GET", f"/ingot/v1/jobs/{job}")
    assert row["state"] == "done", row
    return row["finished"] - row["started"]


def take(streams, ended):
    """What live streams bring, as clients do."""
    selector = selectors.DefaultSelector()
    for stream in streams:
        selector.register(stream, selectors.EVENT_READ)
    while not ended.is_set():
        for key, _ in selector.select(0.1):
            if not key.fileobj.recv(1 << 16):
                selector.unregister(key.fileobj)


def loaded_run(server, args, expected_s):
    """(seconds of the job, latencies, resident KiB of the server while it ran)"""
    blocker = submit(server, args, steps=1000)  # the job begins when all clients are there
    job, waiting = submit(server, args, priority=1), submit(server, args)
    path = "/ingot/v1/events" if args.live else f"/ingot/v1/jobs/{waiting}/events"
    streams = open_streams(server.address[1], args.streams, path)
    ended = threading.Event()
    reader = threading.Thread(target=take, args=(streams, ended))
    reader.start()
    server.json("DELETE", f"/ingot/v1/jobs/{blocker}")
    pollers = Pollers(server.address[1], PROGRESS, args.pollers, expected_s)
    latencies = pollers.join()
    rss = memory_kib(server.process.pid, "VmRSS")
    seconds = seconds_of(server, job)
    server.json("DELETE", f"/ingot/v1/jobs/{waiting}")
    ended.set()
    reader.join()
    for stream in streams:
        stream.close()
    return seconds, latencies, rss


def measure(server, args):
    seconds_of(server, submit(server, args))  # fills what is kept between jobs
    idle = Pollers(server.address[1], PROGRESS, args.pollers, 5).join()
    rss = memory_kib(server.process.pid, "VmRSS")
    alone, runs = [], []
    for _ in range(args.runs):
        alone.append(seconds_of(server, submit(server, args)))
        runs.append(loaded_run(server, args, alone[-1]))
    alone_s = statistics.median(alone)
    loaded_s = statistics.median(run[0] for run in runs)
    return {"job_s": round(alone_s, 2), "job_loaded_s": round(loaded_s, 2),
            "job_change_percent": round(100 * (loaded_s / alone_s - 1), 2),
            "progress_without_job": idle, "progress_during_job": [run[1] for run in runs],
            "server_threads": memory_kib(server.process.pid, "Threads"),
            "server_rss_kib": rss, "server_rss_kib_loaded": max(run[2] for run in runs)}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ingot")
    for name, default in (("streams", 1000), ("pollers", 50), ("steps", 30), ("size", 512),
                          ("runs", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--live", action="store_true")
    args = parser.parse_args()
    os.environ["INGOT"] = args.ingot
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as folder, Server(folder, memory=None) as server:
        print(json.dumps(measure(server, args), indent=1))


if __name__ == "__main__":
    main()
