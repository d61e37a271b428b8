"A folder of light curves becomes a catalogue: rows, probabilities, flags, pages, and what is refused."
import shutil
from dataclasses import replace
from pathlib import Path
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from physlearn.cli import main
from physlearn.files import read_hdf5
from physlearn.lightcurve.anomaly import ASPECTS, Familiar, photons_of, ranked
from physlearn.lightcurve.train_lightcurve import lightcurve_recipe
from physlearn.lightcurve.xray_catalogue import read_catalogue
from physlearn.lightcurve.xray_scores import (catalogue_of, one_each, pooled_rates, q_values, scattered, scored, shared_scans,
                                              source_page, strangest_visit, summary_of)
from physlearn.lightcurve.xray_simulate import simulate

def cli(*words): return main([str(w) for w in words])

@pytest.fixture(scope='module')
def home(tmp_path_factory):
    "A survey of 40 sources, one of them in two tiles, one file cut off; a run trained on 80 others."
    home = tmp_path_factory.mktemp('scores')
    (home/'survey').mkdir()
    files = simulate(40, 9).write(home/'survey')
    shutil.copy(files[3], home/'survey'/'em01_999999_020_LightCurve_00099_c010.fits')
    (home/'survey'/'torn.fits').write_bytes(files[0].read_bytes()[:4000])
    for k in ('notes.txt', 'rates.csv'): (home/'survey'/k).write_text('time [s],rate [ct/s],error [ct/s]\n')
    lightcurve_recipe('quick', epochs=1, sources=80, test_size=.3, hidden=8, latent_size=2, gpus=0, batch_size=64).fit(home/'run', quiet=True, evaluate=False)
    return home

def by_chance(curves):
    "Scores without any meaning; the brightest source lies outside of what they know."
    p = (np.arange(len(curves)) + .5)/len(curves)
    return dict(score=-p, false_alarm=p, false_alarm_high=1.5*p, outside=photons_of(curves) == photons_of(curves).max())

def test_a_folder_becomes_a_table(home, capsys):
    "Every file has its row or its place in one; the torn file stands there with the reason; pages and summary."
    assert cli('score', 'lightcurve', home/'run', home/'survey', '--out', home/'a.csv', '--pages', 2, '--cache', home/'c.h5') == 0
    out = capsys.readouterr().out
    assert '40 sources; 1 file not usable' in out and '1 further file of the same sources' in out and 'anomalies alone' in out
    assert 'left out: 2 files with other endings: .csv, .txt' in out and 'TIMEPIXR' in out
    t = pd.read_csv(home/'a.csv')
    assert len(t) == 41 and t['file'].is_unique and 'torn.fits' in t['file'].iloc[-1] and 'not used' in t['flag'].iloc[-1]
    assert t['also'].notna().sum() == 1 and t['also'].dropna().iloc[0].startswith('em01_')
    assert {'rate_1 [ct/s]', 'rate_2_sd [ct/s]', 'photons', 'visits', 'anomaly', 'anomaly_aspect'} <= set(t) and 'false_alarm' not in t
    assert t['anomaly'][:40].between(0, 1).all() and set(t['anomaly_aspect'].dropna()) <= set(ASPECTS)
    pages = sorted((home/'a').glob('*.html'))
    assert len(pages) == 2 and all('data:image/png' in p.read_text() and 'src="http' not in p.read_text() for p in pages)
    assert cli('score', 'lightcurve', home/'run', home/'survey', '--out', home/'a.parquet', '--cache', home/'c.h5') == 0
    again = pd.read_parquet(home/'a.parquet')
    assert list(again) == list(t) and np.allclose(again['anomaly'][:40], t['anomaly'][:40])
    capsys.readouterr()

@pytest.mark.parametrize('words, says', [
    ('RUN EMPTY', 'holds no light curves'), ('RUN nowhere', 'is no folder'), ('nowhere SURVEY', 'nowhere'), ('RUN SURVEY --alarm 2', 'between 0 and 1'),
    ('RUN SURVEY --pages 3', 'give --out'), ('RUN SURVEY --out x.txt', '.csv'), ('RUN SURVEY --anomaly RUN', 'leave out --anomaly'),
    ('GUIDE SURVEY', 'give a run of the recipe variability'), ('RUN SURVEY --injected 5', '100 or more'), ('RUN SURVEY --cache c.csv', '.h5'),
    ('RUN BANDS', 'bands')])
