"""What may be on a token after its worker (clients/token_worker.c) was killed or ran into a full disk."""
import subprocess

GONE = "gone"


class States:
    """For each key (an object's name, "pin", "token") the states that it may have: the one acknowledged last and, while a
    change is under way, the new one."""

    def __init__(self):
        self.allowed = {}
        self.before = {}

    def of(self, key):
        return self.allowed.get(key, {GONE})

    def read(self, log: str):
        """Follows a worker's lines; a last line that was cut off says nothing yet. The number of changes done."""
        done = 0
        for line in log.splitlines(keepends=True):
            if not line.endswith("\n"):
                break
            what, key, state = line.split()
            if what == "?":
                self.begin(key, state)
            elif what == "+":
                self.end(key, state)
                done += 1
            else:
                self.allowed = self.before
        return done

    def begin(self, key, state):
        self.before = {k: set(v) for k, v in self.allowed.items()} if key == "token" else {**self.allowed}
        if key == "token":  # takes everything with it
            self.allowed = {k: v | {GONE} for k, v in self.allowed.items()}
        self.allowed = {**self.allowed, key: self.of(key) | {state}}

    def end(self, key, state):
        if key == "token":
            self.allowed = {}
        self.allowed[key] = {state}

    def settle(self, found: dict):
        """What was found must be allowed; from here on it is what is known."""
        for key in {*self.allowed, *found}:
            state = found.get(key, GONE)
            assert state in self.of(key), f"{key} is {state}, not {' or '.join(self.of(key))}"
        self.allowed = {key: {state} for key, state in found.items()}


class Worker:
    """Starts clients/token_worker.c on a token."""

    def __init__(self, build, token, env):
        self.program = build / "tests/clients/token_worker"
        self.token, self.env = token, {**env, **token.env}

    def start(self, *arguments, **more):
        return subprocess.Popen([self.program, self.token.module, *map(str, arguments)], env=self.env, text=True,
                                **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more})

    def run(self, *arguments, status=0, **more) -> str:
        p = self.start(*arguments, **more)
        out, err = p.communicate(timeout=120)
        assert p.returncode == status, f"{arguments}: {p.returncode}, {err}"
        return out

    def listed(self, *pin) -> dict:
        """The token's objects and label as a new process sees them. A torn object ends it with an error."""
        found = {}
        for line in self.run("list", *pin).splitlines():
            key, _, state = line.partition(" ")
            assert key not in found, f"two objects {key}"
            found[key] = state.strip()
        return found
