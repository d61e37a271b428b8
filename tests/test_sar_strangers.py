"What people give who know nothing of Earth observation: wrong masks, names, bands, bases; what is said, and what is not written."
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from conftest import PATIENCE
from physlearn.cli import main
from physlearn.files import FileError
from physlearn.params import uniforms
from physlearn.runs import Run, sha256, write_manifest
from physlearn.sar.scenes import refined
from physlearn.sar.synthetic import holes, synthetic
from physlearn.sar.tiles import crop, decode_s1, read_tile, read_tiles, scene_of, split_tiles, write_tile
from physlearn.sar.train_grounding import GroundingRecipe, grounding_recipe, judge, said_of_tiles

@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    "Tiles, a scene, two runs and one that adapts the first."
    home, back = tmp_path_factory.mktemp('strangers'), os.getcwd()
    os.chdir(home)
    try:
        torch.set_num_threads(1)
        assert not main('simulate sar scene --scene --size 48'.split())
        small = dict(epochs=1, gpus=0, tiles=20, crop=32)
        for seed, name in enumerate('ab'):
            grounding_recipe('quick', seed=seed, **small).fit(f'runs/{name}', quiet=True, evaluate=False)
        grounding_recipe('quick', base='runs/a', lora_rank=2, **small).fit('runs/ad', quiet=True, evaluate=False)
    finally: os.chdir(back)
    return home

@pytest.fixture
def here(lab, monkeypatch, tmp_path):
    "An empty folder beside runs and scene."
    for k in ('runs', 'scene'): os.symlink(lab/k, tmp_path/k)
    monkeypatch.chdir(tmp_path)
    return tmp_path

TILES = [holes(t, seed=3, number=i) for i, t in enumerate(synthetic(3, 3, 48))]

def folder(name, tiles, **about):
    "Tiles in a folder, with words of their JSON."
    Path(name).mkdir(parents=True)
    for t in tiles:
        write_tile(t, Path(name)/f'{t.name}.npz')
        beside = Path(name)/f'{t.name}.json'
        beside.write_text(json.dumps(json.loads(beside.read_text()) | about))

def told(capsys, words, code=0):
    "What a command says, out and err."
    assert main(words.split()) == code, capsys.readouterr()
    said = capsys.readouterr()
    return said.out + said.err

@pytest.mark.parametrize('height', (8, 20))
def test_a_small_tile_among_others(here, capsys, height):
    "Named before anything is written or printed of the others."
    folder('tiles', [*TILES[:2], crop(TILES[2], 0, 0, height, 48)])
    for words in ('ground runs/a tiles', 'agree sar tiles --out t.csv'):
        said = told(capsys, words, 2)
        assert TILES[2].name in said and f'{height} x 48 px' in said and 'score 0' not in said
    assert sorted(os.listdir()) == ['runs', 'scene', 'tiles']

def test_a_tile_of_one_pixel(here, capsys):
    folder('tiles', [crop(TILES[0], 0, 0, 4)])
    for verb in ('ground', 'show'): assert '4 x 4 px' in told(capsys, f'{verb} runs/a tiles', 2)
    with pytest.raises(ValueError, match='8 px or more'): refined(Run.load('runs/a'), crop(TILES[0], 0, 0, 1))

@pytest.mark.parametrize('crs', ('EPSG:99999999', 'Vienna'))
def test_no_such_map(here, capsys, crs):
    folder('tiles', TILES[:1])
    folder('tiles/last', TILES[2:], crs=crs, transform=[10, 0, 7e5, 0, -10, 5e6])
    said = told(capsys, 'ground runs/a tiles', 2)
    assert crs in said and 'last' in said and not Path('refined').exists()

@pytest.mark.parametrize('about', (dict(crs=32632), dict(crs='EPSG:32632', transform=[0]*6), dict(scene={'a': 1}),
                                   dict(scene=['a'])))
def test_json_that_cannot_be_meant(here, about):
    folder('tiles', TILES[:1], **about)
    with pytest.raises(FileError, match=f'{list(about)[-1]} '): read_tiles('tiles')

@pytest.mark.parametrize('about, lost', ((dict(crs='EPSG:32632'), 'transform'), (dict(transform=[10, 0, 0, 0, -10, 0]), 'crs')))
def test_half_a_place(here, capsys, about, lost):
    "No GeoTIFF, and that is said."
    folder('tiles', TILES[:1], **about)
    assert f'no {lost}' in told(capsys, 'ground runs/a tiles') and not list(Path('refined').glob('*.tif'))

