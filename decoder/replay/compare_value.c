/* Single values beside those that were recorded, and how a difference is put into words. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "decoder/replay/live_part.h"

/* Bytes of a value that a text shows. */
#define SHOWN 24

static void escaped_into(char *to, size_t size, const struct text *text)
{
  size_t length = (size_t)(text->at - text->base);
  const char *from = text->base;
  const char *dots = length < size ? "" : "...";
  if (length >= size) {
    length = size - 4;
    while (length > 0 && ((unsigned char)from[length] & 0xc0) == 0x80) length--;
  }
  memcpy(to, from, length);
  strcpy(to + length, dots);
}

struct difference *compare_differ(struct comparing *c, const char *format, ...)
{
  static struct difference beyond; /* more than there is room for: nobody looks at it */
  struct difference *d = *c->count < LIVE_DIFFERENCES ? &c->found[(*c->count)++] : &beyond;
  va_list args;
  va_start(args, format);
  vsnprintf(d->place, sizeof d->place, format, args);
  va_end(args);
  d->recorded[0] = d->replayed[0] = '\0';
  return d;
}

void compare_text(char to[160], const char *format, ...)
{
  va_list args;
  va_start(args, format);
  vsnprintf(to, 160, format, args);
  va_end(args);
}

void compare_show(char to[160], const struct value *value, struct meaning meaning)
{
  struct text text;
  text_open(&text, -1);
  show_value(&(struct printer){.out = &text, .limit = SHOWN, .entries = 8}, value, meaning);
  escaped_into(to, 160, &text);
  text_close(&text);
}

void compare_number(struct comparing *c, const char *place, struct meaning meaning, uint64_t then, uint64_t now)
{
  if (then == now) return;
  struct difference *d = compare_differ(c, "%s", place);
  const struct value recorded = {.what = VALUE_NUMBER, .number = then, .pointer = P11T_P_OWN};
  const struct value replayed = {.what = VALUE_NUMBER, .number = now, .pointer = P11T_P_OWN};
  compare_show(d->recorded, &recorded, meaning);
  compare_show(d->replayed, &replayed, meaning);
}

bool compare_exactly(const struct comparing *c)
{
  const struct live *live = c->live;
  if ((live->taint & (TAINT_STAND_IN | TAINT_FRESH | TAINT_LOST)) == 0) return true;
  return live_role(live->call->known)->consumes && live->followed != 0 && (live->taint & TAINT_LOST) == 0;
}

/* Are the bytes those of the recorded value, as far as they are known? */
bool compare_same_bytes(struct comparing *c, const struct value *then, const uint8_t *now, size_t length)
{
  size_t known = 0;
  enum payload_how how;
  if (then->form == P11T_V_FULL && then->kept == length && (length == 0 || memcmp(then->bytes, now, length) == 0)) {
    return true;
  }
  if (then->form == P11T_V_CUT && then->length == length) return memcmp(then->bytes, now, then->kept) == 0;
  const uint8_t *bytes = payload_find(c->player, then, &known, &how);
  if (bytes == NULL) return true;
  /* What an equal tag stood in for is what must come out only of an operation that undoes another. */
  if (how == PAYLOAD_STAND_IN && (c->live->taint & TAINT_STAND_IN) == 0 && c->live->followed == 0) return true;
  return known == length && memcmp(bytes, now, length) == 0;
}

/* Secrets are never shown, nor is payload that the trace has by tag only. */
static void show_bytes(char to[160], const struct value *then, struct meaning meaning, enum p11_secrecy secrecy,
                       const uint8_t *now, size_t length)
{
  bool clear = then->form == P11T_V_FULL || then->form == P11T_V_CUT;
  if (secrecy == P11_PUBLIC || (secrecy != P11_SECRET && secrecy != P11_PIN && clear)) {
    const struct value value = {.what = VALUE_BYTES,
                                .pointer = P11T_P_OWN,
                                .form = P11T_V_FULL,
                                .length = length,
                                .bytes = now,
                                .kept = length};
    compare_show(to, &value, meaning);
  } else if (value_is_tagged(then) && length == then->length) {
    compare_text(to, "<%zu bytes, not those that this tag had before>", length);
  } else {
    compare_text(to, "<%zu bytes>", length);
  }
}

void compare_bytes(struct comparing *c, const char *place, const struct value *then, struct meaning meaning,
                   enum p11_secrecy secrecy, const uint8_t *now, size_t length)
{
  if (then->what != VALUE_BYTES || then->form == P11T_V_NULL || then->length != length) return;
  if (compare_same_bytes(c, then, now, length)) return;
  struct difference *d = compare_differ(c, "%s", place);
  compare_show(d->recorded, then, meaning);
  show_bytes(d->replayed, then, meaning, secrecy, now, length);
}
