"""Every promise of the training guide of event generation: the test that keeps it, or the sentence a user reads where it is kept otherwise.

A row: section of the guide, by its heading; its words; what keeps them. `file::test` is a test, `notebook.ipynb#cell` a cell
that checks it; `page: words` is a place in the docs that says what is otherwise; `open: group` is a promise that nothing keeps
yet. The clauses of the guide are taken from it mechanically: none goes without a row."""
import json, re, shlex, textwrap
from dataclasses import fields, replace
from inspect import signature
from pathlib import Path
import numpy as np
import pytest
import torch
from guide_table import (HOME, cells, check_clauses, check_words, is_kept, left_of, open_groups, prose,
                         text_of_guide)
from physlearn.callbacks import EarlyStop, LossTerms, Plateau, tiny_learner
from physlearn.cli import from_words, main
from physlearn.desk import ON_RUNS, Compare, command_of, train_command
from physlearn.files import FileError
from physlearn.icecube.detector import Geometry
from physlearn.icecube.event_files import make_dataloader, write_guide
from physlearn.icecube.event_simulate import simulate
from physlearn.icecube.events import Events
from physlearn.icecube.train_genesis import PRESETS, EventRecipe, guide_options
from physlearn.instruments import find
from physlearn.processes import Tell, stages_of
from physlearn.recipes import read_recipe
from physlearn.runs import Recipe
from physlearn.train import PhysLearner, Stage, fit_stages, optimizer, read_state

STILL_OPEN = {}          # group: how many promises nothing keeps yet

OWN = 'tests/test_icecube_guide.py::'
DEFAULTS, HELD, TUPLES, LINES = (OWN + k for k in ('test_defaults', 'test_what_a_state_holds', 'test_batches', 'test_lines'))
CALLBACKS, TRAIN, FILES = 'nbs/00_core/05_callbacks.ipynb', 'nbs/00_core/06_train.ipynb', 'nbs/30_icecube/31a_event_files.ipynb'
STOPS, COSINE = (f'{CALLBACKS}#{cell}' for cell in ('5a7bba53', '4d78f04d'))
LOADER, LOADS, INFO, BACK = (f'{FILES}#{cell}' for cell in ('evfl0036', 'evfl0037', 'evfl0030', 'evfl0029'))
LOCKS = f'{FILES}: each process that needs the file opens it for itself, without locks'
OURS = f'{FILES}: `make_dataloader(path, batch_size=8)` gives batches'
NOISED, PRECISE = 'nbs/00_core/09_diffusion.ipynb#dif00069', f'{TRAIN}#95a2cf45'
WHOLE = f"{TRAIN}: A long epoch is better cut into shorter ones than saved in its middle"
REFUSED, REAL = (f'tests/test_icecube_kinds.py::{name}' for name in ('test_hostile', 'test_real_events'))
OPTIM, FEWER, LAST, FINITE = (f'tests/test_training.py::{name}' for name in
                              ('test_optimizers', 'test_fewer_states', 'test_early_stop_says_what_is_best', 'test_not_finite'))
ENDS, KILLED = 'tests/test_first_day.py::test_patience_ends_every_training', 'tests/test_resume.py::test_killed_after_the_last_epoch'
GPUS, TAGS, SENT = (f'tests/test_distributed.py::{name}' for name in ('test_weights', 'test_tensorboard', 'test_wandb'))

PAGE = 'nbs/tutorials/training_events.ipynb'
def said(words): return f'{PAGE}: {words}'
ASKED, YAML, DIRECTION, EXAMPLES = (OWN + k for k in ('test_commands', 'test_its_yaml_is_taken', 'test_direction', 'test_examples_of_stopping'))
STOP_TABLE, STOPPED, RATES, FITS, LOOP, OWN_LOSS = (f'{PAGE}#evg000{n}' for n in (25, 29, 32, 72, 81, 84))
SIZES, LIKE_TORCH, WARM, PLATEAU = (OWN + k for k in ('test_presets', 'test_schedules', 'test_warm_up', 'test_plateau_is_as_asked'))
INTERVALS = said('after each one the validation loss is computed, a row is logged and a state is saved')
PROJECT = said('WANDB_PROJECT=icecube-diffusion WANDB_ENTITY=your_username')
CHOICE = said('DiT for research, CNN for speed, Hybrid between them, says the guide')

