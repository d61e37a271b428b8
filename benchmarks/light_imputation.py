"""Visits that a network was not shown: are its intervals right, what are they worth, and do bands stay together?

    python benchmarks/light_imputation.py [folder of a run of the recipe `default`]

Fresh sources of the survey with at most 64 visits, a fifth of the visits hidden, twice. For each band and predicted mean: share of the
randomised probability integral transform in [0.05, 0.95] (0.90 is right), width of the central 90 % over the square root of mean + 1,
log score. Rivals: a constant rate with the error that its photons leave; a Gaussian process of the net rate of a band (constant
and exponential kernel, averaged over a grid of amplitudes and times by their marginal likelihood); the untrained network."""
import sys, tempfile
from pathlib import Path
import numpy as np
import torch
from _table import bar, save
from physlearn.data import FileSource
from physlearn.lightcurve.counting import log_plug_in
from physlearn.lightcurve.rnnvae import counted, drawn_rate, pooled, sampled, visit_log_prob
from physlearn.lightcurve.train_lightcurve import Hidden, averaged, lightcurve_recipe, rows_of, steady_rate
from physlearn.lightcurve.xray_files import ERODAY
from physlearn.lightcurve.xray_simulate import CLASSES, simulate
from physlearn.runs import Run

DRAWS, MOST, SOURCES = 64, 64, 16_000
MEANS, PHOTONS = (('below 1', 0, 1), ('1 to 10', 1, 10), ('above 10', 10, 1e9)), (('below 30', 0, 30), ('30 to 300', 30, 300), ('above 300', 300, 1e9))

def hidden_of(batch):
    "Which visits are hidden (M,2), and their counts (M,b)."
    at = batch['mask'] & ~batch['given']
    return at, {k: v if k == 'use' else v.double() for k, v in counted(batch, at).items()}

def network(model, batch, at, seen):
    "Rates that are drawn (D,M,b), log-probability of each band (M,b) and of the visit (M,)."
    z = model.encode(batch)
    rates, each, whole = [], [], []
    for _ in range(DRAWS):
        course = {k: v.double() for k, v in model.course(sampled(*z), batch, at).items()}
        rates.append(drawn_rate(course))
        if len(each) < 32:
            one = lambda b: seen | dict(use=seen['use'] & (torch.arange(3) == b))
            each.append(torch.stack([visit_log_prob(course, one(b)) for b in range(3)], 1))
            whole.append(visit_log_prob(course, seen))
    return torch.stack(rates), averaged(each), averaged(whole)

def scored(rates, seen):
    "The same from rates that are drawn independently of each other."
    each = torch.where(seen['use'], log_plug_in(seen['counts'], rates*seen['exposure'], seen['back'], seen['ratio']), 0.)
    return rates, averaged(each.unbind()), averaged(each.sum(2).unbind())

def constant(batch, at):
    level = steady_rate(batch)
    return torch.stack([level.sample()[:,None].expand(*at.shape, 3)[at].double() for _ in range(256)])

def gaussian_process(batch, at):
    "Draws of the net rate of each band at hidden visits (256,M,b)."
    use = (batch['good'] & (batch['mask'] & batch['given'])[...,None]).double()
    level = pooled(batch)[0].double().exp()[:,None]
    there = (batch['good'] & batch['mask'][...,None])
    c = {k: torch.where(there, batch[k], 1.).double() for k in ('counts', 'back', 'ratio', 'exposure')}
    behind = c['ratio']*c['back']
    y = (c['counts'] - behind)/c['exposure']/level - 1
    noise = (level*c['exposure'] + behind + .5)/(c['exposure']*level).square()
    t = torch.where(batch['mask'], batch['time'], 0.)/ERODAY
    apart = (t[:,:,None] - t[:,None]).abs()
    out = []
    for b in range(3):
        u = use[...,b]
        yb, means, spreads, logs = y[...,b]*u, [], [], []
        for A, tau in [(0., 1.)] + [(A, tau) for A in (.1, .3, 1., 3.) for tau in (.5, 2., 8., 32.)]:
            K = 4. + A*A*(-apart/tau).exp()
            inner = K*u[:,:,None]*u[:,None] + torch.diag_embed(torch.where(u > 0, noise[...,b], 1.))
            root = torch.linalg.cholesky(inner)
            weight = torch.cholesky_solve(yb[...,None], root)[...,0]
            logs.append(-.5*(yb*weight).sum(1) - root.diagonal(dim1=1, dim2=2).log().sum(1))
            across = K*u[:,None]
            means.append((across@weight[...,None])[...,0])
            spreads.append((4. + A*A - (across*torch.cholesky_solve(across.transpose(1, 2), root).transpose(1, 2)).sum(2)).clamp_min(1e-12).sqrt())
        chosen = torch.distributions.Categorical(logits=torch.stack(logs, 1)).sample((256,))         # (256,B)
        m, s = (torch.stack(v, 1)[torch.arange(len(y)), chosen] for v in (means, spreads))           # (256,B,L)
        out.append(((1 + m + s*torch.randn_like(m)).clamp_min(1e-3)*level[...,b])[:,at])
    return torch.stack(out, 3) if out[0].dim() == 3 else torch.stack(out, 2)

