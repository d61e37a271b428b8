"""What people bring as a light curve: clocks, gaps, errors, damaged files. Each case is written with astropy, small."""
import gzip
import numpy as np
import pytest
from astropy.io import fits
from physlearn.files import FileError
from physlearn.lightcurve.xray_curve import poisson_errors
from physlearn.lightcurve.xray_files import LightCurves, by_visits, overlapping, read_lightcurve

def written(path, columns, head=(), name='RATE', before=()):
    "A table of columns {name: (format, unit, values)} with a header."
    cols = [fits.Column(k, f, u, array=np.array(v), **(dict(null=-1) if k == 'COUNTS' and f == 'J' else {})) for k, (f, u, v) in columns.items()]
    table = fits.BinTableHDU.from_columns(cols, name=name)
    for k, v in dict(head).items(): table.header[k] = v
    fits.HDUList([fits.PrimaryHDU(), *before, table]).writeto(path, overwrite=True)
    return path

def plain(path, t=(0., 16., 32.), rate=(1., 2., 3.), error=(.25, .35, .43), head=(), **more):
    cols = dict(TIME=('D', 's', t), RATE=('E', 'count/s', rate), ERROR=('E', 'count/s', error)) | more
    return written(path, cols, dict(MJDREF=51000., TIMEDEL=16., TIMEPIXR=.5, TIMESYS='TT') | dict(head))

def erosita(path, C=((3, 5, 1),)*4, B=((9, 14, 6),)*4, frac=((.5, .5, .5),)*4, head=(), **more):
    n, e = len(C), {f'E_{w}{i}': v for w, vs in (('MIN', (.2, .6, 2.3)), ('MAX', (.6, 2.3, 5.))) for i, v in enumerate(vs, 1)}
    t = 6.3e8 + np.array([0, 10, 14400, 14410.])[:n]
    cols = dict(TIME=('D', 's', t), TIMEDEL=('D', 's', [10.]*n), COUNTS=('3J', 'count', C), RATE=('3E', 'ct/s', np.ones((n, 3))),
                BACK_COUNTS=('3E', 'count', B), FRACEXP=('3E', '', frac), BACKRATIO=('D', '', [.012]*n)) | more
    return written(path, cols, dict(MJDREF=51543.875, TELESCOP='eROSITA', TIMESYS='TT', TIMEPIXR=.5) | e | dict(head))

def test_the_clock(tmp_path):
    "MJD of the middle of a bin, from reference, zero, place within the bin and unit."
    head = dict(MJDREFI=49353, MJDREFF=6.96574074e-4, TIMEDEL=16., TIMEPIXR=0., TIMEZERO=0.)
    lc = read_lightcurve(plain(tmp_path/'a.lc', (1000., 1016., 1032.), head=head))
    assert lc.mjd[0] == pytest.approx(49353.0123632, abs=1e-7)
    moved = read_lightcurve(plain(tmp_path/'b.lc', (0., 16., 32.), head=head | dict(TIMEZERO=1000.)))
    assert moved.mjd == pytest.approx(lc.mjd, abs=1e-11)
    days = dict(TIME=('D', 'd', np.array([1000., 1016., 1032.])/86400), TIMEDEL=('D', 's', [16.]*3))
    assert read_lightcurve(plain(tmp_path/'c.lc', head=head, **days)).mjd == pytest.approx(lc.mjd, abs=1e-9)
    bare = written(tmp_path/'d.fits', dict(TIME=('D', None, [55000., 55001.]), RATE=('E', None, [1., 2.]), ERROR=('E', None, [.1, .1])))
    lc = read_lightcurve(bare)
    assert lc.mjd.tolist() == [55000, 55001] and 'taken in MJD' in lc.said and 'no TIMEDEL' in lc.said and lc.dt.tolist() == [86400]*2
    later = LightCurves.of([read_lightcurve(tmp_path/'a.lc'), read_lightcurve(plain(tmp_path/'e.lc', (1000., 1016., 1032.)))])
    assert later[1].mjd[0] == pytest.approx(51000 + 1000/86400, abs=1e-9)

