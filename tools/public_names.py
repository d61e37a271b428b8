"""What the page of a public name does not say: meaning, shape or unit, one line for each fault. Nothing is imported: sources are read.

Public are the names in `__all__`, public methods of public classes, patched ones among them, and fields of data classes.
* Meaning: a docstring, and for each parameter, field and returned value a comment beside it or above it that has a word besides
  shape and unit, or a docstring that names it. What overrides a method, or comes from fastai or torch, may rest on their words;
  a method in one line may say it behind that line.
* Shape: of tensors and arrays, like (n,), (B,M), "like `x`", "any shape" or "scalar".
* Unit: of floats, and of tensors whose name is that of a physical quantity, like [K] or [-]; or a word such as share or weight."""
import ast, io, re, sys, tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KINDS = 'meaning', 'shape', 'unit'

ARRAYS = re.compile(r'\b(Tensor|ndarray)\b')
PLURALS = re.compile(r'\b(values|spectra|draws|signals|samples|rates|counts|residuals|weights|masks?|arrays?|tensors?)\b')
HEAD = re.compile(r'[,;:]| (of|for|as|that|in|at|which|to|from|beside) ')     # what follows only describes
PLAIN = re.compile(r'by name|how many|\{|\b(dicts?|lists?|words?|files?|functions?|simulator|network|model|dtype|names?|folder|options?|'
                   r'recipe|text)\b')
SHAPE = re.compile(r'\((\.\.\.|\d?[A-Za-z]{0,2}\d?|[^()\s,]*,\s?([^()\s]+(,\s?)?)*|[\w+*/-]+(, ?[\w.+*/-]+)+)\)|'
                   r'\b(scalars?|one number|a number|0-d)\b|\bshaped?\b|\bsame bits\b|'
                   r'\b(like|as) (the |its |each )?(`?\w+`?|others?)\b', re.I)
PHYSICAL = re.compile(r'temperatures?|pressures?|wavelengths?|wavenumbers?|angles?|zeniths?|azimuths?|times?|distances?|energy|energies|'
                      r'frequency|frequencies|heights?|exposures?|rates?|noise|tolerances?|tol|durations?|periods?|seconds|resolution|'
                      r'widths?|depths?|radius|speed|span|step|nu|nu0|numin|numax|fwhm|hwhm|[PT]|rms|sza|vza')
UNIT = re.compile(r'\[[^\]]*\]|%|°|\b0 (to|\.\.) 1\b|[\w)]+/\w+|\b(shares?|fractions?|ratio|relative|probability|chance|factor|'
                  r'multiples?|in units? of|units?|weights?|per cent|dimensionless|standard deviations|sigmas?|degrees|radians|seconds|'
                  r'days|nats|epochs|pixels|samples|points|steps|whether|exponent|power|from 0|normalised|\w+ over|correlation|'
                  r'learning rates?|photons|counts|multiplications|evaluations|neurons|a number|numbers? of)\b')
EVENTS = re.compile(r'(before|after)_(fit|epoch|train|validate|batch|pred|loss|backward|step|create|cancel\w+)')     # words of fastai
GENERIC = {'self', 'cls', 'args', 'kwargs', 'kw'}

# --- what is written beside a value

class Comments:
    "The comments of a module."
    def __init__(self, source):
        self.said, self.alone = {}, set()
        for t in tokenize.generate_tokens(io.StringIO(source).readline):
            if t.type != tokenize.COMMENT or t.string.startswith('# %%'): continue      # what nbdev writes above a cell
            self.said[t.start[0]] = t.string.lstrip('# ')
            if not t.line[:t.start[1]].strip(): self.alone.add(t.start[0])

    def at(self, line): return self.said.get(line, '')

    def beside(self, first, last):
        "Those of some lines, and of the lines above that hold nothing else."
        out = [self.at(i) for i in range(first, last + 1)]
        while (first := first - 1) in self.alone: out.insert(0, self.at(first))
        return ' '.join(filter(None, out))

def text(node): return '' if node is None else ast.unparse(node)
def named(doc, name): return doc if re.search(rf'(?<!\w){re.escape(name)}(?!\w)', doc) else ''
def docstring(node): return ast.get_docstring(node) or ''

def lacks(name, kind, default, said, around=''):
    "What `said` leaves open on a value of annotation `kind`; `around` is what else the page says on it."
    bare = re.sub(r'\([^()]*\)|\[[^]]*\]', '', said)
    if not re.search(r'[^\W\d]{3}|`', bare): return ['meaning']
    plural = PLURALS.search(HEAD.split(said)[0]) and not PLAIN.search(said)
    array = ARRAYS.search(kind) or not kind and not default and plural
    real = kind in ('float', 'float | None') or not kind and isinstance(default, ast.Constant) and isinstance(default.value, float)
    physical = kind in ('Tensor', 'np.ndarray') and any(PHYSICAL.fullmatch(word) for word in name.split('_'))
    whole = f'{said} {around}'
    return ['shape']*bool(array and not SHAPE.search(whole)) + ['unit']*bool((real or physical) and not UNIT.search(whole))

# --- functions

def parameters(f):
    "(name, annotation, default, first line, last line) of each."
    a, usual = f.args, [*f.args.posonlyargs, *f.args.args]
    defaults = dict(zip([p.arg for p in usual[::-1]], a.defaults[::-1])) | {p.arg: d for p, d in zip(a.kwonlyargs, a.kw_defaults) if d}
    for p in (*usual, *filter(None, [a.vararg]), *a.kwonlyargs, *filter(None, [a.kwarg])):
        yield p.arg, text(p.annotation), defaults.get(p.arg), p.lineno, defaults.get(p.arg, p).end_lineno

