"""Every promise of the light curves' training guide: the test that keeps it, or the sentence a user reads where it is kept otherwise.

A row: section of the guide; its words; what keeps them. `file::test` is a test, `notebook.ipynb` a notebook whose cells check it; `page: words` is a
place in the docs that says what is otherwise; OPEN is a promise that nothing keeps yet."""
import os, re
from pathlib import Path
import pytest
from guide_table import is_kept

OPEN = 'open'
CATALOGUE, NET, TRAIN = (f'nbs/50_lightcurve/{name}.ipynb' for name in ('51b_xray_catalogue', '54_rnnvae', '55_train_lightcurve'))
FILES, SHARES, COPIES = (f'tests/test_{name}' for name in ('xray_files.py::test_bands', 'xray_catalogue.py::test_shares_and_words',
                                                           'xray_catalogue.py::test_copies'))
LOGS = 'tests/test_distributed.py::test_wandb'
PROMISES = [
    # network
    ('Encoder', 'Light curves from 3 energy bands (0.2-0.6, 0.6-2.3, 2.3-5.0 keV)', FILES),
    ('Encoder', 'GRU layers with configurable hidden size', NET),
    ('Encoder', 'Dropout for regularization', NET),
    ('Encoder', 'Processes variable-length sequences using packed sequences', NET),
    ('Encoder', 'Output: Hidden state representations', NET),
    ('Latent Space', 'Dimensionality: 40', NET),
    ('Latent Space', 'Implements VAE reparameterization trick', NET),
    ('Latent Space', 'Two linear layers for', NET),
    ('Decoder', 'Input: Sampled latent vectors', NET),
    ('Decoder', 'GRU layers matching encoder', NET),
    ('Decoder', 'Final linear layer for reconstruction', NET),
    ('Decoder', 'Exponential activation for positive Poisson rates', NET),
    # data
    ('Data Preparation', 'load_all_fits_files()', f'{CATALOGUE}: takes the folder'),
    ('Data Preparation', 'load_n_light_curves(16384, fits_files, band="all")', SHARES),
    ('Data Preparation', 'list(zip(lc_low, lc_med, lc_high))', f'{CATALOGUE}: the tuple of sets, without `zip`'),
    ('Data Partitioning', 'Training set: 85% of data', SHARES),
    ('Data Partitioning', 'Validation set: 5% of data', SHARES),
    ('Data Partitioning', 'Test set: 10% of data', SHARES),
    ('Data Partitioning', 'test_size=0.1', SHARES),
    ('Data Partitioning', 'val_size=0.05', f'{CATALOGUE}: of all light curves'),
    ('Data Partitioning', 'train_dataset, val_dataset, test_dataset = partition_data(', COPIES),
    ('Data Loading', 'Batch size: 32', TRAIN),
    ('Data Loading', 'Custom collate function for handling variable-length sequences', f'{TRAIN}: filled up to the longest of their batch'),
    ('Data Loading', 'Includes error measurements in the data loading process', 'tests/test_xray_files.py::test_errors'),
    ('Data Loading', 'collate_fn=collate_fn_err_mult', f'{TRAIN}: `collate_fn_err_mult`'),
    ('Data Loading', 'shuffle=True', TRAIN),
    # loss
    ('Loss', "torch.nn.MSELoss(reduction='sum')(x_hat, x)", NET),
    ('Loss', 'KLD = -0.001 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())', NET),
    ('Loss', 'Total loss is the sum of MSE and KLD', NET),
    ('Loss', 'KL coefficient: 0.001 (hardcoded in ELBO function)', f'{NET}: 0.0035 in its configuration'),
    # training
    ('Training Configuration', '"learning_rate": 1e-5', TRAIN),
    ('Training Configuration', '"architecture": "VAE"', f'{TRAIN}: `network` is the architecture'),
    ('Training Configuration', '"dataset": "16384 LCs"', TRAIN),
    ('Training Configuration', '"epochs": 12000', TRAIN),
    ('Training Configuration', '"latent_size": 40', NET),
    ('Training Configuration', '"KLD_coef": 0.0035', f'{NET}: 0.0035 in its configuration'),
    ('Model Parameters', 'Input size: 9', NET),
    ('Model Parameters', 'Hidden size: 64 (encoder and decoder)', NET),
    ('Model Parameters', 'Latent size: 40', NET),
    ('Model Parameters', 'Number of GRU layers: 2 (both in encoder and decoder)', NET),
    ('Model Parameters', 'Dropout rate: 0.2', NET),
    ('Training Process', 'Uses CUDA if available (automatically detected)', f'{TRAIN}: one is taken if there is one'),
    ('Training Process', 'Saves model checkpoints in .h5 format', f'{TRAIN}: safetensors in the run'),
    ('Training Process', 'Training loss', LOGS),
    ('Training Process', 'Model parameters', LOGS),
    ('Training Process', 'Benchmark graphs every 50 epochs', TRAIN),
    ('Training Process', 'Generates training plots in `<output-dir>/training_plots/`', f'{TRAIN}: `figures/` in the run'),
    ('Output', 'Checkpoints stored as .h5 files', f'{TRAIN}: safetensors in the run'),
    ('Output', 'Training plots saved to `<output-dir>/training_plots/`', f'{TRAIN}: `figures/` in the run'),
    ('Output', 'Benchmark graphs at each 50 epochs', TRAIN),
    # details
    ('Variable Length', '`pack_padded_sequence` and `pad_packed_sequence` in both encoder and decoder', NET),
    ('Variable Length', 'pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)', NET),
    ('Multi-band', 'Processes all three energy bands (0.2-0.6, 0.6-2.3, 2.3-5.0 keV) simultaneously', f'{NET}: *all* bands'),
    ('Multi-band', 'Custom collate function `collate_fn_err_mult` combines data from all bands', TRAIN),
    ('Multi-band', 'Preserves correlations between bands by processing them together in the same network', NET),
    ('Error Handling', 'Incorporates asymmetric error measurements (ERRM and ERRP) for each band', 'tests/test_xray_files.py::test_errors'),
    ('Error Handling', 'Custom collate function processes both lower and upper error bounds', TRAIN),
    ('Error Handling', '[rate_low, errm_low, errp_low, rate_med, errm_med, errp_med, rate_hi, errm_hi, errp_hi]', TRAIN),
    ('Monitoring', "Project name: 'allbands_16384_11k'", f'{TRAIN}: in a project of your own'),
    ('Monitoring', 'Tracks learning rate, architecture, dataset size, epochs', f'{TRAIN}: the recipe as configuration'),
    ('Monitoring', 'Records loss metrics and model performance', LOGS),
    ('Monitoring', 'Generates benchmark visualizations every 50 epochs', TRAIN),
    ('Monitoring', 'Saves training plots for analysis and debugging', f'{TRAIN}: `figures/` in the run'),
]
# nothing keeps these yet. Who keeps one takes it from OPEN and lowers this number
STILL_OPEN = 0

