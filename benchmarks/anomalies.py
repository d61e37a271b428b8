"""Anomalies that were put into simulated light curves: which are found, by what, and which are not.

    python benchmarks/anomalies.py [folder of a run of the recipe `default`]

Each anomalous source has a seed of its own; ordinary sources are of the same survey, never of the training. Scores are
one minus the chance that `Familiar` gives. Rivals: the same network untrained; nine hand-made features, scaled and given to an isolation forest (as the
authors of the guide's network did in the end); the number of photons alone, a constant score, and the scores of the network shuffled over the sources. An area under the curve (AUC) has the error of Hanley & McNeil (1982, Radiology 143, 29)."""
import sys, tempfile, time
from pathlib import Path
import numpy as np
import torch
from scipy.stats import rankdata
from _table import bar, save
from physlearn.lightcurve.anomaly import ASPECTS, Familiar, photons_of
from physlearn.lightcurve.variability import STATISTICS, over_curves
from physlearn.lightcurve.train_lightcurve import lightcurve_recipe
from physlearn.lightcurve.xray_simulate import ANOMALIES, simulate
from physlearn.runs import Run

def auc(odd, plain):
    "Chance that an odd source has the higher score, and its error."
    m, n = len(odd), len(plain)
    a = (rankdata(np.r_[odd, plain])[:m].sum() - m*(m + 1)/2)/(m*n)
    q, r = a/(2 - a), 2*a*a/(1 + a)
    return a, np.sqrt(max(a*(1 - a) + (m - 1)*(q - a*a) + (n - 1)*(r - a*a), 0)/(m*n))

def recall(odd, plain, alarms=.01):
    "Share of odd sources above the score that a hundredth of the plain ones exceed."
    return (odd > np.quantile(plain, 1 - alarms)).mean()

def nine_features(curves):
    "Weighted mean, variance, lag-1 autocorrelation, Hurst exponent, rises over falls, Stetson's K, scatter, mean over variance, amplitude (S,9)."
    wide = np.stack([over_curves(STATISTICS[k], curves).numpy() for k in ('scatter', 'amplitude')], 1)
    out = np.zeros((len(curves), 9))
    for i in range(len(curves)):
        lc = curves[i]
        net, e = (lc.counts - lc.ratio*lc.back).sum(1), lc.exposure.mean(1).clip(1e-3)
        y, error = net/e, np.sqrt(lc.counts.sum(1) + .75)/e
        mean = (y/error**2).sum()/(1/error**2).sum()
        d, n = y - mean, len(y)
        walk, s = np.cumsum(y - y.mean()), max(y.std(), 1e-9)
        z = d/error
        k = np.abs(z).mean()/max(np.sqrt((z*z).mean()), 1e-9)
        lag = (d[1:]*d[:-1]).sum()/max((d*d).sum(), 1e-9)
        hurst = np.log(max(np.ptp(walk)/s, 1e-3))/np.log(max(n, 2))
        step = np.diff(y)
        out[i] = mean, y.var(), lag, hurst, ((step > 0).sum() + .5)/((step < 0).sum() + .5), k, wide[i,0], mean/max(y.var(), 1e-9), wide[i,1]
    return np.nan_to_num(out)

def forest(train, sets):
    "Anomaly scores of an isolation forest on the nine features."
    from sklearn.ensemble import IsolationForest
    from sklearn.preprocessing import RobustScaler
    known = nine_features(train)
    scale = RobustScaler().fit(known)
    trees = IsolationForest(n_estimators=300, random_state=0).fit(scale.transform(known))
    return {k: -trees.score_samples(scale.transform(nine_features(v))) for k, v in sets.items()}

def blank(model):
    "The network before any training; the prior of its levels is kept."
    for m in model.modules():
        if hasattr(m, 'reset_parameters'): m.reset_parameters()
    torch.nn.init.zeros_(model.decoder[-1].weight)
    torch.nn.init.zeros_(model.decoder[-1].bias)
    return model

