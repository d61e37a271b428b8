"""Hostile and broken files: whatever the bytes, a reader gives valid data or a FileError, and nothing else. And a writer that
is killed in the middle leaves the old file."""
import gzip, io, json, os, subprocess, sys, textwrap, zipfile
from functools import partial
import h5py, numpy as np, pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from physlearn import files
from physlearn.files import FileError, atomic_write, read_hdf5, read_json, read_npz, read_table, write_hdf5, write_json, write_table

LIMIT = 2**24
calm = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])

def samples(folder):
    "One small whole file of each kind, written by other hands than ours: name -> (bytes, reader)."
    nu = np.linspace(3085, 3086, 40)
    npz, stored = io.BytesIO(), io.BytesIO()
    np.savez_compressed(npz, nu=nu, tau=np.exp(-nu/3000).astype('f4'), tag=np.array(['a', 'bc']))
    np.savez(stored, nu=nu, n=np.arange(6).reshape(2, 3))
    with h5py.File(folder/'s.h5', 'w') as f:
        f.attrs['instrument'] = np.bytes_('CRDS')
        f.create_dataset('run/nu', data=nu, chunks=(16,), compression='gzip', shuffle=True, fletcher32=True).attrs['unit'] = np.bytes_('1/cm')
        f.create_dataset('run/tau', data=np.exp(-nu), compression='lzf', chunks=(8,))
        f['n'] = np.arange(6).reshape(2, 3)
    table = '# source: somebody\nnu,sw,who\n' + ''.join(f'{a:.4f},{b:.3e},x\n' for a, b in zip(nu, np.exp(-nu)))
    return {'t.csv': (table.encode(), lambda p: read_table(p, text=['who'], limit=LIMIT)),
            't.csv.gz': (gzip.compress(table.encode()), lambda p: read_table(p, text=['who'], limit=LIMIT)),
            's.json': (json.dumps(dict(a=nu.tolist(), b=dict(c='d'))).encode(), lambda p: read_json(p, limit=LIMIT)),
            's.npz': (npz.getvalue(), lambda p: read_npz(p, limit=LIMIT)), 'u.npz': (stored.getvalue(), lambda p: read_npz(p, limit=LIMIT)),
            's.h5': ((folder/'s.h5').read_bytes(), lambda p: read_hdf5(p, limit=LIMIT))}

def mutants(raw, n, seed):
    "`n` damaged copies: cut off, bits flipped, bytes overwritten, a piece left out or doubled."
    rng = np.random.default_rng(seed)
    for i in range(n):
        b, at = bytearray(raw), int(rng.integers(len(raw)))
        if i % 4 == 0: b = b[:at]
        elif i % 4 == 1:
            for k in rng.integers(len(b), size=rng.integers(1, 6)): b[k] ^= 1 << rng.integers(8)
        elif i % 4 == 2: b[at:at+8] = bytes(rng.choice([0, 255, 127, 128], size=8).tolist())[:len(b) - at]
        else: b = b[:at] + b[at:at+16]*int(rng.integers(0, 3)) + b[at+16:]
        yield bytes(b)

def survive(raw, reader, path, n, seed):
    "Counts of (read, refused); anything else raises."
    read = refused = 0
    for b in mutants(raw, n, seed):
        path.write_bytes(b)
        try: data = reader(path)
        except FileError as e:
            refused += 1
            assert str(path) in str(e) and '\n' not in str(e)
            continue
        read += 1
        for v in (data.values() if isinstance(data, dict) else []):
            if isinstance(v, np.ndarray): assert not v.dtype.hasobject and v.nbytes <= LIMIT
            if path.suffix == '.csv' and v.dtype.kind == 'f': assert np.isfinite(v).all()
    return read, refused

@pytest.mark.parametrize('name', ['t.csv', 't.csv.gz', 's.json', 's.npz', 'u.npz'])
def test_damaged(name, tmp_path):
    raw, reader = samples(tmp_path)[name]
    (tmp_path/name).write_bytes(raw)
    reader(tmp_path/name)
    read, refused = survive(raw, reader, tmp_path/name, 600, 1)
    assert refused > 200, (read, refused)

def test_damaged_hdf5(tmp_path):
    "The HDF5 library may crash on damaged files, so this runs in a process of its own; a crash is a failure too."
    code = f"""
        import sys, pathlib; sys.path.insert(0, {os.path.dirname(__file__)!r})
        from test_files import samples, survive
        folder = pathlib.Path({str(tmp_path)!r})
        raw, reader = samples(folder)['s.h5']
        reader(folder/'s.h5')
        print(*survive(raw, reader, folder/'m.h5', 800, 2))"""
    r = subprocess.run([sys.executable, '-c', textwrap.dedent(code)], capture_output=True, text=True, timeout=120)
    assert r.returncode == 0, (r.returncode, r.stderr[-2000:], 'last file: ' + str(tmp_path/'m.h5'))
    read, refused = map(int, r.stdout.split())
    assert refused > 200, (read, refused)

def test_damaged_words(tmp_path, monkeypatch):
    "Strings of variable length are read by a child process, which costs time: fewer copies, each damaged where the strings lie."
    p = tmp_path/'w.h5'
    monkeypatch.setattr(files, '_words', partial(files._words, seconds=2.))
    with h5py.File(p, 'w') as f: f.attrs['who'] = 'somebody'; f['a'] = np.arange(3)
    raw = p.read_bytes()
    at = raw.index(b'somebody')
    assert read_hdf5(p).meta == dict(who='somebody')
    for k in (at - 28, at - 24, at - 16, at - 8, at):
        p.write_bytes(raw[:k] + bytes([raw[k] ^ 0x55]) + raw[k+1:])
        try: read_hdf5(p)
        except FileError: pass

