"""What people bring as a light curve, kind by kind: each row of the list of kinds has a test, here or where it is named.

A row: the kind, as the list calls it; the test that keeps it. A name alone is a test of this file."""
import gzip, os
from dataclasses import replace
from pathlib import Path
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from physlearn.cli import main
from physlearn.files import FileError
from physlearn.lightcurve.counting import upper_limit
from physlearn.lightcurve.desk import fit_lightcurve
from physlearn.lightcurve.xray_curve import STEPS, LightCurve, channel_energy, in_steps, live_time, together, with_dead_time
from physlearn.lightcurve.xray_files import LightCurves, read_lightcurve
from test_xray_files import erosita, plain, written

FILES = 'test_xray_files.py::'
KINDS = [
    ('QDP and plain text', 'test_qdp'), ('QDP and plain text', 'test_maxi'), ('QDP and plain text', 'test_named_columns'),
    ('upper limits', 'test_upper_limits'), ('upper limits', 'test_limits_in_files'),
    ('clock', FILES + 'test_the_clock'), ('clock', 'test_scales'),
    ('one source in two sky tiles', 'test_xray_catalogue.py::test_copies'),
    ('Bayesian blocks with empty bins', 'elsewhere: the statistics of variability'),
    ('output that comes back', 'test_comes_back'), ('output that comes back', 'test_real_ones_come_back'),
    ('GTIs, partial bins', 'test_good_times'), ('GTIs, partial bins', 'test_steps_in_steps'),
    ('several observations, several MJDREFs', 'test_one_instant'),
    ('NaN', 'test_what_is_not_finite'), ('TNULL, masked columns', FILES + 'test_photons'), ('TNULL, masked columns', 'test_masks'),
    ('errors of zero', FILES + 'test_errors'), ('negative net counts', 'test_negative_net_counts'),
    ('an exposed bin without photons', FILES + 'test_photons'), ('asymmetric errors in any order', FILES + 'test_errors'),
    ('counts absent', FILES + 'test_photons'), ('FRACEXP', FILES + 'test_exposure'), ('dead time', 'test_dead_time'),
    ('energies in channels', 'test_channels'), ('bands on different grids, an overlapping last bin', 'test_bands_on_different_grids'),
    ('disorder, ties; byte order', FILES + 'test_order_ties_and_bytes'),
    ('1e6 bins, 1-6 bins', FILES + 'test_many_rows_take_linear_time'), ('1e6 bins, 1-6 bins', 'test_few_and_many'),
    ('"+" in names, a wrong kind of file', FILES + 'test_bands'), ('"+" in names, a wrong kind of file', 'test_events'),
    ('"+" in names, a wrong kind of file', 'test_refused'),
]

def test_every_kind_has_its_test():
    here = Path(__file__).parent
    for _, name in KINDS:
        where, _, test = name.rpartition('::')
        if not name.startswith('elsewhere'): assert f'def {test}(' in (here/(where or Path(__file__).name)).read_text(), name
    listed = Path(os.environ.get('PHYSLEARN_DATA', ''))/'../spec/kinds.md'
    if not listed.exists(): pytest.skip('the list is not here')
    part = listed.read_text().split('## lightcurve')[1].split('What users wish')[0]
    rows = [line.split('|')[1].strip().strip('*') for line in part.splitlines() if line.startswith('|')][2:]
    assert set(rows) == {k for k, _ in KINDS}

def cli(*words): return main([str(w) for w in words])

# ------------------------------------------------------------------------------------------------ text
QDP = """! Swift/XRT
READ TERR 1
Read Serr 2
! WT data
! Time  T_+ve  T_-ve  Rate  Error
100.0 6 -4 1.5 0.2
110.0 5 -5 2.5 0.3
NO NO NO NO NO
! PC data
210.0 5 -5 3.5 0.4
200.0 5 -5 NO 0.2
220.0 5 -5 0.1 0
"""

def test_qdp(tmp_path, capsys):
    "Several tables split by NO, commands in any case, one NO is a missing number, an error of 0 is a limit; by content, whatever the name."
    path = tmp_path/'a.txt'
    path.write_text(QDP)
    with pytest.raises(FileError, match='holds 2 tables .* WT data.* PC data.*--table 0'): read_lightcurve(path)
    wt, pc = read_lightcurve(path, table=0), read_lightcurve(path, table=1)
    assert wt.time.tolist() == [101, 110] and wt.dt.tolist() == [10, 10] and wt.rate[:,0].tolist() == [1.5, 2.5]
    assert pc.time.tolist() == [200, 210, 220] and pc.mask[:,0].tolist() == [False, True, False] and 'upper limit' in pc.said
    path.write_text('read TERR 1 2\n0 1 -1 5 .2 -.3\n2 1 -1 6 .4 -.1\n')
    lc = read_lightcurve(path)
    assert lc.err_minus[:,0].tolist() == [.3, .1] and lc.err_plus[:,0].tolist() == [.2, .4] and 'no MJDREF' in lc.said
    path.write_text('read serr 2\n' + '\n'.join(f'{55000 + k} 1.5 .1' for k in range(4)))
    with pytest.raises(FileError, match='may be seconds or MJD.*--clock MJD'): read_lightcurve(path)
    lc = read_lightcurve(path, clock='MJD')
    assert lc.mjd.tolist() == [55000, 55001, 55002, 55003] and lc.dt.tolist() == [86400]*4
    assert cli('fit', 'lightcurve', path, '--clock', 'MJD', '--draws', 16) == 0 and '1.50' in capsys.readouterr().out
    with pytest.raises(FileError, match='no table 2'): (path.write_text(QDP), read_lightcurve(path, table=2))

