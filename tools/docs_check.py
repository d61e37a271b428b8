"""What a notebook needs to be a page of the site: a title, outputs that may be shown, tables that are whole, one place in
the sidebar. `tools/make_site.py` asks before it builds; links, anchors and images are Sphinx's to check, the rest a
browser's."""
import json, re, warnings
from pathlib import Path

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

def anchor(heading):
    "The id that Quarto (pandoc) gives a heading; Jupyter's own keeps capitals and is another."
    return re.sub(r'^[\W\d_]+', '', re.sub(r'\s+', '-', re.sub(r'[^\w\s.-]', '', heading.replace('¶', '')).strip().lower()))

def stage():
    "Stage all notebooks in _proc, which git ignores; the folder. What nbdev says of cells with imports is no news."
    from nbdev.serve import proc_nbs
    with warnings.catch_warnings(record=True):
        warnings.simplefilter('always', UserWarning)
        return Path(proc_nbs(n_workers=0, force=True))

def table_problems(source):
    "Rows of a Markdown table with more or fewer cells than its head: a bar within a cell splits it."
    def cells(line): return len(re.findall(r'(?<!\\)\|', line.strip().strip('|')))
    lines = re.sub(r'^```.*?^```', lambda m: '\n'*m[0].count('\n'), source, flags=re.M | re.S).splitlines()
    for i in range(1, len(lines)):
        if not re.fullmatch(r'\s*\|?(\s*:?-+:?\s*\|)+(\s*:?-+:?\s*)?', lines[i]) or '|' not in lines[i-1]: continue
        for row in lines[i-1:]:
            if '|' not in row: break
            if cells(row) != cells(lines[i]):
                yield (f'a row of a table has {cells(row) + 1} cells, not {cells(lines[i]) + 1} (a bar is written \\|): '
                       f'{row.strip()[:60]!r}')

def page_problems(nb):
    "What is wrong with a notebook as a page."
    yield from title_problems(nb)
    yield from output_problems(nb)
    for c in nb['cells']:
        if c['cell_type'] != 'markdown': continue
        yield from table_problems(text(c['source']))
        bare = re.sub(r'```.*?```|`[^`\n]*`', '', text(c['source']), flags=re.S)
        for image in re.findall(r'!\[\s*\]\([^)]*\)', bare):
            yield f'an image without words for those who cannot see it: {image}'

def problems(root=ROOT):
    "One line for each problem that is seen before anything is built."
    nbs, bad = root/'nbs', list(sidebar_problems(root/'nbs'))
    for name in notebooks(nbs):
        try: nb = json.loads((nbs/name).read_text(encoding='utf-8'))
        except ValueError as e: bad.append(f'nbs/{name}: not a notebook ({e})')
        else: bad += [f'nbs/{name}: {p}' for p in page_problems(nb)]
    return bad
