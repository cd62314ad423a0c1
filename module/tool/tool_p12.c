/* PKCS #12: every bag of every safe, not only the first key as PKCS12_parse has it. */
#include "tool/tool.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "core/module.h"
#include "tool/items.h"

struct reading {
  struct tok_items *items;
  const char *path;
  const char *passphrase; /* NULL: none at all, which is not the same as an empty one (RFC 7292, B.1) */
  int len;
};

static bool add_bag(const struct reading *r, PKCS12_SAFEBAG *bag);

static bool add_bags(const struct reading *r, const STACK_OF(PKCS12_SAFEBAG) * bags)
{
  bool good = true;
  for (int i = 0; i < sk_PKCS12_SAFEBAG_num(bags) && good; i++) good = add_bag(r, sk_PKCS12_SAFEBAG_value(bags, i));
  return good;
}

static EVP_PKEY *shrouded_key(const struct reading *r, const PKCS12_SAFEBAG *bag)
{
  PKCS8_PRIV_KEY_INFO *p8 = PKCS12_decrypt_skey_ex(bag, r->passphrase, r->len, tok_module->crypto, NULL);
  EVP_PKEY *key = p8 != NULL ? EVP_PKCS82PKEY_ex(p8, tok_module->crypto, NULL) : NULL;
  PKCS8_PRIV_KEY_INFO_free(p8);
  return key;
}

/* The certificate with our library context, which the one of PKCS12_SAFEBAG_get1_cert does not have. */
static X509 *cert_of(const PKCS12_SAFEBAG *bag)
{
  unsigned char *der = NULL;
  X509 *plain = PKCS12_SAFEBAG_get1_cert(bag), *cert = X509_new_ex(tok_module->crypto, NULL);
  int len = plain != NULL ? i2d_X509(plain, &der) : -1;
  const unsigned char *in = der;
  if (len < 0 || cert == NULL || d2i_X509(&cert, &in, len) == NULL) {
    X509_free(cert);
    cert = NULL;
  }
  OPENSSL_free(der);
  X509_free(plain);
  return cert;
}

static bool add_bag(const struct reading *r, PKCS12_SAFEBAG *bag)
{
  struct tok_item item = {.private = true};
  int kind = PKCS12_SAFEBAG_get_nid(bag);
  switch (kind) {
    case NID_keyBag: item.key = EVP_PKCS82PKEY_ex(PKCS12_SAFEBAG_get0_p8inf(bag), tok_module->crypto, NULL); break;
    case NID_pkcs8ShroudedKeyBag: item.key = shrouded_key(r, bag); break;
    case NID_certBag:
      if (PKCS12_SAFEBAG_get_bag_nid(bag) != NID_x509Certificate) return true; /* SDSI: nobody has seen one */
      item.cert = cert_of(bag);
      break;
    case NID_crlBag: item.crl = PKCS12_SAFEBAG_get1_crl(bag); break;
    case NID_safeContentsBag: return add_bags(r, PKCS12_SAFEBAG_get0_safes(bag));
    default: return true; /* secrets of other programs */
  }
  if (item.key == NULL && item.cert == NULL && item.crl == NULL) {
    return tok_fail("cannot read", r->path, "a key or certificate in it is damaged or of an unknown kind");
  }
  char *name = PKCS12_get_friendlyname(bag);
  if (name != NULL && name[0] != '\0') item.label = tok_dup(name, strlen(name) + 1);
  OPENSSL_free(name);
  return tok_items_add(r->items, item) || tok_fail_rv("cannot read", r->path, CKR_HOST_MEMORY);
}

static bool add_safe(const struct reading *r, PKCS7 *safe)
{
  STACK_OF(PKCS12_SAFEBAG) *bags = NULL;
  if (PKCS7_type_is_data(safe)) {
    bags = PKCS12_unpack_p7data(safe);
  } else if (PKCS7_type_is_encrypted(safe)) {
    bags = PKCS12_unpack_p7encdata(safe, r->passphrase, r->len);
  } else {
    return tok_fail("cannot read", r->path, "a part of it is encrypted for a public key");
  }
  if (bags == NULL)
    return tok_fail("cannot decrypt", r->path, "it uses a cipher that OpenSSL does not have (legacy = yes?)");
  bool good = add_bags(r, bags);
  sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
  return good;
}

/* Finds which passphrase the MAC is of: none and an empty one are written in two ways. */
static bool open_mac(struct reading *r, PKCS12 *p12, struct tok_secret *passphrase)
{
  if (!PKCS12_mac_present(p12)) {
    r->passphrase = passphrase->bytes;
    r->len = (int)passphrase->len;
    return true;
  }
  static const char *const without[] = {NULL, ""};
  if (passphrase->bytes == NULL || passphrase->len == 0) {
    for (size_t i = 0; i < sizeof without / sizeof *without; i++) {
      if (PKCS12_verify_mac(p12, without[i], 0) != 1) continue;
      r->passphrase = without[i];
      r->len = 0;
      return true;
    }
  }
  if (!tok_secret_need(passphrase, "file-pin", false)) return false;
  r->passphrase = passphrase->bytes;
  r->len = (int)passphrase->len;
  return PKCS12_verify_mac(p12, r->passphrase, r->len) == 1 ||
         tok_fail("cannot open", r->path, "the passphrase is wrong");
}

bool tok_items_read_p12(struct tok_items *items, PKCS12 *p12, const char *path, struct tok_secret *passphrase)
{
  struct reading r = {items, path, NULL, 0};
  bool good = open_mac(&r, p12, passphrase);
  if (good) {
    STACK_OF(PKCS7) *safes = PKCS12_unpack_authsafes(p12);
    good = safes != NULL || tok_fail("cannot read", path, "the PKCS #12 file is damaged");
    for (int i = 0; i < sk_PKCS7_num(safes) && good; i++) good = add_safe(&r, sk_PKCS7_value(safes, i));
    sk_PKCS7_pop_free(safes, PKCS7_free);
  }
  ERR_clear_error();
  return good;
}
