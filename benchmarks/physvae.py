"""Do the latents of a canopy keep their meaning? Simulated truth beside Monte Carlo, measured Sentinel-2 spectra beside rivals, and the guide's residual beside one that cannot imitate physics.

Runs that are missing under --runs are trained first (about two hours of one core in all, none of them above 40 minutes); their cards are copied to benchmarks/runs. Sections are kept under --work and not repeated: delete a file there to measure it again.
"""
import argparse, json, shutil
from dataclasses import replace
from pathlib import Path
import numpy as np
import torch
from scipy.stats import spearmanr
from _table import HERE, bar, data_folder, save
from physlearn.calibration import calibrate
from physlearn.canopy.inform import Inform
from physlearn.canopy.reflectance import ndre, ndvi
from physlearn.canopy.judge import components, explained, lookup, validation
from physlearn.canopy.train_physvae import canopy_recipe, residual_share, sides
from physlearn.canopy.traits import PRODUCTS, arrays, net_traits, with_products
from physlearn.cli import keep_memory
from physlearn.files import write_table
from physlearn.chains import chains, log_posterior, smc_posterior
from physlearn.params import normals, uniforms
from physlearn.posterior import Gaussian, crlb
from physlearn.runs import Run
torch.set_num_threads(1)
keep_memory()

NOISE = .02
LEAFY = 'Acer', 'Alnus', 'Carpinus', 'Fagus', 'Fraxinus', 'Prunus', 'Quercus'      # deciduous; Larix is a conifer
APRIL, JULY, OCTOBER = '2018-04-08', '2018-07-02', '2018-10-30'
REAL = dict(scale=1e4, offset=0., lat=48.2, lon=16.2)
LONG = dict(epochs=60, residual='none', aux=0)                    # the pretraining of the preset, alone
FROM = dict(epochs=100, epochs_pretrain=0)                        # and what follows it
RUNS = {'simulated': ('physics_only', LONG, None), 'plain': ('physics_only', dict(LONG, posterior='diagonal', pretrain_loss='mean'), None),
        'diagonal': ('physics_only', dict(posterior='diagonal', anchor=0., epochs=150, epochs_pretrain=20, pretrain_samples=25_600), None),
        'orthogonal': ('default', FROM, 'simulated'), 'physics': ('physics_only', dict(FROM, error=.1), 'simulated'), 'physics-loose': ('physics_only', FROM, 'simulated'), 'gated': ('default', dict(FROM, residual='gated'), 'simulated'), 'free': ('default', dict(FROM, residual='gated', anchor=0.), 'simulated'),
        'guide': ('guide', {}, None), 'guide-physics': ('guide', dict(residual='none', aux=0), None)}
FILE = 's2_wienerwald/s2_wienerwald.csv.gz'

def simulated_table(path, n=10_000):
    "Spectra of the simulator with noise, as a table without truth."
    sim = Inform()
    angle = {k: v for k, v in sim.cond.columns(sim.cond.sample(n, 'benchmark table')).items() if k == 'tts'}
    with torch.no_grad(): x = sim(sim.space.sample(n, 'benchmark table'), **angle)[:,0].double()
    write_table(path, dict(sample_id=np.arange(n), tts=angle['tts'].numpy(), **dict(zip(sim.bands.names, (x*(1 + NOISE*normals(n, 11, 'benchmark table').double())).clamp_min(1e-4).numpy().T))))
    return str(path)

def trained(folder, name):
    "A run, trained where it is missing."
    preset, options, before = RUNS[name]
    path = folder/f'canopy-{name}'
    if not (path/'manifest.json').exists():
        folder.mkdir(parents=True, exist_ok=True)
        table = {} if name in ('simulated', 'plain') else dict(table=simulated_table(folder/'simulated.csv')) if name == 'diagonal' else dict(table=str(data_folder()/FILE), **REAL)
        recipe = canopy_recipe(preset, **{**table, **options}, gpus=0, threads=1)
        start = trained(folder, before) if before else None
        recipe.fit(path, start=start, resume=(path/'state').exists())
    run = Run.load(path)
    card = HERE/'runs'/path.name
    card.mkdir(parents=True, exist_ok=True)
    for f in ('README.md', 'recipe.json', 'metrics.json', 'history.csv', 'figures/losses.png', 'figures/traces.png'):
        if (path/f).exists(): (card/Path(f).name).write_text((path/f).read_text().replace(str(data_folder()) + '/', '').replace(str(folder) + '/', '')) if not f.endswith('png') else shutil.copy(path/f, card/Path(f).name)
    return run

