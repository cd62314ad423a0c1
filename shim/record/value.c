#include <string.h>

#include "shim/record/encode.h"
#include "shim/record/options.h"
#include "shim/record/seal.h"
#include "shim/record/sys.h"
#include "shim/record/tag.h"

void p11t_value_unread(struct p11t_writer *w, uint64_t size)
{
  if (size == CK_UNAVAILABLE_INFORMATION) {
    p11t_u8(w, P11T_V_UNAVAILABLE);
    return;
  }
  p11t_u8(w, P11T_V_UNREAD);
  p11t_n(w, size);
}

/* A long value's length was the caller's word. It is read only if memory is there at both ends, so that a length that was
 * never meant (and that the module did not act on) cannot kill the host. */
static bool long_value_is_there(const uint8_t *b, uint64_t size)
{
  if (size <= P11T_EARLY) return true;
  if ((uint64_t)(uintptr_t)b + size < size) return false;
  uint64_t last = size - P11T_TAG_WHOLE / 2;
  return sys_readable(b) && sys_readable(b + P11T_TAG_WHOLE / 2 - 8) && sys_readable(b + last) &&
         sys_readable(b + size - 8);
}

/* Every page of a long value is asked for before it is read. `room`, or how many bytes lie before the first page that is not
 * there. Words that are aligned lie in one page. */
static uint64_t readable_of(const uint8_t *b, uint64_t size, uint64_t room)
{
  const uintptr_t start = (uintptr_t)b, end = start + size;
  for (uintptr_t at = start & ~(uintptr_t)7; at < end; at = (at | 4095) + 1) {
    if (!sys_readable((const void *)at)) return at > start ? at - start : 0;
  }
  return room;
}

/* How many of the bytes may be kept: as far as the option `cut` allows in one record. */
static inline uint64_t room_for(const struct p11t_writer *w, const uint8_t *b, uint64_t size)
{
  uint64_t room = p11t_options.cut > w->kept ? p11t_options.cut - w->kept : 0;
  return size > P11T_EARLY ? readable_of(b, size < room ? size : room, room) : room;
}

static void note_cut(struct p11t_writer *w)
{
  w->head.flags |= P11T_CUT;
  atomic_fetch_add_explicit(&p11t_cut, 1, memory_order_relaxed);
}

static void keep(struct p11t_writer *w, const uint8_t *b, uint64_t size)
{
  uint64_t room = room_for(w, b, size);
  if (size <= room) {
    p11t_u8(w, P11T_V_FULL);
    p11t_n(w, size);
    p11t_bytes(w, b, size);
    w->kept += (uint32_t)size;
    return;
  }
  p11t_u8(w, P11T_V_CUT);
  p11t_n(w, size);
  p11t_n(w, room);
  p11t_bytes(w, b, room);
  w->kept += (uint32_t)room;
  note_cut(w);
}

static void tag(struct p11t_writer *w, enum p11t_tag_domain domain, const uint8_t *b, uint64_t size)
{
  p11t_u8(w, P11T_V_TAG);
  p11t_n(w, size);
  p11t_u64(w, p11t_tag(domain, b, size));
  p11t_u8(w, p11t_shape(b, size));
}

static enum p11t_tag_domain domain_of(enum p11_secrecy secrecy)
{
  return secrecy == P11_DATA ? P11T_TAG_DATA : secrecy == P11_PIN ? P11T_TAG_PIN : P11T_TAG_SECRET;
}

/* What capture=full and clear keep sealed. False when there is no key to seal to or no room is left: nothing was written. */
static __attribute__((noinline, cold)) bool keep_sealed(struct p11t_writer *w, enum p11_secrecy secrecy,
                                                        const uint8_t *b, uint64_t size)
{
  if (!p11t_seals()) return false;
  uint64_t room = room_for(w, b, size), kept = size <= room ? size : room;
  if (kept < size) note_cut(w);
  if (kept == 0 && size > 0) return false;
  enum p11t_seal_class class = secrecy == P11_DATA  ? P11T_SEAL_DATA
                               : secrecy == P11_PIN ? P11T_SEAL_PIN
                                                    : P11T_SEAL_SECRET;
  p11t_seal_value(w, class, b, size, kept, p11t_tag(domain_of(secrecy), b, size), p11t_shape(b, size));
  w->kept += (uint32_t)kept;
  return true;
}

void p11t_value(struct p11t_writer *w, enum p11_secrecy secrecy, const void *bytes, uint64_t size)
{
  enum p11t_capture capture = p11t_options.capture;
  if (bytes == NULL) {
    p11t_value_null(w);
  } else if (size == CK_UNAVAILABLE_INFORMATION) {
    p11t_u8(w, P11T_V_UNAVAILABLE);
  } else if (capture == P11T_CAPTURE_META && secrecy != P11_PUBLIC) {
    p11t_u8(w, P11T_V_LENGTH);
    p11t_n(w, secrecy == P11_PIN ? 0 : size); /* not even how long a PIN is */
  } else if (!long_value_is_there(bytes, size)) {
    p11t_value_unread(w, size);
  } else if (secrecy == P11_PUBLIC || (secrecy == P11_DATA && capture == P11T_CAPTURE_CLEAR)) {
    keep(w, bytes, size);
  } else if (capture <= P11T_CAPTURE_SAFE || !keep_sealed(w, secrecy, bytes, size)) {
    tag(w, domain_of(secrecy), bytes, size);
  }
}
