"Signals of many files and of all kinds of simulators: each keeps its own noise, knowledge and conditions."
import numpy as np
import pytest
import torch
from physlearn.cli import main
from physlearn.data import SimSource, signals_of
from physlearn.desk import Signals, Untrained, by_fit, command_of, joined, known_values, train_command
from physlearn.files import read_hdf5
from physlearn.instruments import find
from physlearn.likelihood import Measurement, Shared
from physlearn.posterior import Gaussian, Poisson
from physlearn.results import Results
from physlearn.runs import Run
from my_lab import small

T = torch.linspace(0, 1, 40, dtype=torch.float64)

def cli(*words): return main([str(w) for w in words])

def fitted(*files, **options): return command_of('fit', small.line)(files=files, **options).run()

def test_each_file_keeps_its_own(tmp_path):
    "Noise, gain and a gauge of each file: together they give what they give alone, in any order."
    np.savez(tmp_path/'2.npz', y=np.broadcast_to(3*(6 + 2*T.numpy()), (2, 40)), noise=.5, gain=[3., 3.], a=6.3, a_sd=.05)
    np.savez(tmp_path/'1.npz', y=(8 + 2*T.numpy())[None], noise=.1, gain=[1.], a=8.1, a_sd=.05)
    one, two = str(tmp_path/'1.npz'), str(tmp_path/'2.npz')
    alone = [fitted(f) for f in (one, two)]
    for files, parts in (((one, two), alone), ((two, one), alone[::-1])):
        got = fitted(*files)
        for k in ('value', 'sd', 'low', 'high'):
            torch.testing.assert_close(getattr(got, k), torch.cat([getattr(p, k) for p in parts]), rtol=1e-6, atol=1e-8)
    assert abs(alone[0].value[0,0] - 8) < .1 and abs(alone[1].value[0,0] - 6) < .2
    assert fitted(one, known=('a=8.1±0.05V',)).known == ('a',) == fitted(one).known

def test_what_cannot_be_kept_is_refused(tmp_path, capsys):
    "A number for all signals of a file does not stand for another file; nothing is dropped in silence."
    save = lambda name, **d: np.savez(tmp_path/name, **(dict(y=(8 + 2*T.numpy())[None], noise=.1) | d))
    save('a.npz', gain=1.)
    for name, d, says in (('b', dict(gain=3.), 'gain'), ('c', {}, 'conditions'), ('d', dict(gain=1., a=8., a_sd=.1), 'known'),
                          ('e', dict(gain=1., y=np.ones((1, 20))), 'shapes')):
        save(f'{name}.npz', **d)
        for files in ((f'{name}.npz', 'a.npz'), ('a.npz', f'{name}.npz')):
            assert cli('fit', 'my_lab.small', *(tmp_path/f for f in files)) == 2
            err = capsys.readouterr().err
            assert says in err and f'{name}.npz' in err and 'a.npz' in err and err.count('\n') == 1
    y = torch.ones(2, 1, 40, dtype=torch.float64)
    S = lambda **kw: Signals(y, dict(file=['x', 'x']), **kw)
    for a, b in ((dict(like=Gaussian(.1)), dict(like=Poisson())), (dict(like=Gaussian(.1)), {}), (dict(auto=True), dict()),
                 (dict(like=Gaussian(.1)), dict(like=Gaussian(.1, corr=torch.eye(40)))), (dict(cond=dict(g=Shared(T))), dict(cond=dict(g=Shared(2*T)))),
                 (dict(known=dict(a=(8., .1))), dict(known=dict(a=(8., .2))))):
        with pytest.raises(ValueError, match='two commands'): joined([S(**a), S(**b)])
    same = joined([S(like=Gaussian(.1), cond=dict(g=Shared(T), h=2.), known=dict(a=(8., .1)))]*2)
    assert same.like.sigma == .1 and same.cond['h'] == 2. and same.known == dict(a=(8., .1)) and len(same) == 4
    own = joined([S(like=Gaussian(torch.full((2, 1, 1), s)), cond=dict(g=np.full(2, s))) for s in (.1, .1)])
    assert own.like.sigma.shape[0] == 4 and own.cond['g'].shape == (4,)

def test_rows_take_everything_along():
    "More signals than a batch: noise, conditions of any kind and knowledge are those of the rows."
    n = 300
    values = torch.linspace(6, 18, n, dtype=torch.float64)
    gain = np.linspace(1, 2, n)
    y = torch.from_numpy(gain)[:,None,None]*(values[:,None] + 2*T)[:,None]
    s = Signals(y, dict(row=list(range(n))), dict(gain=gain), Gaussian(torch.linspace(.1, .3, n)[:,None,None]), dict(a=(values, .01)))
    part = s[256:280]
    assert part.like.sigma.shape[0] == 24 and part.known['a'][0].tolist() == values[256:280].tolist() and len(part.cond['gain']) == 24
    whole = Measurement(small.Line(), s.y, s.like, s.known, s.cond)[256:280]
    cut = part.measurement(small.Line())
    for m in (whole, cut): assert m.like.sigma.flatten()[0].item() == pytest.approx(.1 + .2*256/299)
    assert torch.equal(whole.knowledge.value['a'], cut.knowledge.value['a']) and torch.equal(whole.cond()['gain'], cut.cond()['gain'])

