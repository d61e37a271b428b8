"""Which window tells temperature? A search over 100 cm⁻¹, and what is then retrieved in the window found and in the reference window."""
import argparse, time
from dataclasses import replace
import torch
from _table import bar, data_folder, save
from physlearn.draws import box_posterior
from physlearn.params import Param, normals
from physlearn.posterior import Gaussian, crlb, identifiable, map_estimate
from physlearn.spectra.hitran import read_lines, read_partition_sums
from physlearn.spectra.simulate import preset
from physlearn.spectra.window import find_windows, moved
torch.set_num_threads(1)

NOISE, BATCH, WANT = .002, 250, ('T', 'P', 'mf_CH4')
LIKE = Gaussian(relative=NOISE)

def rms(v): return v.square().mean().sqrt().item()

def mean_and_sd(sim, y, theta):
    "Mean and standard deviation of the posterior of the linearised simulator within its ranges (n,d)."
    out = []
    for a, t in zip(y.split(100), theta.split(100)):
        v, w = box_posterior(sim, a, LIKE, t).spread(512)
        mean = (w[...,None]*v).sum(1)
        out.append(torch.stack([mean, (w[...,None]*(v - mean[:,None])**2).sum(1).sqrt()]))
    return torch.cat(out, 1)

def retrieve(name, setup, lines, Q, n):
    "Rows of one window: what was foretold of each parameter, and what came of it."
    near = lines.select(numin=setup.window[0] - 25, numax=setup.window[1] + 25)
    exact, table = (setup.simulator(near, method=m, Q=Q) for m in ('exact', 'table'))
    space = table.space
    said = {r['name']: r for r in identifiable(space, table, LIKE).rows}
    theta = space.sample(n, 'benchmark window')
    with torch.no_grad(): y = torch.cat([exact(t) for t in theta.split(64)]).double()
    y = y*(1 + NOISE*normals(n, y.shape[-1], 'benchmark window noise', dtype=torch.float64)[:,None])
    t = time.process_time()
    parts = [map_estimate(table, v, LIKE, starts=12) for v in y.split(BATCH)]
    est, sd, ok = (torch.cat([getattr(p, k) for p in parts]) for k in ('theta', 'sd', 'ok'))
    by = {'posterior mean': mean_and_sd(table, y, est), 'maximum': (est, sd)}
    print(f'  {name}: {1e3*(time.process_time() - t)/n:.1f} ms for each fit, {int((~ok).sum())} not ok', flush=True)
    bound, middle, rows = crlb(table, theta, LIKE, how='range'), space.quantile(torch.full((1, len(space)), .5, dtype=torch.float64)), []
    for k in WANT:
        j, log = space.index(k), space[k].log
        for who, (v, spread) in by.items():
            d, m = ((w[:,j].log() - theta[:,j].log() if log else w[:,j] - theta[:,j]) for w in (v, middle))
            s, b = (w[:,j]/at[:,j] if log else w[:,j] for w, at in ((spread, v), (bound, theta)))
            u = 100. if log else 1.
            rows.append(dict(window=name, parameter=k, estimate=who, unit='%' if log else space[k].unit, said=said[k]['verdict'], ratio=said[k]['ratio'], z=rms(d/s), over=rms(d/b), error=u*rms(d), median=u*d.abs().median().item(), middle=u*rms(m)))
    return rows, int((~ok).sum())

def main():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument('--n', type=int, default=2000, help='noisy spectra in each window')
    a.add_argument('--states', type=int, default=64, help='states of the gas in the search, as many as identifiable takes')
    a = a.parse_args()
    folder = data_folder()/'hitran'
    lines = read_lines(folder/'ch4_3035_3136.par') + read_lines(folder/'h2o_3035_3136.par')
    Q, ref = read_partition_sums(folder/'partition_sums.csv', edition=2021), preset('reference')
    outdoors = replace(ref, space=ref.space.replace(T=Param(275, 325, 'K'), mf_CH4=Param(1.9e-6, 2.9e-5, log=True)))
    t = time.process_time()
    windows, narrow = (find_windows(lines, s, NOISE, WANT, n=a.states, Q=Q) for s in (outdoors, ref))
    print(f'  search: {len(windows)} windows twice in {time.process_time() - t:.0f} s', flush=True)
    best, told = windows.best, sum(r['score'] < .5 for r in windows.rows)
    shown = [[r['centre'], r['depth'], r['bound']['T'], r['bound']['P'], 100*r['bound']['mf_CH4'], r['ratio']['T'], r['verdict']] for r in windows.apart().rows[:6]]
    rows, bad = [], {}
    for name, setup in ((f"found, {best['centre']:.2f}", windows.preset()), ('reference, 3086.00', moved(outdoors, 3086.))):
        r, bad[name] = retrieve(name, setup, lines, Q, a.n)
        rows += r
    (T, most), T_ref = rows[:2], rows[6]
    bars = [bar('T in the window found: said beforehand', 'determined', T['said'], T['said'] == 'determined'), bar('the same in the reference window', 'not determined', T_ref['said'], T_ref['said'] != 'determined'),
            bar('T in the window found: RMS of error over stated sd, posterior mean', '<= 1.05', f"{T['z']:.3f}", T['z'] <= 1.05), bar('the same over the bound with ranges', '<= 1.05', f"{T['over']:.3f}", T['over'] <= 1.05), bar('error of T, beside the reference window and the middle of the range [K]', 'smallest', f"{T['error']:.1f}; {T_ref['error']:.1f}; {T['middle']:.1f}", T['error'] < min(T_ref['error'], T['middle']))]
    text = (f'The reference instrument (span 1.1 cm⁻¹, 800 points, 15.12 m, noise {NOISE} of the signal, P 400 to 600 mbar unknown) moved over 3035 to 3136 cm⁻¹, 1659 lines of CH4 and 1397 of H2O; CH4 1.9 to 29 ppm, T 275 to 325 K. '
            f'{told} of {len(windows)} windows (a tenth of a span apart) tell T, P and CH4 together. Within the preset\'s own ranges (302.65 to 312.65 K, 0.1 ppm on) none does: the best leaves {100*narrow.best["score"]:.0f} % of what is not known of the worst, T: {narrow.best["bound"]["T"]:.2f} K, '
            'so temperature is only worth reading where it may vary by tens of kelvins.')
    save('window', 'A window in which temperature can be read', text,
         [('The best windows that overlap by less than half: standard deviations with ranges, median over states', ['centre [1/cm]', 'depth', 'T [K]', 'P [mbar]', 'CH4 [%]', 'after/before of T', 'verdict'], shown),
          (f'{a.n} noisy spectra of the exact sum, P, T and CH4 unknown, start in the middle of the ranges', ['window', 'parameter', 'estimate', 'unit', 'said', 'ratio', 'z', 'over', 'error', 'median', 'middle'], rows,
           f"said, ratio: `identifiable` beforehand, verdict and after/before; z: RMS of error over the stated standard deviation; over: RMS of error over the bound with ranges at each state; error, median: RMS and median of the error; middle: RMS of the middle of the range. Not ok, and counted: {', '.join(f'{v} ({k})' for k, v in bad.items())}. "
           f"posterior mean: of the simulator linearised at the maximum, within the ranges (`box_posterior`, no further simulation). Where T is known to a third of its range or worse, the box of ranges cuts the posterior, and the maximum states an error that is too small (z {most['z']:.2f} in the window found).")], bars, best=best, told=told, narrow=narrow.best)

if __name__ == '__main__': main()
