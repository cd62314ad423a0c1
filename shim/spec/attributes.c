/* attributes.def as a table, and the lookup by type. */
/* Tables and the macros around them are laid out by hand. */
/* clang-format off */
#include "spec.h"

#define A_NUMBER       P11_A_NUMBER, P11_DOM_NONE
#define A_ENUM(domain) P11_A_ENUM, P11_DOM_##domain
#define A_BOOL         P11_A_BOOL, P11_DOM_NONE
#define A_BYTES        P11_A_BYTES, P11_DOM_NONE
#define A_TEXT         P11_A_TEXT, P11_DOM_NONE
#define A_INTEGER      P11_A_INTEGER, P11_DOM_NONE
#define A_DATE         P11_A_DATE, P11_DOM_NONE
#define A_NAME         P11_A_NAME, P11_DOM_NONE
#define A_DER          P11_A_DER, P11_DOM_NONE
#define A_CERT         P11_A_CERT, P11_DOM_NONE
#define A_TEMPLATE     P11_A_TEMPLATE, P11_DOM_NONE
#define A_MECHANISMS   P11_A_MECHANISMS, P11_DOM_NONE

#define ENTRY(cka, secrecy, kind, domain) {#cka, (uint64_t)(cka), kind, secrecy, domain},
#define EXPAND(cka, secrecy, ...)         ENTRY(cka, secrecy, __VA_ARGS__)

static const struct p11_attribute_info attributes[] = {
#define A(cka, kind, secrecy) EXPAND(cka, P11_##secrecy, A_##kind)
#include "attributes.def"
};

enum place {
#define A(cka, kind, secrecy) PLACE_##cka,
#include "attributes.def"
};

/* Called for each attribute of each template: the compiler makes a search tree of it. */
const struct p11_attribute_info *p11_attribute(uint64_t type)
{
  switch (type) {
#define A(cka, kind, secrecy) \
  case cka:                   \
    return &attributes[PLACE_##cka];
#include "attributes.def"
    default:
      return NULL;
  }
}
