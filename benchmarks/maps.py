"""Maps of traits: what a head that knows a posterior's moments costs and how near to draws it is.

    python benchmarks/maps.py [folder of a canopy run] [pixels to learn from] [sides of the images]

Without a run one is trained on simulated forests, 14 x 51,200 spectra seen by Sentinel-2A. Accuracy is that on 10,000
simulated pixels with all their bands, as a tile has them, and on 10,000 of which half lack bands, against two sets of 1,024
evenly spread draws of the same posterior each; the mean product of the differences from the two is the squared error of the
answer alone. Rivals stand beside: 512 random draws, the prior, and the head's answers for other pixels. Images are forests at
one sun angle with 2 % noise, as uint16, and are mapped by `write_map` in a process of their own, whose largest memory is
read."""
import json, resource, subprocess, sys, tempfile
from pathlib import Path
import numpy as np
import torch
from _table import bar, save
from physlearn.calibration import covered
from physlearn.canopy.moments import errors_of, exact_moments, fast_draws, moments
from physlearn.canopy.reflectance import BANDS
from physlearn.canopy.retrieve import head_of, write_map
from physlearn.canopy.train_physvae import canopy_recipe
from physlearn.canopy.traits import quantities, with_products
from physlearn.params import normals
from physlearn.runs import Run

def trained(folder):
    recipe = canopy_recipe('default', epochs=14, epochs_pretrain=14, pretrain_samples=51_200, gpus=0, threads=1)
    return recipe.fit(folder/'run', quiet=True, evaluate=False)

def image(path, sim, side, tile=256, width=None, filled=None):
    "Forests at one sun angle: tile x tile different pixels, repeated; data in the first `filled` rows and columns. Pixels with data."
    import rasterio
    n, width = tile*tile, width or side
    with torch.no_grad():
        x = torch.cat([sim(t, **{k: torch.full((len(t),), v) for k, v in zip(sim.cond, (40., 0., 0.))})[:,0]
                       for t in sim.space.sample(n, 'map').split(4096)])
    x = x*(1 + .02*normals(n, x.shape[1], 'map', 'noise'))
    v = (1e4*x).round().clamp(1, 15_000).numpy().astype('uint16').T.reshape(-1, tile, tile)
    how = dict(driver='GTiff', width=width, height=side, count=len(v), dtype='uint16', nodata=0, tiled=True, blockxsize=tile,
               blockysize=tile, crs='EPSG:32633', transform=rasterio.Affine(10, 0, 6e5, 0, -10, 5.3e6))
    down, across = min(filled or side, side), min(filled or width, width)
    with rasterio.open(path, 'w', **how) as f:
        for i in range(0, down, tile):
            for j in range(0, across, tile):
                h, w = min(tile, down - i), min(tile, across - j)
                f.write(np.ascontiguousarray(v[:,:h,:w]), window=rasterio.windows.Window(j, i, w, h))
        f.descriptions = BANDS
    return down*across

def mapped(run, path):
    "Pixels per CPU second, and the largest memory of the process [MB]."
    words = [sys.executable, __file__, '--map', str(run.path), str(path), f'{path}.traits.tif']
    return json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()[-1])

def map_alone(folder, path, out):
    torch.set_num_threads(1)
    found = write_map(Run.load(folder), path, out, scale=10_000., offset=0., tts=40., tto=0., psi=0., say=lambda *a: None)
    print(json.dumps(found | dict(memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024)))

def errors(got, draws):
    "Of mean [sd] and of sd [-]: the largest rms of the traits, and that of all of them together."
    parts = errors_of(got, *draws).values()
    return [f(v).item() for v in parts for f in (torch.max, lambda v: v.square().mean().sqrt())]

def of_random_draws(run, h, i):
    "Mean and sd of 512 random draws for some pixels, from their features."
    e = normals(len(h)*512, len(run.sim.space), 'random', i).view(len(h), 512, -1)
    x = with_products(run.sim.space, run.sim.space.phi(fast_draws(run.model.physics, e, h).double()))
    return dict(mean=x.mean(1), sd=x.std(1))

