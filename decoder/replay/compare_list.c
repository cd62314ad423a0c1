/* Templates that were filled, and lists whose order is the module's own. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/replay/live_part.h"

static const struct meaning decimal = {AS_DECIMAL, P11_DOM_NONE};

static struct difference *attribute_differs(struct comparing *c, const char *name, uint64_t type)
{
  struct text text;
  text_open(&text, -1);
  show_constant(&text, P11_DOM_CKA, type);
  struct difference *d = compare_differ(c, "%s %.*s", name, (int)(text.at - text.base), text.base);
  text_close(&text);
  return d;
}

static void show_length(char to[160], uint64_t length)
{
  const struct value value = {.what = VALUE_NUMBER, .number = length, .pointer = P11T_P_OWN};
  compare_show(to, &value, decimal);
  if (length != CK_UNAVAILABLE_INFORMATION) strcat(to, length == 1 ? " byte" : " bytes");
}

/* A value that is one number; *now is set where there is one in the module's answer. */
static bool numbers_differ(const struct value *then, const CK_ATTRIBUTE *a, uint64_t *now)
{
  *now = 0;
  if (a->ulValueLen == 1) {
    *now = *(const uint8_t *)a->pValue;
  } else if (a->ulValueLen == sizeof(CK_ULONG)) {
    memcpy(now, a->pValue, sizeof(CK_ULONG));
  } else {
    return false;
  }
  return *now != then->number;
}

static void nested(struct comparing *c, const char *name, uint64_t type, const struct value *then,
                   const CK_ATTRIBUTE *a)
{
  const CK_ATTRIBUTE *inner = a->pValue;
  size_t count = a->ulValueLen / sizeof *inner;
  for (size_t i = 0; i < then->count && i < count; i++) {
    if (then->item[i].number == inner[i].type && then->item[i].length == inner[i].ulValueLen) continue;
    struct difference *d = attribute_differs(c, name, type);
    compare_show(d->recorded, &then->item[i], decimal);
    compare_text(d->replayed, "attribute 0x%" PRIx64 ", %" PRIu64 " bytes", (uint64_t)inner[i].type,
                 (uint64_t)inner[i].ulValueLen);
    return;
  }
}

/* A certificate, which a prepared token has as it was. */
static bool is_certificate(uint64_t type, const struct value *then)
{
  return type == CKA_VALUE && then->form == P11T_V_FULL && then->kept > 0 && then->bytes[0] == 0x30;
}

static bool bytes_differ(struct comparing *c, uint64_t type, const struct value *then, const CK_ATTRIBUTE *a)
{
  if (then->form == P11T_V_NULL || then->length != a->ulValueLen) return false;
  const bool fresh = (c->live->taint & (TAINT_FRESH | TAINT_STAND_IN)) != 0 || c->player->options->keys_before;
  if (fresh && attribute_is_of_key(type) && !is_certificate(type, then)) return false;
  return !compare_same_bytes(c, then, a->pValue, a->ulValueLen);
}

static void show_bytes(char to[160], uint64_t type, const struct value *then, const CK_ATTRIBUTE *a)
{
  if (then->form != P11T_V_FULL) { /* secret: the trace has a tag of it */
    compare_text(to, "<%lu bytes, not those that this tag had before>", a->ulValueLen);
    return;
  }
  const struct value value = {.what = VALUE_BYTES,
                              .pointer = P11T_P_OWN,
                              .form = P11T_V_FULL,
                              .length = a->ulValueLen,
                              .bytes = a->pValue,
                              .kept = a->ulValueLen};
  compare_show(to, &value, meaning_of_attribute(type));
}

