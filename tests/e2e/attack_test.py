"""What attackers try against `ingot serve`, over real sockets."""
import base64
import gzip
import json
import pathlib
import re
import socket
import struct
import tempfile
import time
import unittest
import zlib

import ingot
from server import SMALL, ServedTest, Server

LOGIN = base64.b64encode(b"ann:secret").decode()
MIB = 1 << 20
PATHS = ["../../../../etc/passwd", "/etc/passwd", "..\\..\\etc\\passwd", "%2e%2e%2f%2e%2e%2fetc/passwd",
         "....//etc/passwd", "file:///etc/passwd", "/proc/self/environ", "Stable-diffusion/../../../x",
         "ingot-demo.gguf/../../../../etc/passwd", "\0/etc/passwd"]


def png(*chunks):
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in chunks:
        data += struct.pack(">I4s", len(body), kind) + body
        data += struct.pack(">I", zlib.crc32(kind + body))
    return data


def header(width, height):
    return b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)


class AttackTest(ServedTest):
    def resident_mib(self):
        return self.server.rss_bytes()[self.server.process.pid] / MIB

    def png_info(self, data):
        return self.server.ask("POST", "/sdapi/v1/png-info",
                               {"image": base64.b64encode(data).decode()})[0]

    def test_png_bombs_take_neither_memory_nor_time(self):
        packer = zlib.compressobj(9)
        zeros = b"".join(packer.compress(bytes(MIB)) for _ in range(512)) + packer.flush()
        bombs = [
            png(header(64, 64), (b"zTXt", b"parameters\0\0" + zeros), (b"IEND", b"")),
            png(header(64, 64), (b"iTXt", b"parameters\0\1\0\0\0" + zeros), (b"IEND", b"")),
            png(header(0x7fffffff, 0x7fffffff), (b"IDAT", zeros), (b"IEND", b"")),
            png(header(64, 64), *[(b"tEXt", b"parameters\0x")] * 100_000, (b"IEND", b"")),
            png(header(64, 64))[:-4] + struct.pack(">I4s", 0x7fffffff, b"tEXt") + b"parameters\0x",
            png(header(64, 64)) + struct.pack(">I4s", 0xffffffff, b"tEXt") + b"parameters\0x",
            b"\x89PNG\r\n\x1a\n", b"PK\3\4" + zeros, gzip.compress(bytes(MIB))]
        before = self.resident_mib()
        for bomb in bombs:
            begin = time.monotonic()
            self.assertIn(self.png_info(bomb), (200, 422))
            self.assertLess(time.monotonic() - begin, 20)
        self.assertLess(self.resident_mib() - before, 64)

    def test_packed_bodies_are_not_unpacked(self):
        body = gzip.compress(json.dumps(SMALL).encode())
        for encoding in ("gzip", "deflate", "br"):
            status, _, _ = self.server.ask("POST", "/sdapi/v1/txt2img", raw=body,
                                           headers={"Content-Encoding": encoding})
            self.assertEqual(status, 422)

    def test_bodies_of_brackets_take_no_memory(self):
        before = self.resident_mib()
        for body in (b"[" * (32 * MIB), b'{"a":' * (8 * MIB), b"[" + b"{}," * (8 * MIB) + b"1]",
                     b'{"prompt":"' + b"\\u0041" * (4 * MIB) + b'"}'):
            self.assertEqual(self.server.ask("POST", "/sdapi/v1/txt2img", raw=body)[0], 422)
        self.assertLess(self.resident_mib() - before, 128)  # the bodies, which malloc may keep

    def test_oversized_bodies_are_413_before_they_are_sent(self):
        with socket.create_connection(self.server.address, timeout=10) as client:
            client.sendall(b"POST /sdapi/v1/txt2img HTTP/1.1\r\nHost: localhost\r\n"
                           b"Content-Length: 10000000000\r\n\r\n")
            self.assertTrue(client.recv(4096).startswith(b"HTTP/1.1 413 "))

    def test_no_path_of_a_client_is_opened(self):
        secret = re.compile(rb"root:|PATH=")
        for path in PATHS:
            jobs = [("/ingot/v1/jobs", {"job": {**SMALL, "model": path}}),
                    ("/ingot/v1/plan", {"job": {**SMALL, "files": {"vae": path}}}),
                    ("/ingot/v1/tokens", {"prompt": "a", "model": path}),
                    ("/sdapi/v1/options", {"sd_model_checkpoint": path}),
                    ("/v1/images/generations", {"prompt": "a", "model": path})]
            for name in ("sd_model_checkpoint", "sd_vae"):
                jobs.append(("/sdapi/v1/txt2img", {**SMALL, "override_settings": {name: path}}))
            jobs.append(("/sdapi/v1/txt2img",
                         {**SMALL, "override_settings": {"forge_additional_modules": [path]}}))
            for target, body in jobs:
                status, _, data = self.server.ask("POST", target, body)
                self.assertIn(status, (400, 404, 422), (target, body))
                self.assertIsNone(secret.search(data), data[:300])
        for target in ("/../../../../etc/passwd", "/docs/../../etc/passwd", "//etc/passwd",
                       "/ingot/v1/jobs/..%2f..%2fetc%2fpasswd", "/%2e%2e/%2e%2e/etc/passwd",
                       "/ingot/v1/jobs/x/images/..%2f..%2fetc%2fpasswd", "/.git/config"):
            with socket.create_connection(self.server.address, timeout=10) as client:
                client.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n"
                               "Connection: close\r\n\r\n".encode())
                answer = client.makefile("rb").read()
            self.assertRegex(answer, rb"\AHTTP/1.1 40[04] ", target)
            self.assertIsNone(secret.search(answer), target)

    def test_no_address_of_a_client_is_fetched(self):
        with socket.socket() as trap:
            trap.bind(("127.0.0.1", 0))
            trap.listen()
            trap.settimeout(0.5)
            address = "http://127.0.0.1:%d/x.png" % trap.getsockname()[1]
            for body in ({"image": address}, {"image": "data:image/png;base64," + address}):
                self.assertEqual(self.server.ask("POST", "/sdapi/v1/png-info", body)[0], 422)
            self.assertEqual(self.server.ask("POST", "/sdapi/v1/txt2img",
                                             {**SMALL, "init_images": [address]})[0], 422)
            with self.assertRaises(TimeoutError):
                trap.accept()

    def test_a_name_that_was_bound_to_this_address_gets_nothing(self):
        for path in ("/", "/docs", "/openapi.json", "/healthz", "/metrics", "/ingot/v1/jobs",
                     "/ingot/v1/events", "/sdapi/v1/progress", "/nowhere"):
            status, _, _ = self.server.ask("GET", path, headers={"Host": "evil.example"})
            self.assertEqual(status, 403, path)

    def test_a_page_of_another_origin_starts_nothing(self):
        openapi = self.server.json("GET", "/openapi.json")
        asked = 0
        for path, methods in openapi["paths"].items():
            for method in methods:
                if method == "get" or path in ("/ingot/v1/plan", "/ingot/v1/tokens",
                                               "/sdapi/v1/png-info", "/internal/progress",
                                               "/controlnet/detect"):
                    continue  # these only ask
                status, headers, _ = self.server.ask(method.upper(), path.replace("{id}", "x"), {},
                                                     headers={"Origin": "https://evil.example"})
                self.assertEqual(status, 403, (method, path))
                self.assertNotIn("Access-Control-Allow-Origin", headers)
                asked += 1
        self.assertGreater(asked, 15)
        self.assertEqual(self.server.json("GET", "/ingot/v1/jobs")["jobs"], [])

    def test_slow_clients_hold_nobody_up(self):
        slow = []
        for i in range(500):
            client = socket.create_connection(self.server.address)
            client.sendall((b"GET / HTTP/1.1\r\nX: ", b"POST /sdapi/v1/txt2img HTTP/1.1\r\n"
                            b"Host: localhost\r\nContent-Length: 100000\r\n\r\n{", b"")[i % 3])
            self.addCleanup(client.close)
            slow.append(client)
        begin = time.monotonic()
        for _ in range(20):
            self.assertEqual(self.server.ask("GET", "/sdapi/v1/progress")[0], 200)
            for client in slow:
                client.sendall(b"a")
        self.assertEqual(self.server.ask("POST", "/sdapi/v1/txt2img", SMALL)[0], 200)
        self.assertLess(time.monotonic() - begin, 60)
        threads = pathlib.Path(f"/proc/{self.server.process.pid}/status").read_text()
        self.assertLess(int(re.search(r"Threads:\s+(\d+)", threads).group(1)), 40)
        self.server.json("DELETE", "/ingot/v1/jobs/" + self.server.json(
            "GET", "/ingot/v1/jobs")["jobs"][0]["id"])

    def test_clients_that_do_not_read_hold_nobody_up(self):
        for _ in range(100):
            client = socket.create_connection(self.server.address)
            self.addCleanup(client.close)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50)
        begin = time.monotonic()
        for _ in range(20):
            self.assertEqual(self.server.ask("GET", "/healthz")[0], 200)
        self.assertLess(time.monotonic() - begin, 20)


class AuthTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.server = Server(cls.folder.name, flags=["--api-auth", "ann:secret"])

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.folder.cleanup()

    def test_every_operation_asks_for_credentials(self):
        status, _, data = self.server.ask("GET", "/openapi.json",
                                          headers={"Authorization": "Basic " + LOGIN})
        self.assertEqual(status, 200)
        paths = json.loads(data)["paths"]
        self.assertGreater(len(paths), 50)
        targets = [(method.upper(), path) for path, methods in paths.items() for method in methods]
        for method, path in targets + [("GET", "/nowhere"), ("HEAD", "/"), ("PATCH", "/"),
                                       ("GET", "/docs/../openapi.json"), ("GET", "//openapi.json")]:
            path = path.replace("{id}", "x").replace("{n}", "0")
            status, headers, data = self.server.ask(method, path)
            self.assertEqual(status, 401, (method, path))
            self.assertIn("WWW-Authenticate", headers)
            self.assertNotIn(b"secret", data)

    def test_no_answer_holds_the_password(self):
        for path in ("/sdapi/v1/cmd-flags", "/sdapi/v1/options", "/metrics", "/openapi.json", "/docs",
                     "/config", "/ingot/v1/version", "/nowhere"):
            _, _, data = self.server.ask("GET", path, headers={"Authorization": "Bearer secret"})
            self.assertNotIn(b"secret", data, path)


if __name__ == "__main__":
    ingot.main()
