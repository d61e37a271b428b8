"""Light curves from a shell: simulated surveys fitted, and what people get wrong."""
from dataclasses import replace
from pathlib import Path
import numpy as np
import pytest
from scipy.stats import norm
from physlearn.cli import main
from physlearn.data import FileSource
from physlearn.lightcurve.classifier import steps_of, summary_of
from physlearn.lightcurve.desk import fit_lightcurve, measurement_of
from physlearn.lightcurve.train_lightcurve import LightCurveRecipe, lightcurve_recipe, rows_of
from physlearn.lightcurve.variability import batch_of
from physlearn.lightcurve.xray_files import LightCurve, read_lightcurve
from physlearn.lightcurve.xray_simulate import simulate
from physlearn.params import normals
from physlearn.results import Results
import torch

def cli(*words): return main([str(w) for w in words])

def source(theta, model, n=24, e=24., key='source'):
    "A light curve whose counts are drawn from a model of its rate, visits every four hours."
    zeros = np.zeros((n, 1))
    blank = dict(labels=('0.2-5 keV',), bands=np.array([[.2, 5.]]), time=14400.*np.arange(n) + 20, dt=np.full(n, 40.), exposure=zeros + e,
                 counts=zeros, back=np.random.default_rng(len(key)).poisson(8., (n, 1)) + 0., ratio=zeros + .0125, rate=zeros, err_minus=zeros + 1,
                 err_plus=zeros + 1, mask=zeros == 0, mjdref=58000.)
    m = measurement_of(LightCurve('s', **blank), model)
    mu = m.sim(torch.tensor([theta], dtype=torch.float64))
    y = m.like.draw(mu, normals(1, n, key, dtype=torch.float64).view_as(mu))
    return LightCurve('s', **blank | dict(counts=y[0].T.numpy()))

def test_a_flare_is_found():
    "Rate, factor and time within three sd; a constant is less likely by far; of a constant source it is not."
    got = fit_lightcurve(source([2., 20., 41., .1, 5.], 'flare'), 'flare', known=('rise=0.1h',), draws=256)
    for k, truth in dict(rate=2., factor=20., peak=41., decay=5.).items():
        j = got.space.index(k)
        assert abs(got.value[0,j] - truth) < 3.5*got.sd[0,j], (k, got.value[0,j], got.sd[0,j])
    assert got.signals['nats_over_constant'][0] > 50 and got.ok.all() and got.p[0] > .001
    still = fit_lightcurve(source([2.], 'constant'), 'trend')
    assert abs(still.value[0,1]) < 3*still.sd[0,1] and still.signals['nats_over_constant'][0] < 6

def test_faint_rates_have_no_normal_errors():
    "A dozen photons: the interval holds the truth, and its ends are not those of a mean and a standard deviation."
    got = fit_lightcurve(source([.02], 'constant'), draws=512)
    assert got.low[0,0] < .02 < got.high[0,0] and got.sd[0,0] < .05
    assert got.high[0,0] - got.value[0,0] > 1.2*(got.value[0,0] - got.low[0,0])

def test_a_survey_is_written_and_fitted(tmp_path, capsys):
    assert cli('simulate', 'lightcurve', tmp_path/'s', '--n', 2, '--seed', 3) == 0
    files = sorted((tmp_path/'s').glob('*.fits'))
    assert len(files) == 2 and cli('fit', 'lightcurve', *files, '--draws', 64, '--bands', 2, '--out', tmp_path/'r.json') == 0
    out = capsys.readouterr().out
    assert 'wrote 2 sources' in out and 'joined to' in out and len(Results.load(tmp_path/'r.json')) == 2
    assert cli('simulate', 'lightcurve', tmp_path/'s', '--n', 2) == 2 and 'holds FITS files already' in capsys.readouterr().err

@pytest.mark.parametrize('words, says', [
    ('fit lightcurve FILE --model burst', 'constant, trend, flare, eclipse, pulse'), ('fit lightcurve FILE --bands 4', 'has 3: 0.2-0.6 keV'),
    ('fit lightcurve FILE --steps days', 'visits or rows'), ('fit lightcurve none.fits', 'none.fits: cannot be opened'),
    ('fit lightcurve FILE --range period=2..3h', "period"), ('fit lightcurve FILE --known rate=3ct/s', "write rate_1"),
    ('identifiable lightcurve --model pulse --cadence 4', 'cadence'), ('identifiable lightcurve --visits 1', '2 or more'),
    ('simulate lightcurve out --survey sky', 'erass1, pole or efeds'), ('train lightcurve nosuch', 'no recipe'), ('train lightcurve quick --data nowhere', 'is not there'), ('train lightcurve quick --network lstm', 'counts, guide or classifier'), ('retrieve nowhere x.fits', 'nowhere')])
def test_refused(tmp_path, monkeypatch, capsys, words, says):
    monkeypatch.chdir(tmp_path)
    assert cli('simulate', 'lightcurve', 's', '--n', 1, '--seed', 3) == 0
    capsys.readouterr()
    before = set(Path().rglob('*'))
    assert cli(*words.replace('FILE', str(next(Path('s').glob('*.fits')))).split()) == 2
    err = capsys.readouterr().err
    assert says in err and err.count('\n') == 1 and set(Path().rglob('*')) == before

