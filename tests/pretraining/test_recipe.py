import json
import re
from dataclasses import fields

import pytest

from astrofractal.pretraining import Recipe, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes_survive_a_round_trip(name, tmp_path):
    recipe = Recipe.load(name)
    path = tmp_path / f"{name}.json"
    path.write_text(json.dumps(recipe.to_dict()))
    assert Recipe.load(path) == recipe


def test_paper_recipe_is_the_published_one():
    recipe = Recipe.load("paper")
    assert recipe.batch_size == 1024
    assert recipe.n_images == 100 * recipe.n_distinct == 100_000_000
    assert recipe.image_size == recipe.source_size == 336
    assert recipe.warmup == 0.1


@pytest.mark.parametrize("missing", [{"n_distinct": 0}, {"n_distinct": 0, "coverage": 0.5}])
def test_runs_from_before_a_value_existed_go_on_as_they_began(missing):
    values = Recipe.load("compact").to_dict()
    recipe = Recipe(**{name: value for name, value in values.items() if name not in missing})
    assert {name: getattr(recipe, name) for name in missing} == missing


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
        ({"gradient_clip": float("inf")}, r"gradient_clip must be in \[0, inf\), got inf"),
        ({"rendering": "jpeg"}, "rendering must be one of 'gas', .* got 'jpeg'"),
        ({"model": "../x"}, "model must be a name without slashes, got '../x'"),
        ({"rendering": "palette", "structure_weight": 0}, "cusp_probability needs rendering='gas'"),
        ({"pairing": "twice"}, "pairing must be one of .*, got 'twice'"),
        ({"pairing": "symmetric"}, r"student_tokens must be at least block_side\*\*2 = 16, got 0"),
        ({"pairing": "symmetric", "mask_mode": "token"}, "needs mask_mode='drop', got 'token'"),
        ({"consistency_weight": 1}, "need pairing='symmetric'"),
        ({"hidden_masses": True}, "takes the place of cusps"),
        ({"structure_share": 0}, "structure_share must be in"),
        (
            {"structure_share": 0.3, "dino_weight": 0, "ibot_weight": 0, "koleo_weight": 0},
            "structure_share must be 1 where the structure is the only term .* got 0.3",
        ),
        ({"source": "noise"}, "source must be one of 'flames', .* got 'noise'"),
        ({"source": "maps"}, "source 'maps' needs hidden_masses=false and cusp_probability=0"),
        (
            {"source": "random_fields", "rendering": "moments", "structure_weight": 0},
            "'random_fields' needs rendering='gas', got 'moments'",
        ),
        ({"source_size": 32}, "source_size must be at least image_size=64, got 32"),
    ],
)
def test_bad_values_are_named(overrides, message):
    with pytest.raises(ValueError, match=message):
        Recipe.load("compact", **overrides)


def test_every_number_has_a_range():
    values = Recipe.load("compact").to_dict()
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


def test_every_value_is_documented():
    parameters = Recipe.__doc__.partition("Parameters")[2].partition("See Also")[0]
    lines = re.findall(r"^    (\w.*?) : ", parameters, re.MULTILINE)
    documented = {name for line in lines for name in line.split(", ")}
    assert documented == {field.name for field in fields(Recipe)}
