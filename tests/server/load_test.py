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


def open_streams(port, count):
    streams = []
    for _ in range(count):
        stream = socket.create_connection(("127.0.0.1", port))
        stream.sendall(b"GET /test/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        streams.append(stream)
    for stream in streams:
        head = b""
        while b"\r\n\r\n" not in head:
            part = stream.recv(4096)
            assert part, "a stream ended before its head"
            head += part
        assert head.startswith(b"HTTP/1.1 200 "), head
    return streams


def poll(port, until, delay, seconds):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    time.sleep(delay)
    while time.monotonic() < until:
        begin = time.perf_counter()
        connection.request("GET", "/test/cheap")
        answer = connection.getresponse()
        body = answer.read()
        seconds.append(time.perf_counter() - begin)
        assert answer.status == 200, body
        time.sleep(1)


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
        seconds, errors = [], []
        until = time.monotonic() + num_seconds

        def run(i):
            try:
                poll(port, until, i / num_pollers, seconds)
            except Exception as error:  # told by the main thread
                errors.append(repr(error))

        threads = [threading.Thread(target=run, args=(i,)) for i in range(num_pollers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors, errors[:3]
        seconds.sort()
        selector = selectors.DefaultSelector()
        for stream in streams:
            selector.register(stream, selectors.EVENT_READ)
        for key, _ in selector.select(0):
            assert key.fileobj.recv(4096), "a stream ended"
        print(json.dumps({
            "streams": num_streams, "pollers": num_pollers, "requests": len(seconds),
            "p50_ms": round(1000 * seconds[len(seconds) // 2], 3),
            "p99_ms": round(1000 * seconds[len(seconds) * 99 // 100], 3),
            "max_ms": round(1000 * seconds[-1], 3),
            "server_threads": memory_kib(server.pid, "Threads"),
            "rss_kib_per_stream": round(
                (memory_kib(server.pid, "VmRSS") - rss_before) / max(1, num_streams), 2)}))
    finally:
        server.terminate()
        assert server.wait(timeout=10) == 0, server.returncode


if __name__ == "__main__":
    main()
