/* Completing and checking RSA private keys. */
#include "crypto/rsa_parts.h"

#include <openssl/bn.h>
#include <openssl/err.h>

#include "core/module.h"

enum { N, E, D, P, Q, DP, DQ, QINV, PARTS };
static const CK_ATTRIBUTE_TYPE types[PARTS] = {CKA_MODULUS, CKA_PUBLIC_EXPONENT, CKA_PRIVATE_EXPONENT, CKA_PRIME_1,
                                               CKA_PRIME_2, CKA_EXPONENT_1,      CKA_EXPONENT_2,       CKA_COEFFICIENT};

struct parts {
  BIGNUM *n[PARTS]; /* NULL: missing */
  BN_CTX *ctx;      /* on the secure heap if there is one; between BN_CTX_start and _end */
};

static CK_RV read_parts(const struct tok_attrs *attrs, struct parts *p)
{
  for (int i = 0; i < PARTS; i++) {
    CK_ULONG len = 0;
    const CK_BYTE *value = tok_attrs_get(attrs, types[i], &len);
    if (value == NULL || len == 0) continue;
    if (len > 16384 / 8 + 8) return CKR_ATTRIBUTE_VALUE_INVALID;
    p->n[i] = BN_secure_new();
    if (p->n[i] == NULL || BN_bin2bn(value, (int)len, p->n[i]) == NULL) return CKR_HOST_MEMORY;
    if (i != N && i != E) BN_set_flags(p->n[i], BN_FLG_CONSTTIME);
  }
  return CKR_OK;
}

/* Makes a missing part: the caller fills it in. */
static BIGNUM *make(struct parts *p, int part)
{
  if (p->n[part] == NULL) p->n[part] = BN_secure_new();
  if (p->n[part] != NULL && part != N && part != E) BN_set_flags(p->n[part], BN_FLG_CONSTTIME);
  return p->n[part];
}

/* The public exponents that are in use; a key that has another must tell it. */
static CK_RV guess_exponent(struct parts *p)
{
  static const BN_ULONG usual[] = {65537, 3, 17, 5, 257};
  BIGNUM *two = BN_CTX_get(p->ctx), *once = BN_CTX_get(p->ctx), *back = BN_CTX_get(p->ctx), *e = make(p, E);
  if (back == NULL || e == NULL || BN_set_word(two, 2) != 1) return CKR_HOST_MEMORY;
  if (BN_mod_exp(once, two, p->n[D], p->n[N], p->ctx) != 1) return CKR_ATTRIBUTE_VALUE_INVALID;
  for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++) {
    if (BN_set_word(e, usual[i]) != 1 || BN_mod_exp(back, once, e, p->n[N], p->ctx) != 1) return CKR_HOST_MEMORY;
    if (BN_cmp(back, two) == 0) return CKR_OK;
  }
  return CKR_TEMPLATE_INCOMPLETE;
}

/* From n, e and d to the primes: e * d - 1 = 2^s * t is a multiple of the group's exponent, so for most x some
 * x^(t * 2^i) is a root of 1 other than 1 and -1, and has a prime in common with n (NIST SP 800-56B, appendix C.2). */
static CK_RV factor(struct parts *p)
{
  BIGNUM *t = BN_CTX_get(p->ctx), *x = BN_CTX_get(p->ctx), *y = BN_CTX_get(p->ctx), *last = BN_CTX_get(p->ctx);
  BIGNUM *minus = BN_CTX_get(p->ctx);
  if (minus == NULL || make(p, P) == NULL || make(p, Q) == NULL) return CKR_HOST_MEMORY;
  if (BN_mul(t, p->n[E], p->n[D], p->ctx) != 1 || BN_sub_word(t, 1) != 1 || BN_copy(minus, p->n[N]) == NULL ||
      BN_sub_word(minus, 1) != 1)
    return CKR_HOST_MEMORY;
  if (BN_is_zero(t) || BN_is_odd(t)) return CKR_TEMPLATE_INCONSISTENT;
  int s = 0;
  while (!BN_is_bit_set(t, s)) s++;
  if (BN_rshift(t, t, s) != 1) return CKR_HOST_MEMORY;
  for (int tries = 0; tries < 64; tries++) {
    if (BN_priv_rand_range_ex(x, p->n[N], 0, p->ctx) != 1) return CKR_FUNCTION_FAILED;
    if (BN_is_zero(x) || BN_is_one(x)) continue;
    if (BN_mod_exp(y, x, t, p->n[N], p->ctx) != 1) return CKR_HOST_MEMORY;
    if (BN_is_one(y) || BN_cmp(y, minus) == 0) continue;
    for (int i = 0; i < s && !BN_is_one(y) && BN_cmp(y, minus) != 0; i++)
      if (BN_copy(last, y) == NULL || BN_mod_sqr(y, last, p->n[N], p->ctx) != 1) return CKR_HOST_MEMORY;
    if (BN_cmp(y, minus) == 0) continue;
    if (!BN_is_one(y)) return CKR_TEMPLATE_INCONSISTENT; /* x^(e * d - 1) is not 1: no key */
    if (BN_sub_word(last, 1) != 1 || BN_gcd(p->n[P], last, p->n[N], p->ctx) != 1 ||
        BN_div(p->n[Q], NULL, p->n[N], p->n[P], p->ctx) != 1)
      return CKR_HOST_MEMORY;
    if (BN_cmp(p->n[P], p->n[Q]) < 0) BN_swap(p->n[P], p->n[Q]);
    return CKR_OK;
  }
  return CKR_TEMPLATE_INCONSISTENT;
}

