"""The form of the book's notebooks and texts, one function a rule.

`make check` prints every finding as `file:cell: what to do (rule)`. A rule about
one notebook takes the notebook and yields findings; the tests show each rule a
bad notebook.
"""

import ast
import io
import re
import sys
import tokenize
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from tools import contents, repository
from tools.console import say
from tools.notebooks import (
    LIVE_TAG,
    code_cells,
    discover,
    displayed,
    normalize,
    read,
    tags,
)
from tools.paths import ROOT

CHAPTER_HEADINGS = (
    "Objectives",
    "A failure you can see",
    "Guess first",
    "Definition",
    "Derivation",
    "The shape",
    "Implementation",
    "Verification",
    "Experiments",
    "Common claims on trial",
    "When to use it",
    "Where it bites",
    "Exercises",
    "Take-aways",
    "Further reading",
)
CELLS = range(30, 71)  # docs/decisions/0008 says why
CODE_LINES = 8
INSTALL_CELL = """\
import importlib.util

if importlib.util.find_spec("lossbook") is None:  # on Colab, for instance
    %pip install -q "lossbook[notebook] @ git+{address}\""""
WIDGET_OUTPUT = "application/vnd.jupyter.widget"
IMAGES = ("image/png", "image/svg+xml", "image/jpeg")
# Roles that a reader understands where Sphinx did not resolve them.
ROLES = {"cite:p", "cite:t", "doc", "eq", "numref", "prf:ref", "ref", "term"}
ALLOWED_NUMBERS = Path(__file__).with_name("allowed-numbers.toml")


@dataclass(frozen=True)
class Finding:
    """Something to mend.

    Attributes:
        rule: The rule's name.
        message: What is wrong and what to do.
        cell: The cell's number, from 1; None for the whole file.
        file: The file; filled in by whoever knows it.
    """

    rule: str
    message: str
    cell: int | None = None
    file: str = ""

    def __str__(self) -> str:
        place = self.file if self.cell is None else f"{self.file}:cell {self.cell}"
        return f"{place}: {self.message} ({self.rule})"


Rule = Callable[[NotebookNode], Iterator[Finding]]


def numbered(notebook: NotebookNode) -> Iterator[tuple[int, NotebookNode]]:
    """The cells with their numbers, from 1."""
    yield from enumerate(notebook.cells, start=1)


def numbered_code(notebook: NotebookNode) -> Iterator[tuple[int, NotebookNode]]:
    """The code cells with their numbers."""
    for number, cell in numbered(notebook):
        if cell.cell_type == "code":
            yield number, cell


def numbered_markdown(notebook: NotebookNode) -> Iterator[tuple[int, str]]:
    """The texts of the Markdown cells with their numbers."""
    for number, cell in numbered(notebook):
        if cell.cell_type == "markdown":
            yield number, cell.source


# --- every notebook ------------------------------------------------------------


def executed_in_order(notebook: NotebookNode) -> Iterator[Finding]:
    """Stored outputs come from one run of the whole notebook."""
    expected = 0
    for number, cell in numbered_code(notebook):
        if LIVE_TAG in tags(cell):
            if cell.outputs:
                message = f"a cell tagged {LIVE_TAG} must store no output"
                yield Finding("executed-in-order", message, number)
            continue
        expected += 1
        if cell.execution_count != expected:
            message = (
                f"execution count {cell.execution_count}, must be {expected}: "
                "run `make notebooks`"
            )
            yield Finding("executed-in-order", message, number)


def normal_form(notebook: NotebookNode) -> Iterator[Finding]:
    """Ids, metadata and format are those that `make notebooks` writes."""
    wanted = normalize(notebook)
    if notebook.metadata != wanted.metadata:
        message = "the notebook's metadata are not minimal: run `make notebooks`"
        yield Finding("normal-form", message)
    pairs = zip(notebook.cells, wanted.cells, strict=True)
    for number, (cell, normal) in enumerate(pairs, start=1):
        for part in ("id", "metadata", "source"):
            if cell.get(part) != normal[part]:
                message = f"the cell's {part} is not normal: run `make notebooks`"
                yield Finding("normal-form", message, number)


def no_widget_state(notebook: NotebookNode) -> Iterator[Finding]:
    """No widget is stored: its model ids change with every run."""
    if "widgets" in notebook.metadata:
        yield Finding("no-widget-state", "metadata hold the state of widgets")
    for number, cell in numbered_code(notebook):
        kinds = [kind for output in cell.outputs for kind in output.get("data", {})]
        if any(kind.startswith(WIDGET_OUTPUT) for kind in kinds):
            message = f"stores a widget: tag the cell {LIVE_TAG}"
            yield Finding("no-widget-state", message, number)


