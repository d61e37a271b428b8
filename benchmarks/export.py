"""Does an exported network say what torch says? Every kind of network of the five instruments as ONNX and by torch.export.

    python benchmarks/export.py

Weights are those with which a training begins, moved a little: a last layer of zeros would agree with everything. Inputs are simulated
spectra, canopies, light curves, events and tiles, in batches of 1, 3 and 17; where an axis has any length, of three lengths. The
difference is the largest of all numbers of all batches, over the largest number of that output; of parameters, over their range. Times are CPU times of one
thread, batch 17, the median of several runs."""
import sys, tempfile, time, warnings
from dataclasses import replace
from pathlib import Path
import numpy as np
import torch
from torch import nn
from _table import bar, save
from physlearn.contract import moved_a_little
from physlearn.data import FileSource
from physlearn.export import told_by, write_onnx, write_pt2
from physlearn.instruments import find
from physlearn.params import uniforms

BATCHES = 1, 3, 17
TINY = dict(spectra=dict(num_points=96), canopy=dict(width=16), lightcurve=dict(hidden=8), icecube=dict(hidden=12, depth=1, heads=2, events=60),
            sar=dict(width=4))

def recipe_of(name, preset, tiny, **options):
    "A recipe of an instrument, small for a test."
    recipe, given = find(name).presets[preset], dict(gpus=0) | options
    if tiny: given = {k: v for k, v in TINY[name].items() if hasattr(recipe, k)} | given
    recipe = replace(recipe, **given)
    recipe.home = None
    return recipe

def spectra(tiny):
    "Every size of the encoder; two values known in some rows."
    for size in ('xs', 's') if tiny else ('xs', 's', 'm', 'l'):
        recipe = recipe_of('spectra', 'quick', tiny, encoder_variant=size)
        sim = recipe.simulator()
        def rows(n, length=None):
            theta, known = sim.space.sample(n, 'export'), torch.zeros(n, len(sim.space))
            known[::2,sim.space.index('P')] = 1.
            return dict(signal=sim(theta).float(), value=torch.where(known > 0, theta, 0.), known=known)
        yield f'spectra, encoder {size}', recipe.model(sim), rows, (None,)

def canopy(tiny):
    "Every posterior; a band missing in some rows."
    for preset in ('default', 'quick', 'guide', 'physics_only'):
        recipe = recipe_of('canopy', preset, tiny)
        sim = recipe.simulator()
        def rows(n, length=3):
            cond = {k: v.double() for k, v in sim.cond.columns(sim.cond.sample(n, 'export')).items()}
            x = sim(sim.space.sample(n, 'export'), **cond)[:,0].float()
            measured = torch.ones_like(x)
            measured[::2,4] = 0
            draws = torch.randn(n, length, len(sim.space), generator=torch.Generator().manual_seed(n))
            return dict(reflectance=torch.where(measured > 0, x, torch.nan), measured=measured, draws=draws) | cond
        yield f'canopy, preset {preset} (posterior {recipe.posterior})', recipe.model(sim), rows, (1, 3, 64)

def lightcurve(tiny):
    "Three networks; curves of several lengths in one batch."
    from physlearn.lightcurve.classifier import steps_of, summary_of
    from physlearn.lightcurve.train_lightcurve import rows_of
    from physlearn.lightcurve.variability import batch_of
    from physlearn.lightcurve.xray_simulate import simulate
    curves = simulate(60, 3).light_curves()
    by_length = np.argsort(curves.lengths, kind='stable')
    for preset in ('quick', 'guide', 'variability'):
        recipe = recipe_of('lightcurve', preset, tiny)
        model = recipe.model(None)
        def rows(n, length):
            at = by_length[:n] if length == 'short' else by_length[-n:]
            source = FileSource(rows_of(curves.some(at)), permute=False)
            batch = source(torch.arange(n), 0)
            if recipe.network != 'classifier': return {k: batch[k] for k in model.for_export()[1]}
            few = batch_of(curves, at)
            return dict(steps=steps_of(few), summary=summary_of(few), mask=few['mask'])
        yield f'light curves, {recipe.network}', model, rows, ('short', 'long')

