"""Every field of every body and query of /openapi.json, one after the other: absent, null, of a
wrong type, extreme, deep. Nothing of it may be the server's fault (5xx) or end a process.
By hand, all of it: INGOT_FUZZ_SECONDS=3600 field_fuzz_test.py INGOT."""
import http.client
import json
import os
import random
import time

import ingot
from server import Cancelling, ServedTest

SECONDS = float(os.environ.get("INGOT_FUZZ_SECONDS", "10"))  # of each test
SMALL_JOB = {"prompt": "a", "width": 64, "height": 64, "steps": 1, "seed": 1}
BASES = {
    "/sdapi/v1/txt2img": SMALL_JOB,
    "/ingot/v1/jobs": {"job": SMALL_JOB},
    "/ingot/v1/plan": {"job": SMALL_JOB},
    "/ingot/v1/tokens": {"prompt": "a"},
    "/v1/images/generations": {"prompt": "a", "size": "64x64", "steps": 1, "seed": 1},
    "/sdapi/v1/png-info": {"image": "iVBORw0KGgo="},
}
JOB_FIELDS = ["prompt", "negative_prompt", "model", "width", "height", "steps", "batch", "seed",
              "sampler", "scheduler", "rng", "precision", "cfg", "guidance", "eta", "files",
              "numerics", "unknown", "files.clip", "files.diffusion", "files.unknown"]


def with_field(base, field, value):
    """`base` as JSON with `field` ("a", "a.b") set to the JSON text `value`; None: left out."""
    outer, _, inner = field.partition(".")
    rest = {key: known for key, known in base.items() if key != outer}
    if value is None:
        return json.dumps(rest).encode()
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogatepass")
    if inner:
        value = f"{{{json.dumps(inner)}: {value}}}"
    head = json.dumps(rest)[:-1] + (", " if rest else "")
    return f"{head}{json.dumps(outer)}: {value}}}".encode("utf-8", "surrogatepass")


def nested(depth, opening, closing, inner="1"):
    return opening * depth + inner + closing * depth


def text(value):
    return json.dumps(value)


# As JSON text, so that what Python cannot hold is there as well.
VALUES = [
    "null", "true", "false", "0", "-1", "1", "2", "7", "0.5", "-0.0", "12.5", "1e-320",
    text(2**31), text(-2**31 - 1), text(2**53 + 1), text(2**63), text(-2**63), text(2**64),
    "1" * 400, "1e308", "-1e308", "1e400", "NaN", "Infinity",
    text(""), text(" "), text("x"), text("7"), text("7.5"), text("1e400"), text("nan"), text("-1"),
    text("true"), text("0x10"), text("\0"), text("a\0b"), r'"\ud800"', r'"\udc00\ud800"',
    text("é😀‮￿"), text("../../etc/passwd"), text("/etc/passwd"), text("file:///etc/passwd"),
    text("http://127.0.0.1:1/"), text("data:image/png;base64,AAAA"), text("{}%s%n{0}"),
    text("' OR 1=1; --"), text("\r\nX: y"), text("x" * 100_000), text("(" * 20_000), text("[" * 5000),
    text("64x64"), text("8192x8192"), text("99999999999x1"), text("Euler"), text("Automatic"),
    "[]", "[[]]", "[null]", '["x", 1, null]', "[1e308]", "{}", '{"a": null}', '{"": {}}',
    '{"args": [true]}', '{"enabled": true}', nested(40, "[", "]"), nested(40, '{"a":', "}"),
    "[" + "0," * 10_000 + "0]",
]
QUERY_VALUES = [
    "", "0", "-1", "1", "x", "1e400", "99999999999999999999", "true", "%00", "%ff", "%F0%9F%98%80",
    "a" * 5000, "..%2f..%2fetc", "%27%20OR%201=1", "running", "%25", "_%25", "%2e%2e", "a%0d%0ab",
]
BODIES = [
    b"", b" ", b"null", b'""', b"{", b"[]", b"1", b'"x"', b"{}}", b"\xff\xfe", b'{"prompt": "\xff"}',
    b'{"a": 1, "a": 2}', b"\0", b"{'prompt': 'a'}", b"prompt=a", nested(100_000, "[", "]").encode(),
    nested(100_000, '{"a":', "}").encode(), b'{"a":"' + b"\\u0000" * 100_000 + b'"}',
    b"[" + b"0," * 100_000 + b"0]",
]


