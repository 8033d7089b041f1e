"""The server dies and comes back while the page is open."""
import tempfile

from browser import SERVER_FLAGS, BrowserTest
from server import Server


class ServerLossTest(BrowserTest):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.server = Server(cls.folder.name, flags=SERVER_FLAGS)

    def test_a_killed_server_is_told_and_found_again(self):
        page = self.open()
        self.expect_complaint("ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_RESET")
        page.get_by_label("Prompt", exact=True).fill("a red house, after the crash")
        for label in ("Width", "Height"):
            page.get_by_label(label, exact=True).fill("256")
        page.get_by_label("Steps", exact=True).fill("150")  # seconds: it runs when the server is killed
        page.get_by_role("button", name="Generate").click()
        picture = page.get_by_role("region", name="Picture")
        self.expect(picture.get_by_role("status")).to_contain_text("of 150")
        type(self).server.kill()
        self.expect(page.get_by_role("banner")).to_contain_text("No connection")
        type(self).server = Server(self.folder.name, port=self.server.address[1], flags=SERVER_FLAGS)
        # The job was on disk: it is done again, and this page shows it without a reload. (It may be
        # over when the page has found the server.)
        self.expect(picture.get_by_role("img", name="a red house, after the crash")).to_be_visible()
