"""Gallery: every picture of the history, however many, each with its record."""
import re
import tempfile
import time

from browser import BrowserTest
from history import copy_newest_job
from server import SMALL, Server

NUM_ROWS = 10_000
MAX_NODES = 2000  # a page with all tiles has 30,000
PROMPTS = ("a red house", "a blue boat", "a green tree")


def tiles(page):
    return page.get_by_role("list", name="Pictures").get_by_role("img")


class GalleryTest(BrowserTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for seed, prompt in enumerate(PROMPTS, start=1):
            cls.server.json("POST", "/sdapi/v1/txt2img", {**SMALL, "prompt": prompt, "seed": seed})

    def open_picture(self, page, prompt):
        tiles(page).and_(page.get_by_alt_text(prompt, exact=True)).click()
        dialog = page.get_by_role("dialog", name="Picture")
        self.expect(dialog.get_by_role("heading", name=prompt)).to_be_visible()
        return dialog

    def test_the_lightbox_goes_by_keys(self):
        page = self.open("/#gallery")
        dialog = self.open_picture(page, "a green tree")  # the newest
        self.expect(dialog).to_contain_text("1 of 3")
        page.keyboard.press("ArrowRight")
        self.expect(dialog.get_by_role("heading", name="a blue boat")).to_be_visible()
        page.keyboard.press("ArrowLeft")
        self.expect(dialog.get_by_role("heading", name="a green tree")).to_be_visible()
        self.assert_accessible(page, "lightbox")
        page.keyboard.press("Escape")
        self.expect(dialog).to_be_hidden()

    def test_a_picture_is_verified_by_making_it_again(self):
        page = self.open("/#gallery")
        dialog = self.open_picture(page, "a red house")
        # An equal copy is deleted, maybe while the grid behind asks for its thumbnail.
        self.expect_complaint(r"status of 404 .*/images/0\?size=256")
        dialog.get_by_role("button", name="Verify").click()
        self.expect(dialog).to_contain_text("Equal: made again")

    def test_ends_of_jobs_that_are_told_while_the_list_comes_change_nothing(self):
        page = self.open("/#gallery")
        self.settle(page)

        def come_late(route):
            time.sleep(1)
            route.continue_()

        page.route("**/ingot/v1/jobs?*limit=200*", come_late)
        page.reload()  # its stream of events begins with those of all three jobs
        self.expect(tiles(page)).to_have_count(3)
        self.settle(page)
        self.assertEqual([tile.get_attribute("alt") for tile in tiles(page).all()],
                         ["a green tree", "a blue boat", "a red house"])

    def test_its_settings_fill_the_form(self):
        page = self.open("/#gallery")
        self.open_picture(page, "a blue boat").get_by_role("link", name="Use these settings").click()
        self.expect(page.get_by_label("Prompt", exact=True)).to_have_value("a blue boat")
        self.expect(page.get_by_label("Seed", exact=True)).to_have_value("2")

    def test_the_grid_goes_by_keys_and_delete_can_be_undone(self):
        page = self.open("/#gallery")
        self.expect(tiles(page)).to_have_count(3)
        page.get_by_role("list", name="Pictures").get_by_role("button").first.focus()
        page.keyboard.press("End")
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="Picture")
        self.expect(dialog).to_contain_text("3 of 3")
        page.keyboard.press("Escape")
        self.expect(dialog).to_be_hidden()
        page.keyboard.press("Delete")
        self.expect(tiles(page)).to_have_count(2)
        page.get_by_role("button", name="Undo").click()
        self.expect(tiles(page)).to_have_count(3)

    def test_a_picture_arrives_while_the_gallery_is_open(self):
        page = self.open("/#gallery?search=live")
        self.expect(page.get_by_role("heading", name="No such picture")).to_be_visible()
        made = self.server.json("POST", "/ingot/v1/jobs", {"job": {**SMALL, "prompt": "a live one"}}, 202)
        self.expect(tiles(page)).to_have_count(1)
        self.server.json("DELETE", f"/ingot/v1/jobs/{made['id']}")
        self.expect(tiles(page)).to_have_count(0)

    def test_jobs_without_a_picture_are_found_with_their_reason(self):
        job = self.server.json("POST", "/ingot/v1/jobs",
                               {"job": {**SMALL, "prompt": "a long one", "steps": 900}}, 202)
        self.server.json("DELETE", f"/ingot/v1/jobs/{job['id']}")
        page = self.open("/#gallery")
        page.get_by_label("Show").select_option("Cancelled")
        tile = page.get_by_role("list", name="Pictures").get_by_role("button", name="a long one")
        tile.click()
        self.expect(page.get_by_role("dialog", name="Picture")).to_contain_text("Cancelled")

    def test_a_deleted_picture_comes_back(self):
        page = self.open("/#gallery")
        dialog = self.open_picture(page, "a red house")
        dialog.get_by_role("button", name="Delete").click()
        page.keyboard.press("Escape")
        self.expect(tiles(page)).to_have_count(2)
        page.get_by_role("button", name="Undo").click()
        self.expect(tiles(page)).to_have_count(3)


class LongGalleryTest(BrowserTest):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        with Server(cls.folder.name) as server:
            server.json("POST", "/sdapi/v1/txt2img", {**SMALL, "prompt": "a red house"})
        copy_newest_job(cls.folder.name, NUM_ROWS)
        cls.server = Server(cls.folder.name)

    def test_ten_thousand_pictures_scroll_with_few_nodes(self):
        page = self.open("/#gallery")
        self.expect(tiles(page).first).to_be_visible()
        self.expect(page.get_by_role("search").get_by_role("status")).to_have_text("10,001 pictures")
        page.mouse.move(640, 500)
        page.evaluate("""() => {
          window.frames_ms = [];
          let last = performance.now();
          const turn = (now) => { frames_ms.push(now - last); last = now; requestAnimationFrame(turn); };
          requestAnimationFrame(turn);
        }""")
        for _ in range(40):
            page.mouse.wheel(0, 2000)
            page.wait_for_timeout(25)
        frames = sorted(page.evaluate("window.frames_ms"))
        nodes = page.evaluate("document.querySelectorAll('*').length")
        print(f"gallery of 10,001 pictures: {nodes} nodes after 80,000 px; frames: median "
              f"{frames[len(frames) // 2]:.0f} ms, longest {frames[-1]:.0f} ms")
        self.assertLess(nodes, MAX_NODES)
        self.expect(tiles(page).first).to_have_attribute("alt", re.compile(r"a red house \d{3,4}"))

    def test_the_oldest_picture_is_found_by_its_prompt(self):
        page = self.open("/#gallery")
        page.get_by_role("searchbox").fill(f"house {NUM_ROWS - 1}")
        self.expect(tiles(page)).to_have_count(1)
        self.expect(tiles(page)).to_have_attribute("alt", f"a red house {NUM_ROWS - 1}")
