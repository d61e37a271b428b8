"The documentation site: built from this tree with warnings as errors, opened in a browser, and shown planted faults."
import json, os, re, sys
from pathlib import Path
import pytest, yaml
from test_packaging import edit, house, notebook, save      # noqa: F401 (house is a fixture)

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT/'tools'))
import docs_check, make_site, open_site, outputs

pytest.importorskip('sphinx', reason='sphinx is not installed: make .venv/.site')

def built(root, folder):
    "What `make site` does in `root`."
    for m in [m for m in sys.modules if m in ('docs_check', 'make_site', 'reference')]: del sys.modules[m]
    if root != ROOT:
        for m in [m for m in sys.modules if m.split('.')[0] == 'physlearn']: del sys.modules[m]
    os.chdir(root)
    sys.path.insert(0, str(root/'tools'))
    import make_site
    os._exit(make_site.build(folder))

@pytest.fixture(scope='module')
def site(fork):
    "This tree's own site, in _site/."
    p = fork(built, ROOT, str(ROOT/'_site'))
    p.join()
    assert p.exitcode == 0, p.log.read_text()
    return ROOT/'_site'

def test_site_has_every_page(site):
    "Every notebook is a page, and the sidebar of the built pages is that of _quarto.yml, in order."
    sidebar = yaml.safe_load((ROOT/'_quarto.yml').read_text(encoding='utf-8'))['website']['sidebar']
    wanted = list(docs_check.entries(sidebar))
    assert sorted(wanted) == docs_check.notebooks(ROOT/'nbs')
    html = (site/'index.html').read_text(encoding='utf-8')
    tree = html[html.index('class="sidebar-tree"'):]
    links = re.findall(r'<a class="[^"]*reference internal[^"]*" href="([^"#]*)', tree[:tree.index('</aside>')])
    pages = make_site.staged_pages(ROOT/'_proc')[1]
    assert [link.removesuffix('.html') for link in links] == [pages[n] for n in wanted if n != 'index.ipynb']
    assert len(set(pages.values())) == len(pages) and all((site/f'{page}.html').exists() for page in pages.values())

def test_site_in_a_browser(site):
    "No page has a problem at two widths, and every search finds its page."
    pytest.importorskip('playwright', reason='playwright is not installed: make .venv/.site')
    if not open_site.chromium(): pytest.skip('there is no Chromium on this machine')
    n, bad = open_site.problems(site)
    assert not bad and n > 100, '\n'.join(bad)

TASKS = sorted((ROOT/'nbs'/'tasks').glob('*.ipynb'))

@pytest.mark.parametrize('path', TASKS, ids=lambda p: p.stem)
def test_form_of_a_task_page(path):
    "What one has at the end, how long it takes, a picture or a table first, and where to go on; all of it in few cells."
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    said = ['\n'.join(''.join(c['source']).splitlines()) for c in cells]
    prose = '\n'.join(s for s, c in zip(said, cells) if c['cell_type'] == 'markdown')
    assert '**At the end you have**' in prose and 'minute' in prose, 'what one has at the end, in how many minutes?'
    assert re.findall(r'\*\*Next:\*\* .*?\]\(', prose), 'where does one go on?'
    assert len(cells) < 30 and len(prose) < 14_000, 'a page by task is short'
    shown = [i for i, c in enumerate(cells) if outputs.figures_of(c.get('outputs', [])) or re.search(r'^!\[|^\|', said[i], re.M)]
    steps = [i for i, s in enumerate(said) if cells[i]['cell_type'] == 'markdown' and re.search('^## ', s, re.M)]
    assert shown and steps and shown[0] <= steps[0], 'a page opens with a picture, or with a table'

@pytest.mark.parametrize('path', sorted(p for p in (ROOT/'nbs').rglob('*.ipynb') if p.name[0] not in '._'), ids=lambda p: p.stem)
def test_every_page_has_a_summary(path):
    "One line, which a search shows."
    first = ''.join(json.loads(path.read_text(encoding='utf-8'))['cells'][0]['source'])
    quoted = re.findall(r'^> (.+)$', first, re.M)
    assert len(quoted) == 1 and 20 < len(quoted[0]) < 250, first

# --- planted faults

def faults(fork, house):
    "Exit code, and what a build of a small site says."
    p = fork(built, house, str(house/'_site'))
    p.join()
    return p.exitcode, p.log.read_text()

def test_a_whole_site_is_built(fork, house):
    code, words = faults(fork, house)
    assert code == 0 and (house/'_site/index.html').exists() and (house/'_site/room.html').exists(), words

@pytest.mark.parametrize('kind, source, said', [
    ('link', '[a](gone.ipynb)', 'link gone.ipynb leads to no page'),
    ('anchor', '[b](index.ipynb#The-door)', 'the-door'), ('image', '![e](images/no.png)', 'images/no.png'),
    ('table', '| a | b |\n|---|---|\n| $|x|$ | 2 |', 'a row of a table has 4 cells, not 2')])
