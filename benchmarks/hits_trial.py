"""Generated events beside simulated ones: what a classifier sees.

    PHYSLEARN_DATA=folder python benchmarks/hits_trial.py train profile|independent STEPS SECONDS [folder]
    PHYSLEARN_DATA=folder python benchmarks/hits_trial.py judge [folder]

`train` goes on where it stopped, up to so many steps of 16 events; SECONDS of CPU time in this call. IceCube's geometry, 0.1-1000 TeV,
10,000 events to learn from, half of them tracks. The judge gets 2,000 events of each kind that nobody trained on, and generated ones with
the same labels: gradient boosting on 40 numbers of an event, two folds, AUC (error about 0.01). `simulated` are other simulated events
with the same labels: what a perfect generator would have. 500 Hz of noise in 10 us, no cleaning."""
import json, math, resource, sys, time
from pathlib import Path
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from _table import HERE, bar, data_folder, save
from physlearn.icecube.detector import Geometry
from physlearn.icecube.event_simulate import KINDS, simulate
from physlearn.icecube.hits import Hits, hits_nll
from physlearn.icecube.light_front import residuals

TRAIN, JUDGE, BATCH, RATE = 10_000, 2000, 16, 3e-3
NAMES = 'profile', 'independent'

def geometry(): return Geometry.load(data_folder()/'icecube'/'geometry.csv')

def train(name, steps, seconds, folder):
    "So many seconds of training; the state lies in the folder."
    steps, seconds = int(steps), float(seconds)
    events = simulate(TRAIN, 11, 'mix', geometry(), energy=(1e2, 1e6))
    torch.manual_seed(0)
    model, told = Hits(profile=name == 'profile'), folder/f'{name}.json'
    opt = torch.optim.Adam(model.parameters(), RATE)
    done = json.loads(told.read_text()) if told.exists() else dict(step=0, cpu=0.)
    if done['step']: resume(model, opt, load_file(folder/f'{name}.safetensors'), done['step'])
    begin, seen = time.process_time(), []
    while done['step'] < steps and time.process_time() - begin < seconds:
        for group in opt.param_groups: group['lr'] = RATE*min(1, (done['step'] + 1)/50)*(.5 + .5*math.cos(math.pi*done['step']/steps))
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
    model = Hits(profile=name != 'independent')
    if name == 'untrained': return model
    state = load_file(folder/f'{name}.safetensors')
    model.load_state_dict({k[6:]: v for k, v in state.items() if k.startswith('model.')})
    return model

def spread(weight, x): # mean and deviation
    "Weighted moments."
    mean = (weight*x).sum()/max(weight.sum(), 1e-9)
    return mean, np.sqrt((weight*(x - mean)**2).sum()/max(weight.sum(), 1e-9))

def numbers(xyz, neighbours, vertex, travel, energy, sensor, q, r):
    "What the judge is told of one event: sums and quantiles of its hits."
    delta = xyz[sensor] - vertex
    along = delta @ travel
    beside = np.sqrt(((delta - along[:,None]*travel)**2).sum(1))
    lit = (r > -20) & (r < 1000)
    dense = np.zeros(len(xyz))
    dense[sensor] = np.where(lit, np.log1p(q), 0)
    steps = dense[sensor[lit]][:,None] - dense[neighbours[sensor[lit]]]
    w, log = np.where(lit, q, 0), np.where(lit, np.log1p(q), 0)
    total, some = w.sum() + 1e-9, lit.any()
    profile = np.log1p(np.histogram(along, np.arange(-100, 1101, 100), weights=w)[0])
    out = dict(energy=np.log10(energy), down=-travel[2], hits=len(q), charge=np.log10(q.sum() + 1), lit=lit.sum(),
               largest=q.max(initial=0), early=(r < -15).sum(), ones=(q[lit] < 1.5).sum(), three=np.sort(w)[-3:].sum()/total,
               square=np.log10((w*w).sum()/total + 1), rough=np.abs(np.diff(profile)).mean(), top=profile.max() - np.log1p(total),
               uneven=profile.std(), step=np.abs(steps).mean() if some else 0, step2=np.sqrt((steps**2).mean()) if some else 0)
    for k, v in (('q', w), ('log', log)):
        out[f'along {k}'], out[f'length {k}'] = spread(v, along)
        out[f'beside {k}'], out[f'width {k}'] = spread(v, beside)
    out |= {f'r{p}': np.percentile(r[lit], p) if some else -50 for p in (10, 25, 50, 75, 90)}
    for low, high in ((0, 50), (50, 100), (100, 200)):
        near = lit & (beside > low) & (beside <= high)
        out |= {f'r {low}': np.median(r[near]) if near.any() else -50, f'hits {low}': near.sum(),
                f'charge {low}': np.log10(q[near].sum() + 1), f'before {low}': ((r < 0) & near).sum()}
    return out

def features(e):
    "What the judge is told: names, and an array of all events."
    r, near = residuals(e, e.more['kind']), e.geometry.neighbours(6)[0]
    rows = [numbers(e.geometry.xyz, near, e.vertex[i], e.travel[i], e.energy[i], e.sensor[a:b], e.charge[a:b].astype(float), r[a:b])
            for i, (a, b) in enumerate(zip(e.offsets[:-1], e.offsets[1:]))]
    return list(rows[0]), np.array([list(v.values()) for v in rows], float)