PROMISES = [
    ('Basic Training', '# Train with default DiT architecture', ASKED),
    ('Basic Training', 'python scripts/train.py --config configs/default.yaml --data-path /path/to/your/data.h5', ASKED),
    ('Basic Training', '# Train with CNN architecture (faster)', said('# faster')),
    ('Basic Training', 'python scripts/train.py --config configs/cnn.yaml --data-path /path/to/your/data.h5', ASKED),
    ('Basic Training', '# Train with hybrid architecture (balanced)', said('# between the two')),
    ('Basic Training', 'python scripts/train.py --config configs/hybrid.yaml --data-path /path/to/your/data.h5', ASKED),
    ('Basic Training', '--config configs/default.yaml', ASKED),
    ('Basic Training', '--data-path data.h5', ASKED),
    ('Basic Training', 'python scripts/train.py --config configs/default.yaml --data-path data.h5', ASKED),
    ('Training with Custom Parameters', '# Override specific parameters', ASKED),
    ('Training with Custom Parameters',
     'python scripts/train.py --config configs/default.yaml --data-path /path/to/data.h5 --epochs 200 '
     '--batch-size 16 --lr 1e-4 --experiment-name "my_experiment"', ASKED),
    ('Training with Custom Parameters',
     'python scripts/train.py --config configs/default.yaml --data-path data.h5 --epochs 200 '
     '--batch-size 16 --lr 1e-4 --scheduler cosine --experiment-name "my_experiment"', ASKED),
    ('Training with Custom Parameters', '--epochs 200', ASKED),
    ('Training with Custom Parameters', '--batch-size 16', ASKED),
    ('Training with Custom Parameters', '--lr 1e-4', ASKED),
    ('Training with Custom Parameters', '--scheduler cosine', ASKED),
    ('Training with Custom Parameters', '--experiment-name "my_experiment"', ASKED),
    ('Available Configurations', 'The repository includes several pre-configured training setups', SIZES),
    ('Default Configuration (`configs/default.yaml`)', 'Architecture: DiT (Diffusion Transformer)', SIZES),
    ('Default Configuration (`configs/default.yaml`)', 'Use Case: High-quality generation, research', said('high-quality generation, research')),
    ('Default Configuration (`configs/default.yaml`)', 'Parameters: 512 hidden, 8 layers, 8 heads', SIZES),
    ('Default Configuration (`configs/default.yaml`)', 'Training: 100 epochs, batch size 8', SIZES),
    ('CNN Configuration (`configs/cnn.yaml`)', 'Architecture: CNN-based', SIZES),
    ('CNN Configuration (`configs/cnn.yaml`)', 'Use Case: Fast inference, production', said('fast inference, production')),
    ('CNN Configuration (`configs/cnn.yaml`)', 'Parameters: 256 hidden, 6 layers', SIZES),
    ('CNN Configuration (`configs/cnn.yaml`)', 'Training: 50 epochs, batch size 16', SIZES),
    ('Hybrid Configuration (`configs/hybrid.yaml`)', 'Architecture: CNN + Transformer hybrid', SIZES),
    ('Hybrid Configuration (`configs/hybrid.yaml`)', 'Use Case: Balanced speed/quality', said('balanced speed and quality')),
    ('Hybrid Configuration (`configs/hybrid.yaml`)', 'Parameters: 384 hidden, 6 layers, 6 heads', SIZES),
    ('Hybrid Configuration (`configs/hybrid.yaml`)', 'Training: 50 epochs, batch size 12', SIZES),
    ('Small Model Configuration (`configs/small_model.yaml`)', 'Architecture: DiT (smaller)', SIZES),
    ('Small Model Configuration (`configs/small_model.yaml`)', 'Use Case: Quick testing, limited resources', said('quick testing, limited resources')),
    ('Small Model Configuration (`configs/small_model.yaml`)', 'Parameters: 256 hidden, 4 layers, 4 heads', SIZES),
    ('Small Model Configuration (`configs/small_model.yaml`)', 'Training: 10 epochs, batch size 16', SIZES),
    ('Debug Configuration (`configs/debug.yaml`)', 'Architecture: DiT (minimal)', SIZES),
    ('Debug Configuration (`configs/debug.yaml`)', 'Use Case: Debugging, development', said('debugging, development')),
    ('Debug Configuration (`configs/debug.yaml`)', 'Parameters: 128 hidden, 2 layers, 2 heads', SIZES),
    ('Debug Configuration (`configs/debug.yaml`)', 'Training: 2 epochs, batch size 2', SIZES),
    ('Early Stopping',
     'Early stopping monitors a metric (e.g., validation loss) and stops training when it stops '
     'improving', ENDS),
    ('Early Stopping', 'GENESIS supports early stopping to prevent overfitting and save training time', STOPPED),
    ('Basic Usage', 'python scripts/train.py --data-path data.h5 --early-stopping --early-stopping-patience 20', ASKED),
    ('Basic Usage', '--early-stopping', ASKED),
    ('Basic Usage', '--early-stopping-patience 20', ASKED),
    ('Basic Usage', 'early_stopping: true', YAML),
    ('Basic Usage', 'early_stopping_patience: 20 # Stop after 20 epochs without improvement', YAML),
    ('Basic Usage', 'early_stopping_min_delta: 1e-4 # Minimum change to qualify as improvement', YAML),
    ('Basic Usage', 'early_stopping_mode: "min" # "min" for loss, "max" for accuracy', YAML),
    ('Basic Usage', 'early_stopping_restore_best: true # Restore best weights when stopping', YAML),
    ('Basic Usage', 'early_stopping_verbose: true # Print early stopping messages', YAML),
    ('Early Stopping Parameters', '`early_stopping` | bool | `false` | Enable/disable early stopping', STOP_TABLE),
    ('Early Stopping Parameters', '`early_stopping_patience` | int | `20` | Epochs to wait without improvement', DEFAULTS),
    ('Early Stopping Parameters',
     '`early_stopping_min_delta` | float | `1e-4` | Minimum change to qualify as improvement', DEFAULTS),
    ('Early Stopping Parameters',
     '`early_stopping_mode` | str | `"min"` | `"min"` or `"max"` for metric direction', DIRECTION),
    ('Early Stopping Parameters', '`early_stopping_baseline` | float | `null` | Baseline value for the metric', DEFAULTS),
    ('Early Stopping Parameters', '`early_stopping_restore_best` | bool | `true` | Restore best weights on stop', DEFAULTS),
    ('Early Stopping Parameters', '`early_stopping_verbose` | bool | `true` | Print early stopping status', DEFAULTS),
    ('Example Configurations', 'Conservative Early Stopping (Long Patience)', EXAMPLES),
    ('Example Configurations', 'num_epochs: 200', YAML),
    ('Example Configurations', 'scheduler: "cosine"', YAML),
    ('Example Configurations', 'early_stopping: true', YAML),
    ('Example Configurations', 'early_stopping_patience: 30 # Wait longer before stopping', YAML),
    ('Example Configurations', 'early_stopping_min_delta: 1e-5', YAML),
    ('Example Configurations', 'Aggressive Early Stopping (Short Patience)', EXAMPLES),
    ('Example Configurations', 'num_epochs: 100', YAML),
    ('Example Configurations', 'early_stopping_patience: 10 # Stop quickly', YAML),
    ('Example Configurations', 'early_stopping_min_delta: 1e-3 # Larger improvement threshold', YAML),
    ('Example Configurations', 'Early Stopping with Plateau Scheduler', EXAMPLES),
    ('Example Configurations', 'num_epochs: 300', YAML),
    ('Example Configurations', 'scheduler: "plateau"', YAML),
    ('Example Configurations', 'plateau_patience: 15', YAML),
    ('Example Configurations', 'early_stopping_patience: 30 # 2x plateau patience', EXAMPLES),
    ('Example Configurations', 'Disable Best Weight Restoration', LAST),
    ('Example Configurations',
     'python scripts/train.py --early-stopping --early-stopping-patience 15 --no-restore-best-weights '
     '# Keep final weights instead of best', ASKED),
    ('Example Configurations', '--no-restore-best-weights # Keep final weights instead of best', ASKED),
    ('Training Output with Early Stopping', 'Epoch 45 completed: loss=0.0123', LINES),
    ('Training Output with Early Stopping', 'EarlyStopping: No improvement for 1/20 epochs', STOPS),
    ('Training Output with Early Stopping', 'Epoch 46 completed: loss=0.0121', LINES),
    ('Training Output with Early Stopping', 'EarlyStopping: Metric improved to 0.012100', STOPS),
    ('Training Output with Early Stopping', 'Epoch 65 completed: loss=0.0118', LINES),
    ('Training Output with Early Stopping', 'EarlyStopping: No improvement for 20/20 epochs', STOPS),
    ('Training Output with Early Stopping', '🛑 Early stopping triggered at epoch 65', STOPPED),
    ('Training Output with Early Stopping', 'Best score: 0.011500 at epoch 45', STOPPED),
    ('Training Output with Early Stopping', '✅ Restored best model weights', STOPS),
    ('Learning Rate Schedulers', 'The repository supports multiple learning rate schedulers', RATES),
    ('Cosine Annealing', 'scheduler: "cosine"', YAML),
    ('Cosine Annealing', '# - warmup_ratio > 0 이면: total_steps × warmup_ratio 사용', WARM),
    ('Cosine Annealing', '# - 그 외: warmup_steps 사용', WARM),
    ('Cosine Annealing', 'warmup_steps: 1000', YAML),
    ('Cosine Annealing', 'warmup_ratio: 0.04', YAML),
    ('Cosine Annealing', '# Automatically uses CosineAnnealingLR', COSINE),
    ('Plateau (Reduce on Plateau)', 'scheduler: "plateau"', YAML),
    ('Plateau (Reduce on Plateau)', 'plateau_patience: 10', YAML),
    ('Plateau (Reduce on Plateau)', 'plateau_factor: 0.5', YAML),
    ('Plateau (Reduce on Plateau)', 'plateau_min_lr: 1e-6', YAML),
    ('Plateau (Reduce on Plateau)', '# Automatically uses ReduceLROnPlateau', PLATEAU),
    ('Linear Decay', 'scheduler: "linear"', YAML),
    ('Linear Decay', 'warmup_steps: 1000', YAML),
    ('Linear Decay', '# Automatically uses LinearLR', LIKE_TORCH),
    ('Step Decay', 'scheduler: "step"', YAML),
    ('Step Decay', 'step_size: 30', YAML),
    ('Step Decay', 'gamma: 0.1', YAML),
    ('Step Decay', '# Automatically uses StepLR', LIKE_TORCH),
    ('Architecture Selection', 'Use DiT for research and high quality', CHOICE),
    ('Architecture Selection', 'Use CNN for production and speed', CHOICE),
    ('Architecture Selection', 'Use Hybrid for balanced applications', CHOICE),
    ('Choosing the Right Architecture',
     'DiT | Research, high quality | Long-range dependencies, flexible | High memory, slow | High | '
     'Slow', said('`dit` | high, slow | all with all | 10 s, 0.62 GB | 65 s, 5.4 GB')),
    ('Choosing the Right Architecture',
     'CNN | Production, fast inference | Fast, memory efficient | Limited long-range | Low | Fast', said('`cnn` | low, fast | neighbours on a string | 0.49 s, 0.32 GB | 3.5 s, 0.92 GB')),
    ('Choosing the Right Architecture',
     'MLP | Prototyping, baselines | Simple, fast training | Limited expressiveness | Low | Fast', said('It is wrong about the MLP')),
    ('Choosing the Right Architecture',
     'Hybrid | Balanced applications | Local + global features | Complex | Medium | Medium', said('`hybrid` | medium, medium | neighbours, then all')),
    ('Choosing the Right Architecture',
     'ResNet | Stable training | Stable gradients, deep | Limited features | Medium | Medium', said('`resnet` | medium, medium | neighbours on a string | 1.5 s, 0.41 GB | 12 s, 2.0 GB')),
    ('For Research Applications', '# Use DiT with cosine annealing', said('for research: DiT with cosine annealing')),
    ('For Research Applications', 'python scripts/train.py --config configs/default.yaml --data-path data.h5', ASKED),
    ('For Production Deployment', '# Use CNN with plateau scheduler', said('that preset has `plateau`')),
    ('For Production Deployment', 'python scripts/train.py --config configs/cnn.yaml --data-path data.h5', ASKED),
    ('For Limited Resources', '# Use small model', said('for limited resources: the small model')),
    ('For Limited Resources', 'python scripts/train.py --config configs/small_model.yaml --data-path data.h5', ASKED),
    ('Data Format Requirements', 'Your HDF5 data file should contain', REFUSED),
    ('Data Format Requirements', '# Required datasets', REFUSED),
    ('Data Format Requirements', 'input: (N, 2, 5160) # PMT signals [npe, time]', REAL),
    ('Data Format Requirements', 'label: (N, 6) # Event conditions [Energy, Zenith, Azimuth, X, Y, Z]', BACK),
    ('Data Format Requirements', 'xpmt: (5160,) # PMT x-coordinates', LOADER),
    ('Data Format Requirements', 'ypmt: (5160,) # PMT y-coordinates', LOADER),
    ('Data Format Requirements', 'zpmt: (5160,) # PMT z-coordinates', LOADER),
    ('Data Format Requirements', '# Optional datasets', INFO),
    ('Data Format Requirements', 'info: (N, 9) # Additional event information', INFO),
    ('Data Preprocessing', 'Infinite Time Values: Replaces inf/-inf with configurable values', LOADS),
    ('Data Preprocessing', 'Memory Management: Efficient loading with SWMR support', LOCKS),
    ('Data Preprocessing', 'Batch Processing: Proper batching with geometry expansion', LOADER),
    ('Data Preprocessing', 'Data Types: Automatic conversion to float32', TUPLES),
    ('Data Splitting', 'Configure train/validation/test splits in your config', YAML),
    ('Data Splitting', 'train_ratio: 0.8', LOADS),
    ('Data Splitting', 'val_ratio: 0.1', LOADS),
    ('Data Splitting', 'test_ratio: 0.1', LOADS),
    ('Training Loop Overview', 'Data Loading: Load batches of neutrino events', TUPLES),
    ('Training Loop Overview', 'Forward Pass: Add noise and predict denoising', NOISED),
    ('Training Loop Overview', 'Loss Computation: MSE loss between predicted and actual noise', NOISED),
    ('Training Loop Overview', 'Backward Pass: Compute gradients', OPTIM),
    ('Training Loop Overview', 'Optimization: Update model parameters', OPTIM),
    ('Training Loop Overview', 'Logging: Record metrics and save checkpoints', HELD),
    ('Essential Parameters', 'num_epochs: 100 # Number of training epochs', YAML),
    ('Essential Parameters', 'learning_rate: 2e-4 # Initial learning rate', YAML),
    ('Essential Parameters', 'batch_size: 8 # Batch size', YAML),
    ('Essential Parameters', 'weight_decay: 0.01 # L2 regularization', YAML),
    ('Essential Parameters', 'grad_clip_norm: 1.0 # Gradient clipping', YAML),
    ('Advanced Parameters', 'optimizer: "AdamW" # Optimizer type', YAML),
    ('Advanced Parameters', 'scheduler: "cosine" # Learning rate scheduler', YAML),
    ('Advanced Parameters', '# Warmup 설정 (둘 다 제공되며 ratio가 우선)', WARM),
    ('Advanced Parameters', 'warmup_steps: 1000 # 절대 스텝 수 (ratio가 0이거나 미설정일 때 사용)', YAML),
    ('Advanced Parameters', 'warmup_ratio: 0.04 # 전체 스텝 대비 비율 (설정되면 이 값이 우선)', YAML),
    ('Advanced Parameters', 'use_amp: true # Mixed precision training', YAML),
    ('Advanced Parameters', 'log_interval: 50 # Logging frequency', INTERVALS),
    ('Advanced Parameters', 'save_interval: 1000 # Checkpoint frequency', INTERVALS),
    ('Advanced Parameters', 'eval_interval: 500 # Evaluation frequency', INTERVALS),
    ('Resume Training',
     'python scripts/train.py --config configs/default.yaml --data-path data.h5 '
     '--resume-from-checkpoint checkpoints/model_epoch_50.pt', ASKED),
    ('Resume Training', '--resume-from-checkpoint checkpoints/model_epoch_50.pt', ASKED),
    ('TensorBoard Logging', 'TensorBoard logs are automatically saved to `./logs/experiment_name/`', said('the guide\'s is `./logs/experiment_name/`')),
    ('TensorBoard Logging', 'tensorboard --logdir ./logs', said('tensorboard --logdir runs # then open http://localhost:6006')),
    ('TensorBoard Logging', '# View at http://localhost:6006', said('tensorboard --logdir runs # then open http://localhost:6006')),
    ('TensorBoard Logging', 'Available Metrics', TAGS),
    ('TensorBoard Logging', '`train/loss`: Training loss', said('`train/loss` | `train_loss`')),
    ('TensorBoard Logging', '`train/learning_rate`: Current learning rate', said('`train/learning_rate` | `lr`')),
    ('TensorBoard Logging', '`train/epoch`: Current epoch', said('`train/epoch` | the horizontal axis')),
    ('TensorBoard Logging', '`eval/loss`: Validation loss (if evaluation enabled)', said('`eval/loss` | `valid_loss`')),
    ('Weights & Biases Integration', 'use_wandb: true', YAML),
    ('Weights & Biases Integration', 'wandb_project: "icecube-diffusion"', PROJECT),
    ('Weights & Biases Integration', 'wandb_entity: "your_username"', PROJECT),
    ('Console Logging', 'Current epoch and step', said('number of the epoch, how many of all are done')),
    ('Console Logging', 'Training loss', LINES),
    ('Console Logging', 'Learning rate', LINES),
    ('Console Logging', 'Progress percentage', said('the progress within the epoch in per cent')),
    ('Automatic Checkpointing', 'Regular checkpoints: Every `save_interval` steps', WHOLE),
    ('Automatic Checkpointing', 'Best model: When validation loss improves', FEWER),
    ('Automatic Checkpointing', 'Final checkpoint: At the end of training', KILLED),
    ('Checkpoint Contents', "'epoch': current_epoch", HELD),
    ('Checkpoint Contents', "'global_step': current_step", HELD),
    ('Checkpoint Contents', "'model_state_dict': model_weights", HELD),
    ('Checkpoint Contents', "'optimizer_state_dict': optimizer_state", HELD),
    ('Checkpoint Contents', "'scheduler_state_dict': scheduler_state, # if applicable", HELD),
    ('Checkpoint Contents', "'best_loss': best_validation_loss", HELD),
    ('Checkpoint Contents', "'config': experiment_configuration", HELD),
    ('Resuming Training', '# Resume from specific checkpoint', said('There is no choice of another epoch')),
    ('Resuming Training', '--resume-from-checkpoint checkpoints/model_epoch_50.pt', ASKED),
    ('Resuming Training',
     'python scripts/train.py --config configs/default.yaml --data-path data.h5 '
     '--resume-from-checkpoint checkpoints/model_epoch_50.pt', ASKED),
    ('Resuming Training', '# Resume from best checkpoint', said('resume from the best checkpoint')),
    ('Resuming Training',
     'python scripts/train.py --config configs/default.yaml --data-path data.h5 '
     '--resume-from-checkpoint checkpoints/model_best.pt', ASKED),
    ('Hyperparameter Tuning', 'Start with default learning rates', said('Start with the default rate, 2e-4, and with `cosine`')),
    ('Hyperparameter Tuning', 'Use cosine annealing for stable training', said('Start with the default rate, 2e-4, and with `cosine`')),
    ('Hyperparameter Tuning', 'Tune batch size based on hardware', FITS),
    ('Cosine Annealing (Recommended)', 'scheduler: "cosine"', YAML),
    ('Cosine Annealing (Recommended)', 'learning_rate: 2e-4', YAML),
    ('Cosine Annealing (Recommended)', 'warmup_steps: 1000', YAML),
    ('Plateau Scheduler', 'scheduler: "plateau"', YAML),
    ('Plateau Scheduler', 'learning_rate: 2e-4', YAML),
    ('Plateau Scheduler', 'plateau_patience: 10', YAML),
    ('Plateau Scheduler', 'plateau_factor: 0.5', YAML),
    ('Plateau Scheduler', 'plateau_min_lr: 1e-6', YAML),
    ('DiT Architecture', 'architecture: "dit"', YAML),
    ('DiT Architecture', 'hidden: 512', YAML),
    ('DiT Architecture', 'depth: 8', YAML),
    ('DiT Architecture', 'heads: 8', YAML),
    ('DiT Architecture', 'fusion: "FiLM"', YAML),
    ('DiT Architecture', 'mlp_ratio: 4.0', YAML),
    ('CNN Architecture', 'architecture: "cnn"', YAML),
    ('CNN Architecture', 'hidden: 256', YAML),
    ('CNN Architecture', 'depth: 6', YAML),
    ('CNN Architecture', 'kernel_sizes: [3, 5, 7, 9]', YAML),
    ('Hybrid Architecture', 'architecture: "hybrid"', YAML),
    ('Hybrid Architecture', 'hidden: 384', YAML),
    ('Hybrid Architecture', 'depth: 6', YAML),
    ('Hybrid Architecture', 'heads: 6', YAML),
    ('Hybrid Architecture', 'kernel_size: 3', YAML),
    ('Batch Size Optimization', '8GB | 4-8', FITS),
    ('Batch Size Optimization', '16GB | 8-16', FITS),
    ('Batch Size Optimization', '24GB | 16-32', FITS),
    ('Batch Size Optimization', '32GB+ | 32-64', FITS),
    ('Out of Memory (OOM)', '# Reduce batch size', said('a smaller batch: `physlearn train icecube dit --batch-size 4`')),
    ('Out of Memory (OOM)', 'python scripts/train.py --config configs/default.yaml --batch-size 4', ASKED),
    ('Out of Memory (OOM)', '# Use smaller model', said('a smaller network: `physlearn train icecube small`')),
    ('Out of Memory (OOM)', 'python scripts/train.py --config configs/small_model.yaml', ASKED),
    ('Out of Memory (OOM)', '# Enable gradient checkpointing (if available)', said('`--checkpointing`: branches are computed again')),
    ('Training Loss Not Decreasing', '# Check learning rate', said('a lower rate: `physlearn train icecube dit --lr 1e-4`')),
    ('Training Loss Not Decreasing', 'python scripts/train.py --config configs/default.yaml --lr 1e-4', ASKED),
    ('Training Loss Not Decreasing', '# Enable debug mode', said('`physlearn train icecube debug`: compare with 1')),
    ('Training Loss Not Decreasing', 'python scripts/train.py --config configs/debug.yaml --debug', ASKED),
    ('Training Loss Not Decreasing', '# Check data quality', TUPLES),
    ('Training Loss Not Decreasing',
     'python -c "from dataloader.pmt_dataloader import make_dataloader; loader = '
     'make_dataloader(\'data.h5\'); print(next(iter(loader)))"', OURS),
    ('Slow Training', '# Use CNN architecture', said('**slow** | `physlearn train icecube cnn`')),
    ('Slow Training', 'python scripts/train.py --config configs/cnn.yaml', ASKED),
    ('Slow Training', '# Increase batch size', said('a larger batch: `physlearn train icecube dit --batch-size 16`')),
    ('Slow Training', 'python scripts/train.py --config configs/default.yaml --batch-size 16', ASKED),
    ('Slow Training', '# Enable mixed precision', PRECISE),
    ('Slow Training', '# (set use_amp: true in config)', YAML),
    ('NaN/Inf Values', '# Enable anomaly detection', FINITE),
    ('NaN/Inf Values', 'python scripts/train.py --config configs/debug.yaml --debug', ASKED),
    ('NaN/Inf Values', '# Check data preprocessing', REFUSED),
    ('NaN/Inf Values', '# (set replace_time_inf_with: 0.0 in config)', said('`replace_time_inf_with` is not used in training')),
    ('Debug Mode', 'python scripts/train.py --config configs/debug.yaml --debug', ASKED),
    ('Debug Mode', '--debug', ASKED),
    ('Debug Mode', 'Anomaly detection', FINITE),
    ('Debug Mode', 'Detailed error messages', FINITE),
    ('Debug Mode', 'Reduced model size', SIZES),
    ('Debug Mode', 'Frequent logging', INTERVALS),
    ('Custom Training Loop', 'For advanced users, you can create custom training loops', LOOP),
    ('Custom Training Loop', 'from models.factory import ModelFactory', said('`recipe.model(None)`: the network inside of its diffusion')),
    ('Custom Training Loop', 'from dataloader.pmt_dataloader import make_dataloader', OURS),
    ('Custom Training Loop', 'from config import load_config_from_file', said('`load_config_from_file("configs/default.yaml")` | `event_recipe(\'dit\')`')),
    ('Custom Training Loop', 'config = load_config_from_file("configs/default.yaml")', said('`load_config_from_file("configs/default.yaml")` | `event_recipe(\'dit\')`')),
    ('Custom Training Loop', 'model, diffusion = ModelFactory.create_model_and_diffusion(', said('`recipe.model(None)`: the network inside of its diffusion')),
    ('Custom Training Loop', 'config.model, config.diffusion, device="cuda"', said('`device="cuda"`')),
    ('Custom Training Loop', 'loader = make_dataloader(config.data.h5_path, batch_size=config.data.batch_size)', TUPLES),
    ('Custom Training Loop', 'for epoch in range(config.training.num_epochs)', LOOP),
    ('Custom Training Loop', 'for batch in loader', TUPLES),
    ('Custom Training Loop', 'x_sig, geom, label, idx = batch', TUPLES),
    ('Multi-GPU Training', 'For multi-GPU training', GPUS),
    ('Multi-GPU Training', "use PyTorch's DataParallel or DistributedDataParallel", said('`DistributedDataParallel` by way of accelerate')),
    ('Multi-GPU Training', '# DataParallel (single node, multiple GPUs)', said('`DataParallel` is not offered')),
    ('Multi-GPU Training', 'model = torch.nn.DataParallel(model)', said('`DataParallel` is not offered')),
    ('Multi-GPU Training', '# DistributedDataParallel (multiple nodes)', said('`DistributedDataParallel` by way of accelerate')),
    ('Multi-GPU Training', 'model = torch.nn.parallel.DistributedDataParallel(model)', said('`DistributedDataParallel` by way of accelerate')),
    ('Custom Loss Functions', 'You can implement custom loss functions by modifying the diffusion wrapper', OWN_LOSS),
    ('Custom Loss Functions', 'class CustomDiffusion(GaussianDiffusion)', OWN_LOSS),
    ('Custom Loss Functions', 'def loss(self, x0_sig, geom, label)', OWN_LOSS),
    ('Custom Loss Functions', 'return custom_loss', OWN_LOSS),
    ('Experiment Tracking', '# Enable all logging', said('--track wandb --out runs/dit_cosine_annealing_v1')),
    ('Experiment Tracking', 'use_wandb: true', YAML),
    ('Experiment Tracking', 'wandb_project: "icecube-diffusion"', PROJECT),
    ('Experiment Tracking', 'wandb_entity: "your_username"', PROJECT),
    ('Experiment Tracking', 'experiment_name: "dit_cosine_annealing_v1"', YAML),
    ('Start Small', 'Begin with debug configuration', said('start small | `physlearn train icecube debug`, then `small`')),
    ('Start Small', 'Use small model for initial testing', said('start small | `physlearn train icecube debug`, then `small`')),
    ('Start Small', 'Verify data loading and preprocessing', REFUSED),
    ('Monitor Training', 'Use TensorBoard for real-time monitoring', TAGS),
    ('Monitor Training', 'Set up Wandb for experiment tracking', SENT),
    ('Monitor Training', 'Save checkpoints frequently', WHOLE),
    ('Data Quality', 'Check for infinite values in time data', REFUSED),
    ('Data Quality', 'Normalize geometry coordinates', said('there are no geometry coordinates to normalize')),
    ('Data Quality', 'Verify event condition ranges', REFUSED),
    ('Research Workflow', '# 1. Start with debug configuration', ASKED),
    ('Research Workflow', 'python scripts/train.py --config configs/debug.yaml --data-path data.h5', ASKED),
    ('Research Workflow', '# 2. Move to small model', ASKED),
    ('Research Workflow', 'python scripts/train.py --config configs/small_model.yaml --data-path data.h5', ASKED),
    ('Research Workflow', '# 3. Full training with DiT', ASKED),
    ('Research Workflow',
     'python scripts/train.py --config configs/default.yaml --data-path data.h5 --epochs 200', ASKED),
    ('Research Workflow', '# 4. Evaluate results', said('compares two files, real and generated; that is `judge`')),
    ('Research Workflow', 'python evaluate.py --real-data data.h5 --generated-data generated.h5', ASKED),
    ('Research Workflow', '--real-data data.h5', ASKED),
    ('Research Workflow', '--generated-data generated.h5', ASKED),
    ('Production Workflow', '# 1. Quick test with CNN', ASKED),
    ('Production Workflow', 'python scripts/train.py --config configs/cnn.yaml --data-path data.h5 --epochs 10', ASKED),
    ('Production Workflow', '# 2. Full CNN training', ASKED),
    ('Production Workflow', 'python scripts/train.py --config configs/cnn.yaml --data-path data.h5 --epochs 100', ASKED),
    ('Production Workflow', '# 3. Generate samples', said('The checkpoint of the guide\'s `sample.py` is the run')),
    ('Production Workflow',
     'python sample.py --checkpoint checkpoints/cnn_best.pt --num-events 1000 --output '
     'production_samples.h5', ASKED),
    ('Production Workflow', '--checkpoint checkpoints/cnn_best.pt', ASKED),
    ('Production Workflow', '--num-events 1000', ASKED),
    ('Production Workflow', '--output production_samples.h5', ASKED),
    ('Comparison Workflow', '# 1. Train multiple architectures', ASKED),
    ('Comparison Workflow', '--config configs/dit.yaml', ASKED),
    ('Comparison Workflow',
     'python scripts/train.py --config configs/dit.yaml --data-path data.h5 --experiment-name '
     '"dit_experiment"', ASKED),
    ('Comparison Workflow',
     'python scripts/train.py --config configs/cnn.yaml --data-path data.h5 --experiment-name '
     '"cnn_experiment"', ASKED),
    ('Comparison Workflow',
     'python scripts/train.py --config configs/hybrid.yaml --data-path data.h5 --experiment-name '
     '"hybrid_experiment"', ASKED),
    ('Comparison Workflow', '# 2. Compare architectures', said('here runs are compared')),
    ('Comparison Workflow', 'python compare_architectures.py --architectures dit cnn hybrid', ASKED),
    ('Comparison Workflow', '--architectures dit cnn hybrid', ASKED),
    ('Comparison Workflow', '# 3. Evaluate all models', ASKED),
    ('Comparison Workflow',
     'python evaluate.py --real-data data.h5 --generated-data dit_samples.h5 --output '
     'dit_evaluation.png', ASKED),
    ('Comparison Workflow',
     'python evaluate.py --real-data data.h5 --generated-data cnn_samples.h5 --output '
     'cnn_evaluation.png', ASKED),
    ('Comparison Workflow',
     'python evaluate.py --real-data data.h5 --generated-data hybrid_samples.h5 --output '
     'hybrid_evaluation.png', ASKED),
    ('Comparison Workflow', '--output dit_evaluation.png', said('the guide\'s is one picture')),
]

