/* Files with keys and certificates: PEM and DER, whatever they hold. */
#include "tool/tool.h"

#include <openssl/bio.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/module.h"
#include "tool/items.h"

/* --- passphrases ------------------------------------------------------------------------------------------------- */

struct question {
  struct tok_secret *secret;
  bool asked, refused;
};

/* pem_password_cb: OpenSSL wants the passphrase. */
static int answer(char *buffer, int size, int writing, void *context)
{
  struct question *q = context;
  (void)writing;
  q->asked = true;
  if (!tok_secret_need(q->secret, "file-pin", false)) {
    q->refused = true;
    return -1;
  }
  if (q->secret->len > (size_t)size) return -1;
  memcpy(buffer, q->secret->bytes, q->secret->len);
  return (int)q->secret->len;
}

EVP_PKEY *tok_key_from_der(const unsigned char *der, size_t len, bool private, struct tok_secret *passphrase,
                           bool *asked)
{
  struct question q = {passphrase, false, false};
  EVP_PKEY *key = NULL;
  OSSL_DECODER_CTX *decoder = OSSL_DECODER_CTX_new_for_pkey(
      &key, "DER", NULL, NULL, private ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY, tok_module->crypto, NULL);
  if (decoder == NULL) return NULL;
  OSSL_DECODER_CTX_set_pem_password_cb(decoder, answer, &q);
  if (OSSL_DECODER_from_data(decoder, &der, &len) != 1 || len != 0) {
    EVP_PKEY_free(key);
    key = NULL;
  }
  OSSL_DECODER_CTX_free(decoder);
  ERR_clear_error();
  *asked = q.asked;
  return key;
}

/* --- one object -------------------------------------------------------------------------------------------------- */

static X509 *read_cert(const unsigned char *der, long len, bool with_trust)
{
  const unsigned char *end = der;
  X509 *cert = X509_new_ex(tok_module->crypto, NULL);
  if (cert == NULL) return NULL;
  /* Either frees *cert and makes it NULL if it fails. */
  if (with_trust) {
    d2i_X509_AUX(&cert, &end, len);
  } else {
    d2i_X509(&cert, &end, len);
  }
  if (cert != NULL && end == der + len) return cert;
  X509_free(cert);
  return NULL;
}

static X509_CRL *read_crl(const unsigned char *der, long len)
{
  const unsigned char *end = der;
  X509_CRL *crl = X509_CRL_new_ex(tok_module->crypto, NULL);
  if (crl != NULL) d2i_X509_CRL(&crl, &end, len);
  if (crl != NULL && end == der + len) return crl;
  X509_CRL_free(crl);
  return NULL;
}

enum form { CERT, TRUSTED_CERT, CRL, PRIVATE, PUBLIC };

/* The object as an item. False, with *asked, if it is not what `form` says. */
static bool read_one(struct tok_item *item, enum form form, const unsigned char *der, long len,
                     struct tok_secret *passphrase, bool *asked)
{
  *item = (struct tok_item){.private = form == PRIVATE};
  *asked = false;
  if (form == CERT || form == TRUSTED_CERT) item->cert = read_cert(der, len, form == TRUSTED_CERT);
  if (form == CRL) item->crl = read_crl(der, len);
  if (form == PRIVATE || form == PUBLIC)
    item->key = tok_key_from_der(der, (size_t)len, form == PRIVATE, passphrase, asked);
  ERR_clear_error();
  return item->cert != NULL || item->crl != NULL || item->key != NULL;
}

static bool wrong_passphrase(const char *path, const struct tok_secret *passphrase)
{
  /* Without one, the question has failed and that has been said. */
  if (passphrase->bytes == NULL) return false;
  return tok_fail("cannot decrypt", path,
                  "the passphrase is wrong, or the file uses a cipher that OpenSSL does not have");
}

/* --- PEM --------------------------------------------------------------------------------------------------------- */

/* clang-format off */
static const struct {
  const char *name;
  enum form form;
} blocks[] = {
  {PEM_STRING_X509, CERT}, {PEM_STRING_X509_OLD, CERT}, {PEM_STRING_X509_TRUSTED, TRUSTED_CERT},
  {PEM_STRING_X509_CRL, CRL},
  {PEM_STRING_PKCS8, PRIVATE}, {PEM_STRING_PKCS8INF, PRIVATE}, {PEM_STRING_RSA, PRIVATE}, {PEM_STRING_DSA, PRIVATE},
  {PEM_STRING_ECPRIVATEKEY, PRIVATE}, {PEM_STRING_PUBLIC, PUBLIC}, {PEM_STRING_RSA_PUBLIC, PUBLIC},
};
/* Parameters that the key which follows them has itself. */
static const char *const passed_over[] = {PEM_STRING_ECPARAMETERS, PEM_STRING_DSAPARAMS};
/* clang-format on */

