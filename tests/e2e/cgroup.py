"""A kernel memory limit around processes, by cgroups v1 or v2."""

import os
import pathlib
import re
import time

MIB = 1 << 20


class NoCgroup(Exception):
    """Why this machine cannot limit a process."""


class MemoryCgroup:
    """A cgroup of its own, v1 or v2, below this process's or beside it; removed at the end."""

    def __init__(self, limit_bytes):
        folder, self.is_v1 = self.own_folder()
        # v2 has processes in leaves alone: where they may not be below us, they are beside us.
        for parent in (folder, folder.parent):
            self.folder = parent / f"ingot-wall-{os.getpid()}"
            try:
                self.folder.mkdir()
            except OSError as error:
                raise NoCgroup(f"{parent}: cannot make a cgroup: {error.strerror}")
            if (self.folder / self.limit_file).exists():
                break
            self.folder.rmdir()
        else:
            raise NoCgroup(f"{folder}: the memory controller is not handed down")
        try:
            self.limit(limit_bytes)
        except OSError as error:
            self.folder.rmdir()
            raise NoCgroup(f"{self.folder}: cannot set a limit: {error.strerror}")

    @staticmethod
    def own_folder():
        proc = pathlib.Path("/proc/self")
        groups = [line.split(":", 2) for line in (proc / "cgroup").read_text().splitlines()]
        for line in (proc / "mountinfo").read_text().splitlines():
            head, tail = (part.split() for part in line.split(" - "))
            is_v1 = tail[0] == "cgroup" and "memory" in tail[2].split(",")
            for number, controllers, path in groups:
                if (is_v1 and "memory" in controllers.split(",")
                        or tail[0] == "cgroup2" and number == "0" and controllers == ""):
                    below = os.path.relpath(path, head[3])
                    folder = pathlib.Path(head[4], "" if below.startswith("..") else below)
                    if (folder / "memory.stat").exists():
                        return folder, is_v1
        raise NoCgroup("/proc/self/cgroup: no memory controller")

    @property
    def limit_file(self):
        return "memory.limit_in_bytes" if self.is_v1 else "memory.max"

    def limit(self, num_bytes):
        (self.folder / self.limit_file).write_text(str(num_bytes))
        if self.is_v1:
            (self.folder / "memory.swappiness").write_text("0")
            with_swap = self.folder / "memory.memsw.limit_in_bytes"
            if with_swap.exists():
                with_swap.write_text(str(num_bytes))
        elif (self.folder / "memory.swap.max").exists():
            (self.folder / "memory.swap.max").write_text("0")

    def enter(self):
        (self.folder / "cgroup.procs").write_text("0")

    @property
    def peak_bytes(self):
        """Page cache and page tables counted; None on a kernel that does not say."""
        file = self.folder / ("memory.max_usage_in_bytes" if self.is_v1 else "memory.peak")
        return int(file.read_text()) if file.exists() else None

    @property
    def num_killed(self):
        file = self.folder / ("memory.oom_control" if self.is_v1 else "memory.events")
        return int(re.search(r"^oom_kill (\d+)$", file.read_text(), re.M).group(1))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for _ in range(50):  # the kernel lets go of the last process a little after its end
            try:
                return self.folder.rmdir()
            except OSError:
                time.sleep(0.1)
