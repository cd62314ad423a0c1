"""Real clients under `p11trace run`: the same output, and softoken's calls beside those of the module on the same tape."""
import os
import re
import shutil

import pytest

import p11t_reader
import softhsm
from conftest import own_mounts
from lab import assert_nothing_lost
from nss import installed
from nss_scene import LABEL, PIN, Scene, Server, free_port, openssl, pki  # noqa: F401

pytestmark = [pytest.mark.nss, pytest.mark.nosan]

DB = ("-d", "sql:nssdb")
TOKEN_PRESENT = 1
SEARCHES = ("C_FindObjectsInit",)
SIGNATURES = ("C_Sign", "C_SignFinal")


@pytest.fixture(scope="module")
def scene(tmp_path_factory, build, pki):
    """One token with the users' and the server's keys; the database has the module itself."""
    scene = Scene(tmp_path_factory.mktemp("run"), build, pki, traced=False)
    scene.trust_ca()
    for name in ("user-rsa", "user-ec", "server-rsa"):
        scene.import_p12(name)
    scene.env["PKCS11_MODULE_PATH"] = str(scene.module)
    return scene


@pytest.fixture
def traces(scene):
    """Every test has traces of its own."""
    scene.forget()
    scene.traces.mkdir()
    return lambda: [p11t_reader.read(f) for f in sorted(scene.traces.glob("*.p11t"))]


def under(scene, *command):
    return [scene.build / "p11trace", "run", "-q", "-o", scene.traces, "--", *map(str, command)]


def same(scene, *command, status=0, fresh=None):
    """Runs the command with and without; both outputs must be one text, but for what `fresh` matches."""
    plain, traced = scene(*command, status=status), scene(*under(scene, *command), status=status)
    if fresh:
        plain, traced = re.sub(fresh, "", plain), re.sub(fresh, "", traced)
    assert traced == plain
    return plain


def modules_of(trace):
    return {number: os.path.basename(path) for number, path, _ in trace.modules}


def calls_of(trace, module):
    ids = {number for number, name in modules_of(trace).items() if name == module}
    return [c for c in trace.calls if c.enter.module in ids]


def called(trace, module, names):
    """Slots on which the functions were called, in the order of the calls; the session says which."""
    slots, session = [], {}
    for call in calls_of(trace, module):
        if call.name == "C_OpenSession" and call.rv == 0:
            session[call.argument("phSession")[1]["number"]] = call.argument("slotID")[0]["number"]
        if call.name in names and call.rv == 0:
            slots.append(session[call.argument("hSession")[0]["number"]])
    return slots


def present(trace, module):
    """Slots with a token."""
    slots = set()
    for call in calls_of(trace, module):
        if call.name == "C_GetSlotInfo" and call.rv == 0:
            if call.argument("pInfo")[1]["members"]["flags"] & TOKEN_PRESENT:
                slots.add(call.argument("slotID")[0]["number"])
    return slots


def the_trace(traces, *modules):
    (trace,) = traces()
    assert_nothing_lost(trace)
    assert set(modules_of(trace).values()) == set(modules)
    return trace


@pytest.mark.parametrize("argv", [("-L",), ("-L", "-h", "all"), ("-K", "-h", LABEL, "-f", "pin.txt"),
                                  ("-L", "-n", f"{LABEL}:user-rsa")], ids=" ".join)
def test_certutil(scene, traces, argv):
    said = same(scene, "certutil", *DB, *argv)
    assert "user-rsa" in said or "-h" not in argv
    trace = the_trace(traces, "libsoftokn3.so", "module.so")
    if argv == ("-L", "-h", "all"):  # FAQ Q1: each slot that has a token is searched, of whatever module
        for module in ("libsoftokn3.so", "module.so"):
            assert present(trace, module) and set(called(trace, module, SEARCHES)) >= present(trace, module), module


def test_certutil_makes_a_key(scene, traces):
    scene(*under(scene, "certutil", "-S", *DB, "-h", LABEL, "-f", "pins.txt", "-n", "made", "-s", "CN=made", "-x", "-t", "u,u,u",
                 "-m", 77, "-z", "noise", "-k", "ec", "-q", "nistp256"))
    trace = the_trace(traces, "libsoftokn3.so", "module.so")
    assert called(trace, "module.so", ("C_GenerateKeyPair",)) == [min(present(trace, "module.so"))]
    assert "made" in scene.certutil("-K")
    scene.certutil("-F", "-n", f"{LABEL}:made")


def test_tls(scene, traces):
    """A server with its key on the token under run, two hundred connections of a client under run as well."""
    port = free_port()
    serve = under(scene, "selfserv", *DB, "-n", f"{LABEL}:server-rsa", "-p", port, "-f", "pins.txt", "-V", "tls1.2:tls1.3")
    with Server(scene, serve, port) as server:
        asked = ["strsclnt", *DB, "-c", 200, "-t", 8, "-N", "-V", "tls1.2:tls1.3", "-p", port, "localhost"]
        out = scene(*under(scene, *asked), status=None)
        assert "200 server certificates tested" in out, out
        page = ["tstclnt", "-4", "-h", "localhost", "-p", port, *DB, "-V", "tls1.2:tls1.3", "-A", "request", "-o"]
        dates = r"(?m)^Date: .*$"
        assert "HTTP/1.0 200 OK" in same(scene, *page, fresh=dates)
        (served,) = [pid for pid in children_of(server.process.pid)]
    by_program = {t.fields[5][0].decode(): t for t in traces()}
    assert set(by_program) == {"selfserv", "strsclnt", "tstclnt"}
    for trace in by_program.values():
        assert trace.damage == [] and set(modules_of(trace).values()) == {"libsoftokn3.so", "module.so"}
    selfserv = by_program["selfserv"]
    assert selfserv.pid == served
    signed = called(selfserv, "module.so", SIGNATURES)
    # FAQ Q15: each on the slot where the key was found.
    assert len(signed) >= 202 and set(signed) == {min(present(selfserv, "module.so"))}


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return list(map(int, f.read().split()))


