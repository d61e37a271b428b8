"""Are the outputs that pages show those that their cells print now? Text and tables are compared on re-execution.

    python tools/outputs.py NOTEBOOK...      # run notebooks from the top and store their outputs

Text and whole numbers have to be the same, and decimals the same to their printed digits: one unit of the last digit
is left to rounding. A cell whose numbers depend on the machine more than that says by how much: `#| fresh: 5%`; one that
prints times or paths of a temporary folder says `#| fresh: false`. Of figures only their number counts."""
import os, re, shlex, subprocess, sys, tempfile, time, traceback
from itertools import zip_longest
from pathlib import Path

NUMBER = re.compile(r'(?<![\w.])[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?!\d)\.?\d*(?:e[-+]?\d+)?(?![\w]*[A-Za-z_]\d)', re.I)
RULER = re.compile(r'\s+|[\-─━]{2,}')                    # of a table; as wide as its numbers
# addresses; how long an epoch took
PASSING = re.compile(r'(?<=\b0x)[0-9a-f]{6,}|(?<=\bepoch )(.*), [\d.]+ s$', re.M)

def joined(x): return ''.join(x or '')

def texts_of(outputs):
    "What a cell shows, as text: lines that it printed, and its tables; the order between them does not count."
    said, shown, kinds = '', [], ('text/markdown', 'text/html', 'text/latex', 'text/plain')
    for o in outputs:
        if o.get('name') == 'stdout': said += joined(o.get('text'))
        data = o.get('data', {})
        kind = next((k for k in kinds if k in data), None)
        if not kind or any(k.startswith('image/') for k in data): continue
        text = joined(data[kind])
        if kind == 'text/html':
            text = re.sub(r'</t[dh]>', ' |', text)                                   # empty cells of a table count
            text = re.sub(r'(<[^>]*>\s*)+', '\n', text)
        shown.append(text)
    return [said.strip(), *(s.strip() for s in shown)]

def figures_of(outputs): return sum(any(k.startswith('image/') for k in o.get('data', {})) for o in outputs)

def unit_of(number):
    "The last printed digit of a number."
    digits, _, power = number.replace(',', '').lower().partition('e')
    return 10.**(int(power or 0) - len(digits.partition('.')[2]))

def value(number): return float(number.replace(',', ''))

def whole(number): # a count: no rounding, torch writes 3.
    return re.fullmatch(r'[-+]?[\d,]+\.?', number) is not None

def near(x, y, share): # two numbers as they are printed; by how much they may differ [-]
    "Are two numbers the same to their printed digits?"
    unit = 0. if whole(x) and whole(y) and not share else 1.01*min(unit_of(x), unit_of(y))
    return abs(value(x) - value(y)) <= unit + share*max(abs(value(x)), abs(value(y)))

def lasting(text): return PASSING.sub(r'\1', text).splitlines()

def difference(old, new, share=0.): # two texts; by how much numbers may differ [-]
    "Where two texts differ first, as `old -> new`, or None."
    for a, b in zip_longest(lasting(old), lasting(new), fillvalue=''):
        words = [' '.join(RULER.sub(' ', NUMBER.sub('#', line)).split()) for line in (a, b)]
        same = words[0] == words[1] and all(near(x, y, share) for x, y in zip(NUMBER.findall(a), NUMBER.findall(b)))
        if not same: return ' -> '.join(repr(cut(line, len(os.path.commonprefix((a, b))))) for line in (a, b))
    return None

