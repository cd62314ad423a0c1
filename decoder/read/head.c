/* HEAD's and END's fields. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "decoder/read/reader.h"

struct p11t_clock_pair get_pair(struct cursor *c)
{
  struct p11t_clock_pair pair;
  pair.ticks = get_u64(c);
  pair.monotonic = get_u64(c);
  pair.boottime = get_u64(c);
  pair.realtime = get_u64(c);
  return pair;
}

static void add_pair(struct reader *r, struct cursor *c)
{
  struct p11t_clock_pair pair = get_pair(c);
  if (c->bad) return;
  if (r->pairs == 0) {
    r->p.first = pair;
    r->pairs = 1;
  }
  r->p.last = pair;
}

static void fixed(void *to, size_t size, const uint8_t *bytes, size_t length)
{
  memcpy(to, bytes, length < size ? length : size);
}

static void head_field(struct reader *r, unsigned tag, const uint8_t *bytes, size_t length)
{
  struct process *p = &r->p;
  struct cursor c = cursor_of(bytes, length);
  switch (tag) {
    case P11T_HEAD_TRACE_ID: fixed(p->trace_id, 16, bytes, length); break;
    case P11T_HEAD_PARENT_ID: fixed(p->parent_id, 16, bytes, length); break;
    case P11T_HEAD_PARENT_PID: p->parent_pid = get_u32(&c); break;
    case P11T_HEAD_EXECUTABLE: p->executable = arena_text(&r->texts, bytes, length); break;
    case P11T_HEAD_PROGRAM: p->program = arena_text(&r->texts, bytes, length); break;
    case P11T_HEAD_ARGC: p->argc = get_u32(&c); break;
    case P11T_HEAD_CMDLINE: {
      /* As one line: what stood between two arguments becomes a blank. */
      while (length > 0 && bytes[length - 1] == 0) length--;
      char *text = arena_text(&r->texts, bytes, length);
      for (size_t i = 0; i < length; i++) text[i] = text[i] == '\0' ? ' ' : text[i];
      p->cmdline = text;
      break;
    }
    case P11T_HEAD_BOOT_ID: fixed(p->boot_id, 16, bytes, length); break;
    case P11T_HEAD_PID_NS: p->pid_ns = get_u64(&c); break;
    case P11T_HEAD_PID: p->pid = get_u32(&c); break;
    case P11T_HEAD_START_TIME: p->start_time = get_u64(&c); break;
    case P11T_HEAD_ARCH:
      if (length < 2) break;
      p->word_bits = bytes[0];
      p->byte_order = bytes[1];
      p->machine = arena_text(&r->texts, bytes + 2, length - 2);
      break;
    case P11T_HEAD_CLOCK:
      p->clock = get_u8(&c);
      p->ticks_per_second = get_u64(&c);
      break;
    case P11T_HEAD_CLOCK_PAIR: add_pair(r, &c); break;
    case P11T_HEAD_TIME_NS: p->time_ns = get_u64(&c); break;
    case P11T_HEAD_CAPTURE: p->capture = arena_text(&r->texts, bytes, length); break;
    case P11T_HEAD_OPTIONS: p->options = arena_text(&r->texts, bytes, length); break;
    case P11T_HEAD_COMPLETE_FROM: p->complete_from = get_u64(&c); break;
    case P11T_HEAD_FILE_INDEX: p->file_index = get_u32(&c); break;
    case P11T_HEAD_LIVE_PATH: p->live_path = arena_text(&r->texts, bytes, length); break;
    case P11T_HEAD_RECORDER: p->recorder = arena_text(&r->texts, bytes, length); break;
    case P11T_HEAD_SEAL_KEY:
      if (length != P11T_SEAL_HEAD || get_u8(&c) != P11T_SEAL_SCHEME) break; /* of a newer recorder */
      memcpy(p->seal_public, bytes + 1, P11T_SEAL_KEY);
      memcpy(p->seal_box, bytes + 1 + P11T_SEAL_KEY, P11T_SEAL_BOX);
      p->has_seal = true;
      break;
    case P11T_HEAD_DERIVED: p->derived = arena_text(&r->texts, bytes, length); break;
    default: break; /* unknown fields are ignored */
  }
}

int head_parse(struct reader *r, const uint8_t *bytes, size_t length, const char *path)
{
  struct cursor c = cursor_of(bytes, length);
  const uint8_t *magic = get_bytes(&c, 8);
  if (magic == NULL || memcmp(magic, P11T_HEAD_MAGIC, 8) != 0) return HEAD_FOREIGN;
  unsigned major = get_u16(&c), minor = get_u16(&c);
  get_u32(&c);
  uint64_t incompatible = get_u64(&c);
  uint64_t read_only = get_u64(&c), compatible = get_u64(&c);
  if (!c.bad && (major != P11T_MAJOR || (incompatible & ~P11T_INCOMPAT_KNOWN) != 0)) {
    fprintf(stderr,
            "p11trace: %s: written by a newer recorder (format %u.%u, incompatible features 0x%" PRIx64
            "); this p11trace reads format %d: use a newer p11trace\n",
            path, major, minor, incompatible, P11T_MAJOR);
    return HEAD_NEWER;
  }
  r->p.compat = compatible;
  r->read_only = read_only;
  r->head = (uint8_t *)arena_text(&r->texts, bytes, length);
  r->head_size = length;
  while (!c.bad && cursor_left(&c) > 0) {
    unsigned tag = get_u16(&c), size = get_u16(&c);
    const uint8_t *field = get_bytes(&c, size);
    if (field != NULL) head_field(r, tag, field, size);
  }
  if (c.bad) reader_damage(r, 0, "HEAD of %s is cut", path);
  return HEAD_FINE;
}

void end_parse(struct reader *r, const uint8_t *bytes, size_t length)
{
  struct process *p = &r->p;
  struct cursor c = cursor_of(bytes, length);
  p->has_end = true;
  while (!c.bad && cursor_left(&c) > 0) {
    unsigned tag = get_u16(&c), size = get_u16(&c);
    const uint8_t *field = get_bytes(&c, size);
    if (field == NULL) break;
    struct cursor f = cursor_of(field, size);
    switch (tag) {
      case P11T_END_RECORDS:
        r->end_records = get_u64(&f);
        r->has_end_records = !f.bad;
        break;
      case P11T_END_DROPPED: p->dropped = get_u64(&f); break;
      case P11T_END_CUT: p->cut = get_u64(&f); break;
      case P11T_END_PASSED: p->passed = get_u64(&f); break;
      case P11T_END_STATUS: {
        uint32_t status = get_u32(&f);
        if (!f.bad) p->exit_code = 1u << 31 | status;
        break;
      }
      case P11T_END_REASON: p->end_reason = arena_text(&r->texts, field, size); break;
      case P11T_END_TRIGGER: p->trigger = arena_text(&r->texts, field, size); break;
      case P11T_END_CLOCK_PAIR: add_pair(r, &f); break;
      default: break;
    }
  }
}
