"""`ingot serve` with the demo model, as clients of Forge, of OpenAI and of its own API meet it."""
import base64
import hashlib
import json
import pathlib
import shutil
import tempfile
import threading
import time
import unittest
import urllib.parse

import ingot
from ingot import MODELS
from server import SMALL, ServedTest, Server, wait_until


class ServerTest(ServedTest):
    def txt2img(self, body, status=200):
        return self.server.json("POST", "/sdapi/v1/txt2img", {**SMALL, **body}, status)

    def test_a_picture_comes_with_its_text_and_its_plan(self):
        answer = self.txt2img({"seed": 7, "n_iter": 2, "sampler_name": "k_euler"})
        info = json.loads(answer["info"])
        self.assertEqual(info["all_seeds"], [7, 8])
        self.assertEqual(len(answer["images"]), 2)
        self.assertEqual(info["sampler_name"], "Euler")
        self.assertGreater(answer["plan"]["peak_ram_bytes"], 0)
        told = self.server.json("POST", "/sdapi/v1/png-info", {"image": answer["images"][1]})
        self.assertEqual(told["parameters"]["Seed"], "8")
        self.assertEqual(told["info"], info["infotexts"][1])

    def test_the_same_job_gives_the_same_picture_whatever_the_memory_keys_say(self):
        pictures = {
            self.txt2img({"seed": 5, "override_settings": memory})["images"][0]
            for memory in ({}, {"forge_inference_memory": 1024}, {"forge_inference_memory": 99999},
                           {"forge_async_loading": "Async", "forge_pin_shared_memory": "Shared"})}
        self.assertEqual(len(pictures), 1)

    def test_eta_0_of_euler_a_adds_no_noise(self):
        ancestral = self.txt2img({"seed": 5, "sampler_name": "Euler a", "eta": 0})
        fresh = self.txt2img({"seed": 5, "sampler_name": "Euler a"})
        self.assertIn("Eta: 0", json.loads(ancestral["info"])["infotexts"][0])
        self.assertNotIn("Eta", json.loads(fresh["info"])["infotexts"][0])
        self.assertNotEqual(ancestral["images"], fresh["images"])

    def test_a_job_that_cannot_fit_is_refused_before_it_is_queued(self):
        before = self.server.json("GET", "/ingot/v1/jobs")["num_total"]
        answer = self.txt2img({"width": 8192, "height": 8192}, 422)
        self.assertIn("what would fit", answer["detail"])
        self.assertEqual(self.server.json("GET", "/ingot/v1/jobs")["num_total"], before)

    def test_options_hold_for_later_jobs_and_posting_them_back_is_nothing(self):
        options = self.server.json("GET", "/sdapi/v1/options")
        begin = time.monotonic()
        self.server.json("POST", "/sdapi/v1/options", options)
        self.server.json("POST", "/sdapi/v1/options", {"sd_model_checkpoint": "ingot-demo-Q4_0"})
        self.assertLess(time.monotonic() - begin, 2)
        info = json.loads(self.txt2img({})["info"])
        self.assertEqual(info["sd_model_name"], "ingot-demo-Q4_0")
        info = json.loads(self.txt2img(
            {"override_settings": {"sd_model_checkpoint": "ingot-demo.gguf"}})["info"])
        self.assertEqual(info["sd_model_name"], "ingot-demo")
        self.server.json("POST", "/sdapi/v1/options", {"sd_model_checkpoint": "no such"}, 422)
        self.server.json("POST", "/sdapi/v1/options",
                         {"sd_model_checkpoint": options["sd_model_checkpoint"]})

    def test_a_native_job_outlives_its_connection(self):
        wanted = {"job": {**SMALL, "seed": 3, "steps": 100}}
        job, again = (self.server.json("POST", "/ingot/v1/jobs", wanted, 202,
                                       {"Idempotency-Key": "once"}) for _ in range(2))
        self.assertEqual(job["id"], again["id"])
        path = "/ingot/v1/jobs/" + job["id"]
        events = self.server.events(path + "/events")
        types = [event[1] for event in events]
        self.assertEqual(types[-1], "done")
        self.assertIn("started", types)
        rest = self.server.events(path + "/events", {"Last-Event-ID": events[-2][0]})
        self.assertEqual([event[1] for event in rest], ["done"])
        again = self.server.events(path + "/events")  # of the ended job
        self.assertEqual(again[-1], events[-1])
        self.assertEqual(again[0][1], "queued")
        self.assertEqual(self.server.events(path + "/events", {"Last-Event-ID": events[-2][0]}),
                         rest)
        done = self.server.json("GET", path)
        self.assertEqual(done["state"], "done")
        _, headers, picture = self.server.ask("GET", done["images"][0]["url"])
        self.assertEqual(headers["Content-Type"], "image/png")
        self.assertTrue(picture.startswith(b"\x89PNG"))
        self.server.json("DELETE", path)
        self.server.json("GET", path, status=404)

    def test_a_page_can_draw_the_memory_of_a_job_against_its_plan(self):
        job = self.server.json("POST", "/ingot/v1/jobs", {"job": {**SMALL, "steps": 400}}, 202)
        path = "/ingot/v1/jobs/" + job["id"]
        wait_until(lambda: (self.server.json("GET", path)["progress"] or {}).get("step"))
        progress = self.server.json("GET", path)["progress"]
        self.assertEqual((progress["phase"], progress["num_steps"]), ("sampling", 400))
        self.assertGreater(progress["memory"]["ram_bytes"], 0)
        events = self.server.events(path + "/events")
        plan = next(data["plan"] for _, kind, data in events if kind == "plan")
        self.assertEqual(plan, self.server.json("GET", path)["plan"])
        held = [data for _, kind, data in events if kind == "memory"]
        self.assertGreaterEqual(len(held), 2)
        streamed = [data["streamed_bytes"] for data in held]
        self.assertEqual(streamed, sorted(streamed))
        self.assertGreater(streamed[-1], 0)
        for data in held:
            self.assertLessEqual(
                {"job_id", "ram_bytes", "vram_bytes", "server_rss_bytes", "kept_bytes", "kept_vram_bytes", "streamed_bytes",
                 "stalled_s", "phase", "elapsed_s"}, set(data))
        measured = self.server.json("GET", path)["measured"]
        # A thread tells the kernel's counters of its last 64 pages of a kind late.
        self.assertLessEqual(max(data["ram_bytes"] for data in held),
                             measured["peak_ram_bytes"] + (1 << 20))
        step = next(data for _, kind, data in events if kind == "step")
        self.assertLessEqual({"step", "num_steps", "elapsed_s", "eta_s"}, set(step))

    def test_a_queued_job_is_moved_and_a_running_one_is_not(self):
        wanted = {"job": {**SMALL, "steps": 1000}}
        running, first, second = (self.server.json("POST", "/ingot/v1/jobs", wanted, 202)["id"]
                                  for _ in range(3))
        path = "/ingot/v1/jobs/"
        wait_until(lambda: self.server.json("GET", path + running)["state"] == "running")
        moved = self.server.json("PATCH", path + second, {"position": 0})
        self.assertEqual((moved["position"], moved["priority"]), (0, 0))
        self.assertEqual(self.server.json("GET", path + first)["position"], 1)
        self.assertEqual(self.server.json("PATCH", path + first, {"priority": 3})["position"], 0)
        self.server.json("PATCH", path + running, {"position": 0}, 409)
        self.server.json("PATCH", path + "none", {"position": 0}, 404)
        self.server.json("PATCH", path + first, {}, 422)
        for job in (first, second, running):
            self.server.json("DELETE", path + job)
        events = self.server.events(path + first + "/events")
        self.assertIn(events[-1][1], ("cancelled",))

    def test_a_page_finds_what_it_needs_to_fill_its_form_and_its_settings(self):
        models = self.server.json("GET", "/ingot/v1/models")
        defaults = models["sets"][0]["defaults"]
        resolved = self.server.json("POST", "/ingot/v1/plan", {"job": {"prompt": "p"}})["job"]
        for key, value in defaults.items():
            if value is not None:
                self.assertEqual(resolved[key], value, key)
        sizes = {model["name"]: model["num_bytes"] for model in models["models"]}
        self.assertGreater(sizes["ingot-demo.gguf"], 1000)
        choices = self.server.json("GET", "/ingot/v1/choices")
        self.assertIn(defaults["sampler"], [sampler["name"] for sampler in choices["samplers"]])
        self.assertIn(defaults["scheduler"], [s["label"] for s in choices["schedulers"]])
        state = self.server.json("GET", "/ingot/v1/state")
        self.assertTrue(state["url"].endswith(str(self.server.address[1])))
        self.assertEqual(state["memory"]["limited_by"], "--memory")
        self.assertEqual(self.server.json("GET", "/ingot/v1/logs?limit=5")["lines"], [])

    def test_a_running_job_is_interrupted_and_its_request_is_answered(self):
        answer = []
        long = threading.Thread(target=lambda: answer.append(self.server.ask(
            "POST", "/sdapi/v1/txt2img", {**SMALL, "steps": 1000, "n_iter": 4})))
        long.start()
        wait_until(lambda: self.server.json("GET", "/sdapi/v1/progress")["progress"] > 0)
        self.server.json("POST", "/sdapi/v1/interrupt")
        long.join(60)
        self.assertEqual(answer[0][0], 200)
        wait_until(lambda: self.server.json("GET", "/sdapi/v1/progress")["state"]["job_count"] == 0)

    def test_interrupt_gives_the_pictures_that_are_sampled(self):
        answer = []
        steps = 100
        batch = threading.Thread(target=lambda: answer.append(self.server.ask(
            "POST", "/sdapi/v1/txt2img", {**SMALL, "steps": steps, "n_iter": 8, "seed": 11})))
        batch.start()
        wait_until(lambda: self.server.json("GET", "/sdapi/v1/progress")["state"]["sampling_step"]
                   > steps + 5)
        self.server.json("POST", "/sdapi/v1/interrupt")
        batch.join(60)
        status, headers, data = answer[0]
        self.assertEqual(status, 200)
        images = json.loads(data)["images"]
        self.assertIn(len(images), range(1, 8))
        job = self.server.json("GET", "/ingot/v1/jobs/" + headers["X-Job-Id"])
        self.assertEqual((job["state"], job["interrupted"]), ("done", True))
        self.assertEqual(len(job["images"]), len(images))
        undisturbed = self.txt2img({"steps": steps, "seed": 11})["images"][0]
        self.assertEqual(images[0], undisturbed)

    def test_plan_answers_without_a_job(self):
        before = self.server.json("GET", "/ingot/v1/jobs")["num_total"]
        plan = self.server.json("POST", "/ingot/v1/plan", {"job": SMALL})
        self.assertEqual([phase["name"] for phase in plan["plan"]["phases"]][-1], "decode")
        self.assertEqual(self.server.json("GET", "/ingot/v1/jobs")["num_total"], before)

    def test_each_change_that_a_refused_plan_offers_fits(self):
        job, budget = {**SMALL, "width": 1024, "height": 1024}, {"memory_bytes": 180_000_000}
        refused = self.server.json("POST", "/ingot/v1/plan", {"job": job, **budget})
        self.assertIsNone(refused["plan"])
        for change in refused["refusal"]["changes"]:
            other = change if "memory_bytes" in change else {"job": {**job, **change}}
            plan = self.server.json("POST", "/ingot/v1/plan", {"job": job, **budget, **other})
            self.assertIsNotNone(plan["plan"], change)
        self.assertEqual([list(change) for change in refused["refusal"]["changes"]],
                         [["memory_bytes"], ["width", "height", "batch"]])

    def test_openai_gives_base64_addresses_and_streams(self):
        body = {"prompt": "a red house", "size": "64x64", "steps": 2, "seed": 1}
        base = self.server.json("POST", "/v1/images/generations", body)
        picture = base64.b64decode(base["data"][0]["b64_json"])
        url = self.server.json("POST", "/v1/images/generations", {**body, "response_format": "url"})
        address = urllib.parse.urlparse(url["data"][0]["url"])
        self.assertEqual(self.server.ask("GET", address.path)[2], picture)
        events = self.server.events("/v1/images/generations", method="POST",
                                    body={**body, "steps": 40, "stream": True,
                                          "partial_images": 2})
        self.assertEqual(events[-1][1], "image_generation.completed")
        partial = [data for _, kind, data in events[:-1]
                   if kind == "image_generation.partial_image"]
        self.assertEqual([data["partial_image_index"] for data in partial],
                         list(range(len(partial))))
        self.assertIn(len(partial), (1, 2))
        for data in partial:
            self.assertTrue(base64.b64decode(data["b64_json"]).startswith(b"\x89PNG"))
        picture = self.server.json("POST", "/v1/images/generations", {**body, "steps": 40})
        self.assertEqual(events[-1][2]["b64_json"], picture["data"][0]["b64_json"])
        model = self.server.json("GET", "/v1/models")["data"][0]["id"]
        self.server.json("POST", "/v1/images/generations", {**body, "model": model})
        error = self.server.json("POST", "/v1/images/generations", {"n": 1}, 400)
        self.assertTrue(error["error"]["message"])

    def test_no_field_breaks_the_server(self):
        values = [None, True, -1, 0, 1e308, 2**64, "", "-1", "nan", "x" * 5000, [], [None], {},
                  {"a": None}, {"args": {"args": 1}}]
        schema = self.server.json("GET", "/openapi.json")
        routes = [(path, method.upper(), operation)
                  for path, methods in schema["paths"].items()
                  for method, operation in methods.items()
                  if method in ("post", "put") and path not in ("/ingot/v1/memory",)]
        self.assertGreater(len(routes), 15)
        for path, method, operation in routes:
            for raw in ("", '""', "null", "[]", "{bad", "{}" if "txt2img" not in path else "[1]"):
                status = self.server.ask(method, path, raw=raw)[0]
                self.assertLess(status, 500, (path, raw))
            fields = self.fields(schema, operation)
            for field in fields:
                for value in values:
                    # 8 pixels are no picture: every other fault comes first, and no job is run.
                    body = {"prompt": "p", "width": 8, "size": "8x8", "job": {"width": 8},
                            field: value}
                    body = {key: body[key] for key in body if key in fields}
                    if path.endswith("txt2img") and field == "width":
                        body["height"] = 8
                    status, _, data = self.server.ask(method, path, body)
                    self.assertLess(status, 500, (path, field, value, data[:300]))
                    json.loads(data)

    @staticmethod
    def fields(schema, operation):
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        body = content.get("schema", {})
        if "$ref" in body:
            body = schema["components"]["schemas"][body["$ref"].rsplit("/", 1)[1]]
        return list(body.get("properties", {}))


