"""Simulators and data that people bring: what would make a number wrong is refused, said or mended, never passed over."""
import math, warnings
import numpy as np
import pytest
import torch
from physlearn.chains import smc_posterior
from physlearn.draws import sample_posterior
from physlearn.likelihood import Gaussian, Measurement
from physlearn.params import Param, ParamSpace, normals
from physlearn.posterior import crlb, identifiable, map_estimate

T = torch.linspace(0, 1, 20, dtype=torch.float64)
SPACE = ParamSpace(a=Param(-2, 2, 'V'), b=Param(-1, 1, 'V'))
TRUTH = torch.tensor([[.5, -.3], [1., .4]], dtype=torch.float64)
LIKE = Gaussian(.1)

def line(x): return (x[:,:1] + x[:,1:]*T)[:,None]
Y = line(TRUTH) + .1*normals(2, 20, 'people', dtype=torch.float64)[:,None]

def simulator(f, **more):
    "An object with the space and this call."
    return type('Brought', (), dict(space=SPACE, __call__=lambda self, x, **cond: f(x, **cond), **more))()

PLAIN = map_estimate(simulator(line), Y, LIKE)

def doubling(x):
    x[:,1] *= 2
    return line(x)

def test_a_simulator_that_changes_its_input():
    "What it does to its input stays its own: the answers are those of the model that it is."
    sim = simulator(doubling)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        e = map_estimate(sim, Y, LIKE)
        table = identifiable(SPACE, sim, LIKE)
    assert torch.allclose(e.theta[:,1], PLAIN.theta[:,1]/2, atol=2e-3) and torch.allclose(e.sd[:,1], PLAIN.sd[:,1]/2, rtol=.02)
    drawn = sample_posterior(sim, Y, LIKE, 2000, theta=e.theta, key=('doubling',))
    assert torch.allclose(drawn.mean()[:,1], PLAIN.theta[:,1]/2, atol=.02)
    exact = crlb(simulator(lambda x: line(torch.stack([x[:,0], 2*x[:,1]], 1))), TRUTH[:1], LIKE)[0,1].item()
    assert abs(table.rows[1]['joint']*2/exact - 1) < 1e-3

def test_a_simulator_that_keeps_its_output():
    "One buffer for all answers: differences are taken between copies."
    kept = {}
    def buffered(x):
        out = kept.setdefault(len(x), torch.zeros(len(x), 1, 20, dtype=torch.float64))
        return out.copy_(line(x).detach())
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        e = map_estimate(simulator(buffered), Y, LIKE)
        assert identifiable(SPACE, simulator(buffered), LIKE).verdict('a') == 'determined'
    assert e.ok.all() and torch.allclose(e.theta, PLAIN.theta, atol=1e-3)

def noisy(x): return line(x) + .05*torch.randn(len(x), 1, 20)
def one_for_all(x): return (x[0,0] + x[0,1]*T)[None,None]
def neighbours(x): return line(x - x.mean(0))
def complex_(x): return line(x)*(1 + 1j)

@pytest.mark.parametrize('f, says', [(noisy, 'different signals for one state'), (one_for_all, '1 signals? for 2 states'),
                                     (neighbours, 'other states stand beside it'), (complex_, 'real numbers')])
@pytest.mark.parametrize('use', [lambda s: map_estimate(s, Y, LIKE), lambda s: identifiable(SPACE, s, LIKE),
                                 lambda s: smc_posterior(s, Y, LIKE)], ids=['map', 'identifiable', 'smc'])
def test_a_simulator_that_is_no_function_of_its_row(f, says, use):
    "Random, one row for all, rows that know of each other, complex: refused in one sentence."
    with pytest.raises(ValueError, match=says): use(simulator(f))

def test_masks_and_units():
    "Masked samples and units of other packages are not dropped in silence."
    import astropy.units as u
    sim, y = simulator(line), np.ma.masked_greater(Y.numpy(), .6)
    with pytest.raises(ValueError, match='masked.*sigma=inf'): map_estimate(sim, y, LIKE)
    assert map_estimate(sim, np.ma.masked_greater(Y.numpy(), 60), LIKE).ok.all()           # nothing is masked
    with pytest.raises(ValueError, match='kV'): map_estimate(sim, Y.numpy()*u.kV, LIKE)
    e = map_estimate(sim, Y, LIKE, known=dict(a=(500*u.mV, 1*u.mV)))
    assert torch.allclose(e.theta[:,0], torch.tensor([.5, .5], dtype=torch.float64), atol=.01) and (e.sd[:,0] < .0011).all()
    with pytest.raises(ValueError, match='known a.*K'): map_estimate(sim, Y, LIKE, known=dict(a=500*u.K))