@pytest.mark.parametrize('section, words, kept', PROMISES, ids=[f'{s}: {w[:40]}' for s, w, _ in PROMISES])
def test_is_kept_or_said(section, words, kept): assert kept == OPEN or is_kept(kept)

def test_how_many_are_open():
    assert sum(kept == OPEN for *_, kept in PROMISES) <= STILL_OPEN

def test_words_are_the_guides():
    "Each row quotes the guide; no clause of its lists goes without a row."
    guide = Path(os.environ.get('PHYSLEARN_DATA', ''))/'../guides/lightcurve.md'
    if not guide.exists(): pytest.skip('the guide is not here')
    text = ' '.join(guide.read_text().split())
    assert [w for _, w, _ in PROMISES if ' '.join(w.split()) not in text] == []
    said = ' '.join(w for _, w, _ in PROMISES)
    assert [name for name in set(re.findall(r'\b[a-z]+(?:_[a-zA-Z]+)+\b', text)) if name not in said and name not in NAMES] == []

# names inside code of the guide that show how, and promise nothing of their own
NAMES = {'light_curves_sample', 'fits_files', 'lc_low', 'lc_med', 'lc_high', 'train_loader', 'train_dataset', 'val_dataset', 'test_dataset', 'batch_size',
         'packed_x', 'packed_output', 'x_hat', 'batch_first', 'enforce_sorted', 'rate_low', 'rate_med', 'rate_hi', 'training_plots', 'errm_low'}

def test_an_old_checkpoint(tmp_path):
    "A run begins with it, and is whole without it; of one band, as the original's, the others begin untrained."
    import torch
    from physlearn.lightcurve.rnnvae import GuideVAE
    from physlearn.lightcurve.train_lightcurve import lightcurve_recipe
    from physlearn.runs import Run
    old, file = GuideVAE(9, 1, 8, 4, 1), tmp_path/'old.h5'
    torch.save(old.state_dict(), file)
    small = dict(sources=60, epochs=1, lr=1e-12, weight_decay=0., hidden=8, latent_size=4, layers=1, gpus=0)
    run = lightcurve_recipe('guide', state=str(file), **small).fit(tmp_path/'run', quiet=True, evaluate=False)
    file.unlink()
    had, got = old.state_dict(), Run.load(run.path).model.state_dict()
    for k, v in had.items(): torch.testing.assert_close(got[k][:1] if k.startswith('rate.') else got[k], v, atol=1e-6, rtol=0)
    torch.save(GuideVAE(9, 1, 12, 4, 1).state_dict(), file)
    with pytest.raises(ValueError, match='--hidden 12'): lightcurve_recipe('guide', state=str(file), **small).fit(tmp_path/'other', quiet=True)
    with pytest.raises(ValueError, match='--network guide'): lightcurve_recipe('quick', state=str(file)).check()
    with pytest.raises(ValueError, match='in 3 bands'): lightcurve_recipe('variability', bands=2).check()
    assert not (tmp_path/'other').exists()
