"The simulator of light curves against what real products, theory and its own files say."
import os
from pathlib import Path
import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time
from scipy import special, stats
from physlearn.lightcurve.xray_simulate import (ANOMALIES, BANDS, CLASSES, FIELD, MJDREF, ROW_TYPE, SURVEYS, exposures,
                                                simulate, srctool_errors)
from physlearn.lightcurve.xray_files import read_lightcurve

def by_visit(s, i, *values):
    "Sums over the rows of each visit."
    rows = s.rows(i)
    begin = np.unique(s.visit[rows], return_index=True)[1]
    return [np.add.reduceat(v[rows], begin) for v in values]

def deviance(c, m): return 2*(special.xlogy(c, np.maximum(c, 1e-300)/np.maximum(m, 1e-300)) - c + m).sum(-1)

def bootstrap_p(c, mean, rng, copies=99):
    "Randomised p of a constant among copies that have as many counts in all: the rate then needs no second fit."
    other = rng.multinomial(int(c.sum()), mean/mean.sum(), copies)
    mean = mean*c.sum()/mean.sum()
    found, many = deviance(c, mean), deviance(other, mean)
    return ((many > found + 1e-9).sum() + rng.uniform()*(1 + (np.abs(many - found) < 1e-9).sum()))/(copies + 1)

@pytest.mark.parametrize('rate', [(.02, .2), (.2, 5.)])
def test_randomised_p_of_constants_is_uniform(rate):
    s, rng = simulate(500, seed=11, mix='constant', rate=rate), np.random.default_rng(0)
    p = []
    for i in range(len(s)):
        c, e, behind = by_visit(s, i, s.counts[:,1], s.exposure[:,1], s.behind[:,1])
        p.append(bootstrap_p(c, np.maximum(c.sum() - behind.sum(), .02)/e.sum()*e + behind, rng))
    assert stats.kstest(p, 'uniform').pvalue > .01

def excess(s, i):
    "Normalised excess variance of the visits with more than 20 counts; NaN where there are few."
    c, b, e = by_visit(s, i, s.counts[:,1], s.ratio*s.back[:,1], s.exposure[:,1])
    error, = by_visit(s, i, s.counts[:,1] + s.ratio**2*s.back[:,1])
    use = e > 12
    if use.sum() < 4: return np.nan
    r, v = ((c - b)/e)[use], (error/e**2)[use]
    return (r.var(ddof=1) - v.mean())/r.mean()**2

def test_excess_variance_of_constants_is_zero():
    s = simulate(600, seed=12, mix='constant', rate=(4., 10.))
    nev = np.array([excess(s, i) for i in range(len(s))])
    nev = nev[np.isfinite(nev)]
    assert len(nev) > 300 and abs(nev.mean()) < 3*nev.std()/np.sqrt(len(nev))
    loud = simulate(200, seed=12, mix='eruptions', rate=(4., 10.))
    assert np.nanmedian([excess(loud, i) for i in range(200)]) > .1

def test_counts_have_their_means():
    s = simulate(400, seed=13)
    mean = s.rate*s.exposure + s.behind
    assert abs((s.counts - mean).sum()) < 4*np.sqrt(mean.sum())
    z = ((s.counts - mean)**2/mean)[mean > 5]
    assert abs(z.mean() - 1) < 5*np.sqrt(2.2/len(z))
    beta = s.behind/s.ratio[:,None]
    assert abs((s.back - beta).sum()) < 4*np.sqrt(beta.sum())

def test_photons_of_a_tenth_of_a_count_a_second():
    s = simulate(300, seed=14, mix='constant', rate=(.1, .1))
    seen = [by_visit(s, i, (s.rate*s.exposure).sum(1))[0] for i in range(300)]
    assert 1 < np.median(np.concatenate(seen)) < 2 and np.concatenate(seen).max() < 2.7

