"What is written and said where names are hostile and terminals plain: cells that a spreadsheet would run, signs that are lacking, readers that leave, words given twice."
import csv, os, re, subprocess, sys
from dataclasses import replace
from pathlib import Path
import numpy as np
import pandas as pd
import pytest
import torch
import tampering as T
from physlearn import cli, files
from physlearn.cli import main
from physlearn.desk import Resume
from physlearn.files import FileError, cell_text, named_by_patterns, read_table, read_yaml, text_of_cell, write_hdf5, write_table
from physlearn.instruments import own_line
from physlearn.pages import html_table
from physlearn.params import Param, ParamSpace
from physlearn.results import Results, table_rows
from physlearn.runs import Run, open_recipe

NAMES = ['=1+1', '+x', '-x', '@x', '\t=1', '\r=1', 'a\nb', 'a,"b"\'', "'=x", "''-", '-', '-5', '+2e-4', '#x', '␊', 'a␦b', ' x ', '<b>', 'x|y', '=HYPERLINK("http://x","y")', 'é', 'b\udcff']
RUNS = re.compile(r'[=+\-@\t\r]')

def results(names):
    v = torch.ones(len(names), 1).double()
    return Results(ParamSpace(P=Param(0, 2, 'mbar')), v, v/9, v/2, v, v/9, torch.ones(len(v)).bool(), v[:,0], method='=cmd', signals=dict(file=names))

def harmless(cell): return not RUNS.match(cell) or cell == '-' or re.fullmatch(r'[-+]?\d+(e-?\d+)?', cell)

def test_cells_of_a_table(tmp_path):
    "No cell of any writer begins a formula, in rows, names of columns and comments; the reader gives all names back."
    write_table(tmp_path/'t.csv', {'=name': NAMES, 'n': np.arange(len(NAMES))}, dict(source='x,=1+1;@y\t-z', note='two\nlines'))
    lines = (tmp_path/'t.csv').read_text().split('\n')
    for row in csv.reader(lines): assert all(map(harmless, row)), row
    for row in csv.reader([lines[0]], delimiter=';'): assert all(map(harmless, row)), row
    t = read_table(tmp_path/'t.csv', text=['=name'])
    assert t['=name'].tolist() == NAMES and t.meta == dict(source='x,=1+1;@y\t-z', note='two\nlines')
    assert pd.read_csv(tmp_path/'t.csv', comment='#')['n'].tolist() == list(range(len(NAMES)))

@pytest.mark.parametrize('end', ['csv', 'xlsx'])
def test_results_that_grow(tmp_path, end):
    if end == 'xlsx': openpyxl = pytest.importorskip('openpyxl')
    names = [k for k in NAMES if k not in ('-5', '+2e-4', 'b\udcff')]   # numbers for pandas, which holds no bytes that are not UTF-8 either
    path = tmp_path/f'r.{end}'
    results(names[:4]).save(path)
    results(names[4:]).add_to(path)
    assert table_rows(path)['file'].tolist() == names and set(table_rows(path)['method']) == {'=cmd'}
    if end == 'xlsx':
        cells = [c for row in openpyxl.load_workbook(path).active.iter_rows() for c in row]
        assert {c.data_type for c in cells} == {'s', 'n'}
        assert all(c.quotePrefix for c in cells if isinstance(c.value, str) and cell_text(c.value) != c.value)

def test_pages_and_cards_escape():
    shown = html_table(dict(caption='<i>', head=['<u>'], rows=[[n] for n in NAMES if n.isprintable()]))
    assert '<b>' not in shown and '<u>' not in shown and '<i>' not in shown
    assert '<script>' not in ParamSpace(a=Param(0, 1, doc='<script>x</script>'))._repr_html_()

@pytest.mark.parametrize('name', NAMES)
def test_there_and_back(name):
    assert text_of_cell(cell_text(name)) == name and text_of_cell(cell_text(name, False), False) == name and cell_text(name).isprintable()

# --- terminals

@pytest.fixture(scope='module')
def canopy(tmp_path_factory): return T.made('canopy', tmp_path_factory.mktemp('one'))

def physlearn(*words, pipe='', **env):
    "The command in a shell of its own."
    line = ' '.join([sys.executable, '-m', 'physlearn', *map(str, words), pipe])
    return subprocess.run(['bash', '-c', f'set -o pipefail; {line}'], capture_output=True, text=True, env={**os.environ, **env})

