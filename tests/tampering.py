"""Ways to tamper with the folder of a run, as a stranger or a broken disk would. `ways` gives them by name; each is a function
of the folder. Run folders are made small by `tiny`; `answer` says what a run gives, so that two can be compared."""
import hashlib, json, os, random, shutil, struct
from dataclasses import replace
import torch
from safetensors.torch import load_file, save_file
from test_contract import TINY
from physlearn.instruments import find
from physlearn.pages import Judgement
from physlearn.runs import Run, _checksum, sha256

JSON = 'recipe.json', 'space.json', 'manifest.json', 'metrics.json'
TABLE = dict(caption='RMS error', head=['who', 'a', 'b'], rows=[['network', .1, .2], ['middle', .3, .3]])

def made(name, folder):
    "A finished run of an instrument and a half-finished one, of a few seconds; and one of other weights."
    for k, seed in (('whole', 0), ('other', 1)):
        recipe = replace(find(name).presets['quick'], **TINY[name], keep='all', seed=seed)
        recipe.fit(folder/k, evaluate=False, quiet=True).evaluate(lambda *a: None, Judgement([TABLE], numbers=dict(error=.1)))
    shutil.copytree(folder/'whole', folder/'half')
    for f in ('manifest.json', 'model.safetensors', 'history.csv', 'metrics.json'): (folder/'half'/f).unlink()
    states = sorted(p for p in (folder/'half'/'state').iterdir() if not p.name.startswith('00000'))
    for p in states[1:]: shutil.rmtree(p)
    return folder

def digest(tensors):
    "Of tensors by name."
    h = hashlib.sha256()
    for k in sorted(tensors): h.update(f'{k} {tensors[k].dtype} {tuple(tensors[k].shape)}'.encode() + tensors[k].numpy().tobytes())
    return h.hexdigest()

def answer(path):
    "All that a finished run says: its weights, card, history, ranges, numbers, and the files that it keeps."
    run = Run.load(path)
    kept = [sha256(run.path/f) for f in run.recipe.kept]
    history = {k: v.tolist() for k, v in run.history.items()}
    card = '\n'.join(s for s in run.card().replace(run.name, 'RUN').splitlines() if s and not s.startswith('!['))   # pictures are not sealed
    return digest(run.model.state_dict()), card, str(history), run.metrics, run.space, run.sealed, kept

def resumed(path):
    "What an interrupted run ends with."
    run = Run.resume(path, quiet=True, evaluate=False)
    return digest(run.model.state_dict()), str({k: v.tolist() for k, v in run.history.items()}), run.space

# --- values that do not belong where they stand

DEEP = '['*100_000 + ']'*100_000
VALUES = dict(null='null', list='[]', number='7', negative='-1', zero='0', huge='1' + '0'*400, longer='9'*5000, float='1e308', beyond='1e999', nan='NaN', infinite='-Infinity', text='"x"',
              empty='{}', true='true', deep=DEEP, path='"../../etc/passwd"', absolute='"/etc/passwd"', nothing='', half='{"a": ', twice='{"a": 1, "a": 2}', bytes='\x00\x01',
              device='"/dev/zero"', nested='[[[1]], {"a": [null]}]', long='"' + 'a'*100_000 + '"')

def places(d, at=()):
    "Where values stand in JSON."
    yield at
    for k, v in (d.items() if isinstance(d, dict) else enumerate(d[:3]) if isinstance(d, list) else ()): yield from places(v, (*at, k))

def put(text, at, value):
    "JSON with another value, given as text, in one place; None: without this place."
    d = json.loads(text)
    if not at: return value or ''
    inner = d
    for k in at[:-1]: inner = inner[k]
    if value is None: del inner[at[-1]]
    else: inner[at[-1]] = '\0here'
    return json.dumps(d).replace('"\\u0000here"', value or '')

def rewritten(file, change):
    "Another text in a file; a pipe that stands there already would be waited for."
    return lambda run: (run/file).write_text(change((run/file).read_text())) if (run/file).is_file() or not os.path.lexists(run/file) else None

def of_json(run, rng, most):
    "Every file of JSON replaced as a whole; then each value by others, as many as are wanted."
    for f in JSON:
        if not (run/f).is_file(): continue
        for k, v in VALUES.items(): yield f'{f} is {k}', rewritten(f, lambda text, v=v: v)
        where = [at for at in places(json.loads((run/f).read_text())) if at]
        pairs = [(at, k) for at in where for k in (*VALUES, 'without')]
        for at, k in rng.sample(pairs, min(most, len(pairs))):
            yield f"{f}, {'/'.join(map(str, at))} is {k}", rewritten(f, lambda text, at=at, k=k: put(text, at, VALUES.get(k)))
        if not where: continue
        yield f'{f} says a key twice', rewritten(f, lambda text: text.replace('{', '{"system": "x", "system": "y", ', 1))
        yield f'{f} has a key more', rewritten(f, lambda text: text.replace('{', '{"../../etc/passwd": "0", ', 1) if text.strip() != '{}' else '{"a": 1}')
        yield f'{f} in another encoding', lambda run, f=f: (run/f).write_bytes((run/f).read_text().encode('utf-16'))