def test_conditions_whose_names_are_arguments():
    "`n=3` is an argument of ours: a simulator with a condition of that name gets it through Measurement."
    class Gain:
        space = SPACE
        def __call__(self, x, n=1.): return torch.as_tensor(n)*line(x)
    with pytest.raises(ValueError, match='condition n'): identifiable(SPACE, Gain(), LIKE, n=3)
    with pytest.raises(ValueError, match='condition n.*Measurement'): sample_posterior(Gain(), Y, LIKE, n=300)
    e = map_estimate(Measurement(Gain(), 3*Y, LIKE, cond=dict(n=3.)))
    assert torch.allclose(e.theta, PLAIN.theta, atol=.02)

def test_a_measurement_is_its_own():
    "What a user does to the array afterwards changes nothing; rows that are not there are an error."
    y = Y.clone()
    m = Measurement(simulator(line), y, LIKE)
    y += 1
    assert torch.allclose(map_estimate(m).theta, PLAIN.theta)
    assert len(m[np.int64(1)]) == 1
    with pytest.raises(IndexError, match='7.*2 signals'): m[7]

def test_everything_known():
    "Nothing is free: the fit says how well the signal agrees."
    e = map_estimate(simulator(line), Y[:1], LIKE, known=dict(a=.5, b=-.3))
    assert e.ok.all() and (e.sd == 0).all() and .3 < e.chi2.item() < 2

class Emulator(torch.nn.Module):
    "A network of float32 weights."
    space = SPACE
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(2, 20)
        with torch.no_grad(): self.net.weight.copy_(torch.stack([torch.ones(20), T.float()], 1)), self.net.bias.zero_()
    def forward(self, x): return self.net(x)[:,None]

def test_an_emulator_of_float32():
    "A network that wants float32 is computed in float64, and that is said."
    with pytest.warns(UserWarning, match='float64'): e = map_estimate(Emulator(), Y, LIKE)
    assert torch.allclose(e.theta, PLAIN.theta, atol=1e-4)

@pytest.mark.parametrize('make, says', [
    (lambda: Measurement(simulator(line), Y, Gaussian(torch.ones(5))), 'sigma has shape'),
    (lambda: Measurement(simulator(line), Y, .1), 'Gaussian'),
    (lambda: Measurement(simulator(line), Y, None), 'Gaussian'),
    (lambda: Measurement(simulator(line), Y, Gaussian(.1, corr=torch.ones(20, 20))), 'corr'),
    (lambda: Gaussian(torch.tensor([0.]*1 + [.1]*19)), '1 of 20'),
    (lambda: map_estimate(simulator(line), Y, LIKE, start=torch.zeros(2, 3)), 'start'),
    (lambda: Measurement(simulator(lambda x, gain: gain*line(x)), Y, LIKE, cond=dict(gain=math.nan)), 'gain'),
    (lambda: Measurement(simulator(lambda x, gain: gain*line(x)), Y, LIKE, cond=dict(gain=torch.tensor([1., math.nan]))), 'gain'),
])
def test_sentences(make, says):
    with pytest.raises(ValueError, match=says): make()

def test_start_in_numpy_and_conditions_in_lists():
    e = map_estimate(simulator(line), Y, LIKE, start=np.zeros(2))
    assert torch.allclose(e.theta, PLAIN.theta, atol=.01)
    m = Measurement(simulator(lambda x, gain: gain[:,None,None]*line(x)), torch.stack([Y[0], 3*Y[1]]), LIKE, cond=dict(gain=[1., 3.]))
    assert torch.allclose(map_estimate(m).theta, PLAIN.theta, atol=.02)

def test_rows_of_a_simulator_that_changes_its_input():
    "The labels of training rows are those that were drawn."
    from physlearn.data import SimSource
    a, b = (SimSource(simulator(f))(torch.arange(50), 1) for f in (doubling, line))
    assert torch.equal(a['theta'], b['theta']) and torch.equal(a['u'], b['u'])

def test_draws_that_all_fail():
    "Where the simulator fails at every draw, that is said; a flow refuses a context that broadcasts or is not finite."
    from physlearn.flows import FlowHead
    near_zero = lambda x: line(x)*torch.where(x[:,:1].abs() < .001, 1., math.nan)[...,None]
    with pytest.raises(ValueError, match='fails.*at all of its 200 draws'):
        sample_posterior(simulator(near_zero), Y, LIKE, 200, theta=torch.ones(2, 2).double())
    head = FlowHead(2, 3)
    with pytest.raises(ValueError, match='context has shape'): head.draw(torch.zeros(3, 5, 2), torch.zeros(1, 3))
    with pytest.raises(ValueError, match='not finite'): head.sample(torch.full((1, 3), math.nan), 5)
