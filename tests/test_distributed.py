"""Two processes train what one trains: same weights but for rounding, same history, one run folder. On the CPU, where gloo connects them.
And what a tracker is sent."""
import shutil, sys, types
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar
import numpy as np
import pytest
import torch
from fastai.basics import Callback
from torch import nn
from physlearn import runs, trackers, train
from test_contract import OTHERS, TINY, tiny
from physlearn.callbacks import EMA, Column, EarlyStop, ReLoBRaLo, one_cycle
from physlearn.data import White, sim_dls
from physlearn.contract import Case, each_tensor, numbers_in
from physlearn.instruments import INSTRUMENTS, find
from physlearn.losses import CompositeLoss, Share, param_mse
from physlearn.params import Param, ParamSpace
from physlearn.train import Stage

class Decay(nn.Module):
    def __init__(self):
        super().__init__()
        self.space = ParamSpace(A=Param(.5, 1.5, 'V'), k=Param(.2, 2., '1/s', log=True))
        self.register_buffer('t', torch.linspace(0, 3, 32, dtype=torch.float64), persistent=False)
    def forward(self, theta): return (theta[:,:1]*(-theta[:,1:]*self.t).exp())[:,None]

class Reader(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(32, 16), nn.SiLU(), nn.Dropout(dropout))
        self.head = nn.Linear(16, 2)
    def forward(self, batch): return dict(u=self.head(self.body(batch['x'][:,0])).sigmoid())

class Spread(Callback):
    "Column `spread`: a variance over the rows of validation, which is no mean of those of its parts."
    order = 46
    def before_fit(self): self.learn.metrics = [*self.learn.metrics, Column('spread', lambda: self.found)]
    def before_validate(self): self.seen = []
    def after_batch(self):
        if not self.training: self.seen.append(self.pred['u'].detach())
    def after_validate(self): self.found = float(torch.cat(self.seen).var(0).sum())

@dataclass
class TwoStages(runs.Recipe):
    system: ClassVar[str] = 'decay in two stages'
    epochs: int = 3
    lr: float = 1e-2
    batch_size: int = 25        # 13 and 12 rows; the last batch has 15
    accumulate: int = 2
    threads: int|None = 1
    dropout: float = 0.
    def simulator(self): return Decay()
    def model(self, sim): return Reader(self.dropout)
    def dls(self, sim, device, bs=None): return sim_dls(sim, bs or self.batch_size, 90, 41, White(.01), self.seed, device)
    def loss(self, sim): return CompositeLoss(params=param_mse(), first=param_mse([1., 0.]))
    def stages(self):
        even = self.dls(self.simulator(), 'cpu', 30)   # ReLoBRaLo takes all shares as equals
        return [Stage('A', self.epochs, self.lr, sched=one_cycle, cbs=lambda: [EMA(.9)]),
                Stage('B', self.epochs, self.lr/3, train=('head',), cbs=lambda: [ReLoBRaLo(), Spread(), EarlyStop('train_first', 'min', patience=2, verbose=False)], dls=even)]

def weights(folder): return torch.cat([v.flatten() for _, v in sorted(runs.load_file(Path(folder)/'model.safetensors').items())])
def fit(folder, n, **kw): return runs._fit(TwoStages(**kw), Path(folder), 'cpu', n, quiet=True)

@pytest.fixture(scope='module')
def both(tmp_path_factory):
    d = tmp_path_factory.mktemp('runs')
    return fit(d/'one', 1, keep='all'), fit(d/'two', 2, keep='all')

def test_weights(both):
    one, two = (weights(r.path) for r in both)
    assert (one - two).norm() < 1e-5*one.norm()
    torch.manual_seed(0)
    assert (one - torch.cat([p.flatten() for _, p in sorted(Reader(0.).state_dict().items())])).norm() > .05*one.norm()   # and they have moved

