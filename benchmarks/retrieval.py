"""Five ways to read the same spectra: error over the bound, coverage, and CPU time, beside scipy's least squares with the same model and with hitran-api's.
"""
import argparse, contextlib, io, json, math, time
from pathlib import Path
import numpy as np
import torch
from scipy.optimize import least_squares
from _table import HERE, bar, save
from physae import trained
from posterior import LIKE, NOISE, spectra
from physlearn.calibration import weighted_quantile
from physlearn.cli import keep_memory
from physlearn.draws import box_posterior
from physlearn.posterior import Knowledge, map_estimate
from physlearn.spectra.hitran import demo_lines
from physlearn.spectra.judge import bounds, errors
from physlearn.spectra.retrieve import net_fit, posterior
from physlearn.spectra.simulate import ATM_PER_KT, preset
torch.set_num_threads(1)
keep_memory()

Q = (.025, .16, .84, .975)                                     # ends of the 95 and 68 % intervals
BATCH = 256

def hapi_signal(sim):
    "A function of physical values (d,) that computes the signal (N,) by hitran-api, from the same lines."
    with contextlib.redirect_stdout(io.StringIO()): import hapi
    for m in sim.molecules:
        l = sim.lines_of[m]
        data = {k: list(getattr(l, k)) for k in ('molec_id', 'local_iso_id', 'nu', 'sw', 'elower', 'gamma_air', 'gamma_self', 'n_air', 'delta_air')}
        hapi.LOCAL_TABLE_CACHE[m] = dict(header=dict(hapi.HITRAN_DEFAULT_HEADER, table_name=m, number_of_rows=len(l)), data=data)
    def signal(theta):
        theta = torch.as_tensor(theta)[None]
        s, nu, tau = sim.canonical(theta), sim.wavenumber(theta)[0].numpy(), 0.
        P, T = s['P'].item(), s['T'].item()
        for m in sim.molecules:
            x = s['mf_' + m].item()
            with contextlib.redirect_stdout(io.StringIO()):
                k = hapi.absorptionCoefficient_Voigt(SourceTables=m, Environment=dict(p=P, T=T), Diluent=dict(air=1 - x, self=x), OmegaGrid=nu, HITRAN_units=True, IntensityThreshold=0., WavenumberWing=25., WavenumberWingHW=0.)[1]
            tau = tau + k*ATM_PER_KT*P/T*x*sim.path
        return np.exp(-tau)*(torch.stack([theta[0,sim.space.index(b)] for b in sim.baseline_names]) @ sim._basis).numpy()
    return signal

def by_scipy(signal, K, y, sigma, i):
    "Least squares with the prior, from the middle; estimate and interval ends of every parameter, as a normal distribution in z (5,d)."
    f = lambda z: np.concatenate([(y - signal(K.theta(torch.tensor(z)[None], [i])[0]))/sigma, z])
    r = least_squares(f, np.zeros(len(K.free)), x_scale=1., max_nfev=200)
    s = np.sqrt(np.diag(np.linalg.inv(r.jac.T @ r.jac)))
    return torch.stack([K.theta(torch.tensor(r.x + q*s)[None], [i])[0] for q in (0., *torch.special.ndtri(torch.tensor(Q, dtype=torch.float64)).tolist())])

def measure(run, known, n, few, hapi):
    "Answers (n,5,d): value and interval ends; CPU ms each."
    sim, space = run.sim, run.sim.space
    theta, y = spectra(n, 'retrieval')
    given = {k: space.columns(theta)[k] for k in known}
    part = lambda i: (y[i:i+BATCH], {k: v[i:i+BATCH] for k, v in given.items()})
    nan = lambda t: torch.cat([t[:,None], torch.full((len(t), 4, len(space)), torch.nan, dtype=torch.float64)], 1)
    middle = space.quantile(torch.full((n, len(space)), .5, dtype=torch.float64))
    def fit(e, x, g):
        t, w = box_posterior(sim, x, LIKE, e.theta, g).spread()
        return torch.cat([e.theta[:,None], weighted_quantile(t, Q, w)], 1)
    def draws(x, g):
        s, _ = posterior(run, x, LIKE, g)
        return torch.cat([s.mean()[:,None], weighted_quantile(s.theta, Q, s.weights)], 1)
    jobs = {'network': lambda x, g: nan(run.model.estimate(x.float(), g, 0)[0]), 'network, 3 refiners': lambda x, g: nan(run.model.estimate(x.float(), g)[0]),
            'fit': lambda x, g: fit(map_estimate(sim, x, LIKE, known=g), x, g), 'network + fit': lambda x, g: fit(net_fit(run.model, x, LIKE, g, tol=.1), x, g), 'posterior (1,000 draws)': draws}
    out = {'middle of the ranges': (nan(middle), 0.)}
    for k, f in jobs.items():
        t = time.process_time()
        got = torch.cat([f(*part(i)) for i in range(0, n, BATCH)])
        out[k] = got, 1e3*(time.process_time() - t)/n
        print(f'  {known or "unknown"}: {k} {out[k][1]:.2f} ms', flush=True)
    double, K = preset('reference').simulator(method='table', dtype=torch.float64), Knowledge(space, given, n)
    with torch.no_grad(): sigma = NOISE*torch.cat([double(t) for t in out['fit'][0][:,0].split(BATCH)])[:,0].numpy()
    def scipy_(k, signal, m):
        t = time.process_time()
        got = torch.stack([by_scipy(signal, K, y[i,0].numpy(), sigma[i], i) for i in range(m)])
        out[k] = got, 1e3*(time.process_time() - t)/m
        print(f'  {known or "unknown"}: {k} {out[k][1]:.0f} ms', flush=True)
    with torch.no_grad():
        scipy_('scipy least squares, the same table', lambda t: double(t[None])[0,0].double().numpy(), few)
        if hapi: scipy_('scipy least squares, hitran-api', hapi_signal(preset('reference').simulator(demo_lines())), hapi)
    return theta, given, out

