"""Bad input to `physlearn retrieve` and `physlearn fit`: exit code 2, one sentence, no traceback, nothing written. What single words and
spoilt runs do stands in test_train_cli.py; here it is several files in one call, noise, known values, methods and places to write to."""
import itertools, shutil
import numpy as np
import pandas as pd
import pytest
import torch
from physlearn.cli import main
from physlearn.files import read_hdf5, read_table, write_hdf5, write_table
from physlearn.spectra.files import example_spectrum
from physlearn.spectra.retrieve import validation
from physlearn.spectra.train_physae import spectra_recipe

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    "A small run and files of its instrument: s.csv, more of them that do not fit beside it, and many.h5."
    torch.set_num_threads(1)
    d = tmp_path_factory.mktemp('retrieve')
    run = spectra_recipe('quick', encoder_variant='xs', train_samples=64, val_samples=32, epochs=1, batch_size=32, num_points=96, threads=1, gpus=0).fit(d/'run', quiet=True)
    theta, x, _ = validation(run, 3, 'bad')
    y, nu = x[:,0].double().numpy(), run.sim.wavenumber(theta).numpy()
    def csv(name, places, y, **meta): write_table(d/name, {meta.get('axis', 'pixel'): places, meta.get('quantity', 'signal'): y}, dict(quantity='signal', axis='pixel') | meta)
    csv('s.csv', np.arange(96), y[0])
    csv('short.csv', np.arange(90), y[0][:90])
    csv('transmittance.csv', np.arange(96), y[0]/y[0].max(), quantity='transmittance')
    csv('axis.csv', nu[0], y[0], axis='wavenumber')
    csv('off.csv', nu[0] + 1, y[0], axis='wavenumber')
    csv('coarse.csv', nu[0].mean() + 3*(nu[0] - nu[0].mean()), y[0], axis='wavenumber')
    csv('backwards.csv', np.arange(96), y[0][::-1])
    write_hdf5(d/'many.h5', dict(signal=y), dict(quantity='signal'))
    write_hdf5(d/'none.h5', dict(signal=y[:0]), dict(quantity='signal'))
    write_hdf5(d/'nan.h5', dict(signal=np.where(np.arange(96) == 9, np.nan, y)), dict(quantity='signal'))
    write_hdf5(d/'wide.h5', dict(signal=np.c_[y, y]), dict(quantity='signal'))
    write_hdf5(d/'unstated.h5', dict(signal=y))
    write_hdf5(d/'axes.h5', dict(signal=y, wavenumber=nu + np.array([[0.], [0.], [2.]])), dict(quantity='signal'))
    (d/'empty.csv').write_text('')
    (d/'text.csv').write_text('# quantity: signal\n# axis: pixel\npixel,signal\n' + '\n'.join(f'{i},high' for i in range(96)) + '\n')
    (d/'there.csv').write_text('mine\n')
    (d/'sub').mkdir()
    return d

def retrieve(*words): return ['retrieve', 'run', *words]
def fit(*words): return ['fit', 'spectra', 'axis.csv', '--noise', '0.002', *words]