def transform(rates, seen):
    "Randomised probability integral transform, mean and width of the central 90 % of the counts (M,b)."
    beta = torch.distributions.Gamma(seen['back'] + .5, torch.ones(())).sample((len(rates),))
    mean = rates*seen['exposure'] + seen['ratio']*beta
    upto = lambda k: torch.where(k < 0, 0., torch.special.gammaincc(k.clamp_min(0.) + 1, mean)).mean(0)
    lo, hi = upto(seen['counts'] - 1), upto(seen['counts'])
    drawn = torch.poisson(mean)
    width = torch.quantile(drawn, .95, dim=0) - torch.quantile(drawn, .05, dim=0)
    return lo + torch.rand_like(lo)*(hi - lo), mean.mean(0), width, drawn[0]

def compared(counts, mean): # (...,3)
    x = (counts - mean)/(mean + 1).sqrt()
    return x.sign()*x.abs().log1p()

def correlations(x): return torch.corrcoef(x.T)[[0, 0, 1], [1, 2, 2]]

@torch.no_grad()
def gather(models, curves, seed, epochs=2):
    "All that is asked of hidden visits, by who says it."
    long = np.diff(curves.offsets) <= MOST
    curves = curves.some(np.flatnonzero(long))
    source, parts = Hidden(FileSource(rows_of(curves), permute=False), .2), {}
    order = np.argsort(np.diff(curves.offsets), kind='stable')
    kind = torch.tensor([CLASSES.index(k) for k in curves.more['class']])
    for epoch in range(epochs):
        for rows in torch.from_numpy(order).split(512):
            batch = source(rows, seed, 'imputation', epoch)
            at, seen = hidden_of(batch)
            if not at.any(): continue
            photons = torch.where(batch['good'] & batch['mask'][...,None], batch['counts'], 0.).sum((1, 2))
            level = (pooled(batch)[0].exp()[:,None]*batch['exposure'] + batch['ratio']*batch['back'])[at].double()
            says = {k: network(m, batch, at, seen) for k, m in models.items()}
            says |= {'constant': scored(constant(batch, at), seen), 'Gaussian process': scored(gaussian_process(batch, at), seen)}
            of = at.nonzero()[:,0]
            common = dict(counts=seen['counts'], use=seen['use'], photons=photons[of], kind=kind[rows][of], source=rows[of],
                          data=compared(seen['counts'], level))
            for k, v in common.items(): parts.setdefault(k, []).append(v)
            for k, (rates, each, whole) in says.items():
                pit, mean, width, drawn = transform(rates[:DRAWS], seen)
                for name, v in dict(pit=pit, mean=mean, width=width, each=each, whole=whole, drawn=compared(drawn, level)).items():
                    parts.setdefault((k, name), []).append(v)
    return {k: torch.cat(v) for k, v in parts.items()}

def gain(delta, source):
    "Mean a visit and its error over sources."
    n = torch.bincount(source).double()
    total = torch.bincount(source, delta.double(), minlength=len(n))
    total, n = total[n > 0], n[n > 0]
    mean = total.sum()/n.sum()
    return mean.item(), ((total - mean*n).square().sum().sqrt()/n.sum()).item()

