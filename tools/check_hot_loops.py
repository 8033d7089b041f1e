#!/usr/bin/env python3
"""Checks that no vector goes through the stack in the inner loops of integer products.

    check_hot_loops.py OBJECT INSTRUCTION...

A loop here is the code between a backward jump and its target, with no other
loop inside. Every such loop of OBJECT (an object or an archive) that has one of
the instructions (vpdpbusd, ...) must not move an xmm, ymm or zmm register from
or to an address by rsp or rbp: that is a spilled sum, and it costs a third of
the speed. Each instruction must be found in a loop, or the check checks nothing.
"""

import re
import subprocess
import sys

LINE = re.compile(r"^\s*([0-9a-f]+):\s+(.*?)\s*$")
JUMP = re.compile(r"^j[a-z]+\s+([0-9a-f]+)\b")
SPILL = re.compile(r"\(%r[sb]p")
VECTOR = re.compile(r"%[xyz]mm")


def functions(path):
    """(name, [(address, instruction)]) of each function."""
    text = subprocess.run(["objdump", "-d", "-C", "--no-show-raw-insn", path],
                          check=True, capture_output=True, text=True).stdout
    name, body = None, []
    for line in text.splitlines():
        if line.endswith(">:"):
            if name:
                yield name, body
            name, body = line[line.index("<") + 1:-2], []
        elif match := LINE.match(line):
            body.append((int(match[1], 16), match[2].removeprefix("{vex} ")))
    if name:
        yield name, body


def inner_loops(body):
    spans = []
    for address, instruction in body:
        match = JUMP.match(instruction)
        if match and int(match[1], 16) <= address and body[0][0] <= int(match[1], 16):
            spans.append((int(match[1], 16), address))
    for begin, end in spans:
        if not any(b >= begin and e <= end and (b, e) != (begin, end) for b, e in spans):
            yield [i for a, i in body if begin <= a <= end]


def main():
    path, wanted = sys.argv[1], set(sys.argv[2:])
    found, failures = dict.fromkeys(wanted, 0), 0
    for name, body in functions(path):
        if not any(i.split()[0] in wanted for _, i in body if i):
            continue
        for loop in inner_loops(body):
            hot = wanted & {i.split()[0] for i in loop}
            for instruction in hot:
                found[instruction] += 1
            for line in loop if hot else []:
                if SPILL.search(line) and VECTOR.search(line):
                    print(f"{name}: {line}", file=sys.stderr)
                    failures += 1
    for instruction, count in found.items():
        if count == 0:
            print(f"{path}: no loop with {instruction}", file=sys.stderr)
            failures += 1
    print(", ".join(f"{count} loops with {i}" for i, count in sorted(found.items())))
    return failures != 0


if __name__ == "__main__":
    sys.exit(main())
