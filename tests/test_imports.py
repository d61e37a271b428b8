"""Who may import whom, read from the source. An arrow upward is a bug: the core never knows the instruments, instruments
never know each other, and physics runs in anybody's training loop because it never pulls fastai in."""
import ast, re
from pathlib import Path
import pytest

PACKAGE = Path(__file__).resolve().parents[1]/'physlearn'
LEVEL = dict(instruments=0, doctor=0, params=0, layers=0, files=0, pages=0, images=1, results=1, losses=1, trackers=1, diffusion=1, likelihood=1, posterior=1, calibration=1,
             draws=2, chains=2, flows=2, misfit=2, data=2, callbacks=2, export=2, card=2, hub=2, train=3, recipes=3, processes=3, runs=3, desk=4, contract=5, scale=5)
SYSTEMS = {'spectra', 'canopy', 'icecube', 'sar', 'lightcurve'}
TRAINERS = re.compile(r'train_\w+|signals|retrieve|judge|follow|anomaly|xray_scores|scenes|desk')     # the rooms of an instrument that may train with fastai
OPTIONAL = {'hapi', 'hapi2', 'peft', 'torchmetrics', 'terratorch', 'transformers', 'rasterio', 'tensorboard', 'wandb', 'trackio',
            'onnx', 'onnxruntime', 'huggingface_hub', 'pyarrow', 'plotly', 'lion_pytorch', 'accelerate', 'jcamp', 'spc_io', 'brukeropus', 'dask', 'distributed'}
HEAVY = {'torch', 'fastai', 'numpy', 'scipy', 'pandas', 'matplotlib', 'astropy', 'h5py', 'zuko', 'sklearn'}

def sources(package=PACKAGE):
    "Source of every module by its name within the package: {'params': ..., 'spectra.hitran': ..., '__init__': ...}."
    return {'.'.join(p.relative_to(package).with_suffix('').parts): p.read_text(encoding='utf-8')
            for p in sorted(package.rglob('*.py')) if p.name != '_modidx.py'}