static void value_differs(struct comparing *c, const char *name, uint64_t type, const struct value *then,
                          const CK_ATTRIBUTE *a)
{
  uint64_t now;
  switch (then->what) {
    case VALUE_NUMBER:
      if (numbers_differ(then, a, &now)) {
        struct difference *d = attribute_differs(c, name, type);
        const struct value value = {.what = VALUE_NUMBER, .number = now, .form = then->form, .pointer = P11T_P_OWN};
        compare_show(d->recorded, then, meaning_of_attribute(type));
        compare_show(d->replayed, &value, meaning_of_attribute(type));
      }
      break;
    case VALUE_TEMPLATE: nested(c, name, type, then, a); break;
    case VALUE_LIST:
      for (size_t i = 0; i < then->count && (i + 1) * sizeof(CK_ULONG) <= a->ulValueLen; i++) {
        if (then->item[i].number == ((const CK_ULONG *)a->pValue)[i]) continue;
        struct difference *d = attribute_differs(c, name, type);
        compare_show(d->recorded, &then->item[i], meaning_of_attribute(type));
        const struct value value = {
            .what = VALUE_NUMBER, .number = ((const CK_ULONG *)a->pValue)[i], .pointer = P11T_P_OWN};
        compare_show(d->replayed, &value, meaning_of_attribute(type));
        break;
      }
      break;
    case VALUE_BYTES:
      if (bytes_differ(c, type, then, a)) {
        struct difference *d = attribute_differs(c, name, type);
        compare_show(d->recorded, then, meaning_of_attribute(type));
        show_bytes(d->replayed, type, then, a);
        /* Another key lies there: that it is another is said once. */
        if (attribute_is_of_key(type) && c->live->call->known == P11_F_C_GetAttributeValue)
          live_object_mark(c->player, c->live->call->arg[1].in.number, c->live->taint | TAINT_FRESH);
      }
      break;
    default: break;
  }
}

/* A private exponent or a prime of another key may be a few bytes shorter. */
static bool may_be_shorter(const struct comparing *c, uint64_t type, uint64_t then, uint64_t now)
{
  const struct p11_attribute_info *info = p11_attribute(type);
  if (!(c->live->taint & (TAINT_FRESH | TAINT_STAND_IN)) || info == NULL || info->kind != P11_A_INTEGER) return false;
  return then != CK_UNAVAILABLE_INFORMATION && now != CK_UNAVAILABLE_INFORMATION && then <= now + 8 && now <= then + 8;
}

/* May it be read on one side only? That has nothing to do with the bytes, as long as there was room for them. */
static bool refused_once(const struct live *live, uint64_t then, uint64_t now)
{
  return (then == CK_UNAVAILABLE_INFORMATION) != (now == CK_UNAVAILABLE_INFORMATION) &&
         live->call->rv != CKR_BUFFER_TOO_SMALL && live->rv != CKR_BUFFER_TOO_SMALL;
}

void compare_attributes(struct comparing *c, unsigned param)
{
  const struct argument *arg = &c->live->call->arg[param];
  const char *name = c->live->call->info->param[param].name;
  const CK_ATTRIBUTE *now = (const CK_ATTRIBUTE *)(uintptr_t)c->live->v[param];
  if (now == NULL || arg->out.what != VALUE_TEMPLATE || arg->in.count != arg->out.count) return;
  for (size_t i = 0; i < arg->out.count; i++) {
    const struct value *then = &arg->out.item[i];
    uint64_t type = arg->in.item[i].number, length = now[i].ulValueLen;
    if (type == CKA_UNIQUE_ID) continue; /* the module makes it up (3.0, 4.4.1) */
    if ((c->live->taint & TAINT_STAND_IN) && (attribute_is_of_key(type) || type == CKA_VALUE_LEN) &&
        !refused_once(c->live, then->length, length)) {
      c->unsure |= length != then->length; /* PKCS #1 padding that is wrong gives a key of any length */
      continue;
    }
    if (length != then->length) {
      if (may_be_shorter(c, type, then->length, length)) continue;
      struct difference *d = attribute_differs(c, name, type);
      show_length(d->recorded, then->length);
      show_length(d->replayed, length);
    } else if (now[i].pValue != NULL && length != CK_UNAVAILABLE_INFORMATION && length <= arg->in.item[i].length &&
               !live_absurd(length) && then->count > 0) {
      value_differs(c, name, type, then->item, &now[i]);
    }
  }
}

