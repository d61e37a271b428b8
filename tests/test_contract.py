"""One contract for five systems: what every instrument keeps, clause by clause; what it cannot keep is waived by name and with
a reason. The same tiny run of an instrument serves all clauses."""
from dataclasses import dataclass, replace
from types import SimpleNamespace
import numpy as np
import pytest
import torch
from torch import nn
from my_lab.small import Line, LineRecipe, Net         # my_lab.few and my_lab.strict too
from physlearn.contract import CLAUSES, Broken, Elsewhere, check_instrument, _one
from physlearn.desk import Instrument
from physlearn.files import write_hdf5
from physlearn.instruments import INSTRUMENTS, find
from physlearn.lightcurve.rates import Rates
from physlearn.params import Param

# a small training of each, of two epochs
TINY = dict(
    spectra=dict(train_samples=64, val_samples=32, epochs=2, batch_size=32, num_points=96, encoder_variant='xs'),
    canopy=dict(epochs=2, epochs_pretrain=2, kl_warmup_epochs=1, pretrain_samples=512, val_samples=128, batch_size=64, width=16),
    lightcurve=dict(epochs=2, sources=64, batch_size=16, hidden=16, benchmark_every=0),
    icecube=dict(epochs=2, events=80),
    sar=dict(epochs=2, tiles=24, width=8, crop=32))
# clauses that an instrument does not keep, and why
NO_PARAMETERS = 'it learns from files and retrieves no parameters: there is no range whose unit could be missing'
WAIVED = dict(spectra={}, canopy={}, lightcurve={}, icecube=dict(units=NO_PARAMETERS), sar=dict(units=NO_PARAMETERS))
# of light curves the simulator is that of the fit; the network learns from counts in files
SIMULATORS = dict(lightcurve=lambda: Rates('flare', 14400.*np.arange(20), np.full(20, 40.)))

@pytest.fixture(scope='module', autouse=True)
def one_thread(): torch.set_num_threads(1)

def tiny(name, preset='quick', **options): return replace(find(name).presets[preset], **options)

def check(name, recipe, waive, **kw):
    "All clauses hold, apart from those that are waived; none is waived for nothing."
    found = check_instrument(name, waive, recipe, **kw)
    assert not found.failed, found
    assert found.of('waived') == {k: v for k, v in waive.items() if k in [row[0] for row in found.rows]}, found
    return found

@pytest.mark.parametrize('name', INSTRUMENTS)
def test_five_systems(name):
    found = check(name, tiny(name, **TINY[name]), WAIVED[name], sim=SIMULATORS.get(name, lambda: None)())
    assert [row[0] for row in found.rows] == list(CLAUSES)

# what each instrument has beside: its other networks and stages, without a run
FORWARD = 'shapes', 'dtypes', 'one', 'empty', 'nan', 'device', 'half', 'plain'
FILLED = dict(nan='a pixel of NaN is not known: the network is shown the mean of pictures at large, and draws what is in holes')
UNKNOWN = dict(nan='NaN in a label says that it is not known, and the network has learned that')
OTHERS = dict(
    refiners=('spectra', dict(TINY['spectra'], stage='B1', num_cascade_refiners=1), {}),
    learned=('spectra', dict(TINY['spectra'], stage='B2', refiner='learned', num_cascade_refiners=2), {}),
    denoiser=('spectra', dict(TINY['spectra'], stage='DEN'), {}),
    flow=('canopy', dict(TINY['canopy'], posterior='flow'), {}),
    guide=('lightcurve', dict(TINY['lightcurve'], network='guide', latent_size=8, kl_warmup_epochs=10), {}),
    dit=('icecube', dict(preset='debug', events=80, hidden=16, batch_size=8), UNKNOWN),
    cnn=('icecube', dict(preset='cnn', events=80, hidden=16, depth=1, batch_size=8), UNKNOWN),
    drawn=('sar', dict(TINY['sar'], network='flow'), FILLED))

@pytest.mark.parametrize('other', OTHERS)
def test_other_networks(other):
    name, options, waive = OTHERS[other]
    check(name, tiny(name, **options), waive, clauses=[k for k in FORWARD if k != 'empty' or name == 'sar'])