# lines of the guide that introduce, or show how: they promise nothing of their own
AROUND = (
    'Enable via CLI:', 'Enable via Config:', '# Warmup 설정 요약', '| Parameter | Type | Default | Description |',
    '| Architecture | Best For | Strengths | Weaknesses | Memory | Speed |', '| GPU Memory | Recommended Batch Size |',
    'The dataloader automatically handles:', '# Start TensorBoard', 'Enable Wandb logging in your config:',
    'Training progress is logged to console with:', 'Checkpoints are saved automatically:', 'Each checkpoint contains:',
    'Choose batch size based on your hardware:', 'Enable debug mode for detailed error information:', 'Debug mode includes:',
    '# Load configuration', '# Create model and diffusion', '# Create data loader', '# Custom training loop',
    '# Your custom training logic here', '# Your custom loss computation', 'For comprehensive experiment tracking:',
    '# Custom experiment name', 'training:', 'model:', 'data:', 'pass',
    'This comprehensive training guide should help you successfully train GENESIS models for your IceCube neutrino event '
    'generation tasks!')
OUTSIDE = 'GENESIS Training Guide', 'Table of Contents'       # title and contents

@pytest.mark.parametrize('section, words, kept', PROMISES, ids=[f'{s}: {w[:40]}' for s, w, _ in PROMISES])
def test_is_kept_or_said(section, words, kept): assert is_kept(kept)

