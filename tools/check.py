"Are modules, README and notebooks in step, and the notebooks clean? Tried on a copy: the tree itself is not touched."
import json, os, re, shutil, subprocess, sys, tempfile
from pathlib import Path
import readme

ROOT = Path(__file__).resolve().parents[1]

def ours(root):
    "Files that git tracks or would track, relative to `root`; without git, all but hidden and generated folders."
    def git(*args): return subprocess.run(['git', '-C', str(root), *args], capture_output=True, text=True).stdout
    if shutil.which('git') and git('rev-parse', '--show-toplevel').strip() == str(root):
        names = git('ls-files', '-coz', '--exclude-standard').split('\0')
    else:
        names = []
        for folder, dirs, files in os.walk(root):
            dirs[:] = [d for d in dirs if d in ('.ci', '.github') or not (d[0] in '._' or d.endswith('.egg-info'))]
            names += [os.path.relpath(os.path.join(folder, f), root) for f in files]
    return sorted(Path(n) for n in names if n and ((root/n).is_file() or (root/n).is_symlink()))

def copy(root, dest):
    "Copy what is ours in `root` to `dest`; a symlink stays a symlink."
    for f in ours(root):
        (dest/f).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root/f, dest/f, follow_symlinks=False)

def unreadable(nb):
    "Why `nb` is no notebook, or None."
    try: json.loads(nb.read_text(encoding='utf-8'))['cells']
    except (ValueError, KeyError, TypeError) as e: return f'{type(e).__name__}: {e}'

def bytes_of(f): return f.read_bytes() if f.exists() else None

def stale(root, tmp):
    "Modules that differ from what the notebooks in `tmp`, a copy of `root`, export."
    from nbdev.doclinks import nbdev_export
    def modules(top): return {p.relative_to(top) for p in (top/'physlearn').rglob('*.py')}
    before = modules(tmp)
    # a module whose notebook has gone would survive an export, so export starts from an empty package
    for m in before:
        if m.name != '__init__.py': (tmp/m).unlink()
    try: nbdev_export.__wrapped__()
    except Exception as e: return [f'the notebooks cannot be exported: {type(e).__name__}: {e}']
    bad = []
    for m in sorted(before | modules(tmp)):
        want, got = bytes_of(tmp/m), bytes_of(root/m)
        if want == got: continue
        src = re.search(rb'File to edit: (?:\.\./)*(\S+\.ipynb)', want or b'')
        nb = src[1].decode() if src else 'the notebooks'
        bad.append(f'{m}: no notebook exports it; delete it, or write it in a notebook' if want is None else
                   f'{m}: not exported yet from {nb}; run nbdev_export' if got is None else
                   f'{m}: differs from what {nb} exports; make the edit in the notebook, then run nbdev_export')
    return bad

def unclean(root, tmp):
    "Notebooks that nbdev_clean would change."
    from nbdev.clean import nbdev_clean
    nbdev_clean.__wrapped__()
    nbs = sorted(p.relative_to(tmp) for p in (tmp/'nbs').rglob('*.ipynb'))
    return [f'{nb}: not clean; run nbdev_clean --fname {nb}' for nb in nbs if bytes_of(tmp/nb) != bytes_of(root/nb)]

def problems(root=ROOT):
    "One line for each thing that is out of step."
    bad = [f'{f}: not a notebook ({why})' for f in ours(root) if f.suffix == '.ipynb' and (why := unreadable(root/f))]
    if bad: return bad
    os.environ.pop('IN_TEST', None)   # with it set, nbdev_export does nothing
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp).resolve()
        copy(root, tmp)
        os.chdir(tmp)                 # nbdev finds settings.ini from the working folder
        try: bad = stale(root, tmp) + unclean(root, tmp)
        finally: os.chdir(here)
    try: step = readme.in_step(root)
    except ValueError as e: return bad + [str(e)]
    return bad + ([] if step else ['README.md: not what nbs/index.ipynb gives; run python tools/readme.py --write'])

if __name__ == '__main__':
    bad = problems()
    print(*bad, sep='\n', end='\n' if bad else '')
    if bad: sys.exit(f'{len(bad)} out of step; make prepare exports, cleans and renews README.md')
    print('modules, README and notebooks are in step')