def test_scene_zero_is_a_scene():
    "Numbered places stay on one side."
    assert scene_of('tile_1', dict(scene=0)) == '0' and scene_of('tile_1_2', {}) == 'tile'
    sides = split_tiles([replace(TILES[0], name=str(i), scene=scene_of(str(i), dict(scene=0))) for i in range(12)])
    assert sorted(map(len, sides.values())) == [0, 0, 12]

def test_two_tiles_of_one_name(here, capsys):
    "The second would replace the first."
    for k, t in zip('ab', TILES): folder(f'tiles/{k}', [replace(t, name='x')])
    for verb in ('ground', 'show'): assert 'two tiles are called x' in told(capsys, f'{verb} runs/a tiles', 2)

def test_dates_without_dashes(here):
    folder('tiles', TILES[:1], s1_date=20240603, s2_date='20240605T101559')
    assert not any('days apart' in n for n in read_tiles('tiles').notes)
    folder('more', TILES[:1], s1_date=20240603, s2_date='2024-06-12')
    assert any('9 days apart' in n for n in read_tiles('more').notes)
    folder('wrong', TILES[:1], s1_date='2024', s2_date='2025')
    with pytest.raises(FileError, match="date '2024'; expected dates like 2020-08-14"): read_tiles('wrong')

def test_the_answer_as_the_picture(here):
    "A picture that equals the truth, with no mask over it."
    t = replace(TILES[0], given=TILES[0].optical)
    folder('covered', [t])
    assert read_tiles('covered')[0].given is not None
    folder('open', [replace(t, hole=np.zeros(t.shape, bool), declared=False)])
    with pytest.raises(FileError, match='opt_v2 equals the truth'): read_tiles('open')

@pytest.mark.filterwarnings('error')
def test_infinity_in_a_hole(here):
    "As NaN there: nothing is there."
    folder('tiles', TILES[:1])
    path = Path('tiles')/f'{TILES[0].name}.npz'
    with np.load(path) as f: arrays = dict(f)
    made = [arrays['opt_v2'].copy() for _ in range(2)]
    for v, x in zip(made, (np.nan, np.inf)): v[:,arrays['hole']] = x
    np.savez(path, **arrays | dict(opt_v2=made[0]))
    first = read_tile(path).given
    np.savez(path, **arrays | dict(opt_v2=made[1]))
    assert np.array_equal(read_tile(path).given, first) and np.isfinite(first).all()

@pytest.mark.parametrize('words', ('--dilate 3', '--s1-bands 1 2', '--optical-bands 1 2 3 4', '--damage noise'))
def test_options_that_do_nothing(here, capsys, words):
    folder('tiles', TILES[:1])
    name = words.split()[0][2:]
    said = told(capsys, f'ground runs/a tiles {words}', 2)
    assert name in said and 'leave it out' in said and not Path('refined').exists()

@pytest.mark.parametrize('words', ('--n 7', '--holes'))
def test_a_scene_is_no_folder(here, capsys, words):
    assert 'leave it out' in told(capsys, f'simulate sar s --scene {words}', 2) and not Path('s').exists()

def test_what_reading_noted(here, capsys):
    "Bands that are exchanged are said by evaluate, too."
    folder('tiles', [replace(t, s1=t.s1[::-1].copy(), given=None, hole=None, declared=None) for t in TILES])
    assert 'are they exchanged?' in told(capsys, 'evaluate runs/a --data-dir tiles')

def test_one_tile_has_no_other_place():
    "The radar of another place is never a tile's own."
    run = Run('run', grounding_recipe('quick', crop=32), model=GroundingRecipe(width=4).model(None).eval())
    tiles = [holes(t, number=i) for i, t in enumerate(synthetic(9, 1, 32))]
    assert 'wrong' not in said_of_tiles(run, tiles[:1])
    assert [r[0] for r in judge(run, tiles[:1]).tables[0]['rows']] == ['given', 'refined', 'radar hidden']
    s = said_of_tiles(run, tiles)                                 # nine, in batches of eight
    moved = (s['wrong'] - s['refined']).abs().amax((1, 2, 3))
    assert len(moved) == 9 and (moved > 0).all()

