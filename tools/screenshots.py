#!/usr/bin/env python3
"""Pictures of each screen for docs/screenshots, from the running program and the demo model.

    build/test-venv/bin/python tools/screenshots.py build/ingot [folder [part of a name]]
"""
import base64
import io
import os
import pathlib
import shutil
import sys
import tempfile

import PIL.Image

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "browser"), str(ROOT / "tests" / "e2e")]
import browser  # noqa: E402
from server import Server  # noqa: E402

MAX_BYTES = 150_000
LOOKS = {"light": (browser.DESKTOP, "light"), "dark": (browser.DESKTOP, "dark"),
         "phone": (browser.PHONE, "light")}
PROMPTS = ["a red house on the left, orange sky", "a blue house and a green tree, white ground",
           "a yellow sun over a green hill", "a white boat on a blue sea",
           "two green trees, purple sky", "a red boat on a dark sea, orange sky",
           "a red house on the left and a green tree on the right, orange sky, white ground"]


def screens(page, picture):
    """(name, what brings it up) of each screen."""
    def show(view):
        page.goto("about:blank")  # else a hash alone changes
        page.goto(f"/#{view}")
        page.wait_for_timeout(1500)  # plans come
        page.get_by_text("Looking…").wait_for(state="detached")
        while not page.evaluate("[...document.images].every((image) => image.complete)"):
            page.wait_for_timeout(100)

    def create():
        show("create")
        page.get_by_label("Prompt", exact=True).fill(PROMPTS[-1])
        page.wait_for_timeout(1000)

    def running():
        create()
        page.get_by_label("Steps", exact=True).fill("100")
        page.get_by_role("button", name="Generate").click()
        status = page.get_by_role("region", name="Picture")
        status.get_by_text("Step 4").first.wait_for()
        status.scroll_into_view_if_needed()

    def lightbox():
        show("gallery")
        page.get_by_role("list", name="Pictures").get_by_role("img").last.click()
        page.wait_for_timeout(1500)

    def info():
        show("info")
        page.locator("input[type=file]").set_input_files(
            {"name": "house.png", "mimeType": "image/png", "buffer": picture})
        page.wait_for_timeout(1000)

    return [("create", create), ("running", running), ("gallery", lambda: show("gallery")),
            ("lightbox", lightbox), ("info", info), ("models", lambda: show("models")),
            ("settings", lambda: show("settings"))]


def shoot(page, path):
    shot = PIL.Image.open(io.BytesIO(page.screenshot(animations="disabled")))
    shot.convert("RGB").save(path, optimize=True)
    if path.stat().st_size > MAX_BYTES:  # a large picture: 256 colours, which some shades lose
        shot.convert("RGB").quantize().save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size} bytes")
    assert path.stat().st_size <= MAX_BYTES, path


def main(folder, wanted):
    folder.mkdir(parents=True, exist_ok=True)
    home = pathlib.Path(tempfile.gettempdir(), "ingot")  # its name is seen
    shutil.copytree(ROOT / "demo" / "models", home / "models")
    try:
        with Server(home / "data", models=home / "models", memory="2GiB", log_level="info") as server:
            picture = None
            for seed, prompt in enumerate(PROMPTS, start=1):
                made = server.json("POST", "/sdapi/v1/txt2img", {"prompt": prompt, "seed": seed})
                picture = picture or base64.b64decode(made["images"][0])
            for look, (viewport, scheme) in LOOKS.items():
                context = browser.shared_browser().new_context(
                    base_url="http://{}:{}".format(*server.address), viewport=viewport,
                    color_scheme=scheme, locale="en-GB")
                page = context.new_page()
                for name, bring_up in screens(page, picture):
                    path = folder / f"{name}-{look}.png"
                    if wanted in path.name:
                        bring_up()
                        shoot(page, path)
                        server.ask("POST", "/sdapi/v1/interrupt", {})
                context.close()
    finally:
        shutil.rmtree(home)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3, 4):
        sys.exit(__doc__)
    os.environ["INGOT"] = str(pathlib.Path(sys.argv[1]).resolve())
    main(pathlib.Path(sys.argv[2]).resolve() if len(sys.argv) > 2 else ROOT / "docs" / "screenshots",
         sys.argv[3] if len(sys.argv) > 3 else "")
