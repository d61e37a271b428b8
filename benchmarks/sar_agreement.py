"""The score of radar and picture, judged: true pairs, wrong ones, noise, constants, copies; the guide's score beside it.

    PHYSLEARN_DATA=folder python benchmarks/sar_agreement.py [draws of noise]

Sixteen real tiles of Sentinel-1 and Sentinel-2: 12 of one scene in Spain, the middle 128 px of 4 others. Wrong pairs are the tile's own
picture turned, mirrored and shifted by 24 px or more, and the pictures of the other 15 tiles in 8 orientations. Offers that are not the
truth are scored in the same way; a copy is four bands made of the radar image alone."""
import sys, time
import numpy as np
import torch
from _table import bar, data_folder, save
from physlearn.files import read_npz
from physlearn.sar.agreement import agreement, edge_cosine, structure_agreement
from physlearn.sar.terms import guide_sar, guide_texture

def tiles(size=128):
    "Name, backscatter [dB] and reflectance of each tile: its middle."
    for file in sorted((data_folder()/'s1s2').glob('*/*.npz'), key=lambda f: f.name):
        z = read_npz(file)
        s1, optical = (np.stack([z[k] for k in names]).astype(float)
                       for names in (('s1_vv', 's1_vh'), ('s2_b2', 's2_b3', 's2_b4', 's2_b8')))
        y, x = ((n - size)//2 for n in s1.shape[1:])
        yield file.stem, s1[:,y:y+size,x:x+size], optical[:,y:y+size,x:x+size]

def in_db(s1): return s1

def copied(s1): return np.exp(.1*s1[[0, 1, 0, 1]].clip(-30, 5))

def offers(i, radars, pictures, rng, draws):
    "Pictures by name, a list of draws each."
    truth, shape = pictures[i], pictures[i].shape
    return {'truth': [truth], 'another tile': [pictures[i-1]], 'turned by 90 degrees': [np.rot90(truth, 1, (1, 2)).copy()],
            'noise': [rng.random(shape) for _ in range(draws)], 'constant': [np.full(shape, .2)],
            'truth + N(0, 0.01)': [truth + .01*rng.normal(size=shape) for _ in range(draws)],
            'truth + N(0, 0.02)': [truth + .02*rng.normal(size=shape) for _ in range(draws)],
            'radar copy': [copied(radars[i])]}

def windows(radars, pictures, size):
    "Share of windows of `size` px that score above 95 % of those of other tiles, and how many they are."
    cut = lambda x: [x[:,i:i+size,j:j+size] for i in range(0, 128, size) for j in range(0, 128, size)]
    found = []
    for i, (s, o) in enumerate(zip(radars, pictures)):
        others = [w for k, p in enumerate(pictures) if k != i for w in cut(p)[:1]]
        for a in (agreement(*w, others=others) for w in list(zip(cut(s), cut(o)))[:4]): found.append(a.score > a.others.level)
    return float(np.mean(found)), len(found)

def main(draws=20):
    torch.set_num_threads(1)
    draws, rng = int(draws), np.random.default_rng(0)
    names, radars, pictures = zip(*tiles())
    n = len(names)
    start = time.process_time()
    found = [agreement(s, o, others=pictures[:i] + pictures[i+1:]) for i, (s, o) in enumerate(zip(radars, pictures))]
    full = time.process_time() - start
    start = time.process_time()
    for s, o in zip(radars, pictures): structure_agreement(s, o)
    single = time.process_time() - start
    scores = {'guide': edge_cosine, 'guide, frame cut': lambda s, o: edge_cosine(s, o, 'reflect', 2), 'structure': structure_agreement}
    got = {k: {} for k in scores}
    for i, s in enumerate(radars):
        for what, some in offers(i, radars, pictures, rng, draws).items():
            for k, f in scores.items(): got[k].setdefault(what, []).append([f(s, o) for o in some])
    mean = {k: {what: np.array([np.mean(v) for v in rows]) for what, rows in t.items()} for k, t in got.items()}
    above = {k: {what: int((v > t['truth']).sum()) for what, v in t.items()} for k, t in mean.items()}
    noise = np.mean([x > min(a.own.level, a.others.level) for a, row in zip(found, got['structure']['noise']) for x in row])
    blind = [agreement(s, copied(s)).painted for s in radars]
    held = [agreement(s, copied(s), truth=o).painted for s, o in zip(radars, pictures)]
    wrong = [agreement(s, o).painted for s, o in zip(radars, pictures)]
    terms = []
    for s, o in zip(radars, pictures):
        batch = dict(s1=torch.from_numpy(s)[None])
        w = batch['s1'].mean(1).sigmoid().flatten().sort(descending=True).values
        out = dict(mean=torch.from_numpy(o)[None])
        chance = dict(mean=torch.from_numpy(rng.random(o.shape))[None])
        terms.append([(w[:len(w)//100].sum()/w.sum()).item(), guide_sar(in_db)(out, batch).item(), guide_texture(in_db)(out, batch).item(),
                      guide_texture(in_db)(chance, batch).item()])
    terms = np.array(terms)
    both, auc = sum(a.paired for a in found), {k: float(np.mean([getattr(a, k).auc for a in found])) for k in ('own', 'others')}
    save('sar_agreement', 'Agreement of radar and picture', __doc__.split('\n\n')[2].replace('\n', ' ') + f' {draws} draws of noise a tile.',
         [('True pairs', ['tile', 'score', '95 % of own null', '95 % of others', 'z, the lesser', 'AUC, the lesser', 'best at [px]', 'score there'],
           [[k, a.score, a.own.level, a.others.level, a.z, a.auc, f'{a.offset[0]}, {a.offset[1]}', a.peak] for k, a in zip(names, found)]),
          ('What scores how much: mean, and tiles in which it is above the truth (means over draws)',
           ['offer', 'guide', 'above', 'guide, frame cut', 'above', 'structure', 'above'],
           [[what, *(v for k in scores for v in (float(mean[k][what].mean()), above[k][what]))] for what in mean['guide']]),
          ('Smaller windows', ['side [px]', 'left within the frame [px]', 'above 95 % of other tiles', 'windows'],
           [[k, k - 24, *windows(radars, pictures, k)] for k in (128, 64, 32)], 'Each window is read alone: its own frame of 12 px is left out.'),
          ("The guide's terms on the truth", ['', 'least', 'median', 'most'],
           [[k, *map(float, np.quantile(v, (0, .5, 1)))] for k, v in zip(
               ('edge weight of the brightest 1 % of pixels', 'SAR loss of the truth', 'texture term, truth', 'texture term, noise'), terms.T)])],
         [bar('true pairs above the 95th percentile of both nulls', '>= 15 of 16', f'{both} of {n}', both >= 15),
          bar('AUC against own null, other tiles', '>= 0.99', ', '.join(f'{v:.4f}' for v in auc.values()), min(auc.values()) >= .99),
          bar('noise above the 95th percentile', '<= 5 %', f'{100*noise:.2g} % of {n*draws}', noise <= .05),
          bar('score of a constant', '0', f"{mean['structure']['constant'].max():g}", (mean['structure']['constant'] == 0).all()),
          bar('radar copies flagged, truth known; unknown', '16 of 16', f'{sum(held)}; {sum(blind)}', sum(held) == sum(blind) == n),
          bar('true pairs flagged as painted', '0', str(sum(wrong)), sum(wrong) == 0),
          bar("guide's score raised by N(0, 0.01) on the truth, as written", '16 of 16', f"{above['guide']['truth + N(0, 0.01)']} of {n}",
              above['guide']['truth + N(0, 0.01)'] == n),
          bar('the same, frame cut', '16 of 16', f"{above['guide, frame cut']['truth + N(0, 0.01)']} of {n}",
              above['guide, frame cut']['truth + N(0, 0.01)'] == n),
          bar("guide's score, frame cut: noise, a constant above the truth", '16 of 16',
              f"{above['guide, frame cut']['noise']}, {above['guide, frame cut']['constant']}",
              above['guide, frame cut']['noise'] == above['guide, frame cut']['constant'] == n)],
         milliseconds_a_tile=dict(score=1e3*single/n, agreement_with_15_others=1e3*full/n))

if __name__ == '__main__': main(*sys.argv[1:])
