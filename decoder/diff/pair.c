/* Which processes, modules, slots and objects of two traces belong together. */
#include <stdlib.h>
#include <string.h>

#include "decoder/diff/hash.h"
#include "decoder/diff/survey.h"

/* Processes by program and order; one that calls no module belongs to one that does not either. */
void pair_processes(struct survey *a, struct survey *b)
{
  for (size_t i = 0; i < a->processes; i++) {
    for (size_t k = 0; k < b->processes; k++) {
      struct process_seen *p = &a->process[i], *q = &b->process[k];
      if (q->other || strcmp(p->program, q->program) != 0 || !p->modules != !q->modules) continue;
      p->other = q;
      q->other = p;
      break;
    }
  }
  /* A trace of one process beside another: whatever the programs are called, that is what is meant. */
  if (a->processes == 1 && b->processes == 1) {
    a->process[0].other = &b->process[0];
    b->process[0].other = &a->process[0];
  }
}

static const char *base(const char *path)
{
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

/* The n-th of that file name, else the n-th of all: NSS has several modules, and the one that is compared may be called
 * otherwise today. */
struct module_seen *pair_module(const struct process_seen *from, const struct module_seen *module,
                                const struct process_seen *process)
{
  for (int same_name = 1; same_name >= 0; same_name--) {
    for (size_t i = 0; i < process->modules; i++) {
      struct module_seen *m = &process->module[i];
      if (m->paired) continue;
      if (same_name && strcmp(base(m->path), base(module->path)) != 0) continue;
      if (!same_name) {
        bool wanted = false; /* by one of its own name */
        for (size_t k = 0; k < from->modules; k++)
          if (!from->module[k].paired && strcmp(base(from->module[k].path), base(m->path)) == 0) wanted = true;
        if (wanted) continue;
      }
      m->paired = true;
      return m;
    }
  }
  return NULL;
}

static void pair_slot(struct slot_seen *a, struct slot_seen *b, size_t number)
{
  a->paired = b->paired = true;
  a->name = b->name = hash_mix(3, number);
}

/* By the token's label, then in order. */
static void pair_slots(struct module_seen *a, struct module_seen *b)
{
  size_t number = 0;
  for (size_t i = 0; i < a->slots; i++) {
    for (size_t k = 0; k < b->slots; k++) {
      struct slot_seen *s = &a->slot[i], *t = &b->slot[k];
      if (t->paired || !s->labelled || !t->labelled || strcmp(s->label, t->label) != 0) continue;
      pair_slot(s, t, number++);
      break;
    }
  }
  for (size_t i = 0, k = 0; i < a->slots; i++) {
    if (a->slot[i].paired) continue;
    while (k < b->slots && b->slot[k].paired) k++;
    if (k == b->slots) break;
    pair_slot(&a->slot[i], &b->slot[k], number++);
  }
}

/* How well they fit: 0 and less, they are not the same. What tells objects apart are long values (identifiers,
 * moduli, certificates) and labels; that two are private and on the token says little. One attribute that reads
 * otherwise does not make it another object: that is a difference to be told. The same module gives the same object
 * the same handle. */
static int fit(const struct object_seen *a, const struct object_seen *b)
{
  int score = a->key == b->key ? 4 : 0;
  if (a->search == b->search) score += a->index == b->index ? 3 : 2;
  for (unsigned i = 0; i < a->facts; i++) {
    for (unsigned k = 0; k < b->facts; k++) {
      if (a->fact[i].type != b->fact[k].type) continue;
      const bool same = a->fact[i].hash == b->fact[k].hash;
      if (a->fact[i].type == CKA_CLASS)
        score += same ? 2 : -4;
      else if (a->fact[i].is_long)
        score += same ? 8 : -8;
      else
        score += same ? 1 : -1;
      break;
    }
  }
  return score;
}

static void pair_object(struct object_seen *a, struct object_seen *b)
{
  a->paired = b->paired = true;
  b->name = a->name;
}

static void pair_by_handle(struct module_seen *a, struct module_seen *b, bool any)
{
  for (size_t i = 0; i < a->objects; i++) {
    struct object_seen *x = &a->object[i];
    const uintptr_t at = (uintptr_t)table_get(&b->by_key, x->key);
    if (x->paired || !at || b->object[at - 1].paired) continue;
    if (any ? x->search == b->object[at - 1].search : fit(x, &b->object[at - 1]) > 0)
      pair_object(x, &b->object[at - 1]);
  }
}

/* Those of the same handle first, where nothing speaks against it; then each of A with what fits it best; what is
 * left, and came with the same handle out of the same search, has all its attributes changed. */
static void pair_objects(struct module_seen *a, struct module_seen *b)
{
  for (size_t i = 0; i < a->objects; i++) a->object[i].name = hash_mix(5, i);
  for (size_t i = 0; i < b->objects; i++) b->object[i].name = hash_mix(6, i);
  pair_by_handle(a, b, false);
  for (size_t i = 0; i < a->objects; i++) {
    struct object_seen *best = NULL;
    int most = 0;
    for (size_t k = 0; k < b->objects && !a->object[i].paired; k++) {
      const int score = b->object[k].paired ? -1 : fit(&a->object[i], &b->object[k]);
      if (score <= most) continue;
      best = &b->object[k];
      most = score;
    }
    if (best) pair_object(&a->object[i], best);
  }
  pair_by_handle(a, b, true);
}

void pair_names(struct module_seen *a, struct module_seen *b)
{
  pair_slots(a, b);
  pair_objects(a, b);
}
