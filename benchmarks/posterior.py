"""Are the error bars true? The posterior of the run `bound-POST`, and of the fit alone, against brute force, on spectra whose truth is known, and on the clock.

Sections are kept under --work and not repeated: delete a file there to measure it again.
"""
import argparse, json, math, time
from pathlib import Path
import torch
from _table import bar, save
from bound import proposal
from physae import trained
from physlearn.calibration import c2st, calibrate, covered, weighted_quantile
from physlearn.cli import keep_memory
from physlearn.chains import chains, log_posterior
from physlearn.draws import box_posterior, sample_posterior
from physlearn.params import normals, uniforms
from physlearn.posterior import Gaussian, map_estimate
from physlearn.spectra.retrieve import net_fit, posterior
from physlearn.spectra.simulate import preset
torch.set_num_threads(1)
keep_memory()

NOISE, LEVELS, BATCH = .002, (.5, .68, .9, .95), 64
LIKE = Gaussian(relative=NOISE)

def spectra(n, *key, theta=None):
    "States and noisy signals of the exact simulator, that no run has seen."
    exact = preset('reference').simulator()
    theta = exact.space.sample(n, 'benchmark posterior', *key) if theta is None else theta
    with torch.no_grad(): mu = torch.cat([exact(t) for t in theta.split(64)]).double()
    return theta, mu*(1 + NOISE*normals(n, mu.shape[2], 'benchmark posterior noise', *key).double()[:,None])

def brute(sim, y, m, wide=1.25, skip=0):
    "Draws (m,d) and weights (m,) of the exact posterior of each signal: ranges for what is hardly known, a linear model with an estimate at three temperatures for the rest."
    space = sim.space
    free, tied, centre, B, h0, L = proposal(sim, y, len(y))
    for i in range(skip, len(y)):
        u = uniforms(m, len(space), 'brute', i)
        x = torch.special.ndtri(u[:,tied])*wide
        full = u.clone()
        h = torch.stack([space.decode(u)[:,free[1]]/(space.hi - space.lo)[free[1]], u[:,free[2]]], 1)
        full[:,tied] = mean = centre(space.quantile(u)[:,free[0]], i) - (h - h0[i]) @ B[i].T + x @ L[i].T
        inside = ((mean > 0) & (mean < 1)).all(1)
        theta = space.decode(full[inside])
        with torch.no_grad(): ll = torch.cat([(-.5*((y[i,0].float() - mu)/(NOISE*mu)).square() - mu.log()).double().sum(1) for mu in (sim(t)[:,0] for t in theta.split(256))])
        yield theta, (ll + .5*(x[inside]/wide).square().sum(1)).softmax(0)

def equal(theta, w, n, key):
    "Draws of equal weight: systematic resampling, then shuffled."
    at = (torch.arange(n) + uniforms(1, 1, 'equal', key)[0])/n
    i = torch.searchsorted(w.cumsum(0), at).clamp_max(len(w) - 1)
    return theta[i][uniforms(n, 1, 'shuffle', key)[:,0].argsort()]

def means(run, n, m):
    "P and T unknown: posterior means of ln CH4 and P against the truth, in units of the root of the mean variance of the brute-force posterior."
    sim, space = run.sim, run.sim.space
    js = [space.index('mf_CH4'), space.index('P')]
    pick = lambda t: torch.stack([t[...,js[0]].log(), t[...,js[1]]], -1)
    theta, y = spectra(n, 'means')
    truth = pick(theta)
    ref = torch.stack([torch.stack([mu := w @ pick(t), w @ (pick(t) - mu)**2]) for t, w in brute(sim, y, m)])          # (n,2,2)
    got, fit = [], []
    for i in range(0, n, BATCH):
        s, e = posterior(run, y[i:i+BATCH], LIKE, key=('means', i))
        got.append((s.weights[...,None]*pick(s.theta)).sum(1))
        fit.append(pick(e.theta))
    t, w = zip(*(box_posterior(sim, y[i:i+BATCH], LIKE, net_fit(run.model, y[i:i+BATCH], LIKE, tol=.1).theta).spread() for i in range(0, n, BATCH)))
    box = (torch.cat(w)[...,None]*pick(torch.cat(t))).sum(1)
    middle = pick(space.quantile(torch.full((1, len(space)), .5, dtype=torch.float64)))
    answers = {'middle of the ranges': middle.expand(n, 2), 'fit (most probable values)': torch.cat(fit), "mean of the fit's linear posterior": box, 'posterior mean': torch.cat(got), 'brute-force posterior mean': ref[:,0]}
    sd = ref[:,1].mean(0).sqrt()
    half = ref[:500,1].mean(0).sqrt()
    return [[k, *((v - truth).square().mean(0).sqrt()/sd).tolist(), *((v - truth)[:500].square().mean(0).sqrt()/half).tolist(), *((v - ref[:,0]).square().mean(0).sqrt()/sd).tolist()] for k, v in answers.items()]

