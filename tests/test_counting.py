"The likelihood of counts: against sums with many digits, integrals, differences and the bias that it shall not have."
import math
import numpy as np
import pytest
import torch
from mpmath import mp, mpf
from scipy import integrate, stats
from physlearn.likelihood import Likelihood, Measurement, Poisson
from physlearn.lightcurve.counting import (Counts, SplitNormal, background_prior, log_laplace, log_marginal, log_profile,
                                           split_normal)
from physlearn.lightcurve.rates import Rates
from physlearn.misfit import misfit
from physlearn.params import normals
from physlearn.posterior import crlb, map_estimate

def T(*v): return torch.tensor([float(x) for x in v], dtype=torch.float64)

def exact(C, s, B, r, a=.5, b=0.):
    "Every term of the sum with 40 digits."
    with mp.workdps(40):
        A, R, s, r = mpf(B) + mpf(a), 1 + mpf(b), mpf(s), mpf(r)
        q = r/(R + r)
        if s == 0: total = mp.rf(A, C)/mp.factorial(C)*q**C
        else:
            total = term = s**C/mp.factorial(C)
            for k in range(C):
                term = term*(C - k)/s*(A + k)/(k + 1)*q
                total += term
        return float(mp.log(total) - s + A*mp.log(R/(R + r)))

@pytest.mark.parametrize('C', [0, 1, 2, 9, 32, 33, 150, 1000])
def test_exact_at_all_counts(C):
    "Rates from none to twice what was counted, backgrounds from none to a million photons, any ratio of areas."
    cases = [(C, s, B, r) for s in (0, 1e-9, .02, 3, 40, 1100) for B in (0, 1, 40, 1e4, 1e6) for r in (1e-9, .012, .3, 5)]
    found = log_marginal(*torch.tensor(cases, dtype=torch.float64).T).tolist()
    for case, value in zip(cases, found):
        right = exact(*case)
        assert abs(value - right) < 1e-9 + 1e-13*abs(right), case

def test_exact_with_a_prior():
    for a, b in ((1., 0.), (2.7, .4), (300., 12.5)):
        for C, s, B, r in ((0, .1, 3, .01), (7, 2., 30, .2), (60, 30., 100, .3), (400, 380., 9, .012)):
            assert abs(log_marginal(*T(C, s, B, r), a, b).item() - exact(C, s, B, r, a, b)) < 1e-9

@pytest.mark.parametrize('C,s,B,r', [(0, .2, 5, .012), (0, 0, 0, .3), (3, .7, 0, .2), (40, 25., 30, .4), (200, 150., 400, .1)])
def test_numerical_integration(C, s, B, r):
    f = lambda y: 2*y*math.exp(stats.poisson.logpmf(C, s + r*y*y) + stats.gamma.logpdf(y*y, B + .5))
    top = math.sqrt(B + .5)
    parts = [integrate.quad(f, lo, hi, epsabs=0, epsrel=1e-12, limit=500)[0]
             for lo, hi in ((1e-12, max(top - 2, .1)), (max(top - 2, .1), top + 2), (top + 2, top + 9))]
    assert abs(log_marginal(*T(C, s, B, r)).item() - math.log(sum(parts))) < 1e-9

@pytest.mark.parametrize('s,B,r', [(0., 3, .012), (.2, 0, .3), (25., 8, .2), (300., 1000, .1), (3., 2, 5.)])
def test_sums_to_one(s, B, r):
    n = int(s + r*(B + 1) + 60*math.sqrt(s + r*(1 + r)*(B + 1)) + 200*(1 + r))
    assert abs(log_marginal(torch.arange(n), T(s), T(B), T(r)).exp().sum().item() - 1) < 1e-10

def test_without_background_it_is_poisson():
    C, s = T(0, 1, 5, 33, 40, 5000), T(.3, .3, 7, 30, 36, 5100)
    for r in (0., 1e-13):
        assert np.allclose(log_marginal(C, s, T(4), T(r)), stats.poisson.logpmf(C, s), rtol=0, atol=1e-9)
    assert log_marginal(T(3), T(0), T(4), T(0)).item() == -math.inf and log_marginal(T(3), T(-1), T(4), T(.1)).item() == -math.inf

