"What strangers bring as events: units, kinds, weights, sets of which not the same is known, and disks that are full."
import json, os
from dataclasses import replace
import h5py
import numpy as np
import pytest
from physlearn.cli import main
from physlearn.files import FileError
from physlearn.icecube.desk import comparable, event_weight, judged, read_labels, time_zero
from physlearn.icecube.detector import Geometry
from physlearn.icecube.event_files import read_events, read_graphnet, read_guide, write_graphnet, write_guide
from physlearn.icecube.event_report import finite_table, summary_table
from physlearn.icecube.event_simulate import simulate
from physlearn.icecube.events import doubts, kind_numbers
from physlearn.icecube.train_genesis import event_recipe, events_of, signals_of
from physlearn.params import read_range
from physlearn.runs import Run

ARRAY = Geometry.hexagonal(12, 12)
MADE = dict(geometry=ARRAY, energy=(1e3, 1e5))

@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    "100 events, others without t0 and kinds, and runs of hits and of a dense network."
    home = tmp_path_factory.mktemp('strangers')
    e = simulate(100, 4, **MADE)
    write_guide(e, home/'a.h5')
    write_guide(replace(e, more={}, t0=np.full(100, np.nan)), home/'bare.h5')
    write_guide(replace(e, label=e.label*np.nan), home/'nolabel.h5')
    write_guide(simulate(60, 5, geometry=Geometry.hexagonal(7, 10), energy=(1e3, 1e5)), home/'other.h5')
    data = dict(data=(str(home/'a.h5'),), gpus=0, epochs=1)
    event_recipe('hits', **data).fit(home/'hits', quiet=True, evaluate=False)
    event_recipe('cnn', **data, hidden=8, depth=1, batch_size=40).fit(home/'cnn', quiet=True, evaluate=False)
    return home

@pytest.fixture
def here(lab, monkeypatch): monkeypatch.chdir(lab)

def refused(capsys, words, says):
    assert main(words.split()) == 2
    said = capsys.readouterr().err
    assert says in said and said.count('\n') == 1 and 'Traceback' not in said, said

def planted(name, key, v):
    "A file as a.h5 with another data set."
    with h5py.File('a.h5') as f, h5py.File(name, 'w') as g:
        f.visititems(lambda k, d: g.__setitem__(k, d[()]) if isinstance(d, h5py.Dataset) and k != key else None)
        g[key] = v
    return name

# ------------------------------------------------------------------------------------------------ kinds and times

@pytest.mark.parametrize('given, kind', [(['track', 'Cascade'], [1, 0]), ([b'1.0', b''], [1, np.nan]), ([True, False], [1, 0]),
                                         ([0., np.nan], [0, np.nan])])
def test_kinds_in_words(given, kind): np.testing.assert_array_equal(kind_numbers(given), kind)

@pytest.mark.parametrize('kind, says', [(np.arange(100) % 3, 'kind 2'), (np.full(100, .5), 'kind 0.5'),
                                        (np.full(100, b'numu'), "kind 'numu'"), (np.ones((100, 2)), 'one value for each')])
def test_kinds_that_are_none(here, capsys, kind, says):
    "A third kind ended a training with a traceback, and half a track was learned from."
    planted('kinds.h5', 'more/kind', kind)
    refused(capsys, 'train icecube quick --data kinds.h5 --out runs/k', says)
    refused(capsys, 'judge icecube a.h5 kinds.h5', says)

def test_t0_is_finite(here):
    with pytest.raises(FileError, match='event 3: t0 is infinite'): read_guide(planted('t.h5', 't0', np.where(np.arange(100) == 3, np.inf, 9e3)))

def test_times_keep_their_digits(here):
    "1e9 ns in float32 have steps of 64 ns; a year in float64 has steps of 4 ns."
    with h5py.File('a.h5') as f: x = f['input'][()].astype('f4')
    assert read_guide(planted('near.h5', 'input', x)).notes == []
    x[:,1] += 1e9
    assert 'steps of 64 ns' in read_guide(planted('late.h5', 'input', x)).notes[-1]
    assert abs(time_zero('-10us') + 1e4) < 1e-6
    with pytest.raises(ValueError, match='100 s or less'): time_zero('1yr')

@pytest.mark.parametrize('told', [b'[1]', b'{"more": 5}', b'{"notes": "x"}', b'{"about": [1]}', b'{"energy_of": 7}',
                                  b'{"pulsemap": "../pulses"}', b'{"pulsemap": "%s"}' % (b'a'*5000)])
