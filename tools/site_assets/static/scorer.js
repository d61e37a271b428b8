/* How a search orders its results: Sphinx's own weights, and pages by task before those of modules; what holds every word (names,
messages, options, figures, changes) stands last. */
const LISTS = /^reference\/(public_names|messages|command_line|gallery|changelog)$/;
var Scorer = {
  score: ([page, title, anchor, descr, score]) => {
    const section = page.split('/')[0], kind = page.endsWith('benchmarks') ? 'tables' : page.endsWith('glossary') ? 'words' : section;
    return score + (LISTS.test(page) ? -12 : {tables: -3, words: 1, index: 1, tasks: 4, tutorials: 3}[kind] || 0);
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
