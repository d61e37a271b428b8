"""Dense backbones of physlearn.icecube.backbones on 5,160 sensors: CPU seconds and peak memory of a forward pass and of a training step.

Each case runs in a process of its own, one thread. Memory is the largest resident set of that process, with libraries and weights, without an
optimizer. Rows that `--only` leaves out are kept from the last run.
"""
import argparse, json, resource, subprocess, sys, time
from dataclasses import dataclass
from _table import HERE, bar, save

LIMIT, MEMORY = 115, 12      # wall seconds and GB of a case, beyond which it is given up

# the former ways, measured here: what the machine does
BY_NUMBER, ON_WEIGHTS = 'control: convolutions by number, BatchNorm', 'control: dit with dropout on attention weights'

@dataclass
class Case:
    "One row of the table; figures of the guide's networks [CPU s], [GB]."
    name: str
    train: bool = False
    batch: int = 1
    dropout: float = 0.
    depth: int = 0               # 0: that of the preset
    checkpointing: bool = False
    guide_s: float = 0.
    guide_gb: float = 0.
    @property
    def label(self):
        what = f'training step, batch {self.batch}, dropout {self.dropout:g}' if self.train else f'forward, batch {self.batch}'
        return f"{self.name} {what}{f', depth {self.depth}' if self.depth else ''}{', checkpointing' if self.checkpointing else ''}"

def step(name, *guide, **kw): return Case(name, True, 2, **kw, **dict(zip(('guide_s', 'guide_gb'), guide)))

CASES = [Case('dit', guide_s=22., guide_gb=1.4), Case('hybrid', guide_s=13.2, guide_gb=1.1), Case('mlp', guide_s=3.95, guide_gb=.5), Case('resnet'),
         Case('cnn', guide_s=1.35, guide_gb=.29), Case('small', guide_s=5.3, guide_gb=.75), Case('debug'),
         step('dit', 15., 1.3, depth=1), step('dit', 34.5, 7.6, depth=1, dropout=.1), step('dit', 111., 4.5), step('dit', 270., 42., dropout=.1),
         step('dit', dropout=.1, depth=1, checkpointing=True),
         step('small', 22., 1.65), step('small', dropout=.1), step('small', dropout=.1, checkpointing=True),
         step('cnn', 7.1, 1.3), step('cnn', dropout=.1), step('cnn', dropout=.1, checkpointing=True),
         step('mlp', dropout=.1), step('mlp', dropout=.1, checkpointing=True), step('resnet', dropout=.1), step('resnet', dropout=.1, checkpointing=True),
         step('hybrid', dropout=.1, depth=1), step('debug', dropout=.1),
         Case(BY_NUMBER, guide_s=1.35, guide_gb=.29), step(BY_NUMBER, 7.1, 1.3), step(ON_WEIGHTS, 34.5, 7.6, depth=1, dropout=.1)]

def by_number():
    "The guide's CNN: 256 wide, 6 blocks of two convolutions over the number of a sensor, BatchNorm, FiLM."
    import torch
    from torch import nn
    from physlearn.layers import FiLM
    class ByNumber(nn.Module):
        def __init__(self, width=256):
            super().__init__()
            self.first, self.last, self.label = nn.Conv1d(5, width, 1), nn.Conv1d(width, 2, 1), nn.Linear(6, width)
            conv = lambda k: nn.Sequential(nn.Conv1d(width, width, k, padding=k//2), nn.BatchNorm1d(width))
            self.blocks = nn.ModuleList([nn.ModuleList([conv(k), conv(k), FiLM(width, width)]) for k in (3, 5, 7, 9, 3, 5)])
        def forward(self, x, t, label):
            h, c = self.first(torch.cat([x, x, x], 1)[:,:5]), self.label(label)
            for a, b, film in self.blocks: h = nn.functional.gelu(h + film(b(nn.functional.gelu(a(h))), c))
            return self.last(h)
    return ByNumber()

def dropout_on_weights(attention, p):
    "Attention as the guide has it, in place."
    from torch.nn import functional as F
    def forward(h, c, observed=None):
        q, k, v = attention.qkv(attention.norm(h, c)).unflatten(-1, (3, attention.heads, -1)).permute(2, 0, 3, 1, 4)
        return attention.gate*attention.out(F.scaled_dot_product_attention(q, k, v, dropout_p=p).transpose(1, 2).flatten(2))
    attention.forward = forward

def network(case, array):
    "The network of a case."
    from physlearn.icecube.backbones import SelfAttention, backbone
    if case.name == BY_NUMBER: return by_number()
    options = dict(depth=case.depth) if case.depth else {}
    net = backbone('dit' if case.name == ON_WEIGHTS else case.name, array, dropout=case.dropout, checkpointing=case.checkpointing, **options)
    for f in net.branches:
        if case.name == ON_WEIGHTS and isinstance(f, SelfAttention): dropout_on_weights(f, case.dropout)
    return net

def run(case):
    "CPU seconds and memory of one call, in this process."
    import torch
    from physlearn.icecube.detector import Geometry
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY << 30, MEMORY << 30))
    torch.manual_seed(0)
    array = Geometry.hexagonal(86, 60)
    net = network(case, array).train(case.train)
    x, t, label = torch.randn(case.batch, 2, len(array)), torch.rand(case.batch), torch.ones(case.batch, 6)
    target = torch.randn_like(x)
    begin = time.process_time()
    with torch.set_grad_enabled(case.train): out = net(x, t, label)
    if case.train: (out - target).square().mean().backward()
    seconds = time.process_time() - begin
    print(json.dumps(dict(cpu_s=seconds, gb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss*1024/1e9)))

