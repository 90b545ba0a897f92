"""Compare masses estimated on observed maps with dynamical masses of the same protostars.

    python docs/scripts/real_protostars.py MAPS docs/understand/tables/real_protostars.ecsv

reads maps of L1688, L1448, NGC 1333, L1551 and Per-emb-2, calibrates for each (`matched`) and writes
the table and what the page shows of it (real_protostars.csv, real_protostars_maps.csv and .txt).
A protostar without an estimate has a row with the reason.  --maps FOLDER takes other reference maps.
--segments FOLDER only writes the maps of which docs/research/segments.rst shows the segments.
"""

import argparse
import csv
import time
import warnings
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable, Table

from astrofractal import GasMap, StellarMassEstimator
from astrofractal.catalogs import compare
from astrofractal.flags import skill_flags
from astrofractal.gasmap import (
    Abundance,
    DustEmission,
    XFactor,
    hildebrand_opacity,
    optically_thin_x_factor,
)
from astrofractal.gasmap.moments import STANDARD_SHAPE, STANDARD_WIDTH
from astrofractal.mapset import MapSet, reference_maps
from astrofractal.mass import virial_mass

KMS = u.km / u.s
ABUNDANCE = 1e-8
STANDARD_PIXEL = STANDARD_WIDTH / STANDARD_SHAPE[1]

#: The columns of the table.
COLUMNS = (
    "object", "map", "channels", "features", "beam_px", "flags", "estimate", "lower", "upper",
    "estimate_half_abundance", "estimate_double_abundance", "dynamical_mass",
    "dynamical_mass_error", "virial_mass", "r2", "r2_protostar", "ratio_dex", "inside", "method",
    "reference", "mass_checked", "separation", "verdict",
)  # fmt: skip
#: Those that are numbers: unit and format.
NUMBERS = dict.fromkeys(COLUMNS[6:14], (u.solMass, ".3g")) | {
    "beam_px": (u.one, ".2f"), "r2": (u.one, ".2f"), "r2_protostar": (u.one, ".2f"),
    "ratio_dex": (u.one, ".2f"), "separation": (u.arcsec, ".2f"),
}  # fmt: skip
DESCRIPTIONS = {
    "beam_px": "beam in pixels of the reference maps (0.5 pc / 64)",
    "r2": "of the matched calibration, clouds left out, per map",
    "r2_protostar": "the same, each protostar of equal weight",
    "ratio_dex": "log10 of estimate over dynamical mass",
    "inside": "whether the 68 % interval has the dynamical mass",
    "mass_checked": "whether the abstract of the paper has this mass",
    "separation": "from the nearest young star of the catalog",
}

#: Name, map, position, dynamical mass, its error, method, reference, and whether the mass was
#: read in the abstract of the paper.  A mass of None is taken from protostar_masses.csv: the sum of
#: the names there.
PROTOSTARS = [
    ("VLA 1623A+B", "L1688", "16:26:26.390 -24:24:30.7", 2.17, 0.25,
     "rotation of disks, A 0.27 + B 1.9", "arXiv:2406.12984", True),
    ("VLA 1623W", "L1688", "16:26:25.632 -24:24:29.6", 0.64, None,
     "not checked", "not checked", False),
    ("IRAS 16253-2429", "L1688", "16:28:21.615 -24:36:24.33", None, None,
     ("IRAS 16253-2429",), None, True),
    ("GY 91", "L1688", "16:26:40.469 -24:27:14.9", None, None, ("GY 91",), None, True),
    ("Elias 29", "L1688", "16:27:09.42 -24:37:19.1", 2.5, 0.6,
     "rotation", "arXiv:0801.3569", True),
    ("Oph IRS 43", "L1688", "16:27:26.905 -24:40:50.8", 2.0, None,
     "not checked", "not checked", False),
    ("GSS 30 IRS3", "L1688", "16:26:21.72 -24:22:50.7", 0.35, None,
     "not checked", "not checked", False),
    ("L1448 IRS3B-ab", "L1448", "03:25:36.38 +30:45:14.7", None, None,
     ("L1448 IRS3B-ab (binary)",), None, True),
    ("L1448 IRS3A", "L1448", "03:25:36.50 +30:45:21.9", None, None,
     ("L1448 IRS3A",), None, True),
    ("L1448-mm", "L1448", "03:25:38.875 +30:44:05.3", 0.4, 0.1,
     "rotating infall", "arXiv:2402.18631", True),
    ("SVS 13 VLA 4A+B", "NGC 1333", "03:29:03.75 +31:16:03.8", None, None,
     ("SVS 13 VLA 4A", "SVS 13 VLA 4B"), None, True),
    ("NGC 1333 IRAS 2A", "NGC 1333", "03:28:55.57 +31:14:37.1", 0.25, None,
     "rotation and infall of envelope", "Brinch+ 2009", True),
    ("L1551 NE", "L1551", "04:31:44.50 +18:08:31.5", None, None, ("L1551 NE (binary)",), None, True),
    ("L1551 IRS 5", "L1551", "04:31:34.07 +18:08:04.9", None, None,
     ("L1551 IRS5 (binary)",), None, True),
    ("Per-emb-2", "Per-emb-2", "03:32:17.92 +30:49:48.03", None, None,
     ("Per-emb-2 (IRAS 03292+3039)",), None, True),
]  # fmt: skip


