"""Build the documentation site: nbdev stages the notebooks, this makes MyST notebooks of them, and Sphinx pages.

    python tools/make_site.py [folder]       # _site if not given

Addresses and anchors are those that Quarto gives, navigation is that of _quarto.yml, and no page loads anything from
elsewhere. Warnings are errors."""
import json, os, re, shutil, sys, time
from pathlib import Path
from docs_check import ROOT, anchor, notebooks, problems, stage, table_problems, text
from reference import label

SOURCE, ASSETS = ROOT/'_sphinx', ROOT/'tools'/'site_assets'
LINK = re.compile(r'(?<!!)(\[[^\[\]]*\]\()([^()\s]+)(\))')
CODE = re.compile(r'(```.*?```|`[^`\n]*`)', re.S)

def front_of(nb):
    "Front matter of a staged notebook: title, description, output-file."
    import yaml
    raw = next((text(c['source']) for c in nb['cells'] if c['cell_type'] == 'raw'), '')
    return yaml.safe_load(raw.strip().strip('-')) or {}

def page_of(name, front):
    "The page of a notebook, without ending: its folder, and the name that nbdev gives."
    return (Path(name).parent/Path(front.get('output-file', Path(name).stem)).stem).as_posix()

def anchors_of(nb):
    "Anchors of a notebook's headings, those of public names among them."
    said = [text(c['source']) for c in nb['cells'] if c['cell_type'] == 'markdown']
    said += [text(o.get('data', {}).get('text/markdown')) for c in nb['cells'] for o in c.get('outputs', [])]
    return {anchor(h) for s in said for h in re.findall(r'^#+ (.*)$', s, re.M)}

class Links:
    "Links as Sphinx takes them: to pages of the site by their files, and nothing absolute."
    def __init__(self, pages, anchors, site): # page of each notebook; anchors of each page; address of the site
        self.pages, self.anchors, self.site, self.known, self.bad = pages, anchors, site, set(pages.values()), []

    def url(self, url, name): # as it stands in notebook `name`
        path, mark, frag = url.partition('#')
        here = os.path.dirname(self.pages[name]) or '.'
        if path.startswith(self.site):
            page = path.removeprefix(self.site).strip('/').removesuffix('.html') or 'index'
            if frag not in self.anchors.get(page, ()): mark = frag = ''       # a name without a heading of its own
        elif path.endswith('.ipynb') and '://' not in path:
            page = self.pages.get(os.path.normpath(os.path.join(os.path.dirname(name), path)))
        else: return url
        if page not in self.known:
            self.bad.append(f'nbs/{name}: link {url} leads to no page')
            return url
        return os.path.relpath(page, here) + '.ipynb' + mark + frag

    def __call__(self, source, name): # text of a cell
        fix = lambda m: m[1] + self.url(m[2], name) + m[3]
        def bare(code): return re.sub(r'\[`?([^\[\]`]*)`?\]\(http[^()\s]*\)', r'\1', code)  # code has no links
        held = []
        def hold(m): # a link may hold code, and code no link
            held.append(bare(m[0]) if m[0].startswith('```') else m[0])
            return f'\x00{len(held) - 1}\x00'
        source = LINK.sub(fix, CODE.sub(hold, source))
        return re.sub('\x00(\\d+)\x00', lambda m: held[int(m[1])], source)

def shown(md): # what show_doc made
    "Of a public name: heading first, then signature and text, its source last."
    md = md.strip().removeprefix('---').strip()
    source = re.match(r'\[source\]\(([^)]*)\)\{[^}]*\}\s*', md)
    if source: md = md[source.end():]
    md = re.sub(r'^(#+ )(.*)$', lambda m: m[1] + m[2].replace('\\_', '_').replace('_', r'\_'), md, count=1, flags=re.M)
    return md + (f'\n\n[source]({source[1]})' if source else '')

def cells_of(nb, name, links, made={}): # made: outputs of cells that are run for the site, by their place
    "Cells of a staged notebook as MyST-NB takes them."
    front = front_of(nb)
    head = f"# {front['title']}" + (f"\n\n*{front['description']}*" if front.get('description') else '')
    yield markdown(head)
    for i, c in enumerate(nb['cells']):
        source = text(c['source'])
        if i in made: yield markdown(links(made[i], name))
        if c['cell_type'] == 'markdown' and not source.startswith('<!-- WARNING'):
            source = re.sub(r'^(#+ .*?)\s*\{#([\w.:-]+)[^}]*\}\s*$', r'(\2)=\n\1', source, flags=re.M)
            yield markdown(links(source, name))
        if c['cell_type'] != 'code': continue
        said = dict(re.findall(r'^#\|\s*([\w-]+):\s*(.*?)\s*$', source, re.M))
        code = re.sub(r'^#\|.*\n?', '', source, flags=re.M)
        if said.get('output') == 'asis':
            for o in c['outputs']:
                md = text(o.get('data', {}).get('text/markdown') or o.get('text'))
                if md.strip(): yield markdown(links(shown(md), name))
            continue
        hidden = said.get('echo') == 'false'
        if drawn(c): yield markdown(f'({label(name, i)})=\n')                 # where the gallery leads
        if said.get('include') == 'false' or hidden and not c['outputs']: continue
        tags = ['remove-input'] if hidden else ['hide-input'] if said.get('code-fold') == 'true' else []
        yield dict(cell_type='code', metadata=dict(tags=tags), source=code, outputs=c['outputs'], execution_count=None)

def drawn(c): return any('image/png' in o.get('data', {}) for o in c.get('outputs', []))

def markdown(source): return dict(cell_type='markdown', metadata={}, source=source)

