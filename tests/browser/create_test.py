"""Create: from a prompt to a picture, and all that may come between."""
import re

from browser import BrowserTest
from server import wait_until

LONG_STEPS = 1000  # of 512x512: minutes; always cancelled


class CreateTest(BrowserTest):
    def setUp(self):
        super().setUp()
        self.addCleanup(self.cancel_all)

    def jobs(self, state):
        return self.server.json("GET", f"/ingot/v1/jobs?state={state}")["jobs"]

    def cancel_all(self):
        for state in ("queued", "running"):
            for job in self.jobs(state):
                self.server.ask("DELETE", f"/ingot/v1/jobs/{job['id']}")
        wait_until(lambda: not self.jobs("running"))

    def fill(self, page, prompt, side=64, steps=2, **more):
        page.get_by_label("Prompt", exact=True).fill(prompt)
        for label, value in {"Width": side, "Height": side, "Steps": steps, **more}.items():
            page.get_by_label(label, exact=True).fill(str(value))

    def generate(self, page):
        page.get_by_role("button", name="Generate").click()

    def picture(self, page, prompt):
        return page.get_by_role("region", name="Picture").get_by_role("img", name=prompt, exact=True)

    def start_long_job(self, page, prompt):
        self.fill(page, prompt, side=512, steps=LONG_STEPS)
        self.generate(page)
        self.expect(self.status(page)).to_contain_text(re.compile(r"Step \d+ of 1000"))

    def status(self, page):
        return page.get_by_role("region", name="Picture").get_by_role("status")

    def assert_shown(self, image):
        """The picture has come as well, not its frame alone."""
        self.expect(image).to_be_visible()
        wait_until(lambda: image.evaluate("image => image.complete && image.naturalWidth > 0"))

    def test_from_an_empty_profile_to_a_picture_and_its_record(self):
        page = self.open()
        cost = page.get_by_role("region", name="Cost")
        self.expect(cost.get_by_role("row").first).to_be_visible()  # of the defaults
        self.fill(page, "a red house, first", side=256, steps=150)  # seconds, so that one is seen
        self.expect(page.get_by_text(re.compile(r"MiB of .* at the peak"))).to_be_visible()
        self.expect(page.get_by_text(re.compile(r"\d+ T5 · \d+ CLIP tokens"))).to_be_visible()
        self.generate(page)
        self.expect(self.status(page)).to_contain_text(re.compile(r"Step \d+ of 150"))
        self.assert_shown(page.get_by_role("img", name="Preview of the picture"))
        self.assert_shown(self.picture(page, "a red house, first"))
        seed = str(self.jobs("done")[0]["job"]["seed"])
        self.expect(self.status(page)).to_contain_text(f"Seed {seed}")
        page.get_by_role("link", name=f"Open picture of seed {seed}").click()
        self.expect(page).to_have_title("Gallery · Ingot")
        record = page.get_by_role("dialog")
        self.expect(record).to_contain_text("a red house, first")
        self.expect(record).to_contain_text(seed)

    def test_a_change_of_the_form_changes_the_cost(self):
        page = self.open()
        line = page.get_by_text(re.compile(r"at the peak"))
        self.fill(page, "a", side=64)
        small = line.inner_text()
        self.fill(page, "a", side=512)
        self.expect(line).not_to_have_text(small)

    def test_a_reload_in_the_middle_of_a_job_goes_on(self):
        page = self.open()
        self.start_long_job(page, "a red house, reloaded")
        page.reload()
        self.expect(self.status(page)).to_contain_text(re.compile(r"Step \d+ of 1000"))
        self.expect(page.get_by_label("Prompt", exact=True)).to_have_value("a red house, reloaded")
        self.assertEqual(len(self.jobs("running")), 1)

    def test_the_button_cancels(self):
        page = self.open()
        self.start_long_job(page, "a red house, cancelled")
        page.get_by_role("button", name="Cancel").click()
        self.expect(self.status(page)).to_contain_text("Cancelled")
        self.assertEqual(self.jobs("cancelled")[0]["job"]["prompt"], "a red house, cancelled")

    def test_a_refusal_is_cured_by_one_click(self):
        before = self.server.json("GET", "/ingot/v1/memory")
        share = before["server_share_bytes"]
        self.addCleanup(self.server.json, "PUT", "/ingot/v1/memory", {"memory_bytes": before["memory_bytes"]})
        self.server.json("PUT", "/ingot/v1/memory", {"memory_bytes": share + (64 << 20)})
        page = self.open()
        self.expect_complaint("status of 422")
        self.fill(page, "a red house, too large", side=2048)
        self.expect(page.get_by_text("Does not fit")).to_be_visible()
        page.get_by_role("button", name=re.compile("Let Ingot use|Make it")).first.click()
        self.expect(page.get_by_text(re.compile(r"at the peak"))).to_be_visible()

    def test_two_tabs_show_the_same_job(self):
        first = self.open()
        second = self.open(tab=True)
        self.start_long_job(first, "a red house, in two tabs")
        self.expect(self.status(second)).to_contain_text(re.compile(r"Step \d+ of 1000"))
        self.fill(second, "a second job")
        self.generate(second)
        for page in (first, second):
            queue = page.get_by_role("region", name="Queue")
            self.expect(queue).to_contain_text("1 job waiting")
            self.expect(queue).to_contain_text("a second job")
        first.get_by_role("button", name="Cancel: a second job").click()
        for page in (first, second):
            self.expect(page.get_by_role("region", name="Queue")).to_be_hidden()
        second.close()
        self.expect(self.status(first)).to_contain_text("Step")

    def test_the_queue_is_put_in_another_order(self):
        page = self.open()
        self.start_long_job(page, "a red house, first in line")
        for prompt in ("second", "third"):
            self.fill(page, prompt)
            self.generate(page)
            self.expect(page.get_by_role("region", name="Queue")).to_contain_text(prompt)
        page.get_by_role("button", name="Earlier: third").click()
        self.expect(page.get_by_role("region", name="Queue").get_by_role("listitem").first).to_contain_text("third")
        by_position = sorted(self.jobs("queued"), key=lambda job: job["position"])
        self.assertEqual([job["job"]["prompt"] for job in by_position], ["third", "second"])

    def test_the_keyboard_is_enough(self):
        page = self.open()
        # From the top of the page to the prompt by Tab alone.
        prompt = page.get_by_label("Prompt", exact=True)
        for _ in range(30):
            page.keyboard.press("Tab")
            if prompt.evaluate("node => node === document.activeElement"):
                break
        else:
            self.fail("the prompt is not reached by Tab")
        page.keyboard.type("a red house")
        page.keyboard.press("Control+ArrowUp")
        self.expect(prompt).to_have_value("a red (house:1.1)")
        self.fill(page, "a red house, by keys")
        page.keyboard.press("Control+Enter")
        self.assert_shown(self.picture(page, "a red house, by keys"))
        self.fill(page, "a red house, escaped", side=512, steps=LONG_STEPS)
        page.keyboard.press("Control+Enter")
        self.expect(self.status(page)).to_contain_text(re.compile(r"Step \d+ of 1000"))
        page.keyboard.press("Escape")
        self.expect(self.status(page)).to_contain_text("Cancelled")

    def test_the_prompt_survives_a_closed_tab(self):
        page = self.open()
        self.fill(page, "a red house, kept")
        page.close()
        again = self.open(tab=True)
        self.expect(again.get_by_label("Prompt", exact=True)).to_have_value("a red house, kept")

    def test_a_negative_prompt_counts_from_a_cfg_above_1_on(self):
        page = self.open()
        negative = page.get_by_label("Negative prompt")
        self.expect(negative).to_be_disabled()
        page.get_by_label("CFG").fill("3")
        self.expect(negative).to_be_enabled()
