"""Idle event streams and clients that poll: latencies of a cheap route, memory and threads.

Usage: load_test.py FAKE_SERVER [streams] [pollers] [seconds]. Prints one JSON object. Fails when a
request fails or a stream does not come up; the numbers are read by people.
"""
import http.client
import json
import resource
import selectors
import socket
import subprocess
import sys
import threading
import time


def memory_kib(pid, key):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith(key + ":"):
            return int(line.split()[1])
    return 0


def open_streams(port, count, path="/test/events"):
    streams = []
    for _ in range(count):
        stream = socket.create_connection(("127.0.0.1", port))
        stream.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        streams.append(stream)
    for stream in streams:
        head = b""
        while b"\r\n\r\n" not in head:
            part = stream.recv(4096)
            assert part, "a stream ended before its head"
            head += part
        assert head.startswith(b"HTTP/1.1 200 "), head
    return streams


def poll(port, path, until, delay, seconds):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    time.sleep(delay)
    while time.monotonic() < until:
        begin = time.perf_counter()
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        seconds.append(time.perf_counter() - begin)
        assert answer.status == 200, body
        time.sleep(1)


class Pollers:
    """`count` clients, each of which asks for `path` once a second, spread over the second."""

    def __init__(self, port, path, count, num_seconds):
        self.seconds, self.errors = [], []
        until = time.monotonic() + num_seconds

        def run(i):
            try:
                poll(port, path, until, i / count, self.seconds)
            except Exception as error:  # told by join
                self.errors.append(repr(error))

        self.threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
        for thread in self.threads:
            thread.start()

    def join(self):
        """{"requests", "p50_ms", "p99_ms", "max_ms"}"""
        for thread in self.threads:
            thread.join()
        assert not self.errors, self.errors[:3]
        ordered = sorted(self.seconds)
        return {"requests": len(ordered),
                "p50_ms": round(1000 * ordered[len(ordered) // 2], 3),
                "p99_ms": round(1000 * ordered[len(ordered) * 99 // 100], 3),
                "max_ms": round(1000 * ordered[-1], 3)}


def main():
    binary = sys.argv[1]
    num_streams, num_pollers, num_seconds = [
        int(sys.argv[i]) if len(sys.argv) > i else default
        for i, default in ((2, 1000), (3, 50), (4, 5))]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = subprocess.Popen([binary, "0"], stdout=subprocess.PIPE, text=True)
    try:
        port = int(server.stdout.readline().strip().rsplit(":", 1)[1])
        rss_before = memory_kib(server.pid, "VmRSS")
        streams = open_streams(port, num_streams)
        latencies = Pollers(port, "/test/cheap", num_pollers, num_seconds).join()
        selector = selectors.DefaultSelector()
        for stream in streams:
            selector.register(stream, selectors.EVENT_READ)
        for key, _ in selector.select(0):
            assert key.fileobj.recv(4096), "a stream ended"
        print(json.dumps({
            "streams": num_streams, "pollers": num_pollers, **latencies,
            "server_threads": memory_kib(server.pid, "Threads"),
            "rss_kib_per_stream": round(
                (memory_kib(server.pid, "VmRSS") - rss_before) / max(1, num_streams), 2)}))
    finally:
        server.terminate()
        assert server.wait(timeout=10) == 0, server.returncode


if __name__ == "__main__":
    main()
