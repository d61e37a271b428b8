"README.md is nbs/index.ipynb with its links seen from the top folder. Says whether it is in step; `--write` renews it."
import json, os, re, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

def relink(text, root):
    "Let links that start at nbs/ start at the top folder."
    def top(m):
        path = m[2].split('#')[0]
        return m[1] + (os.path.normpath(f'nbs/{m[2]}') if path and (root/'nbs'/path).exists() else m[2])
    return re.sub(r'(\]\(|\b(?:src|href)=")([^)\s"]+)', top, text)

def fenced(text, lang=''): return f'```{lang}\n{text.rstrip()}\n```'

def output(out):
    "One output of a cell as markdown; '' where there is nothing to read."
    data = out.get('data', {})
    if any(kind.startswith('image/') for kind in data):
        raise ValueError('nbs/index.ipynb draws a picture: save it in nbs/images and show it with ![](images/...)')
    if 'text/markdown' in data: return ''.join(data['text/markdown'])
    text = ''.join(out.get('text', data.get('text/plain', '')))
    return fenced(text) if text.strip() else ''

def parts(nb, root):
    "The pieces of markdown that the cells of `nb` become, in order."
    for cell in nb['cells']:
        src = ''.join(cell['source']).strip()
        if cell['cell_type'] == 'markdown': yield relink(src, root)
        if cell['cell_type'] != 'code' or re.search(r'^#\|\s*hide\s*$', src, re.M): continue
        yield fenced(code, 'python') if (code := re.sub(r'^#\|.*\n?', '', src, flags=re.M).strip()) else ''
        yield from map(output, cell['outputs'])

def readme(root=ROOT):
    "The text that README.md should have."
    nb = json.loads((root/'nbs/index.ipynb').read_text(encoding='utf-8'))
    return '\n\n'.join(p for p in parts(nb, root) if p) + '\n'

def in_step(root=ROOT):
    "Is README.md what nbs/index.ipynb gives?"
    file = root/'README.md'
    return file.exists() and file.read_text(encoding='utf-8') == readme(root)

if __name__ == '__main__':
    if '--write' in sys.argv[1:]: (ROOT/'README.md').write_text(readme(), encoding='utf-8')
    elif not in_step(): sys.exit('README.md is not what nbs/index.ipynb gives: run python tools/readme.py --write')
