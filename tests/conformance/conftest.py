"""What every conformance test shares."""

from collections.abc import Iterator
from pathlib import Path

import certifi
import pytest

_END = "-----END CERTIFICATE-----\n"


@pytest.fixture(scope="session", autouse=True)
def one_certificate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Trusts one certificate instead of 140.

    Each HTTP client reads all that it trusts, which took two thirds of these tests' time; the
    exchange speaks plain HTTP on loopback, so nothing here is ever verified against any.
    """
    first, _, _ = Path(certifi.where()).read_text(encoding="ascii", errors="ignore").partition(_END)
    file = tmp_path_factory.mktemp("trust") / "one.pem"
    file.write_text(first + _END, encoding="ascii")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(file))
        yield
