"""How much code the verbs of an instrument take: logical lines of its modules that read options, fit, train, judge, retrieve and
follow, without blank lines, comments, docstrings, imports and the headers that nbdev writes. A statement that spans several lines
counts once, as `tokenize` ends it with one NEWLINE: breaking a long line costs nothing.
Physics, readers, networks and recipes of training are not verbs."""
import ast, io, sys, tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERBS = dict(spectra=('setup', 'fit', 'retrieve', 'judge', 'follow', 'desk'), canopy=('traits', 'judge', 'desk'))
LIMITS = dict(spectra=1000, canopy=450)

def code_lines(source):
    "Numbers of the lines on which a logical line of code begins."
    tree, out = ast.parse(source), set()
    said = {id(n.body[0]) for n in ast.walk(tree) if isinstance(n, (ast.Module, ast.ClassDef, ast.FunctionDef)) and n.body
            and isinstance(n.body[0], ast.Expr) and isinstance(n.body[0].value, ast.Constant) and isinstance(n.body[0].value.value, str)}
    skipped = [n for n in ast.walk(tree) if id(n) in said or isinstance(n, (ast.Import, ast.ImportFrom))]
    skipped += [n for n in tree.body if isinstance(n, ast.Assign) and getattr(n.targets[0], 'id', '') == '__all__']
    without = {i for n in skipped for i in range(n.lineno, n.end_lineno + 1)}
    begin = None
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NEWLINE:
            if begin not in without: out.add(begin)
            begin = None
        elif begin is None and token.type not in (tokenize.NL, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT):
            begin = token.start[0]
    return out

def count(system, package=ROOT/'physlearn'):
    "Lines by module, of those that are there."
    files = (package/system/f'{name}.py' for name in VERBS[system])
    return {f.stem: len(code_lines(f.read_text(encoding='utf-8'))) for f in files if f.exists()}

if __name__ == '__main__':
    package = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT/'physlearn'
    for system in VERBS:
        lines = count(system, package)
        print(f"{system}: {sum(lines.values())} of at most {LIMITS[system]}  ({', '.join(f'{k} {v}' for k, v in lines.items())})")