def test_maxi(tmp_path, capsys):
    "Nine columns without a header are MAXI's; the sum of the bands is left out and that is said; other numbers without names are refused."
    path = tmp_path/'J0534+220_g_lc_1orb_all.dat'
    path.write_text('55058.5 0.352 0.02 0.15 0.01 0.14 0.01 0.06 0.01\n55059.5 3.6e-1 0.02 0.16 0.01 0.15 0.01 -0.01 0.01\n')
    lc = read_lightcurve(path)
    assert lc.mjd.tolist() == [55058.5, 55059.5] and lc.rate.tolist() == [[.15, .14, .06], [.16, .15, -.01]] and lc.unit == 'ph/s/cm2'
    assert 'overlaps' in lc.said and not lc.counted and lc.name == 'J0534+220_g_lc_1orb_all'
    assert cli('fit', 'lightcurve', path, '--draws', 16) == 0 and '2-4 keV' in capsys.readouterr().out
    path.write_text('55058.5 0.352 0.02\n')
    with pytest.raises(FileError, match='3 columns without names.*time .s.,rate'): read_lightcurve(path)

NAMED = """# MJDREF: 58000
# TIMESYS: TT
time [s],rate [ct/s],error [ct/s]
10,1.25,.1
20,1.31,.1
30,,.2
"""

def test_named_columns(tmp_path, capsys):
    "A first line of names with units, in any case and with usual synonyms; a gap is masked; days and seconds are never guessed."
    path = tmp_path/'mine.csv'
    path.write_text(NAMED)
    lc = read_lightcurve(path)
    assert lc.mjdref == 58000 and lc.timesys == 'TT' and lc.mask[:,0].tolist() == [True, True, False] and lc.unit == 'ct/s'
    assert cli('fit', 'lightcurve', path, '--draws', 16) == 0 and '1.2' in capsys.readouterr().out
    path.write_text(NAMED.replace(' [s]', ''))
    with pytest.raises(FileError, match='times without a unit; expected s, d or MJD.*--clock'): read_lightcurve(path)
    assert read_lightcurve(path, clock='d').time[1] == 20*86400
    path.write_text(NAMED)
    with pytest.raises(FileError, match="times in 's', and the clock MJD was asked for"): read_lightcurve(path, clock='MJD')
    path.write_text('time [s],counts\n1,2\n')
    with pytest.raises(FileError, match='one instant without TIMEDEL'): read_lightcurve(path)
    path.write_text('time [s],counts,exposure [s]\n1,2,16\n')
    assert read_lightcurve(path).rate[0,0] == 2/16
    path.write_text('MJD rate_0.3-2keV rate_2-10keV err_0.3-2keV err_2-10keV\n58000.5 1 2 .1 .2\n58001.5 1.1 2.1 .1 .2\n')
    lc = read_lightcurve(path)
    assert lc.labels == ('0.3-2 keV', '2-10 keV') and lc.mjd.tolist() == [58000.5, 58001.5] and lc.err_plus[1].tolist() == [.1, .2]
    path.write_text('Date;Counts;Exposure [s];Background;Ratio\n2021-01-03T12:00:00;3;20;8;.1\n2021-01-04;0;20;9;.1\n')
    lc = read_lightcurve(path)
    assert lc.counted and lc.mjd.tolist() == [59217.5, 59218.] and lc.rate[0,0] == pytest.approx((3 - .8)/20) and 'dates taken' in lc.said
    path.write_text('BJD,flux,flux_error,who\n2458000.5,1,.1,a\n2458001.5,2,.1,b\n')
    lc = read_lightcurve(path)
    assert lc.mjd.tolist() == [58000, 58001] and 'not read: who' in lc.said and 'no unit of rates' in lc.said
    for text, says in (('time [s],what\n1,2\n', 'columns TIME, WHAT; expected one of RATE'), ('time [s],rate\n1,x\n2,3\n', "'x' in column rate"),
                       ('a,rate\n1,2\n', 'a column of times'), ('rate_1 rate_2 err_2 err_1 mjd\n1 1 1 1 58000\n', 'same bands in the same order')):
        path.write_text(text)
        with pytest.raises(FileError, match=says): read_lightcurve(path)

