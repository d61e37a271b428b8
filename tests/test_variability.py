"""Classical statistics of variability against independent references, and false alarms that are what they say."""
import math, os
from pathlib import Path
import numpy as np
import pytest
import torch
from astropy.stats import bayesian_blocks
from scipy import integrate, stats
from physlearn.data import FileSource
from physlearn.lightcurve.counting import log_profile
from physlearn.lightcurve.train_lightcurve import rows_of
from physlearn.lightcurve.variability import (STATISTICS, Thresholds, about, batch_of, block_starts, blocks, constant_rate, constant_scores,
                                              constants_like, deviance, excess_variance, over_curves, scatter, statistics, together)
from physlearn.lightcurve.xray_files import LightCurve, LightCurves, by_visits, read_lightcurve
from physlearn.lightcurve.xray_simulate import simulate

def batch(counts, back=0., ratio=.01, exposure=20., bands=1):
    "Curves of one length: (n,L)."
    c = torch.as_tensor(counts, dtype=torch.float64)[...,None].expand(-1, -1, bands).clone()
    full = lambda v: (torch.as_tensor(v, dtype=torch.float64)*torch.ones(c.shape[:2]).double())[...,None].expand_as(c).clone()
    return dict(counts=c, back=full(back), ratio=full(ratio), exposure=full(exposure), good=torch.ones(c.shape, dtype=torch.bool),
                mask=torch.ones(c.shape[:2], dtype=torch.bool))

@pytest.fixture(scope='module')
def survey():
    c = simulate(300, seed=1).light_curves()
    return c.some(c.lengths <= 24)

def test_a_batch_is_that_of_the_loader(survey):
    rows = np.arange(40)
    mine, theirs = batch_of(survey, rows), FileSource(rows_of(survey), permute=False)(torch.from_numpy(rows), 0)
    assert torch.equal(mine['mask'], theirs['mask']) and torch.equal(mine['good'], theirs['good'])
    for k in ('counts', 'back', 'exposure'): assert torch.allclose(mine[k].float(), theirs[k])
    a, b = statistics(mine), statistics(theirs)                 # single precision of the loader moves them by rounding alone
    assert torch.allclose(a, b, rtol=1e-3, atol=1e-3)

def test_excess_variance_by_hand():
    rate, exposure, back = np.array([3., 8, 5, 12])/20, 20., np.array([100, 120, 80, 90.])
    counts = rate*exposure
    net, var = (counts - .01*back)/exposure, (counts + 1e-4*back)/exposure**2
    s2, e2, m, n = net.var(ddof=1), var.mean(), net.mean(), 4
    nev = (s2 - e2)/m**2
    error = math.hypot(math.sqrt(2/n)*e2/m**2, math.sqrt(e2/n)*2*math.sqrt(max(nev, 0))/m)  # Vaughan et al. 2003, eq. 11
    found = [v.item() for v in excess_variance(batch(counts[None], back))]
    assert found == pytest.approx([nev, error, nev/error], rel=1e-10)

def test_deviance_by_a_minimiser():
    from scipy.optimize import minimize_scalar
    g = np.random.default_rng(0)
    counts, back, e = g.poisson(3, 12)*1., g.poisson(40, 12)*1., g.uniform(5, 25, 12)
    like = lambda rate: log_profile(*(torch.as_tensor(v) for v in (counts, rate*e, back, np.full(12, .02)))).sum().item()
    best = minimize_scalar(lambda x: -like(x), bounds=(1e-6, 3), method='bounded', options=dict(xatol=1e-10))
    top = log_profile(*(torch.as_tensor(v) for v in (counts, np.maximum(counts - .02*back, 0), back, np.full(12, .02)))).sum().item()
    assert deviance(batch(counts[None], back, .02, e)).item() == pytest.approx(2*(top + best.fun), abs=2e-3)

def test_constant_rate_solves_its_equation():
    g = torch.Generator().manual_seed(0)
    e, behind = 5 + 20*torch.rand(50, 9, 2, generator=g).double(), 2*torch.rand(50, 9, 2, generator=g).double()
    C = torch.poisson(.3*e + behind, generator=g)
    rate = constant_rate(C, behind, e)
    slope = (C*e/(rate[:,None]*e + behind)).sum(1) - e.sum(1)
    assert (slope[rate > 0].abs() < 1e-8*e.sum(1)[rate > 0]).all() and (slope[rate == 0] <= 0).all()

