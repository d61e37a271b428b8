"""Crops, other sensors and chosen parameters in every verb; crops computed by another program."""
import numpy as np
import pytest
import torch
from physlearn.canopy.crop import Crop, Stand
from physlearn.canopy.inform import Inform
from physlearn.canopy.traits import quantities
from physlearn.cli import main
from physlearn.files import read_table
from physlearn.runs import Run

TINY = '--epochs 2 --epochs-pretrain 1 --kl-warmup-epochs 1 --pretrain-samples 64 --val-samples 64 --batch-size 64 --width 8 --posterior diagonal --gpus 0 --threads 1'.split()

def cli(*words): return main([str(w) for w in words])

@pytest.fixture
def judged_less(monkeypatch):
    "Evaluation of 64 simulated spectra instead of 2,000, without figures."
    from physlearn.canopy import judge
    whole = judge.seen
    monkeypatch.setattr(judge, 'lookup', lambda sim, x, *a, **kw: sim.space.sample(len(x), 'any'))
    monkeypatch.setattr(judge, 'seen', lambda run, n: whole(run, 64))

# --- a run of a crop

def test_train_a_crop(tmp_path, capsys, judged_less):
    "Trained, evaluated, and used, with the ranges that were asked for; measured rows beside simulated ones."
    crop = '--canopy', 'crop', '--sensor', 'L8', '--range', 'LAI=0.5..6', '--free', 'LAI', 'cab', 'ala', 'cm', '--fix', 'N=1.6'
    plots, run = tmp_path/'plots.csv', tmp_path/'run'
    assert cli('simulate', 'canopy', plots, '--n', 60, *crop, '--noise', .02) == 0
    assert cli('train', 'canopy', 'quick', '--table', plots, *crop, *TINY, '--out', run) == 0
    r = Run.load(run)
    assert list(r.sim.space) == ['cab', 'cm', 'LAI', 'ala'] and r.sim.space['LAI'].hi == 6 and r.sim.fixed['N'] == 1.6
    assert r.metrics and 'held: N 1.6, cbrown 0.25' in repr(r.sim)
    assert cli('retrieve', run, plots, '--draws', 32, '--out', tmp_path/'t.csv') == 0
    t = set(read_table(tmp_path/'t.csv', columns=()).rest)
    assert {'LAI', 'cab', 'ala', 'cm', 'CCC'} <= t and not {'N', 'fc', 'LAI_total'} & t
    assert 'held: N 1.6' in capsys.readouterr().out

def test_figures_of_a_crop():
    "The course of the year has those traits that a crop has."
    from physlearn.canopy.judge import shown
    assert shown(quantities(Crop().space)) == ['CCC', 'cab', 'LAI'] and shown(quantities(Inform().space)) == ['CCC', 'cab', 'LAI_total', 'fc']
    assert shown(quantities(Stand(canopy='crop', free=('ala',)).stand().space)) == ['ala']

# --- which parameters are free

@pytest.mark.parametrize('canopy,free', [('crop', ('LAI', 'cab', 'car', 'hspot')), ('forest', ('LAI', 'fc', 'psoil'))])
def test_free(canopy, free):
    "These are parameters, in the order of the simulator; the others are held at the middle of their ranges, or at what is said."
    whole, some = Stand(canopy=canopy).stand(), Stand(canopy=canopy, free=free, fix=('cm=80g/m2',)).stand()
    assert set(some.space) == set(free) and some.fixed['cm'] == pytest.approx(.008)
    assert some.fixed['cw'] == pytest.approx((whole.space['cw'].lo + whole.space['cw'].hi)/2)
    theta = some.space.sample(5, 'free')
    held = {k: torch.full((5,), some.fixed[k], dtype=torch.float64) for k in whole.space if k not in free}
    full = Crop(free=('car', 'hspot')) if canopy == 'crop' else Inform(free=('psoil',))
    columns = some.space.columns(theta) | held
    assert torch.allclose(some(theta, 40.), full(torch.stack([columns[k] for k in full.space], 1), 40.), atol=3e-4)

@pytest.mark.parametrize('words,says', [(dict(free=('LIA',)), 'free LIA: a crop has N, cab'), (dict(fix=('LAI=3',), free=('LAI',)), 'fix LAI: it is free'),
                                        (dict(fix=('cab=400',)), 'fix cab=400: expected 10..90 ug/cm2'), (dict(fix=('moss=1',)), 'fix moss: a crop has'),
                                        (dict(range=('N=1..2',), free=('LAI',)), 'range N: it is held'), (dict(sensor='S2C'), 'S2C: its responses are not included')])
def test_what_cannot_be_chosen(words, says):
    with pytest.raises(ValueError, match=says.replace('.', r'\.')): Stand(canopy='crop', **words).stand()

def test_fit_with_held_parameters(tmp_path, capsys):
    held = '--canopy', 'crop', '--free', 'LAI', 'cab', 'psoil', 'rsoil', '--fix', 'ala=57deg'
    assert cli('simulate', 'canopy', tmp_path/'s.csv', '--n', 6, '--tts', 40, *held, '--noise', .02) == 0
    assert cli('fit', 'canopy', tmp_path/'s.csv', *held, '--floor', 0, '--draws', 128, '--out', tmp_path/'t.csv') == 0
    t = read_table(tmp_path/'t.csv', ['LAI', 'LAI_sd', 'cab', 'cab_sd', 'truth_LAI', 'truth_cab'])
    assert 'held: N 2, cbrown 0.25' in capsys.readouterr().out and 'ala' not in t.rest
    assert (np.abs(t['LAI'] - t['truth_LAI'])/t['LAI_sd']).max() < 4 and (np.abs(t['cab'] - t['truth_cab'])/t['cab_sd']).max() < 4
    assert cli('identifiable', 'canopy', *held, '--n', 2, '--draws', 64) == 0 and 'held: N 2' in capsys.readouterr().out

