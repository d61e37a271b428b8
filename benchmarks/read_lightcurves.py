"""Reading a folder of light curves: CPU seconds of a survey's files.

    python benchmarks/read_lightcurves.py [files]

Simulated files of 20 to 200 rows whose headers are filled up to 40 kB, as those of the eROSITA pipeline are; warm disk. Reading and joining of visits, without
and with the writing of the cache; the cache read again; a sample of them by astropy through `read_lightcurve`, which gives the same bits."""
import gzip, sys, tempfile, time
from pathlib import Path
import numpy as np
from _table import bar, save
from physlearn.lightcurve.xray_catalogue import read_catalogue
from physlearn.lightcurve.xray_files import read_lightcurve
from physlearn.lightcurve.xray_simulate import simulate

def filled(data, size=40_320):
    "A file whose second header has this size [bytes]."
    start = 2880
    end = start + data[start:].index(b'END' + b' '*77)
    begin = start + -(-(end + 80 - start)//2880)*2880
    cards = (size - (begin - start) - 80)//80
    history = b''.join(f'HISTORY parameter {i} of the pipeline'.ljust(80).encode() for i in range(cards))
    head = data[start:end] + history + b'END'.ljust(80)
    return data[:start] + head.ljust(-(-len(head)//2880)*2880) + data[begin:]

def cpu(task):
    t = time.process_time()
    out = task()
    return time.process_time() - t, out

def measured(folder, kind, n):
    "CPU seconds: read, with the cache's writing, cached, all files by astropy; whether bits agree."
    read, _ = cpu(lambda: read_catalogue(folder))
    written, found = cpu(lambda: read_catalogue(folder, folder/'all.h5'))
    cached, again = cpu(lambda: read_catalogue(folder, folder/'all.h5'))
    rows = read_catalogue(folder, visits=False).curves
    some = np.linspace(0, len(rows) - 1, 200).astype(int)
    alone, own = cpu(lambda: [read_lightcurve(rows.more['file'][i]) for i in some])
    same = all(np.array_equal(getattr(rows[i], k), getattr(lc, k), equal_nan=True) for i, lc in zip(some, own) for k in rows.arrays)
    assert len(again) == len(found) and same
    return [kind, read, written, cached, alone*n/len(some), same]

def main(n=16384):
    n, rows = int(n), []
    with tempfile.TemporaryDirectory() as folder:
        plain, packed = Path(folder)/'plain', Path(folder)/'gz'
        for where in (plain, packed): where.mkdir()
        for seed in range(0, n, 2048):
            for path in simulate(np.arange(seed, min(seed + 2048, n)), seed=1).write(plain):
                data = filled(path.read_bytes())
                path.write_bytes(data)
                (packed/f'{path.name}.gz').write_bytes(gzip.compress(data, 4))
        for where, kind in ((plain, 'plain'), (packed, 'gz')): rows.append(measured(where, kind, n))
    save('read_lightcurves', 'Reading a folder of light curves', __doc__.split('\n\n')[2].replace('\n', ' '),
         [(f'{n} files', ['files', 'read [s]', 'read and cache written [s]', 'cached [s]', 'by astropy, extrapolated [s]', 'same bits'], rows)],
         [bar(f'CPU of {kind} files, with the cache [s]', f'<= {most}', f'{row[2]:.1f}', row[2] <= most) for (kind, most), row in zip((('plain', 5), ('gz', 12)), rows)]
         + [bar('CPU of the cache [s]', '<= 2', f'{rows[0][3]:.2f}', rows[0][3] <= 2)])

if __name__ == '__main__': main(*sys.argv[1:])