def test_history(both):
    one, two = (r.history for r in both)
    assert list(one) == list(two) and {'train_loss', 'valid_first', 'lr'} <= set(one)
    assert one['stage'].tolist() == two['stage'].tolist() == ['A']*3 + ['B']*3
    for k in one:
        if k != 'stage': np.testing.assert_allclose(one[k], two[k], rtol=1e-4, err_msg=k)

def test_folder(both):
    "One folder with the same files, names without a prefix, and it loads."
    files = [sorted(str(p.relative_to(r.path)) for p in r.path.rglob('*') if p.is_file()) for r in both]
    assert files[0] == files[1]
    names = [set(runs.load_file(r.path/'model.safetensors')) for r in both]
    assert names[0] == names[1] == {'body.0.weight', 'body.0.bias', 'head.weight', 'head.bias'}
    x = dict(x=torch.rand(5, 1, 32))
    a, b = (runs.Run.load(r.path).model(x)['u'] for r in both)
    assert (a - b).abs().max() < 1e-5

def test_resume(both, tmp_path, fork, monkeypatch):
    "Everything after an epoch of stage B is lost; gone on with in two processes it ends with the same bits."
    forked = partial(torch.multiprocessing.start_processes, start_method=fork.context.get_start_method())
    monkeypatch.setattr(torch.multiprocessing, 'spawn', forked)      # `both` has spawned two that import everything themselves
    folder = tmp_path/'run'
    shutil.copytree(both[1].path, folder)
    for f in ('manifest.json', 'model.safetensors', 'history.csv'): (folder/f).unlink()
    for s in (folder/'state').iterdir():
        if s.name > '00004': shutil.rmtree(s)
    runs._fit(TwoStages(keep='all'), folder, 'cpu', 2, resume=True, quiet=True)
    for f in ('model.safetensors', 'history.csv'): assert (folder/f).read_bytes() == (both[1].path/f).read_bytes(), f

def test_dropout():
    "Processes but the first draw their own numbers, the same again after a resume."
    def drawn(rank, epoch, seed=0):
        one = train.Together.__new__(train.Together)
        one.rank, one.learn = rank, types.SimpleNamespace(dl=types.SimpleNamespace(epoch=epoch, seed=seed))
        torch.manual_seed(7)
        one._seed()
        return torch.rand(4).tolist()
    assert drawn(1, 3) == drawn(1, 3)
    first = torch.manual_seed(7) and torch.rand(4).tolist()
    assert drawn(0, 3) == first
    assert len({str(d) for d in (first, drawn(1, 3), drawn(2, 3), drawn(1, 4), drawn(1, 3, seed=1))}) == 5

def test_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match='15 rows for 16 ranks'): fit(tmp_path/'a', 16)
    monkeypatch.setitem(sys.modules, 'accelerate', None)
    with pytest.raises(ImportError, match=r'physlearn\[gpus\]'): fit(tmp_path/'a', 2)
    monkeypatch.undo()
    monkeypatch.setattr(TwoStages, '__module__', '__main__')
    with pytest.raises(ValueError, match='put it into a module'): fit(tmp_path/'a', 2)
    assert not (tmp_path/'a').exists()

def test_a_launcher_is_refused(tmp_path, monkeypatch):
    "torchrun starts as many trainings as processes: one sentence, before anything is written."
    monkeypatch.setenv('WORLD_SIZE', '2')
    with pytest.raises(ValueError, match='torchrun.*--gpus 2'): TwoStages(gpus=0).fit(tmp_path/'a', quiet=True)
    assert not (tmp_path/'a').exists()
    monkeypatch.setenv('WORLD_SIZE', '1')
    assert TwoStages(gpus=0, epochs=1).fit(tmp_path/'a', quiet=True, evaluate=False).path.exists()

def test_gpus_that_are_not_there(tmp_path, capsys, monkeypatch):
    "One sentence, and training goes on."
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 0)
    monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: False)
    TwoStages(gpus=4, epochs=1).fit(tmp_path/'run', evaluate=False)
    assert '4 GPUs asked for, none found' in capsys.readouterr().out

