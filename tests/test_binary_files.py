"Binary files as other programs write them: scaled integers, keywords in another unit, attributes, gaps, masks."
import numpy as np
import pytest
from astropy.io import fits
from physlearn.files import FileError
from physlearn.lightcurve.xray_files import read_lightcurve

N = 8
STEPS = 100.*np.arange(N) + 50                      # their middle [s]
PHOTONS = np.array([100, 200, 300, 400, 500, 600, 700, 800])

def written(path, *columns, primary=(), **head):
    "A FITS table of (name, format, unit, values); keywords that begin with Q are those of TSCAL, TZERO and TNULL."
    made = fits.BinTableHDU.from_columns([fits.Column(n, f, u or None, array=v) for n, f, u, v in columns], name='RATE')
    usual = dict(MJDREFI=50000, MJDREFF=.25, TIMEPIXR=.5, TIMEDEL=100., E_MIN=.2, E_MAX=2.)
    for k, v in (usual | head).items():
        if v is not None: made.header[k] = v
    first = fits.PrimaryHDU()
    first.header.update(dict(primary))
    fits.HDUList([first, made]).writeto(path, overwrite=True)
    raw = path.read_bytes()
    for k in (b'SCAL', b'ZERO', b'NULL'): raw = raw.replace(b'Q' + k, b'T' + k)
    path.write_bytes(raw)
    return path

TIME, SHARE = ('TIME', 'D', 's', STEPS), ('FRACEXP', 'E', '', np.ones(N))

def rates(unit='s', by=1.): return ('TIME', 'D', unit, STEPS*by), ('RATE', 'D', 'count/s', PHOTONS/100), ('ERROR', 'D', 'count/s', PHOTONS**.5/100)

@pytest.mark.parametrize('scale, zero, null, stored', [(None, None, -99, PHOTONS), (2., 0., -99, PHOTONS//2), (.5, 10., -99, (PHOTONS - 10)*2),
                                                       (1., 32768., -32768, PHOTONS - 32768)])
def test_missing_counts_of_scaled_columns(tmp_path, scale, zero, null, stored):
    "TNULL is the number as it is stored, before it is scaled (FITS 4.0, section 7.3.2)."
    stored = stored.astype('i2')
    stored[2] = null
    head = {k: v for k, v in dict(QNULL2=null, QSCAL2=scale, QZERO2=zero).items() if v is not None}
    lc = read_lightcurve(written(tmp_path/'a.fits', TIME, ('COUNTS', 'I', '', stored), SHARE, **head))
    assert lc.mask[:,0].tolist() == [k != 2 for k in range(N)]
    np.testing.assert_allclose(lc.counts[lc.mask], np.delete(PHOTONS, 2))

@pytest.mark.parametrize('unit, by, head, zero', [
    ('s', 1., dict(TIMEUNIT='d', TIMEDEL=100/86400, TIMEZERI=10000, TIMEZERF=.25, MJDREFI=40000, MJDREFF=0.), 10000.25*86400),
    ('s', 1., dict(TIMEUNIT='d', TIMEZERI=10000, TIMEZERF=.25, MJDREFI=40000, MJDREFF=0.), 10000.25*86400),  # TIMEDEL in s
    ('d', 1/86400, dict(TIMEUNIT='s'), 0.), ('d', 1/86400, dict(TIMEUNIT='s', TIMEZERO=1000.), 1000.),
    ('min', 1/60, dict(TIMEUNIT='min', TIMEDEL=100/60), 0.)])
def test_keywords_are_in_the_unit_of_keywords(tmp_path, unit, by, head, zero):
    "TIMEZERO and TIMEDEL are in TIMEUNIT, the column in its TUNIT (OGIP 93-003), as XRONOS writes them."
    lc = read_lightcurve(written(tmp_path/'a.fits', *rates(unit, by), **head))
    np.testing.assert_allclose(lc.time, STEPS + zero, rtol=0, atol=1e-6)
    np.testing.assert_allclose(lc.dt, 100.)
    np.testing.assert_allclose(lc.counts[:,0], PHOTONS)

def test_the_table_says_where_its_time_begins(tmp_path):
    path = written(tmp_path/'a.fits', *rates(), primary=dict(MJDREFI=50000, MJDREFF=.25), MJDREFI=None, MJDREFF=None, MJDREF=51000.)
    assert read_lightcurve(path).mjdref == 51000.

@pytest.mark.parametrize('unit, by', [('keV', 1.), ('eV', 1e3), ('MeV', 1e-3)])
def test_units_of_energies(tmp_path, unit, by):
    lc = read_lightcurve(written(tmp_path/'a.fits', *rates(), E_MIN=.2*by, E_MAX=2.*by, EUNIT=unit))
    np.testing.assert_allclose(lc.bands, [[.2, 2.]])

@pytest.mark.parametrize('head, says', [(dict(TIMEDEL=-100.), 'TIMEDEL = -100.0; expected a length above 0'), (dict(TIMEDEL=0.), 'TIMEDEL = 0.0'),
                                        (dict(TIMEPIXR=2.), 'TIMEPIXR = 2.0; expected 0 to 1'), (dict(E_MIN='low'), "E_MIN = 'low'; expected a number")])
def test_keywords_that_cannot_be(tmp_path, head, says):
    with pytest.raises(FileError) as e: read_lightcurve(written(tmp_path/'a.fits', *rates(), **head))
    assert says in str(e.value) and 'damaged' not in str(e.value)

@pytest.mark.parametrize('form, values, says', [('C', PHOTONS/100 + 1j, 'complex'), ('L', PHOTONS > 0, 'true or false'),
                                                ('PD()', np.array([np.ones(k % 3 + 1) for k in range(N)], dtype=object), 'varies in length')])
def test_rates_that_are_no_numbers(tmp_path, form, values, says):
    time, rate, error = rates()
    with pytest.raises(FileError) as e: read_lightcurve(written(tmp_path/'a.fits', time, ('RATE', form, 'count/s', values), error))
    assert says in str(e.value) and 'damaged' not in str(e.value)