def against_brute(run, n, path, m=60_000, many=10_000, few=2_000):
    "C2ST of each spectrum's draws against brute force: weighted, before weights, and the fit's linear posterior; chance level and prior beside them."
    sim, space, rows = run.sim, run.sim.space, json.loads(path.read_text()) if path.exists() else []
    theta, y = spectra(n, 'c2st')
    for i, (t, w) in enumerate(brute(sim, y, m, skip=len(rows)), len(rows)):
        e = net_fit(run.model, y[i:i+1], LIKE, tol=.1).theta
        flow, box = (sample_posterior(sim, y[i:i+1], LIKE, 3*many, theta=e, head=h, key=('c2st', k, i)) for k, h in (('flow', run.model.posterior), ('box', None)))
        row = dict(ppm=1e6*theta[i,space.index('mf_CH4')].item(), brute=(1/(w*w).sum()).item()/m, box=box.ess.item()/(3*many), flow=flow.ess.item()/(3*many))
        for k in (few, many) if i >= n - 3 else (few,):
            ref = space.encode(equal(t, w, k, i))
            test = lambda x: c2st(space.encode(x), ref)
            row |= {f'weighted {k}': test(flow.equal(k, ('c2st', i))[0]), f'before {k}': test(flow.theta[0,:k])}
            if k == few and i < 4: row |= {f'linear {k}': test(box.theta[0,:k]), f'itself {k}': test(equal(t, w, 2*k, ('other', i))[:k]), f'prior {k}': test(space.sample(k, 'prior', i))}
        rows.append(row)
        path.write_text(json.dumps(rows))                                       # a classifier takes a minute: go on from here
        print('  C2ST', {k: round(v, 3) for k, v in row.items()}, flush=True)
    return rows

def long_chains(run, n=3, m=4000, steps=1200):
    "A second brute force, without any linear model: long chains from wide starts. Means and sds of ln CH4 and P apart, in sds."
    sim, space, rows = run.sim, run.sim.space, []
    pick = lambda t: torch.stack([t[:,space.index('mf_CH4')].log(), t[:,space.index('P')]], 1)
    _, y = spectra(n, 'c2st')
    for i, (t, w) in enumerate(brute(sim, y, 20_000)):
        fit = map_estimate(sim, y[i:i+1], LIKE)
        box = box_posterior(sim, y[i:i+1], LIKE, fit.theta)
        c, _ = box.draw(1.5*normals(m, len(space), 'start', i).double()[None])
        log_p, place = log_posterior(sim, y[i:i+1], LIKE)
        z = chains(log_p, space.probit(box.theta(c)[0].clamp(space.lo, space.hi)).clamp(-6, 6), steps, 'chains', i)
        a, mu = pick(place(z)), w @ pick(t)
        sd = (w @ (pick(t) - mu)**2).sqrt()
        rows.append([i, *((a.mean(0) - mu)/sd).tolist(), *(a.std(0)/sd).tolist()])
        print('  chains', rows[-1], flush=True)
    return rows