def measure(index):
    "The same in a child; why not, where it fails."
    try: child = subprocess.run([sys.executable, __file__, '--child', str(index)], capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired: return dict(failed=f'more than {LIMIT} s of wall time')
    if child.returncode: return dict(failed=(child.stderr.strip().splitlines() or ['killed'])[-1][:100])
    return json.loads(child.stdout)

def ratio(ours, theirs): return ours/theirs if theirs and ours == ours else float('nan')

def report(found):
    "Table and bars."
    head, lines = ['network', 'what', 'CPU [s]', 'guide [s]', 'ours / guide', 'memory [GB]', 'guide [GB]', 'ours / guide'], []
    for case in CASES:
        r, what = found[case.label], case.label[len(case.name) + 1:]
        nan = float('nan')
        s, gb = r.get('cpu_s', nan), r.get('gb', nan)
        lines.append([case.name, what + (f" ({r['failed']})" if 'failed' in r else ''), s, case.guide_s or nan, ratio(s, case.guide_s),
                      gb, case.guide_gb or nan, ratio(gb, case.guide_gb)])
    bars = []
    for case in CASES:
        if not case.guide_s or case.name.startswith('control'): continue
        r = found[case.label]
        if 'failed' in r: bars.append(bar(case.label, f'<= {case.guide_s:g} s, {case.guide_gb:g} GB', r['failed'], False))
        else: bars.append(bar(case.label, f'<= {case.guide_s:g} s, {case.guide_gb:g} GB', f"{r['cpu_s']:.3g} s, {r['gb']:.3g} GB",
                              r['cpu_s'] <= case.guide_s and r['gb'] <= case.guide_gb))
    text = ('One call on 5,160 sensors (86 strings of 60), float32, one thread, a process for each; the process\'s CPU seconds, since others run on the machine, and its largest resident set with all '
            'libraries (0.25 GB before the network is built) and weights, without an optimizer. A training step is forward and backward. Figures of the guide\'s networks are those of an independent re-implementation '
            'of its layers, CPU seconds of two threads on a contended machine, good to 25 %; the DiT with dropout at depth 8 (270 s, 30-55 GB) is extrapolated. The guide\'s default has dropout 0.1 on attention '
            'weights; ours acts on what attention answers. Rows named control '
            'are the former ways, measured here: how much of a ratio is the machine, and how much the network.')
    save('backbones', 'Dense backbones', text, [('Cost of one call', head, lines)], bars, found=found)

def main():
    a = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    a.add_argument('--only', default='', help='measure only rows whose name contains this')
    a.add_argument('--missing', action='store_true', help='measure only rows that have no figure yet')
    a.add_argument('--child', type=int, help=argparse.SUPPRESS)
    a = a.parse_args()
    if a.child is not None: return run(CASES[a.child])
    last, part = HERE/'results'/'backbones.json', HERE/'results'/'backbones.part'
    found = json.loads(last.read_text())['raw']['found'] if last.exists() else {}
    if part.exists(): found |= json.loads(part.read_text())
    for i, case in enumerate(CASES):
        if a.only not in case.label or a.missing and case.label in found: continue
        found[case.label] = measure(i)
        print(case.label, found[case.label], flush=True)
        part.write_text(json.dumps(found))
    if missing := [c.label for c in CASES if c.label not in found]: raise SystemExit(f"not measured yet: {', '.join(missing)}")
    report(found)
    part.unlink(missing_ok=True)

if __name__ == '__main__': main()
