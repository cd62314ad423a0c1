/* The parameters of an SP800-108 derivation, and the PRF's input that is made of them. */
#include "crypto/kbkdf_fields.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#include "core/module.h"
#include "crypto/mech.h"

#define MOST_FIELDS 1024
#define MOST_KEYS 1024

bool tok_kbkdf_read(CK_MECHANISM_PTR mechanism, struct tok_kbkdf *k)
{
  if (k->mode == CKM_SP800_108_FEEDBACK_KDF) {
    const CK_SP800_108_FEEDBACK_KDF_PARAMS *p = tok_mech_param(mechanism, sizeof *p);
    if (p == NULL) return false;
    k->prf = p->prfType;
    k->fields = p->pDataParams;
    k->field_count = p->ulNumberOfDataParams;
    k->iv = (struct tok_span){p->pIV, p->ulIVLen};
    k->keys = p->pAdditionalDerivedKeys;
    k->more = p->ulAdditionalDerivedKeys;
  } else {
    const CK_SP800_108_KDF_PARAMS *p = tok_mech_param(mechanism, sizeof *p);
    if (p == NULL) return false;
    k->prf = p->prfType;
    k->fields = p->pDataParams;
    k->field_count = p->ulNumberOfDataParams;
    k->keys = p->pAdditionalDerivedKeys;
    k->more = p->ulAdditionalDerivedKeys;
  }
  if (k->fields == NULL || k->field_count == 0 || k->field_count > MOST_FIELDS) return false;
  if ((k->iv.data == NULL && k->iv.len > 0) || k->iv.len > TOK_DERIVE_MOST) return false;
  return k->more <= MOST_KEYS && (k->keys != NULL || k->more == 0);
}

/* A number of whole bytes, at most `most` bits. */
static bool is_width(CK_ULONG bits, CK_ULONG most)
{
  return bits > 0 && bits <= most && bits % 8 == 0;
}

static const CK_SP800_108_COUNTER_FORMAT *counter_format(const CK_PRF_DATA_PARAM *f)
{
  const CK_SP800_108_COUNTER_FORMAT *format = f->pValue;
  if (format == NULL || f->ulValueLen != sizeof *format || !is_width(format->ulWidthInBits, 32)) return NULL;
  return format;
}

/* A field's form; how often each kind comes is counted in `seen`. */
static bool is_field(const struct tok_kbkdf *k, const CK_PRF_DATA_PARAM *f, unsigned *seen)
{
  const CK_SP800_108_DKM_LENGTH_FORMAT *length = f->pValue;
  if (f->type < CK_SP800_108_ITERATION_VARIABLE || f->type > CK_SP800_108_KEY_HANDLE) return false;
  seen[f->type]++;
  switch (f->type) {
    case CK_SP800_108_ITERATION_VARIABLE:
      if (k->mode == CKM_SP800_108_COUNTER_KDF) return counter_format(f) != NULL;
      /* "For all other KDF types, pValue must be set to NULL_PTR and ulValueLen must be set to 0." */
      return f->pValue == NULL && f->ulValueLen == 0;
    case CK_SP800_108_COUNTER: return k->mode != CKM_SP800_108_COUNTER_KDF && counter_format(f) != NULL;
    case CK_SP800_108_DKM_LENGTH:
      if (length == NULL || f->ulValueLen != sizeof *length || !is_width(length->ulWidthInBits, 64)) return false;
      return length->dkmLengthMethod == CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS ||
             length->dkmLengthMethod == CK_SP800_108_DKM_LENGTH_SUM_OF_SEGMENTS;
    case CK_SP800_108_BYTE_ARRAY: return f->pValue != NULL && f->ulValueLen > 0 && f->ulValueLen <= TOK_DERIVE_MOST;
    default: return f->pValue != NULL && f->ulValueLen == sizeof(CK_OBJECT_HANDLE);
  }
}

/* The hash of one of the standard's PRFs: HMACs only, and none with MD5. */
static enum tok_hash hash_of_hmac(CK_MECHANISM_TYPE mechanism)
{
  switch (mechanism) {
#define X(id, name, size, digest, hmac) \
  case hmac: return TOK_##id == TOK_MD5 ? TOK_HASH_NONE : TOK_##id;
    TOK_HASHES(X)
#undef X
    default: return TOK_HASH_NONE;
  }
}

