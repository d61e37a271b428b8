"The first day with a program: tables that open anywhere, trainings that end by themselves, helps that can be followed."
import glob, json, os, re, shlex, shutil, sys
from dataclasses import replace
from pathlib import Path
import pandas as pd
import pytest
import torch
from physlearn.canopy.train_physvae import canopy_recipe
from physlearn.cli import ON_RUNS, for_help, from_words, main
from physlearn.desk import Compare, Export, Push, command_of, known_values
from physlearn.files import FileError, read_table
from physlearn.instruments import EXAMPLES, INSTRUMENTS, find
from physlearn.results import Results
from physlearn.spectra.desk import FitSpectra
from physlearn.spectra.files import example_spectrum
from physlearn.spectra.fit import Fit
from physlearn.spectra.train_physae import PRESETS as SPECTRA
from physlearn.spectra.train_physae import spectra_recipe

FIT = ['fit', 'spectra', str(example_spectrum()), '--known', 'T=306K', 'P=487mbar', '--noise', '0.002']

def test_a_table_opens_in_pandas(tmp_path, capsys):
    "No line above the header; a unit behind each name that has one; Parquet has the same columns."
    for end in ('csv', 'parquet'): assert not main([*FIT, '--out', str(tmp_path/f'r.{end}')])
    t, same = pd.read_csv(tmp_path/'r.csv'), pd.read_parquet(tmp_path/'r.parquet')
    assert list(t) == list(same) and len(t) == 1 and t['method'][0] == 'fit by physics'
    assert t['P [mbar]'][0] == pytest.approx(487) and {'mf_CH4', 'mf_CH4_sd', 'step [1/cm]', 'step_sd [1/cm]'} <= set(t)
    back = read_table(tmp_path/'r.csv', columns=['P', 'mf_CH4'])
    assert back['P'][0] == pytest.approx(487) and back.meta['unit_P_low95'] == 'mbar'

def test_a_fit_is_loaded_again(tmp_path, capsys):
    "Values, standard deviations, correlations and verdicts, of a folder's JSON as of a table's."
    (fit,) = FitSpectra(files=(str(example_spectrum()),), known=('T=306±0.5K', 'P=487mbar'), noise='0.002').fits().values()
    fit.save(tmp_path/'one')
    fit.results().save(tmp_path/'table.json')
    for name in ('one.json', 'table.json'):
        back, want = Fit.load(tmp_path/name), fit.results()
        assert list(back.space) == list(want.space) and torch.equal(back.value, want.value) and torch.equal(back.sd, want.sd)
        assert [q['verdict'] for q in back.quantities()] == [q['verdict'] for q in want.quantities()]
        names, cov = fit.sim.space.names, fit.estimate.cov[0]
        i, j = names.index('T'), names.index('mf_CH4')
        r = float(cov[i,j]/(cov[i,i]*cov[j,j]).sqrt())
        assert back.corr[0, back.space.index('T'), back.space.index('mf_CH4')] == pytest.approx(r, abs=1e-6) and abs(r) > .01
    d = json.loads((tmp_path/'one.json').read_text())
    del d['table']
    (tmp_path/'one.json').write_text(json.dumps(d))
    with pytest.raises(FileError, match='earlier version'): Fit.load(tmp_path/'one.json')

def test_a_fit_of_a_canopy_is_loaded_again(tmp_path, capsys):
    table, out = tmp_path/'s.csv', tmp_path/'t.json'
    assert not main(['simulate', 'canopy', str(table), '--n', '2', '--noise', '0.02'])
    assert not main(['fit', 'canopy', str(table), '--draws', '128', '--out', str(out)])
    back, raw = Results.load(out), json.loads(out.read_text())['results']
    assert len(back) == 2 and [q['verdict'] for q in back.quantities(1)] == [q['verdict'] for q in raw[1]['quantities']]
    assert back.value[0].tolist() == [q['value'] for q in raw[0]['quantities']]
    i = back.space.index
    assert back.corr.shape == (2, len(back.space), len(back.space)) and (back.corr[:, i('cab'), i('CCC')] > .2).all()
    assert torch.allclose(back.corr.diagonal(dim1=1, dim2=2), torch.ones(()).double())