def main(folder=None, n=9000, plain=6000):
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as tmp:
        run = Run.load(folder) if folder else lightcurve_recipe('default', gpus=0, threads=1).fit(Path(tmp)/'run', quiet=True, evaluate=False)
    train, valid, test = run.recipe.sides()
    made = simulate(n, run.recipe.seed + 1001, run.recipe.survey, anomalies=1.)
    kind, shape = made.truth['anomaly'], made.truth['class']
    sets = dict(odd=made.light_curves(), plain=simulate(plain, run.recipe.seed + 2002, run.recipe.survey).light_curves())
    fresh = simulate(6000, run.recipe.seed + 3003, run.recipe.survey).light_curves()        # as many held-out sources as a survey of 40,000 has
    began, found = time.process_time(), {}
    for name in ('trained', 'untrained'):
        if name == 'untrained': run.model = blank(run.model)
        known = Familiar.of(run.model.eval(), train, fresh)
        found[name] = {k: known(v) for k, v in sets.items()}
        if name == 'trained': took = (time.process_time() - began)/(n + plain + len(fresh))*1000
    score = lambda name, k: -np.log(found[name][k]['p']) + 1e-3*np.log(1/np.stack(list(found[name][k]['each'].values()))).sum(0)
    ours = {k: score('trained', k) for k in sets}
    rival = {k: score('untrained', k) for k in sets}
    trees = forest(train.some(range(min(len(train), 6000))), sets)
    photons, g = {k: photons_of(v) for k, v in sets.items()}, np.random.default_rng(0)
    mixed = g.permutation(np.r_[ours['odd'], ours['plain']])
    which = {k: kind == k for k in ANOMALIES}
    which |= {'pile-up, above 300 photons': which['pile-up'] & (photons['odd'] > 300),
              'time reversal, flares and outbursts above 300 photons': which['time reversal'] & (photons['odd'] > 300) & np.isin(shape, ['flare', 'outburst'])}
    rows, lost = [], []
    for k, at in which.items():
        rest = photons['plain'] > (300 if '300' in k else -1)                   # ordinary sources as bright
        beside = lambda score: auc(score['odd'][at], score['plain'][rest])
        a, e = beside(ours)
        aspects = {j: beside({name: -found['trained'][name]['each'][j] for name in sets})[0] for j in ASPECTS}
        best = max(aspects, key=aspects.get)
        rows.append([k, int(at.sum()), a, e, 100*recall(ours['odd'][at], ours['plain'][rest]), f'{best} {aspects[best]:.3f}',
                     beside(rival)[0], beside(trees)[0], beside(photons)[0], .5, beside(dict(odd=mixed[:n], plain=mixed[n:]))[0]])
        if a - 2*e < .5: lost.append(k)
    each = [[j, text, *(auc(-found['trained']['odd']['each'][j][which[k]], -found['trained']['plain']['each'][j])[0] for k in ANOMALIES)] for j, text in ASPECTS.items()]
    alarms = [[f'{lo:g} to {hi:g}', int(at.sum()), *(100*(found['trained']['plain']['p'][at] <= p).mean() for p in (.1, .01)), 100*np.sqrt(.01*.99/at.sum())]
              for lo, hi in ((0, 100), (100, 300), (300, 1000), (1000, np.inf))
              for at in [(photons['plain'] >= lo) & (photons['plain'] < hi)]]
    undetectable = (f"Not detectable, AUC within two errors of 0.5: {'; '.join(lost) or 'none'}. What is found is found by background, ratio and exposure, "
                    "which no network sees: an untrained one does as well. A best aspect is the best of ten, and is not corrected for the choice.")
    save('anomalies', 'Anomalies in light curves', ' '.join(__doc__.split('\n\n')[2].split()) + f' {len(train)} training sources, {len(fresh)} held out to rank among, '
         f'{plain} ordinary ones to test; {took:.0f} CPU ms a source.',
         [('Injected anomalies, all aspects together', ['kind', 'sources', 'AUC', 'error', 'recall at 1 % [%]', 'best aspect, its AUC', 'untrained', 'nine features', 'photons', 'constant', 'shuffled'], rows, undetectable),
          ('AUC of each aspect', ['aspect', 'high where', *ANOMALIES], each),
          ('False alarms of ordinary sources', ['photons', 'sources', 'at 10 % [%]', 'at 1 % [%]', 'error at 1 % [%]'], alarms)],
         [bar(f'{k}: AUC above 0.5 by two errors', '> 0.5', f'{a:.3f} ± {e:.3f}', a - 2*e > .5) for k, _, a, e, *_ in rows[:len(ANOMALIES)]])

if __name__ == '__main__': main(*sys.argv[1:2], *map(int, sys.argv[2:]))
