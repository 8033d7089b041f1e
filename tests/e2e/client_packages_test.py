"""Published clients against `ingot serve`: webuiapi and openai of PyPI, where they are installed."""
import importlib.util
import io
import unittest

import ingot
from server import ServedTest


def needs(package):
    return unittest.skipUnless(importlib.util.find_spec(package), f"{package} is not installed")


class ClientPackagesTest(ServedTest):
    @needs("webuiapi")
    def test_webuiapi(self):
        import webuiapi
        host, port = self.server.address
        api = webuiapi.WebUIApi(host=host, port=port, sampler="Euler a", steps=2)
        result = api.txt2img(prompt="a red house", seed=3, width=64, height=64, cfg_scale=1)
        self.assertEqual(result.image.size, (64, 64))
        self.assertEqual(result.info["all_seeds"], [3])
        self.assertEqual(result.parameters["steps"], 2)
        model = api.util_get_current_model()
        self.assertIn(model, [entry["title"] for entry in api.get_sd_models()])
        api.util_set_model("ingot-demo-Q4_0")
        self.assertIn("Q4_0", api.util_get_current_model())
        api.util_set_model(model)
        self.assertIn("Euler", [entry["name"] for entry in api.get_samplers()])
        self.assertTrue(api.get_schedulers())
        self.assertEqual(api.get_upscalers()[0]["name"], "None")
        self.assertIn("ram", api.get_memory())
        self.assertIn("Seed: 3", api.png_info(result.image).info)
        api.interrupt()
        api.skip()
        api.refresh_checkpoints()
        api.util_wait_for_ready(check_interval=0.1)
        with self.assertRaisesRegex(RuntimeError, "enable_hr"):
            api.txt2img(prompt="a", enable_hr=True)

    @needs("openai")
    def test_openai(self):
        import openai
        host, port = self.server.address
        client = openai.OpenAI(base_url=f"http://{host}:{port}/v1", api_key="none")
        models = [model.id for model in client.models.list()]
        self.assertIn("ingot-demo", models)
        more = {"steps": 2, "seed": 3}
        answer = client.images.generate(prompt="a red house", model="ingot-demo", n=2, size="64x64",
                                        extra_body=more)
        self.assertEqual(len(answer.data), 2)
        self.assertTrue(answer.data[0].b64_json)
        answer = client.images.generate(prompt="a red house", size="64x64",
                                        response_format="url", extra_body=more)
        self.assertTrue(answer.data[0].url.startswith(f"http://{host}:{port}/"))
        stream = client.images.generate(prompt="a red house", size="64x64", stream=True,
                                        partial_images=1, extra_body=more)
        last = list(stream)[-1]
        self.assertEqual(last.type, "image_generation.completed")
        self.assertTrue(last.b64_json)
        with self.assertRaises(openai.BadRequestError) as caught:
            client.images.generate(prompt="a", size="8x8")
        self.assertTrue(caught.exception.body["message"])
        with self.assertRaises(openai.BadRequestError):
            client.images.edit(image=io.BytesIO(b"x"), prompt="a")


if __name__ == "__main__":
    ingot.main()
