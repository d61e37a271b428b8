"The package, its pinned set, and the tools that check both: each tool is shown a planted fault and has to name it."
import json, os, re, runpy, subprocess, sys, sysconfig, zipfile
from configparser import ConfigParser
from importlib.metadata import distributions
from pathlib import Path
import pytest, yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT/'tools'))
import check, outputs, readme

def settings():
    config = ConfigParser(delimiters=['='])
    config.read(ROOT/'settings.ini', encoding='utf-8')
    return config['DEFAULT']

def run(*args, cwd): return subprocess.run([sys.executable, *args], cwd=cwd, capture_output=True, text=True)

# --- the package

def norm(name): return re.sub(r'[-_.]+', '-', name).lower()

def pins():
    lines = (l.strip() for l in (ROOT/'constraints.txt').read_text(encoding='utf-8').splitlines())
    reqs = [Requirement(l) for l in lines if l and l[0] != '#']
    exact = [len(r.specifier) == 1 and str(r.specifier).startswith('==') for r in reqs]
    assert all(exact), 'constraints.txt: expected name==version on every line'
    return {norm(r.name): str(r.specifier).removeprefix('==') for r in reqs}

@pytest.mark.parametrize('key', [k for k in settings() if k.endswith('requirements')])
def test_pinned(key):
    "What settings.ini asks for is pinned, at a version that it accepts."
    pinned = pins()
    for r in map(Requirement, settings()[key].split()):
        assert norm(r.name) in pinned, f'{key}: {r.name} is not in constraints.txt'
        assert r.specifier.contains(pinned[norm(r.name)]), f'{key}: {r} and constraints.txt disagree'

def test_pins_work_on_the_oldest_python():
    "A pin that asks for a later patch of Python would end the installation where Python is as old as we allow."
    oldest, pinned = f"{settings()['min_python']}.0", pins()
    asked = {d.name: d.metadata.get('Requires-Python') for d in distributions() if norm(d.name) in pinned}
    assert len(asked) > 50
    assert [f'{k} {v}' for k, v in asked.items() if v and oldest not in SpecifierSet(v)] == []

def test_import_is_light():
    "`import physlearn` brings nothing along."
    code = 'import sys; a = set(sys.modules); import physlearn; print(*(set(sys.modules) - a))'
    assert run('-c', code, cwd=ROOT).stdout.split() == ['physlearn']

def test_version():
    import physlearn
    assert physlearn.__version__ == settings()['version']

def test_one_site_config():
    "One file describes the site, and says what settings.ini says."
    link, s = ROOT/'nbs/_quarto.yml', settings()
    assert link.is_symlink() and link.resolve() == ROOT/'_quarto.yml'
    site = yaml.safe_load(link.read_text(encoding='utf-8'))['website']
    assert site['title'] == s['title'] and site['repo-url'] == s['git_url'] and site['description'] == s['description']
    assert site['site-url'] == s['doc_host'] + s['doc_baseurl']

def test_notebook_names_are_unique():
    names = [p.name for p in check.ours(ROOT) if p.suffix == '.ipynb']
    assert sorted(names) == sorted(set(names))

@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    "Python of an environment that holds the wheel and, behind it, the packages that this one has; the source is not on its path."
    d = tmp_path_factory.mktemp('wheel')
    for f in (f for f in check.ours(ROOT) if f.parts[0] in ('physlearn', 'setup.py', 'settings.ini', 'MANIFEST.in', 'README.md', 'LICENSE')):
        (d/'source'/f).parent.mkdir(parents=True, exist_ok=True)
        (d/'source'/f).write_bytes((ROOT/f).read_bytes())
    def pip(*words):
        env = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
        r = subprocess.run([sys.executable, '-m', 'pip', '-q', '--disable-pip-version-check', *words], cwd=d, env=env, capture_output=True, text=True)
        assert r.returncode == 0, r.stderr
    pip('wheel', '--no-deps', '--no-build-isolation', '--no-index', '-w', str(d), str(d/'source'))
    wheel, = d.glob('*.whl')
    run('-m', 'venv', '--without-pip', str(d/'env'), cwd=d)
    python = d/'env'/('Scripts/python.exe' if os.name == 'nt' else 'bin/python')
    pip('--python', str(python), 'install', '--no-deps', '--no-index', str(wheel))
    site, = (d/'env').rglob('site-packages')
    (site/'ours.pth').write_text(sysconfig.get_paths()['purelib'])
    return python, site, wheel

