"""What tests of tcp need: a door's certificate, made for the occasion."""

import ssl
from datetime import UTC, datetime

import pytest

from panicdoor.certificates import generate_tls
from panicdoor.protocols.tls import restrict


@pytest.fixture(scope="session")
def tls_context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """What a stream has for TLS."""
    file = tmp_path_factory.mktemp("tls") / "tls.pem"
    file.write_bytes(generate_tls("web1", ["127.0.0.1"], datetime.now(UTC)))
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    restrict(made)
    made.load_cert_chain(file)
    return made
