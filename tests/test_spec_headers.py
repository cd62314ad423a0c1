"""Values, sizes and offsets of shim/spec beside two headers that other people wrote: NSS's and p11-kit's.

Each difference that is known is listed with its reason, so that a new one, or the end of one, is noticed."""
import re
import subprocess
from collections import defaultdict

import pytest

from test_spec import fields, spec  # noqa: F401  (the fixture)

NSS = ("-I/usr/include/nspr", "-I/usr/include/nss"), "#include <nspr.h>\n#include <pkcs11.h>\n#include <pkcs11n.h>\n"
P11KIT = ("-I/usr/include/p11-kit-1",), "#include <p11-kit/pkcs11.h>\n"

# NSS 3.87 still has its own attributes under names that PKCS #11 3.2 gave to others; newer NSS has our names.
RENAMED = re.compile(r"CKA_(TRUST_\w+|CERT_(?:SHA1|MD5)_HASH)$")


def ask(header, folder, body: str) -> list:
    """The output of a program whose main is `body`, compiled with the header."""
    flags, includes = header
    (folder / "ask.c").write_text(f"#include <stddef.h>\n#include <stdio.h>\n{includes}int main(void) {{\n{body}\n}}\n")
    subprocess.run(["gcc", "-w", *flags, folder / "ask.c", "-o", folder / "ask"], check=True)
    lines = subprocess.run([folder / "ask"], check=True, capture_output=True, text=True).stdout.splitlines()
    return [line.split() for line in lines]


def macros(header, folder) -> dict:
    """The constants that the header defines, by name."""
    flags, includes = header
    text = subprocess.run(["gcc", *flags, "-E", "-dM", "-xc", "-"], input=includes, check=True, capture_output=True,
                          text=True).stdout
    # CKA_..., CKF_..., and the CK_ ones whose value is a number.
    names = re.findall(r"^#define (CK[A-Z]_\w+|CK_[A-Z0-9_]+(?= \(?(?:0x|~?\d|\(CK_ULONG\)))) +\S", text, re.M)
    body = "".join(f'printf("{name} %lu\\n", (unsigned long)({name}));\n' for name in sorted(names))
    return {name: int(value) for name, value in ask(header, folder, body)}


def members(header, folder) -> dict:
    """{structure: [(member, offset, size), ...]} of each CK_... type of the header."""
    flags, includes = header
    text = subprocess.run(["gcc", *flags, "-E", "-P", "-xc", "-"], input=includes, check=True, capture_output=True,
                          text=True).stdout
    lists = {tag: re.findall(r"(\w+)\s*(?:\[[^\]]*\])?\s*;", body)
             for tag, body in re.findall(r"\bstruct\s+(\w+)\s*\{([^{}]*)\}", text)}
    types = dict(re.findall(r"typedef\s+struct\s+(\w+)\s+(CK_\w+)\s*;", text))
    names = {name: tag for tag, name in re.findall(r"\bstruct\s+(\w+)\s*\{[^{}]*\}\s*(CK_\w+)\s*;", text)}
    names |= {name: tag for tag, name in types.items() if tag in lists}
    body = ""
    for name, tag in names.items():
        body += f'printf("{name} - %zu 0\\n", sizeof({name}));\n'
        for member in lists[tag]:
            body += f'printf("{name} {member} %zu %zu\\n", offsetof({name}, {member}), sizeof((({name} *)0)->{member}));\n'
    found = defaultdict(list)
    for name, member, offset, size in ask(header, folder, body):
        found[name].append((member, int(offset), int(size)))
    return found


