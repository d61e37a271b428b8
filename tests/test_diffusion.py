"Diffusion together with the draws of data sources, and without a trainer."
import subprocess, sys
import torch
from physlearn.data import Draws
from physlearn.diffusion import PREDICTS, Schedule, ddpm, training_target
from physlearn.params import normals

def test_draws_of_a_source_are_noise():
    "Event 37 alone equals event 37 of 64 where the noise comes from `Draws`."
    schedule, draws = Schedule(), Draws(64, 'seed', 3)
    def shrink(x, t): return x*t.view(-1, 1, 1)/1000
    def noise(d): return lambda k: d.normals(12, f'step {k}').view(-1, 3, 4)
    every, alone = (ddpm(shrink, schedule.levels(9), noise(d)) for d in (draws, draws[torch.tensor([37])]))
    assert torch.equal(every[37], alone[0])
    assert not torch.equal(every[36], alone[0])

def test_targets_keep_the_type_of_the_data():
    x0, eps = normals(4, 3, 'a'), normals(4, 3, 'b')
    assert {training_target(x0, eps, .6, .8, k).dtype for k in PREDICTS} == {torch.float32}

def test_no_trainer_is_loaded():
    code = "import sys, physlearn.diffusion; sys.exit('fastai' in sys.modules)"
    assert subprocess.run([sys.executable, '-c', code]).returncode == 0