@pytest.fixture(scope='module', params=['counts', 'few', 'strict'])
def trained(request, tmp_path_factory):
    out = tmp_path_factory.mktemp('small')/request.param
    assert cli('train', f'my_lab.{request.param}', '--out', out) == 0
    return out

def test_every_verb(trained, tmp_path, capsys):
    "Counts, few samples, arrays and lists: simulate, train, evaluate, identifiable, fit and retrieve."
    name = f'my_lab.{trained.name}'
    for verb in ('simulate', 'train', 'fit'): assert cli(verb, name, '--help') == 0 and '--' in capsys.readouterr().out
    assert cli('simulate', name, tmp_path/'s.h5', '--n', 3, '--noise', .1) == 0 and cli('identifiable', name) == 0
    y = read_hdf5(tmp_path/'s.h5')['signal']
    if trained.name == 'counts': assert (y == y.round()).all() and (y >= 0).all()
    np.savez(tmp_path/'s.npz', y=y)
    assert cli('fit', name, tmp_path/'s.npz') == 0
    assert cli('retrieve', trained, tmp_path/'s.npz', '--out', tmp_path/'t.json') == 0
    out, err = capsys.readouterr()
    assert err == '' and ('5 samples' in out) == (trained.name == 'few')

def exported(net, path):
    "A run whose network is `net`, written as ONNX."
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.f = net
        def forward(self, batch): return dict(u=self.f(batch['x']))
    recipe = find('my_lab.few').recipe()
    return Run(path, recipe, recipe.simulator(), Net().eval()).export_onnx(path/'n.onnx')

@pytest.mark.parametrize('trained', ['few'], indirect=True)
def test_export_of_any_network(trained, tmp_path):
    "No method for_export is needed; a function that ONNX has is written, another is named."
    assert cli('export', trained, '--out', tmp_path/'n.onnx') == 0 and (tmp_path/'n.onnx').stat().st_size > 500
    assert exported(torch.asinh, tmp_path).stat().st_size > 100
    with pytest.raises(ValueError, match='cannot be written as ONNX.*lgamma.*for_export'): exported(torch.lgamma, tmp_path)

def test_many_rows_with_their_own_noise():
    n, run = 300, Untrained(small.Line())
    a = torch.linspace(6, 18, n, dtype=torch.float64)
    y = (a[:,None] + 2*T)[:,None]
    s = Signals(y, like=Gaussian(torch.full((n, 1, 1), .1)), known=known_values(run.sim.space, dict(a=(a, .01))))
    got = Results.join([by_fit(run, s[i:i+256], 0, .95) for i in (0, 256)])
    assert len(got) == n and (got.value[:,0] - a).abs().max() < .05 and got.known == ('a',)

@pytest.mark.parametrize('kind', ['array', 'strict', 'list'])
def test_answers_that_are_no_tensors(kind):
    "An array or a list is a tensor of the same numbers, for training and for the verbs."
    own, tensor = (signals_of(small.Line(kind=k), small.Line.space.sample(3)) for k in (kind, 'tensor'))
    assert torch.equal(own, tensor)
    batch = SimSource(small.Line(kind=kind))(torch.arange(4), 0)
    assert batch['x'].shape == (4, 1, 40) and batch['x'].dtype == torch.float32

class Silent:
    "A likelihood that draws nothing."
    def __init__(self): self.g = Gaussian(.1)
    def __getitem__(self, rows): return self
    def __getattr__(self, k):
        if k in ('log_prob', 'whiten', 'information'): return getattr(self.__dict__['g'], k)
        raise AttributeError(k)

def test_a_likelihood_that_cannot_draw(tmp_path, capsys):
    small.variant('silent', likelihood=lambda self, noise=None, y=None: Silent())
    assert cli('simulate', 'my_lab.silent', tmp_path/'s.h5', '--noise', .1) == 2
    assert 'Silent draws no data' in capsys.readouterr().err

@pytest.mark.parametrize('name', ['out', 'start', 'recipe'])
def test_options_that_train_has_itself(name):
    i = small.variant('clash', __annotations__={name: str}, **{name: 'x'})
    with pytest.raises(ValueError, match=f"option '{name}'"): train_command(i)