static int by_value(const void *a, const void *b)
{
  const CK_ULONG x = *(const CK_ULONG *)a, y = *(const CK_ULONG *)b;
  return x < y ? -1 : x > y;
}

/* Those of `some` that are not among `others`, by name. */
static size_t only_in(char to[160], const CK_ULONG *some, size_t n, const CK_ULONG *others, size_t m)
{
  struct value *item = read_zalloc((n + 1) * sizeof *item);
  struct value list = {.what = VALUE_LIST, .pointer = P11T_P_OWN, .item = item};
  for (size_t i = 0; i < n; i++) {
    if (bsearch(&some[i], others, m, sizeof *others, by_value) != NULL) continue;
    item[list.count++] = (struct value){.what = VALUE_NUMBER, .number = some[i]};
  }
  compare_show(to, &list, (struct meaning){AS_ENUM, P11_DOM_CKM});
  free(item);
  return list.count;
}

/* No order is promised (2.40, 5.5: C_GetMechanismList). */
void compare_mechanisms(struct comparing *c, unsigned param)
{
  const struct value *then = &c->live->call->arg[param].out;
  const CK_ULONG *now = (const CK_ULONG *)(uintptr_t)c->live->v[param];
  size_t n = then->count, m = (size_t)live_stored(c->live, param), same = 0;
  if (now == NULL || then->what != VALUE_LIST) return;
  while (same < n && same < m && then->item[same].number == now[same]) same++;
  if (same == n && same == m) return;
  CK_ULONG *a = read_zalloc((n + m + 1) * sizeof *a), *b = a + n;
  for (size_t i = 0; i < n; i++) a[i] = then->item[i].number;
  memcpy(b, now, m * sizeof *b);
  qsort(a, n, sizeof *a, by_value);
  qsort(b, m, sizeof *b, by_value);
  char recorded[160], replayed[160];
  if (only_in(recorded, a, n, b, m) + only_in(replayed, b, m, a, n) > 0) {
    struct difference *d = compare_differ(c, "%s", c->live->call->info->param[param].name);
    compare_text(d->recorded, "%.159s", recorded);
    compare_text(d->replayed, "%.159s", replayed);
  }
  free(a);
}

static void interface(struct comparing *c, const char *place, const struct value *then, const CK_INTERFACE *now)
{
  const CK_VERSION *version = now != NULL ? now->pFunctionList : NULL;
  const char *name = now != NULL && now->pInterfaceName != NULL ? (const char *)now->pInterfaceName : "";
  uint64_t number = version != NULL ? version->major * 256u + version->minor : 0;
  if (strlen(name) == then->kept && memcmp(name, then->bytes, then->kept) == 0 && number == then->number &&
      (now == NULL || now->flags == then->length)) {
    if (strcmp(name, "PKCS 11") == 0) compare_functions(c, version, true);
    return;
  }
  struct difference *d = compare_differ(c, "%s", place);
  const struct value value = {.what = VALUE_INTERFACE,
                              .pointer = P11T_P_OWN,
                              .bytes = (const uint8_t *)name,
                              .kept = strlen(name),
                              .number = number,
                              .length = now != NULL ? now->flags : 0};
  compare_show(d->recorded, then, decimal);
  compare_show(d->replayed, &value, decimal);
}

void compare_interfaces(struct comparing *c, unsigned param)
{
  const struct value *then = &c->live->call->arg[param].out;
  const char *name = c->live->call->info->param[param].name;
  if (c->live->v[param] == 0) return;
  if (c->live->call->info->param[param].kind == P11_K_OUT_INTERFACE) {
    if (then->what == VALUE_INTERFACE) interface(c, name, then, *(CK_INTERFACE *const *)(uintptr_t)c->live->v[param]);
    return;
  }
  const CK_INTERFACE *now = (const CK_INTERFACE *)(uintptr_t)c->live->v[param];
  uint64_t stored = live_stored(c->live, param);
  for (size_t i = 0; then->what == VALUE_LIST && i < then->count && i < stored; i++) {
    interface(c, name, &then->item[i], &now[i]);
  }
}
