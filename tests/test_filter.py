"""The filter grammar: which calls pass, and what is said of a wrong expression."""
import pytest

from p11t_writer import (NOTHING, NULL, Arg, Writer, asked, attribute, boolean, filled, full, gives, length, lists,
                         mechanism, number, pointer, stored, tag, tagged, template, ulong)


def scene():
    """{name of a call: its number} and the trace."""
    w = Writer()
    at = {}

    def call(name, function, *args, **more):
        at[name] = w.next
        w.call(function, *args, **more)

    w.thread(7, "main")
    call("initialize", "C_Initialize", Arg(NULL), us=2000)
    call("slot info", "C_GetSlotInfo", number(5), filled(0), rv=3)
    call("open 1", "C_OpenSession", number(5), number(4), pointer(), pointer(), gives(1))
    call("open 2", "C_OpenSession", number(6), number(4), pointer(), pointer(), gives(0x20))
    call("login", "C_Login", number(1), number(1), tagged(4, 1), number(4), rv=0xA0, us=50_000)
    w.frame()
    w.thread(8, "Socket Thread")
    call("find init", "C_FindObjectsInit", number(1),
         template(attribute(0, ulong(3), 8), attribute(3, full(b"my key"), 6), attribute(1, boolean(1), 1)), number(3))
    call("find", "C_FindObjects", number(1), lists(0x10, 0x11), number(8), gives(2))
    call("attributes", "C_GetAttributeValue", number(0x20), number(0x11), asked((0, 8, 8, ulong(1)), (3, None, 9, NOTHING)),
         number(2), rv=0x11)
    call("sign init", "C_SignInit", number(1), mechanism(0x1041), number(0x10))
    call("sign", "C_Sign", number(1), tagged(9, 1), number(9), stored(tag(64, 1)), length(64, 64), us=10_000)
    call("sign elsewhere", "C_Sign", number(0x20), tagged(9, 1), number(9), stored(NOTHING, NULL), length(0, 0), rv=0x91, module=2)
    call("interfaces", "C_GetInterfaceList", lists(p=NULL), length(0, 1))
    call("close", "C_CloseSession", number(1))
    call("after", "C_Sign", number(1), tagged(9, 1), number(9), stored(NOTHING, NULL), length(0, 0), rv=0xB3)
    at["in flight"] = w.enter("C_WaitForSlotEvent", number(0), gives(0), pointer())
    return at, w.bytes()