def install_cell_first(notebook: NotebookNode) -> Iterator[Finding]:
    """The first code cell installs the package where it is missing."""
    wanted = INSTALL_CELL.format(address=repository.address())
    for number, cell in numbered_code(notebook):
        if cell.source != wanted:
            message = f"the first code cell must be the install cell:\n{wanted}"
            yield Finding("install-cell-first", message, number)
        if "remove-cell" not in tags(cell):
            message = "the install cell needs the tag remove-cell"
            yield Finding("install-cell-first", message, number)
        return


def short_code_cells(notebook: NotebookNode) -> Iterator[Finding]:
    """A code cell has few lines; more belongs in the package."""
    for number, cell in numbered_code(notebook):
        count = lines_of_code(cell.source)
        if count > CODE_LINES:
            message = f"{count} lines of code, at most {CODE_LINES}: split the cell"
            yield Finding("short-code-cells", message, number)


def lines_of_code(source: str) -> int:
    """How many lines hold code: not imports, prose in strings, comments, brackets.

    A line that only hands over a string, `key="..."`, is prose too.
    """
    source = re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.MULTILINE)  # magics
    imports: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    words: dict[int, list[str]] = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.NAME, tokenize.NUMBER) or (
            token.type == tokenize.OP and token.string not in "()[]{},;"
        ):
            words.setdefault(token.start[0], []).append(token.string)
    lines = source.splitlines()
    prose = {n for n in words if re.match(r"""\s*\w+=[rf]?"[^"]*",?$""", lines[n - 1])}
    return len(set(words) - imports - prose)


def images_in(cell: NotebookNode) -> int:
    """How many images a code cell's outputs show."""
    outputs = [output.get("data", {}) for output in cell.outputs]
    return sum(any(kind in data for kind in IMAGES) for data in outputs)


def figures_described(notebook: NotebookNode) -> Iterator[Finding]:
    """One figure a cell, with alt text, caption and name in the metadata."""
    for number, cell in numbered_code(notebook):
        count = images_in(cell)
        if count > 1:
            message = f"{count} figures in one cell: split the cell"
            yield Finding("figures-described", message, number)
        if count:
            for missing in missing_description(cell):
                message = f"the figure lacks metadata mystnb.{missing}"
                yield Finding("figures-described", message, number)


def missing_description(cell: NotebookNode) -> Iterator[str]:
    """The parts of a figure's description that a cell's metadata lack."""
    described = cell.metadata.get("mystnb", {})
    if not described.get("image", {}).get("alt"):
        yield "image.alt"
    if not described.get("figure", {}).get("caption"):
        yield "figure.caption"
    if not str(described.get("figure", {}).get("name", "")).startswith("fig-"):
        yield "figure.name (fig-...)"


def plain_markdown(notebook: NotebookNode) -> Iterator[Finding]:
    """Each text reads well where no Sphinx is: GitHub, Colab, JupyterLab."""
    for number, text in numbered_markdown(notebook):
        for message in unreadable_parts(text):
            yield Finding("plain-markdown", message, number)


def no_typed_results(notebook: NotebookNode) -> Iterator[Finding]:
    """A result's number comes from an executed cell, never from the keyboard."""
    for number, text in numbered_markdown(notebook):
        for typed in typed_numbers(text):
            message = (
                f"'{typed}' is typed into prose: let `say` print it, or explain it "
                f"in tools/{ALLOWED_NUMBERS.name}"
            )
            yield Finding("no-typed-results", message, number)


# --- chapters only -------------------------------------------------------------


def headings(notebook: NotebookNode, level: int) -> list[str]:
    """The headings of a level, in order."""
    pattern = re.compile(rf"^#{{{level}}} +(.+?)\s*$", re.MULTILINE)
    return [
        heading
        for _, text in numbered_markdown(notebook)
        for heading in pattern.findall(without_fences(text))
    ]


def chapter_headings(notebook: NotebookNode) -> Iterator[Finding]:
    """A chapter has one title and all sections, in order."""
    titles = headings(notebook, 1)
    if len(titles) != 1:
        yield Finding("chapter-headings", f"needs one title, has {len(titles)}")
    found = headings(notebook, 2)
    for wanted in CHAPTER_HEADINGS:
        if wanted not in found:
            yield Finding("chapter-headings", f"lacks the section '{wanted}'")
    present = [heading for heading in found if heading in CHAPTER_HEADINGS]
    ordered = [heading for heading in CHAPTER_HEADINGS if heading in present]
    if present != ordered:
        message = f"sections must stand in this order: {', '.join(ordered)}"
        yield Finding("chapter-headings", message)


