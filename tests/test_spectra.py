"The table stays with the exact sum in every preset's box, in value and in derivative; planted errors are seen."
import os
from dataclasses import replace
from pathlib import Path
import numpy as np
import pytest
import torch
from physlearn.params import normals
from physlearn.posterior import Gaussian, crlb, jacobian, map_estimate
from physlearn.spectra.hitran import demo_lines, read_lines, read_partition_sums
from physlearn.spectra.simulate import PRESETS, preset

DATA = os.environ.get('PHYSLEARN_DATA')

def lines_of(name):
    if name == 'reference': return {}
    if not DATA: pytest.skip('PHYSLEARN_DATA is not set: the near-infrared line list is not in the package')
    return dict(lines=read_lines(Path(DATA)/'hitran/ch4_5952_6097_f32.csv'), Q=read_partition_sums(Path(DATA)/'hitran/partition_sums.csv', edition=2021))

def distance(a, b): return float(((a - b).abs().amax(1)/b.abs().amax(1)).max())

@pytest.mark.parametrize('name', PRESETS)
def test_table_agrees_with_exact(name):
    kw = lines_of(name)
    table, exact = preset(name).simulator(method='table', **kw), preset(name).simulator(**kw)
    theta = table.space.sample(16, 'test', name)                       # had no part in building the table
    assert table.table_error <= 2e-5
    assert distance(table.optical_depth(theta), exact.optical_depth(theta)) <= 2e-5
    a, b = (jacobian(s, theta[:4])[1].double() for s in (table, exact))
    error = ((a - b).abs().amax(2)/b.abs().amax(2)).amax(0)
    assert float(error.max()) <= 1e-3, dict(zip(table.space, error.tolist()))

@pytest.mark.parametrize('spoil', ['gamma_air', 'n_air', 'delta_air', 'elower'])
def test_planted_errors_are_seen(spoil):
    "One per cent more on one column of the strongest line is far outside the agreement that is asked for."
    lines = demo_lines()
    wrong = getattr(lines, spoil).copy(); wrong[lines.sw.argmax()] *= 1.01
    a, b = (preset('reference').simulator(l) for l in (lines, replace(lines, **{spoil: wrong})))
    theta = a.space.quantile(torch.full((1, len(a.space)), .9, dtype=torch.float64))
    assert distance(b.optical_depth(theta), a.optical_depth(theta)) > 5e-5

@pytest.mark.parametrize('state', [2, 7, 8, 12])
def test_spectra_of_another_program_are_read_without_bias(state):
    "hitran-api's signal and 400 draws of noise; `benchmarks/bound.py` does all states, and says what happens at the end of a range."
    if not DATA: pytest.skip('PHYSLEARN_DATA is not set: the reference spectra are not in the package')
    folder, ref = Path(DATA)/'hitran', np.load(Path(DATA)/'reference/hapi_spectra.npz', allow_pickle=False)
    lines = read_lines(folder/'ch4_3035_3136.par').select(numin=3060, numax=3112, min_sw=1e-25) + read_lines(folder/'h2o_3035_3136.par').select(numin=3060, numax=3112, min_sw=1e-26)
    sim, like = preset('reference').simulator(lines, method='table'), Gaussian(relative=.002)
    i = np.flatnonzero(ref['kind'] == 'random')[state]
    truth = dict(zip(['step' if k == 'dsig' else k for k in ref['param_names'].tolist()], ref['params'][i].tolist()))
    y = torch.tensor(ref['signal'][i])*(1 + .002*normals(400, 800, 'bias', state, dtype=torch.float64))
    known, j = {k: truth[k] for k in 'PT'}, sim.space.index('mf_CH4')
    e = map_estimate(sim, y[:,None], like, known=known)
    bound = crlb(sim, torch.tensor([[truth[k] for k in sim.space]], dtype=torch.float64), like, {k: (v, 0.) for k, v in known.items()}, how='range')[0,j]
    z = (e.theta[:,j] - truth['mf_CH4'])/bound
    assert e.ok.float().mean() > .99 and abs(z.mean()) < .2 and .85 < z.std() < 1.15, (z.mean(), z.std())

def test_plain_loop_without_fastai():
    "The simulator is a torch module: a plain loop finds a mole fraction."
    sim = preset('reference').simulator(method='table')
    truth = sim.space.quantile(torch.full((1, 9), .5, dtype=torch.float64)); truth[0,2] = 5e-6
    y, u = sim(truth), sim.space.encode(truth).clone()
    u[0,2] = .5; u.requires_grad_()
    opt = torch.optim.LBFGS([u], lr=.5, max_iter=30)
    mask = torch.zeros(9, dtype=torch.float64); mask[2] = 1
    def step():
        opt.zero_grad(); loss = 1e4*((sim(sim.space.decode(u)) - y)**2).sum(); loss.backward(); u.grad *= mask
        return loss
    opt.step(step)
    assert abs(sim.space.decode(u)[0,2].item()/5e-6 - 1) < 1e-3