def cut(line, at, width=100): # place where something begins
    "A line, or of a long one the part around a place."
    begin = max(0, at - width//2) if len(line) > width else 0
    return '... '*bool(begin) + line[begin:begin + width].strip() + ' ...'*(begin + width < len(line))

def said_of(source, name):
    "A directive of a cell: its value, '' where it has none, None where it is not there."
    found = re.search(rf'^#\|\s*{name}\b:?[ \t]*(.*?)[ \t]*$', source, re.M)
    return found and found[1]

def tolerance(source):
    "By how much numbers of a cell may differ [-]; None where nothing is compared."
    if said_of(source, 'hide') is not None or said_of(source, 'include') == 'false': return None
    told = said_of(source, 'fresh')
    if told == 'false': return None
    if told is None: return 0.
    if not re.fullmatch(r'\d+(\.\d+)?%', told):
        raise ValueError(f'#| fresh: {told}: expected a share like 5%, or false')
    return float(told[:-1])/100

def stale(source, old, new): # of one cell: source, stored outputs, and outputs of now
    "What is no longer true of a cell's stored outputs, or None."
    share = tolerance(source)
    if share is None: return None
    if figures_of(old) != figures_of(new): return f'{figures_of(old)} figures are stored, {figures_of(new)} are drawn'
    for a, b in zip_longest(texts_of(old), texts_of(new), fillvalue=''):
        if found := difference(a, b, share): return found
    return None

def words_of(cmd): # like `physlearn fit spectra air.csv`, or with `> FILE` at its end
    "Words of a command of ours, and the file for its output. A fork has no shell: pipes and wildcards are refused."
    bare = re.sub(r"'[^']*'", 'x', cmd)                    # no shell would look into
    split = shlex.shlex(cmd, posix=True, punctuation_chars=True)
    split.whitespace_split, split.commenters = True, ''
    words, target = list(split), None
    if '>' in words[-2:-1]: *words, _, target = words
    wild = re.search(r'[$`]', bare) or re.search(r'[*?~]|\d>', re.sub(r'"[^"]*"', 'x', bare))
    if wild or any(re.fullmatch('[|&;<>()]+', w) for w in words):
        raise ValueError(f'{cmd}: expected `physlearn ...`, with `> FILE` or `|| true` at its end and nothing else '
                         'of a shell')
    return words, target

def exit_code(e): # SystemExit
    "What a process ends with; words go to stderr."
    if e.code is None or isinstance(e.code, int): return e.code or 0
    print(e.code, file=sys.stderr)
    return 1

def command(words, target=None): # file that its output goes to
    "Run a command of ours in a fork of this process: what it says, and its exit code."
    with tempfile.TemporaryFile() as said, open(os.devnull) as nothing:
        sys.stdout.flush()
        child = os.fork()
        if not child:
            code = 1
            try:
                for fd in (1, 2): os.dup2(said.fileno(), fd)
                os.dup2(nothing.fileno(), 0)            # nobody answers a question
                sys.stdin = nothing
                sys.stdout, sys.stderr = (os.fdopen(fd, 'w', encoding='utf-8', closefd=False) for fd in (1, 2))
                from physlearn import pages
                from physlearn.cli import main
                pages.MOMENT = 1e6                      # a slow machine says no more than a quick one
                code = main(words[1:])
            except SystemExit as e: code = exit_code(e)
            except BaseException: traceback.print_exc()
            finally:
                for f in (sys.stdout, sys.stderr): f.flush()
                os._exit(code or 0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said.seek(0)
        text = said.read().decode(errors='replace')
    if target and not code:
        Path(target).write_text(text, encoding='utf-8')
        text = ''
    return text, code

def shell():
    "The shell of a notebook, in which `!physlearn ...` is a fork: a new process would import everything again."
    from execnb.shell import CaptureShell
    class Shell(CaptureShell):
        def run_all(self, nb, **kwargs):
            super().run_all(nb, **kwargs)
            self.ran = nb

        def system(self, cmd):
            cmd = self.var_expand(cmd, depth=1)
            mayfail = cmd.endswith('|| true')
            if not re.match(r'\s*physlearn\b', cmd):
                super().system(cmd)
                if code := self.user_ns.get('_exit_code'): raise RuntimeError(f'{cmd}: exit code {code}')
                return
            text, code = command(*words_of(cmd.removesuffix('|| true')))
            if code and not mayfail: raise RuntimeError(f'{cmd}: exit code {code}\n{text}')
            print(text, end='')
    return Shell

def problems(old, new, run): # the stored notebook, the one that ran, and which of its cells ran
    "One line for each cell whose stored outputs are stale."
    stored = {c['id']: c for c in old['cells'] if c['cell_type'] == 'code'}
    for c in new['cells']:
        if c['cell_type'] != 'code' or c['id'] not in stored or not run(c): continue
        source = joined(stored[c['id']]['source'])
        if found := stale(source, stored[c['id']].get('outputs', []), c.get('outputs', [])):
            yield f"cell {c['id']}: {found}"

def store(path):
    "Run a notebook from the top and store its outputs, as a fresh kernel would show them."
    from execnb.nbio import read_nb, write_nb
    path = Path(path).resolve()
    nb, run = read_nb(path), shell()(path)
    os.chdir(path.parent)
    skip = lambda c: c.cell_type != 'code' or said_of(c.source, 'eval') == 'false'
    run.run_all(nb, exc_stop=True, preproc=skip)
    for c in nb.cells:
        if c.cell_type == 'code' and not skip(c): c.outputs = [o for o in c.outputs if o.get('name') != 'stderr']
    write_nb(nb, path)

if __name__ == '__main__':
    if not sys.argv[1:]: sys.exit(__doc__)
    os.environ.setdefault('MPLBACKEND', 'agg')
    start, (name, *others) = time.time(), sys.argv[1:]
    if others: # a process for each
        sys.exit(max(subprocess.run([sys.executable, __file__, n]).returncode for n in sys.argv[1:]))
    store(name)
    print(f'{name}: outputs are stored ({time.time() - start:.0f} s)')
