"""NSS's own tools do everything with our token: keys, certificates, files, messages, PINs.  TLS is in test_token_nss_tls.py.

Every scene is traced, and `p11trace check` must find nothing above info in it."""
import re

import pytest

from nss_scene import LABEL, PASSWORD, PIN, SO_PIN, new_scene, openssl, pki, scene  # noqa: F401

pytestmark = pytest.mark.nss


# --- keys and certificates made on the token ----------------------------------------------------------------------

# name: (certutil's arguments, key type in `certutil -K`, what `openssl x509 -text` must show)
GENERATED = {
    "rsa-2048": (["rsa", "-g", 2048], "rsa", "Public-Key: (2048 bit)"),
    "rsa-3072": (["rsa", "-g", 3072], "rsa", "Public-Key: (3072 bit)"),
    "dsa": (["dsa"], "dsa", "dsaEncryption"),
    "nistp256": (["ec", "-q", "nistp256"], "ec", "ASN1 OID: prime256v1"),
    "nistp384": (["ec", "-q", "nistp384"], "ec", "ASN1 OID: secp384r1"),
    "nistp521": (["ec", "-q", "nistp521"], "ec", "ASN1 OID: secp521r1"),
}


@pytest.mark.parametrize("name", GENERATED)
def test_key_and_self_signed_certificate(scene, name):
    arguments, kind, shown = GENERATED[name]
    scene.self_signed(name, *arguments)
    assert scene.keys() == [(kind, name)]
    pem = scene.certificate(name)
    assert shown in openssl(scene.folder, "x509", "-in", "got.pem", "-noout", "-text").decode()
    (scene.folder / "self.pem").write_bytes(pem)
    openssl(scene.folder, "verify", "-CAfile", "self.pem", "self.pem")
    assert scene.called("C_GenerateKeyPair") == 1, "the key was made elsewhere and imported"


@pytest.mark.parametrize("name", GENERATED)
def test_request_is_signed_on_the_token(scene, name):
    arguments, kind, _ = GENERATED[name]
    scene.certutil("-R", "-s", "CN=Request", "-z", "noise", "-o", "out", "-k", *arguments)
    text = openssl(scene.folder, "req", "-inform", "DER", "-in", "out", "-verify", "-noout", "-subject").decode()
    assert "CN = Request" in text
    # The certificate that answers it finds its key, which gets the certificate's name.
    openssl(scene.folder, "req", "-inform", "DER", "-in", "out", "-out", "out.csr")
    openssl(scene.folder, "x509", "-req", "-in", "out.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", 77,
            "-days", 30, "-out", "answer.pem")
    scene.certutil("-A", "-n", "answer", "-t", "u,u,u", "-i", "answer.pem")
    assert scene.keys() == [(kind, "answer")]


def test_x25519_key(scene):
    """NSS 3.87 asks for it through CKM_EC_KEY_PAIR_GEN with an object identifier of its own."""
    scene.certutil("-G", "-k", "ec", "-q", "curve25519", "-z", "noise")
    assert [kind for kind, _ in scene.keys()] == ["ec"]
    assert scene.called("C_GenerateKeyPair") == 1


def test_rsa_pss_certificate(scene):
    scene.self_signed("pss", "rsa", "-g", 2048, "--pss")
    scene.certificate("pss")
    text = openssl(scene.folder, "x509", "-in", "got.pem", "-noout", "-text").decode()
    assert "Signature Algorithm: rsassaPss" in text and "Public Key Algorithm: rsassaPss" in text
    openssl(scene.folder, "verify", "-CAfile", "got.pem", "got.pem")


# --- files --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name, form", [("user-rsa", "aes256"), ("user-rsa", "3des"), ("user-rsa", "rc2"),
                                        ("user-ec", "aes256"), ("user-p384", "aes256")])
def test_pkcs12_import(scene, name, form):
    scene.trust_ca()
    scene.import_p12(name, form)
    kind = "rsa" if "rsa" in name else "ec"
    assert scene.keys() == [(kind, name)]
    scene.certificate(name)
    assert scene.public_key("got.pem") == scene.public_key(f"{name}.pem")
    # The key works: what it signs is good by its certificate.
    scene("cmsutil", "-S", "-d", "sql:nssdb", "-f", "pins.txt", "-N", f"{LABEL}:{name}", "-H", "SHA256", "-i", "message",
          "-o", "signed")
    openssl(scene.folder, "cms", "-verify", "-inform", "DER", "-in", "signed", "-CAfile", "ca.pem", "-purpose", "any")


