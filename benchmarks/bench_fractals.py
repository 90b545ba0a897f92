"""
Speed of the flame renderer, as ratios that depend little on the machine.

    python benchmarks/bench_fractals.py

Two comparisons at 336 x 336 pixels and a million points, in CPU time of one core: with
``flam3-render`` (Debian package flam3-utils; skipped where it is absent), which is given the same
flames, and with the bare loop that iterates affine maps and fills the histogram, without
variations.  Then whole images of the compact recipe.
"""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from xml.etree import ElementTree

import numba as nb
import numpy as np

from astrofractal.fractals import FlameStream, FlameSystem, frame_system
from astrofractal.fractals.renderer import accumulate, find_flame
from astrofractal.fractals.systems import VARIATIONS

SIZE, N_POINTS, N_FLAMES, ROUNDS = 336, 1_000_000, 24, 9
#: Of the bare loop: walkers, a power of two, and the steps that they take before points count.
WALKERS, BURN_IN = 1024, 16


def flames():
    """Return flames in frames that hold all of their points."""
    found = [find_flame(1, i, coverage=0.5, center="attractor")[:3] for i in range(N_FLAMES)]
    for _, _, frame in found:
        frame[3] = 1  # so that exactly N_POINTS are played
    return found


def bare_system(arrays):
    """Return the affine maps of a flame, shrunk to be contractions, and a frame that they fill."""
    n_maps = arrays[8]
    maps = arrays[0][:n_maps].copy()
    for m in maps:
        largest = np.linalg.svd(m[[0, 1, 3, 4]].reshape(2, 2), compute_uv=False)[0]
        m[[0, 1, 3, 4]] *= min(1, 0.8 / largest)
    system = FlameSystem(
        affine=maps,
        post=[(1, 0, 0, 0, 1, 0)] * n_maps,
        kinds=[(0, -1, -1)] * n_maps,
        blend=[(1, 0, 0)] * n_maps,
        parameters=np.zeros((n_maps, 4)),
        weight=arrays[5][:n_maps],
        color=arrays[6][:n_maps],
        speed=arrays[7][:n_maps],
    )
    frame = frame_system(system, coverage=0)[0]
    frame[3] = 1
    return system, frame


@nb.njit(forceinline=True, error_model="numpy")
def deal(xs, ys, cs, px, py, pc, m, k, lo, hi, multiplier, offset):
    """Take the walkers from ``lo`` to ``hi``, dealt like cards, through an affine map."""
    a, b, c, d, e, f = m[k, 0], m[k, 1], m[k, 2], m[k, 3], m[k, 4], m[k, 5]
    mask, first = np.uint32(xs.size - 1), np.uint32(multiplier * np.uint32(lo) + offset)
    start, half = np.uintp(lo), np.float32(0.5)
    for i in range(hi - lo):
        j = (np.uint32(i) * multiplier + first) & mask
        x, y, color = xs[j], ys[j], cs[j]
        px[start + np.uintp(i)] = a * x + b * y + c
        py[start + np.uintp(i)] = d * x + e * y + f
        pc[start + np.uintp(i)] = half * color + half * half


@nb.njit(forceinline=True, error_model="numpy")
def plot(xs, ys, cs, frame, size, where, histogram, table):
    """Add the table's row of each point's color to its pixel, the last one outside of the frame."""
    zero, top, rows = np.float32(0), np.float32(size), np.float32(table.shape[0])
    scale = top / (np.float32(2) * frame[2])
    x0, y0 = top * np.float32(0.5) - frame[0] * scale, top * np.float32(0.5) - frame[1] * scale
    for i in range(xs.size):
        u, v = xs[i] * scale + x0, ys[i] * scale + y0
        inside = (u >= zero) & (u < top) & (v >= zero) & (v < top)
        u, v = (u if inside else zero), (v if inside else top)
        where[0, i] = np.int32(v) * np.int32(size) + np.int32(u)
        where[1, i] = np.int32(min(max(cs[i], zero), np.float32(0.999999)) * rows)
    for i in range(xs.size):
        pixel, row = np.uint32(where[0, i]), np.uint32(where[1, i])
        histogram[pixel, 0] += table[row, 0]
        histogram[pixel, 1] += table[row, 1]
        histogram[pixel, 2] += table[row, 2]
        histogram[pixel, 3] += table[row, 3]


@nb.njit(error_model="numpy")
def bare_loop(maps, cumulative, steps, frame, size, histogram, table, deals):
    """Iterate affine maps and fill the histogram: what no renderer of flames can do without."""
    n = WALKERS
    xs, ys, cs = np.zeros(n, np.float32), np.zeros(n, np.float32), np.zeros(n, np.float32)
    fx, fy, fc = np.zeros(n, np.float32), np.zeros(n, np.float32), np.zeros(n, np.float32)
    where = np.empty((2, n), np.int32)
    for number in range(BURN_IN + steps):
        lo = 0
        for k in range(maps.shape[0]):
            hi = n if k == maps.shape[0] - 1 else int(cumulative[k] * n)
            deal(xs, ys, cs, fx, fy, fc, maps, k, lo, hi, deals[0, number], deals[1, number])
            lo = hi
        xs, fx = fx, xs
        ys, fy = fy, ys
        cs, fc = fc, cs
        if number >= BURN_IN:
            plot(xs, ys, cs, frame, size, where, histogram, table)


