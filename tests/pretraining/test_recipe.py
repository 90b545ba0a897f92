import json
import re
from dataclasses import fields

import pytest

from astrofractal.pretraining import Recipe, recipe_names
from astrofractal.pretraining.recipe import Images, Optimizer, Terms, Views


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes_survive_a_round_trip(name, tmp_path):
    recipe = Recipe.load(name)
    path = tmp_path / f"{name}.json"
    path.write_text(json.dumps(recipe.to_dict()))
    assert Recipe.load(path) == recipe


def test_paper_recipe_is_the_published_one():
    recipe = Recipe.load("paper")
    assert recipe.batch_size == 1024
    assert recipe.n_images == 100 * recipe.images.n_distinct == 100_000_000
    assert recipe.views.image_size == recipe.images.source_size == 336
    assert recipe.optimizer.warmup == 0.1


def flat(values):
    """Return the values of a recipe without tables, as earlier versions kept them."""
    tables = [value for value in values.values() if isinstance(value, dict)]
    top = {name: value for name, value in values.items() if not isinstance(value, dict)}
    return {**top, **{name: value for table in tables for name, value in table.items()}}


def test_runs_from_before_a_value_existed_go_on_as_they_began():
    values = flat(Recipe.load("compact").to_dict())
    missing = {"n_distinct": 0, "coverage": 0.5}
    recipe = Recipe.of({name: value for name, value in values.items() if name not in missing})
    assert {name: getattr(recipe.images, name) for name in missing} == missing


def test_values_of_earlier_versions_make_the_same_recipe():
    recipe = Recipe.load("compact_invariant")
    old = flat(recipe.to_dict())
    old["hidden_masses"], old["hidden_mass_weight"] = old.pop("protostars"), 1.0
    del old["protostar_mass_weight"]
    constants = {"dino_weight": 1.0, "momentum_end": 1.0, "mass_zoom": 4.0, "beta2": 0.98}
    assert Recipe.of({**old, **constants}) == recipe
    with pytest.raises(ValueError, match="beta2 is 0.98 in all recipes and can no longer be set"):
        Recipe.of({**old, "beta2": 0.9})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"batch_sise": 3}, "'batch_sise' is unknown"),
        ({"batch_size": "many"}, "batch_size must be of type int, got 'many'"),
        ({"batch_size": 0}, r"batch_size must be in \[1, inf\), got 0"),
        ({"coverage": 1.5}, r"coverage must be in \[0, 1\], got 1.5"),
        ({"mask_ratio": 1.5}, r"mask_ratio must be in \(0, 1\), got 1.5"),
        ({"centering": "median"}, "centering must be one of .*, got 'median'"),
        ({"zoom_max": 0.5}, r"zoom_max must be in \[1, inf\), got 0.5"),
        (
            {"class_structure_weight": 1, "structure_weight": 0},
            "class_structure_weight needs a structure_weight",
        ),
        ({"predictor_depth": 0}, "predictor_depth"),
        ({"momentum": 5}, r"momentum must be in \[0, 1\], got 5.0"),
        ({"learning_rate": float("nan")}, r"learning_rate must be in \[0, 1\], got nan"),
        ({"jitter": float("inf")}, r"jitter must be in \[0, inf\), got inf"),
        ({"rendering": "jpeg"}, "rendering must be one of 'gas', .* got 'jpeg'"),
        ({"model": "../x"}, "model must be a name without slashes, got '../x'"),
        (
            {"rendering": "palette", "structure_weight": 0},
            "cusp_probability needs rendering='gas', got 'palette'",
        ),
        ({"pairing": "twice"}, "pairing must be one of .*, got 'twice'"),
        ({"pairing": "symmetric"}, r"student_tokens must be at least block_side\*\*2 = 16, got 0"),
        ({"pairing": "symmetric", "mask_mode": "token"}, "need mask_mode='drop', got 'token'"),
        ({"consistency_weight": 1}, "need pairing='symmetric'"),
        ({"protostars": True}, "protostars=true needs cusp_probability=0"),
        ({"structure_share": 0}, "structure_share must be in"),
        ({"source": "noise"}, "source must be one of 'flames', .* got 'noise'"),
        ({"source": "maps"}, "source 'maps' needs both to be off"),
        (
            {"source": "random_fields", "rendering": "moments", "structure_weight": 0},
            "needs rendering='gas', got 'moments'",
        ),
        ({"source_size": 32}, "source_size must be at least image_size=64, got 32"),
        ({"image_size": 65}, "image_size must be a multiple of the 8 px of a patch, got 65"),
    ],
)
def test_bad_values_are_named(overrides, message):
    with pytest.raises(ValueError, match=message):
        Recipe.load("compact", **overrides)


def test_every_number_has_a_range():
    values = flat(Recipe.load("compact").to_dict())
    numbers = [name for name, value in values.items() if type(value) in (int, float)]
    assert len(numbers) > 50
    for name in numbers:
        with pytest.raises(ValueError, match=f"recipe value {name} must be in .*, got -1"):
            Recipe.of({**values, name: type(values[name])(-1)})


@pytest.mark.parametrize(("name", "text"), [("a.toml", "seed = = 1"), ("a.json", "{")])
def test_file_that_cannot_be_read_is_named(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=rf"the recipe of '.*{name}': it is not (TOML|JSON) "):
        Recipe.load(tmp_path / name)


def test_unknown_recipe_lists_the_shipped_ones():
    with pytest.raises(
        ValueError,
        match="'adapt', 'compact', 'compact_invariant', 'compact_zoom', 'paper'.*got 'huge'",
    ):
        Recipe.load("huge")


@pytest.mark.parametrize("table", [Recipe, Images, Views, Terms, Optimizer])
def test_every_value_is_documented(table):
    parameters = table.__doc__.partition("Parameters")[2].partition("See Also")[0]
    documented = set(re.findall(r"^    (\w+) : ", parameters, re.MULTILINE))
    assert documented == {field.name for field in fields(table)}
