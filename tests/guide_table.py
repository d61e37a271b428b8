"""What the tables of promises share: a guide taken apart into clauses, and what keeps a row.

A row is (section of the guide, its words, keeper). A keeper is `file::test`, `notebook.ipynb#cell` with a check in it, `page:
words` that stand there, or `open: group` for what nothing keeps yet."""
import json, os, re
from collections import Counter
from pathlib import Path
import pytest

HOME = Path(__file__).parent.parent
OPEN = 'open: '

def cells(path): return {c['id']: ''.join(c['source']) for c in json.loads((HOME/path).read_text())['cells']}
def prose(path): return ' '.join('\n'.join(cells(path).values()).split())

def is_kept(kept):
    "The test is there, the cell checks something, or the page says what is otherwise."
    if kept.startswith(OPEN): return True
    where, _, name = kept.partition('::')
    if name: return f'def {name}(' in (HOME/where).read_text()
    page, _, words = kept.partition(': ')
    if words: return words in prose(page)
    page, _, cell = kept.partition('#')
    return bool(re.search(r'\btest_eq|\btest_close|\bassert ', cells(page)[cell] if cell else prose(page)))

def open_groups(promises): return dict(Counter(kept.removeprefix(OPEN) for *_, kept in promises if kept.startswith(OPEN)))

def text_of_guide(name):
    "The guide, where it is at hand."
    path = Path(os.environ.get('PHYSLEARN_DATA', ''))/f'../guides/{name}.md'
    if not path.exists(): pytest.skip('the guide is not here')
    return path.read_text()

def plain(text): return ' '.join(text.replace('**', '').replace('\\\n', ' ').split())

def sections(text):
    "Text below each heading; headings of one name together."
    out, name, code = {}, '', False
    for line in text.splitlines():
        if line.strip().startswith('```'): code = not code
        heading = None if code else re.match(r'#{1,6} (?:\d+\. )?(.*)', line)
        if heading: name = heading[1]
        else: out.setdefault(name, []).append(line)
    return {k: '\n'.join(v) for k, v in out.items()}

def clauses(text):
    "Lines of a section: bullets, rows of tables, sentences, and lines of code, a command as one."
    out, code, held = [], False, ''
    for line in map(str.strip, text.splitlines()):
        if line.startswith('```'):
            code = not code
            continue
        line, held = held + line, ''
        if code and line.endswith('\\'): held = line[:-1] + ' '
        elif re.search(r'\w', line): out.append(plain(line))
    return out

def left_of(clause, words, around=(), joins=()):
    "What no row says of a clause; `around` are lines that promise nothing, `joins` words between promises."
    if clause in around or any(clause in w for w in words): return ''
    for w in sorted([*words, *joins], key=len, reverse=True): clause = clause.replace(w, ' ')
    clause = re.sub(r'^\d+\. ', '', clause)
    return clause if re.search(r'\w', clause) else ''

def check_words(promises, guide):
    "Each row quotes the section that it names, and no row stands twice."
    text = {k: plain(v) for k, v in sections(guide).items()}
    assert [(s, w) for s, w, _ in promises if w not in text.get(s, '')] == []
    assert [k for k, n in Counter(row[:2] for row in promises).items() if n > 1] == []

def check_clauses(promises, guide, around, joins=(), outside=()): # headings of sections that promise nothing
    "No clause is without a row."
    said = {s: [w for t, w, _ in promises if t == s] for s in sections(guide)}
    left = [(s, c, rest) for s, text in sections(guide).items() if s not in outside
            for c in clauses(text) if (rest := left_of(c, said[s], around, joins))]
    assert left == []
    text = plain(guide)
    assert [a for a in around if a not in text] == []
