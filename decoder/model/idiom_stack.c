/* Which way in NSS led to a login, from the names on the stack. */
#include <string.h>

#include "decoder/model/idiom.h"

static const struct {
  const char *function;
  enum idiom idiom;
} way[] = {
#define WAY(function, idiom) {function, IDIOM_##idiom},
#include "decoder/model/login_ways.def"
#undef WAY
};

/* IDIOM_COUNT: no way that we know. */
static enum idiom way_of(const char *function)
{
  for (size_t i = 0; i < sizeof way / sizeof *way; i++)
    if (!strcmp(way[i].function, function)) return way[i].idiom;
  return IDIOM_COUNT;
}

static bool is_of(const struct symbol_frame *f, const char *library)
{
  return f->object && !strncmp(f->object->name, library, strlen(library));
}

enum idiom idiom_by_stack(enum idiom known, const struct event *event, struct symbols *symbols)
{
  const struct call *call = event->call;
  if (known != IDIOM_LOGIN || !symbols || call->depth < 2) return known;
  for (unsigned i = 0; i < call->depth; i++) {
    const struct symbol_frame *f = symbols_frame(symbols, event->process, call->stack[i]);
    /* PK11_Authenticate ends with a jump to PK11_DoPassword and leaves no frame. */
    if (!is_of(f, "libnss3.")) {
      const bool nss = !f->object || is_of(f, "libssl3.") || is_of(f, "libsmime3.");
      return i == 1 && !nss ? IDIOM_LOGIN_PROGRAM : known;
    }
    if (!f->function) continue;
    const enum idiom idiom = way_of(f->function);
    if (idiom == IDIOM_COUNT) return known;
    if (idiom != IDIOM_NONE) return idiom;
  }
  return known;
}