def test_a_rate_that_is_not_seen_is_an_upper_limit():
    "Where the interval begins at the end of the range, that is said; where it does not, it is not."
    none = fit_lightcurve(source([.001], 'constant'), draws=256)
    assert 'rate: an upper limit' in none.signals['read'][0]
    assert 'upper limit' not in fit_lightcurve(source([1.], 'constant'), draws=256).signals['read'][0]

@pytest.mark.parametrize('mean', [-.05, 0., .05])
def test_a_limit_from_rates_is_as_low_as_the_errors_allow(tmp_path, mean):
    "Forty rates with errors of 1 about nothing: the posterior of one rate, uniform in its logarithm, by hand."
    v = np.random.default_rng(1).normal(size=40)
    v += mean - v.mean()
    (tmp_path/'faint.csv').write_text('time [s],rate [ct/s],error [ct/s]\n' + ''.join(f'{100*i},{a},1\n' for i, a in enumerate(v)))
    got = fit_lightcurve(read_lightcurve(tmp_path/'faint.csv'))
    grid = np.geomspace(1e-3, 100, 20_001)
    cdf = np.cumsum(norm.pdf(grid, v.mean(), 40**-.5))
    assert got.flag(0, 'rate') == 'upper limit' and 'rate: an upper limit' in got.signals['read'][0]
    assert float(got.high[0,0]) == pytest.approx(grid[np.searchsorted(cdf, .975*cdf[-1])], rel=.02)
    assert float(got.sd[0,0]) == pytest.approx(40**-.5, rel=.01)

def test_rates_with_two_errors():
    "Without photons the rate is the maximum of normal halves: above the mean of two data whose upper errors are the larger ones."
    lc = source([1.], 'constant', n=2)
    blank = np.full((2, 1), np.nan)
    two = LightCurve('s', lc.labels, lc.bands, lc.time, lc.dt, lc.exposure, blank, blank, blank, np.array([[1.], [2.]]), np.array([[.1], [.1]]),
                     np.array([[.3], [.3]]), lc.mask)
    got = fit_lightcurve(two)
    grid = np.linspace(1, 2, 100_001)                             # above the first, below the second
    best = grid[np.argmin(((grid - 1)/.3)**2 + ((grid - 2)/.1)**2)]
    assert got.value[0,0].item() == pytest.approx(best, abs=2e-3) and 'halves' in got.method

def test_what_a_model_does_not_describe_is_said(tmp_path, capsys):
    "A few rates that differ: not trusted, and why."
    rows = '59000.1,1.2,0.1', '59000.3,1.1,0.1', '59000.7,1.3,0.1', '59001.1,2.2,0.15'
    (tmp_path/'a.csv').write_text('time [MJD],rate [ct/s],error [ct/s]\n' + '\n'.join(rows) + '\n')
    assert cli('fit', 'lightcurve', tmp_path/'a.csv') in (0, None)
    said = capsys.readouterr().out
    assert 'not trusted' in said and 'does not describe this, reduced chi2 13' in said

def test_many_photons_by_laplace():
    "Where the background is counted well, the quick form and the exact one agree to 1e-3 nats over a factor of two."
    lc = source([40.], 'constant', n=6)
    m = measurement_of(replace(lc, back=lc.back*0 + 12), 'constant')
    assert m.like.form == 'laplace' and measurement_of(replace(lc, back=lc.back*0 + 3), 'constant').like.form == 'marginal'
    counts, exact = torch.from_numpy(lc.counts.T[None]), replace(m.like, form='marginal')
    def gap(rate):
        mu = m.sim(torch.tensor([[rate]], dtype=torch.float64))
        return float(m.like.log_prob(counts, mu) - exact.log_prob(counts, mu))
    assert max(abs(gap(rate) - gap(40.)) for rate in (30., 60.)) < 1e-3

def exported(run, path):
    ort = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    run.export_onnx(path)
    return ort.InferenceSession(str(path))

def test_export(tmp_path):
    "Both networks as ONNX, for another number of steps than that of the example, ragged ones among them."
    curves = simulate(40, 3).light_curves().some(np.arange(12))
    run = LightCurveRecipe(epochs=1, sources=64, batch_size=32, hidden=8).fit(tmp_path/'run', quiet=True, evaluate=False)
    batch = FileSource(rows_of(curves), permute=False)(torch.arange(12), 0)
    assert len(set(batch['mask'].sum(1).tolist())) == 3 and batch['mask'].shape[1] != 5
    there = exported(run, tmp_path/'rates.onnx')
    mu, logvar, rate = there.run(None, {i.name: batch[i.name].numpy() for i in there.get_inputs()})
    with torch.no_grad():
        z, spread = run.model.encode(batch)
        here = run.model.rates(z, batch)
    for a, b in ((mu, z), (logvar, spread), (rate, here)): np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)
    recipe = lightcurve_recipe('variability', epochs=1, sources=200, constants=1000, hidden=8, longest=24)
    run = recipe.fit(tmp_path/'sorts', quiet=True, evaluate=False)
    there = exported(run, tmp_path/'sorts.onnx')
    few = batch_of(curves, np.arange(12))
    read = dict(steps=steps_of(few), summary=summary_of(few), mask=few['mask'])
    assert [i.name for i in there.get_inputs()] == list(read)
    logits, score = there.run(None, {k: v.numpy() for k, v in read.items()})
    with torch.no_grad(): out = run.model(few)
    np.testing.assert_allclose(score, out['score'], rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(logits, out['logits'], rtol=2e-4, atol=2e-5)