def icecube(tiny):
    "Hits, and every backbone; every path for the smallest of them."
    from physlearn.icecube.event_simulate import simulate
    from physlearn.icecube.hits import hits_batch
    recipe = recipe_of('icecube', 'hits', tiny)
    events = simulate(20, 5)
    def pairs(n, length=None):
        pairs = hits_batch(events)['pairs']
        at = torch.arange(0, len(pairs['light']), max(1, len(pairs['light'])//n))[:n]
        return {k: pairs[k][at] for k in ('features', 'light', 'shape', 'scale')} | dict(level=.1*torch.arange(n).float())
    yield 'events, hits: light and delays', recipe.model(None), pairs, (None,)
    kinds = [(k, 'ddpm') for k in ('dit', 'cnn', 'mlp', 'hybrid', 'resnet')] + [('cnn', 'karras'), ('cnn', 'straight')]
    for preset, path in kinds:
        recipe = recipe_of('icecube', preset, tiny, path=path)
        model, level = recipe.model(None), dict(ddpm=(0, 999), karras=(.01, 20.), straight=(0., 1.))[path]
        def rows(n, length=None):
            t = torch.linspace(*map(float, level), n)
            u = uniforms(n, 2*len(model.geometry), 'codes').float().view(n, 2, -1)
            label = torch.from_numpy(events.label[np.arange(n) % len(events)]).float()
            return dict(x=8*u - 4, t=t, label=label)
        yield f'events, a step of {preset} ({path})', model, rows, (None,)

class Tokens(nn.Module):
    "A stand-in for TerraMind's encoder: a token of a patch, of radar and four bands."
    def __init__(self):
        super().__init__()
        self.qkv, self.proj = nn.Linear(6, 8), nn.Linear(8, 8)
    def forward(self, x):
        small = torch.cat([nn.functional.avg_pool2d(v, 16) for v in x.values()], 1)
        return [self.proj(self.qkv(small.flatten(2).transpose(1, 2)).relu())]

def sar(tiny):
    "The network, a flow, adapters in it, and adapters in an encoder of others."
    from physlearn.sar.adapters import OnEncoder, adapt, merged
    from physlearn.sar.synthetic import synthetic
    from physlearn.sar.train_grounding import TileRows
    from physlearn.sar.tiles import decode_s1
    def tiles(model, sizes):
        def rows(n, length):
            b = TileRows(synthetic(n, size=length), length, moves=False, seed=1)(torch.arange(n), 0)
            out = dict(s1=decode_s1(b['s1']), given=b['given'], hole=b['hole'])
            if model.flow: out['noise'] = torch.randn(n, 4, length, length, generator=torch.Generator().manual_seed(n))
            return out
        return model, rows, sizes
    make = lambda **kw: recipe_of('sar', 'quick' if tiny else 'default', tiny, **kw).model(None)
    yield 'tiles, direct', *tiles(make(), (32, 64, 96))
    yield 'tiles, flow (a whole picture)', *tiles(make(network='flow', timesteps=2 if tiny else 10), (32, 64))
    adapted = adapt(make(), 4)
    yield 'tiles, direct with adapters', *tiles(adapted, (32, 64, 96))
    yield 'tiles, adapters merged', *tiles(merged(moved_a_little(adapted)), (32, 64))
    yield 'tiles, adapters in an encoder of others', *tiles(OnEncoder(Tokens(), rank=2, width=4 if tiny else 24), (32, 64))

def cases(tiny=False, only=None):
    "Name, model, function (rows, length) -> inputs, and lengths, of every kind of network."
    for k, family in dict(spectra=spectra, canopy=canopy, lightcurve=lightcurve, icecube=icecube, sar=sar).items():
        if only in (None, k): yield from family(tiny)

def tuple_of(out): return out if isinstance(out, tuple) else (out,)

def far(ours, theirs, space=None):
    "Largest difference over the largest number, of all outputs; of parameters, over their ranges."
    def scale(a): return a.abs().max().clamp_min(1e-30) if space is None else space.hi - space.lo
    return max(((a - torch.as_tensor(b)).abs()/scale(a)).max().item() for a, b in zip(ours, theirs, strict=True))

def seconds(call, least=.2):
    "CPU seconds of a call, the median of at least five."
    took, begun = [], time.process_time()
    while len(took) < 5 or time.process_time() - begun < least:
        start = time.process_time()
        call()
        took.append(time.process_time() - start)
    return float(np.median(took))

@torch.no_grad()
def compare(model, rows, lengths, folder, timed=True, batches=BATCHES, pt2=True):
    "What exported files say beside torch: dict of figures."
    import onnxruntime
    module, inputs, outputs = moved_a_little(model).for_export()
    outputs, options = [outputs] if isinstance(outputs, str) else list(outputs), onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    path, program, refused = Path(folder)/'network.onnx', None, ''
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        said = write_onnx(path, module, inputs, outputs)
        if pt2:
            try:
                write_pt2(path.with_suffix('.pt2'), module, inputs, outputs)
                program = torch.export.load(path.with_suffix('.pt2')).module()
            except ValueError as e: refused = str(e)
    assert told_by(path) == said
    session = onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
    there, other, space = 0., 0., getattr(module, 'space', None)
    for n in batches:
        for length in lengths:
            x = rows(n, length)
            assert set(x) == set(inputs), (set(x), set(inputs))
            x = {k: x[k].to(v.dtype) for k, v in inputs.items()}
            want = tuple_of(module(*x.values()))
            ours = [v.dtype.is_floating_point and bool(v.isfinite().all()) for v in want]
            assert all(ours), 'torch answers with NaN'
            feed = {k: v.numpy() for k, v in x.items()}
            there = max(there, far(want, session.run(None, {i.name: feed[i.name] for i in session.get_inputs()}), space))
            if program: other = max(other, far(want, tuple_of(program(*x.values())), space))
    out = dict(onnx=there, pt2=other if program else None, refused=refused, bytes=path.stat().st_size)
    if not timed: return out
    feed = {i.name: feed[i.name] for i in session.get_inputs()}
    return out | dict(ort_ms=1e3*seconds(lambda: session.run(None, feed)), torch_ms=1e3*seconds(lambda: module(*x.values())))

def main(only=None):
    torch.set_num_threads(1)
    rows, raw = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for name, model, make, lengths in cases(only=only):
            r = raw[name] = compare(model, make, lengths, folder)
            other = 'no' if r['pt2'] is None else r['pt2']
            rows.append([name, r['onnx'], other, r['bytes']/1e6, r['ort_ms'], r['torch_ms']])
            print(*rows[-1], r['refused'], flush=True)
    worst = max(r['onnx'] for r in raw.values())
    also = max(r['pt2'] for r in raw.values() if r['pt2'] is not None)
    missing = [k for k, r in raw.items() if r['pt2'] is None]
    notes = ('Difference: largest of all numbers of batches of 1, 3 and 17 and of all lengths, over the largest number of that output; of parameters, over their range. '
             f"torch.export has no file of {'; '.join(missing)}: it unrolls recurrent layers to the length of the example, and a flow's sampler asks for values."
             if missing else '')
    import onnx, onnxruntime
    save('export', 'Networks for other programs', ' '.join(__doc__.split('\n\n')[-1].split()),
         [('Exported networks beside torch', ['network', 'ONNX: difference [-]', 'torch.export: difference [-]', 'ONNX file [MB]', 'onnxruntime, batch 17 [ms]', 'torch, batch 17 [ms]'], rows, notes)],
         [bar('largest difference of ONNX', '<= 1e-4', f'{worst:.0e}', worst <= 1e-4), bar('largest difference of torch.export', '<= 1e-4', f'{also:.0e}', also <= 1e-4)],
         versions=dict(onnx=onnx.__version__, onnxruntime=onnxruntime.__version__), networks=raw)

if __name__ == '__main__': main(*sys.argv[1:])
