"""Every promise of the training guide of event generation: the test that keeps it, or the sentence a user reads where it is kept otherwise.

A row: section of the guide, by its heading; its words; what keeps them. `file::test` is a test, `notebook.ipynb#cell` a cell
that checks it; `page: words` is a place in the docs that says what is otherwise; `open: group` is a promise that nothing keeps
yet. The clauses of the guide are taken from it mechanically: none goes without a row."""
import json, os, re
from collections import Counter
from dataclasses import fields
from inspect import signature
from pathlib import Path
import numpy as np
import pytest
import torch
from physlearn.callbacks import EarlyStop, LossTerms, Plateau, tiny_learner
from physlearn.icecube.detector import Geometry
from physlearn.icecube.event_files import make_dataloader, write_guide
from physlearn.icecube.events import Events
from physlearn.runs import Recipe, Tell
from physlearn.train import PhysLearner, Stage, fit_stages, optimizer, read_state

HOME = Path(__file__).parent.parent
OPEN = 'open: '
COMMANDS, PRESETS, STOPPING, SCHEDULES, NETWORKS, LOGGING, STATES, TRAINING, DEBUG, SAMPLE, EVALUATE, COMPARE, ADVICE = (
    OPEN + k for k in ('commands and configuration files', 'presets', 'early stopping', 'schedules', 'networks', 'logging',
                       'checkpoints', 'training', 'debug', 'sample', 'evaluate', 'compare', 'advice'))
# nothing keeps these yet. Who keeps one takes it from its group and lowers the number
STILL_OPEN = {
    'commands and configuration files': 50, 'networks': 36, 'schedules': 32, 'presets': 25,
    'early stopping': 25, 'logging': 20, 'training': 17, 'checkpoints': 9, 'evaluate': 9, 'debug': 5,
    'sample': 5, 'advice': 4, 'compare': 4}

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