SMALL = dict(train_samples=64, num_points=64, stage='A', epochs=40, lr=1e-20)
STALE = [(spectra_recipe('quick', val_samples=64, **SMALL)),
         (canopy_recipe('quick', val_samples=64, pretrain_samples=256, epochs=40, epochs_pretrain=40, lr_pretrain=1e-20))]

@pytest.mark.parametrize('recipe', STALE, ids=['spectra', 'canopy'])
def test_patience_ends_every_training(tmp_path, capsys, recipe):
    "At a rate that changes nothing, a training ends after `patience` epochs without a better one, and says so."
    run = replace(recipe, patience=2).fit(tmp_path/'run', evaluate=False)
    assert len(run.history['valid_loss']) <= 10 and 'stopped, no improvement of valid_loss for 2 epochs' in capsys.readouterr().out
    assert run.recipe.patience == 2

def test_patience_is_an_option(capsys):
    for name in ('spectra', 'canopy'):
        assert main(['train', name, 'quick', '--patience', '0']) == 2 and 'patience=0: expected 1 or more' in capsys.readouterr().err

VERBS = [(verb, name) for name in INSTRUMENTS for verb in EXAMPLES[name]]

def helped(capsys, *words):
    assert main([*words, '--help']) == 0
    return capsys.readouterr().out

@pytest.mark.parametrize('verb, name', [v for v in VERBS if v[0] not in ON_RUNS])
def test_every_option_is_explained(capsys, verb, name):
    "What is wanted in words, not in types; a meaning, and what counts where the option is not given; a command that works."
    out = helped(capsys, verb, name)
    assert not re.search(r'\bSTR\b|{None}|default: (None|)\)|FLOAT', out) and f'\n  physlearn {verb} {name}' in out
    options = re.split(r'\n[│ ] (?=--|\[?[A-Z]{3})', out.split('examples:')[0].split('\nexample:')[0])[1:]
    assert len(options) > 3
    for text in options:
        if text.startswith('-h'): continue
        meaning = ' '.join(re.sub(r'[│╭╰─╮╯]', ' ', text).split())
        assert len(meaning.split()) > 3, meaning

COUNTS = '--n', '--table', '--injected', '--pages', '--seed', '--bands', '--visits', '--skip', '--degree', '--knots', '--draws', '--first', '--gpus', '--num-events', '--max-samples', '--num-points', '--windows', '--workers'   # numbers without a unit

@pytest.mark.parametrize('verb', ['fit', 'simulate', 'retrieve', 'score', 'sample', 'judge', 'evaluate', 'agree', 'ground', 'show'])
@pytest.mark.parametrize('name', INSTRUMENTS)
def test_every_option_has_default_example_and_unit(capsys, verb, name):
    "What counts where an option is not given, what can be written, and the unit of a number that has one."
    if verb not in EXAMPLES[name]: pytest.skip(f'{name} has no {verb}')
    cls = command_of(verb, find(name))
    with pytest.raises(SystemExit): from_words(for_help(cls), ['--help'], 'x')
    options = re.split(r'\n[│ ] (?=--)', capsys.readouterr().out)[1:]
    assert len(options) > (0 if name == 'sar' else 2 if (name, verb) == ('lightcurve', 'simulate') else 4 if verb == 'evaluate' else 7)
    for part in options:
        text = ' '.join(re.sub(r'[│╭╰─╮╯]', ' ', part).split())
        option, flag = text.split()[0].strip(','), ', --no-' in text
        assert re.search(r'\(default: |not given|\(required\)|stated here or in the file', text), f'no default: {text}'
        if flag: continue
        assert re.search(r'\blike\b|\(default: (?!none)|\w, \w+ or |: \w+, \w+|, \w+ and \w+|: \w+ or \w+|: \.csv', text), f'no example: {text}'
        if ' NUMBER' in text and option not in COUNTS: assert re.search(r'\[[^\]]+\]', text), f'no unit: {text}'

