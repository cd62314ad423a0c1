"""PKCS #11 in ctypes, made of shim/spec: constants, structures and prototypes have no second list here.

CKA.LABEL, CKM.AES_CBC, CK.UNAVAILABLE_INFORMATION ...: ints, and CKR.name(0xa0) == "CKR_PIN_INCORRECT".
struct("CK_GCM_PARAMS", pIv=b"..."): a structure; lengths that are not given are filled in."""
import ctypes
import re
from functools import lru_cache
from pathlib import Path

SPEC = Path(__file__).resolve().parent.parent / "shim" / "spec"


def text_of(name: str) -> str:
    """A file of the specification without comments and preprocessor lines, its includes put in place."""
    text = (SPEC / name).read_text()
    text = re.sub(r'^#include "(constants/.*)"$', lambda m: text_of(m[1]), text, flags=re.M)
    return re.sub(r"^#.*(\\\n.*)*$", "", re.sub(r"/\*.*?\*/", "", text, flags=re.S), flags=re.M)


def split(text: str) -> list:
    """The parts between commas that are not inside parentheses."""
    parts, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if c == "," and depth == 0:
            parts.append(text[start:i].strip())
            start = i + 1
    return parts + [text[start:].strip()]


def entries(name: str, macro: str):
    """The arguments of each `macro(...)` of a table, in its order."""
    text = text_of(name)
    for m in re.finditer(rf"^{macro}\(", text, flags=re.M):
        end, depth = m.end(), 1
        while depth:
            depth += (text[end] == "(") - (text[end] == ")")
            end += 1
        yield split(text[m.end():end - 1])


class Names:
    """The constants of one prefix as attributes, whichever list they are in."""

    def __init__(self, prefix: str):
        self._prefix, self._names = prefix, {}

    def name(self, value: int) -> str:
        """The standard's name of a value, which for CKF and CKP need not be the only one; hexadecimal if it has none."""
        return self._names.get(value, f"{self._prefix}_{value:#x}")

    def all(self) -> dict:
        return {k: v for k, v in vars(self).items() if not k.startswith("_")}


def read_constants() -> dict:
    spaces = {}
    for name, value, _ in entries("constants.def", "C"):
        prefix, rest = name.split("_", 1)
        space = spaces.setdefault(prefix, Names(prefix))
        number = int(value, 16) if value.startswith("0x") else int(value.rstrip("UL"))
        setattr(space, rest, number)
        space._names.setdefault(number, name)
    return spaces


CONSTANTS = read_constants()
CK, CKA, CKC, CKD, CKF, CKG, CKH, CKK, CKM, CKN, CKO, CKP, CKR, CKS, CKT, CKU, CKV, CKZ = (CONSTANTS[p] for p in (
    "CK CKA CKC CKD CKF CKG CKH CKK CKM CKN CKO CKP CKR CKS CKT CKU CKV CKZ").split())


class Struct(ctypes.Structure):
    """Base of all structures. `keep` holds what its pointers point to."""

    def __init__(self, **values):
        super().__init__()
        self.keep = {}
        for member, value in values.items():
            self.fill(member, value)
        for member, length, is_bits in self._lengths:
            if member in self.keep and length not in values:
                setattr(self, length, len(memoryview(self.keep[member]).cast("B")) * (8 if is_bits else 1))

    def fill(self, member: str, value):
        """Pointers take bytes, str, a ctypes object or a list of structures; arrays take bytes; the rest as ctypes does."""
        ctype = dict(self._fields_)[member]
        if ctype is ctypes.c_void_p and not isinstance(value, (int, type(None))):
            if isinstance(value, str):
                value = value.encode()
            if isinstance(value, (bytes, bytearray)):
                value = (ctypes.c_ubyte * len(value)).from_buffer_copy(value)
            elif isinstance(value, (list, tuple)):
                array = (type(value[0]) * len(value))(*value)
                array.parts = value
                value = array
            self.keep[member] = value
            value = ctypes.addressof(value)
        elif isinstance(value, Struct):
            self.keep["." + member] = value
        elif isinstance(value, bytes):
            value = ctype.from_buffer_copy(value)
        elif isinstance(value, (tuple, list)):
            value = ctype(*value)
        setattr(self, member, value)

    def as_dict(self) -> dict:
        """Blank padded text as str, versions as (major, minor), the rest as it is."""
        out = {}
        for member, ctype in self._fields_:
            value = getattr(self, member)
            if isinstance(value, ctypes.Array):
                value = bytes(value).rstrip(b" ").decode("utf-8", "replace")
            elif ctype is TYPES["CK_VERSION"]:
                value = (value.major, value.minor)
            out[member] = value
        return out


TYPES = {"unsigned char": ctypes.c_ubyte, "unsigned long": ctypes.c_ulong, "long": ctypes.c_long}
STRUCTURES = {}


def make_structure(name: str, fields: list, lengths=()):
    TYPES[name] = STRUCTURES[name] = type(name, (Struct,), {"_fields_": fields, "_lengths": lengths})
    TYPES[name + "_PTR"] = ctypes.c_void_p


def read_types():
    """The types of pkcs11.h; what is a pointer there is a c_void_p here."""
    header = text_of("pkcs11.h")
    for m in re.finditer(r"typedef (?:struct (\w+) \{(.*?)\}|([\w ]+?)) ((?:\*?\w+, )*\*?\w+);|typedef CK_RV \(\*(\w+)\)", header, re.S):
        struct_name, members, base, names, callback = m.groups()
        if callback:
            TYPES[callback] = ctypes.c_void_p
        elif struct_name:
            fields = []
            for ctype, rest in re.findall(r"(\w+) (.*?);", members):
                for member, star, size in ((x.strip("* ").split("[")[0], "*" in x, re.search(r"\[(\d+)\]", x))
                                           for x in rest.split(",")):
                    t = ctypes.c_void_p if star else TYPES[ctype]
                    fields.append((member, t * int(size[1]) if size else t))
            make_structure(struct_name, fields)
        elif not base.startswith("struct"):
            for name in names.split(","):
                TYPES[name.strip("* ")] = ctypes.c_void_p if "*" in name or base == "void" else TYPES[base]


def read_structures():
    for _, name, *members in entries("structures.def", "S"):
        fields, lengths = [], []
        for member in members:
            ctype, field, suffix, kind = split(member[1:-1])
            t = TYPES[ctype]
            fields.append((field, t * int(suffix.strip("[]")) if suffix else t))
            length = re.match(r"(BYTES|BITS)\((\w+),", kind)
            if length:
                lengths.append((field, length[2], length[1] == "BITS"))
        make_structure(name, fields, lengths)


def read_functions() -> dict:
    """name -> (version, [(C type, parameter, kind), ...]) in the order of the function lists."""
    return {name: (since, [tuple(split(p[1:-1])) for p in parameters])
            for name, since, _, _, *parameters in entries("functions.def", "F")}


read_types()
read_structures()
FUNCTIONS = read_functions()


@lru_cache(maxsize=None)
def prototype(name: str):
    """The ctypes function type of a C_ function."""
    return ctypes.CFUNCTYPE(ctypes.c_ulong, *(TYPES[ctype] for ctype, _, _ in FUNCTIONS[name][1]))


def struct(name: str, **values) -> Struct:
    """A structure of structures.def or pkcs11.h by name."""
    return STRUCTURES[name](**values)


class _Structs:
    """structs.GCM_PARAMS(pIv=...) is struct("CK_GCM_PARAMS", pIv=...)."""

    def __getattr__(self, name):
        return STRUCTURES[name if name in STRUCTURES else "CK_" + name]


structs = _Structs()
