"""Forest and canopy spectra per second: physlearn's three routes beside torchrtm and prosail, in one run; and how far each is from independent spectra.

One thread, CPU time. Codes take turns in rounds, so that a slow minute of the machine falls on all of them.
torchrtm and prosail are no dependencies: whoever wants them in the table installs them beside physlearn (torchrtm==1.5.8, prosail==2.0.5).
"""
import argparse, time
import numpy as np
import torch
from _table import bar, data_folder, save
from physlearn.canopy.inform import Inform
from physlearn.canopy.prospect import Leaf
from physlearn.canopy.sail import ellipsoidal_angles, sail, soils
from physlearn.params import Param, ParamSpace
torch.set_num_threads(1)

B, ROUNDS = 1024, 5
PROSAIL = ParamSpace(N=Param(1, 3), cab=Param(10, 80, 'ug/cm2'), car=Param(1, 20, 'ug/cm2'), anth=Param(0, 8, 'ug/cm2'), cbrown=Param(0, 1), cw=Param(.002, .03, 'cm'), cm=Param(.002, .03, 'g/cm2'),
                     lai=Param(.1, 7, 'm2/m2'), mean=Param(20, 75, 'deg'), hspot=Param(.01, .3), tts=Param(20, 70, 'deg'), tto=Param(0, 30, 'deg'), psi=Param(0, 180, 'deg'), psoil=Param(0, 1))

def prosail_states(n):
    "States of one canopy of leaves, by name (n,), float32."
    return {k: v.float() for k, v in PROSAIL.columns(PROSAIL.sample(n, 'benchmark')).items()}

def one_canopy(p, dtype=torch.float32):
    "Bidirectional reflectance (n,2101) by physlearn."
    p = {k: v.to(dtype) for k, v in p.items()}
    R, T = LEAF[dtype](**{k: p[k] for k in ('N', 'cab', 'car', 'anth', 'cbrown', 'cw', 'cm')})
    dry, wet = SOIL.to(dtype)
    ground = p['psoil'][:,None]*dry + (1 - p['psoil'])[:,None]*wet
    return sail(R, T, ground, p['lai'], p['tts'], p['tto'], p['psi'], ellipsoidal_angles(p['mean']), p['hspot'])['sdr']

LEAF, SOIL = {d: Leaf(dtype=d) for d in (torch.float32, torch.float64)}, soils()

def by_torchrtm(p):
    "The same by torchrtm; its traits follow the order of its table, not of its docstring."
    from torchrtm.models import prosail
    traits = torch.stack([p[k] for k in ('cab', 'car', 'cbrown', 'cw', 'cm', 'anth')], 1)
    none = torch.zeros_like(p['N'])
    out = prosail(traits, p['N'], p['mean'], none, p['lai'], p['hspot'], p['tts'], p['tto'], p['psi'], none + 40., p['psoil'], prospect_type='prospect5d', lidtype=2, differentiable=True)
    return out[3] if out.shape[-1] == 2101 else out[3].T

def by_prosail(p, i):
    "Spectrum i by prosail."
    import prosail
    q = {k: float(v[i]) for k, v in p.items()}
    return prosail.run_prosail(q['N'], q['cab'], q['car'], q['cbrown'], q['cw'], q['cm'], q['lai'], q['mean'], q['hspot'], q['tts'], q['tto'], q['psi'], ant=q['anth'],
                               prospect_version='D', typelidf=2, rsoil=1., psoil=q['psoil'], factor='SDR')

def both_ways(f, p):
    "Forward and backward, by every number of a dict or a tensor."
    if torch.is_tensor(p):
        q = p.clone().requires_grad_()
        return f(q).sum().backward()
    f({k: v.clone().requires_grad_() for k, v in p.items()}).sum().backward()

def references(bars):
    "Rows of largest differences from the reference files."
    folder, rows = data_folder()/'reference', []
    a, b = np.load(folder/'prosail_spectra.npz'), np.load(folder/'inform_spectra.npz')
    P = dict(zip(a['param_names'].tolist(), torch.tensor(a['params']).T))
    theta, angles = torch.tensor(b['params'][:,:7]), dict(zip(('tts', 'tto', 'psi'), torch.tensor(b['params'][:,7:]).T))
    for dtype, limits in ((torch.float64, (1e-5, 2e-5, 2e-5)), (torch.float32, (5e-5,)*3)):
        v = {('anth' if k == 'ant' else k): x.to(dtype) for k, x in P.items()}
        R, T = LEAF[dtype](**{k: v[k] for k in ('N', 'cab', 'car', 'anth', 'cbrown', 'cw', 'cm')})
        dry, wet = SOIL.to(dtype)
        ground = v['rsoil'][:,None]*(v['psoil'][:,None]*dry + (1 - v['psoil'])[:,None]*wet)
        canopy = sail(R, T, ground, v['lai'], v['tts'], v['tto'], v['psi'], ellipsoidal_angles(P['lidfa']).to(dtype), v['hspot'])
        off = lambda x, y: float(np.abs(x.double().numpy() - y).max())
        found = (max(off(R, a['leaf_reflectance']), off(T, a['leaf_transmittance'])), max(off(canopy[k], a[f'canopy_{k}']) for k in ('sdr', 'bhr', 'dhr', 'hdr')),
                 off(Inform(route='full', LAIu=3., dtype=dtype)(theta, **angles)[:,0], b['textbook_spectrum']))
        for what, x, limit in zip(('leaf', 'canopy', 'INFORM'), found, limits):
            rows.append([what, str(dtype)[6:], x, limit])
            bars.append(bar(f'{what}, {str(dtype)[6:]}, largest difference from the reference', f'<= {limit:.0e}', f'{x:.1e}', x <= limit))
    return rows

