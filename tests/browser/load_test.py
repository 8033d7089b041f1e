"""What the first load costs."""
from browser import BrowserTest

MAX_FIRST_LOAD_BYTES = 150_000

# From the click on the link until the last module of the page has run.
INTERACTIVE_MS = """Math.max(...performance.getEntriesByType("resource")
    .filter(({initiatorType, name}) => name.endsWith(".js")).map(({responseEnd}) => responseEnd))"""


class LoadTest(BrowserTest):
    def test_the_first_load_is_small(self):
        page = self.open()
        page.get_by_role("button", name="Generate").wait_for()
        self.settle(page)
        sizes = {request.url: len(request.response().body()) for request in self.complaints.requests
                 if request.resource_type != "eventsource"}
        total = sum(sizes.values())
        self.assertLess(total, MAX_FIRST_LOAD_BYTES, sizes)
        print(f"first load: {total} bytes in {len(sizes)} requests, interactive after "
              f"{page.evaluate(INTERACTIVE_MS):.0f} ms")
