"""The page of predictions in a real browser: what is looked at becomes a CSV of labels."""

import csv
import io
import urllib.parse

from browser import needs_chromium, visit
from PIL import Image

from metasemi_plugin.cli.predict import Row
from metasemi_plugin.model.page import page

pytestmark = needs_chromium
CLASSES = ["cat", 'a "big" dog', "<b>cow</b>"]
PROBE = """
<script>
const items = [...document.querySelectorAll("li")];
const href = () => document.getElementById("save").href;
const change = (item, selector, set) => {
  const element = item.querySelector(selector);
  set(element);
  element.dispatchEvent(new Event("change", {bubbles: true}));
};
const seen = {before: href(), chosen: items.map(item => item.querySelector("select").value)};
change(items[0], "select", e => { e.selectedIndex = 1; });
change(items[1], "input", e => { e.checked = true; });
change(items[2], "input", e => { e.checked = true; });
change(items[2], "input", e => { e.checked = false; });
seen.after = href();
seen.count = document.getElementById("count").textContent;
seen.images = [...document.images].map(image => image.naturalWidth);
seen.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
const result = document.createElement("pre");
result.id = "seen";
result.textContent = JSON.stringify(seen);
document.body.append(result);
</script>
"""


def test_what_was_looked_at_is_saved_as_labels(tmp_path):
    names = ["a,b.png", "sure.png", "some.png"]
    for i, name in enumerate(names):
        Image.new("RGB", (40 + i, 30), (50 * i, 90, 200)).save(tmp_path / name)
    files = [str(tmp_path / name) for name in names]
    shares = (0.4, 0.9, 0.6)
    rows = [
        Row(file, [(CLASSES[2], share), (CLASSES[0], 1 - share)])
        for file, share in zip(files, shares, strict=True)
    ]
    path = tmp_path / "page.html"
    path.write_text(page(rows, CLASSES, "a run").replace("</html>", PROBE + "</html>"))
    seen, console = visit(path, 600)
    assert console == []
    assert seen["chosen"] == [CLASSES[2]] * 3
    assert (seen["count"], seen["overflow"]) == ("2", 0)
    assert seen["images"] == [40, 42, 41]
    assert table(seen["before"]) == []
    assert table(seen["after"]) == [(files[0], CLASSES[1]), (files[2], CLASSES[2])]


def table(href):
    text = urllib.parse.unquote(href.split(",", 1)[1])
    return [(row["file"], row["class"]) for row in csv.DictReader(io.StringIO(text))]
