"""What ``import astrofractal`` costs and offers."""

import ast
import subprocess
import sys

import pytest

import astrofractal


def _python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_import_is_light():
    """Only the standard library is imported, and of ours the package alone."""
    code = (
        "import sys; before = set(sys.modules); import astrofractal;"
        "print(sorted({m.partition('.')[0] for m in set(sys.modules) - before}))"
    )
    found = set(ast.literal_eval(_python(code)))
    assert {name for name in found if name not in sys.stdlib_module_names} == {"astrofractal"}


@pytest.mark.parametrize(
    "name", ["FeatureSegmenter", "FractalEncoder", "GasMap", "StellarMassEstimator"]
)
def test_flagship_classes_come_from_the_top(name):
    assert name in dir(astrofractal)
    assert name in astrofractal.__all__
    assert getattr(astrofractal, name).__name__ == name


def test_unknown_attribute():
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = astrofractal.Nothing


def test_version():
    assert isinstance(astrofractal.__version__, str)
    assert astrofractal.__version__[0].isdigit()
