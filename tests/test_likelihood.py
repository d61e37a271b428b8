"The likelihood tells the truth: noise that depends on the model, counts, simulators that fail, step or leave torch, knowledge in any order."
import gc, math, warnings, weakref
import numpy as np
import pytest
import torch
from physlearn.calibration import binomial_sd, covered
from physlearn.chains import chains, log_posterior, smc_posterior
from physlearn.draws import box_posterior, sample_posterior
from physlearn.likelihood import Gaussian, Measurement, Poisson
from physlearn.misfit import misfit
from physlearn.params import Param, ParamSpace, normals, uniforms
from physlearn.posterior import crlb, fisher, identifiable, map_estimate

@pytest.fixture(autouse=True)
def one_thread(): torch.set_num_threads(1)

class Decay:
    "a exp(-k t) at m times."
    space = ParamSpace(a=Param(1., 10., 'V'), k=Param(.1, 2., '1/s'))
    def __init__(self, m=1000): self.t = torch.linspace(0, 1, m, dtype=torch.float64)
    def __call__(self, theta): return (theta[:,:1]*torch.exp(-theta[:,1:]*self.t))[:,None]

def middle(space, n, *key):
    "States away from the ends of the ranges, where an interval is not cut."
    return space.quantile(.15 + .7*uniforms(n, len(space), *key))

def test_noise_that_scales_with_the_model():
    "sigma = 5 % of the model, 1,000 samples: every fit converges, without bias, and 90 % intervals hold 90 %."
    sim, like, n = Decay(), Gaussian(relative=.05), 1000
    theta = middle(sim.space, n, 'relative')
    y = sim(theta)*(1 + .05*normals(n, 1000, 'relative noise', dtype=torch.float64)[:,None])
    fit = map_estimate(sim, y, like)
    z = (fit.theta - theta)/fit.sd
    held = covered(*box_posterior(sim, y, like, fit.theta).interval(.9).unbind(1), theta)
    print('converged', int(fit.converged.sum()), 'bias', z.mean(0).tolist(), 'sd', z.std(0).tolist(), 'held', held.tolist())
    assert fit.converged.all() and (z.mean(0).abs() < .15).all()
    assert ((held > .87) & (held < .93)).all()

class Line:
    "A spectral line on a floor, in counts per bin: rates."
    space = ParamSpace(height=Param(.5, 3.), place=Param(.3, .7), floor=Param(.5, 2.))
    def __init__(self, scale, m=100): self.scale, self.x = scale, torch.linspace(0, 1, m, dtype=torch.float64)
    def __call__(self, theta):
        h, p, f = (v[:,None] for v in theta.T)
        return (self.scale*(f + h*torch.exp(-.5*((self.x - p)/.1)**2))/2)[:,None]

@pytest.mark.parametrize('mean', [1, 5, 50])
def test_counts(mean):
    "Poisson counts: 90 % intervals of weighted draws hold 90 %, whatever the mean count, over all sources."
    sim, like, n = Line(mean), Poisson(), 400
    theta = sim.space.sample(n, 'sources', mean)
    y = like.draw(sim(theta), normals(n, 100, 'counts', mean, dtype=torch.float64)[:,None])
    fit = map_estimate(sim, y, like)
    drawn = sample_posterior(sim, y, like, 400, theta=fit.theta, key=('counts', mean))
    held = covered(*drawn.interval(.9).unbind(1), theta)
    print(mean, 'held', held.tolist(), 'effective', drawn.ess.median().item(), 'fits', int(fit.converged.sum()))
    assert abs(held.mean() - .9) < .02 and ((held - .9).abs() < 4*binomial_sd(.9, n)).all()
    odd = misfit(sim, y, like, fit.theta)
    assert abs((odd.p < .05).double().mean() - .05) < 4*math.sqrt(.05*.95/n) + .02