def chapter_size(notebook: NotebookNode) -> Iterator[Finding]:
    """A chapter is readable in one sitting."""
    aside = {"remove-cell", LIVE_TAG}
    cells = [cell for cell in notebook.cells if not aside & set(tags(cell))]
    exercises = sum("{exercise}" in c.source or is_collapsed(c) for c in cells)
    count = len(cells) - exercises
    if count not in CELLS:
        message = (
            f"{count} cells beside the exercises, must be {CELLS.start} to "
            f"{CELLS.stop - 1}"
        )
        yield Finding("chapter-size", message)


def solutions_collapsed(notebook: NotebookNode) -> Iterator[Finding]:
    """Each exercise has a solution, and the reader has to open it."""
    open_exercise: int | None = None
    count = 0
    for number, cell in [*numbered(notebook), (0, None)]:
        starts = cell is not None and "{exercise}" in cell.source
        if (starts or cell is None) and open_exercise is not None:
            message = (
                "the exercise needs a solution: a code cell tagged hide-cell or "
                "hide-input, or a `:::{solution}` with `:class: dropdown`"
            )
            yield Finding("solutions-collapsed", message, open_exercise)
        if starts:
            open_exercise, count = number, count + 1
        if cell is not None and is_collapsed(cell):
            open_exercise = None
    if count == 0:
        yield Finding("solutions-collapsed", "a chapter needs exercises")


def is_collapsed(cell: NotebookNode) -> bool:
    """True if a cell shows its content only when the reader opens it."""
    if cell.cell_type == "code":
        return bool({"hide-cell", "hide-input"} & set(tags(cell)))
    return bool(re.search(r":class: *.*dropdown|\{dropdown\}", cell.source))


# --- texts ---------------------------------------------------------------------


def without_fences(text: str) -> str:
    """The text without blocks of code."""
    return re.sub(r"^(`{3,}|~{3,}).*?^\1\s*$", "", text, flags=re.DOTALL | re.MULTILINE)


def unreadable_parts(text: str) -> Iterator[str]:
    """What only Sphinx can read."""
    for directive in re.findall(r"^\s*`{3,}\{([^}]+)\}", text, re.MULTILINE):
        yield f"'```{{{directive}}}' must be a colon fence ':::{{{directive}}}'"
    prose = without_fences(text)
    for role in re.findall(r"\{([a-z:\-]+)\}`", prose):
        if role not in ROLES:
            yield f"the role {{{role}}} does not read as plain text: use Markdown"
    if re.search(r"(?<!\}):[a-z]+:`[^`]+`|^\.\. [a-z-]+::", prose, re.MULTILINE):
        yield "reStructuredText: use Markdown"


def prose_of(text: str) -> str:
    """The words of a text: no code, formulas, addresses, options or comments."""
    text = without_fences(text)
    text = re.sub(r"<!--.*?-->", " ", text, flags=re.DOTALL)
    math = r":::+\{math\}.*?^:::+ *$|\\begin\{(\w+\*?)\}.*?\\end\{\1\}|\$\$.*?\$\$"
    text = re.sub(math, " ", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"(?<!\\)\$[^$]+?(?<!\\)\$", " ", text)
    text = re.sub(r"(`+).+?\1", " ", text)
    text = re.sub(r"\]\([^)]*\)|https?://\S+", "] ", text)
    return re.sub(r"^\s*:[\w-]+:.*$|^:::+.*$", " ", text, flags=re.MULTILINE)


RESULT = re.compile(
    r"""
    \d+(?:\.\d+)?\s?(?:%|percent\b|percentage\ point)  # a percentage
    | \d+(?:\.\d+)?\s?(?:times\b|-?fold\b|[x×](?=\s|[.,;:)]|$))  # a ratio
    | factor\ of\ \d+(?:\.\d+)?
    | (?<![\w.])\d+\.\d+(?![\w]|\.\d)                  # a decimal number
    """,
    re.VERBOSE,
)


def allowed_numbers(path: Path = ALLOWED_NUMBERS) -> list[str]:
    """Patterns of numbers that may be typed; the file says why."""
    with path.open("rb") as file:
        return [entry["pattern"] for entry in tomllib.load(file)["allow"]]


def typed_numbers(text: str) -> list[str]:
    """The numbers in a text that look like results."""
    prose = prose_of(text)
    for pattern in allowed_numbers():
        prose = re.sub(pattern, " ", prose)
    return RESULT.findall(prose)


# --- the whole book ------------------------------------------------------------

NOTEBOOK_RULES: tuple[Rule, ...] = (
    executed_in_order,
    normal_form,
    no_widget_state,
    install_cell_first,
    short_code_cells,
    figures_described,
    plain_markdown,
    no_typed_results,
)
CHAPTER_RULES: tuple[Rule, ...] = (
    chapter_headings,
    chapter_size,
    solutions_collapsed,
)


def check_notebook(
    notebook: NotebookNode, file: str, *, is_chapter: bool
) -> list[Finding]:
    """All findings on one notebook."""
    rules = NOTEBOOK_RULES + (CHAPTER_RULES if is_chapter else ())
    return [
        Finding(found.rule, found.message, found.cell, file)
        for rule in rules
        for found in rule(notebook)
    ]