static bool is_passed_over(const char *name)
{
  for (size_t i = 0; i < sizeof passed_over / sizeof *passed_over; i++)
    if (strcmp(name, passed_over[i]) == 0) return true;
  return false;
}

/* Takes one block apart. `data` has room for len bytes, which decrypting makes fewer. */
static bool read_block(struct tok_items *items, const char *path, const char *name, char *header, unsigned char *data,
                       long len, struct tok_secret *passphrase)
{
  struct question q = {passphrase, false, false};
  EVP_CIPHER_INFO cipher;
  struct tok_item item;
  bool asked;
  size_t i = 0;
  if (is_passed_over(name)) return true;
  while (i < sizeof blocks / sizeof *blocks && strcmp(blocks[i].name, name) != 0) i++;
  if (i == sizeof blocks / sizeof *blocks) return tok_fail("cannot import", path, "it has a block '%s'", name);
  /* "Proc-Type: 4,ENCRYPTED", the form of before PKCS #8. */
  if (PEM_get_EVP_CIPHER_INFO(header, &cipher) != 1 || PEM_do_header(&cipher, data, &len, answer, &q) != 1) {
    ERR_clear_error();
    return wrong_passphrase(path, passphrase);
  }
  if (!read_one(&item, blocks[i].form, data, len, passphrase, &asked)) {
    if (asked || q.asked) return wrong_passphrase(path, passphrase);
    return tok_fail("cannot read", path, "the block '%s' is damaged or of an unknown kind", name);
  }
  return tok_items_add(items, item) || tok_fail_rv("cannot read", path, CKR_HOST_MEMORY);
}

static bool read_pem(struct tok_items *items, const char *path, BIO *bio, struct tok_secret *passphrase)
{
  bool good = true;
  size_t before = items->count;
  while (good) {
    char *name = NULL, *header = NULL;
    unsigned char *data = NULL;
    long len = 0;
    if (PEM_read_bio(bio, &name, &header, &data, &len) != 1) {
      unsigned long error = ERR_peek_last_error();
      ERR_clear_error();
      if (ERR_GET_REASON(error) != PEM_R_NO_START_LINE) good = tok_fail("cannot read", path, "a PEM block is damaged");
      break;
    }
    good = read_block(items, path, name, header, data, len, passphrase);
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_clear_free(data, (size_t)len);
  }
  if (good && items->count == before) good = tok_fail("nothing to import", path, "it has no key, certificate or CRL");
  return good;
}

/* --- DER --------------------------------------------------------------------------------------------------------- */

static bool read_der(struct tok_items *items, const char *path, const unsigned char *der, long len,
                     struct tok_secret *passphrase)
{
  static const enum form forms[] = {CERT, CRL, PUBLIC, PRIVATE};
  const unsigned char *end = der;
  struct tok_item item;
  bool asked = false;
  PKCS12 *p12 = PKCS12_init_ex(NID_pkcs7_data, tok_module->crypto, NULL);
  if (p12 != NULL) d2i_PKCS12(&p12, &end, len);
  ERR_clear_error();
  if (p12 != NULL) {
    bool good = tok_items_read_p12(items, p12, path, passphrase);
    PKCS12_free(p12);
    return good;
  }
  for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
    if (!read_one(&item, forms[i], der, len, passphrase, &asked)) continue;
    return tok_items_add(items, item) || tok_fail_rv("cannot read", path, CKR_HOST_MEMORY);
  }
  if (asked) return wrong_passphrase(path, passphrase);
  return tok_fail("nothing to import", path, "it is no key, certificate, CRL or PKCS #12 file, in PEM or DER");
}

bool tok_items_read(struct tok_items *items, const char *path, struct tok_secret *passphrase)
{
  size_t len;
  unsigned char *data = tok_read_file(path, &len);
  if (data == NULL) return false;
  bool good = false;
  size_t before = items->count;
  if (memmem(data, len, "-----BEGIN ", strlen("-----BEGIN ")) != NULL) {
    BIO *bio = BIO_new_mem_buf(data, (int)len);
    good = bio != NULL ? read_pem(items, path, bio, passphrase) : tok_fail_rv("cannot read", path, CKR_HOST_MEMORY);
    BIO_free(bio);
  } else {
    good = read_der(items, path, data, (long)len, passphrase);
  }
  for (size_t i = before; i < items->count; i++) items->item[i].path = path;
  tok_wipe_free(data, len + 1);
  return good;
}
