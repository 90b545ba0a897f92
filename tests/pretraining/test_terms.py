"""The terms of the loss: a class each, of which a weight of zero leaves none."""

import pytest

from astrofractal.pretraining import Recipe, recipe_names
from astrofractal.pretraining.module import DINOv2
from astrofractal.pretraining.terms import TERMS

pytest.importorskip("lightly")

SMALL = {"n_prototypes": 32, "head_hidden": 32, "head_bottleneck": 16}
PAPER = {
    "model": "astrofractal_vit_tiny_patch8_64",
    "image_size": 64,
    "source_size": 64,
    "local_grid": 3,
}


@pytest.mark.parametrize("name", recipe_names())
def test_a_module_has_the_terms_that_have_a_weight(name):
    recipe = Recipe.load(name, **SMALL, **(PAPER if name == "paper" else {}))
    weights = {term.name: getattr(recipe.terms, f"{term.name}_weight", 1.0) for term in TERMS}
    terms = DINOv2(recipe).terms
    assert {term.name: term.weight for term in terms} == {n: w for n, w in weights.items() if w}
    assert [type(term) for term in terms] == [term for term in TERMS if weights[term.name]]


def test_a_weight_of_zero_leaves_a_term_out():
    recipe = Recipe.load("compact", koleo_weight=0.0, structure_weight=0.0, **SMALL)
    assert {term.name for term in DINOv2(recipe).terms} == {"dino", "ibot"}


def test_each_term_is_a_class_that_refers_to_no_other_one():
    assert len({term.name for term in TERMS}) == len(set(TERMS)) == 8
    names = {term.__name__ for term in TERMS}
    for term in TERMS:
        assert not names.intersection(term.loss.__code__.co_names)