def test_counts_by_particles():
    "Two samplers that share nothing but the likelihood agree."
    sim, like = Line(5), Poisson()
    theta = sim.space.sample(6, 'particles')
    y = like.draw(sim(theta), normals(6, 100, 'particles', dtype=torch.float64)[:,None])
    a, b = smc_posterior(sim, y, like, 1000, key=('p',)), sample_posterior(sim, y, like, 2000, key=('w',))
    assert ((a.mean() - b.mean()).abs()/b.sd()).max() < .25 and (a.sd()/b.sd() - 1).abs().max() < .2

class Fails(Decay):
    "NaN where a is above 8.9: 12 % of the range."
    def __call__(self, theta): return torch.where(theta[:,:1,None] > 8.92, math.nan, 1.)*super().__call__(theta)

def test_a_value_that_is_not_finite_is_no_fit():
    sim, like = Fails(50), Gaussian(.1)
    truth = torch.tensor([[8.7, 1.]], dtype=torch.float64)
    y = Decay(50)(truth) + .1*normals(1, 50, 'fails', dtype=torch.float64)[:,None]
    log_p, place = log_posterior(sim, y, like)
    assert (place(chains(log_p, normals(500, 2, 'start').double(), 150, 'fails'))[:,0] < 8.92).double().mean() > .99
    assert (smc_posterior(sim, y, like, key=('fails',)).theta[...,0] < 8.92).all()
    drawn = sample_posterior(sim, y, like, key=('fails',))
    assert (drawn.weights[drawn.theta[...,0] > 8.92] == 0).all()

def test_identifiable_says_where_the_simulator_fails():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('always')
        table = identifiable(Fails.space, Fails(50), Gaussian(.1))
    said = ' '.join([str(w.message) for w in told] + [repr(table)])
    assert 'fails in' in said and '% of the ranges' in said

class Steps:
    "A value that jumps: derivatives are zero wherever they exist."
    space = ParamSpace(edge=Param(0, 10), level=Param(1, 2))
    def __call__(self, theta):
        return (theta[:,1:]*(torch.arange(10, dtype=torch.float64) < theta[:,:1].floor()))[:,None]

def test_derivatives_cannot_tell_of_steps():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('always')
        table = identifiable(Steps.space, Steps(), Gaussian(.05))
    said = ' '.join([str(w.message) for w in told] + [repr(table)])
    assert 'derivatives cannot tell' in said or 'steps' in said, said
    y = Steps()(torch.tensor([[4.5, 1.5]], dtype=torch.float64))
    edge = smc_posterior(Steps(), y, Gaussian(.05), key=('steps',)).theta[0,:,0]
    assert (edge.floor() == 4).double().mean() > .99

def test_known_has_one_meaning():
    "A list is a tuple; names may come in another order; ranges that are narrower than the simulator's count as they are."
    sim, like = Decay(50), Gaussian(.05)
    y = sim(torch.tensor([[4., 1.]], dtype=torch.float64)) + .05*normals(1, 50, 'known', dtype=torch.float64)[:,None]
    a, b = (map_estimate(sim, y, like, known=dict(k=v)) for v in ([1., .05], (1., .05)))
    assert torch.equal(a.theta, b.theta) and torch.equal(a.sd, b.sd) and a.sd_known[0,0] > 0
    narrow = ParamSpace(k=Param(.9, 1.1, '1/s'), a=Param(1., 10., 'V'))
    tables = [identifiable(s, sim, like) for s in (narrow, sim.space.replace(k=Param(.9, 1.1, '1/s')))]
    first, second = ({r['name']: r['ratio'] for r in t.rows} for t in tables)
    assert first == second and first['k'] <= 1.001 and first['a'] < .1

@pytest.mark.parametrize('bad,word', [
    (lambda y: y*math.nan, 'not finite'), (lambda y: y[:1,:,:1], 'shape'), (lambda y: y.to(torch.complex128), 'real')])
@pytest.mark.parametrize('f', [map_estimate, smc_posterior, sample_posterior])
def test_inputs_are_checked(f, bad, word):
    y = Decay(20)(torch.tensor([[4., 1.]], dtype=torch.float64))
    with pytest.raises(ValueError, match=word): f(Decay(20), bad(y), Gaussian(.1))