static CK_RV find_prf(struct tok_kbkdf *k)
{
  CK_KEY_TYPE type = k->base->key_type;
  CK_RV rv = tok_derive_value(k->base, &k->secret);
  if (rv != CKR_OK) return rv;
  switch (k->prf) {
    case CKM_AES_CMAC: k->block = 16; return type == CKK_AES ? CKR_OK : CKR_KEY_TYPE_INCONSISTENT;
    case CKM_DES3_CMAC:
      k->block = 8;
      if (type != CKK_DES3 && type != CKK_DES2) return CKR_KEY_TYPE_INCONSISTENT;
      if (k->secret.len != 16) return CKR_OK;
      memcpy(k->des3, k->secret.data, 16);
      memcpy(k->des3 + 16, k->secret.data, 8);
      k->secret = (struct tok_span){k->des3, sizeof k->des3};
      return CKR_OK;
    default:
      k->hash = hash_of_hmac(k->prf);
      if (k->hash == TOK_HASH_NONE) return CKR_MECHANISM_PARAM_INVALID;
      k->block = tok_hash_size(k->hash);
      return CKR_OK;
  }
}

static void add_history(struct tok_kbkdf *k, const struct tok_object *key)
{
  k->always_sensitive |= tok_attrs_bool(&key->attrs, CKA_ALWAYS_SENSITIVE, false);
  k->never_extractable |= tok_attrs_bool(&key->attrs, CKA_NEVER_EXTRACTABLE, false);
}

CK_RV tok_kbkdf_prepare(struct tok_session *session, const struct tok_mech *mech, struct tok_kbkdf *k)
{
  unsigned seen[CK_SP800_108_KEY_HANDLE + 1] = {0};
  for (CK_ULONG i = 0; i < k->field_count; i++)
    if (!is_field(k, &k->fields[i], seen)) return CKR_MECHANISM_PARAM_INVALID;
  if (seen[CK_SP800_108_ITERATION_VARIABLE] != 1) return CKR_MECHANISM_PARAM_INVALID;
  if (seen[CK_SP800_108_COUNTER] > 1 || seen[CK_SP800_108_DKM_LENGTH] > 1) return CKR_MECHANISM_PARAM_INVALID;
  CK_RV rv = find_prf(k);
  if (rv != CKR_OK) return rv;
  add_history(k, k->base);
  k->inner = tok_alloc(k->field_count * sizeof *k->inner);
  if (k->inner == NULL) return CKR_HOST_MEMORY;
  k->room = k->block + k->iv.len;
  for (CK_ULONG i = 0; i < k->field_count; i++) {
    struct tok_span value = {NULL, 8};
    if (k->fields[i].type == CK_SP800_108_BYTE_ARRAY) value.len = k->fields[i].ulValueLen;
    if (k->fields[i].type == CK_SP800_108_KEY_HANDLE) {
      rv = tok_key_get(session, *(const CK_OBJECT_HANDLE *)k->fields[i].pValue, mech, CKA_DERIVE, &k->inner[i]);
      if (rv == CKR_OK) rv = tok_derive_value(k->inner[i], &value);
      /* A CMAC is undone by who knows its key, which is the base, and so gives away a value that may not be read. */
      if (rv == CKR_OK && k->hash == TOK_HASH_NONE && !tok_derive_readable(k->inner[i]))
        rv = CKR_KEY_FUNCTION_NOT_PERMITTED;
      if (rv != CKR_OK) return rv;
      add_history(k, k->inner[i]);
    }
    k->room += value.len;
  }
  return CKR_OK;
}

