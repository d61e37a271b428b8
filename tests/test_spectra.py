"The table stays with the exact sum in every preset's box, in value and in derivative; planted errors are seen."
import os
from dataclasses import replace
from pathlib import Path
import numpy as np
import pytest
import torch
from physlearn.params import normals
from physlearn.posterior import Gaussian, crlb, map_estimate
from physlearn.spectra.hitran import demo_lines, read_lines, read_partition_sums
from physlearn.spectra.simulate import PRESETS, preset

DATA = os.environ.get('PHYSLEARN_DATA')
# new middle of the axis [cm⁻¹], methane's Q branch, and by how much it is shortened; 'leak' keeps more than 4096 points
NARROWER = dict(near_infrared=(6004.8, 16), atmospheric=(6004.8, 16), leak=(6000, 1.75), calibration=(6004.8, 8))

@pytest.fixture(scope='module')
def near_infrared():
    if not DATA: pytest.skip('PHYSLEARN_DATA is not set: the near-infrared line list is not in the package')
    folder = Path(DATA)/'hitran'
    Q = read_partition_sums(folder/'partition_sums.csv', edition=2021)
    return dict(lines=read_lines(folder/'ch4_5952_6097_f32.csv'), Q=Q)

@pytest.fixture(scope='module')
def reference(): return preset('reference').simulator(method='table')

def narrowed(space, middle, factor):
    "The same gas on a shorter axis: ranges of its middle and width divided by `factor`."
    centre, span = space['centre'], space['span']
    half = (centre.hi - centre.lo)/2/factor
    return space.replace(centre=replace(centre, lo=middle - half, hi=middle + half),
                         span=replace(span, lo=span.lo/factor, hi=span.hi/factor))

def distance(a, b): return float(((a - b).abs().amax(1)/b.abs().amax(1)).max())

@pytest.mark.parametrize('name', PRESETS)
def test_table_agrees_with_exact(name, request):
    p, kw = preset(name), {}
    if name in NARROWER: kw = dict(request.getfixturevalue('near_infrared'), space=narrowed(p.space, *NARROWER[name]))
    exact = p.simulator(**kw)
    table = p.simulator(method='table', **kw) if name in NARROWER else request.getfixturevalue('reference')
    theta = table.space.sample(8, 'test', name)                        # had no part in building the table
    assert table.table_error <= 2e-5
    assert distance(table.optical_depth(theta), exact.optical_depth(theta)) <= 2e-5
    a, b = (sim.jacobian(theta[:4])[1].double() for sim in (table, exact))
    error = ((a - b).abs().amax(2)/b.abs().amax(2)).amax(0)
    assert float(error.max()) <= 1e-3, dict(zip(table.space, error.tolist()))

@pytest.mark.parametrize('spoil', ['gamma_air', 'n_air', 'delta_air', 'elower'])
def test_planted_errors_are_seen(spoil):
    "One per cent more on one column of the strongest line is far outside the agreement that is asked for."
    lines = demo_lines()
    wrong = getattr(lines, spoil).copy()
    wrong[lines.sw.argmax()] *= 1.01
    a, b = (preset('reference').simulator(l) for l in (lines, replace(lines, **{spoil: wrong})))
    theta = a.space.quantile(torch.full((1, len(a.space)), .9, dtype=torch.float64))
    assert distance(b.optical_depth(theta), a.optical_depth(theta)) > 5e-5

@pytest.fixture(scope='module')
def other_program():
    "Spectra of hitran-api and the simulator for its lines."
    if not DATA: pytest.skip('PHYSLEARN_DATA is not set: the reference spectra are not in the package')
    folder = Path(DATA)/'hitran'
    methane = read_lines(folder/'ch4_3035_3136.par').select(numin=3060, numax=3112, min_sw=1e-25)
    water = read_lines(folder/'h2o_3035_3136.par').select(numin=3060, numax=3112, min_sw=1e-26)
    spectra = np.load(Path(DATA)/'reference/hapi_spectra.npz', allow_pickle=False)
    return spectra, preset('reference').simulator(methane + water, method='table')

@pytest.mark.parametrize('state', [2, 7, 8, 12])
def test_spectra_of_another_program_are_read_without_bias(state, other_program):
    "hitran-api's signal and 400 draws of noise; `benchmarks/bound.py` does all states and the ends of the ranges."
    (ref, sim), like = other_program, Gaussian(relative=.002)
    i = np.flatnonzero(ref['kind'] == 'random')[state]
    names = ['step' if k == 'dsig' else k for k in ref['param_names'].tolist()]
    truth = dict(zip(names, ref['params'][i].tolist()))
    theta = torch.tensor([[truth[k] for k in sim.space]], dtype=torch.float64)
    y = torch.tensor(ref['signal'][i])*(1 + .002*normals(400, 800, 'bias', state, dtype=torch.float64))
    known, j = {k: truth[k] for k in 'PT'}, sim.space.index('mf_CH4')
    e = map_estimate(sim, y[:,None], like, known=known)
    bound = crlb(sim, theta, like, {k: (v, 0.) for k, v in known.items()}, how='range')[0,j]
    z = (e.theta[:,j] - truth['mf_CH4'])/bound
    assert e.ok.float().mean() > .99 and abs(z.mean()) < .2 and .85 < z.std() < 1.15, (z.mean(), z.std())

def test_plain_loop_without_fastai(reference):
    "The simulator is a torch module: a plain loop finds a mole fraction."
    sim, k = reference, reference.space.index('mf_CH4')
    truth = sim.space.quantile(torch.full((1, 9), .5, dtype=torch.float64))
    truth[0,k] = 5e-6
    y, u = sim(truth), sim.space.encode(truth).clone()
    u[0,k] = .5
    u.requires_grad_()
    opt = torch.optim.LBFGS([u], lr=.5, max_iter=30)
    mask = torch.zeros(9, dtype=torch.float64)
    mask[k] = 1
    def step():
        opt.zero_grad()
        loss = 1e4*((sim(sim.space.decode(u)) - y)**2).sum()
        loss.backward()
        u.grad *= mask
        return loss
    opt.step(step)
    assert abs(sim.space.decode(u)[0,k].item()/5e-6 - 1) < 1e-3
