"""Training on light curves: how many a second, beside the packed original, and what a trained network knows of visits that it was not shown.

    python benchmarks/light_training.py [folder of a run of the recipe `default`]

Throughput is that of forward pass, loss, backward pass, clipping and Adam on one thread, batches as the loaders make them, of
lengths 20 to 200 and 5 to 20. The original is the guide's network with packed sequences in batches of 32 that are not sorted.
Hidden visits are those of test sources; rivals are a constant rate, at its best and with the error that its photons leave, and the
untrained network."""
import sys, tempfile, time
from pathlib import Path
import numpy as np
import torch
from _table import bar, save
from physlearn.data import FileSource, Rows, SeedDL
from physlearn.lightcurve.rnnvae import GuideVAE, LightVAE, guide_loss
from physlearn.lightcurve.train_lightcurve import Hidden, divergence, judge, lightcurve_recipe, nats
from physlearn.runs import Run

def curves(n, lengths, seed=0):
    "Random curves in the names of a batch: what is in them does not matter for speed."
    g = np.random.default_rng(seed)
    size = g.integers(lengths[0], lengths[1] + 1, n)
    offsets = np.concatenate([[0], size.cumsum()])
    steps = offsets[-1]
    three = lambda v: np.asarray(v, dtype=np.float32).reshape(-1, 1)*np.ones((1, 3), np.float32)
    counts = g.poisson(5., (steps, 3)).astype(np.float32)
    arrays = dict(time=np.concatenate([14400.*np.arange(k) for k in size]), length=np.full(steps, 40, np.float32), good=np.ones((steps, 3), bool),
                  counts=counts, back=three(g.poisson(8., steps)), ratio=three(np.full(steps, .0125)), exposure=three(np.full(steps, 24.)),
                  x=g.normal(1, .2, (steps, 9)).astype(np.float32))
    return Rows(arrays | dict(offsets=offsets), tuple(arrays), 'offsets')

def speed(net, rows, bs, pool, loss, seconds=12.):
    "Curves per CPU second."
    torch.manual_seed(0)
    opt, done = torch.optim.Adam(net.parameters(), 1e-3), 0
    source = FileSource(rows, pool=pool)
    if isinstance(net, LightVAE): source = Hidden(source, .2)
    net.train()
    began, epoch = time.process_time(), 0
    while True:
        dl = SeedDL(source, bs, block=bs)
        dl.epoch = epoch
        for batch, _ in dl:
            value = loss(net(batch), batch)
            opt.zero_grad()
            value.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.)
            opt.step()
            done += len(batch['mask'])
            if time.process_time() - began > seconds: return done/(time.process_time() - began)
        epoch += 1

costs = divergence(3, .25)
def ours(out, batch): return nats(out, batch) + costs(out, batch)

def main():
    torch.set_num_threads(1)
    table, ratios = [], {}
    ways = {'packed original, batch 32': (lambda: GuideVAE(packed=True), 32, 0, guide_loss),
            'the same network padded, of like length': (lambda: GuideVAE(), 32, 512, guide_loss),
            'counts, batch 256': (lambda: LightVAE(), 256, 4096, ours)}
    for lengths, n in (((20, 200), 2048), ((5, 20), 8192)):
        rows = curves(n, lengths)
        found = {k: speed(make(), rows, bs, pool, loss) for k, (make, bs, pool, loss) in ways.items()}
        first = next(iter(found.values()))
        table += [[f'{lengths[0]} to {lengths[1]}', k, round(v), v/first] for k, v in found.items()]
        ratios[lengths] = [v/first for v in found.values()]
    recipe = lightcurve_recipe('default', gpus=0, threads=1)
    with tempfile.TemporaryDirectory() as tmp:
        began = time.process_time()
        if len(sys.argv) > 1: run, took = Run.load(sys.argv[1]), None
        else:
            run = recipe.fit(Path(tmp)/'run', quiet=True, evaluate=False)
            took = time.process_time() - began
        judged = judge(run)
        trained = run.model
        torch.manual_seed(1)
        run.model = recipe.model(None)
        run.model.centre, run.model.spread = trained.centre, trained.spread
        blank = judge(run)
    worth = [[*a[:7], b[5]] for a, b in zip(judged.tables[0]['rows'], blank.tables[0]['rows'])]
    faint = judged.tables[0]['rows'][0]
    fast = table[5][2]
    bars = [bar('padded over packed, lengths 20 to 200', '>= 2', ratios[(20, 200)][1], ratios[(20, 200)][1] >= 2),
            bar('counts over packed, lengths 5 to 20', '>= 4', ratios[(5, 20)][2], ratios[(5, 20)][2] >= 4),
            bar('below 30 photons, worse than a constant with its error by no more than', '<= 0.01 nat', f'{faint[5]:+.3f} ± {faint[6]:.3f} nat', faint[5] >= -.01)]
    minutes = 16_384*50/fast/60
    bars.append(bar('16,384 curves x 50 epochs of lengths 5 to 20', '<= 4 CPU minutes', f'{minutes:.1f}', minutes <= 4))
    if took: bars.append(bar('the same of the lengths of the survey, simulation included', '-', f'{took*50/60/60:.1f} CPU minutes', True))
    text = ("Curves per CPU second of one thread: forward pass, loss, backward pass, clipping, Adam. Hidden visits are a fifth of those of "
            "test sources; gains are in nats a visit over a constant rate of the visits that were shown, at its best and with its error.")
    tables = [('Curves per CPU second', ['steps', 'way', 'curves a second', 'over packed'], table),
              (f'Hidden visits of test sources: {judged.note}',
               ['photons', 'sources', 'visits', 'over a constant at its best', 'error', 'over one with its error', 'error', 'untrained'], worth)]
    save('light_training', 'Training on light curves', text, tables, bars)

if __name__ == '__main__': main()