# ------------------------------------------------------------------------------------------------ limits, clock
def test_upper_limits():
    "Net rate and limit of few photons over a background, each corrected; without a photon the background does not matter."
    C, B, f, E = 21, .138491, 2.396688, 20.058508
    assert (C - B)*f/E == pytest.approx(2.49263, abs=1e-5)
    assert upper_limit(0, [0., B, 4.], E, f)*E/f == pytest.approx([5.809]*3, abs=1e-3)
    limit = upper_limit(C, B, E, f)
    S = np.linspace(0, 100, 1_000_001)
    share = np.cumsum(np.exp(C*np.log(S + B) - S - 40))
    assert limit == pytest.approx(S[np.searchsorted(share, .997*share[-1])]*f/E, abs=1e-3) and limit > 2.49263
    for wrong in (dict(counts=-1), dict(counts=.5), dict(back=-1.), dict(exposure=0.), dict(p=1.)):
        with pytest.raises(ValueError): upper_limit(**dict(counts=3, back=1., exposure=9.) | wrong)

def test_limits_in_files(tmp_path):
    "A rate with an error of 0 is no measurement: a fit with it equals one without it."
    rate, error = (.31, .29, 5.), (.01, .02, 0.)
    with_limit = fit_lightcurve(read_lightcurve(plain(tmp_path/'a.lc', rate=rate, error=error)))
    without = fit_lightcurve(read_lightcurve(plain(tmp_path/'b.lc', t=(0., 16.), rate=rate[:2], error=error[:2])))
    assert with_limit.value[0,0] == without.value[0,0] and 'upper limits or unknown: masked' in with_limit.signals['read'][0]
    lc = read_lightcurve(plain(tmp_path/'c.lc', rate=rate, error=(0., 0., 0.)))
    with pytest.raises(ValueError, match='without errors'): fit_lightcurve(lc)

def test_a_limit_is_flagged(tmp_path):
    "Without photons the rate is an upper limit, in the flag, in words and in the file that comes back."
    from physlearn.results import Results
    none = read_lightcurve(written(tmp_path/'a.fits', dict(TIME=('D', 's', [0., 1e4]), COUNTS=('J', 'count', [0, 0])), dict(TIMEDEL=1000., MJDREF=51000.)))
    got = fit_lightcurve(none, draws=256)
    assert got.flag(0, 'rate') == 'upper limit' and any(s.startswith('upper limit: rate < 0.00') for s in got.verdicts())
    got.save(tmp_path/'r.json')
    assert Results.load(tmp_path/'r.json').flag(0, 'rate') == 'upper limit' and 'upper limit' in got.columns()['rate_flag'][0]
    both = Results.join([got, fit_lightcurve(read_lightcurve(plain(tmp_path/'b.lc')))])
    assert [both.flag(i, 'rate') for i in (0, 1)] == ['upper limit', 'determined']

def test_scales(tmp_path):
    "TIMESYS and TIMEREF are kept; UTC is 69.184 s behind TT since 2017; what is no scale is said."
    lc = read_lightcurve(plain(tmp_path/'a.lc', head=dict(MJDREF=58000., TIMEREF='LOCAL')))
    assert lc.timesys == 'TT' and lc.meta['TIMEREF'] == 'LOCAL'
    assert (lc.times.mjd[0] - lc.times.utc.mjd[0])*86400 == pytest.approx(69.184, abs=1e-4)
    asca = read_lightcurve(plain(tmp_path/'b.lc', head=dict(TIMESYS='1993.0')))
    assert asca.timesys == '1993.0' and "'1993.0' is no time scale" in asca.said
    with pytest.raises(ValueError, match='1993.0'): asca.times
    assert 'clock d: not used' in read_lightcurve(tmp_path/'a.lc', clock='d').said

# ------------------------------------------------------------------------------------------------ good times
GTI = fits.BinTableHDU.from_columns([fits.Column('START', 'D', 's', array=[8., 100.]), fits.Column('STOP', 'D', 's', array=[28., 109.])], name='GTI')

