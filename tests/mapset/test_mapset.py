import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from numpy.testing import assert_allclose, assert_array_equal

from astrofractal.data import data_path
from astrofractal.mapset import MapSet
from astrofractal.mapset.files import is_map_set


def make_mapset(n_maps=12, *, n_protostars=2, cloud="cloud01", seed=0, size=16):
    rng = np.random.default_rng(seed)
    images = np.stack(
        [
            22 + 0.5 * rng.standard_normal((n_maps, size, size)),
            rng.standard_normal((n_maps, size, size)),
            0.3 + 0.1 * rng.random((n_maps, size, size)),
        ],
        axis=1,
    )
    return MapSet(
        images,
        10 ** rng.normal(0, 0.5, n_maps) * u.solMass,
        clouds=[cloud] * n_maps,
        protostars=[str(i % n_protostars) for i in range(n_maps)],
        times=np.arange(n_maps) // (3 * n_protostars) * u.Myr,
        axes=["xyz"[i // n_protostars % 3] for i in range(n_maps)],
        positions=rng.standard_normal((n_maps, 3)) * u.pc,
        pixel_scale=0.5 / 64 * u.pc,
        meta={"clouds": {cloud: {"MCLOUD": 400.0}}},
    )


@pytest.mark.parametrize("clouds", [["a"], ["a", "b"]])
def test_write_read(tmp_path, clouds):
    maps = MapSet.concatenate(make_mapset(cloud=c, seed=i) for i, c in enumerate(clouds))
    maps.images[3, 1:] = np.nan
    maps.images[2, :, 4, 5] = np.nan
    maps.write(tmp_path / "maps.fits")
    back = MapSet.read(tmp_path / "maps.fits")
    assert_allclose(back.images[:, 0], maps.images[:, 0], atol=0.0051)
    assert_allclose(back.images[:, 1:], maps.images[:, 1:], atol=0.0205)
    for name in ("clouds", "protostars", "axes"):
        assert_array_equal(getattr(back, name), getattr(maps, name))
    assert_allclose(back.masses, maps.masses, rtol=1e-6)
    assert_allclose(back.times, maps.times)
    assert_allclose(back.positions, maps.positions, rtol=1e-6)
    assert back.meta["clouds"] == maps.meta["clouds"]
    assert u.isclose(back.pixel_scale, maps.pixel_scale)
    with pytest.raises(FileExistsError, match="overwrite"):
        maps.write(tmp_path / "maps.fits")


def test_folder_and_indexing(tmp_path):
    for i, name in enumerate("ab"):
        make_mapset(cloud=name, seed=i).write(tmp_path / f"{name}.fits")
    maps = MapSet.read(tmp_path)
    assert len(maps) == 24
    assert len(maps[3]) == 1
    part = maps[maps.clouds == "b"]
    assert set(part.protostars) == {"b/0", "b/1"}
    assert list(part.meta["clouds"]) == ["b"]
    assert_array_equal(part.images, maps.images[12:])
    with pytest.raises(IndexError):
        maps[24]


def test_velocity_is_column_weighted():
    images = np.zeros((1, 3, 1, 2))
    images[0, 0] = [[22, 23]]
    images[0, 1] = [[0, 11]]
    maps = MapSet(images, [1] * u.solMass, clouds=["a"], protostars=["0"])
    assert_allclose(maps.images[0, 1], [[-10, 1]], rtol=1e-6)


def test_source_convention(tmp_path):
    """A file written as the public sets are: no cloud column, box frame velocities."""
    velocity = np.full((2, 4, 4), 300, dtype=np.int16)
    hdus = [fits.PrimaryHDU()]
    hdus[0].header["CLOUD"] = "c7"
    for name, data, step in [
        ("LOG_NH2", np.full((2, 4, 4), 5500, np.int16), 0.004),
        ("V_LOS", velocity, 0.01),
        ("SIGMA_V", velocity // 10, 0.01),
    ]:
        hdus.append(fits.CompImageHDU(data, name=name, compression_type="RICE_1"))
        hdus[-1].header["QSCALE"] = step
    columns = [
        fits.Column("sink", "J", array=[4, 4]),
        fits.Column("mass", "E", unit="solMass", array=[1.0, 2.0]),
    ]
    hdus.append(fits.BinTableHDU.from_columns(columns, name="SINKS"))
    fits.HDUList(hdus).writeto(tmp_path / "c7.fits")
    maps = MapSet.read(tmp_path / "c7.fits")
    assert_allclose(maps.images[0, :, 0, 0], [22, 0, 0.3], atol=1e-5)
    assert maps.protostars.tolist() == ["c7/4", "c7/4"]
    assert_allclose(maps.log_masses, [0, np.log10(2)])


@pytest.mark.parametrize(
    "names",
    [["01", "1"], [str(2**31 + 5), str(2**62)], ["Äther", "b c"], [" x ", "a%20"], ["7", "-7"]],
    ids=str,
)
def test_names_come_back_as_they_were(tmp_path, names):
    maps = make_mapset(2)
    for cloud in ("nube", "Wölkchen"):
        new = MapSet(maps.images, maps.masses, clouds=[cloud] * 2, protostars=names)
        new.write(tmp_path / "maps.fits", overwrite=True)
        back = MapSet.read(tmp_path / "maps.fits")
        assert back.protostars.tolist() == [f"{cloud}/{name}" for name in names]
        assert back.clouds.tolist() == [cloud] * 2
        assert list(back.meta["clouds"]) == [cloud]
    both = MapSet.concatenate([maps, new])
    both.write(tmp_path / "both.fits")
    assert MapSet.read(tmp_path / "both.fits").protostars.tolist() == both.protostars.tolist()


def test_limited_maps_stand_for_the_others(tmp_path):
    maps = make_mapset(30)[[*range(0, 30, 2), 1, 3]]  # 15 maps of one protostar, 2 of the other
    small = maps.limit(4)
    assert np.unique(small.protostars, return_counts=True)[1].tolist() == [4, 2]
    assert_allclose(small.represents, np.where(small.protostars == "cloud01/0", 15 / 4, 1))
    assert len(set(small.axes[small.protostars == "cloud01/0"])) > 1
    small.write(tmp_path / "small.fits")
    assert_allclose(MapSet.read(tmp_path / "small.fits").represents, small.represents)
    assert_allclose(small.limit(2).represents.sum(), len(maps))


def test_fingerprint_is_that_of_the_content():
    maps, same = make_mapset(), make_mapset()
    assert maps.fingerprint() == same.fingerprint()
    others = [maps[:5], make_mapset(seed=1), maps.limit(3)]
    for name in ("images", "masses", "positions", "represents"):
        other = make_mapset()
        setattr(other, name, getattr(other, name) * 1.001)
        others.append(other)
    assert len({m.fingerprint() for m in (maps, *others)}) == 1 + len(others)


def test_errors(tmp_path):
    maps = make_mapset()
    with pytest.raises(ValueError, match="images must have the shape"):
        MapSet(maps.images[:, :2], maps.masses, clouds=maps.clouds, protostars=maps.protostars)
    with pytest.raises(u.UnitsError, match="masses"):
        MapSet(maps.images, maps.masses.value, clouds=maps.clouds, protostars=maps.protostars)
    with pytest.raises(u.UnitsError, match="masses"):
        MapSet(
            maps.images, maps.masses.value * u.pc, clouds=maps.clouds, protostars=maps.protostars
        )
    with pytest.raises(ValueError, match="clouds must have one entry"):
        MapSet(maps.images, maps.masses, clouds=["a"], protostars=maps.protostars)
    with pytest.raises(FileNotFoundError, match="nothing"):
        MapSet.read(tmp_path / "nothing.fits")
    with pytest.raises(FileNotFoundError, match="no .fits files"):
        MapSet.read(tmp_path)
    fits.PrimaryHDU(np.zeros((4, 4))).writeto(tmp_path / "image.fits")
    with pytest.raises(ValueError, match="not a map set"):
        MapSet.read(tmp_path / "image.fits")
    maps.write(tmp_path / "maps.fits")
    whole = (tmp_path / "maps.fits").read_bytes()
    for fraction in (0.3, 0.6, 0.9):
        (tmp_path / "cut.fits").write_bytes(whole[: int(len(whole) * fraction)])
        with pytest.raises((OSError, ValueError), match=r"cut\.fits"):
            MapSet.read(tmp_path / "cut.fits")
    maps.images[0, 1, 0, 0] = 1e6
    with pytest.raises(ValueError, match="V_LOS"):
        maps.write(tmp_path / "big.fits")
    assert not (tmp_path / "big.fits").exists()


def test_bad_values():
    maps = make_mapset(2)
    with pytest.raises(ValueError, match="finite and positive"):
        MapSet(maps.images, [0, 1] * u.solMass, clouds=maps.clouds, protostars=maps.protostars)


def test_a_data_set_of_torch():
    torch = pytest.importorskip("torch")
    maps = MapSet.concatenate([make_mapset(6, cloud=cloud) for cloud in "ab"])
    dataset = maps.to_torch()
    assert len(dataset) == len(maps)
    image, mass, protostar, cloud = dataset[7]
    assert image.dtype == torch.float32
    assert_array_equal(image.numpy(), maps.images[7])
    assert mass.item() == pytest.approx(maps.masses[7].value)
    assert (protostar, cloud) == (maps.protostars[7], maps.clouds[7])
    loader = torch.utils.data.DataLoader(dataset, batch_size=5)
    images, masses, protostars, clouds = next(iter(loader))
    assert images.shape == (5, 3, 16, 16)
    assert masses.shape == (5,)
    assert list(clouds) == ["a"] * 5
    assert list(protostars) == maps.protostars[:5].tolist()


def test_a_map_with_a_table_of_sinks_is_no_map_set(tmp_path):
    make_mapset().write(tmp_path / "maps.fits.gz")
    (tmp_path / "notes.txt").write_text("no FITS")
    assert is_map_set(tmp_path / "maps.fits.gz")
    assert is_map_set(tmp_path)
    assert not is_map_set(tmp_path / "notes.txt")
    assert not is_map_set(data_path("example_cloud.fits"))
