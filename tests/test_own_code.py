"A user's own module with a mistake in it: one sentence with the place in their code, exit code 2."
import math, os, sys
from unittest.mock import Mock
import pytest
from physlearn.cli import main
from physlearn.instruments import find

GOOD = '''
from dataclasses import dataclass
from typing import ClassVar
import torch
from torch import nn
from physlearn.data import sim_dls
from physlearn.desk import Instrument, Signals
from physlearn.losses import CompositeLoss, param_mse
from physlearn.params import Param, ParamSpace
from physlearn.posterior import Gaussian
from physlearn.runs import Recipe
from physlearn.train import Stage

class Line:
    space = ParamSpace(a=Param(5, 20), b=Param(1, 10))
    def __call__(self, theta): return (theta[:,:1] + theta[:,1:]*torch.linspace(0, 1, 9, dtype=theta.dtype))[:,None]

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(9, 2)
    def forward(self, batch): return dict(u=self.net(batch['x'].flatten(1)).sigmoid())

@dataclass
class LineRecipe(Recipe):
    "A line."
    system: ClassVar[str] = 'NAME'
    epochs: int = 1
    batch_size: int = 32
    gpus: int|None = 0
    def simulator(self): return Line()
    def model(self, sim): return Net()
    def dls(self, sim, device): return sim_dls(sim, 32, 32, 32, None, self.seed, device)
    def loss(self, sim): return CompositeLoss(params=param_mse())
    def stages(self): return [Stage('A', self.epochs, self.lr)]
    def likelihood(self, noise=None, y=None): return Gaussian(.1)

def read(file, run): return Signals(torch.zeros(1, 1, 9))
line = Instrument('NAME', LineRecipe, read=read)
'''
COUNT = iter(range(1000))

@pytest.fixture
def lab(tmp_path, monkeypatch):
    "A folder with a package in it, in which the user stands; `lab(old, new)` writes a module and gives its name."
    package = f'lab{next(COUNT)}'
    (tmp_path/package).mkdir()
    (tmp_path/package/'__init__.py').write_text('')
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('PHYSLEARN_DEBUG', raising=False)
    def write(*changes, after=''):
        name = f'{package}.x'
        text = GOOD.replace('NAME', name)
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path/package/'x.py').write_text(text + after)
        return name
    yield write
    for k in [k for k in sys.modules if k.split('.')[0] == package]: del sys.modules[k]

def told(capsys, *words):
    "The sentence, which is one line."
    assert main([str(w) for w in words]) == 2
    err = capsys.readouterr().err
    assert err.count('\n') == 1 and 'Traceback' not in err, err
    return err

@pytest.mark.parametrize('after,says', [
    ('not_there_at_all', "NameError: name 'not_there_at_all'"), ('1/0', 'ZeroDivisionError'), ('def f(:', 'SyntaxError'),
    ('import sys\nsys.exit(3)', 'SystemExit: 3'), ('import not_there', "No module named 'not_there'"), ('raise OSError(5, "broken")', 'broken')])
def test_import(lab, capsys, monkeypatch, after, says):
    name = lab(after=after)
    err = told(capsys, 'identifiable', name)
    assert says in err and repr(name) in err and 'x.py, line 4' in err
    monkeypatch.setenv('PHYSLEARN_DEBUG', '1')
    with pytest.raises(BaseException): main(['identifiable', name])

FORWARD = "return dict(u=self.net(batch['x'].flatten(1)).sigmoid())"
@pytest.mark.parametrize('changes,says', [
    ([('param_mse())', 'param_mse)')], ['LineRecipe.loss', 'TypeError']),
    ([(FORWARD, "return self.net(batch['x'].flatten(1))")], ['LineRecipe.model', 'Tensor', 'dict']),
    ([('Linear(9', 'Linear(8')], ['x.py, line', 'in forward', 'RuntimeError', 'shape']),
    ([("[Stage('A', self.epochs, self.lr)]", "Stage('A', self.epochs, self.lr)")], ['LineRecipe.stages', 'Stage', 'list of Stage']),
    ([('def model(self, sim): return Net()', 'def model(self, sim): return 3')], ['LineRecipe.model', 'int']),
    ([('return sim_dls(sim, 32, 32, 32, None, self.seed, device)', 'return 3')], ['LineRecipe.dls', 'int']),
    ([('    def simulator(self): return Line()\n', '')], ['x.py, line', 'in dls', 'AttributeError']),
    ([('return (theta', 'a, b, c = theta.T; return (theta')], ['x.py, line', 'in __call__', 'ValueError', 'not enough values']),
    ([('return (theta', 'theta.bad; return (theta')], ['in __call__', "'Tensor' object has no attribute 'bad'"])])
