"""What the encoders of PhysAE cost, and how much of a training step the simulator takes.

Each size runs in a process of its own: parameters, flop of a forward pass, spectra per CPU second and memory of training steps (batch from the loader, forward, loss of
the parameters, backward, clipping, AdamW), as in stage A. Then the smallest encoder's step is taken apart: with the parameters' loss alone, and with the guide's three terms, whose reconstruction runs the simulator too.
"""
import argparse, ctypes, gc, json, subprocess, sys, time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
import numpy as np
import torch
from fastai.basics import Callback
from _table import bar, save
from physlearn.callbacks import ReLoBRaLo
from physlearn.cli import keep_memory
from physlearn.layers import flops
from physlearn.spectra.train_physae import spectra_recipe
from physlearn.train import fit_stages
torch.set_num_threads(1)
keep_memory()

POINTS, BATCH, SMALL = 800, 64, 16
VARIANTS = dict(xs=100, s=4, m=3, l=2)                     # steps that are timed, after others that are not
BATCH_PARTS = 'draw', 'simulate', 'noise'
DECODER_PARTS = 'decoder forward', 'decoder backward'

def recipe_of(preset, **kw): return spectra_recipe(preset, encoder_variant=kw.pop('variant', 'xs'), batch_size=BATCH, val_samples=BATCH, threads=1, gpus=0, **kw)

class Memory:
    "Resident memory now, and its peak since this was made [MB]; Linux."
    def __init__(self):
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        Path('/proc/self/clear_refs').write_text('5')
        self.start = self.read('VmRSS')
    def read(self, key): return int(next(l for l in open('/proc/self/status') if l.startswith(key + ':')).split()[1])/1024
    @property
    def growth(self): return self.read('VmHWM') - self.start

def steps(dl, model, loss, opt, n):
    "Train for `n` batches."
    for i in range(n):
        b = dl.batch(i)
        loss(model(b), b).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.)
        opt.step()
        opt.zero_grad()

def training(recipe, sim, bs):
    "Loader, model in stage A and optimizer."
    model = recipe.model(sim).train()
    model.active = 0
    trained = [*model.encoder.parameters(), *model.head.parameters()]
    model.requires_grad_(False)
    for p in trained: p.requires_grad_(True)
    return recipe.dls(sim).train.new(bs=bs), model, recipe.loss(sim), torch.optim.AdamW(trained, lr=1e-4)

def one(variant):
    "Figures of one size, in a process of its own."
    recipe = recipe_of('bound', variant=variant)
    sim = recipe.simulator()
    dl, model, loss, opt = training(recipe, sim, BATCH)
    x, d = torch.zeros(1, 1, POINTS), len(sim.space)
    out = dict(encoder=sum(p.numel() for p in model.encoder.parameters()), model=sum(p.numel() for p in model.parameters()),
               flop=flops(model.encoder.eval(), x), guess=flops(lambda *a: model.guess(*a), x, torch.zeros(1, d), torch.zeros(1, d)))
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    steps(dl.new(bs=SMALL), model, loss, opt, 1)                           # libraries are loaded now
    for bs in (SMALL, BATCH):                                              # two steps: the second has the optimizer's moments
        opt = None
        opt = torch.optim.AdamW(trained, lr=1e-4)
        m = Memory()
        steps(dl.new(bs=bs), model, loss, opt, 2)
        out[f'mb{bs}'] = m.growth
    n, took = VARIANTS[variant], []
    for _ in range(n):
        t = time.process_time()
        steps(dl, model, loss, opt, 1)
        took.append(time.process_time() - t)
    return out | dict(step_s=took)

class Clock:
    "CPU seconds by part."
    def __init__(self): self.seconds = defaultdict(float)
    @contextmanager
    def __call__(self, part):
        t = time.process_time()
        try: yield
        finally: self.seconds[part] += time.process_time() - t
    def timed(self, f, part):
        def g(*args):
            with self(part): return f(*args)
        return g

class Timed:
    "A simulator whose calls are timed."
    def __init__(self, sim, clock): self.space, self.call = sim.space, clock.timed(sim, 'simulate')
    def __call__(self, *args): return self.call(*args)