def test_masks_that_hide_nothing(here, capsys):
    "Nothing to learn; and a run that is judged by such tiles has no number for holes."
    clear = [replace(t, given=.9*t.optical, hole=np.zeros(t.shape, bool), declared=True) for t in TILES]
    for t, side in zip(clear, ('train', 'val', 'test')): folder(f'tiles/{side}', [replace(t, split=side)])
    assert 'hide nothing' in told(capsys, 'train sar quick --gpus 0 --epochs 1 --data-dir tiles --out run', 2)
    assert not Path('run').exists()
    told(capsys, 'evaluate runs/b --data-dir tiles')
    assert Run.load('runs/b').metrics['psnr_holes'] is None

def test_one_scene_cannot_be_divided(here, capsys):
    for t in TILES: folder('tiles/'+t.name, [replace(t, scene='vienna', split=None)])
    said = told(capsys, 'train sar quick --gpus 0 --data-dir tiles --out run', 2)
    assert '3 tiles, all of the scene vienna' in said and 'split' in said

def test_a_folder_without_a_name(here, capsys):
    "As of a variable of the shell that is not set: not all that lies here."
    folder('tiles', TILES[:1])
    for words in (['ground', 'runs/a', ''], ['agree', 'sar', ''], ['evaluate', 'runs/a', '--data-dir', '']):
        assert main(words) == 2 and 'without a name' in capsys.readouterr().err

def test_tiles_that_have_changed_are_read_again(here):
    "Within one session, too."
    for t, side in zip(TILES, ('train', 'val', 'test')): folder(f'tiles/{side}', [replace(t, split=side)])
    recipe = grounding_recipe('quick', data_dir='tiles')
    first = recipe.sides()['train'][0]
    assert recipe.sides()['train'][0] is first                    # read once
    folder('tiles/train/more', [replace(synthetic([9], size=48)[0], split='train')])
    assert len(recipe.sides()['train']) == 2

def test_agree_says_its_rule(here, capsys):
    folder('tiles', TILES)
    assert '95 % of the wrong pairs' in told(capsys, 'agree sar tiles')
    assert main(['agree', 'sar', '--help']) == 0 and 'FOLDER' in capsys.readouterr().out.split('\n')[0]

def test_hints_of_a_finished_run(here, capsys):
    said = told(capsys, 'resume runs/a', 2)
    assert 'retrieve' not in said and 'physlearn card runs/a' in said

def test_exported_without_warnings(here, recwarn):
    ort = pytest.importorskip('onnxruntime')
    run = Run.load('runs/ad')
    path = run.export_onnx('net.onnx')
    assert not [w for w in recwarn if 'race' in str(w.category) or 'Constant folding' in str(w.message)]
    made = ort.InferenceSession(str(path))
    for height, width in ((64, 64), (40, 96)):
        u = uniforms(3, 7*height*width, 'x').float().view(3, 7, height, width)
        batch = dict(s1=u[:,:2], given=u[:,2:6], hole=(u[:,6:] > .5).float())
        got = made.run(['mean', 'logvar'], {k: v.numpy() for k, v in (batch | dict(s1=decode_s1(batch['s1']))).items()})
        with torch.no_grad(): want = run.model(batch)
        for k, v in zip(('mean', 'logvar'), got): assert np.allclose(v, want[k].numpy(), atol=1e-4)

def test_a_flow_has_no_interval(here):
    "Its picture is not written as both ends of an interval; as ONNX it draws one picture for each noise."
    recipe = grounding_recipe('quick', network='flow', width=4, timesteps=2)
    run = Run('flow', recipe, model=recipe.model(None).eval())
    assert set(refined(run, TILES[0])) == {'opt_v3', 'sd', 'change'}
    pytest.importorskip('onnx')
    ort = pytest.importorskip('onnxruntime')
    session, noise = ort.InferenceSession(str(run.export_onnx('flow.onnx'))), torch.randn(3, 4, 16, 24)
    batch = dict(s1=torch.rand(3, 2, 16, 24), given=torch.rand(3, 4, 16, 24), hole=torch.ones(3, 1, 16, 24))
    feed = batch | dict(s1=decode_s1(batch['s1']), noise=noise)
    got, = session.run(None, {k: v.numpy() for k, v in feed.items()})
    want = run.model.drawn(batch | dict(start=noise))[0].numpy()
    assert np.abs(got - want).max() < 1e-4 and want.std() > .01