@pytest.mark.parametrize('name', ['my_lab.volcano', 'my_lab.blackbox', 'my_lab.few', 'my_lab.strict'])
def test_instruments_of_others(name):
    "Simulators of torch and of numpy, with and without derivatives."
    recipe = find(name).presets['default']
    check(name, replace(recipe, epochs=2), {})

def test_labels_from_a_file(tmp_path):
    "No simulator: the labels stand beside the signals."
    x = np.random.default_rng(0).normal(size=(256, 16))
    write_hdf5(tmp_path/'toy.h5', dict(x=x, height=x.mean(1)))
    check('my_lab.toy', find('my_lab.toy').recipe(table=str(tmp_path/'toy.h5'), epochs=2), dict(units=NO_PARAMETERS))

# --- planted errors

class Noisy(Line):
    "It draws its own noise, whatever the key."
    def __call__(self, theta): return (y := super().__call__(theta)) + .1*torch.randn_like(y)

class NoUnit(Line):
    "A slope in nobody knows what."
    space = Line.space.replace(b=Param(1, 10))

class Silent(Net):
    "NaN counts as zero."
    def forward(self, batch): return super().forward(dict(x=batch['x'].nan_to_num()))

class Constant(Net):
    "A number for each sample that is no buffer."
    def __init__(self, N):
        super().__init__(N)
        self.scale = torch.eye(N)/20
    def forward(self, batch): return dict(u=self.net(batch['x'].float().flatten(1) @ self.scale).sigmoid())

class Company(Net):
    "A scale from the whole batch."
    def forward(self, batch): return super().forward(dict(x=batch['x']/batch['x'].mean()))

class Whisper(Net):
    "Little of the other rows: three times what rounding is granted."
    def forward(self, batch):
        u = super().forward(batch)['u']
        return dict(u=u + 3e-4*(u*0 + 1).sum(0, keepdim=True).clamp(max=2))

class Crash(Net):
    "It takes rows one by one, and stacks none; the trace of an export knows one number of rows."
    def forward(self, batch): return super().forward(batch) | dict(top=torch.stack([v.amax() for v in batch['x']]))

class Frozen(Net):
    "It learns nothing."
    def forward(self, batch): return dict(u=super().forward(batch)['u'].detach() + 0*self.net.bias)

PLANTED = [(dict(simulator=lambda self: Noisy()), {'determinism', 'one'}, 'determinism', 'draws do not depend on the key'),
           (dict(simulator=lambda self: NoUnit()), {'units'}, 'units', 'b has no unit'),
           (dict(model=lambda self, sim: Silent(self.N)), {'nan'}, 'nan', 'NaN in x gives an answer without NaN'),
           (dict(model=lambda self, sim: Constant(self.N)), {'device'}, 'device', 'mm mixes devices'),
           (dict(model=lambda self, sim: Company(self.N)), {'one', 'nan'}, 'one', 'u of the answer is another one where row'),
           (dict(model=lambda self, sim: Whisper(self.N)), {'one', 'nan'}, 'one', 'u of the answer is another one where row 0 is alone'),
           (dict(model=lambda self, sim: Crash(self.N)), {'empty', 'export'}, 'empty', 'crashed'),
           (dict(model=lambda self, sim: Frozen(self.N)), {'plain'}, 'plain', 'the loss went from')]

@pytest.mark.parametrize('parts, broken, clause, says', PLANTED, ids=[p[2] for p in PLANTED])
def test_planted(parts, broken, clause, says):
    "The clause that is broken names it, and no other one fails."
    cls = dataclass(type('Planted', (LineRecipe,), dict(system='my_lab.planted', __module__=__name__, __doc__='', **parts)))
    failed = check_instrument(Instrument('my_lab.planted', cls), recipe=cls(epochs=2)).failed
    if clause == 'determinism': failed.pop('resume', None)        # noise of its own may end in other weights
    assert set(failed) == broken and says in failed[clause], failed

X = torch.rand(8, 5, generator=torch.Generator().manual_seed(0))
COUNTS = (9*X).floor() + 1                                        # whole numbers, as float32
TIMES = 6.4e8 + 3000*X.double() + 5000*torch.arange(8.)[:,None]   # [s]
EMBED = torch.randn(20, 2, generator=torch.Generator().manual_seed(1))

