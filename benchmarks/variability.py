"""Which variable sources are found, and how often a constant is called one.

    python benchmarks/variability.py RUN VAE [folder for what is computed once] [constants] [fresh constants]

RUN is the folder of `physlearn train lightcurve variability`, VAE that of `physlearn train lightcurve`; what is not in the folder is computed, six
classifiers that have not seen one of the classes among it. Sources of six classes, simulated as the
first eROSITA survey sees them, with at most 24 visits and rates of 0.01 to 10 ct/s, are scored by the classifier, by five classical statistics,
by boosted trees on these, by an isolation forest on the nine features of the guide's authors, by the autoencoder's -ELBO and by its
likelihood over a constant rate, by the untrained classifier and by scores without meaning. All have thresholds from the same constants in the same cells of photons, visits and background; sources are found at 0.13 % false
alarms. False alarms are counted on constants of the simulator, which are not those that gave the thresholds.
The oracle knows the course of each source and asks how often a constant with as many photons is as much like it."""
import math, sys
from pathlib import Path
import numpy as np
import torch
from _table import bar, save
from scipy import stats
from physlearn.data import FileSource, Rows
from physlearn.lightcurve.classifier import Classifier, prepared
from physlearn.lightcurve.counting import log_laplace
from physlearn.lightcurve.rnnvae import bound, by_curve, counted, pooled, visit_log_prob
from physlearn.lightcurve.train_lightcurve import ALARM, BY_COUNTS, RATES, STEADY, cells, lightcurve_recipe, rows_of, variables
from physlearn.lightcurve.variability import STATISTICS, Thresholds, about, constants_like, over_curves, samples, statistics, together
from physlearn.lightcurve.xray_simulate import CLASSES
from physlearn.runs import Run

PIECE, LONGEST = 20_000, 24

def nine(batch):
    "The nine features of the guide's authors: mean, variance, lag-1 correlation, Hurst, rise over fall, Stetson K, scatter, mean/variance, amplitude."
    use, C, B, r, e = (v[...,0] for v in samples(together(batch)))
    n, safe = use.sum(1).double().clamp_min(1), torch.where(use, e, 1.)
    rate, error = (C - r*B)/safe, (C.clamp_min(1) + r*r*B).sqrt()/safe
    w = torch.where(use, error**-2, 0.)
    centre = (w*rate).sum(1)/w.sum(1).clamp_min(1e-30)
    d = torch.where(use, rate - centre[:,None], 0.)
    var = d.square().sum(1)/n
    step = torch.where(use[:,1:] & use[:,:-1], rate.diff(dim=1), 0.) if rate.shape[1] > 1 else torch.zeros_like(rate)
    lag = (d[:,1:]*d[:,:-1]).sum(1)/d.square().sum(1).clamp_min(1e-30)
    z = d.cumsum(1)
    hurst = ((z.amax(1) - z.amin(1))/var.sqrt().clamp_min(1e-15)).clamp_min(1e-3).log()/n.clamp_min(2).log()
    scaled = torch.where(use, d/error, 0.)
    stetson = scaled.abs().sum(1)/n/(scaled.square().sum(1)/n).sqrt().clamp_min(1e-15)
    rise = (step.clamp_min(0).sum(1) + 1e-3)/((-step).clamp_min(0).sum(1) + 1e-3)
    return torch.stack([centre, var, lag, hurst, rise.log(), stetson, centre/var.clamp_min(1e-12).sqrt()], 1)

def computed(curves):
    "What all scores need of some curves."
    both = lambda batch: torch.cat([statistics(batch), about(batch), nine(batch)], 1)
    found = over_curves(both, curves).numpy()
    return prepared(curves) | dict(classic=found[:,:5], about=found[:,5:8], nine=np.c_[found[:,8:], found[:,3], found[:,1]].astype(np.float32))

def kept(folder, name, make):
    path = folder/f'{name}.npz'
    if not path.exists():
        d = make()
        np.savez(folder/f'{name}.tmp.npz', **d)
        (folder/f'{name}.tmp.npz').rename(path)
    return dict(np.load(path))

