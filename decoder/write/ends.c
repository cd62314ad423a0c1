#include "decoder/write/ends.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "shim/trace/version.h"

enum { MAX_CHANGES = 24, MASKS = 16 }; /* MASKS: where in HEAD the three masks begin */

static const struct head_change *changed(const struct head_change *change, size_t changes, unsigned tag)
{
  for (size_t i = 0; i < changes; i++) {
    if (change[i].tag == tag) return &change[i];
  }
  return NULL;
}

void ends_head(struct reader *r, struct out *out, uint64_t compatible, uint64_t without,
               const struct head_change *change, size_t changes)
{
  const bool known_only = changed(change, changes, HEAD_UNKNOWN) != NULL;
  size_t room = r->head_size + P11T_HEAD_FIXED + 16;
  for (size_t i = 0; i < changes; i++) room += change[i].size + 4;
  uint8_t *head = read_zalloc(room), *at = head + P11T_HEAD_FIXED;
  memcpy(head, r->head, r->head_size < P11T_HEAD_FIXED ? r->head_size : P11T_HEAD_FIXED);
  uint64_t mask = (r->p.compat | compatible) & ~without;
  memcpy(head + MASKS + 16, &mask, sizeof mask);
  struct cursor c = cursor_of(r->head, r->head_size);
  get_bytes(&c, P11T_HEAD_FIXED);
  while (!c.bad && cursor_left(&c) > 0) {
    unsigned tag = get_u16(&c), size = get_u16(&c);
    const uint8_t *bytes = get_bytes(&c, size);
    if (bytes == NULL) break;
    bool gone = tag == P11T_HEAD_COMPLETE_FROM || tag == P11T_HEAD_FILE_INDEX || tag == P11T_HEAD_LIVE_PATH ||
                (known_only && tag > P11T_HEAD_SEAL_KEY);
    if (!gone && changed(change, changes, tag) == NULL) at = out_field(at, (uint16_t)tag, bytes, size);
  }
  if (r->p.complete_from > 1) at = out_field(at, P11T_HEAD_COMPLETE_FROM, &r->p.complete_from, 8);
  for (size_t i = 0; i < changes; i++) {
    if (change[i].bytes != NULL) at = out_field(at, change[i].tag, change[i].bytes, change[i].size);
  }
  out_skippable(out, P11T_SKIP_HEAD, head, (size_t)(at - head));
  free(head);
}

/* The first SCHEMA frame of the files; ours when there is none, with which the trace is then read too. */
void ends_schema(struct reader *r, struct out *out)
{
  uint8_t info[FRAME_INFO], *content = NULL;
  size_t room = 0;
  bool found = false;
  for (size_t i = 0; i < r->files && !found; i++) {
    struct trace_file *f = &r->file[i];
    for (uint64_t at = f->head_end; !found && (at = file_resynchronise(f, at)) < f->size;) {
      struct frame_ref ref = {0};
      if (!file_read(f->fd, info, sizeof info, at) || !file_info(info, &ref)) break;
      ref.offset = at + FRAME_INFO;
      ref.file = (uint16_t)i;
      at = ref.offset;
      if (ref.kind == P11T_FRAME_EVENTS) break; /* SCHEMA comes first */
      if (ref.packed > f->size - ref.offset || ref.packed > MAX_PACKED || ref.content < INFO_SIZE ||
          ref.content > MAX_CONTENT)
        continue;
      at = ref.offset + ref.packed;
      if (ref.kind != P11T_FRAME_SCHEMA || !frame_load(r, &ref, &content, &room)) continue;
      out_copy(out, info, sizeof info, r->set->packed, ref.packed, ref.content);
      found = true;
    }
  }
  free(content);
  if (!found) out_schema(out);
}

uint64_t ends_last_number(const struct reader *r)
{
  uint64_t last = r->p.last_number;
  for (size_t i = 0; i < r->frames; i++) {
    if (r->frame[i].last_number > last) last = r->frame[i].last_number;
  }
  return last;
}

void ends_end(struct reader *r, struct out *out)
{
  const struct process *p = &r->p;
  const char *reason = p->end_reason, *trigger = p->trigger;
  const uint64_t last = ends_last_number(r);
  if (!p->has_end && !(reason != NULL && strcmp(reason, "full") == 0 && !p->has_live)) reason = "recovered";
  if (reason == NULL) reason = "exit";
  uint8_t *content = read_zalloc(INFO_SIZE + 256 + strlen(reason) + (trigger != NULL ? strlen(trigger) : 0)),
          *at = content + INFO_SIZE;
  at = out_field(at, P11T_END_RECORDS, &out->records, 8);
  at = out_field(at, P11T_END_DROPPED, &p->dropped, 8);
  at = out_field(at, P11T_END_CUT, &p->cut, 8);
  at = out_field(at, P11T_END_LAST, &last, 8);
  at = out_field(at, P11T_END_PASSED, &p->passed, 8);
  if (p->last.ticks != 0) at = out_field(at, P11T_END_CLOCK_PAIR, &p->last, sizeof p->last);
  at = out_field(at, P11T_END_REASON, reason, strlen(reason));
  if (p->exit_code >> 31) {
    const uint32_t status = p->exit_code & INT32_MAX;
    at = out_field(at, P11T_END_STATUS, &status, 4);
  }
  if (trigger != NULL) at = out_field(at, P11T_END_TRIGGER, trigger, strlen(trigger));
  out_frame(out, (struct p11t_info){.kind = P11T_FRAME_END}, content, (size_t)(at - content));
  free(content);
  out_seek_table(out);
}

void ends_id(const uint8_t old[16], uint8_t id[16])
{
  static uint8_t salted[48];
  static bool begun;
  uint8_t digest[EVP_MAX_MD_SIZE];
  if (!begun && getrandom(salted, 32, 0) != 32) abort();
  begun = true;
  memcpy(salted + 32, old, 16);
  if (EVP_Digest(salted, sizeof salted, digest, NULL, EVP_sha256(), NULL) != 1) abort();
  memcpy(id, digest, 16);
}

void ends_derived(struct reader *r, struct out *out, const char *how, const char *before, uint64_t without,
                  const struct head_change *more, size_t count)
{
  struct head_change change[MAX_CHANGES];
  uint8_t id[16], parent[16];
  char text[2048], hex[33];
  size_t n = 0;
  for (size_t i = 0; i < 16; i++) snprintf(hex + 2 * i, 3, "%02x", r->p.trace_id[i]);
  const bool again = before != NULL && before[0] != '\0';
  snprintf(text, sizeof text, "p11trace " P11T_VERSION " %.1000s, from trace %s%s%.900s", how, hex,
           again ? "; that: " : "", again ? before : "");
  ends_id(r->p.trace_id, id);
  change[n++] = (struct head_change){P11T_HEAD_TRACE_ID, id, sizeof id};
  change[n++] = (struct head_change){P11T_HEAD_DERIVED, text, strlen(text)};
  for (size_t i = 0; i < r->set->readers; i++) {
    if (memcmp(r->set->reader[i]->p.trace_id, r->p.parent_id, 16) != 0) continue;
    ends_id(r->p.parent_id, parent);
    change[n++] = (struct head_change){P11T_HEAD_PARENT_ID, parent, sizeof parent};
    break;
  }
  for (size_t i = 0; i < count && n < MAX_CHANGES; i++) change[n++] = more[i];
  ends_head(r, out, P11T_COMPAT_DERIVED, without, change, n);
}
