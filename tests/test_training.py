"What training must not do in silence: forget at a stage's end, go on without a number, keep the wrong epoch, take a name that means nothing."
import copy, json, resource, signal
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar
import numpy as np
import pytest
import torch
from fastai.basics import Callback, DataLoaders, OptimWrapper
from torch import nn
from physlearn import processes, recipes, runs, trackers, train
from physlearn.callbacks import EMA, Anneal, EarlyStop, LossTerms, Plateau, ReLoBRaLo, constant, one_cycle
from physlearn.data import FileSource, Rows, SeedDL, White, sim_dls
from physlearn.files import FileError
from physlearn.losses import CompositeLoss, param_mse
from physlearn.params import Param, ParamSpace
from physlearn.train import Accumulate, Checkpoint, PhysLearner, Stage, fit_stages, optimizer
from physlearn.spectra.train_physae import spectra_recipe

class Decay(nn.Module):
    def __init__(self):
        super().__init__()
        self.space = ParamSpace(A=Param(.5, 1.5, 'V'), k=Param(.2, 2., '1/s', log=True))
        self.register_buffer('t', torch.linspace(0, 3, 16, dtype=torch.float64), persistent=False)
    def forward(self, theta): return (theta[:,:1]*(-theta[:,1:]*self.t).exp())[:,None]

class Net(nn.Module):
    "Reads amplitude and rate; `pull` draws its output towards the weights of an earlier moment."
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(16, 12), nn.SiLU(), nn.Dropout(.1))
        self.head = nn.Linear(12, 2)
        self.before, self.pull = None, 0.
    def forward(self, batch):
        h = self.body(batch['x'][:,0])
        u = self.head(h).sigmoid()
        return dict(u=u if self.before is None else u + self.pull*(nn.functional.linear(h, self.before) - .5))

def data(n=64, seed=1, bs=16): return sim_dls(Decay(), bs=bs, n_train=n, n_valid=32, noise=White(.01), seed=seed)
def loss(**weights): return CompositeLoss(weights, params=param_mse(), first=param_mse([1., 0.]))

def learner(cbs=(), seed=0, dls=None, loss_func=None, opt=None, net=Net, **kw):
    torch.manual_seed(seed)
    kw |= dict(opt_func=opt) if opt else {}
    learn = PhysLearner(dls or data(), net(), loss_func=loss_func or loss(), cbs=[LossTerms(), *cbs], **kw)
    learn.logger = lambda row: None
    learn.remove_cbs([c for c in learn.cbs if c.name == 'progress'])
    return learn

class Stop(Exception): pass
class Die(Callback):
    "End the process, so to speak, at the n-th call of an event."
    order = 90
    def __init__(self, at, event):
        self.at, self.n = at, 0
        setattr(self, event, self.tick)
    def tick(self):
        self.n += 1
        if self.n == self.at: raise Stop('killed')

# --- what a stage leaves behind

def keep_weights(learn): learn.model.before, learn.model.pull = learn.model.head.weight.detach().clone(), .1

def three_stages():
    "Each leaves something that the next ones need: weights of the loss, data, an attribute, random numbers drawn."
    def drawn(learn):
        keep_weights(learn)
        torch.nn.init.normal_(learn.model.head.bias, std=.1)
    return [Stage('A', 2, 1e-2, sched=one_cycle, weights=dict(first=5.), dls=data(48, 7), cbs=lambda: [EMA(.9), Anneal('params', 0, 5, 2.)]),
            Stage('B', 2, 3e-3, train=('head',), prepare=drawn),
            Stage('C', 2, 1e-3, cbs=lambda: [EarlyStop('valid_loss', 'min', verbose=False)])]

def outcome(learn, rows):
    return {k: v.clone() for k, v in learn.model.state_dict().items()}, json.dumps(rows), dict(learn.loss_func.weights), learn.dls.train.n

def go(folder, stages=three_stages, die=None, seed=0, resume=False, cbs=lambda: [ReLoBRaLo(.9)], **kw):
    learn = learner([*cbs(), *([die] if die else [])], seed, **kw)
    return outcome(learn, fit_stages(learn, stages(), folder, resume=resume))

def same(a, b): return all(torch.equal(a[0][k], b[0][k]) for k in a[0]) and a[1:] == b[1:]

@pytest.fixture(scope='module')
def whole(tmp_path_factory): return go(tmp_path_factory.mktemp('whole')/'state')

