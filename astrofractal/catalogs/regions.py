"""The centers of regions: files of DS9, CASA and CARTA, tables of FITS, and objects of `regions`."""

# The parsers of `regions` refuse a whole file for one shape, and read regions without a frame as pixels.

import re
from dataclasses import dataclass, field

import numpy as np
from astropy import units as u
from astropy.coordinates import Angle, CartesianRepresentation, SkyCoord

from astrofractal._utils.limits import read_bounded
from astrofractal._utils.reading import printable, reading
from astrofractal._utils.tables import decode
from astrofractal._utils.validation import warn
from astrofractal.catalogs.frames import frame_of

_PIXELS = "pixels"

#: Shapes of DS9 and CASA that have a center, and those that are drawn but are no source.
_CENTERED = {
    "circle", "ellipse", "box", "rotbox", "centerbox", "point", "annulus", "ellipsoid", "symbol",
    "panda", "epanda", "bpanda", "cpanda", "pie", "diamond", "elliptannulus", "boxannulus",
}  # fmt: skip
#: Those that are where their corners are.
_POLYGONS = {"polygon", "poly", "rectangle"}
_ANNOTATIONS = {"text", "compass", "ruler", "projection", "segment", "illustrate"}
_SUFFIXES = {".reg": "ds9", ".ds9": "ds9", ".crtf": "crtf", ".rgn": "crtf"}
_SHAPE = r"(?:(?:circle|box|boxcircle|diamond|cross|x|arrow)\s+)?(?P<shape>[a-z]+)"
_DS9 = re.compile(
    rf"(?P<sign>[!+-]?)\s*{_SHAPE}\s*(?:\((?P<values>[^()]*)\)|(?P<bare>(?:\s+[-+.\d][^\s&|]*)+))",
    re.IGNORECASE,
)
_DS9_FRAME = re.compile(
    r"[\s;]*(fk4|b1950|fk5|j2000|icrs|galactic|ecliptic|image|physical|linear|amplifier|detector|"
    r"wcs[a-z]?)(?=[\s;]|$)",
    re.IGNORECASE,
)
#: A frame or a region, and its properties.
_COMMAND = re.compile(r"([^;#]*)(?:#((?:\{[^}]*\}|\"[^\"]*\"|'[^']*'|[^;])*))?")
_CRTF = re.compile(rf"(?P<sign>[+-]?)\s*(?P<ann>ann\s+)?{_SHAPE}\s*\[", re.IGNORECASE)
_CRTF_PAIR = re.compile(r"\[\s*([^\[\],]+?)\s*,\s*([^\[\],]+?)\s*\]")
_TEXT = re.compile(
    r"(?:text|label)\s*=\s*(?:\{([^}]*)\}|\"([^\"]*)\"|'([^']*)'|([^\s,]+))", re.IGNORECASE
)


@dataclass
class _Centers:
    """What a file of regions holds: centers, names, and what was left out for a reason."""

    where: str
    found: list = field(default_factory=list)  # frame or _PIXELS, two numbers, name, shape
    odd: list = field(default_factory=list)

    def add(self, frame, points, name, shape, what):
        """Add a center, or the centroid of vertices, unless it is no position, or a ring around it."""
        # points (2, n)
        points = np.asarray(points, float)
        center = points[:, 0] if points.shape[1] == 1 else _centroid_of(points, frame)
        first, second = map(float, center)
        if not np.isfinite([first, second]).all() or (frame is not _PIXELS and abs(second) > 90):
            self.odd.append(f"{what} (its center is {first:g}, {second:g})")
            return
        new = (frame, first, second, printable(name), shape)
        same = [old for old in self.found[-8:] if repr(old[:3]) == repr(new[:3])]
        if not any("annulus" in (old[4] + shape) or old[3] == new[3] for old in same):
            self.found.append(new)

    def resolve(self):
        """Return positions, as sky coordinates or pixels, and names."""
        if self.odd:
            what = printable("; ".join(self.odd[:5])) + (", ..." if len(self.odd) > 5 else "")
            if not self.found:
                msg = f"positions: no region of {self.where} has a center: {what}"
                raise ValueError(msg)
            n = len(self.odd)
            are = "region is" if n == 1 else "regions are"
            warn(f"positions: {n} {are} left out of {self.where}: {what}")
        if not self.found:
            return np.empty((0, 2)), None
        frames, first, second, names, _ = zip(*self.found, strict=True)
        names = [name or f"region {n}" for n, name in enumerate(names, 1)] if any(names) else None
        on_pixels = [frame is _PIXELS for frame in frames]
        values = np.array([first, second])
        if all(on_pixels):
            return values.T, names
        if any(on_pixels):
            msg = f"positions: {self.where} mixes sky and pixel regions"
            raise ValueError(msg)
        xyz = np.empty((3, len(frames)))
        for frame in {repr(frame): frame for frame in frames}.values():
            rows = [repr(own) == repr(frame) for own in frames]
            xyz[:, rows] = SkyCoord(*values[:, rows], unit=u.deg, frame=frame).icrs.cartesian.xyz
        return _as_sky(xyz), names


