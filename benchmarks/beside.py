"""This state beside another one, in turns: is anything slower or further from the bound than it was?

    git worktree add ../before TAG
    python benchmarks/beside.py ../before [rounds]

Each measurement runs in a process of its own with one of the two trees on PYTHONPATH, on one thread; the trees take turns.
CPU time. The table tells medians and the ratio of the two, round by round."""
import json, os, statistics, subprocess, sys
from pathlib import Path
from _table import save

HERE = Path(__file__).resolve().parents[1]
CODE = '''
import json, time
import torch
from physlearn.canopy.inform import Inform
from physlearn.params import normals
from physlearn.posterior import Gaussian, crlb, map_estimate
from physlearn.spectra.simulate import preset
torch.set_num_threads(1)
like, out = Gaussian(relative=.002), {}

def per_row(f, rows, repeats):
    f()
    t = time.process_time()
    for _ in range(repeats): f()
    return (time.process_time() - t)/rows/repeats

sim = preset('reference').simulator(method='table')
theta = sim.space.sample(256, 'beside')
with torch.no_grad():
    out['table, forward [us]'] = 1e6*per_row(lambda: sim(theta), 256, 20)
    mu = sim(theta).double()
y = mu*(1 + .002*normals(256, 800, 'beside noise').double()[:,None])
known = {k: sim.space.columns(theta)[k] for k in ('P', 'T')}
out['fit, P and T given [ms]'] = 1e3*per_row(lambda: map_estimate(sim, y, like, known=known), 256, 2)
forest = Inform()
states, angles = forest.space.sample(1024, 'beside'), {k: v.float() for k, v in forest.cond.columns(forest.cond.sample(1024, 'angles')).items()}
with torch.no_grad(): out['forest on its nodes, forward [us]'] = 1e6*per_row(lambda: forest(states, **angles), 1024, 5)
n, z, j = FITS, [], sim.space.index('mf_CH4')
states = sim.space.sample(n, 'beside bound')
for i in range(0, n, 250):
    t = states[i:i+250]
    with torch.no_grad(): m = sim(t).double()
    s = m*(1 + .002*normals(len(t), 800, 'beside bound noise', i).double()[:,None])
    given = {k: sim.space.columns(t)[k] for k in ('P', 'T')}
    e = map_estimate(sim, s, like, known=given)
    b = crlb(sim, t, like, known={k: (v, 0.) for k, v in given.items()}, how='range')[:,j]
    z.append((e.theta - t)[:,j]/b)
out['methane, RMS error over the bound [-]'] = float(torch.cat(z).square().mean().sqrt())
print(json.dumps(out))
'''

def measured(tree, fits):
    "Figures of one tree by name."
    env = os.environ | dict(PYTHONPATH=str(tree), OMP_NUM_THREADS='1')
    r = subprocess.run([sys.executable, '-c', CODE.replace('FITS', str(fits))], cwd=tree, env=env, capture_output=True, text=True)
    if r.returncode: sys.exit(r.stderr)
    return json.loads(r.stdout.splitlines()[-1])

def main(before, rounds=3, fits=10_000):
    trees, found = (Path(before).resolve(), HERE), ([], [])
    for i in range(int(rounds)):
        for tree, out in zip(trees, found): out.append(measured(tree, int(fits) if i == 0 else 250))
        print(f'round {i + 1}:', *(f'{k} {found[0][-1][k]:.4g} -> {v:.4g};' for k, v in found[1][-1].items()), flush=True)
    rows = []
    for k in found[0][0]:
        a, b = ([r[k] for r in f] for f in found)
        if 'bound' in k: a, b = a[:1], b[:1]
        rows.append([k, statistics.median(a), statistics.median(b), statistics.median(y/x for x, y in zip(a, b))])
    save('beside', 'This state beside the one before', f'{fits} fits for the bound; {rounds} rounds of the others, in turns.',
         [('', ['what', 'before', 'now', 'now over before'], rows)], [])

if __name__ == '__main__': main(*sys.argv[1:])
