"""How long does a command take before it does anything?

    python benchmarks/import_time.py

Wall time of new processes, beside that of a Python that does nothing: the median and the extremes of some runs in turns, after one that is not counted. The
parts of the slowest import are those of `python -X importtime`, the time of a package without what it imports from others."""
import os, re, statistics, subprocess, sys, time
from pathlib import Path
from _table import bar, save

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = {'python that does nothing': ('-c', 'pass'), 'import physlearn': ('-c', 'import physlearn'), 'physlearn --help': ('-m', 'physlearn', '--help'),
            'physlearn --version': ('-m', 'physlearn', '--version'), 'physlearn train --help': ('-m', 'physlearn', 'train', '--help'),
            'physlearn doctor --help': ('-m', 'physlearn', 'doctor', '--help'), 'import torch': ('-c', 'import torch'),
            'import physlearn.runs': ('-c', 'import physlearn.runs'), 'physlearn train spectra --help': ('-m', 'physlearn', 'train', 'spectra', '--help'),
            'physlearn train icecube --help': ('-m', 'physlearn', 'train', 'icecube', '--help')}
QUICK = 'import physlearn', 'physlearn --help', 'physlearn --version', 'physlearn train --help', 'physlearn doctor --help'

def seconds(words):
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, capture_output=True, cwd=ROOT, env=os.environ | dict(PYTHONPATH=str(ROOT)))
    return time.perf_counter() - start

def parts(words, n=10):
    "Seconds of the packages that a command imports, each without the others."
    r = subprocess.run([sys.executable, '-X', 'importtime', *words], capture_output=True, text=True, cwd=ROOT, env=os.environ | dict(PYTHONPATH=str(ROOT)))
    took = {}
    for own, name in re.findall(r'import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)', r.stderr):
        top = name.split('.')[0]
        took[top] = took.get(top, 0) + int(own)/1e6
    return sorted(took.items(), key=lambda p: -p[1])[:n]

def main(runs=7):
    took = {k: [] for k in COMMANDS}
    for i in range(int(runs) + 1):
        for k, words in COMMANDS.items():
            t = seconds(words)
            if i: took[k].append(t)
    base = statistics.median(took['python that does nothing'])
    rows = [[k, 1e3*statistics.median(v), 1e3*min(v), 1e3*max(v), 1e3*(statistics.median(v) - base)] for k, v in took.items()]
    more = {k: statistics.median(took[k]) - base for k in QUICK}
    worst = max(more, key=more.get)
    share = [[k, 1e3*v] for k, v in parts(COMMANDS['physlearn train spectra --help'])]
    save('import_time', 'Time before a command begins', ' '.join(__doc__.split('\n\n')[-1].split()),
         [('New processes', ['process', 'median [ms]', 'least [ms]', 'most [ms]', 'more than Python [ms]'], rows),
          ('Where the time of `physlearn train spectra --help` goes', ['package', 'own time [ms]'], share)],
         [bar(f'help and version: the slowest, {worst}', '<= 0.3 s more than Python', f'{more[worst]:.3f} s', more[worst] <= .3)], seconds=took)

if __name__ == '__main__': main(*sys.argv[1:])
