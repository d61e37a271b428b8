"PhysAE belongs to nobody's training loop: plain torch trains it, fastai trains it in all sizes, ONNX carries it away."
import subprocess, sys
import numpy as np
import pytest
import torch

LOOP = '''
import sys
sys.modules['fastai'] = None                       # import fastai fails from here on
from dataclasses import replace
import torch
from physlearn.params import normals
from physlearn.spectra.physae import PhysAE
from physlearn.spectra.simulate import Grid, preset
torch.manual_seed(0)
p = preset('reference')
space, n = p.space, 200                            # a quarter of the points, four times as far apart
for k, factor in dict(step=4, baseline1=4, baseline2=16).items():
    space = space.replace(**{k: replace(space[k], lo=space[k].lo*factor, hi=space[k].hi*factor)})
sim = p.simulator(method='table', space=space, grid=Grid.steps(n))
model, steps = PhysAE(sim), 100
opt = torch.optim.AdamW(model.parameters(), lr=3e-3)
sched = torch.optim.lr_scheduler.OneCycleLR(opt, 3e-3, steps)
def batch(n, *key):
    theta = sim.space.sample(n, *key)
    x = sim(theta)
    x = x*(1 + .002*normals(n, x.shape[2], 'noise', *key)[:,None])
    return dict(x=x, u=sim.space.encode(theta).float(), known=torch.zeros(n, len(sim.space)))
for i in range(steps):
    b = batch(64, 'train', i)
    loss = ((model(b)['u'] - b['u'])**2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
    sched.step()
b, k = batch(512, 'test'), sim.space.index('mf_CH4')
with torch.no_grad(): error = (model.eval()(b)['u'] - b['u'])[:,k]
print(error.square().mean().sqrt().item(), b['u'][:,k].std().item(), 'fastai.basics' in sys.modules)
'''

def test_plain_torch_loop():
    "Without fastai, methane to a third of what the ranges alone tell, a uniform's 1/sqrt(12)."
    done = subprocess.run([sys.executable, '-c', LOOP], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rms, prior, fastai = done.stdout.split()
    assert float(rms) < 12**-.5/3 and abs(float(prior) - 12**-.5) < .03 and fastai == 'False'

@pytest.mark.parametrize('size,rows', [('s', 8), ('m', 8), ('l', 4)])
def test_sizes(size, rows):
    "Each encoder learns for an epoch: it and the head move, the rest does not."
    from physlearn.spectra.train_physae import spectra_recipe
    from physlearn.train import fit_stages
    recipe = spectra_recipe('quick', encoder_variant=size, num_points=200, train_samples=rows, val_samples=4,
                            batch_size=4, epochs=1, warmup_epochs=0, gpus=0, lr=1e-3)
    learn = recipe.learner()
    learn.remove_cbs([cb for cb in learn.cbs if cb.name == 'progress'])
    learn.logger = lambda row: None
    before = {k: p.detach().clone() for k, p in learn.model.named_parameters()}
    fit_stages(learn, recipe.stages())
    assert len(learn.recorder.values) == 1 and np.isfinite(learn.recorder.values[0][:2]).all()
    for k, p in learn.model.named_parameters():
        learns = k.startswith(('encoder', 'head'))
        assert p.isfinite().all() and torch.equal(p, before[k]) != learns, k

def test_onnx(tmp_path):
    "What ONNX computes is what torch computes, for any number of spectra."
    pytest.importorskip('onnx')
    ort = pytest.importorskip('onnxruntime')
    from physlearn.spectra.train_physae import spectra_recipe
    recipe = spectra_recipe('quick', encoder_variant='xs', train_samples=64, val_samples=32, epochs=2, num_points=96,
                            gpus=0, lr=1e-3)
    run = recipe.fit(tmp_path/'run', quiet=True, evaluate=False)
    file = run.export_onnx(tmp_path/'net.onnx')
    theta = run.space.sample(7, 'onnx')
    u, known = run.space.encode(theta).float(), torch.zeros(7, len(run.space))
    value = torch.full_like(theta, torch.nan)
    known[:3,run.space.index('P')] = 1.
    with torch.no_grad():
        x = run.sim(theta).float()
        want = run.model.guess(x, u, known).numpy()
    value[:3,run.space.index('P')] = theta[:3,run.space.index('P')]
    session = ort.InferenceSession(file, providers=['CPUExecutionProvider'])
    got, = session.run(None, dict(signal=x.numpy(), value=value.numpy(), known=known.numpy()))
    found = run.space.encode(torch.from_numpy(got)).numpy()
    assert want.std(0).max() > 1e-3 and np.abs(found - want).max() < 1e-5
    assert (got[:3,run.space.index('P')] == theta[:3,run.space.index('P')].numpy()).all()
