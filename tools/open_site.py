"""Open every page of the built site in headless Chromium, wide and narrow, and print one line for each problem.

    python tools/open_site.py [folder]

Console errors, images that do not load, requests to other hosts, content that is wider than the page, equations that are
not finished, what is left of TeX, directives or `#|`, links and anchors that lead nowhere, and searches that do not find
their page."""
import sys, threading, time
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit
from docs_check import ROOT

WIDTHS = 1300, 400         # of the window [pixels]
PATIENCE = 300_000         # for what is waited for, however busy the machine is [ms]
# pages of which one has to be among the first three
SEARCHES = {'methane': ('tutorials/from_lines', 'tasks/my_instrument', 'tutorials/several_gases'),
            'crlb': ('00_core/posterior',), 'not identifiable': ('tasks/which_parameters',),
            'resume': ('00_core/runs',), 'GeoTIFF': ('tasks/read_any_file',)}
SET = "() => [...document.querySelectorAll('.math')].every(m => m.querySelector('mjx-container'))"     # all equations
LOOK = '''() => {
  const TEX = /\\$\\$|\\\\(frac|begin|mathrm|sigma)/, MARKS = /:::|^#\\||\\]\\(|\\{\\.[a-z]+\\}|\\{#[\\w-]+\\}|\\{\\{<|\\]\\[|\\*\\*\\w/;
  const LEFT = new RegExp(TEX.source + '|' + MARKS.source);
  const out = [], page = document.querySelector('article') || document.body;
  const wide = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > wide + 1) {
    const far = [...page.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > wide + 1
      && !e.closest('pre, .table-wrapper, .output, mjx-container, .cell_output'));
    out.push('wider than the page: ' + (far[0] ? far[0].tagName + ' ' + far[0].textContent.trim().slice(0, 40) : '?'));
  }
  for (const i of document.images) if (i.complete && !i.naturalWidth) out.push('image ' + i.getAttribute('src'));
  for (const m of document.querySelectorAll('.math'))
    if (!m.querySelector('mjx-container')) out.push('equation ' + m.textContent.slice(0, 40));
  for (const m of document.querySelectorAll('mjx-merror, [data-mjx-error]'))
    out.push('equation ' + m.textContent.slice(0, 60));
  for (const m of document.querySelectorAll('mjx-container:has([data-mml-node="mtext"][fill="red"])')) // MathJax says no more
    out.push('equation with an unknown command in: '
             + (m.closest('.math') || m).parentElement.textContent.trim().slice(0, 40));
  for (const e of page.querySelectorAll('*')) // words in angle brackets, which nobody sees
    if (e instanceof HTMLUnknownElement) out.push(`<${e.localName}> is no element: write it as code`);
  const walk = document.createTreeWalker(page, NodeFilter.SHOW_TEXT);
  for (let n = walk.nextNode(); n; n = walk.nextNode())
    if (!n.parentElement.closest('pre, code, script, style, mjx-container, .math')) {
      const m = n.data.match(LEFT);
      if (m) out.push('left over: ' + n.data.slice(Math.max(0, m.index - 20), m.index + 30));
    }
  for (const a of page.querySelectorAll('a[href^="#"]')) {
    const id = decodeURIComponent(a.getAttribute('href').slice(1));
    if (id && !document.getElementById(id)) out.push('anchor #' + id);
  }
  return out;
}'''

class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *a): pass

def serve(folder):
    "A server of the site on this machine, and its address."
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f'http://127.0.0.1:{server.server_address[1]}/'

def chromium():
    "The system's browser, or None."
    from shutil import which
    return next(filter(None, map(which, ('chromium', 'chromium-browser', 'google-chrome'))), None)