PROMISES = [
    ('Basic Training', '# Train with default DiT architecture', COMMANDS),
    ('Basic Training', 'python scripts/train.py --config configs/default.yaml --data-path /path/to/your/data.h5', COMMANDS),
    ('Basic Training', '# Train with CNN architecture (faster)', NETWORKS),
    ('Basic Training', 'python scripts/train.py --config configs/cnn.yaml --data-path /path/to/your/data.h5', COMMANDS),
    ('Basic Training', '# Train with hybrid architecture (balanced)', NETWORKS),
    ('Basic Training', 'python scripts/train.py --config configs/hybrid.yaml --data-path /path/to/your/data.h5', COMMANDS),
    ('Basic Training', '--config configs/default.yaml', COMMANDS),
    ('Basic Training', '--data-path data.h5', COMMANDS),
    ('Basic Training', 'python scripts/train.py --config configs/default.yaml --data-path data.h5', COMMANDS),
    ('Training with Custom Parameters', '# Override specific parameters', COMMANDS),
    ('Training with Custom Parameters',
     'python scripts/train.py --config configs/default.yaml --data-path /path/to/data.h5 --epochs 200 '
     '--batch-size 16 --lr 1e-4 --experiment-name "my_experiment"', COMMANDS),
    ('Training with Custom Parameters',
     'python scripts/train.py --config configs/default.yaml --data-path data.h5 --epochs 200 '
     '--batch-size 16 --lr 1e-4 --scheduler cosine --experiment-name "my_experiment"', COMMANDS),
    ('Training with Custom Parameters', '--epochs 200', COMMANDS),
    ('Training with Custom Parameters', '--batch-size 16', COMMANDS),
    ('Training with Custom Parameters', '--lr 1e-4', COMMANDS),
    ('Training with Custom Parameters', '--scheduler cosine', SCHEDULES),
    ('Training with Custom Parameters', '--experiment-name "my_experiment"', LOGGING),
    ('Available Configurations', 'The repository includes several pre-configured training setups', PRESETS),
    ('Default Configuration (`configs/default.yaml`)', 'Architecture: DiT (Diffusion Transformer)', PRESETS),
    ('Default Configuration (`configs/default.yaml`)', 'Use Case: High-quality generation, research', NETWORKS),
    ('Default Configuration (`configs/default.yaml`)', 'Parameters: 512 hidden, 8 layers, 8 heads', PRESETS),
    ('Default Configuration (`configs/default.yaml`)', 'Training: 100 epochs, batch size 8', PRESETS),
    ('CNN Configuration (`configs/cnn.yaml`)', 'Architecture: CNN-based', PRESETS),
    ('CNN Configuration (`configs/cnn.yaml`)', 'Use Case: Fast inference, production', NETWORKS),
    ('CNN Configuration (`configs/cnn.yaml`)', 'Parameters: 256 hidden, 6 layers', PRESETS),
    ('CNN Configuration (`configs/cnn.yaml`)', 'Training: 50 epochs, batch size 16', PRESETS),
    ('Hybrid Configuration (`configs/hybrid.yaml`)', 'Architecture: CNN + Transformer hybrid', PRESETS),
    ('Hybrid Configuration (`configs/hybrid.yaml`)', 'Use Case: Balanced speed/quality', NETWORKS),
    ('Hybrid Configuration (`configs/hybrid.yaml`)', 'Parameters: 384 hidden, 6 layers, 6 heads', PRESETS),
    ('Hybrid Configuration (`configs/hybrid.yaml`)', 'Training: 50 epochs, batch size 12', PRESETS),
    ('Small Model Configuration (`configs/small_model.yaml`)', 'Architecture: DiT (smaller)', PRESETS),
    ('Small Model Configuration (`configs/small_model.yaml`)', 'Use Case: Quick testing, limited resources', NETWORKS),
    ('Small Model Configuration (`configs/small_model.yaml`)', 'Parameters: 256 hidden, 4 layers, 4 heads', PRESETS),
    ('Small Model Configuration (`configs/small_model.yaml`)', 'Training: 10 epochs, batch size 16', PRESETS),
    ('Debug Configuration (`configs/debug.yaml`)', 'Architecture: DiT (minimal)', PRESETS),
    ('Debug Configuration (`configs/debug.yaml`)', 'Use Case: Debugging, development', PRESETS),
    ('Debug Configuration (`configs/debug.yaml`)', 'Parameters: 128 hidden, 2 layers, 2 heads', PRESETS),
    ('Debug Configuration (`configs/debug.yaml`)', 'Training: 2 epochs, batch size 2', PRESETS),
    ('Early Stopping',
     'Early stopping monitors a metric (e.g., validation loss) and stops training when it stops '
     'improving', ENDS),
    ('Early Stopping', 'GENESIS supports early stopping to prevent overfitting and save training time', STOPPING),
    ('Basic Usage', 'python scripts/train.py --data-path data.h5 --early-stopping --early-stopping-patience 20', STOPPING),
    ('Basic Usage', '--early-stopping', STOPPING),
    ('Basic Usage', '--early-stopping-patience 20', STOPPING),
    ('Basic Usage', 'early_stopping: true', STOPPING),
    ('Basic Usage', 'early_stopping_patience: 20 # Stop after 20 epochs without improvement', STOPPING),
    ('Basic Usage', 'early_stopping_min_delta: 1e-4 # Minimum change to qualify as improvement', STOPPING),
    ('Basic Usage', 'early_stopping_mode: "min" # "min" for loss, "max" for accuracy', STOPPING),
    ('Basic Usage', 'early_stopping_restore_best: true # Restore best weights when stopping', STOPPING),
    ('Basic Usage', 'early_stopping_verbose: true # Print early stopping messages', STOPPING),
    ('Early Stopping Parameters', '`early_stopping` | bool | `false` | Enable/disable early stopping', STOPPING),
    ('Early Stopping Parameters', '`early_stopping_patience` | int | `20` | Epochs to wait without improvement', DEFAULTS),
    ('Early Stopping Parameters',
     '`early_stopping_min_delta` | float | `1e-4` | Minimum change to qualify as improvement', DEFAULTS),
    ('Early Stopping Parameters',
     '`early_stopping_mode` | str | `"min"` | `"min"` or `"max"` for metric direction', STOPPING),
    ('Early Stopping Parameters', '`early_stopping_baseline` | float | `null` | Baseline value for the metric', DEFAULTS),
    ('Early Stopping Parameters', '`early_stopping_restore_best` | bool | `true` | Restore best weights on stop', DEFAULTS),
    ('Early Stopping Parameters', '`early_stopping_verbose` | bool | `true` | Print early stopping status', DEFAULTS),
    ('Example Configurations', 'Conservative Early Stopping (Long Patience)', STOPPING),
    ('Example Configurations', 'num_epochs: 200', COMMANDS),
    ('Example Configurations', 'scheduler: "cosine"', SCHEDULES),
    ('Example Configurations', 'early_stopping: true', STOPPING),
    ('Example Configurations', 'early_stopping_patience: 30 # Wait longer before stopping', STOPPING),
    ('Example Configurations', 'early_stopping_min_delta: 1e-5', STOPPING),
    ('Example Configurations', 'Aggressive Early Stopping (Short Patience)', STOPPING),
    ('Example Configurations', 'num_epochs: 100', COMMANDS),
    ('Example Configurations', 'early_stopping_patience: 10 # Stop quickly', STOPPING),
    ('Example Configurations', 'early_stopping_min_delta: 1e-3 # Larger improvement threshold', STOPPING),
    ('Example Configurations', 'Early Stopping with Plateau Scheduler', STOPPING),
    ('Example Configurations', 'num_epochs: 300', COMMANDS),
    ('Example Configurations', 'scheduler: "plateau"', SCHEDULES),
    ('Example Configurations', 'plateau_patience: 15', SCHEDULES),
    ('Example Configurations', 'early_stopping_patience: 30 # 2x plateau patience', STOPPING),
    ('Example Configurations', 'Disable Best Weight Restoration', LAST),
    ('Example Configurations',
     'python scripts/train.py --early-stopping --early-stopping-patience 15 --no-restore-best-weights '
     '# Keep final weights instead of best', STOPPING),
    ('Example Configurations', '--no-restore-best-weights # Keep final weights instead of best', STOPPING),
    ('Training Output with Early Stopping', 'Epoch 45 completed: loss=0.0123', LINES),
    ('Training Output with Early Stopping', 'EarlyStopping: No improvement for 1/20 epochs', STOPS),
    ('Training Output with Early Stopping', 'Epoch 46 completed: loss=0.0121', LINES),
    ('Training Output with Early Stopping', 'EarlyStopping: Metric improved to 0.012100', STOPS),
    ('Training Output with Early Stopping', 'Epoch 65 completed: loss=0.0118', LINES),
    ('Training Output with Early Stopping', 'EarlyStopping: No improvement for 20/20 epochs', STOPS),
    ('Training Output with Early Stopping', '🛑 Early stopping triggered at epoch 65', STOPPING),
    ('Training Output with Early Stopping', 'Best score: 0.011500 at epoch 45', STOPPING),
    ('Training Output with Early Stopping', '✅ Restored best model weights', STOPS),
    ('Learning Rate Schedulers', 'The repository supports multiple learning rate schedulers', SCHEDULES),
    ('Cosine Annealing', 'scheduler: "cosine"', SCHEDULES),
    ('Cosine Annealing', '# - warmup_ratio > 0 이면: total_steps × warmup_ratio 사용', SCHEDULES),
    ('Cosine Annealing', '# - 그 외: warmup_steps 사용', SCHEDULES),
    ('Cosine Annealing', 'warmup_steps: 1000', SCHEDULES),
    ('Cosine Annealing', 'warmup_ratio: 0.04', SCHEDULES),
    ('Cosine Annealing', '# Automatically uses CosineAnnealingLR', COSINE),
    ('Plateau (Reduce on Plateau)', 'scheduler: "plateau"', SCHEDULES),
    ('Plateau (Reduce on Plateau)', 'plateau_patience: 10', SCHEDULES),
    ('Plateau (Reduce on Plateau)', 'plateau_factor: 0.5', SCHEDULES),
    ('Plateau (Reduce on Plateau)', 'plateau_min_lr: 1e-6', SCHEDULES),
    ('Plateau (Reduce on Plateau)', '# Automatically uses ReduceLROnPlateau', SCHEDULES),
    ('Linear Decay', 'scheduler: "linear"', SCHEDULES),
    ('Linear Decay', 'warmup_steps: 1000', SCHEDULES),
    ('Linear Decay', '# Automatically uses LinearLR', SCHEDULES),
    ('Step Decay', 'scheduler: "step"', SCHEDULES),
    ('Step Decay', 'step_size: 30', SCHEDULES),
    ('Step Decay', 'gamma: 0.1', SCHEDULES),
    ('Step Decay', '# Automatically uses StepLR', SCHEDULES),
    ('Architecture Selection', 'Use DiT for research and high quality', NETWORKS),
    ('Architecture Selection', 'Use CNN for production and speed', NETWORKS),
    ('Architecture Selection', 'Use Hybrid for balanced applications', NETWORKS),
    ('Choosing the Right Architecture',
     'DiT | Research, high quality | Long-range dependencies, flexible | High memory, slow | High | '
     'Slow', NETWORKS),
    ('Choosing the Right Architecture',
     'CNN | Production, fast inference | Fast, memory efficient | Limited long-range | Low | Fast', NETWORKS),
    ('Choosing the Right Architecture',
     'MLP | Prototyping, baselines | Simple, fast training | Limited expressiveness | Low | Fast', NETWORKS),
    ('Choosing the Right Architecture',
     'Hybrid | Balanced applications | Local + global features | Complex | Medium | Medium', NETWORKS),
    ('Choosing the Right Architecture',
     'ResNet | Stable training | Stable gradients, deep | Limited features | Medium | Medium', NETWORKS),
    ('For Research Applications', '# Use DiT with cosine annealing', PRESETS),
    ('For Research Applications', 'python scripts/train.py --config configs/default.yaml --data-path data.h5', COMMANDS),
    ('For Production Deployment', '# Use CNN with plateau scheduler', PRESETS),
    ('For Production Deployment', 'python scripts/train.py --config configs/cnn.yaml --data-path data.h5', COMMANDS),
    ('For Limited Resources', '# Use small model', PRESETS),
    ('For Limited Resources', 'python scripts/train.py --config configs/small_model.yaml --data-path data.h5', COMMANDS),
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
    ('Data Splitting', 'Configure train/validation/test splits in your config', COMMANDS),
    ('Data Splitting', 'train_ratio: 0.8', LOADS),
    ('Data Splitting', 'val_ratio: 0.1', LOADS),
    ('Data Splitting', 'test_ratio: 0.1', LOADS),
    ('Training Loop Overview', 'Data Loading: Load batches of neutrino events', TUPLES),
    ('Training Loop Overview', 'Forward Pass: Add noise and predict denoising', NOISED),
    ('Training Loop Overview', 'Loss Computation: MSE loss between predicted and actual noise', NOISED),
    ('Training Loop Overview', 'Backward Pass: Compute gradients', OPTIM),
    ('Training Loop Overview', 'Optimization: Update model parameters', OPTIM),
    ('Training Loop Overview', 'Logging: Record metrics and save checkpoints', HELD),
    ('Essential Parameters', 'num_epochs: 100 # Number of training epochs', COMMANDS),
    ('Essential Parameters', 'learning_rate: 2e-4 # Initial learning rate', COMMANDS),
    ('Essential Parameters', 'batch_size: 8 # Batch size', COMMANDS),
    ('Essential Parameters', 'weight_decay: 0.01 # L2 regularization', COMMANDS),
    ('Essential Parameters', 'grad_clip_norm: 1.0 # Gradient clipping', COMMANDS),
    ('Advanced Parameters', 'optimizer: "AdamW" # Optimizer type', COMMANDS),
    ('Advanced Parameters', 'scheduler: "cosine" # Learning rate scheduler', SCHEDULES),
    ('Advanced Parameters', '# Warmup 설정 (둘 다 제공되며 ratio가 우선)', SCHEDULES),
    ('Advanced Parameters', 'warmup_steps: 1000 # 절대 스텝 수 (ratio가 0이거나 미설정일 때 사용)', SCHEDULES),
    ('Advanced Parameters', 'warmup_ratio: 0.04 # 전체 스텝 대비 비율 (설정되면 이 값이 우선)', SCHEDULES),
    ('Advanced Parameters', 'use_amp: true # Mixed precision training', COMMANDS),
    ('Advanced Parameters', 'log_interval: 50 # Logging frequency', LOGGING),
    ('Advanced Parameters', 'save_interval: 1000 # Checkpoint frequency', STATES),
    ('Advanced Parameters', 'eval_interval: 500 # Evaluation frequency', STATES),
    ('Resume Training',
     'python scripts/train.py --config configs/default.yaml --data-path data.h5 '
     '--resume-from-checkpoint checkpoints/model_epoch_50.pt', STATES),
    ('Resume Training', '--resume-from-checkpoint checkpoints/model_epoch_50.pt', STATES),
    ('TensorBoard Logging', 'TensorBoard logs are automatically saved to `./logs/experiment_name/`', LOGGING),
    ('TensorBoard Logging', 'tensorboard --logdir ./logs', LOGGING),
    ('TensorBoard Logging', '# View at http://localhost:6006', LOGGING),
    ('TensorBoard Logging', 'Available Metrics', TAGS),
    ('TensorBoard Logging', '`train/loss`: Training loss', LOGGING),
    ('TensorBoard Logging', '`train/learning_rate`: Current learning rate', LOGGING),
    ('TensorBoard Logging', '`train/epoch`: Current epoch', LOGGING),
    ('TensorBoard Logging', '`eval/loss`: Validation loss (if evaluation enabled)', LOGGING),
    ('Weights & Biases Integration', 'use_wandb: true', LOGGING),
    ('Weights & Biases Integration', 'wandb_project: "icecube-diffusion"', LOGGING),
    ('Weights & Biases Integration', 'wandb_entity: "your_username"', LOGGING),
    ('Console Logging', 'Current epoch and step', LOGGING),
    ('Console Logging', 'Training loss', LINES),
    ('Console Logging', 'Learning rate', LINES),
    ('Console Logging', 'Progress percentage', LOGGING),
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
    ('Resuming Training', '# Resume from specific checkpoint', STATES),
    ('Resuming Training', '--resume-from-checkpoint checkpoints/model_epoch_50.pt', STATES),
    ('Resuming Training',
     'python scripts/train.py --config configs/default.yaml --data-path data.h5 '
     '--resume-from-checkpoint checkpoints/model_epoch_50.pt', STATES),
    ('Resuming Training', '# Resume from best checkpoint', STATES),
    ('Resuming Training',
     'python scripts/train.py --config configs/default.yaml --data-path data.h5 '
     '--resume-from-checkpoint checkpoints/model_best.pt', STATES),
    ('Hyperparameter Tuning', 'Start with default learning rates', ADVICE),
    ('Hyperparameter Tuning', 'Use cosine annealing for stable training', ADVICE),
    ('Hyperparameter Tuning', 'Tune batch size based on hardware', NETWORKS),
    ('Cosine Annealing (Recommended)', 'scheduler: "cosine"', SCHEDULES),
    ('Cosine Annealing (Recommended)', 'learning_rate: 2e-4', COMMANDS),
    ('Cosine Annealing (Recommended)', 'warmup_steps: 1000', SCHEDULES),
    ('Plateau Scheduler', 'scheduler: "plateau"', SCHEDULES),
    ('Plateau Scheduler', 'learning_rate: 2e-4', COMMANDS),
    ('Plateau Scheduler', 'plateau_patience: 10', SCHEDULES),
    ('Plateau Scheduler', 'plateau_factor: 0.5', SCHEDULES),
    ('Plateau Scheduler', 'plateau_min_lr: 1e-6', SCHEDULES),
    ('DiT Architecture', 'architecture: "dit"', NETWORKS),
    ('DiT Architecture', 'hidden: 512', NETWORKS),
    ('DiT Architecture', 'depth: 8', NETWORKS),
    ('DiT Architecture', 'heads: 8', NETWORKS),
    ('DiT Architecture', 'fusion: "FiLM"', NETWORKS),
    ('DiT Architecture', 'mlp_ratio: 4.0', NETWORKS),
    ('CNN Architecture', 'architecture: "cnn"', NETWORKS),
    ('CNN Architecture', 'hidden: 256', NETWORKS),
    ('CNN Architecture', 'depth: 6', NETWORKS),
    ('CNN Architecture', 'kernel_sizes: [3, 5, 7, 9]', NETWORKS),
    ('Hybrid Architecture', 'architecture: "hybrid"', NETWORKS),
    ('Hybrid Architecture', 'hidden: 384', NETWORKS),
    ('Hybrid Architecture', 'depth: 6', NETWORKS),
    ('Hybrid Architecture', 'heads: 6', NETWORKS),
    ('Hybrid Architecture', 'kernel_size: 3', NETWORKS),
    ('Batch Size Optimization', '8GB | 4-8', NETWORKS),
    ('Batch Size Optimization', '16GB | 8-16', NETWORKS),
    ('Batch Size Optimization', '24GB | 16-32', NETWORKS),
    ('Batch Size Optimization', '32GB+ | 32-64', NETWORKS),
    ('Out of Memory (OOM)', '# Reduce batch size', COMMANDS),
    ('Out of Memory (OOM)', 'python scripts/train.py --config configs/default.yaml --batch-size 4', COMMANDS),
    ('Out of Memory (OOM)', '# Use smaller model', PRESETS),
    ('Out of Memory (OOM)', 'python scripts/train.py --config configs/small_model.yaml', COMMANDS),
    ('Out of Memory (OOM)', '# Enable gradient checkpointing (if available)', NETWORKS),
    ('Training Loss Not Decreasing', '# Check learning rate', ADVICE),
    ('Training Loss Not Decreasing', 'python scripts/train.py --config configs/default.yaml --lr 1e-4', COMMANDS),
    ('Training Loss Not Decreasing', '# Enable debug mode', DEBUG),
    ('Training Loss Not Decreasing', 'python scripts/train.py --config configs/debug.yaml --debug', DEBUG),
    ('Training Loss Not Decreasing', '# Check data quality', TUPLES),
    ('Training Loss Not Decreasing',
     'python -c "from dataloader.pmt_dataloader import make_dataloader; loader = '
     'make_dataloader(\'data.h5\'); print(next(iter(loader)))"', OURS),
    ('Slow Training', '# Use CNN architecture', NETWORKS),
    ('Slow Training', 'python scripts/train.py --config configs/cnn.yaml', COMMANDS),
    ('Slow Training', '# Increase batch size', ADVICE),
    ('Slow Training', 'python scripts/train.py --config configs/default.yaml --batch-size 16', COMMANDS),
    ('Slow Training', '# Enable mixed precision', PRECISE),
    ('Slow Training', '# (set use_amp: true in config)', COMMANDS),
    ('NaN/Inf Values', '# Enable anomaly detection', FINITE),
    ('NaN/Inf Values', 'python scripts/train.py --config configs/debug.yaml --debug', DEBUG),
    ('NaN/Inf Values', '# Check data preprocessing', REFUSED),
    ('NaN/Inf Values', '# (set replace_time_inf_with: 0.0 in config)', COMMANDS),
    ('Debug Mode', 'python scripts/train.py --config configs/debug.yaml --debug', DEBUG),
    ('Debug Mode', '--debug', DEBUG),
    ('Debug Mode', 'Anomaly detection', FINITE),
    ('Debug Mode', 'Detailed error messages', FINITE),
    ('Debug Mode', 'Reduced model size', PRESETS),
    ('Debug Mode', 'Frequent logging', LOGGING),
    ('Custom Training Loop', 'For advanced users, you can create custom training loops', TRAINING),
    ('Custom Training Loop', 'from models.factory import ModelFactory', TRAINING),
    ('Custom Training Loop', 'from dataloader.pmt_dataloader import make_dataloader', OURS),
    ('Custom Training Loop', 'from config import load_config_from_file', TRAINING),
    ('Custom Training Loop', 'config = load_config_from_file("configs/default.yaml")', TRAINING),
    ('Custom Training Loop', 'model, diffusion = ModelFactory.create_model_and_diffusion(', TRAINING),
    ('Custom Training Loop', 'config.model, config.diffusion, device="cuda"', TRAINING),
    ('Custom Training Loop', 'loader = make_dataloader(config.data.h5_path, batch_size=config.data.batch_size)', TUPLES),
    ('Custom Training Loop', 'for epoch in range(config.training.num_epochs)', TRAINING),
    ('Custom Training Loop', 'for batch in loader', TUPLES),
    ('Custom Training Loop', 'x_sig, geom, label, idx = batch', TUPLES),
    ('Multi-GPU Training', 'For multi-GPU training', GPUS),
    ('Multi-GPU Training', "use PyTorch's DataParallel or DistributedDataParallel", TRAINING),
    ('Multi-GPU Training', '# DataParallel (single node, multiple GPUs)', TRAINING),
    ('Multi-GPU Training', 'model = torch.nn.DataParallel(model)', TRAINING),
    ('Multi-GPU Training', '# DistributedDataParallel (multiple nodes)', TRAINING),
    ('Multi-GPU Training', 'model = torch.nn.parallel.DistributedDataParallel(model)', TRAINING),
    ('Custom Loss Functions', 'You can implement custom loss functions by modifying the diffusion wrapper', TRAINING),
    ('Custom Loss Functions', 'class CustomDiffusion(GaussianDiffusion)', TRAINING),
    ('Custom Loss Functions', 'def loss(self, x0_sig, geom, label)', TRAINING),
    ('Custom Loss Functions', 'return custom_loss', TRAINING),
    ('Experiment Tracking', '# Enable all logging', LOGGING),
    ('Experiment Tracking', 'use_wandb: true', LOGGING),
    ('Experiment Tracking', 'wandb_project: "icecube-diffusion"', LOGGING),
    ('Experiment Tracking', 'wandb_entity: "your_username"', LOGGING),
    ('Experiment Tracking', 'experiment_name: "dit_cosine_annealing_v1"', LOGGING),
    ('Start Small', 'Begin with debug configuration', PRESETS),
    ('Start Small', 'Use small model for initial testing', PRESETS),
    ('Start Small', 'Verify data loading and preprocessing', REFUSED),
    ('Monitor Training', 'Use TensorBoard for real-time monitoring', TAGS),
    ('Monitor Training', 'Set up Wandb for experiment tracking', SENT),
    ('Monitor Training', 'Save checkpoints frequently', WHOLE),
    ('Data Quality', 'Check for infinite values in time data', REFUSED),
    ('Data Quality', 'Normalize geometry coordinates', TRAINING),
    ('Data Quality', 'Verify event condition ranges', REFUSED),
    ('Research Workflow', '# 1. Start with debug configuration', COMMANDS),
    ('Research Workflow', 'python scripts/train.py --config configs/debug.yaml --data-path data.h5', COMMANDS),
    ('Research Workflow', '# 2. Move to small model', COMMANDS),
    ('Research Workflow', 'python scripts/train.py --config configs/small_model.yaml --data-path data.h5', COMMANDS),
    ('Research Workflow', '# 3. Full training with DiT', COMMANDS),
    ('Research Workflow',
     'python scripts/train.py --config configs/default.yaml --data-path data.h5 --epochs 200', COMMANDS),
    ('Research Workflow', '# 4. Evaluate results', EVALUATE),
    ('Research Workflow', 'python evaluate.py --real-data data.h5 --generated-data generated.h5', EVALUATE),
    ('Research Workflow', '--real-data data.h5', EVALUATE),
    ('Research Workflow', '--generated-data generated.h5', EVALUATE),
    ('Production Workflow', '# 1. Quick test with CNN', COMMANDS),
    ('Production Workflow', 'python scripts/train.py --config configs/cnn.yaml --data-path data.h5 --epochs 10', COMMANDS),
    ('Production Workflow', '# 2. Full CNN training', COMMANDS),
    ('Production Workflow', 'python scripts/train.py --config configs/cnn.yaml --data-path data.h5 --epochs 100', COMMANDS),
    ('Production Workflow', '# 3. Generate samples', SAMPLE),
    ('Production Workflow',
     'python sample.py --checkpoint checkpoints/cnn_best.pt --num-events 1000 --output '
     'production_samples.h5', SAMPLE),
    ('Production Workflow', '--checkpoint checkpoints/cnn_best.pt', SAMPLE),
    ('Production Workflow', '--num-events 1000', SAMPLE),
    ('Production Workflow', '--output production_samples.h5', SAMPLE),
    ('Comparison Workflow', '# 1. Train multiple architectures', COMPARE),
    ('Comparison Workflow', '--config configs/dit.yaml', PRESETS),
    ('Comparison Workflow',
     'python scripts/train.py --config configs/dit.yaml --data-path data.h5 --experiment-name '
     '"dit_experiment"', COMMANDS),
    ('Comparison Workflow',
     'python scripts/train.py --config configs/cnn.yaml --data-path data.h5 --experiment-name '
     '"cnn_experiment"', COMMANDS),
    ('Comparison Workflow',
     'python scripts/train.py --config configs/hybrid.yaml --data-path data.h5 --experiment-name '
     '"hybrid_experiment"', COMMANDS),
    ('Comparison Workflow', '# 2. Compare architectures', COMPARE),
    ('Comparison Workflow', 'python compare_architectures.py --architectures dit cnn hybrid', COMPARE),
    ('Comparison Workflow', '--architectures dit cnn hybrid', COMPARE),
    ('Comparison Workflow', '# 3. Evaluate all models', EVALUATE),
    ('Comparison Workflow',
     'python evaluate.py --real-data data.h5 --generated-data dit_samples.h5 --output '
     'dit_evaluation.png', EVALUATE),
    ('Comparison Workflow',
     'python evaluate.py --real-data data.h5 --generated-data cnn_samples.h5 --output '
     'cnn_evaluation.png', EVALUATE),
    ('Comparison Workflow',
     'python evaluate.py --real-data data.h5 --generated-data hybrid_samples.h5 --output '
     'hybrid_evaluation.png', EVALUATE),
    ('Comparison Workflow', '--output dit_evaluation.png', EVALUATE),
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
    '# Custom experiment name', ')')
