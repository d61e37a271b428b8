"""Crops by another program, fitted by physics alone: errors beside those of the reference posterior, coverage, flags, seconds.

    python benchmarks/crops.py [fields] [fields of the reference]

Fields are drawn from the ranges of `Crop`, sun 15 to 75 deg. Their spectra are computed by prosail 2.0.5 where it is installed
(it is no dependency), otherwise by our own exact route, which agrees with it to 1.4e-7; then 2 % noise. The same numbers are
read as forests, and forests as crops. Trivial rivals stand beside: the middle of the prior, and the estimate of another field."""
import sys, time
import numpy as np
import torch
from _table import bar, save
from physlearn.canopy.crop import Crop, Stand
from physlearn.canopy.reflectance import Reflectance
from physlearn.canopy.traits import fit_traits, with_products
from physlearn.chains import smc_posterior
from physlearn.params import normals, uniforms
from physlearn.posterior import Gaussian

def spectra(sim, theta, tts):
    "Reflectances (n,b) by prosail, or by the exact route, and who computed them."
    exact = Crop(route='bands', dtype=torch.float64)
    with torch.no_grad(): ours = exact(theta, tts)[:,0]
    try: import prosail
    except ImportError: return ours, 'the exact route'
    rows = [dict(zip(sim.space, t)) | dict(tts=s) for t, s in zip(theta.tolist(), tts.tolist())]
    full = [prosail.run_prosail(p['N'], p['cab'], 10., p['cbrown'], p['cw'], p['cm'], p['LAI'], p['ala'], .05, p['tts'], 0., 0., ant=0.,
                                prospect_version='D', typelidf=2, rsoil=p['rsoil'], psoil=p['psoil']) for p in rows]
    theirs = torch.tensor(np.stack(full)) @ sim.bands.W.T
    return theirs, f'prosail 2.0.5 (the exact route differs by {(ours - theirs).abs().max():.1e} at most)'

def fields(sim, n, key='crops'):
    "States, sun, and noisy reflectances as a table has them."
    theta, tts = sim.space.sample(n, key), 15 + 60*uniforms(n, 1, key, 'sun')[:,0]
    if isinstance(sim, Crop): x, who = spectra(sim, theta, tts)
    else:
        with torch.no_grad(): x, who = sim(theta, tts)[:,0].double(), 'INFORM'
    x = x*(1 + .02*normals(n, x.shape[1], key, 'noise').double())
    angles = dict(tts=tts.numpy(), tto=np.zeros(n), psi=np.zeros(n))
    return theta, Reflectance(x.float().numpy(), sim.bands.names, angles, {}), who