EXTRACTABLE = "--keyAttrFlags", "token,private,sensitive,extractable"


@pytest.mark.parametrize("kind", [("rsa", "-g", 2048), ("ec", "-q", "nistp256")], ids=["rsa", "ec"])
def test_export_of_an_extractable_key(scene, kind):
    scene.self_signed("portable", *kind, *EXTRACTABLE)
    scene("pk12util", "-o", "out.p12", "-n", f"{LABEL}:portable", "-d", "sql:nssdb", "-K", PIN, "-W", PASSWORD)
    openssl(scene.folder, "pkcs12", "-in", "out.p12", "-passin", f"pass:{PASSWORD}", "-nodes", "-out", "out.pem")
    private = openssl(scene.folder, "pkey", "-in", "out.pem", "-pubout")
    scene.certificate("portable")
    assert private == scene.public_key("got.pem")


@pytest.mark.parametrize("kind", [("rsa", "-g", 2048), ("ec", "-q", "nistp256")], ids=["rsa", "ec"])
def test_other_keys_are_not_exported(scene, kind):
    scene.self_signed("fixed", *kind, "--keyAttrFlags", "token,private,sensitive,unextractable")
    out = scene("pk12util", "-o", "out.p12", "-n", f"{LABEL}:fixed", "-d", "sql:nssdb", "-K", PIN, "-W", PASSWORD,
                status=None)
    assert "PKCS12 EXPORT SUCCESSFUL" not in out
    exported = scene.folder / "out.p12"
    if exported.exists() and exported.stat().st_size > 0:
        assert b"PRIVATE KEY" not in openssl(scene.folder, "pkcs12", "-in", "out.p12", "-passin", f"pass:{PASSWORD}",
                                             "-nodes")


# --- messages -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["user-rsa", "user-ec"])
def test_smime_signature(scene, name):
    scene.trust_ca()
    scene.import_p12(name)
    scene("cmsutil", "-S", "-d", "sql:nssdb", "-f", "pins.txt", "-N", f"{LABEL}:{name}", "-H", "SHA256", "-i", "message",
          "-o", "signed", "-G")
    assert scene("cmsutil", "-D", "-d", "sql:nssdb", "-f", "pins.txt", "-i", "signed").endswith("a message\n")
    assert b"a message" in openssl(scene.folder, "cms", "-verify", "-inform", "DER", "-in", "signed", "-CAfile", "ca.pem")
    assert scene.called("C_Sign") == 1


@pytest.mark.parametrize("cipher", ["aes-128-cbc", "aes-256-cbc", "des-ede3-cbc"])
def test_smime_decryption(scene, cipher):
    """Encrypted by OpenSSL, decrypted with the key on the token. (EC recipients: cmsutil 3.87 cannot read them.)"""
    scene.import_p12("user-rsa")
    openssl(scene.folder, "cms", "-encrypt", "-in", "message", "-binary", f"-{cipher}", "-outform", "DER", "-out",
            "encrypted", "user-rsa.pem")
    assert scene("cmsutil", "-D", "-d", "sql:nssdb", "-f", "pins.txt", "-i", "encrypted").endswith("a message\n")
    assert scene.called("C_UnwrapKey") >= 2, "one for the import, one for the message"


def test_smime_encryption(scene):
    scene.trust_ca()
    scene.import_p12("user-rsa")
    scene("certutil", "-A", "-d", "sql:nssdb", "-n", "recipient", "-t", ",,", "-i", "user-rsa.pem")
    scene("cmsutil", "-E", "-d", "sql:nssdb", "-f", "pins.txt", "-r", "rsa@example.test", "-i", "message", "-o",
          "encrypted")
    assert scene("cmsutil", "-D", "-d", "sql:nssdb", "-f", "pins.txt", "-i", "encrypted").endswith("a message\n")
    openssl(scene.folder, "cms", "-decrypt", "-in", "encrypted", "-inform", "DER", "-inkey", "user-rsa.key", "-recip",
            "user-rsa.pem", "-out", "decrypted")
    assert (scene.folder / "decrypted").read_text().endswith("a message\n")


