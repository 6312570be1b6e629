"""What mkdocs does for this site besides: pages from outside of docs/, and links to them.

Links are written for GitHub, from file to file of the repository. What a page links to outside of
docs/ is taken into the site: Markdown as it is, notebooks and programs as pages, and files.
"""

from __future__ import annotations

import base64
import json
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
DOCS = "docs/"
# In the navigation, so they are there whether something links to them or not.
ALWAYS = ("CONTRIBUTING.md", "tutorials/README.md")

_CODE = re.compile(
    r"^(?P<fence>`{3,}|~{3,}).*?^(?P=fence)`*[ ]*$|`[^`\n]+`", re.MULTILINE | re.DOTALL
)
_LINK = re.compile(r"(?P<before>\]\()(?P<target>[^)\s]+)")
_HTML = re.compile(r"""(?P<before>\s(?:src|href)=")(?P<target>[^"]+)""")

_sources: dict[str, str] = {}
"""Page of the site -> file of the repository, for pages from outside of docs/."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Take in what pages link to outside of docs/, and what those pages link to."""
    _sources.clear()
    pages = [file for file in files if file.is_documentation_page()]
    wanted = [*ALWAYS]
    for file in pages:
        wanted += links_of(file.content_string, DOCS + file.src_uri)
    seen: set[str] = set()
    while wanted:
        path = wanted.pop()
        if path in seen or path.startswith((DOCS, "../")) or not (ROOT / path).is_file():
            continue
        seen.add(path)
        uri = uri_of(path)
        if Path(uri).suffix != ".md":
            files.append(File.generated(config, uri, abs_src_path=str(ROOT / path)))
            continue
        text, pictures = page_of(path)
        _sources[uri] = path
        level = InclusionLevel.INCLUDED if path in ALWAYS else InclusionLevel.NOT_IN_NAV
        files.append(File.generated(config, uri, content=text, inclusion=level))
        for name, content in pictures.items():
            files.append(File.generated(config, name, content=content))
        wanted += links_of(text, path)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between files of the repository into links between pages of the site."""
    uri = page.file.src_uri
    source = _sources.get(uri, DOCS + uri)

    def moved(match: re.Match[str], html: bool = False) -> str:
        target, hash_, anchor = match["target"].partition("#")
        path = resolved(target, source)
        if path is None or not (ROOT / path).is_file():
            return match[0]  # another site, a place on this page, or a mistake that mkdocs reports
        new = posixpath.relpath(uri_of(path), posixpath.dirname(uri))
        if html:
            new = re.sub(r"\.md$", ".html", new)
        return f"{match['before']}{new}{hash_}{anchor}"

    def prose(text: str) -> str:
        return _HTML.sub(lambda match: moved(match, html=True), _LINK.sub(moved, text))

    parts, end = [], 0
    for code in _CODE.finditer(markdown):
        parts += [prose(markdown[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, prose(markdown[end:])])


def links_of(markdown: str, source: str) -> Iterator[str]:
    """The files of the repository that a page links to.

    Args:
        source: the page's own file.
    """
    text = _CODE.sub("", markdown)
    for pattern in (_LINK, _HTML):
        for match in pattern.finditer(text):
            path = resolved(match["target"].partition("#")[0], source)
            if path is not None:
                yield path


def resolved(target: str, source: str) -> str | None:
    """The file of the repository that a link means; None if it means none."""
    if not target or re.match(r"[a-z][a-z0-9+.-]*:|/", target):
        return None
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), unquote(target)))


def uri_of(path: str) -> str:
    """Where a file of the repository is in the site's sources."""
    if path.startswith(DOCS):
        return path.removeprefix(DOCS)
    folder, name = posixpath.split(path)
    if name == "README.md" and folder:
        name = "index.md"
    name = re.sub(r"\.(ipynb|py)$", ".md", name)
    if "." not in name:  # LICENSE, which no server knows the kind of
        name += ".txt"
    return posixpath.join(folder, name.lower() if name.endswith(".md") else name)


def page_of(path: str) -> tuple[str, dict[str, bytes]]:
    """A file of the repository as Markdown, and the pictures in it by their place in the site."""
    text = (ROOT / path).read_text(encoding="utf-8")
    if path.endswith(".py"):
        return f"# {posixpath.basename(path)}\n\n{fenced(text, 'python')}", {}
    if path.endswith(".ipynb"):
        return notebook(json.loads(text), posixpath.splitext(path)[0])
    return text, {}


def notebook(content: dict[str, Any], stem: str) -> tuple[str, dict[str, bytes]]:
    """A notebook with its outputs as Markdown, and its pictures.

    Args:
        stem: the folder for the pictures, in the site.
    """
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in content["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
        elif cell["cell_type"] == "code" and source.strip():
            parts.append(fenced(source, "python"))
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "image/png" in data:
                name = f"{stem}/{len(pictures)}.png"
                pictures[name] = base64.b64decode("".join(data["image/png"]))
                # relative to the page, which is beside the folder
                parts.append(f"![]({posixpath.basename(stem)}/{len(pictures) - 1}.png)")
            elif "text/html" in data:
                html = "".join(data["text/html"])
                parts.append("<div>" + re.sub(r"\s*\n\s*", " ", html) + "</div>")
            elif text := "".join(output.get("text", data.get("text/plain", ""))).rstrip():
                parts.append(fenced(text, "text"))
    return "\n\n".join(parts) + "\n", pictures


def fenced(text: str, language: str) -> str:
    """Code in a fence longer than any in it."""
    longest = max(map(len, re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}\n"
