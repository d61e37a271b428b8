"""The generator of hits, judged: classifier, distances, early hits, curves, conditioning, cost.

    PHYSLEARN_DATA=folder python benchmarks/hits.py train profile|independent STEPS SECONDS [folder]
    PHYSLEARN_DATA=folder python benchmarks/hits.py judge cascade|track|quiet|reader|decade|cost|all [folder]
    PHYSLEARN_DATA=folder python benchmarks/hits.py report [folder]

IceCube's geometry, 0.1-1000 TeV, 500 dark counts a second in 10 us, no cleaning; 40,000 simulated events to learn
from, half of them tracks. Generated events have the labels of simulated ones that nobody trained on. `independent` has
sensors that are independent given the label, trained alike; `untrained` is the generator before it has learnt;
`simulated` are other simulated events with the same labels: what a perfect generator would have. The judge is that of
`physlearn judge icecube`: boosted trees on the published features, five folds, events with one label in one fold. The
floor of the Frechet distance is that of independent Gaussians; for these features it is that of `simulated`. Curves
agree within 10 % or 3 errors. Errors of curves and of conditioning are those of independent sets; labels are shared, so
that they are too large rather than too small. Errors of early hits and of log-densities are those of differences event
by event.

`train` continues where it stopped, up to STEPS steps of 16 events, for SECONDS of CPU time. `judge` measures one part
and stores it in the folder, each in 8 minutes or less; a part that is there and was measured with the same weights is
not repeated. `report` makes the tables."""
import copy, hashlib, json, math, resource, sys, time
from pathlib import Path
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from _table import HERE, bar, data_folder, save
from physlearn.icecube.detector import Geometry
from physlearn.icecube.event_judge import (FREE, PHYSICS, Features, Reader, conditioning, features, frechet,
                                           frechet_floor, judge, kernel_distance, standardised)
from physlearn.icecube.event_report import compare, decade_name, quantities
from physlearn.icecube.event_simulate import KINDS, simulate
from physlearn.icecube.hits import Hits, hits_nll

TRAIN, BATCH, RATE = 40_000, 16, 3e-3
EVENTS, EARLY, LIKELY, READ, COSTS = 10_000, 5000, 500, 16_000, 512     # of each part
RANGE, DECADES = (1e2, 1e6), (2, 3, 4, 5)                               # [GeV], log10 of their lower ends
NAMES = 'profile', 'independent'
SETS = *NAMES, 'untrained', 'simulated'
CHANCE = 'labels alone', 'classes mixed'
SHOWN = dict(profile='generator', independent='independent', untrained='untrained', simulated='simulated')
PARTS = 'cost', 'quiet', 'cascade', 'track', 'reader', *(f'decade{d}' for d in DECADES)
COUNTED = 'hits', 'hits in time', 'charge', 'largest charge', 'strings'

def geometry(): return Geometry.load(data_folder()/'icecube'/'geometry.csv')
def memory(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1e6     # the largest so far [GB]

# training

def train(name, steps, seconds, folder):
    "So many seconds of training; the state lies in the folder."
    steps, seconds = int(steps), float(seconds)
    events = simulate(TRAIN, 11, 'mix', geometry(), energy=RANGE)
    torch.manual_seed(0)
    model, told = Hits(profile=name == 'profile'), folder/f'{name}.json'
    opt = torch.optim.Adam(model.parameters(), RATE)
    done = json.loads(told.read_text()) if told.exists() else dict(step=0, cpu=0.)
    if done['step']: resume(model, opt, load_file(folder/f'{name}.safetensors'), done['step'])
    begin, seen = time.process_time(), []
    while done['step'] < steps and time.process_time() - begin < seconds:
        rate = RATE*min(1, (done['step'] + 1)/50)*(.5 + .5*math.cos(math.pi*done['step']/steps))
        for group in opt.param_groups: group['lr'] = rate
        rows = np.random.default_rng((1, done['step'])).choice(len(events), BATCH, replace=False)
        b = model.batch(events[rows])
        loss = hits_nll(model(b), b)
        opt.zero_grad()
        (loss/100).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.)
        opt.step()
        seen.append(loss.item())
        done['step'] += 1
    done['cpu'] += time.process_time() - begin
    state = {f'model.{k}': v for k, v in model.state_dict().items()}
    for i, p in enumerate(model.parameters()): state |= {f'{k}.{i}': opt.state[p][k] for k in ('exp_avg', 'exp_avg_sq')}
    save_file({k: v.contiguous() for k, v in state.items()}, folder/f'{name}.safetensors')
    told.write_text(json.dumps(done))
    print(name, done, 'mean loss of this call', np.mean(seen).round(1) if seen else '-', model.learnt)

