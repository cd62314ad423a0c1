#include "shim/trace/frame.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static uint8_t *put_n(uint8_t *p, uint64_t v)
{
  while (v >= 0x80) {
    *p++ = (uint8_t)v | 0x80;
    v >>= 7;
  }
  *p++ = (uint8_t)v;
  return p;
}

static uint8_t *put_z(uint8_t *p, int64_t v)
{
  return put_n(p, ((uint64_t)v << 1) ^ (uint64_t)(v >> 63));
}

/* Next raw record at `*at`, or 0 at the end of what is committed. */
static int next_raw(const uint8_t *records, size_t size, size_t *at, struct p11t_raw *raw)
{
  if (size - *at < P11T_RAW) return 0;
  memcpy(raw, records + *at, P11T_RAW);
  if (raw->commit < P11T_RAW || raw->commit > size - *at || raw->body > raw->commit - P11T_RAW) return 0;
  *at += raw->commit;
  return 1;
}

/* Smallest and largest number, first time and its clock, count: what the columns are relative to. */
static void survey(const uint8_t *records, size_t size, struct p11t_info *info)
{
  struct p11t_raw raw;
  info->records = 0;
  info->first_number = info->last_number = info->first_time = 0;
  for (size_t at = 0, next = 0; next_raw(records, size, &next, &raw); at = next) {
    info->records++;
    if (raw.kind == P11T_TIME && raw.body > 0 && info->first_number == 0) info->clock = records[at + P11T_RAW];
    if (!P11T_NUMBERED(raw.kind)) continue;
    if (info->first_number == 0) info->first_time = raw.time;
    if (info->first_number == 0 || raw.number < info->first_number) info->first_number = raw.number;
    if (raw.number > info->last_number) info->last_number = raw.number;
  }
}

size_t p11t_frame_build(uint8_t *out, uint8_t *work, const uint8_t *records, size_t size, struct p11t_info *info)
{
  struct p11t_raw raw;
  survey(records, size, info);
  if (info->records == 0) return 0;

  /* A raw head is 40 bytes and none of its columns needs more than 24, so a slot's worth of room each is plenty. */
  uint8_t *const heads = work, *const numbers = work + P11T_SLOT_SIZE, *const times = work + 2 * P11T_SLOT_SIZE;
  uint8_t *h = heads, *a = numbers, *t = times;
  uint64_t number = info->first_number, time = info->first_time, stack_pointer = 0;
  for (size_t at = 0; next_raw(records, size, &at, &raw);) {
    *h++ = raw.kind;
    *h++ = raw.flags;
    if (raw.kind == P11T_ENTER || raw.kind == P11T_LEAVE) {
      h = put_n(h, raw.function);
      h = put_n(h, raw.module);
      h = put_n(h, raw.stack);
    }
    h = put_n(h, raw.body);
    if (!P11T_NUMBERED(raw.kind)) continue;
    a = put_z(a, (int64_t)(raw.number - number));
    t = put_z(t, (int64_t)(raw.time - time));
    number = raw.number;
    time = raw.time;
    if (raw.kind == P11T_ENTER) {
      a = put_z(a, (int64_t)(raw.aux - stack_pointer));
      stack_pointer = raw.aux;
    } else if (raw.kind == P11T_LEAVE) {
      a = put_n(a, raw.number - raw.aux);
    }
  }

  uint8_t *p = out + sizeof *info;
  p = put_n(p, (uint64_t)(h - heads));
  p = put_n(p, (uint64_t)(a - numbers));
  p = put_n(p, (uint64_t)(t - times));
  memcpy(p, heads, (size_t)(h - heads));
  p += h - heads;
  memcpy(p, numbers, (size_t)(a - numbers));
  p += a - numbers;
  memcpy(p, times, (size_t)(t - times));
  p += t - times;
  for (size_t at = 0, from = 0; next_raw(records, size, &at, &raw); from = at) {
    memcpy(p, records + from + P11T_RAW, raw.body);
    p += raw.body;
  }
  info->magic = P11T_INFO_MAGIC;
  info->content = (uint32_t)(p - out);
  info->packed = 0;
  info->hash = 0;
  memcpy(out, info, sizeof *info);
  return info->content;
}

void p11t_info_seal(struct p11t_info *info)
{
  info->hash = XXH64(info, sizeof *info - sizeof info->hash, 0);
}
