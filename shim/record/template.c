#include <string.h>

#include "shim/record/encode.h"
#include "shim/record/options.h"
#include "shim/record/tag.h"

/* What one attribute of the same template says of the others: CKA_VALUE of a certificate or public key is public. */
static bool template_is_public(const CK_ATTRIBUTE *a, uint64_t count)
{
  for (uint64_t i = 0; i < count; i++) {
    CK_OBJECT_CLASS class;
    if (a[i].type != CKA_CLASS || a[i].pValue == NULL || a[i].ulValueLen != sizeof class) continue;
    memcpy(&class, a[i].pValue, sizeof class);
    return class == CKO_CERTIFICATE || class == CKO_PUBLIC_KEY;
  }
  return false;
}

/* The class of one value. Unknown and vendors' attributes are secret. */
static enum p11_secrecy secrecy_of(const struct p11_attribute_info *info, const void *bytes, uint64_t size,
                                   bool is_public)
{
  if (info == NULL) return P11_SECRET;
  if (info->secrecy != P11_VALUE) return info->secrecy;
  return is_public || (size <= UINT32_MAX && p11t_is_certificate(bytes, size)) ? P11_PUBLIC : P11_SECRET;
}

static bool is_meta_name(const struct p11_attribute_info *info)
{
  return info != NULL && (info->kind == P11_A_BOOL || info->type == CKA_CLASS || info->type == CKA_KEY_TYPE);
}

/* V of an attribute's value, in the shortest form that says all of it. `size` is at most the caller's buffer. */
static void attribute_value(struct p11t_writer *w, uint64_t type, const void *bytes, uint64_t size, bool is_public,
                            unsigned depth)
{
  const struct p11_attribute_info *info = p11_attribute(type);
  unsigned kind = info ? info->kind : P11_A_BYTES;
  if (p11t_options.capture == P11T_CAPTURE_META && !is_meta_name(info)) {
    p11t_u8(w, P11T_V_LENGTH);
    p11t_n(w, size);
    return;
  }
  if ((kind == P11_A_NUMBER || kind == P11_A_ENUM) && size == sizeof(CK_ULONG) && info->secrecy == P11_PUBLIC) {
    CK_ULONG v;
    memcpy(&v, bytes, sizeof v);
    p11t_u8(w, P11T_V_NUMBER);
    p11t_u(w, v);
  } else if (kind == P11_A_BOOL && size == 1) {
    p11t_u8(w, P11T_V_BOOL);
    p11t_u8(w, *(const uint8_t *)bytes);
  } else if (kind == P11_A_TEMPLATE && depth < P11T_DEPTH && size % sizeof(CK_ATTRIBUTE) == 0 &&
             size / sizeof(CK_ATTRIBUTE) <= P11T_MAX_COUNT) {
    p11t_u8(w, P11T_V_TEMPLATE);
    p11t_template_in(w, bytes, size / sizeof(CK_ATTRIBUTE), depth + 1);
  } else if (kind == P11_A_MECHANISMS && size % sizeof(CK_ULONG) == 0 && size / sizeof(CK_ULONG) <= P11T_MAX_COUNT) {
    p11t_u8(w, P11T_V_NUMBERS);
    p11t_n(w, size / sizeof(CK_ULONG));
    for (uint64_t i = 0; i < size / sizeof(CK_ULONG); i++) {
      CK_ULONG v;
      memcpy(&v, (const char *)bytes + i * sizeof v, sizeof v);
      p11t_u(w, v);
    }
  } else if (kind == P11_A_TEMPLATE) {
    p11t_value_unread(w, size); /* pointers of the process: of no use, and what they lead to may be secret */
  } else {
    p11t_value(w, secrecy_of(info, bytes, size, is_public), bytes, size);
  }
}

void p11t_template_in(struct p11t_writer *w, const CK_ATTRIBUTE *a, uint64_t count, unsigned depth)
{
  if (count > P11T_MAX_COUNT) count = 0;
  bool is_public = template_is_public(a, count);
  p11t_n(w, count);
  for (uint64_t i = 0; i < count; i++) {
    uint64_t size = a[i].ulValueLen;
    p11t_u(w, a[i].type);
    p11t_pointer(w, a[i].pValue);
    p11t_u(w, size);
    if (a[i].pValue == NULL) {
      p11t_value_null(w);
    } else if (size == CK_UNAVAILABLE_INFORMATION) {
      p11t_u8(w, P11T_V_UNAVAILABLE);
    } else if (size > P11T_EARLY) {
      p11t_u8(w, P11T_V_DEFERRED);
      p11t_n(w, size);
    } else {
      attribute_value(w, a[i].type, a[i].pValue, size, is_public, depth);
    }
  }
}

void p11t_template_late(struct p11t_writer *w, const CK_ATTRIBUTE *a, uint64_t count, bool ok)
{
  uint64_t late = 0;
  if (a == NULL || count > P11T_MAX_COUNT || !ok) count = 0;
  for (uint64_t i = 0; i < count; i++) {
    if (a[i].pValue != NULL && a[i].ulValueLen != CK_UNAVAILABLE_INFORMATION && a[i].ulValueLen > P11T_EARLY) late++;
  }
  p11t_n(w, late);
  if (late == 0) return;
  bool is_public = template_is_public(a, count);
  for (uint64_t i = 0; i < count && late > 0; i++) {
    uint64_t size = a[i].ulValueLen;
    if (a[i].pValue == NULL || size == CK_UNAVAILABLE_INFORMATION || size <= P11T_EARLY) continue;
    p11t_n(w, i);
    attribute_value(w, a[i].type, a[i].pValue, size, is_public, 0);
    late--;
  }
}

void p11t_template_asked(struct p11t_writer *w, const CK_ATTRIBUTE *a, uint64_t count,
                         uint64_t capacity[P11T_CAPACITIES])
{
  if (count > P11T_MAX_COUNT) count = 0;
  p11t_n(w, count);
  for (uint64_t i = 0; i < count; i++) {
    if (i < P11T_CAPACITIES) capacity[i] = a[i].ulValueLen;
    p11t_u(w, a[i].type);
    p11t_pointer(w, a[i].pValue);
    p11t_u(w, a[i].ulValueLen);
  }
}

/* The module has overwritten ulValueLen, and one that answers with more than it was given room for must not make us read
 * beyond the buffer: `capacity` is what the caller had said. */
void p11t_template_answered(struct p11t_writer *w, const CK_ATTRIBUTE *a, uint64_t count,
                            const uint64_t capacity[P11T_CAPACITIES], bool values)
{
  if (a == NULL || count > P11T_MAX_COUNT) count = 0;
  uint64_t known = count < P11T_CAPACITIES ? count : P11T_CAPACITIES;
  bool is_public = false;
  for (uint64_t i = 0; values && i < known && !is_public; i++) {
    if (a[i].type == CKA_CLASS && capacity[i] == sizeof(CK_ULONG)) is_public = template_is_public(&a[i], 1);
  }
  p11t_n(w, count);
  for (uint64_t i = 0; i < count; i++) {
    uint64_t size = a[i].ulValueLen;
    p11t_u(w, size);
    if (!values || a[i].pValue == NULL || size == CK_UNAVAILABLE_INFORMATION)
      p11t_value_null(w);
    else if (i >= known || capacity[i] == CK_UNAVAILABLE_INFORMATION)
      p11t_value_unread(w, size);
    else
      attribute_value(w, a[i].type, a[i].pValue, size < capacity[i] ? size : capacity[i], is_public, 0);
  }
}
