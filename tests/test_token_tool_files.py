"""p11token import and export: real files of the openssl command, checked on the token and by openssl."""
import collections
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import pkcs12

from cryptoki import CKA, CKK, CKM, CKO, CkError
from token_files import PASSPHRASE, make_files, nss_id, openssl, public_key

COULD_NOT = 2
CERT, PRIVATE, PUBLIC, CRL = CKO.CERTIFICATE, CKO.PRIVATE_KEY, CKO.PUBLIC_KEY, CKO.NSS_CRL


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_files(tmp_path_factory.mktemp("files"))


@pytest.fixture
def files(made, tmp_path):
    """The folder of the files, under a path that tests may write to."""
    return Path(shutil.copytree(made, tmp_path / "files"))


@pytest.fixture
def tool(run, build, token, files):
    """tool(verb, ..., pin=False): p11token on `token`, in the folder of the files; `pin` adds the user's PIN."""

    def tool(*args, pin=False, **more):
        more_args = ["--pin", token.pin] if pin else []
        p = run(build / "p11token", *args, *more_args, env=token.env, cwd=files, start_new_session=True, **more)
        if p.returncode == COULD_NOT:
            last = p.stderr.splitlines(keepends=True)[-1:]
            assert last and re.fullmatch(r"p11token: [^:\n]+: .+: .+\n", last[0]), p.stderr
        return p

    return tool


def objects(session, label=None):
    """The token's objects as sorted (class, label) pairs."""
    return sorted((session.get_ulong(h, CKA.CLASS), session.get(h, CKA.LABEL).decode())
                  for h in session.find({CKA.LABEL: label} if label else {}))


# --- import ---

BOTH = (PRIVATE, PUBLIC)

# file: classes of the objects that it becomes, their label, does it need the passphrase
IMPORTS = {
    "rsa.crt": ((CERT,), "Subject rsa", False),
    "rsa.crt.der": ((CERT,), "Subject rsa", False),
    "rsa.trusted.crt": ((CERT,), "Subject rsa", False),
    "rsa.key": (BOTH, "rsa", False),
    "rsa.der": (BOTH, "rsa", False),
    "rsa.pkcs1.pem": (BOTH, "rsa.pkcs1", False),
    "rsa.pkcs1.der": (BOTH, "rsa.pkcs1", False),
    "rsa.enc.pkcs1.pem": (BOTH, "rsa.enc.pkcs1", True),
    "rsa.enc.pem": (BOTH, "rsa.enc", True),
    "rsa.scrypt.pem": (BOTH, "rsa.scrypt", True),
    "rsa.enc.der": (BOTH, "rsa.enc", True),
    "rsa.pub": ((PUBLIC,), "rsa", False),
    "rsa.pub.der": ((PUBLIC,), "rsa.pub", False),
    "rsa.pkcs1.pub": ((PUBLIC,), "rsa.pkcs1", False),
    "rsa.aes.p12": ((CERT, *BOTH), "Friend", True),
    "rsa.3des.p12": ((CERT, *BOTH), "Friend", True),
    "rsa.rc2.p12": ((CERT, *BOTH), "Friend", True),
    "rsa.nopass.p12": ((CERT, *BOTH), "Friend", False),
    "rsa.nolabel.p12": ((CERT, *BOTH), "Subject rsa", True),
    "p256.key": (BOTH, "p256", False),
    "p256.sec1.pem": (BOTH, "p256.sec1", False),
    "p256.sec1.der": (BOTH, "p256.sec1", False),
    "params.pem": (BOTH, "params", False),
    "p256.pub": ((PUBLIC,), "p256", False),
    "p384.key": (BOTH, "p384", False),
    "ed25519.key": (BOTH, "ed25519", False),
    "ed25519.crt": ((CERT,), "Subject ed25519", False),
    "ed25519.pub": ((PUBLIC,), "ed25519", False),
    "x25519.key": (BOTH, "x25519", False),
    "ca.crl": ((CRL,), "Subject rsa", False),
    "ca.crl.der": ((CRL,), "Subject rsa", False),
}

KEY_TYPES = {"rsa": CKK.RSA, "p256": CKK.EC, "p384": CKK.EC, "ed25519": CKK.EC_EDWARDS, "x25519": CKK.EC_MONTGOMERY}