def test_slopes_of_any_rate():
    "First and second derivative by the source: against ratios of exact sums, at no source too."
    for C, B, r in ((1, 3, .012), (6, 0, .2), (31, 12, .3), (40, 12, .3), (900, 100, .1)):
        for s in (0., 1e-7, .5, C*.9, 2.*C):
            x = T(s).requires_grad_()
            slope, = torch.autograd.grad(log_marginal(T(C), x, T(B), T(r)), x, create_graph=True)
            bend, = torch.autograd.grad(slope, x)
            p = [math.exp(exact(C - j, s, B, r) - exact(C, s, B, r)) if j <= C else 0. for j in range(3)]
            assert abs(slope.item() - (p[1] - 1)) < 1e-9*(1 + p[1]), (C, s)
            assert abs(bend.item() - (p[2] - p[1]**2)) < 1e-8*(1 + p[1]**2), (C, s)
    x = T(0).requires_grad_()
    assert torch.autograd.grad(log_marginal(T(0), x, T(3), T(.1)), x)[0].item() == -1.

def test_slopes_are_those_of_differences():
    C, B, r = T(0, 2, 20, 33, 500), T(5, 0, 9, 50, 700), T(.012, .1, .3, .2, .1)
    s = T(.4, 1.3, 16, 25, 420).requires_grad_()
    slope, = torch.autograd.grad(log_marginal(C, s, B, r).sum(), s)
    h = 1e-5*s.detach()
    difference = (log_marginal(C, s.detach() + h, B, r) - log_marginal(C, s.detach() - h, B, r))/(2*h)
    assert torch.allclose(slope, difference, rtol=1e-6, atol=1e-7)

def test_a_sample_does_not_hang_on_others():
    "Bit for bit, alone or among others of any counts."
    g = torch.Generator().manual_seed(0)
    C = torch.poisson(torch.tensor([.1, 2., 30., 60., 900.]).repeat(40), g).double()
    s, B, r = C*.8 + .1, torch.poisson(torch.full((200,), 20.), g).double(), torch.full((200,), .05).double()
    whole = log_marginal(C, s, B, r)
    for i in range(0, 200, 7): assert log_marginal(C[i], s[i], B[i], r[i]).item() == whole[i].item()

def test_profile_and_laplace():
    for C, s, B, r in ((4, 2., 6, .3), (0, 1., 3, .1), (50, 20., 30, .5), (0, 0., 4, .2), (9, 0., 4, .2)):
        f = lambda x: stats.poisson.logpmf(C, s + r*x) + stats.poisson.logpmf(B, x)
        grid = np.linspace(1e-9, 4*(B + C/r + 1), 400_001)
        assert abs(log_profile(*T(C, s, B, r)).item() - f(grid).max()) < 1e-6
    for B in (0, 3):                                            # no photon beside: the root that is never negative
        x = T(0., .2, 5.).requires_grad_()
        value = log_profile(T(2), x, T(B), T(.1))
        assert torch.isfinite(torch.autograd.grad(value.sum(), x)[0]).all() and torch.isfinite(value).all()
    for n, far in ((10, .02), (100, .002), (10_000, 2e-5)):     # nearer, the more photons
        assert abs(log_laplace(*T(n, .6*n, n, .4)) - log_marginal(*T(n, .6*n, n, .4))).item() < far
    gap = [(log_marginal(*T(50, s, 30, .1)) - log_profile(*T(50, s, 30, .1))).item() for s in (40., 47., 60.)]
    assert max(gap) - min(gap) < .3 and abs(gap[0]) > 1.        # never to be mixed

ROWS = dict(exposure=[24., 0., 20., 5.], back=[8., math.nan, 3., 0.], ratio=[.0125, math.nan, .02, .0125])

@pytest.mark.parametrize('form', ['marginal', 'laplace', 'profile'])
def test_what_is_masked_changes_no_bit(form):
    got = []
    for left, beside, model in ((0., 1., .2), (math.nan, math.nan, math.nan), (1e30, 1e30, 1e30), (-3.5, math.inf, -1.)):
        like = Counts(*(torch.tensor([beside if v != v else v for v in ROWS[k]], dtype=torch.float64) for k in ROWS), form=form)
        mu = torch.tensor([[[.1, model, .3, 0.]]], dtype=torch.float64, requires_grad=True)
        value = like.log_prob(torch.tensor([[[3., left, 50., 0.]]], dtype=torch.float64), mu)
        slope, = torch.autograd.grad(value.sum(), mu)
        got.append((value.item(), *slope.flatten().tolist()))
        white, info = like.whiten(torch.tensor([[[3., left, 50., 0.]]], dtype=torch.float64), mu.detach()), like.information(mu.detach())
        assert white[0,0,1] == 0 and info[0,0,1] == 0 and torch.isfinite(white).all() and torch.isfinite(info).all()
    assert got[0] == got[1] == got[2] == got[3] and got[0][2] == 0 and np.isfinite(got[0]).all()
    with pytest.raises(ValueError, match='unknown form'): Counts(torch.ones(2), form='mixed')