def check_text(text: str, file: str) -> list[Finding]:
    """All findings on a Markdown page."""
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])
    return [
        Finding(found.rule, found.message, None, file)
        for rule in (plain_markdown, no_typed_results)
        for found in rule(page)
    ]


def figure_names_unique(book: Iterable[tuple[str, NotebookNode]]) -> Iterator[Finding]:
    """A figure's name leads to one figure."""
    owner: dict[str, str] = {}
    for file, notebook in book:
        for cell in code_cells(notebook):
            name = cell.metadata.get("mystnb", {}).get("figure", {}).get("name")
            if name and name in owner:
                message = f"the figure name {name} stands in {owner[name]} too"
                yield Finding("figure-names-unique", message, None, file)
            owner.setdefault(name, file)


def statements_unique(book: Iterable[tuple[str, NotebookNode]]) -> Iterator[Finding]:
    """A claim's key and a verdict's number stand once in the book."""
    owner: dict[tuple[str, str], str] = {}
    for file, notebook in book:
        for fields in displayed(notebook):
            name = fields["kind"], fields["id"]
            if name in owner:
                message = f"the {name[0]} {name[1]} stands in {owner[name]} too"
                yield Finding("statements-unique", message, None, file)
            owner[name] = file


def contents_agree(
    documents: list[str], files: dict[str, Path], chapters: list[contents.Chapter]
) -> Iterator[Finding]:
    """Table of contents, list of chapters and files name the same pages.

    Args:
        documents: What `_toc.yml` lists.
        files: The pages in git, by document name.
        chapters: What `chapters.toml` lists.
    """
    listed = {name for name in documents if not name.startswith(contents.GENERATED)}
    for name in sorted(listed - set(files)):
        yield Finding(
            "contents-agree", f"lists {name}, which is no file", None, "_toc.yml"
        )
    for name in sorted(set(files) - listed):
        yield Finding("contents-agree", "is not in _toc.yml", None, str(files[name]))
    for name in sorted({name for name in documents if documents.count(name) > 1}):
        yield Finding("contents-agree", f"lists {name} twice", None, "_toc.yml")
    order = [chapter.path.with_suffix("").as_posix() for chapter in chapters]
    if order != [name for name in documents if name in order]:
        message = "chapters must stand in _toc.yml in the order of chapters.toml"
        yield Finding("contents-agree", message, None, "_toc.yml")
    notebooks = {name for name, path in files.items() if path.suffix == ".ipynb"}
    for name in sorted(notebooks - set(order)):
        message = "is not in book/chapters.toml"
        yield Finding("contents-agree", message, None, str(files[name]))
    yield from chapter_list_sound(chapters)


def chapter_list_sound(chapters: list[contents.Chapter]) -> Iterator[Finding]:
    """Keys are unique and prerequisites come earlier."""
    known: set[str] = set()
    for chapter in chapters:
        if chapter.key in known:
            yield Finding("chapter-list", f"key {chapter.key} stands twice")
        for needed in sorted(set(chapter.prerequisites) - known):
            message = f"{chapter.key} needs {needed}, which must come before it"
            yield Finding("chapter-list", message, None, "book/chapters.toml")
        known.add(chapter.key)


def titles_agree(
    chapters: list[contents.Chapter], book: dict[str, NotebookNode]
) -> Iterator[Finding]:
    """A chapter's title is the one in the list of chapters."""
    for chapter in chapters:
        notebook = book.get(chapter.path.as_posix())
        if notebook is not None and headings(notebook, 1)[:1] != [chapter.title]:
            message = f"the title must be '{chapter.title}', as in chapters.toml"
            yield Finding("titles-agree", message, None, chapter.path.as_posix())


def check_book(root: Path = ROOT) -> list[Finding]:
    """All findings on the book."""
    chapters = contents.chapters()
    strict = {each.path.as_posix() for each in chapters if each.form == "chapter"}
    book = {path.relative_to(root).as_posix(): read(path) for path in discover()}
    findings = []
    for file, notebook in book.items():
        findings += check_notebook(notebook, file, is_chapter=file in strict)
    files = contents.sources(root)
    for path in files.values():
        if path.suffix == ".md":
            text = (root / path).read_text(encoding="utf-8")
            findings += check_text(text, path.as_posix())
    findings += figure_names_unique(book.items())
    findings += statements_unique(book.items())
    findings += contents_agree(contents.toc_documents(), files, chapters)
    findings += titles_agree(chapters, book)
    return findings


def main() -> int:
    """Print every finding; return the exit status."""
    findings = check_book()
    for finding in findings:
        say(str(finding))
    say(f"{len(findings)} findings in the book's form")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