def check_signature(session, private, kind, public):
    """What the token signs with the key, python verifies with the public key of the file."""
    data = b"to be signed"
    if kind == "rsa":
        public.verify(session.sign(CKM.SHA256_RSA_PKCS, private, data), data, padding.PKCS1v15(), hashes.SHA256())
    elif kind in ("p256", "p384"):
        raw = session.sign(CKM.ECDSA_SHA256, private, data)
        r, s = (int.from_bytes(half, "big") for half in (raw[:len(raw) // 2], raw[len(raw) // 2:]))
        public.verify(encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))
        assert session.get_bool(private, CKA.DERIVE)
    elif kind == "ed25519":
        public.verify(session.sign(CKM.EDDSA, private, data), data)


@pytest.mark.parametrize("name", IMPORTS)
def test_import(tool, token, files, name):
    classes, label, needs_passphrase = IMPORTS[name]
    private = PRIVATE in classes
    if needs_passphrase:
        p = tool("import", name, "--file-pin", "wrong", pin=True, status=COULD_NOT)
        assert "passphrase is wrong" in p.stderr
        p = tool("import", name, pin=True, status=COULD_NOT)
        assert f"passphrase of {name}: use --file-pin-file FILE" in p.stderr
    p = tool("import", name, *(["--file-pin", PASSPHRASE] if needs_passphrase else []), pin=private)
    assert len(p.stdout.splitlines()) == len(classes) and p.stderr == ""
    s = token.session()
    assert objects(s) == sorted((c, label) for c in classes)
    kind = re.match(r"p256|p384|ed25519|x25519", name)
    kind = kind[0] if kind else "p256" if name == "params.pem" else "rsa"
    public = public_key(files / f"{kind}.key")
    for handle in s.find():
        kind_of = s.get_ulong(handle, CKA.CLASS)
        assert s.get_bool(handle, CKA.TOKEN) and s.get_bool(handle, CKA.PRIVATE) == (kind_of == PRIVATE)
        if kind_of != CRL:
            assert s.get(handle, CKA.ID) == nss_id(public), "as NSS makes it"
        if kind_of in BOTH:
            assert s.get_ulong(handle, CKA.KEY_TYPE) == KEY_TYPES[kind]
            spki = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
            if kind_of == PUBLIC:
                assert s.get(handle, CKA.PUBLIC_KEY_INFO) == spki
        if kind_of == PRIVATE:
            assert s.get_bool(handle, CKA.SENSITIVE) and not s.get_bool(handle, CKA.EXTRACTABLE)
            check_signature(s, handle, kind, public)
        if kind_of == CERT:
            der = x509.load_pem_x509_certificate((files / f"{kind}.crt").read_bytes()).public_bytes(serialization.Encoding.DER)
            assert s.get(handle, CKA.VALUE) == der
            cert = x509.load_der_x509_certificate(der)
            assert s.get(handle, CKA.SUBJECT) == cert.subject.public_bytes()
            assert s.get(handle, CKA.ISSUER) == cert.issuer.public_bytes()
            serial = s.get(handle, CKA.SERIAL_NUMBER)
            assert serial[0] == 2 and int.from_bytes(serial[2:], "big") == cert.serial_number
        if kind_of == CRL:
            assert s.get(handle, CKA.VALUE) == (files / "ca.crl.der").read_bytes()


def test_import_of_many_at_once(tool, token, files):
    p = tool("import", "all.pem", "ed25519.crt", "leaf.crt", pin=True)
    s = token.session()
    assert objects(s) == sorted(
        [(c, "Subject rsa") for c in (CERT, *BOTH, CRL)] + [(c, "Subject p256") for c in (CERT, *BOTH)] +
        [(c, "Subject ed25519") for c in (CERT, *BOTH)] + [(CERT, "Leaf of rsa")])
    (key,) = s.find({CKA.CLASS: PRIVATE, CKA.LABEL: "Subject ed25519"})
    (cert,) = s.find({CKA.CLASS: CERT, CKA.LABEL: "Subject ed25519"})
    assert s.get(key, CKA.SUBJECT) == s.get(cert, CKA.SUBJECT) and s.get(key, CKA.ID) == s.get(cert, CKA.ID)
    assert re.search(r'^private key RSA 2048 "Subject rsa" id [0-9a-f]{40}: .*\bsign\b', p.stdout, re.M)
    assert re.search(r'^private key ED25519 "Subject ed25519"', p.stdout, re.M)
    # Again: nothing is doubled.
    before = s.find()
    again = tool("import", "all.pem", pin=True).stdout.splitlines()
    assert len(again) == 9 and all(line.startswith("already there: ") for line in again)
    assert sorted(s.find()) == sorted(before)


def test_import_with_label_id_and_extractable(tool, token, files):
    tool("import", "rsa.key", "rsa.crt", "--label", "Chosen", "--id", "00:ff:1a", "--extractable", pin=True)
    s = token.session()
    assert objects(s) == [(CERT, "Chosen"), (PUBLIC, "Chosen"), (PRIVATE, "Chosen")]
    assert {s.get(h, CKA.ID) for h in s.find()} == {b"\x00\xff\x1a"}
    key = s.find_one({CKA.CLASS: PRIVATE})
    assert s.get_bool(key, CKA.EXTRACTABLE) and s.get_bool(key, CKA.SENSITIVE)
    with pytest.raises(CkError, match="CKR_ATTRIBUTE_SENSITIVE"):
        s.get(key, CKA.PRIVATE_EXPONENT)


def test_import_from_standard_input_and_passphrase_from_a_file(tool, token, files):
    (files / "phrase").write_text(PASSPHRASE + "\n")
    tool("import", "-", "--label", "stdin", input=(files / "rsa.crt").read_text())
    tool("import", "rsa.chain.p12", "rsa.enc.pem", "--file-pin-file", "phrase", pin=True)
    s = token.session()
    # The issuer's certificate was there already; the key in the second file is its key.
    assert objects(s) == sorted([(CERT, "stdin")] + [(c, "Leaf") for c in (CERT, *BOTH)] + [(c, "Subject rsa") for c in BOTH])


def test_a_key_that_comes_after_its_certificate(tool, token, files):
    tool("import", "rsa.crt", "--label", "Mine")
    tool("import", "rsa.key", pin=True)
    s = token.session()
    assert objects(s) == [(CERT, "Mine"), (PUBLIC, "Mine"), (PRIVATE, "Mine")]
    assert len({s.get(h, CKA.SUBJECT) for h in s.find()}) == 1


@pytest.mark.parametrize("content, words", [
    (None, "cannot read: bad: No such file or directory"),
    (b"", "nothing to import: bad: it is no key"),
    (b"just text\n", "nothing to import: bad: it is no key"),
    (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot read: bad: the block 'CERTIFICATE' is damaged"),
    (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "cannot read: bad: the block 'PRIVATE KEY' is damaged"),
    (b"-----BEGIN CERTIFICATE-----\nAAAA\n", "cannot read: bad: a PEM block is damaged"),
    (b"-----BEGIN CMS-----\nMAA=\n-----END CMS-----\n", "cannot import: bad: it has a block 'CMS'"),
    (b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n", "nothing to import: bad: it has no key"),
])
def test_import_refuses_and_leaves_the_token_alone(tool, token, files, content, words):
    if content is not None:
        (files / "bad").write_bytes(content)
    assert words in tool("import", "rsa.crt", "bad", pin=True, status=COULD_NOT).stderr
    assert token.session().find() == [], "the good file beside it was not imported either"


def test_import_of_damaged_files_ends_orderly(tool, token, files, count):
    """Cut short, or with a byte changed: imported if the damage does not show, else refused; never a crash."""
    names = ["rsa.der", "rsa.enc.der", "rsa.aes.p12", "rsa.rc2.p12", "rsa.crt.der", "ca.crl.der", "p256.sec1.der", "all.pem", "rsa.enc.pkcs1.pem"]
    random.seed(8)
    ends = collections.Counter()
    for i in range(count(450)):
        data = bytearray((files / names[i % len(names)]).read_bytes())
        if i % 3 == 0:
            del data[random.randrange(1, len(data)):]
        else:
            data[random.randrange(min(len(data), 80 if i % 3 == 1 else len(data)))] ^= 1 << random.randrange(8)
        (files / "damaged").write_bytes(data)
        p = tool("import", "damaged", "--file-pin", PASSPHRASE, pin=True, status=None)
        ends[p.returncode] += 1
        assert p.returncode in (0, COULD_NOT), f"{p.returncode} for {bytes(data).hex()}"
    assert ends[COULD_NOT] > 10
    token.session()


@pytest.mark.parametrize("args, words", [
    ([], "no file: FILE"),
    (["rsa.crt", "--id", "xyz"], "not an id: xyz"),
    (["rsa.crt", "--id", "1"], "not an id: 1"),
    (["rsa.crt", "--id", "00" * 65], "not an id"),
    (["rsa.crt", "p256.crt", "--id", "01"], "more than one key: --id"),
    (["rsa.key", "--pin", "wrong"], "cannot log in: Test Token: the PIN is wrong"),
    (["rsa.key"], "not given: user PIN: use --pin-file FILE"),
    (["rsa.key", "--token", "Other"], "no such token: Other"),
])
def test_import_misused(tool, token, args, words):
    assert words in tool("import", *args, status=COULD_NOT).stderr
    assert token.session().find() == []


def test_a_key_that_the_token_does_not_know(tool, token, files):
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:sect163k1", "-out", "binary.key", cwd=files)
    assert "cannot import: binary.key: the token does not know the key's curve" in tool("import", "binary.key", pin=True, status=COULD_NOT).stderr
    assert token.session().find() == []


@pytest.mark.nss
def test_nss_gives_a_certificate_the_id_that_its_key_has(tool, token, files, run, tmp_path):
    """The other way round: NSS computes the id of the certificates that it stores beside the imported keys."""
    tool("import", "rsa.key", "p256.key", "p384.key", pin=True)
    (tmp_path / "pin").write_text(token.pin)
    database = f"sql:{tmp_path}"
    run("certutil", "-N", "-d", database, "--empty-password")
    run("modutil", "-force", "-dbdir", database, "-add", "token", "-libfile", token.module, env=token.env)
    names = ("rsa", "p256", "p384")
    for name in names:
        run("certutil", "-A", "-d", database, "-h", token.label, "-n", f"nss {name}", "-t", ",,", "-i", files / f"{name}.crt", "-f",
            tmp_path / "pin", env=token.env)
    s = token.session()
    for name in names:
        cert = s.find_one({CKA.CLASS: CERT, CKA.LABEL: f"nss {name}"})
        assert s.get(cert, CKA.ID) == nss_id(public_key(files / f"{name}.key"))
        assert len(s.find({CKA.CLASS: PRIVATE, CKA.ID: s.get(cert, CKA.ID)})) == 1


# --- export ---


@pytest.fixture
def filled(tool):
    """The token with extractable keys, but for that of P-384; a leaf and its issuer."""
    tool("import", "all.pem", "--extractable", pin=True)
    tool("import", "leaf.key", "leaf.crt", "--extractable", pin=True)
    tool("import", "p384.key", pin=True)
    return tool


@pytest.mark.parametrize("name, label", [("rsa", "Subject rsa"), ("p256", "Subject p256"), ("ed25519", "all")])
def test_export_of_keys_gives_the_same_key_back(filled, files, name, label):
    out = filled("export", "--label", label, "--type", "public").stdout
    assert out.encode() == openssl("pkey", "-in", files / f"{name}.key", "-pubout")
    filled("export", "--label", label, "--type", "private", "--file-pin", PASSPHRASE, "out.key", pin=True)
    assert (files / "out.key").read_text().startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    assert (files / "out.key").stat().st_mode & 0o777 == 0o600
    assert openssl("pkey", "-in", files / "out.key", "-passin", f"pass:{PASSPHRASE}") == (files / f"{name}.key").read_bytes()


def test_export_of_certificates(filled, files):
    assert filled("export", "--label", "Subject rsa").stdout == (files / "rsa.crt").read_text()
    filled("export", "--id", nss_id(public_key(files / "leaf.key")).hex(), "leaf.out")
    assert (files / "leaf.out").read_text() == (files / "leaf.crt").read_text()
    assert "the file exists: leaf.out" in filled("export", "--label", "Subject rsa", "leaf.out", status=COULD_NOT).stderr
    assert (files / "leaf.out").read_text() == (files / "leaf.crt").read_text()
    filled("export", "--label", "Subject rsa", "leaf.out", "--force")
    assert (files / "leaf.out").read_text() == (files / "rsa.crt").read_text()
    assert [p.name for p in files.iterdir() if p.name.startswith("leaf.out")] == ["leaf.out"]


def test_export_as_pkcs12_with_the_chain(filled, files, token):
    filled("export", "--label", "Leaf of rsa", "--type", "p12", "--file-pin", PASSPHRASE, "out.p12", pin=True)
    key, cert, more = pkcs12.load_key_and_certificates((files / "out.p12").read_bytes(), PASSPHRASE.encode())
    assert key.public_key().public_numbers() == public_key(files / "leaf.key").public_numbers()
    assert cert == x509.load_pem_x509_certificate((files / "leaf.crt").read_bytes())
    assert more == [x509.load_pem_x509_certificate((files / "rsa.crt").read_bytes())]
    info = subprocess.run(["openssl", "pkcs12", "-in", files / "out.p12", "-passin", f"pass:{PASSPHRASE}", "-noout", "-info"],
                          check=True, capture_output=True, text=True).stderr
    assert info.count("AES-256-CBC, Iteration 600000") == 2 and "MAC: sha256, Iteration 600000" in info


@pytest.mark.parametrize("args, words", [
    (["--label", "p384", "--type", "private", "--file-pin", "x"], "cannot export: p384: the key was made not to leave the token"),
    (["--label", "p384", "--type", "p12", "--file-pin", "x"], "cannot export: p384: the key was made not to leave the token"),
    (["--label", "Subject rsa", "--type", "private"], "not given: passphrase of the file: use --file-pin-file FILE"),
    (["--label", "Subject rsa", "--type", "private", "--file-pin", ""], "the passphrase is empty"),
    (["--label", "nobody"], "no such object: nobody"),
    (["--id", "00"], "no such object: --id"),
    (["--label", "Subject rsa", "--type", "pem"], "no such type: pem"),
    ([], "no object: --label, --id"),
    (["--label", "Subject rsa", "a", "b"], "more than one file: b"),
    (["--label", "Subject rsa", "no/such/folder"], "cannot write: no/such/folder: No such file or directory"),
])
def test_export_refuses(filled, files, args, words):
    before = sorted(p.name for p in files.iterdir())
    p = filled("export", *args, pin=True, status=COULD_NOT)
    assert words in p.stderr and p.stdout == ""
    assert sorted(p.name for p in files.iterdir()) == before


def test_export_needs_a_choice_and_the_pin(filled, token, files):
    openssl("req", "-x509", "-new", "-key", "rsa.key", "-subj", "/CN=Subject rsa", "-days", "9", "-out", "newer.crt", cwd=files)
    filled("import", "newer.crt")
    assert "more than one object: Subject rsa" in filled("export", "--label", "Subject rsa", status=COULD_NOT).stderr
    p = filled("export", "--label", "Subject rsa", "--type", "private", "--pin", "wrong", status=COULD_NOT)
    assert "cannot log in: Test Token: the PIN is wrong" in p.stderr


def test_what_openssl_exports_and_the_token_exports_is_one(tool, token, files):
    """Round trip: in from PKCS #12, out as PKCS #12, into a second token."""
    tool("import", "rsa.rc2.p12", "--file-pin", PASSPHRASE, "--extractable", pin=True)
    tool("export", "--label", "Friend", "--type", "p12", "--file-pin", "second", "again.p12", pin=True)
    tool("init", "--label", "Second", "--pin", token.pin, "--so-pin", token.so_pin, "--kdf-cost", "4")
    tool("import", "--token", "Second", "again.p12", "--file-pin", "second", pin=True)
    m = token.load()
    s = m.open_session(m.slot_of("Second"))
    s.login(token.pin)
    assert objects(s) == [(CERT, "Friend"), (PUBLIC, "Friend"), (PRIVATE, "Friend")]
    public = public_key(files / "rsa.key")
    assert isinstance(public, rsa.RSAPublicKey)
    check_signature(s, s.find_one({CKA.CLASS: PRIVATE}), "rsa", public)
