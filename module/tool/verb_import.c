/* p11token import: keys, certificates and CRLs of files onto a token. */
#include "tool/tool.h"

#include <openssl/asn1.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/module.h"
#include "crypto/pkey.h"
#include "object/attrs.h"
#include "tool/items.h"

enum { OPT_LABEL = TOK_OPT_OWN, OPT_ID, OPT_EXTRACTABLE };

struct arguments {
  struct tok_args common;
  const char *label;
  CK_BYTE id[64];
  size_t id_len; /* 0: of each public key */
  bool extractable;
  char **files;
  int file_count;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
  struct arguments *args = state->input;
  switch (key) {
    case OPT_LABEL: args->label = arg; return 0;
    case OPT_ID:
      if (!tok_from_hex(arg, args->id, sizeof args->id, &args->id_len)) {
        tok_misuse(state, "not an id", arg, "give 1 to 64 bytes in hexadecimal digits");
      }
      return 0;
    case OPT_EXTRACTABLE: args->extractable = true; return 0;
    case ARGP_KEY_ARGS:
      args->files = state->argv + state->next;
      args->file_count = state->argc - state->next;
      return 0;
    case ARGP_KEY_NO_ARGS: tok_misuse(state, "no file", "FILE", "name what is to be imported");
    default: return tok_option(&args->common, key, arg, state);
  }
}

/* clang-format off */
static const struct argp_option options[] = {
  {"label", OPT_LABEL, "LABEL", 0, "Label of all that is imported (default: friendlyName of PKCS #12, else the common "
   "name of the certificate, else the name of the file)", 1},
  {"id", OPT_ID, "HEX", 0, "Its id (default: as NSS makes it, the SHA-1 of the public key)", 1},
  {"extractable", OPT_EXTRACTABLE, NULL, 0, "Private keys may leave the token again, encrypted", 1},
  {"file-pin", TOK_OPT_FILE_PIN, "PASS", 0, "Passphrase of the files; without it, asked for where one is needed", 2},
  {"file-pin-file", TOK_OPT_FILE_PIN_FILE, "FILE", 0, "The passphrase is the first line of FILE", 2},
  TOK_OPTIONS_PIN,
  TOK_OPTIONS_TOKEN,
  {0},
};
/* clang-format on */

/* --- what an object is called ------------------------------------------------------------------------------------ */

/* The most telling part of a name as UTF-8, to be freed with OPENSSL_free, or NULL. */
static char *name_of(const X509_NAME *name)
{
  static const int parts[] = {NID_commonName, NID_organizationalUnitName, NID_organizationName, NID_pkcs9_emailAddress};
  unsigned char *text = NULL;
  for (size_t i = 0; i < sizeof parts / sizeof *parts && text == NULL; i++) {
    int at = X509_NAME_get_index_by_NID(name, parts[i], -1);
    if (at < 0) continue;
    if (ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at))) < 0) text = NULL;
  }
  return (char *)text;
}

/* The certificate of a key, if it came along. */
static const struct tok_item *cert_of(const struct tok_items *items, const struct tok_item *key)
{
  for (size_t i = 0; i < items->count; i++) {
    const struct tok_item *item = &items->item[i];
    if (item->cert != NULL && key->id_len > 0 && item->id_len == key->id_len &&
        memcmp(item->id, key->id, key->id_len) == 0) {
      return item;
    }
  }
  return NULL;
}

static CK_RV set_label(struct tok_attrs *attrs, const struct arguments *args, const struct tok_item *item,
                       const struct tok_item *cert)
{
  char *own = NULL;
  const char *label = args->label != NULL ? args->label : item->label;
  if (label == NULL && cert != NULL) label = cert->label;
  if (label == NULL && cert != NULL) label = own = name_of(X509_get_subject_name(cert->cert));
  if (label == NULL && item->crl != NULL) label = own = name_of(X509_CRL_get_issuer(item->crl));
  size_t len = label != NULL ? strlen(label) : 0;
  if (label == NULL) {
    const char *slash = strrchr(item->path, '/');
    label = slash != NULL ? slash + 1 : item->path;
    const char *dot = strrchr(label, '.');
    len = dot != NULL && dot > label ? (size_t)(dot - label) : strlen(label);
  }
  CK_RV rv = tok_attrs_set(attrs, CKA_LABEL, label, len);
  OPENSSL_free(own);
  return rv;
}

/* --- from items to templates ------------------------------------------------------------------------------------- */

static CK_RV set_der(struct tok_attrs *attrs, CK_ATTRIBUTE_TYPE type, unsigned char *der, int len)
{
  CK_RV rv = len >= 0 ? tok_attrs_set(attrs, type, der, (CK_ULONG)len) : CKR_HOST_MEMORY;
  OPENSSL_free(der);
  return rv;
}

