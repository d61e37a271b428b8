"""Maps of traits: what a head that knows a posterior's moments costs and how near to draws it is.

    python benchmarks/maps.py [folder of a canopy run] [pixels to learn from] [side of the large image]

Without a run one is trained on simulated forests, 14 x 51,200 spectra seen by Sentinel-2A. Accuracy is that on 10,000
simulated pixels against 1,024 evenly spread draws of the same posterior. Rivals stand beside: 512 random draws of it, the
prior, and the head's answers for other pixels. Images are forests at one sun angle with 2 % noise, as uint16, and are mapped
by `write_map` in a process of their own, whose largest memory is read."""
import json, resource, subprocess, sys, tempfile, time
from pathlib import Path
import torch
from _table import bar, save
from physlearn.canopy.moments import exact_moments, moments
from physlearn.canopy.reflectance import BANDS
from physlearn.canopy.retrieve import head_of, write_map
from physlearn.canopy.train_physvae import canopy_recipe
from physlearn.canopy.traits import quantities, with_products
from physlearn.params import normals
from physlearn.runs import Run

def trained(folder):
    recipe = canopy_recipe('default', epochs=14, epochs_pretrain=14, pretrain_samples=51_200, gpus=0, threads=1)
    return recipe.fit(folder/'run', quiet=True, evaluate=False)

def image(path, sim, side, tile=256):
    "Forests at one sun angle: tile x tile different pixels, repeated."
    import rasterio
    n = tile*tile
    with torch.no_grad():
        x = torch.cat([sim(t, **{k: torch.full((len(t),), v) for k, v in zip(sim.cond, (40., 0., 0.))})[:,0]
                       for t in sim.space.sample(n, 'map').split(4096)])
    x = x*(1 + .02*normals(n, x.shape[1], 'map', 'noise'))
    v = (1e4*x).round().clamp(1, 15_000).numpy().astype('uint16').T.reshape(-1, tile, tile)
    how = dict(driver='GTiff', width=side, height=side, count=len(v), dtype='uint16', nodata=0, tiled=True, blockxsize=tile,
               blockysize=tile, crs='EPSG:32633', transform=rasterio.Affine(10, 0, 6e5, 0, -10, 5.3e6))
    with rasterio.open(path, 'w', **how) as f:
        for i in range(0, side, tile):
            for j in range(0, side, tile):
                h, w = min(tile, side - i), min(tile, side - j)
                f.write(v[:,:h,:w], window=rasterio.windows.Window(j, i, w, h))
        f.descriptions = BANDS

def mapped(run, path):
    "Pixels per CPU second, and the largest memory of the process [MB]."
    words = [sys.executable, __file__, '--map', str(run.path), str(path), f'{path}.traits.tif']
    return json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()[-1])

def map_alone(folder, path, out):
    torch.set_num_threads(1)
    found = write_map(Run.load(folder), path, out, scale=10_000., offset=0., tts=40., tto=0., psi=0., say=lambda *a: None)
    print(json.dumps(found | dict(memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024)))

def rms(mean, sd, right_mean, right_sd):
    "Largest of the traits: error of the mean [sd], of the sd [-]."
    errors = (mean - right_mean)/right_sd, sd/right_sd - 1
    return [v.square().mean(0).sqrt().max().item() for v in errors]

def of_draws(run, h, i):
    "Mean and sd (B,2,k) of 512 random draws for some pixels, from their features."
    e = normals(len(h)*512, len(run.sim.space), 'random', i).view(len(h), 512, -1)
    x = with_products(run.sim.space, run.sim.space.phi(run.model.physics.draw(e, h)[0].double()))
    return torch.stack([x.mean(1), x.std(1)], 1)

def main(folder=None, rows=1_000_000, side=3072):
    torch.set_num_threads(1)
    rows, side = int(rows), int(side)
    with tempfile.TemporaryDirectory() as d:
        d = Path(d)
        run = Run.load(folder) if folder else trained(d)
        t = time.process_time()
        head, check = head_of(run, rows, say=lambda *a: None)
        taught = time.process_time() - t
        batch = run.recipe.simulated(run.sim).source(torch.arange(10_000), 'benchmark', 0)
        with torch.no_grad():
            mean, sd, _ = exact_moments(run.model, batch, 1024, levels=(.9,))
            got = moments(run.model, head, batch, .9)
            h = run.model.encoder(run.model.norm(batch))
            some = torch.cat([of_draws(run, v, i) for i, v in enumerate(h.split(256))])
        prior = with_products(run.sim.space, run.sim.space.sample(4000, 'prior'))
        other = torch.randperm(10_000, generator=torch.Generator().manual_seed(0))
        flat = lambda v: v.expand(len(mean), -1)
        rows_of = {'head': rms(got['mean'], got['sd'], mean, sd), '512 random draws': rms(some[:,0], some[:,1], mean, sd),
                   'head, another pixel': rms(got['mean'][other], got['sd'][other], mean, sd),
                   'prior': rms(flat(prior.mean(0)), flat(prior.std(0)), mean, sd)}
        held = list(check['covered']['0.9'].values())
        speeds = []
        for n in (1024, side):
            image(d/f'{n}.tif', run.sim, n)
            speeds.append(mapped(run, d/f'{n}.tif'))
            (d/f'{n}.tif').unlink()
    m, s = rows_of['head']
    fast, memory = speeds[-1]['pixels']/speeds[-1]['seconds'], max(v['memory'] for v in speeds)
    save('maps', 'Maps by a head that knows the moments',
         f"Head taught from {rows:,} pixels in {taught:.0f} s of CPU; quantities {', '.join(quantities(run.sim.space))}.",
         [('Largest rms of the traits, 10,000 pixels', ['who', 'mean [sd]', 'sd [-]'], [[k, *v] for k, v in rows_of.items()]),
          ('Images', ['side', 'pixels per CPU second', 'memory MB', 'suspect %', 'from draws %'],
           [[n, v['pixels']/v['seconds'], v['memory'], 100*v['suspect']/v['pixels'], 100*v['drawn']/v['pixels']]
            for n, v in zip((1024, side), speeds)])],
         [bar('pixels per second and core', '>= 30,000', f'{fast:,.0f}', fast >= 30_000),
          bar('mean, largest rms of the traits', '<= 0.02 sd', f'{m:.3f}', m <= .02),
          bar('sd, largest rms of the traits', '<= 3 %', f'{100*s:.1f} %', s <= .03),
          bar('90 % intervals, 10,000 truths, lowest and highest trait', '0.88 .. 0.92', f'{min(held):.3f} .. {max(held):.3f}',
              .88 <= min(held) and max(held) <= .92),
          bar(f'memory, {side} x {side}', '<= 1.5 GB', f'{memory/1024:.2f} GB', memory <= 1536)])

if __name__ == '__main__': map_alone(*sys.argv[2:]) if sys.argv[1:2] == ['--map'] else main(*sys.argv[1:])