def test_how_many_are_open(): assert open_groups(PROMISES) == STILL_OPEN

# ------------------------------------------------------------------------------------------------ the guide, taken apart

@pytest.fixture(scope='module')
def guide(): return text_of_guide('icecube')

def test_words_are_the_guides(guide): check_words(PROMISES, guide)
def test_no_clause_is_without_a_row(guide): check_clauses(PROMISES, guide, AROUND, outside=OUTSIDE)

def of_guide(guide):
    "What it names: flags, keys of YAML files, files, programs, tags, parts of checkpoints, parameters of tables."
    blocks = re.findall(r'```(\w*)\n(.*?)```', guide, re.S)
    code = lambda kind: '\n'.join(text for k, text in blocks if k == kind)
    return dict(flags=set(re.findall(r'(?<!\w)--[a-z][a-z-]+', code('bash'))), yaml=set(re.findall(r'^ *(\w+):', code('yaml'), re.M)),
                files=set(re.findall(r'[\w/]+\.(?:yaml|pt|h5|png)', guide)), programs=set(re.findall(r'python ([\w/]+\.py)', guide)),
                tags=set(re.findall(r'`((?:train|eval)/\w+)`', guide)), state=set(re.findall(r"^    '(\w+)':", code('python'), re.M)),
                options=set(re.findall(r'^\| `(\w+)`', guide, re.M)), data=set(re.findall(r'^- (\w+):', code('python'), re.M)))

