"""Make the tables of the data card and of the model card from the bundled files themselves.

    python docs/scripts/make_cards.py

writes ``docs/cards/*.rst``, which docs/data_card.rst and docs/model_card.rst include.  Whatever a
header, a table or a card holds has a row: a field that is not described here is an error.
"""

import hashlib
import json
import textwrap
import tomllib
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

from astrofractal.data import data_path

MAPS = "reference_maps.fits"
WEIGHTS = "astrofractal_vit_tiny_patch8_64.safetensors"
CALIBRATION = "stellar_mass.astrofractal"
EXAMPLE = "example_cloud.fits"
RECIPES = data_path(MAPS).parents[1] / "pretraining" / "recipes"

FILES = {
    MAPS: "labeled maps, which the calibrations are fitted on",
    EXAMPLE: "a whole cloud on the sky, for examples and the demo",
    WEIGHTS: "weights of the encoder",
    "astrofractal_vit_tiny_patch8_64.json": "card of the weights",
    CALIBRATION: "what the mass estimator was fitted to, and its scores",
    "telescopes.csv": "expected scores for telescopes, shown by ``astrofractal info``",
}

#: Properties of a cloud, in headers and in the table ``CLOUDS``.
CLOUD = {
    "MCLOUD": "initial mass of the cloud (solar masses)",
    "RCLOUD": "initial radius (pc)",
    "MACH": "initial rms Mach number of the turbulence",
    "MTOFLUX": "mass-to-flux ratio, in units of the critical one",
    "CS": "speed of sound (km/s)",
    "HACC": "accretion radius of a sink particle (pc)",
    "NPART": "SPH particles of the cloud",
    "ORIGIN": "code",
    "DEPTH": "length of the line of sight in the projection (pc)",
}
SINKS = {
    "cloud": "the simulation",
    "sink": "the sink particle, a number within its cloud",
    "time": "since the start of the simulation",
    "axis": "the line of sight: x, y or z of the simulation",
    "mass": "of the sink particle: **the label**",
    "x": "position of the sink in the simulation",
    "y": "the same",
    "z": "the same",
    "represents": "number of maps of the same protostar that the map represents, itself included",
}
CHANNELS = {
    "LOG_NH2": "log10 of the column density of molecular hydrogen, 2.8 hydrogen masses per molecule",
    "V_LOS": "mass-weighted mean velocity along the line of sight, less the mean of the map's gas",
    "SIGMA_V": "mass-weighted standard deviation of that velocity, without thermal motion",
}
EXAMPLE_FACTS = {
    "CLOUD": "cloud",
    **{name: meaning for name, meaning in CLOUD.items() if name not in ("ORIGIN", "DEPTH")},
    "DISTANCE": "distance at which it is put (pc)",
    "AXIS": "line of sight",
    "TIME": "time (Myr)",
}
CARD = {
    "architecture": "architecture, a name known to timm",
    "in_chans": "channels",
    "normalization": "normalization of the channels: less ``center``, over ``scale``",
    "heads": "outputs in addition to the tokens",
    "n_distinct": "distinct flames of the last stage",
    "seed": "seed of the last stage",
    "recipe": "recipe of the last stage",
    "recipe_values": None,  # in the table of stages
    "steps": "optimizer steps of the last stage",
    "images_seen": "images seen, all stages together",
    "origin": None,  # in the table of stages
    "version": "version of astrofractal that wrote them",
    "sha256": "SHA-256 of the weights",
}
SKILL = {
    "n_maps": "maps",
    "n_protostars": "protostars",
    "n_clouds": "clouds",
    "r2_protostar": "R2 per protostar",
    "r2_protostar_err": "its error, over draws of clouds and protostars",
    "r2": "R2 per map",
    "rmse_protostar": "RMSE per protostar (dex)",
    "rmse": "RMSE per map (dex)",
    "mae": "mean absolute error per map (dex)",
    "coverage_68_protostar": "68 % interval contains the mass, per protostar",
    "coverage_90_protostar": "90 % interval contains the mass, per protostar",
    "coverage_68": "68 % interval contains the mass, per map",
    "coverage_90": "90 % interval contains the mass, per map",
    "coverage_68_thirds": "the same for the lightest, middle and heaviest third as estimated (68 %)",
    "bias_thirds": "bias of the lightest, middle and heaviest third as estimated (dex)",
}
CHANNEL_CODES = {"column_density": "N", "velocity": "v", "dispersion": "sigma"}