def imports(name, source):
    "What a module imports: pairs (full dotted name, does it happen inside a function?)."
    here = ['physlearn', *name.split('.')][:-1]
    def visit(node, lazy):
        if isinstance(node, ast.Import): yield from ((a.name, lazy) for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = '.'.join(here[:len(here) - node.level + 1] if node.level else [])
            mod = '.'.join(filter(None, (base, node.module)))
            yield from ((f'{mod}.{a.name}', lazy) for a in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ('import_module', 'importlib.import_module', '__import__'):
            if node.args and isinstance(node.args[0], ast.Constant): yield node.args[0].value, lazy
        inside = lazy or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node): yield from visit(child, inside)
    yield from visit(ast.parse(source), False)

def own(full, modules):
    "The module of ours that the import `full` names, or None; a name imported from a module is part of it."
    if full.split('.')[0] != 'physlearn': return None
    parts = full.split('.')[1:]
    return next((n for k in range(len(parts), 0, -1) if (n := '.'.join(parts[:k])) in modules
                 or f'{n}.__init__' in modules), parts[0] if parts else None)

def violations(srcs):
    "One line for each import that the picture forbids."
    seen = {n: list(imports(n, s)) for n, s in srcs.items()}
    def reach(name, done):   # what importing `name` loads at once, through our own modules
        for full, lazy in seen.get(name, []):
            if lazy: continue
            if (m := own(full, srcs)) is None: done.add(full.split('.')[0])
            elif m not in done:
                done.add(m)
                reach(m, done)
        return done
    for name, found in seen.items():
        if name.split('.')[-1] == '__init__':
            yield from (f'{name} imports {full}: packages open empty' for full, _ in found)
            continue
        room, *rest = name.split('.')
        if len(rest) > (room in SYSTEMS) or not (room in LEVEL or room in SYSTEMS or room in ('cli', '__main__')):
            yield f'{name} is in no room of the house'
        loads = reach(name, set())
        physics = LEVEL.get(room, 9) < 2 or room in SYSTEMS and not TRAINERS.fullmatch(rest[-1] if rest else '')
        if physics and ('fastai' in loads or any(f.split('.')[0] == 'fastai' for f, _ in found)):
            yield f'{name} imports fastai, and {room} has to work without it'
        if room == 'cli' and (heavy := loads & HEAVY): yield f'cli imports {sorted(heavy)} at its top, and --help has to be quick'
        for full, lazy in found:
            top, target = full.split('.')[0], own(full, srcs)
            if top == 'torchvision': yield f'{name} imports torchvision'
            if top in OPTIONAL and not lazy: yield f'{name} imports the optional {top} outside a function'
            if target is None: continue
            to = target.split('.')[0]
            if to == 'cli' and room != '__main__': yield f'{name} imports cli, and nobody does'
            if room in LEVEL and LEVEL[room] == 0: yield f'{name} imports {target}, and the ground floor imports nothing of ours'
            elif room in LEVEL and LEVEL.get(to, 9) > LEVEL[room]: yield f'{name} imports {target}: an arrow upward'
            if room in SYSTEMS and to in SYSTEMS - {room}: yield f'{name} imports {target}: instruments never know each other'
            if room == 'cli' and to in SYSTEMS and not lazy: yield f'cli imports {target} at its top'

def test_the_house(): assert list(violations(sources())) == []

HOUSE = {'__init__': '', 'params': 'import torch', 'losses': 'from .params import Param', 'data': 'import fastai.basics',
         'train': 'from .data import SeedDL', 'runs': 'from .train import Stage', 'spectra.__init__': '',
         'spectra.hitran': 'from ..params import Param\ndef check():\n    import hapi',
         'spectra.train_physae': 'from ..train import Stage\nfrom .hitran import read', 'canopy.__init__': '', 'canopy.sail': '',
         'cli': 'import sys\ndef main():\n    import physlearn.spectra.hitran'}

def test_a_right_house(): assert list(violations(HOUSE)) == []

@pytest.mark.parametrize('name,source,word', [
    ('params', 'from .files import read', 'ground floor'),
    ('layers', 'import fastai', 'without it'),
    ('layers', 'def f():\n    from fastai.basics import Learner', 'without it'),
    ('losses', 'from physlearn.data import SeedDL', 'upward'),
    ('losses', 'def f():\n    from .runs import Run', 'upward'),
    ('data', 'from . import train', 'upward'),
    ('callbacks', 'import physlearn.spectra.hitran', 'upward'),
    ('train', 'from .cli import main', 'nobody does'),
    ('spectra.hitran', 'from ..canopy.sail import sail', 'never know'),
    ('spectra.hitran', 'from ..data import SeedDL', 'without it'),
    ('spectra.hitran', 'import hapi', 'outside a function'),
    ('spectra.hitran', 'try: import hapi\nexcept ImportError: pass', 'outside a function'),
    ('spectra.hitran', 'import torchvision.ops', 'torchvision'),
    ('cli', 'from physlearn import spectra', 'at its top'),
    ('cli', 'from importlib import import_module\nm = import_module("physlearn.canopy.sail")', 'at its top'),
    ('cli', 'import numpy as np', 'quick'),
    ('__init__', 'from .params import Param', 'open empty'),
    ('spectra.lines.deep', '', 'no room'),
    ('attic', '', 'no room')])
def test_planted(name, source, word):
    "Each forbidden arrow, planted in a house that is right, is seen."
    assert any(word in v for v in violations({**HOUSE, name: source}))

def circles(srcs):
    "Modules that reach themselves through imports, those inside functions counted; the package's own imports by name are none."
    edges = {n: {m for full, _ in imports(n, s) if (m := own(full, srcs)) and m != n} for n, s in srcs.items()}
    def reach(name, done):
        for m in edges.get(name, ()):
            if m not in done:
                done.add(m)
                reach(m, done)
        return done
    return sorted(n for n in edges if n in reach(n, set()))

def private(srcs):
    "Names with an underscore that one module takes from another."
    return [f'{n} imports {full}' for n, s in srcs.items() for full, _ in imports(n, s)
            if own(full, srcs) and full.split('.')[-1].startswith('_') and not full.endswith('__version__')]

def test_recipes_come_with_fit():
    "What trains a recipe is patched on in runs: whoever declares one takes it from there, or it cannot be trained."
    assert [n for n, s in sources().items() if n != 'runs' and 'physlearn.recipes.Recipe' in (full for full, _ in imports(n, s))] == []

def test_no_circles(): assert circles(sources()) == []
def test_nothing_private_across_modules(): assert private(sources()) == []

def test_planted_circle_and_private_name():
    "A circle that closes inside a function, and a private name, are seen, inside an instrument too."
    house = HOUSE | {'spectra.fit': 'from .retrieve import net_fit', 'spectra.retrieve': 'def f():\n    from .fit import fit'}
    assert circles(house) == ['spectra.fit', 'spectra.retrieve'] and circles(HOUSE) == []
    assert private(HOUSE | {'spectra.fit': 'from .hitran import _read'}) == ['spectra.fit imports physlearn.spectra.hitran._read']