def test_what_a_file_says_of_itself(here, tmp_path, told):
    with pytest.raises(FileError): read_guide(planted('told.h5', 'told', np.bytes_(told)))
    folder = write_graphnet(simulate(3, 1, **MADE), tmp_path/'net')
    (folder/'physlearn.json').write_bytes(told)
    with pytest.raises(FileError): read_graphnet(folder, ARRAY)

def test_parts_that_do_not_fit(here):
    "Sensors in other numbers are refused by their shape, before they are read; energies are numbers."
    for k in ('string', 'efficiency'):
        with pytest.raises(FileError, match=f'sensor/{k}: shape'): read_guide(planted('many.h5', f'sensor/{k}', np.zeros(5)))
    e = simulate(3, 1, **MADE)
    with pytest.raises(ValueError, match='holds text'): replace(e, energy_of='primary', more=dict(deposited=np.array(['a', 'b', 'c'])))

# ------------------------------------------------------------------------------------------------ units

SCALES = dict(TeV=(dict(label=[1e-4, 1, 1, 1, 1, 1]), 'in TeV'), eV=(dict(label=[1e9, 1, 1, 1, 1, 1]), 'in eV'),
              km=(dict(label=[1, 1, 1, 1e-3, 1e-3, 1e-3]), 'in km'), mm=(dict(label=[1, 1, 1, 1e3, 1e3, 0]), 'in metres'),
              us=(dict(time=1e-3), 'times in us'), scaled=(dict(charge=1e-3), 'charges scaled'), bright=(dict(charge=1e7), 'PE'))

@pytest.mark.parametrize('how', SCALES)
def test_other_units_are_doubted(how):
    "Numbers of other units went through without a word; the events as they are raise no doubt."
    e = simulate(60, 2, **MADE)
    assert doubts(e) == []
    factors, says = SCALES[how]
    odd = replace(e, **{k: getattr(e, k)*np.array(f, dtype=getattr(e, k).dtype) for k, f in factors.items()}, more={}, energy_of='unknown')
    assert any(says in d for d in doubts(odd))

def test_units_of_a_geometry(tmp_path):
    "Columns in km were taken as metres; half a string is none; percents are no relative efficiency."
    def table(head, *rows):
        (tmp_path/'g.csv').write_text('\n'.join([head, *rows]) + '\n')
        return tmp_path/'g.csv'
    e = Geometry.load(table('string,dom,x [km],y,z [cm]', '1,1,0.1,5,-200', '2,1,-0.1,5,300'))
    assert e.xyz.tolist() == [[100, 5, -2], [-100, 5, 3]]
    for rows, says in (('1.5,1,0,0,0,1', 'column string: found 1.5'), ('1,1,0,0,0,135', 'median 135')):
        with pytest.raises(FileError, match=says): Geometry.load(table('string,dom,x,y,z,rde', rows))
    with pytest.raises(FileError, match="cannot become 'm'"): Geometry.load(table('string,dom,x [kg],y,z', '1,1,0,0,0'))

def test_range_in_EeV():
    "The E of EeV was taken for that of an exponent."
    assert read_range('energy', '1..10EeV', 'GeV') == (1e9, 1e10)
    assert read_range('energy', '1e3..1e5TeV', 'GeV') == (1e6, 1e8)

def test_labels_as_tables_have_them(here, tmp_path):
    (tmp_path/'l.TXT').write_text('ENERGY [TeV],Zenith,azimuth,x,y,z,kind\n1,1,-3,0,0,0,1.0\n2,1,1,0,0,0,nan\n')
    label, kind = read_labels(tmp_path/'l.TXT')
    np.testing.assert_allclose(label[:,[0, 2]], [[1e3, 2*np.pi - 3], [2e3, 1]])
    np.testing.assert_array_equal(kind, [1, np.nan])
    (tmp_path/'m.csv').write_text('energy [kg],zenith,azimuth,x,y,z\n1,1,3,0,0,0\n')
    with pytest.raises(FileError, match='m.csv.*kg'): read_labels(tmp_path/'m.csv')

# ------------------------------------------------------------------------------------------------ training

def test_an_event_is_on_one_side(here, capsys):
    "The same file twice put events on both sides of the split."
    refused(capsys, 'train icecube quick --data a.h5 ./a.h5 --out runs/t', 'is given twice')
    e = read_guide('a.h5')
    write_guide(replace(e, more=dict(kind=e.more['kind'])), 'copy.h5')
    sides = event_recipe('quick', data=('a.h5', 'copy.h5'), epochs=1).sides()
    assert sum(map(len, sides)) == 100 and '100 of 200 events are there twice' in capsys.readouterr().out