BAD = dict(
    # files
    no_files=(retrieve(), 'no files to read'),
    empty_file=(retrieve('empty.csv'), 'empty.csv: is empty'),
    no_rows=(retrieve('none.h5'), 'no spectra'),
    a_folder=(retrieve('sub'), 'is a folder'),
    text=(retrieve('text.csv'), "found 'high'"),
    quantity_against_the_file=(retrieve('s.csv', '--quantity', 'absorption'), 's.csv: the file says quantity signal'),
    alone=(retrieve('short.csv'), 'short.csv: 90 samples; expected 96'),
    # noise
    **{f'noise {n}': (retrieve('s.csv', '--noise', n), n.strip('-%')) for n in ('0', '0%', '-0.002', '-1%', 'nan', 'inf', 'loud', '', '%', '1e-400', '1,5')},
    noise_spread=(retrieve('s.csv', '--noise', '0.1', '0.2'), '0.2'),
    # known values
    known_unit=(retrieve('s.csv', '--known', 'T=306mbar'), 'cannot become'),
    known_no_unit_there=(retrieve('s.csv', '--known', 'P=487furlong'), 'furlong'),
    known_text=(retrieve('s.csv', '--known', 'T=warm'), 'warm'),
    known_empty=(retrieve('s.csv', '--known', 'T='), 'NAME=VALUE'),
    known_nan=(retrieve('s.csv', '--known', 'T=nanK'), 'T'),
    known_negative_sd=(retrieve('s.csv', '--known', 'T=306±-1K'), 'T'),
    known_twice=(retrieve('s.csv', '--known', 'T=306K', 'T=307K'), 'given twice'),
    known_outside=(retrieve('s.csv', '--known', 'T=60°C'), 'outside its range'),
    known_nobody=(retrieve('s.csv', '--known', 'Q=3'), "no parameter 'Q'"),
    # methods
    **{f'method {m!r}': (retrieve('s.csv', '--method', m), 'method') for m in ('magic', '', 'MAP', 'map ')},
    net_uncertain=(retrieve('s.csv', '--method', 'net', '--known', 'T=306±1K'), 'take method map'),
    posterior=(retrieve('s.csv', '--method', 'posterior'), 'no posterior head'),
    # places to write to
    out_there=(retrieve('s.csv', '--out', 'there.csv'), 'already there'),
    out_input=(retrieve('s.csv', '--out', 's.csv'), 'already there'),
    out_input_over=(retrieve('axis.csv', 's.csv', '--out', 's.csv', '--overwrite'), 'an input'),
    out_folder=(retrieve('s.csv', '--out', 'no/t.csv'), 'no folder'),
    out_suffix=(retrieve('s.csv', '--out', 't.txt'), 'ends in .csv'),
    out_is_a_folder=(retrieve('s.csv', '--out', 'sub', '--overwrite'), 'ends in .csv'),
    # fit
    fit_noise_0=(fit('--quantity', 'signal', '--noise', '0'), 'must be positive'),
    fit_noise_nan=(fit('--noise', 'nan'), 'must be positive'),
    fit_noise_negative=(fit('--noise', '-1e-3'), 'must be positive'),
    fit_quantity=(fit('--quantity', 'transmittance'), 'the file says quantity signal'),
    fit_axis=(fit('--axis', 'wavelength'), 'the file says axis wavenumber'),
    fit_y_unit=(['fit', 'spectra', 'transmittance.csv', '--y-unit', 'K'], "unit 'K'"),
    fit_unit=(fit('--unit', 'nm'), "unit"),
    fit_known=(fit('--known', 'P=5'), 'P'),
    fit_out=(fit('--out', 's.csv'), 'is already there'),
    fit_example_out=(['fit', 'spectra', str(example_spectrum()), '--out', 'no/where'], 'no folder'))

# files that cannot be used, beside one that can
PARTLY = dict(
    lengths=('s.csv', 'short.csv: 90 samples; expected 96', []),
    quantities=('s.csv', "transmittance.csv: quantity 'transmittance'; expected 'signal'", []),
    axes_off=('axis.csv', 'off.csv: the axis has sig0', []),
    axes_coarse=('axis.csv', 'coarse.csv: the axis has', []),
    axis_against_the_file=('s.csv', 'axis.csv: the file says axis wavenumber', ['--axis', 'pixel']),
    backwards=('s.csv', 'backwards.csv: ', []),
    unstated=('many.h5', 'unstated.h5: the quantity is not stated', []),
    wide=('many.h5', 'wide.h5', []),
    nan=('many.h5', 'nan.h5, first of 3 spectra alike: 1 of 96 samples are not finite', []))

@pytest.mark.parametrize('name', PARTLY)
def test_a_bad_file_costs_itself(name, folder, tmp_path, capsys, monkeypatch):
    "It is named, the code is 2, and the table is that of the good one."
    monkeypatch.chdir(folder)
    good, says, words = PARTLY[name]
    bad = says.split(':')[0].split(',')[0]
    assert main([*retrieve(good, *words), '--out', str(tmp_path/'good.csv')]) == 0
    capsys.readouterr()
    assert main([*retrieve(bad, good, *words), '--out', str(tmp_path/'both.csv')]) == 2
    err = capsys.readouterr().err
    assert says in err and err.startswith('physlearn: not read: ') and err.count('\n') == 1, err
    assert (tmp_path/'both.csv').read_bytes() == (tmp_path/'good.csv').read_bytes()