def test_refused_in_one_sentence(home, monkeypatch, capsys, words, says):
    monkeypatch.chdir(home)
    (home/'empty').mkdir(exist_ok=True)
    if 'GUIDE' in words and not (home/'guide').exists():
        lightcurve_recipe('guide', epochs=1, sources=80, test_size=.3, hidden=8, latent_size=2, layers=1, dropout=0., gpus=0, batch_size=64).fit(home/'guide', quiet=True, evaluate=False)
    if 'BANDS' in words: one_band_files(home/'bands')
    capsys.readouterr()
    names = dict(RUN='run', EMPTY='empty', SURVEY='survey', GUIDE='guide', BANDS='bands')
    assert cli('score', 'lightcurve', *(names.get(w, w) for w in words.split())) == 2
    err = capsys.readouterr().err.splitlines()
    assert says in err[-1] and sum(line.startswith('physlearn:') for line in err) == 1

def one_band_files(folder):
    "Light curves of one band, photons in steps of 100 s."
    from astropy.io import fits
    folder.mkdir(exist_ok=True)
    for i in range(3):
        cols = [fits.Column('TIME', 'D', unit='s', array=14400.*np.arange(20)), fits.Column('TIMEDEL', 'D', unit='s', array=np.full(20, 100.)),
                fits.Column('COUNTS', 'J', array=np.random.default_rng(i).poisson(5., 20)), fits.Column('FRACEXP', 'E', array=np.ones(20))]
        hdu = fits.BinTableHDU.from_columns(cols, name='RATE')
        for k, v in dict(MJDREF=51543.875, E_MIN1=.2, E_MAX1=5., TIMEUNIT='s').items(): hdu.header[k] = v
        hdu.writeto(folder/f'{i}.fits', overwrite=True)

def test_one_row_each(home):
    "A copy is left out, and its file named; a later season is joined."
    found = read_catalogue(home/'survey')
    curves = one_each(found)
    assert len(found) == 41 and len(curves) == 40 and (curves.more['also'] != '').sum() == 1
    i = int(np.flatnonzero(curves.more['also'] != '')[0])
    part = found.curves.some(range(3))
    later = replace(part, arrays=part.arrays | dict(time=part.arrays['time'] + 1e7))
    both = replace(found, curves=replace(part, offsets=np.r_[part.offsets, part.offsets[1:] + part.offsets[-1]], names=np.r_[part.names, part.names],
                                         arrays={k: np.r_[part.arrays[k], later.arrays[k]] for k in part.arrays},
                                         more={k: np.r_[part.more[k], part.more[k]] for k in part.more} | dict(source=np.array([0, 1, 2]*2), copy=np.zeros(6, bool))))
    joined = one_each(both)
    assert joined.lengths.tolist() == (2*part.lengths).tolist() and (np.diff(joined[0].time) > 0).all()
    assert photons_of(joined) == pytest.approx(2*photons_of(part)) and curves.names[i] in found.curves.names

def test_rates_by_hand(home):
    "Net rate of a band: photons less ratio times background, over exposure; the error of the sum."
    curves = one_each(read_catalogue(home/'survey'))
    i = int(np.argmax(photons_of(curves)))
    lc, (rate, low, high, net) = curves[i], pooled_rates(curves)
    C, B, e = lc.counts.sum(0), (lc.ratio*lc.back).sum(0), lc.exposure.sum(0)
    assert rate[i] == pytest.approx((C - B)/e) and net[i] == pytest.approx(C - B)
    assert (high[i] + low[i])[1]/2 == pytest.approx(np.sqrt(C[1])/e[1], rel=.03)

def test_columns_of_false_alarms(home):
    "Expected false alarms, q-values as scipy has them, no probability outside, no q-value there, and the sentence."
    curves = one_each(read_catalogue(home/'survey'))
    columns, doubts = scored(curves, by_chance, alarm=.1, injected=0)
    outside = np.isnan(columns['false_alarm'])
    assert outside.sum() == 1 and 'outside what was simulated' in doubts[int(np.flatnonzero(outside)[0])] and np.isnan(columns['q'][outside]).all()
    p = columns['false_alarm'][~outside]
    assert columns['expected_false_alarms'][~outside] == pytest.approx(39*p) and columns['q'][~outside] == pytest.approx(stats.false_discovery_control(p))
    assert 'alarms at 10 % false alarms, 3.9 expected by chance among 39' in '\n'.join(summary_of(columns, .1))
    got = catalogue_of(curves, columns, doubts)
    assert len(got) == 40 and got.value.shape == (40, 3) and got.level == .683

def test_q_values():
    p = np.array([.04, np.nan, .001, .2, .001, 1.])
    assert q_values(p)[[0, 2, 3, 4, 5]] == pytest.approx(stats.false_discovery_control(p[np.isfinite(p)])) and np.isnan(q_values(p)[1])
    assert np.isnan(q_values(np.full(3, np.nan))).all()