@pytest.mark.parametrize('epoch', range(7))
@pytest.mark.parametrize('event', ['before_batch', 'after_epoch', 'before_fit', 'after_fit'])
def test_killed_at_every_boundary(epoch, event, whole, tmp_path):
    "At the first batch of each epoch, after it was written, before each stage and after it: the end has the same bits, and the weights of the loss are those that a stage has set."
    at = dict(before_batch=1 + 5*epoch if epoch < 2 else 11 + 6*(epoch - 2), after_epoch=epoch + 1, before_fit=epoch + 1, after_fit=epoch + 1)[event]
    try: go(tmp_path/'state', die=Die(at, event))
    except Stop: pass
    torch.manual_seed(99)
    assert same(go(tmp_path/'state', seed=5, resume=True), whole)
    assert whole[2]['first'] == 5 and whole[3] == 48

def test_killed_in_prepare(whole, tmp_path):
    def broken():
        stages = three_stages()
        def dies(learn):
            torch.rand(3)
            raise Stop('killed')
        stages[2].prepare = dies
        return stages
    plain = three_stages
    def with_prepare():
        stages = plain()
        stages[2].prepare = lambda learn: None
        return stages
    with pytest.raises(Stop): go(tmp_path/'state', broken)
    assert same(go(tmp_path/'state', with_prepare, seed=5, resume=True), whole)

@pytest.mark.parametrize('opt', [None, partial(OptimWrapper, opt=torch.optim.SGD, momentum=.9), optimizer('adamw')], ids=['default', 'sgd', 'adamw'])
def test_optimizers(opt, tmp_path):
    "fastai's default optimizer too."
    stages = lambda: [Stage('A', 3, 1e-2, sched=one_cycle)]
    whole = go(tmp_path/'whole', stages, opt=opt, cbs=list)
    with pytest.raises(Stop): go(tmp_path/'state', stages, Die(6, 'before_batch'), opt=opt, cbs=list)
    assert same(go(tmp_path/'state', stages, seed=5, resume=True, opt=opt, cbs=list), whole)

def test_own_splitter(tmp_path):
    "Groups of parameters stay what the learner's splitter says, and the learner keeps it."
    two = lambda m: [list(m.body.parameters()), list(m.head.parameters())]
    learn = learner(splitter=two)
    fit_stages(learn, [Stage('A', 1, 1e-2)])
    assert [len(g['params']) for g in learn.opt.param_groups] == [2, 2] if hasattr(learn.opt, 'param_groups') else [len(g) for g in learn.opt.param_lists] == [2, 2]
    assert learn.splitter is two
    learn = learner(splitter=two)
    fit_stages(learn, [Stage('A', 1, 1e-2, train=('head',))])
    assert sum(len(g) for g in learn.opt.param_lists) == 2

# --- another training in an old folder

@pytest.fixture
def begun(tmp_path):
    stages = [Stage('A', 3, 1e-2, sched=one_cycle, cbs=lambda: [EMA(.9)])]
    learn = learner()
    fit_stages(learn, stages, tmp_path/'state')
    return tmp_path/'state'

def stage(epochs=3, lr=1e-2, **kw): return [Stage('A', epochs, lr, **dict(dict(sched=one_cycle, cbs=lambda: [EMA(.9)]), **kw))]

@pytest.mark.parametrize('stages,says', [
    (stage(6), 'epochs'), (stage(lr=1.), 'lr'), (stage(train=('head',)), 'train'), (stage(sched=constant), 'sched'), (stage(weights=dict(first=3.)), 'weights'),
    (stage(cbs=lambda: [EMA(.5)]), 'cbs'), (stage(cbs=None), 'cbs'), (stage() + stage(), 'stages'), (stage(prepare=keep_weights), 'prepare'), (stage(dls=data(32)), 'dls')])
def test_other_stages(stages, says, begun):
    "A folder goes on with the stages that it was begun with; what differs is named, with both values."
    with pytest.raises(FileError, match=says): fit_stages(learner(), stages, begun, resume=True)

def test_other_training(begun):
    class Wide(Net):
        def __init__(self):
            super().__init__()
            self.more = nn.Linear(2, 2)
    for learn, says in ((learner(net=Wide), 'network'), (learner(dls=data(seed=2)), 'data'), (learner([Accumulate(2)]), 'callbacks'), (learner(opt=optimizer('adamw', .3)), 'optimizer'), (learner(opt=optimizer('lion')), 'optimizer'), (learner(loss_func=CompositeLoss(params=param_mse())), 'loss')):
        with pytest.raises(FileError, match=says): fit_stages(learn, stage(), begun, resume=True)
    with pytest.raises(FileError, match='resume=True'): fit_stages(learner(), stage(), begun)
    assert len(fit_stages(learner(), stage(), begun, resume=True)) == 3