def look(browser, widths, at, names, bad, patience=PATIENCE): # for equations [ms]
    "Open pages and look at them at each width; what is wrong is added to `bad`."
    from playwright.sync_api import TimeoutError
    page = browser.new_page(viewport=dict(width=widths[0], height=900))
    page.set_default_timeout(PATIENCE)
    found = []
    def passing(route): # nothing is loaded from elsewhere
        if route.request.url.startswith((at, 'data:')): return route.continue_()
        found.append(f'request to {route.request.url[:80]}')
        route.abort()
    page.route('**/*', passing)
    page.on('console', lambda m: found.append(f'console: {m.text[:120]}') if m.type == 'error' else None)
    page.on('pageerror', lambda e: found.append(f'script: {str(e)[:120]}'))
    page.on('response', lambda r: found.append(f'{r.status} for {r.url}') if r.status >= 400 else None)
    for name in names:
        page.goto(at + name, wait_until='load')
        try: page.wait_for_function(SET, timeout=patience)
        except TimeoutError: pass                                       # LOOK names the equation
        for width in widths:
            page.set_viewport_size(dict(width=width, height=900))
            bad += [f'{name} at {width}: {p}' for p in dict.fromkeys(found + page.evaluate(LOOK))]
            found.clear()
    page.close()

def searched(browser, at, bad):
    "Words that have to find their page among the first three."
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    for words, wanted in SEARCHES.items():
        page.goto(f'{at}search.html?q={words}', wait_until='load')
        page.wait_for_selector('#search-results .search a')
        page.wait_for_function("() => !/Searching/.test(document.querySelector('#search-results').textContent)")
        first = [a.get_attribute('href') for a in page.locator('#search-results li > a').all()[:3]]
        if not any(w in f for f in first for w in wanted):
            bad.append(f'search {words}: {", ".join(first)}, not {" or ".join(wanted)}')
        if not page.locator('#search-results .summary').count():
            bad.append(f'search {words}: no summary of a page is shown')
    page.close()

class Page(HTMLParser):
    "Anchors of a page, and where its links lead."
    def __init__(self, text):
        super().__init__()
        self.ids, self.links = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == 'a': self.links.append(attrs.get('href') or '')
        self.ids += filter(None, {attrs.get('id'), attrs.get('name') if tag == 'a' else None})

def link_problems(folder):
    "Links from page to page, also those written in HTML: file and anchor have to be there; a page is no download."
    pages = {p.resolve(): Page(p.read_text(encoding='utf-8')) for p in sorted(folder.rglob('*.html'))}
    for path, page in pages.items():
        name = path.relative_to(folder.resolve()).as_posix()
        for link in dict.fromkeys(page.links):
            to = urlsplit(link)
            if to.scheme or to.netloc or not link: continue
            file = (path.parent/unquote(to.path)).resolve() if to.path else path
            if file.is_dir(): file /= 'index.html'
            if not file.is_relative_to(folder.resolve()) or not file.is_file():
                yield f'{name}: link {link} leads to no page'
            elif '_downloads' in file.parts:
                yield f'{name}: link {link} is a file beside the notebooks; link to the repository'
            elif to.fragment and file in pages and unquote(to.fragment) not in pages[file].ids:
                yield f'{name}: link {link} leads to no anchor'

def problems(folder):
    "Number of pages, and one line for each problem."
    from playwright.sync_api import sync_playwright
    names, bad = sorted(p.relative_to(folder).as_posix() for p in folder.rglob('*.html')), []
    server, at = serve(folder)
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium(), args=['--no-sandbox'])
        look(browser, WIDTHS, at, names, bad)
        searched(browser, at, bad)
        browser.close()
    server.shutdown()
    return len(names), bad + list(link_problems(folder))

if __name__ == '__main__':
    start, folder = time.time(), Path(sys.argv[1] if len(sys.argv) > 1 else ROOT/'_site')
    if not chromium(): sys.exit('open-site: skipped, there is no Chromium on this machine')
    n, bad = problems(folder)
    print(*bad, sep='\n', end='\n' if bad else '')
    widths = ' and '.join(map(str, WIDTHS))
    print(f'open-site: {n} pages at {widths} px, {len(bad)} problems ({time.time() - start:.0f} s)')
    sys.exit(bool(bad))
