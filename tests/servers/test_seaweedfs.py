"""The test server keeps strangers out, so that what passes against it passes against a real one."""

from __future__ import annotations

import socket
import ssl
import urllib.error
import urllib.request

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.servers.seaweedfs import S3Server


def test_a_wrong_secret_is_refused(s3_server: S3Server) -> None:
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=s3_server.endpoint,
        region_name=s3_server.region,
        aws_access_key_id=s3_server.access_key,
        aws_secret_access_key="wrong",
    )
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client.list_buckets()
    client.close()


def test_the_filer_deletes_nothing_without_a_token(s3_server: S3Server) -> None:
    url = f"http://127.0.0.1:{s3_server.ports['filer.port']}/buckets/?recursive=true"
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(urllib.request.Request(url, method="DELETE"), timeout=10)
    assert refusal.value.code in {401, 403, 404}
    refusal.value.close()


def test_the_master_takes_no_orders_over_http(s3_server: S3Server) -> None:
    url = f"http://127.0.0.1:{s3_server.ports['master.port']}/col/delete?collection=x"
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(url, timeout=10)
    assert refusal.value.code == 404
    refusal.value.close()


@pytest.mark.parametrize("part", ["master", "volume", "filer"])
def test_grpc_wants_a_certificate(s3_server: S3Server, part: str) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    address = ("127.0.0.1", s3_server.ports[f"{part}.port.grpc"])
    with (
        socket.create_connection(address, timeout=10) as plain,
        pytest.raises(ssl.SSLError, match="CERTIFICATE"),
        context.wrap_socket(plain) as wrapped,
    ):
        wrapped.recv(1)
