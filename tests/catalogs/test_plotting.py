"""Tests of pictures of catalogs."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable
from matplotlib.figure import Figure

from astrofractal.catalogs import plot_catalog
from tests.factories import make_column, make_gas


@pytest.mark.parametrize("scatter", [1.0, 6.0])
def test_names_are_clear_of_one_another_and_of_the_points(scatter):
    xy = np.random.default_rng(0).normal((60, 80), scatter, (20, 2))
    names = [f"core {i}" for i in range(len(xy))]
    catalog = QTable({"id": names, "x": xy[:, 0], "y": xy[:, 1], "mass": np.ones(20) * u.solMass})
    figure = Figure(figsize=(7, 6), layout="constrained")
    plot_catalog(catalog, make_gas(make_column((160, 200))), figure=figure)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    boxes = [text.get_window_extent() for text in axes.texts if text.get_text() in names]
    assert len(boxes) == len(names)
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:number])
        assert axes.get_window_extent().padded(1).containsx(box.x0)
        assert axes.get_window_extent().padded(1).containsx(box.x1)
        assert not any(box.contains(*point) for point in axes.transData.transform(xy))