def resume(model, opt, state, step):
    "Weights and Adam's moments."
    model.load_state_dict({k[6:]: v for k, v in state.items() if k.startswith('model.')})
    for i, p in enumerate(model.parameters()):
        opt.state[p] = dict(step=torch.tensor(float(step)), **{k: state[f'{k}.{i}'] for k in ('exp_avg', 'exp_avg_sq')})

def loaded(name, folder):
    "A trained model, or an untrained one."
    torch.manual_seed(0)
    model = Hits(profile=name != 'independent')
    if name == 'untrained': return model
    state = load_file(folder/f'{name}.safetensors')
    model.load_state_dict({k[6:]: v for k, v in state.items() if k.startswith('model.')})
    return model

def weights(folder):
    "What tells one training from another."
    return {n: hashlib.sha256((folder/f'{n}.safetensors').read_bytes()).hexdigest()[:16] for n in NAMES}

# parts

def made(name, truth, folder, seed=5):
    "Other events with the same labels, and CPU seconds of each."
    start = time.process_time()
    kind = truth.more['kind']
    if name == 'simulated': out = simulate(len(truth), 90 + seed, kind, truth.geometry, label=truth.label)
    else: out = loaded(name, folder).sample(truth.label, kind, truth.geometry, seed=seed, chunk=32)
    return out, (time.process_time() - start)/len(truth)

def physics(f): return np.stack([f.column(k) for k in PHYSICS], 1)

def distances(mine, theirs, resamples=20):
    "Frechet and kernel distance of the physics features; error of the former over resampled events."
    a, b = standardised(physics(mine), physics(theirs))
    rng, n = np.random.default_rng(0), len(a)
    again = [frechet(a[rng.integers(n, size=n)], b[rng.integers(n, size=n)]) for _ in range(resamples)]
    value, scatter, p = kernel_distance(a, b)
    return dict(frechet=frechet(a, b), frechet_error=float(np.std(again)), floor=frechet_floor(a.shape[1], n),
                kernel=value, scatter=scatter, p=p)

def mean_error(v): return [float(v.mean()), float(v.std()/len(v)**.5)]

def pm(value, error, form='.3f'): return f'{value:{form}} ± {error:{form}}'

def early(events): return quantities(events[:EARLY])['early hits', 'n']

def said(j): return dict(auc=j.auc, error=j.error, by_energy=j.by_energy(), alone=j.alone[:8], differ=j.differ)

def judged(kind, folder):
    "All sets of one kind beside simulated events."
    truth = simulate(EVENTS, 12, kind, geometry(), energy=RANGE)
    mine, before, out = features(truth), early(truth), {}
    for name in SETS:
        events, spent = made(name, truth, folder)
        theirs, apart = features(events), early(events) - before
        row = said(judge(truth, events, known=(mine, theirs))) | distances(mine, theirs)
        row |= dict(cpu=spent, hits=events.hits.mean()/truth.hits.mean())
        row['early'] = [before.mean(), *mean_error(apart)]
        if name == 'profile':
            out['labels alone'] = said(judge(truth, events, known=(mine, theirs), groups=('label',)))
            out['classes mixed'] = said(judge(truth, events, known=(mine, theirs), shuffle=True))
        out[name] = row
        print(kind, name, pm(row['auc'], row['error']), row['alone'][:3], flush=True)
    nats = {n: loaded(n, folder).log_prob(truth[:LIKELY]) for n in NAMES}
    nats['gain'] = nats['profile'] - nats['independent']
    out['nats'] = {n: mean_error(v) for n, v in nats.items()}
    return out

