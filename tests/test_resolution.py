"A line shape whose width is fitted: errors are as large as stated, and a fit that forgets the instrument is wrong."
import numpy as np
import pytest
import torch
from physlearn.params import Param, normals
from physlearn.posterior import Gaussian, crlb, identifiable, map_estimate
from physlearn.spectra.resolution import SHAPES, SLITS, InstrumentLineShape, line_shape
from physlearn.spectra.simulate import preset

N = 200
LIKE = Gaussian(relative=.002)

@pytest.fixture(scope='module')
def seen():
    return InstrumentLineShape(preset('reference').simulator(method='table'), 'gaussian', Param(.005, .04, '1/cm'))

@pytest.fixture(scope='module')
def data(seen):
    "States with methane of 1 to 29 ppm and widths in the middle of their range, noisy signals of the exact sum, gauges."
    draws = InstrumentLineShape(preset('reference').simulator(space=seen.bare.space.replace(mf_CH4=Param(1e-6, 2.9e-5, log=True))), 'gaussian', Param(.015, .03, '1/cm'))
    theta = draws.space.sample(N, 'test instrument')
    with torch.no_grad(): y = torch.cat([draws(t) for t in theta.split(25)]).double()
    return theta, y*(1 + .002*normals(N, 800, 'test instrument', dtype=torch.float64)[:,None]), {k: v for k, v in draws.space.columns(theta).items() if k in 'PT'}

def z(e, theta, names):
    "Errors over the stated standard deviations (N,k)."
    js = [e.space.index(k) for k in names]
    return (e.theta[:,js] - theta[:,js])/e.sd[:,js]

def test_width_and_amount_within_their_errors(seen, data):
    theta, y, known = data
    e = map_estimate(seen, y, LIKE, known=known)
    rms = z(e, theta, ('mf_CH4', 'ils')).square().mean(0).sqrt()
    assert e.ok.float().mean() > .98
    assert ((rms > .85) & (rms < 1.15)).all(), rms                       # sd of an RMS over 200 is 0.05
    bound = crlb(seen, theta, LIKE, {k: (v, 0.) for k, v in known.items()}, how='range')[:,seen.space.index('mf_CH4')]
    assert .8 < ((e.theta - theta)[:,seen.space.index('mf_CH4')]/bound).square().mean().sqrt() < 1.15

def test_without_the_line_shape_methane_is_wrong(seen, data):
    theta, y, known = data
    off = z(map_estimate(seen.bare, y, LIKE, known=known), theta, ('mf_CH4',))
    assert off.median() < -3 and off.square().mean().sqrt() > 5, (off.median(), off.square().mean().sqrt())

def test_a_shape_of_the_wrong_kind_is_a_smaller_error(seen, data):
    "Triangle for Gaussian: a fitted width takes most of it up, and the strongest spectra still tell."
    theta, y, known = data
    other = InstrumentLineShape(preset('reference').simulator(method='table'), 'triangular', Param(.005, .05, '1/cm'))
    wrong, none = (z(map_estimate(s, y, LIKE, known=known), theta, ('mf_CH4',)).square().mean().sqrt() for s in (other, seen.bare))
    assert 1.2 < wrong < .3*none, (wrong, none)

def test_a_planted_error_in_the_width_is_seen(seen, data):
    theta, y, known = data
    e = map_estimate(seen, y, LIKE, known=known | dict(ils=1.15*theta[:,-1]))
    assert z(e, theta, ('mf_CH4',)).square().mean().sqrt() > 1.3

def test_with_pressure_unknown_the_width_takes_its_place(seen):
    "Pressure and instrument broaden in nearly the same way, and the table says so before anything is measured."
    known = dict(T=307.65)
    tells = {who: {r['name']: r for r in identifiable(s.space, s, LIKE, known, n=16).rows} for who, s in (('bare', seen.bare), ('seen', seen))}
    assert tells['seen']['P']['joint'] > 1.5*tells['bare']['P']['joint']

@pytest.mark.parametrize('kind', SHAPES)
def test_every_shape_against_a_sum_by_hand(kind):
    "The convolution as a plain sum over a fine grid of its own, in numpy."
    exact = preset('reference').simulator(dtype=torch.float64)
    sim = InstrumentLineShape(exact, kind, Param(.015, .025, '1/cm'))
    th = sim.space.quantile(torch.full((1, len(sim.space)), .5, dtype=torch.float64))
    th[0,2] = 2e-5
    th[0,-1] = .02
    reach = 3 if kind in SLITS else min(sim.pad, 60)
    fine = np.arange(3085.44 - reach*.02, 3086.57 + reach*.02, 1e-3)
    absorbed = 1 - np.exp(-exact.optical_depth(th[:,:-1], torch.tensor(fine))[0].numpy())
    at = sim.wavenumber(th)[0].numpy()[::40]
    shape = line_shape(kind, torch.tensor(at[:,None] - fine), torch.tensor(.02, dtype=torch.float64)).numpy()*1e-3
    got = 1 - sim.transmittance(th)[0].numpy()[::40]
    assert np.abs(got - shape @ absorbed).max() < (2e-5 if kind in SLITS else 2e-3)
