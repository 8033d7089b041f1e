#!/usr/bin/env python3
"""Pictures of each screen for docs/screenshots, from the running program and the demo model.

    build/test-venv/bin/python tools/screenshots.py build/ingot [folder [part of a name]]
"""
import io
import os
import pathlib
import sys
import tempfile

import PIL.Image

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "browser"), str(ROOT / "tests" / "e2e")]
import browser  # noqa: E402
from server import Server  # noqa: E402

MAX_BYTES = 150_000
NUM_COLOURS = 256  # a third of the bytes, and no difference to see
LOOKS = {"light": (browser.DESKTOP, "light"), "dark": (browser.DESKTOP, "dark"),
         "phone": (browser.PHONE, "light")}
PROMPTS = ["a red house on the left, orange sky", "a blue house and a green tree, white ground",
           "a yellow sun over a green hill", "a white boat on a blue sea",
           "two green trees, purple sky", "a red boat on a dark sea, orange sky",
           "a red house on the left and a green tree on the right, orange sky, white ground"]


def screens(page):
    """(name, what brings it up) of each screen."""
    for view in browser.VIEWS:
        yield view, lambda view=view: page.goto(f"/#{view}")

    def run():
        page.goto("/#create")
        page.get_by_label("Prompt", exact=True).fill(PROMPTS[-1])
        page.get_by_label("Steps", exact=True).fill("60")
        page.wait_for_timeout(1000)
        page.get_by_role("button", name="Generate").click()
        page.get_by_role("region", name="Picture").get_by_text("Step 4").first.wait_for()
        page.get_by_role("region", name="Picture").scroll_into_view_if_needed()
    yield "running", run


def main(folder, wanted):
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(ROOT)  # folders are shown as they are given
    with tempfile.TemporaryDirectory() as data_dir, Server(
            data_dir, models="demo/models", memory="2GiB") as server:
        for seed, prompt in enumerate(PROMPTS, start=1):
            server.json("POST", "/sdapi/v1/txt2img", {"prompt": prompt, "seed": seed})
        for look, (viewport, scheme) in LOOKS.items():
            context = browser.shared_browser().new_context(
                base_url="http://{}:{}".format(*server.address), viewport=viewport,
                color_scheme=scheme, locale="en-GB")
            page = context.new_page()
            for name, bring_up in screens(page):
                path = folder / f"{name}-{look}.png"
                if wanted not in path.name:
                    continue
                bring_up()
                page.wait_for_timeout(1500)  # plans and pictures come
                shot = PIL.Image.open(io.BytesIO(page.screenshot(animations="disabled")))
                shot.convert("RGB").quantize(NUM_COLOURS).save(path, optimize=True)
                print(f"{path.name}: {path.stat().st_size} bytes")
                assert path.stat().st_size <= MAX_BYTES, path
                server.ask("POST", "/sdapi/v1/interrupt", {})
            context.close()


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3, 4):
        sys.exit(__doc__)
    os.environ["INGOT"] = str(pathlib.Path(sys.argv[1]).resolve())
    main(pathlib.Path(sys.argv[2]).resolve() if len(sys.argv) > 2 else ROOT / "docs" / "screenshots",
         sys.argv[3] if len(sys.argv) > 3 else "")
