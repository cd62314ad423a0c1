/* p11token export: a certificate or a key of a token into a file. */
#include "tool/tool.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/module.h"
#include "object/attrs.h"
#include "tool/leaving.h"

/* Of PBKDF2 and of the MAC: what is recommended for HMAC-SHA-256 today. */
#define ITERATIONS 600000
/* Longer chains of certificates are loops. */
#define LONGEST_CHAIN 16

enum { OPT_LABEL = TOK_OPT_OWN, OPT_ID, OPT_TYPE };
enum type { CERT, PUBLIC, PRIVATE, P12 };
static const char *const type_names[] = {"cert", "public", "private", "p12"};

struct arguments {
  struct tok_args common;
  const char *label, *file;
  CK_BYTE id[64];
  size_t id_len; /* 0: any */
  enum type type;
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
    case OPT_TYPE:
      for (args->type = CERT; args->type <= P12 && strcmp(type_names[args->type], arg) != 0;) args->type++;
      if (args->type > P12) tok_misuse(state, "no such type", arg, "give cert, public, private or p12");
      return 0;
    case ARGP_KEY_ARG:
      if (args->file != NULL) tok_misuse(state, "more than one file", arg, "name one");
      args->file = arg;
      return 0;
    case ARGP_KEY_END:
      if (args->file == NULL) args->file = "-";
      if (args->label == NULL && args->id_len == 0) tok_misuse(state, "no object", "--label, --id", "say which");
      return 0;
    default: return tok_option(&args->common, key, arg, state);
  }
}

/* clang-format off */
static const struct argp_option options[] = {
  {"label", OPT_LABEL, "LABEL", 0, "The object with this label", 1},
  {"id", OPT_ID, "HEX", 0, "The object with this id", 1},
  {"type", OPT_TYPE, "TYPE", 0, "cert (default), public: PEM; private: encrypted PKCS #8 in PEM; p12: the private key, "
   "its certificate and those of its issuers as PKCS #12", 1},
  {"file-pin", TOK_OPT_FILE_PIN, "PASS", 0, "Passphrase for the private key in the file; without it, asked for", 2},
  {"file-pin-file", TOK_OPT_FILE_PIN_FILE, "FILE", 0, "The passphrase is the first line of FILE", 2},
  {"force", TOK_OPT_FORCE, NULL, 0, "Replace FILE if it exists", 2},
  TOK_OPTIONS_PIN,
  TOK_OPTIONS_TOKEN,
  {0},
};
/* clang-format on */

/* --- finding ----------------------------------------------------------------------------------------------------- */

/* Objects of a class that have the label and id which were asked for; the first in *object. */
static size_t find(const struct tok_place *place, const struct arguments *args, CK_OBJECT_CLASS class,
                   CK_OBJECT_HANDLE *object)
{
  struct tok_attrs query = TOK_ATTRS_EMPTY;
  CK_OBJECT_HANDLE *found = NULL;
  size_t count = 0;
  CK_RV rv = tok_attrs_set_ulong(&query, CKA_CLASS, class);
  if (rv == CKR_OK && args->label != NULL) rv = tok_attrs_set(&query, CKA_LABEL, args->label, strlen(args->label));
  if (rv == CKR_OK && args->id_len > 0) rv = tok_attrs_set(&query, CKA_ID, args->id, args->id_len);
  if (rv == CKR_OK && tok_find_all(place, &query, &found, &count) && count > 0) *object = found[0];
  free(found);
  tok_attrs_clear(&query);
  return count;
}

/* The one object of these classes, taken in their order; `where` receives what was asked for, for messages. */
static bool find_one(const struct tok_place *place, const struct arguments *args, const CK_OBJECT_CLASS *classes,
                     size_t class_count, CK_OBJECT_HANDLE *object)
{
  size_t count = 0;
  for (size_t i = 0; i < class_count && count == 0; i++) count = find(place, args, classes[i], object);
  const char *where = args->label != NULL ? args->label : "--id";
  if (count == 1) return true;
  if (count > 1)
    return tok_fail("more than one object", where, "choose with --id or --label; p11token list shows them");
  return tok_fail("no such object", where, "p11token list --token '%s' --login shows what there is", place->label);
}

/* An attribute of an object, in a set that is the caller's; NULL after an error message. */
static const CK_BYTE *read_value(const struct tok_place *place, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type,
                                 struct tok_attrs *into, CK_ULONG *len)
{
  const CK_BYTE *value = tok_fetch(place, object, type, into) ? tok_attrs_get(into, type, len) : NULL;
  if (value != NULL && *len > 0) return value;
  tok_fail("cannot export", place->label, "the object does not have its value");
  return NULL;
}

