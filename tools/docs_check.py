"""Would the site be whole? Stages the notebooks as nbdev does for Quarto, renders every page, and prints one line for each
problem: titles, sidebar, links and images, outputs. Quarto itself is not needed."""
import json, os, re, sys, time, warnings
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parents[1]
MACHINE = re.compile(r'(?<![\w.])/(?:home|work|tmp|root|Users|private)/\w|\b[A-Z]:\\Users\\')

def text(x): return ''.join(x or '')

def notebooks(nbs):
    "Notebooks of the site, relative to `nbs`; as for nbdev, a name that starts with _ or . does not count."
    found = (p.relative_to(nbs) for p in nbs.rglob('*.ipynb'))
    return sorted(p.as_posix() for p in found if not any(part[0] in '_.' for part in p.parts))

# --- the notebooks as they are committed

def title_problems(nb):
    "The title cell becomes the page's front matter: it has to be there, and what else stands in it is lost."
    first = nb['cells'][0] if nb['cells'] else {}
    src = text(first.get('source')).strip()
    if first.get('cell_type') == 'raw' and re.search(r'^title:\s*\S', src, re.M): return
    if first.get('cell_type') != 'markdown' or not re.match(r'#\s+\S', src):
        yield 'no title: the first cell should be "# Title" and a line "> what it is for"'
        return
    rest = re.sub(r'^#\s.*|^>\s.*|^-\s+\S.*:.*', '', src, flags=re.M) if src.count('\n>') < 2 else 'a second quoted line'
    if rest.strip(): yield f'the site drops all of the title cell but title and quote: {rest.strip().splitlines()[0]!r}'

def output_problems(nb):
    "Errors, warnings and paths of a machine do not belong into the outputs that readers see."
    for i, cell in enumerate(nb['cells']):
        for out in cell.get('outputs', []):
            if out['output_type'] == 'error': yield f'cell {i}: an error output ({out.get("ename")})'
            if out.get('name') == 'stderr': yield f'cell {i}: a warning or progress bar in the output'
            data = {k: v for k, v in out.get('data', {}).items() if k.startswith('text/') or k == 'image/svg+xml'}
            for t in [out.get('text'), *out.get('traceback', []), *data.values()]:
                if m := MACHINE.search(text(t)):
                    yield f'cell {i}: a path of one machine in the output ({m[0]}...)'
                    break

# --- the sidebar

def entries(item):
    "Pages that a sidebar of _quarto.yml names, in order."
    if isinstance(item, str): yield item
    elif isinstance(item, list):
        for o in item: yield from entries(o)
    elif isinstance(item, dict):
        yield from entries(item.get('href'))
        yield from entries(item.get('contents'))

def sidebar_problems(nbs):
    "Every notebook stands in the sidebar once, and nothing else does."
    import yaml
    if not (nbs/'_quarto.yml').exists():
        yield 'nbs/_quarto.yml is missing; it is a symlink to ../_quarto.yml'
        return
    site = yaml.safe_load((nbs/'_quarto.yml').read_text(encoding='utf-8')).get('website', {})
    listed, have = list(entries(site.get('sidebar'))), notebooks(nbs)
    for p in have:
        if listed.count(p) != 1: yield f'_quarto.yml: the sidebar names {p} {listed.count(p)} times, not once'
    for p in dict.fromkeys(listed):
        if p not in have: yield f'_quarto.yml: the sidebar names {p}, which does not exist'

# --- the pages as readers get them

class Page(HTMLParser):
    "Links, images and anchors of one rendered page."
    def __init__(self, body):
        super().__init__()
        self.links, self.anchors, self.heading = [], set(re.findall(r'\{#([\w.:-]+)', body)), None
        self.feed(body)

    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        if tag in ('h1', 'h2', 'h3', 'h4', 'h5', 'h6'): self.heading = ''
        elif a.get('id'): self.anchors.add(a['id'])
        if a.get('class') == 'anchor-link': return   # nbconvert's own, beside each heading
        if url := a.get('href' if tag == 'a' else 'src' if tag == 'img' else None): self.links.append(url)

    def handle_data(self, data):
        if self.heading is not None: self.heading += data

    def handle_endtag(self, tag):
        if re.fullmatch('h[1-6]', tag) and self.heading is not None:
            self.anchors.add(anchor(self.heading))
            self.heading = None

def anchor(heading):
    "The id that Quarto (pandoc) gives a heading; Jupyter's own keeps capitals and is another."
    return re.sub(r'^[\W\d_]+', '', re.sub(r'\s+', '-', re.sub(r'[^\w\s.-]', '', heading.replace('¶', '')).strip().lower()))

