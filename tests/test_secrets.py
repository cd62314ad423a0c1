"""No PIN, no password and no private key in anything that we write: not in a trace, not in the live file of a killed
program, not in what the decoder prints; however it is compressed or spelt."""
import re
import secrets
import signal
import stat
import subprocess

import pytest
import zstandard
from cryptography.hazmat.primitives import serialization

import p11t_reader
import sealing
from conftest import ROOT
from nss import environment, run_demo, softhsm, spy
from softhsm import make_token

pytestmark = pytest.mark.nss

WINDOW = 16
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


# --- the search -------------------------------------------------------------------------------------------------------

def spellings(raw: bytes) -> dict:
    """The forms in which a secret may turn up: as it is, backwards, as hexadecimal digits, as UTF-16."""
    forms = {"raw": raw, "reversed": raw[::-1], "hex": raw.hex().encode(), "HEX": raw.hex().upper().encode(),
             "hex, blanks": raw.hex(" ").encode(), "hex, colons": raw.hex(":").encode()}
    if raw.isascii():
        text = raw.decode()
        for coding in ("utf-16-le", "utf-16-be"):  # BE is the BMPString of PKCS #12
            forms[coding] = text.encode(coding)
            forms[coding + " hex"] = text.encode(coding).hex().encode()
    return forms


def needles(words: dict, keys: dict) -> dict:
    """{what and how: bytes}: each word in every spelling, of each key component the first, middle and last 16 bytes."""
    found = {}
    for name, word in words.items():
        for how, form in spellings(word.encode()).items():
            found[f"{name}, {how}"] = form
    for name, value in keys.items():
        assert len(value) >= WINDOW, name
        middle = (len(value) - WINDOW) // 2
        for place, window in (("first", value[:WINDOW]), ("middle", value[middle:middle + WINDOW]),
                              ("last", value[-WINDOW:])):
            for how, form in spellings(window).items():
                found[f"{name} {place}, {how}"] = form
    return found


def contents(data: bytes):
    """What there is to search in a file: its bytes, and every zstd frame in it, decompressed."""
    yield data
    for m in re.finditer(re.escape(ZSTD_MAGIC), data):
        try:
            yield zstandard.ZstdDecompressor().decompressobj().decompress(data[m.start():])
        except zstandard.ZstdError:
            pass  # four bytes that only look like a frame


def search(blobs: dict, wanted: dict, keys: dict) -> list:
    """[(blob, needle)] of all hits. Raw key bytes are looked for with every window of 16, not the three alone."""
    windows = {}
    for name, value in keys.items():
        for i in range(len(value) - WINDOW + 1):
            windows[value[i:i + WINDOW]] = f"{name} at {i}"
    hits = []
    for blob, data in blobs.items():
        for content in contents(data):
            hits += [(blob, name) for name, form in wanted.items() if form in content]
            if windows:
                hits += [(blob, windows[w]) for i in range(len(content) - WINDOW + 1)
                         if (w := content[i:i + WINDOW]) in windows]
    return hits


def test_the_search_finds():
    """Each spelling, in the open and inside a compressed frame in the middle of something else."""
    words, keys = {"pin": "c4nary-Pin"}, {"key": bytes(range(100, 180))}
    wanted = needles(words, keys)
    for name, form in wanted.items():
        for data in (b"xx" + form + b"yy", b"head" + zstandard.compress(b"before " + form * 3) + b"tail"):
            assert ("f", name) in search({"f": data}, wanted, keys), name
    assert ("f", "key at 21") in search({"f": b"." + keys["key"][21:37] + b"."}, {}, keys)
    assert search({"f": zstandard.compress(b"nothing of it") + ZSTD_MAGIC}, wanted, keys) == []


# --- what is secret ---------------------------------------------------------------------------------------------------

def private_parts(key) -> dict:
    """The components of an RSA key that are nobody's business, as PKCS #11 and PKCS #8 carry them."""
    n = key.private_numbers()

    def octets(value):
        return value.to_bytes((value.bit_length() + 7) // 8, "big")

    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL,
                            serialization.NoEncryption())
    # The DER of the key begins with the public modulus; what is private follows it.
    modulus = octets(n.public_numbers.n)
    return {"d": octets(n.d), "p": octets(n.p), "q": octets(n.q), "dp": octets(n.dmp1), "dq": octets(n.dmq1),
            "qinv": octets(n.iqmp), "PKCS #8": der[der.index(modulus) + len(modulus):]}


def load_key(path):
    return serialization.load_pem_private_key(path.read_bytes(), None)