def _as_sky(xyz):
    return SkyCoord(CartesianRepresentation(*xyz), representation_type="unitspherical")


def region_kind(path):
    """Return the format of a region file by its suffix or its first lines, or `None`."""
    if path.suffix.lower() in _SUFFIXES:
        return _SUFFIXES[path.suffix.lower()]
    with path.open("rb") as file:
        text = decode(file.read(4096), "replace")
    if "#CRTF" in text[:200]:
        return "crtf"
    if "region file format: ds9" in text[:200].lower():
        return "ds9"
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            shape = re.match(r"\s*(?:[!+-]|ann\s)?\s*([a-z]+)\s*([(\[])", line, re.IGNORECASE)
            if shape and shape[1].lower() in _CENTERED | _POLYGONS:
                return "ds9" if shape[2] == "(" else "crtf"
            return "ds9" if _DS9_FRAME.fullmatch(line.strip(" ;")) else None
    return None


def read_regions(path, kind):
    """Return the centers and names of the regions of a file: "ds9" or "crtf"."""
    centers = _Centers(repr(str(path)))
    with reading(path):
        text = decode(read_bounded(path))
        {"ds9": _read_ds9, "crtf": _read_crtf}[kind](text, centers)
        return centers.resolve()


def _read_ds9(text, centers):
    frame, joined, common = None, False, ""
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        composite = re.match(r"\s*#\s*(?=composite)", line, re.IGNORECASE)
        line = line[composite.end() :] if composite else line.strip()
        if line.lower().startswith("global"):
            common = line
        if line.startswith("#") or line is common:
            continue
        for region, properties in _COMMAND.findall(line):
            stated = _DS9_FRAME.match(region)
            if stated is not None:
                frame, region = stated[1].lower(), region[stated.end() :]
            region = region.strip()
            if not region or region.lower().startswith("tile"):
                continue
            what, shape = f"line {number}: {region[:60]}", _DS9.match(region)
            if shape is None:
                centers.odd.append(what)
                break  # it may be a frame
            if not joined:
                _add_ds9(shape, frame, f"{region} {properties} {common}", what, centers)
            joined = bool(composite) or region.endswith(("|", "&"))
    is_physical = re.search(r"(?:^|[;\r\n])\s*physical\b", text, re.IGNORECASE)
    if is_physical and any(own[0] is _PIXELS for own in centers.found):
        taken = "physical pixels, which are taken as those of the map"
        warn(f"positions: {centers.where} has {taken}: save it as image or fk5 if that was cut")


