#include "decoder/write/shape.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <string.h>

#include "shim/trace/format.h"

/* Does one DER value fill the bytes? */
static bool is_der(const uint8_t *b, size_t size)
{
  if (size < 2) return false;
  size_t length = b[1], header = 2;
  if (length >= 0x80) {
    const size_t digits = length & 0x7f;
    if (digits == 0 || digits > 4 || size < 2 + digits) return false;
    for (length = 0; header < 2 + digits; header++) length = length << 8 | b[header];
  }
  return length == size - header;
}

uint8_t shape_of(const uint8_t *b, size_t size)
{
  uint8_t shape = P11T_SHAPE_SAME | P11T_SHAPE_TEXT;
  if (size == 0) return 0;
  for (size_t i = 0; i < size && shape != 0; i++) {
    if (b[i] != b[0]) shape &= (uint8_t)~P11T_SHAPE_SAME;
    if (b[i] < 0x20 || b[i] > 0x7e) shape &= (uint8_t)~P11T_SHAPE_TEXT;
  }
  if ((shape & P11T_SHAPE_SAME) != 0 && b[0] == 0) shape |= P11T_SHAPE_ZERO;
  if (is_der(b, size)) shape |= P11T_SHAPE_DER;
  return shape;
}

bool shape_is_certificate(const uint8_t *b, size_t size)
{
  const uint8_t *at = b;
  if (!is_der(b, size)) return false;
  X509 *certificate = d2i_X509(NULL, &at, (long)size);
  const bool is_one = certificate != NULL && at == b + size;
  X509_free(certificate);
  if (!is_one) {
    at = b;
    X509_CRL *crl = d2i_X509_CRL(NULL, &at, (long)size);
    const bool is_list = crl != NULL && at == b + size;
    X509_CRL_free(crl);
    ERR_clear_error();
    return is_list;
  }
  ERR_clear_error();
  return true;
}