def truths(run, n, given, draws=512):
    "Ranks, coverage by third of ln CH4, and calibration of fit and posterior."
    sim, space = run.sim, run.sim.space
    theta, y = spectra(n, 'truths', *given)
    cols = [j for j, k in enumerate(space) if k not in given]
    sub, parts = space.only(*(space.names[j] for j in cols)), {'fit, normal in z': [], 'fit': [], 'posterior': []}
    t0 = time.process_time()
    for i in range(0, n, BATCH):
        told = {k: theta[i:i+BATCH,space.index(k)] for k in given}
        s, e = posterior(run, y[i:i+BATCH], LIKE, told, draws, key=('truths', i))
        x, w = box_posterior(sim, y[i:i+BATCH], LIKE, e.theta, told).spread(draws)
        q = [q for a in LEVELS for q in ((1 - a)/2, (1 + a)/2)]
        ends = lambda x, w: weighted_quantile(x[:,:,cols], q, w)
        plain = space.phi(space.probit(e.theta.clamp(space.lo, space.hi)).clamp(-6, 6)[:,None] + e.ratio[:,None]*torch.special.ndtri(torch.tensor(q, dtype=torch.float64))[None,:,None])[:,:,cols]
        keep = i < 10_000                                                      # all checks on ten thousand, coverage on all
        for k, v in (('fit, normal in z', (plain, None, None)), ('fit', (ends(x, w), x[:,:,cols], w)), ('posterior', (ends(s.theta, s.weights), s.theta[:,:,cols], s.weights))):
            parts[k].append((v[0], *(v[1:] if keep else (None, None))))
        if i//BATCH%20 == 0: print(f'  {given or "unknown"}: {i} of {n}, {1e3*(time.process_time() - t0)/(i + BATCH):.1f} ms each', flush=True)
    third, truth, out = (3*space.encode(theta)[:,space.index('mf_CH4')]).long().clamp(0, 2), theta[:,cols], {}
    for k, p in parts.items():
        ends = torch.cat([v[0] for v in p])
        cover = [[[covered(ends[m,2*a], ends[m,2*a+1], truth[m])[j].item() for j in range(len(cols))] for a in range(len(LEVELS))] for m in ((third >= 0), *(third == c for c in range(3)))]
        out[k] = dict(cover=cover)
        if p[0][1] is not None:
            x, w = (torch.cat([v[c] for v in p if v[c] is not None]) for c in (1, 2))
            cal = calibrate(sub, x, truth[:len(x)], w)
            out[k] |= dict(calibration=cal.to_dict())
            print(f'  {k}, {given}: {cal.sentence}', flush=True)
    return dict(names=list(sub), n=n, cases=out, thirds=[int((third == c).sum()) for c in range(3)])

def gauges(run, n=2000):
    "T and P measured to 0.5 K and 1 mbar: coverage of CH4, with that uncertainty told and not told."
    sim, space = run.sim, run.sim.space
    sd = dict(P=1., T=.5)
    theta, _ = space.sample(n, 'benchmark gauges'), None
    value = {k: space[k].lo + 4*s + (space[k].hi - space[k].lo - 8*s)*uniforms(n, 1, 'gauge', k)[:,0] for k, s in sd.items()}
    for k, s in sd.items(): theta[:,space.index(k)] = value[k] + s*normals(n, 1, 'gauge error', k)[:,0].double()
    theta, y = spectra(n, 'gauges', theta=theta)
    j, rows, q = space.index('mf_CH4'), {}, [q for a in LEVELS for q in ((1 - a)/2, (1 + a)/2)]
    for i in range(0, n, BATCH):
        m = slice(i, i + BATCH)
        for name, known in (('told', {k: (v[m], sd[k]) for k, v in value.items()}), ('not told', {k: v[m] for k, v in value.items()})):
            s, e = posterior(run, y[m], LIKE, known, 512, key=('gauges', i))
            x, w = box_posterior(sim, y[m], LIKE, e.theta, known).spread()
            for who, a, b in (('fit', x, w), ('posterior', s.theta, s.weights)): rows.setdefault((who, name), []).append(weighted_quantile(a[:,:,j:j+1], q, b)[:,:,0])
    return [[who, name, *(covered(e[:,[2*a]], e[:,[2*a+1]], theta[:,[j]]).item() for a in range(len(LEVELS)))] for (who, name), e in ((k, torch.cat(v)) for k, v in rows.items())]

