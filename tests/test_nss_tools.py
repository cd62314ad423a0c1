"""NSS's tools behave with the traced module as without it, and make the calls that pkcs11-spy sees."""
import re
import subprocess

import pytest

from nss import (LABEL, MODULE_NAME, P12_PASSWORD, PIN, Server, Stage, calls_per_function, spy_calls_per_function)

pytestmark = pytest.mark.nss

DB, DBDIR, TOKEN = ("-d", "sql:nssdb"), ("-dbdir", "sql:nssdb"), ("-h", LABEL)
WITH_PIN, WITH_PINS, NOISE = ("-f", "pin.txt"), ("-f", "pins.txt"), ("-z", "noise")
SELF_SIGNED = ("certutil", "-S", *DB, *TOKEN, *WITH_PINS, "-n", "self", "-s", "CN=Self", "-x", "-t", "u,u,u", "-v", 1,
               "-m", 5, *NOISE)
REQUEST = ("certutil", "-R", *DB, *TOKEN, *WITH_PIN, "-s", "CN=Request", "-o", "out", *NOISE)

# name: (commands, is the file `out` the same in every run?). A command whose status is not 0 belongs here as well.
CASES = {
    "certutil -S rsa": ([(*SELF_SIGNED, "-k", "rsa", "-g", 2048)], False),
    "certutil -S ec": ([(*SELF_SIGNED, "-k", "ec", "-q", "nistp256")], False),
    "certutil -R rsa": ([(*REQUEST, "-k", "rsa", "-g", 2048)], False),
    "certutil -R ec": ([(*REQUEST, "-k", "ec", "-q", "nistp384")], False),
    "certutil -A": ([("certutil", "-A", *DB, *TOKEN, *WITH_PIN, "-n", "added", "-t", "u,u,u", "-i", "other.pem"),
                     ("certutil", "-L", *DB, *TOKEN, *WITH_PIN)], False),
    "certutil -L": ([("certutil", "-L", *DB, *TOKEN, *WITH_PIN)], False),
    "certutil -L -n": ([("certutil", "-L", *DB, *TOKEN, *WITH_PIN, "-n", f"{LABEL}:user")], False),
    "certutil -L -n unknown": ([("certutil", "-L", *DB, *TOKEN, *WITH_PIN, "-n", f"{LABEL}:nobody")], False),
    "certutil -K": ([("certutil", "-K", *DB, *TOKEN, *WITH_PIN)], False),
    "certutil -K wrong PIN": ([("certutil", "-K", *DB, *TOKEN, "-f", "newpin.txt")], False),
    "certutil -F": ([("certutil", "-F", *DB, *TOKEN, *WITH_PIN, "-n", f"{LABEL}:user"),
                     ("certutil", "-K", *DB, *TOKEN, *WITH_PIN)], False),
    "pk12util -i": ([("pk12util", "-i", "other.p12", *DB, *TOKEN, "-K", PIN, "-W", P12_PASSWORD),
                     ("certutil", "-K", *DB, *TOKEN, *WITH_PIN)], False),
    "pk12util -i wrong password": ([("pk12util", "-i", "other.p12", *DB, *TOKEN, "-K", PIN, "-W", "no")], False),
    "cmsutil -S": ([("cmsutil", "-S", *DB, *WITH_PINS, "-N", f"{LABEL}:user", "-H", "SHA256", "-i", "message",
                     "-o", "out")], True),
    "cmsutil -D signed": ([("cmsutil", "-D", *DB, *WITH_PINS, "-i", "signed", "-h", 1, "-o", "out")], True),
    "cmsutil -D encrypted": ([("cmsutil", "-D", *DB, *WITH_PINS, "-i", "encrypted", "-o", "out")], True),
    "modutil -list": ([("modutil", *DBDIR, "-list")], False),
    "modutil -list NAME": ([("modutil", *DBDIR, "-list", MODULE_NAME)], False),
    "modutil -changepw": ([("modutil", "-force", *DBDIR, "-changepw", LABEL, "-pwfile", "pin.txt", "-newpwfile",
                            "newpin.txt"),
                           ("certutil", "-K", *DB, *TOKEN, "-f", "newpin.txt"),
                           ("certutil", "-K", *DB, *TOKEN, *WITH_PIN)], False),
}

# What runs may differ in by nature: the identifier of a key that was made in the run, and the order in which SoftHSM
# lists objects (by their addresses in memory), which numbers the keys of `certutil -K`.
FRESH_KEY = re.compile(rb"\b[0-9a-f]{40}\b")
LISTED_KEY = re.compile(rb"^< *\d+> ", re.M)


@pytest.fixture(scope="module")
def stage(build, tmp_path_factory):
    return Stage(tmp_path_factory.mktemp("nss"), build)


