"""How many draws does a posterior of a canopy need? Coverage of 90 % intervals of `fit_traits` by number of draws.

    python benchmarks/few_draws.py [stands]

Stands are drawn from the ranges of a forest and of a crop, sun 30 to 60 deg, 2 % noise. The rival that knows nothing takes the
5 and 95 % quantiles of the prior: they hold 90 % of the truths, and are as wide as the ranges."""
import sys, time
import torch
from _table import bar, save
from physlearn.canopy.crop import Crop
from physlearn.canopy.inform import Inform
from physlearn.canopy.reflectance import Reflectance
from physlearn.canopy.traits import fit_traits
from physlearn.params import normals, uniforms

DRAWS = 64, 128, 256, 512, 1024

def stands(sim, n):
    "True states (n,d), and their reflectances with 2 % noise."
    theta = sim.space.sample(n, 'few draws')
    angles = {k: torch.zeros(n).double() for k in sim.cond} | dict(tts=30 + 30*uniforms(n, 1, 'few draws', 'sun')[:,0])
    with torch.no_grad(): x = sim(theta, **angles)[:,0].double()
    x = x*(1 + .02*normals(*x.shape, 'few draws', 'noise').double())
    names = sim.bands.names
    return theta, Reflectance(x.float().numpy(), tuple(names), {k: v.numpy() for k, v in angles.items()}, {})

def main(n=200):
    n, rows, found = int(n), [], {}
    torch.set_num_threads(1)
    for name, sim in (('forest', Inform()), ('crop', Crop())):
        theta, r = stands(sim, n)
        d, prior = len(sim.space), sim.space.sample(4000, 'prior')
        low, high = prior.quantile(.05, 0), prior.quantile(.95, 0)
        known = ((low <= theta) & (theta <= high)).double().mean(1)
        rows.append([name, 'quantiles of the prior', float(known.mean()), float(known.std()/n**.5), '', 1., 0.])
        for draws in DRAWS:
            start = time.process_time()
            got = fit_traits(sim, r, .02, 0., draws, level=.9)
            seconds = time.process_time() - start
            inside = ((got.low[:,:d] <= theta) & (theta <= got.high[:,:d])).double()
            share = inside.mean(1)
            width = ((got.high[:,:d] - got.low[:,:d])/(high - low)).mean()
            found[name, draws] = float(share.mean())
            rows.append([name, f'{draws} draws', float(share.mean()), float(share.std()/n**.5), float(inside.mean(0).min()),
                         float(width), 1000*seconds/n])
    worst = min(found[k, draws] for k in ('forest', 'crop') for draws in DRAWS if draws >= 512)
    save('few_draws', 'Draws that a canopy needs',
         f'{n} stands of each canopy, 2 % noise, 90 % intervals of every parameter. Below 512 draws `fit_traits` says that they are few.',
         [('Coverage of 90 % intervals', ['canopy', 'intervals from', 'hold the truth [-]', 'error [-]', 'least of a parameter [-]',
                                          'width over the prior\'s [-]', 'CPU ms a stand'], rows)],
         [bar('512 draws and more, mean over parameters', '0.87 to 0.93', f'{worst:.3f} at least', worst >= .87)])

if __name__ == '__main__': main(*sys.argv[1:])
