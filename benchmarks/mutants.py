"""Damaged and hostile copies of small files through every reader: each gives valid data or a FileError, soon.

    python benchmarks/mutants.py                        # 10,000 copies for each reader; hours
    python benchmarks/mutants.py 500 fits hdf5          # 500 copies, readers whose names begin so
    python benchmarks/mutants.py again fits/table 4711  # one copy, written to ./again and read in the open

A copy is a function of the reader's name and a number, so that what breaks can be made again. Copies are read by forked
children of a process that has imported everything: at most 1 GiB beyond what that process has, a watchdog of 30 s. Counted
is CPU time, of the child and of the processes that it starts; more than 2 s is slow."""
import collections, gzip, io, json, os, random, re, resource, select, shutil, signal, struct, sys, tempfile
import traceback, warnings, zipfile
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent/'tests'))
SECONDS, MEMORY, WATCHDOG, SAID = 2., 2**30, 30., 2000        # CPU [s], memory [bytes], wall [s], said on stderr [bytes]

# ------------------------------------------------------------------------------------------------------- damage to bytes

def _places(dice, n, k):
    "k places of n bytes; headers, which are at the start or the end, are met more often."
    out = []
    for _ in range(k):
        where = dice.random()
        if where < .4: out.append(dice.randrange(min(n, 512)))
        elif where < .5: out.append(n - 1 - dice.randrange(min(n, 512)))
        else: out.append(dice.randrange(n))
    return out

def flipped(raw, dice):
    out = bytearray(raw)
    for at in _places(dice, len(out), dice.choice((1, 1, 2, 3, 8, 40))): out[at] ^= 1 << dice.randrange(8)
    return bytes(out)

def overwritten(raw, dice):
    out, at, n = bytearray(raw), *_places(dice, len(raw), 1), dice.choice((1, 2, 4, 8, 16, 64))
    what = dice.choice((b'\0', b'\xff', b'\x7f', b'\x80', b' ', b'9', b'\n', b'"', None))
    out[at:at+n] = (dice.randbytes(n) if what is None else what*n)[:len(out) - at]
    return bytes(out)

def cut_off(raw, dice): return raw[:dice.choice((dice.randrange(len(raw)), *_places(dice, len(raw), 1)))]

def block_moved(raw, dice):
    "A block left out, doubled, repeated often, or put elsewhere; or a second copy of the whole."
    at, n = dice.randrange(len(raw)), dice.choice((1, 16, 80, 512, 2880))
    block, rest = raw[at:at+n], raw[:at] + raw[at+n:]
    to = dice.randrange(len(rest) + 1)
    ways = (rest, raw[:at] + block + raw[at:], raw[:at] + block*50 + raw[at:], rest[:to] + block + rest[to:], raw + raw)
    return ways[dice.randrange(len(ways))]

_LIES = 0, 1, 2, -1, 7, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1

def number_lied(raw, dice):
    "A binary number of the header replaced: counts, offsets, types."
    out, size = bytearray(raw), dice.choice((1, 2, 2, 4, 4, 8))
    at = _places(dice, len(out), 1)[0]//2*2
    lie = dice.choice(_LIES) & (256**size - 1)
    out[at:at+size] = lie.to_bytes(size, dice.choice(('little', 'big')))[:len(out) - at]
    return bytes(out)

def nan_storm(raw, dice):
    "Numbers of a stretch become NaN, infinite or huge."
    out, at = bytearray(raw), dice.randrange(len(raw))//8*8
    kind = dice.choice(('<d', '>d', '<f', '>f'))
    v = struct.pack(kind, dice.choice((np.nan, np.inf, -np.inf, 1e30, -1e30, 1e-40)))*dice.choice((1, 4, 100))
    out[at:at+len(v)] = v[:len(out) - at]
    return bytes(out)

# -------------------------------------------------------------------------------------------------------- damage to text

_ODD = ('1e999', 'nan', 'inf', '-inf', '-1', '0', '99999999999999999999', '9'*400, '--5', '1_000', '\u0663', '', '"', '#', '=1+1',
        '1e-400', '0x10', '1,5', '1.5.5', 'NaN', 'NULL', '-9999', 'true', '1e308', '\u221e', '5'*5000, "'", '1;2', '9'*70)
_WORDS = ('null', '[]', '{}', '!!python/object:os.system', '&a', '*a', '1e5', 'true', 'float64', 'O', 'c16', 'object', '\u00e9', '1/cm',
          'furlong', '%', 'K', '<x>', '../../etc/passwd', 'a'*300, '\x00', '\n', '\r', '-', '.', 'nan', '2020-13-45', 'double', 'char', '3')

def _swap(text, pattern, dice, with_, most=3):
    found = list(re.finditer(pattern, text))
    for m in sorted(dice.sample(found, min(len(found), dice.randint(1, most))), key=lambda m: -m.start()):
        text = text[:m.start()] + dice.choice(with_) + text[m.end():]
    return text

def _lines(text, dice):
    "Lines shuffled, doubled, left out, joined, or a column more in some."
    lines = text.split('\n')
    i, j = dice.randrange(len(lines)), dice.randrange(len(lines))
    how = dice.randrange(7)
    if how == 0: lines[i], lines[j] = lines[j], lines[i]
    elif how == 1: lines.insert(i, lines[j])
    elif how == 2: del lines[i]
    elif how == 3: lines[i] += lines[j]
    elif how == 4: lines.insert(i, dice.choice(('# note', '% note', '! note', '', ' ', '#', '---', '...', '"', '\x1a', '# a: b')))
    elif how == 5: lines[i] += dice.choice(',;\t:')
    else: lines[i] = lines[i][:dice.randrange(len(lines[i]) + 1)]
    return '\n'.join(lines)

def _ends(text, dice):
    return text.replace('\n', dice.choice(('\r', '\r\n', '\n\r', '\n\n', '\x0b', '\x0c', '\x85', '\u2028', ' \n', '\r\r\n')))

