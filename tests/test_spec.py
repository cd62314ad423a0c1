"""The tables of shim/spec say what PKCS #11 3.2 says, and are consistent with each other.

tests/cases/spec/dump.c prints every table; constants.tsv and layout.tsv are the standard's names, values and layouts.
Comparison with the headers of NSS and p11-kit: test_spec_headers.py.  What must not compile: test_spec_compile.py."""
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SPEC = ROOT / "shim/spec"
CASES = ROOT / "tests/cases/spec"
WARN = ("-Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition").split()

PUBLIC, DATA, SECRET, PIN, VALUE = 1, 2, 3, 4, 5
LENGTH_OF = {14: 2, 15: 2, 16: 2, 19: 2, 20: 22, 21: 2, 28: 22, 29: 22, 30: 2, 31: 2, 35: 22}  # kind -> kind of its link
OUT_LENGTH = 22


def dump(compiler: str, folder: Path) -> dict:
    """The lines of dump.c by their first word."""
    program = folder / f"dump-{compiler}"
    subprocess.run([compiler, "-std=c11", "-D_GNU_SOURCE", *WARN, f"-I{SPEC}", CASES / "dump.c",
                    *sorted(SPEC.glob("*.c")), "-o", program], check=True)
    lines = defaultdict(list)
    for line in subprocess.run([program], check=True, capture_output=True, text=True).stdout.splitlines():
        word, *rest = line.split("\t")
        lines[word].append(rest)
    return lines


@pytest.fixture(scope="session")
def spec(tmp_path_factory) -> dict:
    return dump("gcc", tmp_path_factory.mktemp("spec"))


def rows(name: str) -> list:
    """The rows of a table of the standard."""
    lines = (CASES / name).read_text().splitlines()
    return [line.split("\t") for line in lines if not line.startswith("#")]


def fields(spec) -> list:
    """(structure, member, offset, size, kind, secrecy, direction, volatile, link, ref)"""
    return [(f[0], f[1], *map(int, f[2:])) for f in spec["field"]]


def test_compilers_agree(spec, tmp_path):
    assert dump("clang", tmp_path) == spec


# --- constants --------------------------------------------------------------------------------


def test_constants_are_the_standards(spec):
    """Every name of the standard, with its value, in exactly the list that it belongs to; no name twice."""
    ours = {name: (domain, int(value, 0)) for domain, name, value, _, source in spec["constant"] if source == "P11"}
    theirs = {name: (domain, int(value, 0)) for name, value, domain in rows("constants.tsv")}
    assert len(theirs) == 1047 and ours == theirs
    names = [c[1] for c in spec["constant"]]
    assert len(set(names)) == len(names)
    assert {c[4] for c in spec["constant"]} == {"P11", "NSS"}


def test_compiled_value_is_the_written_one(spec):
    assert [c[1] for c in spec["constant"] if int(c[2], 0) != int(c[3], 0)] == []


def test_lists_are_sorted_and_have_their_domain(spec):
    by_domain = defaultdict(list)
    for domain, _, value, _, _ in spec["constant"]:
        by_domain[domain].append(int(value, 0))
    assert all(values == sorted(values) for values in by_domain.values())
    domains = {label: name for _, name, label, _ in spec["domain"]}
    assert set(domains) == set(by_domain)
    assert all(label.upper().replace(".", "_") == name for label, name in domains.items())
    assert {f"{name.lower()}.def" for name in domains.values()} == {f.name for f in (SPEC / "constants").iterdir()}


def test_flag_lists_hold_bits(spec):
    flags = {label for _, _, label, is_flags in spec["domain"] if is_flags == "1"}
    assert flags == {label for _, _, label, _ in spec["domain"] if label.startswith("CKF.")}
    values = [int(c[2], 0) for c in spec["constant"] if c[0] in flags]
    assert len(values) > 70 and all(value.bit_count() == 1 for value in values)


def test_names_both_ways(spec):
    values = {(c[0], c[1]): int(c[2], 0) for c in spec["constant"]}
    assert len(spec["name"]) == len(values)
    for domain, name, first, back in spec["name"]:
        assert back == "1", name
        assert values[domain, first] == values[domain, name]
    aliases = {name: first for _, name, first, _ in spec["name"] if name != first}
    assert aliases.items() >= {
        "CKM_ECDSA_KEY_PAIR_GEN": "CKM_EC_KEY_PAIR_GEN", "CKA_ECDSA_PARAMS": "CKA_EC_PARAMS", "CKK_ECDSA": "CKK_EC",
        "CKM_CAST5_CBC": "CKM_CAST128_CBC", "CKF_EC_NAMEDCURVE": "CKF_EC_OID", "CKF_MULTI_MESSGE": "CKF_MULTI_MESSAGE",
        "CKA_SUB_PRIME_BITS": "CKA_SUBPRIME_BITS", "CKM_SHA3_256_KEY_DERIVE": "CKM_SHA3_256_KEY_DERIVATION",
    }.items()
    assert spec["unknown"] == [["1", "1", "1", "1", "7"]]


