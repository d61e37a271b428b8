"""Results of the benchmarks: one json file each, and RESULTS.md made from all of them."""
import json, os, platform, sys
from pathlib import Path

HERE = Path(__file__).parent
ORDER = 'spectra', 'profiles', 'fit', 'bound', 'retrieval', 'posterior', 'misfit', 'window', 'sbibm', 'physae', 'sizes', 'helmholtz', 'canopy', 'crops', 'physvae', 'maps'

def data_folder():
    "The folder of real files, or one sentence."
    if 'PHYSLEARN_DATA' not in os.environ: sys.exit('PHYSLEARN_DATA is unset: set it to the folder that holds hitran/ and reference/.')
    return Path(os.environ['PHYSLEARN_DATA'])

def machine():
    "What the figures depend on."
    import numpy, scipy, torch
    cpu = platform.processor() or platform.machine()
    if Path('/proc/cpuinfo').exists():
        cpu = next((l.split(':')[1].strip() for l in Path('/proc/cpuinfo').read_text().splitlines() if l.startswith('model name')), cpu)
    return dict(CPU=cpu, threads=torch.get_num_threads(), python=platform.python_version(), torch=torch.__version__, numpy=numpy.__version__, scipy=scipy.__version__)

def number(v):
    "Three significant digits, as a reader wants them."
    if isinstance(v, bool): return 'yes' if v else '**no**'
    if not isinstance(v, float): return str(v)
    return '-' if v != v else f'{v:.0f}' if 1000 <= abs(v) < 1e6 else f'{v:.3g}'

def table(head, rows):
    "Markdown; rows are lists or dicts of `head`."
    rows = [[r.get(k, '') for k in head] if isinstance(r, dict) else r for r in rows]
    def cell(v): return number(v).replace('|', r'\|')
    return '\n'.join('| ' + ' | '.join(map(cell, r)) + ' |' for r in (head, ['---']*len(head), *rows))

def bar(what, asked, found, met):
    "One row of the table of bars."
    return dict(what=what, asked=asked, found=found, met=bool(met))

def save(name, title, text, tables, bars, versions=None, **raw):
    "Write results/NAME.json and renew RESULTS.md; tables is a list of (caption, head, rows) or (caption, head, rows, notes)."
    tables = [dict(zip(('caption', 'head', 'rows', 'notes'), t)) for t in tables]
    out = dict(title=title, text=text, machine=machine() | (versions or {}), tables=tables, bars=bars, raw=raw)
    (HERE/'results').mkdir(exist_ok=True)
    (HERE/'results'/f'{name}.json').write_text(json.dumps(out, indent=1, ensure_ascii=False) + '\n')
    render()
    print(section(name, out))

def section(name, r):
    "One benchmark as Markdown."
    parts = [f"## {r['title']}", r['text'], f"`benchmarks/{name}.py`; " + ', '.join(f'{k} {v}' for k, v in r['machine'].items()) + '.']
    for t in r['tables']: parts += [f"**{t['caption']}**", table(t['head'], t['rows']), *([t['notes']] if t.get('notes') else [])]
    if r['bars']: parts += ['**Bars**', table(['what', 'asked', 'found', 'met'], r['bars'])]
    return '\n\n'.join(parts)

def render():
    "RESULTS.md from every json file."
    files = {p.stem: p for p in sorted((HERE/'results').glob('*.json'))}
    names = [n for n in ORDER if n in files] + [n for n in files if n not in ORDER]
    head = '# Benchmarks\n\nMade from `results/*.json` by `_table.py`; the scripts beside it write those. Times are CPU times of one thread unless a table says otherwise.'
    (HERE/'RESULTS.md').write_text('\n\n'.join([head, *(section(n, json.loads(files[n].read_text())) for n in names)]) + '\n')

if __name__ == '__main__': render()
