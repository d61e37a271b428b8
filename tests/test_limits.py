"""What is said of a quantity near the beginning of its range, and of one whose range excludes the truth; how often by chance."""
import math
from dataclasses import replace
from types import SimpleNamespace
import pytest
import torch
from scipy.stats import binom, norm, truncnorm
from torch import nn
from physlearn.desk import Signals, by_fit
from physlearn.draws import beyond_of, box_posterior, ranged_ends, sample_posterior, told_by_range
from physlearn.likelihood import Measurement
from physlearn.params import Param, ParamSpace
from physlearn.posterior import Gaussian, map_estimate
from physlearn.results import AT_END, Results, end_share

class Band(nn.Module):
    "An absorption of unknown depth on a baseline; both enter linearly, but for their product."
    def __init__(self, lo=0., hi=1., log=False):
        super().__init__()
        self.space = ParamSpace(mf_X=Param(lo, hi, log=log), base=Param(.5, 1.5, 'V'))
        self.x = torch.linspace(-3, 3, 128, dtype=torch.float64)
    def forward(self, theta): return (theta[:,1:2]*(1 - theta[:,:1]*(-self.x**2).exp()))[:,None]

NOISE = .01
def sd_of(sim):
    "Standard deviation without a range, of a depth near 0, by least squares."
    A = torch.stack([-(-sim.x**2).exp(), torch.ones(128).double()], 1)/NOISE
    return torch.linalg.inv(A.T @ A)[0,0].sqrt().item()
SD = sd_of(Band())