static CK_RV set_name(struct tok_attrs *attrs, const X509_NAME *name)
{
  unsigned char *der = NULL;
  int len = i2d_X509_NAME(name, &der);
  return set_der(attrs, CKA_SUBJECT, der, len);
}

/* Label and subject of the certificate on the token that belongs to this id; false if there is none. */
static bool set_from_token(const struct tok_place *place, struct tok_attrs *attrs, const CK_BYTE *id, size_t id_len)
{
  struct tok_attrs query = TOK_ATTRS_EMPTY;
  CK_OBJECT_HANDLE *found = NULL;
  size_t count = 0;
  bool good = id_len > 0 && tok_attrs_set_ulong(&query, CKA_CLASS, CKO_CERTIFICATE) == CKR_OK &&
              tok_attrs_set(&query, CKA_ID, id, id_len) == CKR_OK && tok_find_all(place, &query, &found, &count) &&
              count > 0 && tok_fetch(place, found[0], CKA_SUBJECT, attrs) &&
              tok_fetch(place, found[0], CKA_LABEL, attrs);
  free(found);
  tok_attrs_clear(&query);
  return good;
}

/* The template of an object of `class`. Issuer and serial number of a certificate, and what a key may be used for, are
 * left to the token, which takes them from the certificate and gives a key what its type is for; but an EC key may also
 * agree on keys, as NSS has it (S/MIME by ECDH). */
static CK_RV make_template(const struct tok_place *place, struct tok_attrs *attrs, CK_OBJECT_CLASS class,
                           const struct arguments *args, const struct tok_items *items, const struct tok_item *item)
{
  unsigned char *der = NULL;
  int len;
  const struct tok_item *cert = item->cert != NULL ? item : cert_of(items, item);
  const CK_BYTE *id = args->id_len > 0 ? args->id : item->id;
  size_t id_len = args->id_len > 0 ? args->id_len : item->id_len;
  CK_RV rv = tok_attrs_set_ulong(attrs, CKA_CLASS, class);
  if (rv == CKR_OK) rv = tok_attrs_set_bool(attrs, CKA_TOKEN, true);
  if (rv == CKR_OK) rv = tok_attrs_set_bool(attrs, CKA_PRIVATE, class == CKO_PRIVATE_KEY);
  bool named = item->key != NULL && cert == NULL && set_from_token(place, attrs, id, id_len);
  if (rv == CKR_OK && (!named || args->label != NULL || item->label != NULL)) rv = set_label(attrs, args, item, cert);
  if (rv == CKR_OK && class != CKO_NSS_CRL) rv = tok_attrs_set(attrs, CKA_ID, id, id_len);
  if (rv == CKR_OK && cert != NULL) rv = set_name(attrs, X509_get_subject_name(cert->cert));
  if (rv != CKR_OK) return rv;
  switch (class) {
    case CKO_CERTIFICATE:
      rv = tok_attrs_set_ulong(attrs, CKA_CERTIFICATE_TYPE, CKC_X_509);
      len = i2d_X509(item->cert, &der);
      return rv == CKR_OK ? set_der(attrs, CKA_VALUE, der, len) : rv;
    case CKO_NSS_CRL:
      rv = set_name(attrs, X509_CRL_get_issuer(item->crl));
      if (rv == CKR_OK) rv = tok_attrs_set_bool(attrs, CKA_NSS_KRL, false);
      len = i2d_X509_CRL(item->crl, &der);
      return rv == CKR_OK ? set_der(attrs, CKA_VALUE, der, len) : rv;
    case CKO_PRIVATE_KEY:
      rv = tok_attrs_set_bool(attrs, CKA_SENSITIVE, true);
      if (rv == CKR_OK) rv = tok_attrs_set_bool(attrs, CKA_EXTRACTABLE, args->extractable);
      break;
  }
  CK_KEY_TYPE type = tok_pkey_type(item->key);
  if (rv == CKR_OK) rv = tok_attrs_set_ulong(attrs, CKA_KEY_TYPE, type);
  if (rv == CKR_OK && type == CKK_EC) rv = tok_attrs_set_bool(attrs, CKA_DERIVE, true);
  if (rv == CKR_OK) rv = tok_attrs_from_pkey(attrs, item->key, class == CKO_PRIVATE_KEY);
  return rv;
}