@pytest.mark.parametrize('start', ('b', 'ad'))
def test_adapters_of_another_base(here, capsys, start):
    "They would be saved without the base that they were trained on."
    base = 'a' if start == 'b' else 'b'
    words = f'train sar quick --gpus 0 --epochs 1 --tiles 20 --crop 32 --base runs/{base} --from runs/{start} --out again'
    said = told(capsys, words, 2)
    assert f'runs/{start}' in said and f'adapters of runs/{base}' in said and not Path('again').exists()

def test_beginning_with_adapters(here, capsys):
    "Of the same base they go on; without it all of the network learns, from their sum."
    words = 'train sar quick --gpus 0 --epochs 1 --tiles 20 --crop 32 --lr 1e-12 --from runs/ad'
    told(capsys, f'{words} --base runs/a --lora-rank 2 --out on')
    mine, theirs = (load_file(f'{k}/model.safetensors') for k in ('on', 'runs/ad'))
    assert all(torch.allclose(mine[k], theirs[k], atol=1e-6) for k in mine if 'lora_' in k)
    told(capsys, f'{words} --base None --out whole')
    whole, adapted = Run.load('whole'), Run.load('runs/ad')
    assert whole.recipe.base is None and whole.recipe.lora_rank == 8
    assert np.allclose(refined(whole, TILES[0])['opt_v3'], refined(adapted, TILES[0])['opt_v3'], atol=1e-5)

def test_a_run_of_an_earlier_version(here):
    "Its intervals reach as far as they did; weights that do not fit are a sentence."
    recipe = grounding_recipe('quick', width=4)
    net = recipe.model(None)
    state = net.state_dict() | dict(reach=torch.tensor([1., 2., 3., 4.]))
    net.load_state_dict(state)
    assert (net.reach == torch.tensor([1., 2., 3., 4.])[:,None]).all() and net.reach.shape == (4, 4)
    shutil.copytree('runs/a', 'odd')
    about = json.loads(Path('odd/recipe.json').read_text())
    about['options']['width'] = 12
    Path('odd/recipe.json').write_text(json.dumps(about))
    sums = json.loads(Path('odd/manifest.json').read_text())
    write_manifest(Path('odd'), {k: v for k, v in sums.items() if k != 'checksum'} | {'recipe.json': sha256('odd/recipe.json')})
    with pytest.raises(FileError, match='do not fit'): Run.load('odd')

def test_parts_larger_than_tiles(here, capsys):
    "They would be filled up by repetition."
    for t, side in zip(TILES, ('train', 'val', 'test')): folder(f'tiles/{side}', [replace(t, split=side)])
    assert 'crop=400' in told(capsys, 'train sar quick --gpus 0 --crop 400 --data-dir tiles --out run', 2)

LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)); from physlearn.cli import main; "

@pytest.mark.parametrize('words', ('simulate sar out --n 2 --size 128', 'simulate sar out --scene --size 128',
                                   'cut sar scene/S2.tif --radar scene/S1.tif --size 48 --out out'))