# --- symmetric keys -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind, size", [("aes", 32), ("aes", 16), ("des3", 24), ("generic", 20)])
def test_symmetric_key(scene, kind, size):
    where = ("-d", "sql:nssdb", "-h", LABEL, "-f", "pin.txt")
    size_argument = () if kind == "des3" else ("-s", size)
    scene("symkeyutil", "-K", "-n", "symmetric", "-t", kind, *size_argument, *where)
    listed = scene("symkeyutil", "-L", *where)
    assert re.search(rf"symmetric.* {size}\b", listed), listed
    scene("symkeyutil", "-D", "-n", "symmetric", *where)
    assert "symmetric" not in scene("symkeyutil", "-L", *where)


# --- PINs ---------------------------------------------------------------------------------------------------------

def test_first_pin(new_scene):
    """modutil gives the token its first PIN, after which keys can be made; the SO's empty PIN is worth nothing then."""
    scene = new_scene(init=False)
    scene("modutil", "-force", "-dbdir", "sql:nssdb", "-changepw", LABEL, "-newpwfile", "pin.txt")
    scene.self_signed("first", "ec", "-q", "nistp256")
    assert scene.keys() == [("ec", "first")]
    scene("p11token", "pin", "--unlock", "--so-pin", "", "--new-pin", "taken-over", status=2)
    assert scene.keys() == [("ec", "first")], "the PIN is what it was"


def test_pin_change(scene):
    scene.import_p12("user-ec")
    (scene.folder / "new.txt").write_text("another-pin\n")
    scene("modutil", "-force", "-dbdir", "sql:nssdb", "-changepw", LABEL, "-pwfile", "pin.txt", "-newpwfile", "new.txt")
    assert "user-ec" in scene("certutil", "-K", "-d", "sql:nssdb", "-h", LABEL, "-f", "new.txt")
    scene.certutil("-K", status=255)
    scene("certutil", "-K", "-d", "sql:nssdb", "-h", LABEL, "-f", "new.txt")


# --- deletion -----------------------------------------------------------------------------------------------------

def test_deletion(scene):
    scene.self_signed("one", "ec", "-q", "nistp256")
    scene.self_signed("two", "rsa", "-g", 2048)
    scene.certutil("-D", "-n", f"{LABEL}:one")
    assert (["ec", "rsa"] == sorted(kind for kind, _ in scene.keys()))
    scene.certutil("-F", "-n", f"{LABEL}:two")
    assert [kind for kind, _ in scene.keys()] == ["ec"]
    listed = scene.certutil("-L")
    assert f"{LABEL}:one" not in listed and f"{LABEL}:two" not in listed


# --- looking things up --------------------------------------------------------------------------------------------

def trust_of(listing, nickname):
    found = re.search(rf"^{re.escape(nickname)} +(\S+)$", listing, re.M)
    assert found, listing
    return found[1]


def test_listed_without_login(scene):
    """Q9: the user's certificate is u,u,u and a CA's has its stored trust, before and after login, because the public
    keys are visible without one (Q4)."""
    scene.import_p12("user-rsa")
    scene.certutil("-A", "-n", "authority", "-t", "CT,C,C", "-i", "ca.pem")
    for login in (False, True, False):
        listing = scene.certutil("-L", login=login)
        assert trust_of(listing, f"{LABEL}:user-rsa") == "u,u,u"
        assert trust_of(listing, f"{LABEL}:authority") == "CT,C,C"


def test_nickname_without_login(scene):
    scene.import_p12("user-ec")
    text = scene("certutil", "-L", "-d", "sql:nssdb", "-n", f"{LABEL}:user-ec")
    assert "User ec" in text and "CT" not in text
    scene("certutil", "-L", "-d", "sql:nssdb", "-n", f"{LABEL}:nobody", status=255)


def test_chain_whose_intermediate_is_on_the_token(scene):
    """Q4: NSS builds the chain from what it finds on the token without a login."""
    scene.trust_ca()
    scene("vfychain", "-d", "sql:nssdb", "-u", 4, "-a", "leaf.pem", status=1)
    scene.certutil("-A", "-n", "intermediate", "-t", ",,", "-i", "intermediate.pem")
    assert "Chain is good!" in scene("vfychain", "-d", "sql:nssdb", "-u", 4, "-a", "leaf.pem")
    assert scene.called("C_Login") == 0


def test_so_pin_is_another(scene):
    """The SO's PIN is not the user's."""
    (scene.folder / "so.txt").write_text(f"{SO_PIN}\n")
    scene("certutil", "-K", "-d", "sql:nssdb", "-h", LABEL, "-f", "so.txt", status=255)
    assert "= CKR_PIN_INCORRECT" in scene("p11trace", "dump", "-e", "fn=C_Login", scene.traces)