class Apart:
    "Training steps taken apart: the graph is cut at the parameters and at the reconstruction, and gradients are handed over."
    def __init__(self, recipe, sim):
        self.clock = Clock()
        self.dl, self.model, self.loss, self.opt = training(recipe, sim, BATCH)
        self.decode, self.balance = recipe.lambda_spectral_angle > 0, ReLoBRaLo(seed=0) if recipe.use_relobralo else None
        source = self.dl.source
        source.sim, source.noise = Timed(sim, self.clock), self.clock.timed(source.noise, 'noise')

    def step(self, i):
        c = self.clock
        with c('batch'): b = self.dl.batch(i)
        with c('network forward'): out = self.model(b)
        u = out['u'].detach().requires_grad_()
        cut = dict(u=u, us=u[None])
        if self.decode:
            with c('decoder forward'): signal = self.model.reconstruct(u)
            cut['signal'] = signal.detach().requires_grad_()
        with c('loss terms'):
            total = self.loss(cut, b)
            if self.balance: total = sum(v*self.loss.weights[k]*self.loss.live[k] for k, v in self.balance.update({k: v.item() for k, v in self.loss.live.items()}).items())
            total.backward()
        if self.decode:
            with c('decoder backward'): signal.backward(cut['signal'].grad)
        with c('network backward'): out['u'].backward(u.grad)
        with c('clipping, AdamW'):
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.)
            self.opt.step()
            self.opt.zero_grad()

    def run(self, n):
        "CPU ms per step by part, over `n` steps."
        self.clock.seconds.clear()
        for i in range(n): self.step(i)
        s = dict(self.clock.seconds)
        s['draw'] = s.pop('batch') - s['simulate'] - s['noise']
        return {k: 1e3*v/n for k, v in s.items()}

    def whole_gradient(self, i):
        "Largest difference between the gradient by parts and in one piece, relative to the largest component."
        b, saved = self.dl.batch(i), self.model.training
        self.model.eval()
        self.model.decode = self.decode
        self.opt.zero_grad()
        self.loss(self.model(b), b).backward()
        whole = torch.cat([p.grad.flatten() for p in self.model.parameters() if p.grad is not None])
        self.model.decode = False
        self.opt.zero_grad()
        out = self.model(b)
        u = out['u'].detach().requires_grad_()
        cut = dict(u=u, us=u[None])
        if self.decode:
            signal = self.model.reconstruct(u)
            cut['signal'] = signal.detach().requires_grad_()
        self.loss(cut, b).backward()
        if self.decode: signal.backward(cut['signal'].grad)
        out['u'].backward(u.grad)
        parts = torch.cat([p.grad.flatten() for p in self.model.parameters() if p.grad is not None])
        self.opt.zero_grad()
        self.model.train(saved)
        return ((whole - parts).abs().max()/whole.abs().max()).item()

class Span(Callback):
    "CPU seconds of an epoch's training."
    def before_train(self): self.t = time.process_time()
    def after_train(self): self.seconds = time.process_time() - self.t

def by_learner(recipe, sim):
    "CPU ms per step of the recipe's own learner, callbacks included."
    learn, span = recipe.learner(sim), Span()
    learn.remove_cbs([c for c in learn.cbs if c.name == 'progress'])
    learn.add_cb(span)
    learn.logger = lambda row: None
    fit_stages(learn, recipe.stages())
    return 1e3*span.seconds/len(learn.dls.train)

def sizes(names):
    "Table of sizes."
    rows, raw = [], {}
    for v in names:
        print(f'{v} ...', flush=True)
        r = raw[v] = json.loads(subprocess.run([sys.executable, __file__, '--one', v], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])
        med = float(np.median(r['step_s']))
        row = (r['mb64'] - r['mb16'])/(BATCH - SMALL)
        rows.append([v, r['encoder']/1e6, r['model']/1e6, r['flop']/1e6, BATCH/med, r['mb64'], max(r['mb16'] - SMALL*row, 0.), row])
        print('  ' + ', '.join(f'{x:.4g}' if isinstance(x, float) else x for x in rows[-1]), flush=True)
    return rows, raw

