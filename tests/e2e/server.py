"""One `ingot serve` on a free port, and how a test asks it."""
import http.client
import json
import pathlib
import re
import socket
import subprocess
import tempfile
import threading
import time
import unittest

from ingot import MODELS, binary

SMALL = {"prompt": "a red house", "steps": 2, "width": 64, "height": 64}


class Server:
    """One server, with a data folder of its own. `memory` None: what the machine has; `port` 0: a
    free one; `flags`: more of them. Its log is on stderr as far as there are errors; more of it only
    the page shows."""

    def __init__(self, data_dir, models=MODELS, memory="1GiB", preexec_fn=None, port=0, flags=(),
                 log_level="error"):
        self.process = subprocess.Popen(
            [binary(), "serve", "--port", str(port), "--data-dir", data_dir, "--models", str(models),
             "--log-level", log_level, *(["--memory", memory] if memory else []), *flags],
            stdout=subprocess.PIPE, stderr=None if log_level == "error" else subprocess.DEVNULL,
            text=True, preexec_fn=preexec_fn)
        for line in self.process.stdout:
            if found := re.search(r"http://([\d.]+):(\d+)", line):
                self.address = (found[1], int(found[2]))
                return
        raise RuntimeError("the server did not say where it listens")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def ask(self, method, path, body=None, headers=None, raw=None):
        """(status, headers, bytes)"""
        connection = http.client.HTTPConnection(*self.address, timeout=3600)
        data = raw if body is None else json.dumps(body)
        connection.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
        response = connection.getresponse()
        answer = response.status, dict(response.getheaders()), response.read()
        connection.close()
        return answer

    def json(self, method, path, body=None, status=200, headers=None):
        found, _, data = self.ask(method, path, body, headers)
        assert found == status, (method, path, found, data[:400])
        return json.loads(data)

    def events(self, path, headers=None, method="GET", body=None):
        """The events of a stream that ends: [(id, type, data)]"""
        _, _, data = self.ask(method, path, body, headers)
        events = []
        for block in data.decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
            if "data" in fields:
                events.append((fields.get("id"), fields.get("event"), json.loads(fields["data"])))
        return events

    def rss_bytes(self):
        """Resident sets by process id: the server's first, then its workers'."""
        listing = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)],
                                 capture_output=True, text=True)
        pids = [self.process.pid, *sorted(int(pid) for pid in listing.stdout.split())]
        statuses = {pid: pathlib.Path(f"/proc/{pid}/status").read_text() for pid in pids}
        return {pid: int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) * 1024
                for pid, status in statuses.items()}

    def stop(self):
        self.process.terminate()
        self._wait()

    def kill(self):
        self.process.kill()
        self._wait()

    def _wait(self):
        self.process.wait(60)
        self.process.stdout.close()


class ServedTest(unittest.TestCase):
    """Tests that share one server, self.server."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.server = Server(cls.folder.name)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.folder.cleanup()


class Cancelling:
    """While it lives, every job that starts is cancelled, and a budget that is set is taken back:
    what is asked of the server at random stays short."""

    def __init__(self, server):
        self.server = server
        self.connection = http.client.HTTPConnection(*server.address, timeout=3600)
        self.connection.request("GET", "/ingot/v1/events")
        self.socket = self.connection.sock
        self.stream = self.connection.getresponse()
        self.thread = threading.Thread(target=self.watch)

    def watch(self):
        event = ""
        while line := self.stream.readline().decode():
            name, _, value = line.strip().partition(": ")
            if name == "event":
                event = value
            elif name == "data" and event == "started":
                self.server.ask("DELETE", "/ingot/v1/jobs/" + json.loads(value)["job_id"])
            elif name == "data" and event == "memory" and "--memory" in value:
                self.server.ask("PUT", "/ingot/v1/memory", {"memory_bytes": None})

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.stream.close()
        self.connection.close()


def wait_until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
