"Events by commands: simulate, train, sample, judge, evaluate, compare; what a run keeps, and what is refused."
import json, os, shutil, subprocess, sys
import numpy as np
import pytest
import torch
from physlearn.cli import main
from physlearn.desk import side_by_side
from physlearn.icecube.desk import generated, judged, outside, read_labels
from physlearn.icecube.detector import Geometry
from physlearn.icecube.event_files import read_events, write_guide
from physlearn.icecube.event_simulate import Sensors, simulate
from physlearn.icecube.train_genesis import event_recipe
from physlearn.runs import Run

ARRAY = Geometry.hexagonal(12, 12)
MADE = dict(geometry=ARRAY, energy=(1e3, 1e5))

@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    "A folder with events, and a run of hits and one of a dense network on them."
    home = tmp_path_factory.mktemp('ice')
    write_guide(simulate(500, 3, **MADE), home/'events.h5')
    write_guide(simulate(60, 4, **MADE), home/'others.h5')
    data = dict(data=(str(home/'events.h5'),), gpus=0, epochs=1)
    event_recipe('hits', **data).fit(home/'hits', quiet=True, evaluate=False)
    event_recipe('cnn', **data, hidden=8, depth=1, batch_size=64).fit(home/'cnn', quiet=True, evaluate=False)
    return home

@pytest.fixture
def here(lab, monkeypatch): monkeypatch.chdir(lab)

def sampled(out, *words):
    assert not main(['sample', 'hits', '--out', out, '--overwrite', *words])
    return read_events(out)

def test_an_event_is_drawn_again(here, capsys):
    "Event 37 alone, among others and from another call is one event; another seed, or another number, is not."
    many, one = sampled('a.h5', '--n', '50'), sampled('b.h5', '--first', '37', '--n', '1')
    assert len(many) == 50 and np.array_equal(many[37].sensor, one.sensor) and np.allclose(many[37].time, one.time, atol=.01)
    assert not np.array_equal(sampled('c.h5', '--n', '38', '--seed', '1')[37].sensor, one.sensor)
    first, second = (sampled(f'{k}.h5', '--energy', '10..20TeV', '--kind', 'track', '--n', n, '--first', f)
                     for k, n, f in (('d', '5', '0'), ('e', '1', '4')))
    assert np.array_equal(first.label[4], second.label[0]) and np.array_equal(first[4].sensor, second.sensor)
    assert ((1e4 <= first.energy) & (first.energy <= 2e4)).all() and (first.more['kind'] == 1).all()

def test_dense_networks_draw_again(lab):
    run = Run.load(lab/'cnn')
    label = run.recipe.held_out().label[:6]
    many, one = generated(run, label, steps=4), generated(run, label[3:4], number=[3], steps=4)
    assert np.array_equal(many[3].sensor, one.sensor)
    with pytest.raises(ValueError, match='sensors of'): generated(run, label, geometry=Geometry.hexagonal(7, 5))

def test_labels_of_files(here, capsys):
    "Those of events, and of a table with units of its own; a kind may be missing."
    others, out = read_events('others.h5'), sampled('f.h5', '--labels', 'others.h5', '--num-events', '20')
    assert np.allclose(out.label, others.label[:20]) and np.array_equal(out.more['kind'], others.more['kind'][:20])
    with open('labels.csv', 'w') as f:
        f.write('energy [TeV],zenith [deg],azimuth,x,y,z,kind\n10,60,1,0,0,0,track\n20,90,2,5,-5,10,cascade\n30,180,0,0,0,0,\n')
    label, kind = read_labels('labels.csv')
    assert np.allclose(label[:,0], [1e4, 2e4, 3e4]) and np.allclose(label[:,1], [np.pi/3, np.pi/2, np.pi])
    assert np.array_equal(kind, [1, 0, np.nan], equal_nan=True)
    assert len(sampled('g.h5', '--labels', 'labels.csv')) == 3
    assert main(['sample', 'hits', '--labels', 'labels.csv', '--n', '4', '--out', 'h.h5']) == 2
    assert 'has 3 labels' in capsys.readouterr().err and not os.path.exists('h.h5')