/* --- certificates and public keys -------------------------------------------------------------------------------- */

static bool write_pem(const struct arguments *args, const char *name, const CK_BYTE *der, CK_ULONG len)
{
  char *text = NULL;
  BIO *bio = BIO_new(BIO_s_mem());
  bool good = bio != NULL && PEM_write_bio(bio, name, "", der, (long)len) > 0;
  long size = good ? BIO_get_mem_data(bio, &text) : 0;
  good = good ? tok_write_file(args->file, text, (size_t)size, 0666, args->common.force)
              : tok_fail_rv("cannot export", args->file, CKR_HOST_MEMORY);
  BIO_free(bio);
  return good;
}

static bool export_public(const struct arguments *args, const struct tok_place *place)
{
  static const CK_OBJECT_CLASS cert[] = {CKO_CERTIFICATE}, key[] = {CKO_PUBLIC_KEY, CKO_PRIVATE_KEY};
  struct tok_attrs attrs = TOK_ATTRS_EMPTY;
  CK_OBJECT_HANDLE object;
  CK_ULONG len;
  bool is_cert = args->type == CERT;
  if (!find_one(place, args, is_cert ? cert : key, is_cert ? 1 : 2, &object)) return false;
  const CK_BYTE *der = read_value(place, object, is_cert ? CKA_VALUE : CKA_PUBLIC_KEY_INFO, &attrs, &len);
  bool good = der != NULL && write_pem(args, is_cert ? PEM_STRING_X509 : PEM_STRING_PUBLIC, der, len);
  tok_attrs_clear(&attrs);
  return good;
}

/* --- private keys ------------------------------------------------------------------------------------------------ */

/* Encrypted PKCS #8: PBES2 with PBKDF2 and AES-256-CBC. */
static bool write_pkcs8(const struct arguments *args, PKCS8_PRIV_KEY_INFO *p8)
{
  const struct tok_secret *pass = &args->common.file_pin;
  EVP_CIPHER *cipher = EVP_CIPHER_fetch(tok_module->crypto, "AES-256-CBC", NULL);
  X509_SIG *sealed = cipher != NULL ? PKCS8_encrypt_ex(-1, cipher, pass->bytes, (int)pass->len, NULL, 0, ITERATIONS, p8,
                                                       tok_module->crypto, NULL)
                                    : NULL;
  char *text = NULL;
  BIO *bio = BIO_new(BIO_s_mem());
  bool good = sealed != NULL && bio != NULL && PEM_write_bio_PKCS8(bio, sealed) == 1;
  long size = good ? BIO_get_mem_data(bio, &text) : 0;
  good = good ? tok_write_file(args->file, text, (size_t)size, 0600, args->common.force)
              : tok_fail("cannot encrypt", args->file, "OpenSSL refused");
  BIO_free(bio);
  X509_SIG_free(sealed);
  EVP_CIPHER_free(cipher);
  return good;
}

/* The certificate with this value of this attribute, or NULL. */
static X509 *find_cert(const struct tok_place *place, CK_ATTRIBUTE_TYPE type, const CK_BYTE *value, CK_ULONG len)
{
  struct tok_attrs attrs = TOK_ATTRS_EMPTY;
  CK_OBJECT_HANDLE *found = NULL;
  size_t count = 0;
  X509 *cert = NULL;
  if (len > 0 && tok_attrs_set_ulong(&attrs, CKA_CLASS, CKO_CERTIFICATE) == CKR_OK &&
      tok_attrs_set(&attrs, type, value, len) == CKR_OK && tok_find_all(place, &attrs, &found, &count) && count > 0 &&
      tok_fetch(place, found[0], CKA_VALUE, &attrs)) {
    const unsigned char *der = tok_attrs_get(&attrs, CKA_VALUE, &len);
    cert = X509_new_ex(tok_module->crypto, NULL);
    if (cert != NULL) d2i_X509(&cert, &der, (long)len);
  }
  free(found);
  tok_attrs_clear(&attrs);
  return cert;
}

