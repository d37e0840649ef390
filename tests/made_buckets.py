"""Local servers that emulate ``s3://`` and ``gs://``, with a bucket named ``runs``."""

import contextlib
import importlib.util
import logging
import os
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def s3() -> Iterator[dict[str, str]]:
    """Yields the environment variables for a bucket ``s3://runs`` in memory."""
    server_of_moto = pytest.importorskip("moto.server", reason="moto[s3], flask and flask-cors are not installed")
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = server_of_moto.ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    s3fs.S3FileSystem(endpoint_url=url, key="tester", secret="secret", skip_instance_cache=True).mkdir("runs")
    try:
        yield {
            "AWS_ENDPOINT_URL": url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_ACCESS_KEY_ID": "tester",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }
    finally:
        server.stop()


@contextlib.contextmanager
def gs() -> Iterator[dict[str, str]]:
    """Yields the environment variables for a bucket ``gs://runs`` in memory."""
    emulator = pytest.importorskip("gcp_storage_emulator.server", reason="gcp-storage-emulator is not installed")
    if importlib.util.find_spec("gcsfs") is None:  # it reads the environment when imported
        pytest.skip("gcsfs is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(emulator.objects, "download", _with_generation(emulator.objects.download))
        server = emulator.create_server("127.0.0.1", 0, in_memory=True, default_bucket="runs")
        server.start()
        url = f"http://127.0.0.1:{server._api._httpd.server_port}"
        try:
            yield {
                "STORAGE_EMULATOR_HOST": url,
                "TENSORSTORE_GCS_HTTP_URL": url,
                "GOOGLE_AUTH_TOKEN_FOR_TESTING": "token",
                "GOOGLE_CLOUD_PROJECT": "tests",
                "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
                "NO_GCE_CHECK": "true",
            }
        finally:
            server.stop()


def _with_generation(download):
    """Wraps the emulator's download handler to send the object's generation, as tensorstore requires."""

    def with_header(request, response, storage, *args, **kwargs):
        download(request, response, storage, *args, **kwargs)
        if response.status < 300:
            found = storage.get_file_obj(request.params["bucket_name"], request.params["object_id"])
            response["x-goog-generation"] = found["generation"]

    return with_header