/* Sets a missing part, or compares the one that is there. */
static CK_RV settle(struct parts *p, int part, const BIGNUM *value)
{
  if (p->n[part] != NULL) return BN_cmp(p->n[part], value) == 0 ? CKR_OK : CKR_TEMPLATE_INCONSISTENT;
  return make(p, part) != NULL && BN_copy(p->n[part], value) != NULL ? CKR_OK : CKR_HOST_MEMORY;
}

/* n, both primes and an exponent are there. */
static CK_RV from_primes(struct parts *p)
{
  BIGNUM *p1 = BN_CTX_get(p->ctx), *q1 = BN_CTX_get(p->ctx), *lcm = BN_CTX_get(p->ctx), *x = BN_CTX_get(p->ctx);
  if (x == NULL || BN_sub(p1, p->n[P], BN_value_one()) != 1 || BN_sub(q1, p->n[Q], BN_value_one()) != 1 ||
      BN_mul(x, p->n[P], p->n[Q], p->ctx) != 1)
    return CKR_HOST_MEMORY;
  BN_set_flags(p1, BN_FLG_CONSTTIME);
  BN_set_flags(q1, BN_FLG_CONSTTIME);
  if (BN_cmp(x, p->n[N]) != 0 || BN_is_zero(p1) || BN_is_zero(q1)) return CKR_TEMPLATE_INCONSISTENT;
  if (p->n[E] == NULL || p->n[D] == NULL) {
    int given = p->n[E] != NULL ? E : D, wanted = given == E ? D : E;
    if (BN_gcd(x, p1, q1, p->ctx) != 1 || BN_mul(lcm, p1, q1, p->ctx) != 1 || BN_div(lcm, NULL, lcm, x, p->ctx) != 1 ||
        make(p, wanted) == NULL)
      return CKR_HOST_MEMORY;
    BN_set_flags(lcm, BN_FLG_CONSTTIME);
    if (BN_mod_inverse(p->n[wanted], p->n[given], lcm, p->ctx) == NULL) return CKR_TEMPLATE_INCONSISTENT;
  }
  const struct {
    int prime_part;
    BIGNUM *less_one;
    int exponent;
  } halves[] = {
      {P, p1, DP},
      {Q, q1, DQ}
  };
  for (size_t i = 0; i < 2; i++) {
    if (BN_mod(lcm, p->n[D], halves[i].less_one, p->ctx) != 1 ||
        BN_mod_mul(x, lcm, p->n[E], halves[i].less_one, p->ctx) != 1)
      return CKR_HOST_MEMORY;
    if (!BN_is_one(x)) return CKR_TEMPLATE_INCONSISTENT;
    CK_RV rv = settle(p, halves[i].exponent, lcm);
    if (rv != CKR_OK) return rv;
  }
  if (BN_mod_inverse(x, p->n[Q], p->n[P], p->ctx) == NULL) return CKR_TEMPLATE_INCONSISTENT;
  return settle(p, QINV, x);
}

static CK_RV complete(struct parts *p)
{
  bool primes = p->n[P] != NULL && p->n[Q] != NULL;
  CK_RV rv = CKR_OK;
  if (p->n[N] == NULL || (!primes && p->n[D] == NULL) || (p->n[D] == NULL && p->n[E] == NULL))
    return CKR_TEMPLATE_INCOMPLETE;
  if (!BN_is_odd(p->n[N]) || (p->n[E] != NULL && (!BN_is_odd(p->n[E]) || BN_is_one(p->n[E]))))
    return CKR_ATTRIBUTE_VALUE_INVALID;
  for (int i = E; i < PARTS; i++)
    if (p->n[i] != NULL && (BN_is_zero(p->n[i]) || BN_cmp(p->n[i], p->n[N]) >= 0)) return CKR_ATTRIBUTE_VALUE_INVALID;
  if (!primes && p->n[E] == NULL) rv = guess_exponent(p);
  if (rv == CKR_OK && !primes) {
    for (int i = P; i < PARTS; i++) { /* a lone prime or its exponent says nothing by itself */
      BN_clear_free(p->n[i]);
      p->n[i] = NULL;
    }
    rv = factor(p);
  }
  return rv == CKR_OK ? from_primes(p) : rv;
}

static CK_RV write_parts(struct tok_attrs *attrs, const struct parts *p)
{
  CK_BYTE bytes[16384 / 8 + 8];
  CK_RV rv = CKR_OK;
  for (int i = 0; i < PARTS && rv == CKR_OK; i++) {
    int len = BN_bn2bin(p->n[i], bytes);
    rv = tok_attrs_set(attrs, types[i], bytes, (CK_ULONG)len);
  }
  OPENSSL_cleanse(bytes, sizeof bytes);
  return rv;
}

CK_RV tok_rsa_parts_complete(struct tok_attrs *attrs)
{
  struct parts parts = {{NULL}, BN_CTX_secure_new_ex(tok_module->crypto)};
  if (parts.ctx == NULL) return CKR_HOST_MEMORY;
  BN_CTX_start(parts.ctx);
  ERR_set_mark();
  CK_RV rv = read_parts(attrs, &parts);
  if (rv == CKR_OK) rv = complete(&parts);
  if (rv == CKR_OK) rv = write_parts(attrs, &parts);
  ERR_pop_to_mark();
  BN_CTX_end(parts.ctx);
  BN_CTX_free(parts.ctx);
  for (int i = 0; i < PARTS; i++) BN_clear_free(parts.n[i]);
  return rv;
}
