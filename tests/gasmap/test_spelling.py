"""Units as they are spelled in the wild."""

import pytest
from astropy import units as u

from astrofractal.gasmap.units import parse_unit, to_column_density

LINE = u.K * u.km / u.s

COLUMN = """cm-2; cm^-2; cm**-2; 1/cm2; 1/cm^2; /cm^2; cm -2; cm^(-2); cm^{-2}; CM-2; 1/CM2; (cm-2);
[cm-2]; H2 cm-2; H2/cm2; cm^-2 H2; cm-2 (H2); N(H2) cm-2; N_H2 cm-2; N(H2) [cm-2]; N(H2) (cm-2);
N [cm-2];
N_{H_2} [cm^{-2}]; $cm^{-2}$; column density [cm-2]; molecules/cm2; molec cm-2; H2 molecules cm-2;
particles/cm^2; H2.cm-2; H2*cm-2"""

SCALED = """1e21 cm-2; 1E+21 cm-2; 1E21 CM-2; 10^21 cm-2; 10^21cm-2; 10**21 cm-2; 10^{21} cm^{-2};
10+21 cm-2; x10^21 cm^-2; x 10^21 cm^-2; 10^21 H2 cm-2; 10^21 H2/cm^2; N(H2) [10^21 cm-2]"""

LOGARITHM = """dex(cm-2); log(cm-2); log10(cm-2); log10[cm-2]; [log cm-2]; log10 cm-2; log(N/cm-2);
log10(N/cm^-2); log10(N(H2)/cm^-2); log10(N(H2)) [cm-2]; Log10 N(H2) [cm-2]; log N [cm-2];
log(N [cm-2]); log10(N(H2) [cm-2]); log(H2/cm2)"""

OTHERS = [
    ("g cm-2; g/cm^2; G/CM2", u.g / u.cm**2),
    ("Msun/pc2; Msol pc-2; M_sun/pc^2; M_sol/pc^2; solMass/pc2; MSUN/PC2", u.Msun / u.pc**2),
    (
        "K km/s; K.km/s; K*km/s; K km s^-1; K.KM/S; K KM S-1; K (Tmb) km/s; K km/s (Ta*); Kkm/s",
        LINE,
    ),
    (
        "Jy/beam km/s; Jy/beam.km/s; Jy/beam*km/s; JY/BEAM.KM/S; Jy beam-1 km s-1; Jy km/s/beam",
        u.Jy / u.beam * u.km / u.s,
    ),
    ("MJy/sr km/s; MJY/SR.KM/S", u.MJy / u.sr * u.km / u.s),
    ("Jy/beam; JY/BEAM; Jy beam-1", u.Jy / u.beam),
    ("mJy/beam; mJy/BEAM", u.mJy / u.beam),
    ("MJy/sr; MJY/SR", u.MJy / u.sr),
    ("Jy/pixel; Jy/px", u.Jy / u.pix),
    ("mag; MAG; magnitudes; Av; A_V; AV; A_K; Av mag; mag (Av); A_V [mag]; A(V); A(K)", u.mag),
    ("K; KELVIN; kelvin; K (Tmb); K (TA*); K (T_MB); K Tmb", u.K),
    ("km/s; KM/S; km s-1; km/sec; kms-1; Km/s; km/s (LSR)", u.km / u.s),
    ("m/s; M/S; M/SEC", u.m / u.s),
    ("(cm-2)**2; (H2 cm-2)^2; cm-4", u.cm**-4),
    ("(K)**2; (K (Tmb))**2", u.K**2),
    ("km2/s2; (km/s)^2; (km/s)**2; KM2/S2", u.km**2 / u.s**2),
]


def words(text):
    return [word.strip() for word in text.replace("\n", " ").split(";")]


@pytest.mark.parametrize("text", words(COLUMN))
def test_column_density(text):
    assert to_column_density(1 * parse_unit(text)).value == pytest.approx(1)


@pytest.mark.parametrize("text", words(SCALED))
def test_scaled_column_density(text):
    assert to_column_density(1 * parse_unit(text)).value == pytest.approx(1e21)


@pytest.mark.parametrize("text", words(LOGARITHM))
def test_logarithms(text):
    assert parse_unit(text) == u.dex(u.cm**-2)


@pytest.mark.parametrize(("texts", "unit"), OTHERS)
def test_other_units(texts, unit):
    for text in words(texts):
        assert parse_unit(text) == unit, text


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("nonsense", "not a unit that astropy reads.*unit='cm-2'"),
        ("N(H2)", "not a unit"),
        ("E(B-V)", "not a unit"),
        ("counts", "not a unit"),
        ("[log cm-2", "not a unit"),
        ("MJY/BEAM", "not a unit"),  # mega or milli
        ("", "not a unit"),
        ("log10(N)", "is a logarithm without a unit"),
        ("dex", "is a logarithm without a unit"),
        ("H cm-2", "counts hydrogen nuclei"),
        ("N(H) cm-2", "counts hydrogen nuclei"),
        ("10^21 HI/cm2", "counts hydrogen nuclei"),
        ("atoms/cm2", "counts hydrogen nuclei"),
        ("NH3 cm-2", "counts NH3, not H2.*column=Abundance"),
        ("log10(N(13CO)/cm-2)", "counts 13CO, not H2.*column=Abundance"),
    ],
)
def test_what_is_not_understood_is_not_guessed(text, match):
    with pytest.raises(ValueError, match=match):
        parse_unit(text)


def test_units_and_wrong_classes():
    assert parse_unit(u.cm**-2) == u.cm**-2
    assert parse_unit(1e21 * u.cm**-2) == u.Unit(1e21 * u.cm**-2)
    with pytest.raises(TypeError, match="unit must be a unit or its name, got 3"):
        parse_unit(3)
    with pytest.raises(ValueError, match="BUNIT of a.fits 'ducks' .* unit='K'"):
        parse_unit("ducks", name="BUNIT of a.fits", example="K")