def quiet(folder):
    "Early hits where there is neither noise nor jitter, in the simulator and in the generator."
    model, g, out = loaded('profile', folder), geometry(), {}
    silent = copy.deepcopy(model)
    with torch.no_grad():
        for v in (silent.log_noise, silent.log_jitter): v.fill_(-math.inf)
    for kind in KINDS:
        truth = simulate(EARLY, 12, kind, g, energy=RANGE, noise=0., jitter=0.)
        events = silent.sample(truth.label, truth.more['kind'], g, seed=5)
        both = dict(simulated=truth, generator=events)
        out[kind] = {n: [int(early(e).sum()), int(e.hits.sum())] for n, e in both.items()}
        print(kind, out[kind], flush=True)
    return out

def readers_events(folder):
    "Features of the events that the reader learns from, stored once; no generator has seen them."
    events = simulate(READ, 13, 'mix', geometry(), energy=RANGE)
    f = features(events)
    np.savez(folder/'reader.npz', x=f.only(*FREE), label=events.label)
    return dict(events=READ)

def reader(folder):
    "Trained on stored features."
    stored = np.load(folder/'reader.npz')
    n, k = stored['x'].shape
    e = simulate(0, 13, 'mix', geometry())
    e = type(e)(e.geometry, np.zeros(n + 1, np.int64), e.sensor, e.charge, e.time, stored['label'])
    return Reader(e, known=Features(stored['x'], ['']*k, ['']*k, ['']*k, np.array([FREE[0]]*k)))

def decade(d, folder):
    "Curves and conditioning of one decade, half cascades and half tracks."
    truth, read, out = simulate(EVENTS, 20 + d, 'mix', geometry(), energy=(10.**d, 10.**(d + 1))), reader(folder), {}
    mine = features(truth)
    for name in ('profile', 'simulated'):
        events, _ = made(name, truth, folder, seed=60 + d)
        rows = [r for r in compare(truth, events) if r[3] != 'all' or r[4] != 'all']
        for r in rows: r[3] = decade_name(d)
        told = [r for r in conditioning(read, truth, events, (mine, features(events))) if r[2] is not None]
        out[name] = dict(curves=rows, reading=told)
        off, bias = sum(r[-1] == 'OFF' for r in rows), max(abs(r[4]) for r in told)
        print(name, decade_name(d), f'{off} of {len(rows)} rows off, largest bias {bias:.3f}', flush=True)
    return out

def timed(function, times):
    "Mean CPU seconds of a call, and its error; the first is not counted."
    function(0)
    each = np.zeros(times)
    for i in range(times):
        start = time.process_time()
        function(i)
        each[i] = time.process_time() - start
    return mean_error(each)

