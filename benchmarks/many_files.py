"""Many spectra in one command: CPU milliseconds for each file beyond start and table, from file to row.

    PHYSLEARN_DATA=... python benchmarks/many_files.py [files]

Methane at 6056 cm-1, 170 lines, 600 points, noise 0.1 %, amounts drawn from 1 to 100 ppm, P and T from gauges. The files
are CSV, made by the exact model; `fit spectra` reads them, fits them with the table and writes one table and a picture.
Beside it the plain rival: as many commands' worth of work, each file fitted by itself with the exact model."""
import contextlib, csv, io, os, sys, tempfile, time
from pathlib import Path
import numpy as np
import torch
from _table import bar, save
from physlearn.cli import main as physlearn
from physlearn.params import normals
from physlearn.spectra.setup import Gas

LIST, GAS = 'ch4_6047_6067.par', ('CH4=1..200ppm',)
CELL = dict(path='15m', known=('P=0.5atm', 'T=296K'))

def files(folder, n, lines):
    "n CSV files of known amounts, and these [-]."
    gas = Gas(lines=(lines,), gas=GAS, window='6054.5..6058.5', path=CELL['path'])
    gas.num_points = 600
    sim = gas.built(method='exact', dtype=torch.float64)
    amount = np.exp(np.random.default_rng(0).uniform(np.log(1e-6), np.log(1e-4), n))
    middle = dict(centre=6056.5, span=4., baseline0=1., baseline1=0., baseline2=0., P=506.625, T=296.)
    theta = torch.tensor([[x if k == 'mf_CH4' else middle[k] for k in sim.space] for x in amount], dtype=torch.float64)
    with torch.no_grad(): y = torch.cat([sim(t) for t in theta.split(50)])[:,0]
    y, nu = (y*(1 + .001*normals(n, 600, 'many', dtype=torch.float64))).numpy(), sim.wavenumber(theta[:1])[0].numpy()
    for i, row in enumerate(y):
        text = '\n'.join(f'{a:.6f},{b:.8f}' for a, b in zip(nu, row))
        (folder/f'cell_20260131_{i//60:02d}{i%60:02d}00.csv').write_text('# quantity: transmittance\n# axis: wavenumber\nwavenumber,transmittance\n' + text + '\n')
    return sorted(map(str, folder.glob('cell*.csv'))), amount

def command(names, lines, out, *words):
    "CPU seconds of one command, and its table."
    t = time.process_time()
    known = ['--known', *CELL['known']]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        code = physlearn(['fit', 'spectra', *names, '--lines', lines, '--gas', *GAS, '--path', CELL['path'], *known, '--out', out, *words])
    if code: sys.exit(f'the command failed with {code}')
    t = time.process_time() - t
    return t, list(csv.DictReader(line for line in open(out) if line[0] != '#'))

def main(n=200):
    torch.set_num_threads(1)
    n = int(n)
    with tempfile.TemporaryDirectory() as d:
        d = Path(d)
        records = (Path(os.environ['PHYSLEARN_DATA'])/'hitran'/LIST).read_text().splitlines()
        near = [r for r in records if 6052 < float(r[3:15]) < 6061]
        lines, series = str(d/'lines.par'), ['--time', 'name', '--plot']
        Path(lines).write_text('\n'.join(sorted(near, key=lambda r: -float(r[15:25]))[:170]) + '\n')
        names, truth = files(d, n, lines)
        command(names[:3], lines, str(d/'warm.csv'))                                  # what is loaded at first use is loaded
        few, _ = command(names[:3], lines, str(d/'few.csv'), *series, str(d/'few.png'))
        all_, rows = command(names, lines, str(d/'all.csv'), *series, str(d/'all.png'))
        alone = np.median([command([f], lines, str(d/f'one{i}.csv'))[0] for i, f in enumerate(names[:5])])
    each = 1e3*(all_ - few)/(n - 3)
    value, sd = (np.array([float(r[k]) for r in rows]) for k in ('mf_CH4', 'mf_CH4_statistical'))
    pull = float(np.sqrt((((value - truth)/sd)**2).mean()))
    table = [['one command, one table', each, 1e3*all_/n], ['a command for each, exact model', 1e3*alone, 1e3*alone]]
    save('many_files', 'Many files in one command', __doc__.split('\n\n')[2].replace('\n', ' ') + f' {n} files.',
         [('', ['way', 'CPU ms per file beyond start and table', 'CPU ms per file, all'], table)],
         [bar('CPU per file beyond start and table', '<= 20 ms', f'{each:.1f} ms', each <= 20),
          bar('RMS of error over stated sd', '0.9 .. 1.1', f'{pull:.3f}', .9 < pull < 1.1)])
    print(f'{each:.1f} ms a file; {few:.2f} s for three; RMS of error over sd {pull:.3f}; alone {1e3*alone:.0f} ms')

if __name__ == '__main__': main(*sys.argv[1:])
