/* The list of what is to be imported, and the CKA_ID of each. */
#include "tool/items.h"

#include <openssl/asn1.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "core/module.h"
#include "crypto/pkey.h"
#include "object/attrs.h"

/* The public value that NSS makes CKA_ID of: the modulus, or the public value of the others (pk11_MakeIDFromPublicKey
 * and PK11_MakeIDFromPubKey, pk11cert.c and pk11akey.c). */
static const CK_BYTE *public_value(const struct tok_attrs *attrs, CK_ULONG *len)
{
  static const CK_ATTRIBUTE_TYPE types[] = {CKA_MODULUS, CKA_EC_POINT, CKA_VALUE};
  const CK_BYTE *value = NULL;
  for (size_t i = 0; i < sizeof types / sizeof *types && value == NULL; i++) {
    value = tok_attrs_get(attrs, types[i], len);
    if (value == NULL || types[i] != CKA_EC_POINT) continue;
    /* CKA_EC_POINT is the point in an OCTET STRING; NSS has the point alone. */
    long content;
    int tag, class;
    const CK_BYTE *point = value;
    if ((ASN1_get_object(&point, &content, &tag, &class, (long)*len) & 0x80) != 0 || tag != V_ASN1_OCTET_STRING)
      continue;
    value = point;
    *len = (CK_ULONG)content;
  }
  return value;
}

static void make_id(struct tok_item *item, EVP_PKEY *key)
{
  struct tok_attrs attrs = TOK_ATTRS_EMPTY;
  CK_ULONG len;
  if (key != NULL && tok_attrs_from_pkey(&attrs, key, false) == CKR_OK) {
    const CK_BYTE *value = public_value(&attrs, &len);
    if (value != NULL && len <= sizeof item->id) {
      memcpy(item->id, value, len); /* as NSS does, which needs no hash then */
      item->id_len = len;
    } else if (value != NULL &&
               EVP_Q_digest(tok_module->crypto, "SHA1", NULL, value, len, item->id, &item->id_len) != 1) {
      item->id_len = 0;
    }
  }
  tok_attrs_clear(&attrs);
}

static void clear_item(struct tok_item *item)
{
  X509_free(item->cert);
  X509_CRL_free(item->crl);
  EVP_PKEY_free(item->key);
  free(item->label);
}

bool tok_items_add(struct tok_items *items, struct tok_item item)
{
  struct tok_item *more = realloc(items->item, (items->count + 1) * sizeof *more);
  if (more == NULL) {
    clear_item(&item);
    return false;
  }
  items->item = more;
  if (item.crl == NULL) make_id(&item, item.cert != NULL ? X509_get0_pubkey(item.cert) : item.key);
  items->item[items->count++] = item;
  return true;
}

void tok_items_clear(struct tok_items *items)
{
  for (size_t i = 0; i < items->count; i++) clear_item(&items->item[i]);
  free(items->item);
  *items = (struct tok_items){NULL, 0};
}