def flags(sim, truth, seed=0):
    "Flags of fits to noisy signals of true depths."
    theta = torch.stack([truth.double(), torch.ones(len(truth)).double()], 1)
    y = sim(theta) + NOISE*torch.randn(len(truth), 1, 128, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    got = by_fit(SimpleNamespace(sim=sim), Signals(y, like=Gaussian(NOISE)), 0, .95)
    return [got.flag(i, 'mf_X') for i in range(len(got))], got

def between(count, n, p, alpha=1e-4): return binom.ppf(alpha, n, p) <= count <= binom.ppf(1 - alpha, n, p)

@pytest.mark.parametrize('level', [.683, .9, .95, .99])
def test_share_of_a_cut_normal(level):
    ends = truncnorm(-1.645, float('inf'), loc=1.645).ppf([(1 - level)/2, (1 + level)/2])
    assert end_share(level) == pytest.approx(ends[0]/ends[1], rel=1e-6)

@pytest.mark.parametrize('k', [0, 1, 1.645, 3, 4.5])
def test_upper_limit_as_often_as_zero_is_not_excluded(k):
    "Of a truth k sd above zero: in the share of cases in which the estimate is less than 1.645 sd."
    n = 300
    said, _ = flags(Band(), torch.full((n,), k*SD))
    sure = [f for f in said if f != 'suspect']                          # 1 % of misfits, by chance
    assert between(sum(f in ('upper limit', AT_END) for f in sure), len(sure), norm.cdf(1.645 - k))
    assert set(sure) <= {'upper limit', 'determined', AT_END}

@pytest.mark.parametrize('truth, share', [(1e-6, .95), (1.645*SD, .5), (8*SD, 0.)])
def test_upper_limit_in_a_range_of_decades(truth, share):
    "A logarithmic range never holds zero; there chi-squared says whether its beginning is excluded, or the interval begins where the range does."
    sim = Band(1e-5, 1, True)
    said, got = flags(sim, torch.full((300,), truth))
    sure = [i for i, f in enumerate(said) if f != 'suspect']
    assert between(sum(bool(got.limits[i,0] | got.beyond[i,0]) for i in sure), len(sure), share)
    for i, ends in zip(sure[:60], on_grid(sim, torch.full((300,), truth), sure[:60])):
        low, high = (1 + math.log10(float(v))/5 for v in ends)             # of the whole posterior, in shares of the range
        near = .5 < low/(end_share(.95)*high) < 2                           # where the last digits decide
        expected = bool(got.limits[i,0]) or low < end_share(.95)*high
        assert near or (said[i] in ('upper limit', AT_END)) == expected, (i, said[i], low, high)

def on_grid(sim, truth, rows):
    "95 % intervals of the depth (n,2) of some of the signals of `flags`: the posterior on a grid, by hand, since b(1 - dl) is linear in b and bd."
    theta = torch.stack([truth.double(), torch.ones(len(truth)).double()], 1)
    y = sim(theta) + NOISE*torch.randn(len(truth), 1, 128, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    lo = math.log10(sim.space['mf_X'].lo)
    depth, base = 10**torch.linspace(lo, 0, 1601, dtype=torch.float64), torch.linspace(.98, 1.02, 201, dtype=torch.float64)
    A = torch.stack([torch.ones(128).double(), -torch.exp(-sim.x**2)], 1)
    at = torch.stack(torch.broadcast_tensors(base, base*depth[:,None]), -1)                     # (depths, bases, 2)
    squares, out = .5*((at @ (A.T @ A))*at).sum(-1), []
    for row in y[rows,0]:
        cdf = ((at @ (A.T @ row) - squares)/NOISE**2).flatten().softmax(0).reshape(squares.shape).sum(1).cumsum(0)
        out.append(depth[torch.searchsorted(cdf, torch.tensor([.025, .975]).double())])
    return torch.stack(out)

def test_limit_holds_the_truth():
    "The interval behind an upper limit is the whole posterior's: of truths drawn from the range it holds the stated share."
    truth = torch.rand(600, generator=torch.Generator().manual_seed(1))*4*SD
    said, got = flags(Band(), truth)
    limit = [i for i, f in enumerate(said) if f == 'upper limit']
    below = sum(float(truth[i]) < float(got.high[i,0]) for i in limit)
    assert len(limit) > 150 and between(below, len(limit), .975)
    assert got.verdicts(limit[0])[1].startswith('upper limit: mf_X < ')

@pytest.mark.parametrize('n, lo, hi, log', [(1500, 0, 1, False), (1500, .2, .8, False), (1500, 1e-4, 1, True)])
def test_a_range_that_holds_the_truth_is_not_blamed(n, lo, hi, log):
    "At most in 0.13 % of the cases, which a truth at the very end has; in a range of decades that is each that cannot be seen."
    sim = Band(lo, hi, log)
    truth = sim.space.quantile(torch.rand(n, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64))[:,0]
    said, _ = flags(sim, truth)
    assert said.count(AT_END) <= binom.ppf(.999, n, 1.35e-3) and said.count('upper limit') <= .47*n*log + binom.ppf(.9999, n, 2*SD/(hi - lo))

@pytest.mark.parametrize('off', [3, 4, 6])
@pytest.mark.parametrize('end', ['low', 'high'])
def test_a_range_that_excludes_the_truth_is_named(off, end):
    "The interval is far too narrow, and leans against the end; nearly all are flagged, by the end or by the misfit."
    said, got = flags(Band(.2, .8), torch.full((200,), .2 - off*SD if end == 'low' else .8 + off*SD))
    some = got.ok
    wide = (got.high - got.low)[some,0].median()
    assert wide < .35*3.92*SD
    assert sum(f in (AT_END, 'suspect', 'not trusted') for f in said) >= binom.ppf(1e-4, 200, norm.cdf(off - 3))
    if AT_END not in said: return                                      # so far off that each is suspect or not trusted
    at = said.index(AT_END)
    assert f'{AT_END}: mf_X' in got.sentence(at) and got.verdicts(at)[-1].startswith(('determined', AT_END))

def test_draws_and_files_keep_it(tmp_path):
    sim = Band(.2, .8)
    y = sim(torch.tensor([[.2 - 4*SD, 1.], [.5, 1.]]).double())
    like = Gaussian(NOISE)
    s = sample_posterior(sim, y, like, n=512, key=('limits',))
    assert beyond_of(s, sim, y, like).tolist() == [[True, False], [False, False]]
    assert box_posterior(sim, y, like, s.mean()).beyond().tolist() == [[True, False], [False, False]]
    _, got = flags(sim, torch.tensor([.2 - 4*SD, .5]))
    got = replace(got, p=torch.ones(2).double())
    back = Results.load(got.save(tmp_path/'r.json'))
    assert [back.flag(i, 'mf_X') for i in (0, 1)] == [AT_END, 'determined']
    both = Results.join([replace(got[1:], beyond=None), got[:1]])
    assert [both.flag(i, 'mf_X') for i in (0, 1)] == ['determined', AT_END]

def test_known_and_signed_quantities_have_no_limit():
    one = torch.ones(1, 1).double()
    r = Results(ParamSpace(a=Param(-1, 1)), 0*one - .99, .01*one, -.9995*one, -.95*one, .01*one, one[0].bool(), one[0])
    assert r.flag(0, 'a') == 'determined'
    r = replace(r, space=ParamSpace(a=Param(0, 2)), low=.0005*one, high=.05*one)
    assert r.flag(0, 'a') == 'upper limit' and replace(r, known=('a',)).flag(0, 'a') == 'improved'
    r = replace(r, space=ParamSpace(a=Param(5, 7)), low=5.0005*one, high=5.05*one)
    assert r.flag(0, 'a') == 'determined'                                 # zero is far from the beginning of this range

def test_limit_in_a_range_of_decades_is_the_posteriors():
    "Near the beginning of a logarithmic range the amount enters linearly, not its logarithm: as the posterior on a grid has it."
    sim = Band(1e-4, 1, True)
    truth = sim.space.quantile(torch.rand(600, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64))[:,0]
    said, got = flags(sim, truth)
    limit = [i for i, f in enumerate(said) if f == 'upper limit']
    below = sum(float(truth[i]) < float(got.high[i,0]) for i in limit)
    assert len(limit) > 100 and between(below, len(limit), .975)
    few = limit[:40]
    assert got.high[few,0].numpy() == pytest.approx(on_grid(sim, truth, few)[:,1].numpy(), rel=.03)

class Line(Band):
    "A line that saturates: transmission through an amount on a baseline."
    def forward(self, theta): return (theta[:,1:2]*(-theta[:,:1]*(-self.x**2).exp()).exp())[:,None]

class Window(Line):
    "A line with far wings, dark from end to end where it is strong."
    def forward(self, theta): return (theta[:,1:2]*(-theta[:,:1]/(1 + self.x**2)).exp())[:,None]

def ends_on_grid(sim, y, noise):
    "95 % interval of the amount (n,2), by quadrature over it and the baseline."
    v, base = 10**torch.linspace(-3, 3, 801, dtype=torch.float64), torch.linspace(.5, 1.5, 101, dtype=torch.float64)
    mu = sim(torch.stack(torch.meshgrid(v, base, indexing='ij'), -1).reshape(-1, 2))[:,0]
    cdf = torch.stack([(-.5*((row - mu)/noise)**2).sum(1).softmax(0).reshape(len(v), -1).sum(1).cumsum(0) for row in y[:,0]])
    return v[torch.searchsorted(cdf, torch.tensor([[.025, .975]]*len(y)).double())]

@pytest.mark.parametrize('noise', [.05, .15, .3])
@pytest.mark.parametrize('amount', [1., 30., 100.])
def test_a_dark_window_says_that_its_interval_is_not_to_be_trusted(amount, noise):
    "All from a lower end to the end of the range is as likely: no linear model knows that. A line that is not dark is not marked."
    sim, n = Window(1e-3, 1e3, True), 12
    theta = torch.tensor([[amount, 1.]]*n, dtype=torch.float64)
    y = sim(theta) + noise*torch.randn(n, 1, 128, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    m = Measurement(sim, y, Gaussian(noise))
    fit, ends, told = ranged_ends(m, map_estimate(m))
    off = (ends[:,:,0]/ends_on_grid(sim, y, noise)).log().abs().amax(1).exp()
    assert told['bent'][off > 3,0].all() and (off > 3).any() == (amount > 1), off
    assert not told['bent'][:,1].any()                                # a range that is not of decades
    if amount == 1 and noise < .3: assert not told['bent'].any()
    got = Results(sim.space, fit.theta, fit.sd, ends[:,0], ends[:,1], fit.ratio, torch.ones(n, dtype=torch.bool), torch.ones(n), **told)
    for i in told['bent'][:,0].nonzero()[:,0].tolist():
        if told['limits'][i,0] or told['beyond'][i,0]: continue
        assert got.flag(i, 'mf_X') == 'interval not trusted' and 'interval not trusted: mf_X' in got.sentence(i)
    draws = sample_posterior(m, key=('dark',))                               # about the fit: they miss what is far above it
    high = draws.interval(.95)[:,1]
    off = (high[:,0]/ends_on_grid(sim, y, noise)[:,1]).log().abs().exp()
    said = told_by_range(m, draws.mean(), draws.sd(), None, high)['bent'][:,0]
    assert said[off > 3].all() and (off > 3).any() == (amount > 1)
    if amount == 1 and noise < .3: assert not said.any()

@pytest.mark.parametrize('amount, lower, upper', [(.3, 1.6, 1.08), (10., 1.05, 1.05), (100., 1.05, 1.05)])
def test_a_strong_line_is_no_weak_amount(amount, lower, upper):
    "Errors of 15 to 30 %: a saturated line follows the logarithm of its amount, a thin one the amount; as the posterior on a grid has it."
    sim, n, noise = Line(1e-3, 1e3, True), 8, .28
    theta = torch.tensor([[amount, 1.]]*n, dtype=torch.float64)
    y = sim(theta) + noise*torch.randn(n, 1, 128, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    m = Measurement(sim, y, Gaussian(noise))
    fit = map_estimate(m)
    assert (fit.sd[:,0] > .1*fit.theta[:,0]).all()
    off = (ranged_ends(m, fit)[1][:,:,0]/ends_on_grid(sim, y, noise)).log().abs().median(0).values.exp()
    assert off[0] < lower and off[1] < upper, off

def test_the_shares_of_an_error_stay_shares():
    "What is known beforehand has the part of a limit's error that it had; the covariance goes along."
    sim = Band(1e-4, 1, True)
    y = sim(torch.tensor([[1e-3, 1.]]).double())
    m = Measurement(sim, y, Gaussian(NOISE), dict(base=(1., .01)))
    e = map_estimate(m)
    better, _, told = ranged_ends(m, e)
    assert told['limits'].tolist() == [[True, False]] and better.sd[0,0] != e.sd[0,0]
    torch.testing.assert_close(better.sd_stat/better.sd, e.sd_stat/e.sd)
    torch.testing.assert_close(better.cov[0,0,0].sqrt(), better.sd[0,0])
    torch.testing.assert_close(better.cov[0,1,1], e.cov[0,1,1])
    assert 0 < better.sd_stat[0,0] < better.sd[0,0]
