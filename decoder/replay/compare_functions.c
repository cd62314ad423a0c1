/* Places of a function list that were filled then and are NULL today: an application that calls one crashes. */
#include <string.h>

#include "decoder/replay/live_part.h"

void live_list_foresee(struct player *player, const struct event *event)
{
  struct payload *payload = player->payload;
  const bool interface = event->list.name != NULL && event->list.name[0] != '\0';
  if (interface && strcmp(event->list.name, "PKCS 11") != 0) return;
  for (unsigned i = 0; i < LIVE_LISTS; i++) {
    struct live_list *list = &payload->list[i];
    if (list->count > 0 && (list->interface != interface || list->version != event->list.version)) continue;
    if (list->count > 0) return;
    *list = (struct live_list){
        .interface = interface, .version = event->list.version, .count = (uint16_t)event->list.count};
    const size_t n = event->list.null_bytes < sizeof list->nulls ? event->list.null_bytes : sizeof list->nulls;
    if (n > 0) memcpy(list->nulls, event->list.nulls, n);
    return;
  }
}

/* The functions lie one after another behind the version, in the order of functions.def. */
static bool is_null(const void *functions, unsigned i)
{
  void *function;
  memcpy(&function, (const uint8_t *)functions + offsetof(CK_FUNCTION_LIST, C_Initialize) + i * sizeof function,
         sizeof function);
  return function == NULL;
}

void compare_functions(struct comparing *c, const void *functions, bool interface)
{
  CK_VERSION version;
  if (functions == NULL) return;
  memcpy(&version, functions, sizeof version);
  for (unsigned k = 0; k < LIVE_LISTS; k++) {
    const struct live_list *list = &c->player->payload->list[k];
    if (list->interface != interface || list->version != version.major * 256u + version.minor) continue;
    for (unsigned i = 0; i < list->count && i < P11_FUNCTIONS && i < 8 * sizeof list->nulls; i++) {
      if (list->nulls[i / 8] >> (i % 8) & 1 || !is_null(functions, i)) continue;
      struct difference *d = compare_differ(c, "function list");
      compare_text(d->recorded, "%s is there", p11_functions[i].name);
      compare_text(d->replayed, "%s is NULL", p11_functions[i].name);
    }
  }
}