def test_numpy_and_negative_strides():
    sim = Decay(20)
    y = sim(torch.tensor([[4., 1.]], dtype=torch.float64)).numpy()
    for v in (y, y[:,:,::-1][:,:,::-1], y.astype('>f8')):
        assert (map_estimate(sim, v, Gaussian(.1)).theta[0] - torch.tensor([4., 1.])).abs().max() < .1

def test_too_few_samples_for_a_misfit():
    y = Decay(4)(torch.tensor([[4., 1.]], dtype=torch.float64))
    with pytest.raises(ValueError, match='too few'): misfit(Decay(4), y, Gaussian(.1), torch.tensor([[4., 1.]], dtype=torch.float64))

def test_bound_of_noise_that_scales():
    "Fisher information of relative noise against the closed form (Kay 1993, eq. 3.31): (1/r² + 2) dlnμ dlnμ."
    sim, r = Decay(200), .05
    theta = torch.tensor([[4., 1.]], dtype=torch.float64)
    F = fisher(sim, theta, Gaussian(relative=r))[0]
    slope = sim.space.slope(theta)[0]
    d = torch.stack([torch.full((200,), .25), -sim.t])*slope[:,None]
    want = (1/r**2 + 2)*d @ d.T
    assert (F/want - 1).abs().max() < 1e-6 and crlb(sim, theta, Gaussian(relative=r)).isfinite().all()

def test_draws_differ_by_call():
    sim, like = Decay(20), Gaussian(.1)
    y = sim(torch.tensor([[4., 1.]], dtype=torch.float64))
    assert not torch.equal(sample_posterior(sim, y, like, 50).theta, sample_posterior(sim, y, like, 50).theta)
    u, e = uniforms(4000, 2, 'same'), normals(4000, 2, 'same').double()
    assert np.abs(np.corrcoef(torch.cat([u, e, e.abs()], 1).T.numpy())[:2,2:]).max() < .06


def test_float32_simulator_of_large_signals():
    "A module that rounds 4.7e8 ± 50 to float32 is computed in float64 by whoever needs its derivatives, and that is said."
    class Height(torch.nn.Module):
        space = ParamSpace(a=Param(-1e4, 1e4, 'um'))
        def __init__(self):
            super().__init__()
            self.register_buffer('x', torch.linspace(0, 1, 20))
        def forward(self, theta): return (4.7e8 + theta[:,:1]*self.x).to(self.x.dtype)[:,None]
    like, sim = Gaussian(50.), Height()
    theta = torch.linspace(-5e3, 5e3, 200, dtype=torch.float64)[:,None]
    y = like.draw(sim.double()(theta), normals(200, 20, 'height', dtype=torch.float64).view(200, 1, 20))
    with pytest.warns(UserWarning, match='computed in float64'): e = map_estimate(sim.float(), y, like)
    pull = (e.theta - theta)/e.sd
    assert .85 < pull.square().mean().sqrt() < 1.15 and abs(pull.mean()) < .25
    with pytest.warns(UserWarning, match='computed in float64'): table = identifiable(sim.space, sim, like)
    exact = 50/sim.x.double().square().sum().sqrt().item()
    assert abs(table.rows[0]['alone']*2e4/exact - 1) < 1e-6

def test_a_measurement_goes_with_its_last_name():
    "Tensors in a circle of references stay until Python looks for circles, which it seldom does for a few large ones: a table took 20 MB more for each batch."
    sim, like = Decay(), Gaussian(.1)
    theta = middle(sim.space, 8, 'gone')
    m = Measurement(sim, sim(theta), like)
    gc.disable()
    try:
        fit = map_estimate(m)
        misfit(m, theta=fit.theta, draws=50)
        last, seen = weakref.ref(m.linear(m.knowledge.z(fit.theta))), weakref.ref(m)
        del m, fit
        assert seen() is None and last() is None
    finally: gc.enable()