/* The certificates above `cert` that are on the token. */
static STACK_OF(X509) * chain_of(const struct tok_place *place, X509 *cert)
{
  STACK_OF(X509) *chain = sk_X509_new_null();
  while (chain != NULL && cert != NULL && sk_X509_num(chain) < LONGEST_CHAIN) {
    unsigned char *der = NULL;
    const X509_NAME *issuer = X509_get_issuer_name(cert);
    if (X509_NAME_cmp(issuer, X509_get_subject_name(cert)) == 0) break;
    int len = i2d_X509_NAME(issuer, &der);
    cert = len > 0 ? find_cert(place, CKA_SUBJECT, der, (CK_ULONG)len) : NULL;
    OPENSSL_free(der);
    if (cert != NULL && sk_X509_push(chain, cert) == 0) {
      X509_free(cert);
      break;
    }
  }
  return chain;
}

static bool write_p12(const struct arguments *args, const struct tok_place *place, CK_OBJECT_HANDLE object,
                      const PKCS8_PRIV_KEY_INFO *p8)
{
  struct tok_attrs attrs = TOK_ATTRS_EMPTY;
  CK_ULONG id_len = 0, label_len = 0;
  tok_fetch(place, object, CKA_ID, &attrs);
  tok_fetch(place, object, CKA_LABEL, &attrs);
  const CK_BYTE *id = tok_attrs_get(&attrs, CKA_ID, &id_len), *label = tok_attrs_get(&attrs, CKA_LABEL, &label_len);
  char *name = label != NULL ? strndup((const char *)label, label_len) : NULL;
  X509 *cert = id != NULL ? find_cert(place, CKA_ID, id, id_len) : NULL;
  STACK_OF(X509) *chain = chain_of(place, cert);
  EVP_PKEY *key = EVP_PKCS82PKEY_ex(p8, tok_module->crypto, NULL);
  PKCS12 *p12 = key != NULL ? PKCS12_create_ex(args->common.file_pin.bytes, name, key, cert, chain, NID_aes_256_cbc,
                                               NID_aes_256_cbc, ITERATIONS, ITERATIONS, 0, tok_module->crypto, NULL)
                            : NULL;
  unsigned char *der = NULL;
  int size = p12 != NULL ? i2d_PKCS12(p12, &der) : -1;
  bool good = size > 0 ? tok_write_file(args->file, der, (size_t)size, 0600, args->common.force)
                       : tok_fail("cannot make PKCS #12", args->file, "is the certificate that of the key?");
  OPENSSL_free(der);
  PKCS12_free(p12);
  EVP_PKEY_free(key);
  sk_X509_pop_free(chain, X509_free);
  X509_free(cert);
  free(name);
  tok_attrs_clear(&attrs);
  return good;
}

static bool export_private(struct arguments *args, struct tok_place *place)
{
  static const CK_OBJECT_CLASS class[] = {CKO_PRIVATE_KEY};
  CK_OBJECT_HANDLE object;
  if (!tok_log_in(place, CKU_USER, &args->common.pin) || !find_one(place, args, class, 1, &object)) return false;
  PKCS8_PRIV_KEY_INFO *p8 = tok_take_key(place, object, args->label != NULL ? args->label : "private key");
  if (p8 == NULL) return false;
  bool good = tok_secret_need(&args->common.file_pin, "file-pin", true);
  if (good && args->common.file_pin.len == 0) good = tok_fail("the passphrase is empty", args->file, "give one");
  if (good) good = args->type == PRIVATE ? write_pkcs8(args, p8) : write_p12(args, place, object, p8);
  PKCS8_PRIV_KEY_INFO_free(p8);
  ERR_clear_error();
  return good;
}

static bool run(struct arguments *args)
{
  struct tok_place place;
  if (!tok_choose(&args->common, &place) || !tok_open(&place, false)) return false;
  if (args->type == PRIVATE || args->type == P12) return export_private(args, &place);
  if (args->common.pin.bytes != NULL && !tok_log_in(&place, CKU_USER, &args->common.pin)) return false;
  return export_public(args, &place);
}

int tok_verb_export(int argc, char **argv)
{
  static struct arguments args = {.common = TOK_ARGS_NEW};
  static const struct argp argp = {
      .options = options,
      .parser = parse,
      .args_doc = "[FILE]",
      .doc =
          "Writes a certificate, a public key or a private key into FILE, or to standard output. A private key leaves "
          "the "
          "token only if it was made or imported as extractable, and only encrypted.",
  };
  if (argp_parse(&argp, argc, argv, 0, NULL, &args) != 0) return TOK_COULD_NOT;
  bool good = tok_start(&args.common, NULL);
  if (good) {
    good = run(&args);
    tok_stop();
  }
  tok_args_clear(&args.common);
  return good ? TOK_FINE : TOK_COULD_NOT;
}
