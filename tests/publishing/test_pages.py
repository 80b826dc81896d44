"""The pages of the smoke book in a real browser, without a network: wide, and as on a phone.

`.ci/run` builds that book first; one that is older than its sources is not judged. Needs Chromium
and its driver, as Debian's packages ``chromium`` and ``chromium-driver`` have them, or Chrome and
its.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
from axe_core_python.selenium import Axe
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from causalmix.publishing.execution import files_below

ROOT = Path(__file__).parents[2]
HTML = ROOT / "_build" / "books" / "smoke" / "html"
DRIVER = shutil.which("chromedriver")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.skipif(not (DRIVER and CHROMIUM), reason="chromium and chromedriver are needed"),
    pytest.mark.skipif(not HTML.is_dir(), reason="make book-smoke makes the pages"),
]

PAGES = sorted(
    path.relative_to(HTML).as_posix()
    for path in HTML.rglob("*.html")
    if not {"_modules", "_static"} & set(path.parts)
    and path.name not in ("genindex.html", "py-modindex.html", "prf-prf.html", "index.html")
)
READ = ("book/intro.html", "book/method.html", "notebooks/01_discovery.html")

FACTS = """
const wide = document.documentElement;
return {
  links: [...document.querySelectorAll("a[href]")].map(each => each.href),
  broken: [...document.images].filter(each => each.complete && !each.naturalWidth)
    .map(each => each.getAttribute("src")),
  unnamed: [...document.querySelectorAll("main img")].filter(each => !each.alt)
    .map(each => each.getAttribute("src")),
  formulas: document.querySelectorAll(".math").length,
  rendered: document.querySelectorAll("mjx-container").length,
  scrolls: wide.scrollWidth - wide.clientWidth,
};
"""


@pytest.fixture(scope="module", autouse=True)
def _fresh() -> None:
    """Skip pages of an older book: what they show is not what the sources say."""
    folders = ("book", "causalmix", "notebooks", "results")
    sources = [*(path for name in folders for path in files_below(ROOT / name))]
    newest = max((*sources, ROOT / "_config.yml", ROOT / "_toc.yml"), key=changed)
    if changed(HTML / ".causalmix-book") < changed(newest):
        pytest.skip(f"the smoke book is older than {newest.name}: run make book-smoke")


def changed(path: Path) -> float:
    return path.stat().st_mtime


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(HTML)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"),
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # no network
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "WARNING"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(120)
    yield driver
    driver.quit()


def resized(browser: webdriver.Chrome, width: int) -> None:
    # The window of a desktop has a least width; this is what a phone's page is as wide as.
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_whole_wide_and_narrow(browser, site, page):
    resized(browser, 1280)
    browser.get(site + page)
    facts = browser.execute_script(FACTS)
    if facts["formulas"]:
        WebDriverWait(browser, 20).until(
            lambda driver: driver.execute_script(FACTS)["rendered"] >= facts["formulas"]
        )
    assert (facts["broken"], facts["unnamed"]) == ([], [])
    assert facts["scrolls"] <= 1
    dead = {link for link in facts["links"] if link.startswith(site) and not there(link, site)}
    assert not dead
    resized(browser, 390)
    assert browser.execute_script(FACTS)["scrolls"] <= 1
    assert [entry["message"] for entry in browser.get_log("browser")] == []


def there(link: str, site: str) -> bool:
    """Say whether a link of a page leads to a file, and to a place in it."""
    address, place = urldefrag(urljoin(site, link))
    file = HTML / unquote(urlsplit(address).path).lstrip("/")
    if file.is_dir():
        file /= "index.html"
    if not file.is_file():
        return False
    return not place or f'id="{unquote(place)}"' in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [page for page in READ if page in PAGES])
@pytest.mark.parametrize("width", [1280, 390])
def test_nobody_is_kept_out(browser, site, page, width):
    resized(browser, width)
    browser.get(site + page)
    found = Axe().run(browser)["violations"]
    serious = {
        each["id"]: [node["html"][:120] for node in each["nodes"][:3]]
        for each in found
        if each["impact"] in ("serious", "critical")
    }
    assert serious == {}


def test_the_search_finds_a_word_and_solutions_open(browser, site):
    resized(browser, 1280)
    browser.get(site + "search.html?q=FCI")
    WebDriverWait(browser, 20).until(
        lambda driver: driver.find_elements(By.CSS_SELECTOR, "#search-results li")
    )
    names = [each.text for each in browser.find_elements(By.CSS_SELECTOR, "#search-results li a")]
    assert any("Discovering" in name for name in names)
    browser.get(site + "notebooks/01_discovery.html")
    solution = browser.find_element(By.CSS_SELECTOR, "div.solution.dropdown")
    button = solution.find_element(By.CSS_SELECTOR, "button.toggle-button, summary")
    closed = solution.size["height"]
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
    browser.execute_script("arguments[0].click()", button)
    WebDriverWait(browser, 10).until(lambda _: solution.size["height"] > closed + 20)