def files_below(folder) -> dict:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def printed(build, traces, *key) -> dict:
    """Everything that the decoder says about the traces; what it does with the private key."""
    blobs = {}
    verbs = ("dump",) if key else ("info", "dump", "stat", "check")
    for verb in [(v, *json, *key) for v in verbs for json in ((), ("--json",))]:
        p = subprocess.run([build / "p11trace", *verb, traces], capture_output=True, timeout=120)
        assert p.returncode in (0, 1), (verb, p.stderr.decode())
        assert len(p.stdout) > 20, verb
        blobs[" ".join(v for v in verb if v not in key)] = p.stdout + p.stderr
    return blobs


# --- the demo ---------------------------------------------------------------------------------------------------------

LABEL = "l4bel-canary-8Xk2"


@pytest.fixture(scope="module")
def demo(build, tmp_path_factory):
    """The demo, and after it one more command that plants a label which is no secret."""
    d = run_demo(tmp_path_factory.getbasetemp(), build)
    assert d.status == 0, d.output
    env = environment(d.folder, P11TOKEN_DIR=d.folder / "tokens")
    p = subprocess.run(["certutil", "-A", "-d", "sql:nssdb", "-h", "Demo", "-f", "newpin.txt", "-n", LABEL, "-t", ",,",
                        "-i", "server.crt"], cwd=d.folder, env=env, stdin=subprocess.DEVNULL, capture_output=True)
    assert p.returncode == 0, p.stderr.decode()
    return d


def demo_words(demo) -> dict:
    """Read from the script, so that the search is for what the demo really uses."""
    script = (ROOT / "examples/modutil-chain/demo.sh").read_text()
    words = dict(re.findall(r"\b(pin|newpin|sopin|p12pw)=(\S+)", script))
    assert len(words) == 4 and all(len(w) > 10 for w in words.values())
    assert (demo.folder / "pin.txt").read_text().strip() == words["pin"]
    return words


def test_demo_files(build, demo):
    keys = private_parts(load_key(demo.folder / "user.key"))
    wanted = needles(demo_words(demo), keys)
    ours = {**files_below(demo.folder / "traces"), **printed(build, demo.folder / "traces")}
    for name in ("traced.so", "traced.conf"):
        ours[name] = (demo.folder / name).read_bytes()
    tokens = files_below(demo.folder / "tokens")
    assert any(name.endswith(".p11token") for name in tokens)
    ours.update({"tokens/" + name: data for name, data in tokens.items()})
    assert sum(name.endswith(".p11t") for name in ours) >= 15
    assert search(ours, wanted, keys) == []


def test_demo_public_values_are_found(build, demo):
    """The same search, for what is in the traces: it does look where values are."""
    key = load_key(demo.folder / "user.key")
    modulus = key.private_numbers().public_numbers.n.to_bytes(256, "big")
    found = {name for _, name in search(files_below(demo.folder / "traces"),
                                        needles({"label": LABEL}, {"modulus": modulus}), {"modulus": modulus})}
    assert "label, raw" in found
    in_token = search(files_below(demo.folder / "tokens"), needles({}, {"modulus": modulus}), {})
    assert "modulus first, raw" in {name for _, name in in_token}
    assert {"modulus first, raw", "modulus middle, raw", "modulus last, raw", "modulus at 100"} <= found
    assert LABEL.encode() in printed(build, demo.folder / "traces")["dump"]