def l1688(folder, abundance=ABUNDANCE):
    """Return NH3 of L1688, of the GBT Ammonia Survey, at an abundance."""
    names = ("N_NH3", "Vlsr", "Sigma", "eN_NH3", "eVlsr", "eSigma")
    maps = [folder / f"droplets_L1688_{name}.fits" for name in names]
    errors = ("column_density", "velocity", "dispersion")
    return GasMap.read(
        *maps[:3],
        uncertainty=dict(zip(errors, maps[3:], strict=True)),
        unit="dex(cm-2)",
        no_data=0,
        column=Abundance(abundance),
        line_width=0.085 * KMS,
        distance=138 * u.pc,
    )


def l1448(folder):
    """Return 13CO of L1448, whose header says EQUINOX 0, with N(H2)/W of optically thin gas."""
    with fits.open(folder / "glue_l1448_13co.fits") as hdus:
        hdus[0].header["EQUINOX"] = 2000.0
        return GasMap.from_cube(
            hdus[0],
            column=XFactor(6.2e20 / u.cm**2 / (u.K * KMS)),
            unit="K",
            line_width=0.06 * KMS,
            beam=46 * u.arcsec,
            distance=288 * u.pc,
        )


def ngc1333(folder):
    """Return N(H2) of the southeast of NGC 1333."""
    return GasMap.read(folder / "ngc1333_SE_H2.fits", distance=293 * u.pc)


def l1551(folder):
    """Return dust emission of L1551 at 850 um, at 20 K and Hildebrand's opacity."""
    wavelength = 850 * u.um
    return GasMap.read(
        folder / "astrodendro_L1551_scuba_850mu.fits",
        unit="Jy/beam",
        beam=14.5 * u.arcsec,
        column=DustEmission(20 * u.K, wavelength, hildebrand_opacity(wavelength, beta=1.8)),
        distance=146 * u.pc,
    )


def per_emb_2(folder):
    """Return HC3N 10-9 of Per-emb-2, optically thin at 10 K, with an abundance of 1e-9."""
    with fits.open(folder / "peremb2_HC3N_10-9_TdV.fits") as hdus:
        header, data = hdus[0].header, np.squeeze(hdus[0].data)
    frequency = header["RESTFRQ"] * u.Hz
    area = np.pi / (4 * np.log(2)) * header["BMAJ"] * header["BMIN"] * u.deg**2
    kelvin = (1 * u.Jy / area).to(u.K, u.brightness_temperature(frequency)).value
    header["BUNIT"] = "K km s-1"
    factor = optically_thin_x_factor(
        frequency,
        einstein_a=5.81e-5 / u.s,
        upper_energy=24.0 * u.K,
        upper_degeneracy=21,
        partition_function=46.1,
        excitation_temperature=10 * u.K,
        abundance=1e-9,
    )
    return GasMap.read(
        fits.PrimaryHDU(data * kelvin, header),
        *(folder / f"peremb2_HC3N_10-9_{name}.fits" for name in ("Vc", "sigma_v")),
        column=XFactor(factor),
        distance=300 * u.pc,
    )


def segmented(folder):
    """Yield the names and the maps whose segments are compared."""
    yield "NGC 1333, dust", ngc1333(folder)
    names = ("N_NH3", "Vlsr", "Sigma")
    yield (
        "L1688, NH3",
        GasMap.read(
            *(folder / f"droplets_L1688_{name}.fits" for name in names),
            unit="dex(cm-2)",
            no_data=0,
            column=Abundance(ABUNDANCE),
            distance=138 * u.pc,
        ),
    )
    yield (
        "Barnard 5, NH3",
        GasMap.read(
            *(folder / f"b5_NH3_{name}.fits" for name in ("11_TdV", "Vlsr", "sigma_v")),
            unit=["K km/s", "km/s", "km/s"],
            column=XFactor(5e21 / u.cm**2 / (u.K * KMS)),
            beam=6 * u.arcsec,
            distance=302 * u.pc,
        ),
    )
    yield "L1448, 13CO", l1448(folder)