@pytest.fixture(scope="module", params=["nss", "p11-kit"])
def other(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("headers")
    header = {"nss": NSS, "p11-kit": P11KIT}[request.param]
    return request.param, macros(header, folder), members(header, folder)


# What NSS defined after 3.87, the version that Debian 12 has: programs that bring their own NSS use it.
NEWER = {name: 0xCE534350 + number for name, number in {
    "CKK_NSS_KYBER": 5, "CKK_NSS_ML_KEM": 6, "CKA_NSS_PARAMETER_SET": 40, "CKM_NSS_KYBER_KEY_PAIR_GEN": 45,
    "CKM_NSS_KYBER": 46, "CKM_NSS_ECDHE_NO_PAIRWISE_CHECK_KEY_PAIR_GEN": 47, "CKM_NSS_ML_KEM_KEY_PAIR_GEN": 48,
    "CKM_NSS_ML_KEM": 49, "CKP_NSS_KYBER_768_ROUND3": 1, "CKP_NSS_ML_KEM_768": 2}.items()}

DIFFERENT_VALUES = {
    "nss": {},
    # 0.24: five return values where 2.40 does not have them.
    "p11-kit": {"CKR_EXCEEDED_MAX_ITERATIONS": 0x1C0, "CKR_FIPS_SELF_TEST_FAILED": 0x1C1,
                "CKR_LIBRARY_LOAD_FAILED": 0x1C2, "CKR_PIN_TOO_WEAK": 0x1C3, "CKR_PUBLIC_KEY_INVALID": 0x1C4},
}
NOT_OURS = {
    # Bases and masks that NSS makes its values of, marks inside NSS, and old names that stand for newer ones.
    "nss": {"CKA_NSS", "CKA_TRUST", "CKC_NSS", "CKK_NSS", "CKM_NSS", "CKO_NSS", "CKR_NSS", "CKT_NSS",
            "CKT_VENDOR_DEFINED", "CKA_NSS_MESSAGE_MASK", "CKA_FLAGS_ONLY", "CKK_INVALID_KEY_TYPE", "CK_NULL_PTR",
            "CKT_NSS_UNTRUSTED", "CKT_NSS_VALID"},
    # p11-kit's own certificate type, and its name for CK_OTP_OUTPUT_FORMAT.
    "p11-kit": {"CKC_OPENPGP", "CK_OTP_FORMAT"},
}


def test_values(other, spec):  # noqa: F811
    which, theirs, _ = other
    ours = {c[1]: int(c[2], 0) for c in spec["constant"]}
    if which == "nss":
        theirs = {RENAMED.sub(r"CKA_NSS_\1", name): value for name, value in theirs.items()}
    both = ours.keys() & theirs.keys()
    assert len(both) > {"nss": 1000, "p11-kit": 680}[which]
    assert {name: theirs[name] for name in both if theirs[name] != ours[name]} == DIFFERENT_VALUES[which]
    assert theirs.keys() - ours.keys() == NOT_OURS[which]
    if which == "nss":
        nss = {c[1]: int(c[2], 0) for c in spec["constant"] if c[4] == "NSS"}
        assert {name: value for name, value in nss.items() if name not in theirs} == NEWER


# Function lists (compared below), what NSS's private interfaces return, and NSS's tag for CK_GCM_PARAMS.
NOT_DESCRIBED = {
    "nss": {"CK_FUNCTION_LIST", "CK_FUNCTION_LIST_3_0", "CK_NSS_FIPS_FUNCTIONS", "CK_NSS_MODULE_FUNCTIONS",
            "CK_GCM_PARAMS_V3"},
    "p11-kit": {"CK_FUNCTION_LIST"},
}


def test_layouts(other, spec):  # noqa: F811
    which, _, theirs = other
    ours = defaultdict(list)
    for s in spec["struct"]:
        ours[s[1]].append(("-", int(s[2]), 0))
    for f in fields(spec):
        ours[f[0]].append((f[1], f[2], f[3]))
    for struct, member, offset, size, whole in spec["plain"]:
        if struct != "CK_NSS_C_INITIALIZE_ARGS":
            ours[struct] = ours[struct] or [("-", int(whole), 0)]
            ours[struct].append((member, int(offset), int(size)))
    both = ours.keys() & theirs.keys()
    assert len(both) > {"nss": 85, "p11-kit": 18}[which]
    for struct in sorted(both):
        mine, his = ours[struct], theirs[struct]
        if which == "nss" and struct == "CK_C_INITIALIZE_ARGS":
            assert [m[0] for m in his[-2:]] == ["LibraryParameters", "pReserved"] and his[-1][1:] == (48, 8)
            mine, his = mine[1:-1], his[1:-2]
        # Names may differ (hash_alg), places may not.
        assert [m[1:] for m in mine] == [m[1:] for m in his], struct
        if which == "nss":
            assert [m[0] for m in mine] == [m[0] for m in his], struct
    assert theirs.keys() - ours.keys() == NOT_DESCRIBED[which]


def test_seven_members_of_nss(spec):  # noqa: F811
    ours = {p[1]: p[2:] for p in spec["plain"] if p[0] == "CK_NSS_C_INITIALIZE_ARGS"}
    assert ours == {"LibraryParameters": ["40", "8", "56"], "pReserved": ["48", "8", "56"]}


def test_function_lists(other, spec):  # noqa: F811
    """A list of ours has each function where the list of the other header has it."""
    which, _, theirs = other
    ours = defaultdict(list)
    for version, name, offset in spec["list"]:
        ours[version].append((name, int(offset)))
    lists = {"nss": {"2.40": "CK_FUNCTION_LIST", "3.0": "CK_FUNCTION_LIST_3_0"},
             "p11-kit": {"2.40": "CK_FUNCTION_LIST"}}[which]
    for version, struct in lists.items():
        assert [m[:2] for m in theirs[struct] if m[0].startswith("C_")] == ours[version], version
    assert {s for s in theirs if s.startswith("CK_FUNCTION_LIST")} == set(lists.values())