def main():
    a = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    a.add_argument('--rounds', type=int, default=ROUNDS)
    a = a.parse_args()
    bars, left_out, versions = [], [], {}
    compared = references(bars)
    t = time.process_time()
    nodes = Inform()
    build = time.process_time() - t
    bands, full = Inform(route='bands'), Inform(route='full')
    theta = nodes.space.sample(B, 'benchmark')
    angles = ParamSpace(tts=Param(20, 70, 'deg'), tto=Param(0, 12, 'deg'), psi=Param(0, 180, 'deg'))
    cond = {k: v.float() for k, v in angles.columns(angles.sample(B, 'benchmark')).items()}
    p, few = prosail_states(B), prosail_states(64)
    run = lambda sim: lambda x: sim(x, **cond)
    peers, back = {}, ', forward and backward'
    for name, sim, n in ((f'INFORM, 11 bands, {len(nodes.leaf)} nodes', nodes, 20), ('INFORM, 11 bands, 772 wavelengths', bands, 6), ('INFORM, 2101 wavelengths', full, 1)):
        peers[name] = (lambda sim=sim: run(sim)(theta), B, n)
        if sim is not full: peers[name + back] = (lambda sim=sim: both_ways(run(sim), theta), B, max(1, n//2))
    peers['one canopy, 2101 wavelengths'] = (lambda: one_canopy(p), B, 1)
    peers['one canopy, 2101 wavelengths' + back] = (lambda: both_ways(one_canopy, {k: v[:256] for k, v in p.items()}), 256, 1)
    truth, off = one_canopy(few, torch.float64), {'one canopy, 2101 wavelengths': one_canopy(few)}
    try:
        import torchrtm
        off['torchrtm, one canopy'] = by_torchrtm(few)
        peers['torchrtm, one canopy'] = (lambda: by_torchrtm(p), B, 1)
        peers['torchrtm, one canopy' + back] = (lambda: both_ways(by_torchrtm, {k: v[:256] for k, v in p.items()}), 256, 1)
        versions['torchrtm'] = getattr(torchrtm, '__version__', '1.5.8')
    except ImportError: left_out.append('torchrtm is left out: it is not installed')
    try:
        import prosail
        off['prosail, one at a time'] = torch.tensor(np.stack([by_prosail(few, i) for i in range(64)]))
        peers['prosail, one at a time'] = (lambda: [by_prosail(few, i) for i in range(64)], 64, 1)
        versions['prosail'] = '2.0.5'
    except ImportError: left_out.append('prosail is left out: it is not installed')
    def timed(k, f, n, repeat):
        grad = torch.enable_grad() if back in k else torch.no_grad()
        with grad:
            f()                                                  # memory that another code gave back is fetched again
            t = time.process_time()
            for _ in range(repeat): f()
            return (time.process_time() - t)/n/repeat
    us = {k: [] for k in peers}
    for r in range(a.rounds):
        for k, v in peers.items(): us[k].append(1e6*timed(k, *v))
        print(f'round {r+1} of {a.rounds}:', {k: round(v[-1], 1) for k, v in us.items()}, flush=True)
    med = {k: float(np.median(v)) for k, v in us.items()}
    peer = {b: med.get('torchrtm, one canopy' + b, float('nan')) for b in ('', back)}
    rows = [[k, med[k], 1e6/med[k], peer[back if back in k else '']/med[k], float((off[k].double() - truth).abs().max()) if k in off else ''] for k in peers]
    for (k, want), what in zip(((k, w) for k, w in zip(peers, (1e5, 4e4, 8e3, 3e3))), ('nodes', 'nodes' + back, 'band-exact', 'band-exact' + back)):
        bars.append(bar(f'{what}, spectra per second', f'>= {want:,.0f}', f'{1e6/med[k]:,.0f}', 1e6/med[k] >= want))
    bars.append(bar('error of the nodes', '<= 3e-4', f'{nodes.node_error.max():.1e}', nodes.node_error.max() <= 3e-4))
    text = (f'States and angles differ from sample to sample; batch {B}, float32 (256 where one canopy goes backward). A forest is three canopies and the geometry of crowns, 11 bands of Sentinel-2 unless it says 2101 wavelengths; "one canopy" is a leaf and '
            f'one 4SAIL, as PROSAIL has it. Medians of {a.rounds} rounds in which the codes take turns. Nodes were found in {build:.1f} s of CPU time, error {nodes.node_error.max():.1e} on states not used in finding them. '
            'The last column is the largest difference of 64 spectra from physlearn in double precision; references are described in their README. ' + ' '.join(s + '.' for s in left_out)).strip()
    head = ['code', 'CPU µs per spectrum', 'spectra/s and core', 'times torchrtm, one canopy', 'largest difference [reflectance]']
    save('canopy', 'Forest spectra per second', text, [('Speed', head, rows), ('Against independent spectra', ['what', 'precision', 'largest difference', 'asked'], compared)], bars, versions, us=us, build_s=build)

if __name__ == '__main__': main()
