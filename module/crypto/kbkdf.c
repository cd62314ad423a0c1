/* CKM_SP800_108_COUNTER_KDF, _FEEDBACK_KDF and _DOUBLE_PIPELINE_KDF (NIST SP 800-108; PKCS #11 3.2, 6.42).
 *
 * The caller lists the fields of the PRF's input in any order and any encoding; OpenSSL's KBKDF knows one order only,
 * so the loop is ours and the PRF OpenSSL's. */
#include <string.h>

#include "core/module.h"
#include "crypto/derive.h"
#include "crypto/kbkdf_fields.h"
#include "crypto/mech.h"

#define MOST_ATTRIBUTES 1024

/* --- the keys that are wanted ------------------------------------------------------------------------------------ */

/* The first is that of C_DeriveKey, the others those of pAdditionalDerivedKeys. "No key can be created using part of a
 * segment that was used for another key." */
struct wanted {
  struct tok_attrs *key; /* `own`, or the chapter's */
  struct tok_attrs own;
  struct tok_template t;
  CK_OBJECT_HANDLE_PTR handle; /* NULL for the first */
  CK_ULONG len, offset;        /* bytes; place in the material */
};

struct plan {
  struct wanted *keys;
  size_t count;
  CK_ULONG bytes, segments; /* sum of the keys' bytes; of the PRF's blocks that they take */
};

static void plan_free(struct plan *plan)
{
  for (size_t i = 0; plan->keys != NULL && i < plan->count; i++) tok_attrs_clear(&plan->keys[i].own);
  tok_wipe_free(plan->keys, plan->count * sizeof *plan->keys);
}

/* One key more: its template read, its place in the material found. */
static CK_RV plan_key(struct tok_session *session, struct plan *plan, struct wanted *w, const struct tok_object *base,
                      const struct tok_kbkdf *k)
{
  CK_RV rv = CKR_OK;
  if (w->handle != NULL) {
    CK_KEY_TYPE type = CK_UNAVAILABLE_INFORMATION;
    if (tok_template_find(&w->t, CKA_KEY_TYPE) == NULL) type = CKK_GENERIC_SECRET;
    rv = tok_template_read(session, TOK_DERIVE, CKO_SECRET_KEY, type, w->t.list, w->t.count, w->key);
  }
  if (rv == CKR_OK) rv = tok_derive_inherit(w->key, &w->t, base, TOK_BOND_DEFAULT);
  /* "If the base key or any of the additional input keys" have the attribute: more than what the base alone would
   * give. */
  if (rv == CKR_OK) rv = tok_attrs_set_bool(w->key, CKA_ALWAYS_SENSITIVE, k->always_sensitive);
  if (rv == CKR_OK) rv = tok_attrs_set_bool(w->key, CKA_NEVER_EXTRACTABLE, k->never_extractable);
  if (rv == CKR_OK) rv = tok_derive_length(w->key, &w->t, k->block, false, &w->len);
  if (rv == CKR_OK) {
    w->offset = plan->segments * k->block;
    plan->bytes += w->len;
    plan->segments += (w->len + k->block - 1) / k->block;
    if (plan->bytes > TOK_DERIVE_MOST) rv = CKR_KEY_SIZE_RANGE;
  }
  /* "If the failure was caused by the content of a specific key's template ..., the corresponding phKey value will be
   * set to CK_INVALID_HANDLE." */
  if (rv != CKR_OK && w->handle != NULL) *w->handle = CK_INVALID_HANDLE;
  return rv;
}

/* What the entry of C_DeriveKey checks of its own template. */
static bool is_template(const CK_DERIVED_KEY *d)
{
  if (d->ulAttributeCount > MOST_ATTRIBUTES || (d->pTemplate == NULL && d->ulAttributeCount > 0)) return false;
  for (CK_ULONG i = 0; i < d->ulAttributeCount; i++)
    if (d->pTemplate[i].pValue == NULL && d->pTemplate[i].ulValueLen > 0) return false;
  return true;
}

static CK_RV plan_keys(struct tok_session *session, struct plan *plan, struct tok_attrs *key,
                       const struct tok_template *t, const struct tok_object *base, const struct tok_kbkdf *k)
{
  plan->keys = tok_alloc((k->more + 1) * sizeof *plan->keys);
  if (plan->keys == NULL) return CKR_HOST_MEMORY;
  plan->count = k->more + 1;
  plan->keys[0].key = key;
  plan->keys[0].t = *t;
  CK_RV rv = CKR_OK;
  for (CK_ULONG i = 0; i < k->more; i++) {
    const CK_DERIVED_KEY *d = &k->keys[i];
    struct wanted *w = &plan->keys[i + 1];
    if (d->phKey == NULL || !is_template(d)) return CKR_MECHANISM_PARAM_INVALID;
    w->key = &w->own;
    w->t = (struct tok_template){d->pTemplate, d->ulAttributeCount};
    w->handle = d->phKey;
  }
  for (size_t i = 0; rv == CKR_OK && i < plan->count; i++) rv = plan_key(session, plan, &plan->keys[i], base, k);
  return rv;
}

