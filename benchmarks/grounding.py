"""What radar gives to pictures with holes, and what the guide's loss does to them.

    PHYSLEARN_DATA=folder python benchmarks/grounding.py holes|guide|real|lora|weights|expected|cost SEED
    PHYSLEARN_DATA=folder python benchmarks/grounding.py report

`holes`: 400 synthetic tiles of 64 px, 20-60 % of each hidden and filled with the clear mean, 320 of them train; the network with
radar and the same one that never sees it, each in less than 5 CPU minutes; figures are those of tiles that nobody trained on. `guide`: the
guide's damage (noise of 0.05) and its weights, beside errors in reflectance alone, same budget. `real`: Spain's blocks of one side
to the other, and all of them to each TerraMesh scene, moved by its measured offset. `lora`: a network of synthetic land adapted to one
side of Spain and judged on the other: as it is, by adapters of rank 8, wholly, and trained on that side alone. `weights`: the weight of
the SAR term by PSNR of validation tiles. `expected`: the preset `guide` on measured tiles, 50 epochs, beside what the guide expects. `cost`: memory and CPU time of a step. Gains are in dB; errors over seeds, or scenes."""
import copy, json, resource, subprocess, sys, tempfile, time
from dataclasses import replace
from pathlib import Path
import numpy as np
import torch
from _table import HERE, bar, data_folder, save
from physlearn.callbacks import one_cycle
from physlearn.data import TellEpoch
from physlearn.sar.adapters import adapt, merged, share
from physlearn.sar.agreement import psnr, structure_scores
from physlearn.sar.registration import offset, shifted
from physlearn.sar.synthetic import synthetic
from physlearn.sar.tiles import decode_s1, read_tiles
from physlearn.sar.train_grounding import GroundingRecipe, TileRows, cosine_of, grounding_recipe, psnr_of, said_of_tiles

FOLDER = HERE/'runs'/'grounding'
class Given(GroundingRecipe):
    "A recipe with tiles that are in memory."
    system = ''
    def sides(self): return self.found

def trained(found, seed, net=None, **options): # network to go on with; None: a new one
    "A network and the CPU seconds that it took."
    r = replace(grounding_recipe('default', seed=seed, gpus=0), **options)
    r = Given(**vars(r))
    r.found, t = found, time.process_time()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = net or r.model(None)
    learn = r.learner(None, model=net, device=torch.device('cpu'))
    with learn.no_bar(), learn.no_logging(): learn.fit(r.epochs, r.lr, cbs=[one_cycle(r.lr), TellEpoch()])
    return net.eval(), time.process_time() - t

@torch.no_grad()
def figures(net, tiles, damage, seed, size=64)->dict:
    "Of tiles that nobody trained on."
    source, parts = TileRows(tiles, size, False, damage, seed), []
    for rows in torch.arange(len(tiles)).split(8):
        b = source(rows, seed, 'test', 0)
        r = net.refine(b)
        low, high = net.interval(r)
        wrong = net.refine(b | dict(s1=b['s1'].roll(1, 0))).mean
        parts.append(b | dict(mean=r.mean, wrong=wrong, low=low, high=high))
    s = {k: torch.cat([p[k] for p in parts]) for k in parts[0]}
    valid, hole = s['valid'][:,0].bool(), (s['valid']*s['hole'])[:,0].bool()
    mean = lambda k: float(np.mean(psnr_of(s[k], s)))
    score = lambda k: structure_scores(decode_s1(s['s1']), s[k], valid)
    held = ((s['low'] <= s['truth']) & (s['truth'] <= s['high'])).movedim(1, -1)[hole].float().mean()
    clear = valid & ~hole
    return dict(given=mean('given'), psnr=mean('mean'), wrong=mean('wrong'), holes=psnr(s['mean'], s['truth'], hole),
                holes_given=psnr(s['given'], s['truth'], hole), apart=float((score('mean') - score('truth')).abs().mean()),
                held=float(held), score=float(score('mean').mean()), truth=float(score('truth').mean()),
                moved=float((s['mean'] - s['given']).abs().movedim(1, -1)[clear].max()) if clear.any() else 0.)

def holes_part(seed):
    "With and without radar."
    found = grounding_recipe('default', seed=seed).sides()
    test, out = found['test'] or found['val'], {}
    for name, sar in (('radar', True), ('none', False)):
        net, cpu = trained(found, seed, sar=sar)
        out[name] = figures(net, test, 'holes', seed) | dict(cpu=cpu)
    return out

