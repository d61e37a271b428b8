"A simulator in numpy that nobody can differentiate: a resonance, as an instrument."
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
import torch
from torch import nn
from physlearn.callbacks import one_cycle
from physlearn.data import White, sim_dls
from physlearn.desk import Instrument, Setup, Signals, by_fit
from physlearn.files import read_hdf5
from physlearn.layers import MLP
from physlearn.losses import CompositeLoss, param_mse
from physlearn.params import Param, ParamSpace
from physlearn.posterior import Gaussian
from physlearn.runs import Recipe
from physlearn.train import Stage

AXIS = np.linspace(-1, 1, 40)

class Resonance:
    "Amplitude against detuning: (B,1,40) [V]."
    space = ParamSpace(centre=Param(-.5, .5, 'MHz', doc='of the line'), width=Param(.1, 1, 'MHz', log=True, doc='half width'))
    def __init__(self, gain=1.): self.gain = gain
    def __call__(self, theta):
        centre, width = np.asarray(theta.detach().cpu() if torch.is_tensor(theta) else theta, dtype=float).T[...,None]
        return (self.gain/(1 + ((AXIS - centre)/width)**2))[:,None]

class Net(nn.Module):
    "Both parameters on the unit scale."
    def __init__(self):
        super().__init__()
        self.mlp = MLP([40, 32, 2])
    def forward(self, batch): return dict(u=self.mlp(batch['x'].float().flatten(1)).sigmoid())

@dataclass(kw_only=True)
class ResonanceSetup(Setup):
    "The set-up before any training."
    gain: float = 1.                # of the amplifier
    def simulator(self): return Resonance(self.gain)
    def likelihood(self, noise): return Gaussian(noise)

@dataclass
class ResonanceRecipe(Recipe):
    "Train a network to read a resonance."
    system: ClassVar[str] = 'my_lab.blackbox'
    epochs: int = 3
    lr: float = 1e-2
    gpus: int|None = 0
    def simulator(self): return Resonance()
    def model(self, sim): return Net()
    def dls(self, sim, device): return sim_dls(sim, 64, 512, 64, White(additive=.01, multiplicative=0.), self.seed, device)
    def loss(self, sim): return CompositeLoss(params=param_mse())
    def stages(self): return [Stage('A', self.epochs, self.lr, sched=one_cycle)]
    def likelihood(self, noise=None, y=None): return Gaussian(float(noise or .01))

def read(file, run):
    y = torch.tensor(np.asarray(read_hdf5(file)['signal']))[:,None]
    return Signals(y, dict(file=[str(file)]*len(y), row=list(range(len(y)))))

def by_network(run, s, draws, level):
    "A fit from where the network points."
    with torch.no_grad(): u = run.model(dict(x=s.y))['u'].double()
    return by_fit(run, s, draws, level, start=run.sim.space.decode(u))

blackbox = Instrument('my_lab.blackbox', ResonanceRecipe, setup=ResonanceSetup, read=read, estimate=dict(map=by_network))