def test_state_was_touched(begun):
    "plain.json has a checksum: a state in which a number was changed is not a state."
    last = sorted(begun.glob('0*'))[-1]
    f = last/'plain.json'
    f.write_text(f.read_text().replace('"epoch": 1', '"epoch": 2'))
    with pytest.raises(FileError, match='checksum'): train.read_state(last)

def test_damaged_states_are_named(begun):
    "What is skipped is said."
    for name in ('00003-end', '00003'): (begun/name/'plain.json').write_text('{}')
    said = []
    assert len(fit_stages(learner(), stage(), begun, resume=True, tell=said.append)) == 3
    assert said == ['checkpoint 00003, 00003-end cannot be read: going on from 00002']

# --- a loss that is not finite

class Plant(Callback):
    "The loss of one batch, in training or validation."
    order = 40
    def __init__(self, at, value, training=True): self.at, self.value, self.when, self.n = at, value, training, 0
    def after_loss(self):
        if self.training != self.when: return
        self.n += 1
        if self.n == self.at:
            self.learn.loss_grad = self.learn.loss_grad*self.value
            self.learn.loss = self.learn.loss*self.value

@pytest.mark.parametrize('value', [float('nan'), float('inf')])
@pytest.mark.parametrize('training', [True, False])
def test_not_finite(value, training, tmp_path):
    "Training stops there, says where and what helps, and the last good state is whole."
    learn = learner([Plant(6 if training else 3, value, training)])
    with pytest.raises(train.NotFinite, match='rate.*clip.*precision.*ranges') as e: fit_stages(learn, stage(), tmp_path)
    assert f"stage A, epoch {1 + 1}" in str(e.value) and ('training' if training else 'validation') in str(e.value)
    assert all(p.isfinite().all() for p in learn.model.parameters())
    assert [s.name for s in sorted(tmp_path.glob('0*'))][-1] == '00001'

def test_not_finite_without_stages():
    "A notebook's own fit stops too; lr_find, which looks for that point, does not."
    learn = learner([Plant(2, float('nan'))])
    with pytest.raises(train.NotFinite): learn.fit(1, 1e-2)
    learner([Plant(9, float('nan'))]).lr_find(show_plot=False, num_it=12)

def test_weights_not_finite(tmp_path):
    "A gradient ruins the weights, and the next forward pass ends in a traceback about an index."
    class Table(Net):
        def forward(self, batch):
            out = super().forward(batch)
            i = torch.where(out['u'].isnan(), 10**9, 0).long()
            return dict(u=out['u'] + torch.zeros(4)[i])
    class Ruin(Callback):
        def after_backward(self):
            if self.iter == 2: self.model.head.weight.grad.fill_(float('nan'))
    with pytest.raises(train.NotFinite, match='weights'): fit_stages(learner([Ruin()], net=Table), stage(), tmp_path)

def test_overflow_in_spectra(tmp_path, capsys):
    "The command line: a rate far too high ends in NaN, which the table of spectra hands on; one sentence, exit code 2, no run."
    from physlearn.cli import main
    words = f'train spectra quick --train_samples 64 --val_samples 32 --epochs 2 --batch_size 32 --num_points 96 --encoder_variant xs --gpus 0 --lr 1e30 --lr_scheduler None --out {tmp_path}/run'
    assert main(words.split()) == 2
    err = capsys.readouterr().err
    assert err.count('\n') == 1 and 'training loss is nan' in err and 'learning rate' in err and not (tmp_path/'run/manifest.json').exists()

def test_last_step_ruins_the_weights(tmp_path):
    class Ruin(Callback):
        order = 99
        def after_epoch(self):
            if self.epoch == 2:
                with torch.no_grad(): self.model.head.weight.fill_(float('nan'))
    with pytest.raises(train.NotFinite, match='weights'): fit_stages(learner([Ruin()]), stage(cbs=None), tmp_path, weights='last')

# --- names

