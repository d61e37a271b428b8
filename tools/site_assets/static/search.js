/* What a search finds shows the one-line summary of its page, above the place where the words stand. */
document.addEventListener('DOMContentLoaded', () => {
  if (typeof Search === 'undefined') return;
  const context = Search.makeSearchSummary;
  Search.makeSearchSummary = (htmlText, keywords, anchor) => {
    const where = context(htmlText, keywords, anchor);
    const said = new DOMParser().parseFromString(htmlText, 'text/html').querySelector('h1 + p > em:only-child');
    if (!said) return where;
    const both = document.createElement('div'), summary = document.createElement('p');
    summary.className = 'summary';
    summary.textContent = said.textContent;
    both.append(summary, ...(where ? [where] : []));
    return both;
  };
});
