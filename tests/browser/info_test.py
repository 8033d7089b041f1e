"""PNG Info: a picture dropped anywhere tells what it was made with."""
from browser import BrowserTest
from server import SMALL

DROP = """(bytes) => {
  const file = new File([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))], "dropped.png", {type: "image/png"});
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(file);
  for (const type of ["dragenter", "dragover", "drop"]) {
    document.querySelector("main").dispatchEvent(new DragEvent(type, {dataTransfer, bubbles: true, cancelable: true}));
  }
}"""


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
