#!/usr/bin/env python3
"""`ingot run --trace FILE`: what each thread did when, in Chrome's trace format."""

import collections
import json
import pathlib
import signal
import subprocess
import sys
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "tools"))

from ingot import MODELS, PROMPT, SMALL, IngotTest, binary, main  # noqa: E402
from trace_gaps import load, split_phases  # noqa: E402

JOB = ["run", PROMPT, "--models", MODELS, "--seed", "1", "-o", "x.png"]
NS = 2e-9  # times are written to the nanosecond


class Trace(IngotTest):
    def trace(self, *flags):
        report = self.json(*JOB, "--trace", "trace.json", *flags)
        return report, *load(self.dir / "trace.json")

    def test_spans_of_a_row_follow_or_hold_each_other(self):
        _, events, rows = self.trace("--size", "128x128", "--threads", "2")
        self.assertTrue({"compute", "worker 1", "weights of sampling"} <= set(rows.values()))
        by_row = collections.defaultdict(list)
        for event in events:
            self.assertIn(event["tid"], rows)
            by_row[event["tid"]].append(event)
        for row, spans in by_row.items():
            open_ends = []
            for span in sorted(spans, key=lambda e: (e["begin"], -e["end"])):
                while open_ends and open_ends[-1] <= span["begin"] + NS:
                    open_ends.pop()
                if open_ends:
                    self.assertEqual(rows[row], "compute", "only there spans lie in spans")
                    self.assertLessEqual(span["end"], open_ends[-1] + NS, span)
                open_ends.append(span["end"])

    def test_ops_and_waits_cover_the_sampling_phase(self):
        for memory in ([], ["--memory", "60MiB"]):
            # The phase begins with some 5 ms of its arena: a small part of so many steps.
            _, events, rows = self.trace("--threads", "2", "--steps", "100", *memory)
            sampling = next(p for p in split_phases(events, rows) if p["phase"] == "sampling")
            covered = (sampling["ops_s"] + sampling["waits_s"]) / sampling["wall_s"]
            self.assertGreaterEqual(covered, 0.95, sampling)

    def test_every_op_says_phase_shape_and_compute(self):
        _, events, _ = self.trace(*SMALL)
        linears = [e["args"] for e in events if e["name"] == "linear" and e["tid"] == 0]
        self.assertEqual({"t5", "clip", "hoist", "sampling"}, {e["phase"] for e in linears} -
                         {"decode"})
        self.assertTrue(any("i8" in e["attributes"] for e in linears), linears[0])
        for linear in linears:
            self.assertRegex(linear["operands"], r"^\[\d+, .*\] F32, ")
            self.assertRegex(linear["output"], r"^\[\d+, .*\] F32$")

    def test_every_load_is_a_span_of_the_reader(self):
        _, events, rows = self.trace(*SMALL)
        loads = [e for e in events if rows[e["tid"]] == "weights of decode"]
        self.assertIn("decoder.conv_in.weight", {e["name"] for e in loads})
        self.assertTrue(all(e["cat"] == "read" and int(e["args"]["bytes"]) > 0 for e in loads))

    def test_pictures_on_disk_are_reads_and_writes(self):
        flags = ["--size", "512x512", "--steps", "1"]
        least = self.ingot("plan", *map(str, JOB[1:4]), *flags, "--memory", "1MiB").stderr
        memory = least.split("--memory ")[1].split("MiB")[0] + "MiB"
        _, events, rows = self.trace(*flags, "--memory", str(int(memory[:-3]) + 9) + "MiB")
        kinds = {e["cat"] for e in events if rows[e["tid"]] == "scratch file"}
        self.assertEqual(kinds, {"read", "write"})

    def test_changes_no_pixel_and_is_part_of_the_plan(self):
        without = self.json(*JOB, *SMALL)
        report, _, _ = self.trace(*SMALL)
        self.assertEqual(report["images"][0]["sha256"], without["images"][0]["sha256"])
        self.assertGreater(report["plan"]["fixed_bytes"], without["plan"]["fixed_bytes"])

    def test_a_job_that_ends_early_leaves_its_trace_whole(self):
        job = subprocess.Popen([binary(), *map(str, JOB), "--steps", "1000", "--trace", "t.json"],
                               cwd=self.dir, stderr=subprocess.PIPE)
        time.sleep(2)
        job.send_signal(signal.SIGINT)
        job.communicate(timeout=30)
        self.assertEqual(job.returncode, 5)
        self.assertIn("clip", {event.get("name") for event in
                                   json.loads((self.dir / "t.json").read_text())["traceEvents"]})
        self.assertEqual([path.name for path in self.dir.iterdir()], ["t.json"])

    def test_a_place_that_cannot_be_written_is_told_before_the_work(self):
        self.assert_fails(2, "missing", args=[*JOB, *SMALL, "--trace", "missing/t.json"])


if __name__ == "__main__":
    main()