def test_helps_of_verbs_and_runs(capsys):
    for verb in ('evaluate', 'report', 'card', 'retrieve', 'resume', 'export', 'fit', 'simulate', 'identifiable', 'train', 'windows', 'fetch', 'setup', 'demo', 'score',
                 'sample', 'judge', 'compare', 'agree', 'cut', 'ground', 'show'):
        out = helped(capsys, verb)
        assert out.startswith(f'usage: physlearn {verb} ') and 'example' in out
    assert all(verb in helped(capsys) for verb in ('fit', 'evaluate', 'windows', 'setup', 'demo', 'canopy'))

def test_help_shows_what_would_be_taken(capsys):
    "The values of the recipe that is named."
    told = [re.search(r'--batch-size NUMBER.*?\(default: (\d+)\)', helped(capsys, 'train', 'spectra', name), re.S)[1] for name in ('demo', 'quick')]
    assert told == [str(SPECTRA[name].batch_size) for name in ('demo', 'quick')] and told[0] != told[1]
    assert 'no recipe' in (main(['train', 'spectra', 'demon', '--help']) and capsys.readouterr().err)

# what makes an example small enough for a test
LESS = dict(train=dict(spectra='--epochs 1 --train-samples 64 --val-samples 16', canopy='--epochs 2 --epochs-pretrain 1 --pretrain-samples 128 --val-samples 16', lightcurve='--epochs 1 --sources 300', icecube='--epochs 1', sar='--epochs 1'),
            **dict.fromkeys(('judge', 'evaluate'), dict(icecube='--n 60')),
            identifiable=dict(canopy='--n 1 --draws 64'))

@pytest.mark.parametrize('name', INSTRUMENTS)
def test_examples_run(tmp_path, monkeypatch, capsys, name):
    "Every command that a help shows, in order; `demo` is what `make demo` runs."
    monkeypatch.chdir(tmp_path)
    if name == 'spectra': files_of_examples(tmp_path)
    for verb in ('simulate', 'fit', 'identifiable', 'setup', 'windows', 'train', 'score', 'retrieve', 'export', 'sample', 'judge', 'agree', 'evaluate', 'compare', 'ground', 'show'):
        for words in EXAMPLES[name].get(verb, ()):
            words, _, into = f"{words.replace('--n 20 ', '--n 6 ').replace('--n 1000', '--n 200').replace('variability ', 'variability --constants 2000 ')} {LESS.get(verb, {}).get(name, '')}".partition(' > ')
            capsys.readouterr()
            assert not main([verb, *([] if verb in ON_RUNS else [name]), *expanded(words)]), (verb, words)
            if into: Path(into.strip()).write_text(capsys.readouterr().out)
    written = dict(spectra='fit.csv day1.csv co.yaml results.csv', canopy='traits.csv traits_by_run.csv', lightcurve='rates.csv scores.csv',
                   icecube='tracks.h5 judged.html runs.csv', sar='pairs.csv refined/refined.csv')
    assert all(Path(f).stat().st_size for f in written[name].split())

def expanded(words):
    "As a shell does it."
    return [f for w in shlex.split(words) for f in (sorted(glob.glob(w)) if '*' in w else [w])]

def files_of_examples(folder):
    "Three spectra of carbon monoxide, and its lines."
    cases = Path(os.environ.get('PHYSLEARN_DATA', ''))/'cases/spectra'
    if not cases.is_dir(): pytest.skip('PHYSLEARN_DATA has no cases')
    shutil.copy(cases/'co.par', folder)
    (folder/'day1').mkdir()
    text = '# quantity: transmittance\n# axis: wavenumber\n# unit: 1/cm\n' + (cases/'co_laser.csv').read_text()
    for i in range(3): (folder/f'day1/{i}.csv').write_text(text)

ROOT = Path(__file__).resolve().parents[1]

