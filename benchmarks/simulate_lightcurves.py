"""Simulated light curves: sources and files per CPU second.

    python benchmarks/simulate_lightcurves.py [sources]

Seven classes over the sphere, constants alone as thresholds need them, long series near the poles, and the slow raster. Rows are
those of the files, 10 s (raster: 100 s); visits are joined by `light_curves`; files have the 17 columns of srctool."""
import sys, tempfile, time
import numpy as np
import torch
from _table import bar, save
from physlearn.lightcurve.xray_simulate import simulate

KINDS = {'survey, seven classes': {}, 'survey, constants': dict(mix='constant'), 'near the poles': dict(survey='pole'),
         'raster': dict(survey='efeds')}

def speeds(n, **words):
    "Rows per source, sources per CPU second without and with joined visits."
    t = time.process_time()
    s = simulate(n, seed=1, **words)
    alone = time.process_time() - t
    s.light_curves()
    return [len(s.time)/n, n/alone, n/(time.process_time() - t)]

def main(n=2000):
    torch.set_num_threads(1)
    n = int(n)
    simulate(20).light_curves()
    rows = [[name, *speeds(n//20 if 'poles' in name else n, **words)] for name, words in KINDS.items()]
    lengths = np.diff(simulate(n, seed=1).offsets)
    with tempfile.TemporaryDirectory() as folder:
        s, t = simulate(200, seed=2), time.process_time()
        s.write(folder)
        written = 200/(time.process_time() - t)
    share = 100*((lengths >= 20) & (lengths <= 200)).mean()
    save('simulate_lightcurves', 'Simulated light curves', __doc__.split('\n\n')[2].replace('\n', ' '),
         [('Speed', ['what', 'rows per source', 'sources per CPU second', 'with visits joined'], rows,
           f'{share:.0f} % of the sources of the survey have 20 to 200 rows. {written:.0f} files are written per CPU second.')],
         [bar('sources per CPU second, seven classes', '>= 500', f'{rows[0][2]:.0f}', rows[0][2] >= 500)])

if __name__ == '__main__': main(*sys.argv[1:])
