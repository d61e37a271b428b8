"""Folders of runs that somebody tampered with: whatever stands in them, a run gives the answer of the whole one, or a FileError of
one sentence; code that a file names is not run, and nothing is written outside of the folder."""
import contextlib, io, json, os, random, shutil
from typing import get_args, get_type_hints
import pytest
import torch
from safetensors.torch import load_file
import tampering as T
from physlearn import runs
from physlearn.cli import main
from physlearn.files import FileError
from physlearn.instruments import INSTRUMENTS, find
from physlearn.pages import Judgement
from physlearn.recipes import recipe_from_dict
from physlearn.runs import Run, sha256

SLOW = 'spectra', 'icecube'                     # a simulator or a file of events is made again for each

@pytest.fixture(scope='module', autouse=True)
def one_thread(): torch.set_num_threads(1)

@pytest.fixture(scope='module', params=INSTRUMENTS)
def made(request, tmp_path_factory):
    return T.made(request.param, tmp_path_factory.mktemp(request.param))

@pytest.fixture(scope='module')
def canopy(tmp_path_factory): return T.made('canopy', tmp_path_factory.mktemp('one'))

def fresh(made, kind='whole'):
    "A copy that can be tampered with; states are of use to an interrupted run alone."
    work = made/'work'
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    shutil.copytree(made/kind, work/'run', ignore=shutil.ignore_patterns('state') if kind == 'whole' else None)
    return work/'run'

def found(ask, run):
    "What is answered, or the sentence."
    torch.set_num_threads(1)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try: return ask(run), None
        except FileError as e:
            assert '\n' not in str(e) and len(str(e)) < 1500
            return None, str(e)