@pytest.mark.parametrize('make,says', [
    (lambda: fit_stages(learner(), stage(weights=dict(parms=5.))), "parms.*params, first"),
    (lambda: fit_stages(learner(), stage(weights=dict(first=-1.))), 'first.*-1'),
    (lambda: fit_stages(learner(), stage(monitor='vaild_loss')), "vaild_loss.*train_loss, valid_loss"),
    (lambda: learner([Checkpoint('state', monitor='vaild_loss')]).fit(1), "vaild_loss.*train_loss, valid_loss"),
    (lambda: Checkpoint('state', mode='low'), "min.*max"),
    (lambda: fit_stages(learner(), stage(cbs=lambda: [Anneal('first', 0, 2), Anneal('first', 2, 2)])), "two.*first"),
    (lambda: fit_stages(learner(), stage(cbs=[Anneal('frist')])), "frist.*params, first"),
    (lambda: Stage('A', 1, 1e-2, cbs=3), "cbs.*callback"),
    (lambda: fit_stages(learner(), stage(cbs=lambda: [3])), "cbs.*callback"),
    (lambda: fit_stages(learner(), []), "stage"),
    (lambda: fit_stages(learner(), stage() + stage(train=('tail',))), "tail.*body"),
    (lambda: fit_stages(learner(), stage(), weights='first'), "best.*last"),
    (lambda: fit_stages(learner(loss_func=lambda out, batch: out['u'].mean(), ), stage(weights=dict(a=1.))), "CompositeLoss")])
def test_names(make, says):
    with pytest.raises(ValueError, match=says): make()

def test_nothing_trained_before_a_name_is_checked():
    learn = learner()
    before = copy.deepcopy(learn.model.state_dict())
    with pytest.raises(ValueError, match='parms'): fit_stages(learn, stage() + stage(weights=dict(parms=5.)))
    assert all(torch.equal(v, before[k]) for k, v in learn.model.state_dict().items())

@pytest.mark.parametrize('cbs', [EMA(.9), [EMA(.9)], (EMA(.9),), lambda: EMA(.9), lambda: [EMA(.9)], lambda: None, None, [], EMA])
def test_shapes_of_cbs(cbs): assert len(fit_stages(learner(), stage(1, cbs=cbs))) == 1

def test_no_validation_set():
    dls = DataLoaders(data().train)
    with pytest.raises(ValueError, match='validation'): fit_stages(learner(dls=dls), stage())

# --- the best epoch

class Scores(Callback):
    "A validation loss that we choose for each epoch."
    order = 44
    def __init__(self, *values): self.values = values
    def after_loss(self):
        if not self.training: self.learn.loss = self.learn.loss*0 + self.values[self.epoch]

class Snap(Callback):
    "Weights at the end of each validation."
    order = 52
    def before_fit(self): self.seen = []
    def after_validate(self): self.seen.append(copy.deepcopy(self.model.state_dict()))

def equal(a, b): return all(torch.equal(a[k], b[k]) for k in a)

@pytest.mark.parametrize('folder', [True, False])
@pytest.mark.parametrize('cbs', [None, lambda: [EMA(.5)]], ids=['plain', 'EMA'])
@pytest.mark.parametrize('weights,epoch', [('best', 1), ('last', 3)])
def test_best(weights, epoch, cbs, folder, tmp_path):
    "A stage ends with the weights of its best epoch, as they were in validation."
    snap = Snap()
    learn = learner([Scores(.4, .1, .2, .3), snap])
    fit_stages(learn, stage(4, cbs=cbs), tmp_path if folder else None, weights=weights)
    assert equal(learn.model.state_dict(), snap.seen[epoch])

def test_best_after_a_kill(tmp_path):
    snap, scores = Snap(), Scores(.4, .1, .2, .3)
    fit_stages(learner([scores, snap]), stage(4), tmp_path/'whole')
    with pytest.raises(Stop): fit_stages(learner([scores, Die(14, 'before_batch')]), stage(4), tmp_path/'state')
    learn = learner([scores], seed=9)
    fit_stages(learn, stage(4), tmp_path/'state', resume=True)
    assert equal(learn.model.state_dict(), snap.seen[1])

def test_best_of_each_stage(tmp_path):
    "The next stage begins with it; and a loss whose weights change is compared with itself alone."
    snap = Snap()
    learn = learner([Scores(.1, .2, .3, .25, .4), snap])
    fit_stages(learn, stage(5, cbs=[Anneal('first', 0, 2)]))
    assert equal(learn.model.state_dict(), snap.seen[3])                # epochs 0 and 1 have other weights
    learn = learner([Scores(.1, .2, .3, .25, .4), snap])
    fit_stages(learn, stage(5, cbs=[Anneal('first', 0, 50)]))
    assert equal(learn.model.state_dict(), snap.seen[4])                # never the same weights twice