# --- structures -------------------------------------------------------------------------------


def test_layouts_are_the_standards(spec):
    sizes = {s[1]: int(s[2]) for s in spec["struct"]} | {p[0]: int(p[4]) for p in spec["plain"]}
    members = {(f[0], f[1]): f[2:4] for f in fields(spec)} | {(p[0], p[1]): (int(p[2]), int(p[3])) for p in spec["plain"]}
    structures = 0
    for struct, member, *numbers in rows("layout.tsv"):
        if member:
            assert members[struct, member] == tuple(map(int, numbers)), (struct, member)
        else:
            structures += 1
            assert sizes[struct] == int(numbers[0]), struct
    theirs = {tuple(r[:2]) for r in rows("layout.tsv") if r[1]}
    assert structures == 96
    assert {m for m in members if "NSS" not in m[0]} == theirs


def test_structure_numbers_are_fixed(spec):
    """They stand in traces: the list of format 1 only grows."""
    numbers = {s[1]: int(s[0]) for s in spec["struct"]}
    known = dict(line.split() for line in (CASES / "structure-numbers.txt").read_text().splitlines())
    assert numbers.items() >= {name: int(number) for name, number in known.items()}.items()
    assert numbers.keys() == known.keys(), "append the new structure to structure-numbers.txt"
    assert len(set(numbers.values())) == len(numbers)


def test_each_field_has_kind_class_and_direction(spec):
    for f in fields(spec):
        assert 1 <= f[4] <= 22 and f[5] in (PUBLIC, DATA, SECRET) and f[6] in (1, 2, 3), f
    assert len(spec["field"]) == sum(int(s[3]) for s in spec["struct"])


def test_fields_fit_their_kind(spec):
    """Sizes, and links that point to a length of the right kind."""
    pointers = {10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22}
    sizes = {1: {1, 8}, 2: {8}, 3: {8}, 4: {1}, 5: {8}, 8: {2}, 21: {8}} | {kind: {8} for kind in pointers}
    at = {(f[0], f[2]): f for f in fields(spec)}
    struct = {int(s[0]): s for s in spec["struct"]}
    domains = len(spec["domain"])
    for f in fields(spec):
        kind, size, link, ref = f[4], f[3], f[8], f[9]
        assert size in sizes.get(kind, {size}), f
        if kind in (10, 11, 14, 15):
            assert at[f[0], link][4] == 1 and at[f[0], link][3] == 8, f
        elif kind == 20:
            assert at[f[0], link][4] == 17, f
        else:
            assert link == 0, f
        if kind in (9, 13, 14):
            assert ref in struct and (kind != 9 or int(struct[ref][2]) == size), f
        elif kind == 2 or (kind == 3 and f[0] != "CK_INFO"):
            assert 1 <= ref <= domains, f
        elif kind == 22:
            assert 1 <= ref <= 64, f
        else:
            assert ref == 0, f


def test_secret_and_volatile_fields(spec):
    """The list of decisions: nothing may leave it, and an addition is to be written here."""
    secret = {f"{f[0]}.{f[1]}" for f in fields(spec) if f[5] == SECRET}
    assert secret == {
        "CK_SKIPJACK_PRIVATE_WRAP_PARAMS.pPassword", "CK_SKIPJACK_RELAYX_PARAMS.pOldWrappedX",
        "CK_SKIPJACK_RELAYX_PARAMS.pOldPassword", "CK_SKIPJACK_RELAYX_PARAMS.pNewPassword", "CK_PBE_PARAMS.pPassword",
        "CK_PKCS5_PBKD2_PARAMS.pPassword", "CK_PKCS5_PBKD2_PARAMS2.pPassword", "CK_KEY_DERIVATION_STRING_DATA.pData",
        "CK_OTP_PARAM.pValue", "CK_TLS_PRF_PARAMS.pOutput", "CK_WTLS_PRF_PARAMS.pOutput", "CK_KIP_PARAMS.pSeed",
        "CK_X2RATCHET_INITIALIZE_PARAMS.sk", "CK_X2RATCHET_RESPOND_PARAMS.sk", "CK_ASYNC_DATA.pValue",
        "CK_NSS_JPAKEPublicValue.pGX", "CK_NSS_JPAKEPublicValue.pGV", "CK_NSS_JPAKEPublicValue.pR",
        "CK_NSS_JPAKERound2Params.pSharedKey",
    }
    assert {f[1] for f in fields(spec) if f[7]} == {"ulSessionCount", "ulRwSessionCount", "ulFreePublicMemory",
                                                   "ulFreePrivateMemory", "utcTime"}