def time_bare(arrays):
    system, frame = bare_system(arrays)
    maps, cumulative = system.affine, np.cumsum(system.weight, dtype=np.float64)
    steps = -(-N_POINTS // WALKERS)
    generator = np.random.default_rng(0)  # the only draw
    deals = generator.integers(0, 2**32, (2, BURN_IN + steps), dtype=np.uint32)
    deals[0] |= 1
    began = time.process_time()
    histogram = np.zeros((SIZE * SIZE + 1, 4), np.float32)
    color = (np.arange(512, dtype=np.float32) + 0.5) / 512
    table = np.stack([np.ones_like(color), color, color**2, 0 * color], axis=1)
    bare_loop(maps, cumulative, steps, frame, SIZE, histogram, table, deals)
    return time.process_time() - began


def time_flames(arrays, key, frame):
    began = time.process_time()
    accumulate(arrays, key, frame, SIZE, N_POINTS)
    return time.process_time() - began


def genome(arrays, frame, n_points):
    """Describe a flame to flam3."""
    affine, post, kinds, blend, parameters, weight, color, speed, n_maps, _, final = arrays
    flame = ElementTree.Element(
        "flame",
        size=f"{SIZE} {SIZE}",
        center=f"{frame[0]} {frame[1]}",
        scale=str(SIZE / (2 * frame[2])),
        quality=str(n_points / SIZE**2),
        estimator_radius="0",
        temporal_samples="1",
    )
    for k in range(n_maps + final):
        a, b, c, d, e, f = affine[k]
        options = {"coefs": f"{a} {d} {b} {e} {c} {f}", "color": str(color[k])}
        if k < n_maps:
            options |= {"weight": str(weight[k]), "color_speed": str(speed[k])}
        if not np.array_equal(post[k], [1, 0, 0, 0, 1, 0]):
            a, b, c, d, e, f = post[k]
            options["post"] = f"{a} {d} {b} {e} {c} {f}"
        for kind, share in zip(kinds[k], blend[k], strict=True):
            if kind >= 0:
                name = VARIATIONS[int(kind)]
                options[name] = str(share + float(options.get(name, 0)))
                if name == "pdj":
                    options |= {
                        f"pdj_{x}": str(p) for x, p in zip("abcd", parameters[k], strict=True)
                    }
        ElementTree.SubElement(flame, "xform" if k < n_maps else "finalxform", options)
    return ElementTree.tostring(flame)


def time_flam3(program, folder, arrays, frame, n_points):
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "nthreads": "1", "prefix": f"{folder}/", "verbose": "0"}
    subprocess.run(
        [program], input=genome(arrays, frame, n_points), env=environment, cwd=folder,
        check=True, capture_output=True,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime


def main():
    found = flames()
    time_flames(*found[0])
    time_bare(found[0][0])
    # Turn by turn, so that other work on the machine burdens both alike.
    both = np.array(
        [[(time_flames(*flame), time_bare(flame[0])) for flame in found] for _ in range(ROUNDS)]
    )
    rounds = both[..., 1].mean(1) / both[..., 0].mean(1)
    ours, bare = both.min(axis=0).T
    speed = N_POINTS / ours.mean() / 1e6
    print(f"{SIZE} px, {N_POINTS:,} points, mean of {N_FLAMES} flames, one core")
    print(
        f"astrofractal          {speed:6.1f} million points a second (least: {1 / ours.max():.1f})"
    )
    print(f"bare affine loop      {1 / bare.mean():6.1f}")
    print(
        f"ratio to the bare loop       {np.median(rounds):5.2f}   (wanted: at least 0.70; median of "
        f"{ROUNDS} rounds, {rounds.min():.2f} to {rounds.max():.2f})"
    )

    program = shutil.which("flam3-render")
    if program is None:
        print("flam3-render is not installed: not compared", file=sys.stderr)
    else:
        with tempfile.TemporaryDirectory() as folder:
            # The difference of two runs leaves out the start of the program and the writing.
            many, few = (
                np.min(
                    [
                        [time_flam3(program, folder, a, f, n) for a, _, f in found[:8]]
                        for _ in range(2)
                    ],
                    axis=0,
                )
                for n in (5 * N_POINTS, N_POINTS)
            )
        slope = (many - few).mean() / 4
        print(f"flam3-render          {1 / slope:6.1f}   (whole process: {1 / few.mean():.1f})")
        print(f"ratio to flam3-render        {slope / ours[:8].mean():5.2f}   (wanted: at least 5)")

    stream = FlameStream(0, 96, 50_000)
    began = time.process_time()
    for index in range(300):
        stream[index]
    rate = 300 / (time.process_time() - began)
    print(f"images of 96 px, {stream.n_points:,} points: {rate:.0f} a second and core")
    print(
        f"on two cores: {2 * rate:.0f} a second, a million in {1e6 / rate / 120:.0f} minutes   "
        "(wanted: under 40)"
    )


if __name__ == "__main__":
    main()
