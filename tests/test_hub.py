"""A run goes to the Hub and comes back the same: over HTTP, to a small server of our own that speaks the few words that this takes.
Nothing of `huggingface_hub` is replaced."""
import base64, hashlib, json, os, re, shutil, subprocess, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
import pytest
import yaml

pytest.importorskip('huggingface_hub')
sys.path.insert(0, str(Path(__file__).resolve().parents[1]/'benchmarks'))
from export import recipe_of
from physlearn.card import _data, figures_of
from physlearn.cli import main
from physlearn.runs import Run

ROOT = Path(__file__).resolve().parents[1]
SHA = '0123456789abcdef0123456789abcdef01234567'

class Hub(BaseHTTPRequestHandler):
    "Repositories in memory: `server.files` by name, `server.private`."
    protocol_version = 'HTTP/1.1'
    def log_message(self, *a): pass
    def answer(self, d, code=200, **headers):
        body = d if isinstance(d, bytes) else json.dumps(d).encode()
        self.send_response(code)
        for k, v in dict({'Content-Length': str(len(body))}, **{k.replace('_', '-'): v for k, v in headers.items()}).items(): self.send_header(k, v)
        self.end_headers()
        if self.command != 'HEAD': self.wfile.write(body)
    def body(self): return self.rfile.read(int(self.headers.get('Content-Length', 0)))
    def do_POST(self):
        s, body = self.server, self.body()
        if self.path.endswith('/validate-yaml'): return self.answer(dict(errors=[], warnings=[]))
        if s.token and self.headers.get('Authorization') != f'Bearer {s.token}': return self.answer(dict(error='no'), 403)
        if self.path.endswith('/repos/create') and s.public:
            return self.answer(dict(error='You already created this model repo', url=f'{s.url}/lab/methane'), 409)
        if self.path.endswith('/repos/create'):
            s.private = json.loads(body).get('private') or json.loads(body).get('visibility') == 'private'
            return self.answer(dict(url=f'{s.url}/lab/methane', name='lab/methane'))
        if '/preupload/' in self.path:
            return self.answer(dict(files=[dict(path=f['path'], uploadMode='regular', shouldIgnore=False) for f in json.loads(body)['files']]))
        for line in map(json.loads, body.splitlines()):
            if line['key'] == 'file': s.files[line['value']['path']] = base64.b64decode(line['value']['content'])
        self.answer(dict(commitUrl=f'{s.url}/lab/methane/commit/{SHA}', commitOid=SHA, success=True))
    def do_GET(self):
        s = self.server
        if '/lab/methane' not in self.path: return self.answer(dict(error='none'), 404, X_Error_Code='RepoNotFound')
        if self.path.startswith('/api/'):
            if '/revision/' in self.path and not re.search(f'/revision/(main|{SHA})', self.path):
                return self.answer(dict(error='none'), 404, X_Error_Code='RevisionNotFound')
            tree = [dict(type='file', path=k, size=len(v), oid=hashlib.sha1(v).hexdigest()) for k, v in s.files.items()]
            if '/tree/' in self.path: return self.answer(tree)
            return self.answer(dict(id='lab/methane', sha=SHA, private=s.private, siblings=[dict(rfilename=k) for k in s.files], tags=[], downloads=0))
        data = s.files[self.path.split('?')[0].split('/resolve/')[1].partition('/')[2]]
        self.answer(data, ETag=f'"{hashlib.sha1(data).hexdigest()}"', X_Repo_Commit=SHA)
    do_HEAD = do_GET

@pytest.fixture
def server():
    s = ThreadingHTTPServer(('127.0.0.1', 0), Hub)
    s.url, s.files, s.private, s.public, s.token = f'http://127.0.0.1:{s.server_port}', {}, None, False, 'hf_key'
    threading.Thread(target=s.serve_forever, daemon=True).start()
    yield s
    s.shutdown()
    s.server_close()

@pytest.fixture(scope='module')
def run(tmp_path_factory):
    recipe = recipe_of('spectra', 'demo', True, train_samples=64, val_samples=32, epochs=1)
    return recipe.fit(tmp_path_factory.mktemp('runs')/'first', quiet=True)

def at(url, home, *words, token='hf_key'):
    "A command, or Python, that knows the Hub under this address alone."
    env = {k: v for k, v in os.environ.items() if k.lower() not in ('http_proxy', 'https_proxy', 'all_proxy', 'hf_token', 'hf_hub_offline')}
    env |= dict(HF_ENDPOINT=url, HF_HOME=str(home), PYTHONPATH=str(ROOT), HF_HUB_DISABLE_XET='1') | (dict(HF_TOKEN=token) if token else {})
    words = words if words[0] == '-c' else ('-m', 'physlearn', *words)
    r = subprocess.run([sys.executable, *words], env=env, capture_output=True, text=True, cwd=home)
    return r.returncode, r.stdout, r.stderr

BACK = "from physlearn.runs import Run; r = Run.from_hub('lab/methane', revision={!r}); print(r.path, len(r.history['epoch']))"