OUTSIDE = 'GENESIS Training Guide', 'Table of Contents'       # title and contents
FAREWELL = 'This comprehensive training guide should help you'

def prose(path): return ' '.join('\n'.join(''.join(c['source']) for c in json.loads((HOME/path).read_text())['cells']).split())
def cell(path, name): return next(''.join(c['source']) for c in json.loads((HOME/path).read_text())['cells'] if c['id'] == name)

@pytest.mark.parametrize('section, words, kept', PROMISES, ids=[f'{s}: {w[:40]}' for s, w, _ in PROMISES])
def test_is_kept_or_said(section, words, kept):
    "The test is there, the cell checks something, or the page says what is otherwise."
    if kept.startswith(OPEN): return
    where, _, name = kept.partition('::')
    page, _, sentence = kept.partition(': ')
    if name: assert f'def {name}(' in (HOME/where).read_text()
    elif sentence: assert sentence in prose(page)
    else: assert re.search(r'\btest_eq|\btest_close|\bassert ', cell(*kept.split('#')))

def test_how_many_are_open():
    found = Counter(kept.removeprefix(OPEN) for *_, kept in PROMISES if kept.startswith(OPEN))
    assert dict(found) == STILL_OPEN

# ------------------------------------------------------------------------------------------------ the guide, taken apart

