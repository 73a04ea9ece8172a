"""The web page at ``/`` and its modules: files from the package, under a strict content security policy."""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from aiohttp import web

from service.core.errors import NotFound

__all__ = ["PageRoutes"]

_FILES: Final = {
    "/": ("index.html", "text/html"),
    "/static/sluice.js": ("sluice.js", "text/javascript"),
    "/static/page.js": ("page.js", "text/javascript"),
    "/static/bench.js": ("bench.js", "text/javascript"),
    "/static/jobs.js": ("jobs.js", "text/javascript"),
    "/static/plot.js": ("plot.js", "text/javascript"),
    "/static/table.js": ("table.js", "text/javascript"),
    "/static/places.js": ("places.js", "text/javascript"),
    "/static/page.css": ("page.css", "text/css"),
    "/static/faceblur.html": ("faceblur.html", "text/html"),
    "/static/faceblur.js": ("faceblur.js", "text/javascript"),
    "/static/faceblur.css": ("faceblur.css", "text/css"),
    "/static/icon.svg": ("icon.svg", "image/svg+xml"),
}
_PHOTOGRAPH: Final = "astronaut.png"
"""A photograph of NASA with a face, which the package scikit-image has."""
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class PageRoutes:
    """The page's files, read once: nothing is looked up by a name that a client sends."""

    def __init__(self) -> None:
        folder = Path(__file__).parents[1] / "static"
        self._files = {path: ((folder / name).read_bytes(), kind) for path, (name, kind) in _FILES.items()}

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        for path in self._files:
            app.router.add_get(path, self.file)
        app.router.add_get(f"/static/{_PHOTOGRAPH}", self.photograph)

    async def file(self, request: web.Request) -> web.Response:
        """Answer with one of the files."""
        body, kind = self._files[request.path]
        return web.Response(body=body, content_type=kind, charset="utf-8", headers=_HEADERS)

    async def photograph(self, request: web.Request) -> web.StreamResponse:
        """Answer with a photograph that has a face, where this machine has one; raises NotFound."""
        package = find_spec("skimage")
        path = None if package is None else Path(package.origin or "").parent / "data" / _PHOTOGRAPH
        if path is None or not path.is_file():
            raise NotFound("the photograph comes with scikit-image, which is not installed here")
        return web.FileResponse(path, headers=_HEADERS)