def main(n=500, few=100):
    torch.set_num_threads(1)
    n, few = int(n), int(few)
    crop, forest = Stand(canopy='crop').stand(), Stand().stand()
    theta, r, who = fields(crop, n)
    t = time.process_time()
    got = fit_traits(crop, r, level=.9)
    seconds = (time.process_time() - t)/n
    truth, prior = with_products(crop.space, theta), with_products(crop.space, crop.space.sample(4000, 'prior'))
    names = list(got.space)
    cond = {k: torch.from_numpy(v[:few]) for k, v in r.angles.items()}
    x = torch.from_numpy(r.x[:few]).double()[:,None]
    ref = with_products(crop.space, smc_posterior(crop, x, Gaussian(relative=.02), 1024, key=('reference',), **cond).theta)
    # the reference is of the first fields: the same fields count above and below
    size = ref.var(1).mean(0).sqrt()
    def ratio(v): return ((v[:few] - truth[:few]).square().mean(0).sqrt()/size).tolist()
    own = ((got.value - truth).square().mean(0).sqrt()/got.sd.square().mean(0).sqrt()).tolist()
    wider = (got.sd[:few].square().mean(0).sqrt()/size).tolist()       # stated over reference sd; takes the ratio to all fields
    whole = [a*b for a, b in zip(own, wider)]
    rows = [[f'fit by physics, {n} fields', *whole], [f'fit by physics, {few} fields', *ratio(got.value)], ['stated sd of the fit', *wider], ['mean of the reference', *ratio(ref.mean(1))],
            ['middle of the prior', *ratio(prior.mean(0).expand(n, -1))], ['the estimate of another field', *ratio(got.value.roll(1, 0))]]
    def held(g): return ((g.low <= truth) & (truth <= g.high)).double()
    cover = held(got)
    other = ((got.low.roll(1, 0) <= truth) & (truth <= got.high.roll(1, 0))).double().mean(0).tolist()
    quiet = torch.from_numpy(np.asarray(got.p) >= 1e-3)
    floor = fit_traits(crop, r[np.arange(few)], floor=.005, level=.9)
    wide = ((floor.low <= truth[:few]) & (truth[:few] <= floor.high)).double().mean(0).tolist()
    as_forest = fit_traits(forest, r[np.arange(few)], floor=.005)
    _, woods, _ = fields(forest, few, 'woods')
    as_crop = fit_traits(crop, woods, floor=.005)
    flags = [['crops read as crops', float((got.p < 1e-3).double().mean())], ['crops read as forests', float((as_forest.p < 1e-3).double().mean())],
             ['forests read as crops', float((as_crop.p < 1e-3).double().mean())]]
    lai, worst = names.index('LAI'), max(whole)
    held_lai = cover[quiet][:,lai].mean().item()
    spread = cover.mean(0)
    save('crops', 'Crops', f'{n} fields from the ranges of `Crop`, Sentinel-2A, 2 % noise in each band, sun 15 to 75 deg; spectra by {who}. Fitted with the noise that they have '
         f'(`--noise 0.02 --floor 0`). Reference posterior: 1,024 particles that take plain moves, {few} of the fields. A row is flagged where a residual as large as its own has a probability below 0.001.',
         [('RMSE over the root of the mean variance of the reference posterior', ['answer', *names], rows, f'Of {n} fields: RMSE over the stated sd, times stated over reference sd of the {few}; other rows are of the {few}, and may be 7 % off by chance.'),
          (f'RMSE over the stated standard deviation, {n} fields', ['answer', *names], [['fit by physics', *own]]),
          ('Share of 90 % intervals that hold the truth', ['intervals', *names], [[f'fit, {n} fields', *spread.tolist()], [f'fit with the usual floor of 0.005, {few} fields', *wide], ["another field's", *other]],
           'The floor stands for what a simulator does not describe. Of fields without such an error, and more so of the 40 without any noise in `data/cases`, it makes intervals wider than they need be: that is why all of them hold there.'),
          ('Share of rows that are flagged', ['rows', 'flagged'], flags, 'A bright, dense or half-bare forest and a field can have the same eleven reflectances within the noise: such a row cannot be flagged by its residual. Where more than 20 % of the rows of a table are flagged, the summary asks for the other canopy.')],
         [bar('RMSE of the mean over the sd of the reference posterior, largest of all traits', '<= 1.10', f'{worst:.3f}', worst <= 1.10),
          bar('90 % intervals, smallest and largest coverage of a trait', '0.87-0.93', f'{spread.min():.3f}, {spread.max():.3f}', spread.min() >= .87 and spread.max() <= .93),
          bar(f'unflagged intervals that hold the LAI, {int(quiet.sum())} fields', '>= 0.85', f'{held_lai:.3f}', held_lai >= .85),
          bar('crops read as forests that are flagged', '> 0.2: the summary asks', f'{flags[1][1]:.2f}', flags[1][1] > .2),
          bar('CPU of a row, 512 particles', '<= 100 ms', f'{1e3*seconds:.0f} ms', seconds <= .1)],
         n=n, few=few, names=names, seconds=seconds)

if __name__ == '__main__': main(*sys.argv[1:])