def auc(x, y):
    "Two folds of gradient boosting; an event and its twin are in one fold."
    n = len(x)
    both, which, fold = np.concatenate([x, y]), np.repeat([0, 1], n), np.tile(np.arange(n) % 2, 2)
    score = np.zeros(2*n)
    for k in (0, 1):
        tree = HistGradientBoostingClassifier(max_iter=150, learning_rate=.06, max_leaf_nodes=15, l2_regularization=1., random_state=0)
        score[fold == k] = tree.fit(both[fold != k], which[fold != k]).predict_proba(both[fold == k])[:,1]
    return roc_auc_score(which, score)

def off_axis(e, edges):
    "Mean charge of an event by distance to the axis [PE]."
    delta = e.geometry.xyz[e.sensor] - e.vertex[e.event]
    along = (delta*e.travel[e.event]).sum(1)
    return np.histogram(np.sqrt(((delta - along[:,None]*e.travel[e.event])**2).sum(1)), edges, weights=e.charge.astype(float))[0]/len(e)

def judge(folder):
    "All figures, by kind."
    rows, decades, far, value = [], [], [], {}
    edges = np.array([0, 25, 50, 100, 150, 200, 300, 500.])
    for j, kind in enumerate(KINDS):
        truth = simulate(JUDGE, 12, kind, geometry(), energy=(1e2, 1e6))
        names, x = features(truth)
        early, curve = names.index('early'), off_axis(truth, edges)
        for name in (*NAMES, 'untrained', 'simulated'):
            t = time.process_time()
            if name == 'simulated': made = simulate(JUDGE, 99, truth.more['kind'], truth.geometry, label=truth.label)
            else: made = loaded(name, folder).sample(truth.label, truth.more['kind'], truth.geometry, seed=5, chunk=64)
            spent = (time.process_time() - t)/JUDGE
            y = features(made)[1]
            error = np.sqrt((x[:,early].var() + y[:,early].var())/JUDGE)
            apart = (y[:,early].mean() - x[:,early].mean())/error
            score = np.nan if name == 'simulated' else loaded(name, folder).log_prob(truth[:200]).mean()
            value[kind,name] = dict(auc=auc(x, y), spent=spent, apart=apart, off=made.hits.mean()/truth.hits.mean() - 1)
            rows.append([kind, name, value[kind,name]['auc'], score, made.hits.mean()/truth.hits.mean(), apart, 1000*spent])
            far.append([kind, name, *(off_axis(made, edges)/curve)])
            if name == 'profile':
                for d in range(2, 6):
                    at = np.floor(x[:,0]) == d
                    middle = [f'{np.median(x[at,names.index(k)]):.3g} / {np.median(y[at,names.index(k)]):.3g}' for k in ('hits', 'charge', 'r10', 'r50', 'r90', 'step')]
                    decades.append([kind, f'{10.**(d - 3):g}-{10.**(d - 2):g} TeV', *middle])
    report(rows, decades, far, value, edges, folder)

def report(rows, decades, far, value, edges, folder):
    "Tables and bars."
    cpu = {n: json.loads((folder/f'{n}.json').read_text())['cpu'] for n in NAMES}
    get = lambda what, *kinds: [value[k,'profile'][what] for k in kinds or KINDS]
    track, rival = value['track','profile']['auc'], value['track','independent']['auc']
    memory, worst = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1e6, max(map(abs, get('apart')))
    bars = [bar('AUC, cascades', '<= 0.60', f"{get('auc', 'cascade')[0]:.3f}", get('auc', 'cascade')[0] <= .6),
            bar('AUC, tracks', '<= 0.80', f'{track:.3f}', track <= .8),
            bar('AUC, tracks, below the independent model', '>= 0.10', f'{rival - track:.3f}', rival - track >= .1),
            bar('CPU seconds an event, batch 64', '<= 0.03', f"{max(get('spent')):.4f}", max(get('spent')) <= .03),
            bar('memory of judging [GB]', '<= 1', f'{memory:.2f}', memory <= 1),
            bar('early first hits, from simulated [standard errors]', '<= 3', f'{worst:.1f}', worst <= 3),
            bar('CPU minutes of training', '<= 30', f"{cpu['profile']/60:.1f}", cpu['profile'] <= 1800)]
    text = __doc__.split('\n\n')[2].replace('\n', ' ')
    text += ' CPU seconds of training: ' + ', '.join(f'{n} {c:.0f}' for n, c in cpu.items()) + '.'
    save('hits_trial', 'Hits from light', text,
         [('Generated against simulated', ['kind', 'events', 'AUC', 'log-density [nats]', 'hits, ratio', 'early hits, difference [standard errors]', 'CPU ms'], rows),
          ('Medians, simulated / generated', ['kind', 'energy', 'hits', 'log10 charge', 'residual 10 % [ns]', '50 %', '90 %', 'step to neighbours'], decades),
          ('Charge over simulated, by distance to the axis', ['kind', 'events', *(f'{a:.0f}-{b:.0f} m' for a, b in zip(edges, edges[1:]))], far)], bars)

if __name__ == '__main__':
    torch.set_num_threads(1)
    words = sys.argv[1:]
    folder = Path(words[4] if words[0] == 'train' and len(words) > 4 else words[1] if words[0] == 'judge' and len(words) > 1 else HERE/'runs'/'hits')
    folder.mkdir(parents=True, exist_ok=True)
    if words[0] == 'train': train(words[1], words[2], words[3], folder)
    else: judge(folder)
