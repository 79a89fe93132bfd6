"""The HTML report in headless Chromium at three widths: no sideways scroll, no script error, nothing from outside."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from fvcore.common.config import CfgNode

from clsa.configs.loading import load_config
from clsa.configs.run_files import write_result
from clsa.reproduce.config import get_cfg
from clsa.reproduce.report import make_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--allow-file-access-from-files",
    "--window-size=1700,900",
    "--virtual-time-budget=4000",
    "--dump-dom",
]
WIDTHS = (400, 800, 1600)

#: Put in the page's head: before anything that it could tell of.
LISTENER = """<script>
window.errors = [];
addEventListener("error", e => errors.push(e.message || "not loaded: " + (e.target.src || e.target.href)), true);
addEventListener("unhandledrejection", e => errors.push(String(e.reason)));
</script>"""

#: One frame a width: Chromium's own windows are never narrower than about 500 px.
WRAPPER = """<!doctype html><body><pre id="found"></pre>%s<script>
addEventListener("load", () => {
  found.textContent = JSON.stringify([...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentWindow, root = page.document.documentElement;
    const wide = [...page.document.querySelectorAll(".judged .scroll, .published .scroll")];
    return {width: page.innerWidth, scroll: root.scrollWidth, height: root.scrollHeight, errors: page.errors,
      cut: wide.filter(e => e.scrollWidth > e.clientWidth).length,
      outside: page.performance.getEntriesByType("resource").map(e => e.name).filter(n => !n.startsWith("data:"))};
  }));
});
</script>"""


def measure(page: str, folder: Path) -> list[dict]:
    """What Chromium says of ``page`` at each of WIDTHS."""
    (folder / "page.html").write_text(page.replace("<head>", "<head>" + LISTENER, 1))
    frames = "".join(f'<iframe src="page.html" style="border:0;width:{w}px;height:800px"></iframe>' for w in WIDTHS)
    (folder / "wrapper.html").write_text(WRAPPER % frames)
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", (folder / "wrapper.html").as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    found = re.search(r'<pre id="found">(.+?)</pre>', dom)
    assert found, dom[-500:]
    return json.loads(html.unescape(found[1]))


def test_the_report_fits_every_width_and_is_whole(tmp_path) -> None:
    for method, small in (("random_init", 1.0), ("moco_v2", 4.0), ("clsa_single", 6.0)):
        write_result(
            tmp_path / method / "detect" / "coco",
            stage="detection",
            protocol="mini-coco",
            metric_flavour="COCO",
            engine="torchvision",
            values={f"{kind}/{name}": small for kind in ("bbox", "segm") for name in ("AP", "APs", "APm", "APl")},
            per_class={},
            weights={"file": None, "sha256": None},
            dataset={"name": "coco_2017_val", "fingerprint": {"images": 4, "file_list_sha256": "a" * 64}},
            seed=0,
            trial=0,
            wall_seconds=61.0,
            config=CfgNode(),
        )
    cfg = load_config(get_cfg(), "configs/reproduce/mini.yaml")
    make_report(cfg, tmp_path)
    measured = measure((tmp_path / "report.html").read_text(), tmp_path)
    assert [page["width"] for page in measured] == list(WIDTHS)
    for page in measured:
        assert page["height"] > 500
        assert page["scroll"] <= page["width"], f"scrolls sideways at {page['width']} px"
        assert page["errors"] == []
        assert page["outside"] == []
    assert measured[0]["cut"] == 0  # no verdict's reason, and no published number's source, is off a phone's screen


def test_the_measurement_can_fail(tmp_path) -> None:
    page = (
        '<!doctype html><html><head></head><body><div style="width:900px">x</div><img src="http://127.0.0.1:9/no.png">'
    )
    page += "<script>absent()</script></body></html>"
    narrow, middle, wide = measure(page, tmp_path)
    assert narrow["scroll"] >= 900
    assert middle["scroll"] >= 900
    assert wide["scroll"] == 1600
    assert any("absent" in error for error in narrow["errors"])
    assert narrow["outside"][0].endswith("/no.png")