ALL = list(scene()[0])
SIGNS = ["sign init", "sign", "sign elsewhere", "after"]
CASES = [
    (["fn=C_Sign"], ["sign", "sign elsewhere", "after"]),
    (["fn=C_Sign,C_Login"], ["login", "sign", "sign elsewhere", "after"]),
    (["fn=C_Sign*"], SIGNS),
    (["fn=*Init"], ["find init", "sign init"]),
    (["fn=%sign"], SIGNS),
    (["fn=%sign,!C_SignInit"], ["sign", "sign elsewhere", "after"]),
    (["fn=!%sign"], [n for n in ALL if n not in SIGNS]),
    (["fn!=%sign"], [n for n in ALL if n not in SIGNS]),
    (["fn=!%sign,!%session,!%object"], ["initialize", "slot info", "interfaces", "in flight"]),
    (["fn=%session,!C_GetSlotInfo"], ["open 1", "open 2", "login", "close"]),
    (["fn= %general , %slot"], ["initialize", "slot info", "interfaces", "in flight"]),
    (["fn=%login"], ["login"]),
    (["fn=%poll"], ["slot info"]),
    (["fn=%find"], ["find init", "find"]),
    (["fn=%event"], ["in flight"]),
    (["fn=%3.0"], ["interfaces"]),
    (["fn=%2.40"], [n for n in ALL if n != "interfaces"]),
    (["fn=%3.2"], []),
    (["fn=%all"], ALL),
    (["rv=ok"], ["initialize", "open 1", "open 2", "find init", "find", "sign init", "sign", "interfaces", "close"]),
    (["rv=failed"], ["slot info", "login", "attributes", "sign elsewhere", "after"]),
    (["rv=failed,!CKR_PIN_INCORRECT"], ["slot info", "attributes", "sign elsewhere", "after"]),
    (["rv=CKR_PIN_INCORRECT"], ["login"]),
    (["rv=0xa0,145"], ["login", "sign elsewhere"]),
    (["rv!=ok,failed"], ["in flight"]),
    (["rv=open"], ["in flight"]),
    (["rv=unwound"], []),
    (["session=1"], ["open 1", "login", "find init", "find", "sign init", "sign", "close", "after"]),
    (["session=0x20"], ["open 2", "attributes", "sign elsewhere"]),
    (["slot=5"], ["slot info", "open 1", "login", "find init", "find", "sign init", "sign", "close"]),
    (["slot=6"], ["open 2", "attributes"]),
    (["object=0x10"], ["find", "sign init"]),
    (["object=17"], ["find", "attributes"]),
    (["tid=7"], ["initialize", "slot info", "open 1", "open 2", "login"]),
    (["thread=Socket Thread", "rv=failed"], ["attributes", "sign elsewhere", "after"]),
    (["thread=S*"], ALL[5:]),
    (["thread!=S*"], ALL[:5]),
    (["thread=*a*d"], ALL[5:]),
    (["pid=4711"], ALL),
    (["pid=1"], []),
    (["module=2"], ["sign elsewhere"]),
    (["mechanism=CKM_ECDSA"], ["sign init", "sign"]),
    (["mechanism=0x1041"], ["sign init", "sign"]),
    (["mechanism=CKM_RSA_PKCS"], []),
    (["class=CKO_PRIVATE_KEY"], ["find init"]),
    (["class=1"], ["attributes"]),
    (["label=my key"], ["find init"]),
    (["label=*key"], ["find init"]),
    (["label=key"], []),
    (["duration>9ms"], ["login", "sign"]),
    (["duration>=10ms"], ["login", "sign"]),
    (["duration>10ms"], ["login"]),
    (["duration=2000us"], ["initialize"]),
    (["duration=0.002s,50ms"], ["initialize", "login"]),
    (["duration>1ms", "duration<=10ms"], ["initialize", "sign"]),
    (["duration<5001ns", "fn=%session"], ["open 1", "open 2", "close"]),
    (["time<0.002s"], ["initialize"]),
    (["fn=C_Sign", "rv=failed"], ["sign elsewhere", "after"]),
    (["fn=C_Sign", "fn=C_Login"], []),
]


@pytest.fixture
def passes(run, build, tmp_path):
    at, data = scene()
    (tmp_path / "t.p11t").write_bytes(data)
    name = {v: k for k, v in at.items()}

    def passes(*arguments):
        p = run(build / "p11trace", "dump", *arguments, tmp_path / "t.p11t")
        return [name[int(line.split()[0][1:])] for line in p.stdout.splitlines()]

    return passes


@pytest.mark.parametrize("expressions, expected", CASES, ids=[" ".join(e) for e, _ in CASES])
def test_passes(passes, expressions, expected):
    assert passes(*[a for e in expressions for a in ("-e", e)]) == expected


@pytest.mark.parametrize("sets, expected", [
    (["3"], ["slot info"]), (["3-5"], ["slot info", "open 1"]), (["-3"], ["initialize", "slot info"]),
    (["29-"], ["in flight"]), (["1,29"], ["initialize", "in flight"]), (["1", "29"], ["initialize", "in flight"]),
    (["2"], []), (["0x3"], ["slot info"]), (["1000-"], []), (["0-18446744073709551615"], ALL),
])
def test_calls(passes, sets, expected):
    assert passes(*[a for s in sets for a in ("--calls", s)]) == expected
    assert passes(*[a for s in sets for a in ("--calls", s)], "-e", "fn=C_Sign") == [n for n in expected if n in SIGNS[1:]]


