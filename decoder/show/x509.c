#include "decoder/show/x509.h"

#include <limits.h>
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <stdlib.h>

/* RFC 2253, most significant last, but with UTF-8 as it is: text_quoted takes care of what may not be printed. */
#define NAME_FORM (XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB & ~(unsigned long)ASN1_STRFLGS_ESC_CTRL)

static char *name_text(const X509_NAME *name)
{
  BIO *memory = BIO_new(BIO_s_mem());
  char *copy = NULL;
  if (memory != NULL && name != NULL && X509_NAME_print_ex(memory, name, 0, NAME_FORM) >= 0) {
    char *data;
    long size = BIO_get_mem_data(memory, &data);
    if (size >= 0 && (copy = malloc((size_t)size + 1)) != NULL) {
      memcpy(copy, data, (size_t)size);
      copy[size] = '\0';
    }
  }
  BIO_free(memory);
  ERR_clear_error();
  return copy;
}

char *x509_name(const uint8_t *der, size_t size)
{
  const unsigned char *p = der;
  if (size == 0 || size > LONG_MAX) return NULL;
  X509_NAME *name = d2i_X509_NAME(NULL, &p, (long)size);
  char *text = name != NULL && p == der + size ? name_text(name) : NULL;
  X509_NAME_free(name);
  ERR_clear_error();
  return text;
}

static void put_name(struct text *text, const char *what, const X509_NAME *name)
{
  char *s = name_text(name);
  text_s(text, what);
  text_quoted(text, s != NULL ? s : "", s != NULL ? strlen(s) : 0);
  free(s);
}

static bool show_certificate(struct text *text, const uint8_t *der, size_t size)
{
  const unsigned char *p = der;
  X509 *cert = d2i_X509(NULL, &p, (long)size);
  bool whole = cert != NULL && p == der + size;
  if (whole) {
    const ASN1_INTEGER *serial = X509_get0_serialNumber(cert);
    put_name(text, "<certificate: subject ", X509_get_subject_name(cert));
    text_s(text, ASN1_STRING_type(serial) == V_ASN1_NEG_INTEGER ? ", serial -0x" : ", serial 0x");
    text_hex(text, ASN1_STRING_get0_data(serial), (size_t)ASN1_STRING_length(serial));
    text_c(text, '>');
  }
  X509_free(cert);
  return whole;
}

static bool show_crl(struct text *text, const uint8_t *der, size_t size)
{
  const unsigned char *p = der;
  X509_CRL *crl = d2i_X509_CRL(NULL, &p, (long)size);
  bool whole = crl != NULL && p == der + size;
  if (whole) {
    put_name(text, "<CRL: issuer ", X509_CRL_get_issuer(crl));
    text_c(text, '>');
  }
  X509_CRL_free(crl);
  return whole;
}

bool x509_show(struct text *text, const uint8_t *der, size_t size)
{
  if (size < 2 || size > LONG_MAX || der[0] != 0x30) return false;
  bool shown = show_certificate(text, der, size) || show_crl(text, der, size);
  ERR_clear_error();
  return shown;
}

bool x509_show_oid(struct text *text, const uint8_t *der, size_t size)
{
  const unsigned char *p = der;
  if (size < 3 || size > 256 || der[0] != 0x06) return false;
  ASN1_OBJECT *object = d2i_ASN1_OBJECT(NULL, &p, (long)size);
  char name[256];
  bool whole = object != NULL && p == der + size && OBJ_obj2txt(name, sizeof name, object, 0) > 0;
  if (whole) {
    text_s(text, "<OID ");
    text_escaped(text, name, strlen(name), ">");
    text_c(text, '>');
  }
  ASN1_OBJECT_free(object);
  ERR_clear_error();
  return whole;
}