def _large(text, dice):
    "Much of something: a long comment, thousands of columns, lines of metadata, depth."
    head, *rows = text.split('\n')
    how = dice.randrange(8)
    if how == 0: return '# ' + dice.choice((' ', 'a', ':', 'a ', ': ', '#', '\t'))*dice.choice((30_000, 300_000)) + '\n' + text
    if how == 1:
        sep = next((s for s in '\t,;' if s in head), ' ')
        return '\n'.join(line + sep + sep.join(f'{"x"*(i == 0)}{k}' for k in range(5000)) for i, line in enumerate([head, *rows[:5]]))
    if how == 2: return ''.join(f'# k{i}: {i}\n' for i in range(30_000)) + text
    if how == 3: return dice.choice(('[', '{"a":', '(', '- ', '<a>', '"', '{a: '))*20_000 + text
    if how == 4: return '\n'*100_000 + text
    if how == 5: return text + ' '*300_000
    if how == 6: return text.replace(head, head + dice.choice((' ', ',', ';', '[', ':'))*50_000, 1)
    return '\n'.join([head, *rows*max(1, 200_000//max(1, len(text)))])

def text_changed(raw, dice):
    "A number, a word, a line or the line ends replaced."
    text, how = raw.decode('latin-1'), dice.random()
    if how < .35: text = _swap(text, r'[-+]?\d+(\.\d*)?([eEdD][-+]?\d+)?', dice, _ODD)
    elif how < .55: text = _swap(text, r'[A-Za-z_]{2,}', dice, _WORDS)
    elif how < .65: text = _swap(text, r'[^\w\s]', dice, (*',;:#"\'[]{}()-&*!|>%@`\\', ''))
    elif how < .85: text = _lines(text, dice)
    elif how < .95: text = _ends(text, dice)
    else: text = _large(text, dice)
    return text.encode('utf-8' if dice.random() < .9 else 'utf-16')

def encoded(raw, dice):
    text = raw.decode('latin-1')
    how = dice.choice(('utf-8-sig', 'utf-16', 'utf-16-be', 'utf-32', 'utf-7', 'cp037'))
    return text.encode(how, 'replace')

def strange(raw, dice):
    "Nothing, nearly nothing, another format, packed, packed twice, a bomb, noise."
    zeros = gzip.compress(bytes(dice.choice((2**20, 2**26))), 9)
    ways = (b'', b'\0', b'#', b'\n', b' ', bytes(5000), raw[:1], raw[:4], raw[:8], gzip.compress(raw), gzip.compress(gzip.compress(raw)),
            gzip.compress(raw)[:-9], zeros, dice.randbytes(3000), raw[:dice.randrange(64)] + dice.randbytes(3000), raw + dice.randbytes(100),
            b'\x1f\x8b' + raw, b'PK\x03\x04' + raw, b'\xff\xfe' + raw, b'\xef\xbb\xbf' + raw, b'BZh9' + raw, b'\xd0\xcf\x11\xe0' + raw)
    return ways[dice.randrange(len(ways))]

BYTES = (flipped, 5), (overwritten, 4), (cut_off, 3), (block_moved, 3), (number_lied, 4), (nan_storm, 2), (strange, 1)
TEXT = (flipped, 3), (overwritten, 3), (cut_off, 2), (block_moved, 2), (text_changed, 9), (encoded, 1), (strange, 1)

# -------------------------------------------------------------------------------------------------- damage to structures

def zip_changed(raw, dice):
    "One member of a zip damaged, and packed again with a right sum; or a lie in the directory."
    with zipfile.ZipFile(io.BytesIO(raw)) as z: parts = {i.filename: z.read(i) for i in z.infolist()}
    name, out = dice.choice(list(parts)), io.BytesIO()
    how = dice.randrange(6)
    if how < 4: parts[name] = _any(dice, BYTES if how < 2 else ((text_changed, 1),))(parts[name] or b' ', dice)
    elif how == 4: del parts[name]
    else: parts[dice.choice(('../x', '/x', 'x.npy', '', name + '/', 'é.npy', 'a\nb.npy'))] = dice.choice(list(parts.values()))
    with zipfile.ZipFile(out, 'w', dice.choice((0, 8, 8, 12))) as z:
        for k, v in parts.items(): z.writestr(k or ' ', v)
    return out.getvalue()

def npz_lied(raw, dice):
    "Arrays of other types and shapes, written by numpy."
    with np.load(io.BytesIO(raw)) as f: d = dict(f)
    k = dice.choice(list(d))
    d[k], out = _other_array(d[k], dice), io.BytesIO()
    (np.savez_compressed if dice.random() < .5 else np.savez)(out, **d)
    return out.getvalue()

def _other_array(v, dice):
    "The same array as something else."
    v, how = np.asarray(v), dice.randrange(16)
    if how == 0: return v.astype('S8' if v.dtype.kind != 'S' else 'f8', casting='unsafe') if v.dtype.kind in 'biuf' else v[:0]
    if how == 1: return v[:0] if v.ndim else v.reshape(1)
    if how == 2: return v[None]
    if how == 3: return v.ravel()[:1].reshape(()) if v.size else v
    if how == 4: return v.T
    if how == 5: return np.repeat(v, 2, 0) if v.ndim else v
    if v.dtype.kind not in 'biuf': return np.zeros(3, 'M8[D]') if how < 10 else np.zeros(v.shape)
    if how == 6: return v.astype(complex)
    if how == 7: return v.astype('f2')
    if how == 8: return v.astype('i1')
    if how == 9: return v.astype(bool)
    if how == 10: return v.astype('>f8')
    if how == 11: return np.where(np.random.default_rng(dice.randrange(2**32)).random(v.shape) < .1, dice.choice((np.nan, np.inf, -np.inf)), v)
    if how == 12: return v*dice.choice((-1, 0, 1e30, 1e300, 1e-30))
    if how == 13: return v[::-1].copy() if v.ndim else v
    if how == 14: return np.zeros(v.shape, [('a', 'f8'), ('b', 'i4')])
    return v.astype('u8', casting='unsafe')

def hdf5_lied(raw, dice):
    "Data sets of other types, shapes, fillings, and odd attributes and links, written by h5py."
    import h5py
    out = io.BytesIO(raw)
    with h5py.File(out, 'r+') as f:
        sets = []
        f.visititems(lambda k, d: sets.append(k) if isinstance(d, h5py.Dataset) else None)
        k, how = dice.choice(sets), dice.randrange(22)
        v = f[k][()]
        def again(v, **kw):
            del f[k]
            f.create_dataset(k, data=v, **kw)
        if how < 9:
            v = _other_array(v, dice)
            if v.dtype.kind in 'MU': v = np.zeros(3, 'V5')
            again(v)
        elif how == 9: del f[k]
        elif how == 10: again(np.asarray(v)[..., None] if np.ndim(v) else v, chunks=None)
        elif how == 11:
            del f[k]
            f.create_dataset(k, (2**dice.choice((20, 27, 31, 40)),), 'f8', chunks=(2**16,), compression='gzip', fillvalue=dice.choice((0., 1., np.nan)))
        elif how == 12: again(h5py.Empty('f8'))
        elif how == 13:
            del f[k]
            f[k] = dice.choice((h5py.SoftLink('/none'), h5py.ExternalLink('/etc/passwd', '/'), h5py.SoftLink('/' + k), h5py.SoftLink('/')))
        elif how == 14:
            del f[k]
            f.create_dataset(k, data=['a', 'b'], dtype=h5py.string_dtype())
        elif how == 15:
            del f[k]
            f.create_group(k)
        else:
            attrs = dice.choice((f, f[k])).attrs
            name = dice.choice((*attrs, 'quantity', 'axis', 'unit', 'kind', 'told', 'medium', 'nodata', 'é', 'a\nb'))
            value = dice.choice((b'', '', b'\xff\xfe', np.array(['a', 'b'], 'S3'), 'wrong', 1j, np.arange(3), np.nan, h5py.Empty('f8'),
                                 np.zeros(2, [('a', 'f8')]), '\u00e9', b'x'*3000, f.ref, np.array([], 'S1'), True, [1., 2.], '{}', '[]', 'null', '1'))
            if name in attrs: del attrs[name]
            attrs[name] = value
            if dice.random() < .2: f.create_dataset('more', (10,), h5py.vlen_dtype('f8'))
    return out.getvalue()

def parquet_lied(raw, dice):
    "Columns of other types, with gaps, nested, left out, or of other lengths, written by pyarrow."
    import pyarrow as pa
    import pyarrow.parquet as pq
    t, out = pq.read_table(io.BytesIO(raw)), io.BytesIO()
    k, n = dice.randrange(t.num_columns), t.num_rows
    name, how = t.column_names[k], dice.randrange(12)
    new = dict(enumerate((['x']*n, [None]*n, [b'\xff']*n, [[1., 2.]]*n, [dict(a=1)]*n, [True]*n, [2**63 - 1]*n, [np.nan]*n, [-1]*n, [0]*n))).get(how)
    if how == 10: t = t.drop_columns([name])
    elif how == 11: t = t.slice(0, dice.randrange(n + 1))
    else: t = t.set_column(k, name, pa.array(new))
    pq.write_table(t, out)
    return out.getvalue()

def gzip_changed(raw, dice): return gzip.compress(_any(dice, BYTES)(gzip.decompress(raw), dice))

def _any(dice, ways): return dice.choices([w for w, _ in ways], [n for _, n in ways])[0]

# ---------------------------------------------------------------------------------------------------------- the readers

@dataclass
class Reader:
    "A reader, small whole files for it, and how they are damaged."
    read: object              # of a path
    samples: list             # dicts of bytes by name; the first is read, the others lie beside it
    ways: tuple               # (function of bytes and dice, weight)
    lost: object = None       # of path and data: rows that are gone without a word
    fixed: tuple = ()         # names that are not damaged

def written(make, *names):
    "What a function writes below a folder, by name."
    with tempfile.TemporaryDirectory() as d:
        make(Path(d))
        return {str(p.relative_to(d)): p.read_bytes() for p in sorted(Path(d).rglob('*')) if p.is_file()}

def in_order(first, files): return {first: files[first]} | files

def _head(path, n): return b'\n'.join(path.read_bytes().split(b'\n')[:n]) + b'\n'

def _tables(data):
    from physlearn.files import read_columns, read_json, read_npz, read_table
    from physlearn.recipes import read_mapping, read_recipe
    from physlearn.desk import read_setup
    from physlearn.spectra.desk import SpectraSetup
    from physlearn.canopy.train_physvae import CanopyRecipe
    nu = np.linspace(3085, 3086, 30)
    table = '# source: somebody\n# P: 3 mbar\nnu [1/cm],sw,who\n' + ''.join(f'{a:.4f},{b:.3e},x\n' for a, b in zip(nu, np.exp(-nu/3000)))
    semi = 'Instrument 3\nnu;y\n' + ''.join(f'{a:.4f};{b:.3f}\n'.replace('.', ',') for a, b in zip(nu, np.cos(nu)))
    def finite(path):
        t = read_table(path, text=['who'])
        assert all(np.isfinite(v).all() for v in t.values() if v.dtype.kind == 'f'), 'a table without gaps holds NaN'
        return t
    yield 'table', Reader(finite, [{'a.csv': table.encode()}, {'a.tsv': table.replace(',', '\t').encode()},
                                                               {'a.csv.gz': gzip.compress(table.encode())}], TEXT + ((gzipped, 1),), rows_lost)
    yield 'columns', Reader(read_columns, [{'a.csv': table.encode()}, {'a.txt': semi.encode()}], TEXT, rows_lost)
    npz, stored = io.BytesIO(), io.BytesIO()
    np.savez_compressed(npz, nu=nu, tau=np.exp(-nu/3000).astype('f4'), tag=np.array(['a', 'bc']))
    np.savez(stored, nu=nu, n=np.arange(6).reshape(2, 3))
    yield 'npz', Reader(read_npz, [{'a.npz': npz.getvalue()}, {'a.npz': stored.getvalue()}], BYTES + ((zip_changed, 5), (npz_lied, 4)))
    yield 'json', Reader(read_json, [{'a.json': json.dumps(dict(a=nu.tolist(), b=dict(c='d')), indent=1).encode()}], TEXT)
    co = ('format: 1\ngas: [CO=1..1000ppm, N2O=0.1..1ppm]\nwindow: 2188.5..2191.5\npath: 1m\nrange: [T=280..320K, P=100..300Torr]\n'
          'lines: [co.par]\n# comment\nunits: {CO: ppm}\n')
    yield 'mapping', Reader(read_mapping, [{'a.yaml': co.encode()}, {'a.json': json.dumps(dict(epochs=3, lr=1e-3)).encode()}], TEXT)
    yield 'setup', Reader(lambda p: read_setup(p, SpectraSetup), [{'a.yaml': co.replace('units: {CO: ppm}\n', '').encode()}], TEXT)
    recipe = 'epochs: 20\nlr: 1e-3\nbatch_size: 64\nseed: 3\n'
    yield 'recipe', Reader(lambda p: read_recipe(p, CanopyRecipe), [{'a.yaml': recipe.encode()}], TEXT)

def gzipped(raw, dice): return gzip_changed(raw, dice) if raw[:2] == b'\x1f\x8b' else gzip.compress(_any(dice, TEXT)(raw, dice))

def _results(data):
    from physlearn.results import Results
    import torch
    from physlearn.params import Param, ParamSpace
    space = ParamSpace(T=Param(200, 400, 'K'), x=Param(1e-6, 1e-3, '', log=True))
    v = torch.tensor([[300., 1e-4], [310., 2e-4]], dtype=torch.float64)
    r = Results(space, v, v/10, v*.9, v*1.1, v*0 + .1, ok=torch.tensor([True, True]), p=torch.tensor([.5, .6], dtype=torch.float64))
    files = written(lambda d: [r.save(d/'a.json'), r.save(d/'b.csv')])
    yield 'results', Reader(Results.load, [{'a.json': files['a.json']}], TEXT)

def _hdf5(data):
    import h5py
    from physlearn.data import HDF5Rows
    from physlearn.files import read_hdf5, read_hdf5_rows, write_hdf5
    nu = np.linspace(3085, 3086, 40)
    def some(d):
        with h5py.File(d/'a.h5', 'w') as f:
            f.attrs['instrument'] = np.bytes_('CRDS')
            f.create_dataset('run/nu', data=nu, chunks=(16,), compression='gzip', shuffle=True, fletcher32=True).attrs['unit'] = np.bytes_('1/cm')
            f.create_dataset('run/tau', data=np.exp(-nu), compression='lzf', chunks=(8,))
            f['n'] = np.arange(6).reshape(2, 3)
            f.attrs['who'] = 'somebody'
    def rows(d): write_hdf5(d/'a.h5', dict(signal=np.arange(40.).reshape(8, 5), packed=np.arange(64).reshape(16, 4)[:8]), dict(kind='rows'), compress=True)
    whole, ways = written(some), BYTES + ((hdf5_lied, 12),)
    yield 'hdf5/all', Reader(read_hdf5, [whole], ways)
    yield 'hdf5/rows', Reader(lambda p: read_hdf5_rows(p, 'signal', 0, 8), [written(rows)], ways)
    def items(p):
        r = HDF5Rows(p)
        return [r[i] for i in range(len(r))][:20]
    yield 'hdf5/training', Reader(items, [written(rows)], ways)

def _spectra(data):
    from functools import partial
    from physlearn.spectra.continuum import read_cia, read_continuum_table
    from physlearn.spectra.files import read_spectrum
    from physlearn.spectra.hitran import read_lines, read_lines_csv, read_par, read_partition_sums
    from physlearn.files import write_hdf5
    from test_readers import A, T, SM, Y, NU, jcamp, opus, spc
    cases, b = data/'cases'/'spectra', lambda p: p.read_bytes()
    par = _head(data/'hitran'/'ch4_6047_6067.par', 6)
    hapi = b(cases/'hapi_extra.data')
    header = json.dumps(dict(extra=['gamma_H2', 'n_H2', 'other'], order=['nu'])).encode()
    yield 'lines/par', Reader(read_par, [{'a.par': par}, {'a.par': _head(cases/'co.par', 3)}, {'a.par': gzip.compress(par)}], TEXT + ((gzipped, 1),), rows_lost)
    yield 'lines/window', Reader(partial(read_lines, window=(6000., 6100.)), [{'a.par': par}], TEXT)
    yield 'lines/hapi', Reader(read_lines, [{'a.data': hapi, 'a.header': header}], TEXT)
    csvs = [{'a.csv': b(cases/f'c_{k}.csv')} for k in ('H2', 'hash')] + [{'a.csv': _head(data/'hitran'/'ch4_5952_6097_f32.csv', 8)}]
    yield 'lines/csv', Reader(read_lines_csv, csvs, TEXT, rows_lost)
    row = dict(mid=6, lid=1, center=6047.1, amplitude=1e-22, gamma_air=.06, gamma_self=.08, e0=100., n_air=.7, shift_air=-.01)
    yaml_rows = 'transitions:\n  CH4:\n' + ''.join('  - {' + ', '.join(f'{k}: {v}' for k, v in (row | dict(center=6047 + i)).items()) + '}\n' for i in range(4))
    semi = ''.join(';'.join(map(str, (row | dict(center=6047 + i)).values())) + '\n' for i in range(5))
    yield 'lines/physae', Reader(read_lines, [{'a.yaml': yaml_rows.encode()}, {'a.txt': semi.encode()}], TEXT)
    sums = 'T,Q_6_1,Q_6_2\n' + ''.join(f'{t},{5.*t + i},{9.*t}\n' for i, t in enumerate(range(100, 400, 20)))
    q32 = ''.join(f'{t}. {5.*t:.3f}\n' for t in range(1, 40))
    yield 'sums', Reader(read_partition_sums, [{'a.csv': sums.encode()}, {'q32.txt': q32.encode()}], TEXT)
    cia = ''.join(f'{"N2-N2":>20}{0.:10.3f}{9.:10.3f}{10:7d}{T:7.1f}{1e-44:10.3e}{0.:6.3f}{"ref":>27}{1:3d}\n' +
                  ''.join(f'{i:10.4f} {1e-45*(i + 1):10.3e}\n' for i in range(10)) for T in (200., 300.))
    cont = '# unit: cm2/molecule\n# gases: SF6\nwavenumber,250K,300K\n' + ''.join(f'{900 + i},{1e-20*(i+1)},{2e-20*(i+1)}\n' for i in range(12))
    yield 'continuum/cia', Reader(read_cia, [{'a.cia': cia.encode()}], TEXT)
    yield 'continuum/table', Reader(read_continuum_table, [{'a.csv': cont.encode()}], TEXT, rows_lost)
    # spectra of every kind
    def short(name, n, ending='csv'): return {f'a.{ending}': _head(cases/name, n)}
    said = partial(read_spectrum, quantity='transmittance', axis='wavenumber')
    yield 'spectrum/csv', Reader(said, [short('a_ok.csv', 40), short('a_comma.csv', 40), short('a_head.txt', 45, 'txt')], TEXT, spectrum_lost)
    yield 'spectrum/bare', Reader(said, [short('a_nohead.dpt', 40, 'dpt')], TEXT, spectrum_lost)
    yield 'spectrum/unsaid', Reader(read_spectrum, [short('co_laser.csv', 40), short('a_abs10.csv', 40)], TEXT)
    yield 'spectrum/jcamp', Reader(read_spectrum, [{'a.dx': jcamp(Y)}, {'a.dx': b(cases/'j_nist.jdx')}, {'a.jdx': jcamp(2*[1, 2, 3, 3, 2, 1, 0, -1, -2, -3],
                                   yunits='OPTICAL DEPTH', first=100, last=119, data='100AJJ%jjjjjj\n109cMJJ%jjjjjj')}], TEXT)
    yield 'spectrum/spc', Reader(read_spectrum, [{'a.spc': spc(Y)}, {'a.spc': spc(Y, exp=2)}, {'a.spc': spc(Y, explicit=NU)}], BYTES)
    yield 'spectrum/opus', Reader(read_spectrum, [{'a.0': opus([(A, -np.log10(Y))])}, {'a.0': opus([(SM, 5*Y), (T, Y)])}], BYTES)
    both = dict(wavenumber=NU, transmittance=Y, sigma=.01 + 0*Y)
    npz = io.BytesIO()
    np.savez(npz, **both)
    yield 'spectrum/npz', Reader(said, [{'a.npz': npz.getvalue()}], BYTES + ((zip_changed, 5), (npz_lied, 6)))
    meta = dict(quantity='transmittance', axis='wavenumber', unit='1/cm')
    yield 'spectrum/hdf5', Reader(read_spectrum, [written(lambda d: write_hdf5(d/'a.h5', both, meta))], BYTES + ((hdf5_lied, 12),))

def _canopy(data):
    from functools import partial
    import rasterio
    from physlearn.canopy.inform import read_bands
    from physlearn.canopy.reflectance import BANDS, read_reflectance
    cases, b = data/'cases'/'canopy', lambda p: p.read_bytes()
    tables = [{'a.csv': b(cases/f'{k}.csv')} for k in ('r_na', 'gee', 'gee_time_start')]
    yield 'reflectance/table', Reader(partial(read_reflectance, outside='missing', scale=1., offset=0.), tables[:1], TEXT, rows_kept)
    yield 'reflectance/dated', Reader(partial(read_reflectance, scale=10000., offset=0., outside='missing'), tables[1:], TEXT, rows_kept)
    yield 'reflectance/field', Reader(read_reflectance, [{'a.csv': _head(cases/'asd.csv', 5)}], TEXT)
    def tif(path, v, descriptions=None, **kw):
        kw = dict(driver='GTiff', width=v.shape[2], height=v.shape[1], count=len(v), dtype=v.dtype.name, crs='EPSG:32633',
                  transform=rasterio.Affine(20, 0, 600000, 0, -20, 5340000)) | kw
        with warnings.catch_warnings(action='ignore'), rasterio.open(path, 'w', **kw) as f:
            f.write(v)
            if descriptions: f.descriptions = descriptions
    v = (300 + 100*np.arange(11)[:,None,None] + np.arange(64).reshape(8, 8)).astype('u2')
    tiled = dict(tiled=True, blockxsize=16, blockysize=16)
    images = [written(lambda d: tif(d/'a.tif', v, BANDS)), written(lambda d: tif(d/'a.tif', v, BANDS, compress='deflate', predictor=2)),
              written(lambda d: tif(d/'a.tif', v.astype('f4'), BANDS, compress='lzw', **tiled)), {'a.tif': b(cases/'mask.tif')}, {'a.tif': b(cases/'t_scl.tif')}]
    whole = partial(read_reflectance, scale=10000., offset=0., outside='missing')
    yield 'reflectance/tif', Reader(whole, images, BYTES)
    vrt = ('<VRTDataset rasterXSize="8" rasterYSize="8"><GeoTransform>600000, 20, 0, 5340000, 0, -20</GeoTransform>' + ''.join(
           f'<VRTRasterBand dataType="UInt16" band="{i}"><Description>{k}</Description><SimpleSource><SourceFilename relativeToVRT="1">a.tif</SourceFilename>'
           f'<SourceBand>{i}</SourceBand><SrcRect xOff="0" yOff="0" xSize="8" ySize="8"/><DstRect xOff="0" yOff="0" xSize="8" ySize="8"/></SimpleSource></VRTRasterBand>\n'
           for i, k in enumerate(BANDS, 1)) + '</VRTDataset>\n').encode()
    yield 'reflectance/vrt', Reader(whole, [{'a.vrt': vrt, 'a.tif': images[0]['a.tif']}], TEXT)
    yield 'reflectance/jp2', Reader(partial(whole, bands=BANDS), [written(lambda d: tif(d/'a.jp2', np.tile(v, (1, 4, 4)), driver='JP2OpenJPEG', QUALITY=100, REVERSIBLE='YES'))], BYTES)
    yield 'reflectance/window', Reader(partial(whole, window=(0, 0, 2, 2)), images[:3], BYTES)
    names = 'B02', 'B03', 'B04', 'B8A', 'B11'
    product = ('<a><BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE><BOA_ADD_OFFSET band_id="0">-1000</BOA_ADD_OFFSET>'
               '<SPACECRAFT_NAME>Sentinel-2A</SPACECRAFT_NAME></a>\n').encode()
    angles = ('<t><Mean_Sun_Angle><ZENITH_ANGLE unit="deg">35.5</ZENITH_ANGLE><AZIMUTH_ANGLE>150</AZIMUTH_ANGLE></Mean_Sun_Angle>'
              '<Mean_Viewing_Incidence_Angle bandId="0"><ZENITH_ANGLE>4</ZENITH_ANGLE><AZIMUTH_ANGLE>100</AZIMUTH_ANGLE></Mean_Viewing_Incidence_Angle></t>\n').encode()
    def scene(d):
        for k, x in zip(names, v): tif(d/f'T33_{k}_20m.tif', x[None])
    folder = {f'scene/{k}': x for k, x in (written(scene) | {'MTD_MSIL2A.xml': product, 'MTD_TL.xml': angles, 'a_MTL.txt': b'SUN_ELEVATION = 45.0\n'}).items()}
    yield 'reflectance/folder', Reader(lambda p: read_reflectance(Path(p).parent, bands=names, outside='missing'), [folder], BYTES[:-1] + ((text_changed, 4),))
    yield 'bands', Reader(read_bands, [{'a.csv': ('band,nm,response\n' + ''.join(f'B{b},{400 + 100*b + i},{.1 + i % 5}\n' for b in range(3) for i in range(8))).encode()}], TEXT)

def _lightcurve(data):
    from functools import partial
    from astropy.io import fits
    from physlearn.lightcurve.xray_catalogue import Catalogue, read_catalogue
    from physlearn.lightcurve.xray_files import LightCurves, read_lightcurve
    from physlearn.lightcurve.rnnvae import GuideVAE, load_guide
    from test_light_kinds import QDP
    import torch
    home = data/'lightcurves'
    def cut(path, rows=20, seen=False):
        with fits.open(path) as f:
            out = io.BytesIO()
            for h in f[1:]:
                if h.data is None: continue
                at = np.flatnonzero((h.data['FRACEXP'] > .2).all(-1)) if seen and 'FRACEXP' in h.columns.names else slice(None)
                h.data = h.data[at][:rows]
            f.writeto(out, output_verify='silentfix+ignore')
            return out.getvalue()
    with warnings.catch_warnings(action='ignore'):
        ginga = cut(home/'ginga_lac'/'881022111000l1u020601_bc.lc')
        rxte, rosita = cut(home/'rxte_pca'/'cygx2_std2.lc'), cut(home/'erosita_efeds_template'/'constant_020_LightCurve_00001.fits.gz', seen=True)
        events = cut(home/'events'/'chandra_m82_10027_events.fits', 200)
    curves = [{'a.lc': ginga}, {'a.lc': rxte}, {'a.fits': rosita}]
    yield 'fits/curve', Reader(read_lightcurve, curves, BYTES + ((fits_lied, 8),))
    yield 'fits/packed', Reader(read_lightcurve, [{'a.fits.gz': gzip.compress(rosita)}], BYTES + ((gzip_changed, 8),))
    yield 'fits/events', Reader(partial(read_lightcurve, step=100.), [{'a.fits': events}], BYTES + ((fits_lied, 8),))
    yield 'fits/catalogue', Reader(lambda p: read_catalogue(Path(p).parent), [{'d/a.fits': rosita}], BYTES + ((fits_lied, 8),))
    with tempfile.TemporaryDirectory() as d:
        (Path(d)/'a.fits').write_bytes(rosita)
        lc = read_lightcurve(Path(d)/'a.fits')
    own = written(lambda d: [lc.write(d/f'a.{k}') for k in ('ecsv', 'vot', 'fits')])
    yield 'text/ecsv', Reader(read_lightcurve, [{'a.ecsv': own['a.ecsv']}], TEXT)
    yield 'text/votable', Reader(read_lightcurve, [{'a.vot': own['a.vot']}], TEXT)
    yield 'fits/own', Reader(read_lightcurve, [{'a.fits': own['a.fits']}], BYTES + ((fits_lied, 8),))
    def kept(d): Catalogue(LightCurves.of([lc]), {'b.fits': 'is empty'}, ['a note']).save(d/'a.h5')
    yield 'curves', Reader(Catalogue.load, [written(kept)], BYTES + ((hdf5_lied, 12),))
    weights = io.BytesIO()
    torch.save(GuideVAE(1, 1, 3, 2).state_dict(), weights)
    yield 'weights', Reader(load_guide, [{'a.pt': weights.getvalue()}], BYTES)
    plain = 'time [s],rate [ct/s],error [ct/s],exposure [s]\n' + ''.join(f'{10*i},{5 + i % 3},{.5},{9}\n' for i in range(20))
    dated = 'date rate error\n' + ''.join(f'2020-01-{i + 1:02d}T00:00:00 {5 + i % 3} .5\n' for i in range(20))
    yield 'text/table', Reader(read_lightcurve, [{'a.csv': plain.encode()}, {'a.txt': dated.encode()}], TEXT)
    yield 'text/qdp', Reader(partial(read_lightcurve, table=0), [{'a.qdp': QDP.encode()}], TEXT)
    maxi = ''.join(f'{55000 + i}.5 ' + ' '.join(f'{.1 + .01*k:.4f}' for k in range(8)) + '\n' for i in range(20))
    yield 'text/maxi', Reader(read_lightcurve, [{'a.txt': maxi.encode()}], TEXT)

def fits_lied(raw, dice):
    "Cards and columns changed by a text editor: values, names, forms, counts."
    out = bytearray(raw)
    heads = [m.start() for m in re.finditer(rb'(SIMPLE  =|XTENSION=)', raw)]
    at = dice.choice(heads) if heads else 0
    end = raw.find(b'END' + b' '*77, at)
    cards = list(range(at, max(at + 80, end), 80))
    for at in dice.sample(cards, min(len(cards), dice.choice((1, 1, 2, 4)))):
        how = dice.randrange(6)
        if how < 3:
            value = dice.choice(('0', '-1', '1', '2', '9999999', '2147483648', '9'*30, "''", "'1000000D'", "'PD(5)'", "'A'", "'X'", "'0D'", "'C'", "'1QD(9)'", 'T', 'F',
                                 '1.0E400', "'s'", "'d'", "'furlong'", "'MJD'", '1.0E-3', 'NaN', '', "'2020-13-01'", "'BINTABLE'", "'IMAGE'", '16', '-64', "'(3,4)'"))
            out[at+8:at+80] = f'= {value:>20}'.ljust(72).encode()[:72]
        elif how == 3: out[at:at+8] = dice.choice((b'COMMENT ', b'NAXIS1  ', b'TFORM1  ', b'ZZZ     ', b'TZERO1  ', b'TSCAL1  ', b'TNULL1  ', b'\xff'*8, b'TDIM1   ', b'PCOUNT  ', b'CONTINUE'))
        elif how == 4: out[at:at+80] = bytes(80)
        else: del out[at:at+80]
    return bytes(out)

def _icecube(data):
    from physlearn.icecube.desk import read_labels
    from physlearn.icecube.detector import Geometry
    from physlearn.icecube.event_files import read_events, read_geo, write_graphnet, write_guide
    from physlearn.icecube.event_simulate import simulate
    array = Geometry.hexagonal(7, 6)
    e = simulate(6, 4, geometry=array, energy=(1e3, 1e5))
    import pyarrow as pa, pyarrow.parquet as pq
    hdf5, pqs = BYTES + ((hdf5_lied, 12),), BYTES + ((parquet_lied, 12),)
    yield 'events/guide', Reader(read_events, [written(lambda d: write_guide(e, d/'a.h5'))], hdf5)
    yield 'events/own', Reader(read_events, [written(lambda d: e.save(d/'a.h5'))], hdf5)
    tables = {f'set/{k.partition("/")[2]}': v for k, v in written(lambda d: write_graphnet(e, d/'t')).items()}
    def of_folder(path):
        while path.name != 'set': path = path.parent
        return read_events(path)
    yield 'events/graphnet', Reader(of_folder, [tables], pqs[:-1] + ((by_kind, 12),))
    def prometheus(d):
        photons = [dict({f'sensor_pos_{k}': array.xyz[e.sensor[a:b],i].tolist() for i, k in enumerate('xyz')}, t=e.time[a:b].tolist())
                   for a, b in zip(e.offsets[:-1], e.offsets[1:])]
        truth = [{f'initial_state_{k}': float(x) for k, x in zip(('energy', 'zenith', 'azimuth', 'x', 'y', 'z'), row)} for row in e.label]
        pq.write_table(pa.table(dict(photons=photons, mc_truth=truth)), d/'a.parquet')
    yield 'events/prometheus', Reader(lambda p: read_events(p, geometry=array, direction='origin'), [written(prometheus)], pqs)
    geo = 'Metadata\n### Modules ###\n' + ''.join(f'{x:.2f}\t{y:.2f}\t{z:.2f}\t{s}\t{m}\n' for (x, y, z), s, m in zip(array.xyz.tolist(), array.string, array.dom))
    yield 'sensors/geo', Reader(read_geo, [{'a.geo': geo.encode()}], TEXT)
    rows = 'idx,x,y,z,string,dom\n' + ''.join(f'{i},{x:.2f},{y:.2f},{z:.2f},{s},{m}\n' for i, ((x, y, z), s, m) in enumerate(zip(array.xyz.tolist(), array.string, array.dom)))
    yield 'sensors/table', Reader(Geometry.load, [{'a.csv': rows.encode()}], TEXT, rows_lost)
    labels = 'energy [TeV],zenith,azimuth,x,y,z,kind\n' + ''.join(f'{1 + i},{.1*i},{.2*i},{i},{i},{-i},{"track" if i % 2 else "cascade"}\n' for i in range(12))
    yield 'labels', Reader(read_labels, [{'a.csv': labels.encode()}], TEXT)

def by_kind(raw, dice):
    "Structural damage after what the file is."
    return parquet_lied(raw, dice) if raw[:4] == b'PAR1' else text_changed(raw, dice)

def _sar(data):
    from physlearn.sar.scene_files import scene_tile, write_picture
    from physlearn.sar.synthetic import holes, synthetic
    from physlearn.sar.tiles import read_tile, write_tile
    tile = holes(synthetic(1, 3, 24)[0], seed=3, number=0)
    yield 'tile', Reader(read_tile, [in_order('a.npz', written(lambda d: write_tile(tile, d/'a.npz')))], BYTES + ((zip_or_json, 10),))
    place = ('EPSG:32632', (10., 0., 700000., 0., -10., 5300000.))
    def scene(d):
        write_picture(d/'a.tif', tile.optical, place)
        write_picture(d/'radar.tif', tile.s1, place, dict(VV='dB', VH='dB'))
    both = written(scene)
    yield 'scene', Reader(lambda p: scene_tile(Path(p).parent/'radar.tif', Path(p).parent/'a.tif'), [both], BYTES)
    from physlearn.sar.adapters import told_of_adapter
    import torch
    from safetensors.torch import save
    weights = save(dict(a=torch.zeros(3, 4)), dict(adapter=json.dumps(dict(rank=2, alpha=1., targets=['q'], base=None))))
    yield 'adapter', Reader(told_of_adapter, [{'a.safetensors': weights}], BYTES + ((text_changed, 4),))

def zip_or_json(raw, dice):
    if raw[:2] != b'PK': return text_changed(raw, dice)
    return zip_changed(raw, dice) if dice.random() < .5 else npz_lied(raw, dice)

FAMILIES = _hdf5, _lightcurve, _canopy, _spectra, _icecube, _sar, _tables, _results

def readers(data, begins=('',)):
    "Every reader whose name begins so, by name."
    return {k: r for family in FAMILIES for k, r in family(Path(data)) if k.startswith(tuple(begins))}

# ------------------------------------------------------------------------------------------------------- what is valid

def unsound(data, path='data'):
    "What of data that were read cannot be right: '' if nothing."
    if isinstance(data, np.ndarray):
        if data.dtype.hasobject and not all(isinstance(v, str) for v in data.flat): return f'{path} holds Python objects'
        if data.nbytes > MEMORY: return f'{path} has {data.nbytes} bytes'
    if isinstance(data, dict): parts = [(f'{path}.{k}', v) for k, v in data.items()]
    elif isinstance(data, (list, tuple)): parts = [(f'{path}[{i}]', v) for i, v in enumerate(data[:50])]
    elif is_dataclass(data): parts = [(f'{path}.{f.name}', getattr(data, f.name)) for f in fields(data)]
    else: parts = []
    return next(filter(None, (unsound(v, k) for k, v in parts)), '') or _of_kind(data)

def _of_kind(d):
    "Rules of each kind of data."
    kind = type(d).__name__
    finite = lambda *names: next((f'{kind}.{k} is not finite' for k in names if not np.isfinite(getattr(d, k)).all()), '')
    if kind == 'Spectrum':
        if d.nu is None: return finite('y')
        step = np.diff(d.nu)
        if len(d.nu) != len(d.y): return 'lengths of a spectrum differ'
        return finite('y', 'nu') or ('the axis is not sorted' if not (step > 0).all() else '')
    if kind == 'Arrays' and d.lines is not None and any(np.isinf(v).any() for v in d.values() if v.dtype.kind == 'f'): return 'infinite numbers'
    if kind == 'LineList': return finite('nu', 'sw', 'elower', 'gamma_air', 'gamma_self')
    if kind == 'LightCurve':
        used = d.rate[d.mask]
        if not np.isfinite(d.time).all() or (np.diff(d.time) < 0).any(): return 'times are not sorted'
        if not (d.dt > 0).all(): return 'steps without a length'
        return 'rates in use are infinite' if np.isinf(used).any() else ''                 # NaN: a gap
    if kind == 'LightCurves':
        n = d.offsets[-1]
        if len(d.offsets) != len(d.names) + 1 or any(len(v) != n for v in d.arrays.values()): return 'lengths differ'
        return '' if np.isfinite(d.arrays['time']).all() else 'times are not finite'
    if kind == 'Events':
        n = len(d.geometry)
        if (np.diff(d.offsets) < 0).any() or d.offsets[-1] != len(d.time): return 'offsets are wrong'
        if len(d.sensor) and not (0 <= d.sensor.min() and d.sensor.max() < n): return 'sensors that are not there'
        return finite('time', 'charge')
    if kind == 'Reflectance': return '' if len(d.x) == 0 or not np.isinf(d.x).any() else 'infinite reflectances'
    if kind == 'Geometry': return finite('xyz')
    if kind == 'Tile': return '' if np.isfinite(d.s1[:,d.valid]).all() else 'valid pixels are not finite'
    return ''

def _rows(path):
    "Lines of a text file from the first on that is like a row of numbers: a damaged row may begin with anything."
    raw = Path(path).read_bytes()
    if raw[:2] == b'\x1f\x8b': raw = gzip.decompress(raw)
    if raw[:2] in (b'\xff\xfe', b'\xfe\xff'): text = raw.decode('utf-16', 'replace')
    else: text = raw.decode('utf-8-sig', 'replace')
    lines = [line for line in re.split('\r\n|\r|\n', text) if line.strip().strip('\x1a')]
    number = r'[-+]?(\d+[.,]?\d*|[.,]\d+)([eEdD][-+]?\d+)?'                  # nor is a header in which one name is a number
    like = lambda line: [bool(re.fullmatch(number, c)) for c in re.split(r'[,;\s]+', line.strip(' \t,;'))]
    at = next((i for i, line in enumerate(lines) if (k := like(line))[0] and 2*sum(k) >= len(k)), len(lines))
    return len(lines) - at

def rows_lost(path, data):
    lines = getattr(data, 'lines', None)
    n = len(data.nu) if type(data).__name__ == 'Continuum' else len(data) if lines is None else len(lines)
    return max(0, _rows(path) - n) if not getattr(data, 'notes', None) else 0

def rows_kept(path, r):
    "Rows of a table of reflectances that are neither there nor counted."
    return max(0, _rows(path) - len(r)) if not (r.notes or len(r.reasons)) else 0

def spectrum_lost(path, s):
    told = [n for n in s.notes if 'left out' in n or 'removed' in n]
    return max(0, _rows(path) - len(s)) if not told else 0

# ----------------------------------------------------------------------------------------------------------- the mutants

def mutant(name, reader, seed):
    "Files by name, the one that is read first, and which was damaged how."
    dice = random.Random(f'{name} {seed}')
    files = dict(reader.samples[seed % len(reader.samples)])
    target = dice.choice([k for k in files if k not in reader.fixed])
    if len(files) > 1 and dice.random() < .3: target = next(iter(files))
    ways, said = reader.ways, []
    for _ in range(1 if dice.random() < .8 else 2):
        way = _any(dice, ways)
        said.append(way.__name__)
        try: files[target] = way(files[target], dice) if files[target] else files[target]
        except Exception as e: said.append(f'not: {type(e).__name__}')    # a second damage to what the first left
    return files, f'{target}: {", ".join(said)}'

def put(files, folder):
    shutil.rmtree(folder, ignore_errors=True)
    for k, v in files.items():
        (folder/k).parent.mkdir(parents=True, exist_ok=True)
        (folder/k).write_bytes(v)
    return folder/next(iter(files))

class _Forked:
    "In place of a new interpreter that reads HDF5: a copy of this process."
    def __init__(self, ask):
        from physlearn import files
        ask = {k: v for k, v in ask.items() if k not in ('search', 'module')}
        here, there = os.pipe()
        self.pid, self.code = os.fork(), None
        if self.pid == 0:
            try:
                os.dup2(there, 1)
                sys.stdout = io.TextIOWrapper(os.fdopen(1, 'wb'), write_through=True)
                files.answer(**ask)
                sys.stdout.flush()
                os._exit(0)
            except BaseException:
                os._exit(3)
        os.close(there)
        self.stdout = os.fdopen(here, 'rb')
    def kill(self):
        if self.code is None: os.kill(self.pid, signal.SIGKILL)
    def wait(self):
        if self.code is None: self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.code

class _InPlace:
    "In place of a process of its own: this one. It is quicker, and what ends or hangs it is asked again of one apart."
    def __init__(self, ask):
        from physlearn import files
        ask = {k: v for k, v in ask.items() if k not in ('search', 'module', 'cpu')}
        self.stdout = io.BytesIO()
        stdout, sys.stdout = sys.stdout, io.TextIOWrapper(self.stdout, write_through=True)
        try: files.answer(**ask)
        finally:
            sys.stdout.detach()
            sys.stdout = stdout
        self.stdout.seek(0)
    def kill(self): pass
    def wait(self): return 0

def memory(peak=True):
    "Largest resident memory since the last reset, or that of now [bytes]."
    text = Path('/proc/self/status').read_text()
    return int(re.search(r'VmHWM:\s*(\d+)' if peak else r'VmRSS:\s*(\d+)', text)[1])*1024

def judged(reader, path):
    "What becomes of one file: (kind, detail, CPU [s], memory [bytes])."
    from physlearn.files import FileError
    Path('/proc/self/clear_refs').write_text('5')
    before, start, said = memory(False), os.times(), ''
    try:
        data = reader.read(path)
        kind, said = 'valid', unsound(data)
        if said: kind = 'unsound'
        elif reader.lost and (n := reader.lost(path, data)): kind, said = 'lost', f'{n} rows'
    except FileError as e:
        kind, said = 'FileError', str(e)
        if '\n' in said: kind = 'other', f'a line break in the message: {said!r}'[:300]
        elif 'fit into memory' in said or 'llocate' in said: kind = 'memory'
    except MemoryError as e: kind, said = 'memory', _where(e)
    except BaseException as e: kind, said = 'other', _where(e)
    end = os.times()
    cpu = sum(end[:4]) - sum(start[:4])
    if kind in ('valid', 'FileError') and cpu > SECONDS: kind, said = 'slow', f'{cpu:.1f} s: {said[:100]}'
    if kind in ('valid', 'FileError') and memory() - before > MEMORY: kind = 'memory'
    if isinstance(kind, tuple): kind, said = kind
    return kind, said, cpu, memory() - before

def _where(e):
    "An exception and the place of ours from which it came."
    ours = [f for f in traceback.extract_tb(e.__traceback__) if '/physlearn/' in f.filename]
    last = traceback.extract_tb(e.__traceback__)[-1]
    at = f'{Path(ours[-1].filename).name}:{ours[-1].lineno} {ours[-1].name}' if ours else '-'
    return f'{type(e).__name__} at {at} ({Path(last.filename).name}:{last.lineno}): {" ".join(str(e).split())[:100]}'

def _child(name, reader, seeds, out, apart):
    "Reads mutants one after the other and writes a line for each."
    from physlearn import files
    files._isolated = apart
    folder = Path(tempfile.mkdtemp(prefix='mutants-'))
    now = int(re.search(r'VmSize:\s*(\d+)', Path('/proc/self/status').read_text())[1])*1024
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY,)*2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    log = open(folder/'log', 'w+b')
    os.dup2(log.fileno(), 2)
    os.dup2(log.fileno(), 1)
    warnings.simplefilter('default')
    for seed in seeds:
        what, damage = mutant(name, reader, seed)
        path = put(what, folder/'m')
        os.ftruncate(log.fileno(), 0)
        signal.setitimer(signal.ITIMER_PROF, 2*SECONDS if apart is _InPlace else WATCHDOG/2)     # which ends the process
        with warnings.catch_warnings(record=True) as told: kind, said, cpu, size = judged(reader, path)
        sys.stderr.flush()
        flood = os.fstat(log.fileno()).st_size + 100*len(told)
        if flood > SAID and kind in ('valid', 'FileError'): kind, said = 'warnings', f'{flood} bytes: {told[0].message if told else ""}'[:200]
        out.write((json.dumps([seed, kind, said[:400], cpu, size, damage]) + '\n').encode())
        out.flush()
    shutil.rmtree(folder, ignore_errors=True)

def run(name, reader, seeds, apart=_InPlace, batch=250):
    "Lines [seed, kind, said, cpu, memory, damage] of mutants."
    got, seeds = [], list(seeds)
    while seeds:
        here, there = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(here)
            try:
                with os.fdopen(there, 'wb') as out: _child(name, reader, seeds[:batch], out, apart)
            except BaseException: traceback.print_exc()
            finally: os._exit(0)
        os.close(there)
        text, late, left = b'', False, len(seeds[:batch])
        while True:
            ready, _, _ = select.select([here], [], [], WATCHDOG if apart is _Forked else WATCHDOG/3)
            if not ready:
                late = True
                break
            if not (piece := os.read(here, 2**16)): break
            text += piece
        os.close(here)
        os.kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        lines = [json.loads(line) for line in text.decode().split('\n')[:-1]]
        got += lines
        seeds = seeds[len(lines):]
        if len(lines) < left:                                    # the next one hung, or ended the process
            files, damage = mutant(name, reader, seeds[0])
            late = late or code == -signal.SIGPROF
            got.append([seeds[0], 'hang' if late else 'crash', f'exit code {code}', WATCHDOG if late else 0., 0, damage])
            seeds = seeds[1:]
    if apart is _Forked: return got
    odd = {g[0] for g in got if g[1] in ('hang', 'crash', 'slow', 'memory')}          # was it HDF5, which is read apart?
    return [g for g in got if g[0] not in odd] + (run(name, reader, sorted(odd), _Forked) if odd else [])

# ------------------------------------------------------------------------------------------------------------ the table

BAD = 'other', 'unsound', 'lost', 'slow', 'hang', 'crash', 'memory', 'warnings'

def report(name, got, most=20):
    "Prints counts and the first of each kind of failure."
    kinds = collections.Counter(k for _, k, *_ in got)
    slowest = max(got, key=lambda g: g[3])
    print(f'{name}: ' + ', '.join(f'{v} {k}' for k, v in kinds.most_common()), f'; slowest {slowest[3]:.2f} s (seed {slowest[0]}), '
          f'largest {max(g[4] for g in got)/2**20:.0f} MiB, mean {1e3*np.mean([g[3] for g in got]):.1f} ms', flush=True)
    seen = collections.Counter()
    for seed, kind, said, cpu, size, damage in got:
        if kind not in BAD: continue
        key = kind, re.sub(r'\d+', '0', said.partition('):')[0])[:80]
        seen[key] += 1
        if seen[key] == 1 and len(seen) < most: print(f'   {kind} seed {seed} [{damage}] {said[:220]}', flush=True)
    return kinds, slowest[3], max(g[4] for g in got)

def again(name, seed, data):
    "One mutant in the open."
    r = readers(data)[name]
    files, damage = mutant(name, r, int(seed))
    path = put(files, Path('again'))
    print(damage, path, {k: len(v) for k, v in files.items()})
    print(r.read(path))

def kept(rows):
    "Add rows of readers to those that are stored, and write the table anew."
    from _table import bar, save
    path = HERE/'results'/'mutants.json'
    rows = (json.loads(path.read_text())['raw']['rows'] if path.exists() else {}) | rows
    head = ['reader', 'samples', 'mutants', 'valid', 'FileError', 'other', 'unsound', 'slow', 'memory', 'slowest, CPU s', 'largest, MiB']
    bad, n = sum(sum(r[5:9]) for r in rows.values()), sum(r[2] for r in rows.values())
    text = ('Small whole files of every kind that is read, damaged: bits flipped, bytes overwritten, cut off, blocks moved, numbers of headers and words replaced, '
            'data of other types and shapes, NaN and infinity, other encodings and line ends, bombs, other formats. A mutant is a function of the reader and a number. '
            'Each has to give valid data (finite or declared gaps, sorted axes, no row lost in silence) or a FileError of one line, within 2 s of CPU time and 1 GiB, '
            'without a flood of warnings.')
    save('mutants', 'Damaged and hostile files', text, [('', head, [[k, *r[1:]] for k, r in rows.items()])],
         [bar('mutants that give neither valid data nor a FileError within 2 s and 1 GiB', f'0 of {n}', str(bad), bad == 0)], rows=rows)

def main(*words):
    from _table import data_folder
    import torch
    torch.set_num_threads(1)
    data = data_folder()
    if words[:1] == ('again',): return again(*words[1:], data)
    n, rows = int(words[0]) if words else 10_000, {}
    for name, reader in readers(data, words[1:] or ('',)).items():
        with tempfile.TemporaryDirectory() as d:
            for s in reader.samples: reader.read(put(s, Path(d)/'whole'))       # whole files are read, and all is imported
        kinds, cpu, size = report(name, run(name, reader, range(n)))
        count = lambda *names: sum(kinds[k] for k in names)
        rows[name] = [name, len(reader.samples), n, kinds['valid'], kinds['FileError'], count('other', 'crash', 'warnings'),
                      count('unsound', 'lost'), count('slow', 'hang'), count('memory'), cpu, size/2**20]
    if n >= 10_000: kept(rows)

if __name__ == '__main__': main(*sys.argv[1:])
