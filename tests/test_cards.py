"""The data card and the model card say what the bundled files say, and answer every question."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

from astrofractal.data import data_path

ROOT = Path(__file__).parents[1]
DATASHEET = ("Motivation", "Composition", "Collection process", "Preprocessing", "Uses",
             "Distribution", "Maintenance")  # fmt: skip
MODEL_CARD = ("Model details", "Uses", "Bias, risks and limitations", "How to get started",
              "Training details", "Evaluation", "Environmental impact", "Technical specifications",
              "Citation and contact")  # fmt: skip


@pytest.fixture(scope="module")
def cards():
    spec = importlib.util.spec_from_file_location("cards", ROOT / "docs/scripts/make_cards.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def page(name):
    return (ROOT / "docs" / f"{name}.rst").read_text(encoding="utf-8")


def test_tables_are_those_of_the_bundled_files(cards):
    stale = [name for name, make in cards.PARTS.items() if make() != page(f"cards/{name}")]
    assert not stale, "run python docs/scripts/make_cards.py"


@pytest.mark.parametrize(
    ("name", "headings"), [("data_card", DATASHEET), ("model_card", MODEL_CARD)]
)
def test_every_section_is_there(name, headings):
    found = re.findall(r"^(.+)\n=+$", page(name), re.M)
    assert tuple(found) == headings


def test_every_table_is_shown(cards):
    shown = re.findall(r"include:: cards/(\w+)\.rst", page("data_card") + page("model_card"))
    assert sorted(shown) == sorted(cards.PARTS)
    assert sorted(path.stem for path in (ROOT / "docs/cards").iterdir()) == sorted(cards.PARTS)


def test_what_is_not_described_is_refused(cards):
    with pytest.raises(KeyError, match="albedo"):
        cards.described(["sink", "albedo"], {"sink": ""}, "SINKS")
    with pytest.raises(KeyError, match="mass"):
        cards.described(["sink"], {"sink": "", "mass": ""}, "SINKS")


def test_numbers_in_the_text():
    text = page("data_card")
    clouds = page("cards/clouds")
    masses = [int(row) for row in re.findall(r"\* - cloud\d+\n      - (\d+)\n", clouds)]
    assert f"{min(masses)} to {max(masses)} solar masses" in text
    card = json.loads(data_path("astrofractal_vit_tiny_patch8_64.json").read_text("utf-8"))
    while card["origin"]:
        card = card["origin"]
    steps = card["steps"]
    assert f"{1.5 * steps / 3600:.1f} hours for its {steps:,} steps" in page("model_card")