def test_tensorboard(tmp_path):
    pytest.importorskip('tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    run = fit(tmp_path/'run', 1, track='tensorboard')
    seen = EventAccumulator(str(run.path/'tensorboard')).Reload()
    assert {'train_loss', 'valid_loss', 'train_params', 'train_first', 'valid_params', 'valid_first', 'lr'} <= set(seen.Tags()['scalars'])
    assert 'recipe/text_summary' in seen.Tags()['tensors'] and any(k.startswith('weights/') for k in seen.Tags()['histograms'])
    for k in ('train_loss', 'valid_first'):
        points = seen.Scalars(k)
        assert [p.step for p in points] == [1, 2, 3, 4, 5, 6]
        np.testing.assert_allclose([p.value for p in points], run.history[k], rtol=1e-6)

def test_wandb(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'wandb', None)
    with pytest.raises(ImportError, match='pip install wandb'): fit(tmp_path/'run', 1, track='wandb')
    assert not (tmp_path/'run').exists()
    sent, began = [], []
    def init(**kw):
        began.append(kw)
        return types.SimpleNamespace(log=lambda row, step: sent.append((step, row)))
    monkeypatch.setitem(sys.modules, 'wandb', types.SimpleNamespace(init=init, Histogram=len, Image=len))
    monkeypatch.setattr(trackers, 'find_spec', lambda name: True)
    monkeypatch.setenv('WANDB_PROJECT', 'allbands_16384_11k')
    run = fit(tmp_path/'run', 1, track='wandb')
    assert began[0]['project'] == 'allbands_16384_11k' and [any(k.startswith('weights/') for k in row) for _, row in sent] == [True] + 5*[False]
    assert [s for s, _ in sent] == [1, 2, 3, 4, 5, 6] and sent[0][1]['train_first'] == run.history['train_first'][0]
    assert len(began) == 1 and began[0]['name'] == 'run' and began[0]['config']['epochs'] == 3

# what stands in a batch of each instrument and network, and what is drawn at random in training, is that of the contract
NETWORKS = {**{k: (k, TINY[k]) for k in INSTRUMENTS}, **{k: v[:2] for k, v in OTHERS.items()},
            'flow of spectra': ('spectra', dict(TINY['spectra'], stage='POST')),
            'classifier': ('lightcurve', dict(TINY['lightcurve'], network='classifier', sources=64)), 'free bits': ('lightcurve', dict(TINY['lightcurve'], free_bits=.05))}

UNEVEN = 'spectra', 'lightcurve', 'refiners'              # a mean is over what is known, or over visits
SINGLE = 'canopy', 'flow', 'learned', 'drawn'     # parts of them are made in single precision
# the decoder's signal is single: how its products of matrices round depends, on some processors, on how many rows they have
DECODED = 'spectra', 'refiners', 'denoiser', 'flow of spectra'

def gradient(case, batch, share=1., seed=0):
    "Gradient of the loss of some rows, and the loss."
    model = case.begun.model.eval()
    model.zero_grad()
    if case.double:
        model.double()
        batch = each_tensor(lambda v: v.double() if v.is_floating_point() else v, batch)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        loss = case.begun.loss_func(model(batch), batch)
    (loss*share).backward()
    return torch.cat([torch.zeros(p.numel()) if p.grad is None else p.grad.flatten() for p in model.parameters()]), loss.item()

def in_shares(case, world):
    "Sum of the gradients, and of the losses, of the shares of one batch, each computed as a process would."
    dls = [case.begun.dls.train.new(rank=r, world=world) for r in range(world)]
    batches, rows = [dl.batch(0) for dl in dls], [hi - lo for lo, hi in (dl.share(0) for dl in dls)]
    of, counted, total, loss = sum(rows), [], 0., 0.
    def counts(v):
        counted[-1].append(v)
        return v
    for b, n in zip(batches, rows):                      # what each would add, in order
        counted.append([])
        Share(n, of, counts)
        gradient(case, b)
    for b, n in zip(batches, rows):
        sums = iter([sum(v) for v in zip(*counted)])
        Share(n, of, lambda v: next(sums))
        g, l = gradient(case, b, n/of)
        total, loss = total + g, loss + l*n/of
    Share()
    return total, loss, batches

@pytest.mark.parametrize('name', NETWORKS)
def test_gradient_of_shares(name, tmp_path):
    "Three processes with a part of a batch each have the gradient of one that has it all, and the rows in its order."
    torch.set_num_threads(1)
    instrument, options = NETWORKS[name]
    options = dict(options)
    case = Case(find(instrument), tiny(instrument, options.pop('preset', 'quick'), **options), None, tmp_path)
    case.double = name not in SINGLE
    batch = case.begun.dls.train.batch(0)
    whole, loss = gradient(case, batch)
    shared, parts, batches = in_shares(case, 3)
    exact = 1e-6 if name in SINGLE + DECODED else 1e-12
    near = (exact, 1e-6 if name in SINGLE else 1e-7)               # some losses are rounded to single precision at the end
    assert whole.norm() > 0 and (whole - shared).norm() < near[0]*whole.norm() and abs(loss - parts) < near[1]*abs(loss)
    for k, v in numbers_in(batch).items():
        same = [numbers_in(b)[k] for b in batches]
        if v.is_floating_point() and all(x.shape[1:] == v.shape[1:] for x in same):   # else it is as long as the longest of its rows
            assert torch.equal(torch.nan_to_num(v), torch.nan_to_num(torch.cat(same))), k
    plain, parts = gradient(case, batches[0])[0], [gradient(case, b)[0] for b in batches[1:]]
    if name in UNEVEN: assert (plain/3 + sum(parts)/3 - whole).norm() > 1e-3*whole.norm()      # what it would be without
def test_absent_trackers(tmp_path, monkeypatch):
    "One sentence with the line that installs it, before anything is written."
    monkeypatch.setattr(trackers, 'find_spec', lambda name: None)
    for name in trackers.TRACKERS:
        with pytest.raises(ImportError, match=f'pip install {name}'): fit(tmp_path/'run', 1, track=name)
    with pytest.raises(ValueError, match='choose tensorboard, wandb, trackio'): fit(tmp_path/'run', 1, track='papyrus')
    assert not (tmp_path/'run').exists()

def test_trackio(tmp_path, monkeypatch):
    "The real package, where it is installed: its own database holds a point for each epoch, also of a run that goes on."
    trackio = pytest.importorskip('trackio')
    monkeypatch.setenv('TRACKIO_PROJECT', 'decay')
    for module in (trackio.utils, trackio.sqlite_storage): monkeypatch.setattr(module, 'TRACKIO_DIR', tmp_path/'trackio')
    run = fit(tmp_path/'run', 1, track='trackio')
    found = trackio.Api().runs('decay')
    assert len(found) == 1 and found[0].name.startswith('run-')
    points = trackio.sqlite_storage.SQLiteStorage.get_logs('decay', found[0].name)
    assert [p['step'] for p in points] == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose([p['train_loss'] for p in points], run.history['train_loss'], rtol=1e-6)

def test_wandb_itself(tmp_path, monkeypatch):
    "The real package, where it is installed, without a network: the run and its summary lie in the folder."
    wandb = pytest.importorskip('wandb')
    monkeypatch.setenv('WANDB_MODE', 'offline')
    monkeypatch.setenv('WANDB_SILENT', 'true')
    run = fit(tmp_path/'run', 1, track='wandb')
    assert list(run.path.glob('wandb/offline-run-*/run-*.wandb')) and wandb.run is None
