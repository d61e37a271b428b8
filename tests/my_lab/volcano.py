"A magma chamber below twelve stations, as an instrument: the simulator of the tutorial 'Bring your own simulator'."
import math
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
import torch
from torch import nn
from physlearn.callbacks import one_cycle
from physlearn.data import White, sim_dls
from physlearn.desk import Instrument, Signals, by_fit
from physlearn.files import read_table
from physlearn.layers import MLP
from physlearn.losses import CompositeLoss, param_mse
from physlearn.params import Param, ParamSpace, affine
from physlearn.posterior import Gaussian
from physlearn.runs import Recipe
from physlearn.train import Stage

EAST = [-4.245, -1.768, -5.478, -9.329, 10.695, -7.188, -6.520, -.323, 2.049, 2.034, 5.726, 14.357]       # stations [km]
NORTH = [6.222, 2.273, -5.790, -1.453, .545, 2.299, -.666, -4.972, 7.627, 1.202, -2.603, -4.685]
POISSON, MM, SIGMA = .25, affine('1e6 m3 / km2', 'mm')[0], 1.7

class Mogi:
    "A point source under the stations: (B,3,12) east, north, up [mm]."
    space = ParamSpace(xcen=Param(-9.33, 14.35, 'km', doc='east'), ycen=Param(-5.80, 7.62, 'km', doc='north'),
                       depth=Param(2, 20, 'km', doc='below the stations'), dV=Param(-10, 10, '1e6 m3', doc='growth of the chamber'))
    def __call__(self, theta):
        x, y, d, volume = theta.T[...,None]
        east, north = (theta.new_tensor(v) for v in (EAST, NORTH))
        e, n = east - x, north - y
        push = MM*(1 - POISSON)/math.pi*volume/(e**2 + n**2 + d**2)**1.5
        return torch.stack([push*e, push*n, push*d], 1)

class Net(nn.Module):
    "All four parameters on the unit scale."
    def __init__(self):
        super().__init__()
        self.mlp = MLP([36, 64, 4])
    def forward(self, batch): return dict(u=self.mlp((batch['x'].float().flatten(1)/SIGMA).asinh()).sigmoid())

@dataclass
class VolcanoRecipe(Recipe):
    "Train a network to read a volcano."
    system: ClassVar[str] = 'my_lab.volcano'
    epochs: int = 3
    lr: float = 1e-2
    train_samples: int = 512        # volcanoes per epoch
    gpus: int|None = 0
    def simulator(self): return Mogi()
    def model(self, sim): return Net()
    def dls(self, sim, device): return sim_dls(sim, self.batch_size, self.train_samples, 64, White(additive=SIGMA, multiplicative=0.), self.seed, device)
    def loss(self, sim): return CompositeLoss(params=param_mse())
    def stages(self): return [Stage('A', self.epochs, self.lr, sched=one_cycle)]
    def likelihood(self, noise=None, y=None): return Gaussian(float(noise or SIGMA))

def read(file, run):
    "A table of the stations' displacements."
    t = read_table(file, ('east', 'north', 'up'))
    return Signals(torch.tensor(np.array([[t[k] for k in ('east', 'north', 'up')]])), dict(file=[str(file)]))

def by_network(run, s, draws, level):
    "A fit from where the network points."
    with torch.no_grad(): u = run.model(dict(x=s.y))['u'].double()
    return by_fit(run, s, draws, level, start=run.sim.space.decode(u))

volcano = Instrument('my_lab.volcano', VolcanoRecipe, read=read, estimate=dict(map=by_network, plain=by_fit))