# --- weights

def tensors(change):
    def work(run):
        path = run/'model.safetensors'
        found = change({k: v.clone() for k, v in load_file(path).items()})
        save_file(found, path)
    return work

def first(change): return tensors(lambda d: d | {(k := next(k for k, v in d.items() if v.is_floating_point() and v.numel() > 1)): change(d[k])})

def header(change):
    "Another header of the same file."
    def work(run):
        path = run/'model.safetensors'
        raw = path.read_bytes()
        n = struct.unpack('<Q', raw[:8])[0]
        new = change(json.loads(raw[8:8+n]))
        new = (new if isinstance(new, str) else json.dumps(new)).encode()
        path.write_bytes(struct.pack('<Q', len(new)) + new + raw[8+n:])
    return work

def lies(d, **more):
    k = next(k for k in d if k != '__metadata__')
    return d | {k: d[k] | more}

def beside(name, other=None):
    "A file of another run in the place of this one's."
    return lambda run: shutil.copy(run.parent.parent/'other'/(other or name), run/name)

def without_first(d):
    d.pop(next(iter(d)))
    return d

WEIGHTS = {
    'of another run': beside('model.safetensors'), 'all NaN': tensors(lambda d: {k: v*torch.nan if v.is_floating_point() else v for k, v in d.items()}),
    'one NaN': first(lambda v: v.flatten().index_fill(0, torch.tensor(0), torch.nan).view_as(v)), 'inf': first(lambda v: v + torch.inf),
    'other shape': first(lambda v: v.flatten()[:-1].clone()), 'float64': tensors(lambda d: {k: v.double() if v.is_floating_point() else v for k, v in d.items()}),
    'integers': tensors(lambda d: {k: v.long() for k, v in d.items()}), 'half': first(lambda v: v.half()), 'complex': first(lambda v: v.to(torch.complex64)),
    'one missing': tensors(without_first),
    'one more': tensors(lambda d: d | dict(extra=torch.ones(3))), 'none': tensors(lambda d: {}), 'zero': tensors(lambda d: {k: v*0 for k, v in d.items()}),
    'cut': lambda run: (run/'model.safetensors').write_bytes((run/'model.safetensors').read_bytes()[:-9]),
    'longer': lambda run: (run/'model.safetensors').write_bytes((run/'model.safetensors').read_bytes() + bytes(8)),
    'no bytes': lambda run: (run/'model.safetensors').write_bytes(b''), 'eight bytes': lambda run: (run/'model.safetensors').write_bytes(b'\xff'*8),
    'header shape': header(lambda d: lies(d, shape=[10**15])), 'header offsets': header(lambda d: lies(d, data_offsets=[0, 2**62])),
    'header negative': header(lambda d: lies(d, data_offsets=[-8, 0])), 'header dtype': header(lambda d: lies(d, dtype='F128')), 'header list': header(lambda d: '[]'),
    'header deep': header(lambda d: DEEP), 'header text': header(lambda d: lies(d, shape='x')),
    'pickle': lambda run: (run/'model.safetensors').write_bytes(b'cos\nsystem\n(S"touch $PLANTED"\ntR.')}

# --- links, pipes, devices, folders

def instead(name, make):
    def work(run):
        path = run/name
        if path.is_dir() and not path.is_symlink(): shutil.rmtree(path)
        elif os.path.lexists(path): path.unlink()
        make(path)
    return work

def linked(target): return lambda path: os.symlink(target, path)

def moved(run, name):
    "A file that stands elsewhere, and a link to it: the same content."
    shutil.move(run/name, run.parent/'elsewhere')
    os.symlink(run.parent/'elsewhere', run/name)

PLACES = {'gone': lambda path: None, 'a folder': lambda path: path.mkdir(), 'a pipe': os.mkfifo, 'a device': linked('/dev/zero'), 'null': linked('/dev/null'),
          'a link to nowhere': linked('nowhere'), 'a link to itself': lambda path: os.symlink(path.name, path), 'a link to passwd': linked('/etc/passwd'),
          'a link to the root': linked('/'), 'a link up': linked('../..'), 'empty': lambda path: path.write_bytes(b''), 'random': lambda path: path.write_bytes(os.urandom(500))}

def of_files(run, half):
    for f in sorted(p.name for p in run.iterdir() if half or p.name != 'state'):
        for k, make in PLACES.items(): yield f'{f} is {k}', instead(f, make)
        if (run/f).is_file(): yield f'{f} is a link to the same', lambda run, f=f: moved(run, f)

# --- who is named

