/* The table of numbers of RSA, DSA and DH keys. */
#include "crypto/key_numbers.h"

#include <openssl/core_names.h>

/* clang-format off */
static const struct tok_numbers numbers[][2] = { /* public, private */
  {{CKK_RSA, "RSA", 2, 2, {
      {CKA_MODULUS, OSSL_PKEY_PARAM_RSA_N}, {CKA_PUBLIC_EXPONENT, OSSL_PKEY_PARAM_RSA_E}}},
   {CKK_RSA, "RSA", 8, 3, {
      {CKA_MODULUS, OSSL_PKEY_PARAM_RSA_N}, {CKA_PUBLIC_EXPONENT, OSSL_PKEY_PARAM_RSA_E},
      {CKA_PRIVATE_EXPONENT, OSSL_PKEY_PARAM_RSA_D},
      {CKA_PRIME_1, OSSL_PKEY_PARAM_RSA_FACTOR1}, {CKA_PRIME_2, OSSL_PKEY_PARAM_RSA_FACTOR2},
      {CKA_EXPONENT_1, OSSL_PKEY_PARAM_RSA_EXPONENT1}, {CKA_EXPONENT_2, OSSL_PKEY_PARAM_RSA_EXPONENT2},
      {CKA_COEFFICIENT, OSSL_PKEY_PARAM_RSA_COEFFICIENT1}}}},
  {{CKK_DSA, "DSA", 4, 4, {
      {CKA_PRIME, OSSL_PKEY_PARAM_FFC_P}, {CKA_SUBPRIME, OSSL_PKEY_PARAM_FFC_Q},
      {CKA_BASE, OSSL_PKEY_PARAM_FFC_G}, {CKA_VALUE, OSSL_PKEY_PARAM_PUB_KEY}}},
   {CKK_DSA, "DSA", 4, 4, {
      {CKA_PRIME, OSSL_PKEY_PARAM_FFC_P}, {CKA_SUBPRIME, OSSL_PKEY_PARAM_FFC_Q},
      {CKA_BASE, OSSL_PKEY_PARAM_FFC_G}, {CKA_VALUE, OSSL_PKEY_PARAM_PRIV_KEY}}}},
  {{CKK_DH, "DH", 3, 3, {
      {CKA_PRIME, OSSL_PKEY_PARAM_FFC_P}, {CKA_BASE, OSSL_PKEY_PARAM_FFC_G},
      {CKA_VALUE, OSSL_PKEY_PARAM_PUB_KEY}}},
   {CKK_DH, "DH", 3, 3, {
      {CKA_PRIME, OSSL_PKEY_PARAM_FFC_P}, {CKA_BASE, OSSL_PKEY_PARAM_FFC_G},
      {CKA_VALUE, OSSL_PKEY_PARAM_PRIV_KEY}}}},
};
/* clang-format on */

const struct tok_numbers *tok_key_numbers(CK_KEY_TYPE type, bool private)
{
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
    if (numbers[i][private].type == type) return &numbers[i][private];
  return NULL;
}