def test_wheel_holds_everything(installed):
    "Modules and data of the package, its licence, and nothing else."
    _, site, wheel = installed
    with zipfile.ZipFile(wheel) as z: names = {n for n in z.namelist() if '.dist-info/' not in n}
    assert names == {f.as_posix() for f in check.ours(ROOT) if f.parts[0] == 'physlearn'}
    assert list(site.glob('physlearn-*.dist-info/licenses/LICENSE')) or list(site.glob('physlearn-*.dist-info/LICENSE'))

def test_wheel_works_elsewhere(installed, tmp_path):
    "Commands from another folder, with the data that the package brings."
    python, site, _ = installed
    env = {k: v for k, v in os.environ.items() if k not in ('PYTHONPATH', 'PHYSLEARN_DATA')}
    def said(*words):
        r = subprocess.run([str(python), *words], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert r.returncode == 0, r.stderr[-2000:]
        return r.stdout
    assert Path(said('-c', 'import physlearn; print(physlearn.__file__)').strip()).parent == site/'physlearn'
    command = str(python.with_name('physlearn'))
    for words in ('simulate spectra out.csv --set mf_CH4=2ppm P=500mbar T=305K --noise 0.002', 'fit spectra out.csv --known P=500mbar T=305K --out fit.csv',
                  'simulate canopy stands.csv --n 3'):
        r = subprocess.run([command, *words.split()], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert r.returncode == 0, (words, r.stderr[-2000:])
    assert 'mf_CH4' in (tmp_path/'fit.csv').read_text() and len((tmp_path/'stands.csv').read_text().splitlines()) >= 4

# --- the tools

def notebook(*cells):
    "A clean notebook of (kind, source) cells."
    def cell(i, kind, src):
        code = dict(execution_count=None, outputs=[]) if kind == 'code' else {}
        return dict(sorted(dict(cell_type=kind, id=f'c{i}', metadata={}, source=src.splitlines(True), **code).items()))
    return dict(cells=[cell(i, *c) for i, c in enumerate(cells)], metadata={}, nbformat=4, nbformat_minor=5)

def save(nb, file): file.write_text(json.dumps(nb, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')

def export(house):
    os.chdir(house)
    import nbdev.clean, nbdev.doclinks
    nbdev.doclinks.nbdev_export.__wrapped__()
    nbdev.clean.nbdev_clean.__wrapped__()

@pytest.fixture
def house(tmp_path, fork):
    "A small house with this one's tools: a front page, one room with one module, a README and a sidebar."
    for f in check.ours(ROOT):
        if f.parts[0] in ('tools', 'settings.ini'):
            (tmp_path/f).parent.mkdir(exist_ok=True)
            (tmp_path/f).write_bytes((ROOT/f).read_bytes())
    (tmp_path/'nbs').mkdir()
    save(notebook(('markdown', '# House\n> A small one.'),
                  ('markdown', '## The door\n\nto the [room](01_room.ipynb#the-window)')), tmp_path/'nbs/index.ipynb')
    save(notebook(('markdown', '# Room\n> It has a window.'), ('code', '#| default_exp room'),
                  ('markdown', '## The window'), ('code', '#| export\ndef window(): return "view"'),
                  ('code', 'window()')), tmp_path/'nbs/01_room.ipynb')
    (tmp_path/'_quarto.yml').write_text(
        'website: {sidebar: {contents: [index.ipynb, {section: Rooms, contents: [01_room.ipynb]}]}}')
    (tmp_path/'nbs/_quarto.yml').symlink_to('../_quarto.yml')
    p = fork(export, tmp_path)
    p.join()
    assert p.exitcode == 0, p.log.read_text()
    (tmp_path/'README.md').write_text(readme.readme(tmp_path))
    return tmp_path

def edit(file, old, new):
    text = file.read_text(encoding='utf-8')
    assert old in text
    file.write_text(text.replace(old, new), encoding='utf-8')

def tool(house, name):
    "What `python tools/name.py` does in `house`, whose package is another than ours."
    for m in [m for m in sys.modules if m.split('.')[0] == 'physlearn']: del sys.modules[m]
    os.chdir(house)
    sys.path.insert(0, str(house/'tools'))
    runpy.run_path(f'tools/{name}.py', run_name='__main__')

def said(fork, house, name):
    "Exit code and lines of a tool, which must leave the tree as it was."
    def state(): return {f: (house/f).read_bytes() for f in check.ours(house)}
    before, p = state(), fork(tool, house, name)
    p.join()
    words = p.log.read_text()
    assert state() == before and 'Traceback' not in words, words
    return p.exitcode, words.splitlines()

@pytest.mark.parametrize('old, new, same', [
    ('0.079 ± 0.014 ct/s', '0.080 ± 0.014 ct/s', True),        # one unit of the last digit: rounding
    ('0.079 ± 0.014 ct/s', '0.081 ± 0.014 ct/s', False), ('480 rows', '479 rows', False), ('480 rows', '470 rows', False),
    ('12 trusted, 2 suspect', '12 trusted', False), ('1.2e-05', '1.3e-05', True), ('1.2e-05', '1.2e-04', False),
    ('1e-05', '1e-06', False), ('9.99 K', '10.0 K', True), ('tensor([8., 9.])', 'tensor([8., 8.])', False), ('-0.0', '0.0', True),
    ('2024-01-01', '2024-02-01', False), ('[1,2,3]', '[12,3]', False), ('-inf', 'inf', False), ('3..5', '4..5', False),
    ('| --- | ---- |', '| ---- | ----- |', True), ('12 cm-1', '12 cm-2', False), ('1 of 3', '2 of 3', False),
    ('20,000 spectra', '20,001 spectra', False), ('<Space at 0x7f55d2e65b20>', '<Space at 0x7f00aabbccdd>', True),
    ('cab  36.9', 'cab 36.9', True), ('B02 0.5', 'B03 0.5', False), ('one\ntwo', 'one', False),
    ('epoch 1, 1 of 4: loss 0.52, 1.8 s', 'epoch 1, 1 of 4: loss 0.52, 0.4 s', True),
    ('epoch 1, 1 of 4: loss 0.52, 1.8 s', 'epoch 1, 1 of 4: loss 0.62, 1.8 s', False)])
def test_outputs_are_compared(old, new, same):
    "Text word for word, whole numbers as they are, decimals to their printed digits."
    assert (outputs.difference(old, new) is None) == same

def test_a_tolerance_is_stated():
    stream = lambda text: [dict(output_type='stream', name='stdout', text=text)]
    assert outputs.stale('x', stream('loss 1.00'), stream('loss 1.04'))
    assert outputs.stale('#| fresh: 5%\nx', stream('loss 1.00'), stream('loss 1.04')) is None
    assert outputs.stale('#| fresh: 5%\nx', stream('loss 1.00'), stream('loss 1.10'))
    assert outputs.stale('#| fresh: 5%\nx', stream('loss 1.00'), stream('gain 1.00'))
    assert outputs.stale('#| fresh: false\nx', stream('12 s'), stream('13.4 s')) is None
    with pytest.raises(ValueError, match='5%'): outputs.stale('#| fresh: much\nx', [], [])

def test_outputs_of_every_kind():
    "Cells of a table that change their places, and equations."
    def html(*cells): return [dict(data={'text/html': '<tr>' + ''.join(f'<td>{c}</td>' for c in cells) + '</tr>'})]
    assert outputs.stale('x', html('a', '', 'b'), html('a', 'b', '')) and outputs.stale('x', html(1, 2), html(2, 1))
    assert outputs.stale('x', html('a', 0.12), html('a', 0.13)) is None
    def math(tex): return [dict(data={'text/latex': tex, 'text/plain': '<Math object>'})]
    assert outputs.stale('x', math('$a$'), math('$b$')) and not outputs.stale('x', math('$a$'), math('$a$'))
    def stream(text): return [dict(name='stdout', text=text)]
    assert outputs.stale('#| fresh: 5%', stream('3 of 9'), stream('4 of 9')) is None      # where a tolerance is stated, of all numbers

def test_commands_of_pages(fork, tmp_path):
    "A command runs without a shell: what only a shell can do is refused, failures stop the notebook and say why."
    assert outputs.words_of("physlearn fit spectra 'air_*.csv' > a.txt") == (['physlearn', 'fit', 'spectra', 'air_*.csv'], 'a.txt')
    assert outputs.words_of('physlearn fit spectra bare.txt --gas CH4=0.1..20ppm') == ('physlearn fit spectra bare.txt --gas CH4=0.1..20ppm'.split(), None)
    assert outputs.words_of('physlearn') == (['physlearn'], None)
    for cmd in ('physlearn --help | head', 'physlearn --help|head', 'physlearn a && ls', 'physlearn fit *.csv', 'physlearn fit $HOME/a.csv',
                'physlearn show a > b 2>&1', 'physlearn show a 2> b', 'physlearn show "$A"', 'physlearn show a >> b'):
        with pytest.raises(ValueError, match='nothing else of a shell'): outputs.words_of(cmd)
    for source, said in (('!physlearn fit', 'exit code'), ('!physlearn --help | head', 'of a shell'), ('!exit 3', 'exit code 3')):
        save(notebook(('markdown', '# T'), ('code', source)), tmp_path/'02_page.ipynb')
        p = fork(outputs.store, tmp_path/'02_page.ipynb')
        p.join()
        assert p.exitcode and said in p.log.read_text(), (source, p.log.read_text())
    for source in ('!physlearn', '!physlearn fit || true', '!true'):
        save(notebook(('markdown', '# T'), ('code', source)), tmp_path/'02_page.ipynb')
        p = fork(outputs.store, tmp_path/'02_page.ipynb')
        p.join()
        assert p.exitcode == 0, (source, p.log.read_text())

def test_a_command_that_breaks_says_why(monkeypatch):
    import physlearn.cli
    def run(main):
        monkeypatch.setattr(physlearn.cli, 'main', main)
        return outputs.command(['physlearn'])
    def breaks(words): raise RuntimeError('no door: ü')
    text, code = run(breaks)
    assert code == 1 and 'no door: ü' in text
    assert run(lambda words: sys.exit('no key')) == ('no key\n', 1)
    assert run(lambda words: sys.exit())[1] == 0
    text, code = run(lambda words: input())
    assert code == 1 and 'EOF' in text

def test_stale_pages_fail(fork, tmp_path):
    "What a page shows is what its cells print: text, tables, number of figures, and what a command of ours says."
    cells = ('markdown', '# T'), ('code', 'print(6*7)'), ('code', '!physlearn --version'), \
        ('code', 'import pandas as pd\npd.DataFrame([2])'), ('code', '!physlearn --version > said.txt')
    path = tmp_path/'02_page.ipynb'
    save(notebook(*cells), path)
    p = fork(outputs.store, path)
    p.join()
    assert p.exitcode == 0, p.log.read_text()
    stored = json.loads(path.read_text())
    assert [outputs.texts_of(c['outputs'])[0] for c in stored['cells'][1:3]] == ['42', settings()['version']]
    assert (tmp_path/'said.txt').read_text().strip() == settings()['version'] and not stored['cells'][4]['outputs']
    def found(nb): return list(outputs.problems(nb, stored, lambda c: True))
    assert not found(stored)
    for cell, now in ((1, '43'), (2, '0.0.9')):
        old = json.loads(path.read_text())
        old['cells'][cell]['outputs'][0]['text'] = [f'{now} or so\n']
        assert len(found(old)) == 1 and now in found(old)[0]
    old['cells'] = json.loads(path.read_text())['cells']
    old['cells'][3]['outputs'] = []
    assert len(found(old)) == 1

def test_readme_in_step(): assert readme.in_step(ROOT)

def test_readme(fork, house):
    "Links start at the top folder, hidden cells stay hidden, text outputs are kept, pictures are refused."
    nb = notebook(('markdown', '# T\n[a](01_room.ipynb#x) [b](https://example.org) <img src="01_room.ipynb">'),
                  ('code', '#| hide\nsecret'), ('code', '#| eval: false\n1 + 1'))
    nb['cells'][2]['outputs'] = [dict(output_type='execute_result', data={'text/plain': ['2']})]
    save(nb, house/'nbs/index.ipynb')
    links = '[a](nbs/01_room.ipynb#x) [b](https://example.org) <img src="nbs/01_room.ipynb">'
    assert readme.readme(house) == f'# T\n{links}\n\n```python\n1 + 1\n```\n\n```\n2\n```\n'
    assert said(fork, house, 'readme')[0] == 1
    nb['cells'][2]['outputs'] = [dict(output_type='display_data', data={'image/png': 'AAAA'})]
    save(nb, house/'nbs/index.ipynb')
    with pytest.raises(ValueError, match='nbs/images'): readme.readme(house)

def test_check_passes_a_house_in_step(fork, house): assert said(fork, house, 'check')[0] == 0

def test_check_names_what_is_out_of_step(fork, house):
    edit(house/'physlearn/room.py', '"view"', '"wall"')
    edit(house/'nbs/01_room.ipynb', '"execution_count": null', '"execution_count": 7')
    edit(house/'README.md', 'A small one', 'A large one')
    (house/'physlearn/attic.py').write_text('x = 1\n')
    code, lines = said(fork, house, 'check')
    assert code == 1
    for start in ('physlearn/room.py: differs from what nbs/01_room.ipynb exports',
                  'physlearn/attic.py: no notebook exports it', 'nbs/01_room.ipynb: not clean', 'README.md: not what'):
        assert sum(l.startswith(start) for l in lines) == 1, (start, lines)

def test_check_names_what_cannot_be_read(fork, house):
    (house/'nbs/01_room.ipynb').write_text('<<<<<<< HEAD')
    code, lines = said(fork, house, 'check')
    assert code == 1 and lines[0].startswith('nbs/01_room.ipynb: not a notebook')

def test_check_names_a_missing_export(fork, house):
    (house/'physlearn/room.py').unlink()
    assert said(fork, house, 'check')[1][0].startswith('physlearn/room.py: not exported yet from nbs/01_room.ipynb')

def run_yard(house, flags):
    os.chdir(house)
    from conftest import run_notebook
    run_notebook(house/'nbs/02_yard.ipynb', flags)

@pytest.mark.parametrize('flags, shown, said', [('', 'whole', ''), ('slow', 'whole', 'ZeroDivisionError'), ('', 'old', "'old' -> 'whole'")])
def test_notebooks_are_tests(flags, shown, said, fork, house):
    "A cell that fails is shown, and one whose stored output is stale; one whose flag was not given is left out."
    nb = notebook(('markdown', '# Yard\n> Open.'), ('code', '#| slow\n1/0'), ('code', 'print("whole")'))
    nb['cells'][2]['outputs'] = [dict(output_type='stream', name='stdout', text=[shown])]
    save(nb, house/'nbs/02_yard.ipynb')
    p = fork(run_yard, house, flags)
    p.join()
    words = p.log.read_text()
    assert p.exitcode == bool(said) and said in words, words

# --- make

def make(*args, cwd=ROOT):
    "Run make as from a fresh shell, whatever make started these tests."
    env = {k: v for k, v in os.environ.items() if k not in ('MAKEFLAGS', 'MFLAGS', 'MAKELEVEL', 'PHYSLEARN_DATA')}
    return subprocess.run(['make', *args], cwd=cwd, env=env, capture_output=True, text=True)

def test_make_prints_its_targets():
    out = make().stdout
    for target in ('demo', 'test', 'prepare', 'lab', 'site'): assert re.search(rf'^  {target} ', out, re.M)

def test_make_wants_a_folder_of_data():
    r = make('-n', 'test', 'PHYSLEARN_DATA=nowhere')
    assert r.returncode and 'PHYSLEARN_DATA=nowhere is not a folder' in r.stderr

def test_make_wants_a_python(tmp_path):
    "An interpreter that is too old is refused with one sentence, before anything is installed."
    old = tmp_path/'python-old'
    old.write_text('#!/bin/sh\nexit 1\n')
    old.chmod(0o755)
    (tmp_path/'Makefile').write_bytes((ROOT/'Makefile').read_bytes())
    for f in ('setup.py', 'settings.ini', 'constraints.txt'): (tmp_path/f).touch()
    r = make('test', f'PYTHON={old}', cwd=tmp_path)
    assert r.returncode and 'needs Python 3.11 or newer' in r.stdout and not (tmp_path/'.venv').exists()