COUNTS = dict(flags=19, yaml=42, programs=4, tags=4, state=7, options=7, data=6)

def test_every_name_has_a_row(guide):
    "And a flag that stands in several commands has one of its own."
    found, said = of_guide(guide), [w for _, w, _ in PROMISES]
    for kind, names in found.items():
        assert [n for n in names if not any(n in w for w in said)] == [], kind
    assert [f for f in found['flags'] - {'--logdir'} if not any(re.match(f'{f}(?![-a-z])', w) for w in said)] == []
    assert [k for k in found['yaml'] - {'training', 'model', 'data'} if not any(w.startswith(f'{k}:') for w in said)] == []
    assert {k: len(found[k]) for k in COUNTS} == COUNTS

@pytest.mark.parametrize('more, word', [('- **Quality**: 4 GPUs', 'Quality'), ('python scripts/train.py --swap', 'swap'),
                                        ('| **Mamba** | Long events |', 'Mamba')])
def test_planted_clause(guide, more, word):
    "A clause that the guide might gain is named."
    with pytest.raises(AssertionError, match=word): test_no_clause_is_without_a_row(f'{guide}\n{more}')

def test_planted_number(guide):
    "So is a number that it might change, and a row that is lost."
    with pytest.raises(AssertionError, match='Epochs to wait'): test_words_are_the_guides(guide.replace('| int | `20` |', '| int | `25` |'))
    said = [w for s, w, _ in PROMISES if s == 'Data Splitting' and w != 'val_ratio: 0.1']
    assert left_of('val_ratio: 0.1', said) == 'val_ratio: 0.1'

# ------------------------------------------------------------------------------------------------ what the core keeps

def test_defaults():
    "The numbers of the guide's table; what they do is checked in the notebook of callbacks."
    wanted = dict(patience=20, min_delta=1e-4, baseline=None, restore_best=True, verbose=True)
    assert {k: signature(EarlyStop).parameters[k].default for k in wanted} == wanted

def test_what_a_state_holds(tmp_path):
    "Epoch, steps, weights, optimizer, schedule, best loss, configuration; and the metrics of each epoch."
    tiny = tiny_learner()
    learn = PhysLearner(tiny.dls, tiny.model, loss_func=tiny.loss_func, cbs=[LossTerms()], opt_func=optimizer())
    learn.remove_cbs([cb for cb in learn.cbs if cb.name == 'progress'])
    learn.logger = lambda row: None
    stage = Stage('train', 3, .05, cbs=lambda: [Plateau('valid_loss', 'max', patience=1)])
    rows = fit_stages(learn, [stage], tmp_path, recipe=dict(epochs=3), keep='all')
    tensors, plain_values = read_state(tmp_path/'00003')
    assert plain_values['epoch'] == 2 and plain_values['done'] == 3
    assert int(tensors['opt.0.step']) == 3*2                                          # two batches an epoch
    assert {k[6:] for k in tensors if k.startswith('model.')} == set(learn.model.state_dict())
    assert 'opt.0.exp_avg' in tensors and plain_values['opt']['groups'][0]['lr'] == rows[-1]['lr']
    assert plain_values['cbs']['Plateau']['rates'] == [.05/4]                         # the loss falls, 'max' wants a rise
    assert plain_values['best']['value'] == min(r['valid_loss'] for r in rows)
    assert plain_values['origin']['recipe'] == dict(epochs=3) and plain_values['rows'] == rows