def of_batch(net, **batch):
    "The clause on rows, of a function that stands for a network."
    _one(SimpleNamespace(begun=SimpleNamespace(dls=SimpleNamespace(valid=object())), batch=batch, sim=None, answer=net))

def masked_logits(b): return torch.cat([b['x'], torch.full((len(b['x']), 1), -torch.inf)], 1)

ROWS = dict(
    counts=(lambda b: EMBED[b['n'].long()].sum(1), dict(n=COUNTS)), times=(lambda b: (b['t'] - b['t'][:,:1]).float()/86400, dict(t=TIMES)),
    mask=(lambda b: torch.where(b['m'] == 1, b['x'], 0.), dict(x=X, m=(X > .3).float())), steep=(lambda b: torch.sin(1e7*b['x']), dict(x=X)),
    end=(lambda b: torch.asin(b['p']), dict(p=torch.ones(8, 5))), infinite=(masked_logits, dict(x=X)))

@pytest.mark.parametrize('name', ROWS)
def test_no_input_hides_a_leak(name):
    "Networks that rounding of their input changes altogether, and an infinity: what rows say of each other is found, 2 parts in a thousand."
    net, batch = ROWS[name]
    of_batch(lambda b: dict(u=net(b)), **batch)
    def leak(b):
        u = net(b)
        finite = u[u.isfinite()]
        return dict(u=u + 2e-3*finite.abs().max()*(len(u) > 1))
    with pytest.raises(Broken, match='u of the answer is another one where row 0 is alone'): of_batch(leak, **batch)

def test_a_network_may_refuse_what_is_no_batch():
    "An input that is moved by one rounding may be none any more, or be answered by other names: the network is sound all the same."
    def strict(b):
        if not torch.equal(b['p'].sum(1), b['p'].sum(1).half().float()): raise ValueError('shares do not add to one')
        return dict(u=b['x'])
    of_batch(strict, x=X, p=torch.full((8, 4), .25))
    of_batch(lambda b: dict(u=b['x']) | ({'odd': b['x']} if b['x'][0,0] in X else {}), x=X)

def test_waivers():
    "A waiver is named with its reason; one that is not needed shows as passed; unknown clauses are refused."
    name, recipe = 'my_lab.few', find('my_lab.few').recipe(epochs=2)
    found = check_instrument(name, dict(units='not needed'), recipe, clauses=['units', 'shapes'])
    assert set(found.of('passed')) == {'units', 'shapes'} and 'shapes  passed' in str(found) and '<table>' in found._repr_html_()
    with pytest.raises(ValueError, match="clause 'speed': there are shapes"): check_instrument(name, ['speed'])
    with pytest.raises(ValueError, match='has no recipe'): check_instrument(Instrument('my_lab.bare'))

@pytest.mark.parametrize('mix', [lambda x, c: x + c, lambda x, c: x @ c, lambda x, c: torch.cat([c, x]), lambda x, c: torch.where(c > 0, x, x),
                                 lambda x, c: nn.functional.linear(x, c), lambda x, c: torch.einsum('ij,jk->ik', x, c), lambda x, c: x.numpy(),
                                 lambda x, c: torch.conv1d(x[None], c[:,:,None]), lambda x, c: x.add_(c), lambda x, c: x + x.cpu(), lambda x, c: c[x[0].long()]])
def test_mixing_devices_is_found(mix):
    x, c = torch.ones(3, 3), torch.ones(3, 3)
    with Elsewhere() as places:
        places.put(x)
        with pytest.raises(RuntimeError, match='mixes devices|numpy takes'): mix(x, c)

@pytest.mark.parametrize('fine', [lambda x, c: x + c.to(x.device), lambda x, c: c.to(x) @ x, lambda x, c: x*torch.tensor(2.), lambda x, c: x[c[0].long()],
                                  lambda x, c: x + x.new_tensor([1., 2., 3.]), lambda x, c: x + torch.arange(3, device=x.device), lambda x, c: x.cpu() + c,
                                  lambda x, c: torch.func.vmap(lambda t: torch.func.jvp(torch.sin, (t,), (torch.ones_like(t),))[1])(x), lambda x, c: x.std()])
def test_what_a_gpu_takes_too(fine):
    x, c = torch.ones(3, 3), torch.ones(3, 3)
    with Elsewhere() as places:
        places.put(x)
        assert fine(x, c).isfinite().all()
