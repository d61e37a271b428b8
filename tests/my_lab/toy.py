"An instrument without a simulator: signals with labels from a file, and a network that reads the labels."
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
import torch
from fastai.data.core import DataLoaders
from torch import nn
from physlearn.callbacks import one_cycle
from physlearn.data import FileSource, Rows, SeedDL
from physlearn.desk import Instrument, Signals
from physlearn.files import read_hdf5
from physlearn.losses import CompositeLoss
from physlearn.pages import Judgement
from physlearn.params import Param, ParamSpace
from physlearn.results import Results
from physlearn.runs import Recipe
from physlearn.train import Stage

SPACE = ParamSpace(height=Param(0, 1, 'V', doc='of the peak'))

class Net(nn.Module):
    "Mean and logarithmic standard deviation of the height."
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(16, 16), nn.SiLU(), nn.Linear(16, 2))
    def forward(self, batch):
        mean, log_sd = self.net(batch['x'].float()).unbind(1)
        return dict(mean=mean, log_sd=log_sd.clamp(-5, 2))

def density(out, batch): return (out['log_sd'] + .5*((batch['height'] - out['mean'])/out['log_sd'].exp())**2).mean()

@dataclass
class ToyRecipe(Recipe):
    "Train a network on labelled signals."
    system: ClassVar[str] = 'my_lab.toy'
    epochs: int = 3
    lr: float = 1e-2
    gpus: int|None = 0
    table: str = ''                 # signals with labels, HDF5
    def check(self):
        super().check()
        if not self.table: raise ValueError("there is nothing to learn from: give --table")
    def arrays(self):
        data = read_hdf5(self.table)
        return {k: np.asarray(data[k], dtype=np.float32) for k in ('x', 'height')}
    def model(self, sim): return Net()
    def dls(self, sim, device):
        data, n = self.arrays(), 192
        parts = {'train': {k: v[:n] for k, v in data.items()}, 'valid': {k: v[n:] for k, v in data.items()}}
        loaders = (SeedDL(FileSource(Rows(v), permute=k == 'train'), 32, None, self.seed, k, device, block=32) for k, v in parts.items())
        return DataLoaders(*loaders, device=torch.device(device))
    def loss(self, sim): return CompositeLoss(density=density)
    def stages(self): return [Stage('A', self.epochs, self.lr, sched=one_cycle)]

def read(file, run):
    y = torch.tensor(np.asarray(read_hdf5(file)['x']))
    return Signals(y, dict(file=[str(file)]*len(y), row=list(range(len(y)))))

def by_network(run, s, draws, level):
    "The network's bell."
    with torch.no_grad(): out = run.model(dict(x=s.y))
    mean, sd = out['mean'][:,None].double(), out['log_sd'].exp()[:,None].double()
    half = sd*torch.special.ndtri(torch.tensor((1 + level)/2))
    return Results(SPACE, mean, sd, mean - half, mean + half, sd*12**.5, torch.ones(len(mean), dtype=torch.bool),
                   torch.full((len(mean),), torch.nan), level, 'network', signals=s.columns)

def judge(run):
    "Errors of the network beside those of the mean."
    truth = run.recipe.arrays()['height'][192:]
    found = by_network(run, Signals(torch.tensor(run.recipe.arrays()['x'][192:])), 0, .95).value[:,0].numpy()
    rows = [['network', float(np.sqrt(np.mean((found - truth)**2)))], ['the mean', float(truth.std())]]
    return Judgement([dict(caption='RMS error of the height [V]', head=['who', 'error'], rows=rows)])

toy = Instrument('my_lab.toy', ToyRecipe, read=read, estimate=dict(net=by_network), judge=judge)