def test_exposure_of_a_visit():
    s = simulate(300, seed=15)
    each = np.concatenate([by_visit(s, i, s.exposure[:,1])[0] for i in range(300)])
    assert each.max() <= 27 and 12 < np.median(each) < 20
    centre = dict(source=np.zeros(1, int), k=np.zeros(1, int), time=np.zeros(1), offset=np.zeros(1))
    scans = [exposures(centre, np.zeros(1, int), seed, SURVEYS['erass1']) for seed in range(200)]
    even = min(scans, key=lambda e: abs(e['time'][0,0] + 20))
    assert np.abs(even['fracexp'][0,:5,1] - [.2, .65, .94, .65, .2]).max() < .03

def test_rms_that_was_asked_for_is_seen_on_average():
    s = simulate(800, seed=16, mix='red noise', rate=(1., 1.))
    share = s.truth['seen_rms']/s.truth['rms']
    assert .7 < np.median(share) < 1.05
    assert (simulate(50, seed=16, mix='constant').truth['seen_rms'] < 1e-12).all()

def test_red_noise_is_softer_when_brighter():
    s = simulate(40, seed=17, mix='red noise', rate=(1., 1.))
    for i in range(40):
        r = s.rate[s.rows(i)][s.fracexp[s.rows(i),1] > .05]
        slope = np.polyfit(np.log(r.sum(1)), np.log(r[:,1:].sum(1)/r[:,0]), 1)[0]
        assert abs(slope + .2) < .05

def test_mean_rate_is_the_one_asked_for():
    for name in CLASSES:
        s = simulate(30, seed=18, mix=name, rate=(.5, .5))
        for i in range(30):
            rate, = by_visit(s, i, (s.rate*s.exposure).sum(1))
            split = s.rate[s.rows(i)].sum(0)
            if name in ('constant', 'outburst', 'periodic'):
                e = (s.exposure[s.rows(i)]*split/split.sum()).sum()
                assert abs(rate.sum()/e - .5) < 1e-6, name
    assert set(simulate(2000, seed=1).truth['class']) == set(CLASSES)

@pytest.mark.parametrize('survey', ['erass1', 'efeds', 'pole'])
def test_a_source_depends_on_its_number_alone(survey):
    s = simulate(12, seed=19, survey=survey, anomalies=.5)
    other = simulate([40, 7, 3], seed=19, survey=survey, anomalies=.5)
    for at, i in ((1, 7), (2, 3)):
        for k in ('time', 'counts', 'back', 'ratio', 'fracexp', 'offaxis', 'rate', 'behind', 'visit'):
            assert (getattr(s, k)[s.rows(i)] == getattr(other, k)[other.rows(at)]).all(), k
        for k, v in s.truth.items(): assert v[i] == other.truth[k][at] or v[i] != v[i], k

def test_visits_follow_the_latitude():
    s = simulate(3000, seed=20)
    visits = np.array([len(np.unique(s.visit[s.rows(i)])) for i in range(len(s))])
    assert 6 <= np.median(visits) <= 7 and visits.max() > 60
    polar = simulate(6, seed=20, survey='pole')
    number = [len(np.unique(polar.visit[polar.rows(i)])) for i in range(6)]
    assert min(number) > 80 and max(number) <= 1000
    first = [np.unique(polar.visit[polar.rows(i)], return_index=True)[1] for i in range(6)]
    steps = np.concatenate([np.diff(polar.time[polar.rows(i)][at]) for i, at in enumerate(first)])
    assert abs(np.median(steps) - 14400) < 10
    two = simulate(20, seed=20, mix='constant', seasons=2)
    assert all(np.ptp(two.time[two.rows(i)]) > 182*86400 for i in range(20))
    assert all((np.diff(two.time[two.rows(i)]) > 0).all() for i in range(20))

@pytest.fixture(scope='module')
def anomalous(): return [simulate(500, seed=21, rate=(1., 1.), anomalies=v) for v in (0., 1.)]