def test_order_ties_and_bytes(tmp_path):
    "Rows in any order come sorted, all columns together; equal times are told; numbers are in native order."
    lc = read_lightcurve(plain(tmp_path/'a.lc', (32., 0., 16., 16.), (3., 1., 2., 2.5), (.1,)*4))
    assert lc.rate[:,0].tolist() == [1, 2, 2.5, 3] and 'sorted' in lc.said and '1 times are there twice' in lc.said
    assert all(getattr(lc, k).dtype.isnative for k in ('time', 'rate', 'mask', 'counts'))

def test_errors(tmp_path):
    "An error of 0 is unknown, or comes from the photons; a minus that is stored negative is a distance; rows joined by another tool say so."
    lc = read_lightcurve(plain(tmp_path/'a.lc', error=(0., .35, .43)))
    assert lc.counted and lc.err_plus[0,0] == pytest.approx(poisson_errors(16)[1]/16) and lc.err_plus[1:,0] == pytest.approx([.35, .43])
    lc = read_lightcurve(plain(tmp_path/'c.lc', rate=(1.23, .4, .5), error=(0., .1, .2)))
    assert np.isnan(lc.err_plus[0,0]) and lc.err_plus[1:,0] == pytest.approx([.1, .2]) and lc.mask[:,0].tolist() == [False, True, True]
    assert '1 rates with an error of 0' in lc.said
    both = dict(RATE_ERRM=('3E', 'ct/s', [(-.3, .1, .1)]*4), RATE_ERRP=('3E', 'ct/s', [(.4, .2, .2)]*4))
    lc = read_lightcurve(erosita(tmp_path/'b.fits', **both))
    assert lc.err_minus[0] == pytest.approx([.3, .1, .1]) and lc.err_plus[0] == pytest.approx([.4, .2, .2]) and 'background' in lc.said

def test_photons(tmp_path):
    "A bin without photons is data; a mask of TNULL is none; 999999 is a number; rates that are whole are photons, others are not."
    lc = read_lightcurve(erosita(tmp_path/'a.fits', C=((0, 0, 0), (3, 5, 1), (3, 5, 1), (3, 5, 1))))
    assert lc.mask.all() and lc.counts[0].tolist() == [0, 0, 0] and lc.counted
    cols = dict(TIME=('D', 's', [0., 16., 32.]), COUNTS=('J', 'count', [-1, 999999, 4]))
    lc = read_lightcurve(written(tmp_path/'b.fits', cols, dict(MJDREF=51000., TIMEDEL=16.)))
    assert np.isnan(lc.counts[0,0]) and lc.counts[1:,0].tolist() == [999999, 4] and lc.mask[:,0].tolist() == [False, True, True]
    assert '1 value is not finite' in lc.said
    whole = read_lightcurve(plain(tmp_path/'c.lc', rate=np.array([4, 0, 7])/16., error=np.array([2, 0, 2.6])/16))
    assert whole.counts[:,0].tolist() == [4, 0, 7] and 'taken as photons' in whole.said
    for k, rate in enumerate(((1.23, .4, .5), (-1/16, 2/16, 3/16), (20., 21., 22.))): assert not read_lightcurve(plain(tmp_path/f'{k}.lc', rate=rate)).counted

def test_exposure(tmp_path):
    "FRACEXP shortens the exposure of a rate that is corrected already, also slightly above 1; too little of it is masked."
    share = dict(FRACEXP=('E', '', [.5, 1.0002, 0.]))
    lc = read_lightcurve(plain(tmp_path/'a.lc', rate=(1.23, .4, .5), **share))
    assert lc.exposure[:,0] == pytest.approx([8, 16.0032, 0]) and lc.rate[0,0] == pytest.approx(1.23)
    assert lc.mask[:,0].tolist() == [True, True, False] and 'no exposure: masked' in lc.said
    lc = read_lightcurve(erosita(tmp_path/'b.fits', frac=((.5,)*3, (.05,)*3, (.5, .2, 0.), (.5,)*3)))
    assert lc.mask.tolist() == [[True]*3, [False]*3, [True, True, False], [True]*3] and 'less than 10 % exposure' in lc.said