def test_a_bad_row_costs_itself(folder, tmp_path, capsys, monkeypatch):
    "A row on another axis, of NaN, Inf or zeros has no values and a reason; those beside it are as they are alone."
    monkeypatch.chdir(folder)
    y = read_hdf5('many.h5')['signal']
    assert main([*retrieve('axes.h5'), '--out', str(tmp_path/'axes.csv')]) == 0
    rows = np.concatenate([y, y[:1], y[:1], 0*y[:1]])
    rows[3,5], rows[4,7] = np.nan, np.inf
    write_hdf5(tmp_path/'rows.h5', dict(signal=rows), dict(quantity='signal'))
    for name in ('many.h5', str(tmp_path/'rows.h5')): assert main([*retrieve(name), '--out', str(tmp_path/f'{len(name)}.csv')]) == 0
    axes, alone, t = (pd.read_csv(tmp_path/f'{k}.csv', comment='#') for k in ('axes', 7, len(str(tmp_path/'rows.h5'))))
    assert np.isfinite(axes['mf_CH4']).tolist() == [True, True, False] and np.isfinite(t['mf_CH4']).tolist() == [True]*3 + [False]*3
    assert np.isnan(t['chi2'][3:]).all() and np.allclose(t['mf_CH4'][:3], alone['mf_CH4'], rtol=1e-9)

@pytest.mark.parametrize('name', BAD)
def test_bad_input(name, folder, tmp_path, capsys, monkeypatch):
    "One sentence that names it, and everything is as it was."
    monkeypatch.chdir(folder)
    words, says = BAD[name]
    state = lambda: {p: p.stat().st_mtime_ns for p in folder.rglob('*')}
    before = state()
    assert main([*words, *(['--out', 't.csv'] if words[0] == 'retrieve' and '--out' not in words else [])]) == 2
    out, err = capsys.readouterr()
    assert says in err and err.startswith('physlearn: ') and err.count('\n') == 1 and 'Traceback' not in err, err
    assert not out and state() == before

def test_good_ones_beside_each_other(folder, tmp_path, capsys):
    "Pixels and stated axes of this instrument may come in one call; a table is replaced when that is asked for."
    out = tmp_path/'t.csv'
    out.write_text('old')
    assert main(['retrieve', str(folder/'run'), *(str(folder/n) for n in ('s.csv', 'axis.csv', 'many.h5')), '--out', str(out), '--overwrite']) == 0
    t = read_table(out, ('row', 'mf_CH4'), text=('file',))
    assert t['row'].tolist() == [-1, -1, 0, 1, 2] and np.ptp(t['mf_CH4'][:3]) < .02*t['mf_CH4'][0]        # s, axis and row 0 are one signal

WORDS = [['s.csv'], ['many.h5', 's.csv'], ['--method', 'map'], ['--method', 'net'], ['--noise', 'auto'], ['--noise', '1e9'], ['--noise', '1e-12'], ['--noise', '100%'], ['--known', 'T=306K'], ['--known', 'mf_CH4=1e-5'],
         ['--known', 'mf_CH4=5ppm', 'P=0.5atm', 'T=306K'], ['--known', 'T=306±1000K'], ['--known', 'T=302.65K'], ['--quantity', 'signal'], ['--axis', 'pixel'], ['--y', 'pixel'], ['--x', 'signal'], ['--medium', 'air'], ['--unit', 'nm'], ['--out', ''], ['--out', 'x.csv']]

@pytest.mark.parametrize('i', range(25))
def test_any_words(i, folder, tmp_path, capsys, monkeypatch):
    "Whatever options come together: a result, or one sentence; never a traceback."
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder, tmp_path/'d')
    monkeypatch.chdir(tmp_path/'d')
    rng = np.random.default_rng(i)
    words = list(itertools.chain(*(WORDS[k] for k in rng.choice(len(WORDS), size=rng.integers(1, 5), replace=False))))
    code = main(['retrieve', 'run', 's.csv', *words])
    out, err = capsys.readouterr()
    assert code in (0, 2) and (err == '' if code == 0 else err.count('\n') == 1), (words, err)
    assert 'nan' not in out.replace('not finite', ''), (words, out)
