"One word, one meaning: what is known, what is given, and noise, in training as in a fit."
import time
from dataclasses import replace
from pathlib import Path
import os
import pytest
from physlearn.cli import main
from physlearn.desk import command_of
from physlearn.instruments import find
from physlearn.recipes import recipe_from_dict
from physlearn.spectra.retrieve import validation
from physlearn.spectra.train_physae import SpectraRecipe, spectra_recipe

SMALL = dict(epochs=1, train_samples=64, val_samples=64, num_points=64)

@pytest.fixture(scope='module')
def co():
    "Options of a gas of one's own."
    cases = Path(os.environ.get('PHYSLEARN_DATA', ''))/'cases/spectra'
    if not cases.is_dir(): pytest.skip('PHYSLEARN_DATA has no cases')
    return ['--lines', str(cases/'co.par'), '--gas', 'CO=1..1000ppm', '--path', '1m', '--window', '2188.5..2191.5']

def trained(words, **kw):
    "The recipe that a command line makes."
    cls = command_of('train', find('spectra'))
    from physlearn.cli import from_words
    default, words = cls.defaults(words)
    made, wrong = from_words(cls, words, 'x', default)
    assert not wrong, wrong
    return made

def refused(capsys, *words):
    started = time.process_time()
    assert main(['train', 'spectra', 'quick', *words]) == 2
    return capsys.readouterr().err, time.process_time() - started

def test_noise_in_training_has_both_parts():
    "A share and an additive part: in training, in validation, in the likelihood of the run and in its evaluation."
    recipe = spectra_recipe('quick', noise='0.1%+2e-3', **SMALL)
    like = recipe.likelihood()
    assert (like.sigma, like.relative) == (2e-3, .001)
    sim = recipe.simulator()
    dls = recipe.dls(sim)
    b = next(iter(dls.valid))[0]
    left = (b['x'] - b['clean']).double()
    want = (2e-3**2 + (.001*b['clean'].double())**2).sqrt()
    assert float((left/want).std()) == pytest.approx(1, abs=.06)
    b = next(iter(dls.train))[0]                   # between nothing and all of it
    assert 0 < float(((b['x'] - b['clean']).double()/want).std()) < .9
    assert recipe.model(sim).refiners[0].noise.sigma == 2e-3
    class Made:
        pass
    run = Made()
    run.sim, run.recipe = sim, recipe
    _, x, clean = validation(run, 64)
    assert float(((x - clean).double()/(2e-3**2 + (.001*clean.double())**2).sqrt()).std()) == pytest.approx(1, abs=.06)

@pytest.mark.parametrize('words, sigma, share', [('0.2%', 0, .002), ('0.002', 0, .002), ('+2e-4', 2e-4, 0), ('white', 0, .002)])
def test_noise_words(words, sigma, share):
    like = trained(['quick', '--noise', words]).likelihood()
    assert (like.sigma, like.relative) == pytest.approx((sigma, share))

def test_noise_that_is_none(capsys):
    for words, says in ((['--noise', 'loud'], 'white, guide, none'), (['--noise', '0.1%+'], 'share'), (['--noise', '0.1%', '--noise-rms', '0.01'], 'noise_rms')):
        err, _ = refused(capsys, *words)
        assert says in err and err.count('\n') == 1

def test_known_has_values(co, capsys):
    "Known values narrow the ranges, as in a fit; what is given to the network is named by another word."
    r = trained(['quick', *co, '--known', 'P=200Torr', 'T=300K'])
    P, T = (r.chosen().space[k].to(u) for k, u in (('P', 'Torr'), ('T', 'K')))
    assert (P.lo, P.hi, T.lo, T.hi) == pytest.approx((160, 240, 285, 315)) and r.given == ('P', 'T')
    assert trained(['quick', *co, '--known', 'P=200Torr', 'T=300K', '--given', 'P']).given == ('P',)
    err, _ = refused(capsys, *co, '--known', 'P', 'T')
    assert '--given P' in err and err.count('\n') == 1
    err, _ = refused(capsys, '--known', 'P=200Torr')
    assert 'outside its range 400 .. 600 mbar' in err
    P = trained(['quick', '--known', 'P=480mbar']).chosen().space['P']
    assert (P.lo, P.hi) == pytest.approx((400, 576))
    err, _ = refused(capsys, '--known', 'mf_CH4=2ppm')
    assert '--range mf_CH4' in err