def gives(f):
    "Does a function give something back?"
    if f.returns: return text(f.returns) != 'None'
    inner = {n for g in ast.walk(f) if g is not f and isinstance(g, (ast.FunctionDef, ast.Lambda)) for n in ast.walk(g)}
    return any(isinstance(n, (ast.Return, ast.Yield)) and text(n.value) not in ('', 'None') for n in ast.walk(f) if n not in inner)

def of_function(f, comments, doc, patched=False):
    "What is missing on the page of a function."
    if not doc: yield 'docstring: meaning'
    close = f.returns.end_lineno if f.returns else None         # a comment there says what is returned
    for name, kind, default, first, last in list(parameters(f))[patched:]:
        if name in GENERIC: continue
        own = '' if last == close else comments.beside(first, last) if first > f.lineno else comments.at(last)
        yield from (f'{name}: {k}' for k in lacks(name, kind, default, own or named(doc, name), named(doc, name)))
    if f.name == '__init__' or not gives(f): return
    own, kind = comments.at(close or (f.lineno if f.body[0].lineno == f.lineno else 0)), text(f.returns)
    parts = kind in ('tuple', 'dict') and not re.search(r'[({,]| and | by | each |dict', doc)    # a docstring has to name them
    if not own and (parts or not doc): yield 'return: meaning'
    else: yield from (f'return: {k}' for k in lacks(f.name, kind or '?', None, f'{own} {doc}'))

# --- modules

def exported(tree):
    lists = (n.value for n in tree.body if isinstance(n, ast.Assign) and text(n.targets[0]) == '__all__')
    return {name for value in lists for name in ast.literal_eval(value)}

def inherited(cls, name, near, everywhere):
    "Docstring of a method, or of the one that it overrides."
    own = (docstring(f) for f in cls.body if isinstance(f, ast.FunctionDef) and f.name == name)
    bases = (near.get(text(b)) or everywhere.get(text(b)) for b in cls.bases if text(b) != cls.name)
    above = (inherited(b, name, {}, everywhere) for b in bases if b)
    return next(filter(None, own), '') or next(filter(None, above), '')

def of_class(cls, comments, near, everywhere):
    "Names of a class, and what is missing on the page of each."
    doc = docstring(cls)
    yield cls.name, [] if doc else ['docstring: meaning']
    data = any('dataclass' in text(d) for d in cls.decorator_list) or 'NamedTuple' in map(text, cls.bases)
    for n in cls.body:
        if data and isinstance(n, ast.AnnAssign) and n.target.id[0] != '_':
            own = comments.beside(n.lineno, n.end_lineno) or named(doc, n.target.id)
            yield f'{cls.name}.{n.target.id}', lacks(n.target.id, text(n.annotation), n.value, own, doc)
        elif not isinstance(n, ast.FunctionDef) or EVENTS.fullmatch(n.name): continue
        elif n.name in ('__init__', 'forward'): yield f'{cls.name}.{n.name}', of_function(n, comments, docstring(n) or doc)
        elif n.name[0] != '_':
            behind = comments.at(n.lineno) if n.body[-1].end_lineno == n.lineno else ''
            yield f'{cls.name}.{n.name}', of_function(n, comments, inherited(cls, n.name, near, everywhere) or behind)

def of_module(tree, comments, public, everywhere):
    "Public names of a module, and what is missing on the page of each."
    names, near = exported(tree), {n.name: n for n in tree.body if isinstance(n, ast.ClassDef)}
    for n in tree.body:
        if isinstance(n, ast.ClassDef) and n.name in names: yield from of_class(n, comments, near, everywhere)
        elif isinstance(n, ast.FunctionDef):
            patched = any(text(d).startswith('patch') for d in n.decorator_list)
            owners = re.findall(r'\w+', text(n.args.args[0].annotation)) if patched else []
            said = of_function(n, comments, docstring(n), patched)
            if n.name in names and not patched: yield n.name, said
            elif public & {*owners} and n.name[0] != '_' and not EVENTS.fullmatch(n.name): yield f'{owners[0]}.{n.name}', said
        elif isinstance(n, ast.Assign) and not isinstance(n.value, ast.Name):       # a constant, no second name of something
            for t in getattr(n.targets[0], 'elts', n.targets[:1]):
                if text(t) in names: yield t.id, lacks(t.id.lower(), '', n.value, comments.beside(n.lineno, n.end_lineno))

def problems(package=ROOT/'physlearn'):
    "Number of public names, and one line for each fault."
    files = [p for p in sorted(package.rglob('*.py')) if p.name[0] != '_']
    sources = {'.'.join(p.relative_to(package).with_suffix('').parts): p.read_text(encoding='utf-8') for p in files}
    trees = {m: ast.parse(s) for m, s in sources.items()}
    everywhere = {n.name: n for tree in trees.values() for n in tree.body if isinstance(n, ast.ClassDef)}
    public = {name for tree in trees.values() for name in exported(tree)} & {*everywhere}
    found = {}
    for m, tree in trees.items():
        for name, faults in of_module(tree, Comments(sources[m]), public, everywhere):
            found.setdefault(f'{m}.{name}', []).extend(faults)
    return len(found), [f'{name}: {fault}' for name, faults in found.items() for fault in faults]

if __name__ == '__main__':
    n, bad = problems(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT/'physlearn')
    print(*bad, sep='\n', end='\n' if bad else '')
    print(f'{n} public names, {len(bad)} faults: ' + ', '.join(f'{sum(b.endswith(k) for b in bad)} {k}' for k in KINDS))
    sys.exit(bool(bad))