def test_labels_outside_are_marked(here, capsys):
    "Energies, kinds and vertices that the run has not learned from: said, and marked in the file."
    assert main('sample hits --energy 1..10PeV --kind track --n 5 --out far.h5'.split()) == 2
    assert '5 of 5 events lie outside' in (said := capsys.readouterr().err) and '--beyond' in said and not os.path.exists('far.h5')
    far = sampled('far.h5', '--energy', '1..10PeV', '--kind', 'track', '--n', '5', '--beyond')
    assert '5 of 5 events lie outside' in capsys.readouterr().out and far.more['outside'].all()
    assert any('5 of 5' in n for n in far.notes)
    near = sampled('near.h5', '--n', '30')
    assert near.more['outside'].sum() <= 2
    label = np.tile([1e4, 1., 1., 0., 0., 0.], (4, 1))
    label[1,0], label[2,3] = 1e2, 900.
    ranges = dict(energy=[1e3, 1e5], x=[-300., 300.], kind=[0])
    assert outside(label, np.array([0, 0, 0, 1.]), ranges).tolist() == [False, True, True, True]

def test_parquet(here, capsys):
    "A folder of tables, and back; it is never written into."
    assert not main('sample hits --n 12 --out tables'.split())
    back = read_events('tables', ARRAY)
    assert len(back) == 12
    again = read_events('tables')                # the folder says its sensors itself
    assert np.array_equal(again.geometry.xyz, ARRAY.xyz) and np.array_equal(again.sensor, back.sensor)
    assert again.geometry.name == ARRAY.name
    assert main('sample hits --n 12 --out tables'.split()) == 2 and 'is not empty' in capsys.readouterr().err

def test_the_command_simulates_as_python_does(here):
    "Without options the same detector: events of both cannot be told apart by their jitter or noise."
    assert not main('simulate icecube made.h5 --n 30 --energy 1..10TeV --seed 5'.split())
    made = read_events('made.h5')
    same = simulate(30, 5, geometry=made.geometry, energy=(1e3, 1e4*(1 + 1e-9)))
    assert np.array_equal(made.sensor, same.sensor) and np.allclose(made.time, same.time, atol=.01)
    wider = simulate(30, 5, geometry=made.geometry, energy=(1e3, 1e4*(1 + 1e-9)), jitter=1.5*Sensors().jitter)
    assert not np.allclose(made.time, wider.time, atol=.01)

def test_labels_that_differ_have_a_remedy(here, capsys):
    "Events of other labels cannot be judged: the sentence says what can be done."
    assert not main('sample hits --n 60 --energy 50..100TeV --out high.h5 --overwrite'.split())
    assert not main('judge icecube others.h5 high.h5'.split())
    assert 'labels differ; generate with the same ones' in capsys.readouterr().out

def test_a_run_moves(lab, tmp_path):
    "A copied run, without its data, in a new process."
    shutil.copytree(lab/'hits', tmp_path/'run')
    recipe = json.loads((tmp_path/'run'/'recipe.json').read_text())
    assert recipe['system'] == 'icecube' and str(lab) in recipe['options']['data'][0]
    code = f"from physlearn.runs import Run; r = Run.load({str(tmp_path/'run')!r}); print(len(r.recipe.held_out()), r.model.trained_on)"
    os.rename(lab/'events.h5', lab/'away')
    try: done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    finally: os.rename(lab/'away', lab/'events.h5')
    assert done.stdout.split(None, 1) == ['50', f'{ARRAY.name}\n'], done.stderr

def test_judged_by_what_was_not_trained_on(here, capsys):
    "Training events are left out, and that is said; where the data are not at hand, that nobody knows."
    assert not main('evaluate hits --real events.h5 --n 60'.split())
    said = capsys.readouterr().out
    assert '400 of 500 events were trained on: left out' in said and 'untrained' in said and 'AUC' in said
    found = json.load(open('hits/metrics.json'))
    assert found['auc'] > 0 and found['judged by'] == '60 events of events.h5'
    assert not main(['report', 'hits'])                                 # by the same events
    assert f"{found['auc']:.3f}" in open('hits/report.html').read()
    shutil.copytree('hits', 'moved', dirs_exist_ok=True)
    recipe = json.load(open('moved/recipe.json'))
    run = Run.load('hits')
    run.recipe.data = ('gone.h5',)
    assert 'not known' in judged(run, read_events('others.h5'), n=50).note
    assert 'a judge needs 40' in judged(run, read_events('others.h5')[:10]).note
    assert recipe