def test_a_bad_scan_is_told(home):
    "Alarms whose strangest visit is in one eroday are flagged, others are not, and chance alone is not."
    curves = simulate(300, 4).light_curves()
    alarm, strangest = np.arange(300) < 40, strangest_visit(curves)
    assert shared_scans(curves, alarm).max() == 0
    time = curves.arrays['time'].copy()
    for i in range(8): time[curves.offsets[i]:curves.offsets[i + 1]] += 6.2e8 - time[strangest[i]]
    moved = replace(curves, arrays=curves.arrays | dict(time=time))
    assert np.flatnonzero(shared_scans(moved, alarm)).tolist() == list(range(8)) and shared_scans(moved, alarm).max() == 7
    assert shared_scans(moved, np.arange(300) == 3).max() == 0

def test_scatter_has_its_rms():
    "Rates that are scattered have the fractional rms that was asked for, and the mean of the source."
    curves = simulate(400, 6, rate=(5., 10.), mix='constant').light_curves()
    some = scattered(curves, np.arange(400), np.full(400, .5))
    a, b = some.arrays, curves.arrays
    net = lambda v: (v['counts'] - v['ratio']*v['back']).sum(1)
    expected = (b['exposure']*np.repeat(pooled_rates(curves)[0], curves.lengths, 0)).sum(1)
    bright = expected > 30
    ratio, noise = net(a)[bright]/expected[bright], (a['counts'].sum(1)[bright]/expected[bright]**2).mean()
    assert ratio.mean() == pytest.approx(1, abs=.03) and np.sqrt(ratio.var() - noise) == pytest.approx(.5, abs=.05)

def test_ranks_are_uniform():
    g = torch.Generator().manual_seed(0)
    score, others = torch.randn(2000, generator=g).numpy(), torch.randn(2000, 100, generator=g).numpy()
    assert stats.kstest(ranked(score, others), 'uniform').pvalue > .001
    far = ranked(np.array([9., 30.]), others[:2])
    assert far[0] > far[1] > 0 and far[0] < 1e-2

def test_who_is_alone_in_a_small_survey(home):
    "Too few held-out sources are refused in a sentence; a page needs no network."
    from physlearn.runs import Run
    run = Run.load(home/'run')
    train, valid, test = run.recipe.sides()
    with pytest.raises(ValueError, match='5 or more.*--val-size'): Familiar.of(run.model, train, test.some(range(4)))
    curves = one_each(read_catalogue(home/'survey'))
    columns, doubts = scored(curves, by_chance, injected=0)
    assert 'constant rate' in source_page(curves, 0, columns, doubts[0])

def test_written_tables_hold_the_same(home, tmp_path):
    curves = one_each(read_catalogue(home/'survey'))
    columns, doubts = scored(curves, by_chance, injected=0)
    got = catalogue_of(curves, columns, doubts, {'x/torn.fits': 'x/torn.fits: ends early'})
    for end in ('csv', 'parquet', 'h5'): got.save(tmp_path/f't.{end}')
    a, b, h = pd.read_csv(tmp_path/'t.csv'), pd.read_parquet(tmp_path/'t.parquet'), read_hdf5(tmp_path/'t.h5')
    assert list(a) == list(b) and np.allclose(a['q'], b['q'], equal_nan=True) and np.allclose(h['rate_2'], a['rate_2 [ct/s]'], equal_nan=True)
    assert len(a) == 41 and a['flag'].iloc[-1].endswith('ends early') and Path(a['file'].iloc[-1]).name == 'torn.fits'

def test_variability_of_a_run(home, capsys):
    "A run of the recipe variability, and a second one for anomalies: all columns, and what both say."
    lightcurve_recipe('variability', sources=300, epochs=1, batch_size=100, hidden=8, constants=3000, gpus=0, threads=1).fit(home/'varies', quiet=True, evaluate=False)
    assert cli('score', 'lightcurve', home/'varies', home/'survey', '--anomaly', home/'run', '--out', home/'v.csv', '--injected', 200, '--alarm', .05, '--pages', 1) == 0
    out, t = capsys.readouterr().out, pd.read_csv(home/'v.csv')
    assert 'alarms at 5 % false alarms' in out and 'ranked among' in out and len(t) == 41
    p = t['false_alarm'].dropna()
    assert np.allclose(t['expected_false_alarms'].dropna(), len(p)*p) and np.allclose(t['q'].dropna(), stats.false_discovery_control(p))
    assert (t['false_alarm'] <= t['false_alarm_high'] + 1e-9)[p.index].all() and {'variability', 'smallest_rms', 'shared_scan', 'anomaly_q'} <= set(t)
    assert 'physlearn:' in (cli('score', 'lightcurve', home/'varies', home/'survey', '--anomaly', home/'varies') and capsys.readouterr().err)