def test_a_full_disk(here, words):
    "One sentence, and nothing half written."
    done = subprocess.run([sys.executable, '-c', LIMITED + f'raise SystemExit(main({words.split()!r}))'],
                          capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 2 and 'cannot be written' in done.stderr and 'make room' in done.stderr, done.stderr
    assert 'pyx' not in done.stderr and not Path('out').exists()

# ---- scenes

rasterio = pytest.importorskip('rasterio')

def image(name, like, x, names=None, nodata=None, mask=None, dtype='float32'):
    "A GeoTIFF where another lies."
    with rasterio.open(like) as f: kept = dict(crs=f.crs, transform=f.transform, height=x.shape[1], width=x.shape[2])
    with (rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
          rasterio.open(name, 'w', driver='GTiff', count=len(x), dtype=dtype, nodata=nodata, **kept) as f):
        f.write(x.astype(dtype))
        if names: f.descriptions = names
        if mask is not None: f.write_mask(np.where(mask, 255, 0).astype('u1'))

def pixels(name):
    with rasterio.open(name) as f: return f.read()

SCENE = 'ground runs/a scene/cloudy.tif --radar scene/S1.tif --cloud scene/cloud.tif --encoding cloud'

def test_a_scene_is_doubted_once(here, capsys):
    "Exchanged bands, and an offset that was left in, by ground and cut."
    assert 'exchanged' not in told(capsys, f'{SCENE} --out fine')
    s1, s2 = pixels('scene/S1.tif'), pixels('scene/S2.tif')
    image('swapped.tif', 'scene/S1.tif', s1[::-1], ('VV', 'VH'))
    image('bright.tif', 'scene/S2.tif', s2 + .1, ('B2', 'B3', 'B4', 'B8'))
    for verb in ('ground runs/a', 'cut sar'):
        words = f'{verb} bright.tif --radar swapped.tif --out {verb[:3]}' + ' --size 48'*(verb[0] == 'c')
        said = told(capsys, words)
        assert said.count('are they exchanged?') == 1 and said.count('offset of 1000') == 1

def test_two_radar_files_in_the_wrong_order(here, capsys):
    for k, band in zip(('VV', 'VH'), pixels('scene/S1.tif')): image(f'{k}.tif', 'scene/S1.tif', band[None], (k,))
    told(capsys, SCENE.replace('scene/S1.tif', 'VV.tif VH.tif') + ' --out right')
    assert np.array_equal(pixels('right/cloudy.tif'), pixels('right/cloudy.tif'), equal_nan=True)
    said = told(capsys, SCENE.replace('scene/S1.tif', 'VH.tif VV.tif') + ' --out wrong', 2)
    assert 'VH.tif' in said and 'VV comes first' in said and not Path('wrong').exists()

@pytest.mark.parametrize('encoding', ('percent', 'bits'))
def test_a_mask_of_another_encoding(here, capsys, encoding):
    said = told(capsys, SCENE.replace('--encoding cloud', f'--encoding {encoding}') + ' --out map')
    assert 'hides nothing' in said and encoding in said

def test_zero_declared_as_nodata(here, capsys):
    "Clear pixels would count as not measured."
    image('mask.tif', 'scene/cloud.tif', pixels('scene/cloud.tif'), nodata=0, dtype='uint8')
    said = told(capsys, SCENE.replace('scene/cloud.tif', 'mask.tif') + ' --out map', 2)
    assert 'declares 0 as nodata' in said and not Path('map').exists()
    said = told(capsys, 'cut sar scene/S2.tif --radar scene/S1.tif --given scene/cloudy.tif --cloud mask.tif --encoding cloud '
                        '--size 48 --out pieces', 2)
    assert 'declares 0 as nodata' in said and not Path('pieces').exists()

def test_a_mask_within_the_file(here, capsys):
    "What it hides was not measured, whatever stands there."
    seen = np.arange(48)[None] >= 20
    image('masked.tif', 'scene/S2.tif', pixels('scene/S2.tif'), ('B2', 'B3', 'B4', 'B8'), mask=seen.repeat(48, 0))
    told(capsys, 'cut sar masked.tif --radar scene/S1.tif --size 48 --out pieces')
    assert np.array_equal(read_tiles('pieces')[0].valid, seen.repeat(48, 0))

@pytest.mark.parametrize('words, expected', (
    ('--cloud scene/cloud.tif --encoding cloud', 'give --given too'), ('--given scene/S2.tif', 'the true picture itself'),
    ('--dilate 3', 'leave it out'), ('--optical-bands 1 1 1 1', 'each another'), ('--s1-bands 2 2', 'each another')))
def test_cut_what_cannot_be_meant(here, capsys, words, expected):
    assert expected in told(capsys, f'cut sar scene/S2.tif --radar scene/S1.tif --out pieces {words}', 2)
    assert not Path('pieces').exists()

def test_bands_without_names(here, capsys):
    "The remedy is an option of the command."
    image('bare.tif', 'scene/S2.tif', pixels('scene/S2.tif'))
    assert '--optical-bands' in told(capsys, 'ground runs/a bare.tif --radar scene/S1.tif --out map', 2)

def test_a_scene_of_one_row(here, capsys):
    image('row.tif', 'scene/S2.tif', pixels('scene/S2.tif')[:,:1], ('B2', 'B3', 'B4', 'B8'))
    assert '1 x 48 px' in told(capsys, 'ground runs/a row.tif --radar scene/S1.tif --out map', 2)
    assert not Path('map').exists()
