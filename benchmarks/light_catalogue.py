"""A catalogue of 16,384 simulated light curves: are its probabilities true, its limits, its flags, and what does it cost?

    python benchmarks/light_catalogue.py [folder of a run of the recipe `variability`]

Without a run the score is the deviance of a constant rate, with thresholds from 200,000 constants in the visits of the catalogue. The share of
constants among sources down to a q-value is what the q-value promises not to exceed. Limits are tried directly: scatter of the stated rms is put onto sources
anew. A bad scan is planted by moving sources so that they share their visits within two minutes, and by raising the photons of one of these by a factor."""
import sys, time
from dataclasses import replace
import numpy as np
import torch
from _table import bar, save
from physlearn.lightcurve.anomaly import photons_of
from physlearn.lightcurve.variability import STATISTICS, Thresholds, about, constant_scores, over_curves
from physlearn.lightcurve.xray_scores import catalogue_of, q_values, scattered, scored, shared_scans
from physlearn.lightcurve.xray_simulate import simulate

def by_deviance(survey):
    "False alarms of the deviance."
    score = STATISTICS['deviance']
    table = Thresholds.of(*constant_scores(score, survey, 200_000, 1), (16, 4, 2))
    def variability(curves):
        found = table.false_alarm(over_curves(score, curves), over_curves(about, curves))
        return dict(score=over_curves(score, curves).numpy(), false_alarm=found.p.numpy(), false_alarm_high=found.high.numpy(), outside=found.outside.numpy())
    return variability

def planted(survey, columns, sources, factor, seed=0):
    "A survey in which these sources share their visits, and one of these is brighter by a factor; which one."
    g, day = np.random.default_rng(seed), 6.3e8
    a = {k: v.copy() for k, v in survey.arrays.items()}
    for i in sources:
        cut = slice(survey.offsets[i], survey.offsets[i + 1])
        a['time'][cut] += day + 120*g.random() - a['time'][cut][2]
        mean = a['counts'][cut][2]
        a['counts'][cut.start + 2] = mean + g.poisson((factor - 1)*np.maximum(mean, .5))
    return replace(survey, arrays=a)

def main(folder=None, n=16_384):
    torch.set_num_threads(1)
    made = simulate(n, 55)
    survey, truth = made.light_curves(), made.truth['class']
    survey = replace(survey, more=dict(file=survey.names, also=np.full(n, ''), ra=np.zeros(n), dec=np.zeros(n)))
    if folder:
        from physlearn.lightcurve.xray_scores import runs_of
        variability = runs_of(folder)[0]
    else: variability = by_deviance(survey)
    began = time.process_time()
    columns, doubts = scored(survey, variability)
    took = time.process_time() - began
    catalogue_of(survey, columns, doubts)
    p, q, still = columns['false_alarm'], q_values(columns['false_alarm']), truth == 'constant'
    lists = [[v, int((q <= v).sum()), 100*still[q <= v].mean(), 100*(q[~still] <= v).mean()] for v in (.01, .05, .1, .2)]
    rms = columns['smallest_rms']
    told = np.random.default_rng(1).choice(np.flatnonzero(np.isfinite(rms) & (rms < 2.9) & (rms > .03)), 6000)
    found = np.nan_to_num(variability(scattered(survey, told, rms[told], 9))['false_alarm'], nan=1.) <= .0013
    photons = photons_of(survey)[told]
    bins = [(0, 100), (100, 300), (300, 1000), (1000, np.inf)]
    limits = [[f'{lo:g} to {hi:g}', int(at.sum()), float(np.median(rms[told][at])), 100*found[at].mean(), 100*np.sqrt(.25/at.sum())]
              for lo, hi in bins for at in [(photons >= lo) & (photons < hi)]]
    chosen = np.flatnonzero(still & (columns['photons'] > 200) & (survey.lengths > 4))
    scans = []
    for size in (5, 10, 20):
        hit, others, tries = 0, 0, 20
        for t in range(tries):
            some = np.random.default_rng(t).choice(chosen, size, replace=False)
            bad = planted(survey, columns, some, 3., t)
            few = np.union1d(some, np.flatnonzero(p <= .0013))
            small = bad.some(few)
            alarm = np.nan_to_num(variability(small)['false_alarm'], nan=1.) <= .0013
            flag = shared_scans(small, alarm) > 0
            ours = np.isin(few, some)
            hit, others = hit + flag[ours & alarm].mean(), others + flag[~ours].sum()
        scans.append([size, 100*hit/tries, others/tries, int((p <= .0013).sum())])
    worst = max(abs(r[3] - 50) for r in limits)
    save('light_catalogue', 'A catalogue of light curves', ' '.join(__doc__.split('\n\n')[2].split()) + f" The score: {'the classifier of a run' if folder else 'deviance'}.",
         [('False alarms in a list down to a q-value', ['q-value', 'sources', 'constants among them [%]', 'found of variable ones [%]'], lists),
          ('Smallest rms that is found with even chance, tried directly', ['photons', 'sources', 'median limit [-]', 'found [%]', 'error'], limits),
          ('A bad scan: one visit three times too bright in sources that share it', ['sources', 'flagged of their alarms [%]', 'others flagged', 'alarms of others'], scans)],
         [bar('constants among sources with q <= 0.05', '<= 5 %', f'{lists[1][2]:.1f} %', lists[1][2] <= 5),
          bar('limits found with 50 %, every stratum of photons', '40 to 60 %', f'{50 - worst:.0f} to {50 + worst:.0f} %', worst <= 10),
          bar('scans flagged by chance, no bad one planted', '0', str(int((columns['shared_scan'] > 0).sum())), not (columns['shared_scan'] > 0).any()),
          bar('CPU of 16,384 sources, limits and flags included', '<= 60 s', f'{took:.0f} s', took <= 60)])

if __name__ == '__main__': main(*sys.argv[1:2])