def test_monitor_of_a_stage():
    snap = Snap()
    class Column(Callback):
        order = 46
        def before_fit(self):
            from physlearn.callbacks import Column
            self.learn.metrics = [*self.learn.metrics, Column('score', lambda: [1., 5., 2.][self.epoch])]
    learn = learner([Column(), snap])
    fit_stages(learn, stage(3, monitor='score', mode='max'))
    assert equal(learn.model.state_dict(), snap.seen[1])

@pytest.mark.parametrize('weights,epoch', [('best', 0), ('last', 3)])
def test_early_stop_says_what_is_best(weights, epoch, tmp_path):
    "A callback that takes the best weights back names the column; with `weights='last'` it only stops."
    snap = Snap()
    learn = learner([Scores(.4, .1, .2, .3), snap])
    fit_stages(learn, stage(4, cbs=lambda: [EarlyStop('valid_loss', 'max', patience=9, verbose=False)]), tmp_path, weights=weights)
    assert equal(learn.model.state_dict(), snap.seen[epoch])
    assert train.last_state(tmp_path)[1]['sealed']['epoch'] == epoch

@pytest.mark.parametrize('every,keep', [(2, 2), (3, 1), (1, 'all')])
def test_fewer_states(every, keep, tmp_path):
    "Written every second epoch, or few of them kept: the best one is there, and a resumed run ends with the same bits."
    scores = lambda: Scores(.4, .3, .1, .2, .5, .6)
    def go(folder, die=(), resume=False, seed=0):
        learn = learner([scores(), *die], seed)
        return outcome(learn, fit_stages(learn, stage(6), folder, resume, every=every, keep=keep))
    whole = go(tmp_path/'whole')
    with pytest.raises(Stop): go(tmp_path/'state', [Die(22, 'before_batch')])
    assert (tmp_path/'state/00003').exists()
    assert same(go(tmp_path/'state', resume=True, seed=9), whole)

# --- accumulation

def descend(bs, n, cbs=()):
    torch.manual_seed(0)
    learn = learner(cbs, dls=data(n, bs=bs), opt=partial(OptimWrapper, opt=torch.optim.SGD), loss_func=CompositeLoss(params=param_mse()))
    learn.model.body[2].p = 0.
    fit_stages(learn, [Stage('A', 2, .5)], weights='last')
    return torch.cat([p.detach().flatten() for p in learn.model.parameters()])

@pytest.mark.parametrize('n', [39, 40, 48, 17])
def test_small_last_batch(n):
    "16, 16 and 7 rows are 39 rows, each counting as much."
    a, b = descend(16, n, [Accumulate(3)]), descend(48, n)
    assert (a - b).abs().max() < 1e-6

# --- runs

@dataclass
class Small(runs.Recipe):
    system: ClassVar[str] = 'small decay'
    epochs: int = 3
    lr: float = 1e-2
    batch_size: int = 16
    gpus: int|None = 0
    threads: int|None = 1
    noise: float = .01
    def simulator(self): return Decay()
    def model(self, sim): return Net()
    def dls(self, sim, device): return sim_dls(sim, self.batch_size, 64, 32, White(self.noise), self.seed, device)
    def loss(self, sim): return loss()
    def stages(self): return [Stage('A', self.epochs, self.lr, sched=one_cycle)]

def cut(folder, after=1):
    "A run that was killed after some epochs."
    import shutil
    for f in ('manifest.json', 'model.safetensors'): (folder/f).unlink()
    for s in (folder/'state').iterdir():
        if s.name > f'{after:05d}': shutil.rmtree(s)
    return folder

@pytest.fixture
def killed(tmp_path):
    Small(keep='all').fit(tmp_path/'run', quiet=True, evaluate=False)
    return cut(tmp_path/'run')

@pytest.mark.parametrize('option,value', [('lr', 1.), ('seed', 3), ('epochs', 2), ('noise', .5), ('weights', 'last')])
def test_recipe_was_edited(option, value, killed):
    "One sentence that names the option and both values."
    d = json.loads((killed/'recipe.json').read_text())
    was = d['options'][option]
    d['options'][option] = value
    (killed/'recipe.json').write_text(json.dumps(d))
    with pytest.raises(FileError, match=f"{option} is {value!r}.*{was!r}"): runs.Run.resume(killed, quiet=True)