@pytest.mark.parametrize('name', ANOMALIES)
def test_each_anomaly_changes_what_it_says(name, anomalous):
    plain, odd = anomalous
    own = np.nonzero(odd.truth['anomaly'] == name)[0]
    rows = np.concatenate([np.arange(odd.rows(i).start, odd.rows(i).stop) for i in own])
    c, d, b = plain.counts[rows], odd.counts[rows], odd.back[rows].sum()/plain.back[rows].sum()
    if name == 'background flare': assert b > 1.3 and odd.behind[rows].sum() > 1.3*plain.behind[rows].sum()
    if name == 'wrong ratio': assert np.allclose(odd.ratio[rows], 10*plain.ratio[rows]) and (c == d).all()
    if name == 'camera off': assert .85 < d.sum()/c.sum() < .99 and (odd.rate[rows] == plain.rate[rows]).all()
    if name == 'pile-up': assert .7 < d.sum()/c.sum() < .98
    if name == 'band swap': assert (d == c[:,[1, 0, 2]]).all()
    if name == 'time reversal': assert .9 < d.sum()/c.sum() < 1.1 and (odd.rate[rows] != plain.rate[rows]).any()
    assert not (odd.truth['anomaly'] == '').any() and (plain.truth['anomaly'] == '').all()

HEADER = ('EXTNAME TELESCOP INSTRUME NINST INSTRUM1 INSTRUM7 SKYFIELD OBJECT RA_OBJ DEC_OBJ DATE-OBS TSTART TSTOP TIMESYS BACKAPP DEADAPP '
          'VIGNAPP E_MIN1 E_MAX1 E_MIN3 E_MAX3 CTS_SC1 CTS_BK3 SRC_REG BACK_REG ERCONFIG MJDREF TIMEDEL TIMEZERO')
UNITS = 's s count ct/s ct/s ct/s ct/s count ratio ratio ratio ratio ratio deg deg**2 deg**2 ratio'

@pytest.fixture(scope='module')
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp('sky')
    s = simulate(12, seed=22, rate=(.5, 10.))
    return s, s.write(folder)

def test_written_columns_obey_the_relations_of_real_ones(written):
    s, paths = written
    assert len(paths) == 12
    errors = 0
    for path in paths:
        with fits.open(path) as hdus:
            hdus.verify('exception')
            assert hdus[1].name == 'RATE' and hdus[1].data.dtype == ROW_TYPE
            d, h = hdus[1].data, hdus[1].header
            f = {k: np.asarray(d[k], float) for k in d.names}
        assert all(k in h for k in HEADER.split())
        assert [h[f'TUNIT{k}'] for k in range(1, 18)] == UNITS.split() and list(h).index('TUNIT1') == list(h).index('TFORM1') + 1
        assert [h[f'E_MIN{b}'] for b in (1, 2, 3)] == BANDS[:,0].tolist()
        assert [h[f'CTS_SC{b}'] for b in (1, 2, 3)] == f['COUNTS'].sum(0).tolist()
        assert [h[f'CTS_BK{b}'] for b in (1, 2, 3)] == f['BACK_COUNTS'].sum(0).tolist()
        e = f['FRACEXP']*f['TIMEDEL'][:,None]
        r = f['BACKRATIO'][:,None]
        net = (f['COUNTS'] - f['BACK_COUNTS']*r)/e
        assert np.allclose(f['RATE'], net, rtol=2e-7, atol=0)
        error = np.sqrt(f['COUNTS'] + f['BACK_COUNTS']*r**2)/e
        known = f['COUNTS'] + f['BACK_COUNTS'] >= 25
        errors += known.sum()
        assert (np.isfinite(f['RATE_ERR']) == known).all() and np.allclose(f['RATE_ERR'][known], error[known], rtol=2e-7)
        two = f['COUNTS'] >= 2
        for k, sign in (('RATE_ESTPOSERR', 1), ('RATE_ESTNEGERR', -1)):
            assert (np.isfinite(f[k]) == two).all() and (f[k][two]*sign > 0).all()
        assert np.allclose(f['FRACEXP'], f['FRACTIME'][:,None]*f['FRACAREA'], atol=.0032)
        assert np.allclose(f['BACKRATIO'], f['BACKSCAL_SRC']/f['BACKSCAL_BACK'], rtol=1.4e-9)
        assert (f['BACK_COUNTS'] == f['BACK_COUNTS'].round()).all()
        assert (f['OFFAXIS'] <= FIELD).all() and (f['FRACEXP'] <= 1).all()
        assert abs(Time(h['DATE-OBS'], scale='utc').tt.mjd - (MJDREF + h['TSTART']/86400))*86400 < 1
    assert errors > 100

