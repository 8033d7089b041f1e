"""schemathesis of PyPI over every operation of /openapi.json of a live server. By hand, longer:
INGOT_SCHEMA_EXAMPLES=300 schema_test.py INGOT."""
import importlib.util
import os
import subprocess
import sys
import unittest

import ingot
from server import Cancelling, ServedTest

EXAMPLES = os.environ.get("INGOT_SCHEMA_EXAMPLES", "5")
ENDLESS = "/ingot/v1/events"


@unittest.skipUnless(importlib.util.find_spec("schemathesis"), "schemathesis is not installed")
class SchemaTest(ServedTest):
    def run_schemathesis(self, *flags):
        host, port = self.server.address
        with Cancelling(self.server):
            done = subprocess.run(
                [sys.executable, "-m", "schemathesis.cli", "run",
                 f"http://{host}:{port}/openapi.json", "--exclude-path", ENDLESS, "--seed", "1",
                 "--max-examples", EXAMPLES, "--request-timeout", "60",
                 "--phases", "coverage,fuzzing", "--no-shrink", "--warnings", "off",
                 "--no-color", *flags],
                cwd=self.folder.name, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(self.server.ask("GET", "/healthz")[0], 200)
        self.assertEqual(self.server.json("GET", "/ingot/v1/jobs?state=quarantined")["jobs"], [])

    def test_no_operation_answers_what_its_schema_does_not_hold(self):
        self.run_schemathesis("--checks", "not_a_server_error,status_code_conformance,"
                              "content_type_conformance,response_schema_conformance,"
                              "response_headers_conformance,unsupported_method,"
                              "allow_header_conformance")

    def test_strict_operations_refuse_what_their_schema_does_not_hold(self):
        self.run_schemathesis("--include-tag", "ingot", "--mode", "negative",
                              "--checks", "not_a_server_error,negative_data_rejection")


if __name__ == "__main__":
    ingot.main()