def test_other_version(killed, capsys):
    "Said, not refused."
    d = json.loads((killed/'recipe.json').read_text())
    d['versions']['torch'] = '1.0'
    (killed/'recipe.json').write_text(json.dumps(d))
    runs.Run.resume(killed)
    assert 'torch 1.0' in capsys.readouterr().out

def test_two_at_once(killed):
    with train.locked(killed):
        with pytest.raises(FileError, match='another process'): runs.Run.resume(killed, quiet=True)
    runs.Run.resume(killed, quiet=True)

def test_disk_full(tmp_path):
    "One sentence, the last state is whole, and the run goes on when there is room."
    whole = Small().fit(tmp_path/'whole', quiet=True, evaluate=False)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    class Full(Callback):
        def before_fit(self): signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        def after_epoch(self): resource.setrlimit(resource.RLIMIT_FSIZE, (2000 if self.epoch == 1 else soft, hard))
    class Filled(Small):
        def learner(self, *a, **kw):
            learn = super().learner(*a, **kw)
            learn.add_cb(Full())
            return learn
    Filled.learner = lambda self, *a, **kw: (learn := runs.Recipe.learner(self, *a, **kw), learn.add_cb(Full()))[0]
    try:
        with pytest.raises(FileError, match='cannot be written'): Filled().fit(tmp_path/'run', quiet=True, evaluate=False)
    finally: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    state = tmp_path/'run/state'
    assert [s.name for s in sorted(state.glob('0*'))][-1] == '00001' and not list(state.glob('.tmp*'))
    train.read_state(state/'00001')
    again = runs.Run.resume(tmp_path/'run', quiet=True)
    assert runs.sha256(again.path/'model.safetensors') == runs.sha256(whole.path/'model.safetensors')

def test_sealed_epoch(tmp_path):
    "The run says which epoch it holds and which one was the last; `weights='last'` keeps the last."
    class Scored(Small):
        system: ClassVar[str] = 'scored decay'
    Scored.learner = lambda self, *a, **kw: (learn := runs.Recipe.learner(self, *a, **kw), learn.add_cb(Scores(.3, .1, .2)))[0]
    best, last = (Scored(weights=w).fit(tmp_path/w, quiet=True, evaluate=False) for w in ('best', 'last'))
    assert (best.sealed['stage'], best.sealed['epoch'], best.sealed['last'], best.sealed['monitor']) == ('A', 1, 2, 'valid_loss')
    assert (best.sealed['row'], last.sealed['row']) == (2, 3)
    best.report()
    page = (tmp_path/'best/report.html').read_text()
    assert 'epoch 2, whose weights the run holds; the last is 3' in page
    assert last.sealed['epoch'] == 2 and last.sealed['best'] == best.sealed['best'] == 1
    assert not equal(*(r.model.state_dict() for r in (best, last)))
    assert runs.Run.load(tmp_path/'best').sealed == best.sealed
    with pytest.raises(ValueError, match='best or last'): Small(weights='first').fit(tmp_path/'no')

def test_nothing_is_sealed(tmp_path):
    class Ruined(Small):
        system: ClassVar[str] = 'ruined decay'
    Ruined.learner = lambda self, *a, **kw: (learn := runs.Recipe.learner(self, *a, **kw), learn.add_cb(Plant(2, float('nan'))))[0]
    with pytest.raises(ValueError, match='rate'): Ruined().fit(tmp_path/'run', quiet=True)
    assert not (tmp_path/'run/manifest.json').exists() and not (tmp_path/'run/model.safetensors').exists()

def test_recipe_without_methods(tmp_path):
    @dataclass
    class Half(runs.Recipe):
        system: ClassVar[str] = 'half'
        def simulator(self): return Decay()
        def model(self, sim): return Net()
    with pytest.raises(ValueError, match='Half.*dls, loss, stages'): Half().fit(tmp_path/'run')
    assert not (tmp_path/'run').exists()

