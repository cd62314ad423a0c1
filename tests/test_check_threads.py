"""Eight real threads on a token that is right: what overlaps is explained, and nothing is found (nss_scene.py looks)."""
import re

import pytest

from nss_scene import LABEL, new_scene, pki, scene  # noqa: F401

pytestmark = pytest.mark.nss


def test_a_hundred_handshakes_in_eight_threads(scene):  # noqa: F811
    """Server and client have their keys on the token, each in eight threads."""
    scene.trust_ca()
    scene.import_p12("server-ec")
    scene.import_p12("user-ec")
    with scene.selfserv("server-ec", "-rr", "-t", 8) as server:
        out = scene("strsclnt", "-d", "sql:nssdb", "-n", f"{LABEL}:user-ec", "-W", "pins.txt", "-c", 100, "-t", 8, "-N",
                    "-V", "tls1.2:tls1.3", "-p", server.port, "localhost", status=None, timeout=120)
        assert "100 server certificates tested" in out, out
    assert scene.called("C_Sign") >= 200
    threads = re.findall(r" \[(\d+/\d+) ", scene("p11trace", "dump", "-e", "fn=C_Sign", scene.traces))
    assert len(set(threads)) >= 8