# --- functions --------------------------------------------------------------------------------


def test_functions(spec):
    functions = spec["function"]
    assert len(functions) == 104
    assert [f[2] for f in functions] == ["0x228"] * 68 + ["0x300"] * 24 + ["0x302"] * 12
    for number, f in enumerate(functions):
        assert int(f[0]) == number == int(f[6]) and int(f[3]) < 16 and int(f[4]) < 9
    by_function = defaultdict(list)
    for p in spec["param"]:
        by_function[p[0]].append(p)
    assert all(len(by_function[f[1]]) == int(f[5]) and 1 <= int(f[5]) <= 10 for f in functions)
    assert len({f[1] for f in functions}) == 104


def test_parameters(spec):
    by_place = {(p[0], int(p[1])): p for p in spec["param"]}
    structs = {int(s[0]) for s in spec["struct"]}
    for p in spec["param"]:
        kind, link, secrecy, compare, aux = map(int, p[4:])
        assert 1 <= kind < 36 and PUBLIC <= secrecy <= PIN and 1 <= compare <= 5, p
        if kind in LENGTH_OF:
            assert int(by_place[p[0], link][4]) == LENGTH_OF[kind], p
            assert by_place[p[0], link][3] == ("CK_ULONG_PTR" if LENGTH_OF[kind] == OUT_LENGTH else "CK_ULONG"), p
        else:
            assert link == 0, p
        if kind == 30:
            assert by_place[p[0], aux][3:5] == ["CK_ULONG_PTR", "23"], p
        if kind == 32:
            assert aux in structs, p
        if kind in (4, 5):
            assert 1 <= aux <= len(spec["domain"]), p
    assert all(int(p[6]) == PIN for p in spec["param"] if "Pin" in p[2] and p[3].endswith("_PTR"))


def test_function_lists_grow_at_the_end(spec):
    lists = defaultdict(list)
    for version, name, offset in spec["list"]:
        lists[version].append((name, int(offset)))
    names = [f[1] for f in spec["function"]]
    for version, count in (("2.40", 68), ("3.0", 92), ("3.2", 104)):
        assert lists[version] == [(name, 8 + 8 * i) for i, name in enumerate(names[:count])]
    assert spec["size"] == [["2.40", "552"], ["3.0", "744"], ["3.2", "840"]]


# --- attributes -------------------------------------------------------------------------------


def test_each_attribute_is_described(spec):
    described = {a[0]: a for a in spec["attribute"]}
    values = {c[1]: int(c[2], 0) for c in spec["constant"] if c[0] == "CKA"}
    assert values.keys() - described.keys() == {"CKA_VENDOR_DEFINED"}
    preferred = {name: first for domain, name, first, _ in spec["name"] if domain == "CKA"}
    for name, a in described.items():
        assert a[1] == preferred[name] and int(a[2], 0) == values[name], name
        kind, secrecy, domain = map(int, a[3:])
        assert 1 <= kind <= 12 and secrecy in (PUBLIC, DATA, SECRET, VALUE), name
        assert (domain != 0) == (kind == 2), name


def test_classes_of_attributes(spec):
    secrecy = {a[0]: int(a[4]) for a in spec["attribute"]}
    assert {name for name, s in secrecy.items() if s == VALUE} == {"CKA_VALUE"}
    assert {name for name, s in secrecy.items() if s == DATA} == {"CKA_OTP_USER_IDENTIFIER"}
    secret = {name[4:] for name, s in secrecy.items() if s == SECRET}
    assert secret >= set("""PRIVATE_EXPONENT PRIME_1 PRIME_2 EXPONENT_1 EXPONENT_2 COEFFICIENT SEED OTP_COUNTER OTP_TIME
        X2RATCHET_RK X2RATCHET_CKS X2RATCHET_CKR X2RATCHET_HKS X2RATCHET_HKR X2RATCHET_DHS NSS_JPAKE_X2 NSS_JPAKE_X2S
        NSS_PASSWORD_CHECK NSS_MODULE_SPEC NSS_DB""".split())
    public = {name[4:] for name, s in secrecy.items() if s == PUBLIC}
    assert public >= set("""CLASS LABEL ID SUBJECT ISSUER SERIAL_NUMBER MODULUS PUBLIC_EXPONENT EC_PARAMS EC_POINT PRIME
        SUBPRIME BASE PUBLIC_KEY_INFO TRUST_SERVER_AUTH NSS_TRUST_SERVER_AUTH NSS_CERT_SHA1_HASH WRAP_TEMPLATE""".split())
    kinds = {a[0][4:]: int(a[3]) for a in spec["attribute"]}
    assert {name for name, kind in kinds.items() if kind == 11} == {
        "WRAP_TEMPLATE", "UNWRAP_TEMPLATE", "DERIVE_TEMPLATE", "ENCAPSULATE_TEMPLATE", "DECAPSULATE_TEMPLATE"}
    assert kinds["ALLOWED_MECHANISMS"] == 12 and kinds["VALUE"] == 10