def _add_ds9(shape, frame, properties, what, centers):
    name = shape["shape"].lower()
    is_background = re.search(r"(?<![\w={])background(?![\w}])", properties)
    if shape["sign"] in ("-", "!") or is_background or name in _ANNOTATIONS:
        return
    values = re.split(r"[\s,]+", (shape["values"] or shape["bare"] or "").strip(" ,\t"))
    if frame is None:
        lacks = f"no coordinate system before {what!r}"
        msg = f"positions: {centers.where} has {lacks}: add a line such as 'fk5' or 'image'"
        raise ValueError(msg)
    if name not in _CENTERED | _POLYGONS | {"composite"} or len(values) < 2:
        centers.odd.append(what)
        return
    n = len(values) if name in _POLYGONS else 2
    try:
        if frame in ("image", "physical") or re.fullmatch(r"[-+.\de]+[ip]", values[0]):
            numbers, frame = [float(value.rstrip("ip")) - 1 for value in values[:n]], _PIXELS
        else:
            frame = frame_of(frame)
            in_hours = frame.name in ("icrs", "fk5", "fk4")
            numbers = [_angle(v, in_hours and i % 2 == 0) for i, v in enumerate(values[:n])]
        centers.add(frame, np.reshape(numbers, (-1, 2)).T, _label(properties), name, what)
    except ValueError as error:
        centers.odd.append(f"{what} ({error})")


def _label(text):
    """Return the text or label that properties give, or an empty one."""
    found = _TEXT.search(text)
    return "" if found is None else next(filter(None, found.groups()), "")


def _angle(text, in_hours):
    """Return an angle in degrees: 52.0, 52.0d, 0.9r, 3:28:00, 3h28m00s, +31d00m00s, -17.30.22.5."""
    if re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?d?|[-+]?(nan|inf)", text, re.IGNORECASE):
        return float(text.lower().rstrip("d"))
    if text.endswith("r"):
        return float(np.degrees(float(text[:-1])))
    return float(Angle(text, u.hourangle if in_hours and ":" in text else u.deg).deg)


def _read_crtf(text, centers):
    default = None
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        coord = re.search(r"\bcoord\s*=\s*['\"]?(\w+)", line, re.IGNORECASE)
        if line.lower().startswith("global"):
            default = coord[1] if coord else default
            continue
        what = f"line {number}: {line[:60]}"
        shape = _CRTF.match(line)
        name = shape and shape["shape"].lower()
        if shape and (shape["sign"] == "-" or shape["ann"] or name in _ANNOTATIONS):
            continue
        pairs = _CRTF_PAIR.findall(line)
        if name not in _CENTERED | _POLYGONS or not pairs:
            centers.odd.append(what)
            continue
        n = len(pairs) if name in _POLYGONS else 2 if name == "box" else 1  # a box has two corners
        try:
            values = [[_crtf_value(v, is_lon) for v, is_lon in zip(p, (1, 0))] for p in pairs[:n]]
            units = {unit for pair in values for _, unit in pair}
            numbers = np.array([[number for number, _ in pair] for pair in values]).T
            if units == {"pix"}:
                frame = _PIXELS
            elif units == {"deg"}:
                frame = frame_of(coord[1] if coord else default)
            else:
                msg = "its coordinates have no unit, or several"
                raise ValueError(msg)
        except ValueError as error:
            centers.odd.append(f"{what} ({error})")
            continue
        if frame is None:
            remedy = "add coord=J2000 to it, or a line 'global coord=J2000'"
            msg = f"positions: {what!r} of {centers.where} has no frame: {remedy}"
            raise ValueError(msg)
        centers.add(frame, numbers, _label(line), name, what)


def _crtf_value(text, is_longitude):
    """Return a coordinate and its kind: "pix", "deg", or none for a plain number."""
    text = text.strip("'\"")
    if re.search(r"\d\s*pix(el)?s?$", text, re.IGNORECASE):
        return float(re.split("p", text, flags=re.IGNORECASE)[0]), "pix"
    if re.fullmatch(r"[-+]?\d+\.\d+\.\d+(\.\d+)?", text):
        text = "{}d{}m{}s".format(*text.split(".", 2))
    plain = re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", text, re.IGNORECASE)
    return _angle(text, is_longitude), "" if plain else "deg"