@torch.no_grad()
def by_autoencoder(model, curves): # (n,2)
    "-ELBO, and ELBO less the log-likelihood of the best constant rate [nat]."
    source, out = FileSource(rows_of(curves), permute=False), torch.zeros(len(curves), 2, dtype=torch.float64)
    for rows in torch.from_numpy(np.argsort(curves.lengths, kind='stable')).split(2000):
        batch = source(rows, 0)
        mu, logvar = model.encode(batch)
        seen, mask = counted(batch), batch['mask']
        nats = by_curve(visit_log_prob(model.course(mu, batch), seen, log_laplace), mask)   # at the mean: no draws
        flat = (pooled(batch)[0].exp()[:,None]*batch['exposure'])[mask]
        flat = torch.where(seen['use'], log_laplace(seen['counts'], flat, seen['back'], seen['ratio']), 0.).sum(1)
        elbo = bound(model, dict(mu=mu, logvar=logvar), nats)
        out[rows] = torch.stack([-elbo, elbo - by_curve(flat, mask)], 1).double()
    return dict(scores=out.numpy())

def oracle(curves, draws=5000): # share found
    "Sources found by whoever knows the rates: the likelihood ratio beside that of constants with as many photons."
    a, found = curves.arrays, []
    for i in range(len(curves)):
        at = slice(*curves.offsets[i:i + 2])
        use = a['mask'][at] & (a['exposure'][at] > 0)
        e, r = (np.where(use, a[k][at], 0.) for k in ('exposure', 'true_rate'))
        behind = np.where(use, a['ratio'][at]*(a['back'][at] + .5), 0.)
        flat = (e*r).sum(0)/np.maximum(e.sum(0), 1e-30)
        mean = (flat*e + behind)[use]
        weight = np.log((r*e + behind)[use]/mean)
        ratio = np.random.default_rng(i).poisson(mean, (draws, len(mean))) @ weight
        own = np.where(use, a['counts'][at], 0.)[use] @ weight
        found.append((1 + (ratio >= own).sum())/(draws + 1) <= ALARM)
    return np.array(found)

def odds(logits): return logits[:,1:].logsumexp(1) - logits[:,0]       # of an untrained network, without the scatter that it is given

def one_class(k): return np.eye(len(CLASSES))[k].tolist()

class Scores:
    "All scores of computed curves."
    def __init__(self, model, vae, blind, folder):
        from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest
        torch.manual_seed(1)
        self.models, self.vae = [m.eval() for m in (model, Classifier(hidden=64), *blind)], vae.eval()
        learn = [kept(folder, f'learn{k}', lambda k=k: computed(self.learning(k))) for k in range(2)]
        x, y = np.concatenate([self.inputs(d) for d in learn]), np.repeat([1, 0], [len(d['about']) for d in learn])
        self.trees = HistGradientBoostingClassifier(max_iter=300, learning_rate=.05, min_samples_leaf=100, random_state=0).fit(x, y)
        self.median = np.median(learn[0]['nine'], 0)
        self.width = np.subtract(*np.quantile(learn[0]['nine'], (.75, .25), 0)).clip(1e-9)
        self.forest = IsolationForest(random_state=0).fit(self.nine(learn[0]))
        self.names = ['classifier', *STATISTICS, 'boosting', 'nine features, forest', 'autoencoder: -ELBO', 'autoencoder: over a constant', 'untrained',
                      'random', 'constant']

    @staticmethod
    def learning(k):
        varying = variables(60_000, 'boosting', 'erass1', LONGEST)
        return constants_like(varying, 60_000, 'boosting', RATES, told=False) if k else varying
    def inputs(self, d): return np.c_[d['classic'], np.log1p(d['about'])]
    def nine(self, d): return np.nan_to_num((d['nine'] - self.median)/self.width).clip(-1e6, 1e6)

    @torch.no_grad()
    def __call__(self, d, seed=0):
        n = len(d['about'])
        net = torch.zeros(n, len(self.models))
        source = FileSource(Rows(dict(steps=d['steps'], summary=d['summary'], offsets=d['offsets']), ('steps',), 'offsets'), permute=False)
        for rows in torch.from_numpy(np.argsort(np.diff(d['offsets']), kind='stable')).split(2000):
            batch = source(rows, 0)
            net[rows] = torch.stack([m(batch)['score'] if i != 1 else odds(m(batch)['logits']) for i, m in enumerate(self.models)], 1)
        log_odds = self.trees.decision_function(self.inputs(d))
        odd = -self.forest.score_samples(self.nine(d))
        noise = np.random.default_rng(seed).normal(size=n)
        net = net.double().numpy()
        return np.c_[net[:,0], d['classic'], log_odds, odd, d['vae'], net[:,1], noise, np.zeros(n), net[:,2:]]