class HashTest(unittest.TestCase):
    def test_files_are_hashed_while_nothing_runs_and_found_by_their_content(self):
        with tempfile.TemporaryDirectory() as folder:
            models = pathlib.Path(folder, "models")
            shutil.copytree(MODELS, models)
            vae = next(models.rglob("ingot-demo-ae.safetensors"))
            copy = vae.with_name("copy" + vae.suffix)
            shutil.copy(vae, copy)
            flux = next(models.rglob("ingot-demo.gguf"))
            hashes = {path: hashlib.sha256(path.read_bytes()).hexdigest()
                      for path in (vae, copy, flux)}
            with Server(pathlib.Path(folder, "data"), models) as server:
                def listed():
                    return {pathlib.Path(model["path"]): model
                            for model in server.json("GET", "/ingot/v1/models")["models"]}
                wait_until(lambda: all(model["sha256"] for model in listed().values()))
                for path, sha256 in hashes.items():
                    self.assertEqual(listed()[path]["sha256"], sha256)
                self.assertEqual(listed()[vae]["duplicates"], [copy.name])
                found = server.json("GET", "/ingot/v1/files/" + hashes[vae])["files"]
                self.assertEqual({pathlib.Path(file["path"]) for file in found}, {vae, copy})
                server.json("GET", "/ingot/v1/files/" + "0" * 64, status=404)
                job = server.json("POST", "/ingot/v1/plan",
                                  {"job": {**SMALL, "model": hashes[flux]}})["job"]
                self.assertEqual(job["files"]["diffusion"], str(flux))


if __name__ == "__main__":
    ingot.main()