def plain(text): return ' '.join(text.replace('**', '').replace('\\\n', ' ').split())

def sections(text):
    "Text below each heading; headings of one name together."
    out, name, code = {}, '', False
    for line in text.splitlines():
        if line.startswith('```'): code = not code
        heading = None if code else re.match(r'#{1,6} (?:\d+\. )?(.*)', line)
        if heading: name = heading[1]
        else: out.setdefault(name, []).append(line)
    return {k: '\n'.join(v) for k, v in out.items()}

def clauses(text):
    "Lines of a section: bullets, rows of tables, sentences, and lines of code, a command as one."
    out, code, held = [], False, ''
    for line in text.splitlines():
        if line.startswith('```'):
            code = not code
            continue
        line, held = held + line.strip(), ''
        if code and line.endswith('\\'):
            held = line[:-1] + ' '
            continue
        if re.search(r'\w|^\)$', line) and line not in ('training:', 'model:', 'data:', 'pass'): out.append(plain(line))
    return out

def left_of(clause, words):
    "What no row says of a clause."
    if clause in AROUND or clause.startswith(FAREWELL) or any(clause in w for w in words): return ''
    for w in sorted(words, key=len, reverse=True): clause = clause.replace(w, ' ')
    clause = re.sub(r'^\d+\. ', '', clause)
    return clause if re.search(r'\w', clause) else ''