CK_RV tok_kbkdf_lengths(struct tok_kbkdf *k, CK_ULONG bytes, CK_ULONG segments)
{
  for (CK_ULONG i = 0; i < k->field_count; i++) {
    const CK_PRF_DATA_PARAM *f = &k->fields[i];
    if (f->type == CK_SP800_108_DKM_LENGTH) {
      const CK_SP800_108_DKM_LENGTH_FORMAT *length = f->pValue;
      bool keys = length->dkmLengthMethod == CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS;
      k->dkm_bits = (keys ? bytes : segments * k->block) * 8;
      if (length->ulWidthInBits < 64 && k->dkm_bits >> length->ulWidthInBits != 0) return CKR_MECHANISM_PARAM_INVALID;
    } else if (f->type == CK_SP800_108_COUNTER || (f->type == CK_SP800_108_ITERATION_VARIABLE && f->pValue != NULL)) {
      /* The internal loop counter is limited to 2^r - 1. */
      if ((uint64_t)segments >> counter_format(f)->ulWidthInBits != 0) return CKR_KEY_SIZE_RANGE;
    }
  }
  return CKR_OK;
}

static CK_ULONG put_number(CK_BYTE *out, uint64_t value, CK_ULONG bits, CK_BBOOL little)
{
  CK_ULONG len = bits / 8;
  for (CK_ULONG i = 0; i < len; i++) out[little ? i : len - 1 - i] = (CK_BYTE)(value >> (8 * i));
  return len;
}

static CK_ULONG put_span(CK_BYTE *out, struct tok_span s)
{
  if (s.len > 0) memcpy(out, s.data, s.len);
  return s.len;
}

CK_ULONG tok_kbkdf_input(const struct tok_kbkdf *k, struct tok_span iteration, CK_ULONG i, CK_BYTE *out)
{
  CK_ULONG at = 0;
  for (CK_ULONG n = 0; n < k->field_count; n++) {
    const CK_PRF_DATA_PARAM *f = &k->fields[n];
    const CK_SP800_108_COUNTER_FORMAT *counter = f->pValue;
    const CK_SP800_108_DKM_LENGTH_FORMAT *length = f->pValue;
    struct tok_span value = {f->pValue, f->ulValueLen};
    switch (f->type) {
      case CK_SP800_108_ITERATION_VARIABLE:
        if (i == 0) break;
        if (k->mode != CKM_SP800_108_COUNTER_KDF)
          at += put_span(out + at, iteration);
        else
          at += put_number(out + at, i, counter->ulWidthInBits, counter->bLittleEndian);
        break;
      case CK_SP800_108_COUNTER:
        if (i > 0) at += put_number(out + at, i, counter->ulWidthInBits, counter->bLittleEndian);
        break;
      case CK_SP800_108_DKM_LENGTH:
        at += put_number(out + at, k->dkm_bits, length->ulWidthInBits, length->bLittleEndian);
        break;
      case CK_SP800_108_KEY_HANDLE:
        if (tok_derive_value(k->inner[n], &value) == CKR_OK) at += put_span(out + at, value);
        break;
      default: at += put_span(out + at, value); break;
    }
  }
  return at;
}

CK_RV tok_kbkdf_prf(const struct tok_kbkdf *k, const CK_BYTE *data, CK_ULONG len, CK_BYTE *out)
{
  if (k->hash != TOK_HASH_NONE) return tok_hmac_once(k->hash, k->secret.data, k->secret.len, data, len, out);
  const char *cipher = "DES-EDE3-CBC";
  if (k->prf == CKM_AES_CMAC)
    cipher = k->secret.len == 16 ? "AES-128-CBC" : k->secret.len == 24 ? "AES-192-CBC" : "AES-256-CBC";
  size_t done = 0;
  CK_BYTE *mac = EVP_Q_mac(tok_module->crypto, "CMAC", NULL, cipher, NULL, k->secret.data, k->secret.len, data, len,
                           out, k->block, &done);
  return mac != NULL && done == k->block ? CKR_OK : CKR_FUNCTION_FAILED;
}

void tok_kbkdf_free(struct tok_kbkdf *k)
{
  for (CK_ULONG i = 0; k->inner != NULL && i < k->field_count; i++) tok_object_unref(k->inner[i]);
  tok_wipe_free(k->inner, k->inner != NULL ? k->field_count * sizeof *k->inner : 0);
  OPENSSL_cleanse(k->des3, sizeof k->des3);
}
