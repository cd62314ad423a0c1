"""A process with threads that write to its token forks; SQLite's locks must not be confused by that in parent or child."""
import os
import threading

from cryptoki import CKA, CKO, CKR, CkError

DATA = {CKA.CLASS: CKO.DATA, CKA.TOKEN: True}


def in_child(token, m, number):
    """What a child does with the token; its exit status says how it went."""
    status = 1
    try:
        m.initialize()
        s = m.open_session(token.slot())
        s.login(token.pin)
        s.create({**DATA, CKA.PRIVATE: True, CKA.LABEL: f"child {number}"})
        assert s.find({CKA.LABEL: "before"})
        m.finalize()
        status = 0
    except BaseException as e:
        os.write(2, f"child {number}: {e!r}\n".encode())
    finally:
        os._exit(status)


def test_forks_among_writers(token, count):
    """Three threads create and destroy while children are forked that use the token themselves: nobody fails, waits for
    ever or loses anything, and the children's objects are seen at once."""
    token.session().create({**DATA, CKA.LABEL: "before"})
    m, stop, errors, made = token.load(), threading.Event(), [], []

    def write(number):
        try:
            s = token.session()
            n = 0
            while not stop.is_set():
                n += 1
                h = s.create({**DATA, CKA.LABEL: f"thread {number} {n}", CKA.PRIVATE: n % 2 == 0})
                if n % 3:
                    s.destroy(h)
                else:
                    made.append(f"thread {number} {n}")
        except CkError as e:
            errors.append(e)

    threads = [threading.Thread(target=write, args=[i]) for i in range(3)]
    s = token.session()
    for t in threads:
        t.start()
    children = count(100)
    for i in range(children):
        pid = os.fork()
        if pid == 0:
            in_child(token, m, i)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert len(s.find({CKA.LABEL: f"child {i}"})) == 1
    stop.set()
    for t in threads:
        t.join()
    assert errors == [] and len(made) > 0
    token.finalize()
    s = token.session()
    for label in made + [f"child {i}" for i in range(children)]:
        assert len(s.find({CKA.LABEL: label})) == 1, label


def test_child_that_does_nothing(token):
    """A child that ends without touching the token, and one that calls it uninitialised, change nothing for the parent."""
    s = token.session()
    handle = s.create({**DATA, CKA.LABEL: "x"})
    pid = os.fork()
    if pid == 0:
        rv = token.load().raw.C_FindObjectsInit(s.handle, None, 0)
        os._exit(0 if rv == CKR.CRYPTOKI_NOT_INITIALIZED else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert s.get(handle, CKA.LABEL) == b"x"
    s.destroy(handle)
