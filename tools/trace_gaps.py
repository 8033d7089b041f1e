#!/usr/bin/env python3
"""Where the time of a job went: reads what `ingot run --trace FILE` wrote.

  trace_gaps.py FILE [--top N] [--json]

Prints one row a phase. Of its wall time, in percent:
  ops     the thread that computes is in an op and does not wait
  waits   it waits for weights, for rows of a table or for the scratch file
  gaps    neither: making the arena, copies between the networks, samplers, rounding to pixels
  full    all threads are in the loop of an op
  serial  an op runs, and no thread is in a loop of it: what one thread does alone
  reader  a thread reads weights or moves pictures to or from the disk
Then the ops that took the most: seconds, share of the phase, number of runs, attributes, operands.
"""
import argparse
import collections
import json
import pathlib
import sys


def load(path):
    """(events, names of rows) of a trace; times in seconds."""
    document = json.loads(pathlib.Path(path).read_text())
    if document["droppedSpans"]:
        print(f"{document['droppedSpans']} spans were dropped: the end is not told",
              file=sys.stderr)
    rows, events = {}, []
    for event in document["traceEvents"]:
        if event["ph"] == "M":
            rows[event["tid"]] = event["args"]["name"]
        else:
            begin = event["ts"] * 1e-6
            events.append({**event, "begin": begin, "end": begin + event["dur"] * 1e-6})
    return events, rows


def union(spans):
    """Disjoint (begin, end), in order."""
    merged = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([begin, end])
    return merged


def overlap(a, b):
    """Length of what two unions share."""
    total, i, j = 0.0, 0, 0
    while i < len(a) and j < len(b):
        total += max(0.0, min(a[i][1], b[j][1]) - max(a[i][0], b[j][0]))
        if a[i][1] < b[j][1]:
            i += 1
        else:
            j += 1
    return total


def busy_with(spans, count):
    """The union of where `count` of the spans run at once."""
    changes = sorted([(begin, 1) for begin, _ in spans] + [(end, -1) for _, end in spans])
    full, running, since = [], 0, 0.0
    for time, change in changes:
        if running < count <= running + change:
            since = time
        elif running >= count > running + change:
            full.append((since, time))
        running += change
    return union(full)


def split_phases(events, rows):
    """One dict a phase, in the order of the job."""
    is_worker = {row: name.startswith("worker") for row, name in rows.items()}
    num_threads = 1 + sum(is_worker.values())
    on_main = [event for event in events if event["tid"] == 0]
    phases = []
    for phase in (event for event in on_main if event["cat"] == "phase"):
        def spans(chosen):
            return [(max(e["begin"], phase["begin"]), min(e["end"], phase["end"]))
                    for e in chosen if e["begin"] < phase["end"] and e["end"] > phase["begin"]]

        ops = union(spans(e for e in on_main if e["cat"] == "op"))
        waits = union(spans(e for e in on_main if e["cat"] == "wait"))
        loops = spans(e for e in events if e["cat"] == "loop" or is_worker[e["tid"]])
        reads = union(spans(e for e in events if e["cat"] in ("read", "write")))
        op_s, wait_s, waits_in_ops = length(ops), length(waits), overlap(ops, waits)
        wall_s = phase["end"] - phase["begin"]
        in_ops = [e for e in on_main if e["cat"] == "op" and
                  phase["begin"] <= e["begin"] < phase["end"]]
        phases.append({
            "phase": phase["name"], "wall_s": wall_s, "ops_s": op_s - waits_in_ops,
            "waits_s": wait_s, "gaps_s": wall_s - (op_s - waits_in_ops) - wait_s,
            "full_s": length(busy_with(loops, num_threads)),
            "serial_s": op_s - waits_in_ops - overlap(ops, union(loops)),
            "reader_s": length(reads), "ops": busiest(in_ops)})
    return phases


def length(spans):
    return sum(end - begin for begin, end in spans)


def busiest(ops):
    groups = collections.defaultdict(lambda: [0.0, 0])
    for op in ops:
        key = (op["name"], op["args"]["attributes"], op["args"]["operands"], op["args"]["output"])
        groups[key][0] += op["end"] - op["begin"]
        groups[key][1] += 1
    return [{"name": key[0], "attributes": key[1], "operands": key[2], "output": key[3],
             "seconds": seconds, "runs": runs}
            for key, (seconds, runs) in sorted(groups.items(), key=lambda item: -item[1][0])]


def print_phases(phases, top):
    columns = ["ops", "waits", "gaps", "full", "serial", "reader"]
    print(f"{'phase':10}{'wall s':>9}" + "".join(f"{name:>9}" for name in columns))
    for phase in phases:
        shares = (100 * phase[f"{name}_s"] / max(phase["wall_s"], 1e-9) for name in columns)
        print(f"{phase['phase']:10}{phase['wall_s']:9.3f}"
              + "".join(f"{share:8.1f}%" for share in shares))
    for phase in phases:
        for op in phase["ops"][:top]:
            share = 100 * op["seconds"] / phase["wall_s"]
            print(f"{phase['phase']:10}{op['seconds']:9.3f}{share:8.1f}%{op['runs']:6d} x "
                  f"{op['name']} {op['attributes']}: {op['operands']} -> {op['output']}")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=pathlib.Path)
    parser.add_argument("--top", type=int, default=5, help="ops a phase (5)")
    parser.add_argument("--json", action="store_true", help="one list of phases, all ops")
    args = parser.parse_args()
    phases = split_phases(*load(args.trace))
    if args.json:
        print(json.dumps(phases, indent=1))
    else:
        print_phases(phases, args.top)


if __name__ == "__main__":
    main()
