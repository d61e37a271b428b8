"Leaf, canopy and forest together, as the rest of the house uses them."
import copy
from importlib import resources
import pytest
import torch
from physlearn.canopy.inform import Inform, sensor, spectra_of, states_with_corners, surface_bands
from physlearn.canopy.prospect import NM, leaf_table
from physlearn.canopy.sail import soils
from physlearn.data import SeedDL, SimSource
from physlearn.params import Param, ParamSpace
from physlearn.posterior import jacobian

ANGLES = ParamSpace(tts=Param(20, 70, 'deg'), tto=Param(0, 12, 'deg'), psi=Param(0, 180, 'deg'))

@pytest.fixture(scope='module')
def sim(): return Inform()

def test_tables_come_with_their_licences():
    data = resources.files('physlearn.canopy')/'data'
    names = {p.name for p in data.iterdir()}
    assert names >= {'leaf.csv', 'soil.csv', 'responses.csv', 'LICENSES.txt'}
    assert not any(n.endswith(('.pkl', '.npy')) for n in names)
    text = (data/'LICENSES.txt').read_text()
    assert 'Copyright (c) 2025 Peng Sun' in text and 'Apache License, Version 2.0' in text
    for n in ('leaf.csv', 'soil.csv', 'responses.csv'):
        head = [l for l in (data/n).read_text().splitlines() if l.startswith('#')]
        assert n in text and any('source:' in l for l in head) and (data/n).stat().st_size < 150_000

def test_tables_are_physical():
    t = leaf_table()
    assert 1.2 < t['n'].min() and t['n'].max() < 1.6 and (soils() > 0).all() and (soils() < 1).all()
    assert (soils()[0] > soils()[1]).all()                                        # dry soil is brighter

@pytest.mark.parametrize('name', ['S2A', 'S2B', 'L8', 'L9'])
def test_bands_stand_in_order_of_their_names_wavelengths(name):
    b = surface_bands(name)
    assert set(b.names) <= set(sensor(name).names)
    assert torch.allclose(b.W.sum(1), torch.ones(len(b.names), dtype=torch.float64))
    c = b.centre.tolist()
    assert sorted(c) == c and NM[0] < c[0] and c[-1] < NM[-1]

@pytest.mark.parametrize('name', ['S2B', 'L8', 'L9'])
def test_nodes_of_other_sensors(name):
    fast, exact = Inform(name, LAIu=3.), Inform(name, route='bands', LAIu=3.)
    theta, cond = states_with_corners(fast, 600, 'elsewhere')
    off = (spectra_of(fast, theta, cond) - spectra_of(exact, theta, cond)).abs().max()
    assert off < 1.2e-4 and len(fast.leaf) < 40 and off < 1.5*fast.node_error.max() + 2e-6

def test_rows_do_not_know_their_batch(sim):
    "Row i is a function of (seed, epoch, i), angles included."
    source = SimSource(sim, cond=ANGLES)
    def read(bs):
        batches = [b for b, _ in SeedDL(source, bs, 96, seed=3)]
        return {k: torch.cat([b[k] for b in batches]) for k in ('x', 'theta', 'tts')}
    rows = [read(bs) for bs in (96, 32, 7)]
    for other in rows[1:]:
        for k, v in rows[0].items(): assert torch.equal(v, other[k]), k
    assert rows[0]['x'].shape == (96, 1, 11) and 0 < rows[0]['x'].min() and rows[0]['x'].max() < 1

def test_nothing_to_save_and_nothing_remembered(sim):
    assert not list(sim.parameters()) and not sim.state_dict()
    theta = sim.space.sample(4, 'memory')
    before = sim(theta, 30.)
    sim(sim.space.sample(9, 'others'), torch.linspace(10, 60, 9), 5., 40.)
    for s in (sim, copy.deepcopy(sim), Inform()): assert torch.equal(s(theta, 30.), before)

def test_slopes_by_hand(sim):
    "The core's Jacobian beside differences of the exact route."
    exact = Inform(route='bands', dtype=torch.float64)
    u = torch.rand(6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))*.8 + .1
    def f(s): return lambda u: s(s.space.decode(u), 45., 8., 100.)
    J = jacobian(f(exact), u)[1]
    for i in range(7):
        h = torch.zeros(7, dtype=torch.float64)
        h[i] = 1e-5
        slope = (f(exact)(u + h) - f(exact)(u - h))/2e-5
        assert torch.allclose(J[:,i], slope[:,0], atol=1e-8)
    assert (jacobian(f(sim), u)[1] - J).abs().max() < 2e-3*J.abs().max()

def test_more_leaves_hide_the_soil():
    "Under dense undergrowth and crowns the soil does not matter; without leaves it is all there is."
    sims = [Inform(route='bands', dtype=torch.float64, psoil=p) for p in (0., 1.)]
    theta = sims[0].space.sample(3, 'soil')
    bare, closed = theta.clone(), theta.clone()
    bare[:,4:] = torch.tensor([1e-9, 1e-9, .5], dtype=torch.float64)
    closed[:,4:] = torch.tensor([5., 15., 1.], dtype=torch.float64)
    bands = [soils()[i] @ sims[0].bands.W.T for i in (1, 0)]
    for s, soil in zip(sims, bands): assert torch.allclose(s(bare, 40.)[:,0], soil.expand(3, -1), atol=1e-6)
    def apart(theta): return (sims[0](theta, 40.) - sims[1](theta, 40.)).abs()
    assert apart(closed).max() < 1e-4 < apart(bare).min()