SYSTEMS = ('antigravity', 'this', 'os', 'idlelib.idle', 'physlearn.cli', 'physlearn.__main__', '__main__', 'pytest', 'turtledemo', '../x', 'a b', 'planted', 'planted.inner', 'spectra',
           'canopy', 'lightcurve', 'icecube', 'sar', '', 'x'*5000, 'numpy.f2py', 'torch.utils.bottleneck')

def named(system): return rewritten('recipe.json', lambda text: json.dumps(json.loads(text) | dict(system=system)))

PLANTED = "import os\nimport physlearn\nopen(os.environ['PLANTED'], 'w').write('ran')\n"

def with_module(run):
    "A module in the folder of the run, which its recipe names."
    (run/'planted.py').write_text(PLANTED)
    named('planted')(run)

def of_names(run):
    for s in SYSTEMS: yield f'system {s[:30]!r}', named(s)
    yield 'a module beside it', with_module

# --- a manifest that fits what was changed

def sealed(work):
    "Tampered with, and the sums made anew."
    def again(run):
        work(run)
        if not (run/'manifest.json').is_file(): return                # a pipe would be waited for
        try: d = json.loads((run/'manifest.json').read_text())
        except (OSError, ValueError, RecursionError): return
        if not isinstance(d, dict): return
        d |= {f: sha256(run/f) for f in d if f in os.listdir(run) and (run/f).is_file() and not (run/f).is_symlink()}
        d.pop('checksum', None)
        (run/'manifest.json').write_text(json.dumps(d | dict(checksum=_checksum(d))))
    return again

def manifest(**more): return sealed(rewritten('manifest.json', lambda text: json.dumps(json.loads(text) | more)))

NAMES = '../../etc/passwd', '/etc/passwd', '/dev/zero', '/dev/stdin', '.', '..', '', 'a/b', 'state', 'figures', '\0', 'x'*5000, 'model.safetensors/'

# --- states of an interrupted run

def plain(change, honest=True):
    "plain.json of each state; `honest` makes its checksum anew."
    def work(run):
        for p in (run/'state').glob('*/plain.json'):
            d = json.loads(p.read_text())
            d.pop('checksum')
            text = change(d)
            if isinstance(text, dict): text = json.dumps(text | dict(checksum=hashlib.sha256(json.dumps(text, sort_keys=True).encode()).hexdigest())) if honest else json.dumps(text)
            p.write_text(text)
    return work

def newest(work):
    "Only the newest state, so that the one before it serves."
    return lambda run: work(sorted((run/'state').iterdir())[-1])

def of_states(run, rng, most):
    keys = sorted(json.loads(next((run/'state').glob('*/plain.json')).read_text()))
    pairs = [(k, v) for k in keys if k != 'checksum' for v in (None, 5, -1, 'x', [], {}, [[1]], dict(a=1), 10**30, True)]
    for k, v in rng.sample(pairs, min(most, len(pairs))):
        yield f'state {k} is {v!r}', plain(lambda d, k=k, v=v: d | {k: v})
        yield f'state {k} is {v!r}, sum left', plain(lambda d, k=k, v=v: d | {k: v}, False)
    for k, v in VALUES.items(): yield f'state is {k}', plain(lambda d, v=v: v)
    for k, make in PLACES.items():
        for f in ('plain.json', 'tensors.safetensors'): yield f'newest {f} is {k}', newest(lambda p, f=f, make=make: instead(f, make)(p))
    yield 'state of another run', lambda run: (shutil.rmtree(run/'state'), shutil.copytree(run.parent.parent/'other'/'state', run/'state'))
    yield 'state is a link', lambda run: (shutil.move(run/'state', run.parent/'elsewhere'), os.symlink(run.parent/'elsewhere', run/'state'))

def ways(run, seed=0, most=40, half=False):
    "Tamperings of a run by name."
    rng = random.Random(seed)
    out = dict(of_json(run, rng, most)) | dict(of_files(run, half)) | dict(of_names(run))
    for f in (*JSON, 'history.csv', 'events.h5', 'base.json'):
        if (run/f).is_file() and (run.parent/'other'/f).is_file(): out[f'{f} of another run'] = beside(f)
    out |= {f'{f} is not readable': lambda run, f=f: os.chmod(run/f, 0) for f in sorted(os.listdir(run)) if half or f != 'state'} | {'folder not readable': lambda run: os.chmod(run, 0)}
    if half: return out | dict(of_states(run, rng, most))
    out |= {f'weights {k}': w for k, w in WEIGHTS.items()}
    again = {k: w for k, w in out.items() if 'manifest' not in k and 'readable' not in k}
    out |= {f'{k}, sealed': sealed(w) for k, w in again.items()}
    return out | {f'manifest names {k[:30]!r}': manifest(**{k: '0'*64}) for k in NAMES} | {'manifest sealed': manifest(sealed=dict(stage='A', epoch='x', last=None)), 'no sums': manifest(sealed=5)}
