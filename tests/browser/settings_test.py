"""Settings: options are kept by the server, and its state is told."""
import tempfile

from browser import BrowserTest
from server import SMALL, Server, wait_until


class SettingsTest(BrowserTest):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.server = Server(cls.folder.name, log_level="info")  # its log is shown

    def test_a_change_is_kept_by_the_server(self):
        page = self.open("/#settings")
        page.get_by_label("Noise").select_option("NV")
        self.expect(page.get_by_text("Noise: saved")).to_be_visible()
        page.get_by_label("VAE").select_option("ingot-demo-ae.safetensors")
        self.expect(page.get_by_text("VAE: saved")).to_be_visible()
        options = self.server.json("GET", "/sdapi/v1/options")
        self.assertEqual(options["randn_source"], "NV")
        self.assertEqual(options["forge_additional_modules"], ["ingot-demo-ae.safetensors"])
        page.reload()
        self.expect(page.get_by_label("Noise")).to_have_value("NV")
        self.expect(page.get_by_label("VAE")).to_have_value("ingot-demo-ae.safetensors")
        page.get_by_label("VAE").select_option("Found in the folder")
        self.expect(page.get_by_text("VAE: saved")).to_be_visible()
        self.assertEqual(self.server.json("GET", "/sdapi/v1/options")["forge_additional_modules"], [])

    def test_a_refused_value_is_told_and_taken_back(self):
        page = self.open("/#settings")
        self.expect_complaint("status of 422")
        page.get_by_label("Inference memory").fill("-5")
        page.get_by_label("Inference memory").press("Tab")
        self.expect(page.get_by_role("alert")).to_contain_text("forge_inference_memory: expected a number")
        self.expect(page.get_by_label("Inference memory")).to_have_value("1024")

    def test_the_state_of_the_server_is_told(self):
        page = self.open("/#settings")
        main = page.get_by_role("main")
        self.expect(main.get_by_text("1.00 GiB (--memory)")).to_be_visible()
        self.expect(main.get_by_text("alive", exact=True)).to_be_visible()
        self.expect(main.get_by_role("link", name="Metrics")).to_have_attribute("href", "/metrics")
        self.expect(main.get_by_role("link", name="API")).to_have_attribute("href", "/docs")

    def test_the_log_tells_what_happened_to_a_job(self):
        job = self.server.json("POST", "/ingot/v1/jobs", {"job": SMALL}, 202)["id"]
        wait_until(lambda: self.server.json("GET", f"/ingot/v1/jobs/{job}")["state"] == "done")
        page = self.open("/#settings")
        lines = page.get_by_role("region", name="Lines of the log").get_by_role("row")
        self.expect(lines.filter(has_text=job).filter(has_text="done")).to_be_visible()
