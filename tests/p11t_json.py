"""What `p11trace dump --json` must say of a trace, made by the second reader (decoder/show/JSON.md), but for the keys that
are derived from tables of names."""
import p11t_reader

DERIVED = {"name", "names", "text", "dn", "certificate"}
SHAPES = ("same", "zero", "der", "text")
FORMS = {5: "unread", 8: "length", 12: "deferred", 7: "dictionary"}
FLAGS = {4: "probe", 8: "snapshot", 16: "cut", 32: "altered", 64: "late"}


def number(n):
    return n if n < 2**53 else f"{n:#x}"


def num(n):
    return {"type": "number", "value": number(n)}


def version(v):
    return f"{v[0]}.{v[1]}"


def pointed(value, pointer):
    """The value that a pointer of that class led to."""
    if pointer == 0:
        return None
    value = dict(value) if value is not None else {"type": "pointer"}
    if pointer == 2:
        value["pointer"] = "unreadable"
    elif pointer >= 32:
        value["pointer"] = f"overlap:{pointer - 32}"
    elif pointer >= 16:
        value["pointer"] = f"same:{pointer - 16}"
    return value


class Json:
    def __init__(self, trace):
        self.structures = trace.schema.structures

    def value(self, v):
        if v.form == 0:
            return {"type": "bytes", "form": "null"}
        if v.form in (1, 2):
            return {"type": "bytes", "form": {1: "full", 2: "cut"}[v.form], "length": number(v.length),
                    "hex": v.data.hex()}
        if v.form in (3, 4):
            r = {"type": "bytes", "form": {3: "tag", 4: "sealed"}[v.form], "length": number(v.length), "tag": f"{v.tag:016x}"}
            if v.form == 4:
                r |= {"class": ("", "data", "secret", "pin")[v.seal_class], "kept": len(v.data) - 16}
            if v.shape:
                r["shape"] = [s for i, s in enumerate(SHAPES) if v.shape >> i & 1]
            return r
        if v.form in FORMS:
            return {"type": "bytes", "form": FORMS[v.form], "length": number(v.length)}
        if v.form == 6:
            return {"type": "bytes", "form": "unavailable"}
        if v.form == 9:
            return num(v.number)
        if v.form == 10:
            return {"type": "bool", "value": v.number}
        if v.form == 11:
            return self.template(v.items)
        if v.form == 14:
            return self.structure(v.number, v.items)
        return {"type": "list", "items": [num(n) for n in v.items]}

    def template(self, items, deferred=()):
        result = []
        for i, a in enumerate(items):
            one = {"attribute": number(a["type"]), "length": number(a["length"])}
            value = deferred[i] if i in deferred else a.get("value")
            if a["pointer"] == 0:
                one["value"] = None
            elif value is None:
                if a["pointer"] != 1:
                    one["value"] = pointed(None, a["pointer"])
            else:
                one["value"] = pointed(self.value(value), a["pointer"])
            result.append(one)
        return {"type": "template", "attributes": result}

    def structure(self, n, members):
        s = self.structures[n]
        kinds = {m.name: m for m in s.members}
        return {"type": "struct", "struct": s.name, "number": n,
                "members": {name: self.member(kinds[name], v) for name, v in members.items()}}

    def by_name(self, name, members):
        return self.structure(next(n for n, s in self.structures.items() if s.name == name), members)

    def member(self, m, v):
        k = m.kind
        if k == 4:
            return {"type": "bool", "value": v}
        if k in (1, 2, 3, 5, 21):
            return num(v)
        if k in (6, 7):
            return self.value(v)
        if k == 8:
            return {"type": "version", "version": version(v)}
        if k == 9:
            return self.by_name(m.ref, v)
        inside = v.get("value")
        if v["pointer"] in (0, 2) or k == 19:
            return pointed(None, v["pointer"])
        if k in (10, 11, 20, 22):
            r = self.value(inside)
        elif k == 12:
            r = {"type": "version", "version": version(inside)}
        elif k == 13:
            r = self.by_name(m.ref, inside)
        elif k == 14:
            r = {"type": "list", "items": [self.by_name(m.ref, one) for one in inside]}
        elif k == 15:
            r = self.template(inside)
        elif k == 16:
            r = self.mechanism(inside)
        else:
            r = num(inside)
        return pointed(r, v["pointer"])

    def mechanism(self, m):
        parameter = self.structure(m["structure"], m["members"]) if m["structure"] else self.value(m["value"])
        if m["pointer"] == 0:
            parameter = None
        return {"type": "mechanism", "mechanism": number(m["mechanism"]), "length": number(m["length"]),
                "parameter": pointed(parameter, m["pointer"]) if parameter else None}

    def interface(self, i):
        return {"type": "interface", "name": i["name"].decode(), "version": version(i["version"]), "flags": number(i["flags"])}

    def before(self, p, b, a):
        k = p.kind
        if k <= 9:
            return {"type": "bool", "value": b["number"]} if k == 3 else num(b["number"])
        pointer = b["pointer"]
        value = None
        if k in (11, 12, 14, 15, 19):
            v = b.get("value") or (a or {}).get("value")
            value = self.value(v) if v else None
        elif "version" in b:
            value = {"type": "version", "version": version(b["version"])}
        elif k == 16 and "template" in b:
            value = self.template(b["template"], (a or {}).get("deferred", ()))
        elif k == 17 and "mechanism" in b:
            value = self.mechanism(b["mechanism"])
        elif k == 18 and pointer:
            value = {"type": "init_args", "callbacks": b["callbacks"], "flags": number(b["flags"]),
                     "reserved": ("null", "ours", "text", "other")[b["reserved"]], "value": self.value(b["value"])}
        elif k == 22 and pointer:
            value = num(b["number"])
        elif k == 31 and pointer:
            value = self.template(b["template"])
        return pointed(value, pointer)

    def after(self, p, b, a):
        """None when nothing is recorded."""
        value = self.output(p, b, a)
        return pointed(value, b["pointer"]) if value and b.get("pointer", 0) >= 2 else value

    def output(self, p, b, a):
        k = p.kind
        if not (a.get("template") or a.get("interfaces")) and k in (31, 35):
            return None
        if k in (17, 32):
            return self.structure(a["structure"], a["members"]) if a["structure"] else None
        if k in (20, 21):
            return self.value(a["value"])
        if 22 <= k <= 27:
            return num(a["number"]) if "number" in a else None
        if 28 <= k <= 30:
            return {"type": "list", "items": [num(n) for n in a["list"]]}
        if k == 31:
            attributes = [{**one, "length": number(x["length"]), "value": self.value(x["value"])}
                          for one, x in zip(self.template(b["template"])["attributes"], a["template"])]
            return {"type": "template", "attributes": attributes}
        if k == 33:
            return {"type": "version", "version": version(a["version"])} if "version" in a else None
        if k in (34, 35):
            items = [self.interface(i) for i in a["interfaces"]]
            return {"type": "list", "items": items} if k == 35 else items[0] if items else None
        return None

    def call(self, c):
        """The object of a call, times and derived keys left out."""
        r = {"type": "call", "fn": c.name, "function": c.any.function, "tid": c.tid, "module": c.any.module,
             "state": "unwound" if c.state == p11t_reader.ABANDONED else c.state}
        if c.enter:
            r["call"] = c.number
        if c.leave:
            r.update(end=c.leave.number, rv_value=number(c.rv))
        flags = [name for bit, name in FLAGS.items() if bit & ((c.enter.flags if c.enter else 0) | (c.leave.flags if c.leave else 0))]
        if flags:
            r["flags"] = flags
        r["args"] = []
        for p, b, a in c.arguments():
            one = {"name": p.name, "kind": p.kind}
            if b is not None:
                one["in"] = self.before(p, b, a)
            if a is not None and b is not None:
                out = self.after(p, b, a)
                if out is not None:
                    one["out"] = out
            r["args"].append(one)
        return r


def without_derived(x, top=True):
    """The same object without what is derived from tables, and without what the reader does not compute."""
    if isinstance(x, list):
        return [without_derived(y, False) for y in x]
    if not isinstance(x, dict):
        return x
    if "members" in x and x.get("type") == "struct":
        return {**x, "members": {k: without_derived(v, False) for k, v in x["members"].items()}}
    if "args" in x:
        return {k: [{n: v if n == "name" else without_derived(v, False) for n, v in a.items()} for a in x["args"]] if k == "args"
                else v for k, v in x.items() if k not in ("rv", "process", "pid", "thread", "start", "end_time", "duration",
                                                          "caller", "stack", "stack_stale")}
    drop = DERIVED - {"name"} if x.get("type") == "interface" else DERIVED
    return {k: without_derived(v, False) for k, v in x.items() if k not in drop}