def test_good_times(tmp_path):
    "Exposure is the common time with the intervals, the rate photons over it; steps outside are masked and counted; another clock is not used."
    cols = dict(TIME=('D', 's', [8., 24., 40., 104.]), COUNTS=('J', 'count', [6, 9, 0, 4]))
    head = dict(MJDREF=51000., TIMEDEL=16., TIMEPIXR=.5)
    lc = read_lightcurve(written(tmp_path/'a.fits', cols, head, before=[GTI]))
    assert lc.exposure[:,0].tolist() == [8, 12, 0, 9] and lc.mask[:,0].tolist() == [True, True, False, True]
    assert lc.rate[[0, 1, 3],0] == pytest.approx([6/8, 9/12, 4/9]) and '1 steps outside of the good times' in lc.said
    assert lc.good.tolist() == [[8, 28], [100, 109]]
    rates = cols | dict(COUNTS=('D', '', [0.]*4), RATE=('D', 'ct/s', np.array([6, 9, 0, 4])/16), ERROR=('D', 'ct/s', np.sqrt([6, 9, 0, 4])/16))
    del rates['COUNTS']
    same = read_lightcurve(written(tmp_path/'b.fits', rates, head, before=[GTI]))
    assert same.counts[:,0].tolist() == [6, 9, 0, 4] and same.exposure.tolist() == lc.exposure.tolist() and same.rate[:2] == pytest.approx(lc.rate[:2])
    far = read_lightcurve(written(tmp_path/'c.fits', cols | dict(TIME=('D', 's', np.array([8., 24., 40., 104.]) + 5e4)), head, before=[GTI]))
    assert far.exposure[:,0].tolist() == [16]*4 and 'another clock' in far.said and far.good is None

def test_steps_in_steps(tmp_path):
    "100 s and then 1000 s equals 1000 s at once: photons, exposure, rate; what is masked is in neither."
    rng, n = np.random.default_rng(1), 60
    good = fits.BinTableHDU.from_columns([fits.Column('START', 'D', 's', array=[0., 3100.]), fits.Column('STOP', 'D', 's', array=[2350., 6000.])], name='GTI')
    C = rng.poisson(4, n)*(np.abs(np.arange(n) - 27) > 3)
    path = written(tmp_path/'a.fits', dict(TIME=('D', 's', 100.*np.arange(n) + 50), COUNTS=('J', 'count', C)), dict(MJDREF=51000., TIMEDEL=100.), before=[good])
    fine, coarse = read_lightcurve(path), read_lightcurve(path, step=1000.)
    twice = in_steps(in_steps(fine, 500.), 1000.)
    for k in ('time', 'counts', 'mask', 'dt'): assert getattr(twice, k).tolist() == getattr(coarse, k).tolist()
    for k in ('exposure', 'rate', 'err_minus'): assert getattr(twice, k) == pytest.approx(getattr(coarse, k), rel=1e-12)
    assert coarse.exposure[:,0] == pytest.approx([1000, 1000, 350, 900, 1000, 1000]) and coarse.counts.sum() == C.sum()
    assert coarse.rate[2,0] == pytest.approx(C[20:30].sum()/350)

def test_one_instant(tmp_path):
    "Two files that count from different days, one instant; the sign of the difference."
    a = read_lightcurve(plain(tmp_path/'a.lc', head=dict(MJDREF=51000.)))
    b = read_lightcurve(plain(tmp_path/'b.lc', t=np.array([64., 80., 96.]) - 86400, head=dict(MJDREF=51001.)))
    both = together([a, b])
    assert both.time.tolist() == [0, 16, 32, 64, 80, 96] and both.mjdref == 51000 and '2 files joined: a.lc, b.lc' in both.said
    assert LightCurves.of([a, b])[1].mjd == pytest.approx(b.mjd, abs=1e-10)

# ------------------------------------------------------------------------------------------------ gaps
def test_what_is_not_finite(tmp_path):
    "Outside of good times or without exposure it is masked and counted; where the instrument was looking, the rows are named."
    nan = float('nan')
    cols = lambda rate: dict(TIME=('D', 's', [8., 24., 40., 104.]), RATE=('D', 'ct/s', rate), ERROR=('D', 'ct/s', [.1]*4))
    head = dict(MJDREF=51000., TIMEDEL=16.)
    lc = read_lightcurve(written(tmp_path/'a.fits', cols([.31, .4, nan, .2]), head, before=[GTI]))
    assert lc.mask[:,0].tolist() == [True, True, False, True] and '1 steps outside' in lc.said
    with pytest.raises(FileError, match='row 2: rates are not finite though there was exposure'): read_lightcurve(written(tmp_path/'b.fits', cols([.31, nan, nan, .2]), head, before=[GTI]))
    share = dict(FRACEXP=('E', '', [.5, 0., .5, .5]))
    assert read_lightcurve(written(tmp_path/'c.fits', cols([.31, nan, .2, .2]) | share, head)).mask[:,0].tolist() == [True, False, True, True]
    with pytest.raises(FileError, match='rows 1, 3, 4'): read_lightcurve(written(tmp_path/'d.fits', cols([nan, nan, nan, float('inf')]) | share, head))
    blind = read_lightcurve(written(tmp_path/'e.fits', cols([.31, nan, .2, .2]), head))             # nothing says when it looked
    assert blind.mask[:,0].tolist() == [True, False, True, True] and '1 value is not finite' in blind.said