def is_region_table(table):
    """Return whether a table is one of regions, as FITS files hold them."""
    own = _region_columns(table)
    return {"SHAPE", "X", "Y"} <= set(own) and own["SHAPE"].dtype.kind in "SU"


def _region_columns(table):
    return {name.upper(): table[name] for name in reversed(table.colnames)}


def centers_of_table(table, where):
    """Return the centers of a table of regions in pixels, counted from 1 but by `regions`."""
    centers, seen, own = _Centers(where), set(), _region_columns(table)
    first_pixel = 0 if table.meta.get("ORIGIN") == "astropy/regions" else 1
    axes = [own["X"], own["Y"]]
    for column in axes:
        if column.unit not in (None, u.pix):
            name = f"column {column.info.name!r} of {where}"
            msg = f"positions: {name} is in {column.unit}, and states no frame: give pixels"
            raise ValueError(msg)
    components = own.get("COMPONENT", [0] * len(table))
    shapes = [str(own["SHAPE"][row]).strip().lower() for row in range(len(table))]
    for number, (shape, component, *pixels) in enumerate(zip(shapes, components, *axes), 1):
        if shape.startswith(("!", "-")) or component in seen:
            continue
        seen |= {component} - {0}
        what = f"row {number}: {shape}"
        pixels = np.array([np.ravel(np.ma.filled(pixel, np.nan)) for pixel in pixels], float)
        if shape in _POLYGONS:
            pixels = pixels[:, np.isfinite(pixels).all(0) & (pixels != 0).any(0)]  # 0: filled up
        else:
            pixels = pixels[:, :1]
        if pixels.size and shape in _CENTERED | _POLYGONS:
            centers.add(_PIXELS, pixels - first_pixel, "", shape, what)
        else:
            centers.odd.append(what)
    return centers.resolve()


def centers_of_objects(regions):
    """Return the centers and names of objects of the package `regions`."""
    centers = _Centers("positions")
    for number, region in enumerate([regions] if hasattr(regions, "meta") else regions, 1):
        meta, kind = region.meta, type(region).__name__
        if meta.get("include") in (False, "-") or kind.startswith("Text"):
            continue
        while hasattr(region, "region1"):  # a compound is where its first part is
            region = region.region1
        points = getattr(region, "vertices", None)
        points = getattr(region, "center", None) if points is None else points
        what = f"region {number}, a {kind}"
        if points is None:
            centers.odd.append(f"{what} without a center")
            continue
        if isinstance(points, SkyCoord):
            frame, points = frame_of("icrs"), (points.icrs.ra.deg, points.icrs.dec.deg)
        else:
            frame, points = _PIXELS, (points.x, points.y)
        name = meta.get("text") or meta.get("label") or ""
        centers.add(frame, np.reshape(points, (2, -1)), name, kind.lower(), what)
    return centers.resolve()


def _centroid_of(vertices, frame):
    """Return the centroid of a polygon, on the sky in the plane that touches it at its middle."""
    if frame is _PIXELS:
        return _centroid(vertices)
    # There great circles are straight.
    xyz = SkyCoord(*vertices, unit=u.deg).cartesian.xyz.value
    middle = xyz.mean(1) / np.linalg.norm(xyz.mean(1))
    axes = np.linalg.svd(middle[None])[2][1:]
    center = _as_sky(middle + _centroid(axes @ (xyz / (middle @ xyz))) @ axes)
    return center.ra.deg, center.dec.deg


def _centroid(vertices):
    """Return the centroid of a polygon; of one without an area, the mean of its vertices."""
    # vertices (2, n)
    origin = vertices.mean(1)
    x, y = vertices - origin[:, None]
    x_next, y_next = np.roll(x, -1), np.roll(y, -1)
    cross = x * y_next - x_next * y
    area = cross.sum() / 2
    if abs(area) <= 1e-12 * (np.ptp(x) * np.ptp(y) or 1):
        return origin
    moments = [((own + nxt) * cross).sum() for own, nxt in ((x, x_next), (y, y_next))]
    return origin + np.array(moments) / (6 * area)