def prepare(folder, constants, fresh, vae=None, n=9400):
    "Everything that needs no classifier, as functions that give it."
    like = []
    def patterns():
        if not like: like.append(variables(PIECE, 'benchmark patterns', 'erass1', LONGEST, STEADY))
        return like[0]
    numbers = lambda k: np.arange(k*PIECE, (k + 1)*PIECE)
    curves = dict(constants=lambda k: constants_like(patterns(), numbers(k), 'benchmark', RATES, told=False),
                  test=lambda k: variables(n, f'benchmark {k}', 'erass1', LONGEST, one_class(k)),
                  fresh=lambda k: variables(PIECE, f'benchmark fresh {k}', 'erass1', LONGEST, one_class(0)))
    which = dict(constants=range(constants//PIECE), test=range(1, 7), fresh=range(fresh//PIECE))
    def part(name, k):
        d = kept(folder, f'{name}{k}', lambda: computed(curves[name](k)))
        if vae is None: return d
        if name == 'fresh': return d | dict(vae=np.zeros((len(d['about']), 2)))      # of which the classifier's are asked alone
        said = kept(folder, f'vae-{name}{k}', lambda: by_autoencoder(vae, curves[name](k)))
        return d | dict(vae=said['scores'])
    parts = {name: [lambda k=k, name=name: part(name, k) for k in which[name]] for name in curves}
    return parts, lambda k, m: oracle(variables(m, f'benchmark {k}', 'erass1', LONGEST, one_class(k)))

def without(folder, name):
    "A classifier that has not seen one class, trained as the others are."
    path = folder/f"without-{name.replace(' ', '-')}"
    if not (path/'model.safetensors').exists():
        lightcurve_recipe('variability', leave_out=name, constants=1000).fit(path, quiet=True, evaluate=False)
    return Run.load(path).model

def false_alarm_rows(limit, score, where):
    "Fresh constants by photons and visits: how many are called variable, over nominal."
    p = limit.false_alarm(score, where)
    rows = []
    for (name, (lo, hi)), (a, b) in ((x, y) for x in list(BY_COUNTS.items())[:3] for y in ((0, 7), (7, 25))):
        at = (where[:,0] >= lo) & (where[:,0] < hi) & (where[:,1] >= a) & (where[:,1] < b)
        m, k = int(at.sum()), int((p.p[at] <= ALARM).sum())
        low, high = (stats.beta.ppf(.025, k, m - k + 1) if k else 0., stats.beta.ppf(.975, k + 1, m - k))
        rows.append([name, f'{max(a, 1)} to {b - 1}', m, k/m/ALARM, low/ALARM, high/ALARM, int(p.outside[at].sum())])
    return rows

def main(run, vae=None, folder='variability', constants=1_000_000, fresh=640_000):
    torch.set_num_threads(1)
    folder, constants, fresh = Path(folder), int(constants), int(fresh)
    folder.mkdir(exist_ok=True)
    if run == 'prepare':
        for makes in prepare(folder, constants, fresh)[0].values():
            for make in makes: make()
        return
    vae = Run.load(vae).model
    parts, known = prepare(folder, constants, fresh, vae)
    scores = Scores(Run.load(run).model, vae, [without(folder, k) for k in CLASSES[1:]], folder)
    joined = [(scores(d, 1 + k), d['about']) for k, d in enumerate(make() for make in parts['constants'])]
    where, given = torch.from_numpy(np.concatenate([a for _, a in joined])), torch.from_numpy(np.concatenate([s for s, _ in joined]))
    limits = [Thresholds.of(v, where, cells(constants)) for v in given.T]
    found, photons = [], []
    for make in parts['test']:
        d = make()
        s, a = torch.from_numpy(scores(d, 99)), torch.from_numpy(d['about'])
        found.append(np.stack([(limit.false_alarm(v, a).p <= ALARM).numpy() for limit, v in zip(limits, s.T)], 1))
        photons.append(d['about'][:,0])
    report(scores.names, found, photons, limits, parts['fresh'], scores, constants, [known(k, 600) for k in range(1, 7)])

def unseen(found, names):
    "Each class by the classifier that has not seen it."
    rows = []
    for k, f in enumerate(found):
        whole, blind = f[:,0].astype(float), f[:,len(names) + k].astype(float)
        best = f[:,1:8].mean(0).max()
        rows.append([CLASSES[1 + k], 100*whole.mean(), 100*blind.mean(), 100*(whole - blind).mean(), 100*(whole - blind).std()/math.sqrt(len(f)),
                     100*best])
    return rows

def report(names, found, photons, limits, fresh, scores, constants, known):
    "Tables and bars."
    share = np.array([100*f.mean(0) for f in found])                                     # classes x scores
    mean = share.mean(0)
    best = 1 + int(mean[1:8].argmax())
    error = lambda a, b: 100*math.sqrt(sum((f[:,a].astype(float) - f[:,b]).var()/len(f) for f in found))/6
    rows = [[k, *share[:,j], mean[j], mean[0] - mean[j], error(0, j)] for j, k in enumerate(names)]
    best_possible = [100*k.mean() for k in known]
    less = math.sqrt(sum(p*(100 - p)/len(k) for p, k in zip(best_possible, known)))/6
    rows.append(['oracle', *best_possible, np.mean(best_possible), mean[0] - np.mean(best_possible), less])
    blind = unseen(found, names)
    whole, light = np.concatenate(found), np.concatenate(photons)
    kinds = np.repeat(np.arange(6), [len(f) for f in found])
    counts = []
    for name, (lo, hi) in list(BY_COUNTS.items())[:3]:
        at = (light >= lo) & (light < hi)
        for j in (0, best): counts.append([name, int(at.sum()), names[j], *(100*whole[at & (kinds == k),j].mean() for k in range(6))])
    got = [(scores(d)[:,0], d['about']) for d in (make() for make in fresh)]
    alarms = false_alarm_rows(limits[0], *(torch.from_numpy(np.concatenate(v)) for v in zip(*got)))
    ahead, sd = mean[0] - mean[best], error(0, best)
    worst = (share[:,0] - share[:,1:8].max(1)).min()
    off, least = max((max(r[3], 1/max(r[3], .01)) for r in alarms if r[2]), default=math.nan), min(r[2] for r in alarms)
    bars = [bar('mean over six classes above the best baseline', '>= 1 point and 3 sigma', f'{ahead:.2f} ± {sd:.2f} over {names[best]}', ahead >= 1 and ahead >= 3*sd),
            bar('worst class beside its best baseline', '>= -2 points', f'{worst:+.2f}', worst >= -2),
            bar('a class that was left out of the training, worst', '<= 5 points less', f'{max(r[3] for r in blind):.1f}', max(r[3] for r in blind) <= 5),
            bar('false alarms of fresh constants, in each stratum', 'within 1.5 of nominal', f'{off:.2f}', off <= 1.5),
            bar('fresh constants in each stratum', '>= 50,000', f'{least}', least >= 50_000)]
    text = __doc__.split('\n\n')[2].replace('\n', ' ')
    save('variability', 'Variable or constant', text, [
        (f'Found at {100*ALARM:g} % false alarms [%]; thresholds from {constants} constants in {len(limits[0].n)} cells', ['score', *CLASSES[1:], 'mean', 'classifier ahead by', 'paired error'], rows,
         f'{min(map(len, found))} sources of each class, {len(known[0])} for the oracle, whose error is not paired.'),
        ('A class that the classifier has not seen [%]', ['class', 'classifier', 'without that class', 'less by', 'paired error', 'best baseline'], blind),
        ('By photons [%]', ['photons', 'sources', 'score', *CLASSES[1:]], counts),
        ('False alarms of the classifier on fresh constants of the simulator', ['photons', 'visits', 'constants', 'over nominal', 'low', 'high', 'outside'], alarms,
         'low and high: 95 % interval of Clopper and Pearson; outside: where no false alarm is stated.')], bars)

if __name__ == '__main__': main(*sys.argv[1:])