def test_batches(tmp_path):
    "The loop of the guide, over its file."
    array = Geometry.hexagonal(7, 6)
    label = np.tile([1e4, 1., 2., 3., 4., 5.], (12, 1))
    events = Events(array, np.arange(13)*2, np.tile([3, 8], 12), np.ones(24), np.full(24, 9876.5), label)
    loader = make_dataloader(write_guide(events, tmp_path/'data.h5'), batch_size=4)
    seen = []
    for batch in loader:
        x_sig, geom, label, idx = batch
        assert (x_sig.shape, geom.shape, label.shape) == ((4, 2, 42), (4, 3, 42), (4, 6))
        assert {v.dtype for v in (x_sig, geom, label)} == {torch.float32}
        assert (x_sig[:,1,[3, 8]] == 9876.5).all() and x_sig.isfinite().all() and (x_sig[:,0].sum(1) == 2).all()
        seen += idx.tolist()
    assert sorted(seen) == list(range(12))

def test_lines(capsys):
    "One line for each epoch: the number, both losses, the rate."
    Tell(100)([dict(stage='train', epoch=44, train_loss=.0123, valid_loss=.0118, lr=2e-4)])
    assert re.match(r'  train epoch 45, 1 of 100: train 0.0123, valid 0.0118, rate 0.0002, [\d.]+ s\n$', capsys.readouterr().out)

# ------------------------------------------------------------------------------------------------ the guide's words, in ours

# flag of its programs: what is said instead. `train` stands for `physlearn train icecube`
FLAGS = {
    '--config': 'train PRESET: dit, cnn, hybrid, small, debug; a file of its own: --recipe FILE', '--data-path': '--data',
    '--epochs': '--epochs', '--batch-size': '--batch-size', '--lr': '--lr', '--scheduler': '--lr-scheduler',
    '--experiment-name': '--out runs/NAME', '--early-stopping': '--patience', '--early-stopping-patience': '--patience',
    '--no-restore-best-weights': '--weights last', '--resume-from-checkpoint': 'physlearn resume RUN; from the best: train --from RUN',
    '--debug': 'train debug', '--logdir': 'tensorboard --logdir runs', '--checkpoint': 'physlearn sample RUN',
    '--num-events': '--n', '--output': '--out', '--real-data': 'physlearn judge icecube REAL GENERATED',
    '--generated-data': 'physlearn judge icecube REAL GENERATED', '--architectures': 'physlearn compare RUN RUN ...'}

# key of its YAML files, or parameter of its tables: option of the recipe, and what becomes of the value
KEYS = dict(
    architecture=('network', 'the same words'), hidden=('hidden', ''), depth=('depth', ''), heads=('heads', ''),
    fusion=('fusion', 'FiLM or SUM'), mlp_ratio=('mlp_ratio', ''), kernel_sizes=('kernel_sizes', 'a list'),
    kernel_size=('kernel_sizes', 'one of them'), train_ratio=('train_ratio', ''), val_ratio=('val_ratio', ''),
    test_ratio=('test_ratio', ''), replace_time_inf_with=(None, 'a sensor without a hit has no time here'), h5_path=('data', 'as it stands'),
    num_epochs=('epochs', ''), learning_rate=('lr', ''), batch_size=('batch_size', ''),
    weight_decay=('weight_decay', ''), grad_clip_norm=('gradient_clip_val', ''), optimizer=('optimizer', 'AdamW: adamw'),
    use_amp=('precision', "true: '16', false: '32'"), scheduler=('lr_scheduler', 'the same words; null: constant'),
    warmup_steps=('warmup_steps', 'batches'), warmup_ratio=('warmup_ratio', 'above 0: of all batches, and warmup_steps does not count'),
    plateau_patience=('plateau_patience', 'epochs'), plateau_factor=('plateau_factor', ''), plateau_min_lr=('plateau_min_lr', ''),
    step_size=('step_size', 'epochs'), gamma=('gamma', ''), early_stopping=('patience', 'false: none'),
    early_stopping_patience=('patience', ''), early_stopping_min_delta=('min_delta', ''), early_stopping_mode=(None, 'min'),
    early_stopping_baseline=('baseline', ''), early_stopping_restore_best=('weights', 'false: last'),
    early_stopping_verbose=('stop_verbose', ''), log_interval=(None, 'a point for each epoch'),
    save_interval=(None, 'a state after each epoch'), eval_interval=(None, 'after each epoch'),
    use_wandb=('track', 'true: wandb'), wandb_project=(None, 'the variable WANDB_PROJECT'),
    wandb_entity=(None, 'the variable WANDB_ENTITY'), experiment_name=(None, 'the name of the run: --out runs/NAME'))
# options that the recipe of events has to bring; the others are those of every recipe
OF_EVENTS = {'data', 'network', 'hidden', 'depth', 'heads', 'fusion', 'mlp_ratio', 'kernel_sizes', 'train_ratio', 'val_ratio',
             'test_ratio', 'lr_scheduler', 'warmup_steps', 'warmup_ratio', 'plateau_patience', 'plateau_factor',
             'plateau_min_lr', 'step_size', 'gamma', 'min_delta', 'baseline', 'stop_verbose'}

def test_translation_is_whole(guide):
    "Each flag and key of the guide has its word; each option named for it is that of every recipe, or one that events bring."
    found = of_guide(guide)
    assert found['flags'] == set(FLAGS)
    code = re.findall(r'config\.data\.(\w+)|set (\w+): 0', guide)
    assert found['yaml'] - {'training', 'model', 'data'} | found['options'] | {a or b for a, b in code} == set(KEYS)
    assert {option for option, _ in KEYS.values()} - {None} - {f.name for f in fields(Recipe)} == OF_EVENTS
    assert OF_EVENTS <= {f.name for f in fields(EventRecipe)}

# ------------------------------------------------------------------------------------------------ files

def number(v):
    "A number of a YAML file; it takes 1e-4 for a word."
    try: return float(v)
    except (TypeError, ValueError): return v

def asked_in_file(told):
    "Options that a file of the guide asks for, by KEYS."
    out = {}
    for k, v in told.items():
        option = KEYS[k][0]
        if k == 'early_stopping': v = told.get('early_stopping_patience', 20) if v else None
        if k == 'early_stopping_patience' or option is None: continue
        if k in ('kernel_size', 'kernel_sizes'): v = tuple(v) if isinstance(v, list) else (v,)
        if k == 'optimizer': v = v.lower()
        if k == 'use_amp': v = '16' if v else '32'
        if k == 'use_wandb': v = 'wandb' if v else None
        if k == 'early_stopping_restore_best': v = 'best' if v else 'last'
        out[option] = v if option == 'precision' else number(v)
    return out

def files_of(guide): return [textwrap.dedent(t) for t in re.findall(r'```yaml\n(.*?)```', guide, re.S)]

def test_its_yaml_is_taken(guide, tmp_path, capsys):
    "Every configuration in the guide is read as it stands; each key sets the option that it should, and no other; what is not used is said."
    import yaml
    assert len(files_of(guide)) > 12
    seen = set()
    for i, text in enumerate(files_of(guide)):
        (tmp_path/f'{i}.yaml').write_text(text)
        read = yaml.safe_load(text)
        told = {k: v for part, values in read.items() for k, v in (values.items() if isinstance(values, dict) else [(part, values)])}
        options = read_recipe(tmp_path/f'{i}.yaml', EventRecipe)
        assert options == asked_in_file(told), text
        EventRecipe(**options).check()
        seen |= set(told)
    assert seen == of_guide(guide)['yaml'] - {'training', 'model', 'data'}
    out = capsys.readouterr().out
    for word in ('save_interval', 'eval_interval', 'log_interval', 'WANDB_PROJECT=icecube-diffusion', 'WANDB_ENTITY=your_username',
                 'runs/dit_cosine'): assert word in out, word

@pytest.mark.parametrize('more, option, value', [
    ('training: {early_stopping: true}', 'patience', 20), ('training: {early_stopping: false, early_stopping_patience: 5}', 'patience', None),
    ('training: {early_stopping_restore_best: false}', 'weights', 'last'), ('training: {early_stopping_baseline: 0.4}', 'baseline', .4),
    ('training: {scheduler: null}', 'lr_scheduler', 'constant'), ('training: {use_amp: false}', 'precision', '32'),
    ('use_wandb: false', 'track', None), ('data: {h5_path: data.h5}', 'data', ('data.h5',))])
def test_other_values_of_a_file(tmp_path, more, option, value):
    "What its blocks do not say, but its tables do."
    (tmp_path/'a.yaml').write_text(more)
    assert getattr(EventRecipe(**read_recipe(tmp_path/'a.yaml', EventRecipe)), option) == value