def test_rows(run):
    "Measured spectra of the test plots, and those of training."
    r = replace(run.recipe, table=str(data_folder()/FILE), **REAL).rows()
    s = sides(r)
    return r[s['test']], r[s['train']]

# Simulated truth

def identify(n):
    "What eleven bands tell of n stands: linear bounds and posteriors, over the prior's standard deviation."
    rows, like = [], Gaussian(relative=NOISE)
    for top, n in ((1., n//3), (3., n)):
        sim = Inform(LAIu=top)
        theta, prior = sim.space.sample(n, 'identify'), sim.space.sample(4000, 'prior').std(0)
        linear = (crlb(sim, theta, like, tts=30.)/prior).median(0).values
        with torch.no_grad(): x = sim(theta, tts=30.).double()
        x = x*(1 + NOISE*normals(n, x.shape[2], 'identify noise').double()[:,None])
        ratio = torch.cat([smc_posterior(sim, v, like, moves=20, last=80, key=('identify', i), tts=30.).sd() for i, v in enumerate(x.split(50))])/prior
        rows += [[top, k, linear[i].item(), ratio[:,i].square().mean().sqrt().item(), ratio[:,i].median().item(), (ratio[:,i] > .9).double().mean().item()] for i, k in enumerate(sim.space)]
    return rows

def reference(run, batch, m=8192, k=256, steps=100):
    "Moments of the exact posterior (n,2,d): chains that begin at weighted draws of the run's flow; and by particles from the prior, which know no network."
    model, sim, space = run.model.eval(), run.sim, run.sim.space
    like, angles = Gaussian(relative=NOISE), run.model.conditions(batch)
    out, other = [], []
    with torch.no_grad(): h = model.encoder(model.norm(batch))
    for i in range(len(h)):
        log_p, place = log_posterior(sim, batch['x'][i:i+1].double(), like, **{c: v[i] for c, v in angles.items()})
        with torch.no_grad(): z, log_q = model.physics.draw(normals(m, len(space), 'reference', i)[None], h[i:i+1])
        z = z[0].double()
        w = (log_p(z) - log_q[0].double()).softmax(0)
        at = torch.searchsorted(w.cumsum(0), (torch.arange(k) + uniforms(1, 1, 'reference', i)[0])/k).clamp_max(m - 1)
        t = place(chains(log_p, z[at], steps, 'reference', i))
        out.append(torch.stack([t.mean(0), t.var(0), (1/w.square().sum()).expand(len(space))]))
    for i in range(0, len(h), 50):
        s = smc_posterior(sim, batch['x'][i:i+50], like, 1024, key=('reference', i), **{c: v[i:i+50] for c, v in angles.items()})
        other.append(torch.stack([s.theta.mean(1), s.theta.var(1)], 1))
    return torch.stack(out), torch.cat(other)

def recovery(folder, n):
    "RMSE of answers over the root of the mean variance of the reference posterior."
    run = trained(folder, 'simulated')
    space, batch = run.sim.space, {k: v[:n] for k, v in validation(run, max(n, 2000)).items() if torch.is_tensor(v)}
    ref, smc = reference(run, batch)
    truth, sd = batch['theta'], ref[:,1].mean(0).sqrt()
    off = lambda v: ((v - truth).square().mean(0).sqrt()/sd).tolist()
    mean = lambda name: trained(folder, name).model.estimate(batch, 512)['theta'].mean(1)
    rows = [['mean of the prior', *off(space.sample(4000, 'prior').mean(0))], ['look-up table, nearest of 20,000', *off(lookup(run.sim, batch['x'][:,0].float(), run.model.conditions(batch)))],
            ['plain network, squared error', *off(mean('plain'))], ['posterior mean of the network', *off(mean('simulated'))], ['mean of the reference (chains)', *off(ref[:,0])], ['mean of particles from the prior', *off(smc[:,0])]]
    agree = [['means apart, rms [sd]', *((smc[:,0] - ref[:,0]).square().mean(0).sqrt()/sd).tolist()], ['standard deviations, particles over chains', *(smc[:,1].mean(0).sqrt()/sd).tolist()]]
    return dict(n=n, names=space.names, rows=rows, agree=agree, ess=ref[:,2,0].quantile(torch.tensor([.01, .1, .5]).double()).tolist())

def coverage(folder, n):
    "What the 90 % intervals hold, by trait, and the checks of all ranks."
    rows, checks = [], {}
    for name in ('simulated', 'orthogonal', 'physics-loose', 'diagonal', 'guide-physics', 'guide'):
        run = trained(folder, name)
        batch = validation(trained(folder, 'simulated'), n)
        theta = torch.cat([run.model.estimate({k: v[i:i+1000] for k, v in batch.items()}, 256)['theta'] for i in range(0, n, 1000)])
        cal = calibrate(run.sim.space, theta, batch['theta'])
        rows.append([name, *cal.cover[list(cal.levels).index(.9)].tolist()])
        checks[name] = cal.to_dict()['sentence']
    return dict(n=n, names=run.sim.space.names, rows=rows, checks=checks)

# Measured spectra

def measured(folder, name):
    "What a run says of the test rows: R2 by band, share of the residual, traits, what seasons and indices say."
    run = trained(folder, name)
    test, _ = test_rows(run)
    got = run.model.estimate({k: torch.from_numpy(v) for k, v in arrays(test).items()}, 256)
    out = dict(residual=explained(test.x, got['signal'].numpy(), test.mask).tolist(), physics=explained(test.x, got['physics'].numpy(), test.mask).tolist(), share=residual_share(got['physics'], got['signal'] - got['physics'], run.model.norm.std),
               error=(run.model.error/run.model.norm.std).tolist(), noise=run.model.sd(got['signal'], error=False).mean(0).tolist(), suspect=float((got['p'] < 1e-3).double().mean()), bands=list(test.bands))
    if run.model.physics is not None:
        t = net_traits(run.model, test, 256)
        out['traits'] = {k: t.value[:,i].tolist() for i, k in enumerate(t.space)}
        out['ratios'] = {k: t.ratio[:,i].square().mean().sqrt().item() for i, k in enumerate(t.space)}
    return out

def rival(folder, what):
    "Traits of the test rows by a look-up table, a plain network, or indices in the place of traits."
    run = trained(folder, 'simulated')
    test, train = test_rows(run)
    a = {k: torch.from_numpy(v) for k, v in arrays(test).items()}
    if what == 'indices': return dict(traits=dict(NDVI=ndvi(test.x).tolist(), NDRE=ndre(test.x).tolist()))
    if what == 'components': return dict(residual=explained(test.x, components(train.x, test.x), test.mask).tolist())
    if what == 'plain':
        t = net_traits(trained(folder, 'plain').model, test, 16)
        return dict(traits={k: t.value[:,i].tolist() for i, k in enumerate(t.space)})
    theta = with_products(run.sim.space, lookup(run.sim, a['x'][:,0], {k: a[k] for k in run.sim.cond}))
    return dict(traits=dict(zip([*run.sim.space, *PRODUCTS], theta.T.tolist())))

def of_leaves(test): return np.array([any(k in c for k in LEAFY) for c in test.others['class'].astype(str)])

def curve(test, v):
    "Dates, and quartiles of a quantity over deciduous plots."
    dates, leafy = test.others['date'].astype(str), of_leaves(test)
    days = sorted(set(dates))
    return days, [np.quantile(np.asarray(v)[leafy & (dates == d)], [.25, .5, .75]).tolist() for d in days]

def seasons(test, v):
    "Deciduous plots in which a quantity is higher in July than in April and in October, and its medians."
    dates, plots, leafy = test.others['date'].astype(str), test.others['sample_id'], of_leaves(test)
    ids = np.unique(plots[leafy])
    at = {d: np.array([np.asarray(v)[(plots == i) & (dates == d)][0] for i in ids]) for d in (APRIL, JULY, OCTOBER)}
    return [len(ids), float((at[JULY] > at[APRIL]).mean()), float((at[JULY] > at[OCTOBER]).mean()), *(float(np.median(x)) for x in at.values())]

def compare(got, test):
    "Tables of traits on measured spectra: meaning kept, index of the satellite, seasons."
    rank = lambda a, b: float(spearmanr(a, b).statistic)
    pairs = [('orthogonal', 'physics'), ('gated', 'physics'), ('free', 'physics'), ('guide', 'guide-physics'), ('orthogonal', 'physics-loose')]
    names = list(got['physics']['traits'])
    shuffled = lambda v: np.asarray(v)[uniforms(len(v), 1, 'shuffled').argsort(0)[:,0].numpy()]
    meaning = [[f'{a} beside {b}', *(rank(got[a]['traits'][k], got[b]['traits'][k]) for k in names)] for a, b in pairs]
    meaning.append(['physics beside itself, rows shuffled', *(rank(got['physics']['traits'][k], shuffled(got['physics']['traits'][k])) for k in names)])
    lai = test.others['lai_x1e3']
    who = [n for n in ('orthogonal', 'physics', 'physics-loose', 'gated', 'free', 'guide', 'guide-physics', 'plain', 'lookup') if n in got]
    index = [[n, *(rank(got[n]['traits'][k], lai) for k in ('fc', 'LAI_total', 'CCC'))] for n in who] + [[k, rank(v, lai), '', ''] for k, v in got['indices']['traits'].items()] + [['fc of orthogonal, rows shuffled', rank(shuffled(got['orthogonal']['traits']['fc']), lai), '', '']]
    year = [[n, k, *seasons(test, got[n]['traits'][k])] for n in who for k in ('CCC', 'cab')] + [[k, '', *seasons(test, v)] for k, v in got['indices']['traits'].items()]
    return dict(traits=names, meaning=meaning, index=index, seasons=year, curves={n: curve(test, got[n]['traits']['CCC']) for n in ('orthogonal', 'physics', 'guide', 'guide-physics')})

SECTIONS = 'identify', 'recovery', 'coverage', 'compare'

def main():
    a = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    a.add_argument('--runs', type=Path, default=Path('runs'))
    a.add_argument('--work', type=Path, default=Path('runs/physvae'), help='where sections are kept')
    a.add_argument('--n', type=int, default=10_000, help='spectra for coverage')
    a.add_argument('--means', type=int, default=500)
    a.add_argument('--train', nargs='*', help='runs to train now, nothing else is done')
    a.add_argument('--only', nargs='*', help='sections to measure now, nothing is written to results')
    a = a.parse_args()
    a.work.mkdir(parents=True, exist_ok=True)
    if a.train is not None:
        for name in a.train or RUNS: trained(a.runs, name)
        return
    def kept(name, f):
        path = a.work/f'{name}.json'
        if not path.exists(): path.write_text(json.dumps(f()))
        print(f'{name} done', flush=True)
        return json.loads(path.read_text())
    def everything():
        got = {k: kept(f'measured_{k}', lambda k=k: measured(a.runs, k)) for k in RUNS if k not in ('simulated', 'plain', 'diagonal')}
        got |= {k: kept(f'rival_{k}', lambda k=k: rival(a.runs, k)) for k in ('indices', 'components', 'plain', 'lookup')}
        return dict(got={k: {j: w for j, w in v.items() if j != 'traits'} for k, v in got.items()}, **compare(got, test_rows(trained(a.runs, 'simulated'))[0]))
    todo = dict(identify=lambda: identify(300), recovery=lambda: recovery(a.runs, a.means), coverage=lambda: coverage(a.runs, a.n), compare=everything)
    got = {k: kept(k, f) for k, f in todo.items() if not a.only or k in a.only}
    if not a.only: write(got)

def picture(m):
    "What reconstructions explain, and what becomes of chlorophyll."
    import matplotlib
    matplotlib.use('agg')
    from matplotlib import pyplot as plt
    from matplotlib.dates import DateFormatter
    fig, (a, b) = plt.subplots(1, 2, figsize=(9, 3.2), layout='constrained')
    for k, c, label in (('orthogonal', 'C0', 'residual that cannot imitate physics'), ('guide', 'C3', "the guide's gated residual")):
        a.plot(m['got'][k]['bands'], m['got'][k]['residual'], 'o-', c=c, ms=4, label=label)
        a.plot(m['got'][k]['bands'], m['got'][k]['physics'], 'x--', c=c, ms=4, lw=1, label='its physics alone')
    a.set(xlabel='band', ylabel='R2 of measured reflectance [-]', ylim=(-.1, 1.03))
    a.tick_params(axis='x', rotation=60, labelsize=7)
    a.legend(fontsize=7)
    for k, style, label in (('physics', 'C0--', 'physics alone'), ('orthogonal', 'C0-', 'with residual'), ('guide-physics', 'C3--', "the guide's, physics alone"), ('guide', 'C3-', "the guide's, gated residual")):
        days, q = m['curves'][k]
        days, q = np.array(days, dtype='datetime64[D]'), np.array(q)
        b.plot(days, q[:,1], style, label=label)
        if not style.endswith('--'): b.fill_between(days, q[:,0], q[:,2], color=style[:2], alpha=.2, lw=0)
    b.set(xlabel='month of 2018', ylabel='canopy chlorophyll [g/m2]', title='131 deciduous plots: median and quartiles', ylim=(0, None))
    b.title.set_size(9)
    b.xaxis.set_major_formatter(DateFormatter('%b'))
    b.legend(fontsize=7, loc='center', bbox_to_anchor=(.37, .45))
    fig.savefig(HERE/'results/physvae.png', dpi=150)

def write(g):
    "The tables."
    bars, c, r, m = [], g['coverage'], g['recovery'], g['compare']
    three = {r[1]: r[3] for r in g['identify'] if r[0] == 3.}
    bars.append(bar('posterior over prior standard deviation, 2 % noise, understorey up to 3: largest of all but fc / fc', '<= 0.6 / > 0.9', f"{max(v for k, v in three.items() if k != 'fc'):.2f} / {three['fc']:.3f}", max(v for k, v in three.items() if k != 'fc') <= .6 and three['fc'] > .9))
    net = next(x[1:] for x in r['rows'] if x[0] == 'posterior mean of the network')
    bars.append(bar(f"RMSE of the posterior mean over the root of the mean variance of the reference posterior, {r['n']} spectra: largest of seven traits", '<= 1.08', f'{max(net):.3f}', max(net) <= 1.08))
    cover = {x[0]: x[1:] for x in c['rows']}
    bars.append(bar(f"90 % intervals of {c['n']} spectra hold: smallest, largest of seven traits", '0.88 .. 0.92', f"{min(cover['simulated']):.3f}, {max(cover['simulated']):.3f}", min(cover['simulated']) >= .88 and max(cover['simulated']) <= .92))
    bars.append(bar('the same for the diagonal posterior: smallest, largest', 'fails', f"{min(cover['diagonal']):.3f}, {max(cover['diagonal']):.3f}", min(cover['diagonal']) < .88))
    o = m['got']['orthogonal']
    bars.append(bar("R2 of the posterior mean's reconstruction, residual on: smallest band", '>= 0.95', f"{min(o['residual']):.3f} ({o['bands'][int(np.argmin(o['residual']))]}); physics alone in it {min(o['physics']):.3f}, six components {min(m['got']['components']['residual']):.3f}", min(o['residual']) >= .95))
    index = {x[0]: x[1] for x in m['index']}
    bars.append(bar('Spearman of fc with the LAI of the satellite product, all test rows', '>= 0.7', f"{index['orthogonal']:.2f} (physics alone {index['physics']:.2f}, NDVI {index['NDVI']:.2f})", index['orthogonal'] >= .7))
    year = {(x[0], x[1]): x[2:] for x in m['seasons']}
    s, t = year['orthogonal', 'CCC'], year['orthogonal', 'cab']
    bars.append(bar(f"deciduous plots ({s[0]}): canopy chlorophyll in July above April / October; leaf chlorophyll in July above October", '>= 85 % each', f"{100*s[1]:.0f} / {100*s[2]:.0f}; {100*t[2]:.0f} %", min(s[1], s[2], t[2]) >= .85))
    kept = {x[0]: dict(zip(m['traits'], x[1:])) for x in m['meaning']}
    a, b = kept['orthogonal beside physics'], kept['guide beside guide-physics']
    bars.append(bar('Spearman between residual on and physics alone: cab, fc', '>= 0.9', f"{a['cab']:.2f}, {a['fc']:.2f}; the guide's {b['cab']:.2f}, {b['fc']:.2f}", min(a['cab'], a['fc']) >= .9))
    bands = [[n, v.get('share', ''), v.get('suspect', ''), *v[what]] for n, v in m['got'].items() for what in ('residual',) if what in v] + [[f'{n}, its physics alone', '', '', *m['got'][n]['physics']] for n in ('orthogonal', 'gated', 'free', 'guide')]
    noise = [['stated noise [reflectance]', *o['noise']], ["fitted model error, of the band's standard deviation", *o['error']]]
    text = ('Sentinel-2A, eleven bands, 2 % noise in each. `simulated` is trained on simulated spectra alone; `orthogonal`, `physics`, `gated` and `free` go on from it with the measured spectra of 602 plots in the Vienna Woods (8,428 rows), and differ in the residual alone: one that cannot imitate physics, none, '
            "the guide's gated one, and that without simulated spectra beside the measured ones. `physics-loose` has no residual and a model error that may grow as it likes, as the preset physics_only. `guide` is the reference guide's trainer, `guide-physics` the same without a residual. Test rows are 2,828 of 202 other plots. The LAI of the satellite product is no truth: it is another estimate from the same bands. "
            'A trait is its posterior mean. ' + ' '.join(f'{k}: {v}' for k, v in c['checks'].items() if k in ('simulated',)))
    traits = m['traits']
    picture(m)
    save('physvae', 'Canopies: traits and their meaning', text, [
        ('What eleven bands tell: standard deviations over those of the prior', ['largest understorey LAI', 'trait', 'linear bound (median)', 'posterior (root mean square)', 'posterior (median)', 'stands in which it is flagged as wide as the prior (> 0.9)'], g['identify'], 'Sun at 30°, nadir view, 100 and 300 stands, particles from the prior. The linear bound exceeds the range where the posterior is a bent ridge.'),
        (f"Simulated truth: RMSE over the root of the mean variance of the reference posterior, {r['n']} spectra", ['answer', *r['names']], r['rows'], f"Reference: 256 chains of 100 steps for each spectrum that begin at weighted draws of the flow (effective draws of 8,192: {r['ess'][0]:.0f}, {r['ess'][1]:.0f}, {r['ess'][2]:.0f} at 1, 10, 50 %)."),
        ('The reference beside particles from the prior, which know no network', ['', *r['names']], r['agree']),
        (f"What 90 % intervals hold, {c['n']} simulated spectra", ['run', *c['names']], c['rows'], '`diagonal`: trained by its evidence bound on simulated spectra, no residual.'),
        ('Measured spectra: R2 of each band', ['reconstruction', "residual's share", 'suspect rows', *o['bands']], bands), ('Noise of `orthogonal`, by band', ['', *o['bands']], noise),
        ('Meaning kept: Spearman between a run and the same physics without a residual', ['', *traits], m['meaning']),
        ('Spearman with the LAI of the satellite product', ['of', 'fc, or the index', 'LAI_total', 'CCC'], m['index']),
        ('Seasons of deciduous plots', ['of', 'quantity', 'plots', 'July above April', 'July above October', 'median, April', 'July', 'October'], m['seasons'], 'cab [µg/cm²], CCC [g/m²].')], bars)

if __name__ == '__main__': main()
