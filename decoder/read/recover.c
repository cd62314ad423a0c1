/* Folding a live file into its trace; see recover.h. */
#include "decoder/read/recover.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "decoder/read/reader.h"
#include "decoder/write/out.h"
#include "shim/trace/frame.h"

/* The file that is being written, and what is in it already. */
struct output {
  struct out out;
  bool has_schema, has_end;
};

/* Every frame of the file that can be read, as it is. */
static void copy_frames(struct reader *r, struct output *o, struct trace_file *f)
{
  uint8_t info[FRAME_INFO], *content = NULL;
  size_t room = 0;
  for (uint64_t at = f->head_end; (at = file_resynchronise(f, at)) < f->size && o->out.error == 0;) {
    struct frame_ref ref = {0};
    if (!file_read(f->fd, info, sizeof info, at) || !file_info(info, &ref)) break;
    ref.offset = at + FRAME_INFO;
    ref.file = (uint16_t)(f - r->file);
    at = ref.offset;
    if (ref.packed > f->size - ref.offset || ref.packed > MAX_PACKED || ref.content < INFO_SIZE ||
        ref.content > MAX_CONTENT || !frame_load(r, &ref, &content, &room)) {
      continue; /* damaged: the next one may begin inside it */
    }
    out_copy(&o->out, info, sizeof info, r->set->packed, ref.packed, ref.content);
    if (ref.kind == P11T_FRAME_SCHEMA) o->has_schema = true;
    if (ref.kind == P11T_FRAME_END) o->has_end = true;
    o->out.records += ref.records;
    at = ref.offset + ref.packed;
  }
  free(content);
}

static void put_end(struct reader *r, struct output *o, const uint64_t *open, size_t opens)
{
  const struct process *p = &r->p;
  uint8_t *content = read_zalloc(INFO_SIZE + 512 + opens * 12), *at = content + INFO_SIZE;
  at = out_field(at, P11T_END_RECORDS, &o->out.records, 8);
  at = out_field(at, P11T_END_DROPPED, &p->dropped, 8);
  at = out_field(at, P11T_END_CUT, &p->cut, 8);
  at = out_field(at, P11T_END_LAST, &p->last_number, 8);
  at = out_field(at, P11T_END_PASSED, &p->passed, 8);
  if (p->last.ticks != 0) at = out_field(at, P11T_END_CLOCK_PAIR, &p->last, sizeof p->last);
  for (size_t i = 0; i < opens; i++) at = out_field(at, P11T_END_OPEN, &open[i], 8);
  at = p->locked ? out_field(at, P11T_END_REASON, "snapshot", 8) : out_field(at, P11T_END_REASON, "recovered", 9);
  out_frame(&o->out, (struct p11t_info){.kind = P11T_FRAME_END}, content, (size_t)(at - content));
  free(content);
}

/* Nobody records into the live file, and no other recover is at work on it: that is what our lock says from now on. */
static bool take_lock(const char *path, int *fd)
{
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
  *fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (*fd < 0) {
    fprintf(stderr, "p11trace: %s: %s\n", path, strerror(errno));
    return false;
  }
  if (fcntl(*fd, F_OFD_SETLK, &lock) == 0 || errno == EINVAL || errno == ENOLCK) return true;
  fprintf(stderr, "p11trace: %s: still being recorded or recovered\n", path);
  return false;
}

/* What must not be done, in words; NULL when all is well. */
static const char *objection(const struct reader *r, const char *output)
{
  if (r->read_only != 0) return "it has features that only a newer p11trace may change";
  const struct trace_file *last = r->files > 0 ? &r->file[r->files - 1] : NULL;
  if (last != NULL && last->has_end && !r->p.has_end && r->p.has_live)
    return "its last file is a whole dump of a flight recorder, or one that was full; all verbs read the live file "
           "with it";
  if (output == NULL && r->p.damage[0] != '\0')
    return "it is damaged: -o FILE writes what can be read and leaves it as it is";
  return NULL;
}

/* Reads to the end: the numbers of the calls in flight, and the totals of the process. */
static size_t read_all(struct trace_set *set, uint64_t **open)
{
  struct event e;
  size_t n = 0;
  *open = NULL;
  while (trace_next(set, &e) == 0) {
    if (e.type != EVENT_CALL || e.call->state != CALL_OPEN || n == MAX_OPEN) continue;
    *open = read_realloc(*open, (n + 1) * sizeof **open);
    (*open)[n++] = e.call->number;
  }
  return n;
}