def test_plain_terminal_keeps_the_table(tmp_path):
    "A terminal of ASCII shows +/- for ±, and the table is written."
    plain = dict(LANG='C', LC_ALL='C', PYTHONIOENCODING='ascii', PYTHONUTF8='0')
    done = physlearn('simulate', 'spectra', tmp_path/'s.csv', '--set', 'mf_CH4=2ppm', 'P=500mbar', 'T=305K', '--noise', '0.002', **plain)
    assert done.returncode == 0, done.stderr
    done = physlearn('fit', 'spectra', tmp_path/'s.csv', '--known', 'P=500mbar', 'T=305K', '--out', tmp_path/'r.csv', **plain)
    assert done.returncode == 0 and '+/-' in done.stdout and done.stdout.isascii() and done.stderr.isascii() and 'Traceback' not in done.stderr
    assert read_table(tmp_path/'r.csv', columns=['mf_CH4'])['mf_CH4'][0] == pytest.approx(2e-6, rel=.2)

def test_a_reader_that_leaves(canopy, tmp_path):
    "head has read enough: nothing is said, and a table that was asked for is written all the same."
    for words in (('card', canopy/'whole'), ('--help',), ('fit', '--help')):
        done = physlearn(*words, pipe='| head -1')
        assert done.stderr == '' and done.stdout.count('\n') == 1
    assert not main(['simulate', 'canopy', str(tmp_path/'s.csv'), '--n', '2', '--noise', '0.02'])
    physlearn('fit', 'canopy', tmp_path/'s.csv', '--draws', 16, '--out', tmp_path/'t.csv', pipe='| true')
    assert len(read_table(tmp_path/'t.csv', columns=['LAI'])['LAI']) == 2

def test_names_in_messages(capsys):
    "Control characters and signs that turn the writing round are shown, not sent; a name without end is cut."
    for name, shown in (('a\nb', 'a\\nb'), ('a\x1b[31mb', 'a\\x1b[31mb'), ('a\u202eb', 'a\\u202eb'), ('x'*5000, 'xxx...')):
        assert main(['card', name]) == 2
        err = capsys.readouterr().err
        assert shown in err and err.count('\n') == 1 and len(err) < 800, err

def test_what_cannot_be_read(tmp_path, monkeypatch):
    "Of a file that is there and cannot be read it is not said that it cannot be written; a full disk is not its reader's fault."
    (tmp_path/'x.csv').write_text('x')
    monkeypatch.setattr('os.access', lambda *a: False)
    for e, says in ((PermissionError(13, 'Permission denied', str(tmp_path/'x.csv')), 'x.csv cannot be read (Permission denied); check its permissions'),
                    (PermissionError(13, 'Permission denied', str(tmp_path/'new.csv')), 'new.csv cannot be written'),
                    (OSError(28, 'No space left on device', str(tmp_path/'x.csv')), 'x.csv cannot be written'),
                    (OSError(36, 'File name too long', 'x'*5000), 'File name too long; check the name')):
        assert says in cli._unwritten(e)

@pytest.mark.parametrize('ending', ['h5', 'parquet'])
def test_compiled_libraries_are_not_the_users_code(ending, tmp_path, monkeypatch):
    "What h5py or pyarrow raise in compiled code is a sentence about the file that the user named, without a line of theirs."
    pytest.importorskip('pyarrow')
    write = dict(h5=write_hdf5, parquet=write_table)[ending]
    monkeypatch.setattr(files, 'temporary', lambda path: path.parent/'gone'/f'.tmp-{path.name}')   # a folder that was removed meanwhile
    with pytest.raises(OSError) as caught: write(tmp_path/f'a.{ending}', dict(a=np.ones(3)))
    e = caught.value
    e.__traceback__ = e.__traceback__.tb_next                             # without the line of this test
    said = cli._sentence_of(e)
    assert own_line(e) is None and said == f'{tmp_path}/a.{ending}: No such file or directory; check the name', said

