"""The page of the benchmark in the documentation, from tables as the benchmark writes them."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable

from tests.test_figures import figure_test

FOLDER = Path(__file__).parents[1] / "docs" / "research" / "benchmark"
SCRIPT = Path(__file__).parents[1] / "docs" / "scripts" / "make_benchmark_pages.py"


@pytest.fixture(scope="module")
def pages():
    spec = importlib.util.spec_from_file_location("make_benchmark_pages", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tables(pages):
    methods = list(pages.LINES)
    scores = QTable(
        rows=[
            {"protocol": protocol, "method": method, "regressor": "ridge", "cloud": "all",
             "r2_protostar": 0.3 - 0.05 * k, "r2_protostar_err": 0.06, "r2": 0.4 - 0.05 * k,
             "r2_err": 0.05, "rmse_protostar": 0.5 * u.dex, "n_effective": 321.4}
            for protocol in ("leave-cloud-out", "random")
            for k, method in enumerate(methods)
        ],
        meta={"n_maps": 1234, "n_protostars": 40, "n_clouds": 3, "n_per_protostar": 10,
              "failed": ["broken, random: ValueError: no"]},
    )  # fmt: skip
    paired = QTable(
        rows=[
            {"method": method, "reference": pages.REFERENCE, "cloud": "all",
             "r2_protostar": 0.05 - 0.02 * k, "r2_protostar_err": 0.01 + 0.003 * k,
             "r2": 0.03 - 0.01 * k, "r2_err": 0.02}
            for k, method in enumerate(m for m in methods if m != pages.REFERENCE)
        ]
    )  # fmt: skip
    learning = QTable(
        rows=[
            {"method": method, "maps": maps, "n_labels": n,
             "r2_protostar": 0.1 * np.log2(n) - 0.4 - 0.05 * k, "r2_protostar_scatter": 0.4 / n}
            for k, method in enumerate(methods)
            for maps in ("one", "all")
            for n in (4.0, 16.0, 64.0)
        ]
    )  # fmt: skip
    levels = [("none", 0.0), ("signal-to-noise", 10.0), ("beam", 4.0), ("channels", 1.0)]
    degradation = QTable(
        rows=[
            {"method": method, "kind": kind, "level": level, "channels": "column_density",
             "r2_protostar": 0.3 - 0.06 * i - 0.04 * k}
            for k, method in enumerate(methods[:3])
            for i, (kind, level) in enumerate(levels)
        ]
    )  # fmt: skip
    log_mass = np.linspace(-1, 1.2, 12)
    intervals = QTable({"cloud": ["a", "b", "c"] * 4, "sink": [f"s{k // 2}" for k in range(12)]})
    intervals["log_mass"] = log_mass
    intervals["predicted"] = 0.7 * log_mass + 0.3 * np.sin(np.arange(12))
    intervals["half_68"], intervals["half_90"] = np.full(12, 0.3) * u.dex, np.full(12, 0.5) * u.dex
    names = ("flames", "flames_six")
    flames = {name: QTable.read(FOLDER.parent / "tables" / f"{name}.ecsv") for name in names}
    return {"scores": scores, "paired": paired, "learning": learning, "degradation": degradation,
            "intervals": intervals, **flames}  # fmt: skip


@figure_test
@pytest.mark.parametrize("name", ["paired", "learning", "degradation", "predicted", "flames"])
def test_figure_of_the_benchmark(pages, tables, name):
    return pages.FIGURES[name][0](tables)


def test_every_figure_of_the_page_has_a_reference(pages):
    drawn = {f"test_figure_of_the_benchmark_{name}.png" for name in pages.FIGURES}
    assert drawn <= {path.name for path in (Path(__file__).parent / "baseline").iterdir()}


def test_tables_of_the_page(pages, tables):
    text = pages.summary(tables)
    assert text.startswith("1,234 maps of 40 protostars in 3 clouds")
    assert "at most 10 maps of each protostar" in text
    assert "equivalent to 321 independent ones" in text
    row = text.partition("    * - **the package's default**\n")[2].splitlines()
    assert row[0] == "      - 0.30 ± 0.06"
    assert row[1] == "      - 0.05 ± 0.01"
    every = pages.everything(tables)
    assert every.count(".. rubric::") == 2
    assert every.endswith("because it failed: ``broken, random: ValueError: no``\n")


def test_pages_are_those_of_the_tables(pages):
    found = {path.stem: QTable.read(path) for path in FOLDER.glob("*.ecsv")}
    for name, (make, needed) in pages.PAGES.items():
        assert needed in found
        assert (FOLDER / f"{name}.rst").read_text(encoding="utf-8") == make(found), name


def test_limits_weigh_each_protostar_alike(pages):
    intervals = QTable(
        {"cloud": ["a"] * 4, "sink": [1, 1, 1, 2], "log_mass": [0.5, 0.5, 0.5, 0.1],
         "predicted": [0.6, 0.6, 0.6, 0.9]}
    )  # fmt: skip
    intervals["half_68"], intervals["half_90"] = np.full(4, 0.3) * u.dex, np.full(4, 0.5) * u.dex
    rows = pages.limits_clouds({"intervals": intervals}).split("    * - ")
    assert [cell.strip() for cell in rows[2].split("\n      - ")] == [
        "**all**", "2", "4", "50%", "75%", "50%", "75%"
    ]  # fmt: skip
    masses = pages.limits_masses({"intervals": intervals})
    assert [cell.strip() for cell in masses.split("    * - ")[2].split("\n      - ")] == [
        "1 to 3.2", "1", "+0.80", "0.80", "0%"
    ]  # fmt: skip


def test_the_table_of_the_paper_is_the_measured_one(pages):
    table = QTable.read(FOLDER / "paper.ecsv")
    text = (FOLDER.parent / "paper_table.rst").read_text(encoding="utf-8")
    names = {"small CNN, n^-1/2": "small CNN, trained on these maps",
             "ResNet-18": "ResNet-18, trained on these maps"}  # fmt: skip
    places = {"mhd_slab": "slabs", "mhd": "whole boxes"}
    for row in table:
        name = names.get(row["method"], row["method"])
        if name == "default":
            name = f"**the package's default**, {places[row['maps']]}"
        cells = (pages.number(pages.value(row[key])) for key in ("r2", "rmse", "r2_clouds"))
        assert "\n      - ".join([f"    * - {name}", *cells]) in text, name