def test_dense_networks_sample(here, capsys):
    "Each call of `sample` with a dense network ended with a traceback."
    assert not main('sample cnn --steps 1 --n 70 --out dense.h5 --overwrite'.split())
    assert len(read_events('dense.h5')) == 70
    e = read_guide('a.h5')[:2]
    assert events_of(signals_of(e), e.label, e.t0, ARRAY).about == {}
    refused(capsys, 'sample cnn --steps 1 --kind track --energy 1..2TeV --out d.h5', 'does not know cascades from tracks')

@pytest.mark.parametrize('words, says', [
    ('train icecube cnn --fusion SUM', 'not used by network cnn'), ('train icecube dit --path karras --T 50', 'not used by the path karras'),
    ('simulate icecube x.h5 --noise 1THz', '10 MHz or less'), ('simulate icecube x.h5 --t0 1yr', '100 s or less'),
    ('sample hits --seed 4294967296 --out x.h5', '0 to 4294967295'), ('train icecube quick --data hits/recipe.json', 'is no HDF5 file'),
    ('judge icecube nolabel.h5 nolabel.h5', 'no event whose label is known'), ('judge icecube a.h5 nolabel.h5', 'no event whose label is known'),
    ('judge icecube a.h5 a.h5 --train other.h5', 'the sensors of a.h5')])
def test_refused(here, capsys, words, says): refused(capsys, words, says)

# ------------------------------------------------------------------------------------------------ judging

def test_the_same_is_known_of_both(here):
    "A set without kinds beside one with them agreed in 0 of 0 rows; one without t0 had no early hits."
    e, bare = read_guide('a.h5'), read_guide('bare.h5')
    (one, two), said = comparable(('a.h5', 'bare.h5'), (e, bare))
    assert 'kind' not in one.more and 'kinds are not compared' in said[0] and 'estimated' in said[1]
    np.testing.assert_allclose(one.t0, two.t0)
    label = e.label.copy()
    label[:7] = np.nan
    (one, _), said = comparable(('half', 'a.h5'), (replace(e, label=label, more={}), e))
    assert len(one) == 93 and 'unknown in 7 of 100' in said[0]

def test_nothing_compared_is_no_agreement():
    judge = dict(rows=[['generated', .5, .1, 'not told apart']])
    rows = summary_table(judge, [], (0, 12), dict(rows=[]), dict(rows=[['x', 0, 'too few']]))['rows']
    nothing = 'nothing measured'
    assert [r[2] for r in rows] == ['not told apart', nothing, 'agree', nothing, 'too few']
    table = finite_table(dict(rows=[['a', np.nan, 1.]]))
    assert json.dumps(table, allow_nan=False) and table['rows'] == [['a', '', 1.]]

@pytest.mark.parametrize('weight, says', [(-np.ones(100), 'weight -1'), (np.zeros(100), 'all weights are 0'),
                                          (np.r_[1., np.zeros(99)], 'those of 1.0 events'), (np.r_[np.inf, np.ones(99)], 'weight inf')])
def test_weights(here, weight, says):
    with pytest.raises(ValueError, match=says): event_weight(replace(read_guide('a.h5'), more=dict(w=weight)), 'w')

def test_an_evaluation_is_kept(here, capsys):
    "A file that cannot judge replaced the figures of a run by a sentence, with exit code 0."
    assert not main('evaluate hits --real a.h5 --n 60'.split()) or 'trained on' in capsys.readouterr().err
    before = {k: os.path.getmtime(f'hits/{k}') for k in os.listdir('hits')}
    refused(capsys, 'evaluate hits --real nolabel.h5', 'label unknown in 100 of 100')
    assert {k: os.path.getmtime(f'hits/{k}') for k in os.listdir('hits')} == before

def test_other_sensors_tell_nothing_of_copies(here):
    found = judged(Run.load('hits'), read_guide('other.h5'), 60)
    assert not any('Copies' in t['caption'] for t in found.tables)

# ------------------------------------------------------------------------------------------------ a full disk

def test_a_full_disk(tmp_path, monkeypatch):
    "HDF5 ended the process (139), and half a folder of tables stayed."
    e = simulate(5, 1, **MADE)
    monkeypatch.setattr('shutil.disk_usage', lambda p: type('U', (), dict(free=1000)))
    with pytest.raises(OSError, match='to write'): write_guide(e, tmp_path/'a.h5')
    import pyarrow.parquet
    def full(*a, **k): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(pyarrow.parquet, 'write_table', full)
    with pytest.raises(FileError, match='No space left'): write_graphnet(e, tmp_path/'net')
    assert os.listdir(tmp_path) == []