MAPS = {
    "L1688": l1688, "L1448": l1448, "NGC 1333": ngc1333, "L1551": l1551, "Per-emb-2": per_emb_2,
}  # fmt: skip


def dynamical_masses(published):
    """Return the protostars, one dict each, with masses and errors in solar masses, NaN if unknown."""
    keys = ("object", "map", "position", "dynamical_mass", "dynamical_mass_error", "method",
            "reference", "mass_checked")  # fmt: skip
    rows = [dict(zip(keys, values, strict=True)) for values in PROTOSTARS]
    for row in rows:
        if row["dynamical_mass"] is None:
            found = []
            for name in row["method"]:
                same = [one for one in published if one["name"] == name]
                if len(same) != 1:
                    msg = f"published has {len(same)} masses of {name!r}, not one"
                    raise ValueError(msg)
                found += same
            row["dynamical_mass"] = float(sum(one["mass_msun"] for one in found))
            ends = [_number(one[key]) for one in found for key in ("err_lo", "err_hi")]
            row["dynamical_mass_error"] = float(np.mean(ends)) if len(found) == 1 else np.nan
            row["method"] = " + ".join(dict.fromkeys(str(one["method"]) for one in found))
            row["reference"] = str(found[0]["reference"])
    return rows


def verdict(estimate, r2_protostar, failure, flags):
    """Return in words what a row is worth."""
    if failure:
        return failure
    if not np.isfinite(estimate):
        return f"no estimate: {flags}"
    return ", ".join(skill_flags(r2_protostar)) or "good"


def measure(folder, name, rows, maps):
    """Return, for the protostars of one map, what is found, one dict each, and the estimator."""
    places = SkyCoord([row["position"] for row in rows], unit=("hourangle", "deg"))
    out = [{"failure": "", "flags": ""} for _ in rows]
    began = time.perf_counter()
    try:
        gas = MAPS[name](folder)
        beam = gas.beam.sr**0.5 * (4 * np.log(2) / np.pi) ** 0.5
        beam = float(beam.to_value(u.rad) * gas.distance / STANDARD_PIXEL)
        virial = _virial(gas, places)
        for one, mass in zip(out, virial, strict=True):
            one.update(beam_px=beam, virial_mass=mass, channels=" + ".join(gas.channels))
        estimator = StellarMassEstimator().matched(gas, places, maps=maps)
        calibration = estimator.calibrations_[estimator.telescope_.channels]
        table = estimator.catalog(gas, places)
    except (ValueError, OSError, KeyError) as error:
        for one in out:
            one["failure"] = f"failed: {error}"
        return out, None
    table["id"] = [row["object"] for row in rows]
    true = QTable({"id": table["id"]})
    true["mass"] = [row["dynamical_mass"] for row in rows] * u.solMass
    side = compare(table, true).table
    for one, entry, ratio, inside in zip(out, table, side["ratio"], side["inside"], strict=True):
        one.update(
            channels=" + ".join(calibration.channels),
            features=estimator.choice_["features"],
            flags=entry["flags"],
            estimate=entry["mass"].to_value(u.solMass),
            lower=entry["mass_lower"].to_value(u.solMass),
            upper=entry["mass_upper"].to_value(u.solMass),
            r2=calibration.skill_["r2"],
            r2_protostar=calibration.skill_["r2_protostar"],
            ratio_dex=float(np.log10(ratio)),
            inside=("yes" if inside else "no") if np.isfinite(ratio) else "",
        )
    print(f"{name}: {time.perf_counter() - began:.0f} s, {calibration.skill_}", flush=True)
    return out, estimator


def separations(folder, places):
    """Return the distance of the nearest entry of the catalog of young stars of L1688."""
    known = Table.read(folder / "droplets_YSO_L1688.csv")
    return places.match_to_catalog_sky(SkyCoord(known["RA"], known["Dec"], unit="deg"))[1]


def _virial(gas, places):
    images = np.stack([cutout.to_array() for cutout in gas.cutouts(places)])
    return virial_mass(images, STANDARD_PIXEL).to_value(u.solMass)


def _number(value):
    return np.nan if np.ma.is_masked(value) else float(value)