@pytest.mark.parametrize('child,word', [('import os; os.abort()', 'cannot be read'), ('while True: pass', 'more than 0.5 s')])
def test_child_that_fails(child, word, tmp_path, monkeypatch):
    "A crash or an endless loop in the HDF5 library does not become ours."
    monkeypatch.setattr(files, '_WORDS', child)
    with pytest.raises(FileError, match=word): files._words(tmp_path/'a.h5', [['/', 'who']], seconds=.5)

@calm
@given(st.binary(min_size=1, max_size=300), st.sampled_from(['', 'PK\x03\x04', '\x1f\x8b\x08', '\x89HDF\r\n\x1a\n', 'a,b\n', '{', '\x93NUMPY']))
def test_noise(tmp_path, noise, start):
    "Random bytes behind the right first ones, through every reader."
    p = tmp_path/'noise'
    p.write_bytes(start.encode('latin-1') + noise)
    for reader in (read_table, read_json, read_npz, read_hdf5):
        try: reader(p)
        except FileError: pass

numbers = st.floats(allow_nan=False, allow_infinity=False)
words = st.text(st.characters(blacklist_categories=['Cs', 'Cc']), max_size=8)

@calm
@given(st.lists(st.tuples(numbers, words), min_size=1, max_size=8))
def test_table_comes_back(tmp_path, rows):
    x, w = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    write_table(tmp_path/'t.csv', dict(x=x, w=w), dict(n=len(rows)))
    t = read_table(tmp_path/'t.csv', text=['w'])
    assert (t['x'].view('i8') == x.view('i8')).all() and (t['w'] == w).all() and t.meta == dict(n=str(len(rows)))

def bomb(path):
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as z: z.writestr('a.npy', np.lib.format.MAGIC_PREFIX + bytes(2**25))
def crowd(path):
    with zipfile.ZipFile(path, 'w') as z:
        for i in range(1001): z.writestr(f'{i}.npy', b'')
def pickled(path): np.savez(path, a=np.array([print], dtype=object))
def outside(path):
    with h5py.File(path, 'w') as f: f['a'] = h5py.ExternalLink('/etc/passwd', '/')
def storage(path):
    with h5py.File(path, 'w') as f: f.create_dataset('a', (100,), 'u1', external=[('/etc/passwd', 0, 100)])
def huge(path):
    with h5py.File(path, 'w') as f: f.create_dataset('a', (2**40,), 'u1', chunks=(1024,))
def wide(path):
    with h5py.File(path, 'w') as f: f.create_dataset('a', (4,), 'f8', chunks=(2**28,), maxshape=(None,))
def mix(path):
    with h5py.File(path, 'w') as f: f.create_dataset('a', data=['x', 'y'], dtype=h5py.string_dtype())

@pytest.mark.parametrize('make,read,word', [(bomb, read_npz, 'at most|promises'), (crowd, read_npz, '1001 members'), (pickled, read_npz, 'could run code'),
    (outside, read_hdf5, 'another file'), (storage, read_hdf5, 'other files'), (huge, read_hdf5, 'unpacks to more'), (wide, read_hdf5, 'unpacks to more'),
    (mix, read_hdf5, 'variable-length')])
def test_hostile(make, read, word, tmp_path):
    p = tmp_path/('a.npz' if read is read_npz else 'a.h5')
    make(p)
    with pytest.raises(FileError, match=word): read(p, limit=LIMIT)

def test_killed_while_writing(tmp_path):
    "At whichever moment the process dies, the old file is whole."
    p = tmp_path/'run.json'
    write_json(p, dict(epoch=1))
    for before in ('', 'tmp.write_text("half")', 'tmp.write_text("half"); sys.stdout.flush()'):
        code = f'import os, sys\nfrom physlearn.files import atomic_write\nwith atomic_write({str(p)!r}) as tmp:\n    {before or "pass"}\n    os._exit(9)'
        assert subprocess.run([sys.executable, '-c', code]).returncode == 9
        assert read_json(p) == dict(epoch=1)
    write_json(p, dict(epoch=2))
    assert read_json(p) == dict(epoch=2)

def test_steps_of_an_atomic_write(tmp_path, monkeypatch):
    "Data to the disk, then the name, then the folder to the disk; a failure at any step keeps the old file and leaves no other."
    p, seen = tmp_path/'a.txt', []
    p.write_text('old')
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, 'fsync', lambda fd: (seen.append('fsync'), fsync(fd)))
    monkeypatch.setattr(os, 'replace', lambda a, b: (seen.append('replace'), replace(a, b)))
    with atomic_write(p) as tmp: tmp.write_text('new')
    assert seen == ['fsync', 'replace', 'fsync'] and p.read_text() == 'new'
    def full(*args): raise OSError(28, 'No space left on device')
    for step in ('fsync', 'replace'):
        with monkeypatch.context() as m:
            m.setattr(os, step, full)
            with pytest.raises(OSError, match='No space'):
                with atomic_write(p) as tmp: tmp.write_text('newer')
        assert p.read_text() == 'new' and os.listdir(tmp_path) == ['a.txt']

def test_hdf5_writer_is_atomic(tmp_path):
    p = tmp_path/'a.h5'
    write_hdf5(p, dict(a=np.arange(3)))
    with pytest.raises(TypeError): write_hdf5(p, dict(a=np.arange(4), b=np.array([{}], dtype=object)))
    assert read_hdf5(p)['a'].tolist() == [0, 1, 2] and os.listdir(tmp_path) == ['a.h5']