def cost(run, n=256, rounds=3):
    "CPU ms per spectrum, batch 256, one core, median."
    _, y = spectra(n, 'cost')
    jobs = {'network': lambda: run.model.estimate(y.float(), {}, 0), 'network + fit': lambda: net_fit(run.model, y, LIKE, tol=.1), 'fit and its 95 % intervals': lambda: box_posterior(run.sim, y, LIKE, net_fit(run.model, y, LIKE, tol=.1).theta).interval(),
            'posterior, 1,000 draws': lambda: posterior(run, y, LIKE), 'posterior, 1,000 draws, without the flow': lambda: posterior(run, y, LIKE, head=False)}
    times = {k: [] for k in jobs}
    for _ in range(rounds):
        for k, f in jobs.items():
            t = time.process_time()
            f()
            times[k].append(1e3*(time.process_time() - t)/n)
    return [[k, sorted(v)[len(v)//2]] for k, v in times.items()]

def gain(run):
    "What training brings the flow: mean rise of the log-density of the true parameters of the run's validation fits, and its standard error [nat]."
    dls, up = run.recipe.dls(run.sim), []
    for dl in dls: dl.source.flow = run.model.posterior
    with torch.no_grad():
        for b, _ in dls.valid: up.append(run.model(b)['log_prob'] + .5*(b['w']**2).sum(1) + .5*b['w'].shape[1]*math.log(2*math.pi))
    up = torch.cat(up)
    return [up.mean().item(), up.std().item()/len(up)**.5, len(up)]

def main():
    a = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    a.add_argument('--runs', type=Path, default=Path('runs'))
    a.add_argument('--work', type=Path, default=Path('runs/posterior'), help='where sections are kept')
    a.add_argument('--n', type=int, default=30_000, help='spectra for coverage')
    a.add_argument('--means', type=int, default=2000)
    a.add_argument('--c2st', type=int, default=50)
    a.add_argument('--write-now', action='store_true', help='write the tables with the spectra that C2ST has judged so far')
    a.add_argument('--only', nargs='*', help='sections to measure now, nothing is written to results')
    a = a.parse_args()
    run = trained(a.runs, ('POST',))['POST']
    a.work.mkdir(parents=True, exist_ok=True)
    sections = dict(cost=lambda: cost(run), gain=lambda: gain(run), gauges=lambda: gauges(run), means=lambda: means(run, a.means, 20_000), unknown=lambda: truths(run, a.n, ()), given=lambda: truths(run, a.n, ('P', 'T')),
                    chains=lambda: long_chains(run), c2st=lambda: against_brute(run, a.c2st, a.work/'c2st_rows.json'))
    got = {}
    for k, f in sections.items():
        if a.only and k not in a.only: continue
        path = a.work/f'{k}.json'
        if k == 'c2st' and a.write_now:
            got[k] = json.loads((a.work/'c2st_rows.json').read_text())
            continue
        if not path.exists(): path.write_text(json.dumps(f()))
        got[k] = json.loads(path.read_text())
        print(f'{k} done', flush=True)
    if not a.only: write(got)

def worst(d, case):
    "Largest departure of coverage by third, and where."
    c = torch.tensor(d['cases'][case]['cover'])                               # (4,levels,d): all, thirds
    off = (c - torch.tensor(LEVELS)[None,:,None])
    i = off[1:].abs().argmax()
    t, l, j = (int(v) for v in torch.unravel_index(i, off[1:].shape))
    return off[1:].flatten()[i].item(), f"{d['names'][j]}, {('lowest', 'middle', 'highest')[t]} third, {100*LEVELS[l]:g} %", off[0].abs().max().item()

def write(got):
    "The tables."
    rows = [[('P, T given' if k == 'given' else 'unknown'), case, got[k]['n'], *(x if isinstance(x, str) else x for x in worst(got[k], case))] for k in ('unknown', 'given') for case in got[k]['cases']]
    detail = [[('P, T given' if k == 'given' else 'unknown'), name, *(got[k]['cases'][case]['cover'][0][l][j] for case in ('fit', 'posterior') for l in range(len(LEVELS)))] for k in ('unknown', 'given') for j, name in enumerate(got[k]['names'])]
    checks = [[('P, T given' if k == 'given' else 'unknown'), case, r['check'], r['value'], r['parameter'], r['rule'], {True: 'yes', False: '**no**', None: ''}[r['passed']]]
              for k in ('unknown', 'given') for case in ('fit', 'posterior') for r in got[k]['cases'][case]['calibration']['table'] if r['rule']]
    c = got['c2st']
    col = lambda k: torch.tensor([r[k] for r in c if k in r])
    summary = [[name, k, col(f'{j} {k}').mean().item(), col(f'{j} {k}').min().item(), col(f'{j} {k}').max().item(), len(col(f'{j} {k}'))] for name, j in (('brute force against itself (chance)', 'itself'), ('posterior, weighted', 'weighted'), ('flow, before weights', 'before'), ("fit's linear posterior, before weights", 'linear'), ('prior', 'prior'))
               for k in (2000, 10_000) if len(col(f'{j} {k}'))]
    share = [['brute force', *quart(col('brute'))], ["fit's linear posterior", *quart(col('box'))], ['flow', *quart(col('flow'))]]
    g, ms, mean = {tuple(r[:2]): r[2:] for r in got['gauges']}, dict(got['cost']), {r[0]: r[1:] for r in got['means']}
    three = max(abs(worst(got[k], case)[0]) for k in ('unknown', 'given') for case in ('fit', 'posterior'))
    failed = [f"{k}: {r['check']}" for k in ('unknown', 'given') for case in ('posterior',) for r in got[k]['cases'][case]['calibration']['table'] if r['passed'] is False]
    pm = mean['posterior mean']
    bars = [bar('posterior mean, P and T unknown: RMSE over the root of the mean variance of the reference posterior, CH4, P; 500 spectra', '<= 1.03', f'{pm[2]:.3f}, {pm[3]:.3f}', max(pm[2:4]) <= 1.03),
            bar('the same, 2000 spectra', '<= 1.03', f'{pm[0]:.3f}, {pm[1]:.3f}', max(pm[:2]) <= 1.03),
            bar(f'C2ST after weights, mean of {len(c)} spectra', '<= 0.53', f"{col('weighted 2000').mean():.3f}", col('weighted 2000').mean() <= .53), bar('C2ST before weights', '<= 0.60', f"{col('before 2000').mean():.3f}", col('before 2000').mean() <= .60),
            bar('coverage by parameter and third, fit and posterior: largest departure', '<= 0.02', f'{three:.4f}', three <= .02),
            bar('SBC and TARP of the posterior', 'pass', 'pass' if not failed else '; '.join(failed), not failed),
            bar('gauges with errors: coverage of CH4 at 68 %, told / not told (posterior)', '0.68 ± 0.03', f"{g['posterior', 'told'][1]:.3f} / {g['posterior', 'not told'][1]:.3f}", abs(g['posterior', 'told'][1] - .68) < .032),
            bar('CPU of the posterior, 1,000 draws, batch 256, one core', '<= 50 ms', f"{ms['posterior, 1,000 draws']:.1f} ms", ms['posterior, 1,000 draws'] <= 50)]
    text = ('Reference preset, white noise 0.002 of the signal, spectra of the exact simulator that no run has seen; the posteriors are those of the table simulator. '
            "`fit`: the linear posterior in its box of ranges, made at the fit without further simulation. `fit, normal in z`: what a covariance alone would say. `posterior`: draws bent by the flow of the run `bound-POST`, weighted by the likelihood. "
            'Brute force: importance draws from the ranges (T, water, baseline0) and a linear model given them; long chains that use no linear model agree (last table). '
            "The fit's linear posterior covers within 0.02 everywhere, and yet ten thousand ranks tell it from the exact one. It is so near that the flow has almost nothing to add: "
            f"training raises the log-density of unseen parameters by {got['gain'][0]:.3f} ± {got['gain'][1]:.3f} nat ({got['gain'][2]} fits).")
    save('posterior', 'Error bars', text, [('Posterior means, P and T unknown: RMSE over the root of the mean variance of the brute-force posterior', ['estimate', 'CH4 (ln), 2000', 'P, 2000', 'CH4, first 500', 'P, first 500', 'CH4 from brute-force mean', 'P from brute-force mean'], got['means'], 'The last two columns are without the scatter of the truths: how far the estimate is from the exact posterior mean.'),
        ('C2ST against as many draws by brute force', ['draws', 'how many', 'mean', 'smallest', 'largest', 'spectra'], summary), ('Effective share of draws, the same spectra', ['proposal', 'smallest', '10 %', 'median'], share),
        ('Coverage: largest departure among thirds of ln CH4, four levels and all parameters', ['known', 'intervals', 'spectra', 'departure', 'where', 'largest, all spectra together'], rows),
        ('Coverage, all spectra together', ['known', 'parameter', *(f'{w} {100*a:g} %' for w in ('fit', 'posterior') for a in LEVELS)], detail),
        ('Ranks and TARP, 10,000 spectra', ['known', 'of', 'check', 'worst', 'parameter', 'rule', 'passes'], checks),
        ('P ± 1 mbar and T ± 0.5 K measured: coverage of CH4, 2,000 spectra', ['intervals', 'uncertainty of the gauges', *(f'{100*a:g} %' for a in LEVELS)], got['gauges']),
        ('CPU per spectrum, batch 256, one core', ['answer', 'ms'], got['cost']),
        ('Brute force beside long chains, three spectra: ln CH4 and P', ['spectrum', 'mean CH4, apart [sd]', 'mean P, apart [sd]', 'sd CH4, ratio', 'sd P, ratio'], got['chains'])], bars)

def quart(v): return v.quantile(torch.tensor([0., .1, .5])).tolist()

if __name__ == '__main__': main()