def test_masks(tmp_path):
    "A masked value is missing, whatever number stands under the mask; so in ECSV, VOTable and FITS."
    t = Table(dict(TIME=[0., 16., 32.], COUNTS=MaskedColumn([3, 999999, 999999], mask=[False, True, False]), EXPOSURE=[16., 16., 16.]))
    t['TIME'].unit, t.meta['MJDREF'] = 's', 51000.
    t.write(tmp_path/'a.ecsv')
    t.write(tmp_path/'b.vot', format='votable')
    for name in ('a.ecsv', 'b.vot'):
        lc = read_lightcurve(tmp_path/name)
        assert lc.mask[:,0].tolist() == [True, False, True] and lc.counts[[0, 2],0].tolist() == [3, 999999]
    assert read_lightcurve(tmp_path/'a.ecsv').mjdref == 51000
    cols = dict(TIME=('D', 's', [0., 16., 32.]), COUNTS=('J', 'count', [3, -1, 999999]), EXPOSURE=('D', 's', [16.]*3))
    assert read_lightcurve(written(tmp_path/'c.fits', cols, dict(MJDREF=51000., TIMEDEL=16.))).mask[:,0].tolist() == [True, False, True]

def test_negative_net_counts(tmp_path):
    "C = 1 over rB = 3 stays a count and a background, with a rate below 0; net counts below 0 are no photons, and are rates."
    lc = read_lightcurve(erosita(tmp_path/'a.fits', C=((1, 1, 1),)*4, B=((250, 250, 250),)*4))
    assert lc.counted and (lc.rate < 0).all() and lc.counts[0].tolist() == [1, 1, 1] and fit_lightcurve(lc.of_bands([0]), draws=64).flag(0, 'rate') == 'upper limit'
    cols = dict(TIME=('D', 's', [0., 16., 32.]), COUNTS=('D', 'count', [-2., 5., 3.]), ERROR=('D', 'count', [1.6, 3.2, 1.6]))
    lc = read_lightcurve(written(tmp_path/'b.fits', cols, dict(MJDREF=51000., TIMEDEL=16.)))
    assert not lc.counted and lc.rate[:,0] == pytest.approx([-2/16, 5/16, 3/16]) and lc.err_plus[:,0] == pytest.approx([.1, .2, .1]) and 'net counts' in lc.said
    table = tmp_path/'c.csv'
    table.write_text('time [s],counts,back\n0,1,3\n10,1,3\n')
    with pytest.raises(FileError, match='BACK_COUNTS without BACKRATIO'): read_lightcurve(table)

# ------------------------------------------------------------------------------------------------ instruments
def test_dead_time(tmp_path):
    "E = dt - N tau, or DEADC where rates are not corrected for it; counts that scatter less than Poisson's are flagged."
    assert live_time(1., 1e5, 2.6e-6) == pytest.approx(.74)
    bright = read_lightcurve(written(tmp_path/'a.fits', dict(TIME=('D', 's', [0., 1.]), COUNTS=('J', 'count', [100_000, 50_000])), dict(TIMEDEL=1., MJDREF=51000.)))
    shorter = with_dead_time(bright, 2.6e-6)
    assert shorter.exposure[:,0] == pytest.approx([.74, .87]) and shorter.rate[0,0] == pytest.approx(1e5/.74) and 'scatter less' in shorter.said
    with pytest.raises(ValueError, match='in seconds'): with_dead_time(bright, 2.6)
    whole = dict(rate=np.array([4, 0, 9])/16., error=np.array([2, 0, 3])/16.)
    lc = read_lightcurve(plain(tmp_path/'b.lc', head=dict(DEADC=.5, DEADAPP=False), **whole))
    assert lc.counts[:,0].tolist() == [4, 0, 9] and lc.exposure[:,0].tolist() == [8]*3 and lc.rate[:,0] == pytest.approx([.5, 0, 9/8]) and 'scatter less' in lc.said
    assert read_lightcurve(plain(tmp_path/'c.lc', head=dict(DEADC=.5, DEADAPP=True), **whole)).exposure[:,0].tolist() == [16]*3
    assert 'not said' in read_lightcurve(plain(tmp_path/'d.lc', head=dict(DEADC=.5), **whole)).said

