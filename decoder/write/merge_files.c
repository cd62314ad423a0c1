/* Files of a rotation, dumps of a flight recorder and what a live file holds: frames are copied as they lie, each fill of a
 * slot once. The trace id stays, for it is the same trace. */
#include "decoder/write/merge_files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/cmd/arguments.h"
#include "decoder/cmd/cmd.h"
#include "decoder/write/ends.h"
#include "decoder/write/outputs.h"
#include "shim/trace/frame.h"

/* As the files have them, TABLES first: they say of later frames what the files that are gone said. */
static int by_place(const void *a, const void *b)
{
  const struct frame_ref *x = a, *y = b;
  if ((x->kind == P11T_FRAME_TABLES) != (y->kind == P11T_FRAME_TABLES)) return x->kind == P11T_FRAME_TABLES ? -1 : 1;
  if (x->file != y->file) return x->file < y->file ? -1 : 1;
  return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static void whole_frame(struct reader *r, struct out *out, const struct frame_ref *ref, uint8_t **content, size_t *room)
{
  uint8_t info[FRAME_INFO];
  if (!frame_load(r, ref, content, room)) return; /* noted as damage */
  if (!file_read(r->file[ref->file].fd, info, sizeof info, ref->offset - FRAME_INFO)) {
    reader_damage(r, ref->packed, "%s: the frame at offset %" PRIu64 " is gone", r->file[ref->file].path, ref->offset);
    return;
  }
  out_copy(out, info, sizeof info, r->set->packed, ref->packed, ref->content);
  out->records += ref->records;
}

static void write_process(void *user, struct reader *r, struct out *out)
{
  (void)user;
  uint8_t *content = NULL;
  size_t room = 0;
  struct frame_ref *ref = read_zalloc((r->frames + 1) * sizeof *ref);
  const struct head_change none = {0};
  if (r->frames > 0) memcpy(ref, r->frame, r->frames * sizeof *ref);
  qsort(ref, r->frames, sizeof *ref, by_place);
  ends_head(r, out, 0, 0, &none, 0);
  ends_schema(r, out);
  for (size_t i = 0; i < r->frames && out->error == 0 && !outputs_stop(); i++) {
    outputs_progress("merge", i, r->frames);
    if (ref[i].file == FILE_LIVE) {
      out_slot(out, r, &ref[i]);
    } else {
      whole_frame(r, out, &ref[i], &content, &room);
    }
  }
  ends_end(r, out);
  free(content);
  free(ref);
}

/* Reads all of it once: what is damaged inside a frame that is whole shows only then. */
static int look(const char *const *paths, size_t count, uint64_t *calls)
{
  struct event event;
  struct trace_set *set = trace_again(paths, count) ? trace_open(paths, count) : NULL;
  if (set == NULL) return -1;
  bool fine = outputs_allowed("merge", set);
  while (fine && !outputs_stop() && trace_next(set, &event) == 0) *calls += event.type == EVENT_CALL;
  const int damage = fine ? arguments_close("merge", set) : -1;
  if (!fine) trace_close(set);
  return damage;
}

static void tell(const char *output, uint64_t calls, struct process *const *list, size_t n)
{
  uint64_t files = 0;
  for (size_t i = 0; i < n; i++) files += list[i]->files + (reader_of(list[i])->p.has_live ? 1 : 0);
  printf("%s: %" PRIu64 " call%s of %" PRIu64 " file%s\n", output, calls, calls == 1 ? "" : "s", files,
         files == 1 ? "" : "s");
}

int merge_files(const char *const *paths, size_t count, const char *output, bool quiet)
{
  uint64_t calls = 0;
  const struct outputs o = {.verb = "merge", .output = output, .write = write_process};
  outputs_listen();
  const int damage = look(paths, count, &calls);
  outputs_stopped();
  if (damage < 0) return EXIT_COULD_NOT;
  struct trace_set *set = trace_again(paths, count) ? trace_open(paths, count) : NULL;
  if (set == NULL) return EXIT_COULD_NOT;
  struct process *const *list;
  const size_t n = trace_processes(set, &list);
  const int status = outputs_write(&o, set);
  for (size_t i = 0; i < n && status == EXIT_FINE; i++) {
    if (list[i]->missing > 0) {
      fprintf(stderr, "p11trace merge: %s: %" PRIu64 " records lie between its files and are in none of them\n",
              list[i]->path, list[i]->missing);
    }
  }
  if (status == EXIT_FINE && !quiet) tell(output, calls, list, n);
  trace_close(set);
  return status == EXIT_FINE ? damage : status;
}