def test_files_are_judged(here, capsys):
    "A page and numbers; a copy of the truth is not told apart from it, noise is."
    assert not main('judge icecube others.h5 others.h5 --out same.json'.split())
    found = json.load(open('same.json'))
    assert abs(found['auc'] - .5) < 4*max(found['auc_error'], .03)
    e = read_events('others.h5')
    e.time[:] = 9000 + np.arange(len(e.time)) % 3000
    write_guide(e, 'noise.h5')
    assert not main('judge icecube others.h5 noise.h5 --out noise.html'.split())
    assert 'told apart' in open('noise.html').read()

def test_runs_side_by_side(lab, capsys):
    table = side_by_side([Run.load(lab/k) for k in ('hits', 'cnn')])
    rows = {r[0]: r[1:] for r in table['rows']}
    assert rows['network'] == ['hits', 'cnn'] and rows['parameters [M]'][0] > 0
    assert main(['compare', str(lab/'hits')]) == 2 and 'two runs or more' in capsys.readouterr().err

@pytest.mark.parametrize('network', ['dit', 'cnn', 'mlp', 'hybrid', 'resnet'])
def test_onnx(tmp_path, network):
    "A step of the denoiser, the same numbers elsewhere, at any batch size."
    ort = pytest.importorskip('onnxruntime')
    more = dict(heads=2) if network in ('dit', 'hybrid') else {}
    recipe = event_recipe(network, hidden=12, depth=1, events=40, **more)
    recipe.home = None
    model = recipe.model(None).eval()
    torch.manual_seed(1)
    for p in model.parameters(): p.data += .05*torch.randn_like(p)
    run = Run(tmp_path, recipe, None, model)
    path = run.export_onnx(tmp_path/'net.onnx')
    x, t, label = torch.randn(3, 2, len(model.geometry)), torch.tensor([1., 500., 900.]), torch.rand(3, 6) + .5
    said = ort.InferenceSession(path).run(None, dict(x=x.numpy(), t=t.numpy(), label=label.numpy()))[0]
    with torch.no_grad(): assert np.abs(said - model.net(x, t, label=label).numpy()).max() < 1e-5

HOSTILE = [('sample hits --kind tracks', 'cascade, track, mix'), ('sample hits --n 0', 'n=0'), ('sample hits --energy 5', 'LO..HI'),
           ('sample hits --energy 10..1TeV', 'lower end first'), ('sample hits --energy 1..2kg', 'kg'), ('sample hits --guidance 2', 'leave it out'),
           ('sample hits --out a.txt', 'NAME.h5'), ('sample hits --out events.h5', 'is already there'), ('sample hits --labels gone.h5', 'gone.h5'),
           ('sample hits --labels others.h5 --energy 1..2TeV', 'give one of them'), ('sample hits --labels others.h5 --kind track', 'leave --kind out'),
           ('sample hits --out hits/events.h5 --overwrite', 'is an input'), ('sample nowhere', 'no such folder'), ('sample hits --t0 5kg', 'kg'),
           ('sample hits --first -1', 'first=-1'), ('judge icecube others.h5', 'Missing'), ('judge icecube others.h5 gone.h5', 'gone.h5'),
           ('judge icecube others.h5 others.h5 --out x.png', '.html'), ('judge icecube others.h5 others.h5 --n 5', '40 or more'),
           ('judge icecube others.h5 others.h5 --weight mass', "no column 'mass'"), ('evaluate hits --real gone.h5', 'gone.h5'),
           ('evaluate cnn --steps 0', 'steps=0'), ('export hits --out net.pkl', '.onnx or .pt2'), ('retrieve hits others.h5', "no verb 'retrieve'"),
           ('fit icecube others.h5', 'it has train, simulate'), ('identifiable icecube', "no verb 'identifiable'"), ('simulate icecube x.h5 --n -3', 'n=-3'),
           ('simulate icecube x.h5 --energy 1TeV', 'LO..HI'), ('simulate icecube x.csv', 'NAME.h5'), ('simulate icecube x.h5 --noise 5', 'has no unit'), ('sample hits --energy 5..10', 'has no unit'), ('sample hits --t0 5', 'has no unit'),
           ('train icecube hits --precision 16', 'needs 32'), ('train icecube dit --no-profile', 'not used by network dit'),
           ('train icecube hits --data gone.h5', 'is not there'), ('train icecube huge', 'no recipe'), ('compare hits nowhere', 'no such folder')]

