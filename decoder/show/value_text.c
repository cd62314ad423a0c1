/* Numbers and bytes. Templates, structures and lists are in value_tree.c. */
#include "decoder/show/value.h"

#include <stdlib.h>

#include "decoder/show/value_part.h"
#include "decoder/show/x509.h"

#define VENDOR 0x80000000u
#define S(literal) text_raw(out, literal, sizeof(literal) - 1)

const char *vendor_name(unsigned domain)
{
  switch (domain) {
    case P11_DOM_CKA: return "CKA_VENDOR_DEFINED";
    case P11_DOM_CKC: return "CKC_VENDOR_DEFINED";
    case P11_DOM_CKH_HW_FEATURE: return "CKH_VENDOR_DEFINED";
    case P11_DOM_CKK: return "CKK_VENDOR_DEFINED";
    case P11_DOM_CKM: return "CKM_VENDOR_DEFINED";
    case P11_DOM_CKO: return "CKO_VENDOR_DEFINED";
    case P11_DOM_CKP_PROFILE: return "CKP_VENDOR_DEFINED";
    case P11_DOM_CKR: return "CKR_VENDOR_DEFINED";
    case P11_DOM_CKN: return "CKN_VENDOR_DEFINED";
    default: return NULL;
  }
}

void show_constant(struct text *out, unsigned domain, uint64_t value)
{
  const char *name = p11_constant_name(domain, value);
  if (name != NULL) {
    text_s(out, name);
    return;
  }
  const char *vendor = vendor_name(domain);
  if (vendor != NULL && value > VENDOR && value <= UINT32_MAX) {
    text_s(out, vendor);
    text_c(out, '|');
    value -= VENDOR;
  }
  text_x(out, value);
}

void show_flags(struct text *out, unsigned domain, uint64_t value)
{
  if (value == 0) {
    text_c(out, '0');
    return;
  }
  uint64_t rest = value;
  bool any = false;
  for (uint64_t left = value; left != 0; left &= left - 1) {
    uint64_t bit = left & (~left + 1);
    const char *name = p11_constant_name(domain, bit);
    if (name == NULL) continue;
    if (any) text_c(out, '|');
    text_s(out, name);
    any = true;
    rest &= ~bit;
  }
  if (rest == 0) return;
  if (any) text_c(out, '|');
  text_x(out, rest);
}

void show_number(struct text *out, struct meaning meaning, uint64_t value)
{
  if (value == UINT64_MAX) {
    S("CK_UNAVAILABLE_INFORMATION");
    return;
  }
  switch ((enum value_as)meaning.as) {
    case AS_ENUM: show_constant(out, meaning.domain, value); return;
    case AS_FLAGS: show_flags(out, meaning.domain, value); return;
    case AS_HEX: text_x(out, value); return;
    case AS_BOOL:
      if (value > 1) {
        text_x(out, value);
      } else {
        text_s(out, value ? "CK_TRUE" : "CK_FALSE");
      }
      return;
    default: text_u(out, value); return;
  }
}

void show_version(struct text *out, uint64_t version)
{
  text_u(out, version >> 8 & 255);
  text_c(out, '.');
  text_u(out, version & 255);
}

void show_pointer(const struct printer *p, unsigned class)
{
  struct text *out = p->out;
  if (class == P11T_P_NULL) {
    S("NULL");
  } else if (class == P11T_P_UNREADABLE) {
    S("<unreadable>");
  } else if (class >= P11T_P_SAME) {
    unsigned position = class % P11T_P_SAME;
    text_s(out, class >= P11T_P_OVERLAP ? "<overlaps " : "<same as ");
    if (p->info != NULL && position >= 1 && position <= p->info->arity) {
      text_s(out, p->info->param[position - 1].name);
    } else {
      S("parameter ");
      text_u(out, position);
    }
    text_c(out, '>');
  } else {
    S("<ptr>");
  }
}

static void show_shape(struct text *out, unsigned shape)
{
  if (shape & P11T_SHAPE_ZERO) {
    S(", all zero");
  } else if (shape & P11T_SHAPE_SAME) {
    S(", all equal");
  }
  if (shape & P11T_SHAPE_DER) S(", DER");
  if (shape & P11T_SHAPE_TEXT) S(", printable");
}