def stage():
    "Stage all notebooks in _proc, which git ignores; the folder, and what nbdev had to say."
    from nbdev.serve import proc_nbs
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always', UserWarning)
        return Path(proc_nbs(n_workers=0, force=True)), [str(w.message) for w in said if w.category is UserWarning]

def first_code(said):
    "The first line of the cell that a warning of nbdev quotes."
    code = said.partition('---')[2].strip()
    return (code or said).splitlines()[0]

def render(proc, names):
    "Of each staged notebook its name, front matter, HTML, and why it could not be rendered (None where it could)."
    # with it, jsonschema compiles 38 grammars of addresses on import (3 s), and no notebook has such a field
    sys.modules.setdefault('rfc3987_syntax', None)
    import nbformat, yaml
    from nbconvert import HTMLExporter
    exporter = HTMLExporter(template_name='basic')
    for name in names:
        nb = nbformat.read(proc/name, as_version=4)
        front = next((yaml.safe_load(c.source.strip().strip('-')) for c in nb.cells if c.cell_type == 'raw'), None) or {}
        nb.cells = [c for c in nb.cells if c.cell_type != 'raw']
        for c in nb.cells:             # code holds no links, and to colour it would take most of the time
            if c.cell_type == 'code': c.source = ''
        try: yield name, front, exporter.from_notebook_node(nb)[0], None
        except Exception as e: yield name, front, '', f'cannot be rendered: {type(e).__name__}: {e}'

def link_problem(name, url, pages, proc, site, outputs):
    "Why `url` on page `name` leads nowhere, or None."
    if url.startswith(site):
        page = url.removeprefix(site).lstrip('/').split('#')[0]
        return None if page in outputs else f'no page of the site is called {page}'
    if re.match(r'[a-zA-Z][\w+.-]*:|//', url): return
    path, _, frag = unquote(url).partition('#')
    target = os.path.normpath(os.path.join(os.path.dirname(name), path)) if path else name
    if target.startswith(('..', '/')): return 'it leaves nbs/, and the site holds nothing else'
    target = outputs.get(target, target)
    if target not in pages and not (proc/target).is_file(): return 'no such file in nbs/'
    if frag and target in pages and frag not in pages[target].anchors: return f'{target} has no heading with the anchor #{frag}'

def problems(root=ROOT):
    "Number of pages, and one line for each problem."
    os.chdir(root)                     # nbdev finds settings.ini from the working folder
    sys.path.insert(0, str(root))      # the pages show this tree's modules
    os.environ.setdefault('MPLBACKEND', 'agg')
    from nbdev.config import get_config
    cfg, nbs = get_config(), root/'nbs'
    names, bad = notebooks(nbs), list(sidebar_problems(nbs))
    for name in names:
        try: nb = json.loads((nbs/name).read_text(encoding='utf-8'))
        except ValueError as e: return len(names), bad + [f'nbs/{name}: not a notebook ({e})']
        bad += [f'nbs/{name}: {p}' for p in [*title_problems(nb), *output_problems(nb)]]
    try: proc, said = stage()
    except Exception as e: return len(names), bad + [' '.join(f'staging stopped: {e.__cause__ or e!r}: {e}'.split())[:300]]
    for s in said: print('note: nbdev runs a cell for the site because an import stands among other code:', first_code(s))
    pages, outputs = {}, {}
    for name, front, body, failed in render(proc, names):
        if failed: bad.append(f'nbs/{name}: {failed}')
        out = os.path.join(os.path.dirname(name), front.get('output-file', Path(name).stem + '.html'))
        if out in outputs: bad.append(f'nbs/{name}: its page {out} is that of nbs/{outputs[out]} as well')
        pages[name], outputs[out] = Page(body), name
    site = cfg.doc_host.rstrip('/') + '/' + cfg.doc_baseurl.strip('/') + '/'
    for name, page in pages.items():
        for url in dict.fromkeys(page.links):
            if why := link_problem(name, url, pages, proc, site, outputs): bad.append(f'nbs/{name}: link {url}: {why}')
    return len(names), bad

if __name__ == '__main__':
    start = time.time()
    n, bad = problems()
    print(*bad, sep='\n', end='\n' if bad else '')
    print(f'docs-check: {n} pages, {len(bad)} problem{"s"*(len(bad) != 1)} ({time.time()-start:.1f} s)')
    sys.stdout.flush()
    os._exit(bool(bad))               # to take the shells of all notebooks apart takes Python 14 s more