def test_train(lab, capsys, changes, says):
    err = told(capsys, 'train', lab(*changes), '--out', 'r')
    for word in says: assert word in err, err

def test_other_verbs(lab, capsys, tmp_path):
    name = lab(('return (theta', 'a, b, c = theta.T; return (theta'), ('return Signals(torch.zeros(1, 1, 9))', 'return open(file)["y"]'))
    for words in (('identifiable', name), ('simulate', name, 's.h5')): assert 'in __call__: ValueError' in told(capsys, *words)
    (tmp_path/'f').write_text('x')
    assert 'in read: TypeError' in told(capsys, 'fit', name, 'f')
    assert 'in read: FileNotFoundError' in told(capsys, 'fit', name, 'gone')

def test_a_sentence_of_their_own(lab, capsys):
    "What the user's code says by itself stays as it is."
    name = lab(('def read(file, run): return', 'def read(file, run):\n    raise ValueError("no lines in this file")\n    return'))
    assert told(capsys, 'fit', name, 'gone') == 'physlearn: no lines in this file\n'

def test_our_own_mistakes_keep_their_traceback(monkeypatch):
    monkeypatch.setattr('physlearn.desk.identifiable', math.sqrt)
    with pytest.raises(TypeError): main(['identifiable', 'spectra'])

def test_a_run_says_where_its_instrument_is(lab, capsys, monkeypatch):
    "The working directory is not searched for the instrument of a run; train says so, and the refusal names the remedy."
    name = lab()
    assert main(['train', name, '--out', 'r']) == 0
    assert 'PYTHONPATH=. physlearn' in capsys.readouterr().out
    from physlearn import instruments, recipes
    monkeypatch.delitem(instruments._imported, name)
    monkeypatch.delitem(recipes.RECIPES, name)
    for k in [k for k in sys.modules if k.startswith(name.split('.')[0])]: monkeypatch.delitem(sys.modules, k)
    for verb in ('export', 'evaluate', 'resume'): assert 'PYTHONPATH=. physlearn' in told(capsys, verb, 'r')
    monkeypatch.syspath_prepend('.')
    assert main(['card', 'r']) == 0

def test_several_instruments_in_one_module(lab, capsys):
    name = lab(after="second = Instrument('NAME.second', LineRecipe, read=read)".replace('NAME', 'PLACE'))
    path = name.replace('.', '/') + '.py'
    text = open(path).read().replace('PLACE', name)
    open(path, 'w').write(text)
    assert find(f'{name}.second', here=True).name == f'{name}.second' and find(name, here=True).name == name
    assert f"{name}', '{name}.second'" in told(capsys, 'identifiable', f'{name}.third')
    open(name.split('.')[0] + '/y.py', 'w').write(text.replace(f"'{name}'", "'called_otherwise'").replace('.second', '.other'))
    assert "'called_otherwise'" in told(capsys, 'identifiable', name.replace('.x', '.y'))

def test_what_cannot_be_written(lab, capsys, tmp_path, monkeypatch):
    "The file and the remedy are named."
    name = lab()
    os.symlink('/nonexistent/place', tmp_path/'dangling')
    assert 'dangling: is a link that leads nowhere' in told(capsys, 'train', name, '--out', 'dangling')
    monkeypatch.setattr('physlearn.files._fsync', Mock(side_effect=OSError(27, 'File too large')))
    assert 's.csv' in (err := told(capsys, 'simulate', name, 's.csv')) and 'File too large' in err and 'write elsewhere' in err
    monkeypatch.setattr('h5py.File', Mock(side_effect=OSError('Unable to synchronously create file (unable to open)')))
    assert 's.h5' in (err := told(capsys, 'simulate', name, 's.h5')) and 'synchronously' in err and 'write elsewhere' in err
