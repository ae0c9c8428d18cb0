"""A server that speaks S3 on this machine, which may lose what it is given, or the answers that it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import fsspec
import httpx
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

KEY, SECRET = "AKIDKNRYKNRYKNRY", "s3cr3t-KNRY-s3cr3t"

_Start = Callable[..., Any]


class _Quiet(WSGIRequestHandler):
    def log_request(self, *arguments: Any) -> None:
        pass


class S3:
    """The server. ``losing``: what is put is confirmed and not kept; ``muffled``: it is kept, and the answer lost.

    ``spoiling``: what is read are other bytes.
    """

    def __init__(self) -> None:
        self._app: Any = DomainDispatcherApplication(create_backend_app)
        self.losing = self.muffled = self.spoiling = False
        self.url = ""
        self.calls: list[str] = []

    def __call__(self, environ: dict[str, Any], start: _Start) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        self.calls.append(method)
        if method == "PUT" and self.losing:
            start("200 OK", [("ETag", '"0"'), ("Content-Length", "0")])
            return [b""]
        if method == "PUT" and self.muffled:
            list(self._app(environ, lambda *arguments: None))
            start("409 Conflict", [("Content-Length", "0")])
            return [b""]
        if method == "GET" and self.spoiling:
            start("200 OK", [("Content-Length", "6")])
            return [b"spoilt"]
        answer: Iterable[bytes] = self._app(environ, start)
        return answer

    def options(self, table: str) -> str:
        """The table of a tenant file with the options that reach the server."""
        return (
            f'[{table}]\nkey = "env:S3_KEY"\nsecret = "env:S3_SECRET"\n'
            f'[{table}.client_kwargs]\nendpoint_url = "{self.url}"\n'
        )

    @property
    def files(self) -> Any:
        return fsspec.filesystem(
            "s3", key=KEY, secret=SECRET, skip_instance_cache=True, use_listings_cache=False,
            client_kwargs={"endpoint_url": self.url},
        )  # fmt: skip

    def objects(self, bucket: str = "lots") -> dict[str, bytes]:
        """Everything in a bucket, by its path."""
        files = self.files
        return {path: files.cat_file(path) for path in files.find(bucket)}


@contextmanager
def serving_s3(bucket: str = "lots") -> Iterator[S3]:
    s3 = S3()
    server = make_server("127.0.0.1", 0, s3, threaded=True, request_handler=_Quiet)
    thread = Thread(target=server.serve_forever)
    thread.start()
    s3.url = f"http://127.0.0.1:{server.port}"
    try:
        # Its state is the process's.
        httpx.post(f"{s3.url}/moto-api/reset").raise_for_status()
        s3.files.mkdir(bucket)
        yield s3
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