def test_channels(tmp_path):
    "keV of channels of PI by telescope; PHA and unknown telescopes stay without energies, and that is said."
    assert channel_energy([30, 1000], 'NICER') == pytest.approx([.3, 10]) and channel_energy([500], 'XMM') == pytest.approx([.5])
    assert channel_energy([2, 101], 'Chandra') == pytest.approx([.0146, 1.46])
    with pytest.raises(ValueError, match='GINGA'): channel_energy(1, 'GINGA')
    head = dict(TELESCOP='NICER', PHALCUT=30, PHAHCUT=1000)
    assert read_lightcurve(plain(tmp_path/'a.lc', head=head | dict(CHANTYPE='PI'))).labels == ('0.3-10 keV',)
    for k, more in enumerate((dict(CHANTYPE='PHA'), dict(), dict(CHANTYPE='PI', TELESCOP='SAX'))):
        lc = read_lightcurve(plain(tmp_path/f'{k}.lc', head=head | more))
        assert lc.labels == ('channels 30-1000',) and 'channels 30 to 1000' in lc.said
    other = read_lightcurve(plain(tmp_path/'o.lc', head=head | dict(PHALCUT=1001, PHAHCUT=1200)))
    assert together([lc, other]).labels == ('channels 30-1000', 'channels 1001-1200')      # unknown energies are not the same energies
    with pytest.raises(ValueError, match='share their bands'): LightCurves.of([lc, other])
    with pytest.raises(ValueError, match='at the same time'): together([lc, lc])

def test_bands_on_different_grids(tmp_path, capsys):
    "Steps are joined by their interval, the last 0.01 s early; one that is in one band alone stays, masked in the other; overlaps are named and not fitted."
    e = lambda lo, hi: dict(E_MIN=lo, E_MAX=hi)
    a = plain(tmp_path/'a.lc', head=e(.5, 2.))
    b = plain(tmp_path/'b.lc', t=(0., 16., 31.99, 48.), rate=(4., 5., 6., 7.), error=(.5, .56, .61, .66), head=e(2., 7.))
    lc = together([read_lightcurve(a), read_lightcurve(b)])
    assert lc.labels == ('0.5-2 keV', '2-7 keV') and len(lc) == 4 and lc.mask.tolist() == [[True]*2]*3 + [[False, True]]
    assert lc.counts[2].tolist() == [48, 96] and '1 of 4 steps are not in every band' in lc.said
    assert cli('fit', 'lightcurve', a, b, '--together', '--steps', 'rows', '--draws', 16) == 0 and 'rate_2 is 2-7 keV' in capsys.readouterr().out
    c = plain(tmp_path/'c.lc', head=e(.5, 7.))
    assert 'overlap' in together([read_lightcurve(a), read_lightcurve(c)]).said
    assert cli('fit', 'lightcurve', a, c, '--together') == 2 and 'hold the same photons' in capsys.readouterr().err

def test_few_and_many(tmp_path):
    "One row is valid; a million take a time that grows with their number alone."
    import time
    lc = read_lightcurve(plain(tmp_path/'a.lc', (0.,), (1.,), (.25,)))
    assert len(lc) == 1 and fit_lightcurve(lc).ok.all()
    assert len(read_lightcurve(plain(tmp_path/'b.lc', np.arange(6)*16., np.ones(6), np.full(6, .25)))) == 6
    cost = []
    for n in (100_000, 1_000_000):
        path = plain(tmp_path/f'{n}.lc', np.arange(n)*16., np.full(n, 3/16), np.full(n, np.sqrt(3)/16))
        began = time.process_time()
        assert len(read_lightcurve(path)) == n
        cost.append(time.process_time() - began)
    assert cost[1] < 30*cost[0] + .5

EVENTS = dict(TIME=('D', 's', [1., 5., 9., 30., 101., 102., 109.]), PI=('J', 'chan', [50, 50, 300, 50, 300, 300, 50]))

def events(path, gti=True, head=(), **columns):
    cols = {k: v for k, v in (EVENTS | columns).items() if v}
    return written(path, cols, dict(MJDREF=51000., TELESCOP='NICER', TIMESYS='TT') | dict(head), name='EVENTS', before=[GTI] if gti else [])

