"""Random schedules of overlapping logins, logouts, opens and closes on a token that is right, and an oracle.

A schedule is a list of Calls with the moments at which they begin and end. simulate() lets each take effect on a sequential
token at one moment between; explained() goes through all orders in which calls can have taken effect, and says whether one of
them gives all the answers. It knows nothing of the checker and nothing of when the calls did take effect."""
import random
from dataclasses import dataclass, replace

from check_story import ALREADY, OK, PIN_INCORRECT, RW, SERIAL, SESSION_HANDLE_INVALID

NOT_LOGGED_IN = 0x101
GOOD_PIN, BAD_PIN = 7, 8
OPEN, CLOSE, CLOSE_ALL, LOGIN, LOGOUT, STATE = "open_session", "close_session", "close_all", "login", "logout", "session_info"


@dataclass(frozen=True)
class Call:
    what: str
    session: int          # 0: of the whole slot
    thread: int
    pin: int = 0
    begin: int = 0        # moments, all different
    end: int = 0
    rv: int = OK
    user: bool = False    # STATE: what it reports


class Token:
    """The truth."""

    def __init__(self):
        self.sessions, self.made, self.user = set(), 0, False

    def take(self, call):
        """(answer, session, user)"""
        if call.what == OPEN:
            self.made += 1
            self.sessions.add(self.made)
            return OK, self.made, False
        if call.what == CLOSE_ALL:
            self.sessions, self.user = set(), False
            return OK, 0, False
        if call.session not in self.sessions:
            return SESSION_HANDLE_INVALID, call.session, False
        rv = OK
        if call.what == CLOSE:
            self.sessions.remove(call.session)
            self.user = self.user and bool(self.sessions)
        elif call.what == LOGIN:
            rv = ALREADY if self.user else OK if call.pin == GOOD_PIN else PIN_INCORRECT
            self.user = self.user or rv == OK
        elif call.what == LOGOUT:
            rv = OK if self.user else NOT_LOGGED_IN
            self.user = False
        return rv, call.session, self.user


WEIGHTS = {STATE: 7, LOGIN: 5, LOGOUT: 3, OPEN: 2, CLOSE: 2, CLOSE_ALL: 1}


def simulate(seed, threads=8, calls=14, crowd=3):
    """A schedule; `crowd`: how many calls are under way at a time, about."""
    dice = random.Random(seed)
    token, now, done, running, known = Token(), 0, [], {}, []
    for _ in range(dice.randrange(1, 4)):
        _, handle, _ = token.take(Call(OPEN, 0, 0))
        done.append(Call(OPEN, handle, 0, begin=now, end=now + 1))
        known.append(handle)
        now += 2
    left = calls
    while left or running:
        now += 1
        idle = [t for t in range(threads) if t not in running]
        if left and idle and (not running or dice.random() < crowd / (crowd + len(running))):
            what = dice.choices(list(WEIGHTS), WEIGHTS.values())[0]
            session = 0 if what in (OPEN, CLOSE_ALL) else dice.choice(known[-4:])
            thread = dice.choice(idle)
            running[thread] = [Call(what, session, thread, pin=GOOD_PIN if dice.random() < 0.8 else BAD_PIN, begin=now), False]
            left -= 1
            continue
        thread = dice.choice(list(running))
        call, taken = running[thread]
        if not taken:
            rv, session, user = token.take(call)
            running[thread] = [replace(call, rv=rv, session=session, user=user), True]
        else:
            done.append(replace(call, end=now))
            del running[thread]
            if call.what == OPEN:
                known.append(call.session)
    return sorted(done, key=lambda c: c.begin)


def spoiled(calls, dice):
    """The schedule with one answer replaced: a state, or a code of C_Login or C_Logout. None if there is none to replace."""
    def other(call):
        if call.rv == SESSION_HANDLE_INVALID:
            return []
        if call.what == STATE:
            return [replace(call, user=not call.user)]
        codes = {LOGIN: (OK, ALREADY), LOGOUT: (OK, NOT_LOGGED_IN)}.get(call.what, ())
        return [replace(call, rv=rv) for rv in codes if rv != call.rv]
    places = [(i, new) for i, call in enumerate(calls) for new in other(call)]
    if not places:
        return None
    i, new = dice.choice(places)
    return calls[:i] + [new] + calls[i + 1:]


def explained(calls):
    """Is there an order in which all answers about the login are right? Which handles are good does not matter: a session that
    is being closed may answer, or not."""
    n = len(calls)
    before = [sum(1 << j for j, b in enumerate(calls) if b.end < a.begin) for a in calls]

    def after(i, sessions, user):
        """State after call i, None when its answer cannot be right there."""
        call = calls[i]
        if call.what == OPEN:
            return sessions | {call.session}, user
        if call.what == CLOSE_ALL:
            return frozenset(), False
        if call.rv == SESSION_HANDLE_INVALID:
            return sessions, user
        if call.what == CLOSE:
            rest = sessions - {call.session}
            return rest, user and (bool(rest) or rest == sessions)
        if call.what == STATE:
            return (sessions, user) if call.user == user else None
        wanted = {(LOGIN, OK): False, (LOGIN, ALREADY): True, (LOGOUT, OK): True, (LOGOUT, NOT_LOGGED_IN): False}
        if wanted.get((call.what, call.rv), user) != user:
            return None
        return sessions, {LOGIN: user or call.rv == OK, LOGOUT: False}[call.what]

    stack, seen = [(0, frozenset(), False)], set()
    while stack:
        done, sessions, user = stack.pop()
        if done == (1 << n) - 1:
            return True
        for i in range(n):
            if done >> i & 1 or before[i] & ~done:
                continue
            state = after(i, sessions, user)
            if state is not None and (done | 1 << i, *state) not in seen:
                seen.add((done | 1 << i, *state))
                stack.append((done | 1 << i, *state))
    return False


def tell(story, calls, module):
    """The schedule as calls of that module in a story (check_story.py)."""
    begun = {}
    moments = sorted([(c.begin, 0, c) for c in calls] + [(c.end, 1, c) for c in calls], key=lambda m: m[:2])
    for _, end, c in moments:
        if end:
            story.finish(begun.pop(c.thread))
            continue
        more = dict(rv=c.rv, tid=1000 + c.thread, module=module)
        if c.what == OPEN:
            args, more["flags"] = (c.session,), SERIAL | RW
        elif c.what == CLOSE_ALL:
            args = ()
        elif c.what == LOGIN:
            args = (c.session, c.pin)
        else:
            args = (c.session,)
            if c.what == STATE:
                more.update(state=2 + c.user, flags=SERIAL | RW)
        begun[c.thread] = story.begin(c.what, *args, **more)
