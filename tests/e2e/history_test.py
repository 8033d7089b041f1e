"""The history over HTTP: lists, small pictures, what is removed and comes back, what pictures say."""
import base64
import pathlib
import struct
import tempfile
import unittest
import zlib

import ingot
from server import SMALL, Server, ServedTest


def size_of(png):
    return struct.unpack(">II", png[16:24])


class HistoryTest(ServedTest):
    def make(self, **fields):
        """An ended job."""
        job = self.server.json("POST", "/ingot/v1/jobs", {"job": {**SMALL, **fields}}, 202)
        self.server.events(f"/ingot/v1/jobs/{job['id']}/events")
        return self.server.json("GET", f"/ingot/v1/jobs/{job['id']}")

    def found(self, query):
        page = self.server.json("GET", f"/ingot/v1/jobs?fields=brief&{query}")
        return [job["id"] for job in page["jobs"]]

    def test_jobs_are_found_by_prompt_model_and_time(self):
        job = self.make(prompt="a purple boat", batch=2)
        self.assertEqual(self.found("search=purple"), [job["id"]])
        page = self.server.json("GET", "/ingot/v1/jobs?fields=brief&search=purple&model=ingot-demo")
        self.assertEqual((page["num_total"], page["num_images"]), (1, 2))
        brief = page["jobs"][0]
        self.assertEqual((brief["model"], brief["width"], brief["num_images"]), ("ingot-demo", 64, 2))
        self.assertNotIn("plan", brief)
        accepted = job["accepted"]
        self.assertEqual(self.found(f"search=purple&since={accepted - 1}&until={accepted + 1}"), [job["id"]])
        self.assertEqual(self.found(f"search=purple&until={accepted - 1}"), [])
        self.assertEqual(self.found("search=purple&model=other"), [])

    def test_small_pictures_are_small_and_kept(self):
        job = self.make(width=384, height=192)
        path = job["images"][0]["url"]
        status, headers, small = self.server.ask("GET", path + "?size=100")
        self.assertEqual((status, size_of(small)), (200, (128, 64)))
        self.assertIn("immutable", headers["Cache-Control"])
        self.assertNotIn(b"parameters", small)
        kept = list((pathlib.Path(self.folder.name) / "thumbnails").glob(f"{job['id']}-*"))
        self.assertEqual([file.read_bytes() for file in kept], [small])

    def test_a_removed_job_is_hidden_and_comes_back(self):
        job = self.make(prompt="a hidden one")
        path, picture = f"/ingot/v1/jobs/{job['id']}", job["images"][0]["url"]
        self.server.json("DELETE", path)
        for hidden in (path, picture, picture + "?size=128"):
            self.assertEqual(self.server.ask("GET", hidden)[0], 404)
        self.assertEqual(self.found("search=hidden"), [])
        self.server.json("POST", path + "/restore")
        self.assertEqual(self.server.json("GET", path)["job"], job["job"])
        self.assertEqual(self.server.ask("GET", picture)[0], 200)
        self.server.json("POST", "/ingot/v1/jobs/none/restore", status=404)

    def test_a_jpeg_of_forge_becomes_a_job(self):
        text = ("a cat\nSteps: 20, Sampler: Euler, Schedule type: Simple, CFG scale: 1, Seed: 42, "
                "Size: 64x64, Model: ingot-demo, Version: f2.0.1")
        comment = b"UNICODE\0" + text.encode("utf-16-be")
        tiff = (b"MM\0*" + struct.pack(">IHHHIIIHHHIII", 8, 1, 0x8769, 4, 1, 26, 0, 1, 0x9286, 7,
                                       len(comment), 44, 0) + comment)
        jpeg = b"\xff\xd8\xff\xe1" + struct.pack(">H", len(tiff) + 8) + b"Exif\0\0" + tiff + b"\xff\xd9"
        answer = self.server.json("POST", "/sdapi/v1/png-info",
                                  {"image": base64.b64encode(jpeg).decode()})
        self.assertEqual(answer["info"], text)
        self.assertEqual(answer["ingot"]["source"], "Forge")
        self.assertEqual(answer["ingot"]["unknown"], [])
        job = answer["ingot"]["job"]
        self.assertEqual((job["model"], job["steps"], job["rng"]), ("ingot-demo.gguf", 20, "nv"))
        self.server.json("POST", "/ingot/v1/plan", {"job": job})

    def test_a_bomb_of_a_picture_is_no_text(self):
        def chunk(kind, data):
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        bomb = zlib.compress(b"a" * (1 << 28), 9)
        png = (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)) +
               chunk(b"zTXt", b"parameters\0\0" + bomb) + chunk(b"IEND", b""))
        before = self.server.rss_bytes()[self.server.process.pid]
        answer = self.server.json("POST", "/sdapi/v1/png-info", {"image": base64.b64encode(png).decode()})
        self.assertIsNone(answer["ingot"]["source"])
        self.assertLess(self.server.rss_bytes()[self.server.process.pid] - before, 32 << 20)


class RestartTest(unittest.TestCase):
    def test_what_was_removed_can_be_restored_after_a_restart(self):
        with tempfile.TemporaryDirectory() as folder:
            with Server(folder) as server:
                job = server.json("POST", "/ingot/v1/jobs", {"job": SMALL}, 202)
                server.events(f"/ingot/v1/jobs/{job['id']}/events")
                server.json("DELETE", f"/ingot/v1/jobs/{job['id']}")
            with Server(folder) as server:
                server.json("GET", f"/ingot/v1/jobs/{job['id']}", status=404)
                server.json("POST", f"/ingot/v1/jobs/{job['id']}/restore")
                self.assertEqual(server.ask("GET", f"/ingot/v1/jobs/{job['id']}/images/0")[0], 200)


if __name__ == "__main__":
    ingot.main()
