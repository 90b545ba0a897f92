"""All flags that a map or a row of a table can carry: meaning, severity, what to do."""

import math
from dataclasses import dataclass

__all__ = ["FLAGS", "GOOD_R2", "WEAK_R2", "Flag", "skill_flags", "trust_of"]

#: R2 per protostar, on clouds left out of the calibration, from which masses are trusted, and below
#: which they are not.
GOOD_R2, WEAK_R2 = 0.25, 0.1


@dataclass(frozen=True)
class Flag:
    """
    One flag.

    Parameters
    ----------
    name : str
        What maps and tables show.
    trust : {"yes", "doubt", "no"}
        Whether a mass with this flag can be trusted.
    short : str
        What a mass is that has it, for the sentence that closes a table.
    description : str
        What it warns of, as the documentation says it.
    remedy : str
        What to do.
    """

    name: str
    trust: str
    short: str
    description: str
    remedy: str


#: Every flag by its name, in the order in which a table is summarized.
FLAGS = {
    flag.name: flag
    for flag in (
        Flag(
            "outside",
            "no",
            "outside the map",
            "the position is not on the map; nothing is measured there",
            "check the position and its frame against the map",
        ),
        Flag(
            "unlike-references",
            "no",
            "out of distribution",
            "out of distribution: unlike the reference maps, the score is above the threshold",
            "check units, distance and beam of the map; calibrate for its telescope "
            "(StellarMassEstimator.matched, --match)",
        ),
        Flag(
            "no-skill",
            "no",
            "from a calibration without predictive power",
            "from these channels, masses on an unseen cloud are hardly better than the mean "
            "(R2 per protostar below 0.1)",
            "add velocity and dispersion, or use a sharper map",
        ),
        Flag(
            "weak-skill",
            "doubt",
            "from a calibration with little predictive power",
            "from these channels, masses on an unseen cloud are little better than the mean "
            "(R2 per protostar 0.1 to 0.25)",
            "add velocity and dispersion, or use a sharper map",
        ),
        Flag(
            "extrapolated",
            "doubt",
            "cut at the range of the reference masses",
            "the mass or an end of its interval is beyond the reference masses, and is cut at "
            "0.05 or 30 solMass",
            "read the mass as a limit",
        ),
        Flag(
            "off-center",
            "doubt",
            "not at a peak of the gas",
            "no peak of the column density, nor of N sigma^2, within one pixel of the center: if the "
            "position is off, the mass is too low",
            "check the position; a peak of the gas that is near may be the protostar",
        ),
        Flag(
            "beam",
            "doubt",
            "from a map with a large beam",
            "the map resolves less than three pixels of the cutout, by its beam or its pixels",
            "calibrate for its telescope (StellarMassEstimator.matched, --match)",
        ),
        Flag(
            "masked",
            "doubt",
            "partly without data",
            "a part of the cutout has no data",
            "use a map that covers 0.25 pc around the protostar",
        ),
        Flag(
            "edge",
            "doubt",
            "at the border of the map",
            "the cutout reaches over the border of the map",
            "use a map that covers 0.25 pc around the protostar",
        ),
        Flag(
            "sparse-velocity",
            "doubt",
            "mostly without velocities",
            "velocity or dispersion are known in less than a fifth of the cutout's pixels; in 5 % or "
            "less they are not used",
            "use a line that is detected in more of the gas",
        ),
        Flag(
            "no-velocity",
            "yes",
            "without velocity",
            "the velocity is missing; a calibration without it was used",
            "add it if there is one (velocity=, --velocity)",
        ),
        Flag(
            "no-dispersion",
            "yes",
            "without velocity dispersion",
            "the velocity dispersion is missing; a calibration without it was used",
            "add it if there is one (dispersion=, --dispersion)",
        ),
        Flag(
            "other-pixel-scale",
            "yes",
            "with other pixels than the cutout",
            "the pixels of map and cutout differ by more than 5 % in width",
            "nothing: mass and momentum are conserved",
        ),
    )
}


def skill_flags(r2: float) -> list[str]:
    """Return the flags of masses by R2 per protostar: no-skill (also for NaN), weak-skill or none."""
    if not r2 >= WEAK_R2:
        return ["no-skill"]
    return ["weak-skill"] if r2 < GOOD_R2 else []


def trust_of(flags: list[str], *numbers: float) -> str:
    """
    Return whether a mass can be trusted: "yes", "doubt" or "no", the worst of its flags.

    ``numbers`` are its score and the ends of its interval: without them it is not to be trusted.
    """
    found = {FLAGS[name].trust for name in flags if name in FLAGS}
    if "no" in found or not all(map(math.isfinite, numbers)):
        return "no"
    return "doubt" if "doubt" in found else "yes"