def test_scatter_by_quadrature():
    "The ratio at one width and centre, integrated by scipy; the grid's best is at least that, and no better than the best of a fine search."
    counts, behind, e = np.array([2., 0, 9, 4, 30]), .1, 20.
    def ratio(s, c, level):
        total = 0.
        for C in counts:
            f = lambda x: math.exp(stats.poisson.logpmf(C, level*e*math.exp(x) + behind) + stats.norm.logpdf(x, c*s - s*s/2, s))
            total += math.log(integrate.quad(f, -9, 9, limit=400, epsabs=1e-14)[0]) - stats.poisson.logpmf(C, level*e + behind)
        return total
    level = (counts.sum() - 5*behind)/(5*e)
    best = max(ratio(s, c, level) for s in (.6, 1., 1.6) for c in (0., -.3, .3))
    assert scatter(batch(counts[None], 10., .01)).item() == pytest.approx(best, abs=2e-3)

def test_bright_curves_have_a_finer_grid():
    "A visit of 10,000 photons has a likelihood of a hundredth of the width of a step of 1/8: compare with a gamma function's integral."
    g = np.random.default_rng(1)
    x = g.normal(0, .2, 40)
    counts = g.poisson(10_000*np.exp(x))*1.
    sigma, level = .2, counts.mean()/20
    # so many photons leave the normal distribution of their logarithms alone
    y = np.log(counts/counts.mean())
    exact = lambda s, c: stats.norm.logpdf(y, c*s - s*s/2, np.sqrt(s*s + 1/counts)).sum() - stats.norm.logpdf(y, 0, 1/np.sqrt(counts)).sum()
    best = max(exact(s, c) for s in (.1, .2, .35) for c in (0., -.3, .3))
    assert scatter(batch(counts[None], 0.)).item() == pytest.approx(best, rel=.02) and sigma and level

def test_blocks_are_those_of_astropy():
    g = np.random.default_rng(2)
    rate = np.r_[np.full(15, 3.), np.full(6, 14.), np.full(12, 2.)]
    counts = g.poisson(rate)*1. + 1                            # events at distinct times, several each
    n = len(counts)
    b = batch(counts[None], 0., exposure=1.)
    for penalty in (2., 4., 8.):
        theirs = bayesian_blocks(np.arange(n) + .5, counts, fitness='events', ncp_prior=penalty)
        cuts = np.round(theirs[1:-1]).astype(int).tolist()
        starts = block_starts(b, penalty)[0]
        # astropy's first and last cells end at the events themselves: cuts within one step of an end may differ
        inside = lambda v: [k for k in v if 1 < k < n - 1]
        assert inside(starts[1:]) == inside(cuts)
    by_hand = max(sum(counts[i:j].sum()*math.log(counts[i:j].mean()) for i, j in ((0, k), (k, n))) for k in range(1, n))
    one = blocks(b, penalty=1e9).item()
    assert one == pytest.approx(by_hand - counts.sum()*math.log(counts.mean()), rel=1e-9)

def test_gaps_and_edges_of_the_field_are_no_variability():
    "Photons in step with exposure: no gain; steps without exposure add nothing."
    e = np.array([20., 20, 2, 20, 2, 20])
    counts = 5*e
    b = batch(counts[None], 0., exposure=e)
    assert blocks(b).item() == pytest.approx(0, abs=1e-9) and deviance(b).item() == pytest.approx(0, abs=1e-9)
    more = batch(np.insert(counts, 3, 0.)[None], 0., exposure=np.insert(e, 3, 0.))
    changed = batch(np.r_[counts[:3], 300, counts[4:]][None], 0., exposure=e)
    again = batch(np.insert(np.r_[counts[:3], 300, counts[4:]], 3, 0.)[None], 0., exposure=np.insert(e, 3, 0.))
    assert blocks(more).item() == pytest.approx(0, abs=1e-9)
    for f in STATISTICS.values(): assert f(again).item() == pytest.approx(f(changed).item(), rel=1e-9)

@pytest.mark.parametrize('filling', [math.nan, 1e30, -1e30, math.inf])
def test_what_stands_in_masked_places_changes_nothing(survey, filling):
    b = batch_of(survey, np.arange(60))
    b['good'][::3,1] = False
    wanted, seen = statistics(b), about(b)
    hide = ~(b['good'] & b['mask'][...,None])
    other = b | {k: torch.where(hide, filling, b[k]) for k in ('counts', 'back', 'ratio', 'exposure')}
    assert torch.equal(statistics(other), wanted) and torch.equal(about(other), seen) and wanted.isfinite().all()