def perform(stage, way, commands):
    """Runs the commands on a fresh stage; `way` puts the module in its place."""
    stage.reset()
    way()
    return [stage.run(*c) for c in commands]


def comparable(output):
    return sorted(LISTED_KEY.sub(b"", FRESH_KEY.sub(b"<key>", output)).splitlines())


def seen(outcomes):
    return [(o.status, comparable(o.stdout), comparable(o.stderr)) for o in outcomes]


def same_calls(stage, run_traced, run_spied):
    """The counts of a traced and of a spied run. NSS asks for a slot's state again once a second has gone by, so a
    pair of which one run was slow says nothing and is made anew; every other difference is final."""
    for _ in range(4):
        traced_time = run_traced()
        ours = calls_per_function(stage.build, stage.traces)
        spied_time = run_spied()
        theirs = spy_calls_per_function(stage.spy_log)
        if ours == theirs or max(traced_time, spied_time) < 1.0:
            break
    return ours, theirs


@pytest.mark.parametrize("case", CASES)
def test_tool(stage, case):
    commands, same_file = CASES[case]
    direct = perform(stage, stage.direct, commands)
    made = (stage.folder / "out").read_bytes() if same_file else None
    traced = perform(stage, stage.traced, commands)
    assert seen(traced) == seen(direct)
    if same_file:
        assert made and (stage.folder / "out").read_bytes() == made

    def run(way):
        return lambda: max(o.seconds for o in perform(stage, way, commands))

    ours, theirs = same_calls(stage, run(stage.traced), run(stage.spied))
    assert sum(theirs.values()) > 20, "the spy has seen next to nothing"
    assert ours == theirs


def test_outcomes_are_as_they_should_be(stage):
    """The comparison above would also hold if every command failed."""
    good = {name for name, (commands, _) in CASES.items()
            if all(o.status == 0 for o in perform(stage, stage.traced, commands))}
    assert set(CASES) - good == {"certutil -L -n unknown", "certutil -K wrong PIN", "pk12util -i wrong password",
                                 "certutil -F",  # ends by listing no key
                                 "modutil -changepw"}  # ends with a login with the old PIN
    assert perform(stage, stage.traced, CASES["certutil -F"][0])[0].status == 0
    assert perform(stage, stage.traced, CASES["modutil -changepw"][0])[1].status == 0


def test_made_keys_are_good(stage):
    """What certutil makes through the traced module is signed correctly, by another implementation's judgement."""
    perform(stage, stage.traced, CASES["certutil -R ec"][0])
    text = stage.must("openssl", "req", "-inform", "DER", "-in", "out", "-verify", "-noout", "-subject")
    assert b"verify OK" in text.stderr and b"CN = Request" in text.stdout
    perform(stage, stage.traced, CASES["certutil -S rsa"][0])
    stage.must("certutil", "-L", "-d", "sql:nssdb", "-h", LABEL, "-f", "pin.txt", "-n", f"{LABEL}:self", "-a", "-o",
               "self.pem")
    assert b"self.pem: OK" in stage.must("openssl", "verify", "-CAfile", "self.pem", "self.pem").stdout


@pytest.mark.parametrize("version", ["tls1_2", "tls1_3"])
def test_client_authentication(stage, version):
    def connect(way):
        stage.reset()
        way()
        with Server(stage, version) as server:
            o = stage.run("tstclnt", "-4", "-h", "localhost", "-p", server.port, "-d", "sql:nssdb",
                          "-n", f"{LABEL}:user", "-W", "pins.txt", "-V", "tls1.2:tls1.3", "-A", "request")
        return o

    direct, traced = connect(stage.direct), connect(stage.traced)
    assert direct.status == 0 and direct.stdout.endswith(b"a message\n")
    assert seen([traced]) == seen([direct])
    ours, theirs = same_calls(stage, lambda: connect(stage.traced).seconds, lambda: connect(stage.spied).seconds)
    assert theirs[b"C_Sign"] == 1
    assert ours == theirs


def test_no_tls_without_the_key(stage):
    """The server does insist: without a certificate the same client fails."""
    stage.reset()
    stage.traced()
    with Server(stage, "tls1_2") as server:
        o = stage.run("tstclnt", "-4", "-h", "localhost", "-p", server.port, "-d", "sql:nssdb", "-V", "tls1.2:tls1.2",
                      "-A", "request")
    assert b"a message" not in o.stdout


def test_trace_of_a_tool_is_whole(stage):
    perform(stage, stage.traced, CASES["certutil -K"][0])
    files = sorted(p.name for p in stage.traces.iterdir())
    assert len(files) == 1 and files[0].startswith("certutil.") and files[0].endswith(".p11t")
    subprocess.run(["zstd", "-tq", stage.traces / files[0]], check=True)