def cost(folder):
    "CPU seconds of an event and of a training step, memory, in this process alone."
    model, g, batch = loaded('profile', folder), geometry(), 64
    out = dict(libraries=memory())
    mixed = simulate(COSTS, 14, 'mix', g, energy=RANGE)
    opt = torch.optim.Adam(model.parameters(), 1e-6)
    def step(i):
        b = model.batch(mixed[2*i:2*i + 2])
        opt.zero_grad()
        (hits_nll(model(b), b)/100).backward()
        opt.step()
    out['step'] = timed(step, COSTS//2)
    out['step, memory'] = memory()
    for kind in KINDS:
        e = simulate(COSTS, 15, kind, g, energy=RANGE)
        part = lambda i: slice(batch*i, batch*(i + 1))
        generate = lambda i: model.sample(e.label[part(i)], e.more['kind'][part(i)], g, seed=5, chunk=batch)
        again = lambda i: simulate(batch, 16, e.more['kind'][part(i)], g, label=e.label[part(i)], chunk=batch)
        for name, f in (('simulated', again), ('generator', generate)):
            out[kind,name] = [v/batch for v in timed(f, COSTS//batch)]
        out[f'{kind}, memory'] = memory()
    return {', '.join(k) if isinstance(k, tuple) else k: v for k, v in out.items()}

def measure(part, folder):
    "One part, unless it is there."
    path, mark = folder/f'part-{part}.json', {} if part == 'reader' else weights(folder)
    if path.exists() and json.loads(path.read_text())['weights'] == mark: return
    start = time.process_time()
    if part in KINDS: value = judged(part, folder)
    elif part.startswith('decade'): value = decade(int(part[6:]), folder)
    else: value = dict(quiet=quiet, reader=readers_events, cost=cost)[part](folder)
    out = dict(weights=mark, cpu=time.process_time() - start, memory=memory(), value=value)
    path.write_text(json.dumps(out, default=float))
    print(part, f"{out['cpu']:.0f} CPU s, {out['memory']:.2f} GB", flush=True)

# report

def stored(folder):
    "All parts; an error where one is missing or of other weights."
    out, mark = {}, weights(folder)
    for part in PARTS:
        path = folder/f'part-{part}.json'
        if not path.exists(): sys.exit(f'{part} is not measured: python benchmarks/hits.py judge {part}')
        out[part] = json.loads(path.read_text())
        if out[part]['weights'] not in ({}, mark):
            sys.exit(f'{part} was measured with other weights: python benchmarks/hits.py judge {part}')
    return out

def quality(parts):
    "Tables of the judge and bars."
    rows, by, alone, nats, value = [], [], [], [], {k: parts[k]['value'] for k in KINDS}
    for kind, v in value.items():
        nats.append([kind, *(pm(*v['nats'][n], '.1f') for n in (*NAMES, 'gain'))])
        for name in SETS:
            r = v[name]
            far = [pm(r['frechet'], r['frechet_error']), r['floor'], pm(1e3*r['kernel'], 1e3*r['scatter'], '.2f')]
            rows.append([kind, SHOWN[name], pm(r['auc'], r['error']), *far, r['p'], f"{r['hits']:.3f}"])
        rows += [[kind, name, pm(v[name]['auc'], v[name]['error']), *5*['']] for name in CHANCE]
        for i in range(len(DECADES)):
            each = [v[n]['by_energy'][i] for n in SETS]
            by.append([kind, decade_name(each[0][1]), each[0][2], *(pm(*e[3:]) for e in each)])
        alone += [[kind, SHOWN[n], ', '.join(f'{k} {a:.2f}' for k, a in v[n]['alone'])] for n in NAMES]
    head = ['kind', 'events', 'AUC', 'Frechet distance', 'floor', 'kernel distance [1e-3]', 'p', 'hits, ratio']
    tables = [(f'Judge, {EVENTS} + {EVENTS} events of each kind; floor of Gaussians', head, rows),
              ('AUC by energy', ['kind', 'energy', 'simulated + generated', *SHOWN.values()], by),
              ('Features that differ most, AUC of each alone', ['kind', 'events', 'features'], alone),
              (f'Log-density of {LIKELY} events [nats]', ['kind', 'generator', 'independent', 'difference'], nats)]
    return tables, quality_bars(value)

def quality_bars(value):
    "Areas, and those that have to be one half."
    def get(kind, name): return value[kind][name]['auc'], value[kind][name]['error']
    asked = ('cascade', 'profile'), ('track', 'profile'), ('track', 'independent')
    (shower, e0), (track, e1), (rival, e2) = (get(*k) for k in asked)
    half = [get(k, n) for k in KINDS for n in ('simulated', *CHANCE)]
    farthest = max(abs(a - .5)/max(e, 1e-3) for a, e in half)      # labels alone are equal: 0.5 without error
    gap = rival - track
    return [bar('AUC, cascades', '<= 0.60', pm(shower, e0), shower <= .6),
            bar('AUC, tracks', '<= 0.80', pm(track, e1), track <= .8),
            bar('AUC, tracks, below the independent model', '>= 0.10', pm(gap, math.hypot(e1, e2)), gap >= .1),
            bar('AUC of simulated, labels alone, classes mixed: from 0.5 [errors]', '<= 3', f'{farthest:.1f}',
                farthest <= 3)]

def early_hits(parts):
    "Table and bars of hits before the front."
    rows, worst = [], 0.
    for kind in KINDS:
        for name in SETS:
            real, apart, error = parts[kind]['value'][name]['early']
            rows.append([kind, SHOWN[name], f'{real:.3f}', pm(apart, error), apart/error])
            if name == 'profile': worst = max(worst, abs(apart)/error)
    silent = {(k, n): v for k in KINDS for n, v in parts['quiet']['value'][k].items()}
    rows += [[k, f'{n}, without noise and jitter', '', f'{v[0]} of {v[1]} hits', ''] for (k, n), v in silent.items()]
    found = sum(v[0] for (_, n), v in silent.items() if n == 'generator')
    return [(f'Hits more than 15 ns before the front, {EARLY} events of each kind',
             ['kind', 'events', 'simulated, of an event', 'difference', 'in errors'], rows)], [
            bar('early hits, from simulated [errors]', '<= 3', f'{worst:.1f}', worst <= 3),
            bar('early hits without noise and jitter', '0', str(found), found == 0)]

def curves(parts):
    "Tables of the rows that are off, and bars."
    def asked(r): return r[0] in COUNTED or r[0].startswith('charge at')
    groups = {'multiplicity and charge by distance': lambda r: r[4] == 'all' and asked(r),
              'residuals and early hits': lambda r: r[4] == 'all' and not asked(r),
              'all, by zenith too': lambda r: r[4] != 'all'}
    rows, count, bars = {}, [], []
    for name in ('profile', 'simulated'):
        rows[name] = [r for d in DECADES for r in parts[f'decade{d}']['value'][name]['curves'] if r[-1] != 'too few']
    for what, use in groups.items():
        n = sum(map(use, rows['profile']))
        off = {k: [r for r in v if use(r) and r[-1] == 'OFF'] for k, v in rows.items()}
        near = sum(use(r) and abs(r[7] - r[6]) <= .1*abs(r[6]) for r in rows['profile'])
        count.append([what, n, near, len(off['profile']), len(off['simulated'])])
        found = len(off['profile'])
        if 'zenith' not in what: bars.append(bar(f'rows that are off, {what}', '0', f'{found} of {n}', not found))
    far = [r for r in rows['profile'] if r[4] == 'all' and r[-1] == 'OFF']
    listed = [[*r[:4], r[5], *r[6:9], f'{r[7]/r[6] - 1:+.0%}' if r[6] else ''] for r in far]
    head = ['rows', 'compared', 'within 10 %', 'off', 'off, simulated beside simulated']
    names = ['quantity', 'unit', 'kind', 'energy', 'statistic', 'simulated', 'generated', 'error', 'off by']
    return [(f'Curves: rows off by more than 10 % and by more than 3 errors, {EVENTS} events a decade', head, count),
            ('Every row that is off, by kind and energy', names, listed,
             'Where a median is 0, half of the events have no charge there: a small change moves it far.')], bars

def missed(r): return abs(r[4]) > .15 or not .85 <= r[6] <= 1.15

def extremes(rows): # of `conditioning`
    "Those of the largest bias and of the farthest ratio."
    return max(rows, key=lambda r: abs(r[4])), max(rows, key=lambda r: abs(math.log(r[6])))

def conditioned(parts):
    "Tables of conditioning and bars."
    rows, found = [], {}
    for name in ('profile', 'simulated'):
        found[name] = [r for d in DECADES for r in parts[f'decade{d}']['value'][name]['reading']]
        for kind, d in ((k, d) for k in (0, 1) for d in DECADES):
            here = [r for r in found[name] if r[1:3] == [kind, d]]
            bias, ratio = zip(*map(extremes, (here[:1], here[1:4], here[4:])))          # energy, direction, vertex
            cells = [pm(*r[4:6]) for r in bias] + [pm(*r[6:8]) for r in ratio]
            rows.append([SHOWN[name], KINDS[kind], decade_name(d), here[0][3], *cells, sum(map(missed, here))])
    bad = [[r[0], KINDS[r[1]], decade_name(r[2]), pm(*r[4:6]), pm(*r[6:8])] for r in found['profile'] if missed(r)]
    head = ['energy, bias', 'direction, bias', 'vertex, bias', 'energy, ratio', 'direction, ratio', 'vertex, ratio']
    caption = 'Read from the hits: bias in units of the simulated scatter, ratio of scatters; the worst component'
    tables = [(caption, ['events', 'kind', 'energy', 'number', *head, 'of 7 missed'], rows)]
    if bad: tables.append(('Every reading that misses', ['read', 'kind', 'energy', 'bias', 'ratio'], bad))
    def named(r, i): return f'{pm(*r[i:i + 2])} ({r[0]}, {KINDS[r[1]]}, {decade_name(r[2])})'
    b, s = extremes(found['profile'])
    good = abs(b[4]) <= .15, .85 <= s[6] <= 1.15
    return tables, [bar('conditioning, largest bias of 56', '<= 0.15', named(b, 4), good[0]),
                    bar('conditioning, ratio of scatters farthest from 1, of 56', '0.85-1.15', named(s, 6), good[1])]

def costs(parts, folder):
    "Table of costs and bars."
    c, trained = parts['cost']['value'], {n: json.loads((folder/f'{n}.json').read_text()) for n in NAMES}
    dense = json.loads((HERE/'results'/'backbones.json').read_text())['tables'][0]['rows']
    dit = 50*next(r[2] for r in dense if r[:2] == ['dit', 'forward, batch 1'])
    most = {k: c[f'{k}, memory'] for k in (*KINDS, 'step')}
    def ms(what, form='.2f'): return pm(*(1e3*v for v in c[what]), form)
    rows = [['libraries', '', c['libraries']], ['training step, batch 2', ms('step', '.1f'), most['step']]]
    for kind in KINDS:
        rows += [[f'{kind}, simulated, batch 64', ms(f'{kind}, simulated'), ''],
                 [f'{kind}, generator, batch 64', ms(f'{kind}, generator'), most[kind]]]
    rows.append(['50 forward passes of the dense DiT, measured once in `backbones.py`', f'{1e3*dit:.0f}', ''])
    for n, v in trained.items():
        rows.append([f"all training, {SHOWN[n]}: {v['step']} steps of {BATCH}", f"{1e3*v['cpu']:.0f}", ''])
    event, minutes = max(c[f'{k}, generator'] for k in KINDS), trained['profile']['cpu']/60
    gain, largest = dit/event[0], max(most.values())
    judging = [[k, v['cpu'], v['memory']] for k, v in parts.items()]
    return [('Cost of an event, of a step; one thread', ['what', 'CPU [ms]', 'largest memory so far [GB]'], rows),
            ('Cost of judging', ['part', 'CPU [s]', 'largest memory [GB]'], judging)], [
            bar('CPU seconds an event, batch 64', '<= 0.03', pm(*event, '.4f'), event[0] <= .03),
            bar('CPU time of the dense DiT over that', '>= 10,000', f'{gain:.0f}', gain >= 10_000),
            bar('memory of training and generating [GB]', '<= 1', f'{largest:.2f}', largest <= 1),
            bar('CPU minutes of training', '<= 30', f'{minutes:.1f}', minutes <= 30)]

def report(folder):
    "Tables and bars of all parts."
    parts = stored(folder)
    tables, bars = zip(*(f(parts) for f in (quality, early_hits, curves, conditioned)), costs(parts, folder))
    seconds = sum(p['cpu'] for p in parts.values())
    text = __doc__.split('\n\n')[2].replace('\n', ' ') + f' CPU seconds of judging: {seconds:.0f}.'
    save('hits', 'Hits from light', text, sum(tables, []), sum(bars, []))

def main(verb, *words):
    torch.set_num_threads(1)
    known = dict(train=3, judge=1, report=0)
    if verb not in known or not known[verb] <= len(words) <= known[verb] + 1: sys.exit(__doc__.split('\n\n')[1])
    folder = Path(words[known[verb]]) if len(words) > known[verb] else HERE/'runs'/'hits'
    folder.mkdir(parents=True, exist_ok=True)
    if verb == 'train': train(*words[:3], folder)
    elif verb == 'report': report(folder)
    else:
        for part in PARTS:
            if words[0] in ('all', part, part.rstrip('2345')): measure(part, folder)

if __name__ == '__main__': main(*sys.argv[1:] or [''])
