#!/usr/bin/env python3
"""Pictures of each screen for docs/screenshots, from the running program and the demo model.

    build/test-venv/bin/python tools/screenshots.py build/ingot [folder [name part]]
"""
import os
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "browser"), str(ROOT / "tests" / "e2e")]
MAX_BYTES = 150_000
PROMPTS = ["a red house on the left, orange sky", "a blue house and a green tree, white ground",
           "a yellow sun over a green hill", "a white boat on a blue sea", "two green trees, purple sky",
           "a red boat on a dark sea, orange sky"]


def fill_history(server):
    for seed, prompt in enumerate(PROMPTS):
        server.json("POST", "/sdapi/v1/txt2img", {"prompt": prompt, "seed": seed + 1, "steps": 8})


def show(page, view):
    page.goto(f"/#{view}")
    page.get_by_role("heading", level=1).first.wait_for(state="attached")
    page.wait_for_timeout(1500)


def main(folder, wanted):
    import browser
    from server import Server
    os.chdir(ROOT)  # the models folder is shown as it was given
    folder.mkdir(parents=True, exist_ok=True)
    looks = {"light": (browser.DESKTOP, "light"), "dark": (browser.DESKTOP, "dark"),
             "phone": (browser.PHONE, "light")}
    with tempfile.TemporaryDirectory() as data_dir, Server(
            data_dir, models="demo/models", memory="2GiB") as server:
        fill_history(server)
        for look, (viewport, scheme) in looks.items():
            context = browser.shared_browser().new_context(
                base_url="http://{}:{}".format(*server.address), viewport=viewport, color_scheme=scheme,
                locale="en-GB")
            page = context.new_page()
            for view in browser.VIEWS:
                path = folder / f"{view}-{look}.png"
                if wanted not in path.name:
                    continue
                show(page, view)
                page.screenshot(path=path, animations="disabled")
                num_bytes = path.stat().st_size
                print(f"{path.name}: {num_bytes} bytes" + (" TOO LARGE" if num_bytes > MAX_BYTES else ""))
            context.close()


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3, 4):
        sys.exit(__doc__)
    os.environ["INGOT"] = str(pathlib.Path(sys.argv[1]).resolve())
    main(pathlib.Path(sys.argv[2]).resolve() if len(sys.argv) > 2 else ROOT / "docs" / "screenshots",
         sys.argv[3] if len(sys.argv) > 3 else "")