def _write_csv(path, header, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def _short(value, form=None):
    if not np.isfinite(value):
        return "--"
    if form is None:
        return np.format_float_positional(value, precision=2, fractional=False, trim="-")
    return format(value, form)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of the observed maps")
    parser.add_argument("output", nargs="?", type=Path, help="the table, .ecsv")
    parser.add_argument("--maps", type=Path, help="folder of map sets, the reference maps")
    parser.add_argument("--segments", type=Path, help="write maps to this folder, and no table")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.segments:
        for name, gas in segmented(args.folder):
            gas.write(args.segments / f"{name}.fits", overwrite=True)
        return
    if args.output is None:
        parser.error("output is missing")
    maps = reference_maps() if args.maps is None else MapSet.read(args.maps)
    protostars = dynamical_masses(Table.read(args.folder / "protostar_masses.csv"))
    found = []
    for name in MAPS:
        rows = [row for row in protostars if row["map"] == name]
        results, estimator = measure(args.folder, name, rows, maps)
        if name == "L1688":
            places = SkyCoord([row["position"] for row in rows], unit=("hourangle", "deg"))
            for result, angle in zip(results, separations(args.folder, places), strict=True):
                result["separation"] = angle.to_value(u.arcsec)
            for part, factor in (("half", 0.5), ("double", 2.0)) if estimator is not None else ():
                gas = l1688(args.folder, factor * ABUNDANCE)
                masses = estimator.catalog(gas, places)["mass"].to_value(u.solMass)
                for result, mass in zip(results, masses, strict=True):
                    result[f"estimate_{part}_abundance"] = mass
        found += [{**row, **result} for row, result in zip(rows, results, strict=True)]
    for one in found:
        numbers = (one.get("estimate", np.nan), one.get("r2_protostar", np.nan))
        one["verdict"] = verdict(*numbers, one["failure"], one["flags"])
    write(args.output, found)


def write(path, found):
    """Write the table and what the page shows of it."""
    table = QTable()
    for name in COLUMNS:
        unit, form = NUMBERS.get(name, (None, None))
        values = [one.get(name, "" if unit is None else np.nan) for one in found]
        if unit is not None:
            values = np.array(values, dtype=float)  # NaN for None
        table[name] = values if unit in (None, u.one) else values * unit
        table[name].info.format, table[name].info.description = form, DESCRIPTIONS.get(name)
    table.write(path, format="ascii.ecsv", overwrite=True)
    show(path, table)


def show(path, table):
    """Write the tables and the sentences of the page."""
    header = ["protostar", "map", "estimate", "lower", "upper", "dynamical", "ratio (dex)",
              "within"]  # fmt: skip
    rows = [
        [
            row["object"],
            row["map"],
            *(_short(row[name].value) for name in ("estimate", "lower", "upper")),
            _short(row["dynamical_mass"].value, ".3g"),
            _short(row["ratio_dex"], "+.2f"),
            row["inside"] or "--",
        ]
        for row in table
    ]
    _write_csv(path.with_suffix(".csv"), header, rows)
    symbols = {"column_density": "N", "velocity": "v", "dispersion": "σ"}
    header = ["map", "channels", "beam (pc)", "features", "R2 per protostar"]
    _, first = np.unique(table["map"], return_index=True)
    rows = [
        [
            row["map"],
            " ".join(symbols[name] for name in row["channels"].split(" + ")),
            _short(row["beam_px"] * STANDARD_PIXEL.to_value(u.pc), ".3f"),
            row["features"],
            _short(row["r2_protostar"], ".2f"),
        ]
        for row in table[np.sort(first)]
    ]
    _write_csv(path.with_name(f"{path.stem}_maps.csv"), header, rows)
    text = summary(table)
    path.with_suffix(".txt").write_text(text, encoding="utf-8")
    print(text)


def summary(table):
    """Return the numbers of the table in sentences."""
    known = np.isfinite(table["ratio_dex"])
    n_good = int(np.sum(table["verdict"] == "good") + np.sum(table["verdict"] == "weak-skill"))
    text = (
        f"{known.sum()} of {len(table)} protostars have an estimate, {n_good} of them by a "
        f"calibration with R2 above 0.1 per protostar. {np.sum(table['inside'] == 'yes')} of the "
        f"{known.sum()} intervals contain the dynamical mass, and the median of the absolute ratio "
        f"is {np.median(np.abs(table['ratio_dex'][known])):.2f} dex.\n"
    )
    for name, what in (("half", "Half"), ("double", "Twice")):
        moved = np.log10(table[f"estimate_{name}_abundance"] / table["estimate"]).value
        if np.isfinite(moved).any():
            text += (
                f"{what} the abundance of NH3 changes the masses on L1688 by {np.nanmin(moved):+.2f} "
                f"to {np.nanmax(moved):+.2f} dex.\n"
            )
    return text


if __name__ == "__main__":
    main()
