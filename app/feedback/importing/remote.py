"""Files on S3 and other stores of fsspec, downloaded one at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.errors import Invalid
from app.feedback.importing.sources import Source


def remote_sources(url: str, folder: Path) -> list[Source]:
    """Returns the object at a URL, or all objects below it. Raises `Invalid` if there are none, and without s3fs."""
    files, place = _file_system(url)
    try:
        if files.isfile(place):
            infos = [files.info(place)]
        else:
            infos = sorted(files.find(place, detail=True).values(), key=lambda info: info["name"])
    except Exception as error:
        raise Invalid(f"Cannot read {url}: {_sentence(error)}", code="file_unreadable") from error
    infos = [info for info in infos if info.get("size")]
    if not infos:
        raise Invalid(f"{url} has no files: check the bucket and the prefix.", code="file_unreadable")
    return [_source(files, info, url, folder, part=len(infos) > 1) for info in infos]


def _source(files: Any, info: dict[str, Any], url: str, folder: Path, *, part: bool) -> Source:
    name = str(info["name"])

    @contextmanager
    def downloaded() -> Iterator[Path]:
        path = folder / "download"
        try:
            files.get_file(name, str(path))
        except Exception as error:
            raise Invalid(f"Cannot read {url}: {_sentence(error)}", code="file_unreadable") from error
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    key = f"{name} {info['size']} {info.get('ETag') or info.get('LastModified')}"
    return Source(name, int(info["size"]), key, part=part, local=downloaded, remote=True)


def _file_system(url: str) -> tuple[Any, str]:
    try:
        import fsspec

        files, place = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise Invalid(
            f"{url}: {error}. For s3:// install the extras of the server: pip install 'thumbwheel-server[server,s3]'.",
            code="file_unreadable",
        ) from error
    except ValueError as error:
        raise Invalid(f"{url} is no file, folder or known URL: {error}.", code="file_unreadable") from error
    return files, place


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if text.endswith(".") else f"{text}."
