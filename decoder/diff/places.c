/* Where the two calls of a difference differ. */
#include <string.h>

#include "decoder/diff/result.h"

const char *result_sentence(enum difference_kind kind)
{
  switch (kind) {
    case DIFFERENT_ANSWER: return "the same question, another answer";
    case DIFFERENT_ARGUMENTS: return "asked otherwise";
    case DIFFERENT_ONLY_A: return "in A only";
    case DIFFERENT_ONLY_B: return "in B only";
    case DIFFERENT_TIMES: return "not as often";
    default: return "describes itself otherwise";
  }
}

const char *result_kind_name(enum difference_kind kind)
{
  static const char *const name[] = {"answer", "arguments", "only-a", "only-b", "times", "description"};
  return name[kind];
}

static enum part_of part_of(enum difference_kind kind)
{
  return kind == DIFFERENT_ANSWER ? PART_ANSWER : kind == DIFFERENT_DESCRIPTION ? PART_DESCRIPTION : PART_QUESTION;
}

/* The n-th part of that name; NULL. */
static const struct part *part_at(const struct parts *parts, enum part_of of, const char *place, unsigned n)
{
  for (size_t i = 0; i < parts->count; i++) {
    const struct part *p = &parts->at[i];
    if (p->of == of && strcmp(p->place, place) == 0 && n-- == 0) return p;
  }
  return NULL;
}

static unsigned place_in(const struct parts *parts, size_t at)
{
  unsigned n = 0;
  for (size_t i = 0; i < at; i++)
    if (parts->at[i].of == parts->at[at].of && strcmp(parts->at[i].place, parts->at[at].place) == 0) n++;
  return n;
}

size_t result_places(const struct found_kind *kind, struct place *place, size_t room)
{
  const enum part_of of = part_of(kind->kind);
  size_t count = 0;
  if (kind->kind == DIFFERENT_TIMES) return 0;
  for (int side = 0; side < SIDES; side++) {
    const struct parts *mine = &kind->call[side].parts, *others = &kind->call[!side].parts;
    if (!kind->call[!side].line) continue;
    for (size_t i = 0; i < mine->count && count < room; i++) {
      const struct part *p = &mine->at[i];
      if (p->of != of) continue;
      const struct part *other = part_at(others, of, p->place, place_in(mine, i));
      if (other && (side == SIDE_B || other->hash == p->hash)) continue;
      place[count].part[side] = p;
      place[count++].part[!side] = other;
      /* What else came out depends on the return code. */
      if (strcmp(p->place, "rv") == 0) return count;
    }
  }
  return count;
}