def compared(run, head, batch):
    "Rows of the table for some pixels, and the share of truths that intervals of draws hold."
    draws = [exact_moments(run.model, batch, 1024, (.9,), torch.Generator().manual_seed(i)) for i in (1, 2)]
    got, n = moments(run.model, head, batch, .9), len(batch['x'])
    h = run.model.encoder(run.model.norm(batch)).split(256)
    parts = [of_random_draws(run, v, i) for i, v in enumerate(h)]
    prior = with_products(run.sim.space, run.sim.space.sample(4000, 'prior'))
    other = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    rivals = {'head': got, '512 random draws': {k: torch.cat([p[k] for p in parts]) for k in parts[0]},
              'head, another pixel': {k: got[k][other] for k in ('mean', 'sd')},
              'prior': dict(mean=prior.mean(0).expand(n, -1), sd=prior.std(0).expand(n, -1))}
    truth, ends = with_products(run.sim.space, batch['theta']), draws[0][2][:,0]
    held = [covered(low.double(), high.double(), truth).tolist() for low, high in ((got['low'], got['high']), ends.unbind(1))]
    return {k: errors(v, draws) for k, v in rivals.items()}, held

def main(folder=None, rows=400_000, *sides):
    torch.set_num_threads(1)
    rows, sides = int(rows), [int(v) for v in sides] or [1024, 2048, 3072]
    with tempfile.TemporaryDirectory() as d, torch.no_grad():
        d = Path(d)
        run = Run.load(folder) if folder else trained(d)
        with torch.enable_grad(): head, check = head_of(run, rows, say=lambda *a: None)
        batch = run.recipe.simulated(run.sim).source(torch.arange(10_000), 'benchmark', 0)
        some = {k: v for k, v in batch.items() if k != 'mask'}
        whole, held = compared(run, head, some | dict(mask=torch.ones(len(batch['x']), batch['x'].shape[2])))
        gaps, _ = compared(run, head, run.recipe.simulated(run.sim)(torch.arange(10_000), 'benchmark', 0))
        speeds = []
        for n in sides:
            image(d/f'{n}.tif', run.sim, n)
            speeds.append(mapped(run, d/f'{n}.tif'))
            (d/f'{n}.tif').unlink()
            (d/f'{n}.tif.traits.tif').unlink()
    (m, m_all, s, s_all), memory = whole['head'], [v['memory'] for v in speeds]
    names, columns = list(quantities(run.sim.space)), ['who', 'mean, largest [sd]', 'mean, all [sd]', 'sd, largest [-]', 'sd, all [-]']
    fast = sum(v['pixels'] for v in speeds)/sum(v['seconds'] for v in speeds)
    save('maps', 'Maps by a head that knows the moments',
         f"Head taught from {check['rows']:,} pixels in {check['seconds']:.0f} s of CPU; quantities {', '.join(names)}.",
         [('Rms of 10,000 pixels with all bands', columns, [[k, *v] for k, v in whole.items()]),
          ('Rms of 10,000 pixels, of half of which a tenth of the bands is missing', columns, [[k, *v] for k, v in gaps.items()]),
          ('Share of truths that 90 % intervals hold, all bands', ['who', *names],
           [[k, *v] for k, v in zip(('head', '1,024 draws'), held)]),
          ('Images', ['side', 'pixels per CPU second', 'memory MB', 'suspect %', 'from draws %'],
           [[n, v['pixels']/v['seconds'], v['memory'], 100*v['suspect']/v['pixels'], 100*v['drawn']/v['pixels']]
            for n, v in zip(sides, speeds)])],
         [bar('pixels per second and core', '>= 30,000', f'{fast:,.0f}', fast >= 30_000),
          bar('mean, rms of all traits', '<= 0.02 sd', f'{m_all:.3f}', m_all <= .02),
          bar('mean, largest rms of a trait', '<= 0.02 sd', f'{m:.3f}', m <= .02),
          bar('sd, rms of all traits', '<= 3 %', f'{100*s_all:.1f} %', s_all <= .03),
          bar('sd, largest rms of a trait', '<= 3 %', f'{100*s:.1f} %', s <= .03),
          bar('90 % intervals, lowest and highest trait', '0.88 .. 0.92', f'{min(held[0]):.3f} .. {max(held[0]):.3f}',
              .88 <= min(held[0]) and max(held[0]) <= .92),
          bar(f'memory, {max(sides)} x {max(sides)}', '<= 1.5 GB', f'{max(memory)/1024:.2f} GB', max(memory) <= 1536)])

if __name__ == '__main__': map_alone(*sys.argv[2:]) if sys.argv[1:2] == ['--map'] else main(*sys.argv[1:])