/* Publishes the additional keys, all or none; the first is the chapter's. */
static CK_RV publish(struct tok_session *session, struct plan *plan, const struct tok_object *base)
{
  size_t more = plan->count - 1, done = 0;
  if (more == 0) return CKR_OK;
  CK_OBJECT_HANDLE *handles = tok_alloc(more * sizeof *handles);
  if (handles == NULL) return CKR_HOST_MEMORY;
  CK_RV rv = CKR_OK;
  for (; done < more; done++) {
    rv = tok_derive_publish(session, base, plan->keys[done + 1].key, &handles[done]);
    if (rv != CKR_OK) break;
  }
  if (rv == CKR_OK) {
    for (size_t i = 0; i < more; i++) *plan->keys[i + 1].handle = handles[i];
  } else {
    *plan->keys[done + 1].handle = CK_INVALID_HANDLE;
    tok_derive_discard(session, handles, done);
  }
  tok_wipe_free(handles, more * sizeof *handles);
  return rv;
}

void tok_kbkdf_discard(struct tok_session *session, CK_MECHANISM_PTR mechanism)
{
  struct tok_kbkdf k = {.mode = mechanism->mechanism};
  const struct tok_mech *mech = tok_mech_find(mechanism->mechanism);
  if (mech == NULL || mech->family != &tok_family_kbkdf || !tok_kbkdf_read(mechanism, &k)) return;
  for (CK_ULONG i = 0; i < k.more; i++) tok_derive_discard(session, k.keys[i].phKey, 1);
}

/* --- the derivation ---------------------------------------------------------------------------------------------- */

/* `segments` blocks of output. `iteration` is K(i-1) for feedback, A(i) for the double pipeline. */
static CK_RV run(const struct tok_kbkdf *k, const struct plan *plan, CK_BYTE *out)
{
  CK_BYTE *iteration = tok_alloc(k->block + k->iv.len), *input = tok_alloc(k->room);
  CK_ULONG len = 0, iteration_len = k->iv.len;
  CK_RV rv = iteration != NULL && input != NULL ? CKR_OK : CKR_HOST_MEMORY;
  if (rv == CKR_OK && k->iv.len > 0) memcpy(iteration, k->iv.data, k->iv.len);
  for (CK_ULONG i = 1; rv == CKR_OK && i <= plan->segments; i++) {
    CK_BYTE *segment = out + (i - 1) * k->block;
    if (k->mode == CKM_SP800_108_DOUBLE_PIPELINE_KDF) {
      /* A(0) is the input without iteration variable and counter, A(i) = PRF(A(i-1)). */
      if (i == 1) {
        len = tok_kbkdf_input(k, (struct tok_span){NULL, 0}, 0, input);
        rv = tok_kbkdf_prf(k, input, len, iteration);
      } else {
        memcpy(input, iteration, k->block);
        rv = tok_kbkdf_prf(k, input, k->block, iteration);
      }
      iteration_len = k->block;
      if (rv != CKR_OK) break;
    }
    len = tok_kbkdf_input(k, (struct tok_span){iteration, iteration_len}, i, input);
    rv = tok_kbkdf_prf(k, input, len, segment);
    if (rv == CKR_OK && k->mode == CKM_SP800_108_FEEDBACK_KDF) {
      memcpy(iteration, segment, k->block);
      iteration_len = k->block;
    }
  }
  tok_wipe_free(input, input != NULL ? k->room : 0);
  tok_wipe_free(iteration, iteration != NULL ? k->block + k->iv.len : 0);
  return rv;
}

static CK_RV derive(struct tok_session *session, const struct tok_mech *mech, CK_MECHANISM_PTR mechanism,
                    struct tok_object *base, const CK_ATTRIBUTE *templ, CK_ULONG count, struct tok_attrs *key,
                    bool *none)
{
  (void)none;
  const struct tok_template t = {templ, count};
  struct tok_kbkdf k = {.mode = mech->type, .base = base};
  struct plan plan = {NULL, 0, 0, 0};
  CK_BYTE *out = NULL;
  CK_ULONG size = 0;
  if (!tok_kbkdf_read(mechanism, &k)) return CKR_MECHANISM_PARAM_INVALID;
  CK_RV rv = tok_kbkdf_prepare(session, mech, &k);
  if (rv == CKR_OK) rv = plan_keys(session, &plan, key, &t, base, &k);
  if (rv == CKR_OK) rv = tok_kbkdf_lengths(&k, plan.bytes, plan.segments);
  if (rv != CKR_OK) goto out;
  size = plan.segments * k.block;
  out = tok_alloc(size);
  rv = out != NULL ? run(&k, &plan, out) : CKR_HOST_MEMORY;
  for (size_t i = 0; rv == CKR_OK && i < plan.count; i++)
    rv = tok_derive_set(plan.keys[i].key, out + plan.keys[i].offset, plan.keys[i].len);
  if (rv == CKR_OK) rv = publish(session, &plan, base);
out:
  tok_wipe_free(out, out != NULL ? size : 0);
  plan_free(&plan);
  tok_kbkdf_free(&k);
  return rv;
}

const struct tok_family tok_family_kbkdf = {.derive = derive};
