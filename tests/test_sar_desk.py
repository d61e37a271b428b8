"Tiles by commands: simulate, agree, train, evaluate, ground, show; what is refused, and what nothing changes."
import os
from dataclasses import replace
import numpy as np
import pytest
import torch
from physlearn.cli import main
from physlearn.desk import train_command
from physlearn.cli import from_words
from physlearn.runs import Run
from physlearn.sar import train_grounding
from physlearn.sar.desk import refined, sar
from physlearn.sar.synthetic import holes, synthetic
from physlearn.sar.tiles import decode_s1, read_tile, read_tiles, write_tile
from physlearn.sar.train_grounding import grounding_recipe, judge

@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    "A folder with tiles, and a run on them."
    home, here = tmp_path_factory.mktemp('sar'), os.getcwd()
    os.chdir(home)
    try:
        assert not main('simulate sar tiles --n 40 --size 48'.split())
        assert not main('simulate sar holed --n 3 --size 48 --seed 7 --holes'.split())
        grounding_recipe('quick', data_dir='tiles', epochs=1, gpus=0).fit('run', quiet=True, evaluate=False)
    finally: os.chdir(here)
    return home

@pytest.fixture
def here(lab, monkeypatch): monkeypatch.chdir(lab)

def test_tiles_come_back(here):
    "As they were simulated: dB, reflectance, holes, sides."
    tiles, made = read_tiles('holed'), synthetic(3, 7, 48)
    assert len(tiles) == 3 and {t.split for t in read_tiles('tiles')} == {'train', 'val', 'test'}
    for t in tiles:
        m = next(m for m in made if m.name == t.name)
        assert np.array_equal(t.s1, m.s1) and np.array_equal(t.optical, m.optical) and .1 < t.hole.mean() < .7

def test_clear_pixels_stay(here):
    "What was measured is not touched; intervals hold what they hold; a tile with a place becomes a GeoTIFF there."
    rasterio = pytest.importorskip('rasterio')
    t = read_tile(sorted(read_tiles('holed'), key=lambda t: t.name)[0].about['path'])
    t = replace(t, place=('EPSG:32633', (10., 0., 5e5, 0., -10., 5e6)))
    os.makedirs('placed', exist_ok=True)
    write_tile(t, 'placed/one.npz')
    assert not main('ground run placed --out refined'.split())
    with np.load('refined/one.npz') as d:
        clear = ~t.hole & t.valid
        assert np.array_equal(d['opt_v3'][:,clear], t.given[:,clear]) and (d['sd'][:,clear] == 0).all() and (d['change'][:,clear] == 0).all()
        assert (d['sd'][:,t.hole] > 0).all() and (d['low90'] <= d['opt_v3']).all()
        with rasterio.open('refined/one.tif') as f:
            assert f.crs.to_epsg() == 32633 and f.transform.c == 5e5 and np.allclose(f.read()[:4], d['opt_v3'], atol=1e-6) and f.descriptions[12] == 'source [-]'

def test_what_is_refined(here):
    "Without a mask all of a picture; with one what it hides, which may be nothing; and files keep which of them it was."
    t, run = holes(synthetic(1, 7, 40)[0], seed=1, number=0), Run.load('run')
    os.makedirs('masks', exist_ok=True)
    for name, hole, declared, share in (('none', None, False, 1.), ('nothing', np.zeros((40, 40), bool), True, 0.), ('some', t.hole, True, t.hole.mean())):
        write_tile(replace(t, hole=hole, declared=None), f'masks/{name}.npz')
        with np.load(f'masks/{name}.npz') as d: assert ('hole' in d) == declared
        back = read_tile(f'masks/{name}.npz')
        assert back.declared == declared and np.isclose((refined(run, back)['sd'] > 0).mean(), share), name

def test_any_size(here):
    "A large tile by windows is what it is at once."
    run = Run.load('run')
    t = holes(synthetic(1, 3, 320)[0], seed=1, number=0)
    whole = refined(run, t, 'given')                         # a part has a mean of its own to fill holes with
    assert whole['opt_v3'].shape == (4, 320, 320) and np.isfinite(whole['opt_v3']).all()
    part = replace(t, s1=t.s1[:,:200,:200], optical=t.optical[:,:200,:200], given=t.given[:,:200,:200], hole=t.hole[:200,:200], valid=t.valid[:200,:200])
    assert np.abs(refined(run, part, 'given')['opt_v3'][:,:160,:160] - whole['opt_v3'][:,:160,:160]).max() < 1e-5