WRONG = [
    ("-e", "", 1, "no such key"), ("-e", "function=C_Sign", 1, "no such key"), ("-e", "fn", 3, "= or !="),
    ("-e", "fn<C_Sign", 3, "= or !="), ("-e", "fn==C_Sign", 4, "no such function"), ("-e", "fn!C_Sign", 3, "= or !="), ("-e", "fn=", 4, "nothing stands here"),
    ("-e", "fn=C_Sing", 4, "no such function"), ("-e", "fn=C_Sign,C_Sing", 11, "no such function"),
    ("-e", "fn=C_Sign,,C_Login", 11, "nothing"), ("-e", "fn=%nonsense", 4, "no such group"), ("-e", "fn=%", 4, "no such group"),
    ("-e", "fn=X*", 4, "fits no function"), ("-e", "fn=!", 5, "nothing"), ("-e", "fn=%3.1", 4, "no such group"),
    ("-e", "rv=CKR_NONSENSE", 4, "CKR_"), ("-e", "rv=CKM_RSA_PKCS", 4, "CKR_"), ("-e", "rv=ok,bad", 7, "ok, failed"),
    ("-e", "rv=", 4, "ok, failed"), ("-e", "rv!=!ok", 5, "leave one out"), ("-e", "fn!=C_Sign,!C_Login", 12, "leave one out"), ("-e", "session=x", 9, "a number"),
    ("-e", "session=0x", 9, "a number"), ("-e", "session=18446744073709551616", 9, "a number"), ("-e", "session=-1", 9, "a number"),
    ("-e", "mechanism=CKR_OK", 11, "CKM_"), ("-e", "class=sign", 7, "fn=%sign"), ("-e", "duration>10", 10, "10ms"),
    ("-e", "duration>10m", 10, "10ms"), ("-e", "duration>1.ms", 10, "10ms"), ("-e", "duration>ms", 10, "10ms"),
    ("-e", "duration>99999999999s", 10, "10ms"), ("-e", "duration=>1ms", 10, "10ms"), ("-e", "duration~1ms", 1, "no such key"), ("-e", "thread=", 8, "a name"),
    ("--calls", "", 1, "10-200"), ("--calls", "a", 1, "10-200"), ("--calls", "1,,2", 3, "10-200"), ("--calls", "5-2", 1, "before"),
    ("--calls", "-", 1, "10-200"), ("--calls", "1-2-3", 1, "10-200"), ("--calls", "1 2", 1, "10-200"),
]


@pytest.mark.parametrize("verb", ["dump", "stat"])
@pytest.mark.parametrize("option, text, at, words", WRONG)
def test_wrong(run, build, verb, option, text, at, words):
    """What is wrong, at which character, what is allowed; status 2 and no output."""
    p = run(build / "p11trace", verb, option, text, "t.p11t", status=2)
    message, shown, mark = p.stderr.splitlines()
    assert p.stdout == "" and message.startswith(f"p11trace {verb}: ") and words in message
    assert f"character {at}" in message
    assert shown == "  " + text and mark.rstrip("~") == "  " + " " * (at - 1) + "^"


def test_wrong_and_hostile(run, build):
    p = run(build / "p11trace", "dump", "-e", "fn=C_\x1b[2J", "t.p11t", status=2)
    assert "\x1b" not in p.stderr and "  fn=C_?[2J" in p.stderr


def test_sessions_are_followed(run, build, tmp_path):
    """A handle that comes back after C_CloseAllSessions, C_Finalize or in another module is another session."""
    w = Writer()

    def opened(slot, handle, module=1):
        w.call("C_OpenSession", number(slot), number(4), pointer(), pointer(), gives(handle), module=module)

    for handle in range(1, 301):
        opened(handle % 3, handle)
    opened(9, 1, module=2)
    first = w.next
    w.call("C_GetSessionInfo", number(1), filled(0), rv=1)
    w.call("C_GetSessionInfo", number(1), filled(0), rv=1, module=2)
    w.call("C_CloseAllSessions", number(0))
    kept = w.next
    for handle in range(1, 301):
        w.call("C_Logout", number(handle))
    w.call("C_Finalize", pointer())
    last = w.next
    w.call("C_GetSessionInfo", number(1), filled(0), rv=1)
    w.call("C_GetSessionInfo", number(1), filled(0), rv=1, module=2)
    path = tmp_path / "t.p11t"
    path.write_bytes(w.bytes())

    def numbers(*arguments):
        p = run(build / "p11trace", "dump", *arguments, path)
        return [int(line.split()[0][1:]) for line in p.stdout.splitlines()]

    assert numbers("-e", "slot=1", "--calls", f"{first}-{kept - 1}") == [first]
    assert numbers("-e", "slot=9", "-e", "fn=C_GetSessionInfo") == [first + 2, last + 2]
    assert numbers("-e", "slot=1", "-e", "fn=C_Logout") == [kept + 2 * i for i in range(300) if (i + 1) % 3 == 1]
    assert numbers("-e", "slot=2", "-e", "fn=C_Logout") == [kept + 2 * i for i in range(300) if (i + 1) % 3 == 2]
    assert numbers("-e", "slot=0", "-e", "fn=C_Logout") == []
    assert numbers("-e", "slot=1", "--calls", f"{last}-") == []