@pytest.fixture(scope='module')
def guide():
    path = Path(os.environ.get('PHYSLEARN_DATA', ''))/'../guides/icecube.md'
    if not path.exists(): pytest.skip('the guide is not here')
    return path.read_text()

def test_words_are_the_guides(guide):
    "Each row quotes the section that it names, and no row stands twice."
    text = {k: plain(v) for k, v in sections(guide).items()}
    assert [(s, w) for s, w, _ in PROMISES if w not in text.get(s, '')] == []
    assert [k for k, n in Counter(row[:2] for row in PROMISES).items() if n > 1] == []

def test_no_clause_is_without_a_row(guide):
    said = {s: [w for t, w, _ in PROMISES if t == s] for s in sections(guide)}
    left = [(s, c, rest) for s, text in sections(guide).items() if s not in OUTSIDE
            for c in clauses(text) if (rest := left_of(c, said[s]))]
    assert left == []
    text = plain(guide)
    assert [a for a in AROUND if a not in text] == []

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
    '--debug': 'train debug', '--logdir': 'tensorboard --logdir runs', '--checkpoint': 'physlearn sample icecube RUN',
    '--num-events': '--n', '--output': '--out', '--real-data': 'physlearn judge icecube REAL GENERATED',
    '--generated-data': 'physlearn judge icecube REAL GENERATED', '--architectures': 'physlearn compare icecube RUN RUN ...'}