def test_compiled_code_of_the_user_is_the_users(tmp_path):
    "A compiled line belongs to the library that holds it."
    code = compile('def loss(): raise ValueError("mine")', 'lab/loss.pyx', 'exec')
    for where, own in ((tmp_path/'lab/loss.so', True), (Path(sys.prefix)/'lib/lab/loss.so', False)):
        space = dict(__file__=str(where))
        exec(code, space)
        with pytest.raises(ValueError) as caught: space['loss']()
        e = caught.value
        e.__traceback__ = e.__traceback__.tb_next                         # without the line of this test
        assert (own_line(e) is not None) == own

# --- words

@pytest.mark.parametrize('text, says', [('a: 1\na: 2', "'a' is given twice"), ('a: {b: 1, b: 2}', "'b' is given twice"),
                                        ('a: !!python/name:os.system', 'not YAML'), ('a: !mine x', 'not YAML'), ('['*3000, 'nested too deeply|not YAML')])
def test_yaml(tmp_path, text, says):
    (tmp_path/'a.yaml').write_text(text)
    with pytest.raises(FileError, match=says): read_yaml(tmp_path/'a.yaml')

def test_set_up_twice(tmp_path, capsys):
    (tmp_path/'co.yaml').write_text('format: 1\nnoise: 0.001\nnoise: 0.002\n')
    assert main(['identifiable', 'spectra', '--setup', str(tmp_path/'co.yaml')]) == 2 and "'noise' is given twice" in capsys.readouterr().err

def test_patterns_for_every_verb(tmp_path, monkeypatch, capsys):
    "A quoted pattern; the table that is written is not its own input."
    monkeypatch.chdir(tmp_path)
    assert not main(['simulate', 'canopy', 'a1.csv', '--n', '2', '--noise', '0.02']) and not main(['simulate', 'canopy', 'a2.csv', '--n', '1', '--noise', '0.02'])
    assert not main(['fit', 'canopy', 'a*.csv', '--draws', '16', '--out', 'all.csv'])
    assert len(pd.read_csv('all.csv')) == 3
    assert not main(['fit', 'canopy', 'a*.csv', '--draws', '16', '--out', 'all.csv', '--overwrite']) and len(pd.read_csv('all.csv')) == 3
    assert main(['fit', 'canopy', 'b*.csv']) == 2 and "no file matches 'b*.csv'" in capsys.readouterr().err
    assert named_by_patterns(['a1.csv', 'a?.csv']) == ('a1.csv', 'a2.csv')

def test_resume_with_options(canopy, tmp_path, capsys):
    "What decides no result may change; anything else is refused by its name."
    import shutil
    shutil.copytree(canopy/'half', tmp_path/'half')
    for words, says in ((['--lr', '1e-3'], '--lr cannot change'), (['--seed=3'], '--seed cannot change'), (['--keep', 'x'], "keep='x'")):
        assert main(['resume', str(tmp_path/'half'), *words]) == 2
        assert says in capsys.readouterr().err
    assert main(['resume', str(tmp_path/'half'), '--keep', 'all', '--gpus', '0', '--threads', '1', '--no-evaluate']) == 0
    assert 'physlearn evaluate' in capsys.readouterr().out
    assert torch.equal(*(next(iter(Run.load(canopy/k if k == 'whole' else tmp_path/k, measured=False).model.state_dict().values())) for k in ('whole', 'half')))
    assert {f for f in Resume.__dataclass_fields__} >= {'keep', 'track', 'gpus', 'threads'}
    recipe = replace(open_recipe(canopy/'whole'), epochs=1)
    with pytest.raises(ValueError, match='epochs cannot change'): Run.resume(tmp_path/'half', epochs=recipe.epochs)

def test_train_without_evaluation(tmp_path, capsys):
    words = '--epochs 2 --epochs-pretrain 2 --kl-warmup-epochs 1 --pretrain-samples 512 --val-samples 128 --batch-size 64 --width 16'.split()
    assert main(['train', 'canopy', 'quick', *words, '--no-evaluate', '--out', str(tmp_path/'run')]) == 0
    assert not (tmp_path/'run'/'metrics.json').exists() and not (tmp_path/'run'/'report.html').exists()
    assert 'physlearn evaluate' in capsys.readouterr().out

def test_words_that_are_no_choice(capsys):
    for words, says in ((['identifiable', 'spectra', '--ils', 'foo'], 'gaussian'), (['fit', 'lightcurve', 'x.fits', '--model', 'foo'], 'flare')):
        assert main(words) == 2 and says in capsys.readouterr().err
