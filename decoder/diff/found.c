#include "decoder/diff/found.h"

#include <stdlib.h>

void found_start(struct found *found)
{
  *found = (struct found){.first = -1};
}

void found_free(struct found *found)
{
  for (unsigned i = 0; i < found->kinds; i++) {
    for (int side = 0; side < SIDES; side++) {
      free(found->kind[i].call[side].line);
      parts_free(&found->kind[i].call[side].parts);
    }
  }
}

const char *found_function_name(unsigned function)
{
  return function < P11_FUNCTIONS ? p11_functions[function].name : "(other functions)";
}

static void count(struct found *found, enum difference_kind kind, const struct exchange *a, const struct exchange *b)
{
  struct found_function *f = &found->function[(a ? a : b)->function];
  found->differences++;
  switch (kind) {
    case DIFFERENT_ANSWER: f->answers++; break;
    case DIFFERENT_ARGUMENTS: f->arguments++; break;
    case DIFFERENT_ONLY_A: f->only[SIDE_A]++; break;
    case DIFFERENT_ONLY_B: f->only[SIDE_B]++; break;
    default: break;
  }
}

static bool is_kind(const struct found_kind *k, const struct diff_pair *pair, enum difference_kind kind,
                    const struct exchange *a, const struct exchange *b)
{
  return k->kind == kind && k->pair == pair && k->function == (a ? a : b)->function &&
         k->rv[SIDE_A] == (a ? a->rv : 0) && k->rv[SIDE_B] == (b ? b->rv : 0);
}

void found_add(struct found *found, const struct diff_pair *pair, enum difference_kind kind, const struct exchange *a,
               const struct exchange *b)
{
  const bool counts = kind != DIFFERENT_DESCRIPTION;
  if (counts) count(found, kind, a, b);
  for (unsigned i = 0; i < found->kinds; i++) {
    if (!is_kind(&found->kind[i], pair, kind, a, b)) continue;
    found->kind[i].count++;
    return;
  }
  if (found->kinds == FOUND_KINDS) {
    found->lost++;
    return;
  }
  const bool answered = found->first >= 0 && found->kind[found->first].kind == DIFFERENT_ANSWER;
  const int at = (int)found->kinds++;
  found->kind[at] = (struct found_kind){
      .kind = kind,
      .function = (a ? a : b)->function,
      .pair = pair,
      .rv = {a ? a->rv : 0,     b ? b->rv : 0    },
      .number = {a ? a->number : 0, b ? b->number : 0},
      .count = 1,
      .before = counts && !answered && kind != DIFFERENT_ANSWER
  };
  if (!counts || answered) return;
  if (found->first < 0 || kind == DIFFERENT_ANSWER) found->first = at;
}
