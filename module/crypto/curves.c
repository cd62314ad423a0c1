/* The table of curves. */
#include "crypto/curves.h"

#include <openssl/obj_mac.h>
#include <string.h>

#include "crypto/der.h"
#include "crypto/pkey.h"

/* clang-format off */
static const struct tok_curve curves[] = {
  /* name       kind             bits size sig  OID */
  {"P-256",     TOK_WEIERSTRASS, 256, 32,  64, "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", 10, NID_X9_62_prime256v1},
  {"P-384",     TOK_WEIERSTRASS, 384, 48,  96, "\x06\x05\x2b\x81\x04\x00\x22", 7, NID_secp384r1},
  {"P-521",     TOK_WEIERSTRASS, 521, 66, 132, "\x06\x05\x2b\x81\x04\x00\x23", 7, NID_secp521r1},
  {"secp256k1", TOK_WEIERSTRASS, 256, 32,  64, "\x06\x05\x2b\x81\x04\x00\x0a", 7, NID_secp256k1},
  {"X25519",    TOK_MONTGOMERY,  255, 32,   0, "\x06\x03\x2b\x65\x6e", 5, NID_undef},
  {"X448",      TOK_MONTGOMERY,  448, 56,   0, "\x06\x03\x2b\x65\x6f", 5, NID_undef},
  {"ED25519",   TOK_EDWARDS,     255, 32,  64, "\x06\x03\x2b\x65\x70", 5, NID_undef},
  {"ED448",     TOK_EDWARDS,     448, 57, 114, "\x06\x03\x2b\x65\x71", 5, NID_undef},
};
#define CURVES (sizeof curves / sizeof curves[0])

/* Other names: of PKCS #11 (RFC 7748 and RFC 8032), of SEC 2 and X9.62, and OpenSSL's own. */
static const struct { const char *name, *curve; } aliases[] = {
  {"secp256r1", "P-256"}, {"prime256v1", "P-256"}, {"nistp256", "P-256"},
  {"secp384r1", "P-384"}, {"nistp384", "P-384"},
  {"secp521r1", "P-521"}, {"nistp521", "P-521"},
  {"curve25519", "X25519"}, {"x25519", "X25519"},
  {"curve448", "X448"}, {"x448", "X448"},
  {"edwards25519", "ED25519"}, {"Ed25519", "ED25519"}, {"ed25519", "ED25519"},
  {"edwards448", "ED448"}, {"Ed448", "ED448"}, {"ed448", "ED448"},
};
/* clang-format on */

/* 1.3.6.1.4.1.11591.15.1: curve25519 for NSS (SEC_OID_CURVE25519, secoid.c) and GnuPG. */
static const CK_BYTE nss_curve25519[] = {0x06, 0x09, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01};

const struct tok_curve *tok_curve_by_name(const char *name)
{
  for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++)
    if (strcmp(name, aliases[i].name) == 0) name = aliases[i].curve;
  for (size_t i = 0; i < CURVES; i++)
    if (strcmp(name, curves[i].name) == 0) return &curves[i];
  return NULL;
}

CK_RV tok_curve_find(const CK_BYTE *ec_params, CK_ULONG len, const struct tok_curve **curve)
{
  struct tok_der in = {ec_params, len}, content;
  for (size_t i = 0; i < CURVES; i++) {
    if (len != curves[i].oid_len || memcmp(ec_params, curves[i].oid, len) != 0) continue;
    *curve = &curves[i];
    return CKR_OK;
  }
  if (len == sizeof nss_curve25519 && memcmp(ec_params, nss_curve25519, len) == 0) {
    *curve = tok_curve_by_name("X25519");
    return CKR_OK;
  }
  if (tok_der_next(&in, TOK_DER_PRINTABLE, &content) && in.left == 0) {
    char name[32] = "";
    if (content.left < sizeof name && memchr(content.at, 0, content.left) == NULL)
      memcpy(name, content.at, content.left);
    *curve = tok_curve_by_name(name);
    return *curve != NULL ? CKR_OK : CKR_CURVE_NOT_SUPPORTED;
  }
  if (tok_der_next(&in, TOK_DER_OID, &content) && in.left == 0) return CKR_CURVE_NOT_SUPPORTED;
  return CKR_DOMAIN_PARAMS_INVALID;
}

const char *tok_curve_name(const CK_BYTE *ec_params, CK_ULONG len)
{
  const struct tok_curve *curve = NULL;
  return tok_curve_find(ec_params, len, &curve) == CKR_OK ? curve->name : NULL;
}