def test_faults_of_a_page(fork, house, kind, source, said):
    "A link, an anchor or an image that leads nowhere, a table that a bar splits: each stops the build and is named."
    save(notebook(('markdown', '# Yard\n> Open.'), ('markdown', source)), house/'nbs/02_yard.ipynb')
    edit(house/'_quarto.yml', 'index.ipynb,', 'index.ipynb, 02_yard.ipynb,')
    code, words = faults(fork, house)
    assert code and said in words.lower() and 'yard' in words, words

def test_faults_before_the_build(house):
    "No title, outputs that may not be shown, a page outside the sidebar, a page that is not there."
    nb = notebook(('markdown', 'no title'), ('code', '1/0'))
    private = '/'.join(['', 'home', 'ada', 'x.py'])
    nb['cells'][1]['outputs'] = [dict(output_type='error', ename='ZeroDivisionError', evalue='', traceback=['']),
                                 dict(output_type='stream', name='stdout', text=[f'in {private}'])]
    save(nb, house/'nbs/02_yard.ipynb')
    edit(house/'nbs/index.ipynb', 'A small one.', 'A small one.\\n> And cheap.')
    edit(house/'_quarto.yml', 'index.ipynb,', 'index.ipynb, 03_shed.ipynb,')
    lines, yard = docs_check.problems(house), 'nbs/02_yard.ipynb: '
    for start in ('_quarto.yml: the sidebar names 02_yard.ipynb 0 times', 'nbs/index.ipynb: the site drops',
                  '_quarto.yml: the sidebar names 03_shed.ipynb, which does not exist', yard + 'no title',
                  yard + 'cell 1: an error output', yard + 'cell 1: a path of one machine'):
        assert sum(line.startswith(start) for line in lines) == 1, (start, lines)
    assert len(lines) == 6

def test_a_cell_that_fails_stops_the_build(fork, house):
    edit(house/'nbs/01_room.ipynb', 'return \\"view\\"', 'return \\"view\\"\\nraise RuntimeError(\\"no door\\")')
    code, words = faults(fork, house)
    assert code == 1 and 'staging stopped' in words and 'no door' in words and 'Room' in words, words

def test_links_of_the_site():
    "Links of a notebook are those of its page; one that leads nowhere is named, and code holds none."
    links = make_site.Links({'a/one.ipynb': 'a/first', 'two.ipynb': 'second'}, {'second': {'here'}}, 'https://x.io/y/')
    say = lambda text: links(text, 'a/one.ipynb')
    assert say('[t](../two.ipynb#here) [u](https://x.io/y/second.html#here)') == '[t](../second.ipynb#here) [u](../second.ipynb#here)'
    assert say('[`f`](https://x.io/y/second.html#f)') == '[`f`](../second.ipynb)'             # a name without a heading of its own
    assert say('`[t](../two.ipynb)` ![p](../images/p.png)') == '`[t](../two.ipynb)` ![p](../images/p.png)'
    assert say('```python\nf(x) # of [`g`](https://x.io/y/second.html#g)\n```') == '```python\nf(x) # of g\n```'
    for bad in ('[t](three.ipynb)', '[t](https://x.io/y/third.html)'): say(bad)
    assert len(links.bad) == 2 and all('leads to no page' in b for b in links.bad)

def test_public_names_on_the_site():
    md = '---\n\n[source](https://h/x.py#L1){target="_blank" style="float:right"}\n\n### _a.__init__\n\n```python\ndef a(): \n```\n\n*What.*'
    assert make_site.shown(md) == '### \\_a.\\_\\_init\\_\\_\n\n```python\ndef a(): \n```\n\n*What.*\n\n[source](https://h/x.py#L1)'

FAULTS = dict(console='<script>console.error("no")</script>', image='<img src="gone.png">', request='<img src="http://example.org/a.png">',
              wider='<div style="width:2000px">wide</div>', equation='<span class="math">a</span>',
              equation_red='<p>so <mjx-container><svg><g data-mml-node="mtext" fill="red"></g></svg></mjx-container></p>',
              left_link='<p>[ <a>f</a> ](x.ipynb)</p>', left='<p>so \\frac{a}{b}</p>', left_ref='<p>[a][b]</p>',
              left_code='<p>{{&lt; include x &gt;}}</p>', left_bold='<p>**so</p>', element='<p>fit <file> now</p>',
              anchor='<a href="#nowhere">there</a>', script='<script>gone()</script>')