def test_numpy_numbers(tmp_path):
    r = Small(epochs=np.int64(1), lr=np.float32(1e-2), batch_size=np.int32(16), seed=np.int16(3), noise=torch.tensor(.01)).fit(tmp_path/'run', quiet=True, evaluate=False)
    o = runs.Run.load(r.path).recipe
    assert (o.epochs, o.batch_size, o.seed) == (1, 16, 3) and abs(o.lr - 1e-2) < 1e-8
    with pytest.raises(ValueError, match="noise.*number"): Small(noise=White(.01)).fit(tmp_path/'no')

def test_wandb_goes_on(killed, monkeypatch):
    "The same run of W&B, by the id that the folder keeps."
    import sys, types
    began = []
    def init(**kw):
        began.append(kw)
        return types.SimpleNamespace(log=lambda row, step: None, finish=lambda: None)
    monkeypatch.setitem(sys.modules, 'wandb', types.SimpleNamespace(init=init, Histogram=len))
    monkeypatch.setattr(trackers, 'find_spec', lambda name: True)
    folder = killed.parent/'tracked'
    Small(track='wandb', keep='all').fit(folder, quiet=True, evaluate=False)
    runs.Run.resume(cut(folder), quiet=True)
    assert len(began) == 2 and began[0]['id'] == began[1]['id'] and began[1]['resume'] == 'allow'
    assert began[0]['id'] != init and len(began[0]['id']) >= 8

def test_export_without_for_export(tmp_path):
    "A model that says nothing about export is written as it is: what it reads are the inputs, its tensors the outputs."
    ort = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    run = Small(epochs=1).fit(tmp_path/'run', quiet=True, evaluate=False)
    run.export_onnx(tmp_path/'net.onnx')
    s = ort.InferenceSession(str(tmp_path/'net.onnx'))
    assert [i.name for i in s.get_inputs()] == ['x'] and [o.name for o in s.get_outputs()] == ['u']
    x = torch.rand(5, 1, 16)
    np.testing.assert_allclose(s.run(None, dict(x=x.numpy()))[0], run.model(dict(x=x))['u'].detach().numpy(), atol=1e-6)

def test_other_values(tmp_path):
    "Data of the same size with other values are other data: in memory, in a file, of another space, and on the side of validation."
    table = dict(x=np.random.default_rng(0).normal(size=(48, 1, 16)).astype('f4'), u=np.random.default_rng(1).uniform(size=(48, 2)).astype('f4'))
    def rows(k=None, name='x'):
        arrays = {n: v.copy() for n, v in table.items()}
        if k is not None: arrays[name][k].flat[0] += .25
        return FileSource(Rows(arrays))
    def dls(train, valid): return DataLoaders(SeedDL(train, 16, split='train'), SeedDL(valid, 16, split='valid'))
    one = lambda **kw: stage(1, **kw)
    fit_stages(learner(dls=dls(rows(), rows())), one(), tmp_path/'a')
    for changed in ((rows(7), rows()), (rows(), rows(3, 'u'))):
        with pytest.raises(FileError, match='other values.*put.*back'): fit_stages(learner(dls=dls(*changed)), one(), tmp_path/'a', resume=True)
    assert len(fit_stages(learner(dls=dls(rows(), rows())), one(), tmp_path/'a', resume=True)) == 1
    fit_stages(learner(), one(), tmp_path/'b')
    for other in (dict(noise=White(.02)), dict(noise=White(.01), space=Decay().space.replace(A=Param(.6, 1.5, 'V')))):
        with pytest.raises(FileError, match='other values'): fit_stages(learner(dls=sim_dls(Decay(), bs=16, n_train=64, n_valid=32, seed=1, **other)), one(), tmp_path/'b', resume=True)

def test_other_file(tmp_path):
    "A file that was changed between kill and resume is named, though its size stayed; the same bytes at another time are the same file."
    table = tmp_path/'table.csv'
    table.write_text('a,b\n1,2\n')
    fit_stages(learner(), stage(1), tmp_path/'s', files=[table])
    table.write_text('a,b\n1,3\n')
    with pytest.raises(FileError, match='table.csv.*changed.*put it back'): fit_stages(learner(), stage(1), tmp_path/'s', resume=True, files=[table])
    table.write_text('a,b\n1,2\n')
    assert len(fit_stages(learner(), stage(1), tmp_path/'s', resume=True, files=[table])) == 1
    table.unlink()
    with pytest.raises(FileError, match='table.csv'): fit_stages(learner(), stage(1), tmp_path/'s', resume=True, files=[table])