/* <8 bytes, tag 1f2e3d4c>: the first half of a tag tells values apart, --verbose shows it in full. */
static void show_absent(const struct printer *p, const struct value *v)
{
  struct text *out = p->out;
  text_c(out, '<');
  text_u(out, v->length);
  text_s(out, v->length == 1 ? " byte" : " bytes");
  switch (v->form) {
    case P11T_V_SEALED:
      S(", sealed");
      if (v->sealed == NULL) break;
      if (v->sealed->kept < v->length) S(" in part");
      /* fall through */
    case P11T_V_TAG: {
      uint8_t tag[8];
      for (int i = 0; i < 8; i++) tag[i] = (uint8_t)(v->number >> (56 - 8 * i));
      S(", tag ");
      text_hex(out, tag, p->verbose ? 8 : 4);
      show_shape(out, v->shape);
      break;
    }
    case P11T_V_UNREAD: S(", not read"); break;
    case P11T_V_DEFERRED: S(", not read before the call"); break;
    case P11T_V_DICT: S(", in the dictionary"); break;
    default: break;
  }
  text_c(out, '>');
}

static bool is_date(const struct value *v)
{
  if (v->kept != 8) return false;
  for (int i = 0; i < 8; i++) {
    if (v->bytes[i] < '0' || v->bytes[i] > '9') return false;
  }
  return true;
}

size_t chars_length(const uint8_t *bytes, size_t size)
{
  while (size > 0 && bytes[size - 1] == ' ') size--;
  return size;
}

/* Where to cut `bytes` so that at most `limit` remain and no character is cut in two. */
static size_t cut_text(const uint8_t *bytes, size_t size, size_t limit)
{
  if (size <= limit) return size;
  size_t at = limit;
  while (at > 0 && limit - at < 3 && (bytes[at] & 0xc0) == 0x80) at--;
  return at > 0 ? at : limit;
}

/* Bytes that are kept, `v->kept` of `v->length`. */
static void show_kept(const struct printer *p, const struct value *v, struct meaning meaning)
{
  struct text *out = p->out;
  bool whole = v->form == P11T_V_FULL;
  const uint8_t *bytes = v->bytes;
  size_t kept = v->kept;
  if (whole && meaning.as == AS_CERT && x509_show(out, bytes, kept)) return;
  if (whole && meaning.as == AS_DER && x509_show_oid(out, bytes, kept)) return;
  if (whole && meaning.as == AS_DATE && is_date(v)) {
    text_raw(out, (const char *)bytes, 4);
    text_c(out, '-');
    text_raw(out, (const char *)bytes + 4, 2);
    text_c(out, '-');
    text_raw(out, (const char *)bytes + 6, 2);
    return;
  }
  char *name = whole && meaning.as == AS_NAME ? x509_name(bytes, kept) : NULL;
  if (name != NULL) {
    text_quoted(out, name, strlen(name));
    free(name);
    return;
  }
  size_t shown;
  if (meaning.as == AS_TEXT || meaning.as == AS_CHARS) {
    if (meaning.as == AS_CHARS && whole) kept = chars_length(bytes, kept);
    /* A label of a token is 32 bytes and a description 64: fields of a fixed size are never cut. */
    shown = cut_text(bytes, kept, meaning.as == AS_CHARS ? SIZE_MAX : p->limit);
    text_quoted(out, bytes, shown);
  } else if (kept == 0 && whole) {
    S("\"\"");
    return;
  } else {
    shown = kept < p->limit ? kept : p->limit;
    S("0x");
    text_hex(out, bytes, shown);
  }
  if (shown < kept || !whole) {
    S("...<");
    text_u(out, v->length);
    S(" bytes");
    if (!whole) S(", cut when recorded");
    text_c(out, '>');
  }
}

void value_bytes(const struct printer *p, const struct value *v, struct meaning meaning)
{
  struct text *out = p->out;
  switch (v->form) {
    case P11T_V_NULL: show_pointer(p, v->pointer); return;
    case P11T_V_UNAVAILABLE: S("CK_UNAVAILABLE_INFORMATION"); return;
    case P11T_V_FULL:
    case P11T_V_CUT: show_kept(p, v, meaning); return;
    default: show_absent(p, v); return;
  }
}