def test_events(tmp_path, capsys):
    "Binned where good times, energies and the length of steps are known; else refused, with what is missing and the remedy."
    path = events(tmp_path/'a.evt')
    lc = read_lightcurve(path, step=10., bands=[[.3, 2.], [2., 10.]])
    # the good times are 8 to 28 and 100 to 109 s: photons at 9, 101, 102 and 109 s are inside
    assert lc.exposure[:,0].tolist() == [10, 10, 8, 1] and lc.counts.tolist() == [[0, 1], [0, 0], [0, 2], [1, 0]]
    assert lc.time.tolist() == [13, 23, 103, 113] and '3 photons outside of the good times' in lc.said and lc.timesys == 'TT'
    assert '--bin 100s' in str(pytest.raises(FileError, read_lightcurve, path).value)
    half = read_lightcurve(events(tmp_path/'b.evt', head=dict(DEADC=.5)), step=10.)
    assert half.exposure[0,0] == 5 and 'all photons in one band' in half.said and half.counts.sum() == 4
    keV = read_lightcurve(events(tmp_path/'c.evt', head=dict(TELESCOP='X'), PI=(), ENERGY=('D', 'eV', [500., 500, 3000, 500, 3000, 3000, 500])), step=10., bands=[[2., 10.]])
    assert keV.counts[:,0].tolist() == [1, 0, 2, 0]
    for kw, says in ((dict(gti=False), 'without good time intervals'), (dict(PI=(), PHA=('J', '', [1]*7)), 'PHA has no fixed energy'), (dict(head=dict(TELESCOP='X')), 'channels of X are not known')):
        with pytest.raises(FileError, match=says): read_lightcurve(events(tmp_path/'d.evt', **kw), step=10.)
    assert cli('fit', 'lightcurve', path, '--bin', '10s', '--energies', '0.3..2keV', '2..10keV', '--draws', 16) == 0 and 'rate_2' in capsys.readouterr().out
    for words, says in ((('--bin', '10'), "write it like '10s'"), (('--bin', '-1s'), 'positive'), (('--bin', '1m'), 'm'), ((), '--bin 100s'), (('--bin', '1ns'), 'choose longer ones')):
        assert cli('fit', 'lightcurve', path, *words) == 2 and says in capsys.readouterr().err

@pytest.mark.skipif('PHYSLEARN_DATA' not in os.environ, reason='needs real files')
def test_real_events():
    "M 82 by Chandra: as many photons as by hand in each step and band."
    path = Path(os.environ['PHYSLEARN_DATA'])/'lightcurves/events/chandra_m82_10027_events.fits'
    lc = read_lightcurve(path, step=50., bands=[[.5, 2.], [2., 7.]])
    with fits.open(path) as f:
        t, keV, (a, b) = f[1].data['time'], f[1].data['energy']/1000, (f[2].data['START'][0], f[2].data['STOP'][-1])
        live = f[1].header.get('DTCOR', f[0].header.get('DTCOR'))
    edges = a + 50*np.arange(len(lc) + 1)
    for k, (lo, hi) in enumerate(((.5, 2), (2, 7))):
        assert lc.counts[:,k].tolist() == np.histogram(t[(keV >= lo) & (keV < hi) & (t >= a) & (t <= b)], edges)[0].tolist()
    assert live < .95 and lc.exposure[:,0].sum() == pytest.approx((b - a)*live) and lc.exposure[0,0] == pytest.approx(50*live) and 'DTCOR' in lc.said

def test_refused(tmp_path, monkeypatch, capsys):
    "From the command line: one sentence, exit code 2, nothing written."
    monkeypatch.chdir(tmp_path)
    good = plain(Path('good.lc'), np.arange(4000)*16., np.full(4000, 3/16), np.full(4000, np.sqrt(3)/16)).read_bytes()
    Path('cut.fits').write_bytes(good[:20_000])
    Path('cut.fits.gz').write_bytes(gzip.compress(good)[:500])
    Path('bomb.gz').write_bytes(gzip.compress(bytes(2**28 + 9), 9))
    written(Path('columns.fits'), dict(TIME=('D', 's', [0.]), WHAT=('E', '', [1.])))
    written(Path('rows.fits'), dict(TIME=('D', 's', []), RATE=('E', 'ct/s', [])))
    erosita(Path('dark.fits'), frac=((0.,)*3,)*4)
    erosita(Path('bands.fits'), FRACEXP=('2E', '', [(.5, .5)]*4))
    Path('days.csv').write_text('time,rate [ct/s],error [ct/s]\n58000.5,1,.1\n58001.5,1,.1\n')
    Path('folder').mkdir()
    Path('loop').symlink_to('loop')
    Path('empty.fits').write_bytes(b'')
    Path('binary.dat').write_bytes(np.random.default_rng(0).bytes(5000))
    Path('page.xml').write_text('<?xml version="1.0"?><html/>')
    Path('broken.vot').write_text('<?xml version="1.0"?><VOTABLE><RESOURCE>')
    Path('broken.ecsv').write_text('# %ECSV 1.0\n# ---\n# datatype: 3\n')
    Path('cells.csv').write_text('time [s],rate,error\n1,2,3\n1,2\n')
    Path('image.fits').write_bytes(b'')
    fits.PrimaryHDU(np.zeros((4, 4))).writeto('image.fits', overwrite=True)
    before = set(Path().rglob('*'))
    says = dict(cut='ends before', bomb='unpacks to more', columns='expected a table with TIME', rows='has no rows', dark='no step has any exposure', bands='the same number',
                days='times without a unit', folder='is a folder', loop='cannot be opened', empty='is empty', binary='neither FITS', page='', broken='', cells='2 cells', image='no whole table')
    for path in sorted(before - {Path('good.lc')}):
        code, err = cli('fit', 'lightcurve', path, '--draws', 16, '--out', 'r.json'), capsys.readouterr().err
        assert code == 2 and err.count('\n') == 1 and path.name in err, (path, code, err)
        assert path.suffix == '.gz' or says[path.stem.split('.')[0]] in err, (path, err)
    assert set(Path().rglob('*')) == before

