"""All flags that a map or a row of a table can carry: what each warns of, and who sets it."""

from dataclasses import dataclass

__all__ = ["FLAGS", "Flag"]


@dataclass(frozen=True)
class Flag:
    """
    One flag.

    Parameters
    ----------
    name : str
        What maps and tables show.

    description : str
        What it warns of, as the documentation says it.

    set_by : str
        The functions that set it.
    """

    name: str
    description: str
    set_by: str


#: Every flag by its name.
FLAGS = {
    flag.name: flag
    for flag in (
        Flag(
            "outside",
            "the position is not on the map; nothing is measured there",
            "GasMap.cutouts, StellarMassEstimator.catalog",
        ),
        Flag("edge", "the cutout reaches over the border of the map", "GasMap.cutout"),
        Flag(
            "masked",
            "a part of the cutout has no data",
            "GasMap.cutout, StellarMassEstimator.evaluate",
        ),
        Flag(
            "resampled",
            "the pixels of map and cutout differ by more than 5 % in width",
            "GasMap.cutout",
        ),
        Flag(
            "beam",
            "the map resolves less than three pixels of the cutout, by its beam or its pixels; "
            "a matched calibration (StellarMassEstimator.matched) would say what that costs",
            "GasMap.cutout, StellarMassEstimator.evaluate",
        ),
        Flag(
            "off-center",
            "no peak of the column density, nor of N sigma^2, within one pixel of the center: beside "
            "the protostar masses come out too low",
            "StellarMassEstimator.catalog",
        ),
        Flag(
            "no-velocity",
            "the velocity is missing; a calibration without it was used",
            "StellarMassEstimator.evaluate",
        ),
        Flag(
            "no-dispersion",
            "the velocity dispersion is missing; a calibration without it was used",
            "StellarMassEstimator.evaluate",
        ),
        Flag(
            "sparse-velocity",
            "velocity or dispersion are known in less than a fifth of the cutout's pixels; in 5 % or "
            "less they are not used",
            "StellarMassEstimator.evaluate",
        ),
        Flag(
            "ood",
            "out of distribution: unlike the reference maps, the score is above the threshold",
            "StellarMassEstimator.evaluate",
        ),
        Flag(
            "extrapolated",
            "the mass is outside the central 98 % of the reference masses",
            "StellarMassEstimator.evaluate",
        ),
        Flag(
            "no-skill",
            "from these channels, masses on an unseen cloud are hardly better than the mean",
            "StellarMassEstimator.evaluate",
        ),
    )
}
