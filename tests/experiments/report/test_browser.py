"""The page in a real browser: what it shows, and what its script does."""

import pytest
from browser import needs_chromium, visit

pytestmark = needs_chromium
# Runs in the page after all else, and leaves in it what it has seen.
PROBE = """
<script>
addEventListener("load", () => {
  const table = document.querySelectorAll("table.sortable")[0];
  const heads = [...table.tHead.rows[0].cells];
  const state = place => ({
    order: [...table.tBodies[0].rows].map(row => row.cells[0].textContent.trim()),
    sort: heads.map(head => head.getAttribute("aria-sort")),
  });
  const click = place => { heads[place].querySelector("button").click(); return state(); };
  const seen = {
    before: state(),
    error: click(2),
    again: click(2),
    name: click(0),
    images: [...document.images].map(image => [image.naturalWidth, image.clientWidth]),
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    unnamed: [...document.querySelectorAll("thead th")]
      .filter(head => !head.querySelector("button").textContent.trim()).length,
  };
  const result = document.createElement("pre");
  result.id = "seen";
  result.textContent = JSON.stringify(seen);
  document.body.append(result);
});
</script>
"""


@pytest.mark.parametrize("width", [1200, 500])
def test_the_page_works(report, tmp_path, width):
    page = tmp_path / "page.html"
    page.write_text((report[0] / "report.html").read_text().replace("</body>", PROBE + "</body>"))
    seen, console = visit(page, width)
    assert console == []
    meta, ict, half, one = seen["before"]["order"]
    assert (meta, ict, half) == ("Meta-Semi", "<i>ICT</i> & $x$", "beta, mixup_beta=0.5")
    assert seen["before"]["sort"] == ["none"] * 7
    # Last errors of 9.5, 11, 9.5 and 9; as text, 11 would come first.
    assert seen["error"]["order"] == [one, meta, half, ict]
    assert seen["error"]["sort"] == ["none", "none", "ascending", *["none"] * 4]
    assert seen["again"]["order"] == [ict, meta, half, one]
    assert seen["again"]["sort"][2] == "descending"
    assert seen["name"]["order"][-1] == meta
    assert seen["name"]["sort"] == ["ascending", *["none"] * 6]
    assert len(seen["images"]) == 7
    assert all(natural > 100 and shown > 100 for natural, shown in seen["images"])
    assert seen["overflow"] == 0  # wide tables scroll by themselves
    assert seen["unnamed"] == 0


def test_the_test_sees_errors(tmp_path):
    page = tmp_path / "page.html"
    page.write_text('<p>no table</p><script>nothing.at.all;</script><pre id="seen">{}</pre>')
    _, console = visit(page, 1200)
    assert "nothing is not defined" in console[0]