def printed():
    "Commands in the blocks of the pages: (page, words)."
    pages = [ROOT/'README.md', *sorted((ROOT/'nbs').rglob('*.ipynb'))]
    for page in pages:
        texts = [page.read_text()] if page.suffix == '.md' else [''.join(c['source']) for c in json.loads(page.read_text())['cells'] if c['cell_type'] == 'markdown']
        for text in texts:
            for block in re.findall(r'```sh\n(.*?)```', text, re.S):
                for line in re.sub(r'\\\n\s*', ' ', block).splitlines():
                    if line.startswith('physlearn ') and ' ...' not in line: yield page.name, line.split('#')[0].split(' > ')[0].strip()

def test_printed_commands_are_understood():
    "Every command in a block of a page: its verb, its options and their values are those of the program as it is."
    seen = 0
    for page, line in printed():
        _, verb, *words = shlex.split(line.replace('FILE...', 'FILE'))
        on_run = verb in ON_RUNS
        if verb == 'doctor':
            assert set(words) <= {'--json', '--help'}, (page, line)
            continue
        if on_run and (verb in ('evaluate', 'report', 'card', 'resume') or '--help' in words): continue
        name = words.pop(0) if not on_run else 'icecube' if verb == 'sample' else 'sar' if verb in ('ground', 'show') else 'canopy' if 'wood' in line or 'forest' in line else 'spectra'
        if name not in INSTRUMENTS: continue                     # the reader's own
        cls, default = dict(export=Export, push=Push, compare=Compare).get(verb) or command_of(verb, find(name)), None
        files = '--from', '--recipe', '--setup', *['--data']*(name in ('icecube', 'lightcurve')), *['--data-dir', '--stage2-dir']*(name == 'sar')
        for option in files:                                     # that the reader has
            if option in words: del words[(at := words.index(option)):at+2]
        if hasattr(cls, 'defaults'): default, words = cls.defaults(words)
        made, wrong = from_words(cls, words, 'x', default)
        assert not wrong, (page, line, wrong)
        if verb == 'train' and 'table' not in vars(made): made.check()
        seen += 1
    assert seen > 30

