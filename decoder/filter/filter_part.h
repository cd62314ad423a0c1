/* Between filter.c, filter_parse.c and filter_match.c. */
#ifndef FILTER_PART_H
#define FILTER_PART_H

#include "decoder/filter/filter.h"
#include "shim/spec/callset.h"

enum filter_key {
  KEY_FN,
  KEY_RV,
  KEY_SESSION,
  KEY_SLOT,
  KEY_OBJECT,
  KEY_MODULE,
  KEY_PID,
  KEY_TID,
  KEY_THREAD,
  KEY_MECHANISM,
  KEY_CLASS,
  KEY_LABEL,
  KEY_DURATION,
  KEY_TIME,
  KEY_PROBE,
  KEYS
};

enum filter_rv { RV_NUMBER, RV_OK, RV_FAILED, RV_OPEN, RV_UNWOUND };

enum filter_order { ORDER_LESS = 1, ORDER_EQUAL = 2, ORDER_MORE = 4 };

struct filter_value {
  bool negative;
  uint8_t rv; /* enum filter_rv, for KEY_RV */
  uint64_t number;
  char *pattern; /* for KEY_THREAD and KEY_LABEL, owned */
};

struct filter_term {
  enum filter_key key;
  unsigned order;         /* bits of enum filter_order, for KEY_DURATION and KEY_TIME; else 0 */
  struct p11_callset set; /* for KEY_FN */
  struct filter_value *value;
  size_t count;
  bool any_positive;
  bool negative; /* for KEY_PROBE */
};

struct filter_range {
  uint64_t first, last;
};

struct filter {
  struct filter_term *term;
  size_t terms;
  struct filter_range *range;
  size_t ranges;
  uint64_t origin;
  struct tracker *tracker;
};

#endif