def guide_part(seed):
    "The guide's damage and weights."
    found = grounding_recipe('default', seed=seed).sides()
    test, out = found['test'] or found['val'], {}
    plain = dict(sar_weight=0., nll_weight=0.)
    guide = dict(terms='guide', nll_weight=0., sar_weight=1., cycle_weight=.5, identity_weight=.3)
    for name, damage, more in (('noise, L1', 'noise', plain), ('noise, L1, no radar', 'noise', plain | dict(sar=False)),
                               ("noise, guide's weights", 'noise', guide), ("holes, guide's weights", 'holes', guide)):
        net, cpu = trained(found, seed, damage=damage, **more)
        out[name] = figures(net, test, damage, seed) | dict(cpu=cpu)
    return out

def real_part(seed):
    "Measured tiles: one side of Spain to the other, and Spain to scenes elsewhere."
    tiles = read_tiles(data_folder()/'s1s2')
    spain = [t for t in tiles if t.name.startswith('sen1floods11')]
    west = [t for t in spain if t.name[-1] in '01']
    east = [t for t in spain if t.name[-1] in '23']
    others = [shifted(t, offset(t.s1, t.optical)) for t in tiles if not t.name.startswith('sen1floods11')]
    out = {}
    for name, train, tests in (('west to east', west, [east]), ('east to west', east, [west]), ('Spain to', spain, [[t] for t in others])):
        nets = [trained(dict(train=train, val=train[:2], test=[]), seed, epochs=120, sar=sar)[0] for sar in (True, False)]
        for test in tests:
            label = name if len(tests) == 1 else f'{name} {test[0].name}'
            size = min(min(t.shape) for t in test)//4*4
            both = [figures(net, test, 'holes', seed, size) for net in nets]
            out[label] = dict(gain=both[0]['holes'] - both[1]['holes'], holes=both[0]['holes'], given=both[0]['holes_given'])
    return out

def lora_part(seed):
    "A base of synthetic land, adapted to one side of Spain."
    spain = [t for t in read_tiles(data_folder()/'s1s2') if t.name.startswith('sen1floods11')]
    west, east = ([t for t in spain if t.name[-1] in side] for side in ('01', '23'))
    base, out = trained(grounding_recipe('default', seed=seed).sides(), seed)[0], {}
    found = dict(train=west, val=west[:2], test=[])
    nets = dict(frozen=base, lora=adapt(copy.deepcopy(base), 8, 16, seed=seed), full=copy.deepcopy(base), new=None)
    for name, net in nets.items():
        if name != 'frozen': net = trained(found, seed, net, epochs=60, lr=dict(lora=2e-3, full=1e-3).get(name, 4e-3))[0]
        learns, every = (0, 1) if name == 'frozen' else share(net)
        out[name] = figures(net, east, 'holes', seed, 128) | dict(share=learns/every)
        if name == 'lora':
            rows = TileRows(east, 128, False, 'holes', seed)(torch.arange(len(east)), seed, 'test', 0)
            plain = {k.replace('.base_layer', ''): v for k, v in net.state_dict().items()}
            out[name] |= dict(merged=float((merged(net).refine(rows).mean - net.refine(rows).mean).abs().max()),
                              still=all(torch.equal(v, plain[k]) for k, v in base.state_dict().items() if k != 'reach'))
    return out

def weights_part(seed):
    "PSNR of validation tiles, by the weight of the SAR term."
    found, out = grounding_recipe('default', seed=seed).sides(), {}
    for w in (0., .003, .01, .03, .1):
        net, _ = trained(found, seed, sar_weight=w)
        out[str(w)] = figures(net, found['val'], 'holes', seed)
    return out

def expected_part(seed):
    "What the guide's preset comes to on measured tiles, beside its numbers."
    r = grounding_recipe('guide', data_dir=str(data_folder()/'s1s2'), lpips_weight=0., seed=seed, gpus=0, threads=1)
    t = time.process_time()
    with tempfile.TemporaryDirectory() as home:
        run = r.fit(Path(home)/'run', quiet=True, evaluate=False)
        cpu, history, at = time.process_time() - t, run.history, run.sealed['row'] - 1
    rows = {k: v for k, v in said_of_tiles(run, r.sides()['val']).items() if k in ('truth', 'given', 'refined', 's1', 'valid')}
    of = lambda k, f: float(np.mean(f(rows[k], rows)))
    return dict(epochs=len(history['epoch']), cpu=cpu, loss=history['valid_loss'][at], score={k: of(k, cosine_of) for k in ('truth', 'given', 'refined')},
                psnr={k: of(k, psnr_of) for k in ('given', 'refined')})