# ------------------------------------------------------------------------------------------------ output
def same(a, b):
    "To the bit, NaN included."
    for k in STEPS: assert getattr(a, k).dtype == getattr(b, k).dtype and np.array_equal(getattr(a, k), getattr(b, k), equal_nan=k != 'mask'), k
    assert np.array_equal(a.bands, b.bands, equal_nan=True) and (a.good is None) == (b.good is None) and (a.good is None or np.array_equal(a.good, b.good))
    for k in ('name', 'labels', 'mjdref', 'timesys', 'unit', 'meta', 'notes'): assert getattr(a, k) == getattr(b, k), k

ENDINGS = 'fits', 'lc', 'ecsv', 'vot'

@pytest.mark.parametrize('ending', ENDINGS)
def test_comes_back(tmp_path, ending):
    "Scale, MJDREF, good times, all columns, masks, words: written and read again they are equal to the bit."
    rng, n = np.random.default_rng(5), 7
    many = lambda: np.where(rng.random((n, 2)) < .2, np.nan, rng.standard_normal((n, 2))*10.**rng.integers(-9, 9, (n, 2)))
    lc = LightCurve('Ä "5%" +3', ('soft', '2-7 keV'), np.array([[np.nan, np.nan], [2., 7.1]]), np.sort(rng.uniform(1e8, 1e9, n)), rng.uniform(0, 9, n), *(many() for _ in range(7)),
                    rng.random((n, 2)) < .5, 49353.000696574074, 'TT', 'ph/s/cm2', dict(TELESCOP='XTE', RA_OBJ=83.63308333333333, OBJECT='Crab'),
                    ['one: "two"', 'drei µ'], good=np.array([[1e8 + 1/3, 2e8], [3e8, 1e9]]))
    path = lc.write(tmp_path/f'a.{ending}')
    back = read_lightcurve(path)
    same(lc, back)
    same(lc, read_lightcurve(back.write(tmp_path/f'b.{ending}')))
    one = replace(lc.of_bands([1])[:1], good=None, notes=[], meta={})
    same(one, read_lightcurve(one.write(tmp_path/f'c.{ending}')))
    with pytest.raises(FileError, match='already there'): lc.write(path)
    with pytest.raises(ValueError, match='ends in'): lc.write(tmp_path/'a.doc')
    if ending in ('fits', 'lc'):
        with fits.open(path) as f: assert f[1].header['MJDREF'] == lc.mjdref and f[1].header['TIMESYS'] == 'TT' and f['GTI'].data['STOP'][1] == 1e9
    else:
        t = Table.read(path, format='ascii.ecsv' if ending == 'ecsv' else 'votable')
        assert str(t['RATE'].unit) == 'ph / (s cm2)' and len(t) == n

@pytest.mark.skipif('PHYSLEARN_DATA' not in os.environ, reason='needs real files')
@pytest.mark.parametrize('name', ['erosita_erass1/em01_080156_020_LightCurve_00002_c010.fits', 'asca/ad43042000s000212h_b.lc', 'chandra_acis/acis00675_sub_0.3-10keV_BC.lc',
                                  'ginga_lac/881022111000l1u020601_bc.lc', 'xmm_pn/pn_GX349+2_0506110101.lc'])
def test_real_ones_come_back(tmp_path, name):
    lc = read_lightcurve(Path(os.environ['PHYSLEARN_DATA'])/'lightcurves'/name)
    for ending in ENDINGS: same(lc, read_lightcurve(lc.write(tmp_path/f'a.{ending}')))

def test_long_curves_are_compared_in_parts(tmp_path, monkeypatch):
    "Noise that is drawn in parts, and a Fourier transform of a quick length, give the p of the whole; 50,000 rows take less than a gigabyte so."
    from physlearn import misfit as module
    rng = np.random.default_rng(2)
    lc = read_lightcurve(plain(tmp_path/'a.lc', np.arange(1500)*16., rng.normal(1.03, .1, 1500), np.full(1500, .1)))
    whole = fit_lightcurve(lc)
    monkeypatch.setattr(module, 'MOST', 2**16)
    assert fit_lightcurve(lc).p[0] == pytest.approx(float(whole.p[0]), rel=1e-6)
    r = module.normals(3, 5000, 'r').double()
    quick, slow = module.looks(r), None
    monkeypatch.setattr(module, '_length', lambda M: 2*M)
    slow = module.looks(r)
    for a, b in zip(quick, slow): assert np.allclose(a, b, rtol=1e-9)
