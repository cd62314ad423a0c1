"""What the compiler is to refuse in the tables of shim/spec, and what the header must allow its users."""
import shutil
import subprocess

import pytest

from test_spec import SPEC, WARN

# (file to compile, table to spoil, what to find, what to put there, what the compiler then says)
FORGOTTEN = {
    "field-without-class": ("structures.c", "structures.def", "BYTES(ulPasswordLen, SECRET, IN)",
                            "BYTES(ulPasswordLen, IN)", "FK_BYTES"),
    "field-without-direction": ("structures.c", "structures.def", "BYTES(ulPasswordLen, SECRET, IN)",
                                "BYTES(ulPasswordLen, SECRET)", "FK_BYTES"),
    "field-with-unknown-class": ("structures.c", "structures.def", "BYTES(ulPasswordLen, SECRET, IN)",
                                 "BYTES(ulPasswordLen, , IN)", "P11_"),
    "array-without-class": ("structures.c", "structures.def", "ARRAY(PUBLIC, IN)", "ARRAY(IN)", "FK_ARRAY"),
    "pointer-without-class": ("structures.c", "structures.def", "POINTER(SECRET, IN)", "POINTER(IN)", "FK_POINTER"),
    "length-of-no-member": ("structures.c", "structures.def", "BYTES(ulPasswordLen, SECRET, IN)",
                            "BYTES(ulPasswordSize, SECRET, IN)", "ulPasswordSize"),
    "structure-without-number": ("structures.c", "structures.def", "S(1, CK_INFO", "S(CK_INFO", "CK_INFO"),
    "number-given-twice": ("mechanisms.c", "mechanisms.def", "M(CKM_RSA_PKCS, NONE)",
                           "M(CKM_RSA_PKCS, NONE)\nM(CKM_RSA_PKCS, IV)", "duplicate case"),
    "attribute-without-class": ("attributes.c", "attributes.def", "A(CKA_VALUE, CERT, VALUE)", "A(CKA_VALUE, CERT)",
                                "requires 3 arguments"),
    "attribute-with-empty-class": ("attributes.c", "attributes.def", "A(CKA_VALUE, CERT, VALUE)",
                                   "A(CKA_VALUE, CERT, )", "P11_"),
    "attribute-twice": ("attributes.c", "attributes.def", "A(CKA_VALUE, CERT, VALUE)",
                        "A(CKA_VALUE, CERT, VALUE)\nA(CKA_VALUE, CERT, VALUE)", "PLACE_CKA_VALUE"),
    "parameter-without-class": ("functions.c", "functions.def", "IN_BYTES(3, DATA)", "IN_BYTES(3)", "P_IN_BYTES"),
    "constant-twice": ("constants.c", "constants/ckr.def", "C(CKR_OK, 0x00000000, P11)",
                       "C(CKR_OK, 0x00000000, P11)\nC(CKR_OK, 0x00000001, P11)", "CKR_OK"),
}


@pytest.mark.parametrize("case", FORGOTTEN)
def test_forgotten(case, tmp_path):
    """The table compiles; spoilt in one place it does not, and the message names the place."""
    source, table, old, new, message = FORGOTTEN[case]
    folder = tmp_path / "spec"
    shutil.copytree(SPEC, folder)

    def compile_it():
        return subprocess.run(["gcc", "-std=c11", "-D_GNU_SOURCE", *WARN, f"-I{folder}", "-fsyntax-only",
                               folder / source], capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"})

    assert compile_it().returncode == 0
    text = (folder / table).read_text()
    assert old in text
    (folder / table).write_text(text.replace(old, new, 1))
    spoilt = compile_it()
    assert spoilt.returncode != 0 and message in spoilt.stderr, spoilt.stderr[:2000]


USER = r"""
#define P11_PROTOTYPES
#include "pkcs11.h"
#include <string.h>

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR ppFunctionList);
static CK_RV initialize(CK_VOID_PTR args) { return args == NULL_PTR ? CKR_OK : CKR_ARGUMENTS_BAD; }
static CK_FUNCTION_LIST list;

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR ppFunctionList)
{
  list.version.major = 2;
  list.version.minor = 40;
  list.C_Initialize = initialize;
  *ppFunctionList = &list;
  return CKR_OK;
}

static int rank(CK_RV rv)
{
  switch (rv) {
    case CKR_OK: return 0;
    case CKR_VENDOR_DEFINED: return 1;
    case CKR_NSS_CERTDB_FAILED: return 2;
    case CK_UNAVAILABLE_INFORMATION: return 3;
    default: return 4;
  }
}

int main(void)
{
  CK_FUNCTION_LIST_PTR functions;
  CK_BBOOL yes = CK_TRUE;
  CK_OBJECT_CLASS trust = CKO_NSS_TRUST;
  CK_ATTRIBUTE search[] = {{CKA_CLASS, &trust, sizeof trust}, {CKA_TOKEN, &yes, sizeof yes}};
  CK_FLAGS all = ~0UL;
  int bad = 0;
  bad |= C_GetFunctionList(&functions) != CKR_OK || functions->C_Initialize(NULL_PTR) != CKR_OK;
  bad |= rank(CKR_OK) != 0 || rank(0x80000000UL) != 1 || rank(0xce534351UL) != 2 || rank(~0UL) != 3 || rank(5) != 4;
  bad |= (all & ~CKF_EXTENSION) != 0xffffffff7fffffffUL || (all & ~CKF_RW_SESSION) != ~2UL;
  bad |= (CK_ULONG)-1 != CK_UNAVAILABLE_INFORMATION || CK_INVALID_HANDLE != 0 || CK_FALSE != 0;
  bad |= search[0].type != 0 || trust != 0xce534353UL || CKM_VENDOR_DEFINED < 0 || (CK_ULONG)CKA_NSS_URL != 0xce534351UL;
  bad |= sizeof(CK_C_INITIALIZE_ARGS) != 48 || sizeof(CK_NSS_C_INITIALIZE_ARGS) != 56 || sizeof(CK_FUNCTION_LIST_3_2) != 840;
  return bad;
}
"""


@pytest.mark.parametrize("compiler", ["gcc -std=c11", "clang -std=c11", "gcc -std=c17 -O2", "g++ -std=c++11",
                                      "clang++ -std=c++17"])
def test_header_stands_alone(compiler, tmp_path):
    """For mocks and clients, in C and C++: constants as case labels, with the sign and width of CK_ULONG."""
    words = compiler.split()
    source = tmp_path / ("user.cc" if "++" in words[0] else "user.c")
    source.write_text(USER)
    warn = ["-Wall", "-Wextra", "-Werror", "-Wshadow"] if "++" in words[0] else WARN
    subprocess.run([*words, *warn, "-Wno-type-limits", f"-I{SPEC}", source, "-o", tmp_path / "user"], check=True)
    subprocess.run([tmp_path / "user"], check=True)


def test_lookups_are_safe_in_the_shim(tmp_path):
    """What the recorder links has no memory, no locks, no names of constants: nothing undefined but strcmp."""
    for source in ("functions", "structures", "attributes", "mechanisms"):
        subprocess.run(["gcc", "-std=c11", "-D_GNU_SOURCE", "-O2", f"-I{SPEC}", "-c", SPEC / f"{source}.c", "-o",
                        tmp_path / f"{source}.o"], check=True)
    undefined = subprocess.run(["nm", "-u", *sorted(tmp_path.glob("*.o"))], check=True, capture_output=True,
                               text=True).stdout.split()
    names = {word for word in undefined if word != "U" and not word.endswith(":")}
    assert names <= {"strcmp", "_GLOBAL_OFFSET_TABLE_"}, names
