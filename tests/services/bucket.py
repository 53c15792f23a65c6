"""A local S3 server (moto) for tests that store artifacts in a bucket."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from io import StringIO

import httpx
import s3fs

BUCKET = "artifacts"


@contextmanager
def bucket_server() -> Iterator[Mapping[str, str]]:
    """Runs the server until the block ends and yields the environment of a process that stores artifacts there."""
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    with redirect_stdout(StringIO()):
        server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    try:
        yield {
            "THUMBWHEEL_ARTIFACTS_URL": f"s3://{BUCKET}/thumbwheel",
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_MAX_ATTEMPTS": "1",
        }
    finally:
        httpx.post(f"{url}/moto-api/reset")  # otherwise the next server of this process would have the same buckets
        server.stop()


def bucket() -> s3fs.S3FileSystem:
    """Connects to the server of the environment with s3fs alone, and creates the bucket if it is missing."""
    found = s3fs.S3FileSystem(use_listings_cache=False, endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    if not found.exists(BUCKET):
        found.mkdir(BUCKET)
    return found