/* The object if it is on the token already: the same certificate or CRL, a key with the same id. */
static bool is_there(const struct tok_place *place, const struct tok_attrs *attrs, CK_OBJECT_CLASS class,
                     CK_OBJECT_HANDLE *object)
{
  struct tok_attrs query = TOK_ATTRS_EMPTY;
  CK_OBJECT_HANDLE *found = NULL;
  CK_ULONG len = 0;
  size_t count = 0;
  CK_ATTRIBUTE_TYPE type = class == CKO_CERTIFICATE || class == CKO_NSS_CRL ? CKA_VALUE : CKA_ID;
  const CK_BYTE *value = tok_attrs_get(attrs, type, &len);
  if (value != NULL && len > 0 && tok_attrs_set_ulong(&query, CKA_CLASS, class) == CKR_OK &&
      tok_attrs_set(&query, type, value, len) == CKR_OK && tok_find_all(place, &query, &found, &count) && count > 0) {
    *object = found[0];
  }
  free(found);
  tok_attrs_clear(&query);
  return count > 0;
}

static bool put(const struct tok_place *place, CK_OBJECT_CLASS class, const struct arguments *args,
                const struct tok_items *items, const struct tok_item *item)
{
  struct tok_attrs attrs = TOK_ATTRS_EMPTY;
  CK_OBJECT_HANDLE object = 0;
  CK_RV rv = make_template(place, &attrs, class, args, items, item);
  bool there = rv == CKR_OK && is_there(place, &attrs, class, &object);
  if (rv == CKR_OK && !there) rv = tok_create(place, &attrs, &object);
  tok_attrs_clear(&attrs);
  if (rv == CKR_KEY_TYPE_INCONSISTENT)
    return tok_fail("cannot import", item->path, "the token does not know this type of key");
  if (rv != CKR_OK) return tok_fail_rv("cannot import", item->path, rv);
  printf("%s", there ? "already there: " : "");
  tok_describe(place, object);
  return true;
}

static bool put_all(const struct tok_place *place, const struct arguments *args, const struct tok_items *items)
{
  bool good = true;
  for (size_t i = 0; i < items->count && good; i++) {
    const struct tok_item *item = &items->item[i];
    if (item->cert != NULL) good = put(place, CKO_CERTIFICATE, args, items, item);
    if (item->crl != NULL) good = put(place, CKO_NSS_CRL, args, items, item);
    if (item->key != NULL && item->private) good = put(place, CKO_PRIVATE_KEY, args, items, item);
    if (item->key != NULL && good) good = put(place, CKO_PUBLIC_KEY, args, items, item);
  }
  return good;
}

/* Everything is read before anything is written: a wrong passphrase of the second file leaves the token as it was. */
static bool read_all(struct arguments *args, struct tok_items *items)
{
  bool good = true;
  for (int i = 0; i < args->file_count && good; i++) {
    char question[256];
    snprintf(question, sizeof question, "passphrase of %s", args->files[i]);
    struct tok_secret own = {.name = question};
    bool given = args->common.file_pin.bytes != NULL;
    good = tok_items_read(items, args->files[i], given ? &args->common.file_pin : &own);
    tok_secret_clear(&own);
  }
  return good;
}

static bool run(struct arguments *args, struct tok_items *items)
{
  struct tok_place place;
  bool private = false;
  const struct tok_item *first = NULL;
  if (!tok_choose(&args->common, &place) || !read_all(args, items)) return false;
  for (size_t i = 0; i < items->count; i++) {
    const struct tok_item *item = &items->item[i];
    private |= item->private;
    if (item->crl != NULL) continue;
    if (first == NULL) first = item;
    if (args->id_len > 0 && (item->id_len != first->id_len || memcmp(item->id, first->id, item->id_len) != 0)) {
      return tok_fail("more than one key", "--id", "import them one by one, or leave it out");
    }
  }
  if (!tok_open(&place, true)) return false;
  /* Certificates and public keys need no login. */
  if (private && !tok_log_in(&place, CKU_USER, &args->common.pin)) return false;
  return put_all(&place, args, items);
}

int tok_verb_import(int argc, char **argv)
{
  static struct arguments args = {.common = TOK_ARGS_NEW};
  static const struct argp argp = {
      .options = options,
      .parser = parse,
      .args_doc = "FILE...",
      .doc =
          "Puts what the files hold on a token: certificates, CRLs, private and public keys in PEM or DER (PKCS #8, "
          "also "
          "encrypted, PKCS #1, SEC 1) and PKCS #12. A private key becomes a sensitive object that cannot leave the "
          "token, "
          "and its public key an object beside it. What is there already is left alone.",
  };
  if (argp_parse(&argp, argc, argv, 0, NULL, &args) != 0) return TOK_COULD_NOT;
  struct tok_items items = {NULL, 0};
  bool good = tok_start(&args.common, NULL);
  if (good) {
    good = run(&args, &items);
    tok_items_clear(&items);
    tok_stop();
  }
  tok_args_clear(&args.common);
  return good ? TOK_FINE : TOK_COULD_NOT;
}