def test_any_simulator():
    "A simulator without angles and with parameters of its own; products exist where their parts do."
    from physlearn.canopy.reflectance import Reflectance
    from physlearn.canopy.traits import fit_traits
    from physlearn.params import Param, ParamSpace
    class Line:
        space = ParamSpace(cab=Param(0, 1), slope=Param(0, 1))
        def __call__(self, theta): return (theta[:,:1] + theta[:,1:]*torch.linspace(0, 1, 6))[:,None].double()
    sim, truth = Line(), torch.tensor([[.3, .5], [.6, .2]]).double()
    r = Reflectance(sim(truth)[:,0].float().numpy(), tuple('abcdef'), {}, {})
    got = fit_traits(sim, r, .01, draws=64)
    assert list(got.space) == ['cab', 'slope'] and (got.value - truth).abs().max() < .03

# --- the guide's words

def test_a_file_of_the_guide(tmp_path, capsys):
    "Its section `phys_vae` is found where it stands; what has no counterpart is named; the preset is that trainer."
    import json
    from physlearn.canopy.train_physvae import CanopyRecipe, canopy_recipe
    from physlearn.files import FileError
    from physlearn.recipes import read_recipe
    guide = dict(arch=dict(phys_vae=dict(dim_z_phy=7, dim_z_aux=3, no_phy=False, balance_gate=1e-2, balance_data_aug=1.)),
                 lr_scheduler=dict(type='CosineAnnealingLR'), trainer=dict(epochs=90, phys_vae=dict(epochs_pretrain=9, kl_warmup_epochs=5)))
    f = tmp_path/'AE_RTM_C_wytham.json'
    f.write_text(json.dumps(guide))
    assert read_recipe(f, CanopyRecipe) == dict(aux=3, balance_gate=.01, lr_scheduler='cosine', epochs=90, epochs_pretrain=9, kl_warmup_epochs=5)
    assert 'not used: dim_z_phy 7, balance_data_aug 1.0' in capsys.readouterr().out
    guide['arch']['phys_vae']['no_phy'] = True
    f.write_text(json.dumps(guide))
    assert read_recipe(f, CanopyRecipe) | dict(physics=False, epochs_pretrain=0, residual='none') == read_recipe(f, CanopyRecipe)
    f.write_text(json.dumps(guide | dict(lr_scheduler=dict(type='StepLR'))))
    with pytest.raises(FileError, match="'StepLR'.*CosineAnnealingLR"): read_recipe(f, CanopyRecipe)
    r = canopy_recipe('guide')
    assert (r.aux_posterior, r.pretrain_loss, r.noise_pretrain) == ('diagonal', 'logit', 0)
    sim = r.simulator()
    b = r.simulated(sim, r.noise_pretrain)(torch.arange(4), 0)
    with torch.no_grad(): clean = sim(b['theta'], **{k: b[k] for k in sim.cond})
    assert not r.model(sim).aux.full and torch.allclose(b['x'], clean, atol=1e-6)

def test_rate_and_beta_on_each_line(tmp_path, capsys):
    "Beta is 0 in pretraining; the rate of training falls, or stays."
    plots = tmp_path/'plots.csv'
    assert cli('simulate', 'canopy', plots, '--n', 60) == 0
    words = [*TINY[:-2], '--threads', 1, '--epochs', 4, '--lr', 1e-3]
    evaluate, Run.evaluate = Run.evaluate, lambda run, say=print: {}
    try:
        assert cli('train', 'canopy', 'guide', '--table', plots, *words, '--lr-scheduler', 'constant', '--out', tmp_path/'run') == 0
    finally: Run.evaluate = evaluate
    h, out = Run.load(tmp_path/'run').history, capsys.readouterr().out
    assert h['beta'].tolist() == [0, 0, 1, 1] and set(h['lr'].tolist()) == {1e-3}
    assert 'pretrain epoch 1, 1 of 4' in out and 'rate 0.001, beta 0,' in out and 'rate 0.001, beta 1,' in out

def test_surrogate_of_particles():
    "A sixth of the simulations, and the posterior that plain moves find; other noise is refused."
    from physlearn.canopy.traits import MOVES
    from physlearn.chains import smc_posterior
    from physlearn.posterior import Gaussian
    sim, calls = Stand(canopy='crop', free=('LAI', 'cab', 'cm', 'ala')).stand(), [0]
    forward = sim.forward
    def counted(theta, **cond):
        calls[0] += len(theta)
        return forward(theta, **cond)
    sim.forward = counted
    with torch.no_grad(): x = forward(sim.space.sample(3, 'three'), 40.).double()
    found, states = [], []
    for kw in ({}, MOVES):
        calls[0] = 0
        found.append(smc_posterior(sim, x, Gaussian(.002, .02), 256, key=('test',), tts=40., **kw))
        states.append(calls[0])
    plain, fast = found
    assert states[1] < states[0]/4 and fast.mixed.all()
    assert ((fast.mean() - plain.mean())/plain.sd()).abs().max() < .35 and (fast.sd()/plain.sd()).log().abs().max() < .25
    with pytest.raises(ValueError, match='Gaussian noise without correlation'):
        smc_posterior(sim, x, Gaussian(.01, corr=torch.eye(11, dtype=torch.float64)), 64, tts=40., surrogate=9)
