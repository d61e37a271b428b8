"""The judge of events, judged: planted faults, baselines, chance, distances, copies.

    PHYSLEARN_DATA=folder python benchmarks/event_judge.py [events] [seed]

Simulated events in IceCube's geometry, 0.1-1000 TeV, half cascades and half tracks, as many real as generated; 500 dark counts a second
in 10 us, no cleaning. Boosted trees on the published features, five folds. A fault that the judge does not find is no fault it can rule
out: sensors 10 % too sensitive, times 5 ns late, hits moved to other sensors at equal distance. Errors are those of folds that share events."""
import sys, time
from dataclasses import replace
import numpy as np
import torch
from _table import bar, data_folder, save
from physlearn.icecube.detector import Geometry
from physlearn.icecube.event_judge import (FREE, PHYSICS, copied_share, features, frechet, frechet_floor, judge,
                                           kernel_distance, noise_alone, scrambled_charges, shuffled_labels,
                                           shuffled_sensors, standardised)
from physlearn.icecube.event_simulate import Sensors, simulate

def physics(f): return np.stack([f.column(k) for k in PHYSICS], 1)

def main(n=10_000, seed=1):
    torch.set_num_threads(1)
    n, seed = int(n), int(seed)
    many = dict(geometry=Geometry.load(data_folder()/'icecube'/'geometry.csv'), energy=(1e2, 1e6))
    real, other = simulate(n, 10*seed, **many), simulate(n, 10*seed + 1, **many)
    features(real[:200])
    start = time.process_time()
    mine = features(real)
    speed = n/(time.process_time() - start)
    faults = {'none (real against real)': lambda: other, 'rates + 10 %': lambda: simulate(n, 10*seed + 2, area=1.1*Sensors().area, **many),
              'times + 5 ns': lambda: replace(other, time=other.time + 5), 'sensors at equal distance': lambda: shuffled_sensors(other),
              'charges of like hits': lambda: scrambled_charges(other), 'labels of other events': lambda: shuffled_labels(other),
              'noise alone': lambda: noise_alone(other)}
    rows, parts, found, theirs = [], [], {}, None
    for name, make in faults.items():
        fault = make()
        known = mine, features(fault)
        theirs = known[1] if theirs is None else theirs
        j = found[name] = judge(real, fault, known=known)
        a, b = standardised(physics(mine), physics(known[1]))
        kernel = kernel_distance(a, b)
        rows.append([name, j.auc, j.error, frechet(a, b), 1e3*kernel[0], kernel[2], ', '.join(f'{k} {v:.2f}' for k, v in j.alone[:2])])
        if name in list(faults)[:4]: parts += [[name, ('cascade', 'track')[k], f'{10.**(d - 3):g}-{10.**(d - 2):g} TeV', m, v, e] for k, d, m, v, e in j.by_energy()]
        print(rows[-1], flush=True)
    for name, words in {'labels alone': dict(groups=('label',)), 'classes mixed': dict(shuffle=True)}.items():
        j = found[name] = judge(real, other, known=(mine, theirs), **words)
        rows.append([name, j.auc, j.error, *4*['']])
    hits = [f.only(*FREE, 'neighbours') for f in (mine, theirs)]
    third = features(simulate(min(n, 2000), 10*seed + 3, **many)).only(*FREE, 'neighbours')
    copies = third.copy()
    copies[:len(copies)//10] = hits[0][:len(copies)//10]
    shares = [copied_share(v, *hits) for v in (third, copies)]
    rng = np.random.default_rng(seed)
    floor = np.mean([frechet(*rng.normal(size=(2, 10_000, 20))) for _ in range(100)])
    honest, rates, times, sensors = (found[k] for k in list(faults)[:4])
    near_half = lambda j: abs(j.auc - .5) < 3*j.error
    save('event_judge', 'Judge of events', __doc__.split('\n\n')[2].replace('\n', ' ') + f' {n} + {n} events, seed {seed}.',
         [('Faults', ['fault', 'AUC', 'error', f'Frechet, floor {frechet_floor(20, n):.3f}', 'kernel distance [1e-3]', 'p', 'features alone'], rows),
          ('By kind and energy', ['fault', 'kind', 'energy', 'events', 'AUC', 'error'], parts),
          ('Share nearer to training than to held-out events', ['generated', 'share', 'error'],
           [['honest', *shares[0]], ['10 % copies', *shares[1]]])],
         [bar('AUC, rates + 10 %', '>= 0.6', f'{rates.auc:.3f}', rates.auc >= .6), bar('AUC, times + 5 ns', '>= 0.6', f'{times.auc:.3f}', times.auc >= .6),
          bar('AUC, sensors at equal distance', '>= 0.9', f'{sensors.auc:.3f}', sensors.auc >= .9),
          *(bar(f'AUC, {k}', '0.5 within 3 errors', f'{j.auc:.3f} ± {j.error:.3f}', near_half(j))
            for k, j in (('real against real', honest), ('labels alone', found['labels alone']), ('classes mixed', found['classes mixed']))),
          bar('features, events per CPU second', '>= 2000', f'{speed:.0f}', speed >= 2000),
          bar('Frechet distance of unit Gaussians, d 20, N 10,000', '0.025', f'{floor:.4f}', abs(floor - .025) < .001),
          bar('share of copies, honest', '0.5 within 3 errors', f'{shares[0][0]:.3f} ± {shares[0][1]:.3f}', abs(shares[0][0] - .5) < 3*shares[0][1]),
          bar('share of copies, 10 % copied', '0.55 within 3 errors', f'{shares[1][0]:.3f}', abs(shares[1][0] - .55) < 3*shares[1][1])])

if __name__ == '__main__': main(*sys.argv[1:])
