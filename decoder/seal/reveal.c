#include "decoder/seal/reveal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "decoder/read/arena.h"

struct reveal {
  const char *who;
  const struct seal_key *key;
  struct entry {
    bool known;
    struct seal_process *opened;
  } * process; /* by index */
  size_t processes;
  struct plain {
    struct plain *next;
    size_t size;
    uint8_t bytes[];
  } * plain; /* of the latest event */
  uint64_t damaged;
  bool refused;
};

struct reveal *reveal_new(const char *who, const struct seal_key *key)
{
  struct reveal *r = read_zalloc(sizeof *r);
  r->who = who;
  r->key = key;
  return r;
}

static void forget(struct reveal *r)
{
  for (struct plain *p = r->plain, *next; p != NULL; p = next) {
    next = p->next;
    explicit_bzero(p->bytes, p->size);
    free(p);
  }
  r->plain = NULL;
}

void reveal_free(struct reveal *r)
{
  if (r == NULL) return;
  forget(r);
  for (size_t i = 0; i < r->processes; i++) seal_process_free(r->process[i].opened);
  free(r->process);
  free(r);
}

static const struct seal_process *opened_of(struct reveal *r, const struct process *process)
{
  if (process->index >= r->processes) {
    size_t n = process->index + 8;
    r->process = read_realloc(r->process, n * sizeof *r->process);
    memset(r->process + r->processes, 0, (n - r->processes) * sizeof *r->process);
    r->processes = n;
  }
  struct entry *e = &r->process[process->index];
  if (!e->known) {
    enum seal_fit fit = seal_open_process(r->key, process, &e->opened);
    seal_tell(r->who, r->key, process, fit);
    r->refused |= fit == SEAL_OTHER_KEY || fit == SEAL_SPOILT;
    e->known = true;
  }
  return e->opened;
}

static void open_value(struct reveal *r, const struct seal_process *opened, struct value *v)
{
  size_t room = seal_room(v);
  struct plain *p = read_realloc(NULL, sizeof *p + room);
  enum seal_result result = seal_open_value(opened, v, p->bytes);
  if (result == SEAL_DAMAGED) {
    r->damaged++;
    free(p);
    return;
  }
  *p = (struct plain){r->plain, room};
  r->plain = p;
  v->form = result == SEAL_OPENED ? P11T_V_FULL : P11T_V_CUT;
  v->bytes = p->bytes;
  v->kept = room;
  v->sealed = NULL;
}

static void walk(struct reveal *r, const struct seal_process *opened, struct value *v)
{
  if (seal_class_of(v) == P11T_SEAL_DATA) open_value(r, opened, v);
  for (size_t i = 0; i < v->count; i++) walk(r, opened, &v->item[i]);
}

void reveal_event(struct reveal *r, const struct event *event)
{
  forget(r);
  if (event->type != EVENT_CALL) return;
  const struct seal_process *opened = opened_of(r, event->process);
  if (opened == NULL) return;
  struct call *call = (struct call *)(uintptr_t)event->call; /* the reader's, until the next event */
  for (unsigned i = 0; i < call->info->arity; i++) {
    walk(r, opened, &call->arg[i].in);
    walk(r, opened, &call->arg[i].out);
  }
}

bool reveal_failed(const struct reveal *r)
{
  if (r->damaged > 0)
    fprintf(stderr, "%s: %" PRIu64 " sealed %s not open: not what was recorded in this place; the trace was changed\n",
            r->who, r->damaged, r->damaged == 1 ? "value does" : "values do");
  return r->damaged > 0 || r->refused;
}