def some(made, half=False):
    "Some hundreds of ways, always the same."
    ways = T.ways(made/('half' if half else 'whole'), most=20, half=half)
    few = (12 if half else 80) if made.name.startswith(SLOW) else (30 if half else 300)
    sure = [k for k in ways if 'weights' in k and not half or 'module' in k]
    rest = [k for k in ways if k not in sure]
    return {k: ways[k] for k in sure[:few//2] + random.Random(1).sample(rest, min(few, len(rest)))}

def test_finished(made, monkeypatch, tmp_path):
    monkeypatch.setenv('PLANTED', str(tmp_path/'planted'))
    whole, counts = T.answer(fresh(made)), dict(same=0, refused=0, another=0)
    for name, work in some(made).items():
        work(run := fresh(made))
        got, sentence = found(T.answer, run)
        assert not (tmp_path/'planted').exists(), name
        if sentence: counts['refused'] += 1
        elif got == whole: counts['same'] += 1
        else:
            assert 'sealed' in name, f'{name}: used as if nothing had happened'
            counts['another'] += 1
            assert all(v.isfinite().all() for v in load_file(run/'model.safetensors').values() if v.is_floating_point()), name
    assert counts['refused'] > 50 and counts['same'] > 0, counts

def test_half_finished(made, monkeypatch, tmp_path):
    monkeypatch.setenv('PLANTED', str(tmp_path/'planted'))
    whole, counts = T.resumed(fresh(made, 'half')), dict(same=0, refused=0)
    for name, work in some(made, half=True).items():
        if 'state threads is' in name: continue                # other numbers of threads give other last digits
        work(run := fresh(made, 'half'))
        got, sentence = found(T.resumed, run)
        assert sentence or got == whole, f'{name}: ends in something else'
        assert not (tmp_path/'planted').exists(), name
        counts['refused' if sentence else 'same'] += 1
    assert min(counts.values()) > 2, counts

def refused(run, match):
    with pytest.raises(FileError, match=match): T.answer(run)

def test_what_is_said(canopy):
    "Each in its own words."
    for way, match in {'weights all NaN': 'was changed', 'weights all NaN, sealed': 'not finite', 'weights one NaN, sealed': 'not finite', 'weights inf, sealed': 'not finite',
                       'weights float64, sealed': 'float64', 'weights header list, sealed': 'is damaged', 'weights one more, sealed': 'do not fit',
                       'weights of another run': 'was changed', "manifest names '../../etc/passwd'": 'names', "manifest names '/dev/zero'": 'names',
                       "system 'antigravity'": 'does not use physlearn', "system 'physlearn.__main__'": 'expected one of', 'a module beside it': "no module 'planted'",
                       'metrics.json is number': 'was changed', 'metrics.json is gone': 'is missing', 'model.safetensors is a pipe': 'is a pipe',
                       'recipe.json is deep': 'nested too deeply', 'space.json of another run, sealed': None}.items():
        if match is None: continue
        T.ways(canopy/'whole', most=0)[way](run := fresh(canopy))
        refused(run, match)

@pytest.mark.parametrize('name', INSTRUMENTS)
def test_a_number_is_no_word(name):
    "In the place of any option that is a word alone; but once `keep` was written as a number."
    recipe, words = find(name).presets['quick'].to_dict(), 0
    for k, kind in get_type_hints(type(find(name).presets['quick'])).items():
        if k not in recipe['options'] or not {str} <= {kind, *get_args(kind)} <= {str, type(None), kind}: continue
        words += 1
        for number in (1e308, -1, 7) if k != 'keep' else (1e308, 0.5):
            with pytest.raises(FileError, match='a value of its kind'):
                recipe_from_dict(recipe | dict(options=recipe['options'] | {k: number}))
    assert words > 5 and recipe_from_dict(recipe | dict(options=recipe['options'] | dict(keep=3))).keep == '3'

def test_met_by_chance(canopy):
    "One in ten thousand folders each: a table without a caption, rows of a history that are words, a tracker that is a path, another epoch."
    metrics, recipe = (T.rewritten(f'{k}.json', lambda t, at=at, v=v: T.put(t, at, v)) for k, at, v in
                       (('metrics', ('tables', 0, 'caption'), None), ('recipe', ('options', 'track'), '"../x"')))
    T.sealed(metrics)(run := fresh(canopy))
    refused(run, 'holds no metrics')
    for work, match in ((recipe, 'one of tensorboard'), (T.plain(lambda d: d | dict(recorder='x')), 'is damaged')):
        work(run := fresh(canopy, 'half'))
        with pytest.raises(FileError, match=match): T.resumed(run)
    whole = T.resumed(fresh(canopy, 'half'))
    T.plain(lambda d: d | dict(epoch=5))(run := fresh(canopy, 'half'))         # no such place: it begins anew
    assert T.resumed(run) == whole

@pytest.mark.parametrize('verb', ['card', 'evaluate', 'report', 'export', 'retrieve'])
def test_the_command(canopy, capsys, verb, tmp_path):
    "One sentence and exit code 2."
    more = dict(export=['--out', str(tmp_path/'n.onnx')], retrieve=[str(tmp_path/'x.csv')]).get(verb, [])
    for way in ('weights all NaN, sealed', 'recipe.json is deep', 'manifest.json is list', 'recipe.json is a pipe', 'space.json is a folder', 'a module beside it'):
        T.ways(canopy/'whole', most=0)[way](run := fresh(canopy))
        assert main([verb, str(run), *more]) == 2, way
        err = capsys.readouterr().err
        assert err.count('\n') == 1 and 'Traceback' not in err, err

def test_nothing_is_written_outside(canopy, tmp_path):
    "A link in the place of a page or a folder of figures would make `evaluate` write elsewhere."
    for name, target in (('README.md', tmp_path/'mine.txt'), ('report.html', tmp_path/'mine.txt'), ('figures', tmp_path/'folder'), ('metrics.json', tmp_path/'mine.txt'), ('manifest.json', tmp_path/'mine.txt')):
        (tmp_path/'folder').mkdir(exist_ok=True)
        (tmp_path/'mine.txt').write_text('mine')
        run = fresh(canopy)
        if name == 'manifest.json': shutil.copy(run/name, target)      # a link to one that is right
        before = target.read_bytes() if target.is_file() else b''
        T.instead(name, T.linked(target))(run)
        with pytest.raises(FileError, match='leads out of the run'): Run.load(run, measured=False).evaluate(lambda *a: None, Judgement([T.TABLE]))
        assert (target.is_dir() or target.read_bytes() == before) and not any((tmp_path/'folder').iterdir())

def test_measured_again(canopy):
    "Metrics that were changed or lost are made again by `evaluate`, which loads the rest as it is."
    for work in (T.instead('metrics.json', lambda p: None), T.rewritten('metrics.json', lambda t: '[]')):
        work(run := fresh(canopy))
        refused(run, 'metrics.json')
        Run.load(run, measured=False).evaluate(lambda *a: None, Judgement([T.TABLE], numbers=dict(error=.1)))
        assert T.answer(run)[3]['error'] == .1

def test_a_run_of_an_earlier_version(canopy):
    "A manifest without its own sum, and without sums of history and metrics, is one that was written before."
    run = fresh(canopy)
    d = json.loads((run/'manifest.json').read_text())
    assert set(d) == {'recipe.json', 'space.json', 'model.safetensors', 'history.csv', 'metrics.json', 'sealed', 'checksum'}
    (run/'manifest.json').write_text(json.dumps({k: d[k] for k in ('recipe.json', 'space.json', 'model.safetensors', 'sealed')}))
    assert Run.load(run).sealed == d['sealed']

def test_a_module_of_the_user(canopy, tmp_path, monkeypatch):
    "One that uses physlearn and stands elsewhere is the user's own, and is imported."
    (tmp_path/'theirs.py').write_text(T.PLANTED)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv('PLANTED', str(tmp_path/'planted'))
    T.named('theirs')(run := fresh(canopy))
    refused(run, 'makes no Instrument')
    assert (tmp_path/'planted').exists()

def test_a_module_in_the_folder(canopy, tmp_path, monkeypatch):
    "Not even where Python would find it, as in `cd RUN; python -m physlearn card .`"
    T.with_module(run := fresh(canopy))
    monkeypatch.syspath_prepend(str(run))
    monkeypatch.setenv('PLANTED', str(tmp_path/'planted'))
    refused(run, 'lies in the folder')
    assert not (tmp_path/'planted').exists()

def test_permissions(canopy, tmp_path):
    "Weights, states and pages have the permissions that any new file has here; a file that is replaced keeps its own."
    mask = os.umask(0o027)
    try:
        run = runs.open_recipe(canopy/'whole')
        run.home = None
        run.fit(tmp_path/'run', evaluate=False, quiet=True)
        files = [p for p in (tmp_path/'run').rglob('*') if p.is_file()]
        assert {oct(p.stat().st_mode & 0o777) for p in files} == {'0o640'}, [(p.name, oct(p.stat().st_mode)) for p in files]
        os.chmod(tmp_path/'run'/'manifest.json', 0o600)
        Run.load(tmp_path/'run').evaluate(lambda *a: None, Judgement([T.TABLE]))
        assert oct((tmp_path/'run'/'manifest.json').stat().st_mode & 0o777) == '0o600'
    finally: os.umask(mask)
    assert sha256(tmp_path/'run'/'model.safetensors') == sha256(canopy/'whole'/'model.safetensors')