def rows_of(run, theta, given, out, name):
    "RMS over the bound, bias, coverage and cost of one parameter."
    space, rows = run.sim.space, []
    j = space.index(name)
    bound = bounds(run.sim, theta, LIKE, given)[:,j]
    for k, (got, ms) in out.items():
        m = len(got)
        z = errors(space, got[:,0], theta[:m])[:,j]/bound[:m]
        inside = lambda a, b: ((got[:,1+a,j] <= theta[:m,j]) & (theta[:m,j] <= got[:,1+b,j])).double().mean().item() if got[:,1:].isfinite().all() else float('nan')
        rows.append([k, m, z.square().mean().sqrt().item(), z.abs().median().item(), (z.abs() > 5).double().mean().item(), inside(1, 2), inside(0, 3), ms])
    return rows

def figure(rows, path):
    "Cost of each method, and beside it what it reaches."
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    fig = Figure(figsize=(6.4, 3), layout='constrained')
    FigureCanvasAgg(fig)
    ax, rows = fig.subplots(), sorted(rows[1:], key=lambda r: r[-1])
    for i, r in enumerate(rows):
        ax.barh(i, r[-1], left=1e-2, color='C3' if 'scipy' in r[0] else 'C0', height=.6)
        told = f"{r[2]:.2f} bounds" if r[2] < 10 else f"{r[2]:.0f} bounds"
        ax.text(r[-1]*1.25, i, told + (f"; {100*r[5]:.0f} ± {100*math.sqrt(.68*.32/r[1]):.0f} %" if r[5] is not None and math.isfinite(r[5]) else ''), va='center', fontsize=7.5)
    ax.set(xscale='log', xlim=(1e-2, 1e6), xlabel='CPU per spectrum [ms], one core', yticks=range(len(rows)), xticks=[10.**k for k in range(-2, 5)])
    ax.set_yticklabels([r[0] for r in rows], fontsize=8)
    for side in ('top', 'right'): ax.spines[side].set_visible(False)
    fig.suptitle('CH$_4$, P and T given: RMS error over the Cramér-Rao bound; coverage of 68 % intervals; cost', fontsize=8.5)
    fig.savefig(path, dpi=130)

def main():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument('--runs', type=Path, default=Path('runs'))
    a.add_argument('--n', type=int, default=2000)
    a.add_argument('--few', type=int, default=200, help='spectra that scipy fits')
    a.add_argument('--hapi', type=int, default=40, help='spectra that scipy fits with hitran-api')
    a.add_argument('--figure', action='store_true', help='only draw the figure again, from the results')
    a = a.parse_args()
    if a.figure: return figure(json.loads((HERE/'results'/'retrieval.json').read_text())['tables'][0]['rows'], HERE/'results'/'retrieval.png')
    run = trained(a.runs, ('POST',))['POST']
    t1, g1, o1 = measure(run, ('P', 'T'), a.n, a.few, a.hapi)
    t2, g2, o2 = measure(run, (), a.n, a.few, 0)
    given, ch4, P = rows_of(run, t1, g1, o1, 'mf_CH4'), rows_of(run, t2, g2, o2, 'mf_CH4'), rows_of(run, t2, g2, o2, 'P')
    figure(given, HERE/'results'/'retrieval.png')
    head = ['method', 'spectra', 'RMS(z)', 'median |z|', 'share |z| > 5', 'coverage 68 %', 'coverage 95 %', 'CPU ms']
    r = {x[0]: x for x in given}
    best, same, api = r['network + fit'], r['scipy least squares, the same table'], r['scipy least squares, hitran-api']
    bars = [bar('network + fit: RMS(z) of CH4, P and T given', '<= 1.03', f'{best[2]:.3f}', best[2] <= 1.03), bar('scipy with the same table, times slower', 'told', f'{same[-1]/best[-1]:.0f} x', True), bar('scipy with hitran-api, times slower', 'told', f'{api[-1]/best[-1]:.0f} x', True),
            bar('coverage of the posterior at 68 % (CH4; given, unknown)', '0.68 ± 0.03, three binomial sd', f"{r['posterior (1,000 draws)'][5]:.3f}, {[x for x in ch4 if x[0].startswith('posterior')][0][5]:.3f}", abs(r['posterior (1,000 draws)'][5] - .68) <= .031)]
    text = ('Reference preset, embedded lines, white noise 0.002 of the signal; spectra of the exact simulator. z: error over the Cramér-Rao bound at that state, ranges used as prior knowledge. All minimise or sample the same posterior; '
            'scipy starts in the middle of the ranges, takes one spectrum at a time with its numerical Jacobian, and its intervals are normal in the prior-probit coordinates. Fit and network + fit end within 0.02 and 0.1 standard deviations, their times include the intervals. '
            'P and T unknown: a posterior mean is what reaches the smallest error, and the bound, which takes ranges for normal distributions, is only a scale.')
    save('retrieval', 'Retrieving', text, [('CH4, P and T given', head, given), ('CH4, P and T unknown', head, ch4), ('P, P and T unknown', head, P)], bars)

if __name__ == '__main__': main()
