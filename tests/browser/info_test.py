"""PNG Info: a picture dropped anywhere tells what it was made with."""
import json
import struct
import zlib

from browser import PHONE, BrowserTest
from server import SMALL

DROP = """(bytes) => {
  const file = new File([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))], "dropped.png", {type: "image/png"});
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(file);
  for (const type of ["dragenter", "dragover", "drop"]) {
    document.querySelector("main").dispatchEvent(new DragEvent(type, {dataTransfer, bubbles: true, cancelable: true}));
  }
}"""


def png_with(key, text):
    """A PNG of one grey pixel that holds one text."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)) +
            chunk(b"tEXt", key + b"\0" + text) + chunk(b"IDAT", zlib.compress(b"\0\x80")) +
            chunk(b"IEND", b""))


class InfoTest(BrowserTest):
    def picture(self, **fields):
        return self.server.json("POST", "/sdapi/v1/txt2img", {**SMALL, **fields})["images"][0]

    def test_a_picture_dropped_on_create_fills_the_form(self):
        picture = self.picture(prompt="a red house, dropped", seed=4711, steps=3)
        page = self.open()
        self.expect(page.get_by_label("Prompt", exact=True)).to_be_visible()
        page.evaluate(DROP, picture)
        self.expect(page).to_have_title("PNG Info · Ingot")
        main = page.get_by_role("main")
        self.expect(main).to_contain_text("a red house, dropped")
        self.expect(main).to_contain_text("4711")
        main.get_by_role("button", name="Use these settings").click()
        self.expect(page).to_have_title("Create · Ingot")
        self.expect(page.get_by_label("Prompt", exact=True)).to_have_value("a red house, dropped")
        self.expect(page.get_by_label("Seed", exact=True)).to_have_value("4711")
        self.expect(page.get_by_label("Steps", exact=True)).to_have_value("3")

    def test_a_picture_of_another_program_names_what_is_not_here(self):
        page = self.open("/#info")
        page.get_by_label("Drop a picture here").set_input_files(
            {"name": "comfy.png", "mimeType": "image/png", "buffer": png_with(b"prompt", json.dumps({
                "3": {"class_type": "KSampler", "inputs": {
                    "seed": 5, "steps": 30, "cfg": 7.5, "sampler_name": "res_multistep",
                    "scheduler": "simple", "model": ["4", 0], "positive": ["6", 0],
                    "latent_image": ["5", 0]}},
                "4": {"class_type": "CheckpointLoaderSimple",
                      "inputs": {"ckpt_name": "dreamshaper_8.safetensors"}},
                "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 128}},
                "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a red fox"}}}).encode())})
        main = page.get_by_role("main")
        self.expect(main).to_contain_text("Made with ComfyUI")
        unknown = page.get_by_role("region", name="Not known here")
        self.expect(unknown).to_contain_text("dreamshaper_8.safetensors")
        self.expect(unknown).to_contain_text("ingot-demo.gguf")
        self.expect(unknown).to_contain_text("res_multistep")
        self.assert_accessible(page, "PNG Info")
        main.get_by_role("button", name="Use these settings").click()
        self.expect(page.get_by_label("Prompt", exact=True)).to_have_value("a red fox")
        self.expect(page.get_by_label("Height", exact=True)).to_have_value("128")

    def test_a_picture_without_texts_says_so(self):
        page = self.open("/#info", viewport=PHONE)
        page.get_by_label("Drop a picture here").set_input_files(
            {"name": "plain.png", "mimeType": "image/png", "buffer": png_with(b"Software", b"GIMP")})
        self.expect(page.get_by_role("main")).to_contain_text("plain.png does not say how it was made")
        self.assert_no_sideways_scroll(page, "PNG Info on a phone")