/* HEAD of the last file. A flight recorder's live file has lost the first numbers, which the file knows nothing of. */
static void put_head(struct reader *r, struct output *o)
{
  uint8_t *head = read_zalloc(r->head_size + 12);
  size_t size = r->head_size;
  memcpy(head, r->head, size);
  if (r->p.has_live && r->live_head.complete_from > 1) {
    size = (size_t)(out_field(head + size, P11T_HEAD_COMPLETE_FROM, &r->live_head.complete_from, 8) - head);
  }
  out_skippable(&o->out, P11T_SKIP_HEAD, head, size);
  free(head);
}

/* What the files before the last one hold. */
static uint64_t records_before(const struct reader *r)
{
  uint64_t n = 0;
  for (size_t i = 0; i < r->frames; i++) {
    if (r->frame[i].file + 1u < r->files) n += r->frame[i].records;
  }
  return n;
}

static bool write_trace(struct reader *r, struct output *o, const struct frame_ref *slot, size_t slots,
                        const uint64_t *open, size_t opens)
{
  put_head(r, o);
  uint64_t damaged = r->p.damaged_bytes;
  if (r->files > 0) copy_frames(r, o, &r->file[r->files - 1]);
  r->p.damaged_bytes = damaged; /* counted before */
  if (!o->has_schema) out_schema(&o->out);
  if (!o->has_end) {
    for (size_t i = 0; i < slots; i++) out_slot(&o->out, r, &slot[i]);
    put_end(r, o, open, opens);
  }
  out_seek_table(&o->out);
  return o->out.error == 0;
}

static int fold(const char *path, const char *output, bool snapshot, struct recovered *result)
{
  int status = -1, lock = -1;
  struct output o = {.out.fd = -1};
  uint64_t *open_calls = NULL;
  struct frame_ref *slot = NULL;
  *result = (struct recovered){0};
  struct trace_set *set = trace_open(&path, 1);
  if (set == NULL) return -1;
  struct reader *r = set->readers == 1 ? set->reader[0] : NULL;
  const char *problem = r == NULL ? "name one trace, not a folder of several" : objection(r, output);
  if (r != NULL && r->p.locked && !snapshot) {
    fprintf(stderr, "p11trace: %s: still being recorded by pid %" PRIu32 "; recover it when that has ended\n", path,
            r->p.pid);
    goto out;
  }
  if (problem == NULL && r->head == NULL) problem = "nothing was recorded in it";
  if (problem != NULL) {
    status = snapshot ? 1 : -1;
    if (!snapshot) fprintf(stderr, "p11trace: %s: %s\n", path, problem);
    goto out;
  }
  const char *last = r->files > 0 ? r->file[r->files - 1].path : r->p.path;
  snprintf(result->path, sizeof result->path, "%s", output != NULL ? output : last);
  snprintf(result->source, sizeof result->source, "%s", last);
  if (!r->p.has_live && r->p.has_end && output == NULL) {
    result->nothing = 1;
    status = 0;
    goto out;
  }
  if (!r->p.has_live && output == NULL) {
    fprintf(stderr, "p11trace: %s: its live file is not there: nothing to fold in\n", path);
    goto out;
  }
  if (output == NULL && !take_lock(r->p.live_path, &lock)) goto out;
  slot = read_zalloc(r->frames * sizeof *slot);
  size_t slots = 0;
  for (size_t i = 0; i < r->frames; i++) {
    if (r->frame[i].file == FILE_LIVE) slot[slots++] = r->frame[i];
  }
  uint64_t before = records_before(r);
  size_t opens = read_all(set, &open_calls);
  result->damaged = r->p.damage[0] != '\0';
  if (output == NULL && (problem = objection(r, output)) != NULL) { /* damage inside frames shows only now */
    fprintf(stderr, "p11trace: %s: %s\n", path, problem);
    goto out;
  }
  if (!out_begin(&o.out, result->path)) goto out;
  o.out.records = before;
  write_trace(r, &o, slot, slots, open_calls, opens);
  if (!out_finish(&o.out, result->path, output == NULL)) goto out;
  for (size_t i = 0; i < slots && !o.has_end; i++) result->records += slot[i].records;
  result->frames = o.has_end ? 0 : slots;
  if (output == NULL && unlink(r->p.live_path) != 0) {
    fprintf(stderr, "p11trace: %s: %s; its records are in the trace now\n", r->p.live_path, strerror(errno));
    goto out;
  }
  status = 0;
out:
  if (lock >= 0) close(lock);
  out_drop(&o.out);
  free(open_calls);
  free(slot);
  trace_close(set);
  return status;
}

int trace_recover(const char *path, const char *output, struct recovered *result)
{
  return fold(path, output, false, result);
}

int trace_snapshot(const char *path, const char *output, struct recovered *result)
{
  return fold(path, output, true, result);
}