def test_demo_secrets_were_there(demo, tmp_path):
    """The key does go through the module in clear: pkcs11-spy, in the shim's place, has it and the PIN."""
    token = make_token(tmp_path / "softhsm")
    env = environment(tmp_path, **token.env, PKCS11SPY=softhsm(), PKCS11SPY_OUTPUT=tmp_path / "spy.log")
    (tmp_path / "nssdb").mkdir()
    for argv in (["certutil", "-N", "-d", "sql:nssdb", "--empty-password"],
                 ["modutil", "-force", "-dbdir", "sql:nssdb", "-add", "Spy", "-libfile", spy()],
                 ["pk12util", "-i", demo.folder / "user.p12", "-d", "sql:nssdb", "-h", token.label, "-K", token.pin,
                  "-W", demo_words(demo)["p12pw"]]):
        subprocess.run(argv, cwd=tmp_path, env=env, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    # The spy prints lines of sixteen bytes, as digits and as text.
    lines = re.findall(rb"^ +[0-9A-F]{8}  ((?:[0-9A-F]{2} )+)", (tmp_path / "spy.log").read_bytes(), re.M)
    spied = {"spy.log": bytes.fromhex(b"".join(lines).decode())}
    keys = private_parts(load_key(demo.folder / "user.key"))
    found = {name for _, name in search(spied, needles({"pin": token.pin}, keys), {})}
    assert "pin, raw" in found
    assert {f"{part} {place}, raw" for part in ("d", "p", "q", "dp", "dq", "qinv")
            for place in ("first", "middle", "last")} <= found


def test_demo_file_modes(demo):
    traces = demo.folder / "traces"
    assert stat.S_IMODE(traces.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in traces.iterdir()} == {0o600}


# --- a killed program: its live file ----------------------------------------------------------------------------------

@pytest.fixture(scope="module", params=["safe", "clear", "full", "clear and sealed"])
def killed(build, tmp_path_factory, request):
    """A client that was killed after it had logged in and made keys, under a umask that would let everybody read.
    capture=clear is for payload: PINs and keys stay out of the trace even then. With `full` they are in it, sealed."""
    folder = tmp_path_factory.mktemp("killed")
    token = make_token(folder / "softhsm")
    env = environment(folder, **token.env)
    subprocess.run(["openssl", "genrsa", "-out", folder / "key.pem", "2048"], check=True, capture_output=True)
    key = load_key(folder / "key.pem")
    parts = private_parts(key)
    aes = secrets.token_bytes(32)
    public = key.private_numbers().public_numbers
    lines = {"n": f"{public.n:x}", "e": f"{public.e:06x}", "aes": aes.hex(),
             **{name: parts[name].hex() for name in ("d", "p", "q", "dp", "dq", "qinv")}}
    (folder / "key.txt").write_text("".join(f"{k} {v}\n" for k, v in lines.items()))
    # `live` in the same folder: wherever the recorder would put it otherwise, it must be looked at here.
    for name in ("traces", "live"):
        (folder / name).mkdir(mode=0o700)
    seal = []
    if request.param in ("full", "clear and sealed"):
        subprocess.run([build / "p11trace", "keygen", "-q", "-o", folder / "case"], check=True, capture_output=True)
        seal = ["--seal-to", folder / "case.pub"]
    subprocess.run([build / "p11trace", "wrap", token.module, "-o", folder / "traced.so", "--out", folder / "traces",
                    "--live", folder / "live", "--capture", request.param.split()[0], *seal], env=env, check=True, capture_output=True)
    p = subprocess.run([build / "tests/clients/killed_login", folder / "traced.so", token.pin, LABEL,
                        folder / "key.txt"], env=env, capture_output=True, umask=0)
    assert p.returncode == -signal.SIGKILL, p.stderr.decode()
    return folder, token, {**parts, "aes": aes}


def test_killed_files(build, killed):
    folder, token, keys = killed
    wanted = needles({"pin": token.pin, "so-pin": token.so_pin}, keys)
    blobs = {**files_below(folder / "traces"), **files_below(folder / "live"), **printed(build, folder / "traces")}
    assert any(name.endswith(".live") for name in blobs), blobs.keys()
    if (folder / "case.key").exists():
        assert b", sealed, tag " in blobs["dump"]
        blobs["dump --key"] = printed(build, folder / "traces", "--key", folder / "case.key")["dump"]
    assert search(blobs, wanted, keys) == []


def test_killed_and_sealed_opens(killed):
    """What the search did not find is there for whoever has the private key."""
    folder, token, keys = killed
    if not (folder / "case.key").exists():
        return
    trace = p11t_reader.read(next((folder / "traces").glob("*.p11t")))
    found = {data for _, _, data, _ in sealing.opened(trace, sealing.key_of(folder / "case.key"))}
    assert {token.pin.encode(), *(value for name, value in keys.items() if name != "PKCS #8")} <= found


def test_killed_calls_are_there(build, killed):
    """The label of the same template is in the live file, so the template was recorded."""
    folder, _, _ = killed
    live = {n: d for n, d in {**files_below(folder / "traces"), **files_below(folder / "live")}.items()
            if n.endswith(".live")}
    assert search(live, needles({"label": LABEL}, {}), {})
    dump = printed(build, folder / "traces")["dump"].decode()
    assert LABEL in dump and re.search(r"C_CreateObject.*CKA_PRIVATE_EXPONENT", dump)
    assert re.search(r"C_GetAttributeValue.*CKA_VALUE", dump)


def test_killed_file_modes(killed):
    """The client's umask was 0."""
    folder, _, _ = killed
    files = [p for sub in ("traces", "live") for p in (folder / sub).rglob("*") if p.is_file()]
    assert files and {stat.S_IMODE(p.stat().st_mode) for p in files} == {0o600}


def test_killed_secrets_were_there(killed):
    """The client's own file has them, in the spelling that it is given."""
    folder, _, keys = killed
    assert {name for name in keys if name != "PKCS #8"} <= {
        name.split(" ")[0] for _, name in search({"key.txt": (folder / "key.txt").read_bytes()}, needles({}, keys), {})}
