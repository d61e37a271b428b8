"""Make tests/runs_v1: runs as version 1 writes them, and their answers. They were made once, by

    python tools/make_v1_runs.py tests/runs_v1

and are never made again: tests/test_bad_days.py shows that later versions still load them, answer the same and go on with the two that are half finished.
Each is a .tar.xz of a run's folder with a small batch, batch.safetensors; answers.json has what its network says of it, what retrieve or sample gives, and the
weights with which the half-finished ones end. All data are simulated. Most weights of the larger networks are set to zero, so that they compress well."""
import json, lzma, sys, tarfile, tempfile
from dataclasses import replace
from pathlib import Path
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from physlearn.contract import numbers_in
from physlearn.desk import Signals, retrieve
from physlearn.files import read_json, write_json
from physlearn.instruments import find
from physlearn.runs import Run, sha256

RUNS = dict(
    spectra=('spectra', 'quick', dict(train_samples=64, val_samples=16, epochs=3, batch_size=32, num_points=64, encoder_variant='xs')),
    canopy=('canopy', 'quick', dict(epochs=3, epochs_pretrain=3, kl_warmup_epochs=1, pretrain_samples=64, val_samples=32, batch_size=16, width=8)),
    lightcurve=('lightcurve', 'quick', dict(epochs=3, sources=40, batch_size=16, hidden=8)),
    icecube=('icecube', 'quick', dict(epochs=3, events=40, batch_size=16)),
    sar=('sar', 'quick', dict(epochs=3, tiles=12, width=4, crop=32)))
THINNED = 'spectra', 'icecube', 'lightcurve'
HALF = dict(
    icecube_half=('icecube', 'cnn', dict(epochs=3, events=40, hidden=8, depth=1, batch_size=16, betas='cosine', T=50)),
    canopy_half=RUNS['canopy'])

def trained(folder, name, system, preset, options):
    "A small run with all its states."
    recipe = replace(find(system).presets[preset], gpus=0, threads=1, keep='all', **options)
    return recipe.fit(folder/name, quiet=True, evaluate=False)

def remove(path):
    for f in sorted(path.rglob('*'), reverse=True): f.rmdir() if f.is_dir() else f.unlink()
    path.rmdir()

def thinned(run):
    "The run with one in twenty of the weights of its larger layers."
    path = run.path/'model.safetensors'
    weights = load_file(path)
    for v in weights.values():
        if v.numel() > 1000: v.view(-1)[torch.arange(v.numel())%20 > 0] = 0
    save_file(weights, path)
    manifest = read_json(run.path/'manifest.json')
    write_json(run.path/'manifest.json', manifest | {'model.safetensors': sha256(path)})
    return Run.load(run.path)

def unfold(tensors):
    "A batch from tensors by path, as `numbers_in` names them."
    batch = {}
    for path, v in tensors.items():
        *outer, name = path.split('.')
        place = batch
        for k in outer: place = place.setdefault(k, {})
        place[name] = v
    return batch

def numbers(v, most=40):
    "Some numbers of a tensor or array, evenly spread, and its shape."
    v = torch.as_tensor(np.asarray(v)) if not torch.is_tensor(v) else v
    flat = v.detach().double().flatten()
    at = torch.linspace(0, max(len(flat) - 1, 0), min(most, len(flat))).long()
    return dict(shape=list(v.shape), values=[x if np.isfinite(x) else None for x in flat[at].tolist()])

@torch.no_grad()
def answers(run):
    "What a run says of its batch, and what its verbs give."
    batch = unfold(load_file(run.path/'batch.safetensors'))
    torch.manual_seed(0)
    out = {f'network.{k}': numbers(v) for k, v in numbers_in(run.model.eval()(batch)).items()}
    if run.recipe.system == 'spectra':
        got = retrieve(run, Signals(batch['x'].double()))
        out |= {f'retrieve.{k}': numbers(getattr(got, k)) for k in ('value', 'sd')}
    if run.recipe.system == 'icecube':
        from physlearn.icecube.desk import generated
        got = generated(run, run.recipe.held_out().label[:2], seed=3)
        out |= {f'sample.{k}': numbers(getattr(got, k)) for k in ('offsets', 'time', 'charge')}
    return out

def packed(folder, out):
    with tarfile.open(out, 'w:xz', preset=9 | lzma.PRESET_EXTREME) as tar:
        for f in sorted(folder.rglob('*')):
            if f.is_file(): tar.add(f, f.relative_to(folder.parent), filter=plain)
    print(out.name, f'{out.stat().st_size/1000:.0f} kB')

def plain(info):
    info.mtime, info.uid, info.gid, info.uname, info.gname = 0, 0, 0, '', ''
    return info

def main(out):
    out, said = Path(out), {}
    out.mkdir(exist_ok=True)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for name, words in RUNS.items():
            run = trained(folder, name, *words)
            if name in THINNED: run = thinned(run)
            remove(run.path/'state')
            dl = run.recipe.dls(run.sim, 'cpu').valid
            rows = dl.new(bs=1 if name == 'sar' else 2).one_batch()[0]
            save_file({k: v.contiguous().clone() for k, v in numbers_in(rows).items()}, run.path/'batch.safetensors')
            said[name] = answers(Run.load(run.path))
            packed(run.path, out/f'{name}.tar.xz')
        for name, words in HALF.items():
            run = trained(folder, name, *words)
            said[name] = {k: numbers(v) for k, v in load_file(run.path/'model.safetensors').items()}
            for f in ('manifest.json', 'model.safetensors', 'history.csv'): (run.path/f).unlink()
            for s in sorted((run.path/'state').iterdir()):
                if s.name > '00001': remove(s)
            packed(run.path, out/f'{name}.tar.xz')
    lines = [f'"{name}": {{\n' + ',\n'.join(f' {json.dumps(k)}: {json.dumps(v)}' for k, v in d.items()) + '}' for name, d in said.items()]
    (out/'answers.json').write_text('{' + ',\n'.join(lines) + '}\n')

if __name__ == '__main__': main(sys.argv[1])
