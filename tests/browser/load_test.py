"""What the first load costs."""
from browser import BrowserTest

MAX_FIRST_LOAD_BYTES = 150_000


class LoadTest(BrowserTest):
    def test_the_first_load_is_small(self):
        page = self.open()
        page.get_by_role("button", name="Generate").wait_for()
        page.wait_for_load_state("load")
        sizes = {request.url: len(request.response().body()) for request in self.complaints.requests
                 if request.resource_type != "eventsource"}
        total = sum(sizes.values())
        self.assertLess(total, MAX_FIRST_LOAD_BYTES, sizes)
        interactive = page.evaluate("performance.getEntriesByType('navigation')[0].domInteractive")
        loaded = page.evaluate("performance.now()")
        print(f"first load: {total} bytes in {len(sizes)} requests, DOM interactive after "
              f"{interactive:.0f} ms, all seen within {loaded:.0f} ms")