def test_company_and_length_of_the_filling_change_nothing(survey):
    rows = np.flatnonzero(survey.lengths > 1)[:30]
    wanted = statistics(batch_of(survey, rows))
    each = torch.cat([statistics(batch_of(survey, rows[i:i + 1])) for i in range(len(rows))])
    assert torch.allclose(each, wanted, rtol=1e-9, atol=1e-9)
    assert torch.allclose(over_curves(statistics, survey.some(rows), steps=100), wanted, rtol=1e-9, atol=1e-9)

def test_one_visit_no_photons_nothing_at_all():
    "Stated values: 0, or below where errors exceed the variance."
    one, none = batch([[7.]]), batch([[0., 0., 0., 0.]], 12.)
    nothing = batch([[3., 4.]])
    nothing['good'][:] = False
    for b in (one, none, nothing):
        values = statistics(b)[0]
        assert values.isfinite().all() and (values[2:].abs() < 1e-9).all() and (values[:2] <= 0).all()
    assert about(nothing).tolist() == [[0., 0., 0.]]

@pytest.mark.parametrize('name', list(STATISTICS))
def test_a_burst_is_seen(name):
    quiet = batch(np.full((1, 10), 5.))
    burst = batch(np.r_[np.full(9, 5.), 60.][None])
    assert STATISTICS[name](burst).item() > 5 and STATISTICS[name](quiet).item() < 1e-6

def test_added_bands_are_one_band():
    "Three bands that are thirds of one say what the one says."
    g = np.random.default_rng(3)
    counts = g.poisson(3., (5, 8, 3)).astype(float)
    many = batch(counts[...,0], 6., bands=3)
    many['counts'] = torch.from_numpy(counts)
    one = batch(counts.sum(2), 18.)
    assert torch.allclose(statistics(many), statistics(one), rtol=1e-9)

def test_constants_are_observed_like_their_curve(survey):
    c = constants_like(survey, 500, seed=4, rate=(.05, 20.))
    again = constants_like(survey, np.arange(100, 200), seed=4, rate=(.05, 20.), told=False)
    for i, j in ((100, 0), (150, 50)):                           # a curve hangs on its number alone
        assert np.array_equal(c[i].counts, again[j].counts) and np.array_equal(c[i].back, again[j].back)
    for i in range(0, 500, 50):
        own, like = c[i], survey[int(c.more['pattern'][i])]
        assert np.array_equal(own.time, like.time) and np.array_equal(own.exposure, np.where(like.mask, like.exposure, 0))
        assert np.array_equal(own.mask, like.mask)
    rate = np.log(c.more['rate'])
    assert stats.kstest(rate, 'uniform', (math.log(.05), math.log(400))).pvalue > 1e-3
    net = np.array([(c[i].counts - c[i].ratio*c[i].back).sum() for i in range(500)])
    given = np.array([c.more['rate'][i]*c[i].exposure[:,:2].sum(0).mean() for i in range(500)])
    assert abs(net.sum()/given.sum() - 1) < .05
    back = np.array([c[i].back.sum() for i in range(500)])
    told = np.array([survey[int(k)].back.sum() for k in c.more['pattern']])
    assert abs(back.sum()/told.sum() - 1) < .03

def test_curves_without_photons_ask_for_a_rate(survey):
    dark = LightCurves(survey.names, survey.offsets, survey.labels, survey.bands, survey.mjdref,
                       survey.arrays | dict(counts=0*survey.arrays['counts']))
    with pytest.raises(ValueError, match='state rate'): constants_like(dark, 5)
    assert len(constants_like(dark, 5, rate=(.1, 1))) == 5