def test_visits(tmp_path):
    "Photons, exposures and background of rows that follow each other add."
    lc = read_lightcurve(erosita(tmp_path/'a.fits', BACKRATIO=('D', '', [.01, .02, .01, .01])))
    v = by_visits(lc)
    assert v.counts.tolist() == [[6, 10, 2]]*2 and v.exposure.tolist() == [[10.]*3]*2 and v.dt.tolist() == [20, 20]
    assert v.ratio[0] == pytest.approx([.015]*3) and (v.ratio*v.back).sum() == pytest.approx((lc.ratio*lc.back).sum())
    with pytest.raises(ValueError, match='rates cannot'): by_visits(read_lightcurve(plain(tmp_path/'b.lc', rate=(1.23, .4, .5))))

def test_bands(tmp_path):
    lc = read_lightcurve(erosita(tmp_path/'a.fits'))
    assert lc.labels == ('0.2-0.6 keV', '0.6-2.3 keV', '2.3-5 keV') and not overlapping(lc.bands)
    lc = read_lightcurve(erosita(tmp_path/'b.fits', head=dict(E_MAX1=5.)))
    assert overlapping(lc.bands) == [(0, 1), (0, 2)] and 'overlap' in lc.said
    assert read_lightcurve(plain(tmp_path/'J0334+531_0.5-7keV.lc')).labels == ('0.5-7 keV',)
    assert read_lightcurve(tmp_path/'J0334+531_0.5-7keV.lc').name == 'J0334+531_0.5-7keV'

def test_other_tables_first(tmp_path):
    "Every extension is looked at."
    gti = fits.BinTableHDU.from_columns([fits.Column('START', 'D', array=[0.]), fits.Column('STOP', 'D', array=[9.])], name='GTI')
    path = written(tmp_path/'a.fits', dict(TIME=('D', 's', [0.]), RATE=('E', 'ct/s', [1.])), dict(TIMEDEL=1.), name='whatever', before=[gti])
    assert len(read_lightcurve(path)) == 1

@pytest.mark.parametrize('case, says', [
    ('truncated', 'cut off'), ('shorter', 'ends before its table'), ('bomb', 'unpacks to more than'), ('text', 'times without a unit'), ('columns', 'expected a table with TIME and one of RATE'),
    ('empty', 'has no rows'), ('dark', 'no step has any exposure'), ('widths', 'bands; expected the same number'), ('events', 'is a list of events'),
    ('zero', 'is empty'), ('word', "MJDREF = 'soon'")])
def test_what_is_refused(tmp_path, case, says):
    "One sentence, and the file's name."
    path = tmp_path/f'{case}.fits'
    if case == 'truncated': path.write_bytes(erosita(tmp_path/'x.fits').read_bytes()[:6000])
    if case == 'shorter': path.write_bytes(plain(tmp_path/'x.fits', np.arange(2000.), np.ones(2000), np.ones(2000)).read_bytes()[:20_000])
    if case == 'bomb': path.write_bytes(gzip.compress(bytes(2**22)))
    if case == 'text': path.write_text('TIME RATE\n0 1\n')
    if case == 'zero': path.write_bytes(b'')
    if case == 'columns': written(path, dict(TIME=('D', 's', [0.]), WHAT=('E', '', [1.])))
    if case == 'events': written(path, dict(TIME=('D', 's', [0.]), PI=('J', 'chan', [1])), name='EVENTS')
    if case == 'empty': written(path, dict(TIME=('D', 's', []), RATE=('E', 'ct/s', [])))
    if case == 'dark': erosita(path, frac=((0.,)*3,)*4)
    if case == 'widths': erosita(path, FRACEXP=('2E', '', [(.5, .5)]*4))
    if case == 'word': plain(path, head=dict(MJDREF='soon'))
    with pytest.raises(FileError) as e: read_lightcurve(path, **(dict(limit=2**20) if case == 'bomb' else {}))
    assert says in str(e.value) and path.name in str(e.value) and '\n' not in str(e.value)

def test_many_rows_take_linear_time(tmp_path):
    n = 200_000
    lc = read_lightcurve(plain(tmp_path/'a.lc', np.arange(n)*16., np.full(n, 3/16), np.full(n, .1)))
    assert len(lc) == n and lc.counted