def test_client_certificate(scene, traces):
    """tstclnt -n: the key of the user signs on the token."""
    port = free_port()
    with Server(scene, ["selfserv", *DB, "-n", f"{LABEL}:server-rsa", "-p", port, "-f", "pins.txt", "-V", "tls1.2:tls1.3",
                        "-rr"], port):
        out = scene(*under(scene, "tstclnt", "-4", "-h", "localhost", "-p", port, *DB, "-n", f"{LABEL}:user-ec", "-W",
                           "pins.txt", "-V", "tls1.2:tls1.3", "-A", "request", "-o"))
    assert "HTTP/1.0 200 OK" in out
    trace = the_trace(traces, "libsoftokn3.so", "module.so")
    assert len(called(trace, "module.so", SIGNATURES)) == 1


def test_p11tool(scene, traces):
    same(scene, "p11tool", f"--provider={scene.module}", "--login", f"--set-pin={PIN}", "--list-all",
         f"pkcs11:token={LABEL}")
    the_trace(traces, "module.so")


def test_pkcs11_tool(scene, traces):
    tool = ["pkcs11-tool", "--module", scene.module, "--token-label", LABEL]
    same(scene, *tool, "--login", "--pin", PIN, "-O")
    same(scene, *tool, "-M")
    for trace in traces():
        assert_nothing_lost(trace)
        assert list(modules_of(trace).values()) == ["module.so"]


def test_pkcs11_spy_inside(scene, traces):
    """A module that loads another: both are traced, and each call of the outer has one of the inner."""
    scene.env.update(PKCS11SPY=str(scene.module), PKCS11SPY_OUTPUT="/dev/null")
    same(scene, "pkcs11-tool", "--module", installed("*/pkcs11-spy.so"), "--token-label", LABEL, "-O")
    trace = the_trace(traces, "pkcs11-spy.so", "module.so")
    assert called(trace, "pkcs11-spy.so", SEARCHES) == called(trace, "module.so", SEARCHES) != []


def test_ssh_keygen(scene, traces):
    assert same(scene, "ssh-keygen", "-D", scene.module).count("ssh-rsa") >= 1
    the_trace(traces, "module.so")


def test_openssl_engine(scene, traces):
    uri = f"pkcs11:token={LABEL};object=user-rsa;type=private;pin-value={PIN}"
    same(scene, "openssl", "pkeyutl", "-engine", "pkcs11", "-keyform", "engine", "-inkey", uri, "-sign", "-rawin", "-digest",
         "sha256", "-in", "message", "-out", "signature")
    trace = the_trace(traces, "module.so")
    assert len(called(trace, "module.so", ("C_Sign",))) == 1
    openssl(scene.folder, "x509", "-in", "user-rsa.pem", "-noout", "-pubkey", "-out", "public.pem")
    assert b"Verified OK" in openssl(scene.folder, "dgst", "-sha256", "-verify", "public.pem", "-signature", "signature",
                                     "message")


def test_keytool(scene, traces):
    """The JVM's SunPKCS11, which loads the module by JNI and calls it from threads of its own."""
    (scene.folder / "java.conf").write_text(f"name = Scene\nlibrary = {scene.module}\nslotListIndex = 0\n")
    said = same(scene, "keytool", "-list", "-keystore", "NONE", "-storetype", "PKCS11", "-storepass", PIN, "-addprovider",
                "SunPKCS11", "-providerarg", "java.conf")
    assert "user-rsa" in said and "user-ec" in said
    trace = the_trace(traces, "module.so")
    assert "C_FindObjects" in {c.name for c in trace.calls}


@pytest.mark.root
def test_p11_kit_proxy(scene, traces, tmp_path):
    """Five modules inside one: each has its own id, and the proxy's own calls are there as well."""
    folder, mocks = tmp_path / "modules", scene.build / "tests" / "mocks"
    folder.mkdir()
    shutil.copy(mocks / "mock240.so", tmp_path / "first.so")
    shutil.copy(mocks / "mock240.so", tmp_path / "second.so")
    inside = [scene.module, softhsm.MODULE, installed("*/opensc-pkcs11.so"), tmp_path / "first.so", tmp_path / "second.so"]
    for i, module in enumerate(inside):
        (folder / f"m{i}.module").write_text(f"module: {module}\n")
    proxy = installed("*/p11-kit-proxy.so")
    said = same(scene, *own_mounts(), "sh", "-c", f"mount --bind {folder} /usr/share/p11-kit/modules && exec pkcs11-tool "
                f"--module {proxy} -L")
    assert LABEL in said
    trace = the_trace(traces, *[os.path.basename(m) for m in inside], proxy.name)
    for module in modules_of(trace).values():
        assert [c for c in calls_of(trace, module) if c.name == "C_GetSlotList"], module


def test_summary_of_certutil(scene, traces):
    out = scene(scene.build / "p11trace", "run", "-o", scene.traces, "--", "certutil", "-L", *DB, "-h", "all")
    assert re.search(r"^  certutil\[\d+\]: exit status 0; \d+ calls( \(\d+ not CKR_OK\))? of libsoftokn3.so, module.so$", out,
                     re.M)
    assert "0 errors, 0 warnings" in out
