"""The clients that more than one group of rules uses: NSS's tools, pkcs11-tool, tests/clients/check_client."""
from fault_matrix import E, I, W, client
from nss import LABEL, PIN, Server

DB, TOKEN, WITH_PIN = ("-d", "sql:nssdb"), ("-h", LABEL), ("-f", "pin.txt")
NEVER_SEEN_PIN = "newpin.txt"  # a PIN that the token does not have


def tool(name, *argv, **known):
    client(name, **known)(lambda stage: stage.run(*argv))


def action(name, *more, **known):
    """An action of tests/clients/check_client."""
    client(f"client {name}", **known)(lambda stage: stage.check_client(name, *more))


tool("modutil -list", "modutil", "-dbdir", "sql:nssdb", "-list")
tool("certutil -K", "certutil", "-K", *DB, *TOKEN, *WITH_PIN)
tool("certutil -K wrong PIN", "certutil", "-K", *DB, *TOKEN, "-f", NEVER_SEEN_PIN)
tool("certutil -K all", "certutil", "-K", *DB, "-h", "all", "-f", "pins.txt")
tool("certutil -L", "certutil", "-L", *DB, *TOKEN, *WITH_PIN)
tool("certutil -L -n", "certutil", "-L", *DB, *TOKEN, *WITH_PIN, "-n", f"{LABEL}:user")
tool("certutil -S", "certutil", "-S", *DB, *TOKEN, *WITH_PIN, "-n", "made", "-s", "CN=made", "-x", "-t", "u,u,u", "-m",
     77, "-v", 1, "-z", "noise", "-g", 2048)
tool("certutil -S ec", "certutil", "-S", *DB, *TOKEN, *WITH_PIN, "-n", "made", "-s", "CN=made", "-x", "-t", "u,u,u",
     "-m", 78, "-v", 1, "-z", "noise", "-k", "ec", "-q", "nistp256")
tool("certutil -A", "certutil", "-A", *DB, *TOKEN, *WITH_PIN, "-n", "other", "-t", "u,u,u", "-i", "other.pem")
tool("certutil -V", "certutil", "-V", *DB, *WITH_PIN, "-n", f"{LABEL}:user", "-u", "C")
tool("pk12util -i", "pk12util", "-i", "other.p12", *DB, *TOKEN, "-K", PIN, "-W", "p12-stage-4Rt")
tool("pk12util -o", "pk12util", "-o", "out.p12", "-n", f"{LABEL}:user", *DB, "-K", PIN, "-W", "p12-stage-4Rt")
tool("cmsutil -D", "cmsutil", "-D", *DB, "-f", "pins.txt", "-i", "encrypted",
     known={"token": {("NSS-KEY-08", I, "caller")}})  # it decrypts with softoken what the token has unwrapped
tool("modutil -changepw", "modutil", "-force", "-dbdir", "sql:nssdb", "-changepw", LABEL, "-pwfile", "pin.txt",
     "-newpwfile", "newpin.txt")


@client("modutil -add")
def add_module(stage):
    stage.run("modutil", "-force", "-dbdir", "sql:nssdb", "-delete", "The module")
    for trace in stage.traces.glob("*"):
        trace.unlink()  # that of the deletion
    stage.run("modutil", "-force", "-dbdir", "sql:nssdb", "-add", "Again", "-libfile", stage.module)


def handshake(stage, version):
    with Server(stage, version.replace("1.", "1_")) as server:
        stage.run("tstclnt", "-4", "-h", "localhost", "-p", server.port, *DB, "-n", f"{LABEL}:user", "-W", "pins.txt",
                  "-V", f"{version}:{version}", "-A", "request")


@client("tstclnt")
def tls(stage):
    handshake(stage, "tls1.2")


@client("tstclnt 1.3")
def tls13(stage):
    handshake(stage, "tls1.3")


@client("pkcs11-tool, certutil -K")
def login_then_keys(stage):
    """NSS does not log in when the flag is clear; that a PIN exists is known from another program."""
    stage.run("pkcs11-tool", "--module", stage.module, "--token-label", LABEL, "--login", "--pin", PIN, "-O")
    stage.run("certutil", "-K", *DB, *TOKEN, *WITH_PIN)


NULL_SESSION = ("NSS-SESS-01", I, "caller")
for each in ("tour", "badpin", "samepin", "remove", "threads"):
    action(each)
# SoftHSM answers C_GetInfo in the child.
action("fork", caller={("P11-INIT-10", I, "caller")}, known={"softhsm": {("P11-INIT-10", W, "module")}})
action("null", caller={NULL_SESSION})
action("nullargs", caller={NULL_SESSION})
action("parallel", caller={("NSS-SESS-03", E, "caller")})
# Its own certificates, of no key.
action("label", caller={("NSS-CERT-01", W, "caller"), ("NSS-CERT-01", I, "module")})
