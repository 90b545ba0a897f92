"""What ``import astrofractal`` costs and offers."""

import subprocess
import sys

import pytest

import astrofractal

_HEAVY = ("torch", "timm", "lightly", "numba", "sklearn", "photutils", "matplotlib", "yt")


def _python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_import_is_light():
    code = f"import sys, astrofractal; print([m for m in {_HEAVY!r} if m in sys.modules])"
    assert _python(code) == "[]"


def test_import_is_fast():
    code = (
        "import time; start = time.perf_counter(); import astrofractal;"
        "print(time.perf_counter() - start)"
    )
    assert min(float(_python(code)) for _ in range(3)) < 0.5


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
