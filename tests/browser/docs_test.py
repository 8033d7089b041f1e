"""The pages that are there without the web page: /docs."""
from browser import BrowserTest


class DocsTest(BrowserTest):
    def test_docs_complain_of_nothing(self):
        page = self.open("/docs")
        page.get_by_role("heading", name="Ingot", exact=False).first.wait_for()
        self.assert_accessible(page, "/docs")