def test_a_fit_and_its_bound():
    "Rates come back, pulls have unit variance, the misfit of right models is none."
    n, visits = 300, 12
    sim = Rates('constant', 14_400.*np.arange(visits), np.full(visits, 40.))
    g = torch.Generator().manual_seed(4)
    like = Counts(torch.full((n, 1, visits), 24.), torch.poisson(torch.full((n, 1, visits), 8.), g), .0125)
    assert isinstance(like, Likelihood)
    truth = torch.full((n, len(sim.space)), 2., dtype=torch.float64)
    y = like.draw(sim(truth), normals(n, visits, 'counting', dtype=torch.float64).view(n, 1, visits))
    found = map_estimate(sim, y, like, start=truth[0])
    pull = (found.theta[:,0] - 2)/found.sd[:,0]
    assert abs(pull.mean()) < .2 and .85 < pull.std() < 1.15
    like = like.shaped(n, (1, visits))
    bound = crlb(sim, truth[:1], like[:1])[0,0].item()
    var = 24*2 + .0125*8.5*1.0125
    assert abs(bound/(math.sqrt(var/visits)/24) - 1) < .02 and abs(bound/found.sd.mean().item() - 1) < .1
    m = Measurement(sim, y, like)
    assert len(m[3:5]) == 2 and m[3:5].like.back.shape[0] == 2
    told = misfit(m, theta=found.theta, draws=400)
    assert .01 < stats.kstest(told.p.double().flatten().numpy(), 'uniform').pvalue, told

def test_information_is_that_of_all_counts():
    "Sum over C of the squared slope: equal without background, and within 1 % at the ratios of real regions."
    for s, B, r, bar in ((3., 0, 1e-12, 1e-9), (.5, 8, .0125, .01), (20., 100, .0125, .01)):
        C = torch.arange(100).double()
        x = T(s).expand(100).clone().requires_grad_()
        value = log_marginal(C, x, T(B), T(r))
        slope, = torch.autograd.grad(value.sum(), x)
        p = value.detach().exp()
        told = Counts(T(1.), T(B), T(r)).information(T(s)[None])
        assert abs(told.item()/(p*slope**2).sum().item() - 1) < bar

def expected_bias(rate, prior, e=10., beta=6., r=.0125):
    "Bias [%] of the most probable constant rate of very many steps: where the mean slope over all counts is 0."
    B, C = torch.arange(25.).double(), torch.arange(12.).double()
    weight = (T(*stats.poisson.pmf(B, beta))[:,None]*T(*stats.poisson.pmf(C, rate*e + r*beta)))
    a, b = prior if isinstance(prior, tuple) else (prior, 0.)
    low, high = rate*.5, rate*1.5
    for _ in range(30):
        s = torch.tensor((low + high)/2*e, dtype=torch.float64, requires_grad=True)
        slope, = torch.autograd.grad((weight*log_marginal(C[None], s, B[:,None], T(r), a, b)).sum(), s)
        low, high = ((low + high)/2, high) if slope > 0 else (low, (low + high)/2)
    return 100*(low/rate - 1)

def test_bias_of_faint_rates():
    "A flat prior takes 3 to 7 % away at 0.02 ct/s; Jeffreys' and the source's other visits do not."
    for beta, r in ((6., .0125), (1.6, .0125), (5., .015)):
        assert -7 < expected_bias(.02, 1., beta=beta, r=r) < -3
        for rate in (.02, .05, .2): assert -2.7 < expected_bias(rate, .5, beta=beta, r=r) < .3
    a, b = background_prior(torch.full((20,), 6.), torch.ones(20))
    assert abs(expected_bias(.02, (a[0].item(), b[0].item()))) < .5