@pytest.fixture
def hitran_online(tmp_path, monkeypatch):
    "A server on this machine that answers as HITRANonline does: lines of a list between numin and numax."
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from urllib.parse import parse_qs, urlparse
    hapi = pytest.importorskip('hapi')
    cases = Path(os.environ.get('PHYSLEARN_DATA', ''))/'cases/spectra'
    if not cases.is_dir(): pytest.skip('PHYSLEARN_DATA has no cases')
    records = (cases/'co.par').read_text().splitlines(keepends=True)
    class Answer(BaseHTTPRequestHandler):
        page = None
        def do_GET(self):
            asked = {k: float(v[0]) for k, v in parse_qs(urlparse(self.path).query).items() if k in ('numin', 'numax')}
            inside = [r for r in records if asked['numin'] <= float(r[3:15]) <= asked['numax']]
            self.send_response(200)
            self.end_headers()
            self.wfile.write((self.page or ''.join(inside)).encode())
        def log_message(self, *args): pass
    server = HTTPServer(('127.0.0.1', 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setitem(hapi.VARIABLES, 'GLOBAL_HOST', f'http://127.0.0.1:{server.server_port}')
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    yield Answer, records
    server.shutdown()
    server.server_close()

def test_fetched_lines_are_hitrans_own(tmp_path, capsys, monkeypatch, hitran_online):
    "The records between the ends, unchanged, with what to cite; an answer that is no list leaves nothing behind."
    monkeypatch.chdir(tmp_path)
    answer, records = hitran_online
    words = ['fetch', 'spectra', '--molecule', 'CO', '--window', '2188.5..2191.5', '--wings', '2']
    assert main(words) == 0
    out, want = capsys.readouterr().out, [r for r in records if 2186.5 <= float(r[3:15]) <= 2193.5]
    assert Path('co.par').read_text() == ''.join(want) and 0 < len(want) < len(records)
    assert f'wrote {len(want)} lines of CO' in out and 'cite: I.E. Gordon et al., The HITRAN2020' in out
    assert main(words) == 2 and 'overwrite' in capsys.readouterr().err
    answer.page = '<html>service is down</html>'
    assert main([*words, '--out', 'again.par']) == 2
    err = capsys.readouterr().err
    assert 'cannot be fetched' in err and err.count('\n') == 1 and not Path('again.par').exists()

def test_fetch_without_a_connection(tmp_path, capsys, monkeypatch):
    "One sentence, and nothing is written."
    monkeypatch.chdir(tmp_path)
    hapi = pytest.importorskip('hapi')
    monkeypatch.setitem(hapi.VARIABLES, 'GLOBAL_HOST', 'http://127.0.0.1:9')          # where nobody answers
    assert main(['fetch', 'spectra', '--molecule', 'CO', '--window', '2140..2170']) == 2
    err = capsys.readouterr().err
    assert 'CO from 2115 to 2195 1/cm cannot be fetched' in err and err.count('\n') == 1 and not list(tmp_path.iterdir())
    assert main(['fetch', 'spectra', '--molecule', 'Xy', '--window', '1..2']) == 2 and "no molecule 'Xy'" in capsys.readouterr().err

def test_a_missing_package_is_said_before_the_work(tmp_path, capsys, monkeypatch):
    "Excel and Parquet that cannot be written are refused before anything is fitted."
    monkeypatch.setitem(sys.modules, 'openpyxl', None)
    monkeypatch.setattr('physlearn.spectra.desk.FitSpectra.fits', lambda self: pytest.fail('fitted before'))
    assert main([*FIT, '--out', str(tmp_path/'r.xlsx')]) == 2
    err = capsys.readouterr().err
    assert 'pip install openpyxl' in err and err.count('\n') == 1

def test_a_value_without_a_unit_is_echoed(capsys):
    "Which unit was taken, in every command that takes known values."
    space = spectra_recipe('quick').chosen().space
    assert known_values(space, ('T=306', 'P=487mbar', 'mf_CH4=2e-6'))['T'] == (306., 0.)
    assert capsys.readouterr().err == 'T=306 taken in K\n'

def test_remedies_are_words_of_the_command(tmp_path, capsys):
    (tmp_path/'bare.csv').write_text('2188.5,0.2\n2190,0.3\n2189,0.1\n')
    (tmp_path/'far.csv').write_text('wavenumber,transmittance\n' + '\n'.join(f'{5997 + .01*i},{.99 + .001*(i % 3)}' for i in range(40)) + '\n')
    (tmp_path/'cent.csv').write_text('wavenumber,transmittance\n' + '\n'.join(f'{3085.5 + .01*i},{99 + .1*(i % 3)}' for i in range(40)) + '\n')
    for name, says in (('bare', 'and an axis'), ('far', '--gas CH4=1..1000ppm --lines FILE.par'), ('cent', '--y-unit %')):
        assert main(['fit', 'spectra', str(tmp_path/f'{name}.csv')]) == 2
        err = capsys.readouterr().err
        assert says in err and err.count('\n') == 1, err

def test_slow_work_says_what_it_does(tmp_path, capsys, monkeypatch):
    "Verbs that show no steps, and the measuring of a run, name themselves when they take more than a moment."
    from physlearn import pages
    import physlearn.runs
    said = lambda what, after=2., own=pages.said_if_slow: own(what, 0.)
    monkeypatch.setattr(pages, 'said_if_slow', said)
    monkeypatch.setattr(physlearn.runs, 'said_if_slow', said)
    assert not main(['simulate', 'spectra', str(tmp_path/'a.csv')])
    assert 'simulate spectra ...' in capsys.readouterr().err
    spectra_recipe('quick', epochs=1, train_samples=64, val_samples=16, num_points=64).fit(tmp_path/'one')
    assert 'measuring one beside its rivals ...' in capsys.readouterr().err

# --- messages that can be followed

def said(capsys, *words):
    "The one sentence of a command that does not work."
    capsys.readouterr()
    code, err = main([*map(str, words)]), capsys.readouterr().err
    assert code == 2 and 'Traceback' not in err and err.strip().count('\n') == 0, err
    return err

def test_commands_in_messages_quote_their_folders(tmp_path, capsys):
    folder = tmp_path/'my run'
    folder.mkdir()
    (folder/'recipe.json').write_text('{}')
    assert f"physlearn resume '{folder}'" in said(capsys, 'train', 'spectra', 'quick', '--out', folder)
    found = [f'{f}: {line.strip()}' for f in glob.glob('physlearn/**/*.py', recursive=True) for line in open(f, encoding='utf-8')
             if re.search(r'physlearn (resume|evaluate|card|report|export) \{(?!quote|name\})', line)]
    assert not found, found

def test_values_outside_of_ranges_name_the_option(tmp_path, capsys):
    "Where the verb has it, and where it may widen the range."
    assert '--range P=LO..HI' in said(capsys, 'fit', 'spectra', example_spectrum(), '--known', 'P=500000mbar', 'T=306K')
    assert not main(['simulate', 'canopy', str(tmp_path/'s.csv'), '--n', '2', '--noise', '0.02'])
    fit = ['fit', 'canopy', tmp_path/'s.csv', '--known']
    told = said(capsys, *fit, 'cab=500')
    assert 'check its unit' in told and '--range' not in told
    assert '--range cab=LO..HI' in said(capsys, *fit, 'cab=70', '--range', 'cab=20..60')
    for error in ('±inf', '+-nan', '±infK'):
        assert 'uncertainty is not finite' in said(capsys, 'fit', 'spectra', example_spectrum(), '--known', f'T=305{error}', 'P=487mbar')

@pytest.mark.parametrize('row', ['{0:,.3f};{1:,.3f}', '{0:.3f},"{1:,.1f}"', '{0:.3f};{1:,.0f}', 'comma'])
def test_marks_between_thousands_are_refused(tmp_path, capsys, row):
    comma = lambda text: text.translate(str.maketrans(',.', '.,'))
    rows = [comma(f'{3085 + i/40:.3f};{1000 + i:,.1f}') if row == 'comma' else row.format(3085 + i/40, 1000. + i) for i in range(40)]
    (tmp_path/'s.csv').write_text('\n'.join([('wavenumber;signal' if ';' in rows[0] else 'wavenumber,signal'), *rows]) + '\n')
    told = said(capsys, 'fit', 'spectra', tmp_path/'s.csv', '--quantity', 'signal', '--axis', 'wavenumber', '--path', '10m', '--known', 'P=487mbar', 'T=300K')
    assert 'without marks between thousands' in told and 'line ' in told

def test_decimal_commas_in_any_table(tmp_path, capsys):
    "Between semicolons, in reflectances, light curves and our own tables; never guessed where a comma could part thousands, or beside points."
    from physlearn.canopy.reflectance import read_reflectance
    from physlearn.lightcurve.xray_files import read_lightcurve
    assert not main(['simulate', 'canopy', str(tmp_path/'s.csv'), '--n', '2', '--noise', '0.02'])
    turned = lambda text: '\n'.join(line if line[:1] == '#' else line.translate(str.maketrans(',.', ';,')) for line in text.splitlines()) + '\n'
    (tmp_path/'c.csv').write_text(turned((tmp_path/'s.csv').read_text()))
    points, commas = (read_reflectance(tmp_path/f'{k}.csv') for k in 'sc')
    assert (points.x == commas.x).all() and 'decimal comma' in commas.said and {k: v.dtype for k, v in points.others.items()} == {k: v.dtype for k, v in commas.others.items()}
    (tmp_path/'l.csv').write_text('time [s];rate [ct/s];error\n0,5;1,25;0,1\n10,5;1,3;0,1\n')
    lc = read_lightcurve(tmp_path/'l.csv')
    assert lc.rate[:,0].tolist() == [1.25, 1.3] and 'decimal comma' in lc.said
    for rows, says in (('1;1,234\n2;2,345\n', 'one decimal mark'), ('1;1,2\n2;2.3\n', "both '2.3' and '1,2'"), ('1;1.234,5\n2;2.345,6\n', 'marks between thousands')):
        (tmp_path/'t.csv').write_text(f'a;b\n{rows}')
        with pytest.raises(FileError, match=says): read_table(tmp_path/'t.csv')

def test_names_of_files_are_no_folders(tmp_path, capsys):
    "A mistyped ending is refused before anything is made; other names with a point are folders."
    from physlearn.files import output_folder
    for end in ('tif', 'cvs', 'parqet', 'TIFF', 'jsn'):
        out = tmp_path/f'day.{end}'
        told = said(capsys, *FIT, '--out', out)
        assert f'.{end.lower()}' in told and '.csv' in told and '.parquet' in told and not out.exists()
        for words in (['train', 'spectra', 'quick', '--out', out], ['simulate', 'lightcurve', out, '--n', '1'], ['simulate', 'sar', out, '--n', '1']):
            assert f'.{end.lower()}' in said(capsys, *words) and not out.exists()
    assert '.h5' in said(capsys, 'simulate', 'icecube', tmp_path/'e.hf5')
    for name in ('run.2', 'first.v2', 'runs.old', 'a.b'): assert output_folder(tmp_path/name).is_dir()
    (tmp_path/'data.csv').mkdir()
    assert output_folder(tmp_path/'data.csv')                           # it is there

@pytest.mark.parametrize('words, near', [('trian spectra', 'train'), ('evalute runs/x', 'evaluate'), ('fit spectar x', 'spectra'), ('train spectra quik', 'quick'),
                                         ('train spectra quick --epoch 3', '--epochs'), ('fit spectra x --knwon P=3', '--known'), ('simulate canopy x.csv --sead 3', '--seed')])
def test_the_nearest_word_is_named(capsys, words, near): assert f'did you mean {near}?' in said(capsys, *words.split())

def test_the_nearest_option_of_a_file_is_named(tmp_path, capsys):
    (tmp_path/'r.yaml').write_text('epoch: 3\n')
    assert 'did you mean epochs?' in said(capsys, 'train', 'spectra', '--recipe', tmp_path/'r.yaml', '--out', tmp_path/'run')
    assert 'did you mean' not in said(capsys, 'xyzzy', 'spectra')

def test_the_best_of_which_epochs():
    from physlearn.runs import _sealed_as
    sealed = dict(stage='A', epoch=11, last=19, row=12, best=11, weights='best', monitor='valid_loss', value=4.88)
    assert _sealed_as(sealed).endswith('with the best valid_loss (4.88)')                     # of runs of earlier versions, too
    assert _sealed_as(sealed | dict(begin=10)).endswith('with the best valid_loss (4.88) of epochs 11 to 20')

def test_places_that_are_none(tmp_path, capsys):
    from physlearn.canopy.reflectance import read_reflectance
    assert not main(['simulate', 'canopy', str(tmp_path/'s.csv'), '--n', '2', '--noise', '0.02'])
    for option, value in (('lat', 91), ('lon', -181)): assert f'{option} [deg]: found {value}' in said(capsys, 'fit', 'canopy', tmp_path/'s.csv', f'--{option}', value)
    assert 'lat and lon not used' in read_reflectance(tmp_path/'s.csv', lat=50., lon=10.).said

def test_signs_of_an_argument_in_another_locale(monkeypatch):
    from physlearn import cli
    torn = '305±0.5K'.encode().decode('latin-1')
    monkeypatch.setattr(os, 'fsencode', lambda w: w.encode('latin-1', 'surrogateescape'))
    assert cli._as_typed(torn) == '305±0.5K' and cli._as_typed('plain') == 'plain' and cli._as_typed('sä.csv') == 'sä.csv'
