"""Samplers of physlearn.diffusion with an exact denoiser: errors of mean and covariance against the number of steps.

The data are a mixture of three Gaussians in two dimensions, the denoiser is its posterior mean, everything is float64. Whatever is wrong with the draws is
the sampler's own discretisation, or chance: 200,000 direct draws stand beside. Rows that `--only` leaves out are kept from the last run.
"""
import argparse, json, time
from dataclasses import dataclass, field
import torch
from _table import HERE, bar, save
from physlearn.diffusion import ExactMixture, Karras, RowNoise, Schedule, Straight, ddim, ddpm, dpm_solver, heun
torch.set_num_threads(1)

MIXTURE = ExactMixture([.5, .3, .2], [[-1.2, 0.], [1., 1.], [1., -1.2]],
                       [[[.3, .1], [.1, .1]], [[.05, 0.], [0., .2]], [[.2, -.08], [-.08, .06]]])
LINEAR, COSINE, KARRAS, STRAIGHT = Schedule(), Schedule('cosine'), Karras(), Straight()
CHUNK = 5000       # rows at a time: a row's noise does not depend on them

@dataclass
class Case:
    "One row of the table."
    name: str
    sampler: object
    path: object
    steps: int
    prototype: str = ''                          # covariance error of an earlier prototype with another mixture [%]
    options: dict = field(default_factory=dict)  # of the sampler
    grid: dict = field(default_factory=dict)     # of the levels
    untrained: bool = False
    @property
    def label(self): return f'{self.name}, {self.steps} steps'

CASES = [*[Case('DDPM linear', ddpm, LINEAR, n, p) for n, p in ((50, ''), (1000, '0.5'))],
         *[Case('DDIM linear', ddim, LINEAR, n, p) for n, p in ((20, ''), (50, '3.5'), (200, '1.1'), (400, ''), (1000, '0.35'))],
         *[Case('DDIM cosine', ddim, COSINE, n, p) for n, p in ((50, '2.9'), (200, '0.9'))],
         Case('DDIM linear, eta 1', ddim, LINEAR, 50, '5.2', dict(eta=1.)),
         *[Case('DPM-Solver++(2M) linear', dpm_solver, LINEAR, n, p) for n, p in ((10, ''), (20, '1.6'), (40, '0.35'))],
         *[Case('DPM-Solver++(2M) linear, power 2', dpm_solver, LINEAR, n, p, grid=dict(power=2))
           for n, p in ((10, ''), (20, '1.6'), (40, '0.35'))],
         *[Case('DPM-Solver++(2M) Karras', dpm_solver, KARRAS, n) for n in (20, 40, 60)],
         *[Case('Heun linear', heun, LINEAR, n) for n in (5, 10, 20)],
         *[Case('Heun Karras', heun, KARRAS, n, p) for n, p in ((18, '4.7'), (32, '1.4'), (64, '0.4'))],
         *[Case('Euler straight', ddim, STRAIGHT, n, p) for n, p in ((20, ''), (200, '0.8'))],
         *[Case('Heun straight', heun, STRAIGHT, n, p) for n, p in ((5, ''), (10, '0.96'), (20, '0.4'))],
         Case('untrained (answers 0), straight', ddim, STRAIGHT, 20, untrained=True)]
ASKED = 'DDPM linear, 1000', 'DDIM linear, 400', 'Heun Karras, 64', 'DPM-Solver++(2M) linear, 40', 'Heun straight, 20'

def errors(x):
    "Of the mean in units of the deviation (larger axis), of the covariance relative in Frobenius' norm."
    off = (x.mean(0) - MIXTURE.mean)/MIXTURE.cov.diagonal().sqrt()
    cov = (torch.cov(x.T) - MIXTURE.cov).norm()/MIXTURE.cov.norm()
    return dict(mean=off.abs().max().item(), cov=cov.item())

@torch.no_grad()
def measure(case, rows):
    "Errors, calls of the denoiser for each draw, CPU seconds for 1000 draws."
    exact, calls = MIXTURE.denoiser(case.path), 0
    def denoiser(x, t):
        nonlocal calls
        calls += len(x)
        return torch.zeros_like(x) if case.untrained else exact(x, t)
    levels, begin = case.path.levels(case.steps, **case.grid), time.process_time()
    parts = [case.sampler(denoiser, levels, RowNoise(r, (2,), 'benchmark samplers', dtype=torch.float64), **case.options)
             for r in torch.arange(rows).split(CHUNK)]
    seconds = time.process_time() - begin
    return errors(torch.cat(parts)) | dict(calls=calls//rows, cpu_s_per_1000=1000*seconds/rows, rows=rows)

def direct(rows, repeats=20):
    "Means of the errors of direct draws, and the largest."
    found = [errors(MIXTURE.draw(rows, 'benchmark samplers', i)) for i in range(repeats)]
    mean = {k: sum(f[k] for f in found)/repeats for k in ('mean', 'cov')}
    return mean | {f'largest_{k}': max(f[k] for f in found) for k in mean}

def report(found, floor, rows):
    "Table and bars."
    head = ['sampler', 'steps', 'calls', 'mean [σ]', 'covariance [%]', 'prototype [%]', 'CPU ms per draw']
    lines = [['direct draws (mean of 20 sets)', '', '', floor['mean'], 100*floor['cov'], '0.4 (100,000)', '']]
    for case in CASES:
        r = found[case.label]
        lines.append([case.name, case.steps, r['calls'], r['mean'], 100*r['cov'], case.prototype, r['cpu_s_per_1000']])
    bars = []
    for name in ASKED:
        r = found[f'{name} steps']
        bars += [bar(f'{name} steps: mean', '<= 0.01 σ', f"{r['mean']:.4f} σ", r['mean'] <= .01),
                 bar(f'{name} steps: covariance', '<= 1 %', f"{100*r['cov']:.2f} %", r['cov'] <= .01)]
    text = (f'Three Gaussians in two dimensions with their exact denoiser, float64, {rows:,} draws. Errors are those of the mean, in units of the deviation '
            f'on the worse axis, and of the covariance, relative in Frobenius\' norm; of direct draws the same number has a covariance error of {100*floor["cov"]:.2f} % '
            f'({100*floor["largest_cov"]:.2f} % at most in 20 sets), so that smaller figures are chance. Steps of the discrete path are denser towards the data (power 1.5, where nothing else is said). '
            f'All rows start from the same noise. Prototype figures were measured with another mixture, and 100,000 draws.')
    save('samplers', 'Diffusion samplers', text, [('Error against steps', head, lines)], bars, found=found, floor=floor)

def main():
    a = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    a.add_argument('--rows', type=int, default=200_000, help='draws')
    a.add_argument('--only', default='', help='measure only rows whose name contains this')
    a = a.parse_args()
    last, part = HERE/'results'/'samplers.json', HERE/'results'/'samplers.part'
    found = json.loads(last.read_text())['raw']['found'] if last.exists() else {}
    if part.exists(): found |= json.loads(part.read_text())
    for case in CASES:
        if a.only not in case.label: continue
        found[case.label] = measure(case, a.rows)
        print(case.label, {k: round(v, 5) for k, v in found[case.label].items()}, flush=True)
        part.write_text(json.dumps(found))
    if missing := [c.label for c in CASES if c.label not in found]: raise SystemExit(f"not measured yet: {', '.join(missing)}")
    report(found, direct(a.rows), a.rows)
    part.unlink(missing_ok=True)

if __name__ == '__main__': main()
