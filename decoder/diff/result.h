/* All that a comparison found, for those who print it. */
#ifndef DIFF_RESULT_H
#define DIFF_RESULT_H

#include "decoder/diff/detail.h"
#include "decoder/diff/found.h"

struct diff_result {
  struct survey survey[SIDES];
  struct diff_pair *pair;
  size_t pairs;
  /* Processes, or modules of paired ones (module set), that only one trace has and that made calls. */
  struct lonely {
    int side;
    const struct process_seen *process;
    const struct module_seen *module;
  } * lonely;
  size_t lonelies;
  struct found found;
  struct detail detail;
  bool same, damaged;
};

/* What differs between the two calls of a kind: at most `room` places. */
struct place {
  const struct part *part[SIDES]; /* NULL: that call has none */
};
size_t result_places(const struct found_kind *kind, struct place *place, size_t room);
/* "C_GetSessionInfo answers otherwise" and the like, without what differs. */
const char *result_sentence(enum difference_kind kind);
/* What each kind is called in JSON. */
const char *result_kind_name(enum difference_kind kind);

bool print_text(FILE *to, const struct diff_result *result, bool color);
bool print_diff_json(FILE *to, const struct diff_result *result);
bool print_diff_junit(FILE *to, const struct diff_result *result);

#endif