def test_known_in_a_set_up_file(co, tmp_path, capsys):
    main(['setup', 'spectra', *co, '--known', 'P=200Torr', 'T=300K'])
    (tmp_path/'co.yaml').write_text(capsys.readouterr().out)
    assert trained(['quick', '--setup', str(tmp_path/'co.yaml')]).chosen().space['P'].to('Torr').hi == pytest.approx(240)

def test_recipes_of_earlier_versions_are_read():
    "There `known` named what is given."
    d = replace(SpectraRecipe(), given=('P',)).to_dict()
    options = {k: v for k, v in d['options'].items() if k != 'given'}
    for names in ([], ['P']):
        old = recipe_from_dict(d | dict(options=options | dict(known=names)))
        assert (list(old.given), old.known) == (names, ())

def test_a_training_says_what_it_wants(co, capsys):
    "Pressure that nobody stated is asked for at once; ranges too wide for a table, in words of the command."
    err, took = refused(capsys, *co)
    assert '--known P=' in err and '--range P=' in err and err.count('\n') == 1 and took < 5

def test_too_wide_for_a_table(monkeypatch, co, capsys):
    from physlearn.spectra import simulate
    def too_wide(*a, **kw): raise simulate.TableError("the table's error 1e-1 of the peak stays above 2e-05: the ranges are too wide")
    monkeypatch.setattr(simulate, '_build_table', too_wide, raising=False)
    monkeypatch.setattr(simulate.LineByLine, '_build_table', too_wide, raising=False)
    err, _ = refused(capsys, *co, '--range', 'P=1mbar..2atm')
    assert '--range P=' in err and 'method' not in err and 'tol' not in err

def test_what_is_known_lies_within_its_range(co, capsys):
    "A range beside a known value has to hold it; words of a gauge have no value before there is a file."
    for words, says in ((['--known', 'P=200Torr', '--range', 'P=300..400Torr'], 'lies outside its range'),
                        (['--known', 'P=Pressure:Torr', 'T=300K'], "P='Pressure:Torr' is not a number")):
        err, _ = refused(capsys, *co, *words)
        assert says in err and err.count('\n') == 1
    assert trained(['quick', *co, '--known', 'P=200', '--range', 'T=290..310K']).chosen() and 'P=200 taken in mbar' in capsys.readouterr().err

@pytest.mark.parametrize('words, says', [
    ('fit canopy t.csv --noise 150%', 'a share between 0 and 1'),
    ('simulate canopy x.csv --noise auto', "noise 'auto' cannot be found here"),
    ('simulate spectra x.h5 --noise 2', 'would hide every signal, as 200 % of it'),
    ('simulate spectra x.h5 --quantity absorbance', 'transmittance, absorption or radiance'),
    ('simulate spectra x.h5 --set CH4=2ppm', 'write mf_CH4'),
    ('simulate canopy x.csv --canopy crop --understorey 2', 'a crop has none'),
])
def test_a_refusal_names_what_works(words, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 2
    err = capsys.readouterr().err
    assert says in err and err.count('\n') == 1 and not list(tmp_path.iterdir())

def test_a_share_in_per_cent():
    "A share is written as a number or in per cent, with a space or an equals sign, in every command; other numbers are not."
    from physlearn.cli import from_words
    fit, read = command_of('fit', find('canopy')), lambda *w: from_words(fit, ['t.csv', *w], 'physlearn')
    for words in (['--noise', '3%'], ['--noise=3%'], ['--noise', '0.03']): assert read(*words)[0].noise == .03
    assert 'tts' in read('--tts', '3%')[1] and 'noise' in read('--noise', 'x%')[1]
