/* How a search orders its results: Sphinx's own weights, and pages by task before those of modules, lists last. */
var Scorer = {
  score: ([page, title, anchor, descr, score]) => {
    const section = page.split('/')[0];
    return score + ({tasks: 4, tutorials: 3, reference: page.endsWith('glossary') ? 1 : -3}[section] || 0);
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: {0: 15, 1: 5, 2: -5},
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