def shares(n, rounds):
    "The two settings, in turns; ms by part, shares, ms of the learner."
    settings = {'parameters alone (preset bound)': recipe_of('bound', train_samples=BATCH*n, epochs=1), 'the guide\'s three terms (preset default)': recipe_of('default', train_samples=BATCH*n, epochs=1)}
    sim = settings['parameters alone (preset bound)'].simulator()
    apart = {k: Apart(r, sim) for k, r in settings.items()}
    same = {k: a.whole_gradient(0) for k, a in apart.items()}
    for a in apart.values(): a.run(10)
    ms, learner = {k: [] for k in apart}, {k: [] for k in apart}
    for r in range(rounds):
        for k, a in apart.items():
            ms[k].append(a.run(n))
            learner[k].append(by_learner(settings[k], sim))
            print(f"round {r+1}, {k}: {sum(ms[k][-1].values()):.1f} ms, learner {learner[k][-1]:.1f} ms; " + ', '.join(f'{p} {v:.2f}' for p, v in ms[k][-1].items()), flush=True)
    return ms, learner, same

def main():
    a = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    a.add_argument('--one', help='figures of this size alone, as JSON')
    a.add_argument('--steps', type=int, default=100, help='steps of a round')
    a.add_argument('--rounds', type=int, default=5)
    a.add_argument('--variants', nargs='+', default=[*VARIANTS])
    a.add_argument('--note', default='', help='what the machine did besides, for the text')
    a = a.parse_args()
    if a.one:
        print(json.dumps(one(a.one)))
        return
    ms, learner, same = shares(a.steps, a.rounds)
    rows, raw = sizes(a.variants)
    parts = ['draw', 'simulate', 'noise', 'network forward', 'decoder forward', 'loss terms', 'decoder backward', 'network backward', 'clipping, AdamW']
    med = {k: {p: float(np.median([r.get(p, 0.) for r in v])) for p in parts} for k, v in ms.items()}
    share = {k: [sum(r.get(p, 0.) for p in (*BATCH_PARTS, *DECODER_PARTS))/sum(r.values()) for r in v] for k, v in ms.items()}
    whole = {k: float(np.median([sum(r.values()) for r in v])) for k, v in ms.items()}
    mid = {k: float(np.median(v)) for k, v in share.items()}
    profile = [*[[p, *(med[k][p] for k in ms)] for p in parts], ['whole step', *(whole[k] for k in ms)], ['simulator\'s share [%]', *(100*mid[k] for k in ms)],
               ['lowest and highest share of a round [%]', *(f'{100*min(share[k]):.1f} .. {100*max(share[k]):.1f}' for k in ms)],
               ['a step of the recipe\'s own learner', *(float(np.median(learner[k])) for k in ms)]]
    bars = [*[bar(f'simulator\'s share of a step, {k}', '<= 15 %', f'{100*v:.1f} %', v <= .15) for k, v in mid.items()], bar('gradient by parts and in one piece', '<= 1e-5 of the largest component', f'{max(same.values()):.0e}', max(same.values()) <= 1e-5)]
    head = ['size', 'encoder [M parameters]', 'whole model [M]', 'forward pass [Mflop]', 'training [spectra per CPU second]', f'training step, batch {BATCH} [MB]', 'of it independent of the batch [MB]', 'per spectrum of the batch [MB]']
    notes = (f'Whole model: encoder, head, three Newton refiners, denoiser. Forward pass: the encoder, one spectrum of {POINTS} points, a multiply-add being two. Training: batch {BATCH}, median of {", ".join(f"{n} ({k})" for k, n in VARIANTS.items())} steps after others. '
             f'Memory: growth of the resident memory (VmHWM, reset before) over two steps on a CPU in float32: activations, gradients, AdamW\'s moments; the weights are there before. The last two columns are the line through batches of {SMALL} and {BATCH}. On a GPU it may differ.')
    text = ('Reference preset, embedded lines, 800 points, float32, one thread' + (f'; {a.note}' if a.note else '') + '. '
            'Guide: 3, 6 and 12 M parameters for s, m and l; its own code has 20.4, 36.6 and 82.7 M.')
    save('sizes', 'Sizes of the network, and the simulator\'s share', text,
         [('Encoders', head, rows, notes),
          (f'One training step of xs at batch {BATCH}, CPU ms by part', ['part', *ms], profile,
           f'{a.rounds} rounds of {a.steps} steps, the settings in turns; medians of rounds. Draw: addresses, states, masks and the cutting of blocks into batches. Share: draw, simulate, noise, and the decoder both ways. '
           'Backward passes of network and decoder are told apart by cutting the graph and handing gradients over; loss terms include their own backward pass, and the balancing in the second setting.')],
         bars, sizes=raw, profile=ms, learner=learner, gradient=same)

if __name__ == '__main__': main()