def main():
    torch.set_num_threads(1)
    recipe = lightcurve_recipe('default', gpus=0, threads=1)
    with tempfile.TemporaryDirectory() as tmp:
        run = Run.load(sys.argv[1]) if len(sys.argv) > 1 else recipe.fit(Path(tmp)/'run', quiet=True, evaluate=False)
        trained = run.model.eval()
        torch.manual_seed(1)
        blank = run.recipe.model(None)
        blank.centre, blank.spread = trained.centre, trained.spread
    torch.manual_seed(0)
    sources = int(sys.argv[2]) if len(sys.argv) > 2 else SOURCES
    g = gather({'network': trained, 'untrained': blank.eval()}, simulate(sources, 77).light_curves(), 77)
    who = 'network', 'constant', 'Gaussian process', 'untrained'
    rows, shares = [], []
    for b, band in enumerate(('0.2-0.6', '0.6-2.3', '2.3-5.0')):
        for name, lo, hi in MEANS:
            mean = g['network', 'mean'][:,b]
            at = g['use'][:,b] & (mean >= lo) & (mean < hi)
            if not at.any(): continue
            share = {k: ((g[k, 'pit'][at,b] > .05) & (g[k, 'pit'][at,b] < .95)).double().mean().item() for k in who}
            width = {k: (g[k, 'width'][at,b]/(mean[at] + 1).sqrt()).mean().item() for k in who[:3]}
            score = {k: g[k, 'each'][at,b].mean().item() for k in who}
            rows.append([band, name, int(at.sum()), *share.values(), *width.values(), *score.values()])
            shares.append((share['network'], int(at.sum())))
    worth, worst = [], []
    for c, kind in enumerate(CLASSES):
        for name, lo, hi in PHOTONS:
            at = (g['kind'] == c) & (g['photons'] >= lo) & (g['photons'] < hi)
            if at.sum() < 50: continue
            over = [gain((g['network', 'whole'] - g[k, 'whole'])[at], g['source'][at]) for k in ('constant', 'Gaussian process')]
            worth.append([kind, name, int(at.sum()), *over[0], *over[1]])
            worst.append((over[0][0], over[0][1], kind, name))
    some = g['photons'] >= 100
    data = correlations(g['data'][some])
    bands = [['counts that came', *data.tolist()]] + [[k, *correlations(g[k, 'drawn'][some]).tolist()] for k in who]
    off = max(abs(a - b) for a, b in zip(bands[0][1:], bands[1][1:]))
    inside = [s for s, n in shares if n >= 10_000*sources/SOURCES]
    low, every = min(worst), [s for s, _ in shares]
    bars = [bar('share of the transform in [0.05, 0.95], all cells of 10,000 visits', '0.88-0.92', f'{min(inside):.3f}-{max(inside):.3f}',
                .88 <= min(inside) and max(inside) <= .92),
            bar('the same, all cells', '0.88-0.92', f'{min(every):.3f}-{max(every):.3f}', .88 <= min(every) and max(every) <= .92),
            bar('over a constant with its error, the worst class and photons', '>= -0.01 nat',
                f'{low[0]:+.3f} ± {low[1]:.3f} ({low[2]}, {low[3]})', low[0] >= -.01),
            bar('correlation between bands of what is drawn, off that of the data', '<= 0.05', f'{off:.3f}', off <= .05)]
    heads = (['band [keV]', 'predicted mean', 'visits', *(f'inside: {k}' for k in who), *(f'width: {k}' for k in who[:3]), *(f'score: {k}' for k in who)],
             ['class', 'photons', 'visits', 'over a constant with its error', 'error', 'over a Gaussian process', 'error'],
             ['bands', '1 and 2', '1 and 3', '2 and 3'])
    captions = ('Hidden visits by band and predicted mean: share inside, width of the central 90 % over root of mean + 1, log score [nat a visit]',
                'Gains of the network, all bands of a visit together [nat a visit]',
                'Correlation between bands of hidden visits of sources with 100 photons or more: (counts - those of a constant)/root, on a logarithmic scale')
    save('light_imputation', 'Visits that were hidden', 'A fifth of the visits of fresh sources; nothing of them was shown but time and exposure.',
         list(zip(captions, heads, (rows, worth, bands))), bars)

if __name__ == '__main__': main()