def test_the_guides_options(here):
    "By their names in the guide, and ours."
    def options(words):
        cls = train_command(sar)
        default, rest = cls.defaults(words.split())
        made, wrong = from_words(cls, rest, 'physlearn train sar', default)
        assert wrong is None, wrong
        return made
    made = options('guide --data-dir tiles --batch-size 1 --grad-accum 8 --lr 1e-4 --epochs 50 --early-stop-patience 3 --early-stop-delta 5e-4')
    assert (made.accumulate, made.patience, made.min_delta, made.lr, made.epochs) == (8, 3, 5e-4, 1e-4, 50)
    focus = options('sar-focus')
    assert (focus.sar_weight, focus.cycle_weight, focus.identity_weight, focus.terms) == (2., .3, .2, 'guide')
    assert main('train sar guide --timesteps 5'.split()) == 2

def test_a_run_says_what_it_is_judged_by(here, monkeypatch):
    found = judge(Run.load('run'), read_tiles('holed'), 'holed')
    assert found.numbers['judged by'] == '3 tiles of holed' and [r[0] for r in found.tables[0]['rows']][:2] == ['given', 'refined']
    monkeypatch.setattr(train_grounding, 'MOST_JUDGED', 2)
    assert judge(Run.load('run'), read_tiles('holed'), 'holed').numbers['judged by'] == 'the first 2 of 3 tiles of holed'

HOSTILE = [('ground run gone --out o', 'gone'), ('ground run tiles/test --out o', 'no picture to be refined'), ('ground run holed --out tiles', 'is not empty'),
           ('ground nowhere holed', 'no such folder'), ('show run holed --out run', 'is not empty'), ('show run tiles --damage snow', 'holes, noise, blur'),
           ('agree sar gone', 'gone'), ('agree sar tiles/test --out x.txt', '.csv'), ('simulate sar tiles', 'is not empty'), ('simulate sar x --n 0', 'n=0'),
           ('simulate sar x --size 4', '16 or more'), ('train sar best', 'no recipe'), ('train sar --data-dir gone', 'not a folder'),
           ('train sar --stage2-dir holed', '--data-dir'), ('train sar --timesteps 3', '--network flow'), ('train sar --damage rain', 'holes, noise, blur'),
           ('evaluate run --data-dir gone', 'gone'), ('fit sar tiles', "no verb 'fit'"), ('train sar --crop 8', '32 or more'), ('agree sar tiles --max-samples 0', 'max_samples=0')]

@pytest.mark.parametrize('words, says', HOSTILE)
def test_hostile(here, capsys, words, says):
    "One sentence that says what is wrong, exit code 2, nothing written."
    before = sorted(os.listdir())
    assert main(words.split()) == 2
    said = capsys.readouterr().err
    assert says in said and said.count('\n') == 1 and 'Traceback' not in said, said
    assert sorted(os.listdir()) == before

def test_onnx(here, tmp_path):
    "The network elsewhere, at another size of the batch."
    ort = pytest.importorskip('onnxruntime')
    run = Run.load('run')
    path = run.export_onnx(tmp_path/'net.onnx')
    session = ort.InferenceSession(str(path))
    torch.manual_seed(0)
    b = dict(s1=torch.randn(3, 2, 48, 48).clamp(-2, 3), given=torch.rand(3, 4, 48, 48), hole=(torch.rand(3, 1, 48, 48) > .5).float())
    feed = b | dict(s1=decode_s1(b['s1']))                    # other programs give decibel
    said = session.run(['mean'], {i.name: feed[i.name].numpy() for i in session.get_inputs()})[0]
    with torch.no_grad(): assert np.abs(said - run.model(b)['mean'].numpy()).max() < 1e-4

def test_base(here, capsys):
    "Adapters by commands: the options are the base's, the run goes on as a run, and what cannot be is refused."
    assert not main('train sar quick --base run --data-dir tiles --epochs 1 --lora-rank 2 --gpus 0 --out adapted'.split())
    said = capsys.readouterr().out
    assert '4,288 of 37,624 parameters learn (11.4 %)' in said and 'by its base, without adapters' in said
    assert not main('ground adapted holed --out adapted_pictures'.split())
    assert not main('compare run adapted'.split())
    assert not main('train sar --from adapted --data-dir tiles --epochs 1 --gpus 0 --out further'.split())
    assert Run.load('further').recipe.lora_rank == 2
    for words, what in {'--base run --width 24': 'width=24: the base run has 8', '--base gone': 'no such folder', '--lora-rank 4': '--base RUN',
                        '--base run --lora-rank 0': 'lora_rank=0', '--base run --lora-alpha -1': 'lora_alpha=-1', '--base tiles': 'holds no recipe.json'}.items():
        assert main(f'train sar quick {words} --data-dir tiles --epochs 1 --gpus 0 --out never'.split()) == 2
        assert what in capsys.readouterr().err and not os.path.exists('never')