def test_files_of_a_recipe(tmp_path):
    "Whatever option names a file, that file belongs to the training."
    @dataclass
    class Tabled(runs.Recipe):
        table: str = str(tmp_path/'t.csv')
        others: tuple = (str(tmp_path/'q.csv') + ':2021', 'voigt')
    for f in ('t.csv', 'q.csv'): (tmp_path/f).write_text('1')
    assert [str(f) for f in Tabled().inputs()] == [str(tmp_path/'t.csv'), str(tmp_path/'q.csv')]

def test_names_that_pages_gave():
    "What notebooks of version 0.1 import from runs stands there."
    from physlearn.runs import Recipe, Run, read_recipe, sha256
    assert (Recipe, read_recipe) == (recipes.Recipe, recipes.read_recipe)
    assert all(map(callable, (Recipe.fit, Recipe.learner, Recipe.begin, Run.load, Run.resume, sha256)))

def test_history_marks_what_is_sealed(tmp_path):
    "One epoch of history.csv is that of the weights; nothing is marked before."
    rows = [dict(stage=s, epoch=e, train_loss=1., valid_loss=2.) for s, e in (('A', 0), ('A', 1), ('B', 0))]
    processes.write_history(tmp_path/'history.csv', rows)
    assert 'sealed' not in (tmp_path/'history.csv').read_text()
    processes.write_history(tmp_path/'history.csv', rows, 2)
    assert runs.Run(tmp_path, None).history['sealed'].tolist() == [0, 1, 0]

class Rate(Callback):
    "The rate that the optimizer itself has at the end of each epoch, of each of its groups."
    def __init__(self): self.seen = []
    def after_train(self):
        inner = getattr(self.opt, 'opt', None)
        self.seen.append([g['lr'] for g in inner.param_groups] if inner is not None else [float(h['lr']) for h in self.opt.hypers])

@pytest.mark.parametrize('name', ['adamw', 'lion', 'fastai'])
def test_plateau_lowers_the_rate_of_the_optimizer_itself(name):
    "Wrapped optimizers give copies of their options: the rate has to be set where it is used, in every group."
    if name == 'lion': pytest.importorskip('lion_pytorch')
    from fastai.optimizer import Adam
    two = lambda model: [list(model[0].parameters()), list(model[1].parameters())]
    dls = data()
    spy, never = Rate(), Plateau('valid_loss', 'max', patience=1, factor=.5, min_lr=0., min_delta=1e9)
    model = nn.Sequential(nn.Linear(16, 4), nn.Linear(4, 2))
    class Dict(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = model
        def forward(self, batch): return dict(u=self.body(batch['x'][:,0]).sigmoid())
    learn = PhysLearner(dls, Dict(), loss_func=loss(), opt_func=Adam if name == 'fastai' else optimizer(name), lr=.01, cbs=[never, spy],
                        splitter=lambda m: two(m.body))
    learn.remove_cbs([cb for cb in learn.cbs if cb.name == 'progress'])
    learn.logger = lambda row: None
    learn.fit(5)
    rates = np.array(spy.seen)
    assert rates.shape == (5, 2)
    np.testing.assert_allclose(rates[:,0], .01*np.array([1, 1, .5, .25, .125]))   # the first value is the best, then none is
    np.testing.assert_allclose(rates[:,1], rates[:,0])

def test_lists_of_whole_numbers_in_a_file_stay_whole(tmp_path):
    (tmp_path/'a.yaml').write_text('sizes: [3, 5]\n')
    @dataclass
    class Options:
        sizes: tuple[int, ...] = ()
    got = recipes.typed_options(tmp_path/'a.yaml', dict(sizes=[3, 5]), Options, 'a test')
    assert got == dict(sizes=(3, 5)) and all(type(v) is int for v in got['sizes'])

@pytest.mark.parametrize('name, value', [('epochs', 2.5), ('accumulate', 1.5), ('seed', 1.5), ('threads', True), ('gpus', 'a'), ('keep', '\u00b2')])
def test_counts_are_whole(name, value):
    "Half an epoch, or a step after every one and a half batches, is no training."
    with pytest.raises(ValueError, match=name): replace(spectra_recipe('quick'), **{name: value}).check()

def test_states_beyond_five_digits(tmp_path):
    for k in ('99998', '99999', '100000', '00000-end', '100000-end'):
        (tmp_path/k).mkdir()
        (tmp_path/k/'plain.json').write_text('{}')
    assert train.state_names(tmp_path) == ['00000-end', '99998', '99999', '100000', '100000-end']
