"""Keys and certificates in files, made by the openssl command, for p11token to import; and what must become of them."""
import hashlib
import subprocess
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

PASSPHRASE = "correct horse"

# name: how openssl makes the key
KEYS = {
    "rsa": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    "p256": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "p384": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
    "ed25519": ["-algorithm", "ED25519"],
    "x25519": ["-algorithm", "X25519"],
}

# name of the file: what openssl is told, with {name} for a key's or certificate's PEM file in the same folder
FORMS = {
    "rsa.crt.der": "x509 -in rsa.crt -outform DER",
    "rsa.trusted.crt": "x509 -in rsa.crt -trustout -addtrust serverAuth",
    "rsa.der": "pkcs8 -topk8 -nocrypt -in rsa.key -outform DER",
    "rsa.pkcs1.pem": "rsa -in rsa.key -traditional",
    "rsa.pkcs1.der": "rsa -in rsa.key -traditional -outform DER",
    "rsa.enc.pkcs1.pem": "rsa -in rsa.key -traditional -aes128 -passout pass:{p}",
    "rsa.enc.pem": "pkcs8 -topk8 -in rsa.key -v2 aes-256-cbc -passout pass:{p}",
    "rsa.scrypt.pem": "pkcs8 -topk8 -in rsa.key -scrypt -scrypt_N 1024 -passout pass:{p}",
    "rsa.enc.der": "pkcs8 -topk8 -in rsa.key -v1 PBE-SHA1-3DES -outform DER -passout pass:{p}",
    "rsa.pub": "pkey -in rsa.key -pubout",
    "rsa.pub.der": "pkey -in rsa.key -pubout -outform DER",
    "rsa.pkcs1.pub": "rsa -in rsa.key -RSAPublicKey_out",
    "p256.sec1.pem": "ec -in p256.key",
    "p256.sec1.der": "ec -in p256.key -outform DER",
    "p256.pub": "pkey -in p256.key -pubout",
    "ed25519.pub": "pkey -in ed25519.key -pubout",
    "rsa.aes.p12": "pkcs12 -export -inkey rsa.key -in rsa.crt -name Friend -passout pass:{p}",
    "rsa.3des.p12": "pkcs12 -export -inkey rsa.key -in rsa.crt -name Friend -keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-3DES "
                    "-macalg sha1 -passout pass:{p}",
    "rsa.rc2.p12": "pkcs12 -export -inkey rsa.key -in rsa.crt -name Friend -legacy -passout pass:{p}",
    "rsa.nopass.p12": "pkcs12 -export -inkey rsa.key -in rsa.crt -name Friend -keypbe NONE -certpbe NONE -passout pass:",
    "rsa.chain.p12": "pkcs12 -export -inkey leaf.key -in leaf.crt -certfile rsa.crt -name Leaf -passout pass:{p}",
    "rsa.nolabel.p12": "pkcs12 -export -inkey rsa.key -in rsa.crt -passout pass:{p}",
}


def openssl(*args, cwd=None, **more) -> bytes:
    return subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True, cwd=cwd, **more).stdout


def make_files(folder: Path) -> Path:
    """NAME.key for each of KEYS, NAME.crt self-signed where the key can sign, leaf.crt and ca.crl by rsa, and FORMS."""
    for name, how in KEYS.items():
        openssl("genpkey", *how, "-out", f"{name}.key", cwd=folder)
        if name != "x25519":
            openssl("req", "-x509", "-new", "-key", f"{name}.key", "-subj", f"/O=Tests/CN=Subject {name}", "-days", "30", "-out",
                    f"{name}.crt", cwd=folder)
    openssl("genpkey", *KEYS["p256"], "-out", "leaf.key", cwd=folder)
    openssl("req", "-new", "-key", "leaf.key", "-subj", "/CN=Leaf of rsa", "-out", "leaf.csr", cwd=folder)
    openssl("x509", "-req", "-in", "leaf.csr", "-CA", "rsa.crt", "-CAkey", "rsa.key", "-set_serial", "7", "-days", "30", "-out",
            "leaf.crt", cwd=folder)
    (folder / "ca.conf").write_text("[ca]\ndefault_ca = d\n[d]\ndatabase = ca.index\ndefault_md = sha256\ndefault_crl_days = 30\n")
    (folder / "ca.index").write_text("")
    openssl("ca", "-gencrl", "-config", "ca.conf", "-cert", "rsa.crt", "-keyfile", "rsa.key", "-out", "ca.crl", cwd=folder)
    openssl("crl", "-in", "ca.crl", "-outform", "DER", "-out", "ca.crl.der", cwd=folder)
    for name, how in FORMS.items():
        args = [a.format(p=PASSPHRASE) for a in how.split()]
        openssl(*args, "-out", name, cwd=folder)
    (folder / "all.pem").write_bytes(b"text before\n" + b"".join(
        (folder / n).read_bytes() for n in ("rsa.crt", "rsa.key", "ca.crl", "p256.crt", "p256.key", "ed25519.key")))
    (folder / "params.pem").write_bytes(openssl("ecparam", "-name", "prime256v1") + (folder / "p256.sec1.pem").read_bytes())
    return folder


def public_key(path: Path):
    return serialization.load_pem_private_key(path.read_bytes(), None).public_key()


def nss_id(public) -> bytes:
    """CKA_ID as NSS computes it: SHA-1 of the modulus or of the public point."""
    if isinstance(public, rsa.RSAPublicKey):
        value = public.public_numbers().n.to_bytes((public.key_size + 7) // 8, "big")
    elif isinstance(public, ec.EllipticCurvePublicKey):
        value = public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    else:
        value = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha1(value).digest()
