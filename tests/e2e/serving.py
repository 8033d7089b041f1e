"""`ingot serve` under test: started on a free port in a folder of its own, asked over HTTP, ended."""

import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import time

from ingot import MODELS, binary

START_S = 60  # the longest wait for the first answer


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


class Server:
    """A running server; `url` has no slash at its end. Ends with the `with` block, its log is in
    `folder`/serve.log."""

    def __init__(self, folder, *flags, models=MODELS, port=0, preexec_fn=None):
        self.folder = pathlib.Path(folder)
        self.log = self.folder / "serve.log"
        self.command = [binary(), "serve", "--port", str(port), "--models", str(models),
                        "--data-dir", str(self.folder / "data"), *map(str, flags)]
        self.preexec_fn = preexec_fn

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, cwd=self.folder, stdout=log, stderr=log,
                                            preexec_fn=self.preexec_fn)
        seen = self.log.stat().st_size
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            found = re.findall(rb"https?://[^/\s\"]+:(\d+)", self.log.read_bytes())
            if found and self.process.poll() is None:
                self.port = int(found[-1])
                try:
                    if self.get("/ingot/v1/memory").status == 200:
                        return
                except OSError:
                    pass
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"no answer: {self.log.read_text()[-2000:]}")

    def stop(self, signal_number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method, path, body=None, headers=(), timeout=600):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            if isinstance(body, (dict, list)):
                body = json.dumps(body)
            connection.request(method, path, body,
                               {"Content-Type": "application/json", **dict(headers)})
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def get(self, path, **options):
        return self.ask("GET", path, **options)

    def post(self, path, body=None, **options):
        return self.ask("POST", path, body, **options)

    def children(self):
        """Process ids of the workers."""
        listing = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)],
                                 capture_output=True, text=True)
        return [int(pid) for pid in listing.stdout.split()]


def rss_bytes(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", text).group(1)) * 1024
