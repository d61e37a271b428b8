"""Where the time of `fit canopy` by physics alone goes: 512 particles of each of 128 simulated forests and crops.

    python benchmarks/canopy_profile.py

Shares are those of the profiler (CPU time, its own cost included); the time of a row is measured without it."""
import cProfile, pstats, time
import numpy as np
import torch
from _table import bar, save
from physlearn.canopy.crop import Crop
from physlearn.canopy.inform import Inform
from physlearn.canopy.reflectance import Reflectance
from physlearn.canopy.traits import fit_traits
from physlearn.params import normals

def rows(sim, n=128):
    "Rows of simulated stands, 2 % noise."
    cond = dict(zip(('tts', 'tto', 'psi'), (40., 0., 0.)))
    with torch.no_grad(): x = sim(sim.space.sample(n, 'profile'), **cond)[:,0]
    x = (x*(1 + .02*normals(n, x.shape[1], 'profile', 'noise'))).float().numpy()
    return Reflectance(x, sim.bands.names, {k: np.full(n, v) for k, v in cond.items()}, {})

def shares(profile, total):
    "Share of the CPU time within functions, those that they call included [%]."
    places = {'exact simulator': ('forward', ('inform.py', 'crop.py')), 'autograd, backward': ('run_backward', ('',))}
    found = {}
    for (file, _, name), (_, _, own, cum, _) in pstats.Stats(profile).stats.items():
        for k, (word, files) in places.items():
            if word in name and file.endswith(files): found[k] = found.get(k, 0) + cum
        if 'chains.py' in file or 'posterior.py' in file: found[f'own time of {name}'] = found.get(f'own time of {name}', 0) + own
    kept = sorted(found.items(), key=lambda kv: -kv[1])[:8]
    return [[k, 100*v/total] for k, v in kept]

def main():
    torch.set_num_threads(1)
    tables, ms = [], {}
    for name, sim in dict(forest=Inform(), crop=Crop()).items():
        for floor in (.005, 0.):
            r = rows(sim)
            t = time.process_time()
            fit_traits(sim, r, floor=floor)
            ms[f'{name}, floor {floor:g}'] = 1e3*(time.process_time() - t)/len(r)
        profile = cProfile.Profile(time.process_time)
        t = time.process_time()
        profile.runcall(fit_traits, sim, rows(sim), floor=.005)
        tables.append((f'{name}, floor 0.005: share of the time [%]', ['part', '%'], shares(profile, time.process_time() - t)))
    save('canopy_profile', 'Where the time of a fit by physics goes', 'Posterior by 512 particles, 128 simulated stands, chunks of 64 rows.',
         [('CPU of a row', ['rows', 'ms'], [[k, v] for k, v in ms.items()]), *tables],
         [bar(f'CPU of a row, {k}', '<= 100 ms', f'{v:.0f} ms', v <= 100) for k, v in ms.items()])

if __name__ == '__main__': main()