def test_direction(tmp_path):
    "A loss falls: the other direction is refused in a file; the callback has both, checked where it is made."
    (tmp_path/'a.yaml').write_text('training: {early_stopping_mode: max}')
    with pytest.raises(FileError, match='validation loss is what is watched'): read_recipe(tmp_path/'a.yaml', EventRecipe)
    assert 'early_stopping_mode: "max"` is refused' in prose(PAGE) and "'r2', 'max'" in cells(STOPS.split('#')[0])[STOPS.split('#')[1]]

def test_defaults_of_its_table(guide):
    "Its table of early stopping: our defaults, and how long a training waits that only says true."
    table = dict(re.findall(r'^\| `(early\w+)` \| \w+ \| `(.*?)` \|', guide, re.M))
    word = dict(false=None, true=True, null=None)
    asked = {k: word.get(v, number(v.strip('"'))) for k, v in table.items()}
    assert len(asked) == 7 and asked.pop('early_stopping_mode') == 'min'
    assert asked.pop('early_stopping_patience') == guide_options('a.yaml', dict(training=dict(early_stopping=True)))[0]['patience']
    assert asked.pop('early_stopping_restore_best') == (EventRecipe.weights == 'best')
    assert all(getattr(EventRecipe, KEYS[k][0]) == v for k, v in asked.items()), asked

def test_examples_of_stopping(guide):
    "Each of its examples reaches the callbacks of the training."
    text = guide.split('#### Example Configurations')[1].split('#### Training Output')[0]
    for words in re.findall(r'```yaml\n(.*?)```', text, re.S):
        told = dict(re.findall(r'(\w+): "?([^"\s]+)', words))
        line = next(w for w in re.findall(r'`(--epochs [^`]+)`', prose(PAGE)) if f"--patience {told['early_stopping_patience']}" in w
                    and f"--epochs {told['num_epochs']} " in w)
        recipe = options_of(['dit', *shlex.split(line)])
        (stage,) = stages_of(recipe)
        stop = next(cb for cb in stage.callbacks() if isinstance(cb, EarlyStop))
        wanted = int(told['early_stopping_patience']), float(told['early_stopping_min_delta']), int(told['num_epochs'])
        assert (stop.patience, stop.min_delta, stage.epochs) == wanted and stop.restore_best and stop.monitor == 'valid_loss'
        plateau = [cb.patience for cb in stage.callbacks() if isinstance(cb, Plateau)]
        assert plateau == ([int(told['plateau_patience'])] if 'plateau_patience' in told else [])

# ------------------------------------------------------------------------------------------------ schedules

def by_torch(make, epochs):
    "Rates of a scheduler of torch, epoch by epoch."
    opt = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    sched, out = make(opt), []
    for _ in range(epochs):
        out.append(opt.param_groups[0]['lr'])
        opt.step()
        sched.step()
    return out

def steered(**options):
    "The schedule of a training of 24 epochs without warm-up."
    recipe = replace(PRESETS['dit'], **dict(dict(events=40, epochs=24, lr=1e-3, warmup_ratio=0., warmup_steps=0), **options))
    (stage,) = recipe.stages()
    return stage.sched(stage.lr).scheds['lr'] if stage.sched else stage.callbacks()[0]

TORCH = dict(cosine=lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 24), step=lambda o: torch.optim.lr_scheduler.StepLR(o, 7, .3),
             linear=lambda o: torch.optim.lr_scheduler.LinearLR(o, 1., 0., total_iters=24))

@pytest.mark.parametrize('name', TORCH)
def test_schedules(name):
    "Rates are those of torch's scheduler that the guide names, with options that are not the usual ones."
    rate = steered(lr_scheduler=name, step_size=7, gamma=.3)
    np.testing.assert_allclose([rate(e, 24) for e in range(24)], by_torch(TORCH[name], 24), rtol=1e-9)

def test_plateau_is_as_asked():
    "So is what lowers the rate on a plateau."
    cb = steered(lr_scheduler='plateau', plateau_patience=3, plateau_factor=.2, plateau_min_lr=1e-5)
    assert (cb.patience, cb.factor, cb.min_lr, cb.monitor, cb.mode) == (3, .2, 1e-5, 'valid_loss', 'min')

@pytest.mark.parametrize('ratio, steps, rises', [(.25, 8, 6), (.25, 0, 6), (0., 8, 2), (0., 0, 0)])
def test_warm_up(ratio, steps, rises):
    "The ratio counts before the steps: 32 events in batches of 8 are 4 batches an epoch."
    rate = steered(lr_scheduler='linear', warmup_ratio=ratio, warmup_steps=steps)
    if rises: assert rate(0, 24) == 0 and rate(rises/2, 24) == pytest.approx(5e-4)
    assert rate(rises, 24) == pytest.approx(1e-3) and rate((rises + 24)/2, 24) == pytest.approx(5e-4)

# ------------------------------------------------------------------------------------------------ commands

def configurations(guide):
    "Options of its five configurations, from its words: by the name of the file."
    out, word = {}, r'\*\*: (.*)'
    for name, text in re.findall(r'^#### \d\. [^\n]* \(`configs/(\w+)\.yaml`\)\n(.*?)(?=^#)', guide, re.M | re.S):
        network, sizes, training = (re.search(rf'\*\*{k}{word}', text)[1] for k in ('Architecture', 'Parameters', 'Training'))
        numbers = {k: int(re.search(w, sizes + ', ' + training)[1]) for k, w in
                   dict(hidden=r'(\d+) hidden', depth=r'(\d+) layers', epochs=r'(\d+) epochs', batch_size=r'batch size (\d+)').items()}
        heads = re.search(r'(\d+) heads', sizes)
        kind = 'hybrid' if '+' in network else network.split()[0].split('-')[0].lower()
        out[name] = numbers | dict(network=kind) | (dict(heads=int(heads[1])) if heads else {})
    return out | dict(dit=out['default'])

def test_presets(guide):
    "The five configurations of the guide, number by number; and what its other sections say of the default."
    asked = configurations(guide)
    assert len(asked) == 6
    for name, options in asked.items():
        recipe = PRESETS[OF_CONFIG.get(name, name)]
        assert {k: getattr(recipe, k) for k in options} == options, name
    r = PRESETS['dit']
    assert (r.lr, r.weight_decay, r.gradient_clip_val, r.warmup_steps, r.warmup_ratio, r.step_size, r.gamma) == (2e-4, .01, 1., 1000, .04, 30, .1)
    assert (r.plateau_patience, r.plateau_factor, r.plateau_min_lr, r.min_delta, r.baseline) == (10, .5, 1e-6, 1e-4, None)
    assert (r.train_ratio, r.val_ratio, r.test_ratio, PRESETS['cnn'].kernel_sizes, r.lr_scheduler) == (.8, .1, .1, (3, 5, 7, 9), 'cosine')
    assert (PRESETS['hybrid'].kernel_sizes, r.fusion, r.mlp_ratio) == ((3,), 'FiLM', 4.)

def commands_of(guide):
    "Its command lines, each once, without what is not its own program."
    blocks = '\n'.join(re.findall(r'```bash\n(.*?)```', guide, re.S)).replace('\\\n', ' ')
    lines = [line.split('  #')[0] for line in blocks.splitlines() if line.startswith('python ') and not line.startswith('python -c')]
    return list(dict.fromkeys(' '.join(line.split()) for line in lines))

OF_CONFIG = dict(default='dit', small_model='small')
FLAG_OF = {'--data-path': 'data', '--epochs': 'epochs', '--batch-size': 'batch_size', '--lr': 'lr', '--scheduler': 'lr_scheduler'}

def given_in(command):
    "Program of a command of the guide, and what it is given by flag; several values as a list, none as True."
    _, script, *words = shlex.split(command)
    given, flag = {}, None
    for w in words:
        if w.startswith('--'): given[flag := w] = True
        elif given[flag] is True: given[flag] = w
        else: given[flag] = [*([given[flag]] if isinstance(given[flag], str) else given[flag]), w]
    return Path(script).name, given

