"Small instruments that state everything for each file: noise, gain, a gauge; counts; five samples; arrays and lists."
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
import torch
from torch import nn
from physlearn.data import sim_dls
from physlearn.desk import Instrument, Setup, Signals, by_fit
from physlearn.losses import CompositeLoss, param_mse
from physlearn.params import Param, ParamSpace
from physlearn.posterior import Gaussian, Poisson
from physlearn.runs import Recipe
from physlearn.train import Stage

class Line:
    "A straight line over N samples, as a tensor, an array or a list: (B,1,N) [V]."
    space = ParamSpace(a=Param(5, 20, 'V', doc='offset'), b=Param(1, 10, 'V', doc='slope'))
    def __init__(self, N=40, kind='tensor'): self.t, self.kind = torch.linspace(0, 1, N, dtype=torch.float64), kind
    def __call__(self, theta, gain=1.):
        if self.kind == 'strict': theta = torch.from_numpy(theta.astype(float))      # takes arrays alone
        gain = torch.as_tensor(gain, dtype=torch.float64, device=theta.device).reshape(-1, 1, 1)
        y = gain*(theta[:,:1] + theta[:,1:]*self.t.to(theta.device))[:,None]
        return dict(tensor=lambda: y, array=y.numpy, strict=y.numpy, list=y.tolist)[self.kind]()

class Net(nn.Module):
    def __init__(self, N):
        super().__init__()
        self.net = nn.Linear(N, 2)
    def forward(self, batch): return dict(u=self.net(batch['x'].float().flatten(1)/20).sigmoid())

@dataclass
class LineRecipe(Recipe):
    "Train a network to read a line."
    epochs: int = 1
    batch_size: int = 32
    gpus: int|None = 0
    N: ClassVar[int] = 40
    kind: ClassVar[str] = 'tensor'
    def simulator(self): return Line(self.N, self.kind)
    def model(self, sim): return Net(self.N)
    def dls(self, sim, device): return sim_dls(sim, self.batch_size, 32, 32, None, self.seed, device)
    def loss(self, sim): return CompositeLoss(params=param_mse())
    def stages(self): return [Stage('A', self.epochs, self.lr)]
    def likelihood(self, noise=None, y=None): return Gaussian(.1)

def read(file, run):
    "What a file states: signals, and noise, gain and a gauge if it has them."
    d = np.load(file)
    y = torch.from_numpy(d['y'])[:,None]
    own = lambda k: torch.from_numpy(d[k]) if d[k].ndim else float(d[k])
    return Signals(y, dict(file=[str(file)]*len(y)), {k: own(k) for k in ('gain',) if k in d},
                   Gaussian(own('noise')) if 'noise' in d else None, dict(a=(own('a'), float(d['a_sd']))) if 'a' in d else {})

@dataclass(kw_only=True)
class LineSetup(Setup):
    "Lines before training."
    def simulator(self): return Line()
    def likelihood(self, noise): return Gaussian(noise)

def variant(name, **attributes):
    "An instrument whose recipe has other attributes."
    cls = dataclass(type('Variant', (LineRecipe,), dict(system=f'my_lab.{name}', __doc__=LineRecipe.__doc__, __module__=__name__, **attributes)))
    return Instrument(f'my_lab.{name}', cls, read=read, estimate=dict(map=by_fit))

line = Instrument('my_lab.small', setup=LineSetup, read=read)
counts = variant('counts', likelihood=lambda self, noise=None, y=None: Poisson())
few = variant('few', N=5)
strict = variant('strict', kind='strict')