# --- mechanisms -------------------------------------------------------------------------------

UNKNOWN = 5


def test_each_mechanism_is_described(spec):
    unknown = {m[0] for m in spec["mechanism"] if int(m[1]) == UNKNOWN and len(m) == 2}
    # PBKD2 is told by its content: see below. The last two are no mechanisms but marks inside NSS.
    assert unknown == {"CKM_VENDOR_DEFINED", "vendor", "beyond", "CKM_FAKE_RANDOM", "CKM_INVALID_MECHANISM"}


def test_structures_of_mechanisms(spec):
    sizes = {s[1]: int(s[2]) for s in spec["struct"]}
    found = {m[0]: m[2:] for m in spec["mechanism"]}
    used = set()
    for name, structures in found.items():
        for structure in structures:
            struct, size = structure.split(":")
            used.add(struct)
            assert sizes[struct] == int(size), name
    assert found["CKM_AES_GCM"] == ["CK_NSS_GCM_PARAMS:40", "CK_GCM_PARAMS:48", "CK_GCM_WRAP_PARAMS:56"]
    assert found["CKM_RSA_PKCS_OAEP"] == ["CK_RSA_PKCS_OAEP_PARAMS:40"]
    assert found["CKM_SHA256_RSA_PKCS_PSS"] == ["CK_RSA_PKCS_PSS_PARAMS:24"]
    assert found["CKM_NSS_CHACHA20_POLY1305"] == ["CK_NSS_AEAD_PARAMS:40"]
    assert found["CKM_RSA_PKCS"] == [] and found["CKM_AES_CBC"] == []
    # Every structure is somebody's parameter, or part of one, or told by content.
    parts = {int(f[9]) for f in fields(spec) if f[4] in (9, 13, 14)}
    rest = {s[1] for s in spec["struct"] if int(s[0]) not in parts} - used
    assert rest == {
        "CK_INFO", "CK_SLOT_INFO", "CK_TOKEN_INFO", "CK_SESSION_INFO", "CK_MECHANISM_INFO", "CK_ASYNC_DATA",
        "CK_ECDH2_DERIVE_PARAMS", "CK_PKCS5_PBKD2_PARAMS", "CK_OTP_SIGNATURE_INFO", "CK_GCM_MESSAGE_PARAMS",
        "CK_AES_GCM_PARAMS", "CK_AES_CCM_PARAMS", "CK_SP800_108_COUNTER_FORMAT", "CK_SP800_108_DKM_LENGTH_FORMAT"}


def test_plain_parameters(spec):
    none, iv, number, handle, version = range(5)
    plain = {m[0]: int(m[1]) for m in spec["mechanism"]}
    for name, kind in {"RSA_PKCS": none, "AES_ECB": none, "SHA256": none, "AES_CBC_PAD": iv, "DES3_CBC": iv,
                       "AES_KEY_WRAP": iv, "NSS_AES_KEY_WRAP": iv, "SHA256_HMAC": none, "SHA256_HMAC_GENERAL": number,
                       "AES_MAC_GENERAL": number, "TLS_PRF_GENERAL": none, "CONCATENATE_BASE_AND_KEY": handle,
                       "EXTRACT_KEY_FROM_KEY": number, "TLS_PRE_MASTER_KEY_GEN": version,
                       "SSL3_PRE_MASTER_KEY_GEN": version, "AES_GCM": UNKNOWN, "PKCS5_PBKD2": UNKNOWN}.items():
        assert plain[f"CKM_{name}"] == kind, name
    assert all(len(m) == 2 or int(m[1]) == UNKNOWN for m in spec["mechanism"])


def test_layouts_of_one_size(spec):
    """PBKD2 as softoken tells it (a length is at most 8192); AES-GCM by the generator, which is no address."""
    old, new = "CK_PKCS5_PBKD2_PARAMS", "CK_PKCS5_PBKD2_PARAMS2"
    assert [p[1] for p in spec["pbkd2"]] == [new, new, new, old, old]
    one, message = "CK_GCM_PARAMS", "CK_GCM_MESSAGE_PARAMS"
    assert [p[1] for p in spec["gcm"]] == [one, message, message, one, one]
    assert spec["null"] == [["-", "-"]]