def test_there_and_back(run, server, tmp_path):
    (run.path/'state'/'secret.txt').write_text('not to be sent')
    code, out, err = at(server.url, tmp_path, 'push', str(run.path), 'lab/methane', '--private', '--license', 'apache-2.0')
    assert code == 0 and SHA in out and server.private, err
    assert {Path(k).suffix for k in server.files} == {'.json', '.csv', '.safetensors', '.png', '.md'}
    assert not any('state' in k or 'secret' in k or 'report' in k for k in server.files)
    for k, v in server.files.items():
        if k != 'README.md': assert (run.path/k).read_bytes() == v, k
    card = server.files['README.md'].decode()
    assert yaml.safe_load(card.split('---')[1])['license'] == 'apache-2.0' and "Run.from_hub('lab/methane')" in card
    code, out, err = at(server.url, tmp_path, '-c', BACK.format(SHA))
    assert code == 0, err
    assert out.split()[-1] == '1' and Run.load(out.split()[0]).recipe == run.recipe
    name = 'model.safetensors'
    server.files[name] = server.files[name][:-1] + bytes([server.files[name][-1] ^ 1])
    (tmp_path/'other').mkdir()
    code, out, err = at(server.url, tmp_path/'other', '-c', BACK.format(None))
    assert code and 'was changed after the run' in err
    d = json.loads(server.files['recipe.json']) | dict(system='antigravity')       # a module that anybody has
    server.files['recipe.json'] = json.dumps(d).encode()
    (tmp_path/'third').mkdir()
    code, out, err = at(server.url, tmp_path/'third', '-c', BACK.format(None))
    assert code and "names the instrument 'antigravity'" in err

EACH = """
import os
from physlearn.cli import _refused, main
from physlearn.runs import Run
for token, *words in {!r}:
    os.environ.pop('HF_TOKEN', None)
    if token: os.environ['HF_TOKEN'] = token
    print(_refused(Run.from_hub, *words[1:]) if words[0] == 'from' else main(words))
"""

def test_one_sentence(run, server, tmp_path):
    "What stands against it: no login, a login that may not, no such model or revision, nobody there."
    push = 'push', str(run.path), 'lab/methane'
    server.files['recipe.json'] = b'{}'
    there = {(None, *push): 'hf auth login', ('hf_other', *push): 'refuses this login', (None, 'from', 'lab/nothing'): 'no such model',
             (None, 'from', 'lab/methane', 'v9'): 'no such revision', (None, *push[:2], 'methane'): 'owner/name',
             (None, 'from', 'lab/methane'): 'names the instrument None'}
    nobody = {('hf_key', *push): 'cannot be reached', (None, 'from', 'lab/methane'): 'cannot be reached'}
    for i, (url, cases) in enumerate(((server.url, there), ('http://127.0.0.1:9', nobody))):
        (tmp_path/str(i)).mkdir()                              # what was fetched once is used where nobody answers
        code, out, err = at(url, tmp_path/str(i), '-c', EACH.format([*cases]), token=None)
        assert code == 0 and out.split() == ['2']*len(cases), err
        for line, says in zip(err.splitlines(), cases.values(), strict=True): assert says in line, (line, says)

def test_private_is_private(run, server, tmp_path):
    "A repository that is there and that everybody can see takes nothing that should be private."
    server.public, server.private = True, False
    code, out, err = at(server.url, tmp_path, 'push', str(run.path), 'lab/methane', '--private')
    assert code == 2 and 'everybody can see it' in err and not server.files
    code, out, err = at(server.url, tmp_path, 'push', str(run.path), 'lab/methane')
    assert code == 0 and server.files, err

def test_dry_run(run, capsys, monkeypatch):
    "What would be sent, with sizes, without network or login."
    monkeypatch.setenv('HF_ENDPOINT', 'http://127.0.0.1:9')
    assert main(['push', str(run.path), 'lab/methane', '--dry-run']) == 0
    out = capsys.readouterr().out
    assert 'would be sent to lab/methane' in out and '[MB]' in out
    for k in ('model.safetensors', 'manifest.json', 'README.md', 'figures/losses.png'): assert k in out, k
    assert 'state' not in out and 'report.html' not in out

def test_card(run, tmp_path):
    "Data, ranges with units, limits, versions and use; a run that nobody has judged says so."
    card = run.card()
    for part in ('## Data', '## Ranges', '[', 'mbar', '## What it reaches', '## Limits of use', 'torch 2.', 'Run.load', 'SHA-256', 'License: not stated'):
        assert part in card, part
    for k in re.findall(r'\(figures/(.*?)\)', card): assert (run.path/'figures'/k).exists(), k
    assert '(figures/losses.png)' in card and card == (run.path/'README.md').read_text()
    bare = Run(shutil.copytree(run.path, tmp_path/'bare'), run.recipe, run.sim, run.model)
    (bare.path/'metrics.json').unlink()
    assert 'Not evaluated yet.' in bare.card() and 'nobody knows how good' in bare.card()

def test_card_of_a_run_that_learned_from_files(run, tmp_path):
    "Data that are a folder, or are not there any more, are not called simulated."
    for k, data in dict(data_dir=str(tmp_path), data=('gone/events.h5',)).items():
        options = type('Options', (), dict(run.recipe.__dict__, to_dict=run.recipe.to_dict, inputs=lambda self: [], system='other', **{k: data}))()
        text = _data(type('Like', (), dict(recipe=options, sim=None))())
        assert 'Simulated' not in text and Path(data if isinstance(data, str) else data[0]).name in text
    assert 'Simulated' in _data(run)
    (run.path/'figures'/'pair-truth.png').write_bytes(b'')
    (run.path/'figures'/'traces-100000.png').write_bytes(b'')
    assert 'pair-truth.png' in figures_of(run) and 'traces-100000.png' not in figures_of(run)
