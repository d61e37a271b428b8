"""How Sphinx builds the site; pages and navigation come from `tools/make_site.py`."""
import sys
from pathlib import Path
sys.path.insert(0, str(Path(__file__).parents[1]))                       # docs_check: the anchors of headings

project = 'physlearn'
extensions = ['myst_nb', 'sphinx_copybutton']
nb_execution_mode = 'off'                     # outputs are those of the notebooks
myst_enable_extensions = ['dollarmath', 'amsmath', 'colon_fence', 'attrs_inline']
myst_dmath_double_inline = True               # equations that stand directly under a line of text
myst_heading_anchors = 6
myst_heading_slug_func = 'docs_check.anchor'  # as Quarto (pandoc) has them
# names of modules begin at the third level; a `!command` of several lines is not coloured
suppress_warnings = ['myst.header', 'misc.highlighting_failure']
smartquotes = False
exclude_patterns = ['.doctrees', '.html', 'jupyter_execute']
html_theme = 'furo'
html_title = 'physlearn'
html_static_path = ['static']
html_css_files, html_js_files = ['site.css'], ['search.js']
html_search_scorer = str(Path(__file__).parent/'static'/'scorer.js')
html_favicon = 'static/favicon.svg'
mathjax_path = 'tex-svg.js'                   # MathJax 3.2.2 of the site itself
html_show_sourcelink = html_copy_source = False
copybutton_prompt_text, copybutton_prompt_is_regexp = r'\$ |>>> ', True
