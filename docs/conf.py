"""Settings of Sphinx, which `make docs` runs. The pages are plain Markdown, which also reads well unbuilt."""

from mnist_mlp import __version__

# The source directory is the project's top, so that links to the README and to the benchmarks are checked too.
include_patterns = ["docs/*.md", "*.md", "benchmarks/README.md", "reports/init_by_optim/report.md"]
exclude_patterns = [".*", "data", "multirun", "outputs"]  # folders that need not be searched
root_doc = "docs/index"

project = "mnist-mlp"
version = release = __version__
copyright = "the authors of mnist-mlp; MIT licence"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3  # headings that links may name, by the same rule as on GitHub
nitpicky = True
napoleon_use_ivar = True  # attributes of a NamedTuple are documented once
nitpick_ignore_regex = [("py:.*", ".*")]  # names in signatures and docstrings, most of them of other projects
autodoc_typehints = "signature"

html_theme = "furo"
html_title = f"mnist-mlp {release}"
