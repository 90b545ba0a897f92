"""The page with a result: what is in it, that nothing in it runs or loads, and how it looks."""

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from astropy.utils.masked import Masked

from astrofractal import StellarMassEstimator
from astrofractal.flags import FLAGS
from astrofractal.mass import FeatureSet
from astrofractal.report import write_report
from astrofractal.segmentation import Segmentation
from tests.factories import make_column, make_gas, make_mapset

HOSTILE = '"><script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>'


@pytest.fixture(scope="module")
def gas():
    column = make_column((48, 64), [(24, 30, 4e22, 5)])
    return make_gas(column, 0 * column, 0 * column + 0.3, meta={"object": HOSTILE})


@pytest.fixture(scope="module")
def catalog(gas):
    mass = Masked([3.0, 0.2, 10.0, 1.0] * u.solMass, mask=[False, False, False, True])
    sky = gas.to_sky([10, 20, 30, 40], [10, 20, 30, 40])
    names = ["b", "a10", "a9", HOSTILE]
    table = QTable({"id": names, "position": SkyCoord(sky), "mass": mass})
    table["mass_lower"], table["mass_upper"] = mass / 2, mass * 2
    table["trust"] = ["yes", "no", "no", "no"]
    table["channels"] = "N+v+sigma"
    table["flags"] = ["", "edge,unlike-references", "unlike-references", HOSTILE]
    table["mass"].info.format = ".3g"
    table["mass"].info.description = HOSTILE
    table.meta.update(level=0.68, weights_id=HOSTILE, no_skill=HOSTILE, matched=HOSTILE)
    return table


@pytest.fixture(scope="module")
def segmentation(gas):
    column = gas.column_density.value
    return Segmentation(
        gas,
        np.digitize(column, [0, 2e21]).astype(np.int32),
        np.stack([np.log10(column)]),
        n_segments=2,
        rgb=np.full((*column.shape, 3), 0.5),
        meta={"background": HOSTILE},
    )


@pytest.fixture(scope="module")
def estimator():
    features = FeatureSet(pooling=None, profiles=True)
    return StellarMassEstimator(features=features, regressor="ridge").fit(make_mapset(18))


@pytest.fixture(scope="module")
def page(tmp_path_factory, catalog, segmentation, estimator):
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_report(
        path,
        catalog=catalog,
        segmentation=segmentation,
        estimator=estimator,
        command=f"astrofractal mass {HOSTILE}",
        title=HOSTILE,
    )
    return path


class Reader(HTMLParser):
    """What a browser would see: elements, and text without them."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def test_nothing_from_outside_runs_or_is_loaded(page):
    elements = Reader(page.read_text(encoding="utf-8")).elements
    assert sum(tag == "script" for tag, _ in elements) == 1
    assert {tag for tag, _ in elements}.isdisjoint({"link", "iframe", "object", "embed", "form"})
    for tag, attributes in elements:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:image/png;base64,")), tag
    (policy,) = [a["content"] for _, a in elements if "http-equiv" in a]
    assert "default-src 'none'" in policy


def test_it_says_what_a_colleague_asks(page, gas, estimator, segmentation):
    reader = Reader(page.read_text(encoding="utf-8"))
    text = " ".join(reader.text.split())
    for flag in ("unlike-references", "edge"):
        assert " ".join(FLAGS[flag].description.split()) in text
    assert FLAGS["masked"].description not in text
    skill = estimator.calibrations_["column_density", "velocity", "dispersion"].skill_
    assert f"{skill['r2_protostar']:.2f}" in text
    assert repr(gas) in text
    assert gas.fingerprint() in text
    assert f"astrofractal mass {HOSTILE}" in text
    assert "probability of 68 %" in text
    assert "1 of 4 masses can be used: 2 are out of distribution" in text
    assert f"Matched calibration: {HOSTILE}" in text
    assert FLAGS["unlike-references"].remedy in text
    assert len([tag for tag, _ in reader.elements if tag == "img"]) == 6
    ends = {a["href"][1:] for _, a in reader.elements if "href" in a}
    assert ends <= {a.get("id") for _, a in reader.elements}


def test_it_is_written_whole_or_not_at_all(tmp_path, catalog, gas):
    path = tmp_path / "page.html"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match=r"page\.html"):
        write_report(path, catalog=catalog, maps=gas)
    with pytest.raises(ValueError, match=r"must end in \.html or \.htm"):
        write_report(tmp_path / "page.pdf", catalog=catalog)
    with pytest.raises(ValueError, match="a catalog or a segmentation"):
        write_report(tmp_path / "other.html")
    broken = catalog.copy()
    del broken["position"]
    with pytest.raises(ValueError, match="catalog must have 'position'"):
        write_report(path, catalog=broken, maps=gas, overwrite=True)
    assert path.read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_a_catalog_without_a_map_or_a_row(tmp_path, catalog):
    for rows, name in ((slice(0, 0), "empty.html"), (slice(None), "cutouts.html")):
        write_report(tmp_path / name, catalog=catalog[rows])
        assert "Masses of protostars" in (tmp_path / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Return a function that opens a page and returns what became of it."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.skip("needs a browser: chromium or google-chrome")
    profile = tmp_path_factory.mktemp("profile")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]

    def dump(page):
        command = [program, *options, "--dump-dom", page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return done.stdout

    return dump


def look(browser, page, script, folder, *, width=1200):
    """Return what a script finds on a page that is as narrow as a telephone, which windows are not."""
    text = page.read_text(encoding="utf-8")
    text = re.sub("script-src 'sha256-[^']+'", "script-src 'unsafe-inline'", text)
    found = f"<script>parent.document.title = JSON.stringify((() => {{{script}}})())</script>"
    inner, outer = folder / "inner.html", folder / "outer.html"
    inner.write_text(text.replace("</body>", f"{found}</body>"), encoding="utf-8")
    quoted = html.escape(inner.read_text(encoding="utf-8"), quote=True)
    frame = f'<iframe srcdoc="{quoted}" style="width:{width}px;height:800px;border:0"></iframe>'
    outer.write_text(f'<meta charset="utf-8"><title>-</title>{frame}', encoding="utf-8")
    title = re.search("<title>(.*?)</title>", browser(outer), re.S)[1]
    return json.loads(html.unescape(title))


def test_tables_are_sorted_by_a_click(page, browser, tmp_path):
    script = """
        const table = document.querySelector("table.sortable");
        const column = (n) => [...table.tBodies[0].rows].map((r) => r.cells[n].textContent);
        const click = (n) => table.tHead.rows[0].cells[n].querySelector("button").click();
        const found = {};
        click(0); found.names = column(0).slice(0, 3);
        click(2); found.up = column(2);
        click(2); found.down = column(2);
        return found;
    """
    found = look(browser, page, script, tmp_path)
    assert found["names"][1:] == ["a9", "a10"]  # the hostile one begins with a quotation mark
    assert found["up"] == ["0.2", "3", "10", "—"]
    assert found["down"] == ["10", "3", "0.2", "—"]


@pytest.mark.parametrize("width", [1200, 390])
def test_it_fits_the_screen(page, browser, tmp_path, width):
    script = """
        const images = [...document.images];
        return [innerWidth, document.documentElement.scrollWidth, images.every((i) => i.naturalWidth)];
    """
    inside, needed, loaded = look(browser, page, script, tmp_path, width=width)
    assert inside == width
    assert needed <= width
    assert loaded


def test_its_own_script_passes_its_own_policy(page, browser):
    assert "<button" not in page.read_text(encoding="utf-8")
    assert "<button" in browser(page)