def test_pages_in_a_browser(tmp_path):
    "Each planted fault is named, and a page without one is not."
    sync = pytest.importorskip('playwright.sync_api', reason='playwright is not installed: make site-check')
    if not open_site.chromium(): pytest.skip('there is no Chromium on this machine')
    page = '<!doctype html><html><head><link rel="icon" href="data:,"></head><body><article><h1 id="t">T</h1>{}</article></body></html>'
    for name, fault in (FAULTS | dict(good='<p>so <code>\\frac</code></p>')).items(): (tmp_path/f'{name}.html').write_text(page.format(fault))
    server, at = open_site.serve(tmp_path)
    bad = []
    with sync.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=open_site.chromium(), args=['--no-sandbox'])
        open_site.look(browser, open_site.WIDTHS, at, [f'{k}.html' for k in (*FAULTS, 'good')], bad, patience=300)
        browser.close()
    server.shutdown()
    said = {k: [b for b in bad if b.startswith(f'{k}.html')] for k in (*FAULTS, 'good')}
    assert said['good'] == [] and all(any(k[:4] in b.partition(': ')[2] for b in v) for k, v in said.items() if k != 'good'), said

def test_links_of_built_pages(tmp_path):
    "Links in HTML, which Sphinx does not read; files that became downloads; anchors of another page."
    (tmp_path/'a').mkdir()
    (tmp_path/'_downloads').mkdir()
    (tmp_path/'_downloads/x.ini').write_text('')
    (tmp_path/'a/one.html').write_text('<h1 id="t">T</h1><a id="räume"></a>')
    good = '<a href="a/one.html#t">a</a> <a href="a/one.html#r%C3%A4ume">b</a> <a href="#here" id="here">c</a> <a href="https://x.io/gone">d</a> <a href="mailto:a@x.io">e</a>'
    (tmp_path/'two.html').write_text(good)
    assert not list(open_site.link_problems(tmp_path))
    for fault, said in (('gone.html', 'no page'), ('01_room.ipynb', 'no page'), ('../up.html', 'no page'), ('a/one.html#gone', 'no anchor'),
                        ('_downloads/x.ini', 'beside the notebooks')):
        (tmp_path/'two.html').write_text(f'{good}<a href="{fault}">x</a>')
        lines = list(open_site.link_problems(tmp_path))
        assert len(lines) == 1 and said in lines[0] and lines[0].startswith(f'two.html: link {fault} '), lines

def test_pictures_have_words():
    def said(source): return list(docs_check.page_problems(notebook(('markdown', '# T\n> S.'), ('markdown', source))))
    assert len(said('so\n\n![](images/a.png)')) == 1 and 'images/a.png' in said('![ ](images/a.png)')[0]
    assert not said('![a line](images/a.png) `![](x.png)`')

def test_index_and_messages_know_constants(tmp_path, monkeypatch):
    "Constants of one line are listed with their comments; a sentence that has a name stands in the message; events without words do not."
    import reference
    source = '''__all__ = ['A', 'B', 'C']
A, B = 1, 2  # two lengths [m]
_AGAIN = 'download it again'
class C:
    "A class."
@patch
def before_fit(self:C): pass
@patch
def door(self:C):
    "Open it."
    raise ValueError(f"{type(self).__name__} is cut off: {_AGAIN}")
'''
    monkeypatch.setattr(reference, 'modules', lambda: [('x.y', source, '01_y.ipynb')])
    monkeypatch.setattr(reference, 'titles', lambda: {'01_y.ipynb': 'Y'})
    names, messages = reference.names(), reference.messages()
    assert names.count('a value: two lengths \\[m\\]') == 2 and 'C.door' in names and 'before_fit' not in names
    assert 'is cut off: download it again' in messages and '‹kind›' in messages

def test_documents_are_moved():
    import reference
    said = reference.moved('# T\n\nsaid <genexpr> in `<lambda>`, [a](nbs/index.ipynb)')
    assert said == 'said \\<genexpr> in `<lambda>`, [a](../index.ipynb)', said

def test_every_command_is_listed():
    "With its help: those of each instrument, and those of runs that have options."
    import reference
    from physlearn.instruments import INSTRUMENTS, find
    told = set(re.findall('^### (.*)$', reference.helps(), re.M))
    for name in INSTRUMENTS:
        for verb in find(name).own: assert {f'physlearn {verb} {name}', f'physlearn {verb} RUN, of {name}'} & told, (verb, name)

def test_every_public_name_is_listed():
    "In the index of the site, from all modules."
    import ast, public_names, reference
    listed = set(re.findall(r'^- \[?`([\w.]+)`', reference.names(), re.M))
    for module, source, _ in reference.modules():
        assert public_names.exported(ast.parse(source)) <= listed, module

def test_wrapped_methods_keep_their_class():
    cell = dict(cell_type='code', source='show_doc(Room.view)', outputs=[dict(data={'text/markdown': '---\n\n### view\n\n*What.*'})])
    nb = make_site.named_in_full(dict(cells=[cell]))
    assert nb['cells'][0]['outputs'][0]['data']['text/markdown'] == '---\n\n### Room.view\n\n*What.*'
