/* Objects of a token: reading, making, searching and describing them. */
#include "tool/tool.h"

#include <ctype.h>
#include <openssl/objects.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/module.h"
#include "object/attrs.h"
#include "spec.h"

bool tok_fetch(const struct tok_place *place, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, struct tok_attrs *into)
{
  CK_ATTRIBUTE attribute = {type, NULL, 0};
  if (C_GetAttributeValue(place->session, object, &attribute, 1) != CKR_OK) return false;
  size_t size = attribute.ulValueLen;
  attribute.pValue = tok_alloc(size + 1);
  bool good = attribute.pValue != NULL && C_GetAttributeValue(place->session, object, &attribute, 1) == CKR_OK &&
              tok_attrs_set(into, type, attribute.pValue, attribute.ulValueLen) == CKR_OK;
  if (attribute.pValue != NULL) tok_wipe_free(attribute.pValue, size + 1);
  return good;
}

/* The set as the array that the C_ functions take; the values stay the set's. The array is the caller's (free). */
static CK_ATTRIBUTE *as_template(const struct tok_attrs *attrs)
{
  CK_ATTRIBUTE *templ = tok_alloc((attrs->count + 1) * sizeof *templ);
  for (size_t i = 0; templ != NULL && i < attrs->count; i++) {
    templ[i] = (CK_ATTRIBUTE){attrs->list[i].type, attrs->list[i].value, attrs->list[i].len};
  }
  return templ;
}

CK_RV tok_create(const struct tok_place *place, const struct tok_attrs *attrs, CK_OBJECT_HANDLE *object)
{
  CK_ATTRIBUTE *templ = as_template(attrs);
  if (templ == NULL) return CKR_HOST_MEMORY;
  CK_RV rv = C_CreateObject(place->session, templ, attrs->count, object);
  free(templ);
  return rv;
}

bool tok_find_all(const struct tok_place *place, const struct tok_attrs *attrs, CK_OBJECT_HANDLE **found, size_t *count)
{
  enum { STEP = 256 };
  static const struct tok_attrs all = TOK_ATTRS_EMPTY;
  CK_ATTRIBUTE *templ = as_template(attrs != NULL ? attrs : &all);
  CK_RV rv =
      templ != NULL ? C_FindObjectsInit(place->session, templ, attrs != NULL ? attrs->count : 0) : CKR_HOST_MEMORY;
  bool begun = rv == CKR_OK;
  *found = NULL;
  *count = 0;
  for (CK_ULONG n = 1; rv == CKR_OK && n > 0; *count += n) {
    CK_OBJECT_HANDLE *more = realloc(*found, (*count + STEP) * sizeof *more);
    if (more != NULL) *found = more;
    rv = more != NULL ? C_FindObjects(place->session, *found + *count, STEP, &n) : CKR_HOST_MEMORY;
    if (rv != CKR_OK) n = 0;
  }
  if (begun) C_FindObjectsFinal(place->session);
  free(templ);
  if (rv == CKR_OK) return true;
  free(*found);
  *found = NULL;
  return tok_fail_rv("cannot search the token", place->label, rv);
}

bool tok_from_hex(const char *text, CK_BYTE *bytes, size_t room, size_t *len)
{
  for (*len = 0; text[0] != '\0'; text += text[2] == ':' && text[3] != '\0' ? 3 : 2) {
    char pair[3] = {text[0], text[1], '\0'};
    if (!isxdigit((unsigned char)pair[0]) || !isxdigit((unsigned char)pair[1]) || *len == room) return false;
    bytes[(*len)++] = (CK_BYTE)strtoul(pair, NULL, 16);
  }
  return *len > 0;
}

/* --- one line about an object ------------------------------------------------------------------------------------ */

/* clang-format off */
static const struct {
  CK_OBJECT_CLASS class;
  const char *name;
} classes[] = {
  {CKO_CERTIFICATE, "certificate"}, {CKO_PRIVATE_KEY, "private key"}, {CKO_PUBLIC_KEY, "public key"},
  {CKO_SECRET_KEY, "secret key"},   {CKO_DATA, "data"},               {CKO_NSS_CRL, "CRL"},
  {CKO_NSS_TRUST, "trust"},         {CKO_TRUST, "trust"},             {CKO_NSS_SMIME, "S/MIME profile"},
  {CKO_PROFILE, "profile"},         {CKO_DOMAIN_PARAMETERS, "domain parameters"},
};