def test_errors_of_the_real_file():
    data = Path(os.environ.get('PHYSLEARN_DATA', 'nowhere'))/'lightcurves/erosita_erass1'
    if not data.is_dir(): pytest.skip('no PHYSLEARN_DATA')
    with fits.open(next(data.glob('*.fits'))) as hdus: d = hdus[1].data
    assert d.dtype == ROW_TYPE and [c.unit for c in d.columns][:3] == ['s', 's', 'count']
    f = {k: np.asarray(d[k], float) for k in d.names}
    use = f['FRACEXP'].min(1) > 1e-3
    with np.errstate(divide='ignore', invalid='ignore'):
        told = srctool_errors(f['COUNTS'], f['BACK_COUNTS'], f['BACKRATIO'][:,None], f['FRACEXP']*f['TIMEDEL'][:,None])
    for k, v, bar in zip(('RATE', 'RATE_ERR', 'RATE_ESTPOSERR', 'RATE_ESTNEGERR'), told, (2e-7, 2e-7, 2e-4, 1e-3)):
        both = np.isfinite(v) & np.isfinite(f[k]) & use[:,None]
        assert (np.isfinite(v) == np.isfinite(f[k]))[use].mean() > .999 and np.allclose(v[both], f[k][both], rtol=bar), k

@pytest.mark.parametrize('kind', ['SRC', 'SRC+BKG'])
def test_erodays_of_another_tool(tmp_path, kind):
    s = simulate(5, seed=23, rate=(1., 10.))
    for i, path in enumerate(s.write(tmp_path, rebinned=kind)):
        with fits.open(path) as hdus:
            hdus.verify('exception')
            d = hdus[1].data
            assert {'RATE_ERRM', 'RATE_ERRP'} < set(d.names) and 'FRACTIME' not in d.names and d['COUNTS'].sum() == s.counts[s.rows(i)].sum()
        lc = read_lightcurve(path)
        assert 'RATE_ERRM' in lc.said and np.allclose(lc.rate, d['RATE'])
        c, e, net = by_visit(s, i, s.counts[:,1], s.exposure[:,1], s.counts[:,1] - s.ratio*s.back[:,1])
        use = (c > 20) & (e > 5)
        assert np.abs(d['RATE'][use,1]/((c if kind == 'SRC+BKG' else net)/e)[use] - 1).max() < .06   # the grid's step is 7 %
        assert (d['RATE_ERRM'] <= d['RATE']).all() and (d['RATE_ERRP'] > 0).all()
    with pytest.raises(ValueError, match='unknown product'): s.write(tmp_path, rebinned='BKG')

def test_truth_comes_back_from_a_file(tmp_path):
    "A written set keeps the true rates of its steps and the truth of its sources."
    made = simulate(5, seed=2).light_curves()
    again = type(made).load(made.save(tmp_path/'s.h5'))
    assert np.array_equal(again.arrays['true_rate'], made.arrays['true_rate']) and again.arrays['mask'].dtype == bool
    assert set(again.more) == set(made.more) and again.some([1, 3]).arrays['true_rate'].shape[0] == made.lengths[[1, 3]].sum()