# key of its YAML files, or parameter of its tables: option of the recipe, and what becomes of the value
KEYS = dict(
    architecture=('network', 'the same words'), hidden=('hidden', ''), depth=('depth', ''), heads=('heads', ''),
    fusion=('fusion', 'FiLM or SUM'), mlp_ratio=('mlp_ratio', ''), kernel_sizes=('kernel_sizes', 'a list'),
    kernel_size=('kernel_sizes', 'one of them'), train_ratio=('train_ratio', ''), val_ratio=('val_ratio', ''),
    test_ratio=('test_ratio', ''), replace_time_inf_with=(None, 'a sensor without a hit has no time here'), h5_path=('data', 'beside the file that names it'),
    num_epochs=('epochs', 'times the pieces of a pass'), learning_rate=('lr', ''), batch_size=('batch_size', ''),
    weight_decay=('weight_decay', ''), grad_clip_norm=('gradient_clip_val', ''), optimizer=('optimizer', 'AdamW: adamw'),
    use_amp=('precision', "true: '16', false: '32'"), scheduler=('lr_scheduler', 'the same words; null: constant'),
    warmup_steps=('warmup_steps', 'batches'), warmup_ratio=('warmup_ratio', 'above 0: of all batches, and warmup_steps does not count'),
    plateau_patience=('plateau_patience', 'epochs'), plateau_factor=('plateau_factor', ''), plateau_min_lr=('plateau_min_lr', ''),
    step_size=('step_size', 'epochs'), gamma=('gamma', ''), early_stopping=('patience', 'false: none'),
    early_stopping_patience=('patience', ''), early_stopping_min_delta=('min_delta', ''), early_stopping_mode=(None, 'min'),
    early_stopping_baseline=('baseline', ''), early_stopping_restore_best=('weights', 'false: last'),
    early_stopping_verbose=('stop_verbose', ''), log_interval=(None, 'a point for each epoch'),
    save_interval=(None, 'a state after each epoch'), eval_interval=(None, 'after each epoch, or piece of one'),
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
    from physlearn.icecube.train_genesis import EventRecipe
    assert OF_EVENTS <= {f.name for f in fields(EventRecipe)}

def test_its_yaml_is_taken(guide, tmp_path, capsys):
    "Every configuration in the guide is read as it stands; what is not used is said."
    import textwrap
    from physlearn.icecube.train_genesis import EventRecipe
    from physlearn.runs import read_recipe
    blocks = re.findall(r'```yaml\n(.*?)```', guide, re.S)
    assert len(blocks) > 12
    for i, text in enumerate(blocks):
        (tmp_path/f'{i}.yaml').write_text(textwrap.dedent(text))
        recipe = EventRecipe(**read_recipe(tmp_path/f'{i}.yaml', EventRecipe))
        recipe.check()
    said = capsys.readouterr().out
    for word in ('save_interval', 'eval_interval', 'log_interval', 'WANDB_PROJECT=icecube-diffusion', 'runs/dit_cosine'): assert word in said, word

def test_presets():
    "The five configurations of the guide: sizes, epochs and batches."
    from physlearn.icecube.train_genesis import PRESETS as presets
    told = {k: (r.network, r.hidden, r.depth, r.heads if r.network != 'cnn' else None, r.epochs, r.batch_size) for k, r in presets.items()}
    assert told['dit'] == ('dit', 512, 8, 8, 100, 8) and told['cnn'] == ('cnn', 256, 6, None, 50, 16)
    assert told['hybrid'] == ('hybrid', 384, 6, 6, 50, 12) and told['small'] == ('dit', 256, 4, 4, 10, 16) and told['debug'] == ('dit', 128, 2, 2, 2, 2)
    r = presets['dit']
    assert (r.lr, r.weight_decay, r.gradient_clip_val, r.warmup_steps, r.warmup_ratio, r.step_size, r.gamma) == (2e-4, .01, 1., 1000, .04, 30, .1)
    assert (r.plateau_patience, r.plateau_factor, r.plateau_min_lr, r.min_delta, r.baseline) == (10, .5, 1e-6, 1e-4, None)
    assert (r.train_ratio, r.val_ratio, r.test_ratio, presets['cnn'].kernel_sizes) == (.8, .1, .1, (3, 5, 7, 9))