def toctrees(contents, pages):
    "The sidebar of _quarto.yml, a section each."
    lines = lambda items: '\n'.join(pages[i] for i in items if i in pages and i != 'index.ipynb')
    single = [c for c in contents if not isinstance(c, dict) or 'contents' not in c]
    plain = [c if isinstance(c, str) else c.get('href') for c in single]
    if lines(plain): yield f'```{{toctree}}\n:hidden:\n\n{lines(plain)}\n```'
    for c in contents:
        if not isinstance(c, dict) or 'contents' not in c: continue
        names = [i if isinstance(i, str) else i['href'] for i in c['contents']]
        yield f"```{{toctree}}\n:hidden:\n:caption: {c['section']}\n\n{lines(names)}\n```"

def made_pages(staged):
    "What the cells of nbs/reference print that are run for each site anew: {notebook: {place of the cell: Markdown}}."
    import contextlib, io
    import reference
    reference.SITE |= dict(staged=staged, folder=SOURCE/'images'/'gallery')
    out = {}
    for path in sorted((ROOT/'nbs'/'reference').glob('*.ipynb')):
        name = path.relative_to(ROOT/'nbs').as_posix()
        for i, c in enumerate(staged[name]['cells']):
            if c['cell_type'] != 'code' or not re.search(r'^#\|\s*output: asis\s*$', text(c['source']), re.M): continue
            with contextlib.redirect_stdout(io.StringIO()) as said: exec(text(c['source']), {})
            out.setdefault(name, {})[i] = said.getvalue()
    return out

def named_in_full(nb):
    "Methods that another decorator wraps get their class back: show_doc sees through the wrapper, and loses it."
    for c in nb['cells']:
        full = re.search(r'^show_doc\((\w+\.(\w+))\)', text(c['source']), re.M)
        for o in c.get('outputs', []) if full else ():
            data = o.get('data', o)
            kind = 'text/markdown' if 'text/markdown' in data else 'text'
            data[kind] = re.sub(rf'^(#+ ){re.escape(full[2])}$', rf'\g<1>{full[1]}', text(data.get(kind)), count=1,
                                flags=re.M)
    return nb

def staged_pages(proc):
    "Staged notebooks by name, and the page of each."
    staged = {n: named_in_full(json.loads((proc/n).read_text(encoding='utf-8'))) for n in notebooks(ROOT/'nbs')}
    return staged, {n: page_of(n, front_of(nb)) for n, nb in staged.items()}

def convert(proc):
    "Write the staged notebooks as Sphinx takes them; how many there are, and one line for each problem."
    import yaml
    from nbdev.config import get_config
    cfg = get_config()
    site = cfg.doc_host.rstrip('/') + '/' + cfg.doc_baseurl.strip('/') + '/'
    staged, pages = staged_pages(proc)
    twice = [n for n, p in pages.items() if list(pages.values()).count(p) > 1]
    bad = [f'nbs/{n}: its page is that of another notebook, too' for n in twice]
    links = Links(pages, {pages[n]: anchors_of(nb) for n, nb in staged.items()}, site)
    shutil.rmtree(SOURCE, ignore_errors=True)
    SOURCE.mkdir()
    if (ROOT/'nbs'/'images').exists(): shutil.copytree(ROOT/'nbs'/'images', SOURCE/'images')
    made = made_pages(staged)
    sidebar = yaml.safe_load((ROOT/'_quarto.yml').read_text(encoding='utf-8'))['website']['sidebar']
    for n, nb in staged.items():
        cells = list(cells_of(nb, n, links, made.get(n, {})))
        for text_made in made.get(n, {}).values(): bad += [f'nbs/{n}: {p}' for p in table_problems(text_made)]
        if n == 'index.ipynb': cells += [markdown(t) for t in toctrees(sidebar['contents'], pages)]
        for i, c in enumerate(cells): c['id'] = f'cell{i}'
        meta = dict(kernelspec=dict(name='python3', display_name='Python 3', language='python'),
                    language_info=dict(name='python', pygments_lexer='ipython3'))        # `!physlearn ...`, too
        out = SOURCE/f'{pages[n]}.ipynb'
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(dict(cells=cells, metadata=meta, nbformat=4, nbformat_minor=5)), encoding='utf-8')
    return len(pages), bad + links.bad

def prepared():
    "Stage and convert; number of pages, and one line for each problem."
    if bad := problems(ROOT): return 0, bad
    try: proc = stage()
    except Exception as e: return 0, [' '.join(f'staging stopped: {e.__cause__ or e!r}: {e}'.split())[:300]]
    return convert(proc)

def build(folder):
    "Stage, convert, and let Sphinx make the pages; 0 where it had nothing to say."
    from sphinx.cmd.build import main
    os.chdir(ROOT)                     # nbdev finds settings.ini from the working folder
    sys.path.insert(0, str(ROOT))      # the pages show this tree's modules
    os.environ.setdefault('MPLBACKEND', 'agg')
    start = time.time()
    n, bad = prepared()
    print(*bad, sep='\n', end='\n' if bad else '')
    if bad: return 1
    print(f'{n} pages staged ({time.time() - start:.0f} s)', flush=True)
    made, trees = SOURCE/'.html', SOURCE/'.doctrees'
    words = ['-q', '-W', '--keep-going', '-b', 'html', '-c', str(ASSETS), '-d', str(trees)]
    if failed := main([*words, str(SOURCE), str(made)]): return failed    # what was built before stays
    shutil.rmtree(folder, ignore_errors=True)
    shutil.move(made, folder)
    print(f'{n} pages in {folder} ({time.time() - start:.0f} s)')
    return 0

if __name__ == '__main__':
    failed = build(sys.argv[1] if len(sys.argv) > 1 else '_site')
    sys.stdout.flush()
    os._exit(failed)                   # to take the shells of all notebooks apart takes Python long
