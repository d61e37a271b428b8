"The first day with a program: tables that open anywhere, trainings that end by themselves, helps that can be followed."
from dataclasses import replace
import pandas as pd
import pytest
from physlearn.canopy.train_physvae import canopy_recipe
from physlearn.cli import main
from physlearn.files import read_table
from physlearn.spectra.files import example_spectrum
from physlearn.spectra.train_physae import spectra_recipe

FIT = ['fit', 'spectra', str(example_spectrum()), '--known', 'T=306K', 'P=487mbar', '--noise', '0.002']

def test_a_table_opens_in_pandas(tmp_path, capsys):
    "No line above the header; a unit behind each name that has one; Parquet has the same columns."
    for end in ('csv', 'parquet'): assert not main([*FIT, '--out', str(tmp_path/f'r.{end}')])
    t, same = pd.read_csv(tmp_path/'r.csv'), pd.read_parquet(tmp_path/'r.parquet')
    assert list(t) == list(same) and len(t) == 1 and t['method'][0] == 'fit by physics'
    assert t['P [mbar]'][0] == pytest.approx(487) and {'mf_CH4', 'mf_CH4_sd', 'step [1/cm]', 'step_sd [1/cm]'} <= set(t)
    back = read_table(tmp_path/'r.csv', columns=['P', 'mf_CH4'])
    assert back['P'][0] == pytest.approx(487) and back.meta['unit_P_low95'] == 'mbar'

SMALL = dict(train_samples=64, num_points=64, stage='A', epochs=40, lr=1e-20)
STALE = [(spectra_recipe('quick', val_samples=64, **SMALL)),
         (canopy_recipe('quick', val_samples=64, pretrain_samples=256, epochs_pretrain=40, lr_pretrain=1e-20))]

@pytest.mark.parametrize('recipe', STALE, ids=['spectra', 'canopy'])
def test_patience_ends_every_training(tmp_path, capsys, recipe):
    "At a rate that changes nothing, a training ends after `patience` epochs without a better one, and says so."
    run = replace(recipe, patience=2).fit(tmp_path/'run', evaluate=False)
    assert len(run.history['valid_loss']) <= 10 and 'stopped, no improvement of valid_loss for 2 epochs' in capsys.readouterr().out
    assert run.recipe.patience == 2

def test_patience_is_an_option(capsys):
    for name in ('spectra', 'canopy'):
        assert main(['train', name, 'quick', '--patience', '0']) == 2 and 'patience=0: expected 1 or more' in capsys.readouterr().err