def ours(command):
    "The same command in our words."
    program, given = given_in(command)
    if program == 'sample.py':
        run = Path(given['--checkpoint']).stem.removesuffix('_best')
        return f"physlearn sample runs/{run} --n {given['--num-events']} --out {given['--output']}"
    if program == 'evaluate.py':
        out = f" --out {Path(given.get('--output', 'judged')).stem}.html"
        return f"physlearn judge icecube {given['--real-data']} {given['--generated-data']}{out}"
    if program == 'compare_architectures.py': return ' '.join(['physlearn compare', *(f'runs/{k}_experiment' for k in given['--architectures'])])
    config = Path(given.get('--config', 'default.yaml')).stem
    preset, checkpoint = OF_CONFIG.get(config, config), given.get('--resume-from-checkpoint')
    if checkpoint: return f'physlearn train icecube --from runs/icecube-{preset}' if 'best' in checkpoint else f'physlearn resume runs/icecube-{preset}'
    words = ['physlearn train icecube', preset]
    for flag, value in given.items():
        if flag == '--data-path': words.append(f'--data {Path(value).name}')
        elif flag in FLAG_OF: words.append(f"--{FLAG_OF[flag].replace('_', '-')} {value}")
        elif flag == '--early-stopping-patience': words.append(f'--patience {value}')
        elif flag == '--early-stopping' and '--early-stopping-patience' not in given: words.append('--patience 20')
        elif flag == '--no-restore-best-weights': words.append('--weights last')
        elif flag == '--experiment-name': words.append(f'--out runs/{value}')
    return ' '.join(words)

def asked_in(command, configs):
    "Options that a command of the guide asks for: those of its configuration, and those that it names."
    _, given = given_in(command)
    options = dict(configs[Path(given.get('--config', 'default.yaml')).stem])
    options |= {option: number(given[flag]) for flag, option in FLAG_OF.items() if flag in given}
    if '--data-path' in given: options['data'] = (Path(given['--data-path']).name,)
    if '--early-stopping' in given: options['patience'] = int(given.get('--early-stopping-patience', 20))
    if '--no-restore-best-weights' in given: options['weights'] = 'last'
    if '--experiment-name' in given: options['out'] = f"runs/{given['--experiment-name']}"
    return options

def parsed(command, cls, words):
    "A command as the command line reads it."
    default, words = cls.defaults(words) if hasattr(cls, 'defaults') else (None, words)
    made, wrong = from_words(cls, words, command, default)
    assert not wrong, (command, words, wrong)
    return made

def options_of(words): return parsed('physlearn train icecube', train_command(find('icecube')), words)

def on_page(line):
    "Whether a command stands on the page, as it is or with where it writes to."
    text = '\n'.join(cells(PAGE).values())
    return re.search(re.escape(line) + r'( --out [\w./]+)?( *#.*)?(\n|`)', text) is not None

def of_program(command, verb, words):
    "One of ours for a program of the guide that is not its training: what it is given arrives."
    _, given = given_in(command)
    if verb == 'judge': words = words[1:]
    made = parsed(f'physlearn {verb}', Compare if verb == 'compare' else command_of(verb, find('icecube')), words)
    if verb == 'compare': assert made.folders == tuple(f'runs/{k}_experiment' for k in given['--architectures'])
    elif verb == 'sample': assert (made.folder, made.n, made.out) == ('runs/cnn', int(given['--num-events']), given['--output'])
    else:
        assert (made.real, made.generated) == (given['--real-data'], given['--generated-data'])
        assert made.out == f"{Path(given.get('--output', 'judged.png')).stem}.html"

def test_number_of_events():
    "Its word for how many events to generate is one of ours."
    for word in ('--n', '--num-events'):
        assert parsed('physlearn sample', command_of('sample', find('icecube')), ['runs/cnn', word, '1000']).n == 1000

def test_commands(guide):
    "Each command of the guide has one of ours, which stands on the page and asks for the same options."
    configs, lines = configurations(guide), commands_of(guide)
    assert len(lines) == 31, lines
    trained = 0
    for command in lines:
        line = ours(command)
        assert on_page(line), (command, line)
        _, verb, *words = shlex.split(line)
        if verb in ON_RUNS: assert words == ['runs/icecube-dit']
        elif verb != 'train': of_program(command, verb, words)
        if verb != 'train' or '--from' in words: continue
        made, asked = options_of(words[1:]), asked_in(command, configs)
        assert {k: getattr(made, k) for k in asked} == asked, command
        said_of = {k for k in asked if k not in ('network', 'hidden', 'depth', 'heads')} | {'out'}
        usual = PRESETS[words[1]]
        assert [f.name for f in fields(EventRecipe) if f.name not in said_of and getattr(made, f.name) != getattr(usual, f.name)] == []
        trained += 1
    assert trained == 23

def takes(cls, words):
    "Whether a command takes these words."
    default, words = cls.defaults(words) if hasattr(cls, 'defaults') else (None, words)
    return from_words(cls, words, 'x', default)[1] is None

def test_options_on_the_page():
    "Every option that the page names, with its value where there is one, and every preset, is one of the commands."
    text, instrument = prose(PAGE), find('icecube')
    train, sample = train_command(instrument), command_of('sample', instrument)
    others = [sample, *(command_of(verb, instrument) for verb in ('evaluate', 'judge', 'simulate'))]
    known = {f.name.replace('_', '-') for cls in (train, *others) for f in fields(cls)} | {'from', 'no-stop-verbose', 'help', 'logdir'}
    named = set(re.findall(r'`--([a-z][a-z-]+)', text)) | {w for line in re.findall(r'physlearn [^`\n#]*', text) for w in re.findall(r' --([a-z][a-z-]+)', line)}
    assert sorted(named - known - {flag[2:] for flag in FLAGS}) == []
    for line in re.findall(r'`(--[a-z][^`|]* [^`|]*)`', text):
        first, *_ = words = shlex.split(line)
        if first in FLAGS and first[2:] not in known or re.search('[A-Z]{3}', line): continue        # the guide's; a file of the reader's
        assert takes(train, ['dit', *words]) or takes(sample, ['runs/cnn', *words]), line
    presets = set(re.findall(r'physlearn train icecube ([a-z]\w*)', text))
    assert presets <= set(PRESETS) and presets >= {'dit', 'cnn', 'hybrid', 'small', 'debug'}

# ------------------------------------------------------------------------------------------------ figures

def test_costs_are_those_measured():
    "Seconds and memory of the page are those of the benchmark, to two digits."
    found = json.loads((HOME/'benchmarks/results/backbones.json').read_text())['raw']['found']
    text, two = prose(PAGE), lambda v: float(f'{v:.2g}')
    for name in ('dit', 'hybrid', 'mlp', 'resnet', 'cnn', 'small', 'debug'):
        row = re.search(rf'\| `{name}` \|([^|]*\|){{2}} ([\d.]+) s, ([\d.]+) GB \|.*? ([\d.]+) s, ([\d.]+) GB \|', text)
        step = found[f"{name} training step, batch 2, dropout 0.1{', depth 1' if name == 'hybrid' else ''}"]
        forward = found[f'{name} forward, batch 1']
        measured = [two(v) for v in (forward['cpu_s'], forward['gb'], step['cpu_s'], step['gb'])]
        assert [float(v) for v in row.groups()[1:]] == measured, name
    again = {k: found[f'{k} training step, batch 2, dropout 0.1, checkpointing'] for k in ('small', 'mlp', 'cnn', 'resnet')}
    more = [again[k]['cpu_s']/found[f'{k} training step, batch 2, dropout 0.1']['cpu_s'] for k in again]
    assert .35 < min(more) - 1 and max(more) - 1 < .65 and '40 to 60 % more time' in text
    assert [two(again[k]['gb']) for k in ('small', 'mlp')] == [1.1, 1.7] and '`small` 1.1 instead of 1.6 GB, `mlp` 1.7 instead of 3.3' in text
    former, now = (found[f'{k} training step, batch 2, dropout 0.1, depth 1']['gb'] for k in ('control: dit with dropout on attention weights', 'dit'))
    assert (two(former), two(now)) == (7.8, 1.2) and '7.8 instead of 1.2 GB' in text

# ------------------------------------------------------------------------------------------------ a workflow, as commands

def test_production_workflow(tmp_path, monkeypatch, capsys):
    "The guide's: train, generate, evaluate, with a network so small that it learns nothing; the judge sees that."
    monkeypatch.chdir(tmp_path)
    write_guide(simulate(160, 3, geometry=Geometry.hexagonal(7, 12), energy=(1e4, 1e5)), 'data.h5')
    for line in ('train icecube cnn --data data.h5 --epochs 1 --hidden 8 --depth 1 --out runs/cnn',
                 'sample runs/cnn --num-events 80 --steps 4 --out production_samples.h5',
                 'judge icecube data.h5 production_samples.h5 --out judged.html'):
        capsys.readouterr()
        assert main(shlex.split(line)) == 0, line
    said = capsys.readouterr().out
    assert Path('judged.html').stat().st_size > 1000 and 'AUC nan' not in said and 'not told apart' not in said.split('Judge:')[0]