def test_split_normal_takes_the_side_of_the_model():
    assert split_normal(T(3), T(5), T(1), T(4)).item() == pytest.approx(math.log(2/math.sqrt(2*math.pi)/5) - .5*(2/4)**2)
    assert split_normal(T(3), T(2), T(1), T(4)).item() == pytest.approx(math.log(2/math.sqrt(2*math.pi)/5) - .5)
    x = torch.linspace(-40, 60, 200_001, dtype=torch.float64)
    assert split_normal(x, T(3), T(1), T(4)).exp().sum().item()*5e-4 == pytest.approx(1, abs=1e-6)
    even = [split_normal(T(3), T(4), T(2), T(2), variable=v).item() for v in (False, True)]
    assert even == pytest.approx([stats.norm.logpdf(3, 4, 2)]*2)
    near = split_normal(T(3), T(3 + 4), T(1), T(4), variable=True) - split_normal(T(3), T(3), T(1), T(4), variable=True)
    assert near.item() == pytest.approx(-.5)                    # at the upper error: half a unit, as at the lower one
    below = split_normal(T(3), T(3 - 1), T(1), T(4), variable=True) - split_normal(T(3), T(3), T(1), T(4), variable=True)
    assert below.item() == pytest.approx(-.5)

def test_split_normal_as_a_likelihood():
    low, high = torch.tensor([1., 0., .5, math.nan]), torch.tensor([4., 2., .5, 1.])
    like = SplitNormal(low, high)
    got = []
    for left in (0., math.nan, 1e30):
        mu = torch.tensor([[[1., .2, .3, left]]], dtype=torch.float64, requires_grad=True)
        value = like.log_prob(torch.tensor([[[3., left, .2, left]]], dtype=torch.float64), mu)
        got.append((value.item(), *torch.autograd.grad(value.sum(), mu)[0].flatten().tolist()))
    assert got[0] == got[1] == got[2] and got[0][2] == got[0][4] == 0 and np.isfinite(got[0]).all()
    mu = torch.full((1, 1, 100_000), 2., dtype=torch.float64)
    wide = SplitNormal(T(1.), T(4.))
    y = wide.draw(mu, normals(1, 100_000, 'split', dtype=torch.float64)[None])
    assert abs((y < 2).double().mean().item() - .8) < .005      # below the model the wide half
    white = wide.whiten(y, mu)
    assert abs(white.square().mean().item() - 1) < .02
    x = mu[:,:,:1].clone().requires_grad_()
    slopes = (y - 2)/torch.where(y < 2, 4., 1.)**2
    assert slopes.square().mean().item() == pytest.approx(wide.information(x.detach()).item(), rel=.02)
    m = Measurement(Rates('constant', [0., 14_400, 28_800, 43_200], [40.]*4), torch.tensor([[[3., math.nan, 2.5, 0.]]]), like)
    assert m.points.tolist() == [2]
    with pytest.raises(ValueError, match='distance'): SplitNormal(T(-1.), T(1.))
    with pytest.raises(ValueError, match='nothing to compare'): SplitNormal(T(0.), T(1.))

def test_counts_without_background_agree_with_poisson():
    y, mu = T(0, 3, 9).view(1, 1, 3), T(.1, .2, .5).view(1, 1, 3)
    a, b = Counts(torch.full((3,), 20.), 0., 1e-12), Poisson(20.)
    assert a.log_prob(y, mu).item() == pytest.approx(b.log_prob(y, mu).item(), abs=1e-9)
    assert torch.allclose(a.whiten(y, mu), b.whiten(y, mu), atol=1e-9)

def test_a_background_at_its_mean():
    "Poisson of scipy, from no photon to a hundred thousand, in single precision as well; without a background that of the marginal."
    from scipy import stats
    from physlearn.lightcurve.counting import log_marginal, log_plug_in
    C = torch.tensor([0., 1., 3., 40., 900., 1e5]).double()
    for s in (.01*torch.ones(6).double(), C*1.1 + .5, C*.9 + 2):
        B, r = torch.tensor([0., 3., 80., 9., 100., 2000.]).double(), torch.full((6,), .012).double()
        want = torch.from_numpy(stats.poisson.logpmf(C.numpy(), (s + r*(B + .5)).numpy()))
        torch.testing.assert_close(log_plug_in(C, s, B, r), want, rtol=1e-9, atol=1e-9)
    s = C*1.01 + .5
    single = log_plug_in(*(v.float() for v in (C, s, B, r))).double()
    assert (single - log_plug_in(C, s, B, r)).abs().max() < .1
    torch.testing.assert_close(log_plug_in(C, s, 0*B, 1e-12 + 0*r), log_marginal(C, s, 0*B, 1e-12 + 0*r), rtol=1e-7, atol=1e-7)