@pytest.mark.parametrize('words, says', HOSTILE)
def test_hostile(here, capsys, words, says):
    "One sentence that says what is wrong, exit code 2, nothing written."
    before = {p: os.path.getmtime(p) for p in os.listdir()}
    assert main(words.split()) == 2
    said = capsys.readouterr().err
    assert says in said and said.count('\n') == 1 and 'Traceback' not in said, said
    assert {p: os.path.getmtime(p) for p in os.listdir()} == before

def test_as_others_name_it(here, capsys):
    "A file without t0 and kinds: both are asked for or said; travel directions are turned."
    import h5py
    e = read_events('others.h5')
    e.more, e.t0[:] = {}, np.nan
    write_guide(e, 'plain.h5')
    with h5py.File('plain.h5', 'a') as f:
        for k in ('told', 't0'): f.pop(k, None)
    assert main('train icecube quick --data plain.h5 --out runs/a'.split()) == 2 and 'give --kind' in capsys.readouterr().err
    assert not main('train icecube quick --data plain.h5 --kind cascade --direction travel --epochs 1 --out runs/b'.split())
    said = capsys.readouterr().out
    assert 't0, the time at the vertex, is estimated' in said
    back = Run.load('runs/b').recipe.held_out()
    assert (back.more['kind'] == 0).all() and np.allclose(np.sort(back.label[:,1]), np.sort(back.label[:,1]))
    same = {tuple(np.round(v, 3)) for v in e.label[:,3:]}
    assert all(tuple(np.round(v, 3)) in same for v in back.label[:,3:])
    row = next(i for i in range(len(e)) if np.allclose(e.label[i,3:], back.label[0,3:], atol=1e-2))
    assert np.isclose(back.label[0,1], np.pi - e.label[row,1], atol=1e-5)

@pytest.mark.parametrize('words, network', [('', 'hits'), ('--network cnn', 'cnn'), ('--recipe own.yaml', 'cnn'), ('--recipe theirs.yaml', 'dit'),
                                            ('--recipe named.yaml', 'mlp'), ('small --recipe theirs.yaml', 'dit')])
def test_the_rest_is_that_of_the_network(tmp_path, monkeypatch, words, network):
    "What neither the command nor a file says is that of the network that they name."
    from physlearn.desk import train_command
    from physlearn.icecube.desk import icecube
    from physlearn.icecube.train_genesis import PRESETS
    monkeypatch.chdir(tmp_path)
    (tmp_path/'own.yaml').write_text('network: cnn\nepochs: 3\n')
    (tmp_path/'theirs.yaml').write_text('training: {num_epochs: 3}\n')
    (tmp_path/'named.yaml').write_text('model: {architecture: mlp}\ntraining: {num_epochs: 3}\n')
    made, _ = train_command(icecube).defaults(words.split())
    preset = PRESETS['small' if words.startswith('small') else network]
    assert (made.lr, made.weight_decay, made.gradient_clip_val, made.depth, made.batch_size) == (
        preset.lr, preset.weight_decay, preset.gradient_clip_val, preset.depth, preset.batch_size)
    assert preset.network == network and made.epochs == (3 if 'yaml' in words else preset.epochs)

def test_what_takes_hours_is_not_begun(lab, capsys):
    "A training ends without events of a network that would take long; asked for, they are drawn."
    from physlearn.icecube import desk
    run, usual = Run.load(lab/'cnn'), desk.MOST_WORK
    assert 0 < desk.work_of(run, 50) == 2*desk.work_of(run, 25)
    desk.MOST_WORK = 1.
    try: assert 'ask for it by `physlearn evaluate RUN --n 40`' in judged(run).note
    finally: desk.MOST_WORK = usual
    assert judged(run, n=40, steps=2).numbers['auc'] > .6
