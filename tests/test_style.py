"How the code reads, counted: widths, semicolons, unused names. `ruff` judges notebooks cell by cell, modules line by line."
import json, subprocess, sys
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parents[1]

def ruff(folder, *args):
    "What ruff finds: (rule, file) of each."
    out = subprocess.run([sys.executable, '-m', 'ruff', 'check', '--no-cache', '--output-format', 'json', *args, '.'],
                         cwd=folder, capture_output=True, text=True)
    assert out.stdout, out.stderr
    return [(r['code'], r['filename']) for r in json.loads(out.stdout)]

def wide(package):
    "Lines of the exported modules over 120 characters, and all of them."
    lines = [l for p in sorted(package.rglob('*.py')) if p.name != '_modidx.py' for l in p.read_text(encoding='utf-8').splitlines()]
    return sum(len(l) > 120 for l in lines), len(lines)

def test_lines_hold_one_thought():
    n, of = wide(ROOT/'physlearn')
    assert n < .01*of, f'{n} of {of} exported lines are over 120 characters'

def test_few_semicolons():
    found = ruff(ROOT, '--select', 'E702,E703')
    assert len(found) < 20, sorted({f for _, f in found})

def test_no_errors_and_no_unused_names(): assert ruff(ROOT, '--ignore', 'E501,E702,E703') == []

@pytest.mark.parametrize('source,rule', [('x = 1; y = 2', 'E702'), ('import os', 'F401'), ('def f():\n    a = 1', 'F841'),
                                         ('print(nowhere)', 'F821'), (f'x = "{"a"*130}"', 'E501')])
def test_planted(tmp_path, source, rule):
    "Each fault, planted in a notebook, is named."
    cell = dict(cell_type='code', id='c0', metadata={}, execution_count=None, outputs=[], source=source.splitlines(True))
    (tmp_path/'a.ipynb').write_text(json.dumps(dict(cells=[cell], metadata={}, nbformat=4, nbformat_minor=5)))
    (tmp_path/'ruff.toml').write_text((ROOT/'ruff.toml').read_text())
    assert rule in [r for r, _ in ruff(tmp_path)]