class FieldFuzzTest(ServedTest):
    def setUp(self):
        self.connection = http.client.HTTPConnection(*self.server.address, timeout=120)
        self.addCleanup(self.connection.close)
        self.openapi = self.server.json("GET", "/openapi.json")

    def tearDown(self):
        self.assertEqual(self.server.ask("GET", "/healthz")[0], 200)
        for state in ("failed", "quarantined"):
            jobs = self.server.json("GET", f"/ingot/v1/jobs?state={state}")["jobs"]
            self.assertEqual([(job["job"], job["error"]) for job in jobs], [])
        self.assertIsNone(self.server.process.poll())

    def ask_all(self, cases):
        """As many of [(method, path, body)] as there is time for, in an order of their own."""
        cases = list(cases)
        random.Random(1).shuffle(cases)
        end, count = time.monotonic() + SECONDS, 0
        with Cancelling(self.server):
            for method, path, body in cases:
                if time.monotonic() > end:
                    break
                self.ask(method, path, body)
                count += 1
        print(f"{count} of {len(cases)} requests ... ", end="", flush=True)

    def ask(self, method, path, body):
        """An answer that blames the caller or nobody."""
        shown = f"{method} {path} {body[:300]}"
        try:
            self.connection.request(method, path, body)
            response = self.connection.getresponse()
            data = response.read()
        except OSError as error:
            self.fail(f"{shown}: {error!r}")
        if not 200 <= response.status < 500:
            self.fail(f"{shown}: {response.status} {data[:300]}")
        if response.status >= 400:
            self.assertTrue(json.loads(data).keys() & {"detail", "error"}, (shown, data[:300]))

    def operations(self, kind):
        for path, methods in self.openapi["paths"].items():
            for method, operation in methods.items():
                if kind in operation:
                    yield method.upper(), path, operation

    def fields(self, operation):
        reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        return self.openapi["components"]["schemas"][reference.split("/")[-1]]["properties"]

    def test_no_field_of_a_body_is_the_servers_fault(self):
        self.ask_all((method, path, with_field(BASES.get(path, {}), field, value))
                     for method, path, operation in self.operations("requestBody")
                     for field in self.fields(operation) for value in [None, *VALUES])

    def test_no_field_of_a_job_is_the_servers_fault(self):
        self.ask_all(("POST", path, with_field({}, "job", with_field(SMALL_JOB, field, value)))
                     for path in ("/ingot/v1/plan", "/ingot/v1/jobs")
                     for field in JOB_FIELDS for value in [None, *VALUES])

    def test_no_option_of_a_job_is_the_servers_fault(self):
        options = self.openapi["components"]["schemas"]["Options"]["properties"]
        self.ask_all(("POST", "/sdapi/v1/txt2img",
                      with_field(SMALL_JOB, f"override_settings.{option}", value))
                     for option in options for value in VALUES)

    def test_no_body_is_the_servers_fault(self):
        self.ask_all((method, path, body) for method, path, _ in self.operations("responses")
                     if method != "GET" and "{" not in path for body in BODIES)

    def test_no_query_is_the_servers_fault(self):
        def target(path, parameter, value):
            if parameter["in"] == "query":
                return f"{path}?{parameter['name']}={value}"
            path = path.replace("{" + parameter["name"] + "}", value)
            return path.replace("{id}", "nobody").replace("{n}", "0")
        self.ask_all((method, target(path, parameter, value), b"")
                     for method, path, operation in self.operations("parameters")
                     for parameter in operation["parameters"] for value in QUERY_VALUES)


if __name__ == "__main__":
    ingot.main()