def list_table(header, rows, widths=None):
    """Return a table of reStructuredText."""
    lines = [".. list-table::", "    :header-rows: 1"]
    lines += [f"    :widths: {widths}"] if widths else []
    lines += [""]
    for row in [header, *rows]:
        lines += [f"    {'*' if i == 0 else ' '} - {c}".rstrip() for i, c in enumerate(row)]
    return "\n".join(lines) + "\n"


def number(value):
    """Return a value as text: numbers short, with a true minus sign."""
    if isinstance(value, (list, tuple)):
        return ", ".join(number(one) for one in value)
    if isinstance(value, (float, np.floating)):
        return f"{value:.4g}".replace("-", "−")
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return f"{value:,}" if abs(value) >= 10000 else str(value)
    return str(value)


def described(found, known, what):
    """Refuse what has no description here, and descriptions of what is not there."""
    differ = sorted(set(found) ^ set(known))
    if differ:
        msg = f"{what}: {', '.join(differ)} must be both in the file and in {__file__}"
        raise KeyError(msg)
    return found


def files():
    """Return the bundled files with sizes, and their checksums."""
    folder = data_path(MAPS).parent
    paths = [path for path in sorted(folder.iterdir()) if path.is_file() and path.suffix != ".py"]
    described([path.name for path in paths], FILES, "bundled files")
    rows = [[f"``{p.name}``", f"{p.stat().st_size / 1e6:.2f} MB", FILES[p.name]] for p in paths]
    sums = [f"    {hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in paths]
    return (
        list_table(["file", "size", "content"], rows, "40 12 48")
        + "\nSHA-256, as ``sha256sum --check`` reads them:\n\n.. code-block:: text\n\n"
        + "\n".join(sums)
        + "\n"
    )


def clouds():
    """Return the properties of each cloud."""
    table = Table.read(data_path(MAPS), hdu="CLOUDS")
    described([n.upper() for n in table.colnames], {"CLOUD", *CLOUD}, "CLOUDS")
    columns = {CLOUD[n.upper()]: table[n].tolist() for n in table.colnames if n != "cloud"}
    columns["solar masses in a particle"] = (table["mcloud"] / table["npart"]).tolist()
    alike = [name for name, values in columns.items() if len(set(values)) == 1]
    same = "; ".join(f"{name}: {number(text(columns.pop(name)[0]))}" for name in alike)
    rows = [[text(c), *map(number, r)] for c, *r in zip(table["cloud"], *columns.values())]
    return list_table(["cloud", *columns], rows) + f"\nThe same in all clouds: {same}.\n"


def cloud_maps():
    """Return what the maps show of each cloud."""
    table = Table.read(data_path(MAPS), hdu="SINKS")
    rows = []
    for cloud in dict.fromkeys(table["cloud"].tolist()):
        own = table[table["cloud"] == cloud]
        rows.append(
            [text(cloud), number(len(set(own["sink"]))), number(len(own)),
             f"{own['represents'].sum():,.0f}", span(own["mass"]), span(own["time"])]
        )  # fmt: skip
    header = ["cloud", "protostars", "maps", "maps represented", "masses (solar masses)",
              "times (Myr)"]  # fmt: skip
    return list_table(header, rows)


def text(value):
    """Return text of a cell of FITS."""
    return value.decode().strip() if isinstance(value, bytes) else value


def span(values):
    """Return the range of values."""
    return f"{np.min(values):.2f} to {np.max(values):.2f}"


def channels():
    """Return the planes of the maps: units, steps and values."""
    columns = []
    with fits.open(data_path(MAPS)) as hdus:
        images = [hdu for hdu in hdus if isinstance(hdu, fits.CompImageHDU)]
        described([hdu.name for hdu in images], CHANNELS, "extensions")
        pixel = hdus[0].header["PIXSIZE"]
        for hdu in images:
            header, stored = hdu.header, hdu.data
            blank = stored == header["QBLANK"]
            values = stored[~blank] * header["QSCALE"]
            shown = [number(float(v)) for v in np.percentile(values, [0, 1, 50, 99, 100])]
            columns.append(
                [f"``{hdu.name}``", CHANNELS[hdu.name], header["BUNIT"], number(header["QSCALE"]),
                 *shown, f"{np.mean(blank):.0%}"]
            )  # fmt: skip
        n, ny, nx = images[0].data.shape
    names = ["extension", "quantity", "unit", "stored in steps of", "least", "1 %", "median",
             "99 %", "most", "unknown"]  # fmt: skip
    header, *rows = zip(names, *columns, strict=True)
    return f"{n:,} maps of {nx} × {ny} pixels of {pixel:.4f} pc.\n\n" + list_table(header, rows)


def labels():
    """Return the columns of the table next to the maps."""
    table = Table.read(data_path(MAPS), hdu="SINKS")
    described(table.colnames, SINKS, "SINKS")
    rows = [
        [f"``{name}``", "" if table[name].unit is None else str(table[name].unit), SINKS[name]]
        for name in table.colnames
    ]
    return list_table(["column", "unit", "meaning"], rows)


def masses():
    """Return how the labels are distributed."""
    table = Table.read(data_path(MAPS), hdu="SINKS")
    names = np.array([f"{text(row['cloud'])}/{row['sink']}" for row in table])
    last = {name: table["mass"][names == name].max() for name in dict.fromkeys(names.tolist())}
    reached = np.log10(list(last.values()))
    all_maps = np.log10(table["mass"])
    rows = []
    for low in np.arange(-1.5, 1.5, 0.5):
        inside = [(values >= low) & (values < low + 0.5) for values in (reached, all_maps)]
        rows.append(
            [f"{10**low:.2g} to {10 ** (low + 0.5):.2g}", number(int(inside[0].sum())),
             number(int(inside[1].sum())), f"{table['represents'][inside[1]].sum():,.0f}"]
        )  # fmt: skip
    header = ["mass (solar masses)", "protostars, by the largest mass of their maps", "maps",
              "maps represented"]  # fmt: skip
    return list_table(header, rows)


def example():
    """Return the header of the example cloud."""
    header = fits.getheader(data_path(EXAMPLE))
    left_out = {"SIMPLE", "BITPIX", "NAXIS", "EXTEND", "CHECKSUM", "DATASUM", "COMMENT"}
    described(set(header) - left_out, EXAMPLE_FACTS, EXAMPLE)
    rows = [[meaning, number(header[name])] for name, meaning in EXAMPLE_FACTS.items()]
    rows.append(["protostars", number(len(Table.read(data_path(EXAMPLE), hdu="SINKS")))])
    return list_table(["what", "value"], rows)


def _card():
    path = data_path(WEIGHTS).with_suffix(".json")
    return json.loads(path.read_text(encoding="utf-8"))


def _head(path):
    """Return the header of a safetensors file."""
    with path.open("rb") as file:
        return json.loads(file.read(int.from_bytes(file.read(8), "little")))


def weights():
    """Return the facts of the weights."""
    card = _card()
    described(card, CARD, "card of the weights")
    tensors = {k: v for k, v in _head(data_path(WEIGHTS)).items() if k != "__metadata__"}
    count = sum(int(np.prod(tensor["shape"])) for tensor in tensors.values())
    kinds = ", ".join(sorted({tensor["dtype"] for tensor in tensors.values()}))
    rows = []
    for name, meaning in CARD.items():
        if meaning is not None:
            value = card[name]
            if isinstance(value, dict):
                value = "; ".join(f"``{key}`` {number(part)}" for key, part in value.items())
            rows.append([meaning, f"``{value}``" if name == "sha256" else number(value)])
    rows.append(["parameters in the file, heads of the pretraining included", f"{count:,}"])
    rows.append(["stored as", kinds])
    return list_table(["what", "value"], rows, "45 55")


def _chain():
    """Return the stages of the pretraining, the first one first."""
    card, chain = _card(), []
    while card is not None:
        chain.insert(0, card)
        card = card["origin"]
    return chain


def commands():
    """Return the commands of all stages, with what their recipes did not say."""
    lines, start = [], ""
    for number_, stage in enumerate(_chain(), 1):
        path = RECIPES / f"{stage['recipe']}.toml"
        recipe = flat(tomllib.loads(path.read_text(encoding="utf-8")))
        used = flat(stage["recipe_values"])  # without what became a value later
        other = {n: v for n, v in used.items() if n in recipe and v != recipe[n]}
        line = f"astrofractal pretrain --recipe {stage['recipe']}{start} --output RUN{number_}"
        lines.append(line + "".join(f" --set {name}={value}" for name, value in other.items()))
        start = f" --start-from RUN{number_}"
    lines.append(f"astrofractal pretrain --export RUN{len(lines)} --output weights.safetensors")
    wrapped = [textwrap.wrap(line, 70, break_on_hyphens=False) for line in lines]
    return ".. code-block:: console\n\n" + "".join(
        "    $ " + " \\\n        ".join(parts) + "\n" for parts in wrapped
    )


def flat(values):
    """Return the values of a recipe without its tables, which earlier versions did not have."""
    tables = [value for value in values.values() if isinstance(value, dict)]
    top = {name: value for name, value in values.items() if not isinstance(value, dict)}
    return {**top, **{name: value for table in tables for name, value in table.items()}}


def stages():
    """Return all values of all stages of the pretraining, the first one first."""
    chain = _chain()
    values = [flat(stage["recipe_values"]) for stage in chain]
    names = list(dict.fromkeys(name for own in values for name in own))
    header = ["value", *(f"stage {i}: {stage['recipe']}" for i, stage in enumerate(chain, 1))]
    seen = [stage["images_seen"] for stage in chain]
    rows = [
        ["**steps**", *(number(stage["steps"]) for stage in chain)],
        ["**images of the stage**", *(number(int(n)) for n in np.diff([0, *seen]))],
    ]
    rows += [[f"``{name}``", *(number(own.get(name, "")) for own in values)] for name in names]
    return list_table(header, rows)


def calibrations():
    """Return features, regressor and skill of each combination of channels."""
    metadata = _head(data_path(CALIBRATION))["__metadata__"]
    parts = json.loads(metadata["card"])["calibrations"]
    header = ["", *("+".join(CHANNEL_CODES[name] for name in p["channels"]) for p in parts)]
    features = dict.fromkeys(name for part in parts for name in part["features"])
    rows = [
        [f"``{name}``", *(cell(part["features"].get(name)) for part in parts)] for name in features
    ]
    rows.append(["regressor", *(cell(part["regressor"]) for part in parts)])
    rows.append(["``weight_exponent``", *(cell(part["weight_exponent"]) for part in parts)])
    for part in parts:
        described(part["skill_"], SKILL, "skill")
    rows += [
        [meaning, *(skill(part["skill_"][name]) for part in parts)]
        for name, meaning in SKILL.items()
    ]
    return list_table(header, rows)


def cell(value):
    """Return an option as text."""
    if isinstance(value, (list, tuple)):
        return ", ".join(str(one).replace("_", " ") for one in value) or "none"
    return {True: "yes", False: "no", None: "none"}.get(value, number(value))


def skill(value):
    """Return a score as text."""
    if isinstance(value, list):
        return ", ".join(skill(one) for one in value)
    return number(value) if isinstance(value, int) else f"{value:.2f}".replace("-", "−")


PARTS = {
    "files": files,
    "clouds": clouds,
    "cloud_maps": cloud_maps,
    "channels": channels,
    "labels": labels,
    "masses": masses,
    "example": example,
    "weights": weights,
    "commands": commands,
    "stages": stages,
    "calibrations": calibrations,
}


def main():
    folder = Path(__file__).parents[1] / "cards"
    for name, make in PARTS.items():
        (folder / f"{name}.rst").write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