/* What is said of an object after its name if the attribute has that value. */
static const struct {
  CK_ATTRIBUTE_TYPE type;
  bool value;
  const char *word;
} words[] = {
  {CKA_ENCRYPT, true, "encrypt"}, {CKA_DECRYPT, true, "decrypt"},           {CKA_SIGN, true, "sign"},
  {CKA_VERIFY, true, "verify"},   {CKA_SIGN_RECOVER, true, "sign recover"},
  {CKA_VERIFY_RECOVER, true, "verify recover"},
  {CKA_WRAP, true, "wrap"},       {CKA_UNWRAP, true, "unwrap"},             {CKA_DERIVE, true, "derive"},
  {CKA_SENSITIVE, false, "not sensitive"},                                  {CKA_EXTRACTABLE, true, "extractable"},
  {CKA_ALWAYS_AUTHENTICATE, true, "PIN for each use"},                      {CKA_TRUSTED, true, "trusted"},
  {CKA_MODIFIABLE, false, "not modifiable"},                                {CKA_DESTROYABLE, false, "not destroyable"},
};
/* clang-format on */

void tok_print_text(const CK_BYTE *text, size_t len)
{
  putchar('"');
  for (size_t i = 0; i < len; i++) {
    if (iscntrl(text[i]) || text[i] == '"' || text[i] == '\\') {
      printf("\\x%02x", text[i]);
    } else {
      putchar(text[i]);
    }
  }
  putchar('"');
}

static void print_curve(const CK_BYTE *params, CK_ULONG len)
{
  ASN1_OBJECT *oid = d2i_ASN1_OBJECT(NULL, &params, (long)len);
  if (oid == NULL) return;
  int nid = OBJ_obj2nid(oid);
  const char *name = nid != NID_undef ? OBJ_nid2sn(nid) : "unknown curve";
  /* prime256v1 is the name of nobody but X9.62. */
  printf(" %s", nid == NID_X9_62_prime256v1 ? "P-256"
                : nid == NID_secp384r1      ? "P-384"
                : nid == NID_secp521r1      ? "P-521"
                                            : name);
  ASN1_OBJECT_free(oid);
}

/* "RSA 2048", "EC P-256", "AES 256". */
static void print_key(const struct tok_place *place, CK_OBJECT_HANDLE object)
{
  struct tok_attrs a = TOK_ATTRS_EMPTY;
  CK_ULONG len;
  const CK_BYTE *value;
  tok_fetch(place, object, CKA_KEY_TYPE, &a);
  CK_KEY_TYPE type = tok_attrs_ulong(&a, CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION);
  const char *name = p11_constant_name(P11_DOM_CKK, type);
  /* The curves of these two say all. */
  if (type != CKK_EC_EDWARDS && type != CKK_EC_MONTGOMERY)
    printf(" %s", name != NULL ? name + strlen("CKK_") : "unknown");
  if (tok_fetch(place, object, CKA_MODULUS, &a) || tok_fetch(place, object, CKA_PRIME, &a)) {
    value = tok_attrs_get(&a, CKA_MODULUS, &len);
    if (value == NULL) value = tok_attrs_get(&a, CKA_PRIME, &len);
    while (len > 0 && value[0] == 0) value++, len--;
    unsigned bits = (unsigned)len * 8;
    for (unsigned top = len > 0 ? value[0] : 0x80; top < 0x80; top <<= 1) bits--;
    printf(" %u", bits);
  } else if (tok_fetch(place, object, CKA_EC_PARAMS, &a)) {
    value = tok_attrs_get(&a, CKA_EC_PARAMS, &len);
    print_curve(value, len);
  } else if (tok_fetch(place, object, CKA_VALUE_LEN, &a)) {
    printf(" %lu", tok_attrs_ulong(&a, CKA_VALUE_LEN, 0) * 8);
  }
  tok_attrs_clear(&a);
}

void tok_describe(const struct tok_place *place, CK_OBJECT_HANDLE object)
{
  struct tok_attrs a = TOK_ATTRS_EMPTY;
  CK_ULONG len;
  const CK_BYTE *value;
  static const CK_ATTRIBUTE_TYPE wanted[] = {CKA_CLASS, CKA_LABEL, CKA_ID};
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) tok_fetch(place, object, wanted[i], &a);
  CK_OBJECT_CLASS class = tok_attrs_ulong(&a, CKA_CLASS, CK_UNAVAILABLE_INFORMATION);
  const char *name = p11_constant_name(P11_DOM_CKO, class);
  for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
    if (classes[i].class == class) name = classes[i].name;
  printf("%s", name != NULL ? name : "object of an unknown class");
  if (class == CKO_PRIVATE_KEY || class == CKO_PUBLIC_KEY || class == CKO_SECRET_KEY) print_key(place, object);
  value = tok_attrs_get(&a, CKA_LABEL, &len);
  if (value != NULL) {
    putchar(' ');
    tok_print_text(value, len);
  }
  value = tok_attrs_get(&a, CKA_ID, &len);
  if (value != NULL && len > 0) {
    printf(" id ");
    for (CK_ULONG i = 0; i < len; i++) printf("%02x", value[i]);
  }
  const char *before = ": ";
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    if (!tok_fetch(place, object, words[i].type, &a)) continue;
    if (tok_attrs_bool(&a, words[i].type, !words[i].value) != words[i].value) continue;
    printf("%s%s", before, words[i].word);
    before = ", ";
  }
  putchar('\n');
  tok_attrs_clear(&a);
}