def test_false_alarms_are_uniform_and_ties_count_against_the_source(survey):
    f = STATISTICS['deviance']
    scores, where = constant_scores(f, survey, 12_000, seed=5, rate=(.01, 10.))
    limits = Thresholds.of(scores[:8000], where[:8000], (4, 2, 1))
    u = torch.rand(4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p = limits.false_alarm(scores[8000:], where[8000:], u)
    inside = ~p.outside
    assert inside.double().mean() > .99 and stats.kstest(p.p[inside], 'uniform').pvalue > 1e-3
    plain = limits.false_alarm(scores[8000:], where[8000:])
    assert (plain.p[inside] <= .05).double().mean() < .06 and (plain.low <= plain.p)[inside].all() and (plain.high >= plain.p)[inside].all()
    assert ((plain.p <= .02) == (scores[8000:] > limits.at(.02, where[8000:])))[inside].all()
    # ties: all constants alike, none is an alarm
    same = Thresholds.of(torch.zeros(1000), where[:1000], (2, 1, 1))
    assert (same.false_alarm(torch.zeros(1), where[:1]).p == 1).all() and torch.isinf(same.at(.01, where[:1])).all() == False  # noqa: E712
    # planted: thresholds of photons of another kind give false alarms that are not uniform
    assert stats.kstest(limits.false_alarm(2*scores[8000:], where[8000:], u).p[inside], 'uniform').pvalue < 1e-6

def test_thresholds_outside_and_bad_scores(survey, tmp_path):
    g = torch.Generator().manual_seed(0)
    where = torch.stack([torch.randint(0, 200, (2000,), generator=g), torch.randint(2, 20, (2000,), generator=g), 5*torch.rand(2000, generator=g)], 1)
    limits = Thresholds.of(torch.randn(2000, generator=g).double(), where, (3, 2, 2))
    far = torch.tensor([[1e6, 5, 1.], [50, 200, 1.], [50, 5, 1e4], [50, 5, 2.]])
    p = limits.false_alarm(torch.full((4,), 9.), far)
    assert p.outside.tolist() == [True, True, True, False] and p.p[:3].isnan().all() and p.high[:3].eq(1).all()
    assert 0 < p.p[3] < 3/min(limits.n) and p.low[3] == 0 and p.high[3] > p.p[3]
    with pytest.raises(ValueError, match='NaN'): limits.false_alarm(torch.tensor([math.nan]), far[3:])
    with pytest.raises(ValueError, match='finite'): Thresholds.of(torch.tensor([math.nan]), far[3:])
    again = Thresholds.load(limits.save(tmp_path/'limits.h5'))
    assert torch.equal(again.false_alarm(torch.full((4,), 1.), far).p[3:], limits.false_alarm(torch.full((4,), 1.), far).p[3:])
    from physlearn.files import FileError, write_hdf5
    write_hdf5(tmp_path/'other.h5', dict(a=np.zeros(3)), {})
    with pytest.raises(FileError, match='thresholds'): Thresholds.load(tmp_path/'other.h5')

@pytest.mark.skipif('PHYSLEARN_DATA' not in os.environ, reason='needs real files')
def test_the_real_star():
    "The values of the specification, by other programs."
    from physlearn.lightcurve.variability import amplitude
    path = next((Path(os.environ['PHYSLEARN_DATA'])/'lightcurves'/'erosita_erass1').glob('*.fits*'))
    b = batch_of(LightCurves.of([by_visits(read_lightcurve(path))]), np.arange(1))
    assert excess_variance(b)[0][0].tolist() == pytest.approx([.1175, .1457, 1.739], abs=4e-3)
    assert amplitude(b, 0.)[0].tolist() == pytest.approx([4.8, 17.8, 12.1], abs=.06)
    assert deviance(b)[0].tolist() == pytest.approx([2910, 10_141, 1265], rel=5e-3)
    assert isinstance(together(b)['counts'], torch.Tensor) and LightCurve

def test_the_classifier_reads_nothing_behind_a_curve():
    "Neither content nor length of the filling moves its score or a gradient: a backward GRU begins at the last step that is there."
    from physlearn.lightcurve.classifier import Classifier
    c = simulate(40, 5).light_curves()
    c = c.some((c.lengths > 1) & (c.lengths < 40))
    torch.manual_seed(0)
    net, b = Classifier(hidden=8, width=16), batch_of(c, np.arange(len(c)))
    def scored(b):
        net.zero_grad()
        out = net(b)['score']
        out.sum().backward()
        return out.detach(), torch.cat([p.grad.flatten() for p in net.parameters()])
    score, grad = scored(b)
    hide = ~(b['good'] & b['mask'][...,None])
    for filling in (math.nan, 1e30):
        other = b | {k: torch.where(hide, filling, b[k]) for k in ('counts', 'back', 'ratio', 'exposure')}
        other |= {k: torch.where(b['mask'], b[k], filling) for k in ('time', 'length')}
        again, same = scored(other)
        assert torch.equal(again, score) and torch.equal(same, grad) and grad.isfinite().all()
    alone = torch.cat([scored(batch_of(c, np.arange(i, i + 1)))[0] for i in range(len(c))])
    assert (alone - score).abs().max() < 1e-5*(1 + score.abs().max())
    turned = b | {k: torch.where(b['mask'] if b[k].ndim == 2 else b['mask'][...,None], b[k].flip(1), b[k]) for k in ('counts',)}
    assert (scored(turned)[0] - score).abs().max() > 1e-4      # planted: another order of the photons is another curve
