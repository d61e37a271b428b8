"""How the code reads, counted: widths, semicolons, unused names, and what the pages of names do not say. `ruff` judges notebooks
cell by cell, modules line by line."""
import json, subprocess, sys
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT/'tools'))
import public_names

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

# --- what the pages say

def test_public_names_say_what_they_are():
    "Meaning, shape and unit of every public name, its parameters, fields and values."
    n, bad = public_names.problems(ROOT/'physlearn')
    assert n > 3000 and bad == []

SAID = '''__all__ = ['warmed', 'Gas', 'LIMIT']
LIMIT = .1  # share of the samples
class Gas(NamedTuple):
    "A gas."
    temperature: float  # of the gas [K]
    def warmer(self, by:float)->float: # temperature [K]
        "The temperature `by` so much [K] higher."
        return self.temperature + by
def warmed(x:Tensor,       # signals (B,C,N)
           rise:float=1.,  # temperature that is added [K]
           **kw,
          )->Tensor:       # warmer ones, like `x`
    "Signals of a warmer gas."
    return x
'''
UNSAID = {'    "Signals of a warmer gas."\n': ('warmed: docstring: meaning',),
          '  # signals (B,C,N)': ('warmed: x: meaning',), '# signals (B,C,N)': ('warmed: x: meaning',),
          'signals (B,C,N)': ('warmed: x: meaning',), 'signals ': ('warmed: x: meaning',), ' (B,C,N)': ('warmed: x: shape',),
          ' that is added [K]': ('warmed: rise: unit',), '  # temperature that is added [K]': ('warmed: rise: meaning',),
          ', like `x`': ('warmed: return: shape',), '  # of the gas [K]': ('Gas.temperature: meaning',), ' [K]\n    def': ('Gas.temperature: unit',),
          ' `by` so much [K]': ('Gas.warmer: by: meaning',), '    "A gas."\n': ('Gas: docstring: meaning',), '  # share of the samples': ('LIMIT: meaning',)}

@pytest.mark.parametrize('words', UNSAID)
def test_a_page_that_does_not_say_it(tmp_path, words):
    "Without these words the fault is named, and with them there is none."
    file = tmp_path/'package'/'m.py'
    file.parent.mkdir()
    file.write_text(SAID, encoding='utf-8')
    assert public_names.problems(file.parent) == (5, [])
    assert SAID.count(words) == 1
    file.write_text(SAID.replace(words, '\n    def' if words.endswith('def') else ''), encoding='utf-8')
    found = public_names.problems(file.parent)[1]
    assert found == [f'm.{fault}' for fault in UNSAID[words]]
    r = subprocess.run([sys.executable, ROOT/'tools'/'public_names.py', file.parent], capture_output=True, text=True)
    assert r.returncode == 1 and found[0] in r.stdout and '5 public names, 1 faults' in r.stdout

def test_patched_and_hidden_names(tmp_path):
    "A patched method belongs to its class; what is not public needs no page; a base's words serve a method that overrides it."
    (tmp_path/'m.py').write_text("""__all__ = ['A', 'B']
class A:
    "One."
    def run(self, n:int): # how many times
        "Do it."
class B(A):
    "Another."
    def run(self, n:int): pass # so many times, `n`
    def _inside(self, x): return x
def _helper(x): return x
@patch
def shown(self:A, x:Tensor): pass
""", encoding='utf-8')
    n, bad = public_names.problems(tmp_path)
    assert n == 5 and bad == ['m.A.shown: docstring: meaning', 'm.A.shown: x: meaning']
