/* Sets of attributes. */
#include "object/attrs.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "core/module.h"

/* Where the type is, or where it would have to be put. */
static size_t place(const struct tok_attrs *attrs, CK_ATTRIBUTE_TYPE type)
{
  size_t low = 0, high = attrs->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (attrs->list[middle].type < type)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static struct tok_attr *find(const struct tok_attrs *attrs, CK_ATTRIBUTE_TYPE type)
{
  size_t i = place(attrs, type);
  return i < attrs->count && attrs->list[i].type == type ? &attrs->list[i] : NULL;
}

static void drop(struct tok_attr *attr)
{
  if (attr->value != attr->small) tok_wipe_free(attr->value, attr->len);
}

/* Lists move when they grow, and `value` may point into the entry itself. */
static void settle(struct tok_attr *list, size_t count)
{
  for (size_t i = 0; i < count; i++)
    if (list[i].len <= sizeof list[i].small) list[i].value = list[i].small;
}

const CK_BYTE *tok_attrs_get(const struct tok_attrs *attrs, CK_ATTRIBUTE_TYPE type, CK_ULONG *len)
{
  const struct tok_attr *attr = find(attrs, type);
  if (len != NULL) *len = attr != NULL ? attr->len : 0;
  return attr != NULL ? attr->value : NULL;
}

bool tok_attrs_bool(const struct tok_attrs *attrs, CK_ATTRIBUTE_TYPE type, bool otherwise)
{
  const struct tok_attr *attr = find(attrs, type);
  return attr != NULL && attr->len == sizeof(CK_BBOOL) ? attr->value[0] != CK_FALSE : otherwise;
}

CK_ULONG tok_attrs_ulong(const struct tok_attrs *attrs, CK_ATTRIBUTE_TYPE type, CK_ULONG otherwise)
{
  const struct tok_attr *attr = find(attrs, type);
  CK_ULONG value = otherwise;
  if (attr != NULL && attr->len == sizeof value) memcpy(&value, attr->value, sizeof value);
  return value;
}

bool tok_attrs_equal(const struct tok_attrs *attrs, CK_ATTRIBUTE_TYPE type, const void *value, CK_ULONG len)
{
  const struct tok_attr *attr = find(attrs, type);
  return attr != NULL && attr->len == len && (len == 0 || memcmp(attr->value, value, len) == 0);
}

/* Room for one more entry. The old list is wiped, because small values lie in it. */
static CK_RV grow(struct tok_attrs *attrs)
{
  if (attrs->count < attrs->room) return CKR_OK;
  size_t room = attrs->room == 0 ? 24 : attrs->room * 2;
  struct tok_attr *list = tok_alloc(room * sizeof *list);
  if (list == NULL) return CKR_HOST_MEMORY;
  if (attrs->count > 0) memcpy(list, attrs->list, attrs->count * sizeof *list);
  settle(list, attrs->count);
  tok_wipe_free(attrs->list, attrs->room * sizeof *attrs->list);
  attrs->list = list;
  attrs->room = room;
  return CKR_OK;
}

CK_RV tok_attrs_set(struct tok_attrs *attrs, CK_ATTRIBUTE_TYPE type, const void *value, CK_ULONG len)
{
  struct tok_attr fresh = {.type = type, .len = len};
  CK_BYTE *heap = NULL;
  if (len > sizeof fresh.small) {
    heap = tok_dup(value, len);
    if (heap == NULL) return CKR_HOST_MEMORY;
  } else if (len > 0) {
    memcpy(fresh.small, value, len);
  }
  size_t i = place(attrs, type);
  if (i < attrs->count && attrs->list[i].type == type) {
    drop(&attrs->list[i]);
  } else {
    if (grow(attrs) != CKR_OK) {
      tok_wipe_free(heap, len);
      return CKR_HOST_MEMORY;
    }
    memmove(&attrs->list[i + 1], &attrs->list[i], (attrs->count - i) * sizeof *attrs->list);
    attrs->count++;
    settle(&attrs->list[i + 1], attrs->count - i - 1);
  }
  attrs->list[i] = fresh;
  attrs->list[i].value = heap != NULL ? heap : attrs->list[i].small;
  return CKR_OK;
}

CK_RV tok_attrs_set_bool(struct tok_attrs *attrs, CK_ATTRIBUTE_TYPE type, bool value)
{
  CK_BBOOL byte = value ? CK_TRUE : CK_FALSE;
  return tok_attrs_set(attrs, type, &byte, sizeof byte);
}

CK_RV tok_attrs_set_ulong(struct tok_attrs *attrs, CK_ATTRIBUTE_TYPE type, CK_ULONG value)
{
  return tok_attrs_set(attrs, type, &value, sizeof value);
}

void tok_attrs_remove(struct tok_attrs *attrs, CK_ATTRIBUTE_TYPE type)
{
  struct tok_attr *attr = find(attrs, type);
  if (attr == NULL) return;
  size_t i = (size_t)(attr - attrs->list);
  drop(attr);
  memmove(attr, attr + 1, (attrs->count - i - 1) * sizeof *attr);
  attrs->count--;
  settle(attr, attrs->count - i);
}

CK_RV tok_attrs_copy(struct tok_attrs *to, const struct tok_attrs *from)
{
  CK_RV rv = CKR_OK;
  for (size_t i = 0; i < from->count && rv == CKR_OK; i++)
    rv = tok_attrs_set(to, from->list[i].type, from->list[i].value, from->list[i].len);
  if (rv != CKR_OK) tok_attrs_clear(to);
  return rv;
}

void tok_attrs_clear(struct tok_attrs *attrs)
{
  for (size_t i = 0; i < attrs->count; i++) drop(&attrs->list[i]);
  tok_wipe_free(attrs->list, attrs->room * sizeof *attrs->list);
  *attrs = (struct tok_attrs)TOK_ATTRS_EMPTY;
}

static CK_BYTE *put(CK_BYTE *to, uint64_t value, size_t bytes)
{
  for (size_t i = 0; i < bytes; i++) *to++ = (CK_BYTE)(value >> (8 * i));
  return to;
}

static uint64_t get(const CK_BYTE *from, size_t bytes)
{
  uint64_t value = 0;
  for (size_t i = 0; i < bytes; i++) value |= (uint64_t)from[i] << (8 * i);
  return value;
}

#define HEADER (sizeof(uint64_t) + sizeof(uint32_t))

CK_RV tok_attrs_write(const struct tok_attrs *attrs, bool (*which)(const struct tok_attrs *, CK_ATTRIBUTE_TYPE),
                      CK_BYTE **out, size_t *len)
{
  size_t size = 0;
  for (size_t i = 0; i < attrs->count; i++) {
    const struct tok_attr *attr = &attrs->list[i];
    if (attr->len > UINT32_MAX || size > SIZE_MAX / 2 - attr->len) return CKR_HOST_MEMORY;
    if (which == NULL || which(attrs, attr->type)) size += HEADER + attr->len;
  }
  CK_BYTE *at = tok_alloc(size + 1);
  if (at == NULL) return CKR_HOST_MEMORY;
  *out = at;
  *len = size;
  for (size_t i = 0; i < attrs->count; i++) {
    const struct tok_attr *attr = &attrs->list[i];
    if (which != NULL && !which(attrs, attr->type)) continue;
    at = put(at, attr->type, sizeof(uint64_t));
    at = put(at, attr->len, sizeof(uint32_t));
    if (attr->len > 0) memcpy(at, attr->value, attr->len);
    at += attr->len;
  }
  return CKR_OK;
}

CK_RV tok_attrs_read(struct tok_attrs *attrs, const CK_BYTE *data, size_t len)
{
  CK_RV rv = CKR_OK;
  while (len > 0 && rv == CKR_OK) {
    if (len < HEADER) return CKR_DEVICE_ERROR;
    uint64_t type = get(data, sizeof(uint64_t));
    size_t size = (size_t)get(data + sizeof(uint64_t), sizeof(uint32_t));
    data += HEADER;
    len -= HEADER;
    if (size > len) return CKR_DEVICE_ERROR;
    rv = tok_attrs_set(attrs, type, data, size);
    data += size;
    len -= size;
  }
  return rv;
}
