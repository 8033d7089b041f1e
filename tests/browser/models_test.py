"""Models: complete sets, what lacks, damaged files, duplicates; what a rescan finds."""
import pathlib
import shutil
import tempfile

import ingot
from browser import BrowserTest
from server import SMALL, Server


def row_of(page, file):
    return page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=file, exact=True))


class ModelsTest(BrowserTest):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.models = pathlib.Path(cls.folder.name) / "models"
        shutil.copytree(ingot.MODELS, cls.models)
        half = cls.models / "Stable-diffusion" / "half.gguf"
        half.write_bytes(ingot.FILES["diffusion"].read_bytes()[:100_000])
        shutil.copy(ingot.FILES["diffusion"], cls.models / "Stable-diffusion" / "ingot-demo-copy.gguf")
        cls.server = Server(cls.folder.name, models=cls.models)

    def test_complete_sets_and_damaged_files_are_told(self):
        page = self.open("/#models")
        set_row = page.get_by_role("row").filter(has=page.get_by_role("link", name="Use ingot-demo", exact=True))
        self.expect(set_row).to_contain_text("ingot-demo-ae.safetensors")
        self.expect(set_row).to_contain_text("no guidance input")
        damaged = row_of(page, "Stable-diffusion/half.gguf")
        self.expect(damaged).to_contain_text("Cannot be read")
        self.expect(damaged).to_contain_text("expected")
        self.expect(page.get_by_role("main").get_by_role("status")).to_contain_text("1 cannot be read")

    def test_a_set_is_used_in_create(self):
        page = self.open("/#models")
        page.get_by_role("link", name="Use ingot-demo-Q4_0").click()
        self.expect(page).to_have_title("Create · Ingot")
        self.expect(page.get_by_label("Model", exact=True)).to_have_value("ingot-demo-Q4_0.gguf")

    def test_a_rescan_finds_a_new_file(self):
        page = self.open("/#models")
        new = self.models / "VAE" / "another-ae.safetensors"
        self.expect(row_of(page, "Stable-diffusion/half.gguf")).to_be_visible()
        self.expect(page.get_by_text(new.name)).to_have_count(0)
        shutil.copy(ingot.FILES["vae"], new)
        self.addCleanup(new.unlink)
        page.get_by_role("button", name="Rescan").click()
        self.expect(row_of(page, f"VAE/{new.name}")).to_be_visible()

    def test_files_of_equal_content_name_each_other(self):
        for model in ("ingot-demo", "ingot-demo-copy"):  # a job with a file makes its hash known
            self.server.json("POST", "/sdapi/v1/txt2img",
                             {**SMALL, "override_settings": {"sd_model_checkpoint": model}})
        page = self.open("/#models")
        row = row_of(page, "Stable-diffusion/ingot-demo-copy.gguf")
        self.expect(row).to_contain_text("Same content as Stable-diffusion/ingot-demo.gguf")

    def test_a_set_that_lacks_a_part_names_it_and_what_would_do(self):
        with tempfile.TemporaryDirectory() as folder:
            models = pathlib.Path(folder) / "models"
            shutil.copytree(ingot.MODELS, models, ignore=shutil.ignore_patterns("VAE"))
            with Server(folder, models=models) as self.server:
                self.addCleanup(setattr, self, "server", type(self).server)
                page = self.open("/#models")
                row = page.get_by_role("row").filter(has_text="Incomplete").first
                self.expect(row).to_contain_text("Lacks a VAE of 16 latent channels")
                self.expect(row).to_contain_text("usually VAE/ae.safetensors")
                self.close()

    def test_a_folder_without_models_says_where_they_go(self):
        with tempfile.TemporaryDirectory() as folder:
            models = pathlib.Path(folder) / "models"
            models.mkdir()
            with Server(folder, models=models) as self.server:
                self.addCleanup(setattr, self, "server", type(self).server)
                page = self.open("/#models")
                self.expect(page.get_by_text("No diffusion model is here")).to_be_visible()
                self.close()