COSTS = {'default: 8 tiles of 64 px, width 16': dict(preset='default'),
         'the same without radar in the loss': dict(preset='default', sar_weight=0.),
         'flow: 8 tiles of 64 px': dict(preset='default', network='flow', sar_weight=.01, spectral_weight=1., nll_weight=.05),
         "guide: 1 tile of 120 px, without perceptual term": dict(preset='guide', crop=120, lpips_weight=0.),
         'the same, perceptual term as 1 - SSIM': dict(preset='guide', crop=120, terms='unit'),
         'the same, precision bf16': dict(preset='guide', crop=120, lpips_weight=0., precision='bf16'),
         '1 tile of 96 px': dict(preset='guide', crop=96, lpips_weight=0.)}

def memory(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1e6     # the largest so far [GB]

def step(words):
    "CPU seconds of a training step, by 40 of them, and what memory they took beside the process's own."
    options = json.loads(words)
    r = grounding_recipe(options.pop('preset'), gpus=0, **options)
    learn = Given(**vars(r) | dict(damage=r.damage))
    learn.found = dict(train=(land := synthetic(48, 1, r.crop)), val=land[:8], test=[])
    learn = learn.learner(None, device=torch.device('cpu'))
    batches, model = [b[0] for b in learn.dls.train], learn.model.train()
    own, opt = memory(), torch.optim.AdamW(model.parameters())
    def work(b):
        opt.zero_grad()
        with torch.autocast('cpu', torch.bfloat16, enabled=r.precision == 'bf16'): loss = learn.loss_func(model(b), b)
        loss.backward()
        opt.step()
    for b in batches[:2]: work(b)
    t, n = time.process_time(), 0
    for _ in range(40):
        work(batches[n % len(batches)])
        n += 1
    size = sum(p.numel() for p in model.parameters())
    print(json.dumps(dict(cpu=(time.process_time() - t)/n, gb=memory() - own, whole=memory(), parameters=size)))

def cost_part(seed):
    "Each in a process of its own."
    ask = lambda options: [sys.executable, __file__, 'step', json.dumps(options)]
    told = lambda options: subprocess.run(ask(options), capture_output=True, text=True, check=True).stdout
    return {k: json.loads(told(v).splitlines()[-1]) for k, v in COSTS.items()}

def report():
    "Tables and bars."
    parts = lambda k: [json.loads(p.read_text()) for p in sorted(FOLDER.glob(f'{k}-*.json'))]
    tables, bars, found = [], [], parts('holes')
    mean = lambda of: (np.mean([of(p) for p in found]), np.std([of(p) for p in found], ddof=1)/len(found)**.5 if len(found) > 1 else np.nan)
    show = lambda v: f'{v[0]:.2f} ± {v[1]:.2f}'
    rows = {'gain over what was given [dB]': lambda p: p['radar']['psnr'] - p['radar']['given'],
            'gain over no radar [dB]': lambda p: p['radar']['psnr'] - p['none']['psnr'],
            'gain over no radar inside holes [dB]': lambda p: p['radar']['holes'] - p['none']['holes'],
            'radar of another place, below no radar [dB]': lambda p: p['none']['psnr'] - p['radar']['wrong'],
            'score apart from the truth\'s [-]': lambda p: p['radar']['apart'],
            '90 % intervals hold inside holes [%]': lambda p: 100*p['radar']['held'],
            'largest change of a clear pixel [-]': lambda p: p['radar']['moved'], 'CPU minutes': lambda p: p['radar']['cpu']/60}
    wanted = ['>= 4', '>= 1.5', '>= 2.5', '> 0', '<= 0.05', '87-93', '0', '<= 5']
    good = [lambda v: v >= 4, lambda v: v >= 1.5, lambda v: v >= 2.5, lambda v: v > 0, lambda v: v <= .05,
            lambda v: 87 <= v <= 93, lambda v: v == 0, lambda v: v <= 5]
    for (k, f), w, g in zip(rows.items(), wanted, good): bars.append(bar(k, w, show(mean(f)), bool(g(mean(f)[0]))))
    head = ['seed', 'given', 'no radar', 'radar', 'radar of another place', 'in holes: given', 'no radar', 'radar']
    tables.append(('Holes: PSNR [dB]', head, [[i, p['radar']['given'], p['none']['psnr'], p['radar']['psnr'], p['radar']['wrong'],
                   p['radar']['holes_given'], p['none']['holes'], p['radar']['holes']] for i, p in enumerate(found, 1)]))
    for k, caption in (('guide', "The guide's damage and weights: PSNR [dB], agreement"),):
        for i, p in enumerate(parts(k), 1):
            tables.append((f'{caption}, seed {i}', ['training', 'given', 'refined', 'agreement', "the truth's"],
                           [[n, v['given'], v['psnr'], v['score'], v['truth']] for n, v in p.items()]))
    real = parts('real')
    if real:
        rows = [[n, real[0][n]['given'], np.mean([p[n]['holes'] for p in real]), np.mean([p[n]['gain'] for p in real])] for n in real[0]]
        gains = [r[3] for r in rows[2:]]
        rows.append(['mean of the scenes elsewhere', '', '', f'{np.mean(gains):+.2f} ± {np.std(gains, ddof=1)/len(gains)**.5:.2f}'])
        tables.append(('Measured tiles, inside holes [dB]', ['from, to', 'given', 'refined', 'gain by radar'], rows))
    lora = parts('lora')
    if lora:
        names = {'frozen': 'the base as it is', 'lora': 'adapters, rank 8, alpha 16', 'full': 'the base, trained on', 'new': 'a new network'}
        over = lambda k, of: (np.mean([p[k][of] for p in lora]), np.std([p[k][of] - p['frozen'][of] for p in lora], ddof=1)/len(lora)**.5)
        rows = [[v, 100*lora[0][k]['share'], f"{over(k, 'holes')[0]:.2f}", f"{over(k, 'holes')[0] - over('frozen', 'holes')[0]:+.2f} ± {over(k, 'holes')[1]:.2f}",
                 np.mean([p[k]['apart'] for p in lora]), 100*np.mean([p[k]['held'] for p in lora])] for k, v in names.items()]
        rows.insert(0, ['given', '', f"{np.mean([p['frozen']['holes_given'] for p in lora]):.2f}", '', '', ''])
        tables.append(('A base of synthetic land, adapted to one side of Spain: the other side, inside holes', ['network', 'of its parameters learn [%]', 'PSNR [dB]',
                       'over the base [dB]', "score apart from the truth's", 'intervals of 90 % hold [%]'], rows))
        bars.append(bar('merged and unmerged adapters differ by [-]', '<= 1e-5', f"{max(p['lora']['merged'] for p in lora):.0e}",
                        all(p['lora']['merged'] <= 1e-5 for p in lora)))
        bars.append(bar('what adapters were put into is unchanged, bitwise', 'yes', 'yes' if all(p['lora']['still'] for p in lora) else 'no',
                        all(p['lora']['still'] for p in lora)))
    for i, p in enumerate(parts('weights'), 1):
        tables.append((f'Weight of the SAR term, tiles of validation, seed {i}', ['weight', 'PSNR [dB]', 'in holes [dB]', "score apart from the truth's", "score less the truth's"],
                       [[k, v['psnr'], v['holes'], v['apart'], v['score'] - v['truth']] for k, v in p.items()]))
    for p in parts('expected'):
        rows = [['SAR agreement, as the guide has it', '0.75 to 0.85', f"{p['score']['refined']:.3f}; the truth {p['score']['truth']:.3f}, what was given {p['score']['given']:.3f}"],
                ['validation loss', 'below 0.02', f"{p['loss']:.3f}"], ['PSNR [dB]', '', f"{p['psnr']['refined']:.2f}; what was given {p['psnr']['given']:.2f}"],
                ['epochs, CPU minutes', '50, 90 (RTX 3060)', f"{p['epochs']}, {p['cpu']/60:.1f}"]]
        tables.append(("The preset `guide` on measured tiles, those of validation", ['', 'the guide expects', 'measured'], rows))
    for p in parts('cost'):
        tables.append(('A training step on one CPU core', ['training', 'parameters [1e3]', 'CPU [s]', 'memory beside the process [GB]', 'whole process [GB]'],
                       [[k, v['parameters']/1e3, v['cpu'], v['gb'], v['whole']] for k, v in p.items()]))
    save('grounding', 'Grounding', __doc__.split('\n\n')[2].replace('\n', ' '), tables, bars)

if __name__ == '__main__':
    torch.set_num_threads(1)
    FOLDER.mkdir(parents=True, exist_ok=True)
    if sys.argv[1] == 'report': report()
    elif sys.argv[1] == 'step': step(sys.argv[2])
    else:
        part, seed = sys.argv[1], int(sys.argv[2])
        out = globals()[f'{part}_part'](seed)
        (FOLDER/f'{part}-{seed}.json').write_text(json.dumps(out))
        print(json.dumps(out, indent=1))
